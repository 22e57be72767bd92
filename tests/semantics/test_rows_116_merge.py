"""Row 116: merge()."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ForeignKey, Integer, String


def people(bench: Any, **user_args: Any) -> SimpleNamespace:
    """Users with addresses."""
    orm = bench.orm

    class User(bench.Base):
        __tablename__ = "users"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String)
        age = orm.mapped_column(Integer)
        version = orm.mapped_column(Integer)
        addresses = orm.relationship(
            "Address", order_by="Address.id", back_populates="user", cascade="all, delete-orphan"
        )
        __mapper_args__ = {"version_id_col": version} if user_args.get("versioned") else {}

    class Address(bench.Base):
        __tablename__ = "addresses"
        id = orm.mapped_column(Integer, primary_key=True)
        user_id = orm.mapped_column(ForeignKey("users.id"))
        email = orm.mapped_column(String)
        user = orm.relationship("User", back_populates="addresses")

    bench.create()
    return SimpleNamespace(User=User, Address=Address)


def test_116_new_object(bench: Any) -> None:
    p = people(bench)
    session = bench.session()
    given = p.User(name="ed", addresses=[p.Address(email="a"), p.Address(email="b")])
    merged = session.merge(given)
    assert (merged is given, bench.states(given, merged, *merged.addresses)) == (
        False,
        ["transient", "pending", "pending", "pending"],
    )
    assert bench.told() == []
    session.flush()
    assert bench.told() == [
        "INSERT INTO users (name, age, version) VALUES ('ed', NULL, NULL)",
        "INSERT INTO addresses (user_id, email) VALUES (1, 'a')",
        "INSERT INTO addresses (user_id, email) VALUES (1, 'b')",
    ]
    assert (given.id, [a.user is merged for a in merged.addresses]) == (None, [True, True])


def test_116_only_loaded_attributes_are_copied(bench: Any) -> None:
    p = people(bench)
    session = bench.saved(p.User(id=1, name="ed", age=30, addresses=[p.Address(id=1, email="a")]))
    merged = session.merge(p.User(id=1, name="edward"))
    assert bench.told() == ["SELECT users"]
    assert (merged.name, merged.age, len(merged.addresses)) == ("edward", 30, 1)
    bench.told()
    session.flush()
    assert bench.told() == []
    session.merge(p.User(id=1, age=None))
    session.flush()
    assert bench.told() == ["UPDATE users SET age=NULL WHERE users.id = 1"]
    assert (merged.name, merged.age) == ("edward", None)


def test_116_collection_is_replaced(bench: Any) -> None:
    p = people(bench)
    session = bench.saved(p.User(id=1, name="ed", addresses=[p.Address(id=1, email="a"), p.Address(id=2, email="b")]))
    user = session.get(p.User, 1)
    first, second = user.addresses
    given = p.User(id=1, name="ed", addresses=[p.Address(id=2, email="c"), p.Address(email="new")])
    bench.told()
    assert session.merge(given) is user
    assert [a.email for a in user.addresses] == ["c", "new"]
    session.flush()
    assert bench.told() == [
        "UPDATE addresses SET email='c' WHERE addresses.id = 2",
        "INSERT INTO addresses (user_id, email) VALUES (1, 'new')",
        "DELETE FROM addresses WHERE addresses.id = 1",
    ]
    assert bench.states(first, second) == ["deleted", "persistent"]


def test_116_detached_object(bench: Any) -> None:
    p = people(bench)
    session = bench.saved(p.User(id=1, name="ed", addresses=[p.Address(id=1, email="a")]))
    user = session.get(p.User, 1)
    assert len(user.addresses) == 1
    session.close()
    user.name = "changed"
    user.addresses[0].email = "b"
    bench.told()
    merged = session.merge(user)
    assert bench.told() == ["SELECT users", "SELECT addresses"]
    assert (bench.states(user, merged), merged.addresses[0].email) == (["detached", "persistent"], "b")
    session.flush()
    assert bench.told() == [
        "UPDATE users SET name='changed' WHERE users.id = 1",
        "UPDATE addresses SET email='b' WHERE addresses.id = 1",
    ]
    assert session.merge(merged) is merged
    assert bench.told() == []


def test_116_expired_and_persistent_elsewhere(bench: Any) -> None:
    p = people(bench)
    session = bench.saved(p.User(id=1, name="ed"))
    user = session.get(p.User, 1)
    session.expire(user, ["age"])
    other = bench.session()
    bench.told()
    merged = other.merge(user)
    assert bench.told() == ["SELECT users"]
    assert (merged.name, "age" in merged.__dict__, merged is user) == ("ed", True, False)


def test_116_deleted_row_is_inserted_again(bench: Any) -> None:
    p = people(bench)
    session = bench.saved(p.User(id=1, name="ed"))
    user = session.get(p.User, 1)
    session.close()
    bench.meanwhile(session, "DELETE FROM users")
    merged = session.merge(user)
    assert (bench.told(), bench.states(merged)) == (["SELECT users"], ["pending"])
    session.flush()
    assert bench.told() == ["INSERT INTO users (id, name, age, version) VALUES (1, 'ed', NULL, NULL)"]


def test_116_autoflush_first(bench: Any) -> None:
    p = people(bench)
    session = bench.session()
    session.add(p.User(id=1, name="pending"))
    merged = session.merge(p.User(id=1, name="ed"))
    assert bench.told() == [
        "INSERT INTO users (id, name, age, version) VALUES (1, 'pending', NULL, NULL)",
        "SELECT users",
    ]
    assert merged.name == "ed"
    session.flush()
    assert bench.told() == ["UPDATE users SET name='ed' WHERE users.id = 1"]


def test_116_without_load(bench: Any) -> None:
    p = people(bench)
    session = bench.saved(p.User(id=1, name="ed", addresses=[p.Address(id=1, email="a")]))
    user = session.get(p.User, 1)
    assert len(user.addresses) == 1
    session.expunge_all()
    bench.told()
    merged = session.merge(user, load=False)
    assert (bench.told(), merged.name, [a.email for a in merged.addresses]) == ([], "ed", ["a"])
    assert (bench.states(merged, *merged.addresses), session.is_modified(merged)) == (
        ["persistent", "persistent"],
        False,
    )
    assert bench.outcome(session.merge, p.User(id=2)) == []
    assert bench.outcome(lambda: session.merge(p.User(id=3), load=False)) == [
        (
            "InvalidRequestError: merge() with load=False option does not support objects transient (i.e. "
            "unpersisted) objects. flush() all changes on mapped instances before merging with load=False."
        )
    ]
    user.name = "dirty"
    assert bench.outcome(lambda: session.merge(user, load=False)) == []


def test_116_version(bench: Any) -> None:
    p = people(bench, versioned=True)
    session = bench.saved(p.User(id=1, name="ed"))
    user = session.get(p.User, 1)
    session.close()
    bench.meanwhile(session, "UPDATE users SET version = 7")
    user.name = "stale"
    assert bench.outcome(session.merge, user) == [
        (
            "StaleDataError: Version id '1' on merged state <User at 0x> does not match existing version "
            "'7'. Leave the version attribute unset when merging to update the most recent version."
        )
    ]
    session.rollback()
    user.version = 1
    merged = session.merge(user)
    session.flush()
    assert (bench.told(), merged.version) == (
        [
            "SELECT users",
            "SELECT users",
            "UPDATE users SET name='stale', version=2 WHERE users.id = 1 AND users.version = 1",
        ],
        2,
    )


def test_116_cascade_cycles_and_nulls(bench: Any) -> None:
    p = people(bench)
    session = bench.saved(p.User(id=1, name="ed"), p.User(id=2, name="jack"), p.Address(id=1, email="a", user_id=1))
    given = p.Address(id=1, email="a", user=p.User(id=2, name="jacky"))
    given.user.addresses.append(p.Address(id=5, email="more"))
    merged = session.merge(given)
    session.flush()
    assert bench.told(selects=False) == [
        "UPDATE users SET name='jacky' WHERE users.id = 2",
        "UPDATE addresses SET user_id=2 WHERE addresses.id = 1",
    ]
    assert merged.user is session.get(p.User, 2)
    session.merge(p.Address(id=1, user=None))
    session.flush()
    assert bench.told(selects=False) == ["DELETE FROM addresses WHERE addresses.id = 1"]
    session.commit()
    assert bench.rows("addresses") == []


def test_116_merge_events_and_unmapped(bench: Any) -> None:
    p = people(bench)
    session = bench.session()
    assert bench.outcome(session.merge, None) == ["UnmappedInstanceError: Class 'builtins.NoneType' is not mapped"]
    assert bench.outcome(session.merge, "text") == ["UnmappedInstanceError: Class 'builtins.str' is not mapped"]
    merged = session.merge(p.User())
    assert bench.states(merged) == ["pending"]
    assert sa.inspect(merged).identity is None
    assert bench.told() == []
