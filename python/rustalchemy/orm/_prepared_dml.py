"""INSERT, UPDATE and DELETE of entities that were seen before: from their shape, or Core's cache key, to compiled SQL.

What Core compiles, and how objects in the session learn of the change, depends on a statement's form alone; values are
put in with each execution. Where somebody listens, where options have a say, or where a statement comes with rows, the
answer is None and the caller takes the way through the compile state's hooks.
"""

from __future__ import annotations

from typing import Any, Optional

from sqlalchemy.engine import Connection
from sqlalchemy.sql.dml import UpdateBase

from .. import _sa
from ._bulk_lane import ReturnedRows
from ._compile_state import PLUGIN, _orm_load_exec_options
from ._core_statements import COMPILE_OPTIONS
from ._lane import CORE_OPTIONS, Lane
from ._statement_cache import cached, kept_shape, remember_shape
from ._statement_shape import dml_shape
from .bulk_persistence import _BulkORMInsert

# how objects may learn of the change, and the option by which it is said
_SYNCHRONIZE = "synchronize_session"
_STRATEGIES = ("auto", "evaluate", "fetch", False, None)

# options that make it another execution
_OTHER_OPTIONS = COMPILE_OPTIONS | {
    "autoflush",
    "dml_strategy",
    "identity_token",
    "is_delete_using",
    "is_update_from",
    "populate_existing",
    "render_nulls",
}


class PreparedDML:
    """A statement that was compiled, and what its kind does after an execution."""

    __slots__ = ("_cache_hit", "_compile_state_class", "_compiled", "_options", "_runs_on_lane")

    def __init__(self, compile_state_class: Any, compiled: Any, options: Any, cache_hit: Any) -> None:
        self._compile_state_class = compile_state_class
        self._compiled = compiled
        self._options = options
        # of the next execution
        self._cache_hit = cache_hit
        self._runs_on_lane = compiled is not None and compile_state_class is _BulkORMInsert and _is_plain(compiled)

    @classmethod
    def of(cls, statement: Any, parameters: Any, engine: Any, synchronize: Any) -> PreparedDML:
        """Compile ``statement``, which has these parameters."""
        compile_state_class = _sa.orm_compile_state_class(statement)
        compiled = cache_hit = None
        try:
            options = compile_state_class.prepared_options(statement, parameters, engine.dialect, synchronize)
            if options is not None:
                annotations = compile_state_class.annotations(options)
                compiled, cache_hit = _sa.compile_one(statement._annotate(annotations), engine)
        except Exception:
            # of whatever class: the other way has the same error to tell, after what comes before it
            options = None
        return cls(compile_state_class, compiled, options, cache_hit)

    @property
    def is_refused(self) -> bool:
        """Whether such statements have to go another way."""
        return self._compiled is None

    def execute(self, session: Any, connection: Any, statement: Any, parameters: Any, given: Any) -> Any:
        """The result of one execution, of which the session's objects have learnt."""
        kind = self._compile_state_class
        criteria = kind.before_prepared(self._options, statement, parameters)
        options = _orm_load_exec_options.union(given) if given else _orm_load_exec_options
        cache_hit, self._cache_hit = self._cache_hit, None
        result = session._uow_use(
            _sa.execute_compiled, connection, statement, self._compiled, parameters, options, cache_hit
        )
        return kind.after_prepared(session, statement, options, result, self._options, criteria)

    def returned_on_lane(self, session: Any, bind: Any, statement: Any, parameters: Any, given: Any) -> Any:
        """The result of a statement whose returned rows are all there is to know of it; None if Core has to send it."""
        if (
            not self._runs_on_lane
            or not CORE_OPTIONS.isdisjoint(given)
            or not CORE_OPTIONS.isdisjoint(statement._execution_options)
        ):
            return None
        lane: Optional[Lane] = session._lane_on(bind)
        if lane is None:
            return None
        compiled = self._compiled
        sql = compiled.string
        try:
            values = _sa.positional_parameters(compiled, parameters)
        except BaseException as err:
            lane.refuse(err, sql, [])
        rows, description = session._uow_use(lane.fetch, sql, values)
        returned = ReturnedRows(compiled, lane.dialect, rows, description)
        options = _orm_load_exec_options.union(given) if given else _orm_load_exec_options
        return _BulkORMInsert._return_orm_returning(session, statement, {}, options, {}, returned)


def _is_plain(compiled: Any) -> bool:
    """Whether the rows that an INSERT returns are entities or columns, and text and parameters are all that is sent."""
    returned = compiled.compile_state.from_statement_ctx
    return (
        returned is not None
        and not returned.compile_options._is_star
        and compiled.positional
        and not (compiled.insert_prefetch or compiled.post_compile_params or compiled.literal_execute_params)
    )


def may_be_prepared(statement: Any, params: Any) -> bool:
    """Whether to ask :func:`execute_prepared` for a statement of a plain session."""
    return (
        not params
        and not isinstance(params, (list, tuple))
        and isinstance(statement, UpdateBase)
        and statement._propagate_attrs.get("compile_state_plugin") == PLUGIN
    )


def execute_prepared(session: Any, statement: Any, execution_options: Any) -> Any:
    """The Result of a statement that :func:`may_be_prepared`; None, with nothing done, if it has to go another way."""
    subject = statement._propagate_attrs["plugin_subject"]
    if subject is None or statement._with_options or "_multi_values" in statement.__dict__:
        return None
    synchronize: Any = "auto"
    for options in (statement._execution_options, execution_options):
        if options:
            if not _OTHER_OPTIONS.isdisjoint(options):
                return None
            synchronize = options.get(_SYNCHRONIZE, synchronize)
    if synchronize not in _STRATEGIES:
        return None
    bind = session._unobserved_bind(subject.mapper, statement)
    if bind is None or not COMPILE_OPTIONS.isdisjoint(bind.get_execution_options()):
        return None
    prepared, parameters = _prepared(statement, bind.engine, synchronize)
    if prepared is None or prepared.is_refused:
        return None
    session._autoflush()
    result = prepared.returned_on_lane(session, bind, statement, parameters, execution_options)
    if result is not None:
        return result
    connection = session._connection_for_bind(bind)
    if (
        type(connection) is not Connection
        or _sa.elements_are_observed(connection)
        or not COMPILE_OPTIONS.isdisjoint(connection.get_execution_options())
    ):
        return None
    return prepared.execute(session, connection, statement, parameters, execution_options)


def _prepared(statement: Any, engine: Any, synchronize: Any) -> tuple[Optional[PreparedDML], Any]:
    """What was prepared for statements like this one, and this one's parameters."""
    dialect = engine.dialect
    shape = dml_shape(statement)
    if shape is not None:
        shape = ((synchronize, *shape[0]), shape[1])
        known = kept_shape(dialect, shape[0])
        if known is not None:
            return known, shape[1]
    cache_key = statement._generate_cache_key()
    if cache_key is None or _sa.has_given_parameters(cache_key):
        return None, ()
    parameters = cache_key.bindparams
    key = (synchronize, cache_key.key)
    prepared = cached(dialect, key, lambda: PreparedDML.of(statement, parameters, engine, synchronize))
    if prepared is not None and shape is not None:
        remember_shape(dialect, shape, prepared, statement, parameters)
    return prepared, parameters
