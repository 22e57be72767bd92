"""From class attributes to what is mapped: settings, columns copied from mixins, properties.

Two steps of `_DeclarativeMapperConfig`: `_scan_attributes` walks the MRO and collects, `_extract_mappable_attributes`
decides which of the collected attributes go to the mapper.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from sqlalchemy import Column, MetaData, util
from sqlalchemy import exc as sa_exc
from sqlalchemy.sql.elements import ColumnElement

from .. import _sa
from .._sa import _NoArg
from . import exc as orm_exc
from ._annotations import _is_mapped_annotation
from ._attribute_options import _DCAttributeOptions, _IntrospectsAnnotations, _MapsColumns
from ._decl_lookup import (
    _check_declared_props_nocascade,
    _get_immediate_cls_attr,
    _is_declarative_props,
    _is_supercls_for_inherits,
)
from ._decl_scan import _INCLUDE_DUNDERS, _ClassAttribute, _ClassAttributes, _CollectedAnnotation
from ._mapped_column import MappedColumn, UnmappedColumn, _name_column
from ._typing import attr_is_internal_proxy
from .attributes import QueryableAttribute
from .base import InspectionAttr, _is_unmapped_container, _MappedAttribute
from .descriptor_props import SynonymProperty
from .interfaces import MapperProperty

if TYPE_CHECKING:
    from .decl_base import _DeclarativeMapperConfig

_AnyColumn = Union[Column[Any], MappedColumn[Any]]

_RESERVED_NAMES = {"metadata": "MetaData instance", "registry": "Declarative class registry"}


class _ScannedBase(NamedTuple):
    """A class of the MRO, ready to be looked through."""

    cls: type[Any]
    is_mapped: bool
    attributes: _ClassAttributes
    column_copies: dict[str, _AnyColumn]


class _AttributeScan:
    """The walk along the MRO of a class that is being mapped."""

    def __init__(self, config: _DeclarativeMapperConfig) -> None:
        self.config = config
        self.cls: Any = config.cls
        self.fixed_table = "__table__" in config.clsdict_view
        self.is_overridden = config._cls_attr_override_checker(config.cls)
        self.table_args_inherited = False

    def run(self) -> None:
        # All copies are made first: attributes of the class may refer to columns of a mixin further on.
        bases = [self._prepare(base) for base in self.cls.__mro__]
        for base in bases:
            self.config.collected_attributes.update(base.column_copies)
            for attribute in base.attributes():
                if attribute.name in _INCLUDE_DUNDERS:
                    self._take_setting(base, attribute)
                elif base.is_mapped:
                    self._warn_if_ignored(base, attribute)
                elif base.cls is not self.cls:
                    self._take_from_mixin(base.cls, attribute)
                else:
                    self._take_own(attribute)
        if self.table_args_inherited and not self.config.tablename:
            self.config.table_args = None

    def _prepare(self, base: type[Any]) -> _ScannedBase:
        attributes = self.config._cls_attr_resolver(base)
        is_mapped = base is not self.cls and _is_supercls_for_inherits(base)
        is_mixin = base is not self.cls and not is_mapped
        copies = self._copy_columns(attributes, base) if is_mixin else {}
        return _ScannedBase(base, is_mapped, attributes, copies)

    # -- settings ----------------------------------------------------------------------------------------------------

    def _take_setting(self, base: _ScannedBase, attribute: _ClassAttribute) -> None:
        """Take `__tablename__` and its like; a mapped superclass's plain value is not inherited."""
        config, cls, name = self.config, self.cls, attribute.name
        is_declared = _check_declared_props_nocascade(attribute.obj, name, cls)
        applies = not base.is_mapped or is_declared
        if name == "__mapper_args__":
            if config.mapper_args_fn is None and applies:
                # Called when the mapper is made: by then the columns it may name exist.
                config.mapper_args_fn = lambda: dict(cls.__mapper_args__)
        elif name == "__tablename__":
            if not config.tablename and applies:
                config.tablename = cls.__tablename__
        elif name == "__table__":
            if config.table_fn is None and is_declared:
                config.table_fn = lambda: cls.__table__
        elif not config.table_args and applies:
            config.table_args = cls.__table_args__
            if not isinstance(config.table_args, (tuple, dict, type(None))):
                raise sa_exc.ArgumentError("__table_args__ value must be a tuple, dict, or None")
            if base.cls is not cls:
                self.table_args_inherited = True

    # -- mixins and abstract bases -----------------------------------------------------------------------------------

    def _copy_columns(self, attributes: _ClassAttributes, base: type[Any]) -> dict[str, _AnyColumn]:
        """Return copies of the columns of a mixin, which are also set on the class."""
        config, cls = self.config, self.cls
        copies: dict[str, _AnyColumn] = {}
        for name, obj, annotation, _ in attributes():
            if obj is None and not self.fixed_table and _is_mapped_annotation(annotation, cls, base):
                if self.is_overridden(name, obj):
                    continue
                collected = config._collect_annotation(name, annotation, base, True, obj)
                assert collected is not None
                copies[name] = new = _mapped_column_for_annotation(collected)
                setattr(cls, name, new)
            elif isinstance(obj, (Column, MappedColumn)):
                if self.is_overridden(name, obj):
                    continue
                collected = config._collect_annotation(name, annotation, base, True, obj)
                column = obj if collected is None else collected.attr_value
                if name in config.clsdict_view or self._is_in_given_table(name, column):
                    continue
                _refuse_unbound_foreign_keys(column)
                copy: Any = _sa.copy_column(column)
                config.column_copies[column] = copies[name] = copy
                setattr(cls, name, copy)
        return copies

    def _is_in_given_table(self, name: str, column: _AnyColumn) -> bool:
        view = self.config.clsdict_view
        return "__table__" in view and (getattr(column, "name", None) or name) in view["__table__"].c

    def _take_from_mixin(self, base: type[Any], attribute: _ClassAttribute) -> None:
        name, obj, annotation, _ = attribute
        if isinstance(obj, (Column, MappedColumn)):
            # Copied already.
            return
        if isinstance(obj, MapperProperty):
            raise sa_exc.InvalidRequestError(
                "Mapper properties (i.e. deferred,column_property(), relationship(), etc.) must be declared as "
                "@declared_attr callables on declarative mixin classes.  For dataclass field() objects, use a lambda:"
            )
        if _is_declarative_props(obj):
            self._take_declared_attr(base, attribute)
        elif _is_mapped_annotation(annotation, self.cls, base):
            # Copied already too, or overridden in a class nearer in the MRO.
            if not self.fixed_table:
                assert name in self.config.collected_attributes or self.is_overridden(name, None)
        else:
            _warn_for_decl_attributes(base, name, obj)

    def _take_declared_attr(self, base: type[Any], attribute: _ClassAttribute) -> None:
        config, cls = self.config, self.cls
        name, obj = attribute.name, attribute.obj
        value: Any
        if obj._cascading:
            if name in config.clsdict_view:
                util.warn(
                    f"Attribute '{name}' on class {cls} cannot be processed due to @declared_attr.cascading; skipping"
                )
            value = obj.__get__(obj, cls)
            setattr(cls, name, value)
        elif attribute.is_dataclass_field:
            value = getattr(cls, name, None)
            if not isinstance(value, InspectionAttr):
                value = obj.fget()
        else:
            value = getattr(cls, name)
        if (
            not obj._cascading
            and isinstance(value, InspectionAttr)
            and attr_is_internal_proxy(value)
            and not isinstance(getattr(value, "original_property", None), MapperProperty)
        ):
            # An extension's attribute comes wrapped when read from the class.
            value = getattr(value, "descriptor")  # noqa: B009
        config.collected_attributes[name] = config.column_copies[obj] = value

        if isinstance(value, (Column, MapperProperty)) and value.doc is None:
            value.doc = obj.__doc__
        config._collect_annotation(name, obj._collect_return_annotation(), base, True, obj)

    def _warn_if_ignored(self, base: _ScannedBase, attribute: _ClassAttribute) -> None:
        if _is_declarative_props(attribute.obj) and not attribute.obj._quiet:
            util.warn(
                f"Regular (i.e. not __special__) attribute '{base.cls.__name__}.{attribute.name}' uses "
                f"@declared_attr, but owning class {base.cls} is mapped - not "
                f"applying to subclass {self.cls}."
            )

    # -- the class itself --------------------------------------------------------------------------------------------

    def _take_own(self, attribute: _ClassAttribute) -> None:
        config, cls = self.config, self.cls
        name, obj, annotation, is_dataclass_field = attribute
        if is_dataclass_field and (name not in config.clsdict_view or config.clsdict_view[name] is not obj):
            assert not self.is_overridden(name, obj)
            if _is_declarative_props(obj):
                obj = obj.fget()
            config.collected_attributes[name] = obj
            config._collect_annotation(name, annotation, cls, False, obj)
            return
        collected = config._collect_annotation(name, annotation, cls, None, obj)
        is_mapped = collected is not None and collected.mapped_container is not None
        if collected is not None and is_mapped and obj is None and not self.fixed_table:
            config.collected_attributes[name] = _mapped_column_for_annotation(collected)
        elif name in config.clsdict_view:
            config.collected_attributes[name] = obj


