"""The classes that random queries are about: every kind of key, inheritance, attribute and default strategy."""

from __future__ import annotations

import functools
import importlib
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, Integer, String, Table
from sqlalchemy.util import OrderedSet

from . import rows


@functools.cache
def declare(orm_name: str) -> SimpleNamespace:
    """The classes, declared with `sqlalchemy.orm` or `rustalchemy.orm`, by name."""
    orm: Any = importlib.import_module(orm_name)
    hybrid = importlib.import_module(orm_name.replace(".orm", ".ext.hybrid"))
    proxies = importlib.import_module(orm_name.replace(".orm", ".ext.associationproxy"))

    class Base(orm.DeclarativeBase):  # type: ignore[misc, name-defined]
        pass

    classes = {
        **_people(orm, hybrid, proxies, Base),
        **_staff(orm, Base),
        **_places(orm, Base),
        **_records(orm, Base),
        **_kinds(orm, Base),
        **_vessels(orm, importlib.import_module(orm_name.replace(".orm", ".ext.declarative")), Base),
    }
    orm.configure_mappers()
    if orm_name == "sqlalchemy.orm":
        _in_order()
        for mapper in Base.registry.mappers:
            # a set there, so that the loads of several attributes, and what they leave behind, come in any order
            mapper._prop_set = OrderedSet(mapper._props.values())
            for prop in mapper.relationships:
                # a set as well: the columns that subquery loads go by
                prop.local_columns = OrderedSet(sorted(prop.local_columns, key=str))
    return SimpleNamespace(orm=orm, orm_name=orm_name, Base=Base, classes=classes)


def _in_order() -> None:
    """Columns of a join condition in a fixed order: they are a set, too."""
    from sqlalchemy.orm import strategies

    found = strategies.sql_util
    names = {name: getattr(found, name) for name in dir(found) if not name.startswith("__")}
    names["_find_columns"] = lambda clause: OrderedSet(sorted(found._find_columns(clause), key=str))
    strategies.sql_util = SimpleNamespace(**names)  # type: ignore[attr-defined]


