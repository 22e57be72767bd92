"""Relationships loaded by a JOIN in the same statement: ``joinedload()`` and ``contains_eager()``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from sqlalchemy import exc as sa_exc
from sqlalchemy import inspect, util
from sqlalchemy.sql import util as sql_util
from sqlalchemy.sql.selectable import FromGrouping, Join

from . import relationships
from ._context_entities import _setup_entity_query
from ._strategies_lazy import _LAZY
from ._strategies_noload import _AbstractRelationshipLoader
from .util import AliasedClass, ORMAdapter, _ORMJoin, _TraceAdaptRole

if TYPE_CHECKING:
    from ._row_plans import EntityParts, RowPlanBuilder

# "no entity": the search for a place to splice a join in has not gone below a join yet
_OUTERMOST = object()


@relationships.RelationshipProperty.strategy_for(lazy="joined")
@relationships.RelationshipProperty.strategy_for(lazy=False)
class _JoinedLoader(_AbstractRelationshipLoader):
    """Adds an outer or inner JOIN to an anonymous alias of the target, and reads the target from the same row."""

    __slots__ = ("join_depth",)

    parent_property: Any

    def __init__(self, parent: Any, strategy_key: Any) -> None:
        super().__init__(parent, strategy_key)
        self.join_depth = self.parent_property.join_depth

    def init_class_attribute(self, mapper: Any) -> None:
        self.parent_property._get_strategy(_LAZY).init_class_attribute(mapper)

    # the statement

    def setup_query(
        self,
        compile_state: Any,
        query_entity: Any,
        path: Any,
        loadopt: Any,
        adapter: Any,
        column_collection: Any = None,
        parentmapper: Any = None,
        chained_from_outerjoin: bool = False,
        **kwargs: Any,
    ) -> None:
        if not compile_state.compile_options._enable_eagerloads:
            return
        if loadopt and compile_state.statement is not None and compile_state.statement.is_dml:
            util.warn_deprecated(
                "The joinedload loader option is not compatible with DML statements such as INSERT, UPDATE.  Only "
                "SELECT may be used.This warning will become an exception in a future release.",
                "2.0",
            )
        elif self.uselist:
            compile_state.multi_row_eager_loaders = True

        path = path[self.parent_property]
        stated = self._stated_adapter(loadopt, compile_state, compile_state.attributes)
        if stated is not False:
            clauses, columns = self._read_from_stated(compile_state, query_entity, path, stated)
        else:
            if self._leads_back(compile_state, path):
                return
            clauses, columns, chained_from_outerjoin = self._plan_join(
                compile_state, query_entity, path, loadopt, adapter, parentmapper, chained_from_outerjoin
            )
            compile_state.eager_adding_joins = True

        poly_entity = path.get(compile_state.attributes, "path_with_polymorphic", None)
        _setup_entity_query(
            compile_state,
            self.mapper,
            query_entity,
            path[self.entity],
            clauses,
            columns,
            with_polymorphic=None if poly_entity is None else inspect(poly_entity).with_polymorphic_mappers,
            parentmapper=self.mapper,
            chained_from_outerjoin=chained_from_outerjoin,
        )
        if any(column is None for column in compile_state.secondary_columns):
            if poly_entity is not None:
                raise sa_exc.InvalidRequestError(
                    "Detected unaliased columns when generating joined load.  Make sure to use aliased=True or "
                    "flat=True when using joined loading with with_polymorphic()."
                )
            compile_state.secondary_columns = [c for c in compile_state.secondary_columns if c is not None]

    def _leads_back(self, compile_state: Any, path: Any) -> bool:
        """A mapped (not asked for) eager load of a cycle ends where it would come round, or at ``join_depth``."""
        if path.contains(compile_state.attributes, "loader"):
            return False
        if self.join_depth:
            return bool(path.length / 2 > self.join_depth)
        return bool(path.contains_mapper(self.mapper))

    def _stated_adapter(self, loadopt: Any, compile_state: Any, attributes: Any) -> Any:
        """contains_eager(): what turns our columns into those the user put in; False for other options."""
        if not loadopt or "eager_from_alias" not in loadopt.local_opts:
            return False
        path = loadopt.path.parent
        adapter = path.get(compile_state.attributes, "user_defined_eager_row_processor", False)
        if adapter is not False:
            return adapter

        prop = path[-1]
        alias = loadopt.local_opts["eager_from_alias"]
        equivalents = prop.mapper._equivalent_columns
        if alias is not None:
            if isinstance(alias, str):
                alias = prop.target.alias(alias)
            adapter = ORMAdapter(
                _TraceAdaptRole.JOINEDLOAD_USER_DEFINED_ALIAS,
                prop.mapper,
                selectable=alias,
                equivalents=equivalents,
                limit_on_entity=False,
            )
        elif path.contains(compile_state.attributes, "path_with_polymorphic"):
            adapter = ORMAdapter(
                _TraceAdaptRole.JOINEDLOAD_PATH_WITH_POLYMORPHIC,
                path.get(compile_state.attributes, "path_with_polymorphic"),
                equivalents=equivalents,
            )
        else:
            adapter = compile_state._polymorphic_adapters.get(prop.mapper)
        path.set(attributes, "user_defined_eager_row_processor", adapter)
        return adapter

    @staticmethod
    def _read_from_stated(compile_state: Any, entity: Any, path: Any, stated: Any) -> tuple[Any, Any]:
        adapter = entity._get_entity_clauses(compile_state)
        if adapter:
            stated = stated.wrap(adapter) if stated else adapter
            path.set(compile_state.attributes, "user_defined_eager_row_processor", stated)
        return stated, compile_state.primary_columns

    def _plan_join(
        self,
        compile_state: Any,
        entity: Any,
        path: Any,
        loadopt: Any,
        adapter: Any,
        parentmapper: Any,
        chained_from_outerjoin: bool,
    ) -> tuple[Any, Any, bool]:
        """Note a join to be made once all entities are set up; (adapter to its alias, its columns, now outer)."""
        target = path.get(compile_state.attributes, "path_with_polymorphic", None)
        if not target:
            insp: Any = inspect(self.entity)
            alias = insp.selectable._anonymous_fromclause(flat=True) if insp.is_aliased_class else None
            target = AliasedClass(self.mapper, alias=alias, flat=True, use_mapper_path=True)
        target_insp: Any = inspect(target)
        clauses = target_insp._memo(
            ("joinedloader_ormadapter", self),
            ORMAdapter,
            _TraceAdaptRole.JOINEDLOAD_MEMOIZED_ADAPTER,
            target_insp,
            equivalents=self.mapper._equivalent_columns,
            adapt_required=True,
            allow_label_resolve=False,
            anonymize_labels=True,
        )
        innerjoin = self.parent_property.innerjoin
        if loadopt is not None:
            innerjoin = loadopt.local_opts.get("innerjoin", innerjoin)
        # what hangs from an outer join must be outer too
        chained_from_outerjoin = chained_from_outerjoin or not innerjoin
        compile_state.create_eager_joins.append(
            (
                self._create_eager_join,
                entity,
                path,
                adapter,
                parentmapper,
                clauses,
                innerjoin,
                chained_from_outerjoin,
                loadopt._extra_criteria if loadopt else (),
            )
        )
        path.set(compile_state.attributes, "eager_row_processor", clauses)
        return clauses, compile_state.secondary_columns, chained_from_outerjoin

    def _create_eager_join(
        self,
        compile_state: Any,
        query_entity: Any,
        path: Any,
        adapter: Any,
        parentmapper: Any,
        clauses: Any,
        innerjoin: Any,
        chained_from_outerjoin: bool,
        extra_criteria: tuple[Any, ...],
    ) -> None:
        parent = query_entity.mapper if parentmapper is None else parentmapper
        key, left = self._left_side(compile_state, query_entity)
        left = compile_state.eager_joins.setdefault(key, left)
        onclause = self._onclause(adapter, parent)
        for option in compile_state.global_attributes.get(("additional_entity_criteria", self.mapper), ()):
            if option.propagate_to_loaders:
                extra_criteria += (option._resolve_where_criteria(self.mapper),)

        outer_entity = query_entity.entity_zero.represents_outer_join
        if not chained_from_outerjoin or not innerjoin or innerjoin == "unnested" or outer_entity:
            join: Any = _ORMJoin(
                left,
                clauses.aliased_insp,
                onclause,
                isouter=not innerjoin or outer_entity or (chained_from_outerjoin and isinstance(left, Join)),
                _left_memo=self.parent,
                _right_memo=path[self.mapper],
                _extra_criteria=extra_criteria,
            )
        else:
            join = _NestedSplice(path, clauses, onclause, extra_criteria).into(left)
        compile_state.eager_joins[key] = join
        # where the joins begin, should the query itself become a subquery
        join.stop_on = query_entity.selectable

        if not parentmapper:
            self._require_parent_columns(compile_state, parent, adapter)
        if self.parent_property.order_by:
            compile_state.eager_order_by += tuple(
                join._target_adapter.copy_and_process(util.to_list(self.parent_property.order_by))
            )

    @staticmethod
    def _left_side(compile_state: Any, query_entity: Any) -> tuple[Any, Any]:
        """(key of the eager join, what to join to): a FROM element that is there already, or the entity."""
        if (
            query_entity not in compile_state.eager_joins
            and not compile_state._should_nest_selectable
            and compile_state.from_clauses
        ):
            indexes = sql_util.find_left_clause_that_matches_given(compile_state.from_clauses, query_entity.selectable)
            if len(indexes) > 1:
                raise sa_exc.InvalidRequestError(
                    "Can't identify which query entity in which to joined eager load from.   Please use an exact "
                    "match when specifying the join path."
                )
            if indexes:
                # taken over: it is rendered as the left side of the eager join
                return indexes[0], compile_state.from_clauses[indexes[0]]
        return query_entity, query_entity.selectable

    def _onclause(self, adapter: Any, parent: Any) -> Any:
        prop = self.parent_property
        if not adapter:
            return prop
        if getattr(adapter, "is_aliased_class", False):
            entity = adapter.aliased_insp._entity_for_mapper(parent if parent.isa(self.parent) else self.parent)
            return getattr(entity.entity, self.key, prop)
        return getattr(AliasedClass(self.parent, adapter.selectable, use_mapper_path=True), self.key, prop)

    def _require_parent_columns(self, compile_state: Any, parent: Any, adapter: Any) -> None:
        """The parent's columns of the ON clause must be selected, or a wrapping subquery could not be joined to."""
        for column in sorted(sql_util._find_columns(self.parent_property.primaryjoin), key=str):
            if parent.persist_selectable.c.contains_column(column):
                if adapter:
                    column = adapter.columns[column]
                compile_state._append_dedupe_col_collection(column, compile_state.primary_columns)

    # the rows

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
        if not builder.compile_state.compile_options._enable_eagerloads:
            return
        self._check_population()
        if self.uselist:
            builder.requires_uniquing = True
        place = path[self.parent_property]
        eager_adapter = self._row_adapter(builder, place, loadopt)
        if eager_adapter is False:
            self.parent_property._get_strategy(_LAZY).plan_row(
                builder, query_entity, path, loadopt, mapper, adapter, parts
            )
            return
        plan = builder.entity_plan(query_entity, self.mapper, place[self.entity], eager_adapter)
        builder.add_eager(parts, mapper.class_manager[self.key]._index, plan, self.parent_property)

    def _check_population(self) -> None:
        if not self.parent.class_manager[self.key].impl.supports_population:
            raise sa_exc.InvalidRequestError(
                f"'{self}' does not support object population - eager loading cannot be applied."
            )

    def _row_adapter(self, builder: RowPlanBuilder, path: Any, loadopt: Any) -> Any:
        """What turns the target's columns into those in the row; False when the row has none of them."""
        compile_state = builder.compile_state
        adapter = self._stated_adapter(loadopt, compile_state, builder.attributes)
        if adapter is not False:
            compound = compile_state.compound_eager_adapter
            if compound:
                adapter = adapter.wrap(compound) if adapter else compound
        else:
            adapter = path.get(compile_state.attributes, "eager_row_processor")
            if adapter is None:
                return False
        columns = (adapter.columns[c] if adapter else c for c in self.mapper.primary_key)
        if all(column is not None and builder.source.position(column) is not None for column in columns):
            return adapter
        return False


