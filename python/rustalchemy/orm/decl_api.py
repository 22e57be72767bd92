"""What users of declarative mapping call and derive from.

`registry` is in `_registry`, the metaclasses are in `_declarative_metaclass`, `declared_attr` is in `_declared_attr`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Optional, Protocol, TypeVar, Union, overload

from sqlalchemy import MetaData, inspection, util
from sqlalchemy import exc as sa_exc
from typing_extensions import Self, dataclass_transform

from .. import _sa
from .._core import ClassManager, Instance
from .._sa import _NoArg
from . import clsregistry
from ._decl_dataclass import _generate_dc_transforms
from ._decl_scan import _ORMClassConfigurator
from ._declarative_metaclass import DCTransformDeclarative as DCTransformDeclarative
from ._declarative_metaclass import DeclarativeAttributeIntercept as DeclarativeAttributeIntercept
from ._declarative_metaclass import DeclarativeMeta as DeclarativeMeta
from ._declarative_metaclass import _DynamicAttributesType as _DynamicAttributesType
from ._declared_attr import _declared_attr_common as _declared_attr_common
from ._declared_attr import _declared_directive as _declared_directive
from ._declared_attr import _stateful_declared_attr as _stateful_declared_attr
from ._declared_attr import declared_attr as declared_attr
from ._orm_constructors import composite, deferred, mapped_column, relationship, synonym, unmapped_column
from ._registry import TypeResolve as TypeResolve
from ._registry import _map_as_dataclass, _TypeAnnotationMapType
from ._registry import registry as registry
from .base import DEFAULT_MANAGER_ATTR, _inspect_mapped_class, _is_mapped_class
from .decl_base import MappedClassProtocol, _add_attribute, _declarative_constructor, _DeferredDeclarativeConfig
from .descriptor_props import Composite, Synonym
from .properties import MappedColumn
from .relationships import RelationshipProperty

if TYPE_CHECKING:
    from sqlalchemy.sql.selectable import FromClause

    from .interfaces import MapperProperty
    from .mapper import Mapper
    from .state import InstanceState

_O = TypeVar("_O", bound=object)
_T = TypeVar("_T", bound=Any)
_Flag = Union[_NoArg, bool]
_DataclassCallable = Union[_NoArg, Callable[..., type[Any]]]

RegistryType = registry
_RegistryType = registry


def has_inherited_table(cls: type[Any]) -> bool:
    """Return whether a superclass of the class has a table; for `declared_attr` functions of mixins."""
    return any(getattr(base, "__table__", None) is not None for base in cls.__mro__[1:])


def synonym_for(name: str, map_column: bool = False) -> Callable[[Callable[..., Any]], Synonym[Any]]:
    """Return a decorator that makes a descriptor (a property) the synonym of a mapped attribute."""

    def decorate(fn: Callable[..., Any]) -> Synonym[Any]:
        return Synonym(name, map_column=map_column, descriptor=fn)

    return decorate


@util.deprecated(
    "2.1",
    "The declarative_mixin decorator was used only by the now removed mypy plugin so it has no longer any use and can "
    "be "
    "safely removed.",
)
def declarative_mixin(cls: type[_T]) -> type[_T]:
    """Return the class unchanged."""
    return cls


def add_mapped_attribute(target: type[Any], key: str, attr: MapperProperty[Any]) -> None:
    """Add an attribute to a class that is mapped already."""
    _add_attribute(target, key, attr)


# -- base classes ------------------------------------------------------------------------------------------------------


class _DeclarativeTyping:
    """What type checkers know about every declarative class."""

    __slots__ = ()

    if TYPE_CHECKING:

        def _sa_inspect_type(self) -> Mapper[Self]: ...

        def _sa_inspect_instance(self) -> InstanceState[Self]: ...

        _sa_registry: ClassVar[registry]
        registry: ClassVar[registry]
        metadata: ClassVar[MetaData]
        __name__: ClassVar[str]
        __mapper__: ClassVar[Mapper[Any]]
        __table__: ClassVar[FromClause]
        __tablename__: Any
        __mapper_args__: Any
        __table_args__: Any

        def __init__(self, **kw: Any) -> None: ...


class DeclarativeBase(
    _DeclarativeTyping, inspection.Inspectable["InstanceState"], Instance, metaclass=DeclarativeAttributeIntercept
):
    """Derive a class from this one to get a base for mapped classes: ``class Base(DeclarativeBase): pass``.

    The base may set ``metadata``, ``registry`` and ``type_annotation_map``. Classes derived from it are mapped as they
    are defined.
    """

    def __init_subclass__(cls, **kw: Any) -> None:
        if DeclarativeBase in cls.__bases__:
            _check_not_declarative(cls, DeclarativeBase)
            _setup_declarative_base(cls)
        else:
            _ORMClassConfigurator._as_declarative(cls._sa_registry, cls, cls.__dict__)
        super().__init_subclass__(**kw)


class DeclarativeBaseNoMeta(_DeclarativeTyping, inspection.Inspectable["InstanceState"], Instance):
    """As `DeclarativeBase`, with no metaclass; attributes set later on a mapped class need `add_mapped_attribute()`."""

    def __init_subclass__(cls, **kw: Any) -> None:
        if DeclarativeBaseNoMeta in cls.__bases__:
            _check_not_declarative(cls, DeclarativeBaseNoMeta)
            _setup_declarative_base(cls)
        else:
            _ORMClassConfigurator._as_declarative(cls._sa_registry, cls, cls.__dict__)
        super().__init_subclass__(**kw)


class MappedAsDataclass(metaclass=DCTransformDeclarative):
    """Mix this in to make mapped classes dataclasses; arguments of `dataclasses.dataclass()` go into the class
    statement.

    Mixins and abstract bases with this class among their bases become dataclasses as well.
    """

    def __init_subclass__(
        cls,
        init: _Flag = _NoArg.NO_ARG,
        repr: _Flag = _NoArg.NO_ARG,
        eq: _Flag = _NoArg.NO_ARG,
        order: _Flag = _NoArg.NO_ARG,
        unsafe_hash: _Flag = _NoArg.NO_ARG,
        match_args: _Flag = _NoArg.NO_ARG,
        kw_only: _Flag = _NoArg.NO_ARG,
        dataclass_callable: _DataclassCallable = _NoArg.NO_ARG,
        **kw: Any,
    ) -> None:
        _generate_dc_transforms(
            cls,
            init=init,
            repr=repr,
            eq=eq,
            order=order,
            unsafe_hash=unsafe_hash,
            match_args=match_args,
            kw_only=kw_only,
            dataclass_callable=dataclass_callable,
        )
        # Maps the class, if there is a declarative base behind.
        super().__init_subclass__(**kw)
        if not _is_mapped_class(cls):
            _ORMClassConfigurator._as_unmapped_dataclass(cls, cls.__dict__)


def _setup_declarative_base(cls: Any) -> None:
    """Give a class derived from `DeclarativeBase` its registry, metadata and constructor."""
    type_annotation_map = getattr(cls, "type_annotation_map", None)
    own_registry = getattr(cls, "registry", None)
    if own_registry is None:
        own_registry = registry(metadata=getattr(cls, "metadata", None), type_annotation_map=type_annotation_map)
        cls.registry = own_registry
    elif not isinstance(own_registry, registry):
        raise sa_exc.InvalidRequestError(
            "Declarative base class has a 'registry' attribute that is not an instance of sqlalchemy.orm.registry()"
        )
    elif type_annotation_map is not None:
        raise sa_exc.InvalidRequestError(
            "Declarative base class has both a 'registry' attribute and a type_annotation_map entry.  Per-base "
            "type_annotation_maps are not supported.  Please apply the type_annotation_map to this registry directly."
        )

    cls._sa_registry = own_registry
    if "metadata" not in cls.__dict__:
        cls.metadata = own_registry.metadata
    if cls.__init__ is Instance.__init__:
        cls.__init__ = own_registry.constructor


def _check_not_declarative(cls: type[Any], base: type[Any]) -> None:
    table = cls.__dict__.get("__table__")
    has_table = "__table__" in cls.__dict__ and not (callable(table) or hasattr(table, "__get__"))
    if has_table or isinstance(cls.__dict__.get("__tablename__"), str):
        raise sa_exc.InvalidRequestError(
            f"Cannot use {base.__name__!r} directly as a declarative base class. Create a Base by creating a subclass "
            "of it."
        )


def declarative_base(
    *,
    metadata: Optional[MetaData] = None,
    mapper: Optional[Callable[..., Mapper[Any]]] = None,
    cls: Union[type[Any], tuple[type[Any], ...]] = object,
    name: str = "Base",
    class_registry: Optional[clsregistry._ClsRegistryType] = None,
    type_annotation_map: Optional[_TypeAnnotationMapType] = None,
    constructor: Callable[..., None] = _declarative_constructor,
    metaclass: type[Any] = DeclarativeMeta,
) -> Any:
    """Return a new base class for mapped classes, with a registry of its own; see `registry.generate_base`."""
    return registry(
        metadata=metadata,
        class_registry=class_registry,
        constructor=constructor,
        type_annotation_map=type_annotation_map,
    ).generate_base(mapper=mapper, cls=cls, name=name, metaclass=metaclass)


def as_declarative(**kw: Any) -> Callable[[type[_T]], type[_T]]:
    """Return a decorator that makes a class a declarative base, with a registry of its own."""
    own_registry = registry(metadata=kw.pop("metadata", None), class_registry=kw.pop("class_registry", None))
    return own_registry.as_declarative_base(**kw)


# -- dataclasses -------------------------------------------------------------------------------------------------------


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
def mapped_as_dataclass(
    registry: RegistryType,
    /,
    *,
    init: _Flag = _NoArg.NO_ARG,
    repr: _Flag = _NoArg.NO_ARG,
    eq: _Flag = _NoArg.NO_ARG,
    order: _Flag = _NoArg.NO_ARG,
    unsafe_hash: _Flag = _NoArg.NO_ARG,
    match_args: _Flag = _NoArg.NO_ARG,
    kw_only: _Flag = _NoArg.NO_ARG,
    dataclass_callable: _DataclassCallable = _NoArg.NO_ARG,
) -> Callable[[type[_O]], type[_O]]:
    """Return a decorator that maps a class and makes it a dataclass."""
    arguments = {
        "init": init,
        "repr": repr,
        "eq": eq,
        "order": order,
        "unsafe_hash": unsafe_hash,
        "match_args": match_args,
        "kw_only": kw_only,
        "dataclass_callable": dataclass_callable,
    }
    return _map_as_dataclass(registry, arguments)


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
@overload
def unmapped_dataclass(__cls: type[_O], /) -> type[_O]: ...


@overload
def unmapped_dataclass(
    __cls: None = ...,
    /,
    *,
    init: _Flag = ...,
    repr: _Flag = ...,
    eq: _Flag = ...,
    order: _Flag = ...,
    unsafe_hash: _Flag = ...,
    match_args: _Flag = ...,
    kw_only: _Flag = ...,
    dataclass_callable: _DataclassCallable = ...,
) -> Callable[[type[_O]], type[_O]]: ...


def unmapped_dataclass(
    __cls: Optional[type[_O]] = None, /, **arguments: Any
) -> Union[type[_O], Callable[[type[_O]], type[_O]]]:
    """Make a mixin or abstract base a dataclass that mapped dataclasses may derive from; a decorator."""

    def decorate(cls: type[_O]) -> type[_O]:
        _generate_dc_transforms(cls_=cls, **arguments)
        _ORMClassConfigurator._as_unmapped_dataclass(cls, cls.__dict__)
        return cls

    return decorate(__cls) if __cls else decorate


# -- inspection, typed tables ------------------------------------------------------------------------------------------


# past the checks of ours that inspection makes anyway
_mapper_of: Callable[[Any], Any] = ClassManager.mapper.__get__


@_sa._inspects(DeclarativeMeta, DeclarativeBase, DeclarativeAttributeIntercept)
def _inspect_decl_meta(cls: type[Any]) -> Optional[Mapper[Any]]:
    # for each entity of each select()
    manager = cls.__dict__.get(DEFAULT_MANAGER_ATTR) if isinstance(cls, type) else None
    mapper: Optional[Mapper[Any]] = None if manager is None else _mapper_of(manager)
    if mapper is None:
        mapper = _inspect_mapped_class(cls)
    if mapper is None and _DeferredDeclarativeConfig.has_cls(cls):
        _DeferredDeclarativeConfig.raise_unmapped_for_cls(cls)
    return mapper


class MappedClassWithTypedColumnsProtocol(Protocol[_T]):
    """A mapped class that says which TypedColumns class its table has, for type checkers."""

    __typed_cols__: _T
    __name__: ClassVar[str]
    __mapper__: ClassVar[Mapper[Any]]
    __table__: ClassVar[FromClause]


def as_typed_table(cls: MappedClassProtocol[Any] | type[Any], typed_columns_cls: Any = None, /) -> FromClause:
    """Return the class's table, for type checkers with typed columns."""
    return cls.__table__