def _people(orm: Any, hybrid: Any, proxies: Any, Base: Any) -> dict[str, Any]:
    """A self-reference, one-to-many, many-to-many, and columns of every kind."""
    user_tags = Table(
        "user_tags",
        Base.metadata,
        Column("user_id", ForeignKey("users.id"), primary_key=True),
        Column("tag_id", ForeignKey("tags.id"), primary_key=True),
    )

    class Address(Base):
        __tablename__ = "addresses"
        id = orm.mapped_column(Integer, primary_key=True)
        user_id = orm.mapped_column(ForeignKey("users.id"))
        name = orm.mapped_column(String(30))
        rank = orm.mapped_column(Integer)
        user = orm.relationship("User", back_populates="addresses")
        dings = orm.relationship("Ding", back_populates="address", order_by="Ding.id")

    class Ding(Base):
        __tablename__ = "dings"
        id = orm.mapped_column(Integer, primary_key=True)
        address_id = orm.mapped_column(ForeignKey("addresses.id"))
        name = orm.mapped_column(String(30), deferred=True)
        address = orm.relationship("Address", back_populates="dings")

    class Profile(Base):
        __tablename__ = "profiles"
        id = orm.mapped_column(Integer, primary_key=True)
        user_id = orm.mapped_column(ForeignKey("users.id"), unique=True)
        name = orm.mapped_column(String(30))
        user = orm.relationship("User", back_populates="profile")

    class Tag(Base):
        __tablename__ = "tags"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        users = orm.relationship("User", secondary=user_tags, back_populates="tags", order_by="User.id")

    class Home:
        def __init__(self, x: Any, y: Any) -> None:
            self.x, self.y = x, y

        def __composite_values__(self) -> Any:
            return self.x, self.y

        def __eq__(self, other: Any) -> bool:
            return isinstance(other, Home) and (self.x, self.y) == (other.x, other.y)

        def __repr__(self) -> str:
            return f"Home({self.x}, {self.y})"

    class User(Base):
        __tablename__ = "users"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        age = orm.mapped_column(Integer)
        bio = orm.mapped_column(String(30), deferred=True)
        note = orm.mapped_column(String(30), deferred=True, deferred_group="notes")
        memo = orm.mapped_column(String(30), deferred=True, deferred_group="notes")
        boss_id = orm.mapped_column(ForeignKey("users.id"))
        x = orm.mapped_column(Integer)
        y = orm.mapped_column(Integer)
        home = orm.composite(Home, "x", "y")
        nick = orm.synonym("name")
        level = orm.query_expression()
        rating = orm.query_expression(sa.literal(0))
        address_count = orm.column_property(
            sa.select(sa.func.count(Address.id))
            .where(Address.user_id == id)
            .correlate_except(Address)
            .scalar_subquery()
        )
        loud = orm.column_property(name + "!", deferred=True)
        boss = orm.relationship("User", remote_side=[id], back_populates="team")
        team = orm.relationship("User", back_populates="boss", order_by="User.id")
        addresses = orm.relationship("Address", back_populates="user", order_by="Address.id")
        ranked = orm.relationship(
            "Address",
            primaryjoin=sa.and_(id == Address.user_id, Address.rank > 1),
            viewonly=True,
            order_by="Address.id",
        )
        profile = orm.relationship("Profile", back_populates="user", uselist=False)
        tags = orm.relationship("Tag", secondary=user_tags, back_populates="users", order_by="Tag.id")
        animals = orm.relationship("Animal", back_populates="owner", order_by="Animal.id")
        emails = proxies.association_proxy("addresses", "name")

        @hybrid.hybrid_property
        def adult(self) -> Any:
            return self.age >= 18

    class Node(Base):
        __tablename__ = "nodes"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        parent_id = orm.mapped_column(ForeignKey("nodes.id"))
        parent = orm.relationship("Node", remote_side=[id], back_populates="children")
        children = orm.relationship("Node", back_populates="parent", order_by="Node.id", lazy="joined", join_depth=2)

    return {"Address": Address, "Ding": Ding, "Profile": Profile, "Tag": Tag, "User": User, "Node": Node, "Home": Home}


def _staff(orm: Any, Base: Any) -> dict[str, Any]:
    """Joined inheritance, three deep, and polymorphic loads of each kind."""

    class Company(Base):
        __tablename__ = "companies"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        people = orm.relationship("Person", back_populates="company", order_by="Person.id")
        shapes = orm.relationship("Shape", back_populates="company", order_by="Shape.id")

    class Person(Base):
        __tablename__ = "people"
        id = orm.mapped_column(Integer, primary_key=True)
        kind = orm.mapped_column(String(20))
        name = orm.mapped_column(String(30))
        company_id = orm.mapped_column(ForeignKey("companies.id"))
        company = orm.relationship("Company", back_populates="people")
        papers = orm.relationship("Paper", back_populates="person", order_by="Paper.id")
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}

    class Engineer(Person):
        __tablename__ = "engineers"
        id = orm.mapped_column(ForeignKey("people.id"), primary_key=True)
        language = orm.mapped_column(String(20))
        notes = orm.mapped_column(String(20), deferred=True)
        mentor_id = orm.mapped_column(ForeignKey("managers.id"))
        mentor = orm.relationship("Manager", foreign_keys=[mentor_id], back_populates="pupils")
        machines = orm.relationship("Machine", order_by="Machine.id")
        __mapper_args__ = {"polymorphic_identity": "engineer", "inherit_condition": id == Person.id}

    class Manager(Person):
        __tablename__ = "managers"
        id = orm.mapped_column(ForeignKey("people.id"), primary_key=True)
        golf = orm.mapped_column(Integer)
        pupils = orm.relationship(
            "Engineer", foreign_keys=[Engineer.mentor_id], back_populates="mentor", order_by="Engineer.id"
        )
        __mapper_args__ = {"polymorphic_identity": "manager"}

    class Boss(Manager):
        __tablename__ = "bosses"
        id = orm.mapped_column(ForeignKey("managers.id"), primary_key=True)
        car = orm.mapped_column(String(20))
        __mapper_args__ = {"polymorphic_identity": "boss"}

    class Machine(Base):
        __tablename__ = "machines"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        engineer_id = orm.mapped_column(ForeignKey("engineers.id"))
        engineer = orm.relationship("Engineer", overlaps="machines")

    class Paper(Base):
        __tablename__ = "papers"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        person_id = orm.mapped_column(ForeignKey("people.id"))
        person = orm.relationship("Person", back_populates="papers", lazy="joined")

    class Shape(Base):
        __tablename__ = "shapes"
        id = orm.mapped_column(Integer, primary_key=True)
        kind = orm.mapped_column(String(20))
        name = orm.mapped_column(String(30))
        company_id = orm.mapped_column(ForeignKey("companies.id"))
        company = orm.relationship("Company", back_populates="shapes")
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "shape"}

    class Circle(Shape):
        __tablename__ = "circles"
        id = orm.mapped_column(ForeignKey("shapes.id"), primary_key=True)
        radius = orm.mapped_column(Integer)
        dots = orm.relationship("Dot", order_by="Dot.id", lazy="selectin")
        __mapper_args__ = {"polymorphic_identity": "circle", "polymorphic_load": "selectin"}

    class Square(Shape):
        __tablename__ = "squares"
        id = orm.mapped_column(ForeignKey("shapes.id"), primary_key=True)
        side = orm.mapped_column(Integer)
        __mapper_args__ = {"polymorphic_identity": "square", "polymorphic_load": "inline"}

    class Dot(Base):
        __tablename__ = "dots"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        circle_id = orm.mapped_column(ForeignKey("circles.id"))

    found = (Company, Person, Engineer, Manager, Boss, Machine, Paper, Shape, Circle, Square, Dot)
    return {class_.__name__: class_ for class_ in found}


