"""Rows become objects: what a row fills, errors in the middle. Rows of semantics.md are named by number."""

from __future__ import annotations

import gc
import sys
from typing import Any

import pytest
from handmade import Model, single

from rustalchemy import _core
from rustalchemy._core import EagerPlan, EntityPlan, LoadContext, Processor, RowPlan, ScalarPlan, SubqueryPlan

Row = tuple[Any, ...]


def test_rows_become_objects(model: Model, uow: Any) -> None:
    one, two = uow._hydrate(single(model.entity()), [(1, "a", 10), (2, "b", None)])
    assert type(one) is model.class_
    assert model.values(one) == [1, "a", 10]
    assert model.values(two) == [2, "b", None]


def test_init_is_not_called(uow: Any) -> None:
    model = Model("id name")

    def init(self: Any) -> None:
        raise AssertionError("called")

    model.class_.__init__ = init  # type: ignore[misc]
    assert len(uow._hydrate(single(model.entity()), [(1, "a")])) == 1


def test_042_null_key_is_none(model: Model, uow: Any) -> None:
    assert uow._hydrate(single(model.entity()), [(None, "a", 1)]) == [None]


@pytest.mark.parametrize("allow", [True, False])
def test_042_part_null_key(uow: Any, allow: bool) -> None:
    model = Model("a b name", pk=(0, 1), allow_partial_pks=allow)
    part, whole = uow._hydrate(single(model.entity()), [(1, None, "x"), (None, None, "y")])
    assert (part is not None) is allow
    assert whole is None


def test_043_loaded_attributes_stay(model: Model, uow: Any) -> None:
    partial = single(model.entity(0, 1))
    instance = uow._hydrate(partial, [(1, "a")])[0]
    assert model.values(instance) == [1, "a", "-"]
    assert uow._hydrate(single(model.entity()), [(1, "other", 10)])[0] is instance
    assert model.values(instance) == [1, "a", 10]


def test_044_populate_existing_overwrites(model: Model, uow: Any) -> None:
    instance = uow._hydrate(single(model.entity()), [(1, "a", 10)])[0]
    uow._hydrate(single(model.entity()), [(1, "b", 20), (1, "c", 30)], populate_existing=True)
    assert model.values(instance) == [1, "b", 20]


def test_always_refresh_overwrites(uow: Any) -> None:
    model = Model("id name", always_refresh=True)
    instance = uow._hydrate(single(model.entity()), [(1, "a")])[0]
    uow._hydrate(single(model.entity()), [(1, "b")])
    assert model.values(instance) == [1, "b"]


def test_refresh_fills_the_given_object(model: Model, uow: Any) -> None:
    instance = uow._hydrate(single(model.entity()), [(1, "a", 10)])[0]
    plan = EntityPlan(model.manager, (), [(0, 1, None)])
    assert uow._hydrate(single(plan), [("new",)], refresh_state=instance) == [instance]
    assert model.values(instance) == [1, "new", 10]


def test_mixed_rows(model: Model, uow: Any) -> None:
    plan = RowPlan([model.entity(), ScalarPlan(3, Processor.python(lambda value: value * 2))], single=False)
    [(instance, doubled)] = uow._hydrate(plan, [(1, "a", 10, 21)])
    assert model.values(instance) == [1, "a", 10]
    assert doubled == 42


def test_rows_of_other_sequence_types(model: Model, uow: Any) -> None:
    assert model.values(uow._hydrate(single(model.entity()), [[1, "a", 10]])[0]) == [1, "a", 10]


def test_short_rows_are_refused(model: Model, uow: Any) -> None:
    with pytest.raises(IndexError, match="plan needs 3"):
        uow._hydrate(single(model.entity()), [(1, "a")])


def test_processors_apply_to_attribute_and_key(uow: Any) -> None:
    model, calls = Model("id name"), []

    def double(value: Any) -> Any:
        calls.append(value)
        return value * 2

    processor = Processor.python(double)
    plan = single(EntityPlan(model.manager, (0,), [(0, 0, processor), (1, 1, None)]))
    instance = uow._hydrate(plan, [(4, "a")])[0]
    assert calls == [4]
    assert model.values(instance) == [8, "a"]
    assert uow.get(model.class_, 8) is instance


