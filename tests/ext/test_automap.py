"""Classes and relationships made from tables."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sql

TABLES = """
create table company (id integer not null primary key, name varchar);
create table person (
    id integer not null primary key, name varchar, company_id integer,
    FOREIGN KEY(company_id) REFERENCES company (id) ON DELETE SET NULL);
create table email (
    id integer not null primary key, address varchar,
    person_id integer not null, FOREIGN KEY(person_id) REFERENCES person (id) ON DELETE CASCADE);
create table tag (id integer not null primary key, name varchar);
create table person_tag (
    person_id integer references person (id), tag_id integer references tag (id), primary key (person_id, tag_id));
create table loose (a integer, b integer)
"""


@pytest.fixture
def engine() -> sql.Engine:
    made = sql.create_engine("sqlite://")
    with made.begin() as connection:
        for statement in TABLES.split(";"):
            connection.exec_driver_sql(statement)
    return made


def prepared(sa: SimpleNamespace, engine: sql.Engine, **kw: Any) -> Any:
    base = sa.automap.automap_base()
    base.prepare(autoload_with=engine, **kw)
    return base


def described(sa: SimpleNamespace, base: Any) -> dict[str, Any]:
    """All relationships of the classes, with what was decided about them."""
    return {
        name: {
            prop.key: (
                prop.direction.name,
                prop.mapper.class_.__name__,
                prop.uselist,
                sorted(prop.cascade),
                prop.passive_deletes,
                prop.back_populates,
                sorted(str(column) for column in prop.remote_side),
            )
            for prop in sql.inspect(cls).relationships
        }
        for name, cls in base.classes.items()
    }


def test_relationships(sa: SimpleNamespace, engine: sql.Engine) -> None:
    base = prepared(sa, engine)
    save, own = (
        ["merge", "save-update"],
        sorted(sql.inspect(base.classes.person).relationships.email_collection.cascade),
    )
    assert set(base.classes.keys()) == {"company", "person", "email", "tag"}
    assert described(sa, base) == {
        "company": {"person_collection": ("ONETOMANY", "person", True, save, True, "company", ["person.company_id"])},
        "person": {
            "company": ("MANYTOONE", "company", False, save, False, "person_collection", ["company.id"]),
            "email_collection": ("ONETOMANY", "email", True, own, True, "person", ["email.person_id"]),
            "tag_collection": (
                "MANYTOMANY",
                "tag",
                True,
                save,
                False,
                "person_collection",
                ["person_tag.person_id", "person_tag.tag_id"],
            ),
        },
        "email": {"person": ("MANYTOONE", "person", False, save, False, "email_collection", ["person.id"])},
        "tag": {
            "person_collection": (
                "MANYTOMANY",
                "person",
                True,
                save,
                False,
                "tag_collection",
                ["person_tag.person_id", "person_tag.tag_id"],
            )
        },
    }


def test_objects(sa: SimpleNamespace, engine: sql.Engine) -> None:
    base = prepared(sa, engine)
    person, email, tag = base.classes.person, base.classes.email, base.classes.tag
    with sa.orm.Session(engine) as session:
        ann = person(name="Ann", email_collection=[email(address="a@x"), email(address="b@x")])
        ann.tag_collection.append(tag(name="new"))
        session.add(ann)
        session.commit()
        found = session.scalars(sql.select(person).join(person.tag_collection).where(tag.name == "new")).one()
        assert [one.address for one in found.email_collection] == ["a@x", "b@x"]
        del found.email_collection[0]
        session.commit()
        assert session.scalar(sql.select(sql.func.count()).select_from(email)) == 1


def test_naming_and_making(sa: SimpleNamespace, engine: sql.Engine) -> None:
    calls = []

    def make(
        base: Any, direction: Any, return_fn: Any, attrname: str, local_cls: Any, referred_cls: Any, **kw: Any
    ) -> Any:
        calls.append((direction.name, return_fn.__name__, attrname, local_cls.__name__, referred_cls.__name__))
        if "Tag" in (local_cls.__name__, referred_cls.__name__) and return_fn.__name__ == "relationship":
            return None
        return sa.automap.generate_relationship(base, direction, return_fn, attrname, local_cls, referred_cls, **kw)

    base = prepared(
        sa,
        engine,
        classname_for_table=lambda base, name, table: name.title(),
        name_for_scalar_relationship=lambda base, local, referred, constraint: f"one_{referred.__name__}",
        name_for_collection_relationship=lambda base, local, referred, constraint: f"many_{referred.__name__}",
        generate_relationship=make,
        collection_class=set,
    )
    assert set(base.classes.keys()) == {"Company", "Person", "Email", "Tag"}
    assert base.classes.Person(many_Email={base.classes.Email()}).many_Email
    assert set(sql.inspect(base.classes.Tag).relationships.keys()) == set()
    # SQLAlchemy starts at either end of an association table
    assert {name for direction, _, name, *_ in calls if direction == "MANYTOMANY"} == {"many_Person", "many_Tag"}
    assert sorted(call for call in calls if call[0] != "MANYTOMANY") == [
        ("MANYTOONE", "relationship", "one_Company", "Person", "Company"),
        ("MANYTOONE", "relationship", "one_Person", "Email", "Person"),
        ("ONETOMANY", "backref", "many_Email", "Person", "Email"),
        ("ONETOMANY", "backref", "many_Person", "Company", "Person"),
    ]
    with pytest.raises(TypeError, match="Unknown relationship function"):
        sa.automap.generate_relationship(base, None, len, "x", None, None)


@pytest.mark.filterwarnings("ignore:relationship 'Email.person' will copy")
@pytest.mark.parametrize("declared", ["both", "scalar", "collection", "neither"])
def test_declared_beforehand(sa: SimpleNamespace, engine: sql.Engine, declared: str) -> None:
    """What the program declares stays, and the other direction learns of it."""
    base = sa.automap.automap_base()

    class Person(base):
        __tablename__ = "person"
        full_name = sa.orm.column_property(sql.Column("name", sql.String))
        if declared in ("both", "collection"):
            email_collection = sa.orm.relationship("Email", cascade="all")

        def greet(self) -> str:
            return f"I am {self.full_name}"

    class Email(base):
        __tablename__ = "email"
        if declared in ("both", "scalar"):
            person = sa.orm.relationship("Person", lazy="joined")

    with pytest.raises(sa.orm.exc.UnmappedClassError, match="is a subclass of AutomapBase"):
        sa.orm.Session(engine).get(Person, 1)
    base.prepare(
        autoload_with=engine,
        name_for_scalar_relationship=lambda base, local, referred, constraint: referred.__name__.lower(),
        name_for_collection_relationship=lambda base, local, referred, constraint: (
            f"{referred.__name__.lower()}_collection"
        ),
    )
    assert set(base.classes.keys()) == {"company", "tag"}
    person = sql.inspect(Email).relationships.person
    emails = sql.inspect(Person).relationships.email_collection
    assert person.lazy == ("joined" if declared in ("both", "scalar") else "select")
    assert emails.cascade.delete_orphan == (declared in ("neither", "scalar"))
    assert (person.back_populates, emails.back_populates) == {
        "both": (None, None),
        "scalar": ("email_collection", "person"),
        "collection": (None, "person"),
        "neither": ("email_collection", "person"),
    }[declared]
    with sa.orm.Session(engine) as session:
        email = Email(person=Person(full_name="Ann"), address="x")
        session.add(email)
        session.commit()
        assert email.person.greet() == "I am Ann"


def test_several_foreign_keys(sa: SimpleNamespace) -> None:
    """Two of them to one table need names of their own; a table refers to itself; columns are a key together."""
    base = sa.automap.automap_base()
    sql.Table(
        "node",
        base.metadata,
        sql.Column("a", sql.Integer, primary_key=True),
        sql.Column("b", sql.Integer, primary_key=True),
        sql.Column("up_a", sql.Integer),
        sql.Column("up_b", sql.Integer),
        sql.ForeignKeyConstraint(["up_a", "up_b"], ["node.a", "node.b"]),
    )
    sql.Table(
        "edge",
        base.metadata,
        sql.Column("id", sql.Integer, primary_key=True),
        *(sql.Column(name, sql.Integer) for name in ("from_a", "from_b", "to_a", "to_b")),
        sql.ForeignKeyConstraint(["from_a", "from_b"], ["node.a", "node.b"]),
        sql.ForeignKeyConstraint(["to_a", "to_b"], ["node.a", "node.b"]),
    )

    def scalar(base: Any, local: Any, referred: Any, constraint: Any) -> str:
        return str(constraint.column_keys[0].split("_")[0])

    def collection(base: Any, local: Any, referred: Any, constraint: Any) -> str:
        return f"{scalar(base, local, referred, constraint)}_{referred.__name__}s"

    base.prepare(name_for_scalar_relationship=scalar, name_for_collection_relationship=collection)
    node, edge = base.classes.node, base.classes.edge
    assert set(sql.inspect(node).relationships.keys()) == {"up", "up_nodes", "from_edges", "to_edges"}
    engine = sql.create_engine("sqlite://")
    base.metadata.create_all(engine)
    with sa.orm.Session(engine) as session:
        root, leaf = node(a=1, b=2), node(a=1, b=3)
        leaf.up = root
        session.add(edge(**{"from": root, "to": leaf}))
        session.commit()
        assert root.up_nodes == [leaf] and leaf.to_edges[0].from_a == 1 and leaf.from_edges == []


def test_joined_inheritance(sa: SimpleNamespace) -> None:
    """The foreign key to the parent class' table is no relationship."""
    base = sa.automap.automap_base()

    class Animal(base):
        __tablename__ = "animal"
        id = sql.Column(sql.Integer, primary_key=True)
        kind = sql.Column(sql.String)
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "animal"}

    class Cat(Animal):
        __tablename__ = "cat"
        id = sql.Column(sql.ForeignKey("animal.id"), primary_key=True)
        __mapper_args__ = {"polymorphic_identity": "cat"}

    base.prepare()
    assert list(sql.inspect(Cat).relationships) == []


