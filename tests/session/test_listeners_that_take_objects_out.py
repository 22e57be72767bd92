"""Session listeners that take objects out of the session while it writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

if TYPE_CHECKING:
    from conftest import World


def _expunge(session: Any, obj: Any) -> None:
    session.expunge(obj)


def _expunge_all(session: Any, obj: Any) -> None:
    session.expunge_all()


def _close(session: Any, obj: Any) -> None:
    session.close()


WAYS = pytest.mark.parametrize("take_out", [_expunge, _expunge_all])


@WAYS
@pytest.mark.parametrize("name", ["after_flush", "after_transaction_create"])
def test_what_was_inserted_is_detached(world: World, name: str, take_out: Callable[[Any, Any], None]) -> None:
    with world.session() as session:
        user = world.User(name="ed")
        session.begin()
        session.add(user)
        event.listen(session, name, lambda session, *args: take_out(session, user), once=True)
        session.commit()
        assert world.state(user) == "detached"
        assert sa.inspect(user).identity == (1,)
        assert not sa.inspect(user).modified
    assert world.rows("SELECT name FROM users") == [("ed",)]


@WAYS
def test_what_was_updated_is_detached_and_clean(world: World, take_out: Callable[[Any, Any], None]) -> None:
    with world.session() as session:
        user = world.saved(session)
        user.name = "changed"
        event.listen(session, "after_flush", lambda session, context: take_out(session, user), once=True)
        session.commit()
        assert world.state(user) == "detached"
        assert not sa.inspect(user).modified
    assert world.rows("SELECT name FROM users") == [("changed",)]


@WAYS
def test_what_was_deleted_is_detached_and_deleted(world: World, take_out: Callable[[Any, Any], None]) -> None:
    with world.session() as session:
        user = world.saved(session)
        session.delete(user)
        event.listen(session, "after_flush", lambda session, context: take_out(session, user), once=True)
        session.commit()
        assert world.state(user) == "detached"
        assert sa.inspect(user).was_deleted
    assert world.rows("SELECT name FROM users") == []


def test_closing_in_after_flush_ends_the_flush_and_the_transaction(world: World) -> None:
    with world.session() as session:
        user = world.User(name="ed")
        session.add(user)
        event.listen(session, "after_flush", lambda session, context: session.close(), once=True)
        with pytest.raises(sa.exc.ResourceClosedError):
            session.flush()
        assert world.state(user) == "detached"
        assert not session.in_transaction()
    assert world.rows("SELECT name FROM users") == []


def test_objects_leave_together_before_anybody_hears_of_it(world: World) -> None:
    with world.session() as session:
        one, two = world.User(name="one"), world.User(name="two")
        session.add_all([one, two])
        session.flush()
        heard: list[list[bool]] = []
        event.listen(
            session, "persistent_to_detached", lambda session, user: heard.append([one in session, two in session])
        )
        session.expunge_all()
        assert heard == [[False, False], [False, False]]


def test_a_listener_may_bring_back_what_leaves_after_it(world: World) -> None:
    with world.session() as session:
        one, two = world.User(name="one"), world.User(name="two")
        session.add_all([one, two])
        session.flush()
        event.listen(session, "persistent_to_detached", lambda session, user: session.add(two), once=True)
        session.expunge_all()
        session.add(one)
        session.add(two)
        one.name = two.name = "changed"
        session.rollback()
    assert world.rows("SELECT name FROM users") == []


def test_a_flush_knows_its_objects_before_its_transaction_begins(world: World) -> None:
    with world.session() as session:
        session.begin()
        early, late = world.User(name="early"), world.User(name="late")
        session.add(early)
        event.listen(session, "after_transaction_create", lambda session, trans: session.add(late), once=True)
        session.flush()
        assert world.state(early) == "persistent"
        assert world.state(late) == "pending"
        session.flush()
        assert world.state(late) == "persistent"
