"""A cheap key for statements: Core's cache key, with what lives as long as the mapping standing for itself.

Core's cache key walks every element by a description of its parts, down to the tables, and two equal ones are compared
in full. Most of a statement is objects that live as long as their classes (an attribute's expression, a mapper's table,
a relationship), so that their identities say as much; what is made anew each time is walked natively, by the same
descriptions. A statement with anything in it whose class makes its key in a way of its own has no shape, and Core's key
is taken.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, Optional

from sqlalchemy import Column, Table
from sqlalchemy.sql.annotation import Annotated
from sqlalchemy.sql.base import CacheableOptions
from sqlalchemy.sql.cache_key import HasCacheKey
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.lambdas import LambdaElement
from sqlalchemy.sql.visitors import InternalTraversal

from .. import _sa
from .._core import StatementShapes
from ._bundle import Bundle
from .attributes import InstrumentedAttribute
from .interfaces import MapperProperty
from .mapper import Mapper
from .path_registry import PathToken

# What UPDATE, DELETE and INSERT may have in their __dict__; annotations are Core's way to make a changed copy.
_KNOWN_DML = frozenset(
    {
        "_Annotated__element",
        "_annotations",
        "_execution_options",
        "_hash",
        "_post_values_clause",
        "_propagate_attrs",
        "_returning",
        "_values",
        "_where_criteria",
        "excluded",
        "table",
    }
)

_Shape = tuple[tuple[Any, ...], Sequence[BindParameter[Any]]]
_Part = tuple[str, str, bool]

# what such a description counts as: a bit each
_MOST_PARTS = 64

_BUNDLE = (
    ("name", InternalTraversal.dp_string),
    ("single_entity", InternalTraversal.dp_boolean),
    ("exprs", InternalTraversal.dp_clauseelement_list),
)


def statement_shape(statement: Any) -> Optional[_Shape]:
    """A key, and the statement's parameters in order; None when Core's cache key is needed.

    The key has identities in it: whoever keeps it keeps a statement of this shape, and with it the objects, alive.
    """
    return SHAPES.of(statement)


def dml_shape(statement: Any) -> Optional[_Shape]:
    """As :func:`statement_shape`, for UPDATE, DELETE and INSERT of one row of values."""
    return SHAPES.of(statement) if _KNOWN_DML.issuperset(statement.__dict__) else None


def _describe(kind: type[Any]) -> tuple[str, list[_Part]]:
    """How elements of a class enter a key: by what, and by which attributes."""
    if not issubclass(kind, HasCacheKey):
        return "value", []
    if issubclass(kind, (Mapper, MapperProperty, PathToken)) or kind is Table:
        return "itself", []
    if kind is InstrumentedAttribute:
        return "identity", []
    if issubclass(kind, Table):
        return ("annotated table" if issubclass(kind, Annotated) else "refused"), []
    if issubclass(kind, BindParameter):
        return ("parameter" if kind.__dict__.get("inherit_cache") else "refused"), []
    if issubclass(kind, LambdaElement):
        return "lambda", []
    if issubclass(kind, Bundle):
        return "described", list(_parts(kind, _BUNDLE))
    description = _sa.cache_key_parts(kind)
    if description is None or len(description) > _MOST_PARTS:
        return "refused", []
    if kind is Column:
        way = "column"
    elif not issubclass(kind, CacheableOptions) and kind._gen_cache_key is not HasCacheKey._gen_cache_key:
        way = "refused"
    else:
        way = "annotated" if issubclass(kind, Annotated) else "described"
    return way, list(_parts(kind, description))


def _parts(kind: type[Any], description: Sequence[tuple[str, InternalTraversal]]) -> Iterator[_Part]:
    for name, part in description:
        default = inspect.getattr_static(kind, name, None)
        # what all of a class have says nothing; these options are made when they are asked for, of nothing
        is_absent = not hasattr(type(default), "__get__") or name == "dialect_options"
        yield name, _SINGLETONS.get(name, part.name), is_absent and bool(kind.__dictoffset__)


# members of enums
_SINGLETONS = {"_label_style": "singleton", "_correlate_mode": "singleton"}


#: The shapes of statements.
SHAPES = StatementShapes(_describe, _sa._anonymous_label)
