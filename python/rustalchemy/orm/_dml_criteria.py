"""UPDATE and DELETE with criteria: options, and how objects in the session learn what the statement did to their rows.

``evaluate`` finds the matching objects in Python before the statement runs; ``fetch`` learns their primary keys from
RETURNING, or from a SELECT sent before; ``auto`` evaluates if it can and fetches otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import exc as sa_exc
from sqlalchemy import util
from sqlalchemy.engine import result as _result
from sqlalchemy.sql import expression, select
from sqlalchemy.sql.base import Options

from .. import _sa
from . import _core_statements, attributes, context, evaluator
from . import exc as orm_exc
from ._dml_state import _ORMDMLState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .mapper import Mapper

# execution options that have a say in how UPDATE and DELETE work
_UPDATE_OPTION_NAMES = {
    "synchronize_session",
    "autoflush",
    "populate_existing",
    "identity_token",
    "is_delete_using",
    "is_update_from",
    "dml_strategy",
}


class _BulkUDCompileState(_ORMDMLState):
    """Compile state of UPDATE and DELETE of an entity."""

    class default_update_options(Options):
        """How one such statement is to be executed."""

        _dml_strategy: Any = "auto"
        _synchronize_session: Any = "auto"
        _can_use_returning: bool = False
        _is_delete_using: bool = False
        _is_update_from: bool = False
        _autoflush: bool = True
        _subject_mapper: Any = None
        _eval_condition: Any = None
        # criteria for the native core: attributes with operators, and the places of the parameters
        _comparisons: Any = None
        _matched_rows: Any = None
        _identity_token: Any = None
        _populate_existing: bool = False

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
        raise NotImplementedError()

    # -- before the statement ----------------------------------------------------------------------------------------

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
        options, execution_options = _BulkUDCompileState.default_update_options.from_execution_options(
            "_sa_orm_update_options", _UPDATE_OPTION_NAMES, execution_options, statement._execution_options
        )
        bind_arguments["clause"] = statement
        subject = statement._propagate_attrs["plugin_subject"]
        if subject:
            bind_arguments["mapper"] = subject.mapper
            options += {"_subject_mapper": subject.mapper}
        options += {"_dml_strategy": cls._choose_strategy(statement, params, options._dml_strategy)}
        cls._check_synchronize(options)

        if flushes:
            if options._autoflush:
                session._autoflush()
            options = cls._before_synchronize(session, statement, params, execution_options, bind_arguments, options)
            statement = statement._annotate(cls.annotations(options))
            execution_options = util.immutabledict(execution_options or {}).union(context._orm_load_exec_options)
        return (
            statement,
            util.immutabledict(execution_options).union({"_sa_orm_update_options": options}),
            params,
        )

    @staticmethod
    def annotations(options: Any) -> dict[str, Any]:
        """What the compiler has to know of the options."""
        return {
            "synchronize_session": options._synchronize_session,
            "is_delete_using": options._is_delete_using,
            "is_update_from": options._is_update_from,
            "dml_strategy": options._dml_strategy,
            "can_use_returning": options._can_use_returning,
        }

    @staticmethod
    def _choose_strategy(statement: Any, params: Any, given: str) -> str:
        if "parententity" not in statement.table._annotations:
            return "core_only"
        if isinstance(params, list):
            return "bulk" if given == "auto" else given
        if given == "bulk":
            raise sa_exc.InvalidRequestError(
                'Can\'t use "bulk" ORM insert strategy without passing separate parameters'
            )
        return "orm" if given == "auto" else given

    @staticmethod
    def _check_synchronize(options: Any) -> None:
        sync = options._synchronize_session
        if sync is None:
            return
        if sync not in ("auto", "evaluate", "fetch", False):
            raise sa_exc.ArgumentError(
                "Valid strategies for session synchronization are 'auto', 'evaluate', 'fetch', False"
            )
        if sync == "fetch" and options._dml_strategy == "bulk":
            raise sa_exc.InvalidRequestError(
                "The 'fetch' synchronization strategy is not available for 'bulk' ORM updates "
                "(i.e. multiple parameter sets)"
            )

    @classmethod
    def _before_synchronize(
        cls, session: Any, statement: Any, params: Any, execution_options: Any, bind_arguments: Any, options: Any
    ) -> Any:
        """The options with what has to be known before the rows change."""
        sync = options._synchronize_session
        if options._dml_strategy == "bulk":
            return options + {"_synchronize_session": "evaluate"} if sync == "auto" else options
        if options._dml_strategy != "orm":
            return options
        if sync in ("auto", "evaluate"):
            try:
                condition = cls._eval_condition_from_statement(options, statement)
            except evaluator.UnevaluatableError as err:
                if sync == "evaluate":
                    raise sa_exc.InvalidRequestError(
                        f"Could not evaluate current criteria in Python: \"{err}\". Specify 'fetch' or False for the "
                        "synchronize_session execution option."
                    ) from err
            else:
                return options + {"_eval_condition": condition, "_synchronize_session": "evaluate"}
        if sync in ("auto", "fetch"):
            options += {"_synchronize_session": "fetch"}
            return cls._do_pre_synchronize_fetch(session, statement, params, execution_options, bind_arguments, options)
        return options

    @classmethod
    def _eval_condition_from_statement(cls, update_options: Any, statement: Any) -> Callable[[Any], Any]:
        mapper = update_options._subject_mapper
        criteria = tuple(statement._where_criteria)
        global_attributes: dict[Any, Any] = {}
        for option in statement._with_options:
            if option._is_criteria_option:
                option.get_global_criteria(global_attributes)
        if global_attributes:
            criteria += cls._adjust_for_extra_criteria(global_attributes, mapper)
        if not criteria:
            return lambda obj: True
        return evaluator._EvaluatorCompiler(mapper.class_).process(*criteria)

    @classmethod
    def _do_pre_synchronize_fetch(
        cls,
        session: Any,
        statement: Any,
        params: Any,
        execution_options: Any,
        bind_arguments: Any,
        update_options: Any,
    ) -> Any:
        mapper = update_options._subject_mapper
        stmt = (
            select(*mapper.primary_key, mapper.select_identity_token)
            .select_from(mapper)
            .options(*statement._with_options)
        )
        stmt._where_criteria = statement._where_criteria
        can_use_returning: bool | None = None

        def skip_for_returning(orm_context: Any) -> Any:
            # runs once a bind, as a sharded session may have several
            nonlocal can_use_returning
            bind = orm_context.session.get_bind(**orm_context.bind_arguments)
            answer = cls.can_use_returning(
                bind.dialect,
                mapper,
                is_update_from=update_options._is_update_from,
                is_delete_using=update_options._is_delete_using,
                is_executemany=orm_context.is_executemany,
            )
            if can_use_returning is not None:
                if can_use_returning != answer:
                    raise sa_exc.InvalidRequestError(
                        "For synchronize_session='fetch', can't mix multiple backends where some support RETURNING "
                        "and others don't"
                    )
            elif orm_context.is_executemany and not answer:
                raise sa_exc.InvalidRequestError(
                    "For synchronize_session='fetch', can't use multiple parameter sets in ORM mode, which this "
                    "backend does not support with RETURNING"
                )
            else:
                can_use_returning = answer
            return _result.null_result() if answer else None

        result = session.execute(
            stmt,
            params,
            execution_options=execution_options,
            bind_arguments=bind_arguments,
            _add_event=skip_for_returning,
        )
        return update_options + {"_matched_rows": result.fetchall(), "_can_use_returning": can_use_returning}

    _send = staticmethod(_core_statements.execute)

    # -- statements that were seen before ----------------------------------------------------------------------------

    @classmethod
    def prepared_options(cls, statement: Any, parameters: Any, dialect: Any, synchronize: Any) -> Any:
        """How every execution of such a statement is done; None if one may be unlike another, or is refused."""
        if cls._choose_strategy(statement, None, "auto") != "orm":
            return None
        mapper = statement._propagate_attrs["plugin_subject"].mapper
        options = cls.default_update_options + {
            "_dml_strategy": "orm",
            "_subject_mapper": mapper,
            "_synchronize_session": synchronize,
        }
        if synchronize in ("auto", "evaluate"):
            try:
                cls._eval_condition_from_statement(options, statement)
            except evaluator.UnevaluatableError:
                if synchronize == "evaluate":
                    return None
            else:
                return options + {
                    "_synchronize_session": "evaluate",
                    "_comparisons": cls._comparisons(mapper, statement, parameters),
                }
        if synchronize in ("auto", "fetch"):
            if not cls.can_use_returning(dialect, mapper):
                return None
            options += {"_synchronize_session": "fetch", "_matched_rows": (), "_can_use_returning": True}
        return options

    @staticmethod
    def _comparisons(
        mapper: Mapper[Any], statement: Any, parameters: Any
    ) -> tuple[list[tuple[int, int]], list[int]] | None:
        """Criteria as the native core takes them; None if they have to be evaluated in Python."""
        found = evaluator._EvaluatorCompiler(mapper.class_).comparisons(statement._where_criteria)
        if found is None:
            return None
        place_of = {id(parameter): place for place, parameter in enumerate(parameters)}
        manager = mapper.class_manager
        try:
            places = [place_of[id(parameter)] for _, _, parameter in found]
        except KeyError:
            return None
        return [(manager[name]._index, number) for name, number, _ in found], places

    @classmethod
    def before_prepared(cls, options: Any, statement: Any, parameters: Any) -> Any:
        """What has to be known of the criteria before the rows change."""
        if options._synchronize_session != "evaluate":
            return None
        if options._comparisons is None:
            return cls._eval_condition_from_statement(options, statement)
        found = [parameters[place] for place in options._comparisons[1]]
        return [bind.value if bind.callable is None else bind.callable() for bind in found]

    @classmethod
    def after_prepared(
        cls, session: Any, statement: Any, execution_options: Any, result: Any, options: Any, criteria: Any
    ) -> Any:
        """The result for the user, of a statement of which loaded objects have learnt."""
        sync = options._synchronize_session
        if sync == "evaluate":
            mapper = options._subject_mapper
            if options._comparisons is None:
                matched, unknown = cls._matching(session, mapper, criteria)
            else:
                matched, unknown = session._uow_matching(mapper.class_manager, options._comparisons[0], criteria)
            if matched or unknown:
                cls._do_post_synchronize_evaluate(session, statement, result, options, matched, unknown)
        elif sync == "fetch":
            cls._do_post_synchronize_fetch(session, statement, result, options)
        if not statement._returning:
            return result
        return cls._return_orm_returning(session, statement, {}, execution_options, {}, result)

    # -- after the statement -----------------------------------------------------------------------------------------

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
        options = execution_options["_sa_orm_update_options"]
        sync = options._synchronize_session
        if options._dml_strategy == "bulk":
            if sync == "evaluate":
                cls._do_post_synchronize_bulk_evaluate(session, params, result, options)
            return result
        if options._dml_strategy == "orm":
            if sync == "evaluate":
                matched, unknown = cls._matching(
                    session, options._subject_mapper, options._eval_condition, options._identity_token
                )
                cls._do_post_synchronize_evaluate(session, statement, result, options, matched, unknown)
            elif sync == "fetch":
                cls._do_post_synchronize_fetch(session, statement, result, options)
        return cls._return_orm_returning(session, statement, params, execution_options, bind_arguments, result)

    @classmethod
    def _do_post_synchronize_evaluate(
        cls, session: Any, statement: Any, result: Any, options: Any, matched: list[Any], unknown: list[Any]
    ) -> None:
        """Let loaded objects learn of it: those that the criteria are true of, and those of which they cannot tell."""
        raise NotImplementedError()

    @classmethod
    def _do_post_synchronize_fetch(cls, session: Any, statement: Any, result: Any, options: Any) -> None:
        raise NotImplementedError()

    @classmethod
    def _do_post_synchronize_bulk_evaluate(cls, session: Any, params: Any, result: Any, options: Any) -> None:
        raise NotImplementedError()

    @staticmethod
    def _matching(session: Any, mapper: Any, condition: Any, token: Any = None) -> tuple[list[Any], list[Any]]:
        """Loaded objects that the statement has matched, and those of which Python cannot tell."""
        matched = []
        unknown = []
        for obj in session._uow_unexpired(mapper.class_manager):
            if token is not None and attributes.instance_state(obj).identity_token != token:
                continue
            answer = condition(obj)
            if answer is True:
                matched.append(obj)
            elif answer is evaluator._EXPIRED_OBJECT:
                unknown.append(obj)
        return matched, unknown

    @classmethod
    def _matched_states(cls, session: Any, result: Any, update_options: Any) -> list[Any]:
        """States of the loaded objects whose rows RETURNING, or the SELECT before, reported."""
        mapper = update_options._subject_mapper
        token = update_options._identity_token
        returned = result.returned_defaults_rows
        if returned:
            rows = [(*row, token) for row in cls._interpret_returning_rows(result, mapper, returned)]
        else:
            rows = [tuple(row) for row in update_options._matched_rows]
        keys = (
            mapper.identity_key_from_primary_key(list(row[:-1]), identity_token=row[-1])
            for row in rows
            if token is None or row[-1] == token
        )
        found = map(session.identity_map.get, keys)
        return [attributes.instance_state(obj) for obj in found if obj is not None]

    @classmethod
    def _interpret_returning_rows(cls, result: Any, mapper: Mapper[Any], rows: Any) -> list[Any]:
        if mapper.local_table is not mapper.base_mapper.local_table:
            columns = mapper.local_table.primary_key
        else:
            columns = mapper.primary_key
        try:
            primary_key_of = result._tuple_getter(columns)
        except KeyError:
            # the database said that it cannot return these columns
            return []
        return [primary_key_of(row) for row in rows]

    # -- criteria and values -----------------------------------------------------------------------------------------

    @classmethod
    def _adjust_for_extra_criteria(cls, global_attributes: dict[Any, Any], ext_info: Any) -> tuple[Any, ...]:
        """Criteria of ``with_loader_criteria()`` and of single-table inheritance for the entity."""
        mapper = ext_info.mapper
        criteria = tuple(
            option._resolve_where_criteria(ext_info)
            for option in global_attributes.get(("additional_entity_criteria", mapper), ())
            if option.include_aliases or option.entity is ext_info
        )
        if mapper._single_table_criterion is not None:
            criteria += (mapper._single_table_criterion,)
        if ext_info.is_aliased_class:
            criteria = tuple(ext_info._adapter.traverse(crit) for crit in criteria)
        return criteria

    @classmethod
    def _get_resolved_values(cls, mapper: Mapper[Any], statement: Any) -> list[tuple[Any, Any]]:
        return [] if statement._multi_values else _sa.update_values(statement)

    @classmethod
    def _resolved_keys_as_propnames(
        cls, mapper: Mapper[Any], resolved_values: Iterable[tuple[Any, Any]]
    ) -> list[tuple[str, Any]]:
        values = []
        for key, value in resolved_values:
            if not mapper or not isinstance(key, expression.ColumnElement):
                raise sa_exc.InvalidRequestError(
                    f"Attribute name not found, can't be synchronized back to objects: {key!r}"
                )
            try:
                attr = mapper._columntoproperty.of(key)
            except orm_exc.UnmappedColumnError:
                continue
            values.append((attr.key, value))
        return values
