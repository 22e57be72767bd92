"""The statement lane: planned statements go straight to the DB-API cursor when nobody could notice.

Core's ``Connection.execute()`` costs some 15 µs a statement, most of it for events, logging, options and result
objects. When a connection has none of these, the text compiled once and positional parameters are enough. In every
other case ``Lane.of`` returns None and the statement goes through Core, so that listeners, ``echo`` and options see
what SQLAlchemy's ORM sends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from sqlalchemy.engine import Connection, Engine

from .. import _core, _sa

if TYPE_CHECKING:
    from sqlalchemy.engine.base import Transaction

    from ._lane_savepoint import LaneSavepoint

Row = tuple[Any, ...]

# Execution options by which Core and the lane's drivers send a statement, or read its rows, in another way. Any other
# is for listeners, and where there is a lane there are none.
CORE_OPTIONS = frozenset(
    {
        "_cache_disable_reason",
        "compiled_cache",
        "driver_column_names",
        "insertmanyvalues_page_size",
        "isolation_level",
        "isolation_level_token",
        "logging_token",
        "max_row_buffer",
        "no_parameters",
        "preserve_rowcount",
        "schema_translate_map",
        "sqlite_raw_colnames",
        "stream_results",
        "yield_per",
    }
)

# Those by which rows are to stay in the database until they are asked for.
STREAM_OPTIONS = frozenset({"max_row_buffer", "stream_results", "yield_per"})

# A connection has its isolation level once and for all.
_STATEMENT_OPTIONS = CORE_OPTIONS - {"isolation_level"}

# Dialects whose execution contexts add nothing to a plain cursor.execute(), and whose parameters are positional.
_LANE_DRIVERS = frozenset({("sqlite", "pysqlite")})


# Rows of one VALUES. Few sizes, so that the database has seen the text of every page before, whatever the number of
# rows: compiling a row of VALUES takes SQLite as long as inserting it. Larger pages are no faster.
_PAGE_SIZES = (256, 64, 16, 4)


class _ErrorContext:
    """The little of an ExecutionContext that Core's error handling asks for."""

    __slots__ = ("executemany",)

    def __init__(self, executemany: bool) -> None:
        self.executemany = executemany

    def handle_dbapi_exception(self, err: BaseException) -> None:
        """Contexts of some drivers translate errors here; those of the lane's drivers do not."""


class LaneOwner(Protocol):
    """Who began a transaction or SAVEPOINT on a bare lane, and is told when a Connection takes its place."""

    def adopt_connection(self, connection: Connection, transaction: Transaction) -> None: ...