def _mapped_column_for_annotation(collected: _CollectedAnnotation) -> MappedColumn[Any]:
    """Return the column for an attribute that has nothing but an annotation."""
    if collected.attr_value is not None:
        return collected.attr_value
    return UnmappedColumn() if _is_unmapped_container(collected.mapped_container) else MappedColumn()


def _refuse_unbound_foreign_keys(column: _AnyColumn) -> None:
    for foreign_key in column.foreign_keys or ():
        target = _sa.foreign_key_table_column(foreign_key)
        if target is not None and target.table is None:
            raise sa_exc.InvalidRequestError(
                "Columns with foreign keys to non-table-bound columns must be declared as @declared_attr callables on "
                "declarative mixin classes.  For dataclass field() objects, use a lambda:."
            )


def _warn_for_decl_attributes(cls: type[Any], key: str, value: Any) -> None:
    if isinstance(value, ColumnElement):
        util.warn(
            f"Attribute '{key}' on class {cls} appears to be a non-schema SQLAlchemy expression object; this won't be "
            "part "
            "of the declarative mapping. To map arbitrary expressions, use ``column_property()`` or a similar "
            "function such "
            "as ``deferred()``, ``query_expression()`` etc. "
        )


# -- which of the collected attributes are mapped ----------------------------------------------------------------------


