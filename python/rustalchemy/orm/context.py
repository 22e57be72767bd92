"""Where plain ``sqlalchemy.select()`` meets mapped classes: the compile-state plugin ``"rustalchemy"``.

Core asks a compile state registered under the plugin's name to turn a statement of entities into one of tables
(:class:`_ORMSelectCompileState`). The Session asks its class how to execute the statement and read its rows
(:meth:`orm_pre_session_exec`, :meth:`orm_setup_cursor_result`).
"""

from __future__ import annotations

import itertools
from typing import Any, ClassVar, Dict, FrozenSet, Iterable, Iterator, List, Optional, Set, Tuple

from sqlalchemy import exc as sa_exc
from sqlalchemy import sql, util
from sqlalchemy.sql import coercions, expression, roles, visitors
from sqlalchemy.sql import util as sql_util
from sqlalchemy.sql.base import CacheableOptions, CompileState, ExecutableStatement, Generative, Options
from sqlalchemy.sql.elements import GroupedElement
from sqlalchemy.sql.selectable import (
    LABEL_STYLE_DISAMBIGUATE_ONLY,
    LABEL_STYLE_NONE,
    LABEL_STYLE_TABLENAME_PLUS_COL,
    CompoundSelectState,
    SelectLabelStyle,
    SelectState,
    TypedReturnsRows,
)
from sqlalchemy.sql.visitors import InternalTraversal

from .. import _sa
from . import attributes
from ._context_entities import (
    _column_descriptions,
    _DMLBulkInsertReturningColFilter,
    _DMLUpdateDeleteReturningColFilter,
    _MapperEntity,
    _QueryEntity,
)
from ._context_joins import _JoinBuilder
from ._context_statement import _StatementBuilder
from .interfaces import ORMColumnsClauseRole
from .path_registry import PathRegistry
from .util import ORMAdapter, ORMStatementAdapter, _TraceAdaptRole

PLUGIN = "rustalchemy"

LABEL_STYLE_LEGACY_ORM = SelectLabelStyle.LABEL_STYLE_LEGACY_ORM

# rows are read by positions found with the cached statement's own columns: Core need not adapt its result to the new one
_orm_load_exec_options = util.immutabledict({"_result_disable_adapt_to_context": True})

# beyond this depth of options a cache key costs more than it saves
_MAX_CACHED_PATH = 10


class QueryContext:
    """One execution of a statement: session, parameters and options beside the compile state it shares."""

    __slots__ = (
        "attributes",
        "autoflush",
        "bind_arguments",
        "compile_state",
        "execution_options",
        "identity_token",
        "invoke_all_eagers",
        "load_options",
        "params",
        "populate_existing",
        "post_load_paths",
        "propagated_loader_options",
        "query",
        "refresh_state",
        "session",
        "top_level_context",
        "user_passed_query",
        "version_check",
        "yield_per",
    )

    class default_load_options(Options):
        """Options of a load; they do not change the SQL."""

        _only_return_tuples = False
        _populate_existing = False
        _version_check = False
        _invoke_all_eagers = True
        _autoflush = True
        _identity_token = None
        _yield_per = None
        _refresh_state = None
        _lazy_loaded_from = None
        _legacy_uniquing = False
        _sa_top_level_orm_context = None
        _is_user_refresh = False

    def __init__(
        self,
        compile_state: Any,
        statement: Any,
        user_passed_query: Any,
        params: Any,
        session: Any,
        load_options: Any,
        execution_options: Any = None,
        bind_arguments: Any = None,
    ) -> None:
        self.compile_state = compile_state
        self.query = statement
        # differs from .query where a DML strategy made a FromStatement of its own
        self.user_passed_query = user_passed_query
        self.params = params
        self.session = session
        self.load_options = load_options
        self.execution_options = execution_options or util.EMPTY_DICT
        self.bind_arguments = bind_arguments or util.EMPTY_DICT
        self.top_level_context = load_options._sa_top_level_orm_context
        self.autoflush = load_options._autoflush
        self.populate_existing = load_options._populate_existing
        self.invoke_all_eagers = load_options._invoke_all_eagers
        self.version_check = load_options._version_check
        self.refresh_state = load_options._refresh_state
        self.yield_per = load_options._yield_per
        self.identity_token = load_options._identity_token
        self.attributes: Dict[Any, Any] = compile_state.attributes
        self.post_load_paths: Dict[Any, Any] = {}
        self.propagated_loader_options = self._adapted_options(only_propagated=True)

    @property
    def requires_uniquing(self) -> bool:
        return bool(self.compile_state.multi_row_eager_loaders)

    def _adapted_options(self, only_propagated: bool) -> Tuple[Any, ...]:
        # a cached statement's options fit the paths of its compile state; the parameters are those of the statement at hand
        cached = self.compile_state.select_statement._with_options
        if not cached:
            return ()
        return tuple(
            opt._adapt_cached_option_to_uncached_option(self, current)
            for opt, current in zip(cached, self.user_passed_query._with_options)
            if not only_propagated or opt.propagate_to_loaders
        )

    def _get_top_level_context(self) -> QueryContext:
        return self.top_level_context or self

    def _loader_strategy_options(self) -> Tuple[Any, ...]:
        """Options for a statement that a loader strategy emits on behalf of this one."""
        original = self.compile_state.select_statement
        if original is self.user_passed_query:
            return original._with_options  # type: ignore[no-any-return]
        return self._adapted_options(only_propagated=False)


