"""Statement execution of an AsyncSession: results that are there, and such as are fetched while awaited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, overload

from sqlalchemy import util
from sqlalchemy.util import greenlet_spawn

from ..._sa_asyncio import _ensure_sync_result
from ._typing import T
from .result import AsyncResult, AsyncScalarResult

if TYPE_CHECKING:
    from sqlalchemy.engine import Result, ScalarResult
    from sqlalchemy.sql.base import Executable
    from sqlalchemy.sql.selectable import TypedReturnsRows
    from sqlalchemy.util.typing import Never, TupleAny, TypeVarTuple, Unpack

    from ...orm import Session

    _Ts = TypeVarTuple("_Ts")

# all rows are fetched before the greenlet ends: reading a result must not wait for the driver
_EXECUTE_OPTIONS: Final = util.immutabledict({"prebuffer_rows": True})
_STREAM_OPTIONS: Final = util.immutabledict({"stream_results": True})


def _with(given: Mapping[str, Any], added: util.immutabledict[str, bool]) -> Mapping[str, Any]:
    return util.immutabledict(given).union(added) if given else added


class AsyncExecution:
    """The part of an AsyncSession that runs statements."""

    sync_session: Session

    @overload
    async def execute(
        self,
        /,
        statement: TypedReturnsRows[Unpack[_Ts]],
        params: Any = None,
        *,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> Result[Unpack[_Ts]]: ...
    @overload
    async def execute(
        self,
        /,
        statement: Executable,
        params: Any = None,
        *,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> Result[Unpack[TupleAny]]: ...
    async def execute(
        self,
        /,
        statement: Executable,
        params: Any = None,
        *,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> Result[Unpack[TupleAny]]:
        """Execute a statement and return its buffered Result.

        AsyncMethodRequired is raised for a result of a server-side cursor: that is what ``stream()`` is for.
        """
        result = await greenlet_spawn(
            self.sync_session.execute,
            statement,
            params=params,
            execution_options=_with(execution_options, _EXECUTE_OPTIONS),
            bind_arguments=bind_arguments,
            **kw,
        )
        return await _ensure_sync_result(result, self.execute)

    @overload
    async def scalar(
        self,
        /,
        statement: TypedReturnsRows[Never],
        params: Any = None,
        *,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> Any | None: ...
    @overload
    async def scalar(
        self,
        /,
        statement: TypedReturnsRows[T],
        params: Any = None,
        *,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> T | None: ...
    @overload
    async def scalar(
        self,
        /,
        statement: Executable,
        params: Any = None,
        *,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> Any: ...
    async def scalar(
        self,
        /,
        statement: Executable,
        params: Any = None,
        *,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> Any:
        """Execute a statement and return the first column of its first row, or None."""
        return await greenlet_spawn(
            self.sync_session.scalar,
            statement,
            params=params,
            execution_options=_with(execution_options, _EXECUTE_OPTIONS),
            bind_arguments=bind_arguments,
            **kw,
        )

    @overload
    async def scalars(
        self,
        /,
        statement: TypedReturnsRows[T],
        params: Any = None,
        *,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> ScalarResult[T]: ...
    @overload
    async def scalars(
        self,
        /,
        statement: Executable,
        params: Any = None,
        *,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> ScalarResult[Any]: ...
    async def scalars(
        self,
        /,
        statement: Executable,
        params: Any = None,
        *,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> ScalarResult[Any]:
        """Execute a statement and return the first elements of its rows, which are fetched already."""
        result = await self.execute(
            statement, params=params, execution_options=execution_options, bind_arguments=bind_arguments, **kw
        )
        return result.scalars()

    @overload
    async def stream(
        self,
        /,
        statement: TypedReturnsRows[Unpack[_Ts]],
        params: Any = None,
        *,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> AsyncResult[Unpack[_Ts]]: ...
    @overload
    async def stream(
        self,
        /,
        statement: Executable,
        params: Any = None,
        *,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> AsyncResult[Unpack[TupleAny]]: ...
    async def stream(
        self,
        /,
        statement: Executable,
        params: Any = None,
        *,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> AsyncResult[Unpack[TupleAny]]:
        """Execute a statement and return an AsyncResult, which fetches rows from the driver as they are asked for."""
        result = await greenlet_spawn(
            self.sync_session.execute,
            statement,
            params=params,
            execution_options=_with(execution_options, _STREAM_OPTIONS),
            bind_arguments=bind_arguments,
            **kw,
        )
        return AsyncResult(result)

    @overload
    async def stream_scalars(
        self,
        /,
        statement: TypedReturnsRows[T],
        params: Any = None,
        *,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> AsyncScalarResult[T]: ...
    @overload
    async def stream_scalars(
        self,
        /,
        statement: Executable,
        params: Any = None,
        *,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> AsyncScalarResult[Any]: ...
    async def stream_scalars(
        self,
        /,
        statement: Executable,
        params: Any = None,
        *,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
        **kw: Any,
    ) -> AsyncScalarResult[Any]:
        """``stream()`` of the first elements of rows."""
        result = await self.stream(
            statement, params=params, execution_options=execution_options, bind_arguments=bind_arguments, **kw
        )
        return result.scalars()