def _extract_mappable_attributes(config: _DeclarativeMapperConfig) -> None:
    """Move what the mapper is to have from the collected attributes into `config.properties`."""
    cls = config.cls
    is_late_mapped = _get_immediate_cls_attr(cls, "_sa_decl_prepare_nocascade", strict=True)
    wants_dataclass = bool(config.dataclass_setup_arguments)

    for key in list(config.collected_attributes):
        if key in _INCLUDE_DUNDERS:
            continue
        value = _resolve_value(config, key)
        _warn_for_reserved_name(key, value)
        _check_container(config, key, value)

        if _is_accidental_tuple(value):
            util.warn(
                f"Ignoring declarative-like tuple value of attribute '{key}': possibly a copy-and-paste error with a "
                "comma "
                "accidentally placed at the end of the line?"
            )
            continue
        if wants_dataclass and isinstance(value, dataclasses.Field):
            # dataclasses has seen to it.
            continue
        if not isinstance(value, (Column, _DCAttributeOptions)):
            config.collected_attributes.pop(key)
            _warn_for_decl_attributes(cls, key, value)
            if not is_late_mapped:
                setattr(cls, key, value)
            continue
        if isinstance(value, Column):
            copy: Any = config.column_copies.get(value, value)
            _name_column(key, copy)
        else:
            if isinstance(value, _IntrospectsAnnotations):
                _introspect(config, key, value)
            if value._has_dataclass_arguments and not wants_dataclass:
                raise _dataclass_arguments_without_dataclass(cls, key, value)
            if not isinstance(value, (MapperProperty, _MapsColumns)):
                # An extension's attribute with dataclass options: not the mapper's business.
                config.collected_attributes.pop(key)
                setattr(cls, key, value)
                continue
        config.properties[key] = value


