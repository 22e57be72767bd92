"""Many rows of one entity written without objects: ``bulk_insert_mappings()`` and lists of parameters.

Rows are dictionaries by attribute name. One statement is sent for each run of rows with the same parameters, for each
table of the mapper.
"""

from __future__ import annotations

from functools import cached_property
from itertools import groupby, zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import exc as sa_exc
from sqlalchemy import sql, util
from sqlalchemy.engine import cursor as _cursor
from sqlalchemy.engine import result as _result

from .. import _core, _sa
from . import exc as orm_exc
from ._bulk_lane import ReturnedRows, insert_rows, update_rows
from ._statement_shape import dml_shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .mapper import Mapper

_Row = dict[str, Any]


class _InsertRecord(NamedTuple):
    """One row of one table to be INSERTed."""

    values: _Row  # by attribute: what came in, and where generated values go
    params: _Row  # by column key
    has_all_pks: bool
    has_all_defaults: bool

    @property
    def shape(self) -> tuple[Any, ...]:
        return self.params.keys(), self.has_all_pks, self.has_all_defaults


def _refuse_sharding(session: Any, function: str) -> None:
    if session.connection_callable:
        raise NotImplementedError(f"connection_callable / per-instance sharding not supported in {function}()")


def _embedded_parameters(statement: Any, rows: list[_Row]) -> list[str]:
    """Names of bound parameters the user's statement has itself and the rows give values for."""
    if statement is None or not rows:
        return []
    shape = dml_shape(statement)
    parameters = statement._get_embedded_bindparams() if shape is None else shape[1]
    return [param.key for param in parameters if param.key in rows[0]]


def _expand_other_attrs(mapper: Mapper[Any], rows: Iterable[_Row]) -> None:
    """Let attributes that are no columns (composites, hybrids) put their columns into the rows."""
    setters = mapper._row_setters
    if not setters:
        return
    for row in rows:
        for key in setters.keys() & row.keys():
            setters[key](row)


def _bulk_insert(
    mapper: Mapper[Any],
    mappings: Iterable[Any],
    session_transaction: Any,
    *,
    isstates: bool,
    return_defaults: bool,
    render_nulls: bool,
    use_orm_insert_stmt: Any = None,
    execution_options: Any = None,
) -> Any:
    """INSERT rows, given as dictionaries or as states of objects.

    :param return_defaults: put generated primary keys and defaults into the rows (or objects).
    :param render_nulls: send None as NULL instead of leaving the column to its default.
    :param use_orm_insert_stmt: the user's ``insert(Entity)``; its result, or its ReturnedRows, is returned.
    """
    _refuse_sharding(session_transaction.session, "bulk_insert")
    base_mapper = mapper.base_mapper
    states = list(mappings) if isstates else []
    rows: list[_Row]
    if isstates:
        rows = [state.dict for state in states]
    else:
        rows = list(mappings) if return_defaults else [dict(row) for row in mappings]
        _expand_other_attrs(mapper, rows)

    tables = [
        (table, super_mapper)
        for table, super_mapper in base_mapper._sorted_tables.items()
        if table in mapper._pks_by_table
    ]
    # a second table needs the keys of the first
    bookkeeping = return_defaults or len(tables) > 1
    extra_keys = _embedded_parameters(use_orm_insert_stmt, rows)
    writer = _InsertWriter(mapper, session_transaction, bookkeeping, use_orm_insert_stmt, execution_options)
    if not (bookkeeping or isstates or extra_keys):
        ((table, super_mapper),) = tables
        statement = writer._statement(super_mapper, table)
        session = session_transaction.session
        inserted = insert_rows(
            session, mapper, table, statement, use_orm_insert_stmt, rows, render_nulls, execution_options
        )
        if isinstance(inserted, ReturnedRows):
            return inserted
        if inserted:
            return None if use_orm_insert_stmt is None else _cursor.null_dml_result()

    total = None
    for table, super_mapper in tables:
        record = _RecordMaker(mapper, table, bookkeeping, render_nulls, extra_keys, writer.connection).record
        records = list(map(record, rows))
        result = writer.write(super_mapper, table, records)
        if use_orm_insert_stmt is not None:
            if total is None or not use_orm_insert_stmt._returning:
                total = result
            elif result.returns_rows:
                total = total.splice_horizontally(result)

    if return_defaults and isstates:
        key_names = [prop.key for prop in mapper._identity_key_props]
        for state in states:
            row = state.dict
            state.key = (mapper._identity_class, tuple(row[name] for name in key_names), None)
    return total


