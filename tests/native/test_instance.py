"""Instances, attributes and collections of the native core, on classes built by hand: no mapper, no session."""

from __future__ import annotations

import copy
import gc
import weakref
from typing import Any

import pytest

import rustalchemy.orm
from rustalchemy import _core


class Attribute(_core.AttributeDescriptor):
    """A bound attribute that knows its class, as messages print it."""

    def __init__(self, class_: type) -> None:
        self.class_ = class_


def bind(class_: Any, key: str, kind: int = 0, **options: Any) -> Any:
    attribute = Attribute(class_)
    attribute._bind(class_._sa_class_manager, key, kind=kind, **options)
    setattr(class_, key, attribute)
    return attribute


def make_class(name: str, *keys: str, base: type = _core.Instance) -> Any:
    class_: Any = type(name, (base,), {})
    if base is object:

        def init(self: Any) -> None:
            class_._sa_class_manager.setup_instance(self)

        class_.__init__ = init
    class_._sa_class_manager = _core.ClassManager(class_)
    for key in keys:
        bind(class_, key)
    return class_


@pytest.fixture(params=["inline", "external"])
def thing(request: pytest.FixtureRequest) -> Any:
    """A class with two column attributes, with its state inside and beside its objects."""
    return make_class("Thing", "name", "age", base=_core.Instance if request.param == "inline" else object)


@pytest.fixture
def family() -> tuple[Any, Any]:
    """Parent.children and Child.parent, each the other's other side."""
    parent, child = make_class("Parent", "name"), make_class("Child", "name")
    children, back = bind(parent, "children", kind=2), bind(child, "parent", kind=1)
    managers = parent._sa_class_manager, child._sa_class_manager
    common: dict[str, Any] = {"viewonly": False, "cascade": 1, "sync": ()}
    children._set_relationship(
        {
            **common,
            "attr": children._index,
            "key": "children",
            "direction": "ONETOMANY",
            "target": managers[1],
            "uselist": True,
            "reverse": ((managers[1], back._index),),
            "prop": object(),
        }
    )
    back._set_relationship(
        {
            **common,
            "attr": back._index,
            "key": "parent",
            "direction": "MANYTOONE",
            "target": managers[0],
            "uselist": False,
            "reverse": ((managers[0], children._index),),
            "prop": object(),
        }
    )
    return parent, child


# ---- columns ---------------------------------------------------------------------------------------------------------


def test_unset_is_none_and_not_stored(thing: Any) -> None:
    instance = thing()
    assert instance.name is None
    assert "name" not in instance.__dict__


def test_values_come_back(thing: Any) -> None:
    instance = thing()
    instance.name = "a"
    assert instance.name == "a"
    assert instance.__dict__["name"] == "a"
    del instance.name
    assert instance.name is None


def test_deleting_an_unset_attribute_is_an_error(thing: Any) -> None:
    with pytest.raises(AttributeError, match=r"Thing\.name object does not have a value"):
        del thing().name


def test_history_keeps_the_first_old_value(thing: Any) -> None:
    instance = thing()
    _core.set_committed_value(instance, "name", "old")
    instance.name = "new"
    instance.name = "newer"
    assert _core.get_history(instance, "name") == (["newer"], (), ["old"])
    instance.name = "old"
    assert _core.get_history(instance, "name") == ((), ["old"], ())


def test_a_descriptor_refuses_objects_of_other_classes(thing: Any) -> None:
    other = make_class("Other", "name")()
    with pytest.raises(TypeError, match="does not apply to a 'Other' object"):
        thing.__dict__["name"].__get__(other, type(other))
    with pytest.raises(TypeError, match="does not apply"):
        thing.__dict__["name"].__set__(other, 1)
    with pytest.raises(Exception, match="mapped"):
        thing.__dict__["name"].__get__(object(), object)


def test_class_access_gives_the_descriptor(thing: Any) -> None:
    assert thing.name is thing.__dict__["name"]


def test_keyword_constructor() -> None:
    class_ = make_class("Thing", "name")
    class_.extra = 0
    instance = class_(name="a", extra=3)
    assert (instance.name, instance.extra) == ("a", 3)
    with pytest.raises(TypeError, match="'nope' is an invalid keyword argument for Thing"):
        class_(nope=1)


def test_a_subclass_has_the_numbers_of_its_base() -> None:
    base = make_class("Base", "name")
    derived = make_class("Derived", base=base)
    bind(derived, "name")
    bind(derived, "more")
    assert derived.name._index == base.name._index
    bind(base, "late")
    assert base.late._index not in {derived.more._index, derived.name._index}


# ---- lifetime --------------------------------------------------------------------------------------------------------


