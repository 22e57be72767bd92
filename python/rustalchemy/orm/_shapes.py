"""Statements of the flush, one set per statement shape.

A *shape* is table, kind and columns. For each shape there is Core's construct, which is what a Connection with
listeners gets to see, and the compiled text with the places of its parameters, which is what the lane sends. Both are
made once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnDefault, bindparam
from sqlalchemy.sql import ClauseElement, and_

from .. import _core, _sa
from ._lane import page_sizes
from ._processors import bind_processor

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect
    from sqlalchemy.schema import Column, Table

    from .mapper import Mapper

Row = tuple[Any, ...]

_NOTHING: Mapping[str, Any] = {}


class PythonDefault:
    """A ``default`` or ``onupdate`` that is evaluated for each row: a constant, or a function without arguments."""

    __slots__ = ("_callable", "_constant", "number", "processor")

    def __init__(self, number: int | None, default: Any, processor: Callable[[Any], Any] | None) -> None:
        self.number = number
        self.processor = processor
        self._callable = default.arg if default.is_callable else None
        self._constant = None if default.is_callable else default.arg

    @staticmethod
    def supports(default: Any) -> bool:
        """Whether a default needs no execution context: functions that take one see the whole row."""
        return default.is_scalar or (default.is_callable and _sa.is_contextless(default.arg))

    def values(self, count: int) -> list[Any]:
        """A value for each of so many rows."""
        make = self._callable
        return [self._constant] * count if make is None else [make(None) for _ in range(count)]


class LaneStatement:
    """The text of one statement, where its parameters come from, and what comes back."""

    __slots__ = ("defaults", "order", "permutation", "postfetch", "processors", "result_processors", "returning", "sql")

    sql: str
    order: tuple[int, ...]
    processors: tuple[Any, ...]
    defaults: tuple[PythonDefault, ...]
    permutation: tuple[int, ...] | None
    returning: tuple[int | None, ...]
    result_processors: tuple[Callable[[Any], Any] | None, ...]
    postfetch: tuple[int, ...]

    @classmethod
    def compile(
        cls,
        statement: Any,
        dialect: Dialect,
        entries: Mapping[str, int],
        numbers: Mapping[str, int],
        *,
        executemany: bool,
        constants: Mapping[str, Any] = _NOTHING,
    ) -> tuple[LaneStatement, Any] | None:
        """Compile for the lane; None if the statement needs Core's execution context.

        ``entries`` says for each bound name which batch entry (see ``Batch.rows``) fills it, ``numbers`` which column
        has which number, ``constants`` which columns get one value in all rows.
        """
        compiled = statement.compile(dialect=dialect, column_keys=[*entries, *constants], for_executemany=executemany)
        if not compiled.positional or compiled.escaped_bind_names or _sa.has_late_parameters(compiled):
            return None
        processors = _sa.bind_processors(compiled)
        defaults: list[PythonDefault] = []
        prefetch: dict[str, int] = {}
        made = [(column.key, column.default if compiled.isinsert else column.onupdate) for column in compiled.prefetch]
        made += [(key, ColumnDefault(value)) for key, value in constants.items()]
        for key, default in made:
            if not PythonDefault.supports(default):
                return None
            prefetch[key] = len(defaults)
            defaults.append(PythonDefault(numbers.get(key), default, processors.get(key)))

        names = compiled.positiontup
        given = [name for name in names if name not in prefetch]
        if not entries.keys() >= set(given):
            return None

        self = cls()
        self.sql = compiled.string
        self.order = tuple(entries[name] for name in given)
        self.processors = tuple(
            bind_processor(compiled.binds[name].type, dialect) if name in processors else None for name in given
        )
        self.defaults = tuple(defaults)
        self.permutation = (
            tuple(len(given) + prefetch[name] if name in prefetch else given.index(name) for name in names)
            if defaults
            else None
        )
        returning = compiled.effective_returning
        self.returning = tuple(numbers.get(column.key) for column in returning)
        self.result_processors = tuple(_sa.result_function(column.type, dialect, None) for column in returning)
        self.postfetch = tuple(numbers[column.key] for column in compiled.postfetch if column.key in numbers)
        return self, compiled

    def stream(self, batch: _core.Batch) -> tuple[list[Row] | _core.RowStream, list[list[Any]]]:
        """As `parameters`, for `executemany`: rows that can be made one at a time are."""
        if len(batch) == 1 or self.permutation is not None or any(self.processors):
            return self.parameters(batch)
        return batch.stream(self.order), []

    def flat(self, batch: _core.Batch) -> tuple[list[Any], list[list[Any]]]:
        """As `parameters`, all rows in one list."""
        if self.permutation is None:
            return batch.flat(self.order, self.processors), []
        rows, made = self.parameters(batch)
        return list(chain.from_iterable(rows)), made

    def parameters(self, batch: _core.Batch) -> tuple[list[Row], list[list[Any]]]:
        """The rows of parameters of a batch, and the values made for ``defaults``, by default."""
        rows = batch.rows(self.order, self.processors)
        if self.permutation is None:
            return rows, []
        made = [default.values(len(rows)) for default in self.defaults]
        bound = [
            values if default.processor is None else [default.processor(value) for value in values]
            for default, values in zip(self.defaults, made, strict=True)
        ]
        pick = self._picker(self.permutation)
        return [pick(row + extra) for row, extra in zip(rows, zip(*bound, strict=True), strict=True)], made

    def prepared(self, key: int | None = None) -> _core.PreparedWrite | None:
        """The statement as the native core sends it; None if values are made in Python or have to be read.

        ``key``: number of the column that gets the key an INSERT generates.
        """
        if self.defaults or self.postfetch or self.returning:
            return None
        return _core.PreparedWrite(self.sql, self.order, self.processors, key)

    @staticmethod
    def _picker(permutation: tuple[int, ...]) -> Callable[[Row], Row]:
        if len(permutation) == 1:
            return lambda row: row
        return itemgetter(*permutation)

    def rows_back(self, rows: list[Row]) -> list[Row]:
        """Returned rows with result processing."""
        if not any(self.result_processors):
            return rows
        return [
            tuple(value if fn is None else fn(value) for value, fn in zip(row, self.result_processors, strict=True))
            for row in rows
        ]

    def store(self, batch: _core.Batch, made: Sequence[list[Any]]) -> None:
        """Put versions and Python-side defaults on the objects, and expire what the database made unseen."""
        batch.settle_versions()
        if not self.defaults:
            if self.postfetch:
                batch.expire_columns(self.postfetch)
            return
        numbered = [(d.number, values) for d, values in zip(self.defaults, made, strict=True) if d.number is not None]
        if numbered:
            batch.settle_columns(
                tuple(number for number, _ in numbered), zip(*(values for _, values in numbered), strict=True)
            )
        if self.postfetch:
            batch.expire_columns(self.postfetch)


class PagedInsert:
    """A multi-row INSERT that returns generated keys, sent in pages.

    ``key`` is the place of the key among what comes back, ``width`` the number of parameters of a row.
    """

    def __init__(self, text: LaneStatement, parts: tuple[str, str, str], key: int) -> None:
        self.text = text
        self.key = key
        self.width = len(text.order) + len(text.defaults)
        self._parts = parts
        self._sqls: dict[int, str] = {}

    def pages(self, rows: int, dialect: Any) -> Iterator[int]:
        """How many rows each statement has."""
        return page_sizes(rows, dialect.insertmanyvalues_max_parameters // max(self.width, 1))

    def sql(self, rows: int) -> str:
        """The statement for so many rows."""
        found = self._sqls.get(rows)
        if found is None:
            head, values, tail = self._parts
            found = self._sqls[rows] = head + ", ".join([values] * rows) + tail
        return found


class Shape:
    """What the statements of one shape share: mapper, table, and the columns by number."""

    #: what columns without a value get: the attribute's default, where the column has another, or none
    attribute_defaults: Mapping[str, Any] = _NOTHING

    def __init__(self, batch: _core.Batch, dialect: Dialect) -> None:
        self.mapper: Mapper[Any] = batch.mapper.mapper
        self.table: Table = batch.table
        self.dialect = dialect
        self.keys: tuple[str, ...] = tuple(
            column["key"] for column in self.mapper._core_descriptor["tables"][batch.table_no]["columns"]
        )
        self.numbers: dict[str, int] = {key: number for number, key in enumerate(self.keys)}
        #: the refresh_flush event is listened to: Core's result says which values it is about
        self.tells_refreshed = bool(self.mapper.class_manager.dispatch.refresh_flush)
        hierarchy = list(self.mapper.base_mapper.self_and_descendants)
        #: some attributes are SQL expressions over the row, and out of date once it was written
        self.has_readonly = any(mapper._readonly_props for mapper in hierarchy)
        #: values the database made and did not return are loaded before the flush ends
        self.loads_now = self.mapper.base_mapper.eager_defaults is True or (
            self.mapper.version_id_col is not None and self.mapper.version_id_generator is False
        )

    @property
    def acts_afterwards(self) -> bool:
        """Whether something has to be done with the objects once their rows are written."""
        return self.has_readonly or self.loads_now or self.tells_refreshed

    def column(self, number: int) -> Column[Any]:
        return self.table.c[self.keys[number]]

    @property
    def version_column(self) -> Column[Any] | None:
        """The version column of the class that the table belongs to, if it is in this table."""
        column = self.mapper.base_mapper._sorted_tables[self.table].version_id_col
        return column if column is not None and self.table.c.contains_column(column) else None

    def stored_numbers(self, columns: Iterable[Any]) -> tuple[int, ...]:
        return tuple(self.numbers[column.key] for column in columns if column.key in self.numbers)

    def _where(self, batch: _core.Batch, name: Callable[[Any], str]) -> tuple[Any, dict[str, int]]:
        """The criterion that finds a row, and the batch entries of its bound parameters."""
        clauses = []
        entries = {}
        version = self.version_column
        for number in batch.where:
            column = self.column(number)
            if column is self.mapper.version_id_col and column is not version:
                continue  # as in SQLAlchemy: only the version of the class the table belongs to is compared
            bound = name(column)
            clauses.append(column == bindparam(bound, type_=column.type))
            entries[bound] = ~number
        if version is not None and (bound := name(version)) not in entries:
            # the rows' class keeps another version: this one's value is not known, and Core says that it is missing
            clauses.append(version == bindparam(bound, type_=version.type))
        return and_(*clauses), entries


class InsertShape(Shape):
    """INSERT of certain columns into one table."""

    def __init__(self, batch: _core.Batch, dialect: Dialect) -> None:
        super().__init__(batch, dialect)
        table = self.table
        self.statement = table.insert()
        self.names: dict[int, str] = {number: self.keys[number] for number in batch.columns}
        self.entries: dict[str, int] = {key: number for number, key in self.names.items()}
        self.attribute_defaults = {
            column.key: value
            for _, column, value in self.mapper._insert_orm_defaults[table]
            if column.key not in self.entries
        }

        server_made = [
            column
            for column in map(table.c.get, self.keys)
            if column is not None
            and (column.server_default is not None or (column.default is not None and column.default.is_clause_element))
        ]
        eager = self.mapper.base_mapper.eager_defaults
        if eager == "auto":
            # of a subclass' own tables nothing is fetched, as in SQLAlchemy
            is_of_base = table in self.mapper.base_mapper._cols_by_table
            eager = is_of_base and server_made and table.implicit_returning and dialect.insert_executemany_returning
        self._eager = bool(eager)
        self.can_return = bool(table.implicit_returning and dialect.insert_returning)
        self.server_made = server_made
        self.wants_defaults = self.misses_defaults(())
        #: server-made values that are wanted back at once
        self.fetched = [column for column in server_made if not column.primary_key] if self.wants_defaults else []
        self.missing_key = [column for column in table.primary_key if column.key not in self.entries]
        self._texts: dict[str, Any] = {}

    # --- Core --------------------------------------------------------------------------------------------------------

    @property
    def has_sql_defaults(self) -> bool:
        """Whether an attribute's default is a SQL expression."""
        return any(isinstance(value, ClauseElement) for value in self.attribute_defaults.values())

    def misses_defaults(self, expressions: Collection[str]) -> bool:
        """Whether values made by the server are wanted and not known beforehand; SQL expressions are not known."""
        return self._eager and any(
            column.key not in self.entries or column.key in expressions for column in self.server_made
        )

    def core_statement(self, executemany: bool, expressions: Collection[str] = ()) -> Any:
        """The construct with which values come back, as SQLAlchemy's ORM would build it."""
        statement = self.statement
        if self.misses_defaults(expressions):
            statement = statement.return_defaults(*self.server_made, sort_by_parameter_order=True)
        version = self.mapper.version_id_col
        if version is not None:
            statement = statement.return_defaults(version, sort_by_parameter_order=True)
        elif executemany:
            statement = statement.return_defaults(*self.table.primary_key, sort_by_parameter_order=True)
        return statement

    # --- lane --------------------------------------------------------------------------------------------------------

    @property
    def plain(self) -> LaneStatement | None:
        """One row a statement, nothing comes back but what is known beforehand."""
        return self._text("plain", self._compile_plain)

    @property
    def single(self) -> tuple[LaneStatement, int | None] | None:
        """One row; the key is the cursor's ``lastrowid`` (its column number is given), or comes in RETURNING."""
        return self._text("single", self._compile_single)

    @property
    def prepared(self) -> _core.PreparedWrite | None:
        """The statement of one row that needs nothing but parameters; None if anything else is done."""
        return self._text("prepared", self._prepare)

    def _prepare(self) -> _core.PreparedWrite | None:
        if self.acts_afterwards:
            return None
        text, key = (self.plain, None) if self.plain is not None else self.single or (None, None)
        return None if text is None else text.prepared(key)

    @property
    def multi(self) -> PagedInsert | None:
        """Several rows in one VALUES with RETURNING."""
        return self._text("multi", self._compile_multi)

    def _text(self, which: str, make: Callable[[], Any]) -> Any:
        try:
            return self._texts[which]
        except KeyError:
            return self._texts.setdefault(which, make())

    def _compile(self, statement: Any, *, executemany: bool) -> tuple[LaneStatement, Any] | None:
        return LaneStatement.compile(
            statement,
            self.dialect,
            self.entries,
            self.numbers,
            executemany=executemany,
            constants=self.attribute_defaults,
        )

    def _compile_plain(self) -> LaneStatement | None:
        if (self.fetched and self.can_return) or any(column.default is None for column in self.missing_key):
            return None
        found = self._compile(self.statement, executemany=True)
        if found is None:
            return None
        text, compiled = found
        made = {column.key for column in compiled.prefetch}
        if compiled.effective_returning or any(column.key not in made for column in self.missing_key):
            return None
        return text

    def _generated_key(self) -> Column[Any] | None:
        """The one missing primary key column, if the database numbers it in insert order."""
        if len(self.missing_key) != 1:
            return None
        (column,) = self.missing_key
        numbered = column is self.table.autoincrement_column and column.server_default is None
        return column if numbered and column.default is None and column.key in self.numbers else None

    def _compile_single(self) -> tuple[LaneStatement, int | None] | None:
        key = self._generated_key()
        if key is None and self.missing_key:
            return None
        statement = self.statement.return_defaults(*self.server_made) if self.wants_defaults else self.statement
        found = self._compile(statement, executemany=False)
        if found is None:
            return None
        text, compiled = found
        returned = [column.key for column in compiled.effective_returning]
        if key is None or key.key in returned:
            return text, None
        return (text, self.numbers[key.key]) if compiled.postfetch_lastrowid else None

    def _compile_multi(self) -> PagedInsert | None:
        key = self._generated_key()
        if key is None or not self.can_return or not self.entries:
            return None
        statement = self.statement.return_defaults(key, *self.fetched, sort_by_parameter_order=True)
        found = self._compile(statement, executemany=True)
        if found is None:
            return None
        text, compiled = found
        values = _sa.single_values_clause(compiled)
        number = self.numbers[key.key]
        if values is None or text.sql.count(values) != 1 or number not in text.returning:
            return None
        head, tail = text.sql.split(values)
        return PagedInsert(text, (head, values, tail), text.returning.index(number))


