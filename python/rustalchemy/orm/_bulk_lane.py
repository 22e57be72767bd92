"""Lists of parameters of one shape, straight to the lane: what bulk INSERT and UPDATE do when nothing has to come back.

Core turns every row into a dictionary, a compiled parameter set and a tuple. Here rows become tuples at once. Whatever
is not the plain case (NULLs that depend on the row, Python-side defaults, several tables, values that the driver's
types decline) is left to Core: these functions answer False or None before anything was sent.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from .._sa import compile_cached
from .context import _orm_load_exec_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .mapper import Mapper

_OURS = frozenset(
    {"dml_strategy", "autoflush", "populate_existing", "render_nulls", "synchronize_session", *_orm_load_exec_options}
)


def _is_plain(mapper: Mapper[Any], statement: Any, execution_options: Mapping[str, Any] | None) -> bool:
    """Whether rows of the entity are rows of one table, without versions, and all there is to do is to send them."""
    if mapper.version_id_col is not None or len(mapper._pks_by_table) != 1 or mapper._set_polymorphic_identity:
        return False
    if statement is not None and (statement._values or statement._returning or statement._execution_options):
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
) -> bool:
    """Whether the rows were INSERTed."""
    if not rows or not _is_plain(mapper, user_statement, execution_options):
        return False
    columns = mapper._propkey_to_col[table]
    names = [name for name in columns if name in rows[0]]
    keep_none = mapper._insert_cols_evaluating_none[table]
    nullable = {name for name in names if render_nulls or columns[name] in keep_none}
    sent = _Rows(session, mapper, statement, {columns[name].key: name for name in names})
    return sent.send(rows, nullable, insert=True) is not None


def update_rows(
    session: Any, mapper: Mapper[Any], table: Any, statement: Any, user_statement: Any, rows: Sequence[dict[str, Any]]
) -> int | None:
    """How many rows an UPDATE by primary key matched; None if it was not done."""
    if not rows or not _is_plain(mapper, user_statement, None):
        return None
    columns = mapper._propkey_to_col[table]
    names = [name for name in columns if name in rows[0]]
    keys = mapper._pk_attr_keys_by_table[table]
    if not keys.issubset(names) or len(keys) == len(names):
        return None
    parameters = {(columns[name]._label if name in keys else columns[name].key): name for name in names}
    nullable = {name for name in names if name not in keys}
    return _Rows(session, mapper, statement, parameters).send(rows, nullable, insert=False)


class _Rows:
    """A statement and the attribute that each of its parameters is taken from."""

    def __init__(self, session: Any, mapper: Mapper[Any], statement: Any, names: dict[str, str]) -> None:
        self.session = session
        self.mapper = mapper
        self.statement = statement
        self.names = names

    def send(self, rows: Sequence[Mapping[str, Any]], nullable: Iterable[str], insert: bool) -> int | None:
        names = self.names
        if set(map(len, rows)) != {len(names)}:
            return None
        lane = self.session._lane(self.mapper)
        if lane is None:
            return None
        compiled = compile_cached(self.statement, lane.engine, sorted(names))
        if compiled is None or not set(compiled.positiontup) <= names.keys():
            return None
        if compiled.insert_prefetch or compiled.update_prefetch or compiled.effective_returning:
            return None
        parameters = self._parameters(compiled, rows, set(nullable))
        if parameters is None:
            return None
        matched: int = lane.execute(compiled.string, parameters)
        return matched

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
