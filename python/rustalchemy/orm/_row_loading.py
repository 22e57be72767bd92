"""The rows of one execution on their way to objects: the plan they are read by, and the loads that follow them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Optional

from sqlalchemy import exc as sa_exc

from .. import _core
from . import attributes
from . import exc as orm_exc
from ._context_entities import _MapperEntity
from ._row_plans import Parent, PostLoader, RowPlanBuilder, RowSource, StatementPlan
from .base import state_str
from .context import QueryContext
from .path_registry import PathRegistry


class PostLoad:
    """The loaders to run for one path once its parents' rows were read, and those parents."""

    __slots__ = ("load_keys", "loaders", "states")

    def __init__(self) -> None:
        self.loaders: dict[Any, tuple[QueryContext, PostLoader]] = {}
        self.states: list[Parent] = []
        self.load_keys: Any = None

    def add(self, states: list[Parent]) -> None:
        """Add parents, each of them once: chunks of a load may have the same."""
        if self.states:
            states = list({id(entry[0]): entry for entry in (*self.states, *states)}.values())
        self.states = states

    def invoke(self, path: tuple[Any, ...]) -> None:
        states, self.states = self.states, []
        if not states:
            return
        registry = PathRegistry.coerce(path)
        for context, loader in self.loaders.values():
            chosen = _of_mapper(states, loader.limit_to_mapper)
            if chosen:
                loader.function(context, registry, chosen, self.load_keys, *loader.args)


def _of_mapper(states: list[Parent], mapper: Any) -> list[Parent]:
    # parents of several classes occur with inheritance only
    if not mapper.base_mapper.polymorphic_map and not mapper.inherits:
        return states
    class_ = mapper.class_
    return [entry for entry in states if isinstance(entry[0], class_)]


# Tokens may be anything, and ever new: a statement keeps the plans of some.
MOST_PLANS = 64


def plan_variant(load_options: Any) -> tuple[Any, ...]:
    """What of the load options has a say in how rows are read."""
    return (
        load_options._refresh_state is not None,
        load_options._populate_existing,
        bool(load_options._version_check),
        load_options._is_user_refresh,
        load_options._only_return_tuples,
        load_options._invoke_all_eagers,
        load_options._identity_token,
    )


def statement_plan(context: QueryContext, source: Callable[[], RowSource]) -> StatementPlan:
    """The plan of the context's compiled statement, made at its first execution."""
    compile_state = context.compile_state
    load_options = context.load_options
    key = plan_variant(load_options)
    plans: dict[Any, StatementPlan] = compile_state.__dict__.setdefault("_row_plans", {})
    plan = plans.get(key)
    if plan is not None:
        return plan

    entities = compile_state._entities
    single_entity = (
        not load_options._only_return_tuples and len(entities) == 1 and bool(entities[0].supports_single_entity)
    )
    builder = RowPlanBuilder(context, source())
    plan = StatementPlan(builder, entities, single_entity)
    if builder.cacheable:
        # the plan outlives this execution, and with it the builder, which plans for subclasses configured later
        builder.context = context.without_execution()
        if len(plans) >= MOST_PLANS:
            plans.clear()
        plans[key] = plan
    return plan


def later(read: Callable[[], list[Any]]) -> Iterator[Any]:
    """What is read, when somebody looks at it."""
    yield from read()


class RowLoad:
    """One execution's rows on their way to objects."""

    __slots__ = ("collected", "context", "epoch", "is_top_level", "plan", "post_loads", "seen")

    def __init__(self, context: QueryContext, plan: StatementPlan) -> None:
        self.context = context
        self.plan = plan
        self.epoch = context.session._identity_epoch
        top = context.top_level_context
        self.is_top_level = top is None
        # a nested load leaves its post loads to the outermost one, which runs them level by level
        self.post_loads: dict[Any, PostLoad] = context.post_load_paths if top is None else top.post_load_paths
        context.post_load_paths = self.post_loads
        #: classes that the rows had so far, by path, where loaders ask
        self.seen: dict[Any, dict[type[Any], None]] = {}
        self.collected = _core.LoadContext(context, plan.restamp(context))

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
            only_attributes=plan.only_load_props or None,
            loaded=self.collected,
            passes_by_loaded=not context.invoke_all_eagers,
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
                post_load = self.post_loads[path] = PostLoad()
            chosen = [
                (token, in_charge)
                for token, loader in loaders.items()
                if (in_charge := self._in_charge(path, loader, states)) is not None
            ]
            if path in self.seen:
                chosen.sort(key=lambda entry: entry[1].rank(self.seen[path]))
            for token, loader in chosen:
                post_load.loaders[token] = (context, loader)
            if self.plan.only_load_props:
                post_load.load_keys = self.plan.only_load_props
            post_load.add(states)

    def _in_charge(self, path: Any, loader: PostLoader, parents: list[Parent]) -> Optional[PostLoader]:
        """The loader, or what the subclasses among the rows put in its place."""
        if not loader.planned_for and loader.successor is None:
            return loader
        seen = self.seen.setdefault(path, {})
        seen.update((type(parent[0]), None) for parent in parents)
        return loader.in_charge(seen)


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
