"""What declarative needs to know about an attribute construct, apart from how it is mapped.

Three questions are answered here, each by a base class: what does its annotation say (`_IntrospectsAnnotations`), what
does it pass to a dataclass (`_AttributeOptions`, `_DCAttributeOptions`, `_DataclassDefaultsDontSet`), which columns
does it bring (`_MapsColumns`). `orm.interfaces` re-exports the names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Optional, TypedDict, TypeVar, Union

from sqlalchemy import Column
from sqlalchemy import exc as sa_exc
from sqlalchemy.sql.schema import DefaultGenerator
from sqlalchemy.util import warn_deprecated

from .._sa import _NoArg
from .base import DONT_SET, _MappedAttribute

if TYPE_CHECKING:
    from ._decl_scan import _ClassScanAbstractConfig
    from .base import Mapped
    from .decl_api import RegistryType
    from .decl_base import _DeclarativeMapperConfig
    from .interfaces import MapperProperty

_T = TypeVar("_T", bound=Any)


class _DataclassArguments(TypedDict):
    """The arguments of `dataclasses.dataclass()` as given for a mapped class."""

    init: Union[_NoArg, bool]
    repr: Union[_NoArg, bool]
    eq: Union[_NoArg, bool]
    order: Union[_NoArg, bool]
    unsafe_hash: Union[_NoArg, bool]
    match_args: Union[_NoArg, bool]
    kw_only: Union[_NoArg, bool]
    dataclass_callable: Union[_NoArg, Callable[..., type[Any]]]


class _AttributeOptions(NamedTuple):
    """The arguments of `dataclasses.field()` as given to an attribute construct."""

    dataclasses_init: Union[_NoArg, bool]
    dataclasses_repr: Union[_NoArg, bool]
    dataclasses_default: Union[_NoArg, Any]
    dataclasses_default_factory: Union[_NoArg, Callable[[], Any]]
    dataclasses_compare: Union[_NoArg, bool]
    dataclasses_kw_only: Union[_NoArg, bool]
    dataclasses_hash: Union[_NoArg, bool, None]
    dataclasses_dataclass_metadata: Union[_NoArg, Mapping[Any, Any], None]

    def _as_dataclass_field(self, key: str, dataclass_setup_arguments: _DataclassArguments) -> Any:
        """Return the `dataclasses.field()` for these options."""
        given = {
            "default_factory": self.dataclasses_default_factory,
            "default": self.dataclasses_default,
            "init": self.dataclasses_init,
            "repr": self.dataclasses_repr,
            "compare": self.dataclasses_compare,
            "kw_only": self.dataclasses_kw_only,
            "hash": self.dataclasses_hash,
            "metadata": self.dataclasses_dataclass_metadata,
        }
        kw: dict[str, Any] = {name: value for name, value in given.items() if value is not _NoArg.NO_ARG}

        if "default" in kw and callable(kw["default"]):
            warn_deprecated(
                f"Callable object passed to the ``default`` parameter for attribute {key!r} in a ORM-mapped "
                "Dataclasses "
                "context is ambiguous, and this use will raise an error in a future release.  If this callable is "
                "intended to produce Core level INSERT default values for an underlying ``Column``, use the "
                "``mapped_column.insert_default`` parameter instead.  To establish this callable as providing a "
                "default "
                "value for instances of the dataclass itself, use the ``default_factory`` dataclasses parameter.",
                "2.0",
            )

        if not kw.get("init", True) and "default" in kw and not callable(kw["default"]) and "default_factory" not in kw:
            # A plain default of a field outside of __init__ would stay a class attribute, in the descriptor's place.
            default = kw.pop("default")
            kw["default_factory"] = lambda: default

        return dataclasses.field(**kw)

    @classmethod
    def _get_arguments_for_make_dataclass(
        cls,
        decl_scan: _ClassScanAbstractConfig,
        key: str,
        annotation: Any,
        mapped_container: Optional[Any],
        elem: Any,
        dataclass_setup_arguments: _DataclassArguments,
        enable_descriptor_defaults: bool,
    ) -> Union[tuple[str, Any], tuple[str, Any, Any]]:
        """Return name, annotation and, where there is one, field of an attribute of a class to become a dataclass."""
        if isinstance(elem, _DCAttributeOptions):
            options = elem._get_dataclass_setup_options(
                decl_scan, key, dataclass_setup_arguments, enable_descriptor_defaults
            )
            return key, annotation, options._as_dataclass_field(key, dataclass_setup_arguments)
        if elem is not _NoArg.NO_ARG:
            return key, annotation, elem
        return key, annotation


_DEFAULT_ATTRIBUTE_OPTIONS = _AttributeOptions(*(_NoArg.NO_ARG,) * len(_AttributeOptions._fields))

_DEFAULT_READONLY_ATTRIBUTE_OPTIONS = _DEFAULT_ATTRIBUTE_OPTIONS._replace(dataclasses_init=False)


class _IntrospectsAnnotations:
    """A construct that completes itself from the annotation of its attribute."""

    __slots__ = ()

    @classmethod
    def _mapper_property_name(cls) -> str:
        return cls.__name__

    def found_in_pep593_annotated(self) -> Any:
        """Return the construct to use where this one stands inside of `Annotated`."""
        raise NotImplementedError(
            f"Use of the {self._mapper_property_name()!r} construct inside of an Annotated object is not yet supported."
        )

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
        """Take name and annotation of the attribute; called once per class, before the table is built."""

    def _raise_for_required(self, key: str, cls: type[Any]) -> NoReturn:
        raise sa_exc.ArgumentError(
            f'Python typing annotation is required for attribute "{cls.__name__}.{key}" when primary argument(s) for '
            f'"{self._mapper_property_name()}" construct are None or not present'
        )


class _DCAttributeOptions:
    """A construct that may carry dataclass options."""

    __slots__ = ()

    _attribute_options: _AttributeOptions
    _has_dataclass_arguments: bool

    def _get_dataclass_setup_options(
        self,
        decl_scan: _ClassScanAbstractConfig,
        key: str,
        dataclass_setup_arguments: _DataclassArguments,
        enable_descriptor_defaults: bool,
    ) -> _AttributeOptions:
        return self._attribute_options


class _DataclassDefaultsDontSet(_DCAttributeOptions):
    """A construct whose dataclass default is answered by the descriptor and never written into the instance."""

    __slots__ = ()

    _default_scalar_value: Any
    _disable_dataclass_default_factory: bool = False

    def _get_dataclass_setup_options(
        self,
        decl_scan: _ClassScanAbstractConfig,
        key: str,
        dataclass_setup_arguments: _DataclassArguments,
        enable_descriptor_defaults: bool,
    ) -> _AttributeOptions:
        options = self._attribute_options
        if not enable_descriptor_defaults or getattr(decl_scan.cls, "_sa_disable_descriptor_defaults", False):
            return options

        default = options.dataclasses_default
        if isinstance(default, DefaultGenerator):
            self._default_scalar_value = None
            return options._replace(dataclasses_default=DONT_SET)
        if default is not _NoArg.NO_ARG and not callable(default):
            self._default_scalar_value = default
            return options._replace(dataclasses_default=DONT_SET)
        if self._disable_dataclass_default_factory and options.dataclasses_default_factory is not _NoArg.NO_ARG:
            return options._replace(dataclasses_default=DONT_SET, dataclasses_default_factory=_NoArg.NO_ARG)
        return options


class _MapsColumns(_DCAttributeOptions, _MappedAttribute[_T]):
    """A construct that brings columns for the table of its class."""

    __slots__ = ()

    @property
    def mapper_property_to_assign(self) -> Optional[MapperProperty[_T]]:
        """The MapperProperty for the attribute; None to let the mapper make a plain one for the column."""
        raise NotImplementedError()

    @property
    def columns_to_assign(self) -> list[tuple[Column[_T], int]]:
        """The columns to add to the table, each with its sort order."""
        raise NotImplementedError()
