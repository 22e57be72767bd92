"""A session that two threads are inside of: refused at once, and the error says where the other one is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from gate import Gate, Item, commit, fill, flush, statement
from sqlalchemy import event, exc

from rustalchemy.orm import Session

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture
def gate() -> Gate[threading.Event]:
    return Gate(threading.Event, threading.Event.wait)


@pytest.fixture(params=["lane", "core"])
def engine(request: pytest.FixtureRequest, gate: Gate[threading.Event], tmp_path: Path) -> Iterator[sa.Engine]:
    import sqlite3

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, *args: Any) -> Any:
            gate.pass_through(sql)
            return super().execute(sql, *args)

    class Connection(sqlite3.Connection):
        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

        def commit(self) -> None:
            gate.pass_through("commit")
            super().commit()

    engine = sa.create_engine(
        f"sqlite:///{tmp_path / 'items.db'}", connect_args={"factory": Connection, "check_same_thread": False}
    )
    fill(engine)
    if request.param == "core":
        event.listen(engine, "before_cursor_execute", lambda *args: None)
    yield engine
    engine.dispose()


def get(session: Session) -> None:
    session.get(Item, 2)


USES: dict[str, tuple[str, Callable[[Session], None]]] = {
    "statement": ("SELECT", statement),
    "get": ("SELECT", get),
    "flush": ("INSERT", flush),
    "commit": ("commit", commit),
}
INTRUSIONS: dict[str, Callable[[Session], Any]] = {
    "get": lambda session: session.get(Item, 1),
    "execute": lambda session: session.execute(sa.select(Item)),
    "add": lambda session: session.add(Item(name="x")),
    "flush": lambda session: session.flush(),
    "commit": lambda session: session.commit(),
    "rollback": lambda session: session.rollback(),
    "close": lambda session: session.close(),
    "expire_all": lambda session: session.expire_all(),
    "connection": lambda session: session.connection(),
}


@pytest.mark.parametrize("use", USES)
def test_second_thread_is_refused(engine: sa.Engine, gate: Gate[threading.Event], use: str) -> None:
    session = Session(engine)
    session.get(Item, 1)
    wait_for, work = USES[use]
    gate.wanted = wait_for
    worker = threading.Thread(target=work, args=(session,), name="the worker")
    worker.start()
    try:
        assert gate.reached.wait(10)
        for name, intrude in INTRUSIONS.items():
            with pytest.raises(exc.IllegalStateChangeError) as raised:
                intrude(session)
            message = str(raised.value)
            assert raised.value.code == "isce"
            assert message.startswith("This Session is in use by another thread"), name
            assert "thread 'the worker'" in message
            assert Path(work.__code__.co_filename).name in message and f"in {work.__name__}" in message
    finally:
        gate.open.set()
        worker.join()
    # the one that was inside has done its work, and the session is free again
    session.commit()
    count = {"statement": 2, "get": 2, "flush": 3, "commit": 3}[use]
    assert len(session.scalars(sa.select(Item)).all()) == count
    session.close()


def test_taking_turns_is_no_misuse(engine: sa.Engine) -> None:
    with Session(engine) as session:
        for number in range(3):
            worker = threading.Thread(target=flush, args=(session,), name=f"turn {number}")
            worker.start()
            worker.join()
        session.commit()
        assert len(session.scalars(sa.select(Item)).all()) == 5


def test_a_use_that_fails_is_over(engine: sa.Engine) -> None:
    with Session(engine) as session:
        with pytest.raises(exc.OperationalError):
            session.execute(sa.text("SELECT nothing FROM nowhere"))
        session.add(Item(name=None))  # type: ignore[arg-type]
        with pytest.raises(exc.IntegrityError):
            session.flush()
        worker = threading.Thread(target=session.rollback)
        worker.start()
        worker.join()
        session.commit()


def test_listeners_inside_a_flush_are_the_same_use(engine: sa.Engine) -> None:
    seen = []

    def look(session: Any, context: Any) -> None:
        seen.append(session.get(Item, 1).name)
        seen.append(session.scalar(sa.select(sa.func.count()).select_from(Item)))

    with Session(engine) as session:
        event.listen(session, "after_flush", look)
        session.add(Item(name="c"))
        session.commit()
    assert seen == ["a", 3]
