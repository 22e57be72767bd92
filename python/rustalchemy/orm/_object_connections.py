"""A flush in which every object may have a connection of its own: of sessions with a ``connection_callable``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ._lane import Lane
from .persistence import FlushExecutor, _Target

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from .. import _core
    from .mapper import Mapper


class ObjectConnections(FlushExecutor):
    """Sends the batches of one flush, each in runs of objects that have the same connection."""

    _run: _Target | None = None

    def insert(self, batch: _core.Batch) -> None:
        self._in_runs(super().insert, batch)

    def update(self, batch: _core.Batch) -> None:
        self._in_runs(super().update, batch)

    def delete(self, batch: _core.Batch) -> None:
        self._in_runs(super().delete, batch)

    def connect(self, manager: Any) -> None:
        """Nothing: without an object there is no connection to begin on."""

    def event_arguments(self, manager: Any, obj: object) -> tuple[tuple[Mapper[Any], Connection], bool]:
        return (manager.mapper, self._connection(manager.mapper, obj)), False

    def _connection(self, mapper: Mapper[Any], obj: object) -> Connection:
        connection: Connection = self._session.connection_callable(mapper.base_mapper, obj)
        return connection

    def _target(self, mapper: Mapper[Any]) -> _Target:
        # rows of association tables go where the session's binds say
        return super()._target(mapper) if self._run is None else self._run

    def _in_runs(self, send: Callable[[_core.Batch], object], batch: _core.Batch) -> None:
        for connection, start, end in self._runs(batch):
            self._run = _Target(Lane.of(connection), connection)
            try:
                send(batch.slice(start, end))
            finally:
                self._run = None

    def _runs(self, batch: _core.Batch) -> Iterator[tuple[Connection, int, int]]:
        """Where the connection changes from one object to the next."""
        mapper = batch.mapper.mapper
        connections = [self._connection(mapper, state.obj()) for state in batch.states()]
        start = 0
        for connection, run in groupby(connections):
            end = start + len(list(run))
            yield connection, start, end
            start = end
