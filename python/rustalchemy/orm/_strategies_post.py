"""Relationships loaded by further statements once their parents are read: ``selectinload()``."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from sqlalchemy import and_, inspect, sql, util
from sqlalchemy import exc as sa_exc
from sqlalchemy.sql.selectable import Select

from .. import _core, _sa
from . import interfaces, relationships
from . import util as orm_util
from ._prepared_loads import FollowingSelect
from ._row_plans import Parent, PostLoader
from ._strategies_lazy import _LAZY
from ._strategies_noload import _AbstractRelationshipLoader
from .base import LoaderCallableStatus
from .context import PLUGIN, _ORMCompileState
from .path_registry import PathRegistry

if TYPE_CHECKING:
    from ._row_plans import EntityParts, RowPlanBuilder


class _PostLoader(_AbstractRelationshipLoader):
    """What loaders of a second statement have in common."""

    __slots__ = ("join_depth",)

    parent_property: Any

    def __init__(self, parent: Any, strategy_key: Any) -> None:
        super().__init__(parent, strategy_key)
        self.join_depth = self.parent_property.join_depth

    def init_class_attribute(self, mapper: Any) -> None:
        self.parent_property._get_strategy(_LAZY).init_class_attribute(mapper)

    def _setup_for_recursion(
        self, builder: RowPlanBuilder, path: Any, loadopt: Any, join_depth: Optional[int] = None
    ) -> tuple[Any, bool, Any, Optional[int]]:
        """(path from the outermost statement, whether to load, execution options, levels left)."""
        context = builder.context
        prop = self.parent_property
        place = (builder.compile_state.current_path or PathRegistry.root) + path
        options: Any = util.immutabledict({"sa_top_level_orm_context": context._get_top_level_context()})

        depth = loadopt.local_opts.get("recursion_depth", None) if loadopt else None
        if depth is not None:
            # counted down through the executions
            builder.cacheable = False
            if not prop._is_self_referential:
                raise sa_exc.InvalidRequestError(
                    f"recursion_depth option on relationship {prop} not valid for non-self-referential relationship"
                )
            unlimited = depth == -1
            depth = context.execution_options.get(f"_recursion_depth_{id(self)}", depth)
            if not unlimited:
                if depth < 0:
                    return place, False, options, depth
                options = options.union({f"_recursion_depth_{id(self)}": depth - 1})

        if builder.has_post_load(place, prop):
            return place, False, options, depth
        if not path[prop].contains(builder.attributes, "loader"):
            full = place[prop]
            if join_depth:
                if full.length / 2 > join_depth:
                    return place, False, options, depth
            elif full.contains_mapper(self.mapper):
                return place, False, options, depth
        return place, True, options, depth

    def _is_of_entity(self, query_entity: Any, path: Any) -> bool:
        """Whether the parents at ``path`` have our attribute: a polymorphic load may ask about others."""
        if len(path) == 1:
            return bool(orm_util._entity_isa(query_entity.entity_zero, self.parent))
        return bool(orm_util._entity_isa(path[-1], self.parent) or self.parent.isa(path[-1].mapper))


def execution_options(strategy: Any, context: Any, recursion_depth: Optional[int]) -> Any:
    top = context._get_top_level_context()
    # without one the load is the outermost: it runs the loads that follow itself
    options: Any = util.EMPTY_DICT if top is None else util.immutabledict({"sa_top_level_orm_context": top})
    if recursion_depth is not None and recursion_depth != -1:
        options = options.union({f"_recursion_depth_{id(strategy)}": recursion_depth - 1})
    return options


class _QueryInfo(NamedTuple):
    """How a select-in load finds the children of many parents."""

    #: many-to-one: the parents' foreign keys are the children's primary keys
    load_only_child: bool
    #: the children are joined to an alias of the parent
    load_with_join: bool
    in_expr: Any
    pk_cols: Sequence[Any]
    zero_idx: bool
    n_pk: int
    child_lookup_cols: Optional[Sequence[Any]]


class _Following(NamedTuple):
    """A select-in load's statement in one execution."""

    select: FollowingSelect
    #: the execution that it follows
    context: Any
    #: the loader options of this time
    own_options: Callable[[], tuple[Any, ...]]
    #: makes the statement with some options
    make: Callable[[tuple[Any, ...]], Any]

    def rows(self, keys: list[Any], options: Any) -> Any:
        rows = None
        if self._is_plain(options):
            rows = self.select.rows(self.context, {"primary_keys": keys}, self.options)
        return self._rows_by_core(keys, options) if rows is None else rows

    def groups(self, keys: list[Any], options: Any, width: int) -> dict[Any, list[Any]]:
        """Children by the key of their parent, which is the first ``width`` columns."""
        groups: Optional[dict[Any, list[Any]]] = None
        if self._is_plain(options):
            groups = self.select.rows(self.context, {"primary_keys": keys}, self.options, is_grouped=True)
        return _core.group_rows(self._rows_by_core(keys, options), width) if groups is None else groups

    def options(self) -> tuple[Any, ...]:
        """The loader options of this time; the statement's own if the statement that it follows is the compiled one."""
        if self._is_compiled:
            compiled: tuple[Any, ...] = self.select.statement._with_options
            return compiled
        return self.own_options()

    @property
    def _is_compiled(self) -> bool:
        context = self.context
        return len(context.compiled_options) == len(current := context._loader_strategy_options()) and all(
            map(operator.is_, context.compiled_options, current)
        )

    def _is_plain(self, options: Any) -> bool:
        """Whether the statement is executed with no options but those that any such load has."""
        top = self.context._get_top_level_context()
        if top is not None and (top.execution_options or top.query._execution_options):
            return False
        return len(options) < 2 and not self.select.statement._execution_options

    def _rows_by_core(self, keys: list[Any], options: Any) -> Any:
        statement = self.select.statement if self._is_compiled else self.make(self.own_options())
        result = self.context.session.execute(statement, params={"primary_keys": keys}, execution_options=options)
        if result._unique_filter_state is not None:
            # collections joined to the related objects
            return result.unique().all()
        return _sa.raw_rows(result)


