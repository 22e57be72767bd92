"""Reading a class body: which attributes and annotations it has, base by base.

This is the part that mapped classes share with classes that only become dataclasses. What the attributes mean for a
mapping is decided in `_decl_attributes`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Union, cast, get_args

from sqlalchemy import exc as sa_exc
from sqlalchemy import util
from sqlalchemy.util import typing as sa_typing

from .. import _sa
from . import attributes
from ._annotations import _extract_mapped_subtype, de_stringify_annotation
from ._attribute_options import _DataclassArguments, _IntrospectsAnnotations
from ._decl_lookup import _get_immediate_cls_attr, _is_declarative_props
from ._declared_attr import declared_attr
from ._mapped_column import MappedColumn
from .attributes import InstrumentedAttribute
from .base import Mapped, _is_unmapped_container, _MappedAttribute

if TYPE_CHECKING:
    from ._decl_dataclass import _UnmappedDataclassConfig
    from ._typing import _ClassDict
    from .decl_api import RegistryType
    from .decl_base import _MapperConfig
    from .mapper import Mapper

# The settings among the dunder names; all other dunders and everything of our own are skipped.
_INCLUDE_DUNDERS = frozenset({"__table__", "__mapper_args__", "__tablename__", "__table_args__"})
_EXCLUDED = re.compile(r"^(?:_sa_|__)")
_ABSENT: Any = object()


class _ClassAttribute(NamedTuple):
    """An attribute, an annotation or both, as one class of the MRO has it."""

    name: str
    obj: Any
    annotation: Any
    is_dataclass_field: bool


class _CollectedAnnotation(NamedTuple):
    """An annotation of the class, interpreted."""

    raw_annotation: Any
    mapped_container: Optional[type[Mapped[Any]]]
    extracted_mapped_annotation: Any
    is_dataclass: bool
    attr_value: Any
    originating_module: str
    originating_class: type[Any]


class _ORMClassConfigurator:
    """The work of making a class the ORM's; one object per class, thrown away when the class is mapped."""

    __slots__ = ("__weakref__", "classname", "cls")

    cls: type[Any]
    classname: str

    def __init__(self, cls_: type[Any]) -> None:
        self.cls = util.assert_arg_type(cls_, type, "cls_")
        self.classname = cls_.__name__

    @classmethod
    def _as_declarative(cls, registry: RegistryType, cls_: type[Any], dict_: _ClassDict) -> Optional[_MapperConfig]:
        """Map a class from its body, unless it is abstract; with a deferred mapping, prepare for it."""
        from .decl_base import _DeclarativeMapperConfig, _DeferredDeclarativeConfig

        manager = attributes.opt_manager_of_class(cls_)
        if manager and manager.class_ is cls_:
            raise sa_exc.InvalidRequestError(f"Class {cls_!r} already has been instrumented declaratively")
        if cls_.__dict__.get("__abstract__", False):
            return None
        if _sa.TypedColumns is not None and issubclass(cls_, _sa.TypedColumns):
            return None
        is_deferred = _get_immediate_cls_attr(cls_, "_sa_decl_prepare_nocascade", strict=True) or hasattr(
            cls_, "_sa_decl_prepare"
        )
        config_type = _DeferredDeclarativeConfig if is_deferred else _DeclarativeMapperConfig
        return config_type(registry, cls_, dict_)

    @classmethod
    def _as_unmapped_dataclass(cls, cls_: type[Any], dict_: _ClassDict) -> _UnmappedDataclassConfig:
        """Make a mixin or abstract base a dataclass without mapping it."""
        from ._decl_dataclass import _UnmappedDataclassConfig

        return _UnmappedDataclassConfig(cls_, dict_)

    @classmethod
    def _mapper(cls, registry: RegistryType, cls_: type[Any], table: Any, mapper_kw: Mapping[str, Any]) -> Mapper[Any]:
        """Map a class imperatively."""
        from .decl_base import _ImperativeMapperConfig

        _ImperativeMapperConfig(registry, cls_, table, mapper_kw)
        return cls_.__mapper__


