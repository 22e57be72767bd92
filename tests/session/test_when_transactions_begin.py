"""When a session's transaction reaches the database: with the first step of a flush that has any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

if TYPE_CHECKING:
    from conftest import World


@pytest.fixture
def sent(world: World) -> list[str]:
    """What the driver executes, on the lane as well."""
    texts: list[str] = []

    @event.listens_for(world.engine.pool, "checkout")
    def trace(connection: Any, record: Any, proxy: Any) -> None:
        connection.set_trace_callback(lambda text: texts.append(" ".join(text.split()[:2])))

    return texts


def test_a_flush_without_net_change_begins(world: World, sent: list[str]) -> None:
    with world.session(expire_on_commit=False) as session:
        user = world.saved(session, age=1)
        sent.clear()
        user.age = 2
        assert world.engine.pool.checkedout() == 0
        user.age = 1
        session.flush()
        assert world.engine.pool.checkedout() == 1
        assert "UPDATE users" not in sent


def test_a_flush_without_net_change_reaches_its_savepoint(world: World, sent: list[str]) -> None:
    with world.session() as session:
        user = world.saved(session, age=1)
        assert user.age == 1
        session.begin_nested()
        sent.clear()
        user.age = 1
        user.posts = []
        session.flush()
        assert "SAVEPOINT sa_savepoint_1" in sent
        session.begin_nested()
        session.flush()
        assert "SAVEPOINT sa_savepoint_2" not in sent
        session.rollback()


def test_deleted_objects_that_stay_begin_once(world: World) -> None:
    """What a commit without expiry leaves deleted and attached begins with its first change only."""
    with world.session(expire_on_commit=False) as session:
        first, second = world.saved(session, "ed", age=1), world.saved(session, "ann", age=1)
        first.age = 2
        session.delete(first)
        session.delete(second)
        session.commit()
        assert world.state(first) == world.state(second) == "deleted"
        first.age = 3
        assert not session.in_transaction()
        second.age = 3
        assert session.in_transaction()
        session.rollback()
        second.age = 4
        assert not session.in_transaction()
