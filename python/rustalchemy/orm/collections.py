"""Collections of related objects: which classes may be used, and how their changes are noticed.

A plain list is native (`_core.InstrumentedList`). Every other class is instrumented here once, when an attribute is
configured with it: its mutating methods announce changes to the adapter that ties the collection to its object.
"""

from __future__ import annotations

import inspect
import operator
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import exc as sa_exc
from sqlalchemy import util

from .. import _core
from ._collection_mutators import dict_mutators, list_mutators, set_mutators

__all__ = [
    "InstrumentedDict",
    "InstrumentedList",
    "InstrumentedSet",
    "KeyFuncDict",
    "MappedCollection",
    "attribute_keyed_dict",
    "attribute_mapped_collection",
    "bulk_replace",
    "collection",
    "collection_adapter",
    "column_keyed_dict",
    "column_mapped_collection",
    "keyfunc_mapping",
    "mapped_collection",
]

_F = TypeVar("_F", bound=Callable[..., Any])
_T = TypeVar("_T", bound=Any)
_KT = TypeVar("_KT", bound=Any)
_VT = TypeVar("_VT", bound=Any)

_instrumentation_mutex = threading.Lock()

InstrumentedList = _core.InstrumentedList
CollectionAdapter = _core.CollectionAdapter

collection_adapter = operator.attrgetter("_sa_adapter")


class collection:
    """Decorators that say which methods of a user's class are appender, remover and iterator, and what others do."""

    @staticmethod
    def appender(fn: _F) -> _F:
        """The method adds one object."""
        fn._sa_instrument_role = "appender"  # type: ignore[attr-defined]
        return fn

    @staticmethod
    def remover(fn: _F) -> _F:
        """The method removes one object."""
        fn._sa_instrument_role = "remover"  # type: ignore[attr-defined]
        return fn

    @staticmethod
    def iterator(fn: _F) -> _F:
        """The method returns an iterator over all objects."""
        fn._sa_instrument_role = "iterator"  # type: ignore[attr-defined]
        return fn

    @staticmethod
    def internally_instrumented(fn: _F) -> _F:
        """The method announces its changes itself, or calls methods that do."""
        fn._sa_instrumented = True  # type: ignore[attr-defined]
        return fn

    @staticmethod
    def adds(arg: int | str) -> Callable[[_F], _F]:
        """The argument of this position or name is added."""

        def decorator(fn: _F) -> _F:
            fn._sa_instrument_before = ("fire_append_event", arg)  # type: ignore[attr-defined]
            return fn

        return decorator

    @staticmethod
    def replaces(arg: int | str) -> Callable[[_F], _F]:
        """The argument is added, the returned object was removed for it."""

        def decorator(fn: _F) -> _F:
            fn._sa_instrument_before = ("fire_append_event", arg)  # type: ignore[attr-defined]
            fn._sa_instrument_after = "fire_remove_event"  # type: ignore[attr-defined]
            return fn

        return decorator

    @staticmethod
    def removes(arg: int | str) -> Callable[[_F], _F]:
        """The argument of this position or name is removed."""

        def decorator(fn: _F) -> _F:
            fn._sa_instrument_before = ("fire_remove_event", arg)  # type: ignore[attr-defined]
            return fn

        return decorator

    @staticmethod
    def removes_return() -> Callable[[_F], _F]:
        """What the method returns was removed."""

        def decorator(fn: _F) -> _F:
            fn._sa_instrument_after = "fire_remove_event"  # type: ignore[attr-defined]
            return fn

        return decorator


def bulk_replace(values: list[Any], existing_adapter: Any, new_adapter: Any, initiator: Any = None) -> None:
    """Fill a new collection with events for what is new in it, then announce what went from the old one."""
    assert isinstance(values, list)
    existing = util.IdentitySet(existing_adapter or ())
    constants = existing.intersection(values)
    additions = util.IdentitySet(values).difference(constants)
    appender = new_adapter.bulk_appender()
    for member in values:
        if member in additions:
            appender(member, _sa_initiator=initiator)
        elif member in constants:
            appender(member, _sa_initiator=False)
    if existing_adapter is not None:
        existing_adapter._fire_append_wo_mutation_event_bulk(constants, initiator=initiator)
        existing_adapter._fire_remove_event_bulk(existing.difference(constants), initiator=initiator)


def _prepare_instrumentation(factory: Any) -> Any:
    """The factory to use for a collection: the instrumented kind of a built-in, or the given class, instrumented."""
    factory = _canned.get(factory, factory)
    cls = type(factory())
    if cls in _canned:
        # a callable that makes a built-in collection
        factory = _canned[cls]
        cls = type(factory())
    if cls is not InstrumentedList:
        with _instrumentation_mutex:
            # subclasses inherit the mark of their base
            if getattr(cls, "_sa_instrumented", None) != id(cls):
                _instrument_class(cls)
    return factory


def _instrument_class(cls: Any) -> None:
    if cls.__module__ == "builtins":
        raise sa_exc.ArgumentError("Can not instrument a built-in type. Use a subclass, even a trivial one.")
    roles, methods = _locate_roles_and_methods(cls)
    _setup_canned_roles(cls, roles, methods)
    _assert_required_roles(cls, roles, methods)
    for name, (before, argument, after) in methods.items():
        setattr(cls, name, _instrument_membership_mutator(getattr(cls, name), before, argument, after))
    for role, name in roles.items():
        setattr(cls, f"_sa_{role}", getattr(cls, name))
    cls._sa_adapter = None
    cls._sa_instrumented = id(cls)


_Effects = tuple["str | None", "int | str | None", "str | None"]


