"""Mutating methods of user-defined lists, sets and dictionaries, wrapped so that every change is announced.

Each factory here takes the method of a class and returns the one that announces what it does to the collection's
adapter before (or after) it happens. The plain list needs none of this: it is native.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._sa import _NoArg
from .base import NO_KEY

NO_ARG = _NoArg.NO_ARG
_Method = Callable[..., Any]


def _announce_add(collection: Any, item: Any, initiator: Any, key: Any) -> Any:
    """The item to store: listeners may exchange it."""
    adapter = collection._sa_adapter
    if initiator is not False and adapter is not None:
        return adapter.fire_append_event(item, initiator, key=key)
    return item


def _announce_same(collection: Any, item: Any, initiator: Any = None) -> None:
    """The item was given to the collection, which has it already."""
    adapter = collection._sa_adapter
    if initiator is not False and adapter is not None:
        adapter.fire_append_wo_mutation_event(item, initiator, key=None)


def _announce_remove(collection: Any, item: Any, initiator: Any, key: Any) -> None:
    adapter = collection._sa_adapter
    if initiator is not False and adapter is not None:
        adapter.fire_remove_event(item, initiator, key=key)


def _announce_before_pop(collection: Any) -> None:
    """Something will go, but what it is shows only afterwards."""
    adapter = collection._sa_adapter
    if adapter is not None:
        adapter.fire_pre_remove_event(None)


def _finished(wrapped: dict[str, Callable[[_Method], _Method]], kind: type[Any]) -> dict[str, Any]:
    """Factories whose products carry the built-in's documentation and the mark of instrumented methods."""

    def finish(name: str, factory: Callable[[_Method], _Method]) -> Callable[[_Method], _Method]:
        def make(fn: _Method) -> _Method:
            method: Any = factory(fn)
            method.__name__ = name
            method.__doc__ = getattr(kind, name).__doc__
            method._sa_instrumented = True
            return method

        return make

    return {name: finish(name, factory) for name, factory in wrapped.items()}


# --- lists


def _list_append(fn: _Method) -> _Method:
    def append(self: Any, item: Any, _sa_initiator: Any = None) -> None:
        fn(self, _announce_add(self, item, _sa_initiator, NO_KEY))

    return append


def _list_remove(fn: _Method) -> _Method:
    def remove(self: Any, value: Any, _sa_initiator: Any = None) -> None:
        _announce_remove(self, value, _sa_initiator, NO_KEY)
        fn(self, value)

    return remove


def _list_insert(fn: _Method) -> _Method:
    def insert(self: Any, index: Any, value: Any) -> None:
        fn(self, index, _announce_add(self, value, None, index))

    return insert


def _list_setitem(fn: _Method) -> _Method:
    def __setitem__(self: Any, index: Any, value: Any) -> None:
        if not isinstance(index, slice):
            existing = self[index]
            if existing is not None:
                _announce_remove(self, existing, None, index)
            fn(self, index, _announce_add(self, value, None, index))
            return
        start, stop, step = index.start or 0, index.stop, index.step or 1
        if start < 0:
            start += len(self)
        if stop is None:
            stop = len(self)
        if stop < 0:
            stop += len(self)
        if step == 1:
            if value is self:
                return
            for _ in range(start, stop):
                if len(self) > start:
                    del self[start]
            for offset, item in enumerate(value):
                self.insert(start + offset, item)
            return
        places = list(range(start, stop, step))
        if len(value) != len(places):
            raise ValueError(f"attempt to assign sequence of size {len(value)} to extended slice of size {len(places)}")
        for place, item in zip(places, value, strict=True):
            self.__setitem__(place, item)

    return __setitem__


def _list_delitem(fn: _Method) -> _Method:
    def __delitem__(self: Any, index: Any) -> None:
        for item in self[index] if isinstance(index, slice) else (self[index],):
            _announce_remove(self, item, None, index)
        fn(self, index)

    return __delitem__


def _list_extend(fn: _Method) -> _Method:
    def extend(self: Any, iterable: Any) -> None:
        for value in list(iterable):
            self.append(value)

    return extend


def _list_iadd(fn: _Method) -> _Method:
    def __iadd__(self: Any, iterable: Any) -> Any:
        for value in list(iterable):
            self.append(value)
        return self

    return __iadd__


def _list_pop(fn: _Method) -> _Method:
    def pop(self: Any, index: Any = -1) -> Any:
        _announce_before_pop(self)
        item = fn(self, index)
        _announce_remove(self, item, None, index)
        return item

    return pop


def _list_clear(fn: _Method) -> _Method:
    def clear(self: Any, index: Any = -1) -> None:
        for item in self:
            _announce_remove(self, item, None, index)
        fn(self)

    return clear


list_mutators = _finished(
    {
        "append": _list_append,
        "remove": _list_remove,
        "insert": _list_insert,
        "__setitem__": _list_setitem,
        "__delitem__": _list_delitem,
        "extend": _list_extend,
        "__iadd__": _list_iadd,
        "pop": _list_pop,
        "clear": _list_clear,
    },
    list,
)


# --- dictionaries


