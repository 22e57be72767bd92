"""Statements, queries and expressions that were pickled: the same SQL and results as before."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sql

from .conftest import extensions


@functools.cache
def models(package: str) -> SimpleNamespace:
    """Users and their addresses; the classes are attributes of this module, so that pickle finds them."""
    sa = extensions(package)
    orm = sa.orm

    class Base(orm.DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "user"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        name = orm.mapped_column(sql.String)
        kind = orm.mapped_column(sql.String)
        addresses = orm.relationship("Address", order_by="Address.id", back_populates="user")
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "user"}

    class Admin(User):
        __mapper_args__ = {"polymorphic_identity": "admin"}

    class Address(Base):
        __tablename__ = "address"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        user_id = orm.mapped_column(sql.ForeignKey("user.id"))
        mail = orm.mapped_column(sql.String)
        user = orm.relationship(User, back_populates="addresses")

    for cls in (User, Admin, Address):
        cls.__qualname__ = f"{cls.__name__}_of_{package}"
        globals()[cls.__qualname__] = cls
    engine = sql.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        session.add(User(name="Ann", addresses=[Address(mail="a@x"), Address(mail="a@y")]))
        session.add(Admin(name="Bob", addresses=[Address(mail="b@x")]))
        session.add(User(name="Cid"))
        session.commit()
    return SimpleNamespace(
        orm=orm,
        serializer=sa.serializer,
        User=User,
        Admin=Admin,
        Address=Address,
        metadata=Base.metadata,
        engine=engine,
        scoped=orm.scoped_session(orm.sessionmaker(engine)),
    )


@pytest.fixture
def m(sa: SimpleNamespace) -> Any:
    found = models(sa.name)
    yield found
    found.scoped.remove()


def again(m: SimpleNamespace, obj: Any, protocol: int = pickle.HIGHEST_PROTOCOL) -> Any:
    return m.serializer.loads(m.serializer.dumps(obj, protocol), m.metadata, m.scoped)


def aliased_join(m: SimpleNamespace) -> Any:
    alias = m.orm.aliased(m.Address)
    return sql.select(m.User.name, alias.mail).join(alias, m.User.addresses).where(alias.mail.like("%x"))


def of_subquery(m: SimpleNamespace) -> Any:
    inner = sql.select(m.User).where(m.User.name > "A").subquery()
    return sql.select(m.orm.aliased(m.User, inner, name="inner")).order_by(inner.c.name)


STATEMENTS: dict[str, Callable[[SimpleNamespace], Any]] = {
    "entity": lambda m: sql.select(m.User).order_by(m.User.id),
    "columns": lambda m: sql.select(m.User.id, m.User.name.label("n")).where(m.User.name.in_(["Ann", "Bob"])),
    "subclass": lambda m: sql.select(m.Admin),
    "join": lambda m: sql.select(m.User).join(m.User.addresses).where(m.Address.mail == "b@x"),
    "aliased join": aliased_join,
    "any": lambda m: sql.select(m.User).where(m.User.addresses.any(m.Address.mail.like("a%"))),
    "joined load": lambda m: sql.select(m.User).options(m.orm.joinedload(m.User.addresses)).order_by(m.User.id),
    "select-in load": lambda m: sql.select(m.User).options(m.orm.selectinload(m.User.addresses)).order_by(m.User.id),
    "load_only": lambda m: sql.select(m.User).options(m.orm.load_only(m.User.name)).order_by(m.User.id),
    "subquery": of_subquery,
    "exists": lambda m: sql.select(m.User.name).where(sql.exists().where(m.Address.user_id == m.User.id)),
    "count": lambda m: (
        sql.select(sql.func.count(m.Address.id), m.User.name).join(m.User.addresses).group_by(m.User.name)
    ),
    "union": lambda m: sql.union(sql.select(m.User.name), sql.select(m.Address.mail)).order_by("name"),
    "core": lambda m: sql.select(m.User.__table__.c.name).where(m.User.__table__.c.id == 2),
    "text": lambda m: sql.select(m.User).from_statement(sql.text("select * from user order by id desc")),
    "parameters": lambda m: sql.select(m.User).where(m.User.name == sql.bindparam("n")).params(n="Bob"),
}


def shown(session: Any, statement: Any) -> Any:
    return [
        tuple((type(value).__name__, value.id) if hasattr(value, "id") else value for value in row)
        for row in session.execute(statement).unique()
    ]


@pytest.mark.parametrize("name", STATEMENTS)
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_statements(m: SimpleNamespace, name: str, protocol: int) -> None:
    statement = STATEMENTS[name](m)
    copy = again(m, statement, protocol)
    assert copy is not statement
    assert str(copy) == str(statement)
    session = m.scoped()
    found = shown(session, copy)
    assert found == shown(session, statement) and found


def test_writing(m: SimpleNamespace) -> None:
    """INSERT, UPDATE and DELETE of entities, with what they do to objects of the session."""
    session = m.scoped()
    cid = session.scalars(sql.select(m.User).where(m.User.name == "Cid")).one()
    session.execute(again(m, sql.update(m.User).where(m.User.name == "Cid").values(name="Cyd")))
    assert cid.name == "Cyd"
    made = session.scalars(again(m, sql.insert(m.Address).values(mail="c@x").returning(m.Address))).one()
    assert isinstance(made, m.Address) and made.mail == "c@x"
    session.execute(again(m, sql.delete(m.User).where(m.User.name == "Cyd")))
    assert cid not in session
    session.rollback()


def test_queries(m: SimpleNamespace) -> None:
    session = m.scoped()
    query = (
        session.query(m.User)
        .join(m.User.addresses)
        .filter(m.Address.mail == "b@x")
        .options(m.orm.joinedload(m.User.addresses))
    )
    copy = again(m, query)
    assert copy.session is session
    (bob,) = copy.all()
    assert bob.name == "Bob" and "addresses" in vars(bob)
    assert again(m, session.query(m.User.name, sql.func.count()).group_by(m.User.name)).count() == 3


def test_parts(m: SimpleNamespace) -> None:
    """What belongs to the program is found there again."""
    mapper = sql.inspect(m.User)
    for part in (mapper, mapper.attrs.addresses, mapper.attrs.name, m.User.__table__, m.User.__table__.c.name):
        assert again(m, part) is part
    assert again(m, m.scoped()) is m.scoped()
    assert m.serializer.loads(m.serializer.dumps(m.engine), engine=m.engine) is m.engine
    assert again(m, m.engine) is m.engine
    assert m.serializer.loads(m.serializer.dumps(m.engine)) is None
    criterion = again(m, (m.User.name == "Ann") & m.User.addresses.any())
    assert [user.name for user in m.scoped().scalars(sql.select(m.User).where(criterion))] == ["Ann"]
    attribute = again(m, {"by": m.User.name})["by"]
    assert m.scoped().scalars(sql.select(m.User).order_by(attribute.desc())).first().name == "Cid"


def test_objects(m: SimpleNamespace) -> None:
    ann = m.scoped().scalars(sql.select(m.User).where(m.User.name == "Ann")).one()
    copy = again(m, [ann, sql.select(m.User)])[0]
    assert copy is not ann and copy.name == "Ann" and sql.inspect(copy).detached


def test_unknown(ours: SimpleNamespace) -> None:
    m = models("rustalchemy")
    data = m.serializer.dumps(m.User.__table__.c.name)
    with pytest.raises(pickle.UnpicklingError, match="MetaData"):
        m.serializer.loads(data)
    with pytest.raises(pickle.UnpicklingError, match="Unknown token: colimn"):
        m.serializer.loads(data.replace(b"column:", b"colimn:"), m.metadata)
    with pytest.raises(pickle.UnpicklingError, match="session"):
        m.serializer.loads(m.serializer.dumps(m.scoped()))
