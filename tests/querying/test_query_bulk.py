"""UPDATE, DELETE and INSERT of entities, and what becomes of the objects in the session."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import delete, event, exc, func, insert, inspect, select, update


@pytest.mark.parametrize("sync", ["auto", "evaluate", "fetch", False])
def test_query_update(world: SimpleNamespace, sync: Any) -> None:
    session, User = world.session, world.User
    jack, ed = session.get(User, 7), session.get(User, 8)
    assert session.query(User).filter(User.age < 30).update({"age": User.age + 10}, synchronize_session=sync) == 2
    world.sent.clear()
    assert jack.age == (25 if sync is False else 35) and ed.age == 47
    assert not world.sent
    session.expire_all()
    assert jack.age == 35


@pytest.mark.parametrize("sync", ["auto", "evaluate", "fetch"])
def test_query_delete(world: SimpleNamespace, sync: str) -> None:
    session, User = world.session, world.User
    chuck, ed = session.get(User, 10), session.get(User, 8)
    assert session.query(User).filter(User.name == "chuck").delete(synchronize_session=sync) == 1
    assert chuck not in session and ed in session
    assert inspect(chuck).deleted
    session.rollback()
    assert chuck in session and inspect(chuck).persistent


def test_update_sql(world: SimpleNamespace) -> None:
    session, User = world.session, world.User
    session.query(User).filter_by(id=8).update({User.name: "eduard"})
    session.execute(
        update(User).where(User.id == 7).values(name="jacques"), execution_options={"synchronize_session": "fetch"}
    )
    assert world.sent.sql == [
        "UPDATE users SET name=? WHERE users.id = ?",
        "UPDATE users SET name=? WHERE users.id = ? RETURNING id",
    ]


def test_unevaluatable_criteria(world: SimpleNamespace) -> None:
    session, User = world.session, world.User
    jack = session.get(User, 7)
    criteria = func.lower(User.name) == "jack"
    with pytest.raises(exc.InvalidRequestError, match="Could not evaluate current criteria in Python"):
        session.query(User).filter(criteria).update({"age": 1}, synchronize_session="evaluate")
    session.query(User).filter(criteria).update({"age": 1})
    assert jack.age == 1


def test_modified_attribute_is_expired(world: SimpleNamespace) -> None:
    session, User = world.session, world.User
    jack = session.get(User, 7)
    with session.no_autoflush:
        jack.age = 99
        session.execute(update(User).where(User.name == "jack").values(age=1))
        assert "age" in inspect(jack).unloaded
        assert jack.age == 1


def test_update_expression_that_python_cannot_tell(world: SimpleNamespace) -> None:
    session, User = world.session, world.User
    jack = session.get(User, 7)
    session.query(User).filter_by(id=7).update({"name": func.upper(User.name)})
    assert jack.name == "JACK"


@pytest.mark.parametrize(
    "method, argument", [("limit", 1), ("order_by", None), ("join", "addresses"), ("distinct", None)]
)
def test_update_refuses(world: SimpleNamespace, method: str, argument: Any) -> None:
    User = world.User
    query = world.session.query(User)
    query = {
        "limit": lambda: query.limit(1),
        "order_by": lambda: query.order_by(User.id),
        "join": lambda: query.join(User.addresses),
        "distinct": lambda: query.distinct(),
    }[method]()
    with pytest.raises(
        exc.InvalidRequestError, match=rf"Can't call Query.update\(\) or Query.delete\(\) when .*{method}"
    ):
        query.update({"age": 3})


def test_125_insert_returning_entities(world: SimpleNamespace) -> None:
    session, User = world.session, world.User
    rows = [{"id": 20, "name": "a", "age": 1}, {"id": 21, "name": "b", "age": 2}]
    users = session.scalars(insert(User).returning(User), rows).all()
    assert [u.name for u in users] == ["a", "b"]
    assert all(inspect(u).persistent for u in users)
    assert session.get(User, 20) is users[0]


def test_125_insert_list(world: SimpleNamespace) -> None:
    session, User = world.session, world.User
    session.execute(insert(User), [{"name": "x"}, {"name": "y", "age": 4}, {"name": "z", "age": 5}])
    assert session.scalars(select(User.name).where(User.id > 10).order_by(User.id)).all() == ["x", "y", "z"]
    assert world.sent.sql[:2] == ["INSERT INTO users (name) VALUES (?)", "INSERT INTO users (name, age) VALUES (?, ?)"]


def test_125_bulk_update_by_primary_key(world: SimpleNamespace) -> None:
    session, User = world.session, world.User
    jack = session.get(User, 7)
    session.execute(update(User), [{"id": 7, "age": 70}, {"id": 8, "age": 80}])
    assert jack.age == 70
    assert session.scalar(select(User.age).where(User.id == 8)) == 80
    with pytest.raises(exc.InvalidRequestError, match="No primary key value supplied") as caught:
        session.execute(update(User), [{"age": 3}])
    assert caught.value.code == "bupq"


def test_delete_statement(world: SimpleNamespace) -> None:
    session, User = world.session, world.User
    chuck = session.get(User, 10)
    result = session.execute(delete(User).where(User.age.is_(None)))
    assert result.rowcount == 1 and inspect(chuck).deleted
    assert session.scalars(delete(User).where(User.id == 9).returning(User.name)).all() == ["fred"]


def test_update_returning(world: SimpleNamespace) -> None:
    session, User = world.session, world.User
    jack = session.get(User, 7)
    returned = session.scalars(update(User).where(User.id == 7).values(age=User.age * 2).returning(User)).all()
    assert returned == [jack] and jack.age == 50


def test_bulk_events(world: SimpleNamespace) -> None:
    session, User = world.session, world.User
    seen = []
    event.listen(
        session, "after_bulk_update", lambda context: seen.append((context.mapper.class_, context.result.rowcount))
    )
    event.listen(session, "after_bulk_delete", lambda context: seen.append(context.result.rowcount))
    session.query(User).filter(User.id == 7).update({"age": 1})
    session.query(User).filter(User.id > 8).delete()
    assert seen == [(User, 1), 2]


def test_bulk_insert_mappings(world: SimpleNamespace) -> None:
    session, User = world.session, world.User
    session.bulk_insert_mappings(User, [{"name": "m1"}, {"name": "m2"}])
    session.bulk_update_mappings(User, [{"id": 7, "age": 1}])
    session.bulk_save_objects([User(name="m3")])
    assert session.scalars(select(User.name).where(User.id > 10).order_by(User.id)).all() == ["m1", "m2", "m3"]
    assert session.get(User, 7).age == 1
