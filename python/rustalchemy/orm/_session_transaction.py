"""The transaction of a Session: connections, nesting and the frames of the unit of work.

A ``SessionTransaction`` is made by ``Session.begin()``, by autobegin, for a SAVEPOINT, and (as a *subtransaction*)
around every flush. Roots and SAVEPOINTs own a frame in the native unit of work, which knows what has to be restored on
rollback.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, NoReturn, cast

from sqlalchemy import exc as sa_exc
from sqlalchemy import util
from sqlalchemy.engine.util import TransactionalContext

from . import exc
from ._transaction_connections import TransactionConnections
from ._transaction_states import (
    ACTIVE,
    BEGIN_NESTED,
    CLOSED,
    COMMITTED,
    DEACTIVE,
    PREPARED,
    PROVISIONING_CONNECTION,
    SESSION_CLOSED,
    SUBTRANSACTION,
    SessionTransactionOrigin,
)
from .state_changes import ANY, CHANGE_IN_PROGRESS, NO_CHANGE, _StateChange, _StateChangeState

if TYPE_CHECKING:
    from sqlalchemy.engine.base import TwoPhaseTransaction

    from .session import Session


class SessionTransaction(TransactionConnections, TransactionalContext):
    """One level of transaction of a Session: root, SAVEPOINT, or the subtransaction of a flush."""

    _rollback_exception: BaseException | None = None
    _owns_frame: bool = False
    _frame: int

    def __init__(
        self,
        session: Session,
        origin: SessionTransactionOrigin,
        parent: SessionTransaction | None = None,
    ) -> None:
        if session._trans_context_manager is not None:
            session._check_context()

        self.session = session
        self._entries = []
        self._connections = {}
        self._parent = parent
        self.nested = nested = origin is BEGIN_NESTED
        self.origin = origin
        # the parent's boundary: a flush begins inside of a root, a SAVEPOINT, or another flush's transaction
        self._outer_boundary = None if nested or parent is None else (parent._outer_boundary or parent)

        if session._close_state is SESSION_CLOSED:
            raise sa_exc.InvalidRequestError(
                "This Session has been permanently closed and is unable to handle any more transaction requests."
            )
        if nested:
            if parent is None:
                raise sa_exc.InvalidRequestError(
                    "Can't start a SAVEPOINT transaction when no existing transaction is in progress"
                )
            self._previous_nested_transaction = session._nested_transaction
        elif origin is SUBTRANSACTION:
            assert parent is not None
        else:
            assert parent is None

        self._state = ACTIVE
        if origin is not SUBTRANSACTION:
            if nested and not session._flushing and not session._uow_is_clean():
                # pending work goes out before the SAVEPOINT, so that it survives the rollback of it
                session.flush()
            self._frame = session._uow_begin(nested)
            self._owns_frame = True
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

    @_StateChange.declare_states((ACTIVE,), NO_CHANGE)
    def _begin(self, nested: bool = False) -> SessionTransaction:
        origin = BEGIN_NESTED if nested else SUBTRANSACTION
        return SessionTransaction(self.session, origin, self)

    def _begin_inside(self, origin: SessionTransactionOrigin) -> SessionTransaction:
        """``_begin()`` past the state guard: for a flush, or a SAVEPOINT with nothing to flush before it."""
        if self._state is not ACTIVE:
            self._raise_for_prerequisite_state("_begin", self._state)
        return SessionTransaction(self.session, origin, self)

    def _begin_flush(self) -> SessionTransaction:
        """The subtransaction of a flush; guarded where a listener may call back."""
        return self._begin() if self.session._event_bits else self._begin_inside(SUBTRANSACTION)

    def _begin_nested(self) -> SessionTransaction:
        session = self.session
        if session._event_bits or not session._uow_is_clean():
            return self._begin(nested=True)
        return self._begin_inside(BEGIN_NESTED)

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

    def _restore_snapshot(self) -> None:
        if not self._owns_frame:
            # the frame is gone with the first restore; what came later needs one of its own to be undone
            self._frame = self.session._uow_begin(self.nested)
        self._owns_frame = False
        self.session._uow_rollback(self._frame)

    def _remove_snapshot(self) -> None:
        if self._owns_frame:
            self._owns_frame = False
            self.session._uow_commit(not self.nested and self.session.expire_on_commit, self._frame)

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

    def commit(self, _to_root: bool = False) -> None:
        if not self._commit_at_once():
            self._commit_by_stages()
        if _to_root and self._parent:
            self._parent.commit(_to_root=True)

    @_StateChange.declare_states((ACTIVE, PREPARED), CLOSED, name="commit")
    def _commit_by_stages(self) -> None:
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

    def _commit_at_once(self) -> bool:
        """``commit()`` of a root or SAVEPOINT nobody listens to that is on a bare lane, or on no connection at all.

        False if that is not, or after the flush no longer, what this transaction is: it then has to go by stages. To
        whom the flush calls, and to other threads, the guards look as they do there.
        """
        session = self.session
        if (
            session._event_bits
            or self._state is not ACTIVE
            or self._outer_boundary is not None
            or self._next_state is not ANY
            or session.twophase
        ):
            return False
        self._next_state = CHANGE_IN_PROGRESS
        try:
            if not session._uow_is_clean() and not session._flushing:
                self._current_fn = SessionTransaction._prepare_impl
                session.flush()
            ending = None if self._lane_end is None else self._ending_lane()
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
            if ending is not None:
                session._uow_use(ending.commit)
                self._lane_end = None
            self._state = COMMITTED
            self._remove_snapshot()
            self._leave_session()
            lane = self._lane
            if lane is not None:
                self._lane = None
                if self._parent is None:
                    lane.release()
            self._state = CLOSED
        finally:
            self._next_state = ANY
            self._current_fn = None
        if session._event_bits:
            session.dispatch.after_transaction_end(session, self)
        return True

    def _leave_session(self) -> None:
        """Let the enclosing transaction be the session's again."""
        session = self.session
        if self.nested:
            session._nested_transaction = self._previous_nested_transaction
        session._transaction = self._parent

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

    @_StateChange.declare_states(ANY, CLOSED)
    def close(self, invalidate: bool = False) -> None:
        session = self.session
        self._leave_session()
        try:
            self._leave_lane(invalidate)
        finally:
            # an error on a bare lane has put a Connection in its place
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

    def _leave_lane(self, invalidate: bool) -> None:
        """Roll back what a bare lane has left, and give its connection back."""
        lane = self._lane
        if lane is None:
            return
        if invalidate:
            self._materialize()
        ending = self._ending_lane()
        self._lane = self._lane_end = None
        if ending is not None:
            ending.rollback()
        if self._parent is None and lane.is_bare:
            lane.release()

    # --- TransactionalContext --------------------------------------------------------------------------------------

    def _get_subject(self) -> Session:
        return self.session

    def _transaction_is_active(self) -> bool:
        return self._state is ACTIVE

    def _transaction_is_closed(self) -> bool:
        return self._state is CLOSED

    def _rollback_can_be_called(self) -> bool:
        return self._state not in (COMMITTED, CLOSED)
