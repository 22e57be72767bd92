"""The metaclasses of declarative classes: attributes set on a mapped class become part of the mapping."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from sqlalchemy import MetaData, inspection
from sqlalchemy import exc as sa_exc
from typing_extensions import dataclass_transform

from .. import _sa
from .._core import Instance
from ._decl_scan import _ORMClassConfigurator
from ._orm_constructors import composite, deferred, mapped_column, relationship, synonym, unmapped_column
from .decl_base import _add_attribute, _del_attribute
from .descriptor_props import Composite, Synonym
from .properties import MappedColumn
from .relationships import RelationshipProperty

if TYPE_CHECKING:
    from ._registry import registry as RegistryType
    from .mapper import Mapper  # noqa: F401  (in a string below)


class _DynamicAttributesType(type):
    """A metaclass that adds columns and properties to the mapping when they are set on the class."""

    def __setattr__(cls, key: str, value: Any) -> None:
        if "__mapper__" in cls.__dict__:
            _add_attribute(cls, key, value)
        else:
            type.__setattr__(cls, key, value)

    def __delattr__(cls, key: str) -> None:
        if "__mapper__" in cls.__dict__:
            _del_attribute(cls, key)
        else:
            type.__delattr__(cls, key)


class DeclarativeAttributeIntercept(_DynamicAttributesType, inspection.Inspectable["Mapper[Any]"]):
    """The metaclass of `DeclarativeBase`."""

    def __new__(cls, name: str, bases: tuple[type[Any], ...], namespace: dict[str, Any], **kw: Any) -> Any:
        if _sa.TypedColumns is not None and any(issubclass(base, _sa.TypedColumns) for base in bases):
            return _new_typed_columns(name, bases, namespace)
        if "__module__" not in namespace:
            # Made by a call instead of a class statement: Python would take this module for the class's.
            namespace = {**namespace, "__module__": sys._getframe(1).f_globals.get("__name__", __name__)}
        return super().__new__(cls, name, bases, namespace, **kw)


@dataclass_transform(
    field_specifiers=(
        MappedColumn,
        RelationshipProperty,
        Composite,
        Synonym,
        mapped_column,
        unmapped_column,
        relationship,
        composite,
        synonym,
        deferred,
    )
)
class DCTransformDeclarative(DeclarativeAttributeIntercept):
    """The metaclass of `MappedAsDataclass`."""


class DeclarativeMeta(DeclarativeAttributeIntercept):
    """The metaclass of bases made by `declarative_base()`; it maps each new class."""

    metadata: MetaData
    registry: RegistryType

    def __init__(cls, classname: Any, bases: Any, dict_: Any, **kw: Any) -> None:
        from ._registry import registry

        # A metaclass of the user's may have changed the class since.
        dict_ = cls.__dict__
        own_registry = getattr(cls, "_sa_registry", None)
        if own_registry is None:
            own_registry = dict_.get("registry", None)
            if not isinstance(own_registry, registry):
                raise sa_exc.InvalidRequestError(
                    "Declarative base class has no 'registry' attribute, or registry is not a "
                    "sqlalchemy.orm.registry() "
                    "object"
                )
            cls._sa_registry = own_registry
        if not dict_.get("__abstract__", False):
            _ORMClassConfigurator._as_declarative(own_registry, cls, dict_)
        type.__init__(cls, classname, bases, dict_)


def _new_typed_columns(name: str, bases: tuple[type[Any], ...], namespace: dict[str, Any]) -> type[Any]:
    """Return a TypedColumns class "derived" from a mapped class.

    Such a class exists for type checkers. Instances of the two cannot have one memory layout, so that the new class
    only borrows from the mapped class what tells that it is one.
    """
    mapped = [base for base in bases if issubclass(base, Instance)]
    borrowed = {
        key: getattr(base, key)
        for base in reversed(mapped)
        for key in ("_sa_class_manager", "__mapper__", "__table__")
        if hasattr(base, key)
    }
    columns = tuple(base for base in bases if base not in mapped)
    return type(name, (*columns, type("_Borrowed", (), borrowed)), namespace)
