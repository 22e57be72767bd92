"""``inspect(obj).expired_attributes`` and ``.committed_state``: live, and writable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

if TYPE_CHECKING:
    from conftest import World


def test_expired_attributes_are_live(world: World) -> None:
    with world.session() as session:
        user = world.saved(session, age=1)
        assert user.age == 1
        expired = sa.inspect(user).expired_attributes
        assert not expired and len(expired) == 0 and expired == set()
        session.expire(user, ["age", "name"])
        assert expired == {"age", "name"} and {"age", "name"} == expired
        assert "age" in expired and "id" not in expired and sorted(expired) == ["age", "name"]
        assert expired & {"age", "id"} == {"age"} and expired - {"age"} == {"name"}
        assert expired.union(["id"]) == {"id", "age", "name"} and expired.difference(["age"]) == {"name"}
        assert expired <= {"age", "name", "id"} and expired.issubset(["age", "name"])
        assert user.name == "ed"
        assert not expired
        session.expire(user)
        assert expired >= {"id", "name", "age"}
        session.commit()


def test_expired_attributes_can_be_changed(world: World) -> None:
    with world.session() as session:
        user = world.saved(session, age=1)
        assert user.age == 1
        expired = sa.inspect(user).expired_attributes
        session.expire(user, ["age"])
        expired.discard("age")
        assert not expired and user.age is None
        session.expire(user, ["age"])
        expired.update(["name"])
        assert sorted(expired) == ["age", "name"]
        assert (user.age, user.name) == (1, "ed")
        session.expire(user)
        expired.remove("posts")
        assert "posts" not in expired and "age" in expired
        with pytest.raises(KeyError):
            expired.remove("posts")
        expired.clear()
        assert expired == set() and sa.inspect(user).expired
        session.expire(user)
        assert "posts" in expired
        copy = expired.copy()
        copy.clear()
        assert type(copy) is set and "posts" in expired


def test_committed_state_is_live(world: World) -> None:
    with world.session() as session:
        user = world.saved(session, age=1)
        assert user.age == 1 and user.posts == []
        committed = sa.inspect(user).committed_state
        assert committed == {} and not committed
        user.age = 2
        user.age = 3
        assert committed == {"age": 1} and committed["age"] == 1 and list(committed.items()) == [("age", 1)]
        post = world.Post(title="one")
        user.posts.append(post)
        assert committed["posts"] == [] and sorted(committed) == ["age", "posts"]
        assert committed.get("name") is None and "name" not in committed
        with pytest.raises(KeyError):
            committed["name"]
        session.flush()
        assert committed == {} and len(committed) == 0


def test_committed_state_can_be_changed(world: World) -> None:
    with world.session() as session:
        user = world.saved(session, age=1)
        post = world.Post(title="one")
        user.posts.append(post)
        session.commit()
        assert user.age == 1 and user.posts == [post]
        state = sa.inspect(user)
        user.age = 2
        assert state.committed_state.pop("age") == 1
        assert not session.is_modified(user) and state.attrs.age.history == ((), [2], ())
        session.flush()
        session.expire(user)
        assert user.age == 1
        state.committed_state["age"] = 7
        assert state.attrs.age.history == ([1], (), [7])
        state.committed_state["age"] = 8
        assert state.committed_state == {"age": 8}
        assert user.posts == [post]
        state.committed_state.update(posts=[])
        assert state.attrs.posts.history == ([post], [], [])
        state.committed_state.clear()
        assert not state.committed_state and state.attrs.posts.history == ((), [post], ())
        with pytest.raises(KeyError):
            del state.committed_state["age"]
