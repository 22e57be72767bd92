"""Which statements a read-only session refuses: whatever writes, also inside of a SELECT's common table expressions."""

from __future__ import annotations

from typing import Any

from sqlalchemy import exc as sa_exc
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql import visitors
from sqlalchemy.sql.cache_key import HasCacheKey
from sqlalchemy.sql.dml import UpdateBase


def refuse_writes(statement: Any) -> None:
    """Raise InvalidRequestError if a statement writes."""
    kind = _kind_of(statement)
    if kind is not None:
        raise sa_exc.InvalidRequestError(
            f"This Session is read-only: {kind} is refused. Use a Session without read_only=True for what is to be "
            "written."
        )


def _kind_of(statement: Any) -> str | None:
    """What a statement does that is not reading."""
    if isinstance(statement, ExecutableDDLElement):
        return "DDL"
    if isinstance(statement, UpdateBase):
        return statement.__visit_name__.upper()
    # a cache key is made several times faster than a statement is walked through
    key = statement._generate_cache_key() if isinstance(statement, HasCacheKey) else None
    if key is not None:
        return _kind_in(key.key)
    return _kind_inside(statement) if isinstance(statement, visitors.Visitable) else None


def _kind_in(key: tuple[Any, ...]) -> str | None:
    """What is written according to a cache key: it names the classes that a statement is made of."""
    parts = [key]
    for part in parts:
        for element in part:
            if type(element) is tuple:
                parts.append(element)
            elif isinstance(element, type) and issubclass(element, UpdateBase):
                return element.__visit_name__.upper()
    return None


def _kind_inside(statement: Any) -> str | None:
    """What is written by a part of a statement without cache key."""
    parts = visitors.iterate(statement)
    return next((part.__visit_name__.upper() for part in parts if isinstance(part, UpdateBase)), None)
