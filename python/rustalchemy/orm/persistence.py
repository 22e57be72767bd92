"""Execution of a flush: batches of the native core become statements.

The core calls the ``FlushExecutor`` once per batch, in the order of the plan. A batch goes through the statement lane
where that is possible, otherwise through ``Connection.execute()``; what comes back (keys, defaults) is given to the
batch by row.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from sqlalchemy import select, util
from sqlalchemy.sql import ClauseElement

from . import exc
from ._lane import Lane, in_values_order
from ._secondary import SecondaryShape
from ._shapes import DeleteShape, InsertShape, LaneStatement, Row, Shape, UpdateShape

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, CursorResult, Dialect
    from sqlalchemy.schema import Table

    from .. import _core
    from ._session_transaction import SessionTransaction
    from .mapper import Mapper
    from .relationships import RelationshipProperty
    from .session import Session

_ShapeT = TypeVar("_ShapeT", bound=Shape)


class _Target:
    """Where the statements of one mapper hierarchy go: a lane, or a Connection, which a bare lane makes when asked."""

    __slots__ = ("_connection", "dialect", "lane")

    def __init__(self, lane: Lane | None, connection: Connection | None) -> None:
        self.lane = lane
        self._connection = connection
        self.dialect: Dialect = (lane or connection).dialect  # type: ignore[union-attr]

    @property
    def connection(self) -> Connection:
        if self._connection is None:
            assert self.lane is not None
            self._connection = self.lane.connection
        return self._connection


class FlushExecutor:
    """Sends the batches of one flush."""

    def __init__(self, session: Session, transaction: SessionTransaction, flush_context: Any) -> None:
        self._session = session
        # what the refresh_flush event shows its listeners
        self._flush_context = flush_context
        self._transaction = transaction
        self._targets: dict[Mapper[Any], _Target] = {}
        # states with values that the database made, to be loaded before the flush ends; with their objects, which
        # nobody else may hold once it is over
        self.written: list[tuple[Any, object]] = []

    # --- called by the native core -----------------------------------------------------------------------------------

    def insert(self, batch: _core.Batch) -> tuple[_core.PreparedWrite, Lane] | None:
        """Send a batch; what is returned is all that single rows of its shape need, if they need no more."""
        target = self._target(batch.mapper.mapper)
        shape = self._shape(InsertShape, batch, target.dialect)
        lane = target.lane
        through_core = lane is None or batch.has_sql or shape.tells_refreshed
        if lane is None or through_core or not self._insert_in_lane(lane, shape, batch):
            self._insert_through_core(target.connection, shape, batch)
        elif len(batch) == 1 and shape.prepared is not None:
            return shape.prepared, lane
        if shape.has_readonly or shape.loads_now:
            self._note_written(shape, batch)
        return None

    def update(self, batch: _core.Batch) -> tuple[_core.PreparedWrite, Lane] | None:
        """Send a batch; what is returned is all that further rows of its shape need, if they need no more."""
        target = self._target(batch.mapper.mapper)
        shape = self._shape(UpdateShape, batch, target.dialect)
        lane = target.lane
        text = None if lane is None or batch.has_sql or shape.tells_refreshed else shape.lane
        if lane is not None and text is not None:
            rows, made = _parameters(lane, shape, text, batch, text.stream)
            matched = lane.execute(text.sql, rows)
            text.store(batch, made)
            self._check_updated(shape, len(rows), matched)
            if shape.prepared is not None:
                return shape.prepared, lane
        else:
            self._update_through_core(target.connection, shape, batch)
        if shape.has_readonly or shape.loads_now:
            self._note_written(shape, batch)
        return None

    def stale_update(self, table: Table, expected: int, matched: int) -> NoReturn:
        """Refuse rows that were changed by somebody else, or are gone."""
        raise exc.StaleDataError(
            f"UPDATE statement on table '{table.description}' expected to update {expected} row(s); "
            f"{matched} were matched."
        )

    def delete(self, batch: _core.Batch) -> None:
        target = self._target(batch.mapper.mapper)
        shape = self._shape(DeleteShape, batch, target.dialect)
        lane, text = target.lane, shape.lane
        if lane is not None and text is not None:
            matched = lane.execute(text.sql, _parameters(lane, shape, text, batch, text.stream)[0])
        else:
            matched = self._delete_through_core(target.connection, shape, batch)
        self._check_deleted(shape, target.dialect, len(batch), matched)

    def secondary(
        self, prop: RelationshipProperty[Any], kind: str, keys: tuple[str, ...], rows: list[tuple[Any, ...]]
    ) -> None:
        """Change rows of a many-to-many's association table; an UPDATE's rows end with the old values."""
        target = self._target(prop.mapper)
        shapes = prop.mapper._flush_shapes
        shape = shapes.get(place := (SecondaryShape, prop.secondary, kind, keys, target.dialect))
        if shape is None:
            shape = shapes[place] = SecondaryShape(prop.secondary, kind, keys, target.dialect)
        if target.lane is None or not shape.execute_in_lane(target.lane, rows):
            shape.execute_through_core(target.connection, rows)

    def connect(self, manager: Any) -> None:
        """Begin where the rows of a mapper would go, for a step that has nothing to send."""
        self._target(manager.mapper)

    def event_arguments(self, manager: Any, obj: object) -> tuple[tuple[Mapper[Any], Connection], bool]:
        """What listeners of a mapper's row-level events get before an object, and whether they get it before all."""
        mapper = manager.mapper
        return (mapper, self._target(mapper).connection), True

    # --- after the statements ---

    def _note_written(self, shape: Shape, batch: _core.Batch) -> None:
        """Expire expressions over rows just written, and remember what has to be loaded before the flush ends."""
        if shape.has_readonly:
            for state in batch.states():
                _expire_readonly(state)
        if shape.loads_now:
            self.written += [(state, state.obj()) for state in batch.states()]

    def load_defaults(self) -> None:
        """Load values the database made and did not return, where the mapper wants them at once."""
        from . import loading

        for state, _ in self.written:
            mapper = state.mapper
            names = []
            if mapper.base_mapper.eager_defaults is True:
                names += state._unloaded_non_object.intersection(mapper._server_default_plus_onupdate_propkeys)
            if mapper.version_id_generator is False and mapper._version_id_prop is not None:
                names += state._unloaded_non_object.intersection([mapper._version_id_prop.key])
            if names:
                loading._load_on_ident(
                    self._session, select(mapper), state.key, refresh_state=state, only_load_props=names
                )
            if mapper.version_id_generator is False and mapper._version_id_prop is not None:
                if state.dict[mapper._version_id_prop.key] is None:
                    raise exc.FlushError("Instance does not contain a non-NULL version value")
        self.written.clear()

    # --- connections and shapes --------------------------------------------------------------------------------------

    def _target(self, mapper: Mapper[Any]) -> _Target:
        only = self._only_target
        if only is not None:
            return only
        base = mapper.base_mapper
        target = self._targets.get(base)
        if target is None:
            connection = self._transaction.connection(base)
            target = self._targets[base] = _Target(Lane.of(connection), connection)
        return target

    @functools.cached_property
    def _only_target(self) -> _Target | None:
        """Where every statement goes, if the session has one bind and a lane on it."""
        session = self._session
        transaction = self._transaction
        lane = session._kept_lane(transaction)
        bind = session.bind
        if lane is None and bind is not None and session._has_only_bind:
            lane = transaction._lane_for_bind(bind)
        return None if lane is None else _Target(lane, None)

    @staticmethod
    def _shape(kind: type[_ShapeT], batch: _core.Batch, dialect: Dialect) -> _ShapeT:
        shapes = batch.mapper.mapper._flush_shapes
        key = (kind, batch.table_no, batch.columns, batch.where, dialect)
        shape = shapes.get(key)
        if shape is None:
            shape = shapes[key] = kind(batch, dialect)
        return shape

    def _options(self, shape: Shape) -> dict[str, Any]:
        return {"compiled_cache": shape.mapper.base_mapper._compiled_cache}

    # --- INSERT ------------------------------------------------------------------------------------------------------

    def _insert_in_lane(self, lane: Lane, shape: InsertShape, batch: _core.Batch) -> bool:
        """Send a batch through the lane; False if it has to go through Core."""
        plain = shape.plain
        if plain is not None:
            rows, made = _parameters(lane, shape, plain, batch, plain.stream)
            lane.execute(plain.sql, rows)
            plain.store(batch, made)
            return True
        return self._insert_one(lane, shape, batch) if len(batch) == 1 else self._insert_pages(lane, shape, batch)

    def _insert_one(self, lane: Lane, shape: InsertShape, batch: _core.Batch) -> bool:
        single = shape.single
        if single is None:
            return False
        text, key = single
        (row,), made = _parameters(lane, shape, text, batch, text.parameters)
        if text.returning:
            returned, _ = lane.fetch(text.sql, row)
            _set_returned(batch, text, returned)
        else:
            generated = lane.insert(text.sql, row)
            if key is not None:
                batch.set_columns((key,), [(generated,)])
        text.store(batch, made)
        return True

    def _insert_pages(self, lane: Lane, shape: InsertShape, batch: _core.Batch) -> bool:
        multi = shape.multi
        if multi is None:
            return False
        text = multi.text
        values, made = _parameters(lane, shape, text, batch, text.flat)
        returned: list[Row] = []
        start = 0
        for page in multi.pages(len(batch), lane.dialect):
            end = start + page * multi.width
            back, _ = lane.fetch(multi.sql(page), values[start:end])
            returned += in_values_order(back, multi.key)
            start = end
        if len(returned) != len(batch):
            raise exc.FlushError(
                f"Multi-row INSERT statement for {shape.mapper} did not produce the correct number of INSERTed rows "
                "for RETURNING.  Ensure there are no triggers or special driver issues preventing INSERT from "
                "functioning properly."
            )
        _set_returned(batch, text, returned)
        text.store(batch, made)
        return True

    def _insert_through_core(self, connection: Connection, shape: InsertShape, batch: _core.Batch) -> None:
        rows = batch.dicts(shape.names)
        has_sql = batch.has_sql
        if shape.attribute_defaults:
            rows = [{**row, **shape.attribute_defaults} for row in rows]
            has_sql = has_sql or shape.has_sql_defaults
        options = self._options(shape)
        dialect = connection.dialect
        nothing_back = not shape.missing_key and not has_sql and (not shape.wants_defaults or not shape.can_return)
        if nothing_back:
            result = connection.execute(shape.statement, rows, execution_options=options)
            self._store_core_rows(shape, batch, result, [], False)
            return

        executemany = (
            shape.table.implicit_returning
            and not has_sql
            and len(rows) > 1
            and dialect.insert_executemany_returning_sort_by_parameter_order
        )
        if executemany:
            statement = shape.core_statement(executemany=True)
            result = connection.execute(statement, rows, execution_options=options)
            identities = result.inserted_primary_key_rows
            if len(identities) < len(rows):
                raise exc.FlushError(
                    f"Multi-row INSERT statement for {shape.mapper} did not produce the correct number of INSERTed "
                    "rows for RETURNING.  Ensure there are no triggers or special driver issues preventing INSERT "
                    "from functioning properly."
                )
            self._store_generated_keys(shape, batch, identities)
            self._store_core_rows(shape, batch, result, result.returned_defaults_rows or [], False)
            return

        for position, row in enumerate(rows):
            one = batch if len(rows) == 1 else batch.slice(position)
            expressions, values = _split_expressions(shape, row)
            statement = shape.core_statement(False, expressions)
            result = connection.execute(
                statement.values(expressions) if expressions else statement, values, execution_options=options
            )
            identity = result.inserted_primary_key
            if identity is None:
                raise exc.FlushError(
                    f"Single-row INSERT statement for {shape.mapper} did not produce a new primary key result being "
                    "invoked.  Ensure there are no triggers or special driver issues preventing INSERT from "
                    "functioning properly."
                )
            computed = [column for column in shape.table.primary_key if column.key in expressions]
            self._store_generated_keys(shape, one, [identity], computed)
            returned = result.returned_defaults
            self._store_core_rows(shape, one, result, [] if returned is None else [returned], False)

    def _store_generated_keys(
        self, shape: InsertShape, batch: _core.Batch, identities: Sequence[Any], computed: Sequence[Any] = ()
    ) -> None:
        primary_key = list(shape.table.primary_key)
        wanted = [
            (index, shape.numbers[column.key])
            for index, column in enumerate(primary_key)
            if column.key in shape.numbers and (column in shape.missing_key or column in computed)
        ]
        if wanted:
            batch.set_columns(
                tuple(number for _, number in wanted),
                [tuple(identity[index] for index, _ in wanted) for identity in identities],
            )

    # --- UPDATE ------------------------------------------------------------------------------------------------------

    def _update_through_core(self, connection: Connection, shape: UpdateShape, batch: _core.Batch) -> None:
        rows = batch.dicts(shape.names)
        options = self._options(shape)
        if not batch.has_sql and not shape.returns and shape.version_column is None:
            result = connection.execute(shape.statement, rows, execution_options=options)
            self._store_core_rows(shape, batch, result, [], True)
            self._check_updated(shape, len(rows), result.rowcount, connection.dialect, executemany=True)
            return

        matched = 0
        for position, row in enumerate(rows):
            one = batch if len(rows) == 1 else batch.slice(position)
            expressions, values = _split_expressions(shape, row)
            # one construct for all rows: what it holds may be counted by its own compilation
            statement = shape.core_statement(expressions) if expressions else shape.plain_core_statement
            result = connection.execute(
                statement.values(expressions) if expressions else statement, values, execution_options=options
            )
            returned = result.returned_defaults
            self._store_core_rows(shape, one, result, [] if returned is None else [returned], True)
            matched += result.rowcount
        self._check_updated(shape, len(rows), matched, connection.dialect)

    def _check_updated(
        self,
        shape: UpdateShape,
        expected: int,
        matched: int,
        dialect: Dialect | None = None,
        *,
        executemany: bool = False,
    ) -> None:
        if dialect is not None:
            verifiable = dialect.supports_sane_rowcount and (
                not executemany or expected == 1 or dialect.supports_sane_multi_rowcount
            )
            if not verifiable:
                if shape.version_column is not None:
                    util.warn(
                        f"Dialect {dialect.dialect_description} does not support updated rowcount - versioning cannot "
                        "be verified."
                    )
                return
        if matched != expected:
            self.stale_update(shape.table, expected, matched)

    # --- DELETE ------------------------------------------------------------------------------------------------------

    def _delete_through_core(self, connection: Connection, shape: DeleteShape, batch: _core.Batch) -> int:
        rows = batch.dicts(shape.names)
        dialect = connection.dialect
        options = self._options(shape)
        if shape.version_column is None or dialect.supports_sane_multi_rowcount:
            return connection.execute(shape.statement, rows, execution_options=options).rowcount
        if dialect.supports_sane_rowcount:
            return sum(connection.execute(shape.statement, row, execution_options=options).rowcount for row in rows)
        util.warn(
            f"Dialect {dialect.dialect_description} does not support deleted rowcount - versioning cannot be verified."
        )
        connection.execute(shape.statement, rows, execution_options=options)
        return -1

    def _check_deleted(self, shape: DeleteShape, dialect: Dialect, expected: int, matched: int) -> None:
        if (
            not shape.mapper.base_mapper.confirm_deleted_rows
            or matched < 0
            or matched == expected
            or not (dialect.supports_sane_multi_rowcount or expected == 1)
        ):
            return
        message = (
            f"DELETE statement on table '{shape.table.description}' expected to delete {expected} row(s); {matched} "
            "were matched.  Please set confirm_deleted_rows=False within the mapper configuration to prevent this "
            "warning."
        )
        if shape.version_column is not None:
            raise exc.StaleDataError(message)
        util.warn(message)

    # --- what came back through Core ---------------------------------------------------------------------------------

    def _store_core_rows(
        self,
        shape: Shape,
        batch: _core.Batch,
        result: CursorResult[Any],
        returned: Sequence[Any],
        isupdate: bool,
    ) -> None:
        """Give the batch versions, returned and Python-side defaults, and expire what the database made unseen."""
        batch.settle_versions()
        context: Any = result.context
        compiled = context.compiled
        numbers = shape.numbers
        columns = compiled.effective_returning
        refreshed: list[str] = []
        if columns and returned:
            wanted = [
                (index, numbers[column.key])
                for index, column in enumerate(columns)
                if column.key in numbers and (isupdate or not column.primary_key)
            ]
            refreshed += [columns[index].key for index, _ in wanted if not columns[index].primary_key]
            if wanted:
                batch.set_columns(
                    tuple(number for _, number in wanted),
                    [tuple(row[index] for index, _ in wanted) for row in returned],
                )
        sent = context.compiled_parameters
        made = [*(column.key for column in compiled.prefetch), *shape.attribute_defaults]
        prefetched = [key for key in made if key in numbers and key in sent[0]]
        if prefetched and len(sent) == len(batch):
            batch.settle_columns(
                tuple(numbers[key] for key in prefetched), [tuple(row[key] for key in prefetched) for row in sent]
            )
        if shape.tells_refreshed and not batch.is_leaving:
            self._tell_refreshed(shape, batch, refreshed + prefetched)
        if compiled.postfetch:
            batch.expire_columns(shape.stored_numbers(compiled.postfetch))

    def _tell_refreshed(self, shape: Shape, batch: _core.Batch, keys: list[str]) -> None:
        """Tell the listeners of refresh_flush which attributes got values that the program did not set."""
        mapper = shape.mapper
        names = [mapper._columntoproperty[shape.table.c[key]].key for key in keys]
        if names:
            for state in batch.states():
                mapper.class_manager.dispatch.refresh_flush(state, self._flush_context, list(names))


