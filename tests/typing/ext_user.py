"""User code for type checkers: what is inferred of association proxies, hybrids and sharded sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.sql.elements import SQLCoreOperations
from typing_extensions import assert_type

from rustalchemy.ext.associationproxy import AssociationProxy, AssociationProxyInstance, association_proxy
from rustalchemy.ext.horizontal_shard import ShardedSession, set_shard_id
from rustalchemy.ext.hybrid import hybrid_method, hybrid_property
from rustalchemy.orm import DeclarativeBase, Mapped, Mapper, ORMExecuteState, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Tag(Base):
    __tablename__ = "tag"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    name: Mapped[str]


class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    tags: Mapped[list[Tag]] = relationship()
    tag_names: AssociationProxy[list[str]] = association_proxy("tags", "name", creator=lambda name: Tag(name=name))

    @hybrid_property
    def shown(self) -> Optional[str]:
        return self.name

    @shown.inplace.setter
    def _set_shown(self, value: Optional[str]) -> None:
        self.name = value or ""

    @shown.inplace.expression
    @classmethod
    def _shown_expression(cls) -> Any:
        return cls.name + "!"

    @hybrid_method
    def named(self, name: str) -> bool:
        return self.name == name


user = User(tag_names=["a"])
assert_type(user.tag_names, list[str])
assert_type(User.tag_names, AssociationProxyInstance[list[str]])
user.tag_names = ["b"]
assert_type(user.shown, Optional[str])
user.shown = None
assert_type(user.named("a"), bool)
assert_type(User.named("a"), SQLCoreOperations[bool])
criterion = User.shown == "a"
condition = User.tag_names.contains("a") | User.tag_names.any()


def choose_shard(mapper: Optional[Mapper[Any]], instance: Any, clause: Any = None) -> str:
    return "a"


def choose_by_identity(mapper: Mapper[Any], primary_key: Any, *, lazy_loaded_from: Any, **kw: Any) -> list[str]:
    return ["a"]


def choose_to_execute(orm_context: ORMExecuteState) -> list[str]:
    return ["a"]


session = ShardedSession(choose_shard, choose_by_identity, choose_to_execute, shards={"a": create_engine("sqlite://")})
session.bind_shard("b", create_engine("sqlite://"))
names: Sequence[str] = session.scalars(select(User.name).options(set_shard_id("a"))).all()