class _AbstractORMCompileState(CompileState):
    """What the Session asks of any statement of this ORM."""

    is_dml_returning = False
    attributes: Dict[Any, Any]
    global_attributes: Dict[Any, Any]

    def _init_global_attributes(
        self, statement: Any, compiler: Any, *, toplevel: bool, process_criteria_for_toplevel: bool
    ) -> None:
        self.attributes = {}
        if compiler is None:
            self.global_attributes = {}
            assert toplevel
            return
        shared = self.global_attributes = compiler._global_attributes
        if toplevel:
            options = statement._with_options if process_criteria_for_toplevel else ()
            criteria = [opt for opt in options if opt._is_criteria_option]
        elif shared.get("toplevel_orm", False):
            return
        else:
            # a Core statement around us may carry criteria options
            outermost = compiler.stack[0].get("selectable")
            options = outermost._with_options if outermost is not None else ()
            criteria = [opt for opt in options if opt._is_compile_state and opt._is_criteria_option]
        for opt in criteria:
            opt.process_compile_state(self)
        shared["toplevel_orm"] = True

    @classmethod
    def create_for_statement(cls, statement: Any, compiler: Any, **kw: Any) -> Any:
        return super().create_for_statement(statement, compiler, **kw)

    @classmethod
    def orm_pre_session_exec(
        cls,
        session: Any,
        statement: Any,
        params: Any,
        execution_options: Any,
        bind_arguments: Any,
        is_pre_event: bool,
    ) -> Tuple[Any, Any, Any]:
        raise NotImplementedError()

    @classmethod
    def orm_execute_statement(
        cls,
        session: Any,
        statement: Any,
        params: Any,
        execution_options: Any,
        bind_arguments: Any,
        conn: Any,
    ) -> Any:
        result = conn.execute(statement, params or {}, execution_options=execution_options)
        return cls.orm_setup_cursor_result(session, statement, params, execution_options, bind_arguments, result)

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
        raise NotImplementedError()


class _AutoflushOnlyORMCompileState(_AbstractORMCompileState):
    """Core statements of entities that return plain rows: only autoflush is ours."""

    @classmethod
    def orm_pre_session_exec(
        cls,
        session: Any,
        statement: Any,
        params: Any,
        execution_options: Any,
        bind_arguments: Any,
        is_pre_event: bool,
    ) -> Tuple[Any, Any, Any]:
        load_options, execution_options = QueryContext.default_load_options.from_execution_options(
            "_sa_orm_load_options", {"autoflush"}, execution_options, statement._execution_options
        )
        if not is_pre_event and load_options._autoflush:
            session._autoflush()
        return statement, execution_options, params

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
        return result


