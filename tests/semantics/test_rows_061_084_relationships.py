"""Rows 61–84, as far as one-to-many and many-to-one with the default cascade reach."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa


def test_061_removed_child(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    address = user.addresses[0]
    user.addresses.remove(address)
    assert address.user is None
    world.sent()
    session.flush()
    assert world.sent() == [("UPDATE addresses SET user_id=? WHERE addresses.id = ?", (None, 1))]
    assert sa.inspect(address).persistent


def test_062_delete_parent_without_cascade(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    session.delete(user)
    world.sent()
    session.flush()
    assert world.verbs() == ["SELECT addresses", "UPDATE addresses", "DELETE users"]
    session.commit()
    assert world.rows("SELECT user_id FROM addresses") == [(None,), (None,)]


def test_065_many_to_one_none(world: Any) -> None:
    session = world.session()
    address = session.get(world.Address, 1)
    assert address.user.id == 1
    address.user = None
    world.sent()
    session.flush()
    assert world.sent() == [("UPDATE addresses SET user_id=? WHERE addresses.id = ?", (None, 1))]


def test_067_column_and_relationship_both_set(world: Any) -> None:
    session = world.session()
    one, two = session.get(world.User, 1), session.get(world.User, 2)
    address = world.Address(email="c@x", user_id=1, user=two)
    other = world.Address(email="d@x", user_id=2)
    session.add_all([address, other])
    session.flush()
    assert address.user_id == 2
    assert other.user_id == 2
    assert one is not two


def test_068_column_set_alone(world: Any) -> None:
    session = world.session()
    address = session.get(world.Address, 1)
    assert address.user.id == 1
    address.user_id = 2
    assert address.user.id == 1
    session.flush()
    assert address.user.id == 1
    session.expire(address, ["user"])
    assert address.user.id == 2


def test_069_many_to_one_does_not_pull_in(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 2)
    address = world.Address(email="c@x")
    address.user = user
    assert address not in session
    with pytest.warns(sa.exc.SAWarning, match="not in session, add operation along 'User.addresses' will not proceed"):
        session.flush()
    session.rollback()
    user = session.get(world.User, 2)
    user.addresses.append(address)
    assert address in session


def test_069_pending_holder_pulls_its_target_in(world: Any) -> None:
    session = world.session()
    address = world.Address(email="c@x", user=world.User(name="new"))
    session.add(address)
    assert address.user in session.new
    session.commit()
    assert address.user_id == address.user.id


def test_077_deleted_child_stays_in_the_collection(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    address = user.addresses[0]
    session.delete(address)
    session.flush()
    assert address in user.addresses
    session.expire(user)
    assert address not in user.addresses


def test_081_none_in_a_collection(world: Any) -> None:
    session = world.session()
    user = world.User(name="x")
    user.addresses.append(None)
    session.add(user)
    with pytest.raises(world.orm.exc.FlushError, match="Can't flush None value found in collection"):
        session.flush()


def test_083_collection_held_across_expire(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    held = user.addresses
    session.expire(user)
    with pytest.warns(sa.exc.SAWarning, match="collection has been invalidated"):
        held.append(world.Address(email="late"))


def test_084_reordered_list(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    user.addresses.reverse()
    user.addresses[:] = list(user.addresses)
    world.sent()
    session.flush()
    assert [s for s in world.sent() if not s[0].startswith("SELECT")] == []


def test_both_sides_in_step(world: Any) -> None:
    one, two = world.User(name="one"), world.User(name="two")
    address = world.Address(user=one)
    assert one.addresses == [address]
    two.addresses.append(address)
    assert address.user is two
    assert one.addresses == []
    address.user = None
    assert two.addresses == []
    two.addresses = [address]
    assert address.user is two
    del two.addresses[0]
    assert address.user is None


def test_119_set_adds_to_an_unloaded_reverse_collection(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    world.sent()
    address = world.Address(email="c@x")
    session.add(address)
    address.user = user
    assert world.sent() == []
    assert [a.email for a in user.addresses] == ["a@x", "b@x", "c@x"]


def test_120_replacing_an_unloaded_collection_loads_it(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    world.sent()
    user.addresses = []
    assert world.verbs() == ["SELECT addresses"]
    session.commit()
    assert world.rows("SELECT user_id FROM addresses") == [(None,), (None,)]


def test_117_lazy_access_by_state(world: Any) -> None:
    session = world.session()
    transient = world.Address(user_id=1)
    assert transient.user is None
    assert "user" not in transient.__dict__
    pending = world.Address(user_id=1)
    session.add(pending)
    with session.no_autoflush:
        assert pending.user is None
    session.expunge(pending)
    detached = session.get(world.Address, 1)
    session.close()
    with pytest.raises(world.orm.exc.DetachedInstanceError) as caught:
        detached.user  # noqa: B018
    assert caught.value.code == "bhk3"
    assert world.User().addresses == []


def test_118_many_to_one_from_the_map(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    address = session.get(world.Address, 1)
    orphan = world.Address(email="none")
    session.add(orphan)
    session.flush()
    world.sent()
    assert address.user is user
    assert orphan.user is None
    assert world.sent() == []


def test_121_raiseload(world: Any) -> None:
    session = world.session()
    address = session.scalars(
        sa.select(world.Address).where(world.Address.id == 1).options(world.orm.raiseload(world.Address.user))
    ).one()
    with pytest.raises(sa.exc.InvalidRequestError, match=r"'Address\.user' is not available due to lazy='raise'"):
        address.user  # noqa: B018
    session.scalars(
        sa.select(world.Address)
        .options(world.orm.joinedload(world.Address.user))
        .execution_options(populate_existing=True)
    ).all()
    assert address.user.id == 1


def test_122_joined_collection_needs_unique(world: Any) -> None:
    session = world.session()
    statement = sa.select(world.User).options(world.orm.joinedload(world.User.addresses))
    with pytest.raises(sa.exc.InvalidRequestError, match="unique"):
        session.scalars(statement).all()
    assert {u.id: len(u.addresses) for u in session.scalars(statement).unique()} == {1: 2, 2: 0}
    with pytest.raises(sa.exc.InvalidRequestError):
        session.scalars(statement.execution_options(yield_per=10)).unique().all()
