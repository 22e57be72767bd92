"""Writes a configured mapper down as plain data and hands it to the native core, once (again only if it changes)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Table, util

from . import _statement_cache
from . import exc as orm_exc
from ._listeners import heard
from .interfaces import MANYTOMANY, MANYTOONE

_CASCADE_BITS = {
    "save-update": 1,
    "delete": 2,
    "delete-orphan": 4,
    "merge": 8,
    "expunge": 16,
    "refresh-expire": 32,
}
_ROW_EVENTS = ("before_insert", "after_insert", "before_update", "after_update", "before_delete", "after_delete")
_INSTANCE_EVENTS = ("load", "refresh", "refresh_flush", "expire", "pickle", "unpickle")
_PASSIVE_DELETES = {False: 0, True: 1, "all": 2}


def hand_over(mapper: Any) -> None:
    """Give the native core the present description of a mapper and of its relationships' attributes."""
    manager = mapper.class_manager
    # kept: the flush reads column names from what the core was told
    mapper._core_descriptor = descriptor = describe(mapper)
    # statements of the flush, by shape: made from this description
    mapper._flush_shapes = {}
    # the prepared get() of each dialect
    mapper._get_templates = {}
    # what get() and a refresh of the last dialect boil down to, for the core
    mapper._prepared_get = mapper._prepared_refresh = None
    # and the lazy loads of relationships to this mapper
    mapper._prepared_related = {}
    # prepared statements know who listens to loads
    _statement_cache.forget_statements()
    manager.configure_mapper(descriptor)
    for entry in descriptor["relationships"]:
        attribute = manager.get(entry["key"])
        # write-only and dynamic attributes have storage of their own kind
        if attribute is not None and attribute.impl is not None:
            attribute._set_relationship(entry)


def describe(mapper: Any) -> dict[str, Any]:
    """The description of one mapper: keys, tables with their columns, relationships, events that have listeners."""
    manager = mapper.class_manager
    # what is no column of the mapper, a name say, is no version
    version = mapper._version_id_prop if mapper.version_id_col in mapper._columntoproperty else None
    return {
        "name": mapper._sort_key,
        "base": mapper.base_mapper.class_manager,
        "identity": mapper._identity_class._sa_class_manager,
        "parent": mapper.inherits.class_manager if mapper.inherits else None,
        "primary_key": tuple(manager.allocate(prop.key) for prop in mapper._identity_key_props),
        "batch": mapper.batch,
        "legacy_is_orphan": mapper.legacy_is_orphan,
        "confirm_deleted_rows": mapper.confirm_deleted_rows,
        "allow_partial_pks": mapper.allow_partial_pks,
        "always_refresh": mapper.always_refresh,
        "eager_defaults": mapper.eager_defaults,
        "passive_updates": mapper.passive_updates,
        "version_id": None if version is None else manager.allocate(version.key),
        "version_generator": mapper._version_id_generator_or_none(),
        "polymorphic_attr": _allocated(manager, mapper._polymorphic_attr_key),
        "polymorphic_identity": mapper.polymorphic_identity,
        "polymorphic_abstract": mapper.polymorphic_abstract,
        "row_events": heard(mapper.dispatch, _ROW_EVENTS),
        "instance_events": heard(manager.dispatch, _INSTANCE_EVENTS),
        "tables": [_table(mapper, table) for table in _written_tables(mapper)],
        "relationships": list(_relationships(mapper)),
    }


def _allocated(manager: Any, key: str | None) -> int | None:
    return None if key is None else manager.allocate(key)


def _written_tables(mapper: Any) -> Iterator[Any]:
    """The tables rows of this mapper go to, those of ancestors first."""
    lineage = list(mapper.iterate_to_root())
    is_join = any(len(m.tables) > 1 + len(m.inherits.tables if m.inherits else ()) for m in lineage)
    if is_join and all(isinstance(table, Table) for table in mapper.tables):
        # a class mapped to a join: only its foreign keys say which row is first
        tables = list(mapper.base_mapper._sorted_tables)
    else:
        tables = util.unique_list(table for m in reversed(lineage) for table in m.tables)
    for table in tables:
        if table in mapper._pks_by_table:
            yield table


def _table(mapper: Any, table: Any) -> dict[str, Any]:
    columns = list(mapper._cols_by_table[table])
    positions = {column: number for number, column in enumerate(columns)}
    fetched = mapper._server_default_cols[table]
    attribute_defaults = {column for _, column, _ in mapper._insert_orm_defaults[table]}
    return {
        "table": table,
        "name": table.fullname,
        "pk": tuple(positions[column] for column in mapper._pks_by_table[table]),
        "columns": [_column(mapper, column, column in fetched, column in attribute_defaults) for column in columns],
        "equated": tuple(_equated(mapper, table)),
    }


