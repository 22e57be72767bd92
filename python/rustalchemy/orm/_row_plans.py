"""From a compiled statement to the native core's row plan: which position of a row fills which attribute.

A :class:`RowPlanBuilder` walks the entities of a compile state once per compiled statement; the result, a
:class:`StatementPlan`, is kept with the compile state and run on every execution's rows.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Optional

from sqlalchemy import exc as sa_exc
from sqlalchemy import util

from .. import _core, _sa
from ._context_entities import _regroup
from ._plain_options import are_plain
from ._processors import result_processor
from .path_registry import PathRegistry

if TYPE_CHECKING:
    from .context import QueryContext

# what a column property leaves in place of a column when its column is not in the statement
DEFER_FOR_STATE = object()
SET_DEFERRED_EXPIRED = object()
RAISE_FOR_STATE = object()

#: (object, identity, overwrite) of a parent whose row was read
Parent = tuple[Any, Any, bool]

DEFERRED = (("deferred", True), ("instrument", True))
RAISING = (*DEFERRED, ("raiseload", True))


class RowSource:
    """Where the columns of a compiled statement are found in its raw rows, and what processes their values."""

    __slots__ = ("_columns", "_description", "_dialect", "_metadata", "_positions")

    def __init__(self, compiled: Any, dialect: Any, description: Any, metadata: Any = None) -> None:
        self._dialect = dialect
        self._columns = compiled._result_columns
        self._description = description
        # positions of text and of DML results are known to the cursor's metadata only
        self._metadata = metadata
        self._positions: dict[Any, int] = {}
        if metadata is None:
            for position, column in enumerate(self._columns):
                for name in column.objects:
                    self._positions.setdefault(name, position)

    def position(self, column: Any) -> Optional[int]:
        if self._metadata is None:
            return self._positions.get(column)
        return self._metadata._index_for_key(column, False)

    def processor(self, position: int, column: Any) -> Any:
        type_ = column.type
        if self._metadata is None:
            type_ = self._columns[position].type
        else:
            function = self._metadata._processors[position]
            if function is None:
                return None
            index = self._metadata._keymap[column][1]
            if index is None or index >= len(self._columns):
                return _core.Processor.python(function)
            type_ = self._columns[index].type
        description = self._description
        return result_processor(type_, self._dialect, description[position][1] if description else None)


class StampedOptions(tuple[Any, ...]):
    """The options a state was loaded with, and the strategies they chose for attributes that load later."""

    overrides: dict[str, tuple[Any, Any]]

    @classmethod
    def of(cls, options: tuple[Any, ...], overrides: dict[str, tuple[Any, Any]]) -> StampedOptions:
        self = cls(options)
        self.overrides = overrides
        return self

    def __reduce__(self) -> Any:
        if any(option is not None and option._extra_criteria for _, option in self.overrides.values()):
            util.warn(
                "Can't reliably serialize a lazyload() option that contains additional criteria; please use eager "
                "loading for this case"
            )
        # an option has nothing but its criteria beside the strategy
        return StampedOptions._restore, (tuple(self), {key: strategy for key, (strategy, _) in self.overrides.items()})

    @classmethod
    def _restore(cls, options: tuple[Any, ...], strategies: dict[str, Any]) -> StampedOptions:
        return cls.of(options, {key: (strategy, None) for key, strategy in strategies.items()})


def overrides_of(state: Any) -> dict[str, tuple[Any, Any]]:
    """(strategy key, option) by attribute, where loader options chose in place of the mapped strategy."""
    options = state.load_options
    return options.overrides if type(options) is StampedOptions else {}


def choose_strategies(state: Any, chosen: dict[str, Any], ended: list[str]) -> None:
    """Note what options chose for attributes of an object, and which earlier choices have ended."""
    known = overrides_of(state)
    merged = {**{key: choice for key, choice in known.items() if key not in ended}, **chosen}
    if merged != known:
        options = state.load_options
        state.load_options = StampedOptions.of(options, merged) if merged else tuple(options)


def merge_load_options(source: Any, target: Any) -> None:
    """How the source was loaded is how the target will load what it lacks.

    What was chosen for single attributes of the target stays, unless the source brings choices of its own.
    """
    known = {} if overrides_of(source) else overrides_of(target)
    target.load_path = source.load_path
    target.load_options = StampedOptions.of(source.load_options, known) if known else source.load_options


class PostLoader:
    """A loader that runs once the rows of its parents were read: select-in, immediate.

    Plans of subclasses count from the first row of the subclass. ``planned_for``: the subclasses in whose plan it is,
    and its place there; none if it is in the plan of the class that was asked for. ``successor``: what rows of other
    subclasses put in its place. ``natively(context, path, list, *args)`` makes what the native core does
    the same by, or None.
    """

    __slots__ = ("args", "function", "limit_to_mapper", "natively", "planned_for", "successor", "token")

    def __init__(
        self,
        token: Any,
        limit_to_mapper: Any,
        function: Callable[..., None],
        args: tuple[Any, ...],
        natively: Optional[Callable[..., Optional[_core.FollowingLoad]]] = None,
    ) -> None:
        self.token = token
        self.limit_to_mapper = limit_to_mapper
        self.function = function
        self.args = args
        self.natively = natively
        self.planned_for: dict[type[Any], int] = {}
        self.successor: Optional[PostLoader] = None

    def in_charge(self, classes: Collection[type[Any]]) -> Optional[PostLoader]:
        """What runs after rows of these classes."""
        is_planned = not self.planned_for or not self.planned_for.keys().isdisjoint(classes)
        if self.successor is not None:
            others = len(self.successor.planned_for.keys() & classes)
            if others > 1 or (others and is_planned):
                return self.successor
            is_planned = is_planned or others > 0
        return self if is_planned else None

    def rank(self, classes: Iterable[type[Any]]) -> tuple[int, int]:
        """Where it runs: with the first of these classes, in the order of the rows, in whose plan it is."""
        for place, class_ in enumerate(classes):
            if class_ in self.planned_for:
                return place, self.planned_for[class_]
        return -1, 0


class EntityParts:
    """What the properties of one entity contribute to its plan."""

    __slots__ = ("columns", "eager", "expired", "on_new", "overrides", "reset")

    def __init__(self) -> None:
        self.columns: list[tuple[int, int, Any]] = []
        self.expired: list[int] = []
        self.eager: list[Any] = []
        self.reset: list[int] = []
        self.on_new: list[Callable[..., None]] = []
        #: attribute key -> (strategy key, loader option), where an option replaced the class' own strategy
        self.overrides: dict[str, tuple[Any, Any]] = {}


class StatementPlan:
    """How the rows of one compiled statement become results."""

    __slots__ = (
        "_of_statement",
        "composed",
        "entities",
        "extra",
        "has_subqueries",
        "labels",
        "only_load_props",
        "options",
        "post_loads",
        "requires_uniquing",
        "row_plan",
        "single_entity",
        "version",
    )

    def __init__(self, builder: RowPlanBuilder, entities: Sequence[Any], single_entity: bool) -> None:
        parts = [entity.row_plan(builder) for entity in entities]
        shapes: list[Any] = []
        flat: list[Any] = []
        for plan, _, _ in parts:
            shapes.append(_flatten(plan, flat))
        self.composed = shapes if any(shape is not None for shape in shapes) else None
        self.single_entity = single_entity
        self.entities = entities
        self.labels = [label for _, label, _ in parts]
        self.extra = [extra for _, _, extra in parts]
        # expressions that are looked up in a Row by the object in the statement at hand, not in the cached one
        self._of_statement = [
            (position, entity.raw_column_index)
            for position, entity in enumerate(entities)
            if getattr(entity, "translate_raw_column", False)
        ]
        self.row_plan = _core.RowPlan(flat, single=single_entity and self.composed is None)
        self.post_loads = [(path, index, loaders) for path, (index, loaders) in builder.post_loads.items()]
        self.has_subqueries = bool(builder.subqueries)
        self.only_load_props = builder.only_load_props
        self.requires_uniquing = builder.requires_uniquing
        self.version = builder.version
        #: options that the states are to keep, as they are in the compiled statement
        self.options = builder.compile_state.propagated_options

    def restamp(self, context: QueryContext) -> Optional[Callable[[Any], Any]]:
        """What makes an execution's options of those that the plan has for its states; None if these will do."""
        options = context.propagated_loader_options
        if len(options) == len(self.options) and all(map(operator.is_, options, self.options)):
            return None

        def current(planned: Any) -> Any:
            if type(planned) is not StampedOptions:
                return options
            overrides = {
                key: (strategy, option._with_current_criteria(context) if option and option._extra_criteria else option)
                for key, (strategy, option) in planned.overrides.items()
            }
            return StampedOptions.of(options, overrides)

        return current

    def named(self, metadata: Any, query: Any) -> Any:
        """Names of the columns of a statement like the one that the plan was made of, in place of those of the plan."""
        if not self._of_statement:
            return metadata
        columns, extra = query._raw_columns, self.extra
        return _sa.named_metadata(
            metadata, [(position, extra[position], columns[index]) for position, index in self._of_statement]
        )

    def following_loads(self, context: QueryContext) -> Optional[list[_core.FollowingLoad]]:
        """The loads that follow the rows, for the native core; None if there is one that it cannot do."""
        loads = []
        for path, index, loaders in self.post_loads:
            for loader in loaders.values():
                load = None
                if loader.natively is not None and not loader.planned_for and loader.successor is None:
                    load = loader.natively(context, PathRegistry.coerce(path), index, *loader.args)
                if load is None:
                    return None
                loads.append(load)
        return loads

    def compose(self, rows: list[Any], query: Any) -> list[Any]:
        """Bundles and the like: flat rows back into the shape asked for."""
        assert self.composed is not None
        functions = _regroup(self.composed, query)
        if self.single_entity:
            (function,) = functions
            return list(map(function, rows))
        return list(zip(*(map(function, rows) for function in functions), strict=True))


