"""Joins that understand relationships: ``orm.join()``, and what the compile state builds for ``Select.join()``."""

from __future__ import annotations

from typing import Any

from sqlalchemy import inspection, sql
from sqlalchemy.sql import expression
from sqlalchemy.sql import util as sql_util
from sqlalchemy.sql.selectable import FromClause

from .._sa import _lateral_correlated_froms
from .attributes import QueryableAttribute
from .interfaces import MapperProperty


class _ORMJoin(expression.Join):
    """A Core join whose ON clause may be a relationship; a secondary table is spliced in."""

    __visit_name__ = expression.Join.__visit_name__

    inherit_cache = True

    def __init__(
        self,
        left: Any,
        right: Any,
        onclause: Any = None,
        isouter: bool = False,
        full: bool = False,
        _left_memo: Any = None,
        _right_memo: Any = None,
        _extra_criteria: tuple[Any, ...] = (),
    ) -> None:
        left_info = inspection.inspect(left)
        right_info = inspection.inspect(right)
        # the eager loader puts paths here and reads them when it splices joins
        self._left_memo = _left_memo
        self._right_memo = _right_memo

        prop, on_selectable = self._relationship_of(onclause)
        if isinstance(onclause, QueryableAttribute):
            _extra_criteria += onclause._extra_criteria

        if prop is not None:
            left, right, onclause = self._resolve_relationship(
                prop, on_selectable, left, right, left_info.selectable, right_info, isouter, _extra_criteria
            )

        parententity = self._left_entity(left_info)
        if parententity is not None:
            self._annotations = self._annotations.union({"parententity": parententity})

        super().__init__(left, right, onclause, isouter, full)

        if prop is None:
            # a relationship brings these into its own ON clause
            if _extra_criteria:
                self.onclause &= sql.and_(*_extra_criteria)  # type: ignore[operator]  # a join has an ON clause by now
            self._add_single_table_criterion(right_info)

    @staticmethod
    def _relationship_of(onclause: Any) -> tuple[Any, Any]:
        """The relationship an ON clause names and the selectable of its left side, or (None, None)."""
        if isinstance(onclause, QueryableAttribute):
            return onclause.property, onclause.comparator._source_selectable()
        if isinstance(onclause, MapperProperty):
            return onclause, onclause.parent.selectable
        return None, None

    @staticmethod
    def _left_entity(left_info: Any) -> Any:
        if isinstance(left_info, FromClause):
            return left_info._annotations.get("parententity")
        if left_info.is_mapper or left_info.is_aliased_class:
            return left_info
        return None

    def _resolve_relationship(
        self,
        prop: Any,
        on_selectable: Any,
        left: Any,
        right: Any,
        left_selectable: Any,
        right_info: Any,
        isouter: bool,
        extra_criteria: tuple[Any, ...],
    ) -> tuple[Any, Any, Any]:
        """Left side, right side and ON clause of the join along a relationship."""
        adapt_to = right_info.selectable
        present = sql_util.clause_is_present(on_selectable, left_selectable)
        adapt_from = on_selectable if present else left_selectable

        pj, sj, _source, _dest, secondary, self._target_adapter = prop._create_joins(
            source_selectable=adapt_from,
            dest_selectable=adapt_to,
            source_polymorphic=True,
            of_type_entity=right_info,
            alias_secondary=True,
            extra_criteria=extra_criteria,
        )

        if (
            adapt_from is not None
            and adapt_from is not prop.parent.selectable
            and adapt_from is not prop.parent.local_table
            and isinstance(adapt_to, FromClause)
        ):
            # a LATERAL on the right refers to the left side, which has been adapted
            correlated = _lateral_correlated_froms(adapt_to, prop.parent.selectable)
            if correlated:
                right = sql_util.ClauseAdapter(
                    adapt_from, include_fn=lambda elem: not correlated.isdisjoint(elem._from_objects)
                ).traverse(adapt_to)

        if sj is None:
            return left, right, pj
        if isouter:
            # the secondary table joins inside, so that no row of it alone appears
            return left, sql.join(secondary, right, sj), pj
        return sql.join(left, secondary, pj, isouter), right, sj

    def _add_single_table_criterion(self, right_info: Any) -> None:
        mapper = getattr(right_info, "mapper", None)
        if not mapper or not mapper.single:
            return
        criterion = mapper._single_table_criterion
        if criterion is None:
            return
        if right_info.is_aliased_class:
            criterion = right_info._adapter.traverse(criterion)
        self.onclause &= criterion

    def _splice_into_center(self, other: Any) -> _ORMJoin:
        """Join ``other``, whose leftmost element is our right side, into this join: (a JOIN b) + (b JOIN c)."""
        leftmost = other
        while isinstance(leftmost, sql.Join):
            leftmost = leftmost.left
        assert self.right is leftmost
        left = _ORMJoin(
            self.left,
            other.left,
            self.onclause,
            isouter=self.isouter,
            _left_memo=self._left_memo,
            _right_memo=other._left_memo._path_registry,
        )
        return _ORMJoin(left, other.right, other.onclause, isouter=other.isouter, _right_memo=other._right_memo)

    def join(self, right: Any, onclause: Any = None, isouter: bool = False, full: bool = False) -> _ORMJoin:
        return _ORMJoin(self, right, onclause, full=full, isouter=isouter)

    def outerjoin(self, right: Any, onclause: Any = None, full: bool = False) -> _ORMJoin:
        return _ORMJoin(self, right, onclause, isouter=True, full=full)


def join(left: Any, right: Any, onclause: Any = None, isouter: bool = False, full: bool = False) -> _ORMJoin:
    """Return an inner join of two entities or selectables; ``onclause`` may be a relationship attribute."""
    return _ORMJoin(left, right, onclause, isouter, full)


def outerjoin(left: Any, right: Any, onclause: Any = None, full: bool = False) -> _ORMJoin:
    """Return a left outer join of two entities or selectables; ``onclause`` may be a relationship attribute."""
    return _ORMJoin(left, right, onclause, True, full)
