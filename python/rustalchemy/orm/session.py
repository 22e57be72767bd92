"""The Session: the user's handle on one unit of work and its identity map.

Everything that happens once per object (add, delete, expire, object states, the identity map) is inherited from the
native ``_core.UnitOfWork``. This class adds what happens once per call: construction, transactions, flush, binds,
statements.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast, overload

from sqlalchemy import exc as sa_exc
from sqlalchemy import util
from sqlalchemy.event import EventTarget

from .. import _core, _sa
from . import attributes, exc
from ._execute_state import ORMExecuteState
from ._expired_peers import OnExpired, is_batch
from ._listeners import collections_of
from ._on_lazy import OnLazy, watch_lazy_loads
from ._session_bulk import BulkOperations
from ._session_loading import ObjectLoading
from ._session_query import QueryFactory
from ._session_transaction import SessionTransaction
from ._transaction_states import (
    ACTIVE,
    AUTOBEGIN,
    BEGIN,
    CLOSED,
    COMMITTED,
    DEACTIVE,
    PREPARED,
    PROVISIONING_CONNECTION,
    SESSION_ACTIVE,
    SESSION_CLOSE_IS_RESET,
    SESSION_CLOSED,
    SessionTransactionOrigin,
    SessionTransactionState,
    _SessionCloseState,
)
from .base import PassiveFlag, object_state
from .unitofwork import UOWTransaction

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

    from ._typing import _IdentityKeyType
    from .query import Query
    from .state import InstanceState

__all__ = [
    "ACTIVE",
    "CLOSED",
    "COMMITTED",
    "DEACTIVE",
    "PREPARED",
    "PROVISIONING_CONNECTION",
    "ORMExecuteState",
    "Session",
    "SessionTransaction",
    "SessionTransactionOrigin",
    "SessionTransactionState",
    "close_all_sessions",
    "create_session",
    "make_transient",
    "make_transient_to_detached",
    "object_session",
    "sessionmaker",
]

JoinTransactionMode = Literal["conditional_savepoint", "rollback_only", "control_fully", "create_savepoint"]
_JOIN_TRANSACTION_MODES = frozenset(JoinTransactionMode.__args__)  # type: ignore[attr-defined]


def _instance_state(instance: object) -> InstanceState:
    try:
        return attributes.instance_state(instance)
    except exc.NO_STATE as err:
        raise exc.UnmappedInstanceError(instance) from err


class _SessionClassMethods:
    """Class methods that Session and sessionmaker share."""

    @classmethod
    def identity_key(
        cls,
        class_: type[Any] | None = None,
        ident: Any = None,
        *,
        instance: Any = None,
        row: Any = None,
        identity_token: Any = None,
    ) -> _IdentityKeyType[Any]:
        """The identity key of a class and primary key, of an instance, or of a row."""
        from .util import identity_key

        return identity_key(class_, ident, instance=instance, row=row, identity_token=identity_token)

    @classmethod
    def object_session(cls, instance: object) -> Session | None:
        """The Session an object is in, or None."""
        return object_session(instance)


class Session(_SessionClassMethods, ObjectLoading, BulkOperations, QueryFactory, _core.UnitOfWork, EventTarget):
    """One unit of work with its identity map, its transaction and its connections."""

    _is_asyncio = False
    dispatch: Any

    # Defaults live in the class: a new session then only stores what differs.
    bind: Engine | Connection | None = None
    binds: Mapping[Any, Engine | Connection] = util.EMPTY_DICT
    autobegin: bool = True
    autoflush: bool = True
    expire_on_commit: bool = True
    enable_baked_queries: bool = True
    twophase: bool = False
    join_transaction_mode: JoinTransactionMode = "conditional_savepoint"
    execution_options: Mapping[str, Any] = util.EMPTY_DICT
    connection_callable: Any = None
    _close_state: _SessionCloseState = SESSION_CLOSE_IS_RESET
    _flushing: bool = False
    # what a flush looked up of dynamic collections: (state, attribute) -> members
    _flush_members: dict[Any, list[Any]] | None = None
    # what happens where an attribute would be loaded lazily
    on_lazy: OnLazy = "load"
    _warn_on_events: bool = False
    _transaction: SessionTransaction | None = None
    _nested_transaction: SessionTransaction | None = None
    # which events have listeners, see _session_events
    _event_bits: int = 0

    def __init__(
        self,
        bind: Engine | Connection | None = None,
        *,
        autoflush: bool = True,
        future: Literal[True] = True,
        expire_on_commit: bool = True,
        autobegin: bool = True,
        twophase: bool = False,
        binds: Mapping[Any, Engine | Connection] | None = None,
        enable_baked_queries: bool = True,
        info: Mapping[Any, Any] | None = None,
        query_cls: type[Query[Any]] | None = None,
        autocommit: Literal[False] = False,
        join_transaction_mode: JoinTransactionMode = "conditional_savepoint",
        close_resets_only: bool | _sa._NoArg = _sa._NoArg.NO_ARG,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        on_lazy: OnLazy = "load",
        on_expired: OnExpired = "load",
        read_only: bool = False,
    ) -> None:
        if autocommit:
            raise sa_exc.ArgumentError("autocommit=True is no longer supported")
        if not future:
            raise sa_exc.ArgumentError("The 'future' parameter passed to Session() may only be set to True.")
        if join_transaction_mode != "conditional_savepoint":
            if join_transaction_mode and join_transaction_mode not in _JOIN_TRANSACTION_MODES:
                raise sa_exc.ArgumentError(f'invalid selection for join_transaction_mode: "{join_transaction_mode}"')
            self.join_transaction_mode = join_transaction_mode
        if bind is not None:
            self.bind = bind
        if not autoflush:
            self.autoflush = autoflush
        if not expire_on_commit:
            self.expire_on_commit = expire_on_commit
        if not autobegin:
            self.autobegin = autobegin
        if twophase:
            self.twophase = twophase
        if not enable_baked_queries:
            self.enable_baked_queries = enable_baked_queries
        if read_only:
            self._uow_read_only = True
        if on_expired != "load":
            self._uow_refreshes_peers = is_batch(on_expired)
        if on_lazy != "load":
            self.on_lazy = watch_lazy_loads(on_lazy)
        if execution_options:
            self.execution_options = util.immutabledict({**self.execution_options, **execution_options})
        if not close_resets_only:
            self._close_state = SESSION_ACTIVE
            self._uow_closes_for_good = True
        if query_cls is not None:
            self._given_query_cls = query_cls
        if info:
            self.info.update(info)
        if binds is not None:
            for key, bound in binds.items():
                self._add_bind(key, bound)
        self._uow_open()

    @contextmanager
    def _maker_context_manager(self) -> Iterator[Session]:
        with self, self.begin():
            yield self

    @util.memoized_property
    def info(self) -> dict[Any, Any]:
        """A dictionary for the user's own purposes."""
        return {}

    @property
    def on_expired(self) -> OnExpired:
        """Whether expired objects are loaded again one by one, or with their peers."""
        return "batch" if self._uow_refreshes_peers else "load"

    @property
    def read_only(self) -> bool:
        """Whether this session refuses everything that would have to be written."""
        return self._uow_read_only

    # --- transactions ----------------------------------------------------------------------------------------------

    def in_transaction(self) -> bool:
        """True if a transaction began, on the session if not yet on a connection."""
        return self._transaction is not None

    def in_nested_transaction(self) -> bool:
        """True if a SAVEPOINT is open."""
        return self._nested_transaction is not None

    def get_transaction(self) -> SessionTransaction | None:
        """The root transaction, or None."""
        trans = self._transaction
        while trans is not None and trans._parent is not None:
            trans = trans._parent
        return trans

    def get_nested_transaction(self) -> SessionTransaction | None:
        """The innermost SAVEPOINT, or None."""
        return self._nested_transaction

    @property
    def is_active(self) -> bool:
        """False while the session waits for rollback() after a failed flush."""
        return self._transaction is None or self._transaction.is_active

    def _autobegin_t(self, begin: bool = False) -> SessionTransaction:
        if self._transaction is not None:
            return self._transaction
        if not begin and not self.autobegin:
            raise sa_exc.InvalidRequestError(
                "Autobegin is disabled on this Session; please call session.begin() to start a new transaction"
            )
        return SessionTransaction(self, BEGIN if begin else AUTOBEGIN)

    def begin(self, nested: bool = False) -> SessionTransaction:
        """Begin a transaction, or a SAVEPOINT; the result is a context manager."""
        trans = self._transaction
        if trans is None:
            trans = SessionTransaction(self, SessionTransactionOrigin.BEGIN)
            if not nested:
                return trans
        if not nested:
            raise sa_exc.InvalidRequestError("A transaction is already begun on this Session.")
        self._nested_transaction = trans = trans._begin_nested()
        return trans

    def begin_nested(self) -> SessionTransaction:
        """Begin a SAVEPOINT; pending work is flushed before it."""
        return self.begin(nested=True)

    def rollback(self) -> None:
        """Roll back the whole transaction; nothing happens if there is none."""
        if self._transaction is not None:
            self._transaction.rollback(_to_root=True)

    def commit(self) -> None:
        """Flush, and commit the whole transaction."""
        (self._transaction or self._autobegin_t()).commit(_to_root=True)

    def prepare(self) -> None:
        """Prepare a two-phase transaction for commit."""
        (self._transaction or self._autobegin_t()).prepare()

    # --- end of use ------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """As ``close()``, but the session may always be used again."""
        self._close_impl(invalidate=False, is_reset=True)

    def invalidate(self) -> None:
        """As ``close()``, and the connections are not given back to their pool but dropped."""
        self._close_impl(invalidate=True)

    def _close_impl(self, invalidate: bool, is_reset: bool = False) -> None:
        if not is_reset and self._close_state is SESSION_ACTIVE:
            self._close_state = SESSION_CLOSED
        self.expunge_all()
        if self._transaction is not None:
            for transaction in self._transaction._iterate_self_and_parents():
                transaction.close(invalidate)

    # --- objects: what the native base leaves to Python -------------------------------------------------------------

    def delete_all(self, instances: Iterable[object]) -> None:
        """``delete()`` of several objects."""
        for instance in instances:
            self.delete(instance)

    def is_modified(self, instance: object, include_collections: bool = True) -> bool:
        """Whether an object has net changes; what is not loaded is not loaded for it."""
        state = object_state(instance)
        if not state.modified:
            return False
        for attribute in state.manager.attributes:
            impl = attribute.impl
            if impl is None or (impl.collection and not include_collections):
                continue
            history = impl.get_history(state, state.dict, PassiveFlag.NO_CHANGE)
            if history.added or history.deleted:
                return True
        return False

    def enable_relationship_loading(self, obj: object) -> None:
        """Let a transient or detached object load its relationships through this session, by its foreign keys."""
        self._uow_enable_relationship_loading(_instance_state(obj))

    def _contains_state(self, state: InstanceState) -> bool:
        obj = state.obj()
        return obj is not None and obj in self

    def _register_altered(self, states: Iterable[Any]) -> None:
        """Note states that a statement changed, so that a rollback expires them."""
        self._uow_register_altered(list(states))

    def _remove_newly_deleted(self, states: Iterable[Any]) -> None:
        """Make states deleted whose rows a statement has deleted."""
        self._uow_register_deleted(list(states))

    def _listen_bits(self, bits: int) -> None:
        """Note that events have listeners, here and in the native core."""
        self._event_bits = bits
        self._uow_set_events(bits)

    def _state_listeners(self, event: str) -> tuple[Any, Any]:
        """Where the listeners of an event about single objects are kept, for the native core."""
        return collections_of(self.dispatch, event)

    def _flush_warning(self, method: str) -> None:
        util.warn(
            f"Usage of the '{method}' operation is not currently supported within the execution stage of the flush "
            "process. Results may not be consistent.  Consider using alternative event listeners or connection-level "
            "operations instead."
        )

    # --- flush -----------------------------------------------------------------------------------------------------

    def plan(self) -> _core.FlushPlan:
        """What a flush would do now, as a value that can be printed, drawn and asked.

        Nothing is sent and nothing changes: what a flush would have to load first is named in ``plan.notes``, and
        ``before_flush`` listeners do not run. Raises what the flush would raise when it puts its work in order
        (``CircularDependencyError``, ``FlushError``).
        """
        if self._flushing:
            self._uow_check_use()
            raise sa_exc.InvalidRequestError("Session is already flushing")
        self._flushing = True
        try:
            return self._uow_preview()
        finally:
            self._flushing = False

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        """Turn pending changes into SQL now."""
        if self._flushing:
            self._uow_check_use()
            raise sa_exc.InvalidRequestError("Session is already flushing")
        if self._uow_is_clean():
            return
        if objects:
            util.warn_deprecated("The `objects` parameter of `Session.flush` is deprecated", "2.1")
            objects = [_instance_state(instance).obj() for instance in objects]
        self._flushing = True
        try:
            if self._event_bits:
                # a listener may let other threads and tasks run: they find the session in use, not half flushed
                self._uow_use(UOWTransaction(self).flush, objects)
            else:
                UOWTransaction(self).flush(objects)
        finally:
            self._flushing = False
            if self._flush_members is not None:
                self._flush_members = None

    def _is_clean(self) -> bool:
        return self._uow_is_clean()


