"""SELECTs compiled once and run many times: SQL text, places of the parameters, row plan.

Lazy loads, ``get()`` and user statements that were seen before go from here straight to the lane (:mod:`._lane`), past
Core's per-execution machinery. Where a session has no lane, or a statement needs more than text and parameters, the
functions answer None or :data:`NO_LANE` and the caller takes the way through Core.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Optional
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy.sql.compiler import WARN_LINTING
from sqlalchemy.sql.selectable import Select

from .._core import PreparedRow, RelatedRows
from . import loading
from ._lane import Lane
from ._results import FetchedResult, result_metadata, tell_query
from ._row_plans import RowSource, StatementPlan
from ._statement_shape import statement_shape
from .context import PLUGIN, QueryContext, _ORMCompileState

# the caller has to go through Core
NO_LANE: Any = NotImplemented

# session._event_bits: do_orm_execute has a listener
_EXECUTE_BIT = 1 << 13

# statements kept per dialect; beyond it the cache starts anew
_LIMIT = 1000

# key of the plan that refreshes one object
_REFRESH = "refresh"

# key of the plan for rows of a statement that follows another one
_FOLLOWING = "following"

# settings of `lazy` that load with the object
_EAGER = frozenset({"joined", False, "selectin", "subquery", "immediate"})

_FROM_STATEMENT, _CONSTANT, _BY_NAME = range(3)

_DEFAULT_OPTIONS = QueryContext.default_load_options
_LAZY_OPTIONS = _DEFAULT_OPTIONS + {"_invoke_all_eagers": False}


class PreparedSelect:
    """A compiled SELECT of entities."""

    __slots__ = (
        "_compiled",
        "_lists",
        "_metadata",
        "_places",
        "_plans",
        "_statement",
        "dialect",
        "parameter_keys",
        "sql",
    )

    def __init__(self, compiled: Any, statement: Any, places: list[tuple[int, Any, Any]], dialect: Any) -> None:
        self._compiled = compiled
        self._statement = statement
        self._places = places
        self._plans: dict[Any, tuple[StatementPlan, bool]] = {}
        self._metadata: Any = None
        #: place -> mark in the text, of parameters that are lists: IN (…)
        self._lists = {
            place: f"__[POSTCOMPILE_{name}]"
            for place, name in enumerate(compiled.positiontup)
            if compiled.binds[name] in compiled.post_compile_params
        }
        self.dialect = dialect
        self.sql: str = compiled.string
        #: names of the parameters, in their order
        self.parameter_keys = [payload for kind, payload, _ in places if kind == _BY_NAME]

    @classmethod
    def of(
        cls, statement: Any, dialect: Any, cache_key: Any = None, names: Sequence[str] = ()
    ) -> Optional[PreparedSelect]:
        """Compile ``statement``; None when it needs more than its text and plain parameters.

        ``names``: parameters that will be given by name though they have a value.
        """
        if not dialect.positional:
            return None
        compiled = statement._compiler(
            dialect,
            cache_key=cache_key,
            column_keys=[],
            for_executemany=False,
            linting=dialect.compiler_linting | WARN_LINTING,
        )
        if compiled.literal_execute_params or compiled.positiontup is None:
            return None
        if compiled.post_compile_params and not (cache_key is not None and _lists_are_plain(compiled)):
            return None
        compile_state = compiled.compile_state
        if compile_state is None or compile_state.compile_options._is_star or not compiled._ordered_columns:
            return None
        places = _places(compiled, cache_key, names)
        return None if places is None else cls(compiled, statement, places, dialect)

    # parameters

    def parameters(
        self, extracted: Sequence[Any], given: Optional[Mapping[str, Any]] = None
    ) -> Optional[tuple[Any, ...]]:
        """Positional parameters of one execution; None when some is missing."""
        values = self._values(extracted, given)
        if values is None:
            return None
        return tuple(
            [
                value if processor is None else processor(value)
                for value, (_, _, processor) in zip(values, self._places, strict=True)
            ]
        )

    def with_lists(
        self, extracted: Sequence[Any], given: Optional[Mapping[str, Any]]
    ) -> Optional[tuple[str, tuple[Any, ...]]]:
        """Text and parameters of one execution, lists spelled out; None when some is missing or empty."""
        values = self._values(extracted, given)
        if values is None:
            return None
        sql = self.sql
        flat: list[Any] = []
        for place, (value, (_, _, processor)) in enumerate(zip(values, self._places, strict=True)):
            mark = self._lists.get(place)
            if mark is None:
                flat.append(value if processor is None else processor(value))
                continue
            if not value:
                return None
            flat.extend(value if processor is None else map(processor, value))
            sql = sql.replace(mark, ("?, " * len(value))[:-2])
        return sql, tuple(flat)

    def _values(self, extracted: Sequence[Any], given: Optional[Mapping[str, Any]]) -> Optional[list[Any]]:
        values = []
        for kind, payload, _ in self._places:
            if kind == _FROM_STATEMENT:
                bind = extracted[payload]
                value = bind.value
                if given and bind.key in given:
                    value = given[bind.key]
                elif bind.callable is not None:
                    value = bind.callable()
                elif bind.required:
                    return None
            elif kind == _CONSTANT:
                value = payload
            else:
                if not given or payload not in given:
                    return None
                value = given[payload]
            values.append(value)
        return values

    def layout(self, names: Sequence[str]) -> tuple[list[Any], list[tuple[int, int, Any]]]:
        """The parameters as a template with the constants in their places, and what fills the others: place, index
        into ``names``, processor. For callers that give the same names each time."""
        template: list[Any] = []
        fills: list[tuple[int, int, Any]] = []
        for place, (kind, payload, processor) in enumerate(self._places):
            if kind == _CONSTANT:
                template.append(payload if processor is None else processor(payload))
            else:
                template.append(None)
                fills.append((place, list(names).index(payload), processor))
        return template, fills

    # execution

    @property
    def multiplies_rows(self) -> bool:
        """Whether collections are joined to the entities."""
        return bool(self._compiled.compile_state.multi_row_eager_loaders)

    @property
    def plain_row_plan(self) -> Any:
        """The row plan, once it is known that rows need nothing else to become objects; else None."""
        known = self.context_free_plan(False)
        return None if known is None else known.row_plan

    def context_free_plan(self, variant: Any) -> Optional[StatementPlan]:
        """The plan of a variant, once it is known that its rows become objects without a context; else None."""
        known = self._plans.get(variant)
        return None if known is None or known[1] else known[0]

    def run(
        self, session: Any, lane: Any, parameters: Sequence[Any], load_options: Any = _DEFAULT_OPTIONS
    ) -> list[Any]:
        """Entities, or tuples, of all rows. Flushes nothing: the caller has done that."""
        return self._run(session, lane, self.sql, parameters, self._statement, load_options)[0]

    def _run(
        self, session: Any, lane: Any, sql: str, parameters: Sequence[Any], statement: Any, load_options: Any
    ) -> tuple[list[Any], StatementPlan, Optional[QueryContext]]:
        rows, description = session._uow_use(lane.fetch, sql, parameters)
        variant = load_options is _LAZY_OPTIONS
        known = self._plans.get(variant)
        if known is not None and not known[1]:
            return session._hydrate(known[0].row_plan, rows, loaded=None), known[0], None
        context = QueryContext(self._compiled.compile_state, statement, statement, None, session, load_options)
        plan = self._plan(context, variant, description)
        return loading._Load(context, plan).rows(rows), plan, context

    def rows_after(
        self, session: Any, lane: Any, extracted: Sequence[Any], given: Mapping[str, Any], statement: Any, top: Any
    ) -> Optional[list[Any]]:
        """Rows of a statement that follows the one of context ``top``; None if Core has to be asked."""
        spelled = self.with_lists(extracted, given)
        if spelled is None:
            return None
        sql, parameters = spelled
        rows, description = lane.fetch(sql, parameters)
        plan = self.context_free_plan(_FOLLOWING)
        if plan is not None:
            return session._hydrate(plan.row_plan, rows, loaded=None)
        options = _DEFAULT_OPTIONS if top is None else _DEFAULT_OPTIONS + {"_sa_top_level_orm_context": top}
        context = QueryContext(self._compiled.compile_state, statement, statement, None, session, options)
        return loading._Load(context, self._plan(context, _FOLLOWING, description)).rows(rows)

    def refresh(self, session: Any, lane: Any, parameters: Sequence[Any], state: Any) -> bool:
        """Load the row of ``state`` into it; False if the row is gone."""
        rows, description = session._uow_use(lane.fetch, self.sql, parameters)
        if not rows:
            return False
        known = self._plans.get(_REFRESH)
        if known is not None and not known[1]:
            plan = known[0]
            session._hydrate(
                plan.row_plan, rows, refresh_state=state, only_attributes=bool(plan.only_load_props), loaded=None
            )
            return True
        options = _DEFAULT_OPTIONS + {"_refresh_state": state}
        context = QueryContext(self._compiled.compile_state, self._statement, self._statement, None, session, options)
        loading._Load(context, self._plan(context, _REFRESH, description)).rows(rows)
        return True

    def _plan(self, context: QueryContext, variant: Any, description: Any) -> StatementPlan:
        plan = loading.statement_plan(context, lambda: RowSource(self._compiled, self.dialect, description))
        cached = context.compile_state.__dict__["_row_plans"]
        if any(kept is plan for kept in cached.values()):
            needs_context = bool(plan.post_loads or plan.composed or _has_load_listeners(plan)) or any(
                map(_may_vary, context.propagated_loader_options)
            )
            self._plans[variant] = (plan, needs_context)
        return plan

    def result(
        self,
        session: Any,
        lane: Lane,
        extracted: Sequence[Any],
        given: Optional[Mapping[str, Any]],
        statement: Any,
        load_options: Any = _DEFAULT_OPTIONS,
    ) -> Any:
        """A Result of all rows; None if the parameters need Core."""
        sql = self.sql
        try:
            if self._lists:
                spelled = self.with_lists(extracted, given)
                if spelled is None:
                    return None
                sql, parameters = spelled
            else:
                found = self.parameters(extracted, given)
                if found is None:
                    return None
                parameters = found
        except BaseException as err:
            lane.refuse(err, sql, [given or {}])
        rows, plan, context = self._run(session, lane, sql, parameters, statement, load_options)
        metadata = self._metadata
        if metadata is None:
            metadata = result_metadata(plan, load_options, statement)
            if context is None and plan.names_are_fixed:
                self._metadata = metadata
        compile_state = self._compiled.compile_state
        check = _unless_expunged(session, session._identity_epoch, plan, rows)
        result = FetchedResult(metadata, rows, check, plan, compile_state, context)
        if load_options is not _DEFAULT_OPTIONS:
            tell_query(result, compile_state, plan)
        return result


def _unless_expunged(session: Any, epoch: int, plan: StatementPlan, rows: list[Any]) -> Iterator[Any]:
    """Nothing, or the error that the session was closed between execution and first fetch."""
    if rows and session._identity_epoch != epoch:
        loading.refuse_expunged(plan)
    yield from ()


def _lists_are_plain(compiled: Any) -> bool:
    """Whether every list parameter is one ``?`` per value."""
    return compiled.dialect.paramstyle == "qmark" and all(
        bind.expanding
        and not bind.type._is_tuple_type
        and not bind.type._has_bind_expression
        and not bind.type._is_array
        and not compiled.dialect._bind_typing_render_casts
        for bind in compiled.post_compile_params
    )


def _may_vary(option: Any) -> bool:
    """Whether an option that objects keep may have other values in another statement of the same shape."""
    return not option._is_strategy_option or any(element._extra_criteria for element in option.context)


def _has_load_listeners(plan: StatementPlan) -> bool:
    for entity in plan.entities:
        mapper = getattr(entity, "mapper", None)
        if mapper is not None:
            dispatch = mapper.class_manager.dispatch
            if dispatch.load or dispatch.refresh:
                return True
    return False


def _places(compiled: Any, cache_key: Any, names: Sequence[str]) -> Optional[list[tuple[int, Any, Any]]]:
    """Where each positional parameter comes from; None for parameters that are computed."""
    index_of: dict[Any, int] = {}
    if cache_key is not None:
        match = compiled._cache_key_bind_match[0]
        for index, original in enumerate(cache_key.bindparams):
            for bind in match.get(original, ()):
                index_of[bind] = index
    places: list[tuple[int, Any, Any]] = []
    processors = compiled._bind_processors
    for name in compiled.positiontup:
        bind = compiled.binds[name]
        processor = processors.get(name)
        if bind in index_of:
            places.append((_FROM_STATEMENT, index_of[bind], processor))
        elif bind.callable is not None:
            return None
        elif bind.required or bind.key in names:
            places.append((_BY_NAME, bind.key, processor))
        else:
            places.append((_CONSTANT, bind.value, processor))
    return places


# Statements are kept in their dialect's own dictionary, under these names: they refer to it, and have to go with it.
_PREPARED = "_rustalchemy_prepared"
# by shape of the statement: a prepared SELECT and a statement of that shape
_SHAPES = "_rustalchemy_shapes"
_NO_SHAPES: dict[Any, Any] = {}
_dialects: WeakSet[Any] = WeakSet()


def _kept(dialect: Any, name: str) -> dict[Any, Any]:
    """A dictionary of the dialect's, made at first use."""
    _dialects.add(dialect)
    kept: dict[Any, Any] = dialect.__dict__.setdefault(name, {})
    return kept


