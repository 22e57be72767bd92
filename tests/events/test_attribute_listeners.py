"""How listeners of attributes are called: the options of `listen()`, order, what they return, raise and change."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event, inspect


def test_positional_arguments_of_set(world: Any) -> None:
    node = world.Node(name="old")
    event.listen(world.Node.name, "set", lambda *args: world.seen.append(args))
    node.name = "new"
    ((target, value, old, initiator),) = world.took()
    assert (target, value, old) == (node, "new", "old")
    assert initiator.impl is world.Node.name.impl
    assert initiator.key == "name"


def test_the_initiator_is_one_object_for_all_changes(world: Any) -> None:
    event.listen(world.Node.name, "set", lambda target, value, old, initiator: world.seen.append(initiator))
    world.Node().name = "one"
    world.Node().name = "two"
    first, second = world.took()
    assert first is second


def test_an_unset_value_is_announced_as_such(world: Any) -> None:
    event.listen(world.Node.name, "set", lambda target, value, old, initiator: world.seen.append(old))
    world.Node().name = "first"
    (old,) = world.took()
    assert old.name == "NO_VALUE"


def test_raw_listeners_get_the_state(world: Any) -> None:
    node = world.Node()
    event.listen(world.Node.name, "set", lambda state, *rest: world.seen.append(state), raw=True)
    node.name = "new"
    assert world.took() == [inspect(node)]


def test_without_retval_what_is_returned_does_not_count(world: Any) -> None:
    event.listen(world.Node.name, "set", lambda *args: "ignored")
    node = world.Node()
    node.name = "kept"
    assert node.name == "kept"


def test_values_pass_through_listeners_with_retval_in_turn(world: Any) -> None:
    for letter in "ab":
        event.listen(world.Node.name, "set", lambda target, value, *rest, letter=letter: value + letter, retval=True)
    event.listen(world.Node.name, "set", lambda target, value, *rest: world.seen.append(value))
    node = world.Node()
    node.name = "x"
    assert node.name == "xab"
    assert world.took() == ["xab"]


def test_named_arguments(world: Any) -> None:
    event.listen(world.Node.name, "set", lambda **kw: world.seen.append(sorted(kw)), named=True)
    world.Node().name = "x"
    assert world.took() == [["initiator", "oldvalue", "target", "value"]]


def test_once(world: Any) -> None:
    event.listen(world.Node.name, "set", world.note("set"), once=True)
    node = world.Node()
    node.name = "x"
    node.name = "y"
    assert len(world.took()) == 1


def test_insert_puts_a_listener_first(world: Any) -> None:
    event.listen(world.Leaf, "load", world.note("second"))
    event.listen(world.Leaf, "load", world.note("first"), insert=True)
    session = world.session()
    session.add(world.Leaf(id=1))
    session.commit()
    session.expunge_all()
    session.get(world.Leaf, 1)
    assert [label for label, *_ in world.took()] == ["first", "second"]


def test_a_removed_listener_is_not_called(world: Any) -> None:
    node = world.Node()
    first, second = world.note("first"), world.note("second")
    event.listen(world.Node.name, "set", first)
    event.listen(world.Node.name, "set", second)
    node.name = "x"
    event.remove(world.Node.name, "set", first)
    node.name = "y"
    event.remove(world.Node.name, "set", second)
    node.name = "z"
    assert [label for label, *_ in world.took()] == ["first", "second", "second"]
    event.listen(world.Node.name, "set", first)
    node.name = "again"
    assert [label for label, *_ in world.took()] == ["first"]


def test_propagate_reaches_subclasses_and_is_removed_from_them(world: Any) -> None:
    listener = world.note("set")
    event.listen(world.Node.name, "set", listener, propagate=True)

    class Later(world.Node):  # type: ignore[misc]
        __mapper_args__ = {"polymorphic_identity": "later"}

    world.orm.configure_mappers()
    for class_ in (world.Node, world.Branch, Later):
        class_().name = "x"
    assert len(world.took()) == 3
    event.remove(world.Node.name, "set", listener)
    for class_ in (world.Node, world.Branch, Later):
        class_().name = "x"
    assert world.took() == []


def test_without_propagate_subclasses_are_left_out(world: Any) -> None:
    event.listen(world.Node.name, "set", world.note("set"))
    world.Branch().name = "x"
    assert world.took() == []


def test_active_history_loads_the_old_value(world: Any) -> None:
    session = world.session()
    session.add(node := world.Node(name="stored"))
    session.commit()
    event.listen(
        world.Node.name, "set", lambda target, value, old, initiator: world.seen.append(old), active_history=True
    )
    node.name = "new"
    assert world.took() == ["stored"]


def test_an_exception_leaves_the_value_as_it_was(world: Any) -> None:
    session = world.session()
    session.add(node := world.Node(name="stored"))
    session.commit()
    assert node.name == "stored"

    def refuse(target: Any, value: Any, old: Any, initiator: Any) -> None:
        raise ValueError(value)

    event.listen(world.Node.name, "set", refuse)
    with pytest.raises(ValueError, match="new"):
        node.name = "new"
    assert node.name == "stored"
    assert node not in session.dirty
    assert not inspect(node).attrs.name.history.has_changes()


def test_a_listener_may_set_the_same_attribute_of_another_object(world: Any) -> None:
    other = world.Node()

    def echo(target: Any, value: Any, old: Any, initiator: Any) -> None:
        if target is not other:
            other.name = value

    event.listen(world.Node.name, "set", echo)
    world.Node().name = "x"
    assert other.name == "x"


def test_a_listener_that_listens_more_is_followed_from_the_next_change_on(world: Any) -> None:
    node = world.Node()
    late = world.note("late")
    event.listen(world.Node.size, "set", lambda *args: event.listen(world.Node.name, "set", late), once=True)
    node.size = 1
    node.name = "x"
    assert [label for label, *_ in world.took()] == ["late"]


@pytest.mark.parametrize("include_key", [False, True])
def test_keys_of_collections_go_to_those_who_ask(world: Any, include_key: bool) -> None:
    node = world.Node()
    for name in ("append", "remove", "bulk_replace"):
        event.listen(world.Node.leaves, name, world.note(name), include_key=include_key)
    one, two = world.Leaf(), world.Leaf()
    node.leaves.append(one)
    node.leaves = [two]
    key, keys = (["key"], ["keys"]) if include_key else ([], [])
    assert world.took() == [
        ("append", 3, key),
        ("bulk_replace", 3, keys),
        ("append", 3, key),
        ("remove", 3, key),
        ("remove", 3, key),  # the other side's
    ]


def test_bulk_replace_may_change_the_values(world: Any) -> None:
    node, one, two = world.Node(), world.Leaf(), world.Leaf()

    def only_first(target: Any, values: list[Any], initiator: Any) -> None:
        del values[1:]

    event.listen(world.Node.leaves, "bulk_replace", only_first)
    node.leaves = [one, two]
    assert node.leaves == [one]
    assert two.node is None


def test_append_with_retval_replaces_the_member(world: Any) -> None:
    node, one, two = world.Node(), world.Leaf(), world.Leaf()
    event.listen(world.Node.leaves, "append", lambda target, value, initiator: two, retval=True)
    node.leaves.append(one)
    assert node.leaves == [two]


def test_append_that_raises_leaves_the_collection(world: Any) -> None:
    node, one = world.Node(), world.Leaf()

    def refuse(target: Any, value: Any, initiator: Any) -> None:
        raise ValueError("refused")

    event.listen(world.Node.leaves, "append", refuse)
    with pytest.raises(ValueError, match="refused"):
        node.leaves.append(one)
    assert node.leaves == []


def test_both_sides_of_a_relationship_are_announced_with_the_first_as_initiator(world: Any) -> None:
    node, leaf = world.Node(), world.Leaf()
    event.listen(world.Node.leaves, "append", lambda t, v, initiator: world.seen.append(("append", initiator.key)))
    event.listen(world.Leaf.node, "set", lambda t, v, o, initiator: world.seen.append(("set", initiator.key)))
    node.leaves.append(leaf)
    assert sorted(world.took()) == [("append", "leaves"), ("set", "leaves")]
    leaf.node = None
    assert world.took() == [("set", "node")]


def test_remove_of_scalars_has_no_key(world: Any) -> None:
    node, leaf = world.Node(name="x"), world.Leaf()
    leaf.node = node
    for attribute in (world.Node.name, world.Leaf.node):
        event.listen(attribute, "remove", lambda *args, **kw: world.seen.append((*args[:2], kw)), include_key=True)
    del node.name
    del leaf.node
    assert world.took() == [(node, "x", {}), (leaf, node, {})]


def test_init_scalar_gives_a_default(world: Any) -> None:
    def default(target: Any, value: Any, dict_: dict[str, Any]) -> int:
        dict_["size"] = 7
        return 7

    event.listen(world.Node.size, "init_scalar", default, retval=True)
    node = world.Node()
    assert node.size == 7
    assert node.__dict__["size"] == 7


def test_listeners_of_all_attributes_of_all_classes(world: Any) -> None:
    listener = world.note("set")
    event.listen(world.orm.InstrumentedAttribute, "set", listener)
    try:
        world.Node().name = "x"
        world.Leaf().node = world.Node()
        assert [label for label, *_ in world.took()].count("set") >= 2
    finally:
        event.remove(world.orm.InstrumentedAttribute, "set", listener)
    world.Node().name = "x"
    assert world.took() == []


def test_a_listener_may_remove_itself_and_others_while_the_event_runs(world: Any) -> None:
    attribute, last = world.Node.name, world.note("last")

    def leave(*args: Any) -> None:
        world.seen.append("left")
        event.remove(attribute, "set", leave)
        event.remove(attribute, "set", last)

    event.listen(attribute, "set", leave)
    event.listen(attribute, "set", last)
    if world.orm.__name__ == "sqlalchemy.orm":  # its documentation forbids this
        with pytest.raises(RuntimeError, match="mutated during iteration"):
            world.Node().name = "x"
        return
    world.Node().name = "x"
    assert world.took() == ["left", ("last", 4, [])]
    world.Node().name = "y"
    assert world.took() == []


def test_a_listener_may_drop_the_object(world: Any) -> None:
    holder = [world.Node()]
    event.listen(world.Node.name, "set", lambda *args: holder.clear())
    event.listen(world.Node.name, "set", lambda target, *rest: world.seen.append(type(target)))
    holder[0].name = "x"
    assert world.took() == [world.Node]
