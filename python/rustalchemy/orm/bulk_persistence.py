"""INSERT, UPDATE and DELETE statements of entities: the compile states that Core finds under our plugin name.

``_dml_state`` has what the three share, ``_dml_criteria`` what UPDATE and DELETE share, ``_bulk_rows`` the lists of
rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import exc as sa_exc
from sqlalchemy import util
from sqlalchemy.sql import coercions, roles
from sqlalchemy.sql.base import CompileState, Options
from sqlalchemy.sql.dml import DeleteDMLState, InsertDMLState, UpdateDMLState

from .. import _core, _sa
from .._sa import COMPILE_STATE_PLUGIN
from . import attributes, context, evaluator
from ._bulk_rows import _bulk_insert, _bulk_update
from ._dml_criteria import _BulkUDCompileState
from ._dml_state import _ORMDMLState
from .base import manager_of_class
from .context import QueryContext

if TYPE_CHECKING:
    from .mapper import Mapper

__all__ = ["_BulkORMDelete", "_BulkORMInsert", "_BulkORMUpdate", "_bulk_insert", "_bulk_update"]


def _with_populate_existing(execution_options: Any, options: Any) -> Any:
    """Execution options that let rows of RETURNING overwrite loaded objects, if that was asked for."""
    if not options._populate_existing:
        return execution_options
    load_options = execution_options.get("_sa_orm_load_options", QueryContext.default_load_options)
    return execution_options.union({"_sa_orm_load_options": load_options + {"_populate_existing": True}})


def _as_rows(params: Any) -> list[dict[str, Any]]:
    return [params] if isinstance(params, dict) else params


@CompileState.plugin_for(COMPILE_STATE_PLUGIN, "insert")
class _BulkORMInsert(_ORMDMLState, InsertDMLState):
    """``insert(Entity)``: with a list of parameters row by row ("bulk"), else as one statement ("orm")."""

    class default_insert_options(Options):
        """How one such statement is to be executed."""

        _dml_strategy: Any = "auto"
        _render_nulls: bool = False
        _return_defaults: bool = False
        _subject_mapper: Any = None
        _autoflush: bool = True
        _populate_existing: bool = False

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
        options, execution_options = _BulkORMInsert.default_insert_options.from_execution_options(
            "_sa_orm_insert_options",
            {"dml_strategy", "autoflush", "populate_existing", "render_nulls"},
            execution_options,
            statement._execution_options,
        )
        bind_arguments["clause"] = statement
        subject = statement._propagate_attrs["plugin_subject"]
        if subject:
            bind_arguments["mapper"] = subject.mapper
            options += {"_subject_mapper": subject.mapper}

        if options._dml_strategy == "auto":
            options += {"_dml_strategy": "bulk" if params else "orm"}
        elif options._dml_strategy == "bulk" and not params:
            raise sa_exc.InvalidRequestError(
                'Can\'t use "bulk" ORM insert strategy without passing separate parameters'
            )

        execution_options = util.immutabledict(execution_options or {})
        if options._dml_strategy != "raw":
            execution_options = execution_options.union(context._orm_load_exec_options)
        if flushes and options._autoflush:
            session._autoflush()
        return (
            statement._annotate(cls.annotations(options)),
            execution_options.union({"_sa_orm_insert_options": options}),
            params,
        )

    @classmethod
    def connects_itself(cls, execution_options: Any) -> bool:
        """Whether rows are inserted: on the lane, where there is one."""
        options = execution_options.get("_sa_orm_insert_options")
        return options is not None and options._dml_strategy == "bulk"

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
        options = execution_options.get("_sa_orm_insert_options", cls.default_insert_options)
        strategy = options._dml_strategy
        if strategy not in ("raw", "bulk", "orm", "auto"):
            raise sa_exc.ArgumentError("Valid strategies for ORM insert strategy are 'raw', 'orm', 'bulk', 'auto")
        if strategy != "bulk":
            result = conn.execute(statement, params or {}, execution_options=execution_options)
            if strategy == "raw":
                return result
        else:
            mapper = options._subject_mapper
            if statement._post_values_clause is not None and mapper._multiple_persistence_tables:
                raise sa_exc.InvalidRequestError(
                    "bulk INSERT with a 'post values' clause (typically upsert) not supported for multi-table mapper "
                    f"{mapper}"
                )
            result = _bulk_insert(
                mapper,
                _as_rows(params),
                session._transaction or session._autobegin_t(),
                isstates=False,
                return_defaults=options._return_defaults,
                render_nulls=options._render_nulls,
                use_orm_insert_stmt=statement,
                execution_options=execution_options,
            )
        if not statement._returning:
            return result
        execution_options = _with_populate_existing(execution_options, options)
        return cls._return_orm_returning(session, statement, params, execution_options, bind_arguments, result)

    # -- statements that were seen before ----------------------------------------------------------------------------

    @classmethod
    def prepared_options(cls, statement: Any, parameters: Any, dialect: Any, synchronize: Any) -> Any:
        """How every execution of such a statement is done."""
        mapper = statement._propagate_attrs["plugin_subject"].mapper
        return cls.default_insert_options + {"_dml_strategy": "orm", "_subject_mapper": mapper}

    @staticmethod
    def annotations(options: Any) -> dict[str, Any]:
        """What the compiler has to know of the options."""
        return {"dml_strategy": options._dml_strategy}

    @classmethod
    def before_prepared(cls, options: Any, statement: Any, parameters: Any) -> None:
        """Nothing has to be known before rows are inserted."""

    @classmethod
    def after_prepared(
        cls, session: Any, statement: Any, execution_options: Any, result: Any, options: Any, criteria: Any
    ) -> Any:
        """The result for the user."""
        if not statement._returning:
            return result
        return cls._return_orm_returning(session, statement, {}, execution_options, {}, result)

    @classmethod
    def create_for_statement(cls, statement: Any, compiler: Any, **kw: Any) -> Any:
        self: Any = super().create_for_statement(statement, compiler, **kw)
        if compiler is not None and compiler.stack:
            return self
        strategy = statement._annotations.get("dml_strategy", "raw")
        if strategy == "bulk":
            self._setup_for_bulk_insert(compiler)
        elif strategy == "orm":
            mapper = statement._propagate_attrs["plugin_subject"]
            self.statement = self._setup_orm_returning(
                compiler, self.statement, self.statement, dml_mapper=mapper, use_supplemental_cols=False
            )
        return self

    @classmethod
    def _resolved_keys_as_col_keys(cls, mapper: Mapper[Any], resolved_value_dict: dict[str, Any]) -> dict[str, Any]:
        columns = ((mapper.c.get(key), key, value) for key, value in resolved_value_dict.items())
        return {key if column is None else column.key: value for column, key, value in columns}

    def _setup_for_bulk_insert(self, compiler: Any) -> None:
        """Make the user's statement that of one table of the mapper, with only that table's values."""
        orm_level_statement = self.statement
        table = orm_level_statement._annotations["_emit_insert_table"]
        statement = orm_level_statement._clone()
        statement.table = table
        if self._dict_parameters:
            self._dict_parameters = {
                column: value
                for column, value in self._dict_parameters.items()
                if getattr(column, "table", None) is table
            }
        self.statement = self._setup_orm_returning(
            compiler,
            orm_level_statement,
            statement,
            dml_mapper=orm_level_statement._annotations["_emit_insert_mapper"],
            use_supplemental_cols=True,
        )
        if self.from_statement_ctx is not None and self.from_statement_ctx.compile_options._is_star:
            raise sa_exc.CompileError(
                "Can't use RETURNING * with bulk ORM INSERT.  Please use a different INSERT form, such as "
                "INSERT..VALUES or INSERT with a Core Connection"
            )


class _CriteriaCompileState(_BulkUDCompileState):
    """What compiling UPDATE and DELETE with criteria has in common."""

    mapper: Mapper[Any]
    is_multitable: Any

    def _entity_statement(self, statement: Any, compiler: Any) -> Any:
        """The statement against the mapper's table, with the criteria that belong to the entity."""
        toplevel = not compiler.stack
        entity = statement.table._annotations["parententity"]
        self.mapper = mapper = entity.mapper
        self._init_global_attributes(statement, compiler, toplevel=toplevel, process_criteria_for_toplevel=toplevel)
        new_stmt = statement._clone()
        if entity is mapper:
            new_stmt.table = mapper.local_table
        criteria = self._adjust_for_extra_criteria(self.global_attributes, mapper)
        return new_stmt.where(*criteria) if criteria else new_stmt

    def _with_returning(self, compiler: Any, orm_level_statement: Any, statement: Any, **kw: Any) -> Any:
        """The statement with primary keys in RETURNING for ``fetch``, and with what the user wants returned."""
        toplevel = not compiler.stack
        annotations = compiler._annotations
        fetch = toplevel and annotations.get("synchronize_session") == "fetch"
        keys_too = annotations.get("can_use_returning")
        if keys_too is not False:
            keys_too = fetch and self.can_use_returning(
                compiler.dialect, self.mapper, is_multitable=self.is_multitable, **kw
            )
        if keys_too:
            statement = statement.return_defaults(*statement.table.primary_key)
        if not toplevel:
            return statement
        return self._setup_orm_returning(
            compiler,
            orm_level_statement,
            statement,
            dml_mapper=self.mapper,
            use_supplemental_cols=bool(keys_too),
        )


