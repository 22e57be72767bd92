"""Statement execution of a Session: ORM statements go through their compile-state plugin, others straight to Core."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, TypeVar, overload

from sqlalchemy import util
from sqlalchemy.sql import coercions, roles

from .. import _sa
from . import _core_statements
from ._execute_state import ORMExecuteState
from ._prepared_dml import execute_prepared, may_be_prepared
from ._read_only import refuse_writes
from ._results import FetchedResult, fetched_scalar, fetched_scalars
from ._session_binds import SessionBinds
from ._statement_cache import execute_cached, execute_with_options, is_core_statement, may_be_cached, plain_session
from ._statement_shape import SHAPES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy.engine import Result
    from sqlalchemy.engine.result import ScalarResult
    from sqlalchemy.sql.base import Executable
    from sqlalchemy.sql.selectable import TypedReturnsRows
    from sqlalchemy.util.typing import Never, TupleAny, TypeVarTuple, Unpack

    from .._core import FetchedRows, StatementShapes
    from .._sa import _CoreAnyExecuteParams, _CoreSingleExecuteParams
    from ._typing import OrmExecuteOptionsParameter

    _T = TypeVar("_T", bound=Any)
    _Ts = TypeVarTuple("_Ts")

# do_orm_execute has a listener
_EXECUTE_BIT = 1 << 13


class StatementExecution(SessionBinds):
    """The part of a Session that runs statements."""

    execution_options: Mapping[str, Any]
    _event_bits: int
    dispatch: Any

    if TYPE_CHECKING:
        _uow_read_only: bool

        def _autoflush(self) -> None: ...
        def _uow_select(self, shapes: StatementShapes, statement: Any) -> FetchedRows | None: ...
        def _uow_use(self, function: Callable[..., Any], *args: Any, **kw: Any) -> Any: ...

    @overload
    def execute(
        self,
        statement: TypedReturnsRows[Unpack[_Ts]],
        params: _CoreAnyExecuteParams | None = None,
        *,
        execution_options: OrmExecuteOptionsParameter = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        _parent_execute_state: Any | None = None,
        _add_event: Any | None = None,
    ) -> Result[Unpack[_Ts]]: ...
    @overload
    def execute(
        self,
        statement: Executable,
        params: _CoreAnyExecuteParams | None = None,
        *,
        execution_options: OrmExecuteOptionsParameter = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        _parent_execute_state: Any | None = None,
        _add_event: Any | None = None,
    ) -> Result[Unpack[TupleAny]]: ...
    def execute(
        self,
        statement: Executable,
        params: _CoreAnyExecuteParams | None = None,
        *,
        execution_options: OrmExecuteOptionsParameter = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        _parent_execute_state: Any | None = None,
        _add_event: Any | None = None,
    ) -> Result[Unpack[TupleAny]]:
        """Execute a statement, ORM or Core, and return its Result."""
        if params is None and not (execution_options or bind_arguments or _parent_execute_state or _add_event):
            rows = None if self._uow_read_only else self._uow_select(SHAPES, statement)
            if rows is not None:
                return FetchedResult.of(rows, statement)
        return self._execute_internal(
            statement,
            params,
            execution_options=execution_options,
            bind_arguments=bind_arguments,
            _parent_execute_state=_parent_execute_state,
            _add_event=_add_event,
        )

    @overload
    def scalar(
        self,
        /,
        statement: TypedReturnsRows[Never],
        params: _CoreSingleExecuteParams | None = None,
        *,
        execution_options: OrmExecuteOptionsParameter = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> Any | None: ...
    @overload
    def scalar(
        self,
        /,
        statement: TypedReturnsRows[_T],
        params: _CoreSingleExecuteParams | None = None,
        *,
        execution_options: OrmExecuteOptionsParameter = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> _T | None: ...
    @overload
    def scalar(
        self,
        /,
        statement: Executable,
        params: _CoreSingleExecuteParams | None = None,
        *,
        execution_options: OrmExecuteOptionsParameter = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> Any: ...
    def scalar(
        self,
        /,
        statement: Executable,
        params: _CoreSingleExecuteParams | None = None,
        *,
        execution_options: OrmExecuteOptionsParameter = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> Any:
        """Execute a statement and return the first column of its first row, or None."""
        if params is None and not (execution_options or bind_arguments or kw):
            rows = None if self._uow_read_only else self._uow_select(SHAPES, statement)
            if rows is not None:
                return fetched_scalar(rows, statement)
        return self._execute_internal(
            statement,
            params,
            execution_options=execution_options,
            bind_arguments=bind_arguments,
            _scalar_result=True,
            **kw,
        )

    @overload
    def scalars(
        self,
        /,
        statement: TypedReturnsRows[_T],
        params: _CoreAnyExecuteParams | None = None,
        *,
        execution_options: OrmExecuteOptionsParameter = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> ScalarResult[_T]: ...
    @overload
    def scalars(
        self,
        /,
        statement: Executable,
        params: _CoreAnyExecuteParams | None = None,
        *,
        execution_options: OrmExecuteOptionsParameter = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> ScalarResult[Any]: ...
    def scalars(
        self,
        /,
        statement: Executable,
        params: _CoreAnyExecuteParams | None = None,
        *,
        execution_options: OrmExecuteOptionsParameter = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> ScalarResult[Any]:
        """Execute a statement and return the first elements of its rows."""
        if params is None and not (execution_options or bind_arguments or kw):
            rows = None if self._uow_read_only else self._uow_select(SHAPES, statement)
            if rows is not None:
                return fetched_scalars(rows, statement)
        result: Result[Unpack[TupleAny]] = self._execute_internal(
            statement,
            params,
            execution_options=execution_options,
            bind_arguments=bind_arguments,
            **kw,
        )
        return result.scalars()

    def _execute_internal(
        self,
        statement: Any,
        params: Any = None,
        *,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        _parent_execute_state: ORMExecuteState | None = None,
        _add_event: Any = None,
        _scalar_result: bool = False,
    ) -> Any:
        if self._uow_read_only:
            refuse_writes(statement)
        is_flushed = False
        if not (bind_arguments or _parent_execute_state or _add_event) and plain_session(self):
            result = None
            if may_be_prepared(statement, params):
                if not self._uow_read_only:
                    result = execute_prepared(self, statement, execution_options)
            elif not execution_options:
                if may_be_cached(statement, params):
                    self._autoflush()
                    is_flushed = True
                    result = execute_cached(self, statement, params)
                elif not self._uow_read_only and is_core_statement(statement):
                    self._autoflush()
                    connection = self._connection_for_bind(self.get_bind(clause=statement))
                    result = self._uow_use(_core_statements.execute, connection, statement, params)
            if result is not None:
                return result.scalar() if _scalar_result else result

        statement = coercions.expect(roles.StatementRole, statement)
        bind_arguments = dict(bind_arguments) if bind_arguments else {}

        compile_state_cls = _sa.orm_compile_state_class(statement)
        if compile_state_cls is None:
            bind_arguments.setdefault("clause", statement)
        options = self._options_for(statement, execution_options)

        if _parent_execute_state is not None or _add_event is not None or self._event_bits & _EXECUTE_BIT:
            listeners = self._execute_listeners(_parent_execute_state, _add_event)
            if listeners:
                unprocessed = options
                is_plain = not bind_arguments
                if compile_state_cls is not None:
                    # listeners see load options etc.; what this pass adds must not reach the second one
                    statement, options, params = compile_state_cls.orm_pre_session_exec(
                        self, statement, params, options, bind_arguments, False
                    )
                seen = dict(bind_arguments)
                state = ORMExecuteState(
                    self,  # type: ignore[arg-type]
                    statement,
                    params,
                    options,
                    bind_arguments,
                    compile_state_cls,
                    listeners,
                )
                for index, listener in enumerate(listeners):
                    state._starting_event_idx = index
                    replacement = listener(state)
                    if replacement:
                        return replacement.scalar() if _scalar_result else replacement
                statement = state.statement
                params = state.parameters
                options = unprocessed.union(state._update_execution_options)
                if is_plain and not options and _is_same(bind_arguments, seen) and may_be_cached(statement, params):
                    # nothing is left of the listeners but the statement
                    self._autoflush()
                    is_flushed = True
                    result = execute_cached(self, statement, params)
                    if result is not None:
                        return result.scalar() if _scalar_result else result

        if compile_state_cls is not None:
            statement, options, params = compile_state_cls.orm_pre_session_exec(
                self, statement, params, options, bind_arguments, not is_flushed
            )
        else:
            self._autoflush()

        bind = self.get_bind(**bind_arguments)
        if compile_state_cls is not None and compile_state_cls.runs_on_lane:
            lane = self._lane_on(bind)
            if lane is not None:
                result = execute_with_options(self, lane, statement, params, options, bind_arguments)
                if result is not None:
                    return result.scalar() if _scalar_result else result
        conn: Any = None
        if compile_state_cls is None or "bind" in bind_arguments or not compile_state_cls.connects_itself(options):
            conn = self._connection_for_bind(bind)
        if compile_state_cls is not None:
            result = self._uow_use(
                compile_state_cls.orm_execute_statement,
                self,
                statement,
                params or {},
                options,
                bind_arguments,
                conn,
            )
        elif _scalar_result:
            return self._uow_use(conn.scalar, statement, params or {}, execution_options=options)
        else:
            result = self._uow_use(_core_statements.execute, conn, statement, params, options)
        return result.scalar() if _scalar_result else result

    def _options_for(self, statement: Any, given: Mapping[str, Any]) -> util.immutabledict[str, Any]:
        """Session-wide options, then the statement's, then those of the call; the statement's are left to Core."""
        options = given if isinstance(given, util.immutabledict) else util.immutabledict(given)
        mine = self.execution_options
        if not mine:
            return options
        of_statement = statement._execution_options
        return util.immutabledict({k: v for k, v in mine.items() if k not in of_statement}).union(options)

    def _execute_listeners(self, parent: ORMExecuteState | None, extra: Any) -> list[Any]:
        if parent is not None:
            return parent._remaining_events()
        listeners = list(self.dispatch.do_orm_execute)
        if extra is not None:
            listeners.append(extra)
        return listeners


def _is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(map(operator.is_, one.values(), other.values()))