class _ClassScanAbstractConfig(_ORMClassConfigurator):
    """A configurator that reads the class body."""

    __slots__ = ()

    clsdict_view: Mapping[str, Any]
    collected_annotations: dict[str, _CollectedAnnotation]
    collected_attributes: dict[str, Any]
    # Was the class a dataclass before we saw it? Its annotations are then its own business.
    is_dataclass_prior_to_mapping: bool
    # Are annotations without Mapped[] accepted?
    allow_unmapped_annotations: bool
    # The arguments if the class is to become a dataclass while it is mapped.
    dataclass_setup_arguments: Optional[_DataclassArguments]
    # Are mapping directives taken from the metadata of dataclass fields?
    allow_dataclass_fields: bool

    def _collect_annotation(
        self,
        name: str,
        raw_annotation: Any,
        originating_class: type[Any],
        expect_mapped: Optional[bool],
        attr_value: Any,
    ) -> Optional[_CollectedAnnotation]:
        """Interpret the annotation of an attribute; the first one found along the MRO stands."""
        if name in self.collected_annotations:
            return self.collected_annotations[name]
        if raw_annotation is None:
            return None

        is_dataclass = self.is_dataclass_prior_to_mapping
        if expect_mapped is None:
            expect_mapped = (
                not isinstance(attr_value, dataclasses.Field)
                and not self.allow_unmapped_annotations
                and (attr_value is None or isinstance(attr_value, _MappedAttribute))
            )
        extracted = _extract_mapped_subtype(
            raw_annotation,
            self.cls,
            originating_class.__module__,
            name,
            type(attr_value),
            required=False,
            is_dataclass_field=False,
            expect_mapped=expect_mapped and not is_dataclass,
        )
        if extracted is None:
            return None

        inner, container = extracted
        if attr_value is None and not sa_typing.is_literal(inner):
            attr_value = self._construct_inside_annotated(inner, container, originating_class)

        collected = _CollectedAnnotation(
            raw_annotation,
            container,
            inner,
            is_dataclass,
            attr_value,
            originating_class.__module__,
            originating_class,
        )
        self.collected_annotations[name] = collected
        return collected

    def _construct_inside_annotated(
        self, inner: Any, container: Optional[type[Any]], originating_class: type[Any]
    ) -> Any:
        """Return the construct to use for an attribute without value, if its `Annotated` type has one inside."""
        value = None
        for element in get_args(inner):
            if sa_typing.is_fwd_ref(element, check_generic=True, check_for_plain_string=True):
                element = de_stringify_annotation(self.cls, element, originating_class.__module__, include_generic=True)
            if isinstance(element, _IntrospectsAnnotations):
                value = element.found_in_pep593_annotated()
                if _is_unmapped_container(container) and isinstance(value, MappedColumn):
                    value = value._as_unmapped_column()
        return value

    def _dataclass_metadata_key(self, cls: type[Any]) -> Optional[str]:
        if not self.allow_dataclass_fields:
            return None
        return _get_immediate_cls_attr(cls, "__sa_dataclass_metadata_key__")

    def _cls_attr_override_checker(self, cls: type[Any]) -> Callable[[str, Any], bool]:
        """Return a function (name, value of a base) -> whether another class nearer in the MRO has the name."""
        metadata_key = self._dataclass_metadata_key(cls)
        if not metadata_key:
            return lambda key, obj: getattr(cls, key, obj) is not obj

        def values(fields: Iterable[dataclasses.Field[Any]]) -> dict[str, Any]:
            return {f.name: f.metadata[metadata_key] for f in fields if metadata_key in f.metadata}

        all_fields = values(util.dataclass_fields(cls))
        local_fields = values(util.local_dataclass_fields(cls))

        def attribute_is_overridden(key: str, obj: Any) -> bool:
            # dataclasses copies the fields of bases into the class, so that a field is compared by what it holds.
            if _is_declarative_props(obj):
                obj = obj.fget
            local = local_fields.get(key, _ABSENT)
            if _is_declarative_props(local):
                local = local.fget
            if local is obj:
                return False
            if local is not _ABSENT:
                return True

            current = getattr(cls, key, obj)
            if current is obj:
                return False
            # A mapped superclass has the attribute already.
            if isinstance(current, InstrumentedAttribute):
                return True
            inherited = all_fields.get(key, _ABSENT)
            return inherited is not obj and inherited is not _ABSENT

        return attribute_is_overridden

    def _cls_attr_resolver(self, cls: type[Any]) -> Callable[[], Iterable[_ClassAttribute]]:
        """Return a function that gives the attributes of one class of the MRO, in the order of its body."""
        annotations = util.get_annotations(cls)
        variables = vars(cls)
        names = [
            name
            for name in util.merge_lists_w_ordering(list(variables), list(annotations))
            if not _EXCLUDED.match(name) or name in _INCLUDE_DUNDERS
        ]
        metadata_key = self._dataclass_metadata_key(cls)
        fields = {field.name: field for field in util.local_dataclass_fields(cls)} if metadata_key else {}

        def local_attributes() -> Iterable[_ClassAttribute]:
            for name in names:
                field = fields.get(name)
                if field is not None and metadata_key in field.metadata:
                    obj = _as_dc_declaredattr(field.metadata[metadata_key])
                    yield _ClassAttribute(name, obj, annotations.get(name), True)
                else:
                    yield _ClassAttribute(name, variables.get(name), annotations.get(name), False)

        return local_attributes


def _as_dc_declaredattr(obj: Any) -> Any:
    """Return the directive in a field's metadata; a lambda there is evaluated per class, like a declared_attr."""
    if callable(obj) and not isinstance(obj, declared_attr):
        return declared_attr(cast("Any", obj))
    return obj


_ClassAttributes = Callable[[], Iterable[_ClassAttribute]]
_TableArgsType = Union[tuple[Any, ...], dict[str, Any]]
