"""What every ORM statement's compile state shares: compile options, execution hooks, the context of one execution."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Optional

from sqlalchemy import exc as sa_exc
from sqlalchemy import util
from sqlalchemy.sql.base import CacheableOptions, CompileState, Options
from sqlalchemy.sql.selectable import SelectLabelStyle, SelectState
from sqlalchemy.sql.visitors import InternalTraversal

from .._sa import COMPILE_STATE_PLUGIN
from ._context_entities import _column_descriptions, _MapperEntity
from .path_registry import PathRegistry
from .util import ORMAdapter, _TraceAdaptRole

PLUGIN = COMPILE_STATE_PLUGIN

LABEL_STYLE_LEGACY_ORM = SelectLabelStyle.LABEL_STYLE_LEGACY_ORM

# rows are read by positions found with the cached statement's columns: Core need not adapt its result to the new one
_orm_load_exec_options = util.immutabledict({"_result_disable_adapt_to_context": True})

# beyond this depth of options a cache key costs more than it saves
_MAX_CACHED_PATH = 10


class QueryContext:
    """One execution of a statement: session, parameters and options beside the compile state it shares."""

    __slots__ = (
        "_options",
        "_parameters",
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
        parameters: Optional[Sequence[Any]] = None,
        options: Optional[tuple[Any, ...]] = None,
    ) -> None:
        """``parameters``, as the cache key counts them, and loader ``options`` are found out unless given."""
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
        self.attributes: dict[Any, Any] = compile_state.attributes
        self.post_load_paths: dict[Any, Any] = {}
        self._parameters = parameters
        self._options = self._adapted_options() if options is None else options
        self.propagated_loader_options = tuple([opt for opt in self._options if opt.propagate_to_loaders])

    def without_execution(self) -> QueryContext:
        """The same without what belongs to this execution, the session above all."""
        kept = copy.copy(self)
        kept.session = kept.params = kept.top_level_context = kept._parameters = None
        kept._options = self.compiled_options
        kept.propagated_loader_options = self.compile_state.propagated_options
        kept.bind_arguments = kept.execution_options = util.EMPTY_DICT
        kept.load_options += {"_sa_top_level_orm_context": None, "_lazy_loaded_from": None}
        kept.post_load_paths = {}
        return kept

    @property
    def requires_uniquing(self) -> bool:
        return bool(self.compile_state.multi_row_eager_loaders)

    def _adapted_options(self) -> tuple[Any, ...]:
        # a cached statement's options fit its compile state's paths; the parameters are those of the statement at hand
        cached = self.compiled_options
        current = self.user_passed_query._with_options
        if cached is current:
            return cached
        return tuple(
            opt._adapt_cached_option_to_uncached_option(self, own) for opt, own in zip(cached, current, strict=False)
        )

    @property
    def compiled_options(self) -> tuple[Any, ...]:
        """The options of the compiled statement, which those of this execution stand for."""
        options: tuple[Any, ...] = self.compile_state.select_statement._with_options
        return options

    @property
    def compiled_parameters(self) -> Sequence[Any]:
        """The parameters of the compiled statement, as its cache key counts them; none if it is nobody else's."""
        key = self.compile_state.own_cache_key
        return () if key is None else key.bindparams

    @property
    def parameters(self) -> Sequence[Any]:
        """What this execution has in place of the compiled statement's parameters."""
        if self._parameters is None:
            key = self.user_passed_query._generate_cache_key()
            self._parameters = () if key is None else key.bindparams
        return self._parameters

    def with_parameters(self, criterion: Any) -> Any:
        """A criterion of the compiled statement's options, with the parameters of this execution."""
        compiled = self.compile_state.own_cache_key
        if compiled is None:
            return criterion
        current = compiled._replace(bindparams=self.parameters)
        return current._apply_params_to_element(compiled, criterion)

    def _get_top_level_context(self) -> QueryContext:
        return self.top_level_context or self

    @property
    def following_selects(self) -> dict[Any, Any]:
        """Statements of loaders that follow this one, kept with the compiled statement."""
        kept: dict[Any, Any] = self.compile_state.__dict__.setdefault("_following_selects", {})
        return kept

    def _loader_strategy_options(self) -> tuple[Any, ...]:
        """Options for a statement that a loader strategy emits on behalf of this one."""
        return self._options


