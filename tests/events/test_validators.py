"""`@validates`: what the method is called with, when, and what its answer and its exceptions do."""

from __future__ import annotations

import gc
import importlib
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event


def mapped(orm: Any, **options: bool) -> SimpleNamespace:
    """Classes whose validators note what they are called with."""
    seen: list[tuple[Any, ...]] = []

    def check(self: Any, key: str, value: Any, *rest: Any) -> Any:
        seen.append((key, value, *rest))
        if value == "refused":
            raise ValueError(value)
        return value.lower() if isinstance(value, str) else value

    class Base(orm.DeclarativeBase):  # type: ignore[misc]
        pass

    class Node(Base):
        __tablename__ = "nodes"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        name = orm.mapped_column(sa.String)
        leaves = orm.relationship("Leaf", back_populates="node")
        validator = orm.validates("name", "leaves", **options)(check)

    class Big(Node):
        pass

    class Leaf(Base):
        __tablename__ = "leaves"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        node_id = orm.mapped_column(sa.ForeignKey("nodes.id"))
        node = orm.relationship("Node", back_populates="leaves")
        validator = orm.validates("node", **options)(check)

    Base.registry.configure()

    def took() -> list[tuple[Any, ...]]:
        noted = seen[:]
        seen.clear()
        return noted

    return SimpleNamespace(Node=Node, Big=Big, Leaf=Leaf, took=took, registry=Base.registry)


def test_a_column(orm: Any) -> None:
    m = mapped(orm)
    for node_class in (m.Node, m.Big):
        node = node_class(name="A")
        assert node.name == "a"
        node.name = None
        del node.name
        assert m.took() == [("name", "A"), ("name", None)]


def test_a_refusal_changes_nothing(orm: Any) -> None:
    m = mapped(orm)
    node = m.Node(name="A")
    with pytest.raises(ValueError, match="refused"):
        node.name = "refused"
    assert node.name == "a"
    assert not sa.inspect(node).attrs.name.history.deleted


def test_a_collection(orm: Any) -> None:
    m = mapped(orm, include_backrefs=False)
    node, one, two, three = m.Node(), m.Leaf(), m.Leaf(), m.Leaf()
    node.leaves.append(one)
    node.leaves.extend([two])
    assert m.took() == [("leaves", one), ("leaves", two)]
    node.leaves = [three, one]
    assert m.took() == [("leaves", three), ("leaves", one)]
    node.leaves.remove(one)
    assert m.took() == []


def test_removals(orm: Any) -> None:
    m = mapped(orm, include_removes=True, include_backrefs=False)
    node, one, two = m.Node(name="A"), m.Leaf(), m.Leaf()
    assert m.took() == [("name", "A", False)]
    node.leaves = [one]
    node.leaves = [two]
    assert m.took() == [("leaves", one, False), ("leaves", two, False), ("leaves", one, True)]
    node.leaves.remove(two)
    del node.name
    assert m.took() == [("leaves", two, True), ("name", "a", True)]


def test_changes_from_the_other_side(orm: Any) -> None:
    m = mapped(orm, include_removes=True)
    node, leaf = m.Node(), m.Leaf()
    node.leaves.append(leaf)
    assert m.took() == [("leaves", leaf, False), ("node", node, False)]
    leaf.node = None
    assert m.took() == [("node", None, False), ("leaves", leaf, True)]


def test_only_changes_of_this_side(orm: Any) -> None:
    m = mapped(orm, include_removes=True, include_backrefs=False)
    for node in (m.Node(), m.Big()):
        leaf = m.Leaf()
        leaf.node = node
        assert m.took() == [("node", node, False)]
        node.leaves.remove(leaf)
        assert m.took() == [("leaves", leaf, True)]


def test_an_answer_of_a_replacement(orm: Any) -> None:
    class Base(orm.DeclarativeBase):  # type: ignore[misc]
        pass

    class Node(Base):
        __tablename__ = "nodes"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        leaves = orm.relationship("Leaf")

        @orm.validates("leaves")
        def make(self, key: str, value: Any) -> Any:
            return Leaf(id=value) if isinstance(value, int) else value

    class Leaf(Base):
        __tablename__ = "leaves"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        node_id = orm.mapped_column(sa.ForeignKey("nodes.id"))

    node: Any = Node()
    node.leaves = [1, 2]
    node.leaves.append(3)
    assert [leaf.id for leaf in node.leaves] == [1, 2, 3]


def test_a_validator_is_called_before_later_listeners(orm: Any) -> None:
    m = mapped(orm)
    values: list[Any] = []
    event.listen(m.Node.name, "set", lambda target, value, old, initiator: values.append((value, old)))
    m.Node(name="A").name = "B"
    assert [value for value, old in values] == ["a", "b"]
    assert values[1][1] == "a"


def test_through_the_dispatcher(orm: Any) -> None:
    """Extensions fire events of attributes by themselves."""
    m = mapped(orm, include_removes=True)
    impl, state = m.Node.name.impl, sa.inspect(m.Node())
    token = orm.attributes.AttributeEventToken(impl, orm.attributes.OP_REPLACE)
    assert [fn(state, "A", None, token) for fn in impl.dispatch.set] == ["a"]
    for fn in impl.dispatch.remove:
        fn(state, "a", token)
    assert m.took() == [("name", "A", False), ("name", "a", True)]


def test_classes_with_validators_go() -> None:
    """The native listeners are no roots of their own."""
    orm = importlib.import_module("rustalchemy.orm")

    def work() -> list[weakref.ref[Any]]:
        m = mapped(orm, include_removes=True)
        listener = lambda *args: m.took  # noqa: E731
        event.listen(m.Node.name, "set", listener)
        event.listen(m.Node.leaves, "append", listener)
        event.listen(m.Node, "before_insert", listener)
        event.listen(m.Node, "load", listener)
        m.Node(name="A").leaves = [m.Leaf()]
        return [weakref.ref(m.Node), weakref.ref(m.Leaf), weakref.ref(listener)]

    # what is known of the events of one class may stay until those of the next are told
    references = [reference for _ in range(3) for reference in work()]
    for _ in range(3):
        gc.collect()
    assert [reference() for reference in references[:6]] == [None] * 6