class _RecordMaker:
    """Makes the records of one table."""

    def __init__(
        self,
        mapper: Mapper[Any],
        table: Any,
        bookkeeping: bool,
        render_nulls: bool,
        extra_keys: list[str],
        connection: Any,
    ) -> None:
        keep_none = mapper._insert_cols_evaluating_none[table]
        #: attribute, column key, whether None is sent
        self._columns = [
            (name, column.key, render_nulls or column in keep_none)
            for name, column in mapper._propkey_to_col[table].items()
        ]
        self._key_names = mapper._pk_keys_by_table[table] if bookkeeping else frozenset()
        eager = bookkeeping and mapper.base_mapper._prefer_eager_defaults(connection.dialect, table)
        self._default_names = mapper._server_default_col_keys[table] if eager else frozenset()
        self._extra_keys = extra_keys
        version, generator = mapper.version_id_col, mapper.version_id_generator
        self._version: tuple[str, Any] | None = None
        if version is not None and generator is not False and version in mapper._cols_by_table[table]:
            self._version = (version.key, generator)
        self._identity = (
            (str(mapper._polymorphic_attr_key), mapper.polymorphic_identity)
            if mapper._set_polymorphic_identity
            else None
        )

    def record(self, row: _Row) -> _InsertRecord:
        params = {
            key: row[name]
            for name, key, sends_none in self._columns
            if name in row and (sends_none or row[name] is not None)
        }
        has_all_pks = self._key_names <= params.keys()
        has_all_defaults = self._default_names <= params.keys()
        if self._version is not None:
            key, generator = self._version
            params[key] = generator(None)
        if self._identity is not None:
            params.setdefault(*self._identity)
        for key in self._extra_keys:
            params[key] = row[key]
        return _InsertRecord(row, params, has_all_pks, has_all_defaults)


class _Writer:
    """Sends statements of a mapper through Core, on a connection that is there only where the lane did not do."""

    mapper: Mapper[Any]
    transaction: Any

    @cached_property
    def connection(self) -> Any:
        return self.transaction.connection(self.mapper.base_mapper)