class _ORMCompileState(_AbstractORMCompileState):
    """A statement whose rows become objects."""

    class default_compile_options(CacheableOptions):
        """Options of a load that change the SQL, and so are part of the cache key."""

        _cache_key_traversal = [
            ("_use_legacy_query_style", InternalTraversal.dp_boolean),
            ("_for_statement", InternalTraversal.dp_boolean),
            ("_bake_ok", InternalTraversal.dp_boolean),
            ("_current_path", InternalTraversal.dp_has_cache_key),
            ("_enable_single_crit", InternalTraversal.dp_boolean),
            ("_enable_eagerloads", InternalTraversal.dp_boolean),
            ("_only_load_props", InternalTraversal.dp_plain_obj),
            ("_set_base_alias", InternalTraversal.dp_boolean),
            ("_for_refresh_state", InternalTraversal.dp_boolean),
            ("_render_for_subquery", InternalTraversal.dp_boolean),
            ("_is_star", InternalTraversal.dp_boolean),
        ]
        # a Query's statement: labels are tablename_columnname
        _use_legacy_query_style = False
        # Query.statement, Query.subquery(): shown to the user rather than executed
        _for_statement = False
        _bake_ok = True
        _current_path = PathRegistry.root
        _enable_single_crit = True
        _enable_eagerloads = True
        _only_load_props = None
        _set_base_alias = False
        _for_refresh_state = False
        _render_for_subquery = False
        _is_star = False

    statement: Any
    select_statement: Any
    compile_options: Any
    current_path: Any = PathRegistry.root
    primary_columns: List[Any]
    secondary_columns: List[Any]
    dedupe_columns: Set[Any]
    create_eager_joins: List[Any]
    use_legacy_query_style: bool
    _entities: List[Any]
    _polymorphic_adapters: Dict[Any, Any]
    _primary_entity: Any
    _label_convention: Any
    _fallback_from_clauses: List[Any]
    _from_obj_alias: Any = None
    _has_mapper_entities = False
    _has_orm_entities = False
    multi_row_eager_loaders = False
    eager_adding_joins = False
    compound_eager_adapter: Any = None

    def __init__(self, *arg: Any, **kw: Any) -> None:
        raise NotImplementedError()

    @classmethod
    def create_for_statement(cls, statement: Any, compiler: Any, **kw: Any) -> Any:
        return cls._create_orm_context(statement, toplevel=not compiler.stack, compiler=compiler, **kw)

    @classmethod
    def _create_orm_context(cls, statement: Any, *, toplevel: bool, compiler: Any, **kw: Any) -> Any:
        raise NotImplementedError()

    def _start(self, compile_options: Any) -> None:
        """The empty collections every compilation begins with."""
        self._entities = []
        self._primary_entity = None
        self._polymorphic_adapters = {}
        self.compile_options = compile_options
        self.use_legacy_query_style = compile_options._use_legacy_query_style
        self.primary_columns = []
        self.secondary_columns = []
        self.dedupe_columns = set()
        self.create_eager_joins = []
        self._fallback_from_clauses = []

    def _append_dedupe_col_collection(self, obj: Any, col_collection: List[Any]) -> None:
        if obj not in self.dedupe_columns:
            self.dedupe_columns.add(obj)
            col_collection.append(obj)

    @classmethod
    def _column_naming_convention(cls, label_style: Any, legacy: bool) -> Any:
        if not legacy:
            return SelectState._column_naming_convention(label_style)

        def name(col: Any, col_name: Optional[str] = None) -> Any:
            return col_name or getattr(col, "key")

        return name

    @classmethod
    def get_column_descriptions(cls, statement: Any) -> List[Any]:
        return _column_descriptions(statement)

    @property
    def _lead_mapper_entities(self) -> List[Any]:
        return [ent for ent in self._entities if isinstance(ent, _MapperEntity)]

    # execution

    @classmethod
    def orm_pre_session_exec(
        cls,
        session: Any,
        statement: Any,
        params: Any,
        execution_options: Any,
        bind_arguments: Any,
        is_pre_event: bool,
    ) -> Tuple[Any, Any, Any]:
        load_options, execution_options = QueryContext.default_load_options.from_execution_options(
            "_sa_orm_load_options",
            {"populate_existing", "autoflush", "yield_per", "identity_token", "sa_top_level_orm_context"},
            execution_options,
            statement._execution_options,
        )
        if "sa_top_level_orm_context" in execution_options:
            top = execution_options["sa_top_level_orm_context"]
            execution_options = top.query._execution_options.merge_with(top.execution_options, execution_options)
        if execution_options:
            execution_options = execution_options.union(_orm_load_exec_options)
        else:
            execution_options = _orm_load_exec_options
        if load_options._yield_per:
            execution_options = execution_options.union({"yield_per": load_options._yield_per})

        path = getattr(statement._compile_options, "_current_path", None)
        if path and len(path) > _MAX_CACHED_PATH and execution_options.get("compiled_cache", True) is not None:
            execution_options = execution_options.union(
                {"compiled_cache": None, "_cache_disable_reason": "excess depth for ORM loader options"}
            )

        bind_arguments["clause"] = statement
        subject = statement._propagate_attrs["plugin_subject"]
        if subject:
            bind_arguments["mapper"] = subject.mapper

        if not is_pre_event and load_options._autoflush:
            session._autoflush()
        return statement, execution_options, params

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
        from . import loading

        compile_state = result.context.compiled.compile_state
        if compile_state.compile_options._is_star:
            return result
        return loading.instances(
            result,
            QueryContext(
                compile_state,
                statement,
                statement,
                params,
                session,
                execution_options.get("_sa_orm_load_options", QueryContext.default_load_options),
                execution_options,
                bind_arguments,
            ),
        )

    # polymorphic selectables

    def _create_with_polymorphic_adapter(self, ext_info: Any, selectable: Any) -> None:
        mapper = ext_info.mapper
        if ext_info.is_aliased_class or mapper.persist_selectable in self._polymorphic_adapters:
            return
        for parent in mapper.iterate_to_root():
            self._mapper_loads_polymorphically_with(
                parent,
                ORMAdapter(
                    _TraceAdaptRole.WITH_POLYMORPHIC_ADAPTER,
                    parent,
                    equivalents=parent._equivalent_columns,
                    selectable=selectable,
                ),
            )

    def _mapper_loads_polymorphically_with(self, mapper: Any, adapter: Any) -> None:
        for loaded in mapper._with_polymorphic_mappers or (mapper,):
            self._polymorphic_adapters[loaded] = adapter
            for parent in loaded.iterate_to_root():
                self._polymorphic_adapters[parent.local_table] = adapter


