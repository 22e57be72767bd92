"""From properties to a table and a mapper: the last steps of `_DeclarativeMapperConfig`."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Optional, cast

from sqlalchemy import Column, Table, util
from sqlalchemy import exc as sa_exc
from sqlalchemy.sql.elements import ColumnElement

from .. import _sa
from . import attributes
from ._annotations import _metadata_for_cls
from ._attribute_options import _MapsColumns
from ._decl_lookup import _declared_mapping_info, _get_immediate_cls_attr
from .base import class_mapper
from .descriptor_props import CompositeProperty
from .mapper import Mapper
from .properties import ColumnProperty, UnmappedColumn

if TYPE_CHECKING:
    from ._decl_scan import _TableArgsType
    from .decl_base import _DeclarativeMapperConfig


def _extract_declared_columns(config: _DeclarativeMapperConfig) -> None:
    """Collect the columns for the table; leave in `properties` what the mapper cannot find out from the table."""
    properties = config.properties
    keys_by_name: dict[str, set[str]] = collections.defaultdict(set)

    for key, value in list(properties.items()):
        if isinstance(value, _MapsColumns):
            _take_columns_of(config, key, value, keys_by_name)
        elif isinstance(value, Column):
            assert value.name is not None
            keys_by_name[value.name].add(key)
            config.declared_columns.add(value)
            if key == value.key:
                # The mapper makes the same property from the table, in the table's order of columns.
                del properties[key]

    for name, keys in keys_by_name.items():
        if len(keys) > 1:
            util.warn(
                "On class {!r}, Column object {!r} named directly multiple times, only one will be used: {}. Consider "
                "using "
                "orm.synonym instead".format(config.classname, name, ", ".join(sorted(keys)))
            )


def _take_columns_of(
    config: _DeclarativeMapperConfig, key: str, value: _MapsColumns[Any], keys_by_name: dict[str, set[str]]
) -> None:
    properties = config.properties
    is_unmapped = isinstance(value, UnmappedColumn)
    prop = value.mapper_property_to_assign
    if prop is not None:
        properties[key] = prop
    else:
        del properties[key]

    for column, sort_order in value.columns_to_assign:
        # The columns of a composite have names of their own.
        if not isinstance(value, CompositeProperty):
            keys_by_name[column.name].add(key)
        config.declared_columns.add(column)
        config.column_ordering[column] = sort_order
        if is_unmapped:
            config.unmapped_columns.add(column)
        elif prop is None and key != column.key:
            properties[key] = column

    if is_unmapped and key in config.cls.__dict__:
        delattr(config.cls, key)


def _setup_table(config: _DeclarativeMapperConfig, table: Optional[Any] = None) -> None:
    """Find or build the class's table; a class of single-table inheritance has none."""
    cls: Any = config.cls
    if table is None and config.table_fn is None and "__table__" not in config.clsdict_view:
        if config.tablename is not None:
            table = config.set_cls_attribute("__table__", _build_table(config))
    else:
        if table is None:
            table = config.set_cls_attribute("__table__", config.table_fn()) if config.table_fn else cls.__table__
        for column in config.declared_columns:
            if not cast("Any", table).c.contains_column(column):
                raise sa_exc.ArgumentError(f"Can't add additional column {column.key!r} when specifying __table__")
    config.local_table = table


def _build_table(config: _DeclarativeMapperConfig) -> Any:
    cls: Any = config.cls
    table_type: Callable[..., Any] = Table
    if hasattr(cls, "__table_cls__"):
        table_type = util.unbound_method_to_callable(cls.__table_cls__)

    args, keywords = _split_table_args(config.table_args)
    if autoload_with := config.clsdict_view.get("__autoload_with__"):
        keywords["autoload_with"] = autoload_with
    if config.clsdict_view.get("__autoload__"):
        keywords["autoload"] = True

    columns = sorted(config.declared_columns, key=lambda column: config.column_ordering.get(column, 0))
    metadata = _metadata_for_cls(cls, attributes.manager_of_class(cls).registry)
    return table_type(cast("str", config.tablename), metadata, *columns, *args, **keywords)


