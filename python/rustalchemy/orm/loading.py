"""Executing ORM SELECTs: rows in chunks to the native core, objects out as a ``Result``.

The Session comes here with a cursor result (:func:`instances`), for single objects (:func:`_load_on_pk_identity`,
:func:`_load_scalar_attributes`) and from the identity map (:func:`get_from_identity`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc
from sqlalchemy import util
from sqlalchemy.engine.result import FrozenResult, result_tuple
from sqlalchemy.sql import util as sql_util
from sqlalchemy.sql.selectable import SelectState

from .. import _core
from . import _detached, attributes
from . import exc as orm_exc
from ._context_entities import _MapperEntity, _setup_entity_query
from ._results import FetchedResult, Uniquing, chunked_result, result_metadata
from ._row_plans import PostLoader, RowPlanBuilder, RowSource, StatementPlan
from .base import LoaderCallableStatus, PassiveFlag, state_str
from .context import FromStatement, QueryContext, _ORMCompileState, _ORMSelectCompileState
from .path_registry import PathRegistry

if TYPE_CHECKING:
    from .mapper import Mapper
    from .session import Session

__all__ = ("_setup_entity_query", "get_from_identity", "instances", "merge_frozen_result", "merge_result")

_NONE = frozenset((None,))


class _PostLoad:
    """The loaders to run for one path once its parents' rows were read, and those parents."""

    __slots__ = ("load_keys", "loaders", "states")

    def __init__(self) -> None:
        self.loaders: dict[Any, tuple[QueryContext, PostLoader]] = {}
        self.states: list[tuple[Any, Any, bool]] = []
        self.load_keys: Any = None

    def invoke(self, path: tuple[Any, ...]) -> None:
        states, self.states = self.states, []
        if not states:
            return
        registry = PathRegistry.coerce(path)
        for context, loader in self.loaders.values():
            chosen = _of_mapper(states, loader.limit_to_mapper)
            if chosen:
                loader.function(context, registry, chosen, self.load_keys, *loader.args)


def _of_mapper(states: list[tuple[Any, Any, bool]], mapper: Any) -> list[tuple[Any, Any, bool]]:
    # parents of several classes occur with inheritance only
    if not mapper.base_mapper.polymorphic_map and not mapper.inherits:
        return states
    class_ = mapper.class_
    return [entry for entry in states if isinstance(entry[0], class_)]


def statement_plan(context: QueryContext, source: Callable[[], RowSource], cacheable: bool = True) -> StatementPlan:
    """The plan of the context's compiled statement, made at its first execution."""
    compile_state = context.compile_state
    load_options = context.load_options
    key = (
        context.refresh_state is not None,
        context.populate_existing,
        bool(context.version_check),
        load_options._is_user_refresh,
        load_options._only_return_tuples,
        context.invoke_all_eagers,
    )
    options = context.propagated_loader_options
    # strategies have the criteria of their options in them; any other option is merely kept by the states
    own_options = not options or all(
        opt is cached or not opt._is_strategy_option
        for opt, cached in zip(options, _propagated(compile_state), strict=True)
    )
    plans: dict[Any, StatementPlan] = compile_state.__dict__.setdefault("_row_plans", {})
    plan = plans.get(key) if own_options and context.identity_token is None else None
    if plan is not None:
        return plan

    entities = compile_state._entities
    single_entity = (
        not load_options._only_return_tuples and len(entities) == 1 and bool(entities[0].supports_single_entity)
    )
    builder = RowPlanBuilder(context, source())
    plan = StatementPlan(builder, entities, single_entity)
    if cacheable and builder.cacheable and own_options:
        # the plan outlives this execution, and with it the builder, which plans for subclasses configured later
        builder.context = context.without_execution()
        plans[key] = plan
    return plan


def _propagated(compile_state: Any) -> Iterator[Any]:
    return (opt for opt in compile_state.select_statement._with_options if opt.propagate_to_loaders)