class Lane(_core.DriverLane):
    """A direct way to the cursor of one DB-API connection.

    It is either the lane *of* a Connection, or *bare*: it then holds what the pool gave out, for the root transaction
    of a session, and the Connection is only made when somebody asks for it. Bare lanes commit, roll back and give back
    as a Connection does, and the Connection learns of the SAVEPOINTs that are open.
    """

    __slots__ = (
        "_connection",
        "_options",
        "_owner",
        "savepoints",
        "savepoints_made",
    )

    def __init__(self, engine: Engine, pooled: Any, connection: Connection | None, owner: LaneOwner | None) -> None:
        self._connection = connection
        self._options = None if connection is None else connection.get_execution_options()
        self._owner = owner
        # the open ones of a bare lane, outermost first; how many there ever were
        self.savepoints: list[LaneSavepoint] = []
        self.savepoints_made = 0

    @classmethod
    def of(cls, connection: Connection) -> Lane | None:
        """The lane of a connection, or None when a statement on it has to go through Core."""
        dialect = connection.dialect
        if (
            type(connection) is not Connection
            or (dialect.name, dialect.driver) not in _LANE_DRIVERS
            or _sa.connection_is_observed(connection)
            or not _STATEMENT_OPTIONS.isdisjoint(connection.get_execution_options())
            or not _sa.connection_is_usable(connection)
        ):
            return None
        return cls(connection.engine, connection.connection, connection, None)

    @classmethod
    def acquire(cls, engine: Any, owner: LaneOwner) -> Lane | None:
        """A bare lane on an engine; None if a Connection is needed from the start."""
        if type(engine) is not Engine:
            return None
        dialect = engine.dialect
        if (
            (dialect.name, dialect.driver) not in _LANE_DRIVERS
            or engine.get_execution_options()
            or _sa.engine_is_observed(engine)
            or _sa.engine_echoes(engine)
        ):
            return None
        return cls(engine, _sa.raw_connection(engine), None, owner)

    @property
    def connection(self) -> Connection:
        """The Connection, made now if the lane was bare."""
        if self._connection is None:
            assert self._owner is not None
            self._connection = connection = Connection(self.engine, connection=self._pooled)
            self._has_connection()
            self._options = connection.get_execution_options()
            self._owner.adopt_connection(connection, connection.begin())
            if self.savepoints_made:
                _sa.set_savepoint_number(connection, self.savepoints_made)
                for savepoint in self.savepoints:
                    nested = _sa.nested_transaction(connection, savepoint.name)
                    savepoint.owner.adopt_connection(connection, nested)
                self.savepoints.clear()
        return self._connection

    def is_open(self) -> bool:
        """Whether nothing has changed since the lane was made that would close it."""
        connection = self._connection
        if connection is None:
            return self._pooled.dbapi_connection is not None and not _sa.engine_is_observed(self.engine)
        return (
            not _sa.connection_is_observed(connection)
            and _sa.connection_is_usable(connection)
            and connection.get_execution_options() is self._options
        )

    # --- the end of a bare lane --------------------------------------------------------------------------------------

    def commit(self) -> None:
        try:
            self.dialect.do_commit(self._pooled)
        except BaseException as err:
            self._raise(err, None, None, None)

    def rollback(self) -> None:
        try:
            self.dialect.do_rollback(self._pooled)
        except BaseException as err:
            self._raise(err, None, None, None)

    def release(self) -> None:
        """Give the DB-API connection back to the pool, after commit or rollback."""
        _sa.give_back_reset(self._pooled)

    # --- statements --------------------------------------------------------------------------------------------------

    def fetch(self, sql: str, parameters: Sequence[Any]) -> tuple[list[Row], Any]:
        """Execute, and return all rows and the cursor's description."""
        cursor: Any = None
        try:
            cursor = self._dbapi_connection.cursor()
            cursor.execute(sql, parameters)
            rows = cursor.fetchall()
            description = cursor.description
        except BaseException as err:
            self._raise(err, sql, parameters, cursor)
        self.close(cursor)
        return rows, description

    def fetch_page(self, sql: str, parameters: Sequence[Any], most: int) -> tuple[list[Row], Any]:
        """Execute, and return the first rows and the cursor for the others, or None in its place if these were all."""
        cursor: Any = None
        try:
            cursor = self._dbapi_connection.cursor()
            cursor.execute(sql, parameters)
            rows = cursor.fetchmany(most)
        except BaseException as err:
            self._raise(err, sql, parameters, cursor)
        if len(rows) == most:
            return rows, cursor
        self.close(cursor)
        return rows, None

    def insert(self, sql: str, parameters: Sequence[Any]) -> int:
        """Execute one INSERT, and return the key it generated."""
        cursor: Any = None
        try:
            cursor = self._dbapi_connection.cursor()
            cursor.execute(sql, parameters)
            key: int = cursor.lastrowid
        except BaseException as err:
            self._raise(err, sql, parameters, cursor)
        self.close(cursor)
        return key

    def execute(self, sql: str, rows: Sequence[Row] | _core.RowStream) -> int:
        """Execute a statement once per row of parameters, and return the number of rows it matched."""
        cursor: Any = None
        many = len(rows) != 1
        try:
            cursor = self._dbapi_connection.cursor()
            if many:
                cursor.executemany(sql, rows)
            else:
                cursor.execute(sql, *rows)
            matched: int = cursor.rowcount
        except BaseException as err:
            parameters = list(rows)
            self._raise(err, sql, parameters if many else parameters[0], cursor, many)
        self.close(cursor)
        return matched

    def close(self, cursor: Any) -> None:
        """Close a cursor that has done its work."""
        try:
            cursor.close()
        except Exception as err:
            self.close_failed(err)

    def close_failed(self, err: Exception) -> None:
        """A cursor that has done its work could not be closed: that is logged, not raised."""
        _sa.log_failed_close(self.engine, err)

    def refuse(self, err: BaseException, sql: str, rows: Sequence[Any]) -> NoReturn:
        """Raise what Core would for values that cannot become parameters; must be called while it is being handled."""
        self._raise(err, sql, rows, None)

    def fetch_failed(self, err: BaseException, connection: Any, cursor: Any) -> NoReturn:
        """Raise what Core would when rows cannot be fetched; must be called while it is being handled."""
        _sa.handle_dbapi_exception(connection, err, None, None, cursor, _ErrorContext(False))

    def fail(
        self, err: BaseException, sql: str, parameters: Sequence[Any], cursor: Any, executemany: bool = False
    ) -> None:
        """Raise what Core would, for an exception of the driver that the native core caught."""
        try:
            raise err
        except BaseException as raised:
            self._raise(raised, sql, parameters, cursor, executemany)

    def _raise(
        self,
        err: BaseException,
        sql: str | None,
        parameters: Sequence[Any] | None,
        cursor: Any,
        executemany: bool = False,
    ) -> NoReturn:
        """Raise what Core would: sqlalchemy.exc classes with statement and parameters, pool invalidation included.

        Without a cursor it is an error of the preparations, which Core wraps whatever its class.
        """
        context = None if cursor is None else _ErrorContext(executemany)
        _sa.handle_dbapi_exception(self.connection, err, sql, parameters, cursor, context)


def page_sizes(rows: int, at_most: int) -> Iterator[int]:
    """How many rows each of the statements has that insert so many rows together."""
    for size in _PAGE_SIZES:
        if size <= at_most:
            yield from repeat(size, rows // size)
            rows %= size
    while rows > 0:
        yield (size := min(rows, max(at_most, 1)))
        rows -= size


def in_values_order(rows: list[Row], key: int) -> list[Row]:
    """Returned rows in the order of VALUES, told by the generated key.

    SQLite numbers the rows of one statement consecutively in the order of VALUES; RETURNING promises no order. Where
    keys have gaps (a trigger inserts into the same table, or the table has used up its largest rowid) the order of
    RETURNING is kept, which has been the order of insertion in every release so far.
    """
    ordered = sorted(rows, key=itemgetter(key))
    return ordered if ordered[-1][key] - ordered[0][key] == len(rows) - 1 else rows