def _cached(dialect: Any, key: Any, make: Callable[[], Optional[PreparedSelect]]) -> Optional[PreparedSelect]:
    cache = dialect.__dict__.get(_PREPARED)
    if cache is None:
        cache = _kept(dialect, _PREPARED)
    prepared: Any = cache.get(key)
    if prepared is None:
        prepared = make()
        if len(cache) >= _LIMIT:
            cache.clear()
        cache[key] = False if prepared is None else prepared
    return prepared or None


def forget_statements() -> None:
    """Start anew: what mappers say of themselves has changed."""
    for dialect in list(_dialects):
        dialect.__dict__.pop(_PREPARED, None)
        dialect.__dict__.pop(_SHAPES, None)


def prepare(session: Any, statement: Any) -> Optional[PreparedSelect]:
    """``statement`` compiled for the session's lane, for callers that keep it; None if it can't take the lane.

    Parameters are given by name: the statement's ``bindparam("name")`` objects without a value.
    """
    lane = session._lane(statement._propagate_attrs["plugin_subject"].mapper)
    return None if lane is None else PreparedSelect.of(statement, lane.dialect)


def may_be_cached(session: Any, statement: Any, params: Any) -> bool:
    """Whether to ask :func:`execute_cached` for a statement, after a flush: a plain SELECT of ours, nobody watching."""
    return (
        type(statement) is Select
        and not statement._execution_options
        and not isinstance(params, (list, tuple))
        and statement._propagate_attrs.get("compile_state_plugin") == PLUGIN
        and plain_session(session)
    )


