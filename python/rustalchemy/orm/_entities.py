"""Small questions about entities and objects: identity keys, ``with_parent``, which entity corresponds to which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import event, sql, util
from sqlalchemy import exc as sa_exc
from sqlalchemy.sql import coercions, roles

from .._core import Validator
from .._sa import _quote_ddl_expr
from .attributes import QueryableAttribute
from .base import class_mapper, instance_state, object_mapper

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.sql.elements import ColumnElement
    from sqlalchemy.sql.selectable import Subquery

    from .mapper import Mapper

_T = TypeVar("_T", bound=Any)


def identity_key(
    class_: type[_T] | None = None,
    ident: Any = None,
    *,
    instance: _T | None = None,
    row: Any = None,
    identity_token: Any = None,
) -> tuple[type[_T], tuple[Any, ...], Any]:
    """Return the identity key for a class with a primary key or a row, or for an instance.

    The key is ``(base class, primary key tuple, identity token)``.

    :raises ArgumentError: if neither of the two forms was given.
    """
    if class_ is not None:
        mapper = class_mapper(class_)
        if row is not None:
            return mapper.identity_key_from_row(row, identity_token=identity_token)
        if ident is None:
            raise sa_exc.ArgumentError("ident or row is required")
        return mapper.identity_key_from_primary_key(tuple(util.to_list(ident)), identity_token=identity_token)
    if instance is None:
        raise sa_exc.ArgumentError("class or instance is required")
    return object_mapper(instance).identity_key_from_instance(instance)


def polymorphic_union(
    table_map: dict[Any, Any], typecolname: str | None, aliasname: str = "p_union", cast_nulls: bool = True
) -> Subquery[Any]:
    """Return a UNION ALL of tables, each padded with NULLs to all columns, for concrete inheritance.

    :param table_map: polymorphic identity → table.
    :param typecolname: name of the added column that holds the polymorphic identity; None for none.
    :param aliasname: name of the alias around the union.
    :param cast_nulls: give the padding NULLs a CAST to the column's type.
    """
    names: dict[str, Any] = {}
    columns: dict[Any, dict[str, Any]] = {}
    for identity, selectable in table_map.items():
        table = table_map[identity] = coercions.expect(roles.FromClauseRole, selectable)
        own = columns[table] = {}
        for column in table.c:
            if column.key == typecolname:
                raise sa_exc.InvalidRequestError(
                    f"Polymorphic union can't use '{typecolname}' as the discriminator column due to mapped column "
                    f"{column!r}; please apply the 'typecolname' argument; this is available on ConcreteBase as "
                    "'_concrete_discriminator_name'"
                )
            own[column.key] = column
            names[column.key] = column.type

    pad = sql.cast if cast_nulls else sql.type_coerce

    def column_or_null(table: Any, name: str) -> Any:
        found = columns[table].get(name)
        return pad(sql.null(), names[name]).label(name) if found is None else found

    selects = []
    for identity, table in table_map.items():
        exprs = [column_or_null(table, name) for name in names]
        if typecolname is not None:
            exprs.append(sql.literal_column(_quote_ddl_expr(identity)).label(typecolname))
        selects.append(sql.select(*exprs).select_from(table))
    return sql.union_all(*selects).alias(aliasname)


def with_parent(instance: object, prop: QueryableAttribute[Any], from_entity: Any = None) -> ColumnElement[bool]:
    """Return the criterion that selects what ``instance`` refers to by the relationship ``prop``.

    :param from_entity: the left side when it is an alias; ``prop.of_type(alias)`` says the same.
    """
    if isinstance(prop, str):
        raise sa_exc.ArgumentError("with_parent() accepts class-bound mapped attributes, not strings")
    relationship: Any = prop
    if isinstance(prop, QueryableAttribute):
        if prop._of_type:
            from_entity = prop._of_type
        relationship = prop.property
        if relationship is None or not relationship._is_relationship:
            raise sa_exc.ArgumentError(f"Expected relationship property for with_parent(), got {relationship}")
    criterion: ColumnElement[bool] = relationship._with_parent(instance, from_entity=from_entity)
    return criterion


def has_identity(object_: object) -> bool:
    """Return whether the object has a database identity: it is persistent or detached."""
    return bool(instance_state(object_).has_identity)


def was_deleted(object_: object) -> bool:
    """Return whether the object was deleted by a flush, whatever its state is now."""
    return bool(instance_state(object_).was_deleted)


def _entity_corresponds_to(given: Any, entity: Any) -> bool:
    """True if two entities of one query mean the same rows: an alias itself, mappers by hierarchy."""
    if entity.is_aliased_class:
        return bool(given.is_aliased_class) and entity._base_alias() is given._base_alias()
    if given.is_aliased_class:
        return entity in given.with_polymorphic_mappers if given._use_mapper_path else entity is given
    return bool(entity.common_parent(given))


def _entity_corresponds_to_use_path_impl(given: Any, entity: Any) -> bool:
    """True if an attribute of ``entity`` may follow ``given`` in the path of a loader option.

    Unlike ``_entity_corresponds_to`` an attribute of a sub-class does not fit its base, and the sub-entities of a
    polymorphic alias fit the alias.
    """
    if given.is_aliased_class:
        return (
            bool(entity.is_aliased_class)
            and not entity._use_mapper_path
            and (given is entity or entity in given._with_polymorphic_entities)
        )
    if not entity.is_aliased_class:
        return bool(given.isa(entity.mapper))
    return bool(entity._use_mapper_path) and given in entity.with_polymorphic_mappers


def _entity_isa(given: Any, mapper: Mapper[Any]) -> bool:
    """True if ``given`` would load rows of ``mapper``."""
    if given.is_aliased_class or given.with_polymorphic_mappers:
        if mapper in given.with_polymorphic_mappers:
            return True
    return bool(given.mapper.isa(mapper))


def _getitem(iterable_query: Any, item: Any) -> Any:
    """``query[item]`` for anything with ``slice()``: an index gives one object, a slice a list."""
    if not isinstance(item, slice):
        if item == -1:
            _refuse_negative_index()
        return list(iterable_query[item : item + 1])[0]  # noqa: RUF015 - IndexError, not StopIteration

    start, stop, step = util.decode_slice(item)
    if isinstance(start, int) and isinstance(stop, int) and stop - start <= 0:
        return []
    if (isinstance(start, int) and start < 0) or (isinstance(stop, int) and stop < 0):
        _refuse_negative_index()
    found = list(iterable_query.slice(start, stop))
    return found if step is None else found[:: item.step]


def _refuse_negative_index() -> None:
    raise IndexError("negative indexes are not accepted by SQL index / slice operators")


def _validator_events(
    desc: Any, key: str, validator: Callable[..., Any], include_removes: bool, include_backrefs: bool
) -> None:
    """Listen to an attribute's events with a ``@validates`` method."""
    for name in ("append", "bulk_replace", "set", *(("remove",) if include_removes else ())):
        listener = Validator(validator, key, name, include_removes=include_removes, include_backrefs=include_backrefs)
        event.listen(desc, name, listener, raw=True, retval=True, include_key=True)
