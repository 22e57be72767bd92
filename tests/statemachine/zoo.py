"""The classes of the state machine, declared once per ORM, and the engine both ORMs are given.

The classes are module-level names of an invented module, so that their objects can be pickled.
"""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.pool import StaticPool


@functools.cache
def declare(orm_name: str) -> SimpleNamespace:
    """Users with posts, profiles and tags, a tree, a hierarchy, versions, composite keys, a class of plain layout;
    orphans that are deleted, sets of members, rows that are updated afterwards."""
    orm: Any = importlib.import_module(orm_name)
    column, relationship = orm.mapped_column, orm.relationship

    class Base(orm.DeclarativeBase):
        pass

    tagging = sa.Table(
        "tagging",
        Base.metadata,
        sa.Column("post_id", sa.ForeignKey("post.id"), primary_key=True),
        sa.Column("tag_id", sa.ForeignKey("tag.id"), primary_key=True),
    )

    class User(Base):
        __tablename__ = "user"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        age = column(sa.Integer, default=30)
        posts = relationship("Post", back_populates="author", order_by="Post.id")
        profile = relationship("Profile", back_populates="user", uselist=False, cascade="all, delete-orphan")

    class Post(Base):
        __tablename__ = "post"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        body = column(sa.String, deferred=True)
        author_id = column(sa.ForeignKey("user.id"))
        author = relationship("User", back_populates="posts")
        tags = relationship("Tag", secondary=tagging, back_populates="posts", order_by="Tag.id")

    class Tag(Base):
        __tablename__ = "tag"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String, server_default="unnamed")
        posts = relationship("Post", secondary=tagging, back_populates="tags", order_by="Post.id")

    class Profile(Base):
        __tablename__ = "profile"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        user_id = column(sa.ForeignKey("user.id"))
        user = relationship("User", back_populates="profile")

    class Node(Base):
        __tablename__ = "node"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        parent_id = column(sa.ForeignKey("node.id"))
        children = relationship("Node", back_populates="parent", order_by="Node.id", cascade="all")
        parent = relationship("Node", back_populates="children", remote_side=[id])

    class Club(Base):
        __tablename__ = "club"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        people = relationship("Person", back_populates="club", collection_class=set)

    class Person(Base):
        __tablename__ = "person"
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}
        id = column(sa.Integer, primary_key=True)
        kind = column(sa.String)
        name = column(sa.String)
        club_id = column(sa.ForeignKey("club.id"))
        club = relationship("Club", back_populates="people")

        def __hash__(self) -> int:
            # sets have an order that does not depend on where the objects are in memory
            return 1

    class Engineer(Person):
        __tablename__ = "engineer"
        __mapper_args__ = {"polymorphic_identity": "engineer"}
        id = column(sa.ForeignKey("person.id"), primary_key=True)
        age = column(sa.Integer)

    class Pair(Base):
        __tablename__ = "pair"
        id = column(sa.Integer, primary_key=True, autoincrement=False)
        second = column(sa.Integer, primary_key=True, autoincrement=False)
        name = column(sa.String)

    class Basket(Base):
        __tablename__ = "basket"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        items = relationship("Item", back_populates="basket", order_by="Item.id", cascade="all, delete-orphan")

    class Item(Base):
        __tablename__ = "item"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        basket_id = column(sa.ForeignKey("basket.id"))
        basket = relationship("Basket", back_populates="items")

    class Wheel(Base):
        __tablename__ = "wheel"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        main_id = column(sa.ForeignKey("spoke.id", use_alter=True, name="main_spoke"))
        main = relationship("Spoke", foreign_keys=main_id, post_update=True)
        spokes = relationship(
            "Spoke", back_populates="wheel", order_by="Spoke.id", foreign_keys="Spoke.wheel_id", passive_deletes=True
        )

    class Spoke(Base):
        __tablename__ = "spoke"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String, onupdate="changed")
        wheel_id = column(sa.ForeignKey("wheel.id", ondelete="SET NULL"))
        wheel = relationship("Wheel", back_populates="spokes", foreign_keys=wheel_id)

    class Document:
        def __init__(self, **values: Any) -> None:
            for key, value in values.items():
                setattr(self, key, value)

    table = sa.Table(
        "document",
        Base.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("user_id", sa.ForeignKey("user.id")),
    )
    Base.registry.map_imperatively(
        Document,
        table,
        version_id_col=table.c.version,
        properties={"user": relationship(User, backref=orm.backref("documents", order_by=table.c.id, cascade="all"))},
    )

    for class_table in Base.metadata.tables.values():
        if "name" in class_table.c:
            class_table.append_constraint(sa.CheckConstraint(f"name <> '{REFUSED}'"))
    orm.configure_mappers()
    module = ModuleType(f"{__name__}.{orm_name.partition('.')[0]}")
    sys.modules[module.__name__] = module
    related = (User, Post, Tag, Profile, Document, Basket, Item, Club, Person, Engineer, Wheel, Spoke)
    classes = (*related, Node, Pair)
    for class_ in classes:
        class_.__module__, class_.__qualname__ = module.__name__, class_.__name__
        setattr(module, class_.__name__, class_)
    return SimpleNamespace(orm=orm, metadata=Base.metadata, classes={c.__name__: c for c in classes})


