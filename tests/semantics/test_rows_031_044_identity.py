"""Rows 31–44: the identity map, get(), and what a result row does to an object that is there already."""

from __future__ import annotations

import gc
import warnings
from typing import Any

import pytest
import sqlalchemy as sa


def test_031_weak_map(world: Any) -> None:
    session = world.session()
    clean, changed = session.get(world.User, 1), session.get(world.User, 2)
    changed.name = "new"
    session.add(world.User(id=3, name="pending"))
    assert len(session.identity_map) == 2
    del clean, changed
    gc.collect()
    assert len(session.identity_map) == 1
    assert [u.name for u in session.dirty] == ["new"]
    assert [u.name for u in session.new] == ["pending"]
    deleted = session.get(world.User, 1)
    session.delete(deleted)
    del deleted
    gc.collect()
    assert [u.id for u in session.deleted] == [1]


def test_032_collection_of_a_collected_parent(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    addresses = user.addresses
    session.close()
    del user
    gc.collect()
    with pytest.raises(world.orm.exc.ObjectDereferencedError):
        addresses.append(world.Address())


def test_033_identity_key(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    assert sa.inspect(user).identity_key == (world.User, (1,), None)
    assert sa.inspect(user).identity == (1,)
    assert sa.inspect(world.User(id=5)).identity_key is None
    assert session.identity_key(world.User, 1) == (world.User, (1,), None)


def test_034_get_hit(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    pending = world.User(id=9)
    session.add(pending)
    world.sent()
    assert session.get(world.User, 1) is user
    assert world.sent() == []
    assert sa.inspect(pending).pending
    session.expunge(pending)
    session.expire(user)
    assert session.get(world.User, 1) is user
    assert world.verbs() == ["SELECT users"]
    assert user.name == "ed"
    assert world.sent() == []


def test_034_get_of_an_expired_row_that_is_gone(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 2)
    session.execute(sa.text("DELETE FROM users WHERE id = 2"))
    session.expire(user)
    assert session.get(world.User, 2) is None
    assert user not in session


def test_035_get_miss_autoflushes(world: Any) -> None:
    session = world.session()
    session.add(world.User(id=9, name="new"))
    world.sent()
    assert session.get(world.User, 2).name == "wendy"
    assert world.verbs() == ["INSERT users", "SELECT users"]


def test_036_get_none(world: Any) -> None:
    session = world.session()
    with pytest.warns(sa.exc.SAWarning, match="fully NULL primary key identity"):
        assert session.get(world.User, None) is None
    world.sent()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert session.get(world.Pair, (1, None)) is None
    assert world.sent()[0][0].endswith("WHERE pairs.a = ? AND pairs.b IS NULL")


def test_037_get_wrong_arity(world: Any) -> None:
    session = world.session()
    with pytest.raises(sa.exc.InvalidRequestError, match="primary key columns are"):
        session.get(world.Pair, 1)
    with pytest.raises(sa.exc.InvalidRequestError, match="primary key columns are"):
        session.get(world.User, (1, 2))
    with pytest.raises(sa.exc.InvalidRequestError, match="Incorrect names of values in identifier"):
        session.get(world.Pair, {"a": 1, "z": 2})
    with pytest.raises((sa.exc.ArgumentError, sa.exc.NoInspectionAvailable)):
        session.get(object, 1)


def test_037_get_by_names(world: Any) -> None:
    session = world.session()
    session.add(world.Pair(a=1, b=2, note="x"))
    session.flush()
    assert session.get(world.Pair, {"b": 2, "a": 1}).note == "x"
    assert session.get(world.Pair, (1, 2)).note == "x"


def test_038_get_by_another_type(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    world.sent()
    assert session.get(world.User, "1") is user
    assert world.verbs() == ["SELECT users"]
    assert session.get(world.User, 1.0) is user
    assert session.get(world.User, True) is user
    assert world.sent() == []


def test_040_get_populate_existing(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    user.name = "changed"
    world.sent()
    with session.no_autoflush:
        assert session.get(world.User, 1, populate_existing=True) is user
    assert world.verbs() == ["SELECT users"]
    assert user.name == "ed"
    assert session.get(world.User, 1, with_for_update=True) is user
    assert world.verbs() == ["SELECT users"]


def test_041_null_key_after_insert(world: Any) -> None:
    session = world.session()
    session.add(world.Pair(note="no key"))
    with pytest.warns(sa.exc.SAWarning), pytest.raises((world.orm.exc.FlushError, sa.exc.IntegrityError)):
        session.flush()
    session.rollback()
    assert world.rows("SELECT * FROM pairs") == []


def test_042_row_with_null_key(world: Any) -> None:
    session = world.session()
    rows = session.execute(
        sa.select(world.User, world.Address)
        .join(world.Address, world.Address.user_id == world.User.id, isouter=True)
        .where(world.User.id == 2)
    ).all()
    assert len(rows) == 1
    assert rows[0][0].id == 2
    assert rows[0][1] is None


def test_043_loaded_attributes_stay(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    session.execute(sa.text("UPDATE users SET name = 'other', age = 99 WHERE id = 1"))
    session.expire(user, ["age"])
    assert session.scalars(sa.select(world.User).where(world.User.id == 1)).one() is user
    world.sent()
    assert (user.name, user.age) == ("ed", 99)
    assert world.sent() == []


def test_044_populate_existing_overwrites(world: Any) -> None:
    session = world.session(autoflush=False)
    user = session.get(world.User, 1)
    user.name = "unsaved"
    statement = sa.select(world.User).execution_options(populate_existing=True)
    assert user in session.scalars(statement).all()
    assert user.name == "ed"
    assert user not in session.dirty
