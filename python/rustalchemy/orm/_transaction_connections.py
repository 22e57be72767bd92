"""The connections of a session's transaction: Connections of Core, or a bare lane until somebody asks for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

from sqlalchemy import exc as sa_exc
from sqlalchemy import util
from sqlalchemy.engine import Connection

from ._lane import Lane
from ._lane_savepoint import ConnectionSavepoint, LaneSavepoint, begin_nested
from ._transaction_states import ACTIVE, PROVISIONING_CONNECTION
from .state_changes import NO_CHANGE, _StateChange

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.engine.base import Transaction
    from sqlalchemy.engine.interfaces import CoreExecuteOptionsParameter

    from ._session_transaction import SessionTransaction
    from .session import Session

_ConnectionTransaction = Union["Transaction", ConnectionSavepoint]

#: Connection, its transaction, whether commit() commits it, whether close() closes the connection.
_ConnectionEntry = tuple["Connection", "_ConnectionTransaction", bool, bool]


class TransactionConnections(_StateChange):
    """The part of a SessionTransaction that gets connections and lanes, and begins on them."""

    session: Session
    nested: bool = False
    _parent: SessionTransaction | None
    # the transaction around a subtransaction that has the connections; no reference to itself, which only the garbage
    # collector could undo
    _outer_boundary: SessionTransaction | None
    # each connection once, and by what it may be asked for: itself and its engine
    _entries: list[_ConnectionEntry]
    _connections: dict[Engine | Connection, _ConnectionEntry]
    # the way past Core on the connection of the session's only bind, once it was asked for
    _lane: Lane | None = None
    # what commits or rolls back this level while its lane is bare: the lane itself, or the SAVEPOINT on it
    _lane_end: Lane | LaneSavepoint | None = None

    @property
    def _connections_boundary(self) -> SessionTransaction:
        """The transaction that has the connections: itself, or for a subtransaction the one around it."""
        return self._outer_boundary or self  # type: ignore[return-value]

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

    # --- the lane of the session's only bind -------------------------------------------------------------------------

    def _lane_for_bind(self, bind: Engine | Connection) -> Lane | None:
        """The lane on a bind, bare if this transaction has no connection yet; None when Core has to see statements."""
        if self._state is not ACTIVE:
            self._raise_for_prerequisite_state("_connection_for_bind", self._state)
        boundary = self._outer_boundary
        if boundary is not None:
            if self.session._event_bits and bind not in boundary._connections:
                self._connection_for_bind(bind, None)  # whoever hears of it finds the flush's own level at it, too
            return boundary._lane_for_bind(bind)
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

    def _enter(
        self,
        connection: Connection,
        transaction: _ConnectionTransaction,
        should_commit: bool,
        autoclose: bool,
    ) -> None:
        entry = (connection, transaction, should_commit, autoclose)
        self._entries.append(entry)
        self._connections[connection] = self._connections[connection.engine] = entry

    # --- connections -----------------------------------------------------------------------------------------------

    @_StateChange.declare_states((ACTIVE,), NO_CHANGE)
    def connection(
        self,
        bindkey: Any,
        execution_options: CoreExecuteOptionsParameter | None = None,
        **kwargs: Any,
    ) -> Connection:
        bind = self.session.get_bind(bindkey, **kwargs)
        return self._connection_for_bind(bind, execution_options)

    @_StateChange.declare_states((ACTIVE,), NO_CHANGE)
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

    def _established(self, bind: Engine | Connection) -> Connection | None:
        """The Connection this level has for a bind, if it takes no more than a look: asked for by every statement."""
        if self._state is not ACTIVE or self._lane_end is not None:
            return None
        entry = self._connections.get(bind)
        return None if entry is None else entry[0]

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
            if bind.dialect.is_async:
                # connecting is the first time that another task may get its turn
                session._uow_switches_tasks()
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
        if isinstance(bind, Connection) and conn.dialect.is_async:
            session._uow_switches_tasks()
        if session._event_bits:
            session.dispatch.after_begin(session, self, conn)
        return conn

    def _begin_on(self, conn: Connection, local_connect: bool) -> tuple[_ConnectionTransaction, bool]:
        """Begin, or join, a transaction on a connection; also says whether commit() is ours to call."""
        session = self.session
        if session.twophase and self._parent is None:
            return conn.begin_twophase(), True
        if self.nested:
            return begin_nested(conn), True
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
            return begin_nested(conn), True
        joined = conn.get_nested_transaction() or conn.get_transaction()
        assert joined is not None
        return joined, mode != "rollback_only"