def _flatten(plan: Any, flat: list[Any]) -> Any:
    """Append the plain plans of a possibly composed one; its shape, None when it is plain."""
    if not isinstance(plan, ComposedPlan):
        flat.append(plan)
        return None
    return [_flatten(part, flat) for part in plan.parts], plan.compose


class ComposedPlan:
    """A value Python makes of several others: a Bundle."""

    __slots__ = ("compose", "parts")

    def __init__(self, parts: list[Any], compose: Callable[[Any, list[Any]], Any]) -> None:
        self.parts = parts
        self.compose = compose


class RowPlanBuilder:
    """Makes the plan of one compiled statement; properties' strategies contribute through :meth:`entity_plan`."""

    def __init__(self, context: QueryContext, source: RowSource) -> None:
        self.context = context
        self.compile_state = context.compile_state
        self.attributes = context.compile_state.attributes
        self.query = context.query
        self.source = source
        self.identity_token = context.identity_token
        self.refresh_state = context.refresh_state
        #: off when something in the plan belongs to this execution only
        self.cacheable = True
        self.requires_uniquing = False
        self.only_load_props = self.compile_state.compile_options._only_load_props
        self.post_loads: dict[tuple[Any, ...], tuple[int, dict[Any, PostLoader]]] = {}
        self._places = itertools.count()
        #: the subclass whose plan is being made
        self._subclass: Optional[type[Any]] = None
        #: numbers of the statements that subquery loads send with the first row that asks for them, by path
        self.subqueries: dict[tuple[Any, ...], int] = {}
        #: (mapper, places of the key, place of the version), when versions of objects in the session are to be compared
        self.version: Optional[tuple[Any, tuple[Any, ...], int]] = None

    def column(self, column: Any, attribute: int, parts: EntityParts) -> bool:
        """Read ``attribute`` from ``column``, if the rows have it."""
        position = None if column is None else self.source.position(column)
        if position is None:
            return False
        parts.columns.append((position, attribute, self.source.processor(position, column)))
        return True

    def scalar_plan(self, column: Any) -> Any:
        return _core.ScalarPlan(*self._place(column))

    def _place(self, column: Any) -> tuple[int, Any]:
        """Where the rows have a column, and what processes it."""
        position = self.source.position(column)
        if position is None:
            raise sa_exc.NoSuchColumnError(f"Could not locate column in row for column '{column}'")
        return position, self.source.processor(position, column)

    @staticmethod
    def composed_plan(parts: list[Any], compose: Callable[[Any, list[Any]], Any]) -> ComposedPlan:
        return ComposedPlan(parts, compose)

    @staticmethod
    def add_eager(parts: EntityParts, attribute: int, plan: Any, prop: Any) -> None:
        """Fill ``attribute`` with what ``plan`` makes of the same row."""
        parts.eager.append(_core.EagerPlan(attribute, plan, bool(prop.uselist), prop))

    def add_subquery(
        self, path: Any, prop: Any, mapper: Any, adapter: Any, parts: EntityParts, load: Callable[[Any], Any]
    ) -> None:
        """Fill the attribute of ``prop`` with what ``load(context)`` finds by the row's values of its local columns.

        Subclasses, which have the path of their base, share what is loaded.
        """
        columns = [self._place(adapter.columns[column] if adapter else column) for column in prop.local_columns]
        number = self.subqueries.setdefault(path.natural_path, len(self.subqueries))
        attribute = mapper.class_manager[prop.key]._index
        parts.eager.append(_core.SubqueryPlan(attribute, bool(prop.uselist), prop, columns, number, load))

    def post_load(self, path: PathRegistry, loader: PostLoader) -> None:
        entry = self.post_loads.get(path.path)
        if entry is None:
            entry = self.post_loads[path.path] = (len(self.post_loads), {})
        subclass = self._subclass
        known = entry[1].get(loader.token)
        if known is None or subclass is None:
            entry[1][loader.token] = loader
        elif known.successor is None:
            known.successor = loader
        else:
            loader = known.successor
        if subclass is not None:
            loader.planned_for.setdefault(subclass, next(self._places))

    def share_post_load(self, path: PathRegistry, token: Any) -> None:
        """The plan at hand has a loader that is in another's plan."""
        loader = self.post_loads[path.path][1][token]
        if self._subclass is not None and loader.planned_for:
            loader.planned_for.setdefault(self._subclass, next(self._places))

    def has_post_load(self, path: PathRegistry, token: Any) -> bool:
        entry = self.post_loads.get(path.path)
        return entry is not None and token in entry[1]

    def load_path(self, path: PathRegistry) -> PathRegistry:
        current = self.compile_state.current_path
        return current + path if current.path else path

    # entities

    def entity_plan(
        self,
        query_entity: Any,
        mapper: Any,
        path: Any,
        adapter: Any,
        *,
        is_primary: bool = False,
        polymorphic_discriminator: Any = None,
        polymorphic_from: Any = None,
    ) -> Any:
        """The plan of ``mapper`` at ``path``, its joined eager loads included."""
        outer, self._subclass = self._subclass, None if polymorphic_from is None else mapper.class_
        requires_uniquing = self.requires_uniquing
        try:
            return self._entity_plan(
                query_entity, mapper, path, adapter, is_primary, polymorphic_discriminator, polymorphic_from
            )
        finally:
            self._subclass = outer
            if polymorphic_from is not None:
                # what a subclass loads may have a statement of its own
                self.requires_uniquing = requires_uniquing

    def _entity_plan(
        self,
        query_entity: Any,
        mapper: Any,
        path: Any,
        adapter: Any,
        is_primary: bool,
        polymorphic_discriminator: Any,
        polymorphic_from: Any,
    ) -> Any:
        only = self.only_load_props if is_primary else None
        refresh = self.refresh_state if is_primary else None
        parts = EntityParts()
        self._add_properties(parts, query_entity, mapper, path, adapter, only)

        load_path = self.load_path(path)
        if polymorphic_from is not None and not refresh:
            from ._polymorphic_loads import add_selectin_polymorphic

            add_selectin_polymorphic(self, mapper, path, load_path, polymorphic_from)

        polymorphic = None
        if mapper.polymorphic_map and polymorphic_from is None and not refresh:
            polymorphic = self._polymorphic_plans(query_entity, mapper, path, adapter, polymorphic_discriminator)

        key = () if refresh else self._primary_key(mapper, adapter)
        if is_primary and not refresh and self.context.version_check and mapper.version_id_col is not None:
            column = mapper.version_id_col
            position = self.source.position(adapter.columns[column] if adapter else column)
            if position is not None:
                self.version = (mapper, key, position)
        post = self.post_loads.get(load_path.path)
        stamp = None if only else self._stamp(parts, load_path)
        return _core.EntityPlan(
            mapper.class_manager,
            key,
            parts.columns,
            expired=tuple(parts.expired),
            eager=parts.eager,
            reset=tuple(parts.reset),
            overrides=parts.overrides or None,
            on_new=_all_of(parts.on_new),
            identity_token=self.identity_token,
            polymorphic=polymorphic,
            load_options=stamp,
            options_are_plain=stamp is not None and not parts.overrides and are_plain(*stamp),
            collect=None if post is None else post[0],
        )

    def _add_properties(
        self, parts: EntityParts, query_entity: Any, mapper: Any, path: Any, adapter: Any, only: Any
    ) -> None:
        found = path.get(self.attributes, "memoized_setups", {})
        manager = mapper.class_manager
        for key, prop in mapper._props.items():
            if only is not None and key not in only:
                continue
            if not getattr(prop, "instrument", True):
                continue  # the discriminator of a polymorphic selectable; an option may take it for an attribute
            column = found.get(prop)
            if column is None:
                strategy_for_path = getattr(prop, "_strategy_for_path", None)
                if strategy_for_path is not None:
                    option, strategy = strategy_for_path(self.context, path)
                    strategy.plan_row(self, query_entity, path, option, mapper, adapter, parts)
                continue
            attribute = manager[key]._index
            if column is SET_DEFERRED_EXPIRED:
                parts.reset.append(attribute)
            elif column is DEFER_FOR_STATE or column is RAISE_FOR_STATE:
                # a value that is there stays, whatever the load overwrites
                parts.overrides[key] = (DEFERRED if column is DEFER_FOR_STATE else RAISING, None)
            else:
                adapted = adapter.columns[column] if adapter else None
                if not self.column(adapted, attribute, parts) and not self.column(column, attribute, parts):
                    option, strategy = prop._strategy_for_path(self.context, path)
                    strategy.plan_row(self, query_entity, path, option, mapper, adapter, parts)

    def _primary_key(self, mapper: Any, adapter: Any) -> tuple[Any, ...]:
        places = []
        for column in mapper.primary_key:
            position, processor = self._place(adapter.columns[column] if adapter else column)
            places.append(position if processor is None else (position, processor))
        return tuple(places)

    def _stamp(self, parts: EntityParts, load_path: PathRegistry) -> Optional[tuple[Any, PathRegistry]]:
        """Options and path for the states, when there is anything to remember."""
        options = self.compile_state.propagated_options
        if parts.overrides:
            options = StampedOptions.of(options, parts.overrides)
        elif not options:
            return None
        return options, load_path

    def _polymorphic_plans(
        self, query_entity: Any, mapper: Any, path: Any, adapter: Any, discriminator: Any
    ) -> Optional[tuple[Any, ...]]:
        """(position of the discriminator, processor, plan by identity, what complains of NULL)."""
        column = mapper.polymorphic_on if discriminator is None else discriminator
        if column is None:
            return None
        if adapter:
            column = adapter.columns[column]
        position, processor = self._place(column)
        plans = PolymorphicPlans(self, query_entity, mapper, path, adapter, column)
        for identity in mapper.polymorphic_map:
            # rows of one table of concrete inheritance do not have the keys of the others
            with suppress(sa_exc.NoSuchColumnError):
                plans[identity]
        return position, processor, plans, plans.missing