@CompileState.plugin_for(PLUGIN, "orm_from_statement")
class _ORMFromStatementCompileState(_ORMCompileState):
    """``select(...).from_statement(stmt)`` and RETURNING: rows of a statement that is given, read as entities."""

    statement_container: Any
    requested_statement: Any
    dml_table: Any = None
    order_by: Any = None
    extra_criteria_entities: Dict[Any, Any]
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
        for opt in container._with_options:
            if opt._is_compile_state:
                opt.process_compile_state(self)
        for fn, _ in container._compile_state_funcs:
            fn(self)

        if self.statement._is_text_clause:
            self._expect_text_columns(compiler)
        else:
            # the statement stays as it is; our columns are found among its own, by name if need be
            self._from_obj_alias = ORMStatementAdapter(
                _TraceAdaptRole.ADAPT_FROM_STATEMENT, self.statement, adapt_on_names=container._adapt_on_names
            )
        return self

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
        self._check_star()
        for entity in self._entities:
            entity.setup_dml_returning_compile_state(self, adapter)

    def _check_star(self) -> None:
        _check_star(self)


def _check_star(compile_state: Any) -> None:
    if compile_state.compile_options._is_star and len(compile_state._entities) != 1:
        raise sa_exc.CompileError(
            "Can't generate ORM query that includes multiple expressions at the same time as '*'; query for '*' alone "
            "if present"
        )


class FromStatement(GroupedElement, Generative, TypedReturnsRows[Any]):
    """A statement together with the entities its rows are to be read as."""

    __visit_name__ = "orm_from_statement"

    _compile_options = _ORMFromStatementCompileState.default_compile_options
    _compile_state_factory = _ORMFromStatementCompileState.create_for_statement
    _for_update_arg = None
    is_from_statement = True

    _traverse_internals = [
        ("_raw_columns", InternalTraversal.dp_clauseelement_list),
        ("element", InternalTraversal.dp_clauseelement),
    ] + ExecutableStatement._executable_traverse_internals
    _cache_key_traversal = _traverse_internals + [("_compile_options", InternalTraversal.dp_has_cache_key)]

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

    def _compiler_dispatch(self, compiler: Any, **kw: Any) -> Any:
        if compiler._collect_params:
            compiler._add_to_params(self)
        compile_state = self._compile_state_factory(self, compiler, **kw)
        if not compiler.stack:
            compiler.compile_state = compile_state
        return compiler.process(compile_state.statement, **kw)

    @property
    def column_descriptions(self) -> Any:
        return SelectState.get_plugin_class(self).get_column_descriptions(self)

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


