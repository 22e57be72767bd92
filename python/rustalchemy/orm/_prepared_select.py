"""A SELECT compiled once and run many times on the lane: SQL text, places of the parameters, row plans."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, Optional

from sqlalchemy import util
from sqlalchemy.sql.compiler import WARN_LINTING

from .. import _core
from ._lane import Lane
from ._lane_cursor import LaneCursor, first_page
from ._results import FetchedResult, chunked_result, result_metadata, tell_query
from ._row_loading import MOST_PLANS, RowLoad, later, plan_variant, refuse_expunged, statement_plan
from ._row_plans import RowSource, StatementPlan
from .context import QueryContext

# key of the plan that refreshes one object
REFRESH = "refresh"

# key of the plan for rows of a statement that follows another one
_FOLLOWING = "following"

_FROM_STATEMENT, _CONSTANT, _BY_NAME = range(3)

DEFAULT_OPTIONS = QueryContext.default_load_options
LAZY_OPTIONS = DEFAULT_OPTIONS + {"_invoke_all_eagers": False}


class Call(NamedTuple):
    """What a user gave to ``Session.execute()`` beside the statement; loads that follow are given the same."""

    params: Any = None
    execution_options: Any = util.EMPTY_DICT
    bind_arguments: Any = util.EMPTY_DICT


NO_CALL = Call()


class _KeptPlan(NamedTuple):
    """A plan of rows, and what they need beside it to become objects."""

    plan: StatementPlan
    needs_context: bool
    #: objects keep options that may have other values in each execution
    options_vary: bool


class PreparedSelect:
    """A compiled SELECT of entities."""

    __slots__ = (
        "_chances",
        "_compiled",
        "_lists",
        "_metadata",
        "_places",
        "_plans",
        "_statement",
        "dialect",
        "is_text",
        "parameter_keys",
        "ready",
        "sql",
    )

    def __init__(self, compiled: Any, statement: Any, places: list[tuple[int, Any, Any]], dialect: Any) -> None:
        self._compiled = compiled
        self._statement = statement
        self._places = places
        self._plans: dict[Any, _KeptPlan] = {}
        # names of the columns, by whether a Query makes the rows unique
        self._metadata: dict[bool, Any] = {}
        #: place -> mark in the text, of parameters that are lists: IN (…)
        self._lists = {
            place: f"__[POSTCOMPILE_{name}]"
            for place, name in enumerate(compiled.positiontup)
            if compiled.binds[name] in compiled.post_compile_params
        }
        self.dialect = dialect
        #: rows can be read only by plans that an execution through Core has made
        self.is_text = bool(compiled._textual_ordered_columns or not compiled._ordered_columns)
        self.sql: str = compiled.string
        #: what the native core runs such statements by, once it is known that it can
        self.ready: Optional[_core.ReadySelect] = None
        # executions that may still find out whether the core can do the loads that follow
        self._chances = 5
        #: names of the parameters that are given by name
        self.parameter_keys = frozenset(payload for kind, payload, _ in places if kind == _BY_NAME)

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
        prepared = cls.of_compiled(compiled, statement, dialect, cache_key, names)
        # what the columns of text are, only its rows can say
        return None if prepared is None or prepared.is_text else prepared

    @classmethod
    def of_compiled(
        cls, compiled: Any, statement: Any, dialect: Any, cache_key: Any, names: Sequence[str] = ()
    ) -> Optional[PreparedSelect]:
        """A statement that is compiled, with ``cache_key`` if there is one; arguments and result as of :meth:`of`."""
        if compiled.literal_execute_params or compiled.positiontup is None:
            return None
        if compiled.post_compile_params and not (cache_key is not None and _lists_are_plain(compiled)):
            return None
        compile_state = compiled.compile_state
        if compile_state is None or compile_state.compile_options._is_star or compile_state.is_dml_returning:
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
            if type(processor) is tuple:
                # of tuples, with a processor for each of their values
                spelled = _spelled_tuples(value, processor, flat)
                if spelled is None:
                    return None
                sql = sql.replace(mark, ("VALUES " if self.dialect.tuple_in_values else "") + spelled)
                continue
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
        into ``names`` or among the statement's own parameters, processor. For callers that give the same names, or
        statements of the same shape, each time."""
        template: list[Any] = []
        fills: list[tuple[int, int, Any]] = []
        for place, (kind, payload, processor) in enumerate(self._places):
            if kind == _CONSTANT:
                template.append(payload if processor is None else processor(payload))
            else:
                template.append(None)
                fills.append((place, payload if kind == _FROM_STATEMENT else list(names).index(payload), processor))
        return template, fills

    def _ready(
        self, plan: StatementPlan, metadata: Any, context: Optional[QueryContext]
    ) -> Optional[_core.ReadySelect]:
        """What the native core needs to run such statements; None if they need more than it can do."""
        if self._lists or self.multiplies_rows or any(kind == _BY_NAME for kind, _, _ in self._places):
            return None
        following: Optional[list[_core.FollowingLoad]] = []
        if context is not None:
            kept = self._plans.get(False)
            is_simple = kept is not None and kept.plan is plan and not (kept.options_vary or _needs_context(plan))
            following = plan.following_loads(context) if is_simple else None
        if following is None:
            return None
        row = _core.PreparedRow(self.dialect, self.sql, *self.layout(()), plan.row_plan)
        return _core.ReadySelect(row, metadata, plan, following)

    def following_load(self, index: int, attribute: int, size: int) -> Optional[_core.FollowingLoad]:
        """What the native core runs this by after another statement, whose parents' keys are its one parameter."""
        plan = self.context_free_plan(_FOLLOWING)
        if plan is None or len(self._places) != 1 or len(self._lists) != 1:
            return None
        before, mark, after = self.sql.partition(self._lists[0])
        assert mark
        return _core.FollowingLoad(before, after, self._places[0][2], plan.row_plan, index, attribute, size)

    # execution

    @property
    def multiplies_rows(self) -> bool:
        """Whether collections are joined to the entities."""
        return bool(self._compiled.compile_state.multi_row_eager_loaders)

    def context_free_plan(self, variant: Any) -> Optional[StatementPlan]:
        """The plan of a variant, once it is known that its rows become objects without a context; else None."""
        known = self._plans.get(variant)
        return None if known is None or known.needs_context or known.options_vary else known.plan

    def run(
        self,
        session: Any,
        lane: Any,
        parameters: Sequence[Any],
        given: tuple[Sequence[str], Sequence[Any]],
        load_options: Any = DEFAULT_OPTIONS,
        top: Optional[QueryContext] = None,
    ) -> list[Any]:
        """Entities, or tuples, of all rows. Flushes nothing: the caller has done that.

        ``given``: names and values that the parameters were made of, for loads that embed this statement. ``top``: the
        execution that this one follows, if any.
        """
        plan = self.context_free_plan(_variant(load_options))
        if plan is not None:
            reading = _Reading(plan, None, None)
        else:
            call = Call(dict(zip(*given, strict=True)))
            execution = partial(session._uow_use, lane.fetch, self.sql, parameters)
            reading = self._reading(session, self._statement, load_options, call, execution, top=top)
        return list(_rows(session, lane, self.sql, parameters, reading, load_options)[1])

    def _reading(
        self,
        session: Any,
        statement: Any,
        load_options: Any,
        call: Call,
        execution: Callable[[], Any],
        extracted: Optional[Sequence[Any]] = None,
        top: Optional[QueryContext] = None,
    ) -> _Reading:
        """How the rows of one execution are read. ``extracted``: the parameters of ``statement``, if known."""
        variant = _variant(load_options)
        kept = self._plans.get(variant)
        if kept is not None and not kept.needs_context:
            compiled = self._compiled.compile_state.select_statement
            if not kept.options_vary or statement._with_options is compiled._with_options:
                return _Reading(kept.plan, None, None)
        if top is not None:
            load_options += {"_sa_top_level_orm_context": top}
        context = self._context(session, statement, load_options, call, extracted)
        return self._reading_with(context, variant, execution)

    def _reading_with(self, context: QueryContext, variant: Any, execution: Callable[[], Any]) -> _Reading:
        kept = self._plans.get(variant)
        if kept is None:
            plan = self._plan(context, variant, execution)
            kept = self._plans.get(variant)
            if kept is None or kept.plan is not plan:
                return _Reading(plan, context, None)
        if kept.needs_context:
            return _Reading(kept.plan, context, None)
        return _Reading(kept.plan, None, kept.plan.restamp(context) if kept.options_vary else None)

    def _context(
        self,
        session: Any,
        statement: Any,
        load_options: Any,
        call: Call,
        extracted: Optional[Sequence[Any]] = None,
    ) -> QueryContext:
        return QueryContext(
            self._compiled.compile_state,
            statement,
            statement,
            call.params,
            session,
            load_options,
            call.execution_options,
            call.bind_arguments,
            extracted,
        )

    def _has_plan(self, statement: Any, load_options: Any) -> bool:
        """Whether rows can be read without knowing anything about the cursor."""
        return not statement._with_options and plan_variant(load_options) in self._compiled.compile_state.__dict__.get(
            "_row_plans", ()
        )

    def rows_after(
        self,
        session: Any,
        lane: Any,
        sql: str,
        parameters: Sequence[Any],
        given: Mapping[str, Any],
        statement: Any,
        extracted: Sequence[Any],
        options: Callable[[], tuple[Any, ...]],
        top: Any,
        is_grouped: bool,
    ) -> Any:
        """Rows of a statement that follows the one of context ``top``; a dict of key to objects if ``is_grouped``.

        ``extracted``, ``options``: what this execution has in place of the statement's parameters and loader options.
        """
        plan, restamp = self.context_free_plan(_FOLLOWING), None
        if plan is None:
            load_options = DEFAULT_OPTIONS if top is None else DEFAULT_OPTIONS + {"_sa_top_level_orm_context": top}
            compile_state = self._compiled.compile_state
            context = QueryContext(
                compile_state,
                statement,
                statement,
                given,
                session,
                load_options,
                parameters=extracted,
                options=options(),
            )
            execution = partial(session._uow_use, lane.fetch, sql, parameters)
            plan, needed, restamp = self._reading_with(context, _FOLLOWING, execution)
            if needed is not None:
                found = RowLoad(context, plan).rows(execution()[0])
                return _core.group_rows(found, len(plan.labels) - 1) if is_grouped else found
        return session._load(lane, sql, parameters, plan.row_plan, is_grouped=is_grouped, restamp=restamp)

    def refresh(
        self, session: Any, lane: Any, parameters: Sequence[Any], state: Any, is_user_refresh: bool = False
    ) -> bool:
        """Load the row of ``state`` into it; False if the row is gone. Each kind has a statement of its own."""
        rows, _ = session._uow_use(lane.fetch, self.sql, parameters)
        if not rows:
            return False
        known = self._plans.get(REFRESH)
        if known is not None and not known.needs_context:
            plan = known.plan
            only = plan.only_load_props or None
            session._hydrate(plan.row_plan, rows, refresh_state=state, only_attributes=only, loaded=None)
            return True
        options = DEFAULT_OPTIONS + {"_refresh_state": state, "_is_user_refresh": is_user_refresh}
        context = QueryContext(self._compiled.compile_state, self._statement, self._statement, None, session, options)
        RowLoad(context, self._plan(context, REFRESH, lambda: None)).rows(rows)
        return True

    def _plan(self, context: QueryContext, variant: Any, execution: Callable[[], Any]) -> StatementPlan:
        try:
            # the lane's drivers say nothing about the types of a result's columns
            plan = statement_plan(context, lambda: RowSource(self._compiled, self.dialect, None))
        except Exception:
            execution()  # a statement whose rows cannot be read is sent all the same, and fails for what it is
            raise
        cached = context.compile_state.__dict__["_row_plans"]
        if any(kept is plan for kept in cached.values()):
            needs_context = bool(plan.post_loads) or _needs_context(plan)
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            self._plans[variant] = _KeptPlan(plan, needs_context, any(map(may_vary, plan.options)))
        return plan

    def result(
        self,
        session: Any,
        lane: Lane,
        extracted: Sequence[Any],
        given: Optional[Mapping[str, Any]],
        statement: Any,
        load_options: Any = DEFAULT_OPTIONS,
        call: Call = NO_CALL,
    ) -> Any:
        """A Result of all rows; None if the parameters need Core."""
        if self.is_text and not self._has_plan(statement, load_options):
            return None
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
        if given and not call.params:
            call = call._replace(params=given)
        page = first_page(statement, load_options, call.execution_options)
        if page:
            own = self._context(session, statement, load_options, call, extracted)
            return self._streamed(lane, sql, parameters, page, own)
        execution = partial(session._uow_use, lane.fetch, sql, parameters)
        reading = self._reading(session, statement, load_options, call, execution, extracted)
        plan, context, _ = reading
        fetched, rows = _rows(session, lane, sql, parameters, reading, load_options)
        metadata = self._metadata.get(load_options._legacy_uniquing)
        if metadata is None:
            metadata = result_metadata(plan, load_options)
            if context is None:
                self._metadata[load_options._legacy_uniquing] = metadata
                if load_options is DEFAULT_OPTIONS and plan is self.context_free_plan(False):
                    self.ready = self._ready(plan, metadata, None)
            elif plan.post_loads and load_options is DEFAULT_OPTIONS and self._chances:
                # what follows is prepared by the first execution that finds something
                self._chances -= 1
                self.ready = self._ready(plan, metadata, context)
        compile_state = self._compiled.compile_state
        checked = chain(_unless_expunged(session, session._identity_epoch, plan, fetched), rows)
        metadata = plan.named(metadata, statement)
        result = FetchedResult(metadata, checked, plan.single_entity, context, compile_state.multi_row_eager_loaders)
        if load_options is not DEFAULT_OPTIONS:
            tell_query(result, compile_state, plan)
        return result

    def _streamed(self, lane: Lane, sql: str, parameters: Sequence[Any], page: int, context: QueryContext) -> Any:
        """A Result whose rows are fetched when they are asked for; None if Core has to say that they cannot be."""
        use, load_options = context.session._uow_use, context.load_options
        variant = _variant(load_options)
        kept = self._plans.get(variant)
        execution = partial(use, lane.fetch, sql, parameters)
        plan = self._plan(context, variant, execution) if kept is None else kept.plan
        if context.yield_per and plan.requires_uniquing:
            return None
        rows = use(LaneCursor, lane, sql, parameters, page)
        return chunked_result(context, plan, rows.fetch, RowLoad(context, plan).rows, rows, server_side=False)


