"""Tasks: cancelled wherever the driver waits, racing for one session, each with a session of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sql
from sqlalchemy import event, exc
from sqlalchemy.util import await_only

from .awaiting import World, awaited


class Gate:
    """Holds the first task that sends a certain statement, connects or commits, until the gate is opened."""

    def __init__(self, engine: Any) -> None:
        self.wanted = ""
        self.reached, self.open = asyncio.Event(), asyncio.Event()
        sync = engine.sync_engine
        event.listen(sync, "do_connect", lambda *args: self._pass("connect"))
        event.listen(sync, "before_cursor_execute", lambda connection, cursor, sql, *args: self._pass(sql))
        event.listen(sync, "commit", lambda connection: self._pass("commit"))

    def _pass(self, what: str) -> None:
        if self.wanted and what.startswith(self.wanted):
            self.wanted = ""
            self.reached.set()
            await_only(self.open.wait())


async def work(world: World, session: Any) -> None:
    """A load, a flush of an UPDATE and of INSERTs into two tables, a commit."""
    ann = await session.get_one(world.User, 1)
    ann.name = "A"
    session.add(world.user("c"))
    await session.flush()
    await session.commit()


STEPS = ["connect", "SELECT", "UPDATE", "INSERT INTO user", "INSERT INTO address", "commit"]


@pytest.mark.parametrize("step", STEPS)
@awaited
async def test_cancelled_task(world: World, step: str) -> None:
    """Nothing of the work is left, the session can be used again, and no connection is lost."""
    async with world.engine("a") as engine:
        session = world.aio.AsyncSession(engine)
        await engine.dispose()
        gate = Gate(engine)
        gate.wanted = step
        task = asyncio.create_task(work(world, session))
        await gate.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if step in {"UPDATE", "INSERT INTO user", "INSERT INTO address"}:
            assert not session.is_active
            with pytest.raises(exc.PendingRollbackError):
                await session.scalars(sql.select(world.User))
        await session.rollback()
        assert await world.names(engine) == ["a"] and not session.new and not session.dirty
        assert engine.pool.checkedout() == 0
        await work(world, session)
        assert await world.names(engine) == ["A", "c"]
        await session.close()
        assert engine.pool.checkedout() == 0


@pytest.mark.parametrize("block", ["session", "transaction", "maker"])
@awaited
async def test_cancelled_block(world: World, block: str) -> None:
    """Leaving `async with` closes the session, although the task is being cancelled."""
    async with world.engine("a") as engine:
        gate = Gate(engine)
        maker = world.aio.async_sessionmaker(engine)
        sessions = []

        async def in_session() -> None:
            async with maker() as session:
                sessions.append(session)
                session.add(world.User(name="b"))
                await session.flush()

        async def in_transaction() -> None:
            async with maker() as session, session.begin():
                sessions.append(session)
                session.add(world.User(name="b"))
                await session.flush()

        async def in_maker() -> None:
            async with maker.begin() as session:
                sessions.append(session)
                session.add(world.User(name="b"))
                await session.flush()

        blocks: dict[str, Callable[[], Any]] = {
            "session": in_session, "transaction": in_transaction, "maker": in_maker
        }  # fmt: skip
        gate.wanted = "INSERT"
        task = asyncio.create_task(blocks[block]())
        await gate.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (session,) = sessions
        assert not session.in_transaction() and not list(session) and engine.pool.checkedout() == 0
        assert await world.names(engine) == ["a"]


@awaited
async def test_cancelled_in_a_stream(world: World) -> None:
    """Cancelled between two rows: the stream ends, the session goes on."""
    async with world.engine("abcdef") as engine, world.aio.AsyncSession(engine) as session:
        read: list[str] = []
        reached = asyncio.Event()

        async def read_slowly() -> None:
            async for user in await session.stream_scalars(sql.select(world.User), execution_options={"yield_per": 2}):
                read.append(user.name)
                if len(read) == 3:
                    reached.set()
                    await asyncio.sleep(60)

        task = asyncio.create_task(read_slowly())
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert read == ["a", "b", "c"]
        assert len((await session.scalars(sql.select(world.User))).all()) == 6


@awaited
async def test_a_session_for_each_task(world: World) -> None:
    async with world.engine("ab") as engine:
        maker = world.aio.async_sessionmaker(engine, expire_on_commit=False)
        scoped = world.aio.async_scoped_session(maker, asyncio.current_task)

        async def with_own() -> list[str]:
            async with maker() as session:
                return [user.name for user in await session.scalars(sql.select(world.User))]

        async def with_scoped(number: int) -> tuple[int, str, bool]:
            mine = scoped()
            user = await scoped.get_one(world.User, number)
            await asyncio.sleep(0)
            found = (id(mine), (await scoped.merge(user)).name, user in scoped)
            assert scoped() is mine
            await scoped.remove()
            assert scoped() is not mine
            await scoped.remove()
            return found

        assert await asyncio.gather(*(with_own() for _ in range(5))) == [["a", "b"]] * 5
        found = await asyncio.gather(with_scoped(1), with_scoped(2))
        assert [(name, is_in) for _, name, is_in in found] == [("a", True), ("b", True)]
        assert found[0][0] != found[1][0]


# ---- one session, two tasks: ours alone -----------------------------------------------------------------------------

USES: dict[str, Callable[[World, Any], Any]] = {
    "execute": lambda world, session: session.execute(sql.select(world.User)),
    "scalar": lambda world, session: session.scalar(sql.select(world.User.name)),
    "get": lambda world, session: session.get(world.User, 2),
    "stream": lambda world, session: session.stream(sql.select(world.User)),
    "flush": lambda world, session: session.flush(),
    "commit": lambda world, session: session.commit(),
    "rollback": lambda world, session: session.rollback(),
    "close": lambda world, session: session.close(),
    "connection": lambda world, session: session.connection(),
    "begin_nested": lambda world, session: session.begin_nested().start(),
    "run_sync": lambda world, session: session.run_sync(lambda sync: sync.add(world.user("x"))),
    "merge": lambda world, session: session.merge(world.User(id=2)),
    "stream of rows": lambda world, session: session.stream_scalars(sql.select(world.User.name)),
}


@pytest.mark.parametrize("step", STEPS)
@awaited
async def test_two_tasks_in_one_session(our_world: World, step: str) -> None:
    """The second is refused at once, whatever it does; its error has its own stack, and the first one's in its text."""
    world = our_world
    async with world.engine("ab") as engine, world.aio.AsyncSession(engine) as session:
        await engine.dispose()
        gate = Gate(engine)
        gate.wanted = step
        worker = asyncio.create_task(work(world, session), name="the worker")
        await gate.reached.wait()
        for name, use in USES.items():
            with pytest.raises(exc.IllegalStateChangeError) as raised:
                await use(world, session)
            message = str(raised.value)
            assert raised.value.code == "isce" and "in use by another task" in message, name
            assert "task 'the worker'" in message and "in work\n" in message
            assert any(entry.name == "test_two_tasks_in_one_session" for entry in raised.traceback), name
        gate.open.set()
        await worker  # it has not noticed
        assert await world.names(engine) == ["A", "b", "c"]


