"""Association proxies as fields of dataclasses. Annotations are evaluated: the names in them are local."""

import dataclasses
from types import SimpleNamespace
from typing import Any, Optional

import pytest
import sqlalchemy as sql


def post_class(sa: SimpleNamespace, **kw: Any) -> Any:
    """A dataclass with the field `names`."""
    orm = sa.orm

    class Base(orm.MappedAsDataclass, orm.DeclarativeBase):
        pass

    class Tag(Base):
        __tablename__ = "tag"
        id: orm.Mapped[int] = orm.mapped_column(init=False, primary_key=True)
        post_id: orm.Mapped[Optional[int]] = orm.mapped_column(sql.ForeignKey("post.id"), init=False)
        name: orm.Mapped[str]

    class Post(Base):
        __tablename__ = "post"
        __qualname__ = "Post"
        id: orm.Mapped[int] = orm.mapped_column(init=False, primary_key=True, repr=False)
        tags: orm.Mapped[list[Tag]] = orm.relationship(default_factory=list, repr=False)
        names: sa.associationproxy.AssociationProxy[list[str]] = sa.associationproxy.association_proxy(
            "tags", "name", **kw
        )

    return Post


def test_default_factory(sa: SimpleNamespace) -> None:
    Post = post_class(sa, default_factory=list)
    assert Post().names == [] and Post(names=["a", "b"]).names == ["a", "b"]
    assert repr(Post(names=["a"])) == "Post(names=['a'])"


def test_options(sa: SimpleNamespace) -> None:
    options = {"init": False, "repr": False, "compare": False, "hash": False, "kw_only": True}
    Post = post_class(sa, default=None, dataclass_metadata={"shown": True}, **options)
    field = {field.name: field for field in dataclasses.fields(Post)}["names"]
    assert {name: getattr(field, name) for name in options} == options
    assert dict(field.metadata) == {"shown": True}
    with pytest.raises(TypeError):
        Post(names=["a"])


def test_options_outside_of_dataclasses(sa: SimpleNamespace) -> None:
    """Arguments of a field make no sense in a class that is no dataclass."""

    class Base(sa.orm.DeclarativeBase):
        pass

    with pytest.raises(sql.exc.ArgumentError, match="native dataclass configuration"):

        class Post(Base):
            __tablename__ = "post"
            id: sa.orm.Mapped[int] = sa.orm.mapped_column(primary_key=True)
            names: sa.associationproxy.AssociationProxy[list[str]] = sa.associationproxy.association_proxy(
                "tags", "name", repr=False
            )
