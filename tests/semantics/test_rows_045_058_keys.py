"""Rows 45–58: row switches, conflicting keys, changed keys, trees."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa


def test_045_row_switch(world: Any) -> None:
    session = world.session()
    first = session.get(world.User, 2)
    session.delete(first)
    second = world.User(id=2, name="switched")
    session.add(second)
    world.sent()
    session.flush()
    assert world.sent() == [
        (
            (
                "SELECT addresses.id, addresses.user_id, addresses.email FROM addresses WHERE ? = "
                "addresses.user_id ORDER BY addresses.id"
            ),
            (2,),
        ),
        ("UPDATE users SET name=? WHERE users.id = ?", ("switched", 2)),
    ]
    assert session.get(world.User, 2) is second
    assert sa.inspect(second).persistent
    assert session.execute(sa.text("SELECT name, age FROM users WHERE id = 2")).one() == ("switched", 40)
    session.rollback()
    assert sa.inspect(first).persistent
    assert sa.inspect(second).transient
    assert first.name == "wendy"


def test_047_delete_flush_add_same_key(world: Any) -> None:
    session = world.session()
    first = session.get(world.User, 2)
    session.delete(first)
    session.flush()
    world.sent()
    second = world.User(id=2, name="again")
    session.add(second)
    session.flush()
    assert world.sent() == [("INSERT INTO users (id, name, age) VALUES (?, ?, ?)", (2, "again", None))]
    session.rollback()
    assert session.get(world.User, 2) is first
    assert sa.inspect(second).transient


def test_048_conflict_with_a_persistent_object(world: Any) -> None:
    session = world.session()
    first = session.get(world.User, 1)
    session.add(world.User(id=1, name="impostor"))
    world.sent()
    with (
        pytest.warns(sa.exc.SAWarning, match="conflicts with persistent instance"),
        pytest.raises(sa.exc.IntegrityError),
    ):
        session.flush()
    assert world.sent() == [("INSERT INTO users (id, name, age) VALUES (?, ?, ?)", (1, "impostor", None))]
    session.rollback()
    assert session.get(world.User, 1) is first
    assert first.name == "ed"


def test_051_changed_key(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 2)
    user.id = 7
    assert sa.inspect(user).identity == (2,)
    world.sent()
    session.flush()
    assert world.sent() == [("UPDATE users SET id=? WHERE users.id = ?", (7, 2))]
    assert sa.inspect(user).identity == (7,)
    assert session.get(world.User, 7) is user
    assert session.get(world.User, 2) is None


def test_052_changed_twice_and_rolled_back(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 2)
    user.id = 7
    session.flush()
    world.sent()
    user.id = 8
    session.flush()
    assert world.sent() == [("UPDATE users SET id=? WHERE users.id = ?", (8, 7))]
    session.rollback()
    assert sa.inspect(user).identity == (2,)
    assert user.id == 2
    assert session.get(world.User, 2) is user


def test_053_swapped_keys(world: Any) -> None:
    session = world.session()
    one, two = session.get(world.User, 1), session.get(world.User, 2)
    one.id, two.id = 2, 1
    world.sent()
    with pytest.raises(sa.exc.IntegrityError):
        session.flush()
    assert world.sent() == [("UPDATE users SET id=? WHERE users.id = ?", [(2, 1), (1, 2)])]
    session.rollback()
    assert (one.id, two.id) == (1, 2)


def test_054_key_set_to_none(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 2)
    user.id = None
    world.sent()
    with pytest.raises((sa.exc.IntegrityError, world.orm.exc.FlushError)) as caught:
        session.flush()
    assert (type(caught.value).__name__, world.sent()) == (
        "IntegrityError",
        [("UPDATE users SET id=? WHERE users.id = ?", (None, 2))],
    )
    session.rollback()
    assert user.id == 2


def test_055_setting_an_expired_key_loads_it(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 2)
    session.expire(user)
    world.sent()
    user.id = 5
    assert world.verbs() == ["SELECT users"]
    session.flush()
    assert world.sent() == [("UPDATE users SET id=? WHERE users.id = ?", (5, 2))]


def test_058_tree_by_level(world: Any) -> None:
    session = world.session()
    root = world.Node(name="root")
    left, right = world.Node(name="left", parent=root), world.Node(name="right", parent=root)
    leaf = world.Node(name="leaf", parent=left)
    session.add_all([leaf, right, left, root])
    session.flush()
    assert world.sent() == [
        ("INSERT INTO nodes (parent_id, name) VALUES (?, ?)", (None, "root")),
        ("INSERT INTO nodes (parent_id, name) VALUES (?, ?) RETURNING id", (1, "left")),
        ("INSERT INTO nodes (parent_id, name) VALUES (?, ?) RETURNING id", (1, "right")),
        ("INSERT INTO nodes (parent_id, name) VALUES (?, ?)", (2, "leaf")),
    ]
    assert root.id < min(left.id, right.id)
    assert leaf.id > max(left.id, right.id)
    assert (left.parent_id, right.parent_id, leaf.parent_id) == (root.id, root.id, left.id)
    world.sent()
    for node in (root, right, left, leaf):
        session.delete(node)
    session.flush()
    deleted = []
    for sql, parameters in world.sent():
        if sql.startswith("DELETE"):
            deleted += [p[0] for p in parameters] if isinstance(parameters, list) else [parameters[0]]
    assert deleted.index(leaf.id) < deleted.index(left.id)
    assert deleted[-1] == root.id


def test_058_tree_through_children(world: Any) -> None:
    with world.session() as session:
        root = world.Node(
            name="r", children=[world.Node(name=f"c{n}", children=[world.Node(name="g")]) for n in range(3)]
        )
        session.add(root)
        session.commit()
        assert [[g.name for g in c.children] for c in root.children] == [["g"]] * 3
    assert len(world.rows("SELECT * FROM nodes")) == 7


def test_059_row_that_references_itself(world: Any) -> None:
    session = world.session()
    node = world.Node(name="loop")
    node.parent = node
    session.add(node)
    world.sent()
    with pytest.raises(sa.exc.CircularDependencyError):
        session.flush()
    assert [s for s, _ in world.sent() if s.startswith("INSERT")] == []