class _InsertWriter(_Writer):
    """Sends the INSERT statements of one ``_bulk_insert``."""

    def __init__(
        self, mapper: Mapper[Any], transaction: Any, bookkeeping: bool, user_statement: Any, execution_options: Any
    ) -> None:
        self.mapper = mapper
        self.base_mapper = mapper.base_mapper
        self.transaction = transaction
        self.bookkeeping = bookkeeping
        self.user_statement = user_statement
        options = {} if user_statement is not None else {"compiled_cache": self.base_mapper._compiled_cache}
        self.execution_options = util.EMPTY_DICT.merge_with(options, execution_options or {})

    def write(self, table_mapper: Mapper[Any], table: Any, records: list[_InsertRecord]) -> Any:
        """Send the rows of one table; return the result if the user's statement is sent."""
        total = None
        for _shape, group in groupby(records, lambda record: record.shape):
            result = self._write_group(table_mapper, table, list(group))
            if result is not None:
                total = result if total is None else total.splice_vertically(result)
        if self.user_statement is not None and total is None:
            return _cursor.null_dml_result()
        return total

    def _statement(self, table_mapper: Mapper[Any], table: Any) -> Any:
        if self.user_statement is None:
            return self.base_mapper._memo(("insert", table), table.insert)
        return self.user_statement._annotate({"_emit_insert_table": table, "_emit_insert_mapper": table_mapper})

    def _write_group(self, table_mapper: Mapper[Any], table: Any, records: list[_InsertRecord]) -> Any:
        """Send rows of one shape; the result counts only if it has the user's rows, or is the only one."""
        dialect = self.connection.dialect
        statement = self._statement(table_mapper, table)
        returning = self.user_statement is not None and bool(self.user_statement._returning)
        first = records[0]
        eager = self.base_mapper._prefer_eager_defaults(dialect, table)
        wants_defaults = (
            self.bookkeeping
            and not first.has_all_defaults
            and eager
            and table.implicit_returning
            and dialect.insert_returning
        )

        if first.has_all_pks and not returning and not wants_defaults:
            self._execute(statement, [record.params for record in records])
            if self.bookkeeping:
                for record in records:
                    _copy_keys_down(self.mapper, record.values, table)
            return None

        many = self._can_return_many(table, records, returning)
        if self.user_statement is None and not first.has_all_defaults and eager:
            statement = statement.return_defaults(
                *self.mapper._server_default_cols[table], sort_by_parameter_order=self.bookkeeping
            )
        if table_mapper.version_id_col is not None:
            statement = statement.return_defaults(table_mapper.version_id_col, sort_by_parameter_order=self.bookkeeping)
        elif many:
            statement = statement.return_defaults(*table.primary_key, sort_by_parameter_order=self.bookkeeping)

        if not many:
            for record in records:
                self._write_single(statement, table, record)
            return None
        result = self._execute(statement, [record.params for record in records])
        if self.bookkeeping:
            for record, key in zip_longest(records, result.inserted_primary_key_rows):
                if key is None or record is None:
                    raise orm_exc.FlushError(
                        f"Multi-row INSERT statement for {self.mapper} did not produce the correct number of INSERTed "
                        "rows for RETURNING.  Ensure there are no triggers or special driver issues preventing INSERT "
                        "from functioning properly."
                    )
                self._store_key(table, record, key)
        return result if self.user_statement is not None else None

    def _can_return_many(self, table: Any, records: list[_InsertRecord], returning: bool) -> bool:
        """Whether one executemany brings the generated values back, in the order of the rows if that matters."""
        if not returning and not (table.implicit_returning and len(records) > 1):
            return False
        dialect = self.connection.dialect
        in_order = self.bookkeeping or (returning and self.user_statement._sort_by_parameter_order)
        if in_order:
            possible = bool(dialect.insert_executemany_returning_sort_by_parameter_order)
        else:
            possible = bool(dialect.insert_executemany_returning)
        if returning and not possible:
            what = " with RETURNING and sort by parameter order" if in_order else " with RETURNING"
            raise sa_exc.InvalidRequestError(
                f"Can't use explicit RETURNING for bulk INSERT operation with {dialect.dialect_description} backend; "
                f"executemany{what} is not enabled for this dialect."
            )
        return possible

    def _write_single(self, statement: Any, table: Any, record: _InsertRecord) -> None:
        result = self._execute(statement, record.params)
        key = result.inserted_primary_key
        if key is None:
            raise orm_exc.FlushError(
                f"Single-row INSERT statement for {self.mapper} did not produce a new primary key result being "
                "invoked.  Ensure there are no triggers or special driver issues preventing INSERT from functioning "
                "properly."
            )
        self._store_key(table, record, key)

    def _store_key(self, table: Any, record: _InsertRecord, key: Iterable[Any]) -> None:
        mapper = self.mapper
        for value, column in zip(key, mapper._pks_by_table[table], strict=True):
            name = mapper._columntoproperty[column].key
            if record.values.get(name) is None:
                record.values[name] = value
        if self.bookkeeping:
            _copy_keys_down(mapper, record.values, table)

    def _execute(self, statement: Any, params: Any) -> Any:
        return self.connection.execute(statement, params, execution_options=self.execution_options)


