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
    """Users with posts, profiles and tags, a tree, a hierarchy, versions, composite keys, a class of plain layout."""
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

    class Person(Base):
        __tablename__ = "person"
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}
        id = column(sa.Integer, primary_key=True)
        kind = column(sa.String)
        name = column(sa.String)

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

    orm.configure_mappers()
    module = ModuleType(f"{__name__}.{orm_name.partition('.')[0]}")
    sys.modules[module.__name__] = module
    classes = (User, Post, Tag, Profile, Node, Person, Engineer, Pair, Document)
    for class_ in classes:
        class_.__module__, class_.__qualname__ = module.__name__, class_.__name__
        setattr(module, class_.__name__, class_)
    return SimpleNamespace(orm=orm, metadata=Base.metadata, classes={c.__name__: c for c in classes})


COLUMNS = {
    "User": ("name", "age", "id"),
    "Post": ("name", "body", "author_id"),
    "Tag": ("name",),
    "Profile": ("name", "user_id"),
    "Node": ("name", "parent_id"),
    "Person": ("name",),
    "Engineer": ("name", "age"),
    "Pair": ("name", "second"),
    "Document": ("name", "user_id"),
}
COLLECTIONS = {
    "User": {"posts": "Post", "documents": "Document"},
    "Post": {"tags": "Tag"},
    "Tag": {"posts": "Post"},
    "Node": {"children": "Node"},
}
SCALARS = {
    "User": {"profile": "Profile"},
    "Post": {"author": "User"},
    "Profile": {"user": "User"},
    "Node": {"parent": "Node"},
    "Document": {"user": "User"},
}
NAMES = sorted(COLUMNS)


def make_engine(metadata: sa.MetaData, *, observed: bool) -> sa.Engine:
    """An engine on one SQLite connection in memory.

    The driver's own transactions begin too late for SAVEPOINT, so they are switched off and BEGIN is sent by an event.
    With an event of the engine every statement goes through Core; with one of the pool rustalchemy may use its lane.
    """
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)

    @event.listens_for(engine, "connect")
    def manual(connection: Any, record: Any) -> None:
        connection.isolation_level = None

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