class _Load:
    """One execution's rows on their way to objects."""

    __slots__ = ("collected", "context", "epoch", "is_top_level", "plan", "post_loads")

    def __init__(self, context: QueryContext, plan: StatementPlan) -> None:
        self.context = context
        self.plan = plan
        self.epoch = context.session._identity_epoch
        top = context.top_level_context
        self.is_top_level = top is None
        # a nested load leaves its post loads to the outermost one, which runs them level by level
        self.post_loads: dict[Any, _PostLoad] = context.post_load_paths if top is None else top.post_load_paths
        context.post_load_paths = self.post_loads
        self.collected = _core.LoadContext(context, plan.restamp(context.propagated_loader_options))

    def rows(self, fetched: list[Any]) -> list[Any]:
        """Objects, or tuples, for a chunk of raw rows; post loads done."""
        context, plan = self.context, self.plan
        if fetched and context.session._identity_epoch != self.epoch:
            refuse_expunged(plan)
        if plan.version is not None:
            self._check_versions(fetched)
        result: list[Any] = context.session._hydrate(
            plan.row_plan,
            fetched,
            populate_existing=context.populate_existing,
            refresh_state=context.refresh_state,
            only_attributes=bool(plan.only_load_props),
            loaded=self.collected,
        )
        if plan.post_loads:
            self._collect()
        if self.is_top_level:
            post_loads = self.post_loads
            while post_loads:
                round_ = list(post_loads.items())
                post_loads.clear()
                for path, post_load in round_:
                    post_load.invoke(path)
        if plan.composed is not None:
            result = plan.compose(result, context.query)
        return result

    def _check_versions(self, fetched: list[Any]) -> None:
        """with_for_update: an object in the session must not be older than the row that was locked."""
        assert self.plan.version is not None
        mapper, key_places, version_place = self.plan.version
        places = [place if isinstance(place, int) else place[0] for place in key_places]
        key = mapper._columntoproperty[mapper.version_id_col].key
        for row in fetched:
            identity = mapper.identity_key_from_primary_key(tuple(row[place] for place in places))
            instance = self.context.session.identity_map.get(identity)
            if instance is None:
                continue
            state = attributes.instance_state(instance)
            version = state.dict.get(key)
            if version != row[version_place]:
                raise orm_exc.StaleDataError(
                    f"Instance '{state_str(state)}' has version id '{version}' which does not match database-loaded "
                    f"version id '{row[version_place]}'."
                )

    def _collect(self) -> None:
        context = self.context
        for path, index, loaders in self.plan.post_loads:
            states = self.collected.take(index)
            if not context.invoke_all_eagers:
                states = [entry for entry in states if entry[2]]
            post_load = self.post_loads.get(path)
            if post_load is None:
                post_load = self.post_loads[path] = _PostLoad()
            for token, loader in loaders.items():
                post_load.loaders[token] = (context, loader)
            if self.plan.only_load_props:
                post_load.load_keys = self.plan.only_load_props
            post_load.states.extend(states)


def refuse_expunged(plan: StatementPlan) -> None:
    """Rows fetched after their session was closed cannot become objects; plain values can."""
    for entity in plan.entities:
        if isinstance(entity, _MapperEntity):
            instance = entity.mapper.class_manager.new_instance()
            raise sa_exc.InvalidRequestError(
                f"Object {state_str(attributes.instance_state(instance))} cannot be converted to 'persistent' state, "
                "as this identity map is no longer valid.  Has the owning Session been closed?",
                code="lkrp",
            )


def fetched_instances(rows: list[Any], source: RowSource, context: QueryContext) -> Any:
    """A Result of ORM objects and values, over the raw rows of one execution."""
    plan = statement_plan(context, lambda: source, cacheable=False)
    found = _Load(context, plan).rows(rows)
    metadata = result_metadata(plan, context.load_options, context.query)
    return FetchedResult(metadata, found, iter(()), plan, context.compile_state, context)


def instances(cursor: Any, context: QueryContext) -> Any:
    """A Result of ORM objects and values, over the rows of a Core result."""
    compiled = cursor.context.compiled
    try:
        plan = statement_plan(
            context,
            lambda: RowSource(
                compiled,
                cursor.dialect,
                getattr(cursor.cursor, "description", None),
                cursor._metadata,
            ),
            cacheable=not context.compile_state.is_dml_returning,
        )
        if context.yield_per and (plan.requires_uniquing or context.compile_state.multi_row_eager_loaders):
            raise sa_exc.InvalidRequestError(
                "Can't use yield_per with eager loaders that require uniquing or row buffering, e.g. joinedload() "
                "against collections or subqueryload().  Consider the selectinload() strategy for better flexibility "
                "in loading objects."
            )
    except Exception:
        cursor.close()
        raise
    load = _Load(context, plan)
    uniquing = Uniquing(context.load_options, plan)
    log_row = getattr(cursor, "_row_logging_fn", None)

    def chunks(size: Optional[int]) -> Iterator[list[Any]]:
        while True:
            if size:
                uniquing.refuse_yield_per()
                fetched = cursor._fetchmany_impl(size)
                if not fetched:
                    return
            else:
                fetched = cursor._fetchall_impl()
            if log_row is not None:
                for row in fetched:
                    log_row(row)
            yield load.rows(fetched if isinstance(fetched, list) else list(fetched))
            if not size:
                return

    source: Callable[[Optional[int]], Iterator[list[Any]]] = chunks
    if context.execution_options.get("prebuffer_rows", False):
        buffered = list(chunks(None))
        source = lambda size: iter(buffered)  # noqa: E731
    return chunked_result(context, plan, uniquing, source, cursor, cursor.context._is_server_side)


# single objects