def _expire_readonly(state: Any) -> None:
    """Expire the column properties of a state that are SQL expressions, as far as nobody has set them."""
    present = state.dict
    names = [
        prop.key
        for prop in state.mapper._readonly_props
        if (prop.expire_on_flush and (not prop.deferred or prop.key in present))
        or (not prop.expire_on_flush and not prop.deferred and prop.key not in present)
    ]
    names = state.unmodified_intersection(names) if names else names
    if names:
        state._expire_attributes(present, names)


def _parameters(
    lane: Lane,
    shape: InsertShape | UpdateShape | DeleteShape,
    text: LaneStatement,
    batch: _core.Batch,
    make: Callable[[_core.Batch], tuple[Any, list[list[Any]]]],
) -> tuple[Any, list[list[Any]]]:
    """What ``make`` makes of a batch: parameters, and the values made by default. What it raises is Core's to word."""
    try:
        return make(batch)
    except BaseException as err:
        lane.refuse(err, text.sql, batch.dicts(shape.names))


def _set_returned(batch: _core.Batch, text: LaneStatement, rows: list[Row]) -> None:
    rows = text.rows_back(rows)
    if None in text.returning:
        wanted = [index for index, number in enumerate(text.returning) if number is not None]
        rows = [tuple(row[index] for index in wanted) for row in rows]
    batch.set_columns(tuple(number for number in text.returning if number is not None), rows)


def _split_expressions(shape: Shape, row: dict[str, Any]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """SQL expressions of a row by column key, and its plain values."""
    expressions: dict[Any, Any] = {}
    values: dict[str, Any] = {}
    for name, value in row.items():
        if hasattr(value, "__clause_element__"):
            value = value.__clause_element__()
        if isinstance(value, ClauseElement) and name in shape.numbers:
            expressions[name] = value
        else:
            values[name] = value
    return expressions, values
