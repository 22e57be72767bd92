"""Criteria evaluated in Python, for ``synchronize_session="evaluate"``: which loaded objects does a WHERE clause match?

A clause is compiled once into a function of the object. SQL's three-valued logic is kept: ``None`` means NULL.
"""

from __future__ import annotations

import operator as py_operator
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc
from sqlalchemy.sql import and_, operators
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, ColumnClause
from sqlalchemy.sql.sqltypes import Concatenable, Integer, Numeric
from sqlalchemy.util import warn_deprecated

from .. import _core
from . import exc as orm_exc
from .base import PASSIVE_NO_FETCH, PASSIVE_NO_RESULT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    _Evaluator = Callable[[Any], Any]


class UnevaluatableError(exc.InvalidRequestError):
    """The clause has something in it that only the database can answer."""


class _NoObject(operators.ColumnOperators):
    """The value of an attribute of None; whatever is done with it gives NULL."""

    def operate(self, *arg: Any, **kw: Any) -> Any:
        return None

    def reverse_operate(self, *arg: Any, **kw: Any) -> Any:
        return None


class _ExpiredObject(operators.ColumnOperators):
    """The value of an attribute that is not loaded; whatever is done with it gives itself."""

    def operate(self, *arg: Any, **kw: Any) -> Any:
        return self

    def reverse_operate(self, *arg: Any, **kw: Any) -> Any:
        return self


_NO_OBJECT = _NoObject()
_EXPIRED_OBJECT = _ExpiredObject()

_COMPARISONS = frozenset((operators.lt, operators.le, operators.ne, operators.gt, operators.ge, operators.eq))
_ARITHMETIC = frozenset((operators.add, operators.mul, operators.sub, operators.mod, operators.truediv))


def _is_in(value: Any, values: Any) -> Any:
    return None if value is _NO_OBJECT else value in values


def _is_not_in(value: Any, values: Any) -> Any:
    return None if value is _NO_OBJECT else value not in values


# operators whose own Python function is not what SQL means by them
_PYTHON_MEANING: dict[Any, Callable[[Any, Any], Any]] = {
    operators.in_op: _is_in,
    operators.not_in_op: _is_not_in,
    operators.startswith_op: lambda a, b: a.startswith(b),
    operators.endswith_op: lambda a, b: a.endswith(b),
}

# operators that the native core evaluates, by its numbers for them
_NATIVE_NUMBERS: dict[Any, int] = {
    operators.lt: 0,
    operators.le: 1,
    operators.eq: 2,
    operators.ne: 3,
    operators.gt: 4,
    operators.ge: 5,
    operators.in_op: 6,
    operators.not_in_op: 7,
}

# these compare NULL like any other value
_NULL_AWARE: dict[Any, Callable[[Any, Any], Any]] = {operators.is_: py_operator.eq, operators.is_not: py_operator.ne}


def _any_expired(left: Any, right: Any) -> bool:
    return left is _EXPIRED_OBJECT or right is _EXPIRED_OBJECT


def _binary(function: Callable[[Any, Any], Any], left: _Evaluator, right: _Evaluator) -> _Evaluator:
    """A function of two values that is NULL if one of them is."""

    def evaluate(obj: Any) -> Any:
        left_value, right_value = left(obj), right(obj)
        if _any_expired(left_value, right_value):
            return _EXPIRED_OBJECT
        if left_value is None or right_value is None:
            return None
        return function(left_value, right_value)

    return evaluate


def _null_aware(function: Callable[[Any, Any], Any], left: _Evaluator, right: _Evaluator) -> _Evaluator:
    def evaluate(obj: Any) -> Any:
        left_value, right_value = left(obj), right(obj)
        return _EXPIRED_OBJECT if _any_expired(left_value, right_value) else function(left_value, right_value)

    return evaluate


def _any_of(parts: list[_Evaluator]) -> _Evaluator:
    def evaluate(obj: Any) -> Any:
        has_null = False
        for part in parts:
            value = part(obj)
            if value is _EXPIRED_OBJECT:
                return _EXPIRED_OBJECT
            if value:
                return True
            has_null = has_null or value is None
        return None if has_null else False

    return evaluate


def _all_of(parts: list[_Evaluator]) -> _Evaluator:
    def evaluate(obj: Any) -> Any:
        for part in parts:
            value = part(obj)
            if value is _EXPIRED_OBJECT:
                return _EXPIRED_OBJECT
            if not value:
                return None if value is None or value is _NO_OBJECT else False
        return True

    return evaluate


def _tuple_of(parts: list[_Evaluator]) -> _Evaluator:
    def evaluate(obj: Any) -> Any:
        values = []
        for part in parts:
            value = part(obj)
            if value is _EXPIRED_OBJECT:
                return _EXPIRED_OBJECT
            if value is None or value is _NO_OBJECT:
                return None
            values.append(value)
        return tuple(values)

    return evaluate


_CLAUSE_LISTS = {operators.or_: _any_of, operators.and_: _all_of, operators.comma_op: _tuple_of}


