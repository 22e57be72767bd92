"""Classes whose objects travel: of every collection kind, of a hierarchy, and one of plain layout.

Which ORM they are for is said by the environment, as this module is imported in several processes.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import sqlalchemy as sa

orm: Any = importlib.import_module(os.environ["PICKLES_ORM"])
column, relationship = orm.mapped_column, orm.relationship


class Base(orm.DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "user"}
    id = column(sa.Integer, primary_key=True)
    kind = column(sa.String)
    name = column(sa.String)
    age = column(sa.Integer)
    posts = relationship("Post", back_populates="user", order_by="Post.id")
    notes = relationship("Note", collection_class=orm.attribute_keyed_dict("key"))
    marks = relationship("Mark", collection_class=set)


class Admin(User):
    __tablename__ = "admins"
    __mapper_args__ = {"polymorphic_identity": "admin"}
    id = column(sa.ForeignKey("users.id"), primary_key=True)
    level = column(sa.Integer)


class Post(Base):
    __tablename__ = "posts"
    id = column(sa.Integer, primary_key=True)
    user_id = column(sa.ForeignKey("users.id"))
    title = column(sa.String)
    user = relationship("User", back_populates="posts")


class Note(Base):
    __tablename__ = "notes"
    id = column(sa.Integer, primary_key=True)
    user_id = column(sa.ForeignKey("users.id"))
    key = column(sa.String)


class Mark(Base):
    __tablename__ = "marks"
    id = column(sa.Integer, primary_key=True)
    user_id = column(sa.ForeignKey("users.id"))


class Plain:
    def __init__(self, **values: Any) -> None:
        for key, value in values.items():
            setattr(self, key, value)


Base.registry.map_imperatively(
    Plain,
    sa.Table(
        "plains",
        Base.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String),
        sa.Column("user_id", sa.ForeignKey("users.id")),
    ),
    properties={"user": relationship(User)},
)


def made_engine(path: str) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    return engine


def looks(obj: Any) -> dict[str, Any]:
    """What can be told of an object without loading anything."""
    state = sa.inspect(obj)
    (life,) = [name for name in ("transient", "pending", "persistent", "deleted", "detached") if getattr(state, name)]
    return {
        "life": life,
        "identity": state.identity,
        "modified": state.modified,
        "expired": sorted(state.expired_attributes & state.unloaded),
        "unloaded": sorted(state.unloaded),
        "committed": {key: str(value) for key, value in sorted(state.committed_state.items())},
        "values": {key: value for key, value in state.dict.items() if isinstance(value, (int, str))},
        "members": {
            key: sorted(str(member.id) for member in getattr(value, "values", lambda value=value: value)())
            for key, value in state.dict.items()
            if isinstance(value, (list, set, dict))
        },
    }