def _split_table_args(table_args: Optional[_TableArgsType]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if not table_args:
        return (), {}
    if isinstance(table_args, dict):
        return (), dict(table_args)
    if isinstance(table_args[-1], dict):
        return table_args[:-1], dict(table_args[-1])
    return table_args, {}


def _setup_inheriting_columns(config: _DeclarativeMapperConfig) -> None:
    """Add the columns of a class without table to the superclass's table."""
    cls = config.cls
    if config.inherits is None:
        if config.local_table is None and not _get_immediate_cls_attr(cls, "__no_table__"):
            raise sa_exc.InvalidRequestError(
                f"Class {cls!r} does not have a __table__ or __tablename__ specified and does not inherit from an "
                "existing "
                "table-mapped class."
            )
        return
    if config.local_table is not None:
        return

    inherited = _declared_mapping_info(config.inherits)
    assert inherited is not None
    table: Any = inherited.local_table
    if config.table_args:
        raise sa_exc.ArgumentError("Can't place __table_args__ on an inherited class with no table.")
    if config.declared_columns and not isinstance(table, Table):
        raise sa_exc.ArgumentError(
            f"Can't declare columns on single-table-inherited subclass {cls}; superclass {config.inherits} is not "
            "mapped "
            "to a Table"
        )
    for column in config.declared_columns:
        if column.name in table.c:
            existing = table.c[column.name]
            if existing is column:
                continue
            raise sa_exc.ArgumentError(
                f"Column '{column}' on class {cls.__name__} conflicts with existing column '{existing}'.  If using "
                "Declarative, consider using the use_existing_column parameter of mapped_column() to resolve conflicts."
            )
        if column.primary_key:
            raise sa_exc.ArgumentError("Can't place primary key columns on an inherited class with no table.")
        table.append_column(column)
        selectable = inherited.persist_selectable
        if selectable is not None and selectable is not table:
            _sa.refresh_for_new_column(selectable, column)


def _prepare_mapper_arguments(config: _DeclarativeMapperConfig, mapper_kw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments for the mapper."""
    properties: dict[str, Any] = dict(config.properties)
    arguments = {**(config.mapper_args_fn() if config.mapper_args_fn else {}), **mapper_kw}
    properties.update(arguments.get("properties", {}))

    # A setting made on a mixin names the mixin's column; the table has the copy.
    copies: dict[Any, Any] = config.column_copies
    for name in ("version_id_col", "polymorphic_on"):
        if name in arguments:
            arguments[name] = copies.get(arguments[name], arguments[name])
    if "primary_key" in arguments:
        arguments["primary_key"] = [copies.get(c, c) for c in util.to_list(arguments["primary_key"])]

    if "inherits" in arguments:
        inherits = arguments["inherits"]
        if (inherits.class_ if isinstance(inherits, Mapper) else inherits) is not config.inherits:
            raise sa_exc.InvalidRequestError(f"mapper inherits argument given for non-inheriting class {inherits}")
    if config.inherits:
        arguments["inherits"] = config.inherits
        if not arguments.get("concrete", False):
            _join_with_inherited_columns(config, arguments, properties)
    if config.unmapped_columns:
        arguments["exclude_properties"] = {*(arguments.get("exclude_properties") or ()), *config.unmapped_columns}
    arguments["properties"] = properties
    return arguments


def _join_with_inherited_columns(
    config: _DeclarativeMapperConfig, arguments: dict[str, Any], properties: dict[str, Any]
) -> None:
    """Keep columns of sibling classes out, and map same-named columns of both tables as one attribute."""
    assert config.inherits is not None
    inherited = class_mapper(config.inherits, False)
    if "exclude_properties" not in arguments:
        # Single-table siblings add columns to the same table; they are not ours.
        excluded = {c.key for c in inherited.local_table.c if c not in inherited._columntoproperty}
        excluded.update(inherited.exclude_properties or ())
        excluded.difference_update(column.key for column in config.declared_columns)
        arguments["exclude_properties"] = excluded
    for key, column in properties.items():
        prop = inherited._props.get(key)
        if isinstance(column, ColumnElement) and isinstance(prop, ColumnProperty):
            properties[key] = [column, *prop.columns]
