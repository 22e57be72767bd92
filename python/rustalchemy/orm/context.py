"""Where plain ``sqlalchemy.select()`` meets mapped classes: the compile-state plugin ``"rustalchemy"``.

Core asks a compile state registered under the plugin's name to turn a statement of entities into one of tables
(:class:`_ORMSelectCompileState`). The Session asks its class how to execute the statement and read its rows
(:mod:`._compile_state`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Optional

from sqlalchemy import exc as sa_exc
from sqlalchemy import util
from sqlalchemy.sql import coercions, expression, roles, visitors
from sqlalchemy.sql import util as sql_util
from sqlalchemy.sql.base import CompileState
from sqlalchemy.sql.selectable import (
    LABEL_STYLE_DISAMBIGUATE_ONLY,
    LABEL_STYLE_TABLENAME_PLUS_COL,
    AliasedReturnsRows,
    CompoundSelectState,
    SelectState,
)

from .. import _sa
from . import attributes
from ._compile_state import LABEL_STYLE_LEGACY_ORM as LABEL_STYLE_LEGACY_ORM
from ._compile_state import PLUGIN as PLUGIN
from ._compile_state import QueryContext as QueryContext
from ._compile_state import _AbstractORMCompileState as _AbstractORMCompileState
from ._compile_state import _AutoflushOnlyORMCompileState as _AutoflushOnlyORMCompileState
from ._compile_state import _check_star
from ._compile_state import _orm_load_exec_options as _orm_load_exec_options
from ._compile_state import _ORMCompileState as _ORMCompileState
from ._context_entities import _column_descriptions as _column_descriptions
from ._context_entities import _MapperEntity as _MapperEntity
from ._context_entities import _QueryEntity as _QueryEntity
from ._context_joins import _JoinBuilder
from ._context_statement import _StatementBuilder
from ._from_statement import FromStatement as FromStatement
from ._from_statement import _ORMFromStatementCompileState as _ORMFromStatementCompileState
from .interfaces import ORMColumnsClauseRole
from .util import ORMStatementAdapter, _TraceAdaptRole


@CompileState.plugin_for(PLUGIN, "compound_select")
class _CompoundSelectCompileState(_AutoflushOnlyORMCompileState, CompoundSelectState):
    """UNION and its kin."""


@CompileState.plugin_for(PLUGIN, "select")
class _ORMSelectCompileState(_JoinBuilder, _StatementBuilder, _ORMCompileState, SelectState):  # type: ignore[misc]
    """A SELECT of entities."""

    runs_on_lane = True
    for_statement: bool
    correlate: Any = None
    correlate_except: Any = None
    _memoized_entities: Any = util.EMPTY_DICT
    _where_criteria: tuple[Any, ...] = ()
    _having_criteria: tuple[Any, ...] = ()
    _explicit_correlate_froms: Any = frozenset()
    _implicit_correlate_froms: Any = frozenset()
    # with_loader_criteria() options this SELECT is inside of: they must not apply to themselves
    _containing_loader_criteria: frozenset[Any] = frozenset()

    @classmethod
    def _create_orm_context(cls, statement: Any, *, toplevel: bool, compiler: Any, **kw: Any) -> Any:
        self = cls.__new__(cls)
        if not toplevel:
            self._note_enclosing(statement, compiler, kw)

        statement._compile_options = cls.default_compile_options.safe_merge(statement._compile_options)
        self._start(statement._compile_options)
        self.select_statement = query = statement
        if statement._execution_options:
            # these do not change the SQL, and should not be kept alive by a cache
            self.select_statement = query = statement._clone()
            query._execution_options = util.EMPTY_DICT
        self.for_statement = self.compile_options._for_statement
        if not toplevel:
            self.compile_options += {"_enable_eagerloads": False, "_render_for_subquery": True}

        self.label_style = query._label_style
        if self.use_legacy_query_style and query._label_style is LABEL_STYLE_LEGACY_ORM:
            self.label_style = LABEL_STYLE_DISAMBIGUATE_ONLY if self.for_statement else LABEL_STYLE_TABLENAME_PLUS_COL

        # entities that with_only_columns() replaced: joins were stated in terms of them
        self._memoized_entities = {
            memoized: _QueryEntity.to_compile_state(self, memoized._raw_columns, [], is_current_entities=False)
            for memoized in query._memoized_select_entities
        }
        # stateful: only the columns really selected may count
        self._label_convention = self._column_naming_convention(query._label_style, self.use_legacy_query_style)
        _QueryEntity.to_compile_state(self, query._raw_columns, self._entities, is_current_entities=True)

        self.current_path = statement._compile_options._current_path
        self.eager_order_by = ()
        self._init_global_attributes(query, compiler, toplevel=toplevel, process_criteria_for_toplevel=False)
        if toplevel:
            self._process_options()
        for fn, _ in getattr(query, _sa.COMPILE_STATE_FUNCS):
            fn(self)

        self.eager_joins = {}
        self.extra_criteria_entities = {}
        self.from_clauses = self._normalize_froms(info.selectable for info in query._from_obj)
        self._setup_for_generate()
        SelectState.__init__(self, self.statement, compiler, **kw)
        return self

    def _note_enclosing(self, statement: Any, compiler: Any, kw: dict[str, Any]) -> None:
        self._explicit_correlate_froms, self._implicit_correlate_froms = _sa.enclosing_correlate_froms(
            compiler, kw.get("asfrom", False), kw.get("lateral", False)
        )
        for entry in reversed(compiler.stack):
            enclosing = entry.get("compile_state")
            if isinstance(enclosing, _ORMSelectCompileState):
                self._containing_loader_criteria = enclosing._containing_loader_criteria
                break
        own = statement._annotations.get("for_loader_criteria")
        if own is not None:
            self._containing_loader_criteria |= {own}

    def _process_options(self) -> None:
        for memoized, entities in self._memoized_entities.items():
            mapped = [ent for ent in entities if isinstance(ent, _MapperEntity)]
            for opt in memoized._with_options:
                if opt._is_compile_state:
                    opt.process_compile_state_replaced_entities(self, mapped)
        for opt in self.select_statement._with_options:
            if opt._is_compile_state:
                opt.process_compile_state(self)

    def _setup_for_generate(self) -> None:
        """From FROM to the finished statement."""
        query = self.select_statement
        self.statement = None
        if self.compile_options._set_base_alias:
            self._set_select_from_alias()
        for memoized, entities in self._memoized_entities.items():
            if memoized._setup_joins:
                self._join(memoized._setup_joins, entities)
        if query._setup_joins:
            self._join(query._setup_joins, self._entities)

        self._take_clauses(query)
        self._take_correlation(query)
        _check_star(self)

        for entity in self._entities:
            entity.setup_compile_state(self)
        for strategy, *args in self.create_eager_joins:
            strategy(self, *args)
        if self.compile_options._enable_single_crit:
            self._adjust_for_extra_criteria()

        if not self.primary_columns:
            assert not self.compile_options._only_load_props, "no columns were included in _only_load_props"
            raise sa_exc.InvalidRequestError("Query contains no columns with which to SELECT from.")
        if not self.from_clauses:
            self.from_clauses = list(self._fallback_from_clauses)
        if self.order_by is False:
            self.order_by = None
        self.statement = self._compound_eager_statement() if self._should_nest_selectable else self._simple_statement()
        if self.for_statement:
            mapper = self._mapper_zero()
            if mapper is not None:
                self.statement = self.statement._annotate({"deepentity": mapper})

    def _take_clauses(self, query: Any) -> None:
        """WHERE, ORDER BY and so on, adapted to what stands in the FROM list."""
        adapt = self._get_current_adapter()
        if adapt is None:
            self._where_criteria = query._where_criteria
            self._having_criteria = query._having_criteria
            self.order_by = query._order_by_clauses
            self.group_by = query._group_by_clauses or None
            self.distinct_on = query._distinct_on or ()
            self.syntax_extensions = _sa.syntax_extensions(query)
        else:
            self._where_criteria = tuple(adapt(crit, True) for crit in query._where_criteria)
            self._having_criteria = tuple(adapt(crit, True) for crit in query._having_criteria)
            self.order_by = self._adapt_col_list(query._order_by_clauses, adapt)
            self.group_by = self._adapt_col_list(util.flatten_iterator(query._group_by_clauses), adapt) or None
            self.distinct_on = self._adapt_col_list(query._distinct_on or (), adapt)
            self.syntax_extensions = {key: adapt(value, True) for key, value in _sa.syntax_extensions(query).items()}
        self.distinct = query._distinct
        self._for_update_arg = query._for_update_arg
        if self.eager_order_by:
            self.eager_order_by = self.from_clauses[0]._target_adapter.copy_and_process(self.eager_order_by)

    def _take_correlation(self, query: Any) -> None:
        def tables(elements: Iterable[Any]) -> tuple[Any, ...]:
            # an entity mapped to a join stands for the join's tables
            return tuple(
                util.flatten_iterator(sql_util.surface_selectables(s) if s is not None else None for s in elements)
            )

        if query._correlate:
            self.correlate = tables(query._correlate)
        elif query._correlate_except is not None:
            self.correlate_except = tables(query._correlate_except)
        elif not query._auto_correlate:
            self.correlate = (None,)

    # adaption

    def _adapt_polymorphic_element(self, element: Any) -> Any:
        adapters = self._polymorphic_adapters
        adapter = None
        if "parententity" in element._annotations:
            adapter = adapters.get(element._annotations["parententity"])
        if not adapter:
            if isinstance(element, expression.FromClause):
                adapter = adapters.get(element)
            elif hasattr(element, "table"):
                adapter = adapters.get(element.table)
        return adapter.adapt_clause(element) if adapter else None

    def _adapt_col_list(self, cols: Any, current_adapter: Any) -> Any:
        return [current_adapter(col, True) for col in cols] if current_adapter else cols

    def _get_current_adapter(self) -> Any:
        adapters = []
        if self._from_obj_alias:
            adapters.append(self._from_obj_alias.replace)
        if self._polymorphic_adapters:
            adapters.append(self._adapt_polymorphic_element)
        if not adapters:
            return None

        def replace(elem: Any) -> Any:
            for adapter in adapters:
                replacement = adapter(elem)
                if replacement is not None:
                    return replacement
            return None

        traverse: Any = visitors.replacement_traverse
        return lambda clause, as_filter: traverse(clause, {}, replace)

    def _set_select_from_alias(self) -> None:
        """Query.union() and its kin: all entities are read from the one FROM element."""
        adapter = self._get_select_from_alias_from_obj(self.select_statement._from_obj[0])
        if adapter:
            self.compile_options += {"_enable_single_crit": False}
            self._from_obj_alias = adapter

    def _get_select_from_alias_from_obj(self, from_obj: Any) -> Any:
        info = from_obj._annotations.get("parententity", from_obj)
        if hasattr(info, "mapper"):
            if not info.is_aliased_class:
                raise sa_exc.ArgumentError(
                    "A selectable (FromClause) instance is expected when the base alias is being set."
                )
            return info._adapter
        if isinstance(info.selectable, AliasedReturnsRows):
            return ORMStatementAdapter(
                _TraceAdaptRole.LEGACY_SELECT_FROM_ALIAS, info.selectable, equivalents=self._all_equivs()
            )
        return None

    # entities, asked for before compilation

    @classmethod
    def _create_entities_collection(cls, query: Any, legacy: bool) -> Any:
        self = cls.__new__(cls)
        self._entities = []
        self._primary_entity = None
        self._polymorphic_adapters = {}
        self._label_convention = self._column_naming_convention(query._label_style, legacy)
        _QueryEntity.to_compile_state(self, query._raw_columns, self._entities, is_current_entities=True)
        return self

    def _mapper_zero(self) -> Any:
        return self._entities[0].mapper

    def _entity_zero(self) -> Any:
        for from_ in self.from_clauses:
            if "parententity" in from_._annotations:
                return from_._annotations["parententity"]
        return next((ent.entity_zero for ent in self._entities if ent.entity_zero), None)

    def _only_full_mapper_zero(self, methname: str) -> Any:
        if self._entities != [self._primary_entity]:
            raise sa_exc.InvalidRequestError(f"{methname}() can only be used against a single mapped class.")
        return self._primary_entity.entity_zero

    def _only_entity_zero(self, rationale: Optional[str] = None) -> Any:
        if len(self._entities) > 1:
            raise sa_exc.InvalidRequestError(rationale or "This operation requires a Query against a single mapper.")
        return self._entity_zero()

    @classmethod
    def _get_filter_by_entities(cls, statement: Any) -> set[Any]:
        """Everything ``filter_by()`` looks for a name in."""
        entities: set[Any] = set()
        for holder in (statement, *statement._memoized_select_entities):
            for target, *_ in holder._setup_joins:
                if isinstance(target, attributes.QueryableAttribute):
                    entities.add(target.entity)
                elif "_no_filter_by" not in target._annotations:
                    entities.add(target)
        for from_obj in statement._from_obj:
            if "_no_filter_by" not in from_obj._annotations:
                entities.add(from_obj._annotations.get("parententity", from_obj))
        for element in statement._raw_columns:
            if "entity_namespace" in element._annotations:
                entities.add(element._annotations["entity_namespace"])
            elif "_no_filter_by" not in element._annotations:
                entities.update(element._from_objects)
        return entities

    @classmethod
    def all_selected_columns(cls, statement: Any) -> Iterator[Any]:
        for element in statement._raw_columns:
            if element.is_selectable and "entity_namespace" in element._annotations:
                namespace = element._annotations["entity_namespace"]
                if namespace.is_mapper or namespace.is_aliased_class:
                    yield from _sa._select_iterables(namespace._all_column_expressions)
                    continue
            yield from _sa._select_iterables([element])

    @classmethod
    def determine_last_joined_entity(cls, statement: Any) -> Any:
        """What filter_by() asks about first (SQLAlchemy 2.0)."""
        return _determine_last_joined_entity(statement._setup_joins)

    @classmethod
    def get_columns_clause_froms(cls, statement: Any) -> Any:
        def froms() -> Iterator[Any]:
            for element in statement._raw_columns:
                if "parententity" in element._annotations:
                    yield element._annotations["parententity"].__clause_element__()
                else:
                    yield from element._from_objects

        return cls._normalize_froms(froms())

    @classmethod
    def from_statement(cls, statement: Any, from_statement: Any) -> FromStatement:
        element = coercions.expect(roles.ReturnsRowsRole, from_statement, apply_propagate_attrs=statement)
        container = FromStatement(statement._raw_columns, element)
        for name in ("_with_options", _sa.COMPILE_STATE_FUNCS, "_execution_options", "_propagate_attrs"):
            container.__dict__[name] = getattr(statement, name)
        return container


def _legacy_filter_by_entity_zero(query: Any) -> Any:
    """The entity ``Query.filter_by()`` means: the last one joined to, else the first."""
    if query._setup_joins:
        joined = query._last_joined_entity
        if joined is not None:
            return joined
    if query._from_obj and "parententity" in query._from_obj[0]._annotations:
        return query._from_obj[0]._annotations["parententity"]
    return _entity_from_pre_ent_zero(query)


def _entity_from_pre_ent_zero(query: Any) -> Any:
    if not query._raw_columns:
        return None
    element: Any = query._raw_columns[0]
    if "parententity" in element._annotations:
        return element._annotations["parententity"]
    if isinstance(element, ORMColumnsClauseRole):
        return element.entity  # type: ignore[attr-defined]
    return element._annotations.get("bundle", element)


def _determine_last_joined_entity(setup_joins: Any, entity_zero: Any = None) -> Any:
    if not setup_joins:
        return None
    target = setup_joins[-1][0]
    return target.entity if isinstance(target, attributes.QueryableAttribute) else target
