"""Results of ORM statements: Core's ``Result`` classes over rows that the native core made.

They change how ``Row`` and ``RowMapping`` objects come to be where tuples only have to be wrapped; with uniqueness,
``columns()`` and single entities everything is Core's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Optional

from sqlalchemy import exc as sa_exc
from sqlalchemy.engine.result import ChunkedIteratorResult, IteratorResult, MappingResult, ScalarResult
from sqlalchemy.engine.row import Row, RowMapping
from sqlalchemy.util import has_compiled_ext

from .. import _core, _sa

if TYPE_CHECKING:
    from ._row_plans import StatementPlan
    from .context import QueryContext

# whether making a Row runs no Python code
_ROWS_ARE_COMPILED = has_compiled_ext()


def _row_maker(result: Any, of_result: Any, row_class: type[Any]) -> Optional[_core.RowMaker]:
    """What makes the rows of a result, or of a view of it; None if Core has to do that."""
    metadata = result._metadata
    if (
        not _ROWS_ARE_COMPILED
        or of_result._source_supports_scalars
        or result._unique_filter_state is not None
        or metadata._tuplefilter is not None
        or metadata._effective_processors is not None
    ):
        return None
    return _core.RowMaker(row_class, metadata, metadata._key_to_index)


class _Mappings(MappingResult):
    """``Result.mappings()``."""

    __slots__ = ()

    def _allrows(self) -> Sequence[Any]:
        maker = _row_maker(self, self._real_result, RowMapping)
        return super()._allrows() if maker is None else maker.rows(self._fetchall_impl())


class _Scalars(ScalarResult[Any]):
    """``Result.scalars()`` of a column."""

    __slots__ = ()

    def _allrows(self) -> Sequence[Any]:
        real = self._real_result
        if real is None or real._source_supports_scalars or self._unique_filter_state is not None:
            return super()._allrows()
        # the metadata is that of the one column, and knows where it stands in the rows
        column = self._metadata._tuplefilter
        rows = self._fetchall_impl()
        return list(map(itemgetter(0), rows if column is None else map(column, rows)))


class _NativeRows(IteratorResult[Any]):
    """A Result whose rows are made natively."""

    def _allrows(self) -> Sequence[Any]:
        maker = _row_maker(self, self, Row)
        return super()._allrows() if maker is None else maker.rows(self._fetchall_impl())

    def _iter_impl(self) -> Iterator[Any]:
        maker = _row_maker(self, self, Row)
        return super()._iter_impl() if maker is None else maker.iterate(self._fetchiter_impl())

    def mappings(self) -> MappingResult:
        return _Mappings(self)

    def scalars(self, index: Any = 0) -> Any:
        return _Scalars(self, index)


class ChunkedResult(_NativeRows, ChunkedIteratorResult[Any]):
    """A Result over rows that arrive in chunks."""


class FetchedResult(_NativeRows):
    """A Result over rows that were fetched as a whole."""

    def __init__(
        self,
        metadata: Any,
        rows: Iterator[Any],
        single_entity: bool,
        context: Any = None,
        multiplies_rows: bool = False,
    ) -> None:
        super().__init__(metadata, rows, _source_supports_scalars=single_entity)
        self.context = context
        if multiplies_rows:
            self._unique_filter_state = (set(), _require_unique)

    @classmethod
    def of(cls, rows: _core.FetchedRows, statement: Any) -> FetchedResult:
        """The result of a statement that the native core has run."""
        plan = rows.ready.plan
        result = cls(plan.named(rows.ready.metadata, statement), rows, plan.single_entity)
        if rows.is_closed:
            result._soft_close(hard=True)
        return result


class _FetchedScalars(_Scalars):
    """``scalars()`` of objects that the native core has fetched; no Result stands behind it before one is needed."""

    __slots__ = ("_result", "_rows", "_statement")

    def __init__(self, rows: _core.FetchedRows, statement: Any) -> None:
        self._rows = rows
        self._statement = statement
        self._result: Optional[FetchedResult] = None
        self._metadata = rows.ready.metadata
        self._post_creational_filter = None
        self._unique_filter_state = None

    @property
    def _real_result(self) -> Any:
        result = self._result
        if result is None:
            result = self._result = FetchedResult.of(self._rows, self._statement)
        return result

    @_real_result.setter
    def _real_result(self, result: Any) -> None:
        self._result = result

    def one(self) -> Any:
        if self._result is None and self._unique_filter_state is None:
            found = self._rows.take_one()
            if found is not NotImplemented:
                return found
        return super().one()

    def one_or_none(self) -> Any:
        if self._result is None and self._unique_filter_state is None:
            found = self._rows.take_one()
            if found is not NotImplemented:
                return found
        return super().one_or_none()

    def first(self) -> Any:
        if self._result is None and self._unique_filter_state is None:
            found = self._rows.take_one(any=True)
            if found is not NotImplemented:
                return found
        return super().first()

    def _allrows(self) -> Sequence[Any]:
        if self._result is None and self._unique_filter_state is None and not self._rows.is_closed:
            return self._rows.take()
        return super()._allrows()


def fetched_scalar(rows: _core.FetchedRows, statement: Any) -> Any:
    """``scalar()`` of what the native core has fetched."""
    if rows.ready.plan.single_entity:
        return _FetchedScalars(rows, statement).first()
    return FetchedResult.of(rows, statement).scalar()


def fetched_scalars(rows: _core.FetchedRows, statement: Any) -> Any:
    """``scalars()`` of what the native core has fetched."""
    if rows.ready.plan.single_entity:
        return _FetchedScalars(rows, statement)
    return FetchedResult.of(rows, statement).scalars()


def chunked_result(
    context: QueryContext,
    plan: StatementPlan,
    fetch: Callable[[Optional[int]], list[Any]],
    read: Callable[[list[Any]], list[Any]],
    raw: Any,
    server_side: bool,
) -> Any:
    """The Result of one execution whose rows arrive in chunks.

    ``fetch``: so many raw rows, or all; ``read``: what becomes of them; ``raw``: what closes where the result does.
    """
    uniquing = Uniquing(context.load_options, plan)

    def chunks(size: Optional[int]) -> Iterator[list[Any]]:
        while True:
            if size:
                uniquing.refuse_yield_per()
            fetched = fetch(size or None)
            if size and not fetched:
                return
            yield read(fetched)
            if not size:
                return

    if context.execution_options.get("prebuffer_rows", False):
        buffered = list(chunks(None))
        chunks = lambda size: iter(buffered)  # noqa: E731
    metadata = _sa.result_metadata(plan.labels, plan.extra, uniquing.filters, uniquing.entity_filters)
    result: Any = ChunkedResult(
        plan.named(metadata, context.query),
        chunks,
        source_supports_scalars=plan.single_entity,
        raw=raw,
        dynamic_yield_per=server_side,
        **_sa.result_context(context),
    )
    tell_query(result, context.compile_state, plan)
    if context.requires_uniquing:
        result._unique_filter_state = (set(), _require_unique)
    if context.yield_per:
        result.yield_per(context.yield_per)
    return result


def tell_query(result: Any, compile_state: Any, plan: StatementPlan) -> None:
    """Note what a Query asks of its result: whether it is of objects, and whether it has to be made unique."""
    result._attributes = result._attributes.union(
        {"filtered": compile_state._has_mapper_entities, "is_single_entity": plan.single_entity}
    )


def result_metadata(plan: StatementPlan, load_options: Any) -> Any:
    """Names of a plan's columns, for any execution with the same uniquing; see :meth:`StatementPlan.named`."""
    uniquing = Uniquing(load_options, plan)
    return _sa.result_metadata(plan.labels, plan.extra, uniquing.filters, uniquing.entity_filters)


