"""A post and its tags, whose names are seen through a proxy: of a list, set, dictionary or class of one's own."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sql


def bag(sa: SimpleNamespace) -> type:
    """A collection class of one's own that acts as a list."""
    collection = sa.orm.collections.collection

    class Bag:
        __emulates__ = list

        def __init__(self) -> None:
            self.data: list[Any] = []

        @collection.appender
        def append(self, item: Any) -> None:
            self.data.append(item)

        @collection.remover
        def remove(self, item: Any) -> None:
            self.data.remove(item)

        @collection.iterator
        def __iter__(self) -> Any:
            return iter(self.data)

        def __len__(self) -> int:
            return len(self.data)

    return Bag


def mapped(
    sa: SimpleNamespace, collection_class: Any = list, creator: Callable[..., Any] | None = None, **kw: Any
) -> Any:
    """`(Post, Tag)`; the proxy is `Post.names`, its collection `Post.tags`. In a dictionary the key is `Tag.kind`."""
    orm = sa.orm

    class Base(orm.DeclarativeBase):
        pass

    class Tag(Base):
        __tablename__ = "tag"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        post_id = orm.mapped_column(sql.ForeignKey("post.id"))
        kind = orm.mapped_column(sql.String)
        name = orm.mapped_column(sql.String)

        def __init__(self, name: str, kind: str | None = None) -> None:
            self.name = name
            self.kind = kind

    if collection_class is dict:
        collection_class = orm.attribute_keyed_dict("kind")
        creator = creator or (lambda key, value: Tag(value, key))

    class Post(Base):
        __tablename__ = "post"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        tags = orm.relationship(Tag, collection_class=collection_class, cascade="all, delete-orphan")
        names = sa.associationproxy.association_proxy("tags", "name", creator=creator, **kw)

    return Post, Tag


def session(sa: SimpleNamespace, post: type) -> Any:
    """A session on a new database with the tables."""
    engine = sql.create_engine("sqlite://")
    post.metadata.create_all(engine)  # type: ignore[attr-defined]
    return sa.orm.Session(engine)
