"""When statements may go straight to the cursor, and that their errors arrive as Core's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import Connection, Engine

from rustalchemy.orm._lane import Lane


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = sa.create_engine("sqlite://")
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        connection.begin()
        connection.exec_driver_sql("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE)")
        yield connection


def _lane(connection: Connection) -> Lane:
    lane = Lane.of(connection)
    assert lane is not None
    return lane


def test_plain_connection(connection: Connection) -> None:
    lane = _lane(connection)
    assert lane.insert("INSERT INTO t (name) VALUES (?)", ("a",)) == 1
    assert lane.execute("INSERT INTO t (name) VALUES (?)", [("b",), ("c",)]) == 2
    rows, description = lane.fetch("SELECT id, name FROM t ORDER BY id", ())
    assert rows == [(1, "a"), (2, "b"), (3, "c")]
    assert [column[0] for column in description] == ["id", "name"]


@pytest.mark.parametrize("name", ["before_cursor_execute", "after_cursor_execute", "before_execute", "commit"])
def test_listener_closes_the_lane(engine: Engine, connection: Connection, name: str) -> None:
    _lane(connection)
    event.listen(engine, name, lambda *args, **kw: None)
    assert Lane.of(connection) is None


def test_dialect_listener_closes_the_lane(engine: Engine, connection: Connection) -> None:
    event.listen(engine, "do_execute", lambda *args: None)
    assert Lane.of(connection) is None


def test_echo_closes_the_lane() -> None:
    with sa.create_engine("sqlite://", echo=True).connect() as connection, connection.begin():
        assert Lane.of(connection) is None


def test_options_close_the_lane(engine: Engine) -> None:
    with engine.connect().execution_options(schema_translate_map={None: "other"}) as connection, connection.begin():
        assert Lane.of(connection) is None


def test_ended_transaction_closes_the_lane(connection: Connection) -> None:
    transaction = connection.get_transaction()
    assert transaction is not None
    transaction.rollback()
    assert Lane.of(connection) is None


def test_invalidated_connection_closes_the_lane(connection: Connection) -> None:
    connection.invalidate()
    assert Lane.of(connection) is None


@pytest.mark.parametrize("rows", [[("a",)], [("b",), ("a",)]])
def test_errors_arrive_as_cores(connection: Connection, rows: list[tuple[str]]) -> None:
    lane = _lane(connection)
    sql = "INSERT INTO t (name) VALUES (?)"
    lane.insert(sql, ("a",))
    with pytest.raises(exc.IntegrityError) as direct:
        lane.execute(sql, rows)
    with pytest.raises(exc.IntegrityError) as through_core:
        connection.exec_driver_sql(sql, rows if len(rows) > 1 else rows[0])
    assert str(direct.value) == str(through_core.value)
    assert direct.value.statement == sql
    assert direct.value.ismulti == through_core.value.ismulti


def test_errors_that_are_not_the_drivers(connection: Connection) -> None:
    with pytest.raises(OverflowError):
        _lane(connection).execute("INSERT INTO t (id) VALUES (?)", [(2**70,)])
