"""Relationships loaded by a second statement that embeds the first as a subquery: ``subqueryload()``."""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING, Any, Optional

from sqlalchemy import exc as sa_exc
from sqlalchemy import inspect, util
from sqlalchemy.sql import coercions, roles
from sqlalchemy.sql import util as sql_util
from sqlalchemy.sql.selectable import LABEL_STYLE_TABLENAME_PLUS_COL

from .. import _sa
from . import relationships
from . import util as orm_util
from ._context_entities import _column_descriptions
from ._embedding_selects import EmbeddingSelect
from ._query_lane import is_plain
from ._strategies_post import _PostLoader
from .context import _ORMSelectCompileState
from .path_registry import PathRegistry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._row_plans import EntityParts, RowPlanBuilder

_ORIGINAL = ("orig_query", "subqueryload")
_REWRITTEN_PATH = ("subquery_rewritten_path", None)
_OPTIONS = frozenset({_ORIGINAL, _REWRITTEN_PATH})


@relationships.RelationshipProperty.strategy_for(lazy="subquery")
class _SubqueryLoader(_PostLoader):
    """Joins the target to the original statement, reduced to the parents' keys."""

    __slots__ = ()

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
        compile_state = builder.compile_state
        if loadopt and compile_state.statement is not None and compile_state.statement.is_dml:
            util.warn_deprecated(
                "The subqueryload loader option is not compatible with DML statements such as INSERT, UPDATE.  Only "
                "SELECT may be used.This warning will become an exception in a future release.",
                "2.0",
            )
            builder.cacheable = False  # every execution says so
        if builder.refresh_state:
            self._immediate_plan_row(builder, query_entity, path, loadopt, mapper, adapter, parts)
            return
        _, run, _, _ = self._setup_for_recursion(builder, path, loadopt, self.join_depth)
        if not run or not isinstance(compile_state, _ORMSelectCompileState):
            return
        if not self.parent.class_manager[self.key].impl.supports_population:
            raise sa_exc.InvalidRequestError(
                f"'{self}' does not support object population - eager loading cannot be applied."
            )
        if not self._is_of_entity(query_entity, path) or not compile_state.compile_options._enable_eagerloads:
            return
        builder.requires_uniquing = True
        index = compile_state._entities.index(query_entity)
        load = functools.partial(self._load, path, index, loadopt)
        # by the row's key, which the object need not have: it may be deferred, or changed
        builder.add_subquery(path[self.parent_property], self.parent_property, mapper, adapter, parts, load)

    def _load(self, path: Any, entity_index: int, loadopt: Any, context: Any) -> dict[Any, list[Any]]:
        """The related objects by the key of their parents."""
        rows = self._kept_rows(path, entity_index, loadopt, context)
        if rows is None:
            query = self._query(context, path, entity_index, loadopt).with_session(context.session)
            if context.load_options._populate_existing:
                query = query.populate_existing()
            rows = query.params(context.params or {})
        found: dict[Any, list[Any]] = {}
        for row in rows:
            values = tuple(row)
            found.setdefault(values[1:], []).append(values[0])
        return found

    # the statement

    def _kept_rows(self, path: Any, entity_index: int, loadopt: Any, context: Any) -> Optional[Iterable[Any]]:
        """The rows of a statement that is kept with the one it embeds; None if it has to be made for this execution."""
        from .query import Query

        session = context.session
        before = context.query._execution_options
        original = before.get(_ORIGINAL, context.query)
        if (
            original._is_lambda_element
            or context.execution_options
            or not _OPTIONS.issuperset(before)
            or (loadopt and loadopt._extra_criteria)
            or context.load_options._populate_existing
            or Query._has_listeners
            or not is_plain(session)
            # an alias may be another one each time
            or any(getattr(part, "is_aliased_class", False) for part in path.path)
        ):
            return None
        options = context._loader_strategy_options()
        kept = context.following_selects
        key = (self, path.path, entity_index)
        known = kept.get(key)
        if known is None or len(known.options) != len(options) or not all(map(operator.is_, known.options, options)):
            statement = self._query(context, path, entity_index, loadopt).with_session(session)._statement_20()
            lane = session._lane(self.parent)
            known = None if lane is None else EmbeddingSelect.of(statement, original, options, lane.dialect)
            if known is None:
                return None
            kept[key] = known
        return known.rows(session, original, {_ORIGINAL: original}, context.params, Query.load_options)

    def _query(self, context: Any, path: Any, entity_index: int, loadopt: Any) -> Any:
        from .query import Query

        compile_state = context.compile_state
        prop = self.parent_property
        place = path[prop]
        entity = place.get(compile_state.attributes, "path_with_polymorphic", None)
        if entity is None:
            entity = self.entity

        options = context.query._execution_options
        # in terms of the statement at hand, whose aliases may differ from those of the cached one
        rewritten = options.get(_REWRITTEN_PATH)
        is_root = rewritten is None
        full_path = (PathRegistry.root if is_root else compile_state.current_path) + place
        rewritten = (PathRegistry.root if is_root else rewritten) + place

        original = options.get(_ORIGINAL, context.query)
        if original._is_lambda_element:
            if context.load_options._lazy_loaded_from is None:
                util.warn(
                    f'subqueryloader for "{self}" must invoke lambda callable at {original!r} in order to produce a '
                    "new query, decreasing the efficiency of caching for this statement.  Consider using "
                    "selectinload() for more effective full-lambda caching"
                )
            original = original._resolved
        original_state = _ORMSelectCompileState._create_entities_collection(original, legacy=False)
        mapper, attributes, leftmost, rewritten = self._leftmost(entity_index, rewritten, original_state, is_root)
        new_options = context._loader_strategy_options()
        left = self._embedded(original_state, original, mapper, attributes, leftmost, new_options)

        query: Any = Query(entity)
        query._execution_options = options.merge_with(
            context.execution_options, {_ORIGINAL: original, _REWRITTEN_PATH: rewritten}
        )
        query = query._set_enable_single_crit(False)
        steps, parent = self._steps(left, full_path)
        query = query.add_columns(
            *[getattr(parent, self.parent._columntoproperty[column].key) for column in prop.local_columns]
        )
        for attribute in self._joins(steps, left, parent, entity):
            query = query.join(attribute)
        if loadopt and loadopt._extra_criteria:
            new_options += (orm_util.LoaderCriteriaOption(entity, loadopt._generate_extra_criteria(context)),)
        query = query._with_current_path(full_path).options(*new_options)
        if prop.order_by:

            def order_outermost(state: Any) -> None:
                state.eager_order_by += tuple(util.to_list(prop.order_by))

            query = _sa.add_compile_state_func(query, order_outermost, prop)
        return query

    def _leftmost(self, entity_index: int, path: Any, state: Any, is_root: bool) -> tuple[Any, list[Any], Any, Any]:
        """(mapper, key attributes, property, path) where the chain of subquery loads begins."""
        elements = path.path
        mapper = orm_util._class_to_mapper(elements[0])
        prop = elements[1]
        if prop is self.parent_property and self.parent.isa(mapper):
            mapper = self.parent
        if is_root:
            head = state._entities[entity_index].entity_zero._path_registry[prop]
            more = len(elements) - len(head)
            path = head + PathRegistry.coerce(elements[-more:]) if more else head
        entity = path.path[0].entity
        attributes = [getattr(entity, mapper._columntoproperty[column].key) for column in prop.local_columns]
        return mapper, attributes, prop, path

    @staticmethod
    def _embedded(state: Any, original: Any, mapper: Any, attributes: Any, prop: Any, options: Any) -> Any:
        """The original statement, reduced to key columns, as a subquery with an alias of the parent over it."""
        from .query import Query

        clone = original._clone().correlate(None)
        clone._with_options = options
        # a Query, so that its before_compile event is fired
        query: Any = Query.__new__(Query)
        query.__dict__.update(clone.__dict__)
        if not query._from_obj:
            # entities named in WHERE only must stay in the FROM list
            query._enable_assertions = False
            entities = {d["entity"] for d in _column_descriptions(original, compile_state=state)}
            query.select_from.non_generative(query, *(entities - {None}))

        columns = state._adapt_col_list(
            [coercions.expect(roles.ColumnsClauseRole, attribute) for attribute in attributes],
            state._get_current_adapter(),
        )
        query._raw_columns = columns
        distinct = prop.distinct_target_key
        if distinct is None:
            tables = {column.table for column in columns}
            distinct = any(not set(columns).issuperset(table.primary_key) for table in tables)
        if distinct:
            query._distinct = True
        if not query._has_row_limiting_clause:
            query._order_by_clauses = ()
        if query._distinct is True and query._order_by_clauses:
            extra = sql_util.expand_column_list_from_order_by(columns, query._order_by_clauses)
            if extra:
                query._set_entities(columns + extra)
        subquery = query.set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL).subquery()
        return orm_util.AliasedClass(mapper, subquery, use_mapper_path=True)

    def _steps(self, left: Any, path: Any) -> tuple[list[tuple[Any, str]], Any]:
        """(entity, attribute) of each join, and the alias of the immediate parent."""
        pairs = list(path.pairs())
        steps = []
        for index, (entity, prop) in enumerate(pairs):
            if index:
                previous = pairs[index - 1][1].mapper
                entity = previous if previous.isa(entity) else entity
            steps.append((entity, prop.key))
        if len(steps) == 1:
            return steps, left
        info: Any = inspect(steps[-1][0])
        if info.is_aliased_class:
            return steps, info.entity
        return steps, orm_util.AliasedClass(info.entity, use_mapper_path=True)

    @staticmethod
    def _joins(steps: list[tuple[Any, str]], left: Any, parent: Any, target: Any) -> list[Any]:
        """The attributes to join along, each to the alias the next one starts from."""
        sources = [left]
        for entity, _ in steps[1:-1]:
            info: Any = inspect(entity)
            sources.append(entity.entity if info.is_aliased_class else orm_util.AliasedClass(entity))
        if len(steps) > 1:
            sources.append(parent)
        targets = [*sources[1:], target]
        return [
            getattr(source, key).of_type(next_) for source, (_, key), next_ in zip(sources, steps, targets, strict=True)
        ]
