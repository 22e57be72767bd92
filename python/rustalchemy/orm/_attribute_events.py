"""Events of single attributes: set, append, remove, and what surrounds them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event

from .._core import Listener
from . import instrumentation
from ._mapper_registries import all_mappers
from .attributes import QueryableAttribute
from .base import NO_KEY
from .interfaces import MapperProperty


class AttributeEvents(event.Events[QueryableAttribute[Any]]):
    """Events of an attribute; listen on ``SomeClass.attribute``.

    :param active_history: load the old value before ``set`` if it is not loaded.
    :param raw: listeners receive the InstanceState in place of the object.
    :param retval: what the listener returns is the new value.
    :param propagate: include the attribute of sub-classes.
    :param include_key: pass the key or index a collection is used with.
    """

    _target_class_doc = "SomeClass.some_attribute"
    _dispatch_target = QueryableAttribute

    @staticmethod
    def _set_dispatch(klass: Any, dispatch_cls: Any) -> Any:
        dispatch = event.Events._set_dispatch(klass, dispatch_cls)
        dispatch_cls._active_history = False
        return dispatch

    @classmethod
    def _accept_with(cls, target: Any, identifier: str) -> Any:
        if isinstance(target, MapperProperty):
            return getattr(target.parent.class_, target.key)
        return target

    @classmethod
    def _listen(  # type: ignore[override]  # the options are those of these events
        cls,
        event_key: Any,
        active_history: bool = False,
        raw: bool = False,
        retval: bool = False,
        propagate: bool = False,
        include_key: bool = False,
    ) -> None:
        target, fn = event_key.dispatch_target, event_key._listen_fn

        if not raw or not retval or not include_key:
            event_key = event_key.with_wrapper(Listener(fn, raw=raw, retval=retval, keyword=include_key))

        event_key.base_listen(propagate=propagate)
        _tell(target, active_history)
        if propagate:
            for manager in instrumentation.manager_of_class(target.class_).subclass_managers(True):
                attribute = manager[target.key]
                event_key.with_dispatch_target(attribute).base_listen(propagate=True)
                _tell(attribute, active_history)

    def append(self, target: Any, value: Any, initiator: Any, *, key: Any = NO_KEY) -> Any:
        """A value is about to enter a collection; with ``retval=True`` the returned value does."""

    def append_wo_mutation(self, target: Any, value: Any, initiator: Any, *, key: Any = NO_KEY) -> None:
        """A value was given to a set or dictionary that has it already."""

    def bulk_replace(self, target: Any, values: Any, initiator: Any, *, keys: Any = None) -> None:
        """A collection is about to be replaced as a whole; the list ``values`` may be changed."""

    def remove(self, target: Any, value: Any, initiator: Any, *, key: Any = NO_KEY) -> None:
        """A value left a collection, or was deleted from a scalar attribute."""

    def set(self, target: Any, value: Any, oldvalue: Any, initiator: Any) -> None:
        """A scalar attribute is about to be set; with ``retval=True`` to the returned value."""

    def init_scalar(self, target: Any, value: Any, dict_: dict[Any, Any]) -> None:
        """An attribute without a value was read; with ``retval=True`` the returned value is what was read."""

    def init_collection(self, target: Any, collection: Any, collection_adapter: Any) -> None:
        """A collection was made and attached to an object."""

    def dispose_collection(self, target: Any, collection: Any, collection_adapter: Any) -> None:
        """A collection was replaced and belongs to its object no more."""

    def modified(self, target: Any, initiator: Any) -> None:
        """``flag_modified()`` was called for the attribute."""


def _tell(attribute: Any, active_history: bool) -> None:
    """Let the native side know that there is somebody to call, and whether the old value is wanted."""
    if active_history:
        attribute.dispatch._active_history = True
    heard_by: list[Any] = [attribute]
    if isinstance(attribute, type):
        every = (one for mapper in all_mappers() for one in mapper.class_manager.values())
        heard_by = [one for one in every if isinstance(one, attribute)]
    elif active_history:
        heard_by = [getattr(attribute.class_, "_sa_class_manager", {}).get(attribute.key, attribute)]
    for one in heard_by:
        if hasattr(one, "_hear"):
            one._hear()
