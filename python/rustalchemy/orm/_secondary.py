"""Statements on the association table of a many-to-many relationship, for the flush executor."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam
from sqlalchemy.engine import Connection

from . import exc


def execute_secondary(
    connection: Connection, table: Any, kind: str, keys: tuple[str, ...], rows: list[tuple[Any, ...]]
) -> None:
    """Insert, move or delete rows; ``StaleDataError`` if fewer were there than the objects remember."""
    if kind == "insert":
        connection.execute(table.insert(), [dict(zip(keys, row, strict=True)) for row in rows])
        return
    prefix = "old_" if kind == "update" else ""
    columns = [column for column in table.c if column.key in keys]
    criterion = and_(*(column == bindparam(prefix + column.key, type_=column.type) for column in columns))
    if kind == "update":
        statement = table.update().where(criterion)
        names = (*keys, *(prefix + key for key in keys))
    else:
        statement = table.delete().where(criterion)
        names = keys
    result = connection.execute(statement, [dict(zip(names, row, strict=True)) for row in rows])
    if result.supports_sane_multi_rowcount() and result.rowcount != len(rows):
        raise exc.StaleDataError(
            f"{kind.upper()} statement on table '{table.description}' expected to {kind} {len(rows)} row(s); Only "
            f"{result.rowcount} were matched."
        )