def _is_core_only(statement: Any, strategy: str) -> bool:
    return strategy == "core_only" or (strategy == "unspecified" and "parententity" not in statement.table._annotations)


@CompileState.plugin_for(COMPILE_STATE_PLUGIN, "update")
class _BulkORMUpdate(_CriteriaCompileState, UpdateDMLState):
    """``update(Entity)``: with criteria ("orm"), or with a list of parameters by primary key ("bulk")."""

    @classmethod
    def create_for_statement(cls, statement: Any, compiler: Any, **kw: Any) -> Any:
        self = cls.__new__(cls)
        strategy = statement._annotations.get("dml_strategy", "unspecified")
        if strategy == "bulk" and not compiler.stack:
            self._setup_for_bulk_update(statement, compiler)
        elif _is_core_only(statement, strategy):
            UpdateDMLState.__init__(self, statement, compiler, **kw)
        elif compiler.stack or strategy in ("orm", "unspecified"):
            self._setup_for_orm_update(statement, compiler)
        return self

    def _setup_for_orm_update(self, statement: Any, compiler: Any) -> None:
        new_stmt = self._entity_statement(statement, compiler)
        if values := self._get_resolved_values(self.mapper, statement):
            _sa.set_update_values(new_stmt, values)
        UpdateDMLState.__init__(self, new_stmt, compiler)
        self.statement = self._with_returning(compiler, statement, new_stmt)

    def _setup_for_bulk_update(self, statement: Any, compiler: Any) -> None:
        """Make the user's statement that of one table of the mapper, with only that table's values."""
        table = statement._annotations["_emit_update_table"]
        statement = statement._clone()
        statement.table = table
        UpdateDMLState.__init__(self, statement, compiler)
        if _sa.has_ordered_values(self):
            raise sa_exc.InvalidRequestError(
                "bulk ORM UPDATE does not support ordered_values() for custom UPDATE statements with bulk parameter "
                "sets.  Use a non-bulk UPDATE statement or use values()."
            )
        if self._dict_parameters:
            self._dict_parameters = {
                column: value
                for column, value in self._dict_parameters.items()
                if getattr(column, "table", None) is table
            }
        self.statement = statement

    @classmethod
    def connects_itself(cls, execution_options: Any) -> bool:
        """Whether rows are updated by primary key: on the lane, where there is one."""
        options = execution_options.get("_sa_orm_update_options")
        return options is not None and options._dml_strategy == "bulk"

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
        options = execution_options.get("_sa_orm_update_options", cls.default_update_options)
        execution_options = _with_populate_existing(execution_options, options)
        if options._dml_strategy not in ("orm", "auto", "bulk", "core_only"):
            raise sa_exc.ArgumentError(
                "Valid strategies for ORM UPDATE strategy are 'orm', 'auto', 'bulk', 'core_only'"
            )
        if options._dml_strategy != "bulk":
            return super().orm_execute_statement(session, statement, params, execution_options, bind_arguments, conn)
        if statement._where_criteria and options._synchronize_session == "evaluate":
            raise sa_exc.InvalidRequestError(
                "bulk synchronize of persistent objects not supported when using bulk update with additional WHERE "
                "criteria right now.  add synchronize_session=None execution option to bypass synchronize of "
                "persistent objects."
            )
        result = _bulk_update(
            options._subject_mapper,
            _as_rows(params),
            session._transaction or session._autobegin_t(),
            isstates=False,
            update_changed_only=False,
            use_orm_update_stmt=statement,
            # with further criteria fewer rows may match
            enable_check_rowcount=not statement._where_criteria,
        )
        return cls.orm_setup_cursor_result(session, statement, params, execution_options, bind_arguments, result)

    @classmethod
    def can_use_returning(
        cls,
        dialect: Any,
        mapper: Mapper[Any],
        *,
        is_multitable: bool = False,
        is_update_from: bool = False,
        is_delete_using: bool = False,
        is_executemany: bool = False,
    ) -> bool:
        if not (dialect.update_returning and mapper.local_table.implicit_returning):
            return False
        if is_executemany:
            return bool(dialect.update_executemany_returning)
        if is_update_from:
            return bool(dialect.update_returning_multifrom)
        if is_multitable and not dialect.update_returning_multifrom:
            raise sa_exc.CompileError(
                f'Dialect "{dialect.name}" does not support RETURNING with UPDATE..FROM; for '
                "synchronize_session='fetch', please add the additional execution option 'is_update_from=True' to the "
                "statement to indicate that a separate SELECT should be used for this backend."
            )
        return True

    # -- synchronizing loaded objects --------------------------------------------------------------------------------

    @classmethod
    def _do_post_synchronize_bulk_evaluate(cls, session: Any, params: Any, result: Any, options: Any) -> None:
        if not params or not session.identity_map:
            return
        mapper = options._subject_mapper
        key_names = [prop.key for prop in mapper._identity_key_props]
        for param in _as_rows(params):
            identity_key = mapper.identity_key_from_primary_key(
                (param[name] for name in key_names), options._identity_token
            )
            obj = session.identity_map.get(identity_key)
            if obj is not None:
                state = attributes.instance_state(obj)
                names = set(param).difference(key_names)
                _store_values(state, {name: param[name] for name in names})

    @classmethod
    def _do_post_synchronize_evaluate(
        cls, session: Any, statement: Any, result: Any, options: Any, matched: list[Any], unknown: list[Any]
    ) -> None:
        cls._apply_update_set_values_to_objects(session, options, statement, result, matched + unknown)

    @classmethod
    def _do_post_synchronize_fetch(cls, session: Any, statement: Any, result: Any, options: Any) -> None:
        states = cls._matched_states(session, result, options)
        if states:
            objects = [state.obj() for state in states]
            cls._apply_update_set_values_to_objects(session, options, statement, result, objects)

    @classmethod
    def _apply_update_set_values_to_objects(
        cls, session: Any, options: Any, statement: Any, result: Any, objects: list[Any]
    ) -> None:
        """Give objects the values that were SET; what Python cannot tell is expired."""
        if not objects:
            return
        mapper = options._subject_mapper
        columns = mapper._columntoproperty
        assigned = cls._resolved_keys_as_propnames(mapper, cls._get_resolved_values(mapper, statement))
        compiler = evaluator._EvaluatorCompiler(mapper.class_)
        functions: dict[str, Any] = {}
        for name, value in assigned:
            try:
                functions[name] = compiler.process(coercions.expect(roles.ExpressionElementRole, value))
            except evaluator.UnevaluatableError:
                continue

        sent = result.context.compiled_parameters[0]
        # values that Python-side onupdate defaults gave
        defaults = {
            columns[column].key: sent[column.key]
            for column in result.prefetch_cols()
            if column.key in sent and column in columns and column.key not in functions
        }
        to_expire = {columns[column].key for column in result.postfetch_cols() if column in columns}
        to_expire.difference_update(functions)
        unknown = {name for name, _ in assigned}.difference(functions)

        is_plain = not (defaults or to_expire or unknown) and not _anyone_hears_refresh(objects)
        if is_plain and _store_columns(mapper, objects, functions):
            session._register_altered(objects)
            return
        states = [attributes.instance_state(obj) for obj in objects]
        for obj, state in zip(objects, states, strict=True):
            dict_ = state.dict
            dict_.update(defaults)
            if to_expire:
                state._expire_attributes(dict_, to_expire)
            _store_values(state, {name: function(obj) for name, function in functions.items() if name in dict_})
            stale = unknown.intersection(dict_)
            if stale:
                state._expire_attributes(dict_, stale)
        session._register_altered(set(states))


