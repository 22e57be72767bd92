"""The statement lane: planned statements go straight to the DB-API cursor when nobody could notice.

Core's ``Connection.execute()`` costs some 15 µs a statement, most of it for events, logging, options and result
objects. When a connection has none of these, the text compiled once and positional parameters are enough. In every
other case ``Lane.of`` returns None and the statement goes through Core, so that listeners, ``echo`` and options see
what SQLAlchemy's ORM sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Connection

from .. import _sa

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

Row = tuple[Any, ...]

# Execution options that change nothing about how a statement is sent.
_HARMLESS_OPTIONS = frozenset({"isolation_level"})

# Dialects whose execution contexts add nothing to a plain cursor.execute(), and whose parameters are positional.
_LANE_DRIVERS = frozenset({("sqlite", "pysqlite")})


class _ErrorContext:
    """The little of an ExecutionContext that Core's error handling asks for."""

    __slots__ = ("executemany",)

    def __init__(self, executemany: bool) -> None:
        self.executemany = executemany

    def handle_dbapi_exception(self, err: BaseException) -> None:
        """Contexts of some drivers translate errors here; those of the lane's drivers do not."""


class Lane:
    """A direct way to the cursor of one Connection."""

    __slots__ = ("_dbapi_connection", "_options", "connection", "dialect", "engine")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.engine = connection.engine
        self.dialect: Dialect = connection.dialect
        self._options = connection.get_execution_options()
        self._dbapi_connection: Any = connection.connection.dbapi_connection

    @classmethod
    def of(cls, connection: Connection) -> Lane | None:
        """The lane of a connection, or None when a statement on it has to go through Core."""
        dialect = connection.dialect
        if (
            type(connection) is not Connection
            or (dialect.name, dialect.driver) not in _LANE_DRIVERS
            or _sa.connection_is_observed(connection)
            or not _HARMLESS_OPTIONS.issuperset(connection.get_execution_options())
            or not _sa.connection_is_usable(connection)
        ):
            return None
        return cls(connection)

    def is_open(self) -> bool:
        """Whether nothing has changed since the lane was made that would close it."""
        connection = self.connection
        return (
            not _sa.connection_is_observed(connection)
            and _sa.connection_is_usable(connection)
            and connection.get_execution_options() is self._options
        )

    def fetch(self, sql: str, parameters: Sequence[Any]) -> tuple[list[Row], Any]:
        """Execute, and return all rows and the cursor's description."""
        cursor = self._dbapi_connection.cursor()
        try:
            cursor.execute(sql, parameters)
            rows = cursor.fetchall()
            description = cursor.description
        except BaseException as err:
            self._raise(err, sql, parameters, cursor)
        cursor.close()
        return rows, description

    def insert(self, sql: str, parameters: Sequence[Any]) -> int:
        """Execute one INSERT, and return the key it generated."""
        cursor = self._dbapi_connection.cursor()
        try:
            cursor.execute(sql, parameters)
            key: int = cursor.lastrowid
        except BaseException as err:
            self._raise(err, sql, parameters, cursor)
        cursor.close()
        return key

    def execute(self, sql: str, rows: Sequence[Row]) -> int:
        """Execute a statement once per row of parameters, and return the number of rows it matched."""
        cursor = self._dbapi_connection.cursor()
        many = len(rows) != 1
        parameters: Sequence[Any] = rows if many else rows[0]
        try:
            if many:
                cursor.executemany(sql, rows)
            else:
                cursor.execute(sql, parameters)
            matched: int = cursor.rowcount
        except BaseException as err:
            self._raise(err, sql, parameters, cursor, many)
        cursor.close()
        return matched

    def _raise(
        self, err: BaseException, sql: str, parameters: Sequence[Any], cursor: Any, executemany: bool = False
    ) -> None:
        """Raise what Core would: sqlalchemy.exc classes with statement and parameters, pool invalidation included."""
        _sa.handle_dbapi_exception(self.connection, err, sql, parameters, cursor, _ErrorContext(executemany))