def test_a_raising_processor_leaves_no_object(model: Model, uow: Any) -> None:
    def fail(value: Any) -> Any:
        if value == "bad":
            raise RuntimeError("processor")
        return value

    columns = [(0, 0, None), (1, 1, Processor.python(fail)), (2, 2, None)]
    plan = single(EntityPlan(model.manager, (0,), columns))
    context = LoadContext()
    with pytest.raises(RuntimeError, match="processor"):
        uow._hydrate(plan, [(1, "good", 1), (2, "bad", 2)], loaded=context)
    gc.collect()
    assert len(uow.identity_map) == 0
    assert model.values(uow._hydrate(plan, [(2, "good", 3)], loaded=context)[0]) == [2, "good", 3]


def test_a_processor_may_load_the_same_object(model: Model, uow: Any) -> None:
    inner: list[Any] = []

    def reenter(value: Any) -> Any:
        if not inner:
            inner.append(None)
            inner[0] = uow._hydrate(single(model.entity()), [(1, "inner", 5)])[0]
        return value

    columns = [(0, 0, None), (1, 1, Processor.python(reenter)), (2, 2, None)]
    instance = uow._hydrate(single(EntityPlan(model.manager, (0,), columns)), [(1, "outer", 6)])[0]
    assert instance is inner[0]
    assert model.values(instance) == [1, "inner", 5]


def test_objects_of_plain_values_are_untracked(uow: Any) -> None:
    model = Model("id name")
    plain, other = uow._hydrate(single(model.entity()), [(1, "a"), (2, [])])
    assert (gc.is_tracked(plain), gc.is_tracked(other)) == (False, True)


def test_no_references_leak(model: Model) -> None:
    value, before = object(), 0
    for _ in range(3):
        before = sys.getrefcount(value)
        uow = _core.UnitOfWork()
        plan = single(model.entity())
        uow._hydrate(plan, [(1, value, value), (1, value, value)])
        uow._hydrate(plan, [(1, value, value)], populate_existing=True)
        with pytest.raises(IndexError):
            uow._hydrate(plan, [(2, value)])
        del uow
        gc.collect()
    assert sys.getrefcount(value) == before


def test_options_are_stored_when_given(model: Model, uow: Any) -> None:
    options, path = ("option",), object()
    instance = uow._hydrate(single(model.entity(load_options=(options, path))), [(1, "a", 1)])[0]
    calls: list[Any] = []
    plan = model.entity(on_new=lambda state, row, is_new: calls.append((state.load_options, state.load_path, is_new)))
    uow._hydrate(single(plan), [(1, "b", 2)], populate_existing=True)
    assert calls == [(options, path, False)]
    assert calls[0][0] is options and calls[0][1] is path and instance is not None


def test_collected_objects(model: Model, uow: Any) -> None:
    context = LoadContext()
    plan = single(model.entity(collect=1))
    first = uow._hydrate(plan, [(1, "a", 1), (2, "b", 2), (1, "a", 1)], loaded=context)
    assert context.take(0) == []
    assert context.take(1) == [(first[0], 1, True), (first[1], 2, True)]
    assert context.take(1) == []
    later = LoadContext()
    uow._hydrate(plan, [(1, "a", 1)], loaded=later)
    assert later.take(1) == [(first[0], 1, False)]


def test_related_objects_of_a_second_statement(uow: Any) -> None:
    """It is sent once, with the first row that asks for it, and looked up by processed values."""
    model = Model("id name one many")
    asked: list[Any] = []

    def load(context: Any) -> dict[Any, Any]:
        asked.append((context, len(uow.identity_map)))
        return {("X",): ["x"], ("Z",): ["z"]}

    shout = Processor.python(str.upper)
    one = SubqueryPlan(2, False, "Model.one", [(2, shout)], 0, load)
    same = SubqueryPlan(3, False, "Model.many", [(2, shout)], 0, load)
    plan = single(EntityPlan(model.manager, (0,), [(0, 0, None), (1, 1, None)], eager=[one, same]))
    context = LoadContext("context")
    found = uow._hydrate(plan, [(1, "a", "x"), (1, "b", "y"), (2, "c", "z"), (3, "d", "q")], loaded=context)
    assert [model.values(obj)[2:] for obj in found] == [["x", "x"], ["x", "x"], ["z", "z"], [None, None]]
    assert asked == [("context", 1)]
    with pytest.raises(IndexError):
        uow._hydrate(plan, [(3, "a")], loaded=context)
    with pytest.raises(TypeError):
        EntityPlan(model.manager, (0,), [(0, 0, None)], eager=[model.manager])  # type: ignore[list-item]