def _places(orm: Any, Base: Any) -> dict[str, Any]:
    """Composite keys: one-to-many, many-to-one, many-to-many."""
    roads = Table(
        "roads",
        Base.metadata,
        Column("country", String(3), primary_key=True),
        Column("code", Integer, primary_key=True),
        Column("town_id", ForeignKey("towns.id"), primary_key=True),
        ForeignKeyConstraint(["country", "code"], ["regions.country", "regions.code"]),
    )

    class Region(Base):
        __tablename__ = "regions"
        country = orm.mapped_column(String(3), primary_key=True)
        code = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        towns = orm.relationship("Town", back_populates="region", order_by="Town.id")
        reached = orm.relationship("Town", secondary=roads, back_populates="regions", order_by="Town.id")

    class Town(Base):
        __tablename__ = "towns"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        country = orm.mapped_column(String(3))
        code = orm.mapped_column(Integer)
        twin_id = orm.mapped_column(ForeignKey("towns.id"))
        region = orm.relationship("Region", back_populates="towns")
        regions = orm.relationship("Region", secondary=roads, back_populates="reached", order_by="Region.name")
        twin = orm.relationship("Town", remote_side=[id])
        __table_args__ = (ForeignKeyConstraint(["country", "code"], ["regions.country", "regions.code"]),)

    return {"Region": Region, "Town": Town}


def _records(orm: Any, Base: Any) -> dict[str, Any]:
    """Every strategy as a relationship's own."""

    class Label(Base):
        __tablename__ = "labels"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        albums = orm.relationship("Album", back_populates="label", lazy="subquery", order_by="Album.id")
        stream = orm.relationship("Album", lazy="dynamic", viewonly=True, order_by="Album.id")
        written = orm.relationship("Album", lazy="write_only", overlaps="albums, label", order_by="Album.id")

    class Album(Base):
        __tablename__ = "albums"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        label_id = orm.mapped_column(ForeignKey("labels.id"))
        label = orm.relationship("Label", back_populates="albums", lazy="selectin", overlaps="written")
        tracks = orm.relationship("Track", back_populates="album", lazy="joined", order_by="Track.id")
        hidden = orm.relationship("Track", viewonly=True, lazy="raise", order_by="Track.id")
        quick = orm.relationship("Track", viewonly=True, lazy="immediate", order_by="Track.id.desc()")

    class Track(Base):
        __tablename__ = "tracks"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        album_id = orm.mapped_column(ForeignKey("albums.id"), nullable=False)
        artist_id = orm.mapped_column(ForeignKey("artists.id"), nullable=False)
        album = orm.relationship("Album", back_populates="tracks", lazy="raise_on_sql")
        artist = orm.relationship("Artist", back_populates="tracks", lazy="joined", innerjoin=True)

    class Artist(Base):
        __tablename__ = "artists"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        tracks = orm.relationship("Track", back_populates="artist", lazy="select", order_by="Track.id")

    return {"Label": Label, "Album": Album, "Track": Track, "Artist": Artist}


