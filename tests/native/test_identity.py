"""The identity map: keys of all kinds, comparisons that run Python code, objects that die (numbers: semantics.md)."""

from __future__ import annotations

import gc
import uuid
import weakref
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from handmade import Model, single

from rustalchemy import _core


def test_equal_keys_are_one_object(model: Model, uow: Any) -> None:
    rows = [(1, "a", 1), (True, "b", 2), (1.0, "c", 3), (Decimal(1), "d", 4)]
    objects = uow._hydrate(single(model.entity()), rows)
    assert all(instance is objects[0] for instance in objects)
    assert model.values(objects[0]) == [1, "a", 1]


@pytest.mark.parametrize(
    "key", ["text", b"bytes", 2**80, uuid.UUID(int=7), (1, "x"), Decimal("1.5"), 1.5, frozenset([1])], ids=repr
)
def test_keys_of_all_kinds(model: Model, uow: Any, key: Any) -> None:
    first = uow._hydrate(single(model.entity()), [(key, "a", 1)])[0]
    other = type(key)(str(key)) if isinstance(key, (Decimal, uuid.UUID)) else key
    assert uow._hydrate(single(model.entity()), [(other, "b", 2)])[0] is first


def test_uuid_keys_of_equal_number_are_one() -> None:
    model, uow = Model("id name"), _core.UnitOfWork()
    one, two = uow._hydrate(single(model.entity()), [(uuid.UUID(int=7), "a"), (uuid.UUID(int=7), "b")])
    assert one is two


def test_composite_keys(uow: Any) -> None:
    model = Model("a b name", pk=(0, 1))
    one, two, three = uow._hydrate(single(model.entity()), [(1, 2, "x"), (2, 1, "y"), (1, 2, "z")])
    assert one is three and one is not two
    assert model.values(one) == [1, 2, "x"]


def test_031_the_map_is_weak(model: Model, uow: Any) -> None:
    objects = uow._hydrate(single(model.entity()), [(at, "a", 1) for at in range(100)])
    gone = weakref.ref(objects[0]) if model.manager.is_inline else None
    assert len(uow.identity_map) == 100
    del objects[:50]
    gc.collect()
    assert len(uow.identity_map) == 50
    assert gone is None or gone() is None


class Key:
    """A key that compares in Python and lets tests run code meanwhile."""

    def __init__(self, number: int, on_compare: Callable[[], None] = lambda: None) -> None:
        self.number, self.on_compare = number, on_compare

    def __hash__(self) -> int:
        return 5

    def __eq__(self, other: object) -> bool:
        self.on_compare()
        return isinstance(other, Key) and other.number == self.number


def test_keys_that_raise(model: Model, uow: Any) -> None:
    def fail() -> None:
        raise RuntimeError("compare")

    kept = uow._hydrate(single(model.entity()), [(Key(1), "a", 1)])
    with pytest.raises(RuntimeError, match="compare"):
        uow._hydrate(single(model.entity()), [(Key(2, fail), "b", 2)])
    assert uow._hydrate(single(model.entity()), [(Key(1), "c", 3)])[0] is kept[0]


def test_a_comparison_may_drop_what_it_compares(model: Model, uow: Any) -> None:
    kept = uow._hydrate(single(model.entity()), [(Key(1), "a", 1)])
    found = uow._hydrate(single(model.entity()), [(Key(1, kept.clear), "b", 2)])
    assert model.values(found[0])[1:] == ["a", 1]


def test_a_comparison_may_load_the_same_key(model: Model, uow: Any) -> None:
    kept = uow._hydrate(single(model.entity()), [(Key(1), "a", 1)])
    made: list[Any] = []

    def load() -> None:
        if not made:
            made.append(None)
            made[0] = uow._hydrate(single(model.entity()), [(Key(2), "inner", 2)])[0]

    outer = uow._hydrate(single(model.entity()), [(Key(2, load), "outer", 3)])[0]
    again = uow._hydrate(single(model.entity()), [(Key(2), "later", 4)])[0]
    assert again in (outer, made[0])
    assert len(kept) == 1