def _require_unique(obj: Any) -> Any:
    raise sa_exc.InvalidRequestError(
        "The unique() method must be invoked on this Result, as it contains results that include joined eager loads "
        "against collections"
    )


class Uniquing:
    """What ``Result.unique()`` compares rows by."""

    __slots__ = ("active", "legacy", "plan")

    def __init__(self, load_options: Any, plan: StatementPlan) -> None:
        self.legacy: bool = load_options._legacy_uniquing
        self.plan = plan
        self.active = False

    def refuse_yield_per(self) -> None:
        if self.active:
            raise sa_exc.InvalidRequestError("Can't use the ORM yield_per feature in conjunction with unique()")

    def filters(self, result: Any) -> list[Any]:
        if result._yield_per:
            raise sa_exc.InvalidRequestError("Can't use the ORM yield_per feature in conjunction with unique()")
        self.active = True
        return self.entity_filters()

    def entity_filters(self) -> list[Any]:
        """What makes a value of each entity comparable, whatever the result is."""
        return [self._filter(entity) for entity in self.plan.entities]

    def _filter(self, entity: Any) -> Any:
        if entity.use_id_for_hash:
            return id
        if not entity._non_hashable_value and not entity._null_column_type:
            return None
        uncertain = bool(entity._null_column_type)
        if not self.legacy:
            return _hash_or_raise(entity.column.type, uncertain)
        return _hash_or_id() if uncertain else id


def _hash_or_raise(datatype: Any, uncertain: bool) -> Callable[[Any], Any]:
    seen = "the values returned appear to be" if uncertain else "this datatype produces"

    def unique_key(value: Any) -> Any:
        if uncertain:
            try:
                return hash(value)
            except Exception:
                pass
        raise sa_exc.InvalidRequestError(
            f"Can't apply uniqueness to row tuple containing value of type {datatype!r}; {seen} non-hashable values"
        )

    return unique_key


def _hash_or_id() -> Callable[[Any], Any]:
    use_id = False

    def unique_key(value: Any) -> Any:
        nonlocal use_id
        if not use_id:
            try:
                return hash(value)
            except Exception:
                use_id = True
        return id(value)

    return unique_key