class _AbstractORMCompileState(CompileState):
    """What the Session asks of any statement of this ORM."""

    is_dml_returning = False
    # whether a prepared statement and the plan of its rows say all there is to an execution
    runs_on_lane = False

    @classmethod
    def connects_itself(cls, execution_options: Any) -> bool:
        """Whether an execution looks for a connection of the transaction when it needs one."""
        return False

    attributes: dict[Any, Any]
    global_attributes: dict[Any, Any]

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
        flushes: bool,
    ) -> tuple[Any, Any, Any]:
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
        result = cls._send(conn, statement, params or {}, execution_options)
        return cls.orm_setup_cursor_result(session, statement, params, execution_options, bind_arguments, result)

    @staticmethod
    def _send(connection: Any, statement: Any, params: Any, options: Any) -> Any:
        return connection.execute(statement, params, execution_options=options)

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
        flushes: bool,
    ) -> tuple[Any, Any, Any]:
        load_options, execution_options = QueryContext.default_load_options.from_execution_options(
            "_sa_orm_load_options", {"autoflush"}, execution_options, statement._execution_options
        )
        if flushes and load_options._autoflush:
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
    primary_columns: list[Any]
    secondary_columns: list[Any]
    dedupe_columns: set[Any]
    create_eager_joins: list[Any]
    use_legacy_query_style: bool
    _entities: list[Any]
    _polymorphic_adapters: dict[Any, Any]
    _primary_entity: Any
    _label_convention: Any
    _fallback_from_clauses: list[Any]
    _from_obj_alias: Any = None
    _has_mapper_entities = False
    _has_orm_entities = False
    multi_row_eager_loaders = False
    eager_adding_joins = False
    compound_eager_adapter: Any = None

    def __init__(self, *arg: Any, **kw: Any) -> None:
        raise NotImplementedError()

    @util.ro_memoized_property
    def own_cache_key(self) -> Any:
        """The cache key of the statement; None if it has none."""
        return self.select_statement._generate_cache_key()

    @util.ro_memoized_property
    def propagated_options(self) -> tuple[Any, ...]:
        """The statement's options that objects keep."""
        return tuple([opt for opt in self.select_statement._with_options if opt.propagate_to_loaders])

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

    def _append_dedupe_col_collection(self, obj: Any, col_collection: list[Any]) -> None:
        if obj not in self.dedupe_columns:
            self.dedupe_columns.add(obj)
            col_collection.append(obj)

    @classmethod
    def _column_naming_convention(cls, label_style: Any, legacy: bool) -> Any:
        if not legacy:
            return SelectState._column_naming_convention(label_style)

        def name(col: Any, col_name: Optional[str] = None) -> Any:
            return col_name or col.key

        return name

    @classmethod
    def get_column_descriptions(cls, statement: Any) -> list[Any]:
        return _column_descriptions(statement)

    @property
    def _lead_mapper_entities(self) -> list[Any]:
        return [ent for ent in self._entities if isinstance(ent, _MapperEntity)]

    # execution

    @staticmethod
    def _send(connection: Any, statement: Any, params: Any, options: Any) -> Any:
        from . import _core_statements

        return _core_statements.execute(connection, statement, params, options)

    @classmethod
    def orm_pre_session_exec(
        cls,
        session: Any,
        statement: Any,
        params: Any,
        execution_options: Any,
        bind_arguments: Any,
        flushes: bool,
    ) -> tuple[Any, Any, Any]:
        load_options: Any = QueryContext.default_load_options
        if execution_options or statement._execution_options:
            load_options, execution_options = load_options.from_execution_options(
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

        if flushes and load_options._autoflush:
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


def _check_star(compile_state: Any) -> None:
    if compile_state.compile_options._is_star and len(compile_state._entities) != 1:
        raise sa_exc.CompileError(
            "Can't generate ORM query that includes multiple expressions at the same time as '*'; query for '*' alone "
            "if present"
        )
