"""Declarative helpers: concrete inheritance, reflection; and older names of functions that are in `rustalchemy.orm`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import util

from ...orm.decl_api import DeclarativeMeta, declared_attr
from ...orm.decl_api import as_declarative as _as_declarative
from ...orm.decl_api import declarative_base as _declarative_base
from ...orm.decl_api import has_inherited_table as _has_inherited_table
from ...orm.decl_api import synonym_for as _synonym_for
from .extensions import AbstractConcreteBase, ConcreteBase, DeferredReflection


@util.moved_20("The ``declarative_base()`` function is now available as :func:`sqlalchemy.orm.declarative_base`.")
def declarative_base(*arg: Any, **kw: Any) -> Any:
    """`orm.declarative_base()`."""
    return _declarative_base(*arg, **kw)


@util.moved_20("The ``as_declarative()`` function is now available as :func:`sqlalchemy.orm.as_declarative`")
def as_declarative(*arg: Any, **kw: Any) -> Any:
    """`orm.as_declarative()`."""
    return _as_declarative(*arg, **kw)


@util.moved_20("The ``has_inherited_table()`` function is now available as :func:`sqlalchemy.orm.has_inherited_table`.")
def has_inherited_table(*arg: Any, **kw: Any) -> Any:
    """`orm.has_inherited_table()`."""
    return _has_inherited_table(*arg, **kw)


@util.moved_20("The ``synonym_for()`` function is now available as :func:`sqlalchemy.orm.synonym_for`")
def synonym_for(*arg: Any, **kw: Any) -> Any:
    """`orm.synonym_for()`."""
    return _synonym_for(*arg, **kw)


__all__ = [
    "AbstractConcreteBase",
    "ConcreteBase",
    "DeclarativeMeta",
    "DeferredReflection",
    "as_declarative",
    "declarative_base",
    "declared_attr",
    "has_inherited_table",
    "synonym_for",
]
