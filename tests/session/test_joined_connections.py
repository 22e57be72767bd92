"""A session on a Connection that somebody else has begun a transaction on: the four values of join_transaction_mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event, exc

MODES = ("conditional_savepoint", "rollback_only", "control_fully", "create_savepoint")


@pytest.fixture
def connection(world: Any) -> Iterator[sa.Connection]:
    with world.engine.connect() as connection:
        yield connection


def _names(connection: sa.Connection) -> list[str]:
    return list(connection.scalars(sa.text("SELECT name FROM users ORDER BY name")))


# By mode and how the session ends: is the outer transaction still active, and what does it see?
_OUTER = {
    ("conditional_savepoint", "commit"): (True, ["mine", "outer"]),
    ("conditional_savepoint", "rollback"): (False, []),
    ("conditional_savepoint", "close"): (True, ["mine", "outer"]),
    ("rollback_only", "commit"): (True, ["mine", "outer"]),
    ("rollback_only", "rollback"): (False, []),
    ("rollback_only", "close"): (True, ["mine", "outer"]),
    ("control_fully", "commit"): (False, ["mine", "outer"]),
    ("control_fully", "rollback"): (False, []),
    ("control_fully", "close"): (False, []),
    ("create_savepoint", "commit"): (True, ["mine", "outer"]),
    ("create_savepoint", "rollback"): (True, ["outer"]),
    ("create_savepoint", "close"): (True, ["outer"]),
}


@pytest.mark.parametrize("mode, end", _OUTER)
def test_joining_a_transaction(world: Any, connection: sa.Connection, mode: str, end: str) -> None:
    outer = connection.begin()
    connection.execute(sa.text("INSERT INTO users (name) VALUES ('outer')"))
    session = world.orm.Session(connection, join_transaction_mode=mode)
    session.add(world.User(name="mine"))
    session.flush()
    assert session.connection() is connection
    assert connection.in_nested_transaction() == (mode == "create_savepoint")
    getattr(session, end)()

    is_active, names = _OUTER[mode, end]
    assert outer.is_active == is_active
    assert not connection.closed
    assert not connection.in_nested_transaction()
    if outer.is_active:
        assert _names(connection) == names
        outer.commit()
    session.close()
    connection.rollback()
    assert [name for (name,) in world.rows("SELECT name FROM users ORDER BY name")] == names


# The same with a SAVEPOINT of the outer side: is it still active, and what is seen?
_NESTED = {
    ("conditional_savepoint", "commit"): (True, ["mine", "nested", "outer"]),
    ("conditional_savepoint", "rollback"): (True, ["nested", "outer"]),
    ("conditional_savepoint", "close"): (True, ["nested", "outer"]),
    ("rollback_only", "commit"): (True, ["mine", "nested", "outer"]),
    ("rollback_only", "rollback"): (False, ["outer"]),
    ("rollback_only", "close"): (True, ["mine", "nested", "outer"]),
    ("control_fully", "commit"): (False, ["mine", "nested", "outer"]),
    ("control_fully", "rollback"): (False, ["outer"]),
    ("control_fully", "close"): (False, ["outer"]),
    ("create_savepoint", "commit"): (True, ["mine", "nested", "outer"]),
    ("create_savepoint", "rollback"): (True, ["nested", "outer"]),
    ("create_savepoint", "close"): (True, ["nested", "outer"]),
}


@pytest.mark.parametrize("mode, end", _NESTED)
def test_joining_a_savepoint(world: Any, connection: sa.Connection, mode: str, end: str) -> None:
    outer = connection.begin()
    connection.execute(sa.text("INSERT INTO users (name) VALUES ('outer')"))
    nested = connection.begin_nested()
    connection.execute(sa.text("INSERT INTO users (name) VALUES ('nested')"))
    session = world.orm.Session(connection, join_transaction_mode=mode)
    session.add(world.User(name="mine"))
    session.flush()
    getattr(session, end)()

    is_active, names = _NESTED[mode, end]
    assert nested.is_active == is_active
    assert outer.is_active
    assert connection.in_nested_transaction() == is_active
    assert _names(connection) == names
    session.close()
    outer.rollback()
    assert world.rows("SELECT name FROM users") == []


@pytest.mark.parametrize("mode", MODES)
def test_a_connection_in_no_transaction_is_the_sessions_to_begin(
    world: Any, connection: sa.Connection, mode: str
) -> None:
    session = world.orm.Session(connection, join_transaction_mode=mode)
    session.add(world.User(name="mine"))
    session.flush()
    assert connection.in_transaction()
    session.commit()
    assert not connection.in_transaction()
    assert not connection.closed
    assert world.rows("SELECT name FROM users") == [("mine",)]


@pytest.mark.parametrize("mode", MODES)
def test_savepoints_of_a_joined_session(world: Any, connection: sa.Connection, mode: str) -> None:
    outer = connection.begin()
    session = world.orm.Session(connection, join_transaction_mode=mode)
    user = world.User(name="mine")
    session.add(user)
    session.flush()
    with session.begin_nested():
        user.age = 1
    savepoint = session.begin_nested()
    user.age = 2
    session.flush()
    savepoint.rollback()
    assert user.age == 1
    session.commit()
    assert outer.is_active == (mode != "control_fully")
    if outer.is_active:
        assert world.rows("SELECT age FROM users") == []
        outer.commit()
    assert world.rows("SELECT age FROM users") == [(1,)]


def test_the_recipe_for_a_test_suite(world: Any, connection: sa.Connection) -> None:
    """Everything a program commits in its sessions is gone in the end."""
    outer = connection.begin()
    maker = world.orm.sessionmaker(connection, join_transaction_mode="create_savepoint")
    with maker() as session:
        session.add(world.User(name="ed"))
        session.commit()
        session.add(world.User(name="ed"))
        with pytest.raises(exc.IntegrityError):
            session.commit()
        session.rollback()
        session.add(world.User(name="jack"))
        session.commit()
    with maker.begin() as session:
        assert [user.name for user in session.query(world.User).order_by(world.User.name)] == ["ed", "jack"]
        session.delete(session.get(world.User, 1))
    assert _names(connection) == ["jack"]
    outer.rollback()
    assert world.rows("SELECT * FROM users") == []


def test_unknown_mode(world: Any) -> None:
    with pytest.raises(exc.ArgumentError, match='invalid selection for join_transaction_mode: "fully"'):
        world.orm.Session(world.engine, join_transaction_mode="fully")


def test_another_connection_of_an_engine_in_use(world: Any, connection: sa.Connection) -> None:
    session = world.session()
    session.add(world.User(name="ed"))
    session.flush()
    with pytest.raises(exc.InvalidRequestError, match="already has a Connection associated"):
        session.connection(bind_arguments={"bind": connection})


def test_a_bind_for_each_class(world: Any, tmp_path: Any) -> None:
    """Each connection is begun when it is first used, and all end with the session."""
    other = sa.create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    world.Base.metadata.create_all(other)
    seen: list[str] = []
    for name, engine in (("users", world.engine), ("posts", other)):
        event.listen(engine, "begin", lambda connection, name=name: seen.append(f"begin {name}"))
        event.listen(engine, "commit", lambda connection, name=name: seen.append(f"commit {name}"))
    session = world.orm.Session(binds={world.User: world.engine, world.Post: other})
    session.add(world.User(name="ed"))
    session.flush()
    assert seen == ["begin users"]
    session.add(world.Post(title="t"))
    session.commit()
    assert seen[:2] == ["begin users", "begin posts"]
    assert sorted(seen[2:]) == ["commit posts", "commit users"]
    session.close()
    other.dispose()


# --- isolation levels and other execution options ---------------------------------------------------------------------


def test_isolation_level_of_one_transaction(world: Any) -> None:
    session = world.session()
    connection = session.connection(execution_options={"isolation_level": "READ UNCOMMITTED"})
    assert connection.get_isolation_level() == "READ UNCOMMITTED"
    assert session.connection() is connection
    with session.begin_nested():
        session.add(world.User(name="ed"))
    session.commit()
    assert session.connection().get_isolation_level() == "SERIALIZABLE"
    session.close()
    assert world.rows("SELECT name FROM users") == [("ed",)]


def test_options_that_come_too_late(world: Any) -> None:
    session = world.session()
    session.connection()
    with pytest.warns(exc.SAWarning, match="Connection is already established for the given bind"):
        session.connection(execution_options={"isolation_level": "READ UNCOMMITTED"})


@pytest.mark.skipif(sa.__version__.startswith("2.0"), reason="SQLAlchemy 2.0 lets Core refuse them")
def test_options_that_come_too_late_in_a_savepoint(world: Any) -> None:
    session = world.session()
    session.connection()
    session.begin_nested()
    with pytest.warns(exc.SAWarning, match="Connection is already established for the given bind"):
        session.connection(execution_options={"isolation_level": "READ UNCOMMITTED"})


def test_options_after_an_object_was_loaded(world: Any) -> None:
    session = world.session()
    world.saved(session)
    session.get(world.User, 1)
    with pytest.warns(exc.SAWarning, match="Connection is already established for the given bind"):
        session.connection(execution_options={"isolation_level": "READ UNCOMMITTED"})


def test_isolation_level_of_the_engine(world: Any) -> None:
    engine = world.engine.execution_options(isolation_level="READ UNCOMMITTED")
    with world.orm.Session(engine) as session:
        session.add(world.User(name="ed"))
        session.flush()
        assert session.connection().get_isolation_level() == "READ UNCOMMITTED"
        session.commit()
    with world.session() as session:
        assert session.connection().get_isolation_level() == "SERIALIZABLE"
