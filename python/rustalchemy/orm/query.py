"""``Query``: the statement builder behind ``session.query()``.

It is put together from layers, each in its own module: the state and the statement made from it (``_query_state``), the
methods that return a changed copy (``_query_criteria``), those that run it (``_query_results``), UPDATE and DELETE
(``_query_bulk``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy import Row, log, util
from sqlalchemy.util.typing import TypeVarTuple, Unpack

from .._sa import _self_inspects
from ._query_bulk import BulkDelete, BulkUD, BulkUpdate, _QueryBulk
from .context import FromStatement, QueryContext
from .interfaces import LoaderOption

_T = TypeVar("_T", bound=Any)
_Ts = TypeVarTuple("_Ts")

__all__ = ["AliasOption", "BulkDelete", "BulkUD", "BulkUpdate", "FromStatement", "Query", "QueryContext"]


@_self_inspects
@log.class_logger
class Query(_QueryBulk[_T], Generic[_T]):
    """SELECTs entities and columns for a session; methods return changed copies until one of them runs it."""

    dispatch: Any

    def __init_subclass__(cls, **kw: Any) -> None:
        super().__init_subclass__(**kw)
        cls._may_be_symbolic = False


Query._may_be_symbolic = True


class RowReturningQuery(Query[Row[Unpack[_Ts]]]):
    """A Query that type checkers know to return rows."""

    if TYPE_CHECKING:

        def tuples(self) -> Query[tuple[Unpack[_Ts]]]: ...  # type: ignore[override]


class AliasOption(LoaderOption):
    """Does nothing; old programs make one with ``contains_alias()``."""

    inherit_cache = False

    @util.deprecated(
        "1.4",
        "The :class:`.AliasOption` object is not necessary for entities to be matched up to a query that is "
        "established via :meth:`.Query.from_statement` and now does nothing.",
    )
    def __init__(self, alias: Any) -> None:
        pass

    def process_compile_state(self, compile_state: Any) -> None:
        pass


def contains_alias(alias: Any) -> AliasOption:
    """An option without effect; before 1.4 it said that a query's main table was aliased."""
    return AliasOption(alias)