def test_load_and_refresh_hooks(uow: Any) -> None:
    calls: list[Any] = []
    model = Model(
        "id name",
        instance_events={
            "load": ([lambda state, context: calls.append(("load", context))],),
            "refresh": ([lambda state, context, names: calls.append(("refresh", context, names))],),
        },
    )
    kept = uow._hydrate(single(model.entity()), [(1, "a"), (1, "a")], loaded=LoadContext("first"))
    uow._hydrate(single(model.entity()), [(1, "b"), (1, "c")], populate_existing=True, loaded=LoadContext("second"))
    uow._hydrate(single(model.entity()), [(1, "d")], loaded=LoadContext("third"))
    assert calls == [("load", "first"), ("refresh", "second", None)]
    assert kept


def test_expired_and_reset_attributes(model: Model, uow: Any) -> None:
    instance = uow._hydrate(single(model.entity(0, 1, expired=(2,))), [(1, "a")])[0]
    assert model.values(instance) == [1, "a", "-"]
    uow._hydrate(single(model.entity()), [(1, "b", 10)])
    assert model.values(instance) == [1, "a", 10]
    uow._hydrate(single(model.entity(0, 1, reset=(2,))), [(1, "c")], populate_existing=True)
    assert model.values(instance) == [1, "c", "-"]


def test_polymorphic_branches(uow: Any) -> None:
    model = Model("id kind name")
    sub = type("Sub", (model.class_,), {})
    manager = _core.ClassManager(sub)
    sub._sa_class_manager = manager  # type: ignore[attr-defined]
    manager.configure_mapper(
        {
            "name": "Sub",
            "base": model.manager,
            "parent": model.manager,
            "primary_key": (0,),
            "tables": [],
            "relationships": [],
        }
    )
    branch = EntityPlan(manager, (0,), [(0, 0, None), (1, 1, None), (2, 2, None)])

    def missing(identity: Row, discriminator: object) -> None:
        raise LookupError(identity)

    plan = single(model.entity(polymorphic=(1, None, {"base": None, "sub": branch}, missing)))
    base_object, sub_object = uow._hydrate(plan, [(1, "base", "a"), (2, "sub", "b")])
    assert (type(base_object), type(sub_object)) == (model.class_, sub)
    assert uow._hydrate(plan, [(None, None, None)]) == [None]
    with pytest.raises(LookupError):
        uow._hydrate(plan, [(3, None, "c")])
    with pytest.raises(KeyError):
        uow._hydrate(plan, [(3, "other", "c")])
    assert uow.get(sub, 2) is sub_object


def test_a_switch_may_make_its_branches(uow: Any) -> None:
    model = Model("id kind")

    class Branches(dict[Any, Any]):
        def __missing__(self, key: Any) -> None:
            self[key] = None

    branches = Branches()
    plan = single(model.entity(polymorphic=(1, None, branches, None)))
    assert len(uow._hydrate(plan, [(1, "x"), (2, "x")])) == 2
    assert branches == {"x": None}


def test_eager_scalars(uow: Any) -> None:
    child, parent = Model("id name"), Model("id child")
    eager = EagerPlan(1, child.entity(start=1), False, None)
    plan = single(parent.entity(0, eager=(eager,)))
    one, two, same = uow._hydrate(plan, [(1, 7, "c"), (2, None, None), (3, 7, "c")])
    assert child.values(parent.values(one)[1]) == [7, "c"]
    assert parent.values(two) == [2, None]
    assert parent.values(same)[1] is parent.values(one)[1]


def test_group_rows() -> None:
    assert _core.group_rows([(1, "a"), (2, "b"), (1, "c")], 1) == {1: ["a", "c"], 2: ["b"]}
    assert _core.group_rows([(1, 2, "a"), [1, 2, "b"]], 2) == {(1, 2): ["a", "b"]}
    assert _core.group_rows([(1, "a", "b")], 1) == {1: [("a", "b")]}


def test_plans_are_checked(model: Model) -> None:
    with pytest.raises(ValueError, match="stands twice"):
        EntityPlan(model.manager, (0,), [(0, 0, None), (1, 0, None)])
    with pytest.raises(TypeError, match="EntityPlan and ScalarPlan"):
        RowPlan([object()], single=True)  # type: ignore[list-item]
    with pytest.raises(ValueError, match="single"):
        RowPlan([], single=True)


def test_taken_objects_are_gathered_again(model: Model, uow: Any) -> None:
    context, plan = LoadContext(), single(model.entity(collect=0))
    for number in range(50):  # as in a streamed result: nothing keeps the objects of earlier chunks
        uow._hydrate(plan, [(number, "a", 1)], loaded=context)
        assert [identity for _, identity, _ in context.take(0)] == [number]
