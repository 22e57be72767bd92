"""The SQL side of a hybrid: which expression it is, which operators it has, what it is as a target of DML."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import exc as sa_exc
from sqlalchemy import util

from ...orm import PropComparator, QueryableAttribute

if TYPE_CHECKING:
    from .attribute import hybrid_property

_T = TypeVar("_T", bound=Any)


class Comparator(PropComparator[_T]):
    """Base of a user's comparator for hybrids, around an expression or anything that is one."""

    def __init__(self, expression: Any) -> None:
        self.expression = expression

    def __clause_element__(self) -> Any:
        expression = self.expression
        return expression.__clause_element__() if hasattr(expression, "__clause_element__") else expression

    @util.non_memoized_property
    def property(self) -> Any:
        raise NotImplementedError()

    def adapt_to_entity(self, adapt_to_entity: Any) -> Comparator[_T]:
        # the hybrid was evaluated for the alias already
        return self


class ExprComparator(Comparator[_T]):
    """The comparator of a hybrid whose function returned an expression."""

    def __init__(self, cls: type[Any], expression: Any, hybrid: hybrid_property[_T]) -> None:
        self.cls = cls
        self.expression = expression
        self.hybrid = hybrid

    def __getattr__(self, key: str) -> Any:
        return getattr(self.expression, key)

    @util.ro_non_memoized_property
    def info(self) -> dict[Any, Any]:
        return self.hybrid.info

    @util.non_memoized_property
    def property(self) -> Any:
        # a synonym of the hybrid asks for it; only a mapped attribute has one
        return self.expression.property

    def operate(self, op: Any, *other: Any, **kwargs: Any) -> Any:
        return op(self.expression, *other, **kwargs)

    def reverse_operate(self, op: Any, other: Any, **kwargs: Any) -> Any:
        return op(other, self.expression, **kwargs)

    def _bulk_update_tuples(self, value: Any) -> Sequence[tuple[Any, Any]]:
        """The columns, with values, that are set where a statement sets the hybrid."""
        if isinstance(self.expression, QueryableAttribute):
            return self.expression._bulk_update_tuples(value)
        if self.hybrid.update_expr is not None:
            return self.hybrid.update_expr(self.cls, value)
        return [(self.expression, value)]

    def _bulk_dml_setter(self, key: str) -> Callable[[MutableMapping[str, Any]], None]:
        """What replaces the hybrid by values of columns in each parameter dictionary of a bulk statement."""

        def set_columns(mapping: MutableMapping[str, Any]) -> None:
            if self.hybrid.bulk_dml_setter is None:
                raise sa_exc.InvalidRequestError(
                    "Can't evaluate bulk DML statement; please supply a bulk_dml decorated function"
                )
            self.hybrid.bulk_dml_setter(self.cls, mapping, mapping[key])

        return set_columns