class _EvaluatorCompiler:
    """Turns a clause into a function of an object of ``target_cls``; one ``visit_`` method a kind of clause."""

    def __init__(self, target_cls: type[Any] | None = None) -> None:
        self.target_cls = target_cls

    def process(self, clause: Any, *clauses: Any) -> _Evaluator:
        """Return the function for a clause, or for several joined by AND.

        :raises UnevaluatableError: if only the database can tell.
        """
        if clauses:
            clause = and_(clause, *clauses)
        visit = getattr(self, f"visit_{clause.__visit_name__}", None)
        if visit is None:
            raise UnevaluatableError(f"Cannot evaluate {type(clause).__name__}")
        evaluator: _Evaluator = visit(clause)
        return evaluator

    def visit_grouping(self, clause: Any) -> _Evaluator:
        return self.process(clause.element)

    def visit_null(self, clause: Any) -> _Evaluator:
        return lambda obj: None

    def visit_false(self, clause: Any) -> _Evaluator:
        return lambda obj: False

    def visit_true(self, clause: Any) -> _Evaluator:
        return lambda obj: True

    def visit_bindparam(self, clause: Any) -> _Evaluator:
        value = clause.callable() if clause.callable else clause.value
        return lambda obj: value

    def _attribute_key(self, clause: Any) -> str:
        """The name of the attribute that a column of the target's mapping is."""
        mapper = clause._annotations.get("parentmapper")
        if mapper is None:
            raise UnevaluatableError(f"Cannot evaluate column: {clause}")
        if self.target_cls and not issubclass(self.target_cls, mapper.class_):
            raise UnevaluatableError(f"Can't evaluate criteria against alternate class {mapper.class_}")
        mapper._check_configure()
        try:
            key: str = mapper._columntoproperty.of(clause).key
        except orm_exc.UnmappedColumnError as err:
            raise UnevaluatableError(f"Cannot evaluate expression: {err}") from err
        return key

    def visit_column(self, clause: Any) -> _Evaluator:
        key = self._attribute_key(clause)
        get = _core.get_attribute

        def attribute_value(obj: Any) -> Any:
            if obj is None:
                return _NO_OBJECT
            value = get(obj, key, PASSIVE_NO_FETCH)
            return _EXPIRED_OBJECT if value is PASSIVE_NO_RESULT else value

        return attribute_value

    def comparisons(self, criteria: Sequence[Any]) -> list[tuple[str, int, Any]] | None:
        """Criteria, joined by AND, as attributes' names, the native core's numbers for operators, and parameters.

        None if they are more than comparisons of attributes with parameters.

        :raises UnevaluatableError: if only the database can tell.
        """
        found = []
        for criterion in criteria:
            number = _NATIVE_NUMBERS.get(criterion.operator) if type(criterion) is BinaryExpression else None
            if number is None or not isinstance(criterion.left, ColumnClause):
                return None
            if type(criterion.right) is not BindParameter:
                return None
            found.append((self._attribute_key(criterion.left), number, criterion.right))
        return found

    def visit_clauselist(self, clause: Any) -> _Evaluator:
        parts = [self.process(part) for part in clause.clauses]
        combine = _CLAUSE_LISTS.get(clause.operator)
        if combine is None:
            raise UnevaluatableError(f"Cannot evaluate clauselist with operator {clause.operator}")
        return combine(parts)

    visit_tuple = visit_clauselist
    visit_expression_clauselist = visit_clauselist

    def visit_binary(self, clause: Any) -> _Evaluator:
        left = self.process(clause.left)
        right = self.process(clause.right)
        op = clause.operator
        if op in _NULL_AWARE:
            return _null_aware(_NULL_AWARE[op], left, right)
        if op in _PYTHON_MEANING:
            return _binary(_PYTHON_MEANING[op], left, right)
        if op in _ARITHMETIC:
            self._require_numbers(clause)
        elif op is operators.concat_op:
            self._require_concatenable(clause)
            return _binary(py_operator.add, left, right)
        elif isinstance(op, operators.custom_op):
            if not op.python_impl:
                raise UnevaluatableError(
                    f"Custom operator {op.opstring!r} can't be evaluated in Python unless it specifies a callable "
                    "using `.python_impl`."
                )
        elif op not in _COMPARISONS:
            raise UnevaluatableError(f"Cannot evaluate {type(clause).__name__} with operator {op}")
        return _binary(op, left, right)

    @staticmethod
    def _require_numbers(clause: Any) -> None:
        if any(side.type._type_affinity not in (Numeric, Integer) for side in (clause.left, clause.right)):
            raise UnevaluatableError(
                f'Cannot evaluate math operator "{clause.operator.__name__}" for datatypes '
                f"{clause.left.type}, {clause.right.type}"
            )

    @staticmethod
    def _require_concatenable(clause: Any) -> None:
        if not all(issubclass(side.type._type_affinity, Concatenable) for side in (clause.left, clause.right)):
            raise UnevaluatableError(
                f'Cannot evaluate concatenate operator "{clause.operator.__name__}" for datatypes '
                f"{clause.left.type}, {clause.right.type}"
            )

    def visit_unary(self, clause: Any) -> _Evaluator:
        inner = self.process(clause.element)
        if clause.operator is not operators.inv:
            raise UnevaluatableError(f"Cannot evaluate {type(clause).__name__} with operator {clause.operator}")

        def negated(obj: Any) -> Any:
            value = inner(obj)
            return value if value is _EXPIRED_OBJECT or value is None else not value

        return negated


def __getattr__(name: str) -> type[_EvaluatorCompiler]:
    if name == "EvaluatorCompiler":
        warn_deprecated(
            "Direct use of 'EvaluatorCompiler' is not supported, and this name will be removed in a future release.  "
            "'_EvaluatorCompiler' is for internal use only",
            "2.0",
        )
        return _EvaluatorCompiler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