class PolymorphicPlans(dict[Any, Any]):
    """The plan of each subclass by its polymorphic identity; None for the mapper's own, False for a stranger."""

    def __init__(
        self, builder: RowPlanBuilder, query_entity: Any, mapper: Any, path: Any, adapter: Any, column: Any
    ) -> None:
        self._plan_of: Callable[[Any], Any] = lambda sub_mapper: builder.entity_plan(
            query_entity, sub_mapper, path, adapter, polymorphic_from=mapper
        )
        self._mapper = mapper
        self._column = column
        self._identity_token = builder.context.identity_token

    def __missing__(self, identity: Any) -> Any:
        mapper = self._mapper
        sub_mapper = mapper.polymorphic_map.get(identity)
        if sub_mapper is None:
            raise AssertionError(f"No such polymorphic_identity {identity!r} is defined")
        if sub_mapper is mapper:
            plan = None
        elif sub_mapper.isa(mapper):
            plan = self._plan_of(sub_mapper)
        else:
            plan = False
        self[identity] = plan
        return plan

    def missing(self, identity: tuple[Any, ...], discriminator: Any) -> None:
        """Refuse a row that says no class, or one that was not asked for."""
        if discriminator is None:
            what = "is NULL"
        else:
            what = (
                f"refers to {self._mapper.polymorphic_map[discriminator]}, which is not a sub-mapper of the requested "
                f"{self._mapper}"
            )
        key = self._mapper.identity_key_from_primary_key(identity, self._identity_token)
        raise sa_exc.InvalidRequestError(
            f"Row with identity key {key} can't be loaded into an object; the polymorphic discriminator column "
            f"'{self._column}' {what}"
        )


def _all_of(functions: list[Callable[..., None]]) -> Optional[Callable[..., None]]:
    if len(functions) < 2:
        return functions[0] if functions else None

    def call_all(state: Any, row: Any, is_new: bool) -> None:
        for function in functions:
            function(state, row, is_new)

    return call_all
