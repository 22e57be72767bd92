"""What the asyncio tests share: one ORM with an asynchronous SQLite database, and tests that are coroutines."""

from __future__ import annotations

import asyncio
import functools
import importlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sql


def awaited(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that is a coroutine: run in a loop of its own, for at most a minute. It must leave no connection open."""

    @functools.wraps(test)
    def run(*args: Any, **kw: Any) -> None:
        before = set(threading.enumerate())
        asyncio.run(asyncio.wait_for(test(*args, **kw), 60))
        for thread in set(threading.enumerate()) - before:
            thread.join(10)  # the driver has one for each connection
            assert not thread.is_alive()

    return run


def _do_not_wait_for_the_disk(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = OFF")
    cursor.close()


class World:
    """The asyncio extension of one package, users with addresses, and a database of its own."""

    def __init__(self, package: str, path: Path) -> None:
        self.name = package
        orm: Any = importlib.import_module(f"{package}.orm")
        self.orm = orm
        self.aio: Any = importlib.import_module(f"{package}.ext.asyncio")
        self.url = f"sqlite+aiosqlite:///{path / package}.db"

        class Base(self.aio.AsyncAttrs, orm.DeclarativeBase):  # type: ignore[misc, name-defined]
            pass

        class User(Base):
            __tablename__ = "user"
            id = orm.mapped_column(sql.Integer, primary_key=True)
            name = orm.mapped_column(sql.String, unique=True)
            notes = orm.mapped_column(sql.String, deferred=True, server_default="none")
            addresses = orm.relationship(
                "Address", back_populates="user", cascade="all, delete-orphan", order_by="Address.id"
            )

        class Address(Base):
            __tablename__ = "address"
            id = orm.mapped_column(sql.Integer, primary_key=True)
            user_id = orm.mapped_column(sql.ForeignKey("user.id"))
            email = orm.mapped_column(sql.String)
            user = orm.relationship(User, back_populates="addresses")

        self.Base, self.User, self.Address = Base, User, Address

    @asynccontextmanager
    async def engine(self, users: str = "") -> AsyncIterator[Any]:
        """An engine on the database, whose tables are new and have users with these letters as names."""
        engine = self.aio.create_async_engine(self.url)
        sql.event.listen(engine.sync_engine, "connect", _do_not_wait_for_the_disk)
        async with engine.begin() as connection:
            await connection.run_sync(self.Base.metadata.drop_all)
            await connection.run_sync(self.Base.metadata.create_all)
        async with self.aio.AsyncSession(engine) as session:
            session.add_all([self.user(name) for name in users])
            await session.commit()
        try:
            yield engine
        finally:
            await engine.dispose()

    def user(self, name: str) -> Any:
        """A user with an address."""
        return self.User(name=name, addresses=[self.Address(email=f"{name}@x.org")])

    async def names(self, engine: Any) -> list[str]:
        """The users in the database, as another connection sees them."""
        async with engine.connect() as connection:
            return list(await connection.scalars(sql.select(self.User.__table__.c.name).order_by("id")))
