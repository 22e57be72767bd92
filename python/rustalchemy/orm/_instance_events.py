"""Events about single objects (``InstanceEvents``) and about classes being instrumented (``InstrumentationEvents``)."""

from __future__ import annotations

import weakref
from typing import Any

from sqlalchemy import event

from .._core import Listener
from .._sa import _EventKey
from . import instrumentation
from ._event_holds import _EventsHold, _listen_in_other_orm, ask_first, may_hold
from ._mapper_registries import all_mappers
from .instrumentation import ClassManager, InstrumentationFactory
from .mapper import Mapper


class InstrumentationEvents(event.Events[InstrumentationFactory]):
    """Events about instrumentation; listen on a class, which need not be mapped, for it and its sub-classes."""

    _target_class_doc = "SomeBaseClass"
    _dispatch_target = InstrumentationFactory

    @classmethod
    def _accept_with(cls, target: Any, identifier: str) -> Any:
        return _InstrumentationEventsHold(target) if isinstance(target, type) else None

    @classmethod
    def _listen(cls, event_key: Any, propagate: bool = True, **kw: Any) -> None:
        identifier, fn = event_key.identifier, event_key._listen_fn
        factory = instrumentation._instrumentation_factory
        _listen_in_other_orm("InstrumentationEvents", event_key, event_key.dispatch_target, propagate=propagate, **kw)

        def deliver(target_cls: type[Any], *args: Any) -> Any:
            listen_cls = class_ref()
            if listen_cls is None:
                return None
            if target_cls is listen_cls or (propagate and issubclass(target_cls, listen_cls)):
                return fn(target_cls, *args)
            return None

        def forget(ref: Any) -> None:
            getattr(factory.dispatch, identifier).remove(_EventKey(factory, identifier, deliver, factory))

        # there is one factory for all classes: it must not keep a class alive because somebody listens for it
        class_ref = weakref.ref(event_key.dispatch_target.class_, forget)
        event_key.with_dispatch_target(factory).with_wrapper(deliver).base_listen(**kw)

    @classmethod
    def _clear(cls) -> None:
        super()._clear()
        instrumentation._instrumentation_factory.dispatch._clear()

    def class_instrument(self, cls: ClassManager[Any]) -> None:
        """A class was instrumented."""

    def class_uninstrument(self, cls: ClassManager[Any]) -> None:
        """A class is about to lose its instrumentation."""

    def attribute_instrument(self, cls: ClassManager[Any], key: str, inst: Any) -> None:
        """An attribute was instrumented."""


class _InstrumentationEventsHold:
    """Carries a class through ``event.listen()`` to ``InstrumentationEvents._listen``."""

    def __init__(self, class_: type[Any]) -> None:
        self.class_ = class_

    dispatch = event.dispatcher(InstrumentationEvents)


class InstanceEvents(event.Events[ClassManager[Any]]):
    """Events about objects of a class; listen on the class, its mapper or manager, or on ``Mapper`` for all classes.

    Listeners receive the object, or its InstanceState with ``raw=True``. ``propagate=True`` includes sub-classes.
    """

    _target_class_doc = "SomeClass"
    _dispatch_target = ClassManager

    @classmethod
    def _new_classmanager_instance(cls, class_: type[Any], classmanager: ClassManager[Any]) -> None:
        _InstanceEventsHold.populate(class_, classmanager)

    @classmethod
    def _accept_with(cls, target: Any, identifier: str) -> Any:
        if isinstance(target, ClassManager):
            return target
        if isinstance(target, Mapper):
            return target.class_manager
        if not isinstance(target, type):
            return None
        if issubclass(target, (Mapper, ClassManager)):
            return ClassManager
        manager = instrumentation.opt_manager_of_class(target)
        if manager is not None:
            return manager
        return _InstanceEventsHold(target) if may_hold(target) else None

    @classmethod
    def _listen(
        cls,
        event_key: Any,
        raw: bool = False,
        propagate: bool = False,
        restore_load_context: bool = False,
        **kw: Any,
    ) -> None:
        target, fn = event_key.dispatch_target, event_key._listen_fn

        if restore_load_context:

            def deliver(state: Any, *args: Any, **kwargs: Any) -> Any:
                runid = state.runid
                try:
                    return fn(state if raw else state.obj(), *args, **kwargs)
                finally:
                    state.runid = runid

            event_key = event_key.with_wrapper(deliver)
        elif not raw:
            event_key = event_key.with_wrapper(Listener(fn))

        event_key.base_listen(propagate=propagate, **kw)
        _tell(target)
        if propagate:
            for manager in target.subclass_managers(True):
                event_key.with_dispatch_target(manager).base_listen(propagate=True)
                _tell(manager)

    @classmethod
    def _clear(cls) -> None:
        super()._clear()
        _InstanceEventsHold._clear()

    def init(self, target: Any, args: Any, kwargs: Any) -> None:
        """The constructor is about to run; ``kwargs`` may be changed."""

    def init_failure(self, target: Any, args: Any, kwargs: Any) -> None:
        """The constructor raised."""

    def _sa_event_merge_wo_load(self, target: Any, context: Any) -> None:
        """The object was made by ``merge(load=False)``."""

    def load(self, target: Any, context: Any) -> None:
        """The object was made from a row; ``__init__`` does not run then."""

    def refresh(self, target: Any, context: Any, attrs: Any) -> None:
        """Attributes were refreshed from a row; ``attrs`` names them, or is None for all."""

    def refresh_flush(self, target: Any, flush_context: Any, attrs: Any) -> None:
        """A flush set attributes to values made by the database or by column defaults."""

    def expire(self, target: Any, attrs: Any) -> None:
        """Attributes were expired; ``attrs`` names them, or is None for all."""

    def pickle(self, target: Any, state_dict: dict[str, Any]) -> None:
        """The object's state is being pickled; ``state_dict`` may be changed."""

    def unpickle(self, target: Any, state_dict: dict[str, Any]) -> None:
        """The object's state was unpickled."""


def _tell(target: Any) -> None:
    """Let the native side know that there is somebody to call."""
    for manager in [m.class_manager for m in all_mappers()] if isinstance(target, type) else [target]:
        if hasattr(manager, "_hear"):
            manager._hear()


class _InstanceEventsHold(_EventsHold):
    """Instance listeners of a class without a manager."""

    events_name = "InstanceEvents"
    all_holds: Any = weakref.WeakKeyDictionary()

    def resolve(self, class_: type[Any]) -> Any:
        return instrumentation.opt_manager_of_class(class_)

    class HoldInstanceEvents(_EventsHold.HoldEvents, InstanceEvents):  # type: ignore[misc]
        """The events of a hold."""

    dispatch = event.dispatcher(HoldInstanceEvents)


ask_first(InstrumentationEvents)
ask_first(InstanceEvents)