def execute_cached(session: Any, statement: Any, params: Any, load_options: Any = _DEFAULT_OPTIONS) -> Any:
    """The Result of a user's SELECT of entities through the lane; None if it has to go through Core.

    For statements that :func:`may_be_cached`, in a session that was flushed: a flush that fails must not have begun
    anything on behalf of the statement, and one that was done is not to be repeated on the way through Core.

    ``load_options``: the default ones, or those of a Query, whose statements are no other caller's.
    """
    subject = statement._propagate_attrs["plugin_subject"]
    lane = None if subject is None else session._lane(subject.mapper)
    if lane is None:
        return None
    dialect = lane.dialect
    shape = statement_shape(statement)
    if shape is not None:
        known = dialect.__dict__.get(_SHAPES, _NO_SHAPES).get(shape[0])
        if known is not None:
            return known[0].result(session, lane, shape[1], params, statement, load_options)
    cache_key = statement._generate_cache_key()
    if cache_key is None:
        return None
    prepared = _cached(dialect, cache_key.key, lambda: PreparedSelect.of(statement, dialect, cache_key))
    if prepared is None:
        return None
    if shape is not None and list(map(id, shape[1])) == list(map(id, cache_key.bindparams)):
        _remember_shape(dialect, shape[0], prepared, statement)
    return prepared.result(session, lane, cache_key.bindparams, params, statement, load_options)