def _kinds(orm: Any, Base: Any) -> dict[str, Any]:
    """Single-table inheritance, with relationships of subclasses."""

    class Animal(Base):
        __tablename__ = "animals"
        id = orm.mapped_column(Integer, primary_key=True)
        kind = orm.mapped_column(String(20))
        name = orm.mapped_column(String(30))
        owner_id = orm.mapped_column(ForeignKey("users.id"))
        mother_id = orm.mapped_column(ForeignKey("animals.id"))
        owner = orm.relationship("User", back_populates="animals")
        mother = orm.relationship("Animal", remote_side=[id], back_populates="young")
        young = orm.relationship("Animal", back_populates="mother", order_by="Animal.id")
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}

    class Dog(Animal):
        tricks = orm.mapped_column(Integer, nullable=True)
        bones = orm.relationship("Bone", back_populates="dog", order_by="Bone.id")
        __mapper_args__ = {"polymorphic_identity": "dog"}

    class Puppy(Dog):
        toy = orm.mapped_column(String(20), nullable=True)
        __mapper_args__ = {"polymorphic_identity": "puppy"}

    class Cat(Animal):
        lives = orm.mapped_column(Integer, nullable=True)
        __mapper_args__ = {"polymorphic_identity": "cat"}

    class Bone(Base):
        __tablename__ = "bones"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        dog_id = orm.mapped_column(ForeignKey("animals.id"))
        dog = orm.relationship("Dog", back_populates="bones")

    return {class_.__name__: class_ for class_ in (Animal, Dog, Puppy, Cat, Bone)}


def _vessels(orm: Any, declarative: Any, Base: Any) -> dict[str, Any]:
    """Concrete table inheritance: a row of one table each, all of them in a union."""

    class Port(Base):
        __tablename__ = "ports"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        vessels = orm.relationship("Vessel", back_populates="port", order_by="Vessel.id")

    class Vessel(declarative.ConcreteBase, Base):
        __tablename__ = "vessels"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        tons = orm.mapped_column(Integer)
        port_id = orm.mapped_column(ForeignKey("ports.id"))
        port = orm.relationship("Port", back_populates="vessels")
        __mapper_args__ = {"polymorphic_identity": "vessel", "concrete": True}

    class Barge(Vessel):
        __tablename__ = "barges"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        tons = orm.mapped_column(Integer)
        port_id = orm.mapped_column(ForeignKey("ports.id"))
        length = orm.mapped_column(Integer)
        port = orm.relationship("Port", back_populates="vessels")
        __mapper_args__ = {"polymorphic_identity": "barge", "concrete": True}

    class Tug(Vessel):
        __tablename__ = "tugs"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        tons = orm.mapped_column(Integer)
        port_id = orm.mapped_column(ForeignKey("ports.id"))
        power = orm.mapped_column(Integer, deferred=True)
        port = orm.relationship("Port", back_populates="vessels")
        __mapper_args__ = {"polymorphic_identity": "tug", "concrete": True}

    return {class_.__name__: class_ for class_ in (Port, Vessel, Barge, Tug)}


def make_database(zoo: SimpleNamespace) -> Any:
    """An engine on one connection to a filled SQLite database."""
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    zoo.Base.metadata.create_all(engine)
    with engine.begin() as connection:
        for name, found in rows.ROWS.items():
            connection.execute(zoo.Base.metadata.tables[name].insert(), found)
    return engine
