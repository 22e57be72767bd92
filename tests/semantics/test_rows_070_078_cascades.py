"""Rows 70–78: objects that are not in the session, orphans, children that move while their parents go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import ForeignKey, Integer, String


def families(
    bench: Any, *, up: str = "save-update, merge", down: str = "all, delete-orphan", required: bool = False
) -> SimpleNamespace:
    """Parents and children, with the cascades of both sides."""
    orm = bench.orm

    class Parent(bench.Base):
        __tablename__ = "parents"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String)
        children = orm.relationship("Child", order_by="Child.id", back_populates="parent", cascade=down)

    class Child(bench.Base):
        __tablename__ = "children"
        id = orm.mapped_column(Integer, primary_key=True)
        parent_id = orm.mapped_column(ForeignKey("parents.id"), nullable=not required)
        name = orm.mapped_column(String)
        parent = orm.relationship("Parent", back_populates="children", cascade=up)

    bench.create(enforce_keys=True)
    return SimpleNamespace(Parent=Parent, Child=Child)


def test_070_many_to_one_to_a_transient_object(bench: Any) -> None:
    f = families(bench, up="merge", down="merge")
    parent, child = f.Parent(name="p"), f.Child(name="c")
    child.parent = parent
    session = bench.session()
    session.add(child)
    assert bench.states(parent, child) == ["transient", "pending"]
    assert bench.outcome(session.flush) == [
        ("SAWarning: Object of type <Parent> not in session, add operation along 'Child.parent' won't proceed")
    ]
    assert bench.told() == ["INSERT INTO children (parent_id, name) VALUES (NULL, 'c')"]
    assert (child.parent is parent, child.parent_id) == (True, None)
    session.commit()
    assert (bench.rows("parents"), bench.rows("children")) == ([], [(1, None, "c")])
    assert child.parent is None


def test_070_collection_of_a_transient_object(bench: Any) -> None:
    f = families(bench, up="merge", down="merge")
    parent = f.Parent(name="p", children=[f.Child(name="c")])
    session = bench.session()
    session.add(parent)
    assert bench.outcome(session.flush) == [
        ("SAWarning: Object of type <Child> not in session, add operation along 'Parent.children' will not proceed")
    ]
    assert bench.told() == ["INSERT INTO parents (name) VALUES ('p')"]
    session.commit()
    assert parent.children == []


def test_071_removed_orphan(bench: Any) -> None:
    f = families(bench)
    parent = f.Parent(name="p", children=[f.Child(name="a"), f.Child(name="b")])
    session = bench.saved(parent)
    a, b = parent.children
    parent.children.remove(a)
    assert (bench.states(a), a in session.deleted, a in session.dirty, a.parent) == (["persistent"], False, True, None)
    bench.told()
    session.flush()
    assert bench.told() == ["DELETE FROM children WHERE children.id = 1"]
    assert (bench.states(a), a in session) == (["deleted"], False)
    session.rollback()
    assert (bench.states(a), parent.children) == (["persistent"], [a, b])


def test_071_orphan_that_is_put_back(bench: Any) -> None:
    f = families(bench)
    parent = f.Parent(name="p", children=[f.Child(name="a"), f.Child(name="b")])
    session = bench.saved(parent)
    a, b = parent.children
    parent.children.remove(a)
    parent.children.append(a)
    bench.told()
    session.flush()
    assert (bench.told(), bench.states(a)) == ([], ["persistent"])
    parent.children = [b]
    session.flush()
    assert bench.told() == ["DELETE FROM children WHERE children.id = 1"]


def test_071_pending_orphan_is_expunged(bench: Any) -> None:
    f = families(bench)
    parent = f.Parent(name="p")
    session = bench.saved(parent)
    child = f.Child(name="c")
    parent.children.append(child)
    assert bench.states(child) == ["pending"]
    parent.children.remove(child)
    assert bench.states(child) == ["transient"]
    bench.told()
    session.flush()
    assert bench.told() == []


def test_071_orphans_delete_what_their_cascades_reach(bench: Any) -> None:
    orm = bench.orm

    class Node(bench.Base):
        __tablename__ = "nodes"
        id = orm.mapped_column(Integer, primary_key=True)
        parent_id = orm.mapped_column(ForeignKey("nodes.id"))
        children = orm.relationship("Node", order_by="Node.id", cascade="all, delete-orphan")

    bench.create(enforce_keys=True)
    root = Node(children=[Node(children=[Node(children=[Node()]), Node()]), Node()])
    session = bench.saved(root)
    root.children.pop(0)
    bench.told()
    session.flush()
    assert bench.told(selects=False) == [
        "DELETE FROM nodes WHERE nodes.id = 5",
        "DELETE FROM nodes WHERE nodes.id = 6",
        "DELETE FROM nodes WHERE nodes.id = 4",
        "DELETE FROM nodes WHERE nodes.id = 2",
    ]
    session.commit()
    assert bench.rows("nodes") == [(1, None), (3, 1)]


def test_072_pending_object_without_parent(bench: Any) -> None:
    f = families(bench)
    session = bench.session()
    child = f.Child(name="c")
    session.add(child)
    session.commit()
    assert bench.told() == ["INSERT INTO children (parent_id, name) VALUES (NULL, 'c')"]
    assert bench.rows("children") == [(1, None, "c")]


def test_072_constraints_decide(bench: Any) -> None:
    f = families(bench, required=True)
    session = bench.session()
    child = f.Child(name="c")
    session.add(child)
    assert bench.outcome(session.commit) == ["IntegrityError: NOT NULL constraint failed: children.parent_id"]
    session.rollback()
    assert bench.states(child) == ["transient"]


def test_073_moved_in_one_flush(bench: Any) -> None:
    f = families(bench)
    one, two = f.Parent(name="1", children=[f.Child(name="a")]), f.Parent(name="2")
    session = bench.saved(one, two)
    (child,) = one.children
    assert two.children == []
    bench.told()
    one.children.remove(child)
    two.children.append(child)
    session.flush()
    assert bench.told() == ["UPDATE children SET parent_id=2 WHERE children.id = 1"]
    assert (child.parent is two, bench.states(child)) == (True, ["persistent"])


def test_073_moved_by_its_many_to_one(bench: Any) -> None:
    f = families(bench)
    one, two = f.Parent(name="1", children=[f.Child(name="a")]), f.Parent(name="2")
    session = bench.saved(one, two)
    (child,) = one.children
    bench.told()
    child.parent = two
    assert (one.children, bench.told()) == ([], [])
    session.flush()
    assert bench.told() == ["SELECT parents", "UPDATE children SET parent_id=2 WHERE children.id = 1"]
    assert two.children == [child]


def test_073_touching_the_other_collection_deletes_the_child(bench: Any) -> None:
    f = families(bench)
    one, two = f.Parent(name="1", children=[f.Child(name="a")]), f.Parent(name="2")
    session = bench.saved(one, two)
    (child,) = one.children
    assert two.name == "2"
    bench.told()
    one.children.remove(child)
    assert two.children == []
    assert (bench.told(), bench.states(child)) == (
        ["DELETE FROM children WHERE children.id = 1", "SELECT children"],
        ["deleted"],
    )
    assert bench.outcome(two.children.append, child) == [
        (
            "InvalidRequestError: Instance '<Child at 0x>' has been deleted. Use the make_transient() "
            "function to send this object back to the transient state."
        )
    ]
    session.rollback()
    assert bench.states(child) == ["persistent"]


def two_parents(bench: Any, *, legacy: bool) -> tuple[Any, Any, Any]:
    """Two classes that each own children, and the class of the children."""
    orm = bench.orm

    class Left(bench.Base):
        __tablename__ = "lefts"
        id = orm.mapped_column(Integer, primary_key=True)
        children = orm.relationship("Child", cascade="all, delete-orphan")

    class Right(bench.Base):
        __tablename__ = "rights"
        id = orm.mapped_column(Integer, primary_key=True)
        children = orm.relationship("Child", cascade="all, delete-orphan")

    class Child(bench.Base):
        __tablename__ = "children"
        id = orm.mapped_column(Integer, primary_key=True)
        left_id = orm.mapped_column(ForeignKey("lefts.id"))
        right_id = orm.mapped_column(ForeignKey("rights.id"))
        __mapper_args__ = {"legacy_is_orphan": legacy}

    bench.create()
    return Left, Right, Child


@pytest.mark.parametrize("legacy", [False, True])
def test_074_two_delete_orphan_parents(bench: Any, legacy: bool) -> None:
    Left, Right, Child = two_parents(bench, legacy=legacy)
    left, right = Left(), Right()
    both, half = Child(id=1), Child(id=2)
    left.children.append(both)
    right.children.append(both)
    left.children.append(half)
    session = bench.saved(left, right, both, half)
    assert bench.rows("children") == [(1, 1, 1), (2, 1, None)]
    assert (len(left.children), len(right.children)) == (2, 1)
    bench.told()
    right.children.remove(both)
    session.flush()
    assert bench.told() == ["DELETE FROM children WHERE children.id = 1"]
    assert bench.states(both, half) == ["deleted", "persistent"]
    left.children.remove(half)
    session.flush()
    assert bench.told() == ["DELETE FROM children WHERE children.id = 2"]


def pending_orphan(bench: Any, *, legacy: bool) -> list[Any]:
    """A pending object with two delete-orphan parents that leaves one, then the other."""
    Left, Right, Child = two_parents(bench, legacy=legacy)
    child = Child()
    left, right = Left(children=[child]), Right(children=[child])
    session = bench.session()
    session.add_all([left, right])
    seen = [bench.states(child)]
    left.children.remove(child)
    seen += [bench.states(child)]
    seen += [bench.outcome(session.flush), bench.states(child), bench.told()]
    right.children.remove(child)
    return [*seen, bench.outcome(session.flush), bench.states(child), bench.told()]


def test_074_pending_with_two_delete_orphan_parents(bench: Any) -> None:
    assert pending_orphan(bench, legacy=False) == [
        ["pending"],
        ["transient"],
        [("SAWarning: Object of type <Child> not in session, add operation along 'Right.children' will not proceed")],
        ["transient"],
        ["INSERT INTO lefts DEFAULT VALUES", "INSERT INTO rights DEFAULT VALUES"],
        [
            (
                "SAWarning: Object of type <Child> not in session, delete operation along 'Right.children' will "
                "not proceed"
            )
        ],
        ["transient"],
        [],
    ]


def test_074_pending_with_two_delete_orphan_parents_legacy(bench: Any) -> None:
    assert pending_orphan(bench, legacy=True) == [
        ["pending"],
        ["pending"],
        [],
        ["persistent"],
        [
            "INSERT INTO lefts DEFAULT VALUES",
            "INSERT INTO rights DEFAULT VALUES",
            "INSERT INTO children (left_id, right_id) VALUES (NULL, 1)",
        ],
        [],
        ["deleted"],
        ["DELETE FROM children WHERE children.id = 1"],
    ]


@pytest.mark.parametrize("loaded", [True, False])
def test_075_parent_deleted_after_its_child_moved_away(bench: Any, loaded: bool) -> None:
    f = families(bench)
    one, two = f.Parent(name="1", children=[f.Child(name="a"), f.Child(name="b")]), f.Parent(name="2")
    session = bench.saved(one, two)
    first, second = one.children
    if loaded:
        assert two.children == []
    first.parent = two
    session.delete(one)
    session.flush()
    assert (bench.states(first), bench.states(second)) == (["persistent"], ["deleted"])
    session.commit()
    assert (bench.rows("parents"), bench.rows("children")) == ([(2, "2")], [(1, 2, "a")])


def test_075_parent_deleted_first_then_its_child_moves_away(bench: Any) -> None:
    f = families(bench)
    one, two = f.Parent(name="1", children=[f.Child(name="a"), f.Child(name="b")]), f.Parent(name="2")
    session = bench.saved(one, two)
    first, second = one.children
    assert two.children == []
    session.delete(one)
    two.children.append(first)
    bench.told()
    session.flush()
    assert bench.told() == [
        "UPDATE children SET parent_id=2 WHERE children.id = 1",
        "DELETE FROM children WHERE children.id = 2",
        "DELETE FROM parents WHERE parents.id = 1",
    ]
    assert bench.states(first, second) == ["persistent", "deleted"]
    session.commit()
    assert bench.rows("children") == []


def test_076_parent_deleted_after_a_pending_child_came(bench: Any) -> None:
    f = families(bench)
    parent = f.Parent(name="p", children=[f.Child(name="a")])
    session = bench.saved(parent)
    assert len(parent.children) == 1
    new = f.Child(name="new")
    parent.children.append(new)
    bench.told()
    assert bench.outcome(session.delete, parent) == []
    assert bench.states(new) == ["pending"]
    assert bench.outcome(session.flush) == ["IntegrityError: FOREIGN KEY constraint failed"]
    assert bench.told() == [
        "INSERT INTO children (parent_id, name) VALUES (1, 'new')",
        "DELETE FROM children WHERE children.id = 1",
        "DELETE FROM parents WHERE parents.id = 1",
    ]
    session.rollback()
    assert bench.states(parent, new) == ["persistent", "transient"]


def test_078_cascades_are_worked_out_at_the_call(bench: Any) -> None:
    f = families(bench)
    parent = f.Parent(name="p", children=[f.Child(name="a"), f.Child(name="b")])
    session = bench.saved(parent)
    session.delete(parent)
    assert bench.told() == ["SELECT parents", "SELECT children"]
    a, b = parent.children
    assert ([o in session.deleted for o in (parent, a, b)], bench.states(a)) == ([True, True, True], ["persistent"])
    late = f.Child(name="late")
    session.add(late)
    late.parent_id = parent.id
    assert bench.outcome(session.flush) == ["IntegrityError: FOREIGN KEY constraint failed"]
    assert bench.told() == [
        "INSERT INTO children (parent_id, name) VALUES (1, 'late')",
        "DELETE FROM children WHERE children.id = 1",
        "DELETE FROM children WHERE children.id = 2",
        "DELETE FROM parents WHERE parents.id = 1",
    ]


def test_078_loads_of_a_delete_flush_earlier_deletes(bench: Any) -> None:
    f = families(bench)
    one, two = (f.Parent(name=n, children=[f.Child(name=n)]) for n in "12")
    session = bench.saved(one, two)
    session.delete(one)
    assert bench.told() == ["SELECT parents", "SELECT children"]
    session.delete(two)
    assert bench.told() == [
        "DELETE FROM children WHERE children.id = 1",
        "DELETE FROM parents WHERE parents.id = 1",
        "SELECT parents",
        "SELECT children",
    ]
    assert bench.states(one, two) == ["deleted", "persistent"]
    with session.no_autoflush:
        session.commit()
    assert (bench.rows("parents"), bench.rows("children")) == ([], [])