def _resolve_value(config: _DeclarativeMapperConfig, key: str) -> Any:
    """Return the value of a collected attribute: a declared_attr evaluated, another class's attribute as a synonym."""
    cls = config.cls
    value = config.collected_attributes[key]
    if _is_declarative_props(value):
        if value._cascading:
            util.warn(
                "Use of @declared_attr.cascading only applies to Declarative 'mixin' and 'abstract' classes.  "
                "Currently, "
                f"this flag is ignored on mapped class {cls}"
            )
        return getattr(cls, key)
    if isinstance(value, QueryableAttribute) and value.class_ is not cls and value.key != key:
        value = SynonymProperty(value.key)
        setattr(cls, key, value)
    return value


def _warn_for_reserved_name(key: str, value: Any) -> None:
    if key == "registry" or (key == "metadata" and not isinstance(value, MetaData)):
        util.warn(
            f"Attribute name '{key}' should be left reserved for the {_RESERVED_NAMES[key]} when using a Declarative "
            "class."
        )


def _check_container(config: _DeclarativeMapperConfig, key: str, value: Any) -> None:
    """See that `Unmapped[]` and unmapped_column() come together."""
    collected = config.collected_annotations.get(key)
    container = None if collected is None else collected.mapped_container
    if container is None:
        return
    is_unmapped = isinstance(value, UnmappedColumn)
    attribute = f'Attribute "{config.cls.__name__}.{key}"'
    if _is_unmapped_container(container):
        if not is_unmapped:
            raise sa_exc.ArgumentError(
                f"{attribute} uses the Unmapped[] annotation, which must be used with unmapped_column() or with no "
                "value on "
                "the right side"
            )
    elif is_unmapped:
        raise sa_exc.ArgumentError(
            f"{attribute} uses unmapped_column() with the {container.__name__}[] annotation; unmapped_column() must "
            "be used "
            "with the Unmapped[] annotation"
        )


def _is_accidental_tuple(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 1 and isinstance(value[0], (Column, _MappedAttribute))


def _introspect(config: _DeclarativeMapperConfig, key: str, value: _IntrospectsAnnotations) -> None:
    """Let a construct complete itself from its annotation."""
    collected = config.collected_annotations.get(key)
    container = annotation = inner = module = None
    is_dataclass = False
    if collected is not None:
        container = collected.mapped_container
        annotation = collected.raw_annotation
        inner = collected.extracted_mapped_annotation
        module = collected.originating_module
        is_dataclass = collected.is_dataclass
    if container is None and annotation is not None and not config.allow_unmapped_annotations:
        assert config.is_dataclass_prior_to_mapping
        return
    try:
        value.declarative_scan(
            config, config.registry, config.cls, module, key, container, annotation, inner, is_dataclass
        )
    except NameError as err:
        raise orm_exc.MappedAnnotationError(
            f'Could not resolve all types within mapped annotation: "{annotation}".  Ensure all types are written '
            "correctly "
            "and are imported within the module in use."
        ) from err


def _dataclass_arguments_without_dataclass(
    cls: type[Any], key: str, value: _DCAttributeOptions
) -> sa_exc.ArgumentError:
    names = ["init", "default_factory", "repr", "dataclass_metadata"]
    if isinstance(value, MapperProperty):
        names.append("default")
    options = value._attribute_options
    given = sorted(repr(n) for n in names if getattr(options, f"dataclasses_{n}") is not _NoArg.NO_ARG)
    return sa_exc.ArgumentError(
        f"Attribute '{key}' on class {cls} includes dataclasses argument(s): {', '.join(given)} but class does not "
        "specify "
        "SQLAlchemy native dataclass configuration."
    )
