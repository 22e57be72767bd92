"""The methods of Query that run it, and those that turn it into a part of another statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar, overload

from sqlalchemy import exc as sa_exc
from sqlalchemy import sql, util
from sqlalchemy.sql.selectable import LABEL_STYLE_TABLENAME_PLUS_COL

from . import loading
from ._entities import _getitem
from ._prepared_loads import NO_LANE
from ._query_criteria import _QueryCriteria
from ._query_lane import ALL, COUNT, FIRST, is_plain
from ._read_only import refuse_writes
from ._statement_cache import execute_cached, may_be_cached
from .context import QueryContext, _column_descriptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy.engine import CursorResult
    from sqlalchemy.sql.dml import UpdateBase
    from sqlalchemy.sql.elements import Label
    from sqlalchemy.sql.expression import Exists
    from sqlalchemy.sql.selectable import CTE, ScalarSelect, Select, Subquery
    from sqlalchemy.util.typing import Self

    from .._sa import _MAYBE_ENTITY, _NOT_ENTITY, _ColumnExpressionArgument, _ColumnsClauseArgument
    from .context import FromStatement
    from .interfaces import ORMColumnDescription
    from .query import Query


_T = TypeVar("_T", bound=Any)


class _QueryResults(_QueryCriteria[_T]):
    """Methods that send the statement, or give it to another one."""

    # an event is listened to; set once and for all by QueryEvents
    _has_listeners = False

    # -- running it ---------------------------------------------------------------------------------------------------

    def _iter(self) -> Any:
        """The Result of this query: objects when it selects a single entity, else rows."""
        statement = self._statement_20()
        session = self.session
        options = self.load_options
        result: Any = None
        if options is _QueryCriteria.load_options and is_plain(session) and may_be_cached(statement, self._params):
            if session._uow_read_only:
                refuse_writes(statement)
            session._autoflush()
            result = execute_cached(session, statement, self._params, options)
            if result is None:
                options += {"_autoflush": False}
        if result is None:
            result = session.execute(statement, self._params, execution_options={"_sa_orm_load_options": options})
        if result._attributes.get("is_single_entity", False):
            result = result.scalars()
        if result._attributes.get("filtered", False) and not self.load_options._yield_per:
            result = result.unique()
        return result

    def __iter__(self) -> Iterator[_T]:
        rows = self._lane_rows()
        if rows is not None:
            yield from rows
            return
        result = self._iter()
        try:
            yield from result
        except GeneratorExit:
            # the loop was left early: give the connection's cursor back now
            result._soft_close()
            raise

    def filter(self, *criterion: _ColumnExpressionArgument[bool]) -> Self:
        """Add criteria to WHERE, joined by AND."""
        if self._symbolic is not None:
            symbolic = self._with_criteria(criterion)
            if symbolic is not None:
                return symbolic
        return super().filter(*criterion)

    def _lane_rows(self, fetched: int = ALL) -> list[Any] | None:
        """The objects found, each once, or a row with their number, if the short way can be taken; None if not."""
        symbolic = self._symbolic
        if symbolic is None or self._has_listeners:
            return None
        rows = symbolic.rows(self.session, fetched)
        if rows is not None:
            return rows
        rows = symbolic.lane.rows(self, symbolic, fetched)
        if rows is not NO_LANE:
            return rows
        full = self._copy()
        full = full._counting() if fetched == COUNT else full.limit(1) if fetched == FIRST else full._generate()
        full.load_options += {"_autoflush": False}
        return list(full._iter().all())

    def all(self) -> list[_T]:
        """Return everything as a list."""
        rows = self._lane_rows()
        if rows is not None:
            return rows
        found: list[_T] = self._iter().all()
        return found

    def first(self) -> _T | None:
        """Return the first object or row, or None; the statement gets LIMIT 1."""
        rows = self._lane_rows(FIRST)
        if rows is not None:
            return rows[0] if rows else None
        query = self if self._statement is not None else self.limit(1)
        return query._iter().first()

    def one(self) -> _T:
        """Return the only object or row.

        :raises NoResultFound: if there is none.
        :raises MultipleResultsFound: if there is more than one.
        """
        rows = self._lane_rows()
        if rows is None:
            return self._iter().one()
        if not rows:
            raise sa_exc.NoResultFound("No row was found when one was required")
        if len(rows) > 1:
            raise sa_exc.MultipleResultsFound("Multiple rows were found when exactly one was required")
        return rows[0]

    def one_or_none(self) -> _T | None:
        """Return the only object or row, or None.

        :raises MultipleResultsFound: if there is more than one.
        """
        rows = self._lane_rows()
        if rows is None:
            return self._iter().one_or_none()
        if len(rows) > 1:
            raise sa_exc.MultipleResultsFound("Multiple rows were found when one or none was required")
        return rows[0] if rows else None

    def scalar(self) -> Any:
        """Return the first column of the only row, or None if there is no row.

        :raises MultipleResultsFound: if there is more than one row.
        """
        try:
            found = self.one()
        except sa_exc.NoResultFound:
            return None
        return found[0] if isinstance(found, Sequence) else found

    def count(self) -> int:
        """Return how many rows the statement has, by SELECT count(*) around it."""
        rows = self._lane_rows(COUNT)
        number: int = self._counting().scalar() if rows is None else rows[0][0]
        return number

    def _counting(self) -> Self:
        """A query for the number of rows."""
        count_all = sql.func.count(sql.literal_column("*"))
        return self._legacy_from_self(count_all).enable_eagerloads(False)

    @overload
    def __getitem__(self, item: slice) -> list[_T]: ...
    @overload
    def __getitem__(self, item: SupportsIndex) -> _T: ...
    def __getitem__(self, item: Any) -> Any:
        return _getitem(self, item)

    @util.became_legacy_20(
        ":meth:`_orm.Query.get`", alternative="The method is now available as :meth:`_orm.Session.get`"
    )
    def get(self, ident: Any) -> _T | None:
        """Return the object with this primary key, or None: from the session if it is there."""
        symbolic = self._symbolic
        if symbolic is not None and not symbolic.values and not symbolic.is_limited:
            return self.session._get_impl(symbolic.lane.mapper, ident, loading._load_on_pk_identity)
        self._no_criterion_assertion("get", order_by=False, distinct=False)
        return self._get_impl(ident, loading._load_on_pk_identity)

    def _get_impl(self, primary_key_identity: Any, db_load_fn: Callable[..., Any], identity_token: Any = None) -> Any:
        mapper = self._only_full_mapper_zero("get")
        return self.session._get_impl(
            mapper,
            primary_key_identity,
            db_load_fn,
            populate_existing=self.load_options._populate_existing,
            with_for_update=self._for_update_arg,
            options=self._with_options,
            identity_token=identity_token,
            execution_options=self._execution_options,
        )

    # -- as a part of another statement -------------------------------------------------------------------------------

    def __clause_element__(self) -> Select[_T] | FromStatement | UpdateBase:
        query = self._with_compile_options(_enable_eagerloads=False, _render_for_subquery=True)
        return query.set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL).statement

    @property
    def selectable(self) -> Select[_T] | FromStatement | UpdateBase:
        """The Select this query is inside another statement."""
        return self.__clause_element__()

    def _plain_select(self) -> Select[Any]:
        return self.enable_eagerloads(False)._get_select_statement_only()

    def subquery(self, name: str | None = None, with_labels: bool = False, reduce_columns: bool = False) -> Subquery:
        """Return the SELECT as a named subquery."""
        query = self.enable_eagerloads(False)
        if with_labels:
            query = query.set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
        stmt = query._get_select_statement_only()
        if reduce_columns:
            stmt = stmt.reduce_columns()
        return stmt.subquery(name=name)

    def cte(self, name: str | None = None, recursive: bool = False, nesting: bool = False) -> CTE:
        """Return the SELECT as a common table expression."""
        return self._plain_select().cte(name=name, recursive=recursive, nesting=nesting)

    def label(self, name: str | None) -> Label[Any]:
        """Return the SELECT as a scalar subquery with a label."""
        return self._plain_select().label(name)

    @overload
    def scalar_subquery(self: Query[tuple[_MAYBE_ENTITY]]) -> ScalarSelect[Any]: ...  # type: ignore[misc]
    @overload
    def scalar_subquery(self: Query[tuple[_NOT_ENTITY]]) -> ScalarSelect[_NOT_ENTITY]: ...  # type: ignore[misc]
    @overload
    def scalar_subquery(self) -> ScalarSelect[Any]: ...
    def scalar_subquery(self) -> ScalarSelect[Any]:
        """Return the SELECT as a scalar subquery."""
        return self._plain_select().scalar_subquery()

    @overload
    def as_scalar(self: Query[tuple[_MAYBE_ENTITY]]) -> ScalarSelect[_MAYBE_ENTITY]: ...  # type: ignore[misc]
    @overload
    def as_scalar(self: Query[tuple[_NOT_ENTITY]]) -> ScalarSelect[_NOT_ENTITY]: ...  # type: ignore[misc]
    @overload
    def as_scalar(self) -> ScalarSelect[Any]: ...
    @util.deprecated(
        "1.4",
        "The :meth:`_query.Query.as_scalar` method is deprecated and will be removed in a future release.  "
        "Please refer to :meth:`_query.Query.scalar_subquery`.",
    )
    def as_scalar(self) -> ScalarSelect[Any]:
        """Return the SELECT as a scalar subquery."""
        return self.scalar_subquery()

    def exists(self) -> Exists:
        """Return EXISTS around this query."""
        query = self.enable_eagerloads(False).add_columns(sql.literal_column("1"))
        inner = query.set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)._get_select_statement_only().with_only_columns(1)
        entity = self._entity_from_pre_ent_zero()
        return sql.exists(inner if entity is None else inner.select_from(entity))

    # -- looking at it, and older ways to run it ----------------------------------------------------------------------

    @property
    def column_descriptions(self) -> list[ORMColumnDescription]:
        """What each column of a row will be: name, type, entity, expression, whether it is an alias."""
        return _column_descriptions(self, legacy=True)

    def __str__(self) -> str:
        statement = self._statement_20()
        try:
            bind = self.session.get_bind(clause=statement) if self.session else None
        except sa_exc.UnboundExecutionError:
            bind = None
        return str(statement.compile(bind))

    @util.deprecated(
        "1.4",
        ":meth:`_query.Query.values` is deprecated and will be removed in a future release.  "
        "Please use :meth:`_query.Query.with_entities`",
    )
    def values(self, *columns: _ColumnsClauseArgument[Any]) -> Iterable[Any]:
        """Return an iterator over rows of these columns."""
        return self._values_no_warn(*columns)

    _values = values

    def _values_no_warn(self, *columns: Any) -> Iterator[Any]:
        if not columns:
            return iter(())
        query = self._clone().enable_eagerloads(False)
        query._set_entities(columns)
        if not query.load_options._yield_per:
            query.load_options += {"_yield_per": 10}
        return iter(query)

    @util.deprecated(
        "1.4",
        ":meth:`_query.Query.value` is deprecated and will be removed in a future release.  "
        "Please use :meth:`_query.Query.with_entities` in combination with :meth:`_query.Query.scalar`",
    )
    def value(self, column: _ColumnExpressionArgument[Any]) -> Any:
        """Return this column of the first row, or None."""
        for row in self._values_no_warn(column):
            return row[0]
        return None

    @util.deprecated(
        "2.0",
        "The :meth:`_orm.Query.instances` method is deprecated and will be removed in a future release. "
        "Use the Select.from_statement() method or aliased() construct in conjunction with Session.execute() instead.",
    )
    def instances(self, result_proxy: CursorResult[Any], context: QueryContext | None = None) -> Any:
        """Load the query's entities from a cursor result."""
        if context is None:
            util.warn_deprecated(
                "Using the Query.instances() method without a context is deprecated and will be disallowed in a "
                "future release.  Please make use of :meth:`_query.Query.from_statement` for linking ORM results to "
                "arbitrary select constructs.",
                version="1.4",
            )
            context = self._compile_context()
        result = loading.instances(result_proxy, context)
        if result._attributes.get("is_single_entity", False):
            result = result.scalars()
        if result._attributes.get("filtered", False):
            result = result.unique()
        return result

    @util.became_legacy_20(
        ":meth:`_orm.Query.merge_result`",
        alternative="The method is superseded by the :func:`_orm.merge_frozen_result` function.",
        enable_warnings=False,
    )
    def merge_result(self, iterator: Any, load: bool = True) -> Any:
        """Merge objects or rows of an earlier result into this query's session."""
        return loading.merge_result(self, iterator, load)
