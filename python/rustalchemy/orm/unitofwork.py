"""One flush, seen from Python: events, the subtransaction, and the native core's stages in their order.

register is ``UnitOfWork._uow_register``; group → graph → plan → execute is ``_uow_execute``, which hands batches of
rows to the ``FlushExecutor``; finish is ``_uow_finish``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import util

from ._object_connections import ObjectConnections
from .persistence import FlushExecutor

if TYPE_CHECKING:
    from ._session_transaction import SessionTransaction
    from .session import Session


class UOWTransaction:
    """Everything one flush will do; the ``flush_context`` of session events."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.transaction: SessionTransaction | None = None

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        """Run all stages; on failure the session's transaction is rolled back and remembers why."""
        session = self.session
        if session._event_bits:
            session.dispatch.before_flush(session, self, objects)
            if session._uow_is_clean():
                return

        # what only has to leave the session does so even where the transaction waits for its rollback
        registered = session._uow_register(objects) if objects else session._uow_register()
        if registered is None:
            return
        transaction = None
        try:
            outer = session._transaction or session._autobegin_t()
            self.transaction = transaction = outer._begin_flush()
            session._warn_on_events = session._uow_warn_on_events = True
            try:
                # not kept: the executor knows this object, and both should go when the flush ends
                executor_class = ObjectConnections if session.connection_callable else FlushExecutor
                executor = executor_class(session, transaction, self)
                session._uow_execute(registered, executor)
            finally:
                session._warn_on_events = session._uow_warn_on_events = False
            if session._event_bits:
                session.dispatch.after_flush(session, self)
            reset = session._uow_finish(registered)
            if executor.written:
                executor.load_defaults()
            if reset:
                _warn_of_reset(reset)
            if session._event_bits:
                session.dispatch.after_flush_postexec(session, self)
            transaction._end_flush()
        except BaseException:
            with util.safe_reraise():
                # it holds the objects, and the exception's traceback holds it
                session._uow_abort(registered)
                if transaction is not None:
                    transaction.rollback(_capture_exception=True)


def _warn_of_reset(states: int) -> None:
    util.warn(
        f"Attribute history events accumulated on {states} previously clean instances within inner-flush event "
        "handlers have been reset, and will not result in database updates. Consider using "
        "set_committed_value() within inner-flush event handlers to avoid this warning."
    )