def _equated(mapper: Any, table: Any) -> Iterator[tuple[int, int, bool]]:
    """The attributes that joined inheritance makes equal in this table: (ancestor's, own, passed on by the database).

    Usually both columns are one attribute, and nothing is copied. The database passes primary keys on.
    """
    for ancestor in mapper.iterate_to_root():
        for left, right in ancestor._inherits_equated_pairs or ():
            if right.table is table:
                source, own = _attribute_of(mapper, left), _attribute_of(mapper, right)
                if source is not None and own is not None:
                    is_key = left.primary_key and right.primary_key and right.references(left)
                    yield source, own, bool(mapper.passive_updates and is_key)


def _column(mapper: Any, column: Any, fetched: bool, has_attribute_default: bool) -> dict[str, Any]:
    return {
        "key": column.key,
        "attr": mapper.class_manager.allocate(mapper._columntoproperty[column].key),
        "pk": column.primary_key,
        # a primary key column without a value is always left to the database or refused by it
        "default": bool(column.primary_key)
        or column.default is not None
        or column.server_default is not None
        or has_attribute_default,
        "attribute_default": has_attribute_default,
        "eval_none": column.type.should_evaluate_none,
        "onupdate": column.onupdate is not None,
        "server_onupdate": column.server_onupdate is not None,
        "server_default": column.server_default is not None,
        "fetched": fetched,
        "version": column is mapper.version_id_col,
    }


def _relationships(mapper: Any) -> Iterator[dict[str, Any]]:
    for prop in mapper._props.values():
        # a relationship whose target is not configured yet comes when the mapper is handed over again
        if prop._is_relationship and prop._configure_finished:
            yield _relationship(mapper, prop)


def _relationship(mapper: Any, prop: Any) -> dict[str, Any]:
    manager, target = mapper.class_manager, prop.mapper.class_manager
    secondary = None
    pairs: list[tuple[int, int, Any]] = []
    if prop.direction is MANYTOMANY:
        secondary = _secondary(mapper, prop)
    elif not prop.viewonly:
        source, destination = (prop.mapper, mapper) if prop.direction is MANYTOONE else (mapper, prop.mapper)
        pairs = list(_mapped_pairs(prop.synchronize_pairs, source, destination))
    return {
        "attr": manager.allocate(prop.key),
        "key": prop.key,
        "direction": prop.direction.name,
        "target": target,
        "uselist": bool(prop.uselist),
        "viewonly": prop.viewonly,
        "sync": tuple((left, right) for left, right, _ in pairs),
        "dest_pk": any(column.primary_key for *_, column in pairs),
        "nullable": all(column.nullable for *_, column in pairs),
        "cascade": sum(_CASCADE_BITS[name] for name in prop._cascade),
        "passive_deletes": _PASSIVE_DELETES[prop.passive_deletes],
        "passive_updates": prop.passive_updates,
        "post_update": prop.post_update,
        "single_parent": prop.single_parent,
        "enable_typechecks": prop.enable_typechecks,
        "secondary": secondary,
        "reverse": _reverse(prop, target),
        "active_history": _active_history(manager, prop),
        "self_referential": prop._is_self_referential,
        "load_on_pending": prop.load_on_pending,
        "inherited": prop.parent is not mapper,
        "prop": prop,
    }


def _attribute_of(mapper: Any, column: Any) -> int | None:
    """The attribute number of a column; None if the mapper leaves it out, which only matters once it is written."""
    try:
        return mapper.class_manager.allocate(mapper._columntoproperty[column].key)
    except orm_exc.UnmappedColumnError:
        return None


def _mapped_pairs(pairs: Any, source: Any, destination: Any) -> Iterator[tuple[int, int, Any]]:
    """(source attribute, destination attribute, destination column) of the pairs that are mapped on both sides."""
    for left, right in pairs:
        numbers = _attribute_of(source, left), _attribute_of(destination, right)
        if numbers[0] is not None and numbers[1] is not None:
            yield numbers[0], numbers[1], right


def _secondary(mapper: Any, prop: Any) -> dict[str, Any]:
    """The association table: which of its columns take which attribute's value, of which side, in the table's order."""
    found = {}
    for is_child, owner, pairs in (
        (False, mapper, prop.synchronize_pairs),
        (True, prop.mapper, prop.secondary_synchronize_pairs),
    ):
        for left, right in pairs:
            attribute = _attribute_of(owner, left)
            if attribute is not None:
                found[right.key] = (is_child, attribute, right.key)
    return {
        "table": prop.secondary,
        "name": getattr(prop.secondary, "fullname", str(prop.secondary)),
        "columns": tuple(found[column.key] for column in prop.secondary.c if column.key in found),
    }


def _reverse(prop: Any, target: Any) -> tuple[tuple[Any, int], ...]:
    """The attributes of the target that are kept in step when this one changes."""
    key = prop.back_populates
    if not key or not prop._effective_sync_backref:
        return ()
    return ((target, target.allocate(key)),)


def _active_history(manager: Any, prop: Any) -> bool:
    attribute = manager.get(prop.key)
    return attribute is not None and attribute.impl is not None and bool(attribute.impl.active_history)
