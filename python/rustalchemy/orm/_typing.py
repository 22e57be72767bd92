"""Type aliases and type guards shared by the modules of the ORM."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, TypeVar, Union

from sqlalchemy.sql import roles
from sqlalchemy.sql.elements import ColumnElement

if TYPE_CHECKING:
    from sqlalchemy.sql.selectable import ForUpdateParameter

    from .attributes import QueryableAttribute
    from .decl_api import registry as _registry_type
    from .interfaces import ORMOption
    from .mapper import Mapper
    from .util import AliasedClass, AliasedInsp

    _RegistryType = _registry_type

    class _GetOptions(TypedDict, total=False):
        """The keywords of ``Session.get()`` and ``Session.get_one()``."""

        options: Sequence[ORMOption] | None
        populate_existing: bool | None
        with_for_update: ForUpdateParameter
        identity_token: Any | None
        execution_options: Mapping[str, Any]
        bind_arguments: dict[str, Any] | None


_T = TypeVar("_T", bound=Any)
_O = TypeVar("_O", bound=object)

_InternalEntityType = Union["Mapper[_T]", "AliasedInsp[_T]"]
_ExternalEntityType = Union[type[_T], "AliasedClass[_T]"]
_EntityType = Union[type[_T], "AliasedClass[_T]", "Mapper[_T]", "AliasedInsp[_T]"]
_EntityBindKey = Union[type[_O], "Mapper[_O]"]

# what a loader option may be given as a key
_AttrType = Union[Literal["*"], "QueryableAttribute[Any]"]

_ClassDict = Mapping[str, Any]
_InstanceDict = dict[str, Any]
_IdentityKeyType = tuple[type[_T], tuple[Any, ...], Union[Any, None]]

_ORMColumnExprArgument = Union[ColumnElement[_T], roles.ExpressionElementRole[_T]]
_ORMCOLEXPR = TypeVar("_ORMCOLEXPR", bound=ColumnElement[Any])

OrmExecuteOptionsParameter = Mapping[str, Any]


class _HasPathString(Protocol):
    """Anything that can name itself in the string form of a path."""

    def path_string(self) -> str: ...


class _ORMAdapterProto(Protocol):
    """A callable that turns expressions against a mapper into expressions against an alias."""

    def __call__(self, obj: Any, key: str | None = None) -> Any: ...


class _LoaderCallable(Protocol):
    """What loads the value of one attribute of one state."""

    def __call__(self, state: Any, passive: Any) -> Any: ...


def is_orm_option(opt: Any) -> bool:
    return not opt._is_core


def is_user_defined_option(opt: Any) -> bool:
    return not opt._is_core and opt._is_user_defined


def is_composite_class(obj: Any) -> bool:
    return hasattr(obj, "__composite_values__") or hasattr(obj, "__dataclass_fields__")


insp_is_mapper_property = operator.attrgetter("is_property")
insp_is_mapper = operator.attrgetter("is_mapper")
insp_is_aliased_class = operator.attrgetter("is_aliased_class")
insp_is_attribute = operator.attrgetter("is_attribute")
attr_is_internal_proxy = operator.attrgetter("_is_internal_proxy")
is_collection_impl = operator.attrgetter("collection")
prop_is_relationship = operator.attrgetter("_is_relationship")
is_has_collection_adapter = operator.attrgetter("_is_has_collection_adapter")