def _copy_keys_down(mapper: Mapper[Any], row: _Row, table: Any) -> None:
    """Give the columns of joined tables that equal this table's primary key its value."""
    for super_mapper, pairs in mapper._table_to_equated[table]:
        for source, destination in pairs:
            row[super_mapper._columntoproperty[destination].key] = row.get(super_mapper._columntoproperty[source].key)


def _bulk_update(
    mapper: Mapper[Any],
    mappings: Iterable[Any],
    session_transaction: Any,
    *,
    isstates: bool,
    update_changed_only: bool,
    use_orm_update_stmt: Any = None,
    enable_check_rowcount: bool = True,
) -> Any:
    """UPDATE rows by primary key, given as dictionaries or as states of objects.

    :param update_changed_only: of states, send only what changed.
    :param use_orm_update_stmt: the user's ``update(Entity)``, which gets the primary key criteria.
    """
    _refuse_sharding(session_transaction.session, "bulk_update")
    version_prop = mapper._version_id_prop
    rows: list[_Row]
    if isstates and update_changed_only:
        wanted = set(mapper._primary_key_propkeys) | ({version_prop.key} if version_prop else set())
        rows = [
            {key: value for key, value in state.dict.items() if key in changed or key in wanted}
            for state, changed in ((state, _core._committed_values(state)) for state in mappings)
        ]
    elif isstates:
        rows = [dict(state.dict) for state in mappings]
    else:
        rows = [dict(row) for row in mappings]
        _expand_other_attrs(mapper, rows)

    extra_keys = _embedded_parameters(use_orm_update_stmt, rows)
    for table, super_mapper in mapper.base_mapper._sorted_tables.items():
        if mapper.isa(super_mapper) and table in mapper._pks_by_table:
            records = _update_params(mapper, table, rows, use_orm_update_stmt, extra_keys)
            writer = _UpdateWriter(super_mapper, table, session_transaction, use_orm_update_stmt, enable_check_rowcount)
            if not (isstates or extra_keys or writer.fixed_values):
                updated = update_rows(
                    session_transaction.session, mapper, table, writer.statement, use_orm_update_stmt, rows
                )
                if updated is not None:
                    writer.check(*updated, len(rows))
                    continue
            writer.write(records)
    return _result.null_result() if use_orm_update_stmt is not None else None


def _has_fixed_values(user_statement: Any) -> bool:
    """Whether the user's UPDATE sets something beside what the rows say."""
    return user_statement is not None and bool(user_statement._values) and not _sa.has_ordered_values(user_statement)


def _update_params(
    mapper: Mapper[Any], table: Any, rows: Iterable[_Row], user_statement: Any, extra_keys: list[str]
) -> Iterator[_Row]:
    """Parameters of the rows that have something to UPDATE in one table."""
    columns = mapper._propkey_to_col[table]
    key_names = mapper._pk_attr_keys_by_table[table]
    version = mapper.version_id_col if mapper.version_id_col in mapper._cols_by_table[table] else None
    fixed_values = _has_fixed_values(user_statement)
    for row in rows:
        params = {columns[name].key: row[name] for name in columns if name in row and name not in key_names}
        old_version = row[mapper._version_id_prop.key] if mapper._version_id_prop else None
        if old_version is not None and version is not None:
            if mapper.version_id_generator is not False:
                params[version.key] = mapper.version_id_generator(old_version)
            elif not params and not fixed_values:
                params[version.key] = old_version
            params[version._label] = old_version
        elif not params and not fixed_values:
            continue
        params.update((key, row[key]) for key in extra_keys)
        params.update(_key_params(mapper, table, row))
        yield params


