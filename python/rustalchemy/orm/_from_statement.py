"""Rows of a given statement read as entities: ``from_statement()`` and RETURNING."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, ClassVar

from sqlalchemy import exc as sa_exc
from sqlalchemy import util
from sqlalchemy.sql import coercions, expression, roles
from sqlalchemy.sql.base import CompileState, Generative
from sqlalchemy.sql.elements import GroupedElement
from sqlalchemy.sql.selectable import (
    LABEL_STYLE_NONE,
    LABEL_STYLE_TABLENAME_PLUS_COL,
    SelectState,
    TypedReturnsRows,
)
from sqlalchemy.sql.visitors import InternalTraversal

from .. import _sa
from .._sa import COMPILE_STATE_FUNCS, ExecutableStatement
from ._compile_state import PLUGIN, _check_star, _ORMCompileState
from ._context_entities import _QueryEntity
from ._dml_returning import _DMLBulkInsertReturningColFilter, _DMLUpdateDeleteReturningColFilter
from .util import ORMStatementAdapter, _TraceAdaptRole


@CompileState.plugin_for(PLUGIN, "orm_from_statement")
class _ORMFromStatementCompileState(_ORMCompileState):
    """``select(...).from_statement(stmt)`` and RETURNING: rows of a statement that is given, read as entities."""

    runs_on_lane = True
    statement_container: Any
    requested_statement: Any
    dml_table: Any = None
    order_by: Any = None
    extra_criteria_entities: dict[Any, Any]
    eager_joins: ClassVar[Any] = util.EMPTY_DICT

    @classmethod
    def _create_orm_context(cls, statement: Any, *, toplevel: bool, compiler: Any, **kw: Any) -> Any:
        container = statement
        assert isinstance(container, FromStatement)
        if compiler is not None and compiler.stack:
            raise sa_exc.CompileError(
                "The ORM FromStatement construct only supports being invoked as the topmost statement, as it is only "
                "intended to define how result rows should be returned."
            )
        self = cls.__new__(cls)
        self._start(container._compile_options)
        self.statement_container = self.select_statement = container
        element = self.requested_statement = container.element
        self.extra_criteria_entities = {}
        if element.is_dml:
            self.dml_table = element.table
            self.is_dml_returning = True

        labelled = not element._is_textual and not element.is_dml
        self.statement = element
        if (
            self.use_legacy_query_style
            and labelled
            and isinstance(element, expression.SelectBase)
            and element._label_style is LABEL_STYLE_NONE
        ):
            self.statement = element.set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
        self._label_convention = self._column_naming_convention(
            element._label_style if labelled else LABEL_STYLE_NONE, self.use_legacy_query_style
        )
        _QueryEntity.to_compile_state(self, container._raw_columns, self._entities, is_current_entities=True)

        self.current_path = container._compile_options._current_path
        self._init_global_attributes(container, compiler, process_criteria_for_toplevel=False, toplevel=True)
        opt: Any
        for opt in container._with_options:
            if opt._is_compile_state:
                opt.process_compile_state(self)
        for fn, _ in getattr(container, COMPILE_STATE_FUNCS):
            fn(self)

        if self.statement._is_text_clause:
            self._expect_text_columns(compiler)
        else:
            # the statement stays as it is; our columns are found among its own, by name if need be
            self._from_obj_alias = ORMStatementAdapter(
                _TraceAdaptRole.ADAPT_FROM_STATEMENT, self.statement, adapt_on_names=container._adapt_on_names
            )
        return self

    @classmethod
    def orm_setup_cursor_result(
        cls,
        session: Any,
        statement: Any,
        params: Any,
        execution_options: Any,
        bind_arguments: Any,
        result: Any,
    ) -> Any:
        found = super().orm_setup_cursor_result(session, statement, params, execution_options, bind_arguments, result)
        if isinstance(statement, FromStatement) and statement.element._is_textual:
            # needs the compile states, which are made here
            from ._statement_cache import remember_text

            remember_text(statement, execution_options, result)
        return found

    def _expect_text_columns(self, compiler: Any) -> None:
        """text() has no columns: announce those of our entities and have them matched by name."""
        for entity in self._entities:
            entity.setup_compile_state(self)
        compiler._ordered_columns = compiler._textual_ordered_columns = False
        compiler._loose_column_name_matching = True
        for column in self.primary_columns:
            compiler.process(column, within_columns_clause=True, add_to_result_map=compiler._add_to_result_map)

    def _adapt_col_list(self, cols: Any, current_adapter: Any) -> Any:
        return cols

    def _get_current_adapter(self) -> None:
        return None

    def setup_dml_returning_compile_state(self, dml_mapper: Any) -> None:
        """Announce what RETURNING brings back, for a DML strategy."""
        statement = self.statement
        target = statement._propagate_attrs.get("plugin_subject", None)
        adapter: Any = None
        if statement.is_insert:
            adapter = _DMLBulkInsertReturningColFilter(target, dml_mapper)
        elif statement.is_update or statement.is_delete:
            adapter = _DMLUpdateDeleteReturningColFilter(target, dml_mapper)
        _check_star(self)
        for entity in self._entities:
            entity.setup_dml_returning_compile_state(self, adapter)


class FromStatement(GroupedElement, Generative, TypedReturnsRows[Any]):
    """A statement together with the entities its rows are to be read as."""

    __visit_name__ = "orm_from_statement"

    _compile_options: Any = _ORMFromStatementCompileState.default_compile_options
    _compile_state_factory = _ORMFromStatementCompileState.create_for_statement
    _for_update_arg = None
    is_from_statement = True

    _traverse_internals = [
        ("_raw_columns", InternalTraversal.dp_clauseelement_list),
        ("element", InternalTraversal.dp_clauseelement),
        *ExecutableStatement._executable_traverse_internals,
    ]
    _cache_key_traversal = [*_traverse_internals, ("_compile_options", InternalTraversal.dp_has_cache_key)]

    def __init__(self, entities: Any, element: Any, _adapt_on_names: bool = True) -> None:
        self._raw_columns = [
            coercions.expect(roles.ColumnsClauseRole, ent, apply_propagate_attrs=self, post_inspect=True)
            for ent in util.to_list(entities)
        ]
        self.element = element
        for kind in ("is_dml", "is_select", "is_delete", "is_insert", "is_update"):
            setattr(self, kind, getattr(element, kind))
        self._label_style = element._label_style if isinstance(element, expression.SelectBase) else None
        self._adapt_on_names = _adapt_on_names

    def _compiler_dispatch(self, visitor: Any, **kw: Any) -> str:
        _sa.collect_parameters(visitor, self)
        compile_state = self._compile_state_factory(self, visitor, **kw)
        if not visitor.stack:
            visitor.compile_state = compile_state
        return visitor.process(compile_state.statement, **kw)

    @property
    def column_descriptions(self) -> Any:
        plugin: Any = SelectState.get_plugin_class(self)
        return plugin.get_column_descriptions(self)

    def _ensure_disambiguated_names(self) -> FromStatement:
        return self

    def get_children(self, **kw: Any) -> Iterator[Any]:
        yield from itertools.chain.from_iterable(element._from_objects for element in self._raw_columns)
        yield from super().get_children(**kw)

    @property
    def _all_selected_columns(self) -> Any:
        return self.element._all_selected_columns

    @property
    def _return_defaults(self) -> Any:
        return self.element._return_defaults if self.element.is_dml else None

    @property
    def _returning(self) -> Any:
        return self.element._returning if self.element.is_dml else None

    @property
    def _inline(self) -> Any:
        return self.element._inline if self.element.is_insert or self.element.is_update else None