class UpdateShape(Shape):
    """UPDATE of certain columns of rows found by primary key (and version)."""

    def __init__(self, batch: _core.Batch, dialect: Dialect) -> None:
        super().__init__(batch, dialect)
        table = self.table
        criterion, where = self._where(batch, _sa.column_label)
        self.names: dict[int, str] = {number: self.keys[number] for number in batch.columns}
        self.names.update({entry: name for name, entry in where.items()})
        self.entries: dict[str, int] = {name: entry for entry, name in self.names.items()}
        self.where = tuple(where.values())
        self.statement = table.update().where(criterion)

        self._returned: list[Column[Any]] = []
        if self.mapper.base_mapper.eager_defaults is True and table.implicit_returning and dialect.update_returning:
            self._returned = [
                column
                for column in map(table.c.get, self.keys)
                if column is not None
                and (
                    column.server_onupdate is not None
                    or (column.onupdate is not None and column.onupdate.is_clause_element)
                )
            ]
        self._server_version = self.version_column is not None and self.mapper._version_id_has_server_side_value
        self.returns = self._server_version or self._misses_defaults(())
        self._lane: Any = _UNMADE
        self._prepared: Any = _UNMADE

    def _misses_defaults(self, expressions: Collection[str]) -> bool:
        return any(column.key not in self.entries or column.key in expressions for column in self._returned)

    def core_statement(self, expressions: Collection[str] = ()) -> Any:
        """The construct with which values come back, as SQLAlchemy's ORM would build it."""
        statement = self.statement
        if any(self.table.c[key].primary_key for key in expressions):
            statement = statement.return_defaults(*self.table.primary_key)
        if self._misses_defaults(expressions):
            statement = statement.return_defaults(*self._returned)
        if self._server_version:
            statement = statement.return_defaults(self.mapper.version_id_col)
        return statement

    @cached_property
    def plain_core_statement(self) -> Any:
        """The construct of rows without SQL expressions."""
        return self.core_statement()

    @property
    def lane(self) -> LaneStatement | None:
        """The text for the lane; None if values come back."""
        if self._lane is _UNMADE:
            found = (
                None
                if self.returns
                else LaneStatement.compile(self.statement, self.dialect, self.entries, self.numbers, executemany=True)
            )
            self._lane = found and found[0]
        return self._lane

    @property
    def prepared(self) -> _core.PreparedWrite | None:
        """The lane's statement for rows that need nothing but parameters; None if anything is done after it."""
        if self._prepared is _UNMADE:
            text = None if self.acts_afterwards else self.lane
            self._prepared = None if text is None else text.prepared()
        return self._prepared


class DeleteShape(Shape):
    """DELETE of rows found by primary key (and version)."""

    def __init__(self, batch: _core.Batch, dialect: Dialect) -> None:
        super().__init__(batch, dialect)
        criterion, self.entries = self._where(batch, lambda column: column.key)
        self.names: dict[int, str] = {entry: name for name, entry in self.entries.items()}
        self.statement = self.table.delete().where(criterion)
        found = LaneStatement.compile(self.statement, dialect, self.entries, self.numbers, executemany=True)
        self.lane: LaneStatement | None = found and found[0]


_UNMADE = object()
