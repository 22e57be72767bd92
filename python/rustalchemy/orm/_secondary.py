"""Statements on the association table of a many-to-many relationship, for the flush executor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam

from .. import _core
from . import exc
from ._shapes import LaneStatement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection, Dialect

    from ._lane import Lane

Row = tuple[Any, ...]


class SecondaryShape:
    """The statement that inserts, moves or deletes rows: Core's construct, and its text for the lane.

    A row has the values of ``keys``, columns in the table's order; one that is moved has the old values after them.
    """

    def __init__(self, table: Any, kind: str, keys: tuple[str, ...], dialect: Dialect) -> None:
        self._table = table
        self._kind = kind
        self._is_checked = kind != "insert"
        old = "old_" if kind == "update" else ""
        criterion = and_(*(table.c[key] == bindparam(old + key, type_=table.c[key].type) for key in keys))
        if kind == "insert":
            self._statement, self._names = table.insert(), keys
        elif kind == "update":
            self._statement, self._names = table.update().where(criterion), (*keys, *(old + key for key in keys))
        else:
            self._statement, self._names = table.delete().where(criterion), keys
        self._text = self._compile(dialect)

    def _compile(self, dialect: Dialect) -> LaneStatement | None:
        """The text, if the values of a row are its parameters as they stand."""
        entries = {name: number for number, name in enumerate(self._names)}
        found = LaneStatement.compile(self._statement, dialect, entries, {}, executemany=True)
        if found is None:
            return None
        text, compiled = found
        plain = not text.defaults and not compiled.effective_returning
        return text if plain and text.order == tuple(entries.values()) else None

    def execute_in_lane(self, lane: Lane, rows: Sequence[Row]) -> bool:
        """Send the rows; False if they have to go through Core."""
        text = self._text
        if text is None:
            return False
        if any(text.processors):
            try:
                rows = _core.Processor.process_rows(rows, text.processors)
            except Exception:
                return False
        self._check(lane.execute(text.sql, rows), len(rows), lane.dialect.supports_sane_multi_rowcount)
        return True

    def execute_through_core(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Send the rows."""
        names = self._names
        result = connection.execute(self._statement, [dict(zip(names, row, strict=True)) for row in rows])
        self._check(result.rowcount, len(rows), result.supports_sane_multi_rowcount())

    def _check(self, matched: int, expected: int, is_sane: bool) -> None:
        """``StaleDataError`` if fewer rows were there than the objects remember."""
        if self._is_checked and is_sane and matched != expected:
            raise exc.StaleDataError(
                f"{self._kind.upper()} statement on table '{self._table.description}' expected to {self._kind} "
                f"{expected} row(s); Only {matched} were matched."
            )