@CompileState.plugin_for(PLUGIN, "compound_select")
class _CompoundSelectCompileState(_AutoflushOnlyORMCompileState, CompoundSelectState):
    """UNION and its kin."""


@CompileState.plugin_for(PLUGIN, "select")
class _ORMSelectCompileState(_JoinBuilder, _StatementBuilder, _ORMCompileState, SelectState):
    """A SELECT of entities."""

    correlate: Any = None
    correlate_except: Any = None
    _memoized_entities: Any = util.EMPTY_DICT
    _where_criteria: Tuple[Any, ...] = ()
    _having_criteria: Tuple[Any, ...] = ()
    _explicit_correlate_froms: Any = frozenset()
    _implicit_correlate_froms: Any = frozenset()
    # with_loader_criteria() options this SELECT is inside of: they must not apply to themselves
    _containing_loader_criteria: FrozenSet[Any] = frozenset()

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
        for fn, _ in query._compile_state_funcs:
            fn(self)

        self.eager_joins = {}
        self.extra_criteria_entities = {}
        self.from_clauses = self._normalize_froms(info.selectable for info in query._from_obj)
        self._setup_for_generate()
        SelectState.__init__(self, self.statement, compiler, **kw)
        return self

    def _note_enclosing(self, statement: Any, compiler: Any, kw: Dict[str, Any]) -> None:
        self._explicit_correlate_froms, self._implicit_correlate_froms = compiler._enclosing_correlate_froms(
            compiler.stack[-1], kw.get("asfrom", False), kw.get("lateral", False)
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
        self.statement = (
            self._compound_eager_statement() if self._should_nest_selectable else self._simple_statement()
        )
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
            self.syntax_extensions = query._get_syntax_extensions_as_dict()
        else:
            self._where_criteria = tuple(adapt(crit, True) for crit in query._where_criteria)
            self._having_criteria = tuple(adapt(crit, True) for crit in query._having_criteria)
            self.order_by = self._adapt_col_list(query._order_by_clauses, adapt)
            self.group_by = self._adapt_col_list(util.flatten_iterator(query._group_by_clauses), adapt) or None
            self.distinct_on = self._adapt_col_list(query._distinct_on or (), adapt)
            self.syntax_extensions = {
                key: adapt(value, True) for key, value in query._get_syntax_extensions_as_dict().items()
            }
        self.distinct = query._distinct
        self._for_update_arg = query._for_update_arg
        if self.eager_order_by:
            self.eager_order_by = self.from_clauses[0]._target_adapter.copy_and_process(self.eager_order_by)

    def _take_correlation(self, query: Any) -> None:
        def tables(elements: Iterable[Any]) -> Tuple[Any, ...]:
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

        return lambda clause, as_filter: visitors.replacement_traverse(clause, {}, replace)

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
        if isinstance(info.selectable, sql.selectable.AliasedReturnsRows):
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
            raise sa_exc.InvalidRequestError("%s() can only be used against a single mapped class." % methname)
        return self._primary_entity.entity_zero

    def _only_entity_zero(self, rationale: Optional[str] = None) -> Any:
        if len(self._entities) > 1:
            raise sa_exc.InvalidRequestError(
                rationale or "This operation requires a Query against a single mapper."
            )
        return self._entity_zero()

    @classmethod
    def _get_filter_by_entities(cls, statement: Any) -> Set[Any]:
        """Everything ``filter_by()`` looks for a name in."""
        entities: Set[Any] = set()
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
        for name in ("_with_options", "_compile_state_funcs", "_execution_options", "_propagate_attrs"):
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
    element = query._raw_columns[0]
    if "parententity" in element._annotations:
        return element._annotations["parententity"]
    if isinstance(element, ORMColumnsClauseRole):
        return element.entity
    return element._annotations.get("bundle", element)


def _determine_last_joined_entity(setup_joins: Any, entity_zero: Any = None) -> Any:
    if not setup_joins:
        return None
    target = setup_joins[-1][0]
    return target.entity if isinstance(target, attributes.QueryableAttribute) else target
