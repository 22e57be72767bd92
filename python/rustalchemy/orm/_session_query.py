"""How a Session makes its queries, with the types that checkers infer of entities and columns."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar, overload

from .. import _core

if TYPE_CHECKING:
    from sqlalchemy.sql.roles import TypedColumnsClauseRole
    from sqlalchemy.util.typing import TupleAny, Unpack

    from .._sa import _ColumnsClauseArgument
    from .._sa import _TypedColumnClauseArgument as _TCCA
    from ._typing import _O, _EntityType
    from .query import Query, RowReturningQuery

    _T = TypeVar("_T", bound=Any)
    _T0 = TypeVar("_T0", bound=Any)
    _T1 = TypeVar("_T1", bound=Any)
    _T2 = TypeVar("_T2", bound=Any)
    _T3 = TypeVar("_T3", bound=Any)
    _T4 = TypeVar("_T4", bound=Any)
    _T5 = TypeVar("_T5", bound=Any)
    _T6 = TypeVar("_T6", bound=Any)
    _T7 = TypeVar("_T7", bound=Any)


@functools.cache
def _default_query_cls() -> type[Query[Any]]:
    from .query import Query

    return Query


class QueryFactory:
    """The part of a Session that makes queries."""

    _given_query_cls: type[Query[Any]] | None = None

    @overload
    def query(self, _entity: _EntityType[_O]) -> Query[_O]: ...
    @overload
    def query(self, _colexpr: TypedColumnsClauseRole[_T]) -> RowReturningQuery[_T]: ...
    @overload
    def query(self, __ent0: _TCCA[_T0], __ent1: _TCCA[_T1], /) -> RowReturningQuery[_T0, _T1]: ...
    @overload
    def query(
        self, __ent0: _TCCA[_T0], __ent1: _TCCA[_T1], __ent2: _TCCA[_T2], /
    ) -> RowReturningQuery[_T0, _T1, _T2]: ...
    @overload
    def query(
        self, __ent0: _TCCA[_T0], __ent1: _TCCA[_T1], __ent2: _TCCA[_T2], __ent3: _TCCA[_T3], /
    ) -> RowReturningQuery[_T0, _T1, _T2, _T3]: ...
    @overload
    def query(
        self, __ent0: _TCCA[_T0], __ent1: _TCCA[_T1], __ent2: _TCCA[_T2], __ent3: _TCCA[_T3], __ent4: _TCCA[_T4], /
    ) -> RowReturningQuery[_T0, _T1, _T2, _T3, _T4]: ...
    @overload
    def query(
        self,
        __ent0: _TCCA[_T0],
        __ent1: _TCCA[_T1],
        __ent2: _TCCA[_T2],
        __ent3: _TCCA[_T3],
        __ent4: _TCCA[_T4],
        __ent5: _TCCA[_T5],
        /,
    ) -> RowReturningQuery[_T0, _T1, _T2, _T3, _T4, _T5]: ...
    @overload
    def query(
        self,
        __ent0: _TCCA[_T0],
        __ent1: _TCCA[_T1],
        __ent2: _TCCA[_T2],
        __ent3: _TCCA[_T3],
        __ent4: _TCCA[_T4],
        __ent5: _TCCA[_T5],
        __ent6: _TCCA[_T6],
        /,
    ) -> RowReturningQuery[_T0, _T1, _T2, _T3, _T4, _T5, _T6]: ...
    @overload
    def query(
        self,
        __ent0: _TCCA[_T0],
        __ent1: _TCCA[_T1],
        __ent2: _TCCA[_T2],
        __ent3: _TCCA[_T3],
        __ent4: _TCCA[_T4],
        __ent5: _TCCA[_T5],
        __ent6: _TCCA[_T6],
        __ent7: _TCCA[_T7],
        /,
        *entities: _ColumnsClauseArgument[Any],
    ) -> RowReturningQuery[_T0, _T1, _T2, _T3, _T4, _T5, _T6, _T7, Unpack[TupleAny]]: ...
    @overload
    def query(self, *entities: _ColumnsClauseArgument[Any], **kwargs: Any) -> Query[Any]: ...
    def query(self, *entities: _ColumnsClauseArgument[Any], **kwargs: Any) -> Query[Any]:
        """A Query over entities and columns."""
        if self._given_query_cls is None and not kwargs:
            query = _core.symbolic_query(self, entities)
            if query is not None:
                return query
        return (self._given_query_cls or _default_query_cls())(entities, self, **kwargs)  # type: ignore[arg-type]

    @property
    def _query_cls(self) -> type[Query[Any]]:
        return self._given_query_cls or _default_query_cls()
