"""Lists of parameters of one shape, straight to the lane: bulk INSERT, its RETURNING included, and bulk UPDATE.

Core turns every row into a dictionary, a compiled parameter set and a tuple. Here rows become tuples at once. Whatever
is not the plain case (NULLs that depend on the row, Python-side defaults, several tables, values that the driver's
types decline) is left to Core: these functions answer False or None before anything was sent.
"""

from __future__ import annotations

from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from .._sa import compile_cached, returning_order, single_values_clause
from ._lane import in_values_order, page_sizes
from ._statement_cache import kept_shape, remember_shape
from ._statement_shape import dml_shape
from .context import _orm_load_exec_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ._lane import Lane
    from .mapper import Mapper

_OURS = frozenset(
    {"dml_strategy", "autoflush", "populate_existing", "render_nulls", "synchronize_session", *_orm_load_exec_options}
)


class ReturnedRows(NamedTuple):
    """The raw rows of an INSERT's RETURNING, and what is needed to read them."""

    compiled: Any
    dialect: Any
    rows: list[tuple[Any, ...]]
    description: Any


def _is_plain(mapper: Mapper[Any], statement: Any, execution_options: Mapping[str, Any] | None) -> bool:
    """Whether rows of the entity are rows of one table, without versions, and all there is to do is to send them."""
    if mapper.version_id_col is not None or len(mapper._pks_by_table) != 1 or mapper._set_polymorphic_identity:
        return False
    if statement is not None and (statement._values or statement._execution_options):
        return False
    return not execution_options or all(name in _OURS or name.startswith("_sa_") for name in execution_options)


def insert_rows(
    session: Any,
    mapper: Mapper[Any],
    table: Any,
    statement: Any,
    user_statement: Any,
    rows: Sequence[Mapping[str, Any]],
    render_nulls: bool,
    execution_options: Mapping[str, Any] | None,
) -> ReturnedRows | bool:
    """Whether the rows were INSERTed; what they returned, if the user's statement returns something."""
    if not rows or not _is_plain(mapper, user_statement, execution_options):
        return False
    columns = mapper._propkey_to_col[table]
    names = [name for name in columns if name in rows[0]]
    keep_none = mapper._insert_cols_evaluating_none[table]
    nullable = {name for name in names if render_nulls or columns[name] in keep_none}
    returns = user_statement is not None and bool(user_statement._returning)
    keys = {columns[name].key: name for name in names}
    batch = _Rows(session, mapper, statement, keys, table.primary_key if returns else ()).batch(rows, nullable)
    if batch is None:
        return False
    if returns:
        return batch.insert_returning() or False
    return batch.send() is not None


def update_rows(
    session: Any, mapper: Mapper[Any], table: Any, statement: Any, user_statement: Any, rows: Sequence[dict[str, Any]]
) -> tuple[int, Any] | None:
    """How many rows an UPDATE by primary key matched, and the dialect that says so; None if it was not done."""
    if (
        not rows
        or not _is_plain(mapper, user_statement, None)
        or (user_statement is not None and user_statement._returning)
    ):
        return None
    columns = mapper._propkey_to_col[table]
    names = [name for name in columns if name in rows[0]]
    keys = mapper._pk_attr_keys_by_table[table]
    if not keys.issubset(names) or len(keys) == len(names):
        return None
    parameters = {(columns[name]._label if name in keys else columns[name].key): name for name in names}
    nullable = {name for name in names if name not in keys}
    batch = _Rows(session, mapper, statement, parameters).batch(rows, nullable)
    matched = None if batch is None else batch.send()
    return None if batch is None or matched is None else (matched, batch.lane.dialect)


