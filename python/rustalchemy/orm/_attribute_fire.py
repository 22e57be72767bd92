"""The way back from the native core to Python listeners of an attribute.

The core calls ``fire`` only for attributes of which ``_set_listeners`` said that somebody listens. Listeners of ``set``
and ``append`` may replace the value: what is returned here is what will be stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import NO_KEY

if TYPE_CHECKING:
    from collections.abc import Callable


def _set(attribute: Any, state: Any, value: Any, oldvalue: Any, initiator: Any = None) -> Any:
    initiator = initiator or attribute.impl._replace_token
    for listener in attribute.dispatch.set:
        value = listener(state, value, oldvalue, initiator)
    return value


def _append(attribute: Any, state: Any, value: Any, initiator: Any = None, key: Any = NO_KEY) -> Any:
    initiator = initiator or attribute.impl._append_token
    for listener in attribute.dispatch.append:
        value = listener(state, value, initiator, key=key)
    return value


def _append_wo_mutation(attribute: Any, state: Any, value: Any, initiator: Any = None, key: Any = NO_KEY) -> Any:
    initiator = initiator or attribute.impl._append_token
    for listener in attribute.dispatch.append_wo_mutation:
        value = listener(state, value, initiator, key=key)
    return value


def _remove(attribute: Any, state: Any, value: Any, initiator: Any = None, key: Any = NO_KEY) -> None:
    initiator = initiator or attribute.impl._remove_token
    for listener in attribute.dispatch.remove:
        listener(state, value, initiator, key=key)


def _bulk_replace(attribute: Any, state: Any, values: Any, initiator: Any = None, keys: Any = None) -> Any:
    initiator = initiator or attribute.impl._bulk_replace_token
    for listener in attribute.dispatch.bulk_replace:
        listener(state, values, initiator, keys=keys)
    return values


def _init_scalar(attribute: Any, state: Any, value: Any, dict_: Any) -> Any:
    for listener in attribute.dispatch.init_scalar:
        answer = listener(state, value, dict_)
        if answer is not None:
            value = answer
    return value


def _init_collection(attribute: Any, state: Any, collection: Any, adapter: Any) -> None:
    attribute.dispatch.init_collection(state, collection, adapter)


def _dispose_collection(attribute: Any, state: Any, collection: Any, adapter: Any) -> None:
    attribute.dispatch.dispose_collection(state, collection, adapter)


def _modified(attribute: Any, state: Any, initiator: Any = None) -> None:
    attribute.dispatch.modified(state, initiator or attribute.impl._modified_token)


_BY_EVENT: dict[str, Callable[..., Any]] = {
    "set": _set,
    "append": _append,
    "append_wo_mutation": _append_wo_mutation,
    "remove": _remove,
    "bulk_replace": _bulk_replace,
    "init_scalar": _init_scalar,
    "init_collection": _init_collection,
    "dispose_collection": _dispose_collection,
    "modified": _modified,
}


def fire(event: str, attribute: Any, state: Any, *args: Any) -> Any:
    """Call the listeners of one event of one attribute; return the value they leave."""
    return _BY_EVENT[event](attribute, state, *args)