def _remember_shape(dialect: Any, key: Any, prepared: PreparedSelect, statement: Any) -> None:
    """The statement is kept with its shape: the key has the identities of its parts."""
    shapes = _kept(dialect, _SHAPES)
    if len(shapes) >= _LIMIT:
        shapes.clear()
    shapes[key] = (prepared, statement)


def plain_session(session: Any) -> bool:
    """Whether nobody but us has a say in what this session's loads do: no listeners, no session-wide options."""
    return not session.execution_options and not session._event_bits & _EXECUTE_BIT


def owned_rows(
    session: Any,
    owner: Any,
    mapper: Any,
    make: Callable[[], Any],
    values: Mapping[str, Any],
    autoflush: bool = True,
    *,
    relation: Optional[RelatedRows] = None,
) -> Any:
    """Rows of a loader's own statement, made by ``make`` at first use; NO_LANE if it has to go through Core.

    With ``relation`` the statement is left to the native core, which then does the loads that are as plain as this one.
    """
    if autoflush:
        session._autoflush()
    lane: Optional[Lane] = session._lane(mapper)
    if lane is None:
        return NO_LANE
    dialect = lane.dialect
    prepared = _cached(dialect, owner, lambda: PreparedSelect.of(make(), dialect, names=tuple(values)))
    if prepared is None:
        return NO_LANE
    try:
        parameters = prepared.parameters((), values)
    except BaseException as err:
        lane.refuse(err, prepared.sql, [dict(values)])
    if parameters is None:
        return NO_LANE
    rows = prepared.run(session, lane, parameters, load_options=_LAZY_OPTIONS)
    if relation is not None and (plan := prepared.context_free_plan(True)) is not None:
        layout = prepared.layout(tuple(values))
        mapper._prepared_related[relation] = PreparedRow(dialect, prepared.sql, *layout, plan.row_plan)
    if len(rows) > 1 and len(set(map(id, rows))) != len(rows):
        # joined collections, or a secondary table with a link twice
        rows = list({id(row): row for row in rows}.values())
    return rows