def _key_params(mapper: Mapper[Any], table: Any, row: _Row) -> _Row:
    columns = mapper._propkey_to_col[table]
    params = {columns[name]._label: row.get(name) for name in columns if name in mapper._pk_attr_keys_by_table[table]}
    missing = [str(column) for column in mapper._pks_by_table[table] if params[column._label] is None]
    if missing:
        raise sa_exc.InvalidRequestError(
            f"No primary key value supplied for column(s) {', '.join(missing)}; per-row ORM Bulk UPDATE by Primary Key "
            "requires that records contain primary key values",
            code="bupq",
        )
    return params


# what an UPDATE consists of that has nothing but its entity
_BARE = frozenset({"_Annotated__element", "_annotations", "_hash", "_propagate_attrs", "table"})


class _UpdateWriter(_Writer):
    """Sends the UPDATE statements of one table."""

    def __init__(
        self, mapper: Mapper[Any], table: Any, transaction: Any, user_statement: Any, check_rowcount: bool
    ) -> None:
        self.mapper = mapper
        self.table = table
        self.transaction = transaction
        self.check_rowcount = check_rowcount
        version = mapper.version_id_col
        self.versioned = version is not None and version in mapper._cols_by_table[table]
        self.execution_options = {"compiled_cache": mapper.base_mapper._compiled_cache}
        if user_statement is None:
            self.statement = mapper.base_mapper._memo(("bulk_update", table), lambda: self._by_key(table.update()))
        elif _BARE.issuperset(user_statement.__dict__):
            annotations = tuple(user_statement._annotations.items())
            key = ("bulk_update", table, mapper, user_statement.table, annotations)
            self.statement = mapper.base_mapper._memo(key, lambda: self._of_user(user_statement))
        else:
            self.statement = self._of_user(user_statement)
        self.fixed_values = _has_fixed_values(user_statement)
        if mapper._version_id_has_server_side_value:
            self.statement = self.statement.return_defaults(version)

    def _of_user(self, statement: Any) -> Any:
        return self._by_key(statement)._annotate({"_emit_update_table": self.table, "_emit_update_mapper": self.mapper})

    def _by_key(self, statement: Any) -> Any:
        columns = [*self.mapper._pks_by_table[self.table]]
        if self.versioned:
            columns.append(self.mapper.version_id_col)
        return statement.where(
            sql.and_(*[column == sql.bindparam(column._label, type_=column.type) for column in columns])
        )

    def write(self, records: Iterable[_Row]) -> None:
        for _names, group in groupby(records, set):
            self._write_group(list(group))

    def _write_group(self, params: list[_Row]) -> None:
        dialect = self.connection.dialect
        checked = self.check_rowcount and dialect.supports_sane_rowcount
        # a single rowcount for many rows cannot tell which version was stale
        one_by_one = self.versioned or self.fixed_values or self.mapper._version_id_has_server_side_value
        if one_by_one:
            matched = sum(self._execute(row).rowcount for row in params)
        else:
            matched = self._execute(params).rowcount
            checked = checked and (dialect.supports_sane_multi_rowcount or len(params) == 1)
        if checked:
            self._expect(matched, len(params))
        elif self.versioned:
            util.warn(
                f"Dialect {dialect.dialect_description} does not support updated rowcount - versioning cannot be "
                "verified."
            )

    def check(self, matched: int, dialect: Any, wanted: int) -> None:
        """Complain of rows that were not there, where the database tells how many were."""
        if (
            self.check_rowcount
            and dialect.supports_sane_rowcount
            and (dialect.supports_sane_multi_rowcount or wanted == 1)
        ):
            self._expect(matched, wanted)

    def _expect(self, matched: int, wanted: int) -> None:
        if matched != wanted:
            raise orm_exc.StaleDataError(
                f"UPDATE statement on table '{self.table.description}' expected to update {wanted} row(s); "
                f"{matched} were matched."
            )

    def _execute(self, params: Any) -> Any:
        return self.connection.execute(self.statement, params, execution_options=self.execution_options)