_S = TypeVar("_S", bound=Session)


class sessionmaker(_SessionClassMethods, Generic[_S]):
    """A factory of sessions with the same arguments; also a target for session events."""

    class_: type[_S]

    @overload
    def __init__(
        self,
        bind: Engine | Connection | None = ...,
        *,
        class_: type[_S],
        autoflush: bool = ...,
        expire_on_commit: bool = ...,
        info: Mapping[Any, Any] | None = ...,
        **kw: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: sessionmaker[Session],
        bind: Engine | Connection | None = ...,
        *,
        autoflush: bool = ...,
        expire_on_commit: bool = ...,
        info: Mapping[Any, Any] | None = ...,
        **kw: Any,
    ) -> None: ...
    def __init__(
        self,
        bind: Engine | Connection | None = None,
        *,
        class_: type[_S] = Session,  # type: ignore[assignment]
        autoflush: bool = True,
        expire_on_commit: bool = True,
        info: Mapping[Any, Any] | None = None,
        **kw: Any,
    ) -> None:
        kw["bind"] = bind
        kw["autoflush"] = autoflush
        kw["expire_on_commit"] = expire_on_commit
        if info is not None:
            kw["info"] = info
        self.kw = kw
        # a class of its own, so that events can be listened to for this factory alone
        self.class_ = cast("type[_S]", type(class_.__name__, (class_,), {}))

    def begin(self) -> AbstractContextManager[_S]:
        """A new session inside a new transaction, both ended by the context manager."""
        return self()._maker_context_manager()  # type: ignore[return-value]

    def __call__(self, **local_kw: Any) -> _S:
        kw = {**self.kw, **local_kw}
        if "info" in local_kw and "info" in self.kw:
            kw["info"] = {**self.kw["info"], **local_kw["info"]}
        return self.class_(**kw)

    def configure(self, **new_kw: Any) -> None:
        """Change the arguments of sessions made from now on."""
        self.kw.update(new_kw)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.kw.items())
        return f"{self.__class__.__name__}(class_={self.class_.__name__!r}, {arguments})"


_core.construct_sessions_natively(Session, sessionmaker)


def close_all_sessions() -> None:
    """Close every session that is alive."""
    for session in _core.live_sessions():
        session.close()


def create_session(bind: Any = None, **kwargs: Any) -> Session:
    """A Session without autoflush and without expiry on commit unless asked for; prefer :class:`sessionmaker`."""
    return Session(bind=bind, **{"autoflush": False, "expire_on_commit": False, **kwargs})


def object_session(instance: object) -> Session | None:
    """The Session an object is in, or None."""
    return _instance_state(instance).session


def make_transient(instance: object) -> None:
    """Take an object out of its session and make it transient; expired attributes become None."""
    _core.make_transient(_instance_state(instance).obj())


def make_transient_to_detached(instance: object) -> None:
    """Make a transient object with a primary key detached; what is not loaded counts as expired."""
    state = _instance_state(instance)
    if state.session_id or state.key:
        raise sa_exc.InvalidRequestError("Given object must be transient")
    _core.make_transient_to_detached(instance)


def _state_session(state: InstanceState) -> Session | None:
    return state.session
