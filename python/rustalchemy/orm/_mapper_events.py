"""Events about mappers: configuration, and INSERT, UPDATE and DELETE of single rows."""

from __future__ import annotations

import inspect
import weakref
from typing import Any

from sqlalchemy import event

from .._core import Listener
from .._sa import _omit_standard_example
from ._event_holds import _EventsHold, ask_first, may_hold
from ._mapper_registries import all_mappers
from .base import EXT_CONTINUE, _mapper_or_none
from .mapper import Mapper


class MapperEvents(event.Events[Mapper[Any]]):
    """Events of a mapper; listen on a mapped class or mapper, on a class yet to be mapped, or on ``Mapper`` for all.

    Row-level listeners receive the object, or its InstanceState with ``raw=True``. ``propagate=True`` includes the
    mappers that inherit; ``retval=True`` lets ``before_mapper_configured`` return ``EXT_SKIP``.
    """

    _target_class_doc = "SomeClass"
    _dispatch_target = Mapper

    @classmethod
    def _new_mapper_instance(cls, class_: type[Any], mapper: Mapper[Any]) -> None:
        _MapperEventsHold.populate(class_, mapper)

    @classmethod
    def _accept_with(cls, target: Any, identifier: str) -> Any:
        if identifier in ("before_configured", "after_configured"):
            return target if target is Mapper else None
        if not isinstance(target, type):
            return target
        if issubclass(target, Mapper):
            return target
        mapper = _mapper_or_none(target)
        if mapper is not None:
            return mapper
        return _MapperEventsHold(target) if may_hold(target) else None

    @classmethod
    def _listen(
        cls, event_key: Any, raw: bool = False, retval: bool = False, propagate: bool = False, **kw: Any
    ) -> None:
        target, identifier, fn = event_key.dispatch_target, event_key.identifier, event_key._listen_fn

        if not raw or not retval:
            # position of the object among the arguments, if the event is about one
            names = inspect.getfullargspec(getattr(cls, identifier)).args[1:]
            position = names.index("target") if not raw and "target" in names else None

            def deliver(*args: Any, **kwargs: Any) -> Any:
                answer = fn(*args, **kwargs)
                return answer if retval else EXT_CONTINUE

            event_key = event_key.with_wrapper(deliver if position is None else Listener(fn, position))

        if propagate:
            for mapper in target.self_and_descendants:
                event_key.with_dispatch_target(mapper).base_listen(propagate=True, **kw)
                _tell(mapper)
        else:
            event_key.base_listen(**kw)
            _tell(target)

    @classmethod
    def _clear(cls) -> None:
        super()._clear()
        _MapperEventsHold._clear()

    def instrument_class(self, mapper: Mapper[Any], class_: type[Any]) -> None:
        """A mapper is being made; the class is not instrumented yet."""

    def after_mapper_constructed(self, mapper: Mapper[Any], class_: type[Any]) -> None:
        """A mapper was made and has its properties; relationships are not configured yet."""

    @_omit_standard_example
    def before_mapper_configured(self, mapper: Mapper[Any], class_: type[Any]) -> None:
        """A mapper is about to be configured; ``EXT_SKIP`` leaves it for later (with ``retval=True``)."""

    def mapper_configured(self, mapper: Mapper[Any], class_: type[Any]) -> None:
        """A mapper was configured."""

    @_omit_standard_example
    def before_configured(self) -> None:
        """Mappers are about to be configured."""

    @_omit_standard_example
    def after_configured(self) -> None:
        """Mappers were configured."""

    def before_insert(self, mapper: Mapper[Any], connection: Any, target: Any) -> None:
        """An object is about to be INSERTed; its column attributes may be changed."""

    def after_insert(self, mapper: Mapper[Any], connection: Any, target: Any) -> None:
        """An object was INSERTed."""

    def before_update(self, mapper: Mapper[Any], connection: Any, target: Any) -> None:
        """An object is dirty and may be UPDATEd; its column attributes may be changed."""

    def after_update(self, mapper: Mapper[Any], connection: Any, target: Any) -> None:
        """A dirty object was handled, with or without an UPDATE."""

    def before_delete(self, mapper: Mapper[Any], connection: Any, target: Any) -> None:
        """An object is about to be DELETEd."""

    def after_delete(self, mapper: Mapper[Any], connection: Any, target: Any) -> None:
        """An object was DELETEd."""


def _tell(target: Any) -> None:
    """Let the native side know that there is somebody to call."""
    for mapper in all_mappers() if isinstance(target, type) else [target]:
        if hasattr(mapper, "_hear"):
            mapper._hear()


class _MapperEventsHold(_EventsHold):
    """Mapper listeners of a class without a mapper."""

    events_name = "MapperEvents"
    all_holds: Any = weakref.WeakKeyDictionary()

    def resolve(self, class_: type[Any]) -> Any:
        return _mapper_or_none(class_)

    class HoldMapperEvents(_EventsHold.HoldEvents, MapperEvents):  # type: ignore[misc]
        """The events of a hold."""

    dispatch = event.dispatcher(HoldMapperEvents)


ask_first(MapperEvents)
