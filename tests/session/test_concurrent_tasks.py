"""A session that two asyncio tasks are inside of: refused at once, and the error says where the other one is.

The engine is synchronous to who uses it and its driver is not: while one task waits for the database, others run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from gate import Gate, Item, commit, fill, flush, statement
from sqlalchemy import event, exc
from sqlalchemy.util import await_only, greenlet_spawn

from rustalchemy.orm import Session

pytest.importorskip("aiosqlite")


def new_gate() -> Gate[asyncio.Event]:
    return Gate(asyncio.Event, lambda event: await_only(event.wait()))


def _run(work: Callable[[sa.Engine, Gate[asyncio.Event]], Coroutine[Any, Any, None]], path: Path) -> None:
    async def main() -> None:
        gate = new_gate()
        engine = sa.create_engine(f"sqlite+aiosqlite:///{path / 'items.db'}")
        event.listen(engine, "do_connect", lambda *args: gate.pass_through("connect"))
        event.listen(engine, "before_cursor_execute", lambda c, cursor, sql, *args: gate.pass_through(sql))
        event.listen(engine, "commit", lambda connection: gate.pass_through("commit"))
        await greenlet_spawn(fill, engine)
        await greenlet_spawn(engine.dispose)
        try:
            await work(engine, gate)
        finally:
            await greenlet_spawn(engine.dispose)

    asyncio.run(asyncio.wait_for(main(), 30))


def _savepoint(session: Session) -> None:
    with session.begin_nested():
        session.add(Item(name="e"))


USES: dict[str, tuple[str, Callable[[Session], None]]] = {
    "connecting": ("connect", statement),
    "statement": ("SELECT", statement),
    "flush": ("INSERT", flush),
    "commit": ("commit", commit),
    "savepoint": ("SAVEPOINT", _savepoint),
}
INTRUSIONS: dict[str, Callable[[Session], Any]] = {
    "get": lambda session: session.get(Item, 1),
    "execute": lambda session: session.execute(sa.select(Item)),
    "add": lambda session: session.add(Item(name="x")),
    "flush": lambda session: session.flush(),
    "begin_nested": lambda session: session.begin_nested(),
    "commit": lambda session: session.commit(),
    "rollback": lambda session: session.rollback(),
    "close": lambda session: session.close(),
}


@pytest.fixture(params=USES)
def use(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def test_second_task_is_refused(use: str, tmp_path: Path) -> None:
    async def work(engine: sa.Engine, gate: Gate[asyncio.Event]) -> None:
        session = Session(engine)
        gate.wanted, first = USES[use]
        worker = asyncio.create_task(greenlet_spawn(first, session), name="the worker")
        await gate.reached.wait()
        try:
            for name, intrude in INTRUSIONS.items():
                with pytest.raises(exc.IllegalStateChangeError) as raised:
                    await greenlet_spawn(intrude, session)
                message = str(raised.value)
                assert raised.value.code == "isce"
                assert message.startswith("This Session is in use by another task"), name
                assert "task 'the worker'" in message
                assert Path(first.__code__.co_filename).name in message and f"in {first.__name__}" in message
        finally:
            gate.open.set()
            await worker
        # the one that was inside has done its work, and the session is free again
        await greenlet_spawn(session.commit)
        count = {"connecting": 2, "statement": 2}.get(use, 3)
        assert len(await greenlet_spawn(lambda: session.scalars(sa.select(Item)).all())) == count
        await greenlet_spawn(session.close)

    _run(work, tmp_path)


def test_tasks_that_take_turns(tmp_path: Path) -> None:
    async def work(engine: sa.Engine, gate: Gate[asyncio.Event]) -> None:
        session = Session(engine)
        for number in range(3):
            await asyncio.create_task(greenlet_spawn(flush, session), name=f"turn {number}")
        await greenlet_spawn(session.commit)
        assert len(await greenlet_spawn(lambda: session.scalars(sa.select(Item)).all())) == 5
        await greenlet_spawn(session.close)

    _run(work, tmp_path)


def test_each_task_with_a_session_of_its_own(tmp_path: Path) -> None:
    async def work(engine: sa.Engine, gate: Gate[asyncio.Event]) -> None:
        def count() -> int:
            with Session(engine) as session:
                return len(session.scalars(sa.select(Item)).all())

        assert await asyncio.gather(*(greenlet_spawn(count) for _ in range(4))) == [2] * 4

    _run(work, tmp_path)


def test_a_task_that_is_cancelled_is_out(tmp_path: Path) -> None:
    async def work(engine: sa.Engine, gate: Gate[asyncio.Event]) -> None:
        session = Session(engine)
        await greenlet_spawn(statement, session)
        gate.wanted = "INSERT"
        worker = asyncio.create_task(greenlet_spawn(flush, session))
        await gate.reached.wait()
        worker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await worker
        await greenlet_spawn(session.rollback)
        assert len(await greenlet_spawn(lambda: session.scalars(sa.select(Item)).all())) == 2
        await greenlet_spawn(session.close)

    _run(work, tmp_path)
