"""The cursor of a SELECT on a lane whose rows are fetched page by page.

Its first page is fetched at once: where that is all, nothing stays open, and nobody need know that there was a cursor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from ._lane import Lane, Row


# Rows of a stream's first page where nobody says how many.
_PAGE = 64


def first_page(statement: Any, load_options: Any, execution_options: Mapping[str, Any]) -> Optional[int]:
    """Number of rows that are fetched at once where the others are to stay in the database; None where all are."""
    if load_options._yield_per:
        rows: int = load_options._yield_per
        return rows
    options = statement._execution_options
    if not execution_options.get("stream_results", options.get("stream_results")):
        return None
    return min(_PAGE, execution_options.get("max_row_buffer", options.get("max_row_buffer", _PAGE)))


class LaneCursor:
    """The rows of one execution that were not asked for yet."""

    __slots__ = ("_ahead", "_connection", "_cursor", "_lane")

    def __init__(self, lane: Lane, sql: str, parameters: Sequence[Any], page: int) -> None:
        rows, self._cursor = lane.fetch_page(sql, parameters, page)
        self._ahead = iter(rows)
        self._lane = lane
        # the lane may have ended by the time that a later page fails
        self._connection = None if self._cursor is None else lane.connection

    def fetch(self, size: Optional[int]) -> list[Row]:
        """So many rows or, at the end, fewer; all without a size."""
        rows = list(islice(self._ahead, size))
        if self._cursor is None or len(rows) == size:
            return rows
        try:
            rows += self._cursor.fetchall() if size is None else self._cursor.fetchmany(size - len(rows))
        except BaseException as err:
            self._lane.fetch_failed(err, self._connection, self._cursor)
        if len(rows) != size:
            self._soft_close()
        return rows

    def _soft_close(self, hard: bool = False, **_: Any) -> None:
        """What a Result asks of the one that its rows come from."""
        self._ahead = iter(())
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            self._lane.close(cursor)
