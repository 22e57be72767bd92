"""SAVEPOINTs: what is sent, and that a Connection that is asked for in between agrees with it."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event, exc


@pytest.fixture(params=[False, True], ids=["", "with a connection"])
def session(world: Any, request: pytest.FixtureRequest) -> Any:
    """A session in a transaction, without or with a Connection."""
    session = world.session()
    world.saved(session)
    session.get(world.User, 1)
    if request.param:
        session.connection()
    return session


@pytest.fixture
def sent(world: Any) -> list[str]:
    """What the driver itself is told, whoever tells it."""
    statements: list[str] = []

    @event.listens_for(world.engine.pool, "checkout")
    def trace(connection: Any, record: Any, proxy: Any) -> None:
        connection.set_trace_callback(statements.append)

    return statements


def _savepoints(sent: list[str]) -> list[str]:
    return [statement for statement in sent if "SAVEPOINT" in statement]


@pytest.mark.parametrize("connects", [False, True])
def test_it_is_set_when_it_is_used_first(world: Any, sent: list[str], connects: bool) -> None:
    session = world.session()
    user = world.saved(session)
    session.refresh(user)
    if connects:
        session.connection()
    with session.begin_nested():
        pass
    with session.begin_nested():
        user.name = "jack"
    with session.begin_nested(), session.begin_nested():
        user.age = 5
    session.commit()
    assert _savepoints(sent) == [
        "SAVEPOINT sa_savepoint_1",
        "RELEASE SAVEPOINT sa_savepoint_1",
        "SAVEPOINT sa_savepoint_2",
        "SAVEPOINT sa_savepoint_3",
        "RELEASE SAVEPOINT sa_savepoint_3",
        "RELEASE SAVEPOINT sa_savepoint_2",
    ]
    assert world.rows("SELECT name, age FROM users") == [("jack", 5)]


@pytest.mark.parametrize("connects", [False, True])
def test_rollback_and_close_go_back_to_it(world: Any, sent: list[str], connects: bool) -> None:
    session = world.session()
    user = world.saved(session)
    if connects:
        session.connection()
    for end in ("rollback", "close"):
        savepoint = session.begin_nested()
        user.name = end
        session.flush()
        getattr(savepoint, end)()
        assert not session.in_nested_transaction()
        session.refresh(user)
        assert user.name == "ed"
    assert [statement.rpartition("_")[0] for statement in _savepoints(sent)] == [
        "SAVEPOINT sa_savepoint",
        "ROLLBACK TO SAVEPOINT sa_savepoint",
    ] * 2


def test_rollback_of_the_session_goes_back_level_by_level(world: Any, sent: list[str]) -> None:
    session = world.session()
    user = world.saved(session)
    session.begin_nested()
    session.begin_nested()
    user.name = "jack"
    session.flush()
    session.rollback()
    assert not session.in_transaction()
    assert user.name == "ed"
    assert [statement for statement in _savepoints(sent) if statement[0] == "R"] == [
        "ROLLBACK TO SAVEPOINT sa_savepoint_2",
        "ROLLBACK TO SAVEPOINT sa_savepoint_1",
    ]


def test_closing_the_session_goes_back_level_by_level(world: Any, session: Any) -> None:
    session.begin_nested()
    session.get(world.User, 1).name = "jack"
    session.begin_nested()
    session.get(world.User, 1).age = 5
    session.flush()
    session.close()
    assert world.rows("SELECT name, age FROM users") == [("ed", None)]
    assert session.get(world.User, 1).name == "ed"


def test_a_connection_knows_the_savepoints_that_are_open(world: Any, session: Any) -> None:
    user = session.get(world.User, 1)
    with session.begin_nested():
        user.age = 1
    outer = session.begin_nested()
    user.age = 2
    session.flush()
    inner = session.begin_nested()
    user.age = 3
    session.flush()

    connection = session.connection()
    assert connection.in_transaction()
    innermost = connection.get_nested_transaction()
    assert innermost.is_active
    inner.rollback()
    assert not innermost.is_active
    assert connection.in_nested_transaction()
    assert connection.scalar(sa.text("SELECT age FROM users")) == 2
    outer.rollback()
    assert not connection.in_nested_transaction()
    assert connection.scalar(sa.text("SELECT age FROM users")) == 1
    session.commit()
    assert world.rows("SELECT age FROM users") == [(1,)]


def test_savepoints_of_the_connection_are_named_on(world: Any, session: Any, sent: list[str]) -> None:
    session.rollback()
    user = session.get(world.User, 1)
    for age in (1, 2):
        with session.begin_nested():
            user.age = age
    with session.connection().begin_nested(), session.begin_nested():
        user.age = 3
    session.commit()
    begun = [statement for statement in _savepoints(sent) if statement.startswith("SAVEPOINT")]
    assert begun == [f"SAVEPOINT sa_savepoint_{number}" for number in (1, 2, 3, 4)]


def test_the_connections_of_each_level(world: Any, session: Any) -> None:
    user = session.get(world.User, 1)
    unused = session.begin_nested()
    if not hasattr(unused, "connections"):
        pytest.skip("new in SQLAlchemy 2.1")
    used = session.begin_nested()
    user.age = 1
    session.flush()
    (connection,) = used.connections
    assert connection is session.connection()
    assert unused.connections == used.connections == session.get_transaction().connections
    later = session.begin_nested()
    assert later.connections == frozenset()


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_who_listens_from_now_on_sees_the_end(world: Any, session: Any, end: str) -> None:
    seen: list[str] = []
    savepoint = session.begin_nested()
    session.get(world.User, 1).age = 1
    session.flush()
    for name in ("savepoint", "release_savepoint", "rollback_savepoint"):
        event.listen(world.engine, name, lambda *args, name=name: seen.append(name))
    getattr(savepoint, end)()
    assert seen == ["release_savepoint" if end == "commit" else "rollback_savepoint"]
    with session.begin_nested():
        session.get(world.User, 1).age = 2
    assert seen[1:] == ["savepoint", "release_savepoint"]


def test_who_listens_to_the_root_from_now_on_sees_its_end(world: Any, session: Any) -> None:
    seen: list[str] = []
    session.get(world.User, 1).age = 1
    event.listen(world.engine, "commit", lambda connection: seen.append("commit"))
    event.listen(world.engine, "rollback", lambda connection: seen.append("rollback"))
    session.commit()
    session.get(world.User, 1)
    session.rollback()
    assert seen == ["commit", "rollback"]


def test_a_savepoint_of_the_connection_inside_of_the_sessions(world: Any, session: Any) -> None:
    """Who begins on the Connection has to end there first."""
    user = session.get(world.User, 1)
    savepoint = session.begin_nested()
    user.age = 1
    session.flush()
    session.connection().begin_nested()
    user.age = 2
    session.flush()
    with pytest.warns(exc.SAWarning, match="nested transaction already deassociated"):
        savepoint.rollback()
    connection = session.connection()
    session.rollback()
    assert not connection.in_transaction()
    assert user.age is None


def test_session_events_of_a_savepoint(world: Any, session: Any) -> None:
    seen: list[Any] = []
    event.listen(session, "after_begin", lambda s, transaction, connection: seen.append(transaction.nested))
    event.listen(session, "after_transaction_end", lambda s, transaction: seen.append(transaction.nested))
    with session.begin_nested():
        session.get(world.User, 1)
        session.execute(sa.text("SELECT 1"))
    session.commit()
    assert seen == [True, True, False]


def test_a_savepoint_that_is_gone_cannot_be_released(world: Any, session: Any) -> None:
    savepoint = session.begin_nested()
    user = session.get(world.User, 1)
    user.age = 1
    session.flush()
    session.connection().connection.dbapi_connection.execute("RELEASE SAVEPOINT sa_savepoint_1")
    with pytest.raises(exc.OperationalError, match="no such savepoint"):
        savepoint.commit()
    session.rollback()
    assert user.age is None
    session.commit()


@pytest.mark.parametrize("connects", [False, True])
@pytest.mark.parametrize("verb", ["SAVEPOINT", "RELEASE", "ROLLBACK TO"])
def test_a_statement_that_fails(world: Any, verb: str, connects: bool) -> None:
    """The driver refuses one of the three: the error is Core's, and rollback() brings everything back."""
    world.saved(world.session())
    refused: list[str] = []

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, *args: Any) -> Any:
            if sql.startswith(verb) and not refused:
                refused.append(sql)
                raise sqlite3.OperationalError("refused")
            return super().execute(sql, *args)

    class Connection(sqlite3.Connection):
        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

    engine = sa.create_engine(world.engine.url, connect_args={"factory": Connection})
    event.listen(engine.pool, "connect", lambda connection, record: setattr(connection, "isolation_level", None))
    event.listen(engine.pool, "checkout", lambda connection, record, proxy: connection.execute("BEGIN"))
    if world.is_observed:
        event.listen(engine, "before_cursor_execute", lambda *args: None)
    with world.orm.Session(engine) as session:
        user = session.get(world.User, 1)
        if connects:
            session.connection()
        with pytest.raises(exc.OperationalError) as raised:
            savepoint = session.begin_nested()
            user.age = 1
            session.flush()
            if verb == "ROLLBACK TO":
                savepoint.rollback()
            else:
                savepoint.commit()
        assert raised.value.statement == refused[0]
        assert "refused" in str(raised.value)
        assert raised.value.params == ()
        session.rollback()
        assert not session.in_transaction()
        assert session.get(world.User, 1).age is None
        with session.begin_nested():
            user.age = 2
        session.commit()
    engine.dispose()
    assert world.rows("SELECT age FROM users") == [(2,)]