def test_a_comparison_may_take_a_candidate_out_and_let_it_go(model: Model, uow: Any) -> None:
    class Last:
        def __del__(self) -> None:
            seen.append(len(uow.identity_map))

    seen: list[int] = []
    kept = uow._hydrate(single(model.entity()), [(Key(1), Last(), 1), (Key(3), "c", 3)])
    elsewhere = _core.UnitOfWork()
    key = Key(2)
    [entering] = elsewhere._hydrate(single(model.entity()), [(key, "b", 2)])
    elsewhere.expunge(entering)

    def let_go() -> None:
        if len(kept) == 2:
            uow.expunge(kept.pop(0))

    key.on_compare = let_go
    assert uow.identity_map.add(_core.instance_state(entering))
    key.on_compare = lambda: None
    assert len(uow.identity_map) == 2
    assert seen == [2]  # it went after the other one had come in


def test_unhashable_keys_raise(model: Model, uow: Any) -> None:
    with pytest.raises(TypeError, match="unhashable"):
        uow._hydrate(single(model.entity()), [([], "a", 1)])


def test_resurrected_objects_stay_in_the_map(uow: Any) -> None:
    model, saved = Model("id name"), []
    model.class_.__del__ = lambda self: saved.append(self)  # type: ignore[attr-defined]
    uow._hydrate(single(model.entity()), [(1, "a")])
    assert len(saved) == 1
    assert uow._hydrate(single(model.entity()), [(1, "b")])[0] is saved[0]
    del model.class_.__del__  # type: ignore[attr-defined]


def test_weakref_callbacks_do_not_find_the_dying_object(uow: Any) -> None:
    model = Model("id name")
    plan, found = single(model.entity()), []
    [instance] = uow._hydrate(plan, [(1, "a")])
    ref = weakref.ref(instance, lambda _: found.append(uow._hydrate(plan, [(1, "b")])[0]))
    del instance
    assert ref() is None
    assert model.values(found[0]) == [1, "b"]


def test_034_get_hits_are_native(model: Model, uow: Any) -> None:
    instance = uow._hydrate(single(model.entity()), [(1, "a", 10)])[0]
    assert uow.get(model.class_, 1) is instance
    assert uow.get(model.class_, (1,)) is instance
    assert uow.get(model.class_, True) is instance


def test_get_asks_python_otherwise(model: Model) -> None:
    class Asked(_core.UnitOfWork):
        def _get_impl(self, *args: Any, **kw: Any) -> Any:
            return (args, kw)

    uow, class_ = Asked(), model.class_
    kept = uow._hydrate(single(model.entity()), [(1, "a", 10)])
    assert kept
    for entity, ident, kw in [
        (class_, 2, {}),
        (class_, "1", {}),
        (class_, None, {}),
        (class_, {"id": 1}, {}),
        (class_, (1, 2), {}),
        (int, 1, {}),
        (class_, 1, {"populate_existing": True}),
        ("text", 1, {}),
        (class_, [1], {}),
    ]:
        assert uow.get(entity, ident, **kw) == ((entity, ident), kw)


def test_get_of_a_sibling_class_asks_python() -> None:
    class Asked(_core.UnitOfWork):
        def _get_impl(self, entity: Any, ident: Any) -> Any:
            return "asked"

    model, uow = Model("id"), Asked()
    sub = type("Sub", (model.class_,), {})
    manager = _core.ClassManager(sub)
    sub._sa_class_manager = manager  # type: ignore[attr-defined]
    manager.configure_mapper(
        {"name": "Sub", "base": model.manager, "primary_key": (0,), "tables": [], "relationships": []}
    )
    kept = uow._hydrate(single(model.entity()), [(1,)])
    assert uow.get(sub, 1) == "asked"
    assert uow.get(model.class_, 1) is kept[0]
