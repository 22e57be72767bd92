"""User code for type checkers: what is inferred of asynchronous sessions, their factories and scopes."""

from __future__ import annotations

from asyncio import current_task
from collections.abc import Sequence
from typing import Optional

from sqlalchemy import Result, ScalarResult, select, text
from typing_extensions import assert_type

from rustalchemy.ext.asyncio import (
    AsyncAttrs,
    AsyncConnection,
    AsyncEngine,
    AsyncResult,
    AsyncScalarResult,
    AsyncSession,
    AsyncSessionTransaction,
    async_object_session,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from rustalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(AsyncAttrs, DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Mine(AsyncSession):
    sync_session_class = Session


def count(session: Session, factor: int) -> int:
    return len(session.identity_map) * factor


engine = create_async_engine("sqlite+aiosqlite://")
assert_type(engine, AsyncEngine)
maker = async_sessionmaker(engine, expire_on_commit=False)
assert_type(maker, async_sessionmaker[AsyncSession])
mine = async_sessionmaker(engine, class_=Mine)
assert_type(mine, async_sessionmaker[Mine])
scoped = async_scoped_session(mine, current_task)
assert_type(scoped(), Mine)


async def sessions(user: User) -> None:
    async with maker() as session:
        assert_type(session, AsyncSession)
    async with mine.begin() as own:
        assert_type(own, Mine)
    assert_type(async_object_session(user), Optional[AsyncSession])
    assert_type(await session.connection(), AsyncConnection)
    async with session.begin() as transaction:
        assert_type(transaction, AsyncSessionTransaction)
    assert_type(await session.begin_nested(), AsyncSessionTransaction)
    assert_type(session.autoflush, bool)
    session.autoflush = False
    session.add(user)
    assert_type(user in session, bool)


async def statements(session: AsyncSession, user: User) -> None:
    rows = await session.execute(select(User.id, User.name))
    assert_type(rows, Result[int, str])
    assert_type(await session.scalars(select(User)), ScalarResult[User])
    assert_type(await session.stream(select(User.id, User.name)), AsyncResult[int, str])
    assert_type(await session.stream_scalars(select(User)), AsyncScalarResult[User])
    assert_type(await session.get(User, 1), Optional[User])
    assert_type(await session.get_one(User, 1), User)
    assert_type(await session.merge(user), User)
    assert_type(await session.merge_all([user]), Sequence[User])
    assert_type(await session.run_sync(count, 2), int)
    assert_type(await session.run_sync(count, factor=2), int)
    await session.execute(text("select 1"), {"a": 1})


async def in_scope(user: User) -> None:
    assert_type(await scoped.execute(select(User.id, User.name)), Result[int, str])
    assert_type(await scoped.scalars(select(User)), ScalarResult[User])
    assert_type(await scoped.get(User, 1), Optional[User])
    assert_type(await scoped.merge(user), User)
    assert_type(await scoped.connection(), AsyncConnection)
    scoped.add(user)
    await scoped.remove()
