"""The criteria that compare a relationship's columns with the values of an object, or with NULL."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc as sa_exc
from sqlalchemy import util
from sqlalchemy.inspection import inspect
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BinaryExpression, BindParameter
from sqlalchemy.sql.schema import Column
from sqlalchemy.sql.util import ClauseAdapter, adapt_criterion_to_null

from .._sa import anonymous_fromclause, identifying_key
from ._typing import insp_is_aliased_class
from .base import LoaderCallableStatus, PassiveFlag, state_str


def _compares_with_column(criterion: Any) -> bool:
    """Whether a criterion compares a parameter with a column of a table, and nothing more."""
    return (
        type(criterion) is BinaryExpression
        and type(criterion.left) is BindParameter
        and isinstance(criterion.right, Column)
        and not criterion.modifiers
    )


def _copy_of_comparison(criterion: Any) -> Any:
    """What ``cloned_traverse()`` makes of one that :func:`_compares_with_column`."""
    copy = criterion._clone()
    copy.left = copy.left._clone()
    return copy


class _RelationshipComparison:
    """Mixin of ``RelationshipProperty``: criteria."""

    __slots__ = ()

    # what the property itself provides
    if TYPE_CHECKING:

        def __getattr__(self, key: str) -> Any: ...

    def _with_parent(self, instance: Any, alias_secondary: bool = True, from_entity: Any = None) -> Any:
        """The criterion that a row of the target is related to the given object."""
        assert instance is not None
        adapt_source = None
        if from_entity is not None:
            insp = inspect(from_entity)
            if insp_is_aliased_class(insp):
                adapt_source = insp._adapter.adapt_clause
        return self._optimized_compare(
            instance, value_is_parent=True, adapt_source=adapt_source, alias_secondary=alias_secondary
        )

    def _lazy_criterion(self, reverse_direction: bool) -> tuple[Any, Any]:
        strategy = self._lazy_strategy
        if reverse_direction:
            return strategy._rev_lazywhere, strategy._rev_bind_to_col
        return strategy._lazywhere, strategy._bind_to_col

    def _optimized_compare(
        self,
        state: Any,
        value_is_parent: bool = False,
        adapt_source: Any = None,
        alias_secondary: bool = True,
    ) -> Any:
        """The criterion that compares columns of one side with the values of an object on the other."""
        reverse_direction = not value_is_parent
        if state is None:
            return self._lazy_none_clause(reverse_direction, adapt_source=adapt_source)
        try:
            state = inspect(state)
        except sa_exc.NoInspectionAvailable:
            state = None
        if state is None or not getattr(state, "is_instance", False):
            raise sa_exc.ArgumentError(
                "Mapped instance expected for relationship comparison to object.   Classes, queries and other SQL "
                "elements are not accepted in this context; for comparison with a subquery, use "
                f"{self}.has(**criteria)."
            )
        criterion, bind_to_col = self._lazy_criterion(reverse_direction)
        mapper = self.mapper if reverse_direction else self.parent

        def visit_bindparam(bindparam: Any) -> None:
            key = identifying_key(bindparam)
            if key in bind_to_col:
                # read when the statement runs: a flush may come in between
                bindparam.callable = self._get_attr_w_warn_on_none(mapper, state, None, bind_to_col[key])

        if self.secondary is not None and alias_secondary:
            criterion = ClauseAdapter(anonymous_fromclause(self.secondary)).traverse(criterion)
        if _compares_with_column(criterion):
            criterion = _copy_of_comparison(criterion)
            visit_bindparam(criterion.left)
        else:
            criterion = visitors.cloned_traverse(criterion, {}, {"bindparam": visit_bindparam})
        return adapt_source(criterion) if adapt_source else criterion

    def _get_attr_w_warn_on_none(self, mapper: Any, state: Any, dict_: Any, column: Any) -> Callable[[], Any]:
        """A callable for the value of a column of an object, as it is then or as it was last known."""
        key = mapper.get_property_by_column(column).key
        state._track_last_known_value(key)
        # for an object that is gone when the statement runs: its values went with it
        at_first = state.dict.get(key, LoaderCallableStatus.NEVER_SET)

        def current() -> Any:
            if state.obj() is None:
                value, last_known = at_first, LoaderCallableStatus.NO_VALUE
            else:
                last_known = state._last_known_values[key]
                passive = (
                    PassiveFlag.PASSIVE_OFF if state.persistent else PassiveFlag.PASSIVE_NO_FETCH ^ PassiveFlag.INIT_OK
                )
                value = mapper._get_state_attr_by_column(state, dict_, column, passive=passive)
            unavailable = {
                LoaderCallableStatus.NEVER_SET: "no value has been set for this column",
                LoaderCallableStatus.PASSIVE_NO_RESULT: "the object is detached and the value was expired",
            }
            reason = unavailable.get(value) if isinstance(value, LoaderCallableStatus) else None
            if reason is not None:
                if last_known is LoaderCallableStatus.NO_VALUE:
                    raise sa_exc.InvalidRequestError(
                        f"Can't resolve value for column {column} on object {state_str(state)}; {reason}"
                    )
                value = last_known
            if value is None:
                util.warn(
                    f"Got None for value of column {column}; this is unsupported for a relationship comparison and "
                    "will not currently produce an IS comparison (but may in a future release)"
                )
            return value

        return current

    def _lazy_none_clause(self, reverse_direction: bool = False, adapt_source: Any = None) -> Any:
        criterion, bind_to_col = self._lazy_criterion(reverse_direction)
        criterion = adapt_criterion_to_null(criterion, bind_to_col)
        return adapt_source(criterion) if adapt_source else criterion