class _Batch(NamedTuple):
    """Rows that are ready to be sent."""

    lane: Lane
    compiled: Any
    parameters: Sequence[tuple[Any, ...]]

    def send(self) -> int | None:
        """The number of rows matched; None if something would have to come back."""
        return None if self.compiled.effective_returning else self.lane.execute(self.compiled.string, self.parameters)

    def insert_returning(self) -> ReturnedRows | None:
        """Send one INSERT for each page of rows, as Core does; None if it needs more than a longer VALUES for that."""
        lane, compiled, parameters = self
        dialect: Any = lane.dialect
        values = single_values_clause(compiled)
        in_order, is_plain = returning_order(compiled)
        place = _generated_key_place(compiled) if in_order else None
        if values is None or compiled.string.count(values) != 1 or not is_plain or (in_order and place is None):
            return None
        head, tail = compiled.string.split(values)
        at_most = dialect.insertmanyvalues_max_parameters // max(len(parameters[0]), 1)
        found: list[tuple[Any, ...]] = []
        description = None
        start = 0
        for page in page_sizes(len(parameters), min(dialect.insertmanyvalues_page_size, at_most)):
            chunk = parameters[start : start + page]
            rows, description = lane.fetch(head + ", ".join([values] * page) + tail, list(chain.from_iterable(chunk)))
            found += rows if place is None else in_values_order(rows, place)
            start += page
        return ReturnedRows(compiled, dialect, found, description)


def _generated_key_place(compiled: Any) -> int | None:
    """Where in RETURNING the key is that the database numbers in the order of VALUES; None if it makes no such key."""
    table = compiled.compile_state.statement.table
    column = table.autoincrement_column
    if column is None or column.server_default is not None or column.default is not None:
        return None
    if column.key in compiled.binds or column not in compiled.effective_returning:
        return None
    return list(compiled.effective_returning).index(column)


class _Rows:
    """A statement, the attribute of each of its parameters, and columns that it returns beside others."""

    def __init__(
        self, session: Any, mapper: Mapper[Any], statement: Any, names: dict[str, str], returned: Iterable[Any] = ()
    ) -> None:
        self.session = session
        self.mapper = mapper
        self.statement = statement
        self.names = names
        self.returned = tuple(returned)

    def batch(self, rows: Sequence[Mapping[str, Any]], nullable: Iterable[str]) -> _Batch | None:
        """The rows with what sends them; None if that has to be Core."""
        names = self.names
        if set(map(len, rows)) != {len(names)}:
            return None
        lane = self.session._lane(self.mapper)
        if lane is None:
            return None
        compiled = self._compiled(lane)
        if compiled is None or not set(compiled.positiontup) <= names.keys():
            return None
        if compiled.insert_prefetch or compiled.update_prefetch:
            return None
        parameters = self._parameters(compiled, rows, set(nullable))
        return None if parameters is None else _Batch(lane, compiled, parameters)

    def _compiled(self, lane: Lane) -> Any:
        """What the statement is compiled to for these parameters; found by a cheap key if it was seen before."""
        statement = self.statement
        names = tuple(sorted(self.names))
        shape = dml_shape(statement)
        if shape is not None:
            shape = (("rows", names, *map(id, self.returned), *shape[0]), shape[1])
            known = kept_shape(lane.dialect, shape[0])
            if known is not None:
                return known
        returning = statement.return_defaults(*self.returned) if self.returned else statement
        compiled = compile_cached(returning, lane.engine, list(names))
        cache_key = None if compiled is None or shape is None else statement._generate_cache_key()
        if shape is not None and cache_key is not None:
            remember_shape(lane.dialect, shape, compiled, statement, cache_key.bindparams)
        return compiled

    def _parameters(
        self, compiled: Any, rows: Sequence[Mapping[str, Any]], nullable: set[str]
    ) -> Sequence[tuple[Any, ...]] | None:
        order = [self.names[key] for key in compiled.positiontup]
        try:
            columns = [list(map(itemgetter(name), rows)) for name in order]
            for place, (key, name) in enumerate(zip(compiled.positiontup, order, strict=True)):
                if name not in nullable and type(None) in set(map(type, columns[place])):
                    return None
                processor = compiled._bind_processors.get(key)
                if processor is not None:
                    columns[place] = list(map(processor, columns[place]))
        except Exception:
            # a row without the value, or a value of a wrong kind: Core says so in its own words
            return None
        return list(zip(*columns, strict=True))
