"""Session events: their names, which targets they accept, and the bits that say that somebody listens.

A Session asks its ``_event_bits`` before it builds a dispatch object; the native core asks the same bits before it
calls back for a lifecycle event, so that a session without listeners pays one test of an integer.
"""

from __future__ import annotations

import functools
import operator
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, exc

from .._core import Listener, live_sessions
from .._sa import _removed_from_collection, _stored_in_collection
from .scoping import scoped_session
from .session import Session, sessionmaker

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from ._execute_state import ORMExecuteState
    from ._session_transaction import SessionTransaction

_LIFECYCLE_BITS: dict[str, int] = {
    "before_attach": 1,
    "after_attach": 2,
    "transient_to_pending": 4,
    "pending_to_transient": 8,
    "persistent_to_transient": 16,
    "pending_to_persistent": 32,
    "persistent_to_deleted": 64,
    "deleted_to_persistent": 128,
    "deleted_to_detached": 256,
    "persistent_to_detached": 512,
    "detached_to_persistent": 1024,
    "loaded_as_persistent": 2048,
}
_EXECUTE_BIT = 1 << 13
_OTHER_BIT = 1 << 12


def _subclasses(cls: type[Session]) -> Iterator[type[Session]]:
    yield cls
    for sub in cls.__subclasses__():
        yield from _subclasses(sub)