COLUMNS = {
    "User": ("name", "age", "id"),
    "Post": ("name", "body", "author_id", "id"),
    "Tag": ("name", "id"),
    "Profile": ("name", "user_id"),
    "Node": ("name", "parent_id", "id"),
    "Person": ("name", "club_id"),
    "Engineer": ("name", "age", "club_id"),
    "Club": ("name", "id"),
    "Pair": ("name", "second"),
    "Document": ("name", "user_id"),
    "Basket": ("name",),
    "Item": ("name", "basket_id"),
    "Wheel": ("name", "main_id"),
    "Spoke": ("name", "wheel_id"),
}
COLLECTIONS = {
    "User": {"posts": "Post", "documents": "Document"},
    "Post": {"tags": "Tag"},
    "Tag": {"posts": "Post"},
    "Node": {"children": "Node"},
    "Club": {"people": "Person"},
    "Basket": {"items": "Item"},
    "Wheel": {"spokes": "Spoke"},
}
SCALARS = {
    "User": {"profile": "Profile"},
    "Post": {"author": "User"},
    "Profile": {"user": "User"},
    "Node": {"parent": "Node"},
    "Document": {"user": "User"},
    "Person": {"club": "Club"},
    "Engineer": {"club": "Club"},
    "Item": {"basket": "Basket"},
    "Wheel": {"main": "Spoke"},
    "Spoke": {"wheel": "Wheel"},
}
# Classes that have to do with one another; a program plays with the classes of a few families.
FAMILIES = (
    ("User", "Post"),
    ("User", "Profile"),
    ("User", "Document"),
    ("User", "Post", "Tag", "Profile", "Document"),
    ("Post", "Tag"),
    ("Node",),
    ("Club", "Person", "Engineer"),
    ("Pair", "Engineer"),
    ("Basket", "Item"),
    ("Wheel", "Spoke"),
)
REFUSED = "bad"
ROW_EVENTS = tuple(f"{when}_{what}" for what in ("insert", "update", "delete") for when in ("before", "after"))
SESSION_EVENTS = (
    "before_flush",
    "after_flush",
    "after_flush_postexec",
    "before_commit",
    "after_begin",
    "before_attach",
)


def is_a(obj: Any, *names: str) -> bool:
    """Is the object of one of the classes, or of one derived from it?"""
    return any(cls.__name__ in names for cls in type(obj).__mro__)


def table_of(class_: Any) -> sa.Table:
    """Where a class has its name."""
    return class_.__mapper__.base_mapper.local_table


def make_engine(metadata: sa.MetaData, *, observed: bool, foreign_keys: bool) -> sa.Engine:
    """An engine on one SQLite connection in memory.

    The driver's own transactions begin too late for SAVEPOINT, so they are switched off and BEGIN is sent by an event.
    With an event of the engine every statement goes through Core; with one of the pool rustalchemy may use its lane.
    """
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)

    @event.listens_for(engine, "connect")
    def manual(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA foreign_keys = {int(foreign_keys)}")

    metadata.create_all(engine)
    if observed:

        @event.listens_for(engine, "begin")
        def begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN")

    else:

        @event.listens_for(engine.pool, "checkout")
        def begin_at_checkout(connection: Any, record: Any, proxy: Any) -> None:
            if not connection.in_transaction:
                connection.execute("BEGIN")

    return engine
