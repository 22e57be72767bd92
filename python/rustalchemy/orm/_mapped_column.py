"""`mapped_column()` as an object: a Column in the making, with what the mapper and a dataclass need beside it.

`orm.properties` re-exports both classes under SQLAlchemy's module name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Optional, TypeVar, Union, cast, get_args

from sqlalchemy import Column, ForeignKey, util
from sqlalchemy import exc as sa_exc
from sqlalchemy.sql.schema import SchemaConst
from sqlalchemy.sql.type_api import TypeEngine
from sqlalchemy.util import typing as sa_typing

from .. import _sa
from .._sa import _NoArg
from . import exc as orm_exc
from ._annotations import de_stringify_annotation
from ._attribute_options import (
    _DEFAULT_ATTRIBUTE_OPTIONS,
    _AttributeOptions,
    _DataclassDefaultsDontSet,
    _IntrospectsAnnotations,
    _MapsColumns,
)
from .base import Unmapped, _DeclarativeMapped, class_mapper

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ColumnElement
    from sqlalchemy.sql.operators import OperatorType

    from .base import Mapped
    from .decl_api import RegistryType
    from .decl_base import _DeclarativeMapperConfig
    from .interfaces import MapperProperty

_T = TypeVar("_T", bound=Any)
_MC = TypeVar("_MC", bound="MappedColumn[Any]")


class _AnnotatedType(NamedTuple):
    """What an annotation says once strings, Optional, type aliases and Annotated are taken off it."""

    given: Any
    core: Any
    nullable: bool
    pep593: Optional[Any]
    pep593_argument: Optional[Any]
    pep593_metadata: tuple[Any, ...]
    pep695: Optional[Any]
    pep695_value: Optional[Any]

    @classmethod
    def of(cls, given: Any) -> _AnnotatedType:
        nullable = sa_typing.includes_none(given)
        core: Any = sa_typing.de_optionalize_union_types(given)

        pep695 = pep695_value = None
        if sa_typing.is_pep695(core):
            pep695 = core
            core = sa_typing.de_optionalize_union_types(pep695.__value__)
            if arguments := get_args(pep695):
                core = core[arguments]
            pep695_value = core

        pep593 = pep593_argument = None
        metadata: tuple[Any, ...] = ()
        if sa_typing.is_pep593(core):
            pep593 = core
            pep593_argument, *rest = get_args(core)
            if nullable:
                pep593_argument = sa_typing.de_optionalize_union_types(pep593_argument)
            metadata = tuple(rest)
        return cls(given, core, nullable, pep593, pep593_argument, metadata, pep695, pep695_value)


class MappedColumn(_DataclassDefaultsDontSet, _IntrospectsAnnotations, _MapsColumns[_T], _DeclarativeMapped[_T]):
    """A column of a declarative class, before its table exists."""

    __slots__ = (
        "_attribute_options",
        "_creation_order",
        "_default_scalar_value",
        "_has_dataclass_arguments",
        "_has_insert_default",
        "_has_nullable",
        "_sort_order",
        "_use_existing_column",
        "active_history",
        "column",
        "deferred",
        "deferred_group",
        "deferred_raiseload",
        "foreign_keys",
    )

    column: Column[_T]
    foreign_keys: Optional[set[ForeignKey]]
    deferred: Union[_NoArg, bool]
    deferred_group: Optional[str]
    deferred_raiseload: Optional[bool]
    active_history: bool

    def __init__(self, *arg: Any, **kw: Any) -> None:
        options: _AttributeOptions = kw.pop("attribute_options", _DEFAULT_ATTRIBUTE_OPTIONS)
        self._attribute_options = options
        self._use_existing_column: bool = kw.pop("use_existing_column", False)
        # A default alone has a meaning for the Column too, so that it needs no dataclass.
        self._has_dataclass_arguments = any(
            value is not _NoArg.NO_ARG
            for name, value in zip(options._fields, options, strict=False)
            if name != "dataclasses_default"
        )
        self._has_insert_default = kw.get("insert_default", _NoArg.NO_ARG) is not _NoArg.NO_ARG
        self._default_scalar_value = _NoArg.NO_ARG
        if options.dataclasses_default is not _NoArg.NO_ARG:
            kw["default"] = options.dataclasses_default

        self.deferred = kw.pop("deferred", _NoArg.NO_ARG)
        self.deferred_group = kw.pop("deferred_group", None)
        self.deferred_raiseload = kw.pop("deferred_raiseload", None)
        self.active_history = kw.pop("active_history", False)
        self._sort_order: Union[_NoArg, int] = kw.pop("sort_order", _NoArg.NO_ARG)
        self.column = cast("Column[_T]", Column(*arg, **kw))
        self.foreign_keys = self.column.foreign_keys
        self._has_nullable = kw.get("nullable") not in (None, SchemaConst.NULL_UNSPECIFIED)
        util.set_creation_order(self)

    def _copy(self, **kw: Any) -> Any:
        return self._copy_as(type(self), **kw)

    def _as_unmapped_column(self) -> UnmappedColumn[_T]:
        return self._copy_as(UnmappedColumn)

    def _copy_as(self, cls: type[_MC], **kw: Any) -> _MC:
        new = cls.__new__(cls)
        for name in MappedColumn.__slots__:
            if name not in ("column", "foreign_keys", "_creation_order"):
                setattr(new, name, getattr(self, name))
        new.column = _sa.copy_column(self.column, **kw)
        new.foreign_keys = new.column.foreign_keys
        util.set_creation_order(new)
        return new

    @property
    def name(self) -> str:
        """The column's name."""
        return self.column.name

    @property
    def mapper_property_to_assign(self) -> Optional[MapperProperty[_T]]:
        from .properties import ColumnProperty

        deferred = self.deferred
        if deferred is _NoArg.NO_ARG:
            deferred = bool(self.deferred_group or self.deferred_raiseload)
        has_default = self._default_scalar_value is not _NoArg.NO_ARG
        if not (deferred or self.active_history or has_default):
            return None
        return ColumnProperty(
            self.column,
            deferred=bool(deferred),
            group=self.deferred_group,
            raiseload=bool(self.deferred_raiseload),
            attribute_options=self._attribute_options,
            active_history=self.active_history,
            default_scalar_value=self._default_scalar_value if has_default else None,
        )

    @property
    def columns_to_assign(self) -> list[tuple[Column[Any], int]]:
        return [(self.column, self._sort_order if isinstance(self._sort_order, int) else 0)]

    def __clause_element__(self) -> Column[_T]:
        return self.column

    def operate(self, op: OperatorType, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
        return op(self.__clause_element__(), *other, **kwargs)

    def reverse_operate(self, op: OperatorType, other: Any, **kwargs: Any) -> ColumnElement[Any]:
        column = self.__clause_element__()
        return op(_sa.bind_param(column, op, other), column, **kwargs)  # pyright: ignore[reportReturnType]

    def found_in_pep593_annotated(self) -> Any:
        # The one inside Annotated is shared by all who use the type: each attribute completes a new one from it.
        return MappedColumn()

    def _adjust_for_existing_column(
        self, decl_scan: _DeclarativeMapperConfig, key: str, given_column: Column[_T]
    ) -> Column[_T]:
        """Return the superclass table's column of that name where use_existing_column asks for it."""
        if not (self._use_existing_column and decl_scan.inherits and decl_scan.single):
            return given_column
        if decl_scan.is_deferred:
            raise sa_exc.ArgumentError("Can't use use_existing_column with deferred mappers")
        inherited = class_mapper(decl_scan.inherits, False)
        name = given_column.name if given_column.name is not None else key
        existing: Column[_T] = inherited.local_table.c.get(name, given_column)
        return existing

    def declarative_scan(
        self,
        decl_scan: _DeclarativeMapperConfig,
        registry: RegistryType,
        cls: type[Any],
        originating_module: Optional[str],
        key: str,
        mapped_container: Optional[type[Mapped[Any]]],
        annotation: Optional[Any],
        extracted_mapped_annotation: Optional[Any],
        is_dataclass_field: bool,
    ) -> None:
        column = self.column = self._adjust_for_existing_column(decl_scan, key, self.column)
        _name_column(key, column)
        if extracted_mapped_annotation is not None:
            self._init_column_for_annotation(
                cls, decl_scan, key, registry, extracted_mapped_annotation, originating_module
            )
        elif _sa.is_null_type(column.type) and not column.foreign_keys:
            self._raise_for_required(key, cls)

    def declarative_scan_for_composite(
        self,
        decl_scan: _DeclarativeMapperConfig,
        registry: RegistryType,
        cls: type[Any],
        originating_module: Optional[str],
        key: str,
        param_name: str,
        param_annotation: Any,
    ) -> None:
        """Take name and type from a parameter of a composite's dataclass."""
        _name_column(param_name, self.column)
        self._init_column_for_annotation(cls, decl_scan, key, registry, param_annotation, originating_module)

    def _init_column_for_annotation(
        self,
        cls: type[Any],
        decl_scan: _DeclarativeMapperConfig,
        key: str,
        registry: RegistryType,
        argument: Any,
        originating_module: Optional[str],
    ) -> None:
        """Complete the column from the annotation: nullability, settings inside `Annotated`, SQL type."""
        if sa_typing.is_fwd_ref(argument, check_generic=True, check_for_plain_string=True):
            argument = de_stringify_annotation(cls, argument, originating_module, include_generic=True)
        annotated = _AnnotatedType.of(argument)

        if not self._has_nullable:
            self.column.nullable = annotated.nullable
        for element in annotated.pep593_metadata:
            if isinstance(element, MappedColumn):
                self._complete_from(element, decl_scan, key)
                break
        if _sa.is_null_type(self.column.type) and not self.column.foreign_keys:
            self._take_type_from(annotated, cls, key, registry)

    def _complete_from(self, other: MappedColumn[Any], decl_scan: _DeclarativeMapperConfig, key: str) -> None:
        """Take what a mapped_column() inside of `Annotated` declares and this one leaves open."""
        self.column = other._adjust_for_existing_column(decl_scan, key, self.column)
        has_default = self._has_insert_default or self._attribute_options.dataclasses_default is not _NoArg.NO_ARG
        _sa.merge_column(other.column, self.column, omit_defaults=has_default)

        if self.deferred is _NoArg.NO_ARG:
            self.deferred = other.deferred
        if self.deferred_group is None:
            self.deferred_group = other.deferred_group
        if self.deferred_raiseload is None:
            self.deferred_raiseload = other.deferred_raiseload
        if self._sort_order is _NoArg.NO_ARG:
            self._sort_order = other._sort_order
        self._use_existing_column = self._use_existing_column or other._use_existing_column
        self.active_history = other.active_history or self.active_history

        if other.column.key is not None or other.column.name is not None:
            util.warn_deprecated(
                "Can't use the 'key' or 'name' arguments in Annotated with mapped_column(); this will be ignored",
                "2.0.22",
            )
        if other._has_dataclass_arguments:
            options = other._attribute_options
            for name, value in zip(options._fields, options, strict=False):
                if value is not _NoArg.NO_ARG:
                    argument = name.replace("dataclasses_", "")
                    util.warn_deprecated(
                        f"Argument '{argument}' is a dataclass argument and cannot be specified within a "
                        "mapped_column() bundled inside of an Annotated object",
                        "2.0.22",
                    )

    def _take_type_from(self, annotated: _AnnotatedType, cls: type[Any], key: str, registry: RegistryType) -> None:
        """Set the SQL type that the registry has for the annotation."""
        sql_type = registry._resolve_type_with_events(
            cls,
            key,
            annotated.given,
            annotated.core,
            raw_pep_593_type=annotated.pep593,
            pep_593_resolved_argument=annotated.pep593_argument,
            raw_pep_695_type=annotated.pep695,
            pep_695_resolved_value=annotated.pep695_value,
        )
        if sql_type is None:
            raise orm_exc.MappedAnnotationError(self._no_type_message(annotated))
        _sa.set_column_type(self.column, sql_type)

    def _no_type_message(self, annotated: _AnnotatedType) -> str:
        column_key = self.column.key
        core = annotated.core
        if isinstance(core, TypeEngine) or (isinstance(core, type) and issubclass(core, TypeEngine)):
            return (
                f"The type provided inside the {column_key!r} attribute Mapped annotation is the SQLAlchemy type "
                f"{core}. "
                "Expected a Python type instead"
            )

        tried = [
            type_ for type_ in (annotated.pep695, core, annotated.pep593_argument) if type_ is core or type_ is not None
        ]
        if not sa_typing.is_a_type(tried[0]):
            return (
                f"The object provided inside the {column_key!r} attribute Mapped annotation is not a Python type, it's "
                f"the object {annotated.given!r}. Expected a Python type."
            )
        if len(tried) == 1:
            detail = "the type object is not resolvable by the registry"
        elif len(tried) == 2:
            detail = f"neither '{tried[0]}' nor '{tried[1]}' are resolvable by the registry"
        else:
            names = ", ".join(f"'{type_}'" for type_ in tried)
            detail = f"none of {names} are resolvable by the registry"
        return (
            f"Could not locate SQLAlchemy Core type when resolving for Python type indicated by '{tried[0]}' inside "
            "the "
            f"Mapped[] annotation for the {column_key!r} attribute; {detail}"
        )


class UnmappedColumn(MappedColumn[_T], Unmapped[_T]):
    """A column of a declarative class's table that is no attribute of the class."""

    __slots__ = ()

    @property
    def mapper_property_to_assign(self) -> Optional[MapperProperty[_T]]:
        return None

    def declarative_scan(
        self,
        decl_scan: _DeclarativeMapperConfig,
        registry: RegistryType,
        cls: type[Any],
        originating_module: Optional[str],
        key: str,
        mapped_container: Optional[type[Mapped[Any]]],
        annotation: Optional[Any],
        extracted_mapped_annotation: Optional[Any],
        is_dataclass_field: bool,
    ) -> None:
        super().declarative_scan(
            decl_scan,
            registry,
            cls,
            originating_module,
            key,
            mapped_container,
            annotation,
            extracted_mapped_annotation,
            is_dataclass_field,
        )
        given = {
            "deferred": self.deferred is not _NoArg.NO_ARG,
            "deferred_group": self.deferred_group is not None,
            "deferred_raiseload": self.deferred_raiseload is not None,
            "active_history": self.active_history,
        }
        disallowed = ", ".join(repr(name) for name, is_given in given.items() if is_given)
        if disallowed:
            raise sa_exc.ArgumentError(
                f'Attribute "{cls.__name__}.{key}" is not mapped, and does not accept the argument(s) {disallowed}'
            )


def _name_column(key: str, column: Column[Any]) -> None:
    """Give a column that has no key or no name that of its attribute."""
    if column.key is None:
        column.key = key
    if column.name is None:
        column.name = key