class _Heard(event.RefCollection[Any]):
    """The listeners of one session, or class of sessions, that are its own: how many of each event.

    It stands in SQLAlchemy's registry beside the collections that hold the listeners, and so hears when one is removed.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, event_key: Any) -> None:
        """A listener comes. To be called before it enters its collection, so as to hear before that when it goes."""
        if _stored_in_collection(event_key, self):
            self._counts[event_key.identifier] += 1
            _tell(event_key.dispatch_target)

    def remove(self, event_key: Any) -> None:
        """A listener goes; called by SQLAlchemy."""
        _removed_from_collection(event_key, self)
        self._counts[event_key.identifier] -= 1
        _tell(event_key.dispatch_target)

    @property
    def bits(self) -> int:
        """The bits of the events that have a listener."""
        return functools.reduce(operator.or_, (_bit_of(name) for name, count in self._counts.items() if count), 0)


def _bit_of(identifier: str) -> int:
    return _EXECUTE_BIT if identifier == "do_orm_execute" else _LIFECYCLE_BITS.get(identifier, _OTHER_BIT)


_heard_by: weakref.WeakKeyDictionary[Session | type[Session], _Heard] = weakref.WeakKeyDictionary()


def _own_bits(target: Any) -> int:
    heard = _heard_by.get(target)
    return 0 if heard is None else heard.bits


def _tell(target: Session | type[Session]) -> None:
    """The target, and every live session it covers, learn which events have listeners."""
    if isinstance(target, type):
        for cls in _subclasses(target):
            cls._event_bits = functools.reduce(operator.or_, map(_own_bits, cls.__mro__))
        sessions = [session for session in live_sessions() if isinstance(session, target)]
    else:
        sessions = [target]
    for session in sessions:
        session._listen_bits(type(session)._event_bits | _own_bits(session))


class SessionEvents(event.Events[Session]):
    """Events of a Session; listen on a Session object or class, a sessionmaker or a scoped_session.

    Listeners of events about one object receive ``(session, instance)``, or the ``InstanceState`` in place of the
    instance when ``raw=True`` was given to ``listen()``.
    """

    _target_class_doc = "SomeSessionClassOrObject"
    _dispatch_target = Session

    @classmethod
    def _accept_with(cls, target: Any, identifier: str) -> Session | type | None:
        if isinstance(target, scoped_session):
            target = target.session_factory
            if not isinstance(target, sessionmaker) and (
                not isinstance(target, type) or not issubclass(target, Session)
            ):
                raise exc.ArgumentError(
                    "Session event listen on a scoped_session requires that its creation callable is associated "
                    "with the Session class."
                )
        if isinstance(target, sessionmaker):
            return target.class_
        if isinstance(target, type):
            if issubclass(target, scoped_session):
                return Session
            return target if issubclass(target, Session) else None
        if isinstance(target, Session):
            return target
        if hasattr(target, "_no_async_engine_events"):
            target._no_async_engine_events()
            return None
        return event.Events._accept_with(target, identifier)

    @classmethod
    def _listen(
        cls,
        event_key: Any,
        *,
        raw: bool = False,
        restore_load_context: bool = False,
        **kw: Any,
    ) -> None:
        fn = event_key._listen_fn
        if event_key.identifier not in _LIFECYCLE_BITS:
            pass
        elif restore_load_context:

            def deliver(session: Session, state: Any) -> Any:
                target = state if raw else state.obj()
                if target is None:
                    return None
                runid = state.runid
                try:
                    return fn(session, target)
                finally:
                    state.runid = runid

            event_key = event_key.with_wrapper(deliver)
        elif not raw:
            event_key = event_key.with_wrapper(Listener(fn, 1, needs_object=True))

        _heard_by.setdefault(event_key.dispatch_target, _Heard()).add(event_key)
        event_key.base_listen(**kw)

    # --- statements and transactions -------------------------------------------------------------------------------

    def do_orm_execute(self, orm_execute_state: ORMExecuteState) -> None:
        """A statement is about to be executed for the Session; may return a result in its place."""

    def after_transaction_create(self, session: Session, transaction: SessionTransaction) -> None:
        """A SessionTransaction was made."""

    def after_transaction_end(self, session: Session, transaction: SessionTransaction) -> None:
        """A SessionTransaction ended."""

    def before_commit(self, session: Session) -> None:
        """commit() was called; nothing was flushed for it yet."""

    def after_commit(self, session: Session) -> None:
        """The database committed; no SQL can be emitted."""

    def after_rollback(self, session: Session) -> None:
        """The database rolled back; no SQL can be emitted."""

    def after_soft_rollback(self, session: Session, previous_transaction: SessionTransaction) -> None:
        """Any transaction, also a subtransaction, was rolled back."""

    def after_begin(self, session: Session, transaction: SessionTransaction, connection: Connection) -> None:
        """A transaction began on a connection."""

    # --- flush -----------------------------------------------------------------------------------------------------

    def before_flush(self, session: Session, flush_context: Any, instances: Any) -> None:
        """A flush begins; objects may still be added and changed."""

    def after_flush(self, session: Session, flush_context: Any) -> None:
        """All statements went out; the session still shows the objects as new, dirty and deleted."""

    def after_flush_postexec(self, session: Session, flush_context: Any) -> None:
        """The flush is done and objects have their new states."""

    def after_bulk_update(self, update_context: Any) -> None:
        """An ORM-enabled UPDATE statement was executed."""

    def after_bulk_delete(self, delete_context: Any) -> None:
        """An ORM-enabled DELETE statement was executed."""

    # --- one object ------------------------------------------------------------------------------------------------

    def before_attach(self, session: Session, instance: Any) -> None:
        """An object is about to enter the session."""

    def after_attach(self, session: Session, instance: Any) -> None:
        """An object entered the session."""

    def transient_to_pending(self, session: Session, instance: Any) -> None:
        """add() of a transient object."""

    def pending_to_transient(self, session: Session, instance: Any) -> None:
        """A pending object left the session without having been flushed."""

    def persistent_to_transient(self, session: Session, instance: Any) -> None:
        """The INSERT of an object was rolled back."""

    def pending_to_persistent(self, session: Session, instance: Any) -> None:
        """The INSERT of an object was flushed."""

    def detached_to_persistent(self, session: Session, instance: Any) -> None:
        """A detached object was added."""

    def loaded_as_persistent(self, session: Session, instance: Any) -> None:
        """An object was built from a row."""

    def persistent_to_deleted(self, session: Session, instance: Any) -> None:
        """The DELETE of an object was flushed."""

    def deleted_to_persistent(self, session: Session, instance: Any) -> None:
        """The DELETE of an object was rolled back."""

    def deleted_to_detached(self, session: Session, instance: Any) -> None:
        """The DELETE of an object was committed."""

    def persistent_to_detached(self, session: Session, instance: Any) -> None:
        """A persistent object left the session."""
