"""A cheap key for the commonest SELECTs: entities, columns and functions, comparisons, joins, ORDER BY, LIMIT, options.

Core's cache key walks every element by a description of its parts, and two equal ones are compared in full. Most of a
statement is objects that live as long as their classes (an attribute's expression, a mapper's table, a relationship),
so that their identities say as much; what is made anew each time has few kinds. A statement with anything else in it
has no shape, and Core's key is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import BuiltinFunctionType, FunctionType
from typing import Any, Optional

from sqlalchemy import Column, Table
from sqlalchemy.sql import functions
from sqlalchemy.sql.annotation import Annotated
from sqlalchemy.sql.elements import (
    BinaryExpression,
    BindParameter,
    BooleanClauseList,
    ClauseList,
    ColumnClause,
    ExpressionClauseList,
    False_,
    Grouping,
    Label,
    Null,
    TextClause,
    True_,
    UnaryExpression,
)
from sqlalchemy.sql.selectable import FromClause
from sqlalchemy.sql.sqltypes import NullType

from .._core import PlainShapes
from .._sa import _anonymous_label, _OffsetLimitParam
from ._load_elements import _AttributeStrategyLoad, _ClassStrategyLoad, _TokenStrategyLoad
from ._loader_criteria import LoaderCriteriaOption
from ._shape_aliases import NoShape, Parameters, add_attribute, add_column, add_entity, add_path_part
from .attributes import InstrumentedAttribute, QueryableAttribute, _AdaptedAttribute
from .mapper import Mapper
from .strategy_options import Load, _WildcardLoad

# What Select.__dict__ may have in it. What a Query leaves there for itself says nothing about the SQL, and neither do
# execution options.
_KNOWN = frozenset(
    {
        "_compile_options",
        "_distinct",
        "_execution_options",
        "_fetch_clause",
        "_fetch_clause_options",
        "_from_obj",
        "_group_by_clauses",
        "_having_criteria",
        "_label_style",
        "_limit_clause",
        "_offset_clause",
        "_order_by_clauses",
        "_params",
        "_propagate_attrs",
        "_raw_columns",
        "_setup_joins",
        "_symbolic",
        "_where_criteria",
        "_with_options",
        "dispatch",
    }
)

# What UPDATE, DELETE and INSERT may have in theirs; annotations are Core's way to make a changed copy.
_KNOWN_DML = frozenset(
    {
        "_Annotated__element",
        "_annotations",
        "_execution_options",
        "_hash",
        "_propagate_attrs",
        "_returning",
        "_values",
        "_where_criteria",
        "table",
    }
)

# What it has when only entities and WHERE were given.
_PLAIN = frozenset({"_label_style", "_propagate_attrs", "_raw_columns", "_where_criteria"})

# Parts with elements in them, in the order in which Core's cache key comes to their parameters.
_BEFORE_JOINS = ("_from_obj", "_where_criteria", "_having_criteria", "_order_by_clauses", "_group_by_clauses")
_LIMITS = ("_limit_clause", "_offset_clause")

_OPERATORS = frozenset({FunctionType, BuiltinFunctionType})
_SIMPLE = frozenset({bool, int, str, type(None)})

_Shape = tuple[tuple[Any, ...], Sequence[BindParameter[Any]]]


def statement_shape(statement: Any) -> Optional[_Shape]:
    """A key, and the statement's parameters in order; None when Core's cache key is needed.

    The key has identities in it: whoever keeps it keeps a statement of this shape, and with it the objects, alive.
    """
    state = statement.__dict__
    plain = PLAIN_SHAPES.of(statement)
    return _shape_by_parts(statement) if plain is None and _KNOWN.issuperset(state) else plain


def shape_by_aliases(statement: Any) -> Optional[_Shape]:
    """Another key of a statement whose first one is not known: that of the aliases in it is not made of identities.

    None without an alias, or if the first key was of this kind already.
    """
    shape = _shape_by_parts(statement) if _PLAIN.issuperset(statement.__dict__) else None
    return shape if shape is not None and shape[1].numbers else None


def _shape_by_parts(statement: Any) -> Optional[tuple[tuple[Any, ...], Parameters]]:
    state = statement.__dict__
    key: list[Any] = [id(statement._label_style)]
    parameters = Parameters()
    try:
        for column in statement._raw_columns:
            _add(column, key, parameters)
        for name in _BEFORE_JOINS:
            if name in state:
                key.append(name)
                for element in state[name]:
                    _add(element, key, parameters)
        if not _PLAIN.issuperset(state):
            _add_others(state, key, parameters)
    except NoShape:
        return None
    return tuple(key), parameters


def _add_comparison(criterion: Any, key: list[Any], parameters: list[BindParameter[Any]]) -> bool:
    """Add the comparison of an attribute with a value; False, with nothing added, for anything else."""
    if type(criterion) is not BinaryExpression or criterion.modifiers:
        return False
    left, right, operator = criterion.left, criterion.right, criterion.operator
    if (
        type(right) is not BindParameter
        or _ADD[type(left)] not in _LASTING
        or type(operator) not in _OPERATORS
        or not right.unique
        or right.callable is not None
        or right.expanding
        or right.literal_execute
        or right.isoutparam
    ):
        return False
    key += (id(left), operator, id(right.type), right.required)
    parameters.append(right)
    return True


def dml_shape(statement: Any) -> Optional[_Shape]:
    """As :func:`statement_shape`, for UPDATE, DELETE and INSERT of one row of values."""
    state = statement.__dict__
    if not _KNOWN_DML.issuperset(state):
        return None
    key: list[Any] = [type(statement)]
    if "_annotations" in state:
        key += state["_annotations"].items()
    parameters = Parameters()
    try:
        _add(statement.table, key, parameters)
        for element in state.get("_where_criteria", ()):
            if not _add_comparison(element, key, parameters):
                _add(element, key, parameters)
        if "_values" in state:
            key.append("_values")
            for column, value in state["_values"].items():
                if type(column) is str:
                    key.append(column)
                else:
                    _add(column, key, parameters)
                _add(value, key, parameters)
        if "_returning" in state:
            key.append("_returning")
            for element in state["_returning"]:
                _add(element, key, parameters)
    except NoShape:
        return None
    return tuple(key), parameters


def _add_others(state: dict[str, Any], key: list[Any], parameters: Parameters) -> None:
    for target, condition, source, flags in state.get("_setup_joins", ()):
        if source is not None:
            raise NoShape
        key += ("_setup_joins", flags["isouter"], flags["full"])
        _add(target, key, parameters)
        if condition is None:
            key.append(None)
        else:
            _add(condition, key, parameters)
    for name in _LIMITS:
        limit = state.get(name)
        if limit is not None:
            key.append(name)
            _add(limit, key, parameters)
    if state.get("_fetch_clause") is not None:
        raise NoShape
    if "_distinct" in state:
        key += ("_distinct", state["_distinct"])
    if "_compile_options" in state:
        options = state["_compile_options"]
        # a class where nothing was said
        key += ("_compile_options", *(() if isinstance(options, type) else options.__dict__.items()))
    for option in state.get("_with_options", ()):
        _add_option(option, key, parameters)


def _add(element: Any, key: list[Any], parameters: Parameters) -> None:
    _ADD[type(element)](element, key, parameters)


# kinds of elements -------------------------------------------------------------------------------------------------


def _identity(element: Any, key: list[Any], parameters: Parameters) -> None:
    key.append(id(element))


def _kind(element: Any, key: list[Any], parameters: Parameters) -> None:
    key.append(type(element))


def _refuse(element: Any, key: list[Any], parameters: Parameters) -> None:
    raise NoShape


def _binary(element: Any, key: list[Any], parameters: Parameters) -> None:
    operator = element.operator
    if type(operator) not in _OPERATORS:
        raise NoShape
    key += (BinaryExpression, operator, id(element.type))
    if element.modifiers:
        for name, value in element.modifiers.items():
            if type(value) not in _SIMPLE:
                raise NoShape
            key += (name, value)
    _add(element.left, key, parameters)
    _add(element.right, key, parameters)


def _bind(element: Any, key: list[Any], parameters: Parameters) -> None:
    if element.callable is not None or element.literal_execute or element.isoutparam:
        raise NoShape
    type_ = element.type
    key += (
        type(element),
        # values to SET are of a new null type each
        NullType if type(type_) is NullType else id(type_),
        element.required,
        element.expanding,
        element.expand_op,
        element._is_crud,
        # a name that was given is part of what the statement is
        None if element.unique else element.key,
    )
    parameters.append(element)


def _unary(element: Any, key: list[Any], parameters: Parameters) -> None:
    key += (UnaryExpression, element.operator, element.modifier, id(element.type))
    _add(element.element, key, parameters)


def _clauses(element: Any, key: list[Any], parameters: Parameters) -> None:
    clauses = element.clauses
    key += (type(element), element.operator, element.group, len(clauses))
    for clause in clauses:
        _add(clause, key, parameters)


def _grouping(element: Any, key: list[Any], parameters: Parameters) -> None:
    key.append(Grouping)
    _add(element.element, key, parameters)


def _label(element: Any, key: list[Any], parameters: Parameters) -> None:
    name = element.name
    if isinstance(name, _anonymous_label):
        # another name each time, but always the same of one label
        name = parameters.numbers.setdefault(id(element), len(parameters.numbers))
    elif type(name) is not str:
        raise NoShape
    key += (Label, name, id(element.type))
    _add(element.element, key, parameters)


def _function(element: Any, key: list[Any], parameters: Parameters) -> None:
    more = element.__dict__.keys() - _FUNCTION_PARTS
    if more and not more.issubset(element.__dict__.get("_memoized_keys", ())):
        raise NoShape
    key += (type(element), element.name, element.packagenames, id(element.type))
    _add(element.clause_expr, key, parameters)


# What functions have that are no more than a name and arguments.
_FUNCTION_PARTS = frozenset(
    {
        "_has_args",
        "_memoized_keys",
        "_propagate_attrs",
        "clause_expr",
        "description",
        "monotonic",
        "name",
        "packagenames",
        "type",
    }
)


def _column_clause(element: Any, key: list[Any], parameters: Parameters) -> None:
    if element.table is not None:
        raise NoShape
    key += (ColumnClause, element.name, element.is_literal, id(element.type))


def _text(element: Any, key: list[Any], parameters: Parameters) -> None:
    if not _TEXT_PARTS.issuperset(element.__dict__):
        raise NoShape
    key += (TextClause, element.text)
    for _, parameter in sorted(element._bindparams.items()):
        _add(parameter, key, parameters)


_TEXT_PARTS = frozenset({"_bindparams", "text"})


class _Kinds(dict[type[Any], Callable[[Any, list[Any], Parameters], None]]):
    """What to do with elements, by their class."""

    def __missing__(self, kind: type[Any]) -> Callable[[Any, list[Any], Parameters], None]:
        add = self[kind] = _add_for(kind)
        return add


_ADD = _Kinds(
    {
        BinaryExpression: _binary,
        BindParameter: _bind,
        _OffsetLimitParam: _bind,
        UnaryExpression: _unary,
        BooleanClauseList: _clauses,
        ClauseList: _clauses,
        ExpressionClauseList: _clauses,
        ColumnClause: _column_clause,
        Grouping: _grouping,
        Label: _label,
        TextClause: _text,
        functions.Function: _function,
        Null: _kind,
        True_: _kind,
        False_: _kind,
        Column: _identity,
        Table: _identity,
        InstrumentedAttribute: _identity,
        QueryableAttribute: add_attribute,
        _AdaptedAttribute: add_attribute,
    }
)


# What goes by identity, unless it is of an alias that was made for the statement.
_LASTING = frozenset({_identity, add_column, add_entity})


def _is_lasting(kind: type[Any]) -> bool:
    return _ADD[kind] in _LASTING


#: The shape of entities or columns, and comparisons of attributes with values, without a call for each part.
PLAIN_SHAPES = PlainShapes(_is_lasting)


def _add_for(kind: type[Any]) -> Callable[[Any, list[Any], Parameters], None]:
    """What to do with a class of elements that is seen for the first time."""
    if issubclass(kind, Annotated) and issubclass(kind, (Column, FromClause)):
        return add_column if issubclass(kind, Column) else add_entity
    if issubclass(kind, functions.GenericFunction) and kind.__module__ == functions.__name__:
        return _function
    return _refuse


# loader options ----------------------------------------------------------------------------------------------------


def _add_option(option: Any, key: list[Any], parameters: Parameters) -> None:
    kind = type(option)
    key.append(kind)
    if kind is Load:
        key.append(option.propagate_to_loaders)
        _add_path(option.path, key, parameters)
        for entity in option.additional_source_entities:
            add_path_part(entity, key, parameters)
        for element in option.context:
            _add_load_element(element, key, parameters)
    elif kind is _WildcardLoad:
        key += (option.strategy, option.path)
        _add_local_options(option, key)
    elif kind is LoaderCriteriaOption and not option.deferred_where_criteria:
        key += (option.root_entity, option.include_aliases, option.propagate_to_loaders)
        add_path_part(option.entity, key, parameters)
        _add(option.where_criteria, key, parameters)
    else:
        raise NoShape


def _add_load_element(element: Any, key: list[Any], parameters: Parameters) -> None:
    kind = type(element)
    if isinstance(element, _AttributeStrategyLoad):
        if element._of_type is not None or element._path_with_polymorphic_path is not None:
            raise NoShape
    elif kind is not _TokenStrategyLoad and kind is not _ClassStrategyLoad:
        raise NoShape
    _add_path(element.path, key, parameters)
    key += (kind, element.strategy, element.propagate_to_loaders, element._reconcile_to_other)
    _add_local_options(element, key)
    for criterion in element._extra_criteria:
        key.append("_extra_criteria")
        _add(criterion, key, parameters)


def _add_local_options(option: Any, key: list[Any]) -> None:
    for name, value in option.local_opts.items():
        if type(value) is tuple:
            # mappers of subclasses
            if not all(isinstance(part, Mapper) for part in value):
                raise NoShape
        elif type(value) not in _SIMPLE:
            raise NoShape
        key += (name, value)


def _add_path(path: Any, key: list[Any], parameters: Parameters) -> None:
    key.append(len(path.path))
    for part in path.path:
        add_path_part(part, key, parameters)
