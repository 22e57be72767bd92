"""Listeners for classes that are not mapped yet: held until the class is instrumented or mapped."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from .._sa import _registrars, _stored_in_collection

if TYPE_CHECKING:
    from collections.abc import MutableMapping


def ask_first(events: type[Any]) -> None:
    """Let a class of events be asked about a target before the same class of ``sqlalchemy.orm``.

    A class that is mapped by neither could become either's. Ours takes it and passes it on; the other one would not.
    """
    for classes in _registrars.values():
        if events in classes:
            classes.remove(events)
            classes.insert(0, events)


def may_hold(target: type[Any]) -> bool:
    """Whether a class could be mapped one day: those of ``sqlalchemy.orm`` itself are targets of their own kind."""
    return not target.__module__.startswith(("sqlalchemy.orm.", "sqlalchemy.ext."))


def _listen_in_other_orm(events_name: str, event_key: Any, hold: Any, **kw: Any) -> None:
    """Listen with ``sqlalchemy.orm`` too, if the program uses it: it may map the class, or a sub-class."""
    module = sys.modules.get("sqlalchemy.orm.events")
    if module is not None:
        target = getattr(module, events_name)._accept_with(hold.class_, event_key.identifier)
        if target is not None:
            event_key.with_dispatch_target(target).listen(**kw)


class _EventsHold(event.RefCollection[Any]):
    """The listeners of one class; those given with ``propagate=True`` also reach its sub-classes."""

    # name of the class of events, the same in both ORMs
    events_name: str
    # class → event key → (event key, raw, propagate, retval, further arguments)
    all_holds: MutableMapping[Any, dict[Any, tuple[Any, bool, bool, bool, dict[str, Any]]]]

    def __init__(self, class_: type[Any]) -> None:
        self.class_ = class_

    @classmethod
    def _clear(cls) -> None:
        cls.all_holds.clear()

    def resolve(self, class_: type[Any]) -> Any:
        """The real event target of a class, or None while there is none."""
        raise NotImplementedError

    class HoldEvents:
        """Mixed into an Events class whose targets are holds."""

        _dispatch_target: Any = None

        @classmethod
        def _listen(
            cls, event_key: Any, raw: bool = False, propagate: bool = False, retval: bool = False, **kw: Any
        ) -> None:
            hold = event_key.dispatch_target
            listeners = hold.all_holds.setdefault(hold.class_, {})
            _stored_in_collection(event_key, hold)
            listeners[event_key._key] = (event_key, raw, propagate, retval, kw)
            _listen_in_other_orm(hold.events_name, event_key, hold, raw=raw, propagate=propagate, retval=retval, **kw)
            if not propagate:
                return
            # the class itself has no target yet, but a sub-class of an unmapped base may have one
            pending = list(hold.class_.__subclasses__())
            while pending:
                subclass = pending.pop(0)
                pending.extend(subclass.__subclasses__())
                subject = hold.resolve(subclass)
                if subject is not None:
                    event_key.with_dispatch_target(subject).listen(raw=raw, propagate=False, retval=retval, **kw)

    def remove(self, event_key: Any) -> None:
        hold = event_key.dispatch_target
        if isinstance(hold, _EventsHold):
            del hold.all_holds[hold.class_][event_key._key]

    @classmethod
    def populate(cls, class_: type[Any], subject: Any) -> None:
        """Give a new target the listeners held for its class and, if they propagate, for its base classes."""
        for base in class_.__mro__:
            for event_key, raw, propagate, retval, kw in list(cls.all_holds.get(base, {}).values()):
                if propagate or base is class_:
                    event_key.with_dispatch_target(subject).listen(raw=raw, propagate=False, retval=retval, **kw)
