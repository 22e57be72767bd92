"""Users' SELECTs that were seen before: from their shape, or Core's cache key, to what was prepared for the lane.

They go straight to the lane (:mod:`._lane`), past Core's per-execution machinery. Where a session has no lane, or a
statement needs more than text and parameters, the answer is None and the caller takes the way through Core.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Optional, TypeVar
from weakref import WeakSet

from sqlalchemy.sql import roles
from sqlalchemy.sql.selectable import Select

from ._lane import CORE_OPTIONS, STREAM_OPTIONS, Lane
from ._prepared_select import DEFAULT_OPTIONS, Call, PreparedSelect
from ._statement_shape import statement_shape
from .context import PLUGIN

# session._event_bits: do_orm_execute has a listener
_EXECUTE_BIT = 1 << 13

# statements kept per dialect; beyond it the oldest goes
_LIMIT = 1000

# Shapes kept of one prepared statement. One that is made of new parts each time (an alias of its own) has a new shape
# each time, which nobody will ask for again.
_SHAPES_EACH = 4

# Statements are kept in their dialect's own dictionary, under these names: they refer to it, and have to go with it.
_PREPARED = "_rustalchemy_prepared"
# by shape of the statement: a prepared SELECT and a statement of that shape
_SHAPES = "_rustalchemy_shapes"
# by id of what was prepared: how many shapes it has had
_SHAPE_COUNTS = "_rustalchemy_shape_counts"
_NO_SHAPES: dict[Any, Any] = {}
_dialects: WeakSet[Any] = WeakSet()

# options that only Core can heed
_OTHER_OPTIONS = CORE_OPTIONS - STREAM_OPTIONS

_Prepared = TypeVar("_Prepared")


def _kept(dialect: Any, name: str) -> dict[Any, Any]:
    """A dictionary of the dialect's, made at first use."""
    _dialects.add(dialect)
    kept: dict[Any, Any] = dialect.__dict__.setdefault(name, {})
    return kept


def make_room(cache: dict[Any, Any], limit: int = _LIMIT) -> None:
    """One entry less, the oldest, where there are as many as are kept."""
    if len(cache) >= limit:
        # another thread may be at it, too
        with suppress(RuntimeError, StopIteration):
            cache.pop(next(iter(cache)), None)


def cached(dialect: Any, key: Any, make: Callable[[], Optional[_Prepared]]) -> Optional[_Prepared]:
    cache = dialect.__dict__.get(_PREPARED)
    if cache is None:
        cache = _kept(dialect, _PREPARED)
    prepared: Any = cache.get(key)
    if prepared is None:
        prepared = make()
        make_room(cache)
        cache[key] = False if prepared is None else prepared
    return prepared or None


def forget_statements() -> None:
    """Start anew: what mappers say of themselves has changed."""
    for dialect in list(_dialects):
        dialect.__dict__.pop(_PREPARED, None)
        dialect.__dict__.pop(_SHAPES, None)
        dialect.__dict__.pop(_SHAPE_COUNTS, None)


def may_be_cached(statement: Any, params: Any) -> bool:
    """Whether to ask :func:`execute_cached` for a statement of a plain session that was flushed: a SELECT of ours."""
    return (
        type(statement) is Select
        and not statement._execution_options
        and not isinstance(params, (list, tuple))
        and statement._propagate_attrs.get("compile_state_plugin") == PLUGIN
    )


def is_core_statement(statement: Any) -> bool:
    """Whether Core alone has to do with a statement."""
    return (
        isinstance(statement, roles.StatementRole) and statement._propagate_attrs.get("compile_state_plugin") != PLUGIN
    )


def execute_cached(session: Any, statement: Any, params: Any, load_options: Any = DEFAULT_OPTIONS) -> Any:
    """The Result of a user's SELECT of entities through the lane; None if it has to go through Core.

    For statements that :func:`may_be_cached`, in a session that was flushed: a flush that fails must not have begun
    anything on behalf of the statement, and one that was done is not to be repeated on the way through Core.

    ``load_options``: the default ones, or those of a Query, whose statements are no other caller's.
    """
    subject = statement._propagate_attrs["plugin_subject"]
    lane = None if subject is None else session._lane(subject.mapper)
    if lane is None:
        return None
    prepared, parameters, params = _prepared(statement, lane.dialect, params)
    return None if prepared is None else prepared.result(session, lane, parameters, params, statement, load_options)