class _Reading(NamedTuple):
    """How the rows of one execution become objects."""

    plan: StatementPlan
    #: if the plan needs one
    context: Optional[QueryContext]
    #: what makes this execution's options of those that the plan has for the objects, where these will not do
    restamp: Optional[Callable[[Any], Any]]


def _variant(load_options: Any) -> Any:
    """The key of the plan by which rows are read."""
    if load_options is DEFAULT_OPTIONS:
        return False
    return True if load_options is LAZY_OPTIONS else plan_variant(load_options)


def _rows(
    session: Any,
    lane: Lane,
    sql: str,
    parameters: Sequence[Any],
    reading: _Reading,
    load_options: Any,
) -> tuple[list[Any], Iterable[Any]]:
    """What was found, and the objects, or tuples, that it becomes."""
    plan, context, restamp = reading
    overwrites = load_options._populate_existing
    passes_by = not load_options._invoke_all_eagers
    if context is None and not (overwrites or load_options._refresh_state is not None or plan.only_load_props):
        made = session._load(lane, sql, parameters, plan.row_plan, passes_by_loaded=passes_by, restamp=restamp)
        return made, made
    fetched, _ = session._uow_use(lane.fetch, sql, parameters)
    read: Callable[[], list[Any]]
    if context is not None:
        read = partial(RowLoad(context, plan).rows, fetched)
    else:
        read = partial(
            session._hydrate,
            plan.row_plan,
            fetched,
            populate_existing=overwrites,
            refresh_state=load_options._refresh_state,
            only_attributes=plan.only_load_props or None,
            loaded=None if restamp is None else _core.LoadContext(None, restamp),
            passes_by_loaded=passes_by,
        )
    # nothing is overwritten, and nothing more is loaded, before somebody looks at the rows
    return fetched, later(read)