def _dict_setitem(fn: _Method) -> _Method:
    def __setitem__(self: Any, key: Any, value: Any, _sa_initiator: Any = None) -> None:
        if key in self:
            _announce_remove(self, self[key], _sa_initiator, key)
        fn(self, key, _announce_add(self, value, _sa_initiator, key))

    return __setitem__


def _dict_delitem(fn: _Method) -> _Method:
    def __delitem__(self: Any, key: Any, _sa_initiator: Any = None) -> None:
        if key in self:
            _announce_remove(self, self[key], _sa_initiator, key)
        fn(self, key)

    return __delitem__


def _dict_clear(fn: _Method) -> _Method:
    def clear(self: Any) -> None:
        for key in self:
            _announce_remove(self, self[key], None, key)
        fn(self)

    return clear


def _dict_pop(fn: _Method) -> _Method:
    def pop(self: Any, key: Any, default: Any = NO_ARG) -> Any:
        _announce_before_pop(self)
        present = key in self
        item = fn(self, key) if default is NO_ARG else fn(self, key, default)
        if present:
            _announce_remove(self, item, None, key)
        return item

    return pop


def _dict_popitem(fn: _Method) -> _Method:
    def popitem(self: Any) -> Any:
        _announce_before_pop(self)
        item = fn(self)
        _announce_remove(self, item[1], None, 1)
        return item

    return popitem


def _dict_setdefault(fn: _Method) -> _Method:
    def setdefault(self: Any, key: Any, default: Any = None) -> Any:
        if key not in self:
            self.__setitem__(key, default)
            return default
        value = self.__getitem__(key)
        if value is default:
            _announce_same(self, value)
        return value

    return setdefault


def _dict_update(fn: _Method) -> _Method:
    def put(self: Any, key: Any, value: Any) -> None:
        if key not in self or self[key] is not value:
            self[key] = value
        else:
            _announce_same(self, value)

    def update(self: Any, other: Any = NO_ARG, /, **kw: Any) -> None:
        if other is not NO_ARG:
            if hasattr(other, "keys"):
                for key in list(other):
                    put(self, key, other[key])
            else:
                for key, value in other:
                    put(self, key, value)
        for key, value in kw.items():
            put(self, key, value)

    return update


dict_mutators = _finished(
    {
        "__setitem__": _dict_setitem,
        "__delitem__": _dict_delitem,
        "clear": _dict_clear,
        "pop": _dict_pop,
        "popitem": _dict_popitem,
        "setdefault": _dict_setdefault,
        "update": _dict_update,
    },
    dict,
)


# --- sets


def _set_add(fn: _Method) -> _Method:
    def add(self: Any, value: Any, _sa_initiator: Any = None) -> None:
        if value not in self:
            value = _announce_add(self, value, _sa_initiator, NO_KEY)
        else:
            _announce_same(self, value, _sa_initiator)
        fn(self, value)

    return add


def _set_discard(fn: _Method) -> _Method:
    def discard(self: Any, value: Any, _sa_initiator: Any = None) -> None:
        if value in self:
            _announce_remove(self, value, _sa_initiator, NO_KEY)
        fn(self, value)

    return discard


def _set_pop(fn: _Method) -> _Method:
    def pop(self: Any) -> Any:
        _announce_before_pop(self)
        # which member goes, the set alone decides
        item = fn(self)
        _announce_remove(self, item, None, NO_KEY)
        return item

    return pop


def _set_clear(fn: _Method) -> _Method:
    def clear(self: Any) -> None:
        for item in list(self):
            self.remove(item)

    return clear


def _add_all(self: Any, value: Any) -> None:
    for item in value:
        self.add(item)


def _discard_all(self: Any, value: Any) -> None:
    for item in value:
        self.discard(item)


def _keep_common(self: Any, value: Any) -> None:
    _become(self, self.intersection(value))


def _keep_different(self: Any, value: Any) -> None:
    _become(self, self.symmetric_difference(value))


def _become(self: Any, want: Any) -> None:
    have = set(self)
    for item in have - want:
        self.remove(item)
    for item in want - have:
        self.add(item)


def _set_method(change: Callable[[Any, Any], None]) -> Callable[[_Method], _Method]:
    def factory(fn: _Method) -> _Method:
        def method(self: Any, value: Any) -> None:
            change(self, value)

        return method

    return factory


def _set_operator(change: Callable[[Any, Any], None]) -> Callable[[_Method], _Method]:
    """The in-place operators take sets only, as the built-in's do."""

    def factory(fn: _Method) -> _Method:
        def operator(self: Any, value: Any) -> Any:
            if not isinstance(value, (set, frozenset, self.__class__)):
                return NotImplemented
            change(self, value)
            return self

        return operator

    return factory


set_mutators = _finished(
    {
        "add": _set_add,
        "discard": _set_discard,
        "remove": _set_discard,
        "pop": _set_pop,
        "clear": _set_clear,
        "update": _set_method(_add_all),
        "__ior__": _set_operator(_add_all),
        "difference_update": _set_method(_discard_all),
        "__isub__": _set_operator(_discard_all),
        "intersection_update": _set_method(_keep_common),
        "__iand__": _set_operator(_keep_common),
        "symmetric_difference_update": _set_method(_keep_different),
        "__ixor__": _set_operator(_keep_different),
    },
    set,
)