class FollowingSelect:
    """A loader's SELECT that follows another statement: kept with that one, and compiled once for each dialect."""

    __slots__ = ("_bindparams", "_dialect", "_prepared", "statement")

    def __init__(self, statement: Any) -> None:
        self.statement = statement
        self._dialect: Any = lambda: None
        self._prepared: Optional[PreparedSelect] = None
        self._bindparams: Sequence[Any] = ()

    def rows(self, session: Any, given: Mapping[str, Any], top: Any) -> Optional[list[Any]]:
        """All rows; None if the statement has to go through Core."""
        if not plain_session(session):
            return None
        lane = session._lane(self.statement._propagate_attrs["plugin_subject"].mapper)
        if lane is None:
            return None
        if self._dialect() is not lane.dialect:
            self._prepare(lane.dialect)
        if self._prepared is None:
            return None
        session._autoflush()
        return self._prepared.rows_after(session, lane, self._bindparams, given, self.statement, top)

    def _prepare(self, dialect: Any) -> None:
        self._dialect = weakref.ref(dialect)
        self._prepared = None
        cache_key = self.statement._generate_cache_key()
        if cache_key is None:
            return
        prepared = _cached(dialect, cache_key.key, lambda: PreparedSelect.of(self.statement, dialect, cache_key))
        # rows of joined collections have to be made unique
        if prepared is not None and not prepared.multiplies_rows:
            self._prepared = prepared
            self._bindparams = cache_key.bindparams


