"""From a class to a mapper: the order of the steps.

`_DeclarativeMapperConfig` runs them: read the class body (`_decl_scan`, `_decl_attributes`), make a dataclass where
asked for (`_decl_dataclass`), build the table, make the mapper (`_decl_table`). Names that SQLAlchemy has in its module
of this name are found here.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Optional, Protocol, TypeVar, Union, cast

from sqlalchemy import Column, MetaData, Table, util
from sqlalchemy import exc as sa_exc
from sqlalchemy.util import topological

from .. import _core
from . import clsregistry, instrumentation
from . import exc as orm_exc
from ._attribute_options import _DataclassArguments, _MapsColumns
from ._decl_attributes import _AttributeScan, _extract_mappable_attributes
from ._decl_attributes import _mapped_column_for_annotation as _mapped_column_for_annotation
from ._decl_dataclass import _assert_dc_arguments, _setup_dataclasses_transforms
from ._decl_dataclass import _generate_dc_transforms as _generate_dc_transforms
from ._decl_dataclass import _UnmappedDataclassConfig as _UnmappedDataclassConfig
from ._decl_lookup import _check_declared_props_nocascade as _check_declared_props_nocascade
from ._decl_lookup import _declared_mapping_info as _declared_mapping_info
from ._decl_lookup import _deferred_configs, _find_inherits, _get_immediate_cls_attr, _is_deferred
from ._decl_lookup import _dive_for_cls_manager as _dive_for_cls_manager
from ._decl_lookup import _is_declarative_props as _is_declarative_props
from ._decl_lookup import _is_supercls_for_inherits as _is_supercls_for_inherits
from ._decl_lookup import _resolve_for_abstract_or_classical as _resolve_for_abstract_or_classical
from ._decl_scan import _ClassScanAbstractConfig, _CollectedAnnotation, _ORMClassConfigurator, _TableArgsType
from ._decl_table import (
    _extract_declared_columns,
    _prepare_mapper_arguments,
    _setup_inheriting_columns,
    _setup_table,
)
from ._mapped_column import UnmappedColumn
from ._mapped_column import _name_column as _undefer_column_name
from .attributes import QueryableAttribute
from .descriptor_props import SynonymProperty
from .interfaces import MapperProperty
from .mapper import _CONFIGURE_MUTEX, Mapper

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import NamedColumn
    from sqlalchemy.sql.selectable import FromClause

    from ._typing import _ClassDict
    from .decl_api import RegistryType

_O = TypeVar("_O", bound=object)
_T = TypeVar("_T", bound=Any)
_MapperKwArgs = Mapping[str, Any]


class MappedClassProtocol(Protocol[_O]):
    """A mapped class, for type checkers."""

    __name__: str
    __mapper__: Mapper[_O]
    __table__: FromClause

    def __call__(self, **kw: Any) -> _O: ...


class _DeclMappedClassProtocol(MappedClassProtocol[_O], Protocol):
    """A declaratively mapped class with all its settings, for type checkers."""

    metadata: MetaData
    __tablename__: str
    __mapper_args__: _MapperKwArgs
    __table_args__: Optional[_TableArgsType]
    _sa_apply_dc_transforms: Optional[_DataclassArguments]

    def __declare_first__(self) -> None: ...

    def __declare_last__(self) -> None: ...


class _MapperConfig(_ORMClassConfigurator):
    """The configurator of a class that gets a mapper."""

    __slots__ = ("declared_attr_reg", "properties")

    is_declarative = False

    properties: util.OrderedDict[str, Union[NamedColumn[Any], MapperProperty[Any], Any]]
    # Values of declared_attr functions, while the class is scanned.
    declared_attr_reg: dict[Any, Any]

    def __init__(self, registry: RegistryType, cls_: type[Any]) -> None:
        super().__init__(cls_)
        self.properties = util.OrderedDict()
        self.declared_attr_reg = {}
        instrumentation.register_class(
            self.cls, finalize=False, registry=registry, declarative_scan=self, init_method=registry.constructor
        )

    def set_cls_attribute(self, attrname: str, value: _T) -> _T:
        """Set a class attribute that goes away when the mapping does."""
        instrumentation.manager_of_class(self.cls).install_member(attrname, value)
        return value

    def map(self, mapper_kw: _MapperKwArgs = util.EMPTY_DICT) -> Mapper[Any]:
        """Make the mapper."""
        raise NotImplementedError()

    def _early_mapping(self, mapper_kw: _MapperKwArgs) -> None:
        self.map(mapper_kw)


class _ImperativeMapperConfig(_MapperConfig):
    """The configurator behind `registry.map_imperatively()`."""

    __slots__ = ("inherits", "local_table")

    def __init__(
        self, registry: RegistryType, cls_: type[Any], table: Optional[FromClause], mapper_kw: _MapperKwArgs
    ) -> None:
        super().__init__(registry, cls_)
        self.local_table = self.set_cls_attribute("__table__", table)
        with _CONFIGURE_MUTEX:
            clsregistry._add_class(self.classname, self.cls, registry._class_registry)
            # Checks for several mapped bases too, although the mapper is told by its own argument.
            self.inherits = _find_inherits(self.cls)
            self._early_mapping(mapper_kw)

    def map(self, mapper_kw: _MapperKwArgs = util.EMPTY_DICT) -> Mapper[Any]:
        return self.set_cls_attribute("__mapper__", Mapper(self.cls, self.local_table, **mapper_kw))


class _DeclarativeMapperConfig(_MapperConfig, _ClassScanAbstractConfig):
    """The configurator of a declarative class."""

    __slots__ = (
        "allow_dataclass_fields",
        "allow_unmapped_annotations",
        "clsdict_view",
        "collected_annotations",
        "collected_attributes",
        "column_copies",
        "column_ordering",
        "dataclass_setup_arguments",
        "declared_columns",
        "inherits",
        "is_dataclass_prior_to_mapping",
        "local_table",
        "mapper_args",
        "mapper_args_fn",
        "persist_selectable",
        "registry",
        "single",
        "table_args",
        "table_fn",
        "tablename",
        "unmapped_columns",
    )

    is_declarative = True
    is_deferred = False

    registry: RegistryType
    local_table: Any
    persist_selectable: Any
    # The columns for the table; of these, the ones that are no attributes; their sort orders.
    declared_columns: util.OrderedSet[Column[Any]]
    unmapped_columns: util.OrderedSet[Column[Any]]
    column_ordering: dict[Column[Any], int]
    # Column of a mixin (or declared_attr) to the copy for this class.
    column_copies: dict[Any, Any]
    tablename: Optional[str]
    table_args: Optional[_TableArgsType]
    table_fn: Optional[Callable[[], FromClause]]
    mapper_args: Mapping[str, Any]
    mapper_args_fn: Optional[Callable[[], dict[str, Any]]]
    inherits: Optional[type[Any]]
    # Does the class bring no table of its own?
    single: bool

    def __init__(self, registry: RegistryType, cls_: type[Any], dict_: _ClassDict) -> None:
        self.clsdict_view = util.immutabledict(dict_) if dict_ else util.EMPTY_DICT
        super().__init__(registry, cls_)
        self.registry = registry
        self.persist_selectable = None
        self.collected_attributes = {}
        self.collected_annotations = {}
        self.declared_columns = util.OrderedSet()
        self.unmapped_columns = util.OrderedSet()
        self.column_ordering = {}
        self.column_copies = {}
        self.tablename = self.table_args = self.table_fn = self.mapper_args_fn = None
        self.single = False
        self._examine_dataclass()

        _AttributeScan(self).run()
        _setup_dataclasses_transforms(self, enable_descriptor_defaults=True)

        with _CONFIGURE_MUTEX:
            clsregistry._add_class(self.classname, self.cls, registry._class_registry)
            self._setup_inheriting_mapper()
            _extract_mappable_attributes(self)
            _extract_declared_columns(self)
            self._setup_table()
            _setup_inheriting_columns(self)
            self._early_mapping(util.EMPTY_DICT)

    def _examine_dataclass(self) -> None:
        cls = self.cls
        self.dataclass_setup_arguments = arguments = getattr(cls, "_sa_apply_dc_transforms", None)
        self.allow_unmapped_annotations = bool(getattr(cls, "__allow_unmapped__", False) or arguments)
        self.is_dataclass_prior_to_mapping = is_dataclass = dataclasses.is_dataclass(cls)
        metadata_key = _get_immediate_cls_attr(cls, "__sa_dataclass_metadata_key__")
        if metadata_key and (arguments or not is_dataclass):
            raise sa_exc.InvalidRequestError(
                "SQLAlchemy mapped dataclasses can't consume mapping information from dataclass.Field() objects if the "
                "immediate class is not already a dataclass."
            )
        self.allow_dataclass_fields = bool(metadata_key and is_dataclass)

    def _setup_inheriting_mapper(self) -> None:
        self.inherits = _find_inherits(self.cls)
        self.single = "__table__" not in self.clsdict_view and self.tablename is None

    def _setup_table(self, table: Optional[FromClause] = None) -> None:
        _setup_table(self, table)

    def _prepare_mapper_arguments(self, mapper_kw: _MapperKwArgs) -> None:
        self.mapper_args = _prepare_mapper_arguments(self, mapper_kw)

    def map(self, mapper_kw: _MapperKwArgs = util.EMPTY_DICT) -> Mapper[Any]:
        self._prepare_mapper_arguments(mapper_kw)
        mapper_type: Callable[..., Mapper[Any]] = Mapper
        if hasattr(self.cls, "__mapper_cls__"):
            mapper_type = util.unbound_method_to_callable(self.cls.__mapper_cls__)
        return self.set_cls_attribute("__mapper__", mapper_type(self.cls, self.local_table, **self.mapper_args))

    @classmethod
    def _assert_dc_arguments(cls, arguments: _DataclassArguments) -> None:
        _assert_dc_arguments(arguments)


class _DeferredDeclarativeConfig(_DeclarativeMapperConfig):
    """The configurator of a class whose mapper is made later, by a `prepare()`."""

    is_deferred = True

    _configs = _deferred_configs
    _cls: weakref.ref[type[Any]]

    def _early_mapping(self, mapper_kw: _MapperKwArgs) -> None:
        # That is what is deferred.
        pass

    @property
    def cls(self) -> type[Any]:
        return cast("type[Any]", self._cls())

    @cls.setter
    def cls(self, class_: type[Any]) -> None:
        self._cls = weakref.ref(class_, self._remove_config_cls)
        self._configs[self._cls] = self

    @classmethod
    def _remove_config_cls(cls, ref: weakref.ref[type[Any]]) -> None:
        cls._configs.pop(ref, None)

    @classmethod
    def has_cls(cls, class_: type[Any]) -> bool:
        """Return whether a class waits for its mapper."""
        return _is_deferred(class_)

    @classmethod
    def raise_unmapped_for_cls(cls, class_: type[Any]) -> NoReturn:
        """Raise what the use of a class that waits for its mapper gives."""
        if hasattr(class_, "_sa_raise_deferred_config"):
            class_._sa_raise_deferred_config()
        raise orm_exc.UnmappedClassError(
            class_,
            msg=f"Class {orm_exc._safe_cls_name(class_)} has a deferred mapping on it.  "
            "It is not yet usable as a mapped class.",
        )

    @classmethod
    def config_for_cls(cls, class_: type[Any]) -> _DeferredDeclarativeConfig:
        """Return the configuration of a class that waits for its mapper."""
        return cls._configs[weakref.ref(class_)]

    @classmethod
    def classes_for_base(cls, base_cls: type[Any], sort: bool = True) -> list[_DeferredDeclarativeConfig]:
        """Return the configurations of all subclasses of `base_cls`, superclasses first if `sort`."""
        pairs = [(config, config._cls()) for config in cls._configs.values()]
        configs = [config for config, class_ in pairs if class_ is not None and issubclass(class_, base_cls)]
        if not sort:
            return configs
        by_class = {config.cls: config for config in configs}
        edges = [
            (by_class[base], config)
            for class_, config in by_class.items()
            for base in class_.__bases__
            if base in by_class
        ]
        return list(topological.sort(edges, configs))

    def map(self, mapper_kw: _MapperKwArgs = util.EMPTY_DICT) -> Mapper[Any]:
        self._configs.pop(self._cls, None)
        return super().map(mapper_kw)


def _add_attribute(cls: type[Any], key: str, value: Any) -> None:
    """Set an attribute of a class; columns and properties are added to its table and mapper if it is mapped."""
    if "__mapper__" not in cls.__dict__:
        type.__setattr__(cls, key, value)
        return
    mapper: Mapper[Any] = cls.__mapper__

    if isinstance(value, Column):
        _append_column(cls, key, value)
        mapper.add_property(key, value)
    elif isinstance(value, _MapsColumns):
        prop = value.mapper_property_to_assign
        for column, _ in value.columns_to_assign:
            _append_column(cls, key, column)
            if prop is None and not isinstance(value, UnmappedColumn):
                mapper.add_property(key, column)
        if prop is not None:
            mapper.add_property(key, prop)
    elif isinstance(value, MapperProperty):
        mapper.add_property(key, value)
    elif isinstance(value, QueryableAttribute) and value.key != key:
        mapper.add_property(key, SynonymProperty(value.key))
    else:
        type.__setattr__(cls, key, value)
        mapper._expire_memoizations()


def _append_column(cls: type[Any], key: str, column: Column[Any]) -> None:
    _undefer_column_name(key, column)
    table = cls.__table__
    if not isinstance(table, Table):
        raise sa_exc.InvalidRequestError(
            f"Cannot add a new attribute to mapped class {cls.__name__!r} because it's not mapped against a table."
        )
    table.append_column(column, replace_existing=True)


def _del_attribute(cls: type[Any], key: str) -> None:
    """Delete an attribute of a class, which may not be a mapped one."""
    mapper = cls.__dict__.get("__mapper__")
    if mapper is None or key not in cls.__dict__ or mapper._dispose_called:
        type.__delattr__(cls, key)
        return
    if isinstance(cls.__dict__[key], (Column, _MapsColumns, MapperProperty, QueryableAttribute)):
        raise NotImplementedError("Can't un-map individual mapped attributes on a mapped class.")
    type.__delattr__(cls, key)
    mapper._expire_memoizations()


def _declarative_constructor(self: Any, **kwargs: Any) -> None:
    """Set the attributes named by the keywords; the class must have them."""
    cls_ = type(self)
    for key, value in kwargs.items():
        if not hasattr(cls_, key):
            raise TypeError(f"{key!r} is an invalid keyword argument for {cls_.__name__}")
        setattr(self, key, value)


_declarative_constructor.__name__ = "__init__"
# it is the constructor of mapped classes, where no annotations are expected
_declarative_constructor.__annotations__ = {}
_core.set_declarative_constructor(_declarative_constructor)

__all__ = ["MappedClassProtocol", "_CollectedAnnotation"]