def test_modules(sa: SimpleNamespace, engine: sql.Engine) -> None:
    base = prepared(sa, engine, modulename_for_table=lambda base, name, table: f"my.{name[0]}" if name > "d" else None)
    assert set(base.classes.keys()) == {"company"}
    assert set(base.by_module.my.keys()) == {"e", "p", "t"}
    assert base.by_module.my.p.person.__module__ == "my.p"
    assert base.by_module[sa.name].ext.automap.company is base.classes.company


def test_again(sa: SimpleNamespace, engine: sql.Engine) -> None:
    """Tables that have come since get classes; a name that is taken warns."""
    base = prepared(sa, engine, reflection_options={"only": ["company"]})
    company = base.classes.company
    assert set(base.classes.keys()) == {"company"}
    base.prepare(autoload_with=engine)
    assert set(base.classes.keys()) == {"company", "person", "email", "tag"}
    assert base.classes.company is company
    sql.Table("company", base.metadata, sql.Column("id", sql.Integer, primary_key=True), schema="other")
    with pytest.warns(sql.exc.SAWarning, match="Ignoring duplicate class name 'company'"):
        base.prepare()


def test_own_base_and_old_arguments(sa: SimpleNamespace, engine: sql.Engine) -> None:
    class Own(sa.orm.DeclarativeBase):
        pass

    base = sa.automap.automap_base(Own)
    assert issubclass(base, Own) and issubclass(base, sa.automap.AutomapBase)
    with pytest.warns(sql.exc.SADeprecationWarning, match="autoload_with"):
        base.prepare(engine=engine, reflect=True)
    assert base.classes.tag(name="x").name == "x"
