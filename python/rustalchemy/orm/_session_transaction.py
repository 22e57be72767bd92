"""The transaction of a Session: connections, nesting and the frames of the unit of work.

A ``SessionTransaction`` is made by ``Session.begin()``, by autobegin, for a SAVEPOINT, and (as a *subtransaction*)
around every flush. Roots and SAVEPOINTs own a frame in the native unit of work, which knows what has to be restored on
rollback.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any, NoReturn, cast

from sqlalchemy import exc as sa_exc
from sqlalchemy import util
from sqlalchemy.engine import Connection
from sqlalchemy.engine.util import TransactionalContext

from .. import _sa
from . import exc
from ._lane import Lane
from ._lane_savepoint import LaneSavepoint
from .state_changes import _StateChange, _StateChangeState, _StateChangeStates

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.engine.base import Transaction, TwoPhaseTransaction
    from sqlalchemy.engine.interfaces import CoreExecuteOptionsParameter

    from .session import Session

#: Connection, its transaction, whether commit() commits it, whether close() closes the connection.
_ConnectionEntry = tuple["Connection", "Transaction", bool, bool]


class SessionTransactionState(_StateChangeState):
    """Where a SessionTransaction is in its life."""

    ACTIVE = 1
    PREPARED = 2
    COMMITTED = 3
    DEACTIVE = 4
    CLOSED = 5
    PROVISIONING_CONNECTION = 6


ACTIVE, PREPARED, COMMITTED, DEACTIVE, CLOSED, PROVISIONING_CONNECTION = tuple(SessionTransactionState)


class SessionTransactionOrigin(Enum):
    """What made a SessionTransaction begin."""

    AUTOBEGIN = 0
    """started by autobegin"""

    BEGIN = 1
    """started by :meth:`.Session.begin`"""

    BEGIN_NESTED = 2
    """started by :meth:`.Session.begin_nested`"""

    SUBTRANSACTION = 3
    """the internal transaction around a flush"""


class _SessionCloseState(Enum):
    """Whether a Session may be used after ``close()``."""

    ACTIVE = 1
    CLOSED = 2
    CLOSE_IS_RESET = 3


class SessionTransaction(_StateChange, TransactionalContext):
    """One level of transaction of a Session: root, SAVEPOINT, or the subtransaction of a flush."""

    _rollback_exception: BaseException | None = None
    _owns_frame: bool = False
    _frame: int
    # the way past Core on the connection of the session's only bind, once it was asked for
    _lane: Lane | None = None
    # what commits or rolls back this level while its lane is bare: the lane itself, or the SAVEPOINT on it
    _lane_end: Lane | LaneSavepoint | None = None
    nested: bool = False

    def __init__(
        self,
        session: Session,
        origin: SessionTransactionOrigin,
        parent: SessionTransaction | None = None,
    ) -> None:
        _sa.trans_ctx_check(session)

        self.session = session
        # each connection once, and by what it may be asked for: itself and its engine
        self._entries: list[_ConnectionEntry] = []
        self._connections: dict[Engine | Connection, _ConnectionEntry] = {}
        self._parent = parent
        self.nested = nested = origin is SessionTransactionOrigin.BEGIN_NESTED
        self.origin = origin
        # the transaction around a subtransaction that has the connections; no reference to itself, which only the
        # garbage collector could undo
        self._outer_boundary: SessionTransaction | None = (
            None if nested or parent is None else parent._connections_boundary
        )

        if session._close_state is _SessionCloseState.CLOSED:
            raise sa_exc.InvalidRequestError(
                "This Session has been permanently closed and is unable to handle any more transaction requests."
            )
        if nested:
            if parent is None:
                raise sa_exc.InvalidRequestError(
                    "Can't start a SAVEPOINT transaction when no existing transaction is in progress"
                )
            self._previous_nested_transaction = session._nested_transaction
        elif origin is SessionTransactionOrigin.SUBTRANSACTION:
            assert parent is not None
        else:
            assert parent is None

        self._state = ACTIVE
        if origin is not SessionTransactionOrigin.SUBTRANSACTION:
            self._take_snapshot()
        # listeners may ask the session for its transaction
        session._transaction = self
        if session._event_bits:
            session.dispatch.after_transaction_create(session, self)

    def _before_refusal(self) -> None:
        self.session._uow_check_use()

    def _raise_for_prerequisite_state(self, operation_name: str, state: _StateChangeState) -> NoReturn:
        self.session._uow_check_use()
        if state is DEACTIVE:
            if self._rollback_exception:
                raise sa_exc.PendingRollbackError(
                    "This Session's transaction has been rolled back due to a previous exception during flush."
                    " To begin a new transaction with this Session, first issue Session.rollback()."
                    f" Original exception was: {self._rollback_exception}",
                    code="7s2a",
                )
            raise sa_exc.InvalidRequestError(
                "This session is in 'inactive' state, due to the SQL transaction being rolled back; no further SQL "
                "can be emitted within this transaction."
            )
        if state is CLOSED:
            raise sa_exc.ResourceClosedError("This transaction is closed")
        if state is PROVISIONING_CONNECTION:
            raise sa_exc.InvalidRequestError(
                "This session is provisioning a new connection; concurrent operations are not permitted",
                code="isce",
            )
        raise sa_exc.InvalidRequestError(
            f"This session is in '{state.name.lower()}' state; no further SQL can be emitted within this transaction."
        )

    @property
    def _connections_boundary(self) -> SessionTransaction:
        """The transaction that has the connections: itself, or for a subtransaction the one around it."""
        return self._outer_boundary or self

    # --- what it is ------------------------------------------------------------------------------------------------

    @property
    def parent(self) -> SessionTransaction | None:
        """The enclosing transaction; ``None`` for the root."""
        return self._parent

    @property
    def is_active(self) -> bool:
        return self.session is not None and self._state is ACTIVE

    @property
    def _is_transaction_boundary(self) -> bool:
        return self.nested or not self._parent

    @property
    def connections(self) -> frozenset[Connection]:
        """The connections acquired so far, also after the transaction ended. A SAVEPOINT lists only its own."""
        boundary = self._connections_boundary
        boundary._materialize()
        return frozenset(entry[0] for entry in boundary._entries)

    def bound_connection(self, bindkey: Any = None, **kwargs: Any) -> Connection:
        """The connection already acquired for this bind key; InvalidRequestError if there is none."""
        bind = self.session.get_bind(bindkey, **kwargs)
        boundary = self._connections_boundary
        boundary._materialize()
        entry = boundary._connections.get(bind)
        if entry is None:
            raise sa_exc.InvalidRequestError(f"This transaction has not acquired a connection for bind {bind!r}")
        return entry[0]

    def _begin_flush(self) -> SessionTransaction:
        """``_begin()`` of a subtransaction, past the state guard."""
        if self._state is not ACTIVE:
            self._raise_for_prerequisite_state("_begin", self._state)
        return SessionTransaction(self.session, SessionTransactionOrigin.SUBTRANSACTION, self)

    def _end_flush(self) -> None:
        """``commit()`` of a subtransaction; at once if nobody listens and nobody has ended it meanwhile."""
        session = self.session
        if session._event_bits or self._state is not ACTIVE or session._transaction is not self:
            self.commit()
        else:
            session._transaction = self._parent
            self._state = CLOSED

    def _iterate_self_and_parents(self, upto: SessionTransaction | None = None) -> Iterable[SessionTransaction]:
        result: list[SessionTransaction] = []
        current: SessionTransaction | None = self
        while current is not None:
            result.append(current)
            if current._parent is upto:
                break
            if current._parent is None:
                raise sa_exc.InvalidRequestError(f"Transaction {upto} is not on the active transaction list")
            current = current._parent
        return result

    # --- frames of the unit of work --------------------------------------------------------------------------------

    def _take_snapshot(self) -> None:
        session = self.session
        if self.nested and not session._flushing:
            # pending work goes out before the SAVEPOINT, so that it survives the rollback of it
            session.flush()
        self._frame = session._uow_begin(self.nested)
        self._owns_frame = True

    def _restore_snapshot(self) -> None:
        if not self._owns_frame:
            # the frame is gone with the first restore; what came later needs one of its own to be undone
            self.session._uow_begin(self.nested)
        self._owns_frame = False
        self.session._uow_rollback()

    def _remove_snapshot(self) -> None:
        if self._owns_frame:
            self._owns_frame = False
            self.session._uow_commit(not self.nested and self.session.expire_on_commit)

    # --- the lane of the session's only bind -------------------------------------------------------------------------

    def _lane_for_bind(self, bind: Engine | Connection) -> Lane | None:
        """The lane on a bind, bare if this transaction has no connection yet; None when Core has to see statements."""
        if self._state is not ACTIVE:
            self._raise_for_prerequisite_state("_connection_for_bind", self._state)
        if self._connections_boundary is not self:
            return self._connections_boundary._lane_for_bind(bind)
        if self._lane is None and not self._entries and not self.session._event_bits:
            self._state = PROVISIONING_CONNECTION
            try:
                self._begin_on_lane(bind)
            finally:
                self._state = ACTIVE
        lane = self._lane
        if lane is None or not lane.is_open() or lane.engine is not bind:
            self._lane = lane = Lane.of(self._connection_for_bind(bind, None))
        return lane

    def _begin_on_lane(self, bind: Engine | Connection) -> None:
        """Begin this level on a bare lane, if that is possible: as a root on a new one, or as a SAVEPOINT."""
        session = self.session
        parent = self._parent
        if parent is None:
            if not session.twophase and not session.execution_options:
                self._lane = self._lane_end = session._uow_use(Lane.acquire, bind, self)
            return
        lane = parent._lane_for_bind(bind)
        if lane is not None and lane.is_bare:
            self._lane_end = session._uow_use(LaneSavepoint.begin, lane, self)
            if self._lane_end is not None:
                self._lane = lane

    def _materialize(self) -> None:
        """Put a Connection in the place of a bare lane."""
        if self._lane_end is not None and self._lane is not None:
            _ = self._lane.connection

    def _ending_lane(self) -> Lane | LaneSavepoint | None:
        """What ends this level on its bare lane; None if there is none, or if somebody wants to see the end."""
        lane = self._lane
        if self._lane_end is not None and lane is not None and (self.session._event_bits or not lane.is_open()):
            self._materialize()
        return self._lane_end

    def adopt_connection(self, connection: Connection, transaction: Transaction) -> None:
        """Take the Connection that was made for a bare lane, and its transaction for this level."""
        self._lane_end = None
        self._enter(connection, transaction, True, True)

    def _enter(self, connection: Connection, transaction: Transaction, should_commit: bool, autoclose: bool) -> None:
        entry = (connection, transaction, should_commit, autoclose)
        self._entries.append(entry)
        self._connections[connection] = self._connections[connection.engine] = entry

    # --- connections -----------------------------------------------------------------------------------------------

    @_StateChange.declare_states((ACTIVE,), _StateChangeStates.NO_CHANGE)
    def connection(
        self,
        bindkey: Any,
        execution_options: CoreExecuteOptionsParameter | None = None,
        **kwargs: Any,
    ) -> Connection:
        bind = self.session.get_bind(bindkey, **kwargs)
        return self._connection_for_bind(bind, execution_options)

    @_StateChange.declare_states((ACTIVE,), _StateChangeStates.NO_CHANGE)
    def _begin(self, nested: bool = False) -> SessionTransaction:
        origin = SessionTransactionOrigin.BEGIN_NESTED if nested else SessionTransactionOrigin.SUBTRANSACTION
        return SessionTransaction(self.session, origin, self)

    @_StateChange.declare_states((ACTIVE,), _StateChangeStates.NO_CHANGE)
    def _connection_for_bind(
        self,
        bind: Engine | Connection,
        execution_options: CoreExecuteOptionsParameter | None,
    ) -> Connection:
        self._materialize()
        entry = self._connections.get(bind)
        if entry is not None:
            if execution_options:
                util.warn("Connection is already established for the given bind; execution_options ignored")
            return entry[0]

        self._state = PROVISIONING_CONNECTION
        try:
            return self._provision_connection(bind, execution_options)
        finally:
            self._state = ACTIVE

    def _provision_connection(
        self,
        bind: Engine | Connection,
        execution_options: CoreExecuteOptionsParameter | None,
    ) -> Connection:
        session = self.session
        parent = self._parent
        local_connect = False
        if parent is not None:
            # the root applies execution options, or warns that it is too late for them
            conn = parent._connection_for_bind(bind, execution_options)
            if not self.nested:
                return conn
        elif isinstance(bind, Connection):
            conn = bind
            if conn.engine in self._connections:
                raise sa_exc.InvalidRequestError(
                    "Session already has a Connection associated for the given Connection's Engine"
                )
        else:
            conn = session._uow_use(bind.connect)
            local_connect = True

        try:
            if parent is None and (session.execution_options or execution_options):
                conn = conn.execution_options(**{**session.execution_options, **(execution_options or {})})
            transaction, should_commit = self._begin_on(conn, local_connect)
        except BaseException:
            # not ours yet: would otherwise be closed by the garbage collector
            if local_connect:
                conn.close()
            raise

        self._enter(conn, transaction, should_commit, not isinstance(bind, Connection))
        if conn.dialect.is_async:
            session._uow_switches_tasks()
        if session._event_bits:
            session.dispatch.after_begin(session, self, conn)
        return conn

    def _begin_on(self, conn: Connection, local_connect: bool) -> tuple[Transaction, bool]:
        """Begin, or join, a transaction on a connection; also says whether commit() is ours to call."""
        session = self.session
        if session.twophase and self._parent is None:
            return conn.begin_twophase(), True
        if self.nested:
            return conn.begin_nested(), True
        if not conn.in_transaction():
            return conn.begin(), True
        if local_connect:
            joined: Transaction | None = conn.get_transaction()
            assert joined is not None
            return joined, True

        mode = session.join_transaction_mode
        if mode == "conditional_savepoint":
            mode = "create_savepoint" if conn.in_nested_transaction() else "rollback_only"
        if mode == "create_savepoint":
            return conn.begin_nested(), True
        joined = conn.get_nested_transaction() or conn.get_transaction()
        assert joined is not None
        return joined, mode != "rollback_only"

    # --- ends ------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        if self._parent is not None or not self.session.twophase:
            raise sa_exc.InvalidRequestError("'twophase' mode not enabled, or not root transaction; can't prepare.")
        self._prepare_impl()

    @_StateChange.declare_states((ACTIVE,), PREPARED)
    def _prepare_impl(self) -> None:
        session = self.session
        if (self._parent is None or self.nested) and session._event_bits:
            session.dispatch.before_commit(session)

        stx = session._transaction
        assert stx is not None
        if stx is not self:
            for subtransaction in stx._iterate_self_and_parents(upto=self):
                subtransaction.commit()

        if not session._flushing:
            for _ in range(100):
                if session._uow_is_clean():
                    break
                session.flush()
            else:
                raise exc.FlushError(
                    "Over 100 subsequent flushes have occurred within session.commit() - is an after_flush() hook "
                    "creating new objects?"
                )

        if self._parent is None and session.twophase:
            try:
                for entry in self._entries:
                    cast("TwoPhaseTransaction", entry[1]).prepare()
            except BaseException:
                with util.safe_reraise(), self._expect_state(CLOSED):
                    self.rollback()

        self._state = PREPARED

    @_StateChange.declare_states((ACTIVE, PREPARED), CLOSED)
    def commit(self, _to_root: bool = False) -> None:
        self.session._uow_check_use()
        if self._state is not PREPARED:
            with self._expect_state(PREPARED):
                self._prepare_impl()

        if self._parent is None or self.nested:
            ending = self._ending_lane()
            if ending is not None:
                self.session._uow_use(ending.commit)
                self._lane_end = None
            for _, trans, should_commit, _ in self._entries:
                if should_commit:
                    self.session._uow_use(trans.commit)

            self._state = COMMITTED
            if self.session._event_bits:
                self.session.dispatch.after_commit(self.session)
            self._remove_snapshot()

        with self._expect_state(CLOSED):
            self.close()

        if _to_root and self._parent:
            self._parent.commit(_to_root=True)

    def _commit_lane(self) -> bool:
        """``commit()`` of a root nobody listens to that has a bare lane or no connection at all.

        False if that is not, or after the flush no longer, what this transaction is: ``commit()`` then has to do it.
        To whom the flush calls, and to other threads, the guards look as they do in ``commit()``.
        """
        session = self.session
        if (
            session._event_bits
            or self._state is not ACTIVE
            or self._parent is not None
            or self._next_state is not _StateChangeStates.ANY
            or session.twophase
        ):
            return False
        self._next_state = _StateChangeStates.CHANGE_IN_PROGRESS
        try:
            if not session._uow_is_clean() and not session._flushing:
                self._current_fn = SessionTransaction._prepare_impl
                session.flush()
            lane = self._lane
            self._ending_lane()
            if (
                self._entries
                or session._event_bits
                or self._state is not ACTIVE
                or not session._uow_is_clean()
                or session._transaction is not self
            ):
                return False
            self._current_fn = SessionTransaction.commit
            self._state = PREPARED
            if lane is not None:
                session._uow_use(lane.commit)
                self._lane_end = None
            self._state = COMMITTED
            self._remove_snapshot()
            session._transaction = None
            if lane is not None:
                self._lane = None
                lane.release()
            self._state = CLOSED
        finally:
            self._next_state = _StateChangeStates.ANY
            self._current_fn = None
        if session._event_bits:
            session.dispatch.after_transaction_end(session, self)
        return True

    @_StateChange.declare_states((ACTIVE, DEACTIVE, PREPARED), CLOSED)
    def rollback(self, _capture_exception: bool = False, _to_root: bool = False) -> None:
        session = self.session
        session._uow_check_use()
        stx = session._transaction
        assert stx is not None
        if stx is not self:
            for subtransaction in stx._iterate_self_and_parents(upto=self):
                subtransaction.close()

        boundary = self
        rollback_err: BaseException | None = None
        if self._state in (ACTIVE, PREPARED):
            for transaction in self._iterate_self_and_parents():
                if transaction._parent is not None and not transaction.nested:
                    transaction._state = DEACTIVE
                    continue
                try:
                    ending = transaction._ending_lane()
                    if ending is not None:
                        transaction._lane_end = None
                        session._uow_use(ending.rollback)
                    for entry in transaction._entries:
                        session._uow_use(entry[1].rollback)
                    transaction._state = DEACTIVE
                    if session._event_bits:
                        session.dispatch.after_rollback(session)
                except BaseException as err:
                    rollback_err = err
                finally:
                    transaction._state = DEACTIVE
                    transaction._restore_snapshot()
                boundary = transaction
                break

        if rollback_err is None and not session._uow_is_clean():
            util.warn("Session's state has been changed on a non-active transaction - this state will be discarded.")
            boundary._restore_snapshot()

        with self._expect_state(CLOSED):
            self.close()

        if self._parent and _capture_exception:
            self._parent._rollback_exception = sys.exc_info()[1]

        if rollback_err is not None:
            raise rollback_err

        if session._event_bits:
            session.dispatch.after_soft_rollback(session, self)

        if _to_root and self._parent:
            self._parent.rollback(_to_root=True)

    @_StateChange.declare_states(_StateChangeStates.ANY, CLOSED)
    def close(self, invalidate: bool = False) -> None:
        session = self.session
        if self.nested:
            session._nested_transaction = self._previous_nested_transaction
        session._transaction = self._parent

        lane = self._lane
        if lane is not None:
            if invalidate:
                self._materialize()
            ending = self._ending_lane()
            if ending is not None:
                self._lane_end = None
                ending.rollback()
            self._lane = None
            if self._parent is None and lane.is_bare:
                lane.release()

        for connection, transaction, should_commit, autoclose in self._entries:
            if invalidate and self._parent is None:
                connection.invalidate()
            if should_commit and transaction.is_active:
                transaction.close()
            if autoclose and self._parent is None:
                connection.close()

        if self._owns_frame:
            # closed without commit or rollback: objects keep the states they have
            self._owns_frame = False
            session._uow_forget_frame(self._frame)
        self._state = CLOSED
        if session._event_bits:
            session.dispatch.after_transaction_end(session, self)

    # --- TransactionalContext --------------------------------------------------------------------------------------

    def _get_subject(self) -> Session:
        return self.session

    def _transaction_is_active(self) -> bool:
        return self._state is ACTIVE

    def _transaction_is_closed(self) -> bool:
        return self._state is CLOSED

    def _rollback_can_be_called(self) -> bool:
        return self._state not in (COMMITTED, CLOSED)