def _anyone_hears_refresh(objects: list[Any]) -> bool:
    return any(manager_of_class(class_).dispatch.refresh for class_ in set(map(type, objects)))


def _store_columns(mapper: Mapper[Any], objects: list[Any], functions: dict[str, Any]) -> bool:
    """Whether loaded attributes were given their values, attribute by attribute."""
    manager = mapper.class_manager
    columns = [(manager[name]._index, [function(obj) for obj in objects]) for name, function in functions.items()]
    if any(value is evaluator._EXPIRED_OBJECT for _, values in columns for value in values):
        return False
    for index, values in columns:
        _core.store_synchronized(objects, index, values)
    return True


def _store_values(state: Any, values: dict[str, Any]) -> None:
    """Make values the committed state of loaded attributes; those that were modified are expired instead."""
    dict_ = state.dict
    names = state.unmodified_intersection(values)
    for name in names:
        if name in dict_:
            dict_[name] = values[name]
    state.manager.dispatch.refresh(state, None, names)
    state._commit(dict_, list(names))
    formerly_modified = set(values).intersection(dict_).difference(names)
    if formerly_modified:
        state._expire_attributes(dict_, formerly_modified)


@CompileState.plugin_for(COMPILE_STATE_PLUGIN, "delete")
class _BulkORMDelete(_CriteriaCompileState, DeleteDMLState):
    """``delete(Entity)`` with criteria."""

    @classmethod
    def create_for_statement(cls, statement: Any, compiler: Any, **kw: Any) -> Any:
        self = cls.__new__(cls)
        if _is_core_only(statement, statement._annotations.get("dml_strategy", "unspecified")):
            DeleteDMLState.__init__(self, statement, compiler, **kw)
            return self
        new_stmt = self._entity_statement(statement, compiler)
        DeleteDMLState.__init__(self, new_stmt, compiler, **kw)
        self.statement = self._with_returning(
            compiler,
            statement,
            new_stmt,
            is_delete_using=compiler._annotations.get("is_delete_using", False),
        )
        return self

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
        options = execution_options.get("_sa_orm_update_options", cls.default_update_options)
        if options._dml_strategy == "bulk":
            raise sa_exc.InvalidRequestError(
                "Bulk ORM DELETE not supported right now. Statement may be invoked at the Core level using "
                "session.connection().execute(stmt, parameters)"
            )
        if options._dml_strategy not in ("orm", "auto", "core_only"):
            raise sa_exc.ArgumentError("Valid strategies for ORM DELETE strategy are 'orm', 'auto', 'core_only'")
        return super().orm_execute_statement(session, statement, params, execution_options, bind_arguments, conn)

    @classmethod
    def can_use_returning(
        cls,
        dialect: Any,
        mapper: Mapper[Any],
        *,
        is_multitable: bool = False,
        is_update_from: bool = False,
        is_delete_using: bool = False,
        is_executemany: bool = False,
    ) -> bool:
        if not (dialect.delete_returning and mapper.local_table.implicit_returning):
            return False
        if is_delete_using:
            return bool(dialect.delete_returning_multifrom)
        if is_multitable and not dialect.delete_returning_multifrom:
            raise sa_exc.CompileError(
                f'Dialect "{dialect.name}" does not support RETURNING with DELETE..USING; for '
                "synchronize_session='fetch', please add the additional execution option 'is_delete_using=True' to "
                "the statement to indicate that a separate SELECT should be used for this backend."
            )
        return True

    @classmethod
    def _do_post_synchronize_evaluate(
        cls, session: Any, statement: Any, result: Any, options: Any, matched: list[Any], unknown: list[Any]
    ) -> None:
        for obj in unknown:
            # the next access tells whether the row is still there
            state = attributes.instance_state(obj)
            state._expire(state.dict, session.identity_map._modified)
        if matched:
            session._remove_newly_deleted(matched)

    @classmethod
    def _do_post_synchronize_fetch(cls, session: Any, statement: Any, result: Any, options: Any) -> None:
        deleted = cls._matched_states(session, result, options)
        if deleted:
            session._remove_newly_deleted(deleted)