def _locate_roles_and_methods(cls: Any) -> tuple[dict[str, str], dict[str, _Effects]]:
    """Which methods the class' author decorated, with what."""
    roles: dict[str, str] = {}
    methods: dict[str, _Effects] = {}
    for supercls in cls.__mro__:
        for name, method in vars(supercls).items():
            if not callable(method):
                continue
            role = getattr(method, "_sa_instrument_role", None)
            if role is not None:
                roles.setdefault(role, name)
            before, argument = getattr(method, "_sa_instrument_before", (None, None))
            after = getattr(method, "_sa_instrument_after", None)
            if before or after:
                methods[name] = (before, argument, after)
    return roles, methods


def _setup_canned_roles(cls: Any, roles: dict[str, str], methods: dict[str, _Effects]) -> None:
    """Wrap the methods of what looks like a list, set or dictionary, except those its author took care of."""
    kind = util.duck_type_collection(cls)
    if kind not in _interfaces:
        return
    canned_roles, mutators = _interfaces[kind]
    for role, name in canned_roles.items():
        roles.setdefault(role, name)
    for name, mutator in mutators.items():
        fn = getattr(cls, name, None)
        if fn and name not in methods and not hasattr(fn, "_sa_instrumented"):
            setattr(cls, name, mutator(fn))


def _assert_required_roles(cls: Any, roles: dict[str, str], methods: dict[str, _Effects]) -> None:
    events = {"appender": "fire_append_event", "remover": "fire_remove_event", "iterator": None}
    for role, event_name in events.items():
        if role not in roles or not hasattr(cls, roles[role]):
            article = "a" if role == "remover" else "an"
            raise sa_exc.ArgumentError(
                f"Type {cls.__name__} must elect {article} {role} method to be a collection class"
            )
        name = roles[role]
        if event_name and name not in methods and not hasattr(getattr(cls, name), "_sa_instrumented"):
            methods[name] = (event_name, 1, None)


def _instrument_membership_mutator(method: Any, before: Any, argument: Any, after: Any) -> Any:
    """Wrap a user's method: announce its argument before the call, or what it returns after it."""
    position: int | None = None
    named: str | None = None
    if before:
        names = list(inspect.getfullargspec(method)[0])
        if isinstance(argument, int):
            position = argument
            named = names[argument] if len(names) > argument else None
        else:
            position = names.index(argument) if argument in names else None
            named = argument

    def announced(args: tuple[Any, ...], kw: dict[str, Any]) -> Any:
        if position is not None and len(args) > position:
            return args[position]
        if named in kw:
            return kw[named]
        raise sa_exc.ArgumentError(f"Missing argument {argument}")

    def wrapper(*args: Any, **kw: Any) -> Any:
        value = announced(args, kw) if before else None
        initiator = kw.pop("_sa_initiator", None)
        adapter = None if initiator is False else args[0]._sa_adapter
        if before and adapter is not None:
            getattr(adapter, before)(value, initiator)
        result = method(*args, **kw)
        if after and adapter is not None and result is not None:
            getattr(adapter, after)(result, initiator)
        return result

    wrapper._sa_instrumented = True  # type: ignore[attr-defined]
    if hasattr(method, "_sa_instrument_role"):
        wrapper._sa_instrument_role = method._sa_instrument_role  # type: ignore[attr-defined]
    wrapper.__name__ = method.__name__
    wrapper.__doc__ = method.__doc__
    return wrapper


class InstrumentedSet(set[_T]):
    """The set that holds related objects."""


class InstrumentedDict(dict[_KT, _VT]):
    """The dictionary that holds related objects."""


_canned: dict[Any, Any] = {list: InstrumentedList, set: InstrumentedSet, dict: InstrumentedDict}

_interfaces: dict[Any, tuple[dict[str, str], dict[str, Any]]] = {
    list: ({"appender": "append", "remover": "remove", "iterator": "__iter__"}, list_mutators),
    set: ({"appender": "add", "remover": "remove", "iterator": "__iter__"}, set_mutators),
    # a dictionary's keys are its own affair: appender and remover are the author's
    dict: ({"iterator": "values"}, dict_mutators),
}


def _check_collection_type(attribute: Any, value: Any, check: bool) -> tuple[Any, Any]:
    """The members of something assigned to an attribute, with their keys if it is a dictionary."""
    kind = util.duck_type_collection(value)
    if not check:
        return list(value), list(value) if kind is dict else None
    wanted = attribute.impl._duck_typed_as
    if kind is not wanted:
        given = "None" if value is None else value.__class__.__name__
        name = "None" if wanted is None else wanted.__name__
        raise TypeError(f"Incompatible collection type: {given} is not {name}-like")
    if hasattr(value, "_sa_iterator"):
        return list(value._sa_iterator()), None
    if kind is dict:
        return list(value.values()), list(value)
    return list(value), None


from .mapped_collection import KeyFuncDict as KeyFuncDict  # noqa: E402
from .mapped_collection import MappedCollection as MappedCollection  # noqa: E402
from .mapped_collection import attribute_keyed_dict as attribute_keyed_dict  # noqa: E402
from .mapped_collection import attribute_mapped_collection as attribute_mapped_collection  # noqa: E402
from .mapped_collection import column_keyed_dict as column_keyed_dict  # noqa: E402
from .mapped_collection import column_mapped_collection as column_mapped_collection  # noqa: E402
from .mapped_collection import keyfunc_mapping as keyfunc_mapping  # noqa: E402
from .mapped_collection import mapped_collection as mapped_collection  # noqa: E402

_instrument_class(InstrumentedSet)
_instrument_class(KeyFuncDict)
