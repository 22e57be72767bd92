"""Rows 1-10 of the semantics table: add, attach and delete."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from sqlalchemy import exc, inspect


def test_001_add_twice(world: Any) -> None:
    session = world.session()
    user = world.User(name="ed")
    session.add(user)
    session.add(user)
    assert list(session.new) == [user]
    session.flush()
    session.add(user)
    assert not session.new
    assert world.state(user) == "persistent"
    session.commit()
    assert world.rows("SELECT count(*) FROM users") == [(1,)]


@pytest.mark.parametrize("thing", [None, object(), 5, "ed"])
@pytest.mark.parametrize("method", ["add", "delete"])
def test_002_unmapped(world: Any, method: str, thing: Any) -> None:
    session = world.session()
    with pytest.raises(world.orm.exc.UnmappedInstanceError):
        getattr(session, method)(thing)


def test_003_object_of_another_session(world: Any) -> None:
    first, second = world.session(), world.session()
    user = world.User(name="ed")
    first.add(user)
    with pytest.raises(exc.InvalidRequestError, match=r"already attached to session '\d+' \(this is '\d+'\)"):
        second.add(user)
    number = first.hash_key
    del first
    gc.collect()
    assert inspect(user).session is None
    second.add(user)
    assert user in second
    assert second.hash_key != number


def test_004_cascade_reaches_another_session(world: Any) -> None:
    first, second = world.session(), world.session()
    post = world.Post(title="t")
    first.add(post)
    user = world.User(name="ed")
    user.posts.append(post)
    assert user not in first
    with pytest.raises(exc.InvalidRequestError, match="already attached to session"):
        second.add(user)


def test_005_second_object_with_a_key_in_the_map(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    user_id = user.id
    twin = world.User(id=user_id, name="twin")
    world.orm.make_transient_to_detached(twin)
    with pytest.raises(exc.InvalidRequestError, match="another instance with key"):
        session.add(twin)


@pytest.mark.filterwarnings("ignore:Identity map already had an identity")
def test_005_attached_object_whose_key_another_one_has_taken(world: Any) -> None:
    session = world.session()
    ghost, post, user = world.User(id=1, name="old"), world.Post(title="a"), world.User(name="new")
    world.orm.make_transient_to_detached(ghost)
    session.add_all([ghost, post, user])
    session.flush()
    assert inspect(user).identity == inspect(ghost).identity
    assert (world.state(ghost), ghost in session) == ("persistent", False)
    with pytest.raises(exc.InvalidRequestError, match="another instance with key"):
        post.user = ghost
    with pytest.raises(exc.InvalidRequestError, match="another instance with key"):
        session.add(world.Post(user=ghost))


def test_006_add_deleted_object(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    session.delete(user)
    session.flush()
    with pytest.raises(exc.InvalidRequestError, match=r"has been deleted.  Use the make_transient\(\) function"):
        session.add(user)


@pytest.mark.parametrize("pending", [False, True])
def test_007_delete_what_is_not_persisted(world: Any, pending: bool) -> None:
    session = world.session()
    user = world.User(name="ed")
    if pending:
        session.add(user)
    with pytest.raises(exc.InvalidRequestError, match="is not persisted"):
        session.delete(user)


def test_008_delete_detached(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    session.expunge(user)
    assert world.state(user) == "detached"
    session.delete(user)
    assert user in session.deleted
    assert world.state(user) == "persistent"
    session.flush()
    assert world.state(user) == "deleted"


def test_009_delete_twice(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    session.delete(user)
    session.delete(user)
    assert list(session.deleted) == [user]
    session.commit()
    assert world.rows("SELECT * FROM users") == []


def test_010_delete_then_add(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    session.delete(user)
    session.add(user)
    assert not session.deleted
    session.commit()
    assert world.rows("SELECT name FROM users") == [("ed",)]
