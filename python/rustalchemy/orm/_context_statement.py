"""The Core SELECT a compile state ends in: criteria of inheritance, eager joins, the wrapped form under LIMIT."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import util
from sqlalchemy.sql import util as sql_util
from sqlalchemy.sql.elements import ColumnClause
from sqlalchemy.sql.selectable import Select

from .. import _sa
from ._context_entities import _MapperEntity
from .util import ORMStatementAdapter, _TraceAdaptRole

# untyped functions of Core
_sql_util: Any = sql_util


class _StatementBuilder:
    """The part of a SELECT's compile state that assembles the statement."""

    # given by the compile state
    select_statement: Any
    compile_options: Any
    label_style: Any
    primary_columns: list[Any]
    secondary_columns: list[Any]
    dedupe_columns: set[Any]
    from_clauses: list[Any]
    eager_joins: dict[Any, Any]
    eager_order_by: tuple[Any, ...]
    extra_criteria_entities: dict[Any, Any]
    global_attributes: dict[Any, Any]
    correlate: Any
    correlate_except: Any
    order_by: Any
    group_by: Any
    distinct: Any
    distinct_on: Any
    syntax_extensions: Any
    _entities: list[Any]
    _memoized_entities: Any
    _for_update_arg: Any
    _join_entities: tuple[Any, ...]
    _where_criteria: tuple[Any, ...]
    _having_criteria: tuple[Any, ...]
    _get_current_adapter: Any

    multi_row_eager_loaders = False
    eager_adding_joins = False
    compound_eager_adapter: Any = None

    @property
    def _should_nest_selectable(self) -> bool:
        """Whether joined collections would change which rows LIMIT, DISTINCT or GROUP BY see."""
        if not self.eager_adding_joins:
            return False
        query = self.select_statement
        limited = query._limit_clause is not None or query._offset_clause is not None
        return bool((limited and self.multi_row_eager_loaders) or self.distinct or self.distinct_on or self.group_by)

    def _all_equivs(self) -> dict[Any, Any]:
        equivalents: dict[Any, Any] = {}
        for entities in (*self._memoized_entities.values(), self._entities):
            for ent in entities:
                if isinstance(ent, _MapperEntity):
                    equivalents.update(ent.mapper._equivalent_columns)
        return equivalents

    def _simple_statement(self) -> Any:
        statement = self._select(
            self.primary_columns + self.secondary_columns,
            (*self.from_clauses, *self.eager_joins.values()),
        )
        if self.eager_order_by:
            statement.order_by.non_generative(statement, *self.eager_order_by)
        return statement

    def _compound_eager_statement(self) -> Any:
        """The query as a subquery, with the eager joins around it."""
        order_by = None
        extra_columns: Sequence[Any] = ()
        if self.order_by:
            # references to labels must be rendered in full again outside of the statement they name
            order_by = [getattr(elem, "element", elem) if _is_label_reference(elem) else elem for elem in self.order_by]
            extra_columns = _sql_util.expand_column_list_from_order_by(self.primary_columns, order_by)

        inner = self._select(
            self.primary_columns + [col for col in extra_columns if col not in self.dedupe_columns],
            self.from_clauses,
        )
        own_tables = {
            elem for from_ in inner.get_final_froms() for elem in _sql_util.surface_selectables(from_) if elem._is_table
        }
        inner = inner.alias()

        def foreign(elem: Any) -> bool:
            # a column of a table that the subquery only has by way of an alias would match the alias's column
            return (
                isinstance(elem, ColumnClause)
                and elem.table is not None
                and elem.table._is_table
                and elem.table not in own_tables
            )

        self.compound_eager_adapter = adapter = ORMStatementAdapter(
            _TraceAdaptRole.COMPOUND_EAGER_STATEMENT, inner, equivalents=self._all_equivs(), exclude_fn=foreign
        )

        statement: Any = sa.select(inner, *self.secondary_columns)
        statement._label_style = self.label_style
        if self._for_update_arg is not None and self._for_update_arg.of is None:
            statement._for_update_arg = self._for_update_arg

        from_clause = inner
        for join in self.eager_joins.values():
            from_clause = _sql_util.splice_joins(from_clause, join, join.stop_on)
        statement.select_from.non_generative(statement, from_clause)
        if order_by:
            statement.order_by.non_generative(statement, *adapter.copy_and_process(order_by))
        statement.order_by.non_generative(statement, *self.eager_order_by)
        return statement

    def _select(self, columns: list[Any], froms: Iterable[Any]) -> Any:
        query = self.select_statement
        statement: Any = Select._create_raw_select(_raw_columns=columns, _from_obj=froms, _label_style=self.label_style)
        if self._where_criteria:
            statement._where_criteria = self._where_criteria
        if self._having_criteria:
            statement._having_criteria = self._having_criteria
        if self.order_by:
            statement._order_by_clauses += tuple(self.order_by)
        if self.group_by:
            statement._group_by_clauses += tuple(self.group_by)
        if self.distinct_on:
            statement._distinct = True
            statement._distinct_on = self.distinct_on
        elif self.distinct:
            statement._distinct = True
        for name in (
            "_limit_clause",
            "_offset_clause",
            "_fetch_clause",
            "_fetch_clause_options",
            "_independent_ctes",
            "_independent_ctes_opts",
        ):
            setattr(statement, name, getattr(query, name))
        for name in ("_prefixes", "_suffixes", "_hints", "_statement_hints"):
            value = getattr(query, name)
            if value:
                setattr(statement, name, value)
        if self.syntax_extensions:
            statement._set_syntax_extensions(**self.syntax_extensions)
        statement._for_update_arg = self._for_update_arg
        if self.correlate:
            statement.correlate.non_generative(statement, *self.correlate)
        if self.correlate_except is not None:
            statement.correlate_except.non_generative(statement, *self.correlate_except)
        return statement

    # criteria that come with the entities

    def _get_extra_criteria(self, entity: Any) -> tuple[Any, ...]:
        options = self.global_attributes.get(("additional_entity_criteria", entity.mapper), ())
        return tuple(
            option._resolve_where_criteria(entity)
            for option in options
            if (option.include_aliases or option.entity is entity) and option._should_include(self)
        )

    def _get_correlated_froms(self) -> set[Any]:
        """FROM elements an enclosing SELECT provides."""
        explicit, implicit = self._explicit_correlate_froms, self._implicit_correlate_froms  # type: ignore[attr-defined]
        if not explicit and not implicit:
            return set()
        query = self.select_statement
        froms = self._get_froms(query)  # type: ignore[attr-defined]
        correlate = [c for c in self.correlate if c is not None] if self.correlate else None
        hidden = _sa.hidden_froms(froms, query._auto_correlate, correlate, self.correlate_except, explicit, implicit)
        return set(_sa._expand_cloned(_sa._from_objects(*hidden)))

    def _criteria_entities(self) -> Iterable[Any]:
        """Entities in the FROM list, and those the WHERE clause brings in itself."""
        for from_ in self.from_clauses:
            yield from_._annotations.get("parententity")
        where = self.select_statement._where_criteria
        if not where:
            return
        correlated = self._get_correlated_froms()
        for crit in where:
            for elem in _sa.surface_expressions(crit):
                entity = elem._annotations.get("parententity")
                if entity is None:
                    continue
                froms = elem._from_objects if correlated else ()
                if froms and all(correlated.intersection(from_._cloned_set) for from_ in froms):
                    continue
                yield entity

    def _adjust_for_extra_criteria(self) -> None:
        """Add to WHERE what limits the entities: subtypes of single table inheritance, ``with_loader_criteria()``."""
        noted = self.extra_criteria_entities
        for entity in self._criteria_entities():
            if entity and entity not in noted:
                mapper = entity.mapper
                if (
                    mapper._single_table_criterion is not None
                    or ("additional_entity_criteria", mapper) in self.global_attributes
                ):
                    noted[entity] = (entity, entity._adapter if entity.is_aliased_class else None)
        if not noted:
            return

        criteria: list[Any] = []
        subtypes: dict[Any, tuple[Any, set[Any]]] = {}
        for entity, adapter in util.OrderedSet(noted.values()):
            if entity in self._join_entities:
                continue
            root = entity
            if entity.is_aliased_class and entity._base_alias()._is_with_polymorphic:
                # with_polymorphic() names a hierarchy: all of it is let through
                root = entity._base_alias()
            component = root.mapper._single_table_criteria_component
            if component is not None:
                discriminator, identities = component
                discriminator = discriminator._annotate({"parententity": root, "parentmapper": root.mapper})
                merged, adapters = subtypes.setdefault((root, discriminator), (util.OrderedSet(), set()))
                merged.update(identities)
                if adapter:
                    adapters.add(adapter)
            if not self.compile_options._for_refresh_state:
                for crit in self._get_extra_criteria(entity):
                    criteria.append(adapter.traverse(crit) if adapter else crit)

        for (_, discriminator), (identities, adapters) in subtypes.items():
            crit = discriminator.in_(identities)
            for adapter in adapters:
                crit = adapter.traverse(crit)
            criteria.append(crit)

        adapt = self._get_current_adapter()
        self._where_criteria += tuple(adapt(crit, False) if adapt else crit for crit in criteria)


def _is_label_reference(elem: Any) -> bool:
    return isinstance(elem, _sa._label_reference)