class _NestedSplice:
    """Puts an inner join next to the entity it hangs from, inside of the outer join that entity came by."""

    __slots__ = ("clauses", "criteria", "onclause", "parent", "path")

    def __init__(self, path: Any, clauses: Any, onclause: Any, criteria: tuple[Any, ...]) -> None:
        self.path = path
        self.parent = path[-2]
        self.clauses = clauses
        self.onclause = onclause
        self.criteria = criteria

    def into(self, join: Any) -> Any:
        spliced = self._splice(join, _OUTERMOST, None)
        assert spliced is not None, "assertion failed attempting to produce joined eager loads"
        return spliced

    def _splice(self, element: Any, entity: Any, known_path: Any) -> Optional[Any]:
        """``element`` with the join inside; None if the parent is not in it. ``entity``: whose rows ``element`` has."""
        if isinstance(element, FromGrouping):
            return self._splice(element.element, entity, None)
        if isinstance(element, _ORMJoin):
            spliced = self._splice_right(element)
            return self._splice_left(element) if spliced is None else spliced
        return self._join_endpoint(element, entity, known_path)

    def _splice_right(self, join: Any) -> Optional[Any]:
        right_path = join._right_memo
        target = self._splice(join.right, None if right_path is None else right_path[-1].mapper, None)
        if target is None:
            return None
        if not join.isouter and not target.isouter:
            # a JOIN b JOIN c needs no parentheses
            spliced = join._splice_into_center(target)
        else:
            spliced = _ORMJoin(join.left, target, join.onclause, isouter=join.isouter, _left_memo=join._left_memo)
        spliced._target_adapter = target._target_adapter
        return spliced

    def _splice_left(self, join: Any) -> Optional[Any]:
        target = self._splice(join.left, join._left_memo, join._right_memo)
        if target is None:
            return None
        spliced = _ORMJoin(target, join.right, join.onclause, isouter=join.isouter, _right_memo=join._right_memo)
        spliced._target_adapter = target._target_adapter
        return spliced

    def _join_endpoint(self, element: Any, entity: Any, known_path: Any) -> Optional[Any]:
        if entity is None or entity is _OUTERMOST or not self.parent.isa(entity):
            return None
        # the entity may occur at several places of the path: it must be this one
        if known_path and len(known_path) > 2 and known_path[0:-2] != self.path.path[0:-1]:
            return None
        return _ORMJoin(
            element,
            self.clauses.aliased_insp,
            self.onclause,
            isouter=False,
            _left_memo=entity,
            _right_memo=self.path[self.path[-1].mapper],
            _extra_criteria=self.criteria,
        )
