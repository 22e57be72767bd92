"""Rows 125–127: bulk statements and the objects in memory; pickled objects."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey, Integer, String


@pytest.fixture
def people(bench: Any) -> Iterator[SimpleNamespace]:
    """Users with posts; found by pickle as attributes of this module."""
    orm = bench.orm

    class User(bench.Base):
        __tablename__ = "users"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String)
        age = orm.mapped_column(Integer)
        posts = orm.relationship("Post", order_by="Post.id", back_populates="user")

    class Post(bench.Base):
        __tablename__ = "posts"
        id = orm.mapped_column(Integer, primary_key=True)
        user_id = orm.mapped_column(ForeignKey("users.id"))
        user = orm.relationship("User", back_populates="posts")

    module = sys.modules[__name__]
    for class_ in (User, Post):
        class_.__qualname__ = class_.__name__
        setattr(module, class_.__name__, class_)
    bench.create()
    yield SimpleNamespace(User=User, Post=Post)
    del module.User, module.Post  # type: ignore[attr-defined]


def test_125_bulk_save_objects(bench: Any, people: Any) -> None:
    session = bench.session()
    users = [people.User(name="a"), people.User(name="b", age=2), people.User(name="c")]
    session.bulk_save_objects(users)
    assert bench.told() == [
        "INSERT INTO users (name) VALUES ('a')",
        "INSERT INTO users (name, age) VALUES ('b', 2)",
        "INSERT INTO users (name) VALUES ('c')",
    ]
    assert (bench.states(*users), [u.id for u in users], len(session.identity_map)) == (
        ["transient", "transient", "transient"],
        [None, None, None],
        0,
    )
    session.bulk_save_objects([people.User(name="d")], return_defaults=True)
    session.commit()
    assert bench.rows("users") == [(1, "a", None), (2, "b", 2), (3, "c", None), (4, "d", None)]


def test_125_bulk_save_of_persistent_objects(bench: Any, people: Any) -> None:
    session = bench.saved(people.User(id=1, name="a"), people.User(id=2, name="b"))
    one, two = session.get(people.User, 1), session.get(people.User, 2)
    one.name = "changed"
    bench.told()
    session.bulk_save_objects([one, two])
    assert bench.told() == ["UPDATE users SET name='changed' WHERE users.id = 1"]
    assert (one in session.dirty, bench.states(one)) == (True, ["persistent"])


def test_125_bulk_mappings(bench: Any, people: Any) -> None:
    session = bench.session()
    rows = [{"name": "a"}, {"name": "b", "age": 3}, {"name": "c"}]
    session.bulk_insert_mappings(people.User, rows, return_defaults=True)
    assert (rows, bench.told()) == (
        [{"name": "a", "id": 1}, {"name": "b", "age": 3, "id": 2}, {"name": "c", "id": 3}],
        [
            "INSERT INTO users (name) VALUES ('a')",
            "INSERT INTO users (name, age) VALUES ('b', 3)",
            "INSERT INTO users (name) VALUES ('c')",
        ],
    )
    session.bulk_insert_mappings(people.User, [{"name": "d"}], render_nulls=True)
    session.bulk_update_mappings(people.User, [{"id": 1, "name": "x"}, {"id": 2, "age": 9}])
    assert bench.told() == [
        "INSERT INTO users (name) VALUES ('d')",
        "UPDATE users SET name='x' WHERE users.id = 1",
        "UPDATE users SET age=9 WHERE users.id = 2",
    ]
    assert bench.outcome(session.bulk_update_mappings, people.User, [{"name": "x"}]) == [
        (
            "InvalidRequestError: No primary key value supplied for column(s) users.id; per-row ORM Bulk "
            "UPDATE by Primary Key requires that records contain primary key values (Background on this "
            "error at: https://sqlalche.me/e/bupq)"
        )
    ]


def test_125_insert_returning_objects(bench: Any, people: Any) -> None:
    session = bench.session()
    statement = sa.insert(people.User).returning(people.User)
    users = session.scalars(statement, [{"name": "a"}, {"name": "b"}]).all()
    assert bench.told() == [
        "INSERT INTO users (name) VALUES ('a')",
        "INSERT INTO users (name) VALUES ('b') RETURNING id, name, age",
    ]
    assert (bench.states(*users), [u.id for u in users]) == (["persistent", "persistent"], [1, 2])
    assert session.get(people.User, 1) is users[0]
    session.rollback()
    assert bench.outcome(lambda: users[0].name) == [
        ("ObjectDeletedError: Instance '<User at 0x>' has been deleted, or its row is otherwise not present.")
    ]


def test_125_update_by_primary_key(bench: Any, people: Any) -> None:
    session = bench.saved(people.User(id=1, name="a"), people.User(id=2, name="b"))
    one = session.get(people.User, 1)
    bench.told()
    session.execute(sa.update(people.User), [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}])
    assert bench.told() == [
        "UPDATE users SET name='x' WHERE users.id = 1",
        "UPDATE users SET name='y' WHERE users.id = 2",
    ]
    assert (one.name, one in session.dirty) == ("x", False)
    assert bench.outcome(session.execute, sa.update(people.User), [{"name": "x"}]) == [
        (
            "InvalidRequestError: No primary key value supplied for column(s) users.id; per-row ORM Bulk "
            "UPDATE by Primary Key requires that records contain primary key values (Background on this "
            "error at: https://sqlalche.me/e/bupq)"
        )
    ]
    assert bench.outcome(session.execute, sa.update(people.User), [{"id": 77, "name": "x"}]) == [
        "StaleDataError: UPDATE statement on table 'users' expected to update 1 row(s); 0 were matched."
    ]


def test_126_update_where(bench: Any, people: Any) -> None:
    users = [people.User(id=n, name="abc"[n], age=n) for n in range(3)]
    session = bench.saved(*users)
    a, b = session.get(people.User, 0), session.get(people.User, 1)
    b.age = 50
    bench.told()
    session.execute(sa.update(people.User).where(people.User.age < 2).values(name=people.User.name + "!"))
    assert bench.told() == [
        "UPDATE users SET age=50 WHERE users.id = 1",
        "UPDATE users SET name=(users.name || '!') WHERE users.age < 2",
    ]
    assert (a.name, b.name, b in session.dirty) == ("a!", "b", False)
    assert bench.told() == []
    session.execute(sa.update(people.User).values(age=7), execution_options={"synchronize_session": "fetch"})
    assert (bench.told(), a.age, b.age) == (["UPDATE users SET age=7"], 7, 7)
    session.execute(sa.update(people.User).values(age=8), execution_options={"synchronize_session": False})
    assert (a.age, b.age) == (7, 7)
    session.rollback()
    assert [u.age for u in users] == [0, 1, 2]


def test_126_update_that_cannot_be_evaluated(bench: Any, people: Any) -> None:
    session = bench.saved(people.User(id=1, name="a", age=1))
    user = session.get(people.User, 1)
    bench.told()
    session.execute(sa.update(people.User).where(sa.func.lower(people.User.name) == "a").values(age=2))
    assert (bench.told(), user.age) == (["UPDATE users SET age=2 WHERE lower(users.name) = 'a'"], 2)
    statement = sa.update(people.User).where(sa.func.lower(people.User.name) == "a").values(age=3)
    assert bench.outcome(lambda: session.execute(statement, execution_options={"synchronize_session": "evaluate"})) == [
        (
            'InvalidRequestError: Could not evaluate current criteria in Python: "Cannot evaluate Function". '
            "Specify 'fetch' or False for the synchronize_session execution option."
        )
    ]


def test_126_delete_where(bench: Any, people: Any) -> None:
    users = [people.User(id=n, name="abc"[n], age=n) for n in range(3)]
    session = bench.saved(*users)
    a, b, c = (session.get(people.User, n) for n in range(3))
    bench.told()
    result = session.execute(sa.delete(people.User).where(people.User.age < 2))
    assert (result.rowcount, bench.told(), bench.states(a, b, c)) == (
        2,
        ["DELETE FROM users WHERE users.age < 2"],
        ["deleted", "deleted", "persistent"],
    )
    assert (a in session, session.get(people.User, 0)) == (False, None)
    bench.told()
    session.rollback()
    assert (bench.states(a, b, c), a.name) == (["persistent", "persistent", "persistent"], "a")
    session.execute(sa.delete(people.User).where(people.User.id == 1))
    session.commit()
    assert (bench.states(a, b, c), bench.rows("users")) == (
        ["persistent", "persistent", "persistent"],
        [(0, "a", 0), (2, "c", 2)],
    )


def test_126_legacy_query(bench: Any, people: Any) -> None:
    session = bench.saved(people.User(id=1, name="a", age=1), people.User(id=2, name="b", age=2))
    one, two = session.get(people.User, 1), session.get(people.User, 2)
    bench.told()
    assert session.query(people.User).filter(people.User.age > 1).update({"name": "z"}) == 1
    assert (one.name, two.name) == ("a", "z")
    assert session.query(people.User).filter_by(id=1).delete() == 1
    assert (bench.told(), bench.states(one, two)) == (
        ["UPDATE users SET name='z' WHERE users.age > 1", "DELETE FROM users WHERE users.id = 1"],
        ["deleted", "persistent"],
    )


def test_127_pickled_object(bench: Any, people: Any) -> None:
    session = bench.saved(people.User(id=1, name="a", age=1, posts=[people.Post(id=1)]))
    user = session.get(people.User, 1)
    assert len(user.posts) == 1
    session.expire(user, ["age"])
    copy = pickle.loads(pickle.dumps(user))
    assert (bench.states(copy, copy.posts[0]), copy.name, copy.posts[0].id) == (["detached", "detached"], "a", 1)
    (refused,) = bench.outcome(lambda: copy.age)
    assert refused.startswith(
        "DetachedInstanceError: Instance <User at 0x> is not bound to a Session; attribute refresh operation cannot"
    )
    other = bench.session()
    other.add(copy)
    bench.told()
    assert (copy.age, bench.told()) == (1, ["SELECT users"])
    copy.name = "changed"
    other.flush()
    assert bench.told() == ["UPDATE users SET name='changed' WHERE users.id = 1"]


def test_127_pickled_changes(bench: Any, people: Any) -> None:
    session = bench.saved(people.User(id=1, name="a", age=1))
    user = session.get(people.User, 1)
    user.name = "changed"
    copy = pickle.loads(pickle.dumps(user))
    session.close()
    other = bench.session()
    other.add(copy)
    assert (copy in other.dirty, other.is_modified(copy)) == (True, True)
    bench.told()
    other.flush()
    assert bench.told() == ["UPDATE users SET name='changed' WHERE users.id = 1"]
    transient = pickle.loads(pickle.dumps(people.User(name="t")))
    assert (bench.states(transient), transient.name) == (["transient"], "t")
    other.add(transient)
    other.flush()
    assert transient.id == 2