def _unless_expunged(session: Any, epoch: int, plan: StatementPlan, rows: list[Any]) -> Iterator[Any]:
    """Nothing, or the error that the session was closed between execution and first fetch."""
    if rows and session._identity_epoch != epoch:
        refuse_expunged(plan)
    yield from ()


def _lists_are_plain(compiled: Any) -> bool:
    """Whether every list parameter is one ``?`` per value, or per value of its tuples."""
    return compiled.dialect.paramstyle == "qmark" and all(
        bind.expanding
        and not any(
            type_._has_bind_expression or type_._is_array
            for type_ in (bind.type.types if bind.type._is_tuple_type else (bind.type,))
        )
        and not compiled.dialect._bind_typing_render_casts
        for bind in compiled.post_compile_params
    )


def _spelled_tuples(values: Sequence[Any], processors: tuple[Any, ...], flat: list[Any]) -> Optional[str]:
    """The text of a list of tuples, whose values are added to ``flat``; None if they are no tuples of that width."""
    width = len(processors)
    for value in values:
        if not isinstance(value, tuple) or len(value) != width:
            return None
        flat.extend([part if each is None else each(part) for part, each in zip(value, processors, strict=True)])
    mark = "(" + ("?, " * width)[:-2] + ")"
    return ", ".join([mark] * len(values))


def may_vary(option: Any) -> bool:
    """Whether an option that objects keep may have other values in another statement of the same shape."""
    return not option._is_strategy_option or any(element._extra_criteria for element in option.context)


def _needs_context(plan: StatementPlan) -> bool:
    """Whether rows cannot become objects without a context, not counting the loads that follow them."""
    return bool(plan.has_subqueries or plan.composed or plan.version or _has_load_listeners(plan))


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
