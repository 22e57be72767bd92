"""What the mapper side knows of an instrumented attribute: kind, tokens of its events, access by state.

The storage itself is native; these objects are one per attribute and class, never per object. They carry SQLAlchemy's
internal method names, because loader strategies, validators and extensions are written against them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import util

from .. import _core
from ._history import History
from .base import (
    CALLABLES_OK,
    DONT_SET,
    NO_VALUE,
    PASSIVE_NO_INITIALIZE,
    PASSIVE_NO_RESULT,
    PASSIVE_OFF,
    instance_state,
)

OP_REMOVE = util.symbol("REMOVE")
OP_APPEND = util.symbol("APPEND")
OP_REPLACE = util.symbol("REPLACE")
OP_BULK_REPLACE = util.symbol("BULK_REPLACE")
OP_MODIFIED = util.symbol("MODIFIED")


class AttributeEventToken:
    """Says where a chain of attribute events began: which attribute, which operation."""

    __slots__ = "impl", "op", "parent_token"

    def __init__(self, attribute_impl: _AttributeImpl, op: Any) -> None:
        self.impl = attribute_impl
        self.op = op
        self.parent_token = attribute_impl.parent_token

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AttributeEventToken) and other.impl is self.impl and other.op == self.op

    __hash__ = None  # type: ignore[assignment]

    @property
    def key(self) -> str:
        return self.impl.key

    def hasparent(self, state: Any) -> bool:
        return self.impl.hasparent(state)


AttributeEvent = AttributeEventToken
Event = AttributeEventToken


class _AttributeImpl:
    """Base of the kinds of attributes."""

    collection = False
    default_accepts_scalar_loader = False
    uses_objects = False
    supports_population = True
    dynamic = False
    kind = 0
    _is_has_collection_adapter = False

    def __init__(
        self,
        class_: type[Any],
        key: str,
        callable_: Callable[..., Any] | None,
        dispatch: Any,
        *,
        trackparent: bool = False,
        compare_function: Callable[[Any, Any], bool] | None = None,
        active_history: bool = False,
        parent_token: Any = None,
        load_on_unexpire: bool = True,
        send_modified_events: bool = True,
        accepts_scalar_loader: bool | None = None,
        default_scalar_value: Any = None,
        typecallable: Any = None,
        _deferred_history: bool = False,
        **kwargs: Any,
    ) -> None:
        self.class_ = class_
        self.key = key
        self.callable_ = callable_
        self.dispatch = dispatch
        self.trackparent = trackparent
        self.parent_token = parent_token or self
        self.send_modified_events = send_modified_events
        self.compare_function = compare_function
        self.is_equal = compare_function or operator.eq
        self.accepts_scalar_loader = (
            self.default_accepts_scalar_loader if accepts_scalar_loader is None else accepts_scalar_loader
        )
        self._deferred_history = _deferred_history
        if active_history:
            self.dispatch._active_history = True
        self.load_on_unexpire = load_on_unexpire
        self._default_scalar_value = default_scalar_value
        self._modified_token = AttributeEventToken(self, OP_MODIFIED)
        self._replace_token = AttributeEventToken(self, OP_REPLACE)
        self._append_token = self._replace_token
        self._remove_token = AttributeEventToken(self, OP_REMOVE)

    def __str__(self) -> str:
        return f"{self.class_.__name__}.{self.key}"

    @property
    def active_history(self) -> bool:
        return self.dispatch._active_history

    @active_history.setter
    def active_history(self, value: bool) -> None:
        self.dispatch._active_history = value

    def hasparent(self, state: Any, optimistic: bool = False) -> bool:
        assert self.trackparent, "This AttributeImpl is not configured to track parents."
        return state._has_parent(self.class_.__dict__["_sa_class_manager"], self.key, optimistic)

    def sethasparent(self, state: Any, parent_state: Any, value: bool) -> None:
        assert self.trackparent, "This AttributeImpl is not configured to track parents."
        state._set_has_parent(self.class_.__dict__["_sa_class_manager"], self.key, parent_state, value)

    def get(self, state: Any, dict_: Any = None, passive: Any = PASSIVE_OFF) -> Any:
        return _core.get_attribute(state, self.key, passive)

    def set(
        self,
        state: Any,
        dict_: Any,
        value: Any,
        initiator: Any = None,
        passive: Any = PASSIVE_OFF,
        check_old: Any = None,
        pop: bool = False,
        _adapt: bool = True,
    ) -> None:
        if value is not DONT_SET:
            _core.set_attribute(
                state, self.key, value, initiator, PASSIVE_OFF if passive is None else passive, check_old, pop, _adapt
            )

    def append(self, state: Any, dict_: Any, value: Any, initiator: Any, passive: Any = PASSIVE_OFF) -> None:
        self.set(state, dict_, value, initiator, passive=passive)

    def remove(self, state: Any, dict_: Any, value: Any, initiator: Any, passive: Any = PASSIVE_OFF) -> None:
        self.set(state, dict_, None, initiator, passive=passive, check_old=value)

    def pop(self, state: Any, dict_: Any, value: Any, initiator: Any, passive: Any = PASSIVE_OFF) -> None:
        self.set(state, dict_, None, initiator, passive=passive, check_old=value, pop=True)

    def delete(self, state: Any, dict_: Any = None) -> None:
        _core.del_attribute(state, self.key)

    def get_history(self, state: Any, dict_: Any = None, passive: Any = PASSIVE_OFF) -> History:
        return History(*state._history(self.key, passive))

    def get_committed_value(self, state: Any, dict_: Any = None, passive: Any = PASSIVE_OFF) -> Any:
        committed = _core._committed_values(state)
        if self.key in committed:
            value = committed[self.key]
            return None if value is NO_VALUE else value
        return self.get(state, dict_, passive)

    def set_committed_value(self, state: Any, dict_: Any, value: Any) -> Any:
        return _core.set_committed_value(state, self.key, value)

    def get_all_pending(self, state: Any, dict_: Any, passive: Any = PASSIVE_NO_INITIALIZE) -> list[tuple[Any, Any]]:
        raise NotImplementedError()


class _ScalarAttributeImpl(_AttributeImpl):
    """A column value."""

    default_accepts_scalar_loader = True


class _ScalarObjectAttributeImpl(_AttributeImpl):
    """A reference to another object."""

    uses_objects = True
    kind = 1

    def get_all_pending(self, state: Any, dict_: Any, passive: Any = PASSIVE_NO_INITIALIZE) -> list[tuple[Any, Any]]:
        if self.key in dict_:
            current = dict_[self.key]
        elif passive & CALLABLES_OK:
            current = self.get(state, dict_, passive)
        else:
            return []
        absent = (None, PASSIVE_NO_RESULT, NO_VALUE)
        pending = [(None, None) if any(current is one for one in absent) else (instance_state(current), current)]
        original = state.committed_state.get(self.key)
        if original is not current and not any(original is one for one in absent):
            pending.append((instance_state(original), original))
        return pending


class _CollectionAttributeImpl(_AttributeImpl):
    """A collection of other objects."""

    collection = True
    uses_objects = True
    kind = 2
    _is_has_collection_adapter = True

    def __init__(self, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self.collection_factory = cast("Any", kw.get("typecallable"))
        self._append_token = AttributeEventToken(self, OP_APPEND)
        self._bulk_replace_token = AttributeEventToken(self, OP_BULK_REPLACE)
        self._duck_typed_as = util.duck_type_collection(self.collection_factory())

    def append(self, state: Any, dict_: Any, value: Any, initiator: Any, passive: Any = PASSIVE_OFF) -> None:
        _core.append_attribute(state, self.key, value, initiator, passive)

    def remove(self, state: Any, dict_: Any, value: Any, initiator: Any, passive: Any = PASSIVE_OFF) -> None:
        _core.remove_attribute(state, self.key, value, initiator, passive)

    def pop(self, state: Any, dict_: Any, value: Any, initiator: Any, passive: Any = PASSIVE_OFF) -> None:
        _core.pop_attribute(state, self.key, value, initiator, passive)

    def get_collection(self, state: Any, dict_: Any = None, user_data: Any = None, passive: Any = PASSIVE_OFF) -> Any:
        if user_data is None:
            user_data = self.get(state, dict_, passive)
            if user_data is PASSIVE_NO_RESULT:
                return user_data
        return user_data._sa_adapter

    def get_all_pending(self, state: Any, dict_: Any, passive: Any = PASSIVE_NO_INITIALIZE) -> list[tuple[Any, Any]]:
        if self.key not in dict_:
            return []
        history = self.get_history(state, dict_, passive) if self.key in state.committed_state else None
        members = list(dict_[self.key]._sa_adapter) if history is None else history.sum()
        return [(None if member is None else instance_state(member), member) for member in members]


_is_collection_attribute_impl = operator.attrgetter("collection")