def get_from_identity(session: Session, mapper: Mapper[Any], key: Any, passive: PassiveFlag) -> Any:
    """The object of an identity key in the session's map, refreshed if it is expired."""
    instance = session.identity_map.get(key)
    if instance is None:
        return None
    state = attributes.instance_state(instance)
    if mapper.inherits and not state.mapper.isa(mapper):
        return LoaderCallableStatus.PASSIVE_CLASS_MISMATCH
    if state.expired:
        if not passive & PassiveFlag.SQL_OK:
            return LoaderCallableStatus.PASSIVE_NO_RESULT
        # inside of a flush, or of a load that leads back here, the expired state is looked at later
        if passive & PassiveFlag.RELATED_OBJECT_OK:
            try:
                state._load_expired(state, passive)
            except orm_exc.ObjectDeletedError:
                session._remove_newly_deleted([state])
                return None
    return instance


def _load_on_ident(session: Session, statement: Any, key: Any, **kw: Any) -> Any:
    """Load the object of an identity key; arguments as of :func:`_load_on_pk_identity`."""
    if key is None:
        return _load_on_pk_identity(session, statement, None, **kw)
    return _load_on_pk_identity(session, statement, key[1], identity_token=key[2], **kw)


def _load_on_pk_identity(
    session: Session,
    statement: Any,
    primary_key_identity: Optional[Sequence[Any]],
    *,
    load_options: Any = None,
    refresh_state: Any = None,
    with_for_update: Any = None,
    only_load_props: Optional[Iterable[str]] = None,
    identity_token: Any = None,
    no_autoflush: bool = False,
    bind_arguments: Optional[Mapping[str, Any]] = None,
    execution_options: Mapping[str, Any] = util.EMPTY_DICT,
    require_pk_cols: bool = False,
    is_user_refresh: bool = False,
) -> Any:
    """Load the object of a primary key, or refresh ``refresh_state``; None when the row is gone."""
    query = statement._clone()
    options = QueryContext.default_load_options if load_options is None else load_options
    compile_options = statement._compile_options
    if compile_options is SelectState.default_select_compile_options:
        compile_options = _ORMCompileState.default_compile_options

    params = None
    if primary_key_identity is not None:
        mapper = query._propagate_attrs["plugin_subject"].mapper
        criterion, params = _identity_criterion(mapper, primary_key_identity)
        query._where_criteria = (criterion,)

    version_check = with_for_update is not None or query._for_update_arg is not None
    if with_for_update is not None:
        query._for_update_arg = with_for_update
    if require_pk_cols and only_load_props:
        only_load_props = _props_with_primary_key(refresh_state, only_load_props)

    if refresh_state is not None:
        if refresh_state.load_options:
            compile_options += {"_current_path": refresh_state.load_path.parent}
            query = query.options(*refresh_state.load_options)
        options += {"_refresh_state": refresh_state}
        compile_options += {"_for_refresh_state": True}
    if only_load_props:
        compile_options += {"_only_load_props": frozenset(only_load_props)}
    if version_check:
        options += {"_version_check": True}
    if identity_token:
        options += {"_identity_token": identity_token}
    if is_user_refresh:
        options += {"_is_user_refresh": True}
    if no_autoflush:
        options += {"_autoflush": False}
    query._compile_options = compile_options
    query._order_by = None

    result = session.execute(
        query,
        params=params,
        execution_options=util.EMPTY_DICT.merge_with(
            execution_options, util.immutabledict(_sa_orm_load_options=options)
        ),
        bind_arguments=dict(bind_arguments) if bind_arguments else None,
    )
    try:
        return result.unique().scalars().one()
    except sa_exc.NoResultFound:
        return None


def _identity_criterion(mapper: Any, identity: Sequence[Any]) -> tuple[Any, dict[str, Any]]:
    criterion, bind_of = mapper._get_clause
    names = [bind_of[column].key for column in mapper.primary_key]
    nones = {name for name, value in zip(names, identity, strict=True) if value is None}
    if nones:
        criterion = sql_util.adapt_criterion_to_null(criterion, nones)
        if len(nones) == len(identity):
            util.warn(
                "fully NULL primary key identity cannot load any object.  This condition may raise an error in a "
                "future release."
            )
    return criterion, dict(zip(names, identity, strict=True))


def _props_with_primary_key(state: Any, only_load_props: Iterable[str]) -> Iterable[str]:
    """The attributes to refresh; with the primary key when relationships are among them, so that there is a row."""
    if state is None:
        raise sa_exc.ArgumentError("refresh_state is required when require_pk_cols is present")
    mapper = state.mapper
    key_props = mapper._primary_key_propkeys
    changed = {key for key in key_props.difference(only_load_props) if state.attrs[key].history.has_changes()}
    if changed:
        raise sa_exc.InvalidRequestError(
            "Please flush pending primary key changes on attributes "
            f"{changed} for mapper {mapper} before proceeding with a refresh"
        )
    if any(mapper._props[key]._is_relationship for key in only_load_props):
        return key_props.union(only_load_props)
    return only_load_props


