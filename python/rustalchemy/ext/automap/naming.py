"""How classes and relationships are called and made, unless `AutomapBase.prepare()` is given other functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Union, overload

from sqlalchemy import ForeignKeyConstraint, Table

from ...orm import Relationship, backref, relationship

if TYPE_CHECKING:
    from ...orm import RelationshipDirection
    from ...orm.relationships import ORMBackrefArgument

_MadeT = TypeVar("_MadeT")


class PythonNameForTableType(Protocol):
    """The name of the class, or module, for a table."""

    def __call__(self, base: type[Any], tablename: str, table: Table) -> str: ...


class NameForScalarRelationshipType(Protocol):
    """The name of an attribute that refers to one object."""

    def __call__(
        self, base: type[Any], local_cls: type[Any], referred_cls: type[Any], constraint: ForeignKeyConstraint
    ) -> str: ...


class NameForCollectionRelationshipType(Protocol):
    """The name of an attribute that refers to a collection."""

    def __call__(
        self, base: type[Any], local_cls: type[Any], referred_cls: type[Any], constraint: ForeignKeyConstraint
    ) -> str: ...


class GenerateRelationshipType(Protocol):
    """Makes a `relationship()` or a `backref()`, whichever ``return_fn`` is; None for no relationship."""

    @overload
    def __call__(
        self,
        base: type[Any],
        direction: RelationshipDirection,
        return_fn: Callable[..., Relationship[Any]],
        attrname: str,
        local_cls: type[Any],
        referred_cls: type[Any],
        **kw: Any,
    ) -> Relationship[Any]: ...

    @overload
    def __call__(
        self,
        base: type[Any],
        direction: RelationshipDirection,
        return_fn: Callable[..., ORMBackrefArgument],
        attrname: str,
        local_cls: type[Any],
        referred_cls: type[Any],
        **kw: Any,
    ) -> ORMBackrefArgument: ...

    def __call__(
        self,
        base: type[Any],
        direction: RelationshipDirection,
        return_fn: Union[Callable[..., Relationship[Any]], Callable[..., ORMBackrefArgument]],
        attrname: str,
        local_cls: type[Any],
        referred_cls: type[Any],
        **kw: Any,
    ) -> Union[ORMBackrefArgument, Relationship[Any]]: ...


def classname_for_table(base: type[Any], tablename: str, table: Table) -> str:
    """The table's name."""
    return str(tablename)


def name_for_scalar_relationship(
    base: type[Any], local_cls: type[Any], referred_cls: type[Any], constraint: ForeignKeyConstraint
) -> str:
    """The referred class' name in lower case."""
    return referred_cls.__name__.lower()


def name_for_collection_relationship(
    base: type[Any], local_cls: type[Any], referred_cls: type[Any], constraint: ForeignKeyConstraint
) -> str:
    """The referred class' name in lower case, and ``_collection``."""
    return referred_cls.__name__.lower() + "_collection"


def generate_relationship(
    base: type[Any],
    direction: RelationshipDirection,
    return_fn: Callable[..., _MadeT],
    attrname: str,
    local_cls: type[Any],
    referred_cls: type[Any],
    **kw: Any,
) -> _MadeT:
    """A relationship, or a backref, with just the given arguments.

    :param direction: ``ONETOMANY``, ``MANYTOONE`` or ``MANYTOMANY``, as seen from ``local_cls``.
    :param return_fn: `relationship` or `backref`; TypeError is raised for anything else.
    :param attrname: what the attribute of ``local_cls`` will be called.
    """
    if return_fn is backref:
        return return_fn(attrname, **kw)
    if return_fn is relationship:
        return return_fn(referred_cls, **kw)
    raise TypeError(f"Unknown relationship function: {return_fn}")
