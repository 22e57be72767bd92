"""Comparisons of a mapped attribute with a plain value, cloned from a template.

``User.id == 5`` goes through a dozen of Core's functions that decide how such a comparison is built. For one attribute,
operator and Python type of the value they decide the same every time, so the first expression serves as the template of
the others: a copy with a bind parameter of its own.
"""

from __future__ import annotations

import datetime
import decimal
import operator
import uuid
from collections.abc import Callable
from typing import Any

from sqlalchemy.sql.elements import BinaryExpression, BindParameter, ColumnElement

from .. import _sa
from .._core import ComparisonTemplate

# Types whose values all build the same expression; bool and None do not (they become IS).
PLAIN_TYPES = frozenset(
    {
        int,
        str,
        float,
        bytes,
        decimal.Decimal,
        datetime.date,
        datetime.datetime,
        datetime.time,
        datetime.timedelta,
        uuid.UUID,
    }
)

Comparison = Callable[[Any, Any], Any]

_eq = operator.eq


class QuickComparison:
    """Mix-in of InstrumentedAttribute: the six comparisons, from templates where that makes no difference."""

    __slots__ = ()

    comparator: Any
    #: of plain types only
    _comparison_templates: dict[tuple[Comparison, type], ComparisonTemplate]

    def _compare(self, op: Comparison, other: Any) -> Any:
        kind = type(other)
        template = self._comparison_templates.get((op, kind))
        if template is not None:
            return template.compared(other)
        built = self.operate(op, other)
        if kind in PLAIN_TYPES and self._is_template(built, other):
            self._comparison_templates[op, kind] = ComparisonTemplate(*_sa.comparison_parts(built))
        return built

    def _is_template(self, built: Any, value: Any) -> bool:
        """Whether another value of the same type would differ in nothing but the value."""
        return (
            type(built) is BinaryExpression
            and type(self.comparator).__module__.startswith("rustalchemy.")
            and built.left is self.comparator.__clause_element__()
            and type(built.right) is BindParameter
            and built.right.value is value
            and built.right.type is built.left.type
            and type(built.left.type).__module__.startswith("sqlalchemy.")
            and not built.modifiers
        )

    def operate(self, op: Any, *other: Any, **kwargs: Any) -> Any:
        """Build the expression the long way."""
        raise NotImplementedError

    def __eq__(self, other: Any) -> ColumnElement[bool]:  # type: ignore[override]
        # the commonest of them, without another call
        template = self._comparison_templates.get((_eq, type(other)))
        return self._compare(_eq, other) if template is None else template.compared(other)

    def __ne__(self, other: Any) -> ColumnElement[bool]:  # type: ignore[override]
        return self._compare(operator.ne, other)

    def __lt__(self, other: Any) -> ColumnElement[bool]:
        return self._compare(operator.lt, other)

    def __le__(self, other: Any) -> ColumnElement[bool]:
        return self._compare(operator.le, other)

    def __gt__(self, other: Any) -> ColumnElement[bool]:
        return self._compare(operator.gt, other)

    def __ge__(self, other: Any) -> ColumnElement[bool]:
        return self._compare(operator.ge, other)

    __hash__ = object.__hash__