def _load_scalar_attributes(
    mapper: Any, state: Any, attribute_names: Any, passive: PassiveFlag = PassiveFlag.PASSIVE_OFF
) -> None:
    """Load column attributes of one object: expired or deferred ones."""
    session = state.session
    if not session:
        raise _detached.refresh(state, attribute_names)
    no_autoflush = bool(passive & PassiveFlag.NO_AUTOFLUSH)
    if attribute_names:
        # the class may have attributes that this mapper does not load
        attribute_names = set(attribute_names).intersection(mapper.attrs.keys())

    if mapper.inherits and not mapper.concrete:
        # only the tables that are needed
        statement = mapper._optimized_get_statement(state, attribute_names)
        if statement is not None:
            _load_on_ident(
                session,
                FromStatement(mapper, statement),
                None,
                only_load_props=attribute_names,
                refresh_state=state,
                no_autoflush=no_autoflush,
            )
            return

    key = state.key
    if key is None:
        # inside of a flush: the row exists, the identity is not entered yet
        missing = {mapper._columntoproperty[column].key for column in mapper.primary_key}
        if state._expired_columns.intersection(missing):
            raise sa_exc.InvalidRequestError(
                f"Instance {state_str(state)} cannot be refreshed - it's not  persistent and does not "
                "contain a full primary key."
            )
        key = mapper._identity_key_from_state(state)
    identity = key[1]
    if _NONE.issuperset(identity) or (None in identity and not mapper.allow_partial_pks):
        util.warn_limited(
            "Instance %s to be refreshed doesn't contain a full primary key - can't be refreshed (and shouldn't be "
            "expired, either).",
            state_str(state),
        )
        return

    if state.key is not None:
        found = _statement_cache.refresh_state(session, mapper, state, attribute_names, not no_autoflush)
        if found is True:
            return
        if found is False:
            raise orm_exc.ObjectDeletedError(state)

    loaded = _load_on_ident(
        session,
        sa.select(mapper),
        key,
        refresh_state=state,
        only_load_props=attribute_names,
        no_autoflush=no_autoflush,
    )
    if loaded is None and state.key is not None:
        raise orm_exc.ObjectDeletedError(state)


# merging results of another session, or of a cache


def _merge_rows(session: Any, entities: Sequence[Any], rows: Iterable[list[Any]], load: bool) -> list[Any]:
    keyed_tuple = result_tuple([ent._label_name for ent in entities], [ent._extra_entities for ent in entities])
    mapped = [index for index, ent in enumerate(entities) if isinstance(ent, _MapperEntity)]
    merged = []
    for row in rows:
        for index in mapped:
            if row[index] is not None:
                row[index] = _merge_one(session, row[index], load)
        merged.append(keyed_tuple(row))
    return merged


def _merge_one(session: Any, instance: Any, load: bool) -> Any:
    return session._merge(
        attributes.instance_state(instance),
        attributes.instance_dict(instance),
        load=load,
        _recursive={},
        _resolve_conflict_map={},
    )


def merge_frozen_result(session: Any, statement: Any, frozen_result: Any, load: bool = True) -> Any:
    """Bring the objects of a frozen Result into ``session``; a Result factory of them."""
    if load:
        session._autoflush()
    entities = _ORMSelectCompileState._create_entities_collection(statement, legacy=False)._entities
    with session.no_autoflush:
        rows = [list(row) for row in frozen_result._rewrite_rows()]
        return frozen_result.with_new_rows(_merge_rows(session, entities, rows, load))


@util.became_legacy_20(
    ":func:`_orm.merge_result`",
    alternative="The function as well as the method on :class:`_orm.Query` is superseded by the "
    ":func:`_orm.merge_frozen_result` function.",
)
def merge_result(query: Any, iterator: Any, load: bool = True) -> Any:
    """Bring the objects of a Query's result into the Query's session."""
    session = query.session
    if load:
        session._autoflush()
    is_frozen = isinstance(iterator, FrozenResult)
    source = iter(iterator.data) if is_frozen else iterator
    entities = _ORMSelectCompileState._create_entities_collection(query, legacy=True)._entities
    with session.no_autoflush:
        if not is_frozen and len(entities) == 1:
            is_mapped = isinstance(entities[0], _MapperEntity)
            merged = [_merge_one(session, item, load) if is_mapped else item for item in source]
        else:
            merged = _merge_rows(session, entities, (list(row) for row in source), load)
    return iterator.with_new_rows(merged) if is_frozen else iter(merged)


# last: the cache runs the loads of this module
from . import _statement_cache  # noqa: E402
