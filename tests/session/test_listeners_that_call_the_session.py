"""Session listeners that call the session while it writes, begins or ends."""

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


@pytest.mark.parametrize("method", ["commit", "rollback", "close"])
def test_the_transaction_of_a_flush_cannot_be_ended_while_it_begins(world: World, method: str) -> None:
    with world.session() as session:
        session.begin()
        session.add(world.User(name="ed"))
        refused: list[str] = []

        def end(session: Any, transaction: Any) -> None:
            if not refused:
                try:
                    getattr(session, method)()
                except sa.exc.IllegalStateChangeError as error:
                    refused.append(str(error))

        event.listen(session, "after_transaction_create", end)
        with pytest.raises((sa.exc.ResourceClosedError, sa.exc.IllegalStateChangeError)):
            session.flush()
        assert "'_begin()' is already in progress" in refused[0]


def test_a_savepoint_is_refused_while_a_connection_is_provided(world: World) -> None:
    with world.session() as session:
        session.begin()
        session.add(world.User(name="ed"))

        def begin(session: Any, transaction: Any, connection: Any) -> None:
            with pytest.raises(sa.exc.InvalidRequestError, match="is provisioning a new connection"):
                session.begin_nested()

        event.listen(session, "after_begin", begin)
        session.flush()


def test_a_change_given_up_when_the_flush_gets_its_connection_is_not_written(world: World) -> None:
    with world.session() as session:
        user = world.saved(session)
        session.begin()
        session.expire_on_commit = False
        assert user.name == "ed"
        session.rollback()
        assert world.state(user) == "persistent"
        session.refresh(user)
        savepoint = session.begin_nested()
        user.name = "changed"
        event.listen(session, "after_begin", lambda session, *args: session.expire(user), once=True)
        session.flush()
        assert user.name == "ed"
        savepoint.commit()
        session.commit()
    assert world.rows("SELECT name FROM users") == [("ed",)]


def test_a_session_that_refuses_to_close_can_still_be_rolled_back(world: World) -> None:
    with world.session() as session:
        user, other = world.User(name="ed"), world.User(name="other")
        session.add(user)
        savepoint = session.begin_nested()
        session.add(other)

        def close(session: Any, transaction: Any, connection: Any) -> None:
            with pytest.raises(sa.exc.IllegalStateChangeError):
                session.close()

        event.listen(session, "after_begin", close, once=True)
        session.flush()
        savepoint.rollback()
        session.rollback()
        assert world.state(user) == "transient"
    assert world.rows("SELECT name FROM users") == []


def test_a_commit_while_the_session_closes_detaches_what_was_deleted(world: World) -> None:
    with world.session() as session:
        kept, gone = world.saved(session), world.saved(session, name="gone")
        session.delete(gone)
        session.flush()
        event.listen(session, "persistent_to_detached", lambda session, user: session.commit(), once=True)
        session.close()
        assert world.state(kept) == "detached"
        assert world.state(gone) == "detached"
    assert world.rows("SELECT name FROM users") == [("ed",)]


def test_a_savepoint_begun_by_a_listener_of_the_flush_ends_with_the_transaction(world: World) -> None:
    with world.session() as session:
        user = world.User(name="ed")
        session.add(user)
        event.listen(session, "before_flush", lambda session, *args: session.begin_nested(), once=True)
        session.commit()
        assert not session.in_transaction()
        assert sa.inspect(user).persistent
        assert sa.inspect(user).expired
        session.add(world.User(name="other"))
        assert session.in_transaction()
        session.rollback()
    assert world.rows("SELECT name FROM users") == [("ed",)]
