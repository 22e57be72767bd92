"""Dictionary, list and set that announce every change of theirs, though not changes inside of their members."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from .base import Mutable

_T = TypeVar("_T", bound=Any)
_KT = TypeVar("_KT", bound=Any)
_VT = TypeVar("_VT", bound=Any)
_C = TypeVar("_C", bound="type[Mutable]")


def _announced(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def change(self: Mutable, /, *args: Any, **kwargs: Any) -> Any:
        result = method(self, *args, **kwargs)
        self.changed()
        return result

    return change


def _in_place(name: str) -> Callable[..., Any]:
    def operator(self: Mutable, other: Any) -> Any:
        getattr(self, name)(other)
        return self

    return operator


def _announces(builtin: type[Any], *methods: str, **operators: str) -> Callable[[_C], _C]:
    """Announce the changes that methods of the builtin make, and make in-place operators of some of the methods."""

    def change(cls: _C) -> _C:
        for name in methods:
            setattr(cls, name, _announced(getattr(builtin, name)))
        for name, method in operators.items():
            setattr(cls, name, _in_place(method))
        return cls

    return change


def _coerced(cls: type[Any], builtin: type[Any], key: str, value: Any) -> Any:
    if isinstance(value, cls):
        return value
    return cls(value) if isinstance(value, builtin) else Mutable.coerce(key, value)


@_announces(dict, "__setitem__", "__delitem__", "setdefault", "update", "pop", "popitem", "clear", __ior__="update")
class MutableDict(Mutable, dict[_KT, _VT]):
    """A dictionary that announces its changes."""

    @classmethod
    def coerce(cls, key: str, value: Any) -> Any:
        """Take a dictionary."""
        return _coerced(cls, dict, key, value)

    def __getstate__(self) -> dict[_KT, _VT]:
        return dict(self)

    def __setstate__(self, state: dict[_KT, _VT]) -> None:
        self.update(state)


@_announces(
    list,
    "__setitem__",
    "__delitem__",
    "__imul__",
    "pop",
    "append",
    "extend",
    "insert",
    "remove",
    "clear",
    "sort",
    "reverse",
    __iadd__="extend",
)
class MutableList(Mutable, list[_T]):
    """A list that announces its changes."""

    @classmethod
    def coerce(cls, key: str, value: Any) -> Any:
        """Take a list."""
        return _coerced(cls, list, key, value)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(self), (list(self),)

    def __setstate__(self, state: Iterable[_T]) -> None:
        # pickles of SQLAlchemy before 1.0 have the members there
        self[:] = state


@_announces(
    set,
    "update",
    "intersection_update",
    "difference_update",
    "symmetric_difference_update",
    "add",
    "remove",
    "discard",
    "pop",
    "clear",
    __ior__="update",
    __iand__="intersection_update",
    __ixor__="symmetric_difference_update",
    __isub__="difference_update",
)
class MutableSet(Mutable, set[_T]):
    """A set that announces its changes."""

    @classmethod
    def coerce(cls, key: str, value: Any) -> Any:
        """Take a set."""
        return _coerced(cls, set, key, value)

    def __getstate__(self) -> set[_T]:
        return set(self)

    def __setstate__(self, state: Iterable[_T]) -> None:
        self.update(state)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(self), (list(self),)
