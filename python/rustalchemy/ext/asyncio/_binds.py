"""The binds of an AsyncSession: asynchronous engines and connections, proxies of those the sync session has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import util

from ..._sa_asyncio import _get_sync_engine_or_connection
from ._typing import AsyncSessionBind, EntityBindKey
from .exc import AsyncBindNotFound

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.sql.elements import ClauseElement
    from sqlalchemy.sql.selectable import TableClause

    from ...orm import Session


class AsyncBinds:
    """The part of an AsyncSession that knows which asynchronous bind stands for which one of the sync session."""

    sync_session: Session
    _async_bind: AsyncSessionBind | None
    # by what each was given for; the sync session's own mapping has the keys that these come to
    _async_binds: dict[Any, AsyncSessionBind]

    @property
    def bind(self) -> AsyncSessionBind | None:
        """The AsyncEngine or AsyncConnection for whatever has no bind of its own; may be assigned.

        AsyncBindNotFound is raised if the sync session was bound to something else behind the AsyncSession's back.
        """
        return self._async_bind_of(self.sync_session.bind)

    @bind.setter
    def bind(self, bind: AsyncSessionBind | None) -> None:
        self.sync_session.bind = None if bind is None else _get_sync_engine_or_connection(bind)
        self._async_bind = bind

    @property
    def binds(self) -> Mapping[Any, AsyncSessionBind]:
        """The binds of mappers, classes and tables, with the keys that the sync session has them under."""
        return util.immutabledict({key: self._async_bind_of(bind) for key, bind in self.sync_session.binds.items()})

    def bind_mapper(self, mapper: EntityBindKey[Any], bind: AsyncSessionBind) -> None:
        """Send a mapper, a mapped class, or any class and its subclasses to a bind."""
        self.sync_session.bind_mapper(mapper, _get_sync_engine_or_connection(bind))
        self._async_binds[mapper] = bind

    def bind_table(self, table: TableClause, bind: AsyncSessionBind) -> None:
        """Send a table to a bind."""
        self.sync_session.bind_table(table, _get_sync_engine_or_connection(bind))
        self._async_binds[table] = bind

    def get_bind(
        self,
        /,
        mapper: EntityBindKey[Any] | None = None,
        clause: ClauseElement | None = None,
        bind: Engine | Connection | None = None,
        **kw: Any,
    ) -> Engine | Connection:
        """What the sync session's ``get_bind()`` says: a sync Engine or Connection.

        The session does not ask this method. To choose binds, override ``get_bind()`` of a class of sync sessions and
        pass that as ``sync_session_class``.
        """
        return self.sync_session.get_bind(mapper=mapper, clause=clause, bind=bind, **kw)

    def get_async_bind(
        self,
        /,
        mapper: EntityBindKey[Any] | None = None,
        clause: ClauseElement | None = None,
        bind: AsyncSessionBind | None = None,
        **kw: Any,
    ) -> AsyncSessionBind:
        """The AsyncEngine or AsyncConnection for a mapper and / or a statement.

        AsyncBindNotFound is raised if what is found is not the bind of an asynchronous one this session was given.
        """
        sync_bind = None if bind is None else _get_sync_engine_or_connection(bind)
        found = self.get_bind(mapper=mapper, clause=clause, bind=sync_bind, **kw)
        return bind if bind is not None and found is sync_bind else self._async_bind_of(found)

    def _async_bind_of(self, sync_bind: Any) -> Any:
        if sync_bind is None:
            return None
        for bind in (*reversed(self._async_binds.values()), self._async_bind):
            if bind is not None and _get_sync_engine_or_connection(bind) is sync_bind:
                return bind
        raise AsyncBindNotFound(
            f"Can't translate bind {sync_bind!r}; it is not among the binds established for this "
            f"{type(self).__name__}.  Bind the {type(self).__name__} rather than its sync_session, so that the "
            "asynchronous engine or connection is known."
        )
