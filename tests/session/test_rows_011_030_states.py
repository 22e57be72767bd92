"""Rows 11-30 of the semantics table: states across flush, commit, rollback, savepoints and close."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from sqlalchemy import exc, inspect, select


def test_011_after_the_delete_was_flushed(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    user_id = user.id
    session.delete(user)
    session.flush()
    assert world.state(user) == "deleted"
    assert user not in session
    assert inspect(user).session is session
    assert session.get(world.User, user_id) is None


def test_012_then_commit(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    session.delete(user)
    session.commit()
    assert world.state(user) == "detached"
    assert inspect(user).was_deleted


def test_013_commit_of_a_delete_without_expiry(world: Any) -> None:
    session = world.session(expire_on_commit=False)
    user = world.saved(session)
    session.delete(user)
    session.commit()
    assert world.state(user) == "deleted"
    assert inspect(user).session is session


@pytest.mark.parametrize("end, state", [("commit", "detached"), ("rollback", "transient")])
def test_014_added_and_deleted_in_one_transaction(world: Any, end: str, state: str) -> None:
    session = world.session()
    user = world.User(name="ed")
    session.add(user)
    session.flush()
    session.delete(user)
    session.flush()
    getattr(session, end)()
    assert world.state(user) == state
    assert inspect(user).was_deleted


def test_015_rollback_of_a_flushed_insert(world: Any) -> None:
    session = world.session()
    user = world.User(name="ed", age=5)
    session.add(user)
    session.flush()
    user_id = user.id
    session.rollback()
    assert world.state(user) == "transient"
    assert inspect(user).key is None
    assert (user.id, user.name, user.age) == (user_id, "ed", 5)
    session.add(user)
    session.commit()
    assert world.rows("SELECT id, name, age FROM users") == [(user_id, "ed", 5)]


def test_016_rollback_of_a_pending_object(world: Any) -> None:
    session = world.session()
    user = world.User(name="ed")
    session.add(user)
    session.rollback()
    assert world.state(user) == "transient"
    assert not session.new
    assert user.name == "ed"


@pytest.mark.parametrize("flushed", [False, True])
def test_017_rollback_of_a_delete(world: Any, flushed: bool) -> None:
    session = world.session()
    user = world.saved(session)
    key = inspect(user).key
    session.delete(user)
    if flushed:
        session.flush()
    session.rollback()
    assert world.state(user) == "persistent"
    assert session.identity_map[key] is user
    assert "name" not in user.__dict__
    assert user.name == "ed"


def test_018_rollback_expires_all(world: Any) -> None:
    session = world.session()
    clean, changed = world.saved(session, "clean"), world.saved(session, "changed")
    assert (clean.name, changed.name) == ("clean", "changed")
    changed.name = "other"
    session.rollback()
    assert "name" not in clean.__dict__
    assert "name" not in changed.__dict__
    assert (clean.name, changed.name) == ("clean", "changed")


def test_019_savepoint_rollback_expires_what_changed(world: Any) -> None:
    session = world.session()
    clean, flushed, changed = (world.saved(session, name) for name in ("clean", "flushed", "changed"))
    assert (clean.name, flushed.name, changed.name) == ("clean", "flushed", "changed")
    savepoint = session.begin_nested()
    flushed.age = 1
    session.flush()
    changed.age = 2
    savepoint.rollback()
    assert "name" in clean.__dict__
    assert "name" not in flushed.__dict__
    assert "name" not in changed.__dict__
    assert (flushed.age, changed.age) == (None, None)


def test_020_pending_work_goes_before_the_savepoint(world: Any) -> None:
    session = world.session()
    user = world.User(name="ed")
    session.add(user)
    savepoint = session.begin_nested()
    assert world.state(user) == "persistent"
    savepoint.rollback()
    assert world.state(user) == "persistent"
    session.commit()
    assert world.rows("SELECT name FROM users") == [("ed",)]


def test_021_released_savepoint_then_rollback(world: Any) -> None:
    session = world.session()
    old, gone = world.saved(session, "old"), world.saved(session, "gone")
    with session.begin_nested():
        new = world.User(name="new")
        session.add(new)
        old.name = "older"
        session.delete(gone)
    assert [world.state(obj) for obj in (old, gone, new)] == ["persistent", "deleted", "persistent"]
    session.rollback()
    assert [world.state(obj) for obj in (old, gone, new)] == ["persistent", "persistent", "transient"]
    assert (old.name, gone.name) == ("old", "gone")


def test_022_expunge(world: Any) -> None:
    session = world.session()
    pending = world.User(name="pending")
    pending.posts.append(world.Post(title="t"))
    session.add(pending)
    session.expunge(pending)
    assert world.state(pending) == "transient"
    assert world.state(pending.posts[0]) == "transient"
    persistent = world.saved(session)
    session.expunge(persistent)
    assert world.state(persistent) == "detached"
    with pytest.raises(exc.InvalidRequestError, match="is not present in this Session"):
        session.expunge(persistent)
    with pytest.raises(exc.InvalidRequestError, match="is not present in this Session"):
        session.expunge(world.User())


def test_023_expunge_after_insert_then_rollback(world: Any) -> None:
    session = world.session()
    user = world.User(name="ed")
    session.add(user)
    session.flush()
    session.expunge(user)
    assert world.state(user) == "detached"
    session.rollback()
    assert world.state(user) == "transient"
    assert inspect(user).key is None


def test_024_close_reset(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    session.close()
    session.close()
    assert world.state(user) == "detached"
    assert session.get(world.User, 1).name == "ed"
    session.reset()
    assert session.get(world.User, 1).name == "ed"
    session.close()


def test_024_close_for_good(world: Any) -> None:
    session = world.session(close_resets_only=False)
    world.saved(session)
    session.reset()
    assert session.get(world.User, 1).name == "ed"
    session.close()
    session.close()
    with pytest.raises(exc.InvalidRequestError, match="permanently closed"):
        session.get(world.User, 1)


def test_025_result_read_after_close(world: Any) -> None:
    session = world.session()
    world.saved(session)
    entities = session.execute(select(world.User))
    values = session.execute(select(world.User.name))
    session.close()
    with pytest.raises(exc.InvalidRequestError, match="cannot be converted to 'persistent' state") as raised:
        entities.all()
    assert raised.value.code == "lkrp"
    assert [tuple(row) for row in values] == [("ed",)]


def test_026_collected_session(world: Any) -> None:
    session = world.session()
    persistent = world.saved(session)
    assert persistent.name == "ed"
    pending = world.User(name="jack")
    session.add(pending)
    del session
    gc.collect()
    assert world.state(persistent) == "detached"
    assert world.state(pending) == "transient"
    assert world.orm.object_session(persistent) is None


def test_027_leaving_the_block_without_commit(world: Any) -> None:
    with world.session() as session:
        user = world.User(name="ed")
        session.add(user)
        session.flush()
        assert session.in_transaction()
    assert not session.in_transaction()
    assert world.state(user) == "detached"
    assert world.rows("SELECT * FROM users") == []


def test_028_make_transient(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    world.orm.make_transient(user)
    assert world.state(user) == "transient"
    assert user.name is None
    assert inspect(user).key is None
    with pytest.raises(exc.InvalidRequestError, match="must be transient"):
        world.orm.make_transient_to_detached(world.saved(session, "jack"))


def test_028_make_transient_to_detached(world: Any) -> None:
    session = world.session()
    world.saved(session, age=7)
    session.close()
    user = world.User(id=1)
    world.orm.make_transient_to_detached(user)
    assert world.state(user) == "detached"
    session.add(user)
    assert (user.name, user.age) == ("ed", 7)


def test_029_fresh_sets(world: Any) -> None:
    session = world.session()
    user = world.User(name="ed")
    session.add(user)
    assert session.new is not session.new
    assert list(session.new) == [user]
    session.flush()
    user.age = 5
    assert list(session.dirty) == [user]
    assert session.dirty is not session.dirty
    session.delete(user)
    assert list(session.deleted) == [user]
    assert not session.dirty
    session.deleted.clear()
    assert list(session.deleted) == [user]


def test_030_user_methods_are_never_called(world: Any) -> None:
    orm = world.orm

    class Touchy(world.Base):
        __tablename__ = "users"
        __table_args__ = {"extend_existing": True}
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise AssertionError("__eq__ was called")

        def __bool__(self) -> bool:
            raise AssertionError("__bool__ was called")

    session = orm.Session(world.engine)
    touchy, other = Touchy(name="a"), Touchy(name="b")
    session.add_all([touchy, other])
    assert len(session.new) == 2
    session.flush()
    touchy.age = 5
    assert len(session.dirty) == 1
    session.delete(other)
    assert len(session.deleted) == 1
    session.commit()
    assert touchy.age == 5
