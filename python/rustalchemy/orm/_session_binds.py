"""Binds and connections of a Session: which Engine or Connection a mapper or a statement goes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc as sa_exc
from sqlalchemy import inspect, util
from sqlalchemy.sql import TableClause, visitors

from .. import _sa
from . import exc
from ._lane import Lane
from ._transaction_states import ACTIVE

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.engine.interfaces import CoreExecuteOptionsParameter
    from sqlalchemy.sql.elements import ClauseElement

    from ._session_transaction import SessionTransaction

_SessionBind = "Engine | Connection"


class SessionBinds:
    """The part of a Session that finds binds and hands out connections."""

    bind: Engine | Connection | None
    binds: Mapping[Any, Engine | Connection]
    _transaction: SessionTransaction | None

    # used by TransactionalContext
    _trans_context_manager: Any = None

    if TYPE_CHECKING:

        def _autobegin_t(self, begin: bool = False) -> SessionTransaction: ...
        def _uow_check_use(self) -> None: ...

    def _check_context(self) -> None:
        """Refuse work inside the context manager of a transaction that has ended, or is busy with another task."""
        manager = self._trans_context_manager
        if manager is not None:
            self._uow_check_use()
            if manager._state is not ACTIVE:
                _sa.trans_ctx_check(self)

    # --- connections -----------------------------------------------------------------------------------------------

    def connection(
        self,
        bind_arguments: dict[str, Any] | None = None,
        execution_options: CoreExecuteOptionsParameter | None = None,
    ) -> Connection:
        """The Connection of the current transaction for a bind; acquired and begun if this is its first use."""
        self._uow_check_use()
        bind = bind_arguments.pop("bind", None) if bind_arguments else None
        if bind is None:
            bind = self.get_bind(**(bind_arguments or {}))
        return self._connection_for_bind(bind, execution_options=execution_options)

    def _connection_for_bind(
        self,
        engine: Engine | Connection,
        execution_options: CoreExecuteOptionsParameter | None = None,
        **kw: Any,
    ) -> Connection:
        self._check_context()
        transaction = self._transaction or self._autobegin_t()
        established = None if execution_options else transaction._established(engine)
        return transaction._connection_for_bind(engine, execution_options) if established is None else established

    def _lane(self, mapper: Any) -> Lane | None:
        """The statement lane for a mapper's connection, or None when Core must see every statement."""
        transaction = self._transaction
        lane = None if transaction is None else self._kept_lane(transaction)
        if lane is not None:
            return lane
        if not self._has_only_bind:
            if type(self).get_bind is not SessionBinds.get_bind:
                # a user's get_bind() may look at the statement, which does not exist in the lane
                return None
            # without a bind the long way is taken, which raises with the statement in hand
            bind = self._configured_bind(inspect(mapper), None) or self.bind
            return None if bind is None else Lane.of(self._connection_for_bind(bind))
        return self._open_lane()

    def _lane_on(self, bind: Engine | Connection) -> Lane | None:
        """The statement lane on a bind that was found for a statement, or None when Core must see it."""
        transaction = self._transaction
        lane = None if transaction is None else self._kept_lane(transaction)
        if lane is not None and lane.engine is bind:
            return lane
        self._check_context()
        if bind is self.bind and not self.binds:
            return (transaction or self._autobegin_t())._lane_for_bind(bind)
        return Lane.of(self._connection_for_bind(bind))

    def _open_lane(self) -> Lane | None:
        """The lane on the session's only bind, in a transaction that begins with it where there is none."""
        bind = self.bind
        if bind is None or self.binds or type(self).get_bind is not SessionBinds.get_bind:
            return None
        if self._trans_context_manager is not None:
            self._check_context()
        return (self._transaction or self._autobegin_t())._lane_for_bind(bind)

    @property
    def _has_only_bind(self) -> bool:
        """Whether every mapper and statement goes to the one bind of this session."""
        return not self.binds and self.bind is not None and type(self).get_bind is SessionBinds.get_bind

    def _unobserved_bind(self, mapper: Any, statement: Any) -> Engine | Connection | None:
        """The bind of a statement, found without asking a user's method; None if somebody else has to see it first."""
        bind: Any
        if self._has_only_bind:
            bind = self.bind
        elif type(self).get_bind is SessionBinds.get_bind:
            # without a bind the long way is taken, which says so
            bind = self._configured_bind(mapper, statement) or self.bind
        else:
            bind = None
        if bind is None:
            return None
        transaction = self._transaction
        established = None if transaction is None else transaction._established(bind)
        return None if _sa.elements_are_observed(established or bind) else bind

    def _kept_lane(self, transaction: SessionTransaction) -> Lane | None:
        """The lane a transaction keeps for the session's only bind, if it still is the way to go."""
        transaction = transaction._outer_boundary or transaction
        lane = transaction._lane
        if (
            lane is not None
            and lane.engine is self.bind
            and not self.binds
            and transaction._state is ACTIVE
            and self._trans_context_manager is None
            and lane.is_open()
        ):
            return lane
        return None

    # --- binds -----------------------------------------------------------------------------------------------------

    def _add_bind(self, key: Any, bind: Engine | Connection) -> None:
        found: dict[Any, Engine | Connection] = {}
        try:
            inspected: Any = inspect(key)
        except sa_exc.NoInspectionAvailable as err:
            if not isinstance(key, type):
                raise sa_exc.ArgumentError(f"Not an acceptable bind target: {key}") from err
            found[key] = bind
        else:
            if isinstance(inspected, TableClause):
                found[inspected] = bind
            elif getattr(inspected, "is_mapper", False):
                found[inspected.class_] = bind
                for table in inspected._all_tables:
                    found[table] = bind
            else:
                raise sa_exc.ArgumentError(f"Not an acceptable bind target: {key}")
        self.binds = util.immutabledict({**self.binds, **found})

    def bind_mapper(self, mapper: Any, bind: Engine | Connection) -> None:
        """Send a mapper, a mapped class, or any class and its subclasses to a bind."""
        self._add_bind(mapper, bind)

    def bind_table(self, table: TableClause, bind: Engine | Connection) -> None:
        """Send a table to a bind."""
        self._add_bind(table, bind)

    def get_bind(
        self,
        /,
        mapper: Any = None,
        *,
        clause: ClauseElement | None = None,
        bind: Engine | Connection | None = None,
        _sa_skip_events: bool | None = None,
        _sa_skip_for_implicit_returning: bool = False,
        **kw: Any,
    ) -> Engine | Connection:
        """The Engine or Connection for a mapper and / or a statement. May be overridden by subclasses."""
        if bind:
            return bind
        if not self.binds and self.bind:
            return self.bind
        if mapper is None and clause is None:
            if self.bind:
                return self.bind
            raise sa_exc.UnboundExecutionError(
                "This session is not bound to a single Engine or Connection, and no context was provided to locate "
                "a binding."
            )

        inspected: Any = None
        if mapper is not None:
            try:
                inspected = inspect(mapper)
            except sa_exc.NoInspectionAvailable as err:
                if isinstance(mapper, type):
                    raise exc.UnmappedClassError(mapper) from err
                raise

        if self.binds:
            configured = self._configured_bind(inspected, clause)
            if configured is not None:
                return configured
        if self.bind:
            return self.bind

        context = []
        if inspected is not None:
            context.append(f"mapper {inspected}")
        if clause is not None:
            context.append("SQL expression")
        raise sa_exc.UnboundExecutionError(
            f"Could not locate a bind configured on {', '.join(context)} or this Session."
        )

    def _configured_bind(self, mapper: Any, clause: Any) -> Engine | Connection | None:
        """The entry of ``binds`` that covers a mapper's class or one of its bases, or a table of the clause."""
        binds = self.binds
        if mapper is not None:
            for cls in mapper.class_.__mro__:
                if cls in binds:
                    return binds[cls]
            if clause is None:
                clause = mapper.persist_selectable
        if clause is None:
            return None
        subject = _sa.plugin_subject(clause)
        if subject is not None:
            for cls in subject.mapper.class_.__mro__:
                if cls in binds:
                    return binds[cls]
        for element in visitors.iterate(clause):
            if element in binds:
                return binds[element]
        return None