@awaited
async def test_racing_tasks(our_world: World) -> None:
    """Of several that start at once the first one gets through, and the session is none the worse for it."""
    world = our_world
    async with world.engine("ab") as engine, world.aio.AsyncSession(engine) as session:

        async def load_first_user() -> Any:
            return await session.get(world.User, 1, populate_existing=True)

        for _ in range(5):
            first, *others = await asyncio.gather(*(load_first_user() for _ in range(4)), return_exceptions=True)
            assert first.name == "a"
            assert [type(error) for error in others] == [exc.IllegalStateChangeError] * 3
            assert all(
                "in load_first_user\n    return await session.get(world.User, 1, populate" in str(error)
                for error in others
            )
        assert (await session.get_one(world.User, 2)).name == "b"


@awaited
async def test_a_listener_that_awaits(our_world: World) -> None:
    """Before the session has a connection, too, a task that waits inside of a flush is inside."""
    world = our_world
    async with world.engine("a") as engine, world.aio.AsyncSession(engine) as session:
        reached, go_on = asyncio.Event(), asyncio.Event()

        def wait(*args: Any) -> None:
            reached.set()
            await_only(go_on.wait())

        event.listen(session.sync_session, "before_flush", wait)
        session.add(world.user("b"))
        worker = asyncio.create_task(session.flush())
        await reached.wait()
        for use in (session.flush(), session.get(world.User, 1), session.rollback()):
            with pytest.raises(exc.IllegalStateChangeError, match="in use by another task"):
                await use
        go_on.set()
        await worker
        await session.commit()
        assert await world.names(engine) == ["a", "b"]


@awaited
async def test_lazy_loads_race_too(our_world: World) -> None:
    """Awaiting two attributes at once is a use of one session by two tasks."""
    world = our_world
    async with world.engine("ab") as engine, world.aio.AsyncSession(engine) as session:
        ann = await session.get_one(world.User, 1)
        addresses, notes = await asyncio.gather(
            ann.awaitable_attrs.addresses, ann.awaitable_attrs.notes, return_exceptions=True
        )
        assert len(addresses) == 1 and isinstance(notes, exc.IllegalStateChangeError)
        assert await ann.awaitable_attrs.notes == "none"