@relationships.RelationshipProperty.strategy_for(lazy="selectin")
class _SelectInLoader(_PostLoader, util.MemoizedSlots):
    """Loads the children of up to 500 parents by one ``WHERE … IN (…)``."""

    __slots__ = ("_fallback_query_info", "_parent_alias", "_query_info", "omit_join")

    _chunksize = 500

    def __init__(self, parent: Any, strategy_key: Any) -> None:
        super().__init__(parent, strategy_key)
        self.omit_join = self._can_omit_join()
        if not self.omit_join:
            self._query_info = self._init_for_join()
        elif self.parent_property.direction is interfaces.MANYTOONE:
            self._query_info = self._init_for_omit_join_m2o()
            self._fallback_query_info = self._init_for_join()
        else:
            self._query_info = self._init_for_omit_join()

    def _can_omit_join(self) -> bool:
        prop = self.parent_property
        if prop.omit_join is not None:
            return bool(prop.omit_join)
        if prop._target_correlates_to_parent:
            return False
        lazy_loader = prop._get_strategy(_LAZY)
        if prop.direction is interfaces.MANYTOONE:
            return bool(lazy_loader.use_get)
        if prop.direction is interfaces.MANYTOMANY and not prop._is_self_referential:
            return bool(prop._join_condition.secondary_can_be_used_for_related_join)
        return bool(
            self.parent._get_clause[0].compare(
                lazy_loader._rev_lazywhere,
                use_proxies=True,
                compare_keys=False,
                equivalents=self.parent._equivalent_columns,
            )
        )

    @staticmethod
    def _info(only_child: bool, with_join: bool, columns: Sequence[Any], lookup: Optional[Sequence[Any]]) -> _QueryInfo:
        single = len(columns) == 1
        in_expr = columns[0] if single else sql.tuple_(*columns)
        return _QueryInfo(only_child, with_join, in_expr, columns, single, len(columns), lookup)

    def _init_for_omit_join(self) -> _QueryInfo:
        foreign = dict(self.parent_property._join_condition.local_remote_pairs)
        for column in list(foreign):
            for equivalent in self.parent._equivalent_columns.get(column, ()):
                foreign[equivalent] = foreign[column]
        columns = [foreign[column] for column in self.parent.primary_key if column in foreign]
        return self._info(False, False, columns, None)

    def _init_for_omit_join_m2o(self) -> _QueryInfo:
        columns = self.mapper.primary_key
        equated = self.parent_property._get_strategy(_LAZY)._equated_columns
        return self._info(True, False, columns, [equated[column] for column in columns])

    def _init_for_join(self) -> _QueryInfo:
        self._parent_alias: Any = orm_util.AliasedClass(self.parent.class_)
        insp: Any = inspect(self._parent_alias)
        return self._info(False, True, [insp._adapt_element(column) for column in self.parent.primary_key], None)

    # the plan

    def plan_row(
        self,
        builder: RowPlanBuilder,
        query_entity: Any,
        path: Any,
        loadopt: Any,
        mapper: Any,
        adapter: Any,
        parts: EntityParts,
    ) -> None:
        if builder.refresh_state:
            self._immediate_plan_row(builder, query_entity, path, loadopt, mapper, adapter, parts)
            return
        place, run, _, depth = self._setup_for_recursion(builder, path, loadopt, self.join_depth)
        if not run or not builder.compile_state.compile_options._enable_eagerloads:
            return
        if not self.parent.class_manager[self.key].impl.supports_population:
            raise sa_exc.InvalidRequestError(
                f"'{self}' does not support object population - eager loading cannot be applied."
            )
        if not self._is_of_entity(query_entity, path):
            return
        poly_entity = path[self.parent_property].get(builder.attributes, "path_with_polymorphic", None)
        entity = self.entity if poly_entity is None else inspect(poly_entity)
        builder.post_load(
            place,
            PostLoader(
                self.parent_property,
                self.parent,
                self._load_for_path,
                (entity, loadopt, depth),
                self._following_load,
            ),
        )

    # the load

    def _load_for_path(
        self,
        context: Any,
        path: Any,
        parents: Sequence[Parent],
        load_only: Any,
        effective_entity: Any,
        loadopt: Any,
        recursion_depth: Optional[int],
    ) -> None:
        if load_only and self.key not in load_only:
            return
        info = self._query_info
        children: dict[Any, list[Parent]] = {}
        without: list[Parent] = []
        if info.load_only_child:
            grouped = self._by_foreign_key(info, parents)
            if grouped is None:
                # the foreign key is not loaded: join from the parents' own keys
                info = self._fallback_query_info
            else:
                children, without = grouped

        query = self._following(context, path, info, effective_entity, loadopt, recursion_depth)
        options = execution_options(self, context, recursion_depth)
        size = self._set_chunksize(loadopt)
        if info.load_only_child:
            self._load_via_child(children, without, info, query, options, size)
        else:
            self._load_via_parent(parents, info, query, options, size)

    def _following_load(
        self, context: Any, path: Any, index: int, entity: Any, loadopt: Any, recursion_depth: Optional[int]
    ) -> Optional[_core.FollowingLoad]:
        """What the native core loads collections of objects of one class by; None if there is more to it."""
        info = self._query_info
        parent = self.parent
        if (
            info.load_only_child
            or not (self.uselist and info.zero_idx)
            or recursion_depth is not None
            or parent.inherits
            or parent.base_mapper.polymorphic_map
            or context.populate_existing
            or (loadopt and loadopt._extra_criteria)
        ):
            return None
        key = (self, path.path, info.load_with_join, entity, False)
        select: Optional[FollowingSelect] = context.following_selects.get(key)
        if select is None:
            return None
        return select.following_load(index, self._attribute(), self._set_chunksize(loadopt))

    @classmethod
    def _set_chunksize(cls, loadopt: Any) -> int:
        given = loadopt.local_opts.get("chunksize", None) if loadopt else None
        if given is None:
            return cls._chunksize
        if not isinstance(given, int) or given < 1:
            raise sa_exc.ArgumentError(
                f"'chunksize={given}' is not an appropriate input, please use a positive non-zero integer."
            )
        return given

    def _by_foreign_key(
        self, info: _QueryInfo, parents: Sequence[Parent]
    ) -> Optional[tuple[dict[Any, list[Parent]], list[Parent]]]:
        """Parents by the child's primary key, and those that refer to none; None if some foreign key is not loaded."""
        manager = self.parent.class_manager
        columns = info.child_lookup_cols or ()
        places = tuple(manager[self.parent._columntoproperty[column].key]._index for column in columns)
        keys = _core.read_loaded([parent[0] for parent in parents], places)
        by_key: dict[Any, list[Parent]] = {}
        without: list[Parent] = []
        single = info.zero_idx
        for key, parent in zip(keys, parents, strict=True):
            if key is LoaderCallableStatus.NO_VALUE:
                return None
            if (key is None) if single else (None in key):
                without.append(parent)
            else:
                by_key.setdefault(key, []).append(parent)
        return by_key, without

    def _following(
        self, context: Any, path: Any, info: _QueryInfo, entity: Any, loadopt: Any, recursion_depth: Optional[int]
    ) -> _Following:
        """The statement, kept with the one it follows unless something in it belongs to this execution only."""
        make = functools.partial(self._select, context, path, info, entity, recursion_depth)
        if recursion_depth is not None:
            options = self._options(context, entity, loadopt)
            statement = make(options)
            return _Following(FollowingSelect(statement), context, lambda: options, lambda _: statement)
        kept = context.following_selects
        key = (self, path.path, info.load_with_join, entity, context.populate_existing)
        select = kept.get(key)
        if select is None:
            select = kept[key] = FollowingSelect(make(self._compiled_options(context, entity, loadopt)))
        return _Following(select, context, functools.partial(self._options, context, entity, loadopt), make)

    @staticmethod
    def _options(context: Any, entity: Any, loadopt: Any) -> tuple[Any, ...]:
        """The options of this execution's statement."""
        options: tuple[Any, ...] = context._loader_strategy_options()
        if loadopt and loadopt._extra_criteria:
            options += (orm_util.LoaderCriteriaOption(entity, loadopt._generate_extra_criteria(context)),)
        return options

    @staticmethod
    def _compiled_options(context: Any, entity: Any, loadopt: Any) -> tuple[Any, ...]:
        """The options of the statement that is kept."""
        options: tuple[Any, ...] = context.compiled_options
        if loadopt and loadopt._extra_criteria:
            options += (orm_util.LoaderCriteriaOption(entity, and_(*loadopt._extra_criteria)),)
        return options

    def _select(
        self,
        context: Any,
        path: Any,
        info: _QueryInfo,
        entity: Any,
        recursion_depth: Optional[int],
        options: tuple[Any, ...],
    ) -> Any:
        prop = self.parent_property
        columns, in_expr = info.pk_cols, info.in_expr
        via_secondary = not info.load_with_join and prop.secondary is not None
        if entity.is_aliased_class and not info.load_with_join and not via_secondary:
            columns = [entity._adapt_element(column) for column in columns]
            in_expr = entity._adapt_element(in_expr)

        element = entity.__clause_element__()
        query: Any = Select._create_raw_select(
            _raw_columns=[*columns, element],
            _compile_options=_ORMCompileState.default_compile_options,
            _propagate_attrs={"compile_state_plugin": PLUGIN, "plugin_subject": entity},
        )
        if via_secondary:
            secondaryjoin = prop._join_condition.secondaryjoin
            if entity.is_aliased_class:
                secondaryjoin = entity._adapter.traverse(secondaryjoin)
            query = query.select_from(prop.secondary).join(element, secondaryjoin)
        elif info.load_with_join:
            query = query.select_from(self._parent_alias).join(getattr(self._parent_alias, prop.key).of_type(entity))
        else:
            query = query.select_from(entity)
        query = query.filter(in_expr.in_(sql.bindparam("primary_keys")))

        place = path[prop]
        if recursion_depth is not None:
            place = place._truncate_recursive()
        query = query.options(*options)._update_compile_options({"_current_path": place})
        if context.populate_existing:
            query = query.execution_options(populate_existing=True)
        return self._ordered(query, info, entity)

    def _ordered(self, query: Any, info: _QueryInfo, entity: Any) -> Any:
        prop = self.parent_property
        order_by = prop.order_by
        if not order_by:
            return query
        if not info.load_with_join:
            if entity.is_aliased_class:
                order_by = [entity._adapt_element(element) for element in order_by]
            return query.order_by(*order_by)

        def order_outermost(compile_state: Any) -> None:
            compile_state.eager_order_by += tuple(util.to_list(prop.order_by))

        return _sa.add_compile_state_func(query, order_outermost, prop)

    def _load_via_child(
        self,
        by_key: dict[Any, list[Parent]],
        without: list[Parent],
        info: _QueryInfo,
        query: _Following,
        options: Any,
        size: int,
    ) -> None:
        keys = list(by_key)
        single = info.zero_idx
        n_pk = info.n_pk
        for start in range(0, len(keys), size):
            chunk = keys[start : start + size]
            rows = query.rows(chunk, options)
            if single:
                found = {row[0]: row[1] for row in rows}
            else:
                found = {tuple(row[:n_pk]): row[n_pk] for row in rows}
            self._store(
                [(parent, found.get(key)) for key in chunk for parent in by_key[key]],
            )
        self._store([(parent, None) for parent in without])

    def _load_via_parent(
        self,
        parents: Sequence[Parent],
        info: _QueryInfo,
        query: _Following,
        options: Any,
        size: int,
    ) -> None:
        for start in range(0, len(parents), size):
            chunk = parents[start : start + size]
            children = query.groups([parent[1] for parent in chunk], options, info.n_pk)
            if self.uselist:
                _core.store_groups(list(chunk), self._attribute(), children)
            else:
                self._store_scalars(chunk, children)

    def _store_scalars(self, chunk: Sequence[Parent], children: dict[Any, list[Any]]) -> None:
        values = []
        for parent in chunk:
            found = children.get(parent[1], ())
            if len(found) > 1:
                util.warn(f"Multiple rows returned with uselist=False for eagerly-loaded attribute '{self}' ")
            values.append(found[0] if found else None)
        _store(self._attribute(), list(chunk), values)

    def _store(self, pairs: list[tuple[Parent, Any]]) -> None:
        """Give each parent of a many-to-one its object; a list of it where the attribute is a collection."""
        values = [value for _, value in pairs]
        if self.uselist:
            values = [[] if value is None else [value] for value in values]
        _store(self._attribute(), [parent for parent, _ in pairs], values)

    def _attribute(self) -> int:
        return self.parent.class_manager[self.key]._index


def _store(attribute: int, parents: list[Parent], values: list[Any]) -> None:
    if parents:
        _core.store_loaded([parent[0] for parent in parents], attribute, values, [parent[2] for parent in parents])