def get_by_key(session: Any, mapper: Any, identity: Sequence[Any]) -> Any:
    """The object of a primary key from the database, None if there is none; NO_LANE if Core has to be asked.

    For sessions that are plain and were flushed.
    """
    lane: Optional[Lane] = session._lane(mapper)
    if lane is None:
        return NO_LANE
    dialect = lane.dialect
    if not mapper.configured:
        # the class was mapped, but nothing has asked for mappers to be configured
        mapper._check_configure()
    templates = mapper._get_templates
    template = templates.get(dialect)
    if template is None:
        template = templates[dialect] = _get_template(mapper, dialect)
    prepared, constants, fills = template
    if prepared is None:
        return NO_LANE
    parameters = list(constants)
    try:
        for place, index, processor in fills:
            value = identity[index]
            parameters[place] = value if processor is None else processor(value)
    except BaseException as err:
        lane.refuse(err, prepared.sql, [tuple(identity)])
    rows = prepared.run(session, lane, parameters, load_options=_LAZY_OPTIONS)
    native = mapper._prepared_get
    if native is None or native.dialect is not dialect:
        known = prepared.context_free_plan(True)
        if known is not None:
            mapper._prepared_get = PreparedRow(dialect, prepared.sql, constants, fills, known.row_plan)
    return rows[0] if rows else None


def _get_template(mapper: Any, dialect: Any) -> tuple[Optional[PreparedSelect], Sequence[Any], Sequence[Any]]:
    """The statement of ``get()``, and where the values of the primary key go."""
    criterion, bind_of = mapper._get_clause
    names = [bind_of[column].key for column in mapper.primary_key]
    prepared = PreparedSelect.of(_select_where(mapper, criterion), dialect, names=names)
    return (None, (), ()) if prepared is None else (prepared, *prepared.layout(names))


def refresh_state(session: Any, mapper: Any, state: Any, names: Any, autoflush: bool) -> Any:
    """Whether the row of a persistent state was there and loaded into it; NO_LANE if Core has to be asked."""
    identity = state.key[1]
    if None in identity or state.identity_token is not None or state.load_options or not plain_session(session):
        return NO_LANE
    if autoflush:
        session._autoflush()
    lane = session._lane(mapper)
    if lane is None:
        return NO_LANE
    dialect = lane.dialect
    criterion, bind_of = mapper._get_clause
    values = {bind_of[column].key: value for column, value in zip(mapper.primary_key, identity, strict=True)}
    only = frozenset(names) if names else None

    def make() -> Optional[PreparedSelect]:
        statement = _select_where(mapper, criterion)
        options = _ORMCompileState.default_compile_options + {"_for_refresh_state": True}
        statement._compile_options = options + {"_only_load_props": only} if only else options
        return PreparedSelect.of(statement, dialect, names=tuple(values))

    prepared = _cached(dialect, ("refresh", mapper, only), make)
    parameters = prepared.parameters((), values) if prepared is not None else None
    if prepared is None or parameters is None:
        return NO_LANE
    is_wholly_expired = state.expired
    found = prepared.refresh(session, lane, parameters, state)
    if only and is_wholly_expired:
        _keep_refresh(mapper, prepared, list(values), only)
    return found


def _keep_refresh(mapper: Any, prepared: PreparedSelect, names: list[str], only: frozenset[str]) -> None:
    """Let the native core refresh wholly expired objects of the mapper, where one row of one table is all it takes."""
    native = mapper._prepared_refresh
    if native is not None and native.dialect is prepared.dialect:
        return
    plan = prepared.context_free_plan(_REFRESH)
    if plan is None or mapper.inherits or any(prop.lazy in _EAGER for prop in mapper.relationships):
        return
    manager = mapper.class_manager
    mapper._prepared_refresh = PreparedRow(
        prepared.dialect,
        prepared.sql,
        *prepared.layout(names),
        plan.row_plan,
        attributes=sorted(manager[name]._index for name in only),
        only_attributes=bool(plan.only_load_props),
    )


def _select_where(mapper: Any, criterion: Any) -> Any:
    statement: Any = sa.select(mapper)
    statement._where_criteria = (criterion,)
    return statement