def _prepared(statement: Any, dialect: Any, params: Any) -> tuple[Optional[PreparedSelect], Sequence[Any], Any]:
    """What was prepared for statements like this one, this one's parameters, and the values that are given by name:
    ``params`` and those of ``Select.params()``. The first is None if the statement has to go through Core."""
    shape, known = known_shape(dialect, statement) if type(statement) is Select else (None, None)
    if shape is not None and known is not None:
        return known, shape[1], _with_own(statement.__dict__.get("_params"), params)
    cache_key = statement._generate_cache_key()
    if cache_key is None:
        return None, [], params
    prepared = cached(dialect, cache_key.key, lambda: PreparedSelect.of(statement, dialect, cache_key))
    if prepared is not None and shape is not None:
        remember_shape(dialect, shape, prepared, statement, cache_key.bindparams)
    return prepared, cache_key.bindparams, _with_own(getattr(cache_key, "params", None), params)


def _with_own(own: Any, params: Any) -> Any:
    """The parameters of one execution, and those that the statement has of its own where they say nothing."""
    return {**own, **(params or {})} if own else params


def execute_with_options(
    session: Any, lane: Any, statement: Any, params: Any, execution_options: Any, bind_arguments: Any
) -> Any:
    """As :func:`execute_cached`, for an execution whose options are known and whose listeners have run."""
    if (
        isinstance(params, (list, tuple))
        or not _OTHER_OPTIONS.isdisjoint(execution_options)
        or not _OTHER_OPTIONS.isdisjoint(statement._execution_options)
    ):
        return None
    prepared, parameters, params = _prepared(statement, lane.dialect, params)
    if prepared is None:
        return None
    return prepared.result(
        session,
        lane,
        parameters,
        params,
        statement,
        execution_options.get("_sa_orm_load_options", DEFAULT_OPTIONS),
        Call(params, execution_options, bind_arguments),
    )


def remember_text(statement: Any, execution_options: Any, result: Any) -> None:
    """Prepare a statement of text that went through Core and whose columns are known therefore."""
    connection, compiled = result.connection, result.context.compiled
    if (
        not CORE_OPTIONS.isdisjoint(execution_options)
        or not CORE_OPTIONS.isdisjoint(statement._execution_options)
        or Lane.of(connection) is None
    ):
        return
    cache_key = statement._generate_cache_key()
    if cache_key is None or compiled.cache_key is None:
        return
    cache = _kept(connection.dialect, _PREPARED)
    if not cache.get(cache_key.key):
        prepared = PreparedSelect.of_compiled(compiled, statement, connection.dialect, cache_key)
        cache[cache_key.key] = False if prepared is None else prepared


def known_shape(dialect: Any, select: Any, role: tuple[Any, ...] = ()) -> tuple[Any, Any]:
    """The shape of a SELECT, and what statements of this shape are run by in some role; None for what is not known."""
    found = statement_shape(select)
    if found is None:
        return None, None
    shape = (role + found[0], found[1]) if role else found
    return shape, kept_shape(dialect, shape[0])


def kept_shape(dialect: Any, key: Any) -> Any:
    """What statements of a shape are run by; None for a shape that was not seen."""
    known = dialect.__dict__.get(_SHAPES, _NO_SHAPES).get(key)
    return None if known is None else known[0]


def remember_shape(
    dialect: Any, shape: tuple[Any, Sequence[Any]], prepared: Any, statement: Any, bindparams: Sequence[Any]
) -> None:
    """From now on statements of this shape are run by ``prepared``; unless Core counts the parameters in another order,
    that of ``bindparams``.

    The statement is kept with its shape: the key has the identities of its parts.
    """
    key, parameters = shape
    counts = _kept(dialect, _SHAPE_COUNTS)
    count = counts.get(id(prepared), 0)
    if count < _SHAPES_EACH and list(map(id, parameters)) == list(map(id, bindparams)):
        make_room(counts)
        counts[id(prepared)] = count + 1
        shapes = _kept(dialect, _SHAPES)
        make_room(shapes)
        shapes[key] = (prepared, statement)


def plain_session(session: Any) -> bool:
    """Whether nobody but us has a say in what this session's loads do: no listeners, no session-wide options."""
    return not session.execution_options and not session._event_bits & _EXECUTE_BIT
