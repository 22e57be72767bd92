"""A cheap key for the commonest SELECTs: ``select(User).where(User.id == 5)`` and its like.

Core's cache key walks the whole statement. Where a statement is nothing but columns or entities and comparisons of
attributes with values, the parts are objects that live as long as their classes (an attribute's expression, a mapper's
table), so that their identities and the operators say as much.
"""

from __future__ import annotations

from typing import Any, Optional

from sqlalchemy.sql.elements import BinaryExpression, BindParameter

# What Select.__dict__ has when only entities and WHERE were given.
_PLAIN = frozenset({"_label_style", "_propagate_attrs", "_raw_columns", "_where_criteria"})


def statement_shape(statement: Any) -> Optional[tuple[tuple[Any, ...], list[BindParameter[Any]]]]:
    """A key, and the statement's parameters in order; None when Core's cache key is needed.

    The key has identities in it: whoever keeps it keeps a statement of this shape, and with it the objects, alive.
    """
    state = statement.__dict__
    if not _PLAIN.issuperset(state):
        return None
    key: list[Any] = [state["_label_style"]]
    key.extend(map(id, state["_raw_columns"]))
    parameters: list[BindParameter[Any]] = []
    for criterion in state.get("_where_criteria", ()):
        if type(criterion) is not BinaryExpression or criterion.modifiers:
            return None
        right = criterion.right
        if (
            type(right) is not BindParameter
            or not right.unique
            or right.callable is not None
            or right.expanding
            or right.literal_execute
        ):
            return None
        key += (id(criterion.left), criterion.operator, id(right.type), right.required)
        parameters.append(right)
    return tuple(key), parameters