def test_names_are_compared_as_text() -> None:
    class Name(str):
        def __eq__(self, other: object) -> bool:
            raise AssertionError("not to be asked")

        __hash__ = str.__hash__

    manager = make_class("Thing", "name", "age")._sa_class_manager
    assert manager.allocate(Name("age")) == 1


def test_the_collector_learns_of_an_object_when_it_may_be_in_a_cycle() -> None:
    class_ = make_class("Thing", "name")
    instance = class_(name="text")
    assert not gc.is_tracked(instance)
    instance.name = [1]
    assert gc.is_tracked(instance)


def test_cycles_are_collected(thing: Any) -> None:
    instance = thing()
    instance.name = [instance]
    instance.extra = instance
    gone = weakref.ref(instance)
    del instance
    gc.collect()
    assert gone() is None


def test_the_state_outlives_its_object(thing: Any) -> None:
    instance = thing()
    state = _core.instance_state(instance)
    assert state is _core.instance_state(instance)
    assert state.obj() is instance
    del instance
    gc.collect()
    assert state.obj() is None
    assert state.dict == {}


def test_resurrection_in_del() -> None:
    kept: list[Any] = []

    class Phoenix(_core.Instance):
        def __del__(self) -> None:
            kept.append(self)

    Phoenix._sa_class_manager = _core.ClassManager(Phoenix)  # type: ignore[attr-defined]
    bind(Phoenix, "name")
    Phoenix(name=["a"])
    assert kept[0].name == ["a"]
    kept[0].name = {"b": kept[0]}
    kept.clear()
    gc.collect()


def test_values_that_run_code_when_they_go() -> None:
    class_ = make_class("Thing", "name")

    class Busy:
        def __init__(self, owner: Any) -> None:
            self.owner = owner

        def __del__(self) -> None:
            self.owner.name = "from del"
            gc.collect()

    instance = class_()
    instance.name = Busy(instance)
    instance.name = None
    assert instance.name == "from del"
    del instance
    gc.collect()


def test_no_leaks(thing: Any, family: tuple[Any, Any]) -> None:
    parent, child = family

    def work() -> None:
        for _ in range(200):
            instance = thing()
            instance.name, instance.age = object(), [1]
            instance.name = object()
            copy.copy(instance)
            mother = parent(children=[child(), child()])
            mother.children[0].parent = parent()
            mother.children.append(child())
            mother.children = []

    work()
    gc.collect()
    before = len(gc.get_objects())
    work()
    gc.collect()
    assert len(gc.get_objects()) - before < 50


# ---- relationships ---------------------------------------------------------------------------------------------------


def test_both_sides_in_step(family: tuple[Any, Any]) -> None:
    parent, child = family
    first, second, item = parent(), parent(), child()
    first.children.append(item)
    assert item.parent is first
    item.parent = second
    assert (first.children, second.children) == ([], [item])
    item.parent = None
    assert second.children == []
    second.children = [item]
    assert item.parent is second
    del item.parent
    assert second.children == []


def test_list_mutators(family: tuple[Any, Any]) -> None:
    parent, child = family
    mother = parent()
    one, two, three = child(), child(), child()
    mother.children += [one, two]
    mother.children.insert(0, three)
    assert mother.children == [three, one, two]
    mother.children[1:2] = []
    assert one.parent is None
    assert mother.children.pop() is two
    assert two.parent is None
    mother.children[0] = one
    assert (three.parent, one.parent) == (None, mother)
    del mother.children[:]
    assert one.parent is None
    mother.children.extend([one, two])
    mother.children.clear()
    assert [one.parent, two.parent] == [None, None]
    with pytest.raises(ValueError, match="not in list"):
        mother.children.remove(one)


def test_only_lists_for_a_list(family: tuple[Any, Any]) -> None:
    parent, _child = family
    with pytest.raises(TypeError, match="Incompatible collection type: int is not list-like"):
        parent(children=5)


def test_a_collection_without_owner_says_so(family: tuple[Any, Any]) -> None:
    parent, child = family
    mother = parent()
    children = mother.children
    del mother
    gc.collect()
    with pytest.raises(rustalchemy.orm.exc.ObjectDereferencedError, match="has been garbage collected"):
        children.append(child())


def test_collection_history(family: tuple[Any, Any]) -> None:
    parent, child = family
    mother, one, two = parent(), child(), child()
    _core.set_committed_value(mother, "children", [one])
    mother.children.append(two)
    mother.children.remove(one)
    assert _core.get_history(mother, "children") == ([two], [], [one])


def test_an_object_that_is_not_mapped_is_refused(family: tuple[Any, Any]) -> None:
    parent, _child = family
    mother = parent()
    with pytest.raises(AttributeError, match="'str' object has no attribute '_sa_instance_state'"):
        mother.children.append("x")
