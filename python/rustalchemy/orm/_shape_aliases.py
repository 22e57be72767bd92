"""Aliased entities in the cheap key of a statement: what each is an alias of, and which of the statement's it is.

An alias is mostly made anew with its statement, so that its identity says nothing. As in Core's cache key, aliases are
numbered in the order in which the key comes to them.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.selectable import Alias, Join

from ._aliased import AliasedInsp

# What the ORM notes on the elements of an alias: the alias in several roles, its mapper, the attribute's name.
_ALIAS_ROLES = ("entity_namespace", "proxy_owner")
_ANNOTATIONS = frozenset({"parententity", "parentmapper", "proxy_key", *_ALIAS_ROLES})


class NoShape(Exception):
    """A part that has no cheap key."""


class Parameters(list[BindParameter[Any]]):
    """Parameters of a statement in order, and the numbers of what was met on the way that has no other name."""

    __slots__ = ("numbers",)

    def __init__(self) -> None:
        # by id: the statement holds them all
        self.numbers: dict[int, int] = {}


def add_entity(element: Any, key: list[Any], parameters: Parameters) -> None:
    """The selectable of a mapped class, which lives as long as the class, or of an alias."""
    entity = _alias_of(element)
    if entity is None:
        key.append(id(element))
    else:
        key.append(tuple(element._annotations))
        add_alias(entity, key, parameters)


def add_column(element: Any, key: list[Any], parameters: Parameters) -> None:
    """A column of a mapped class or of an alias."""
    entity = _alias_of(element)
    if entity is None:
        key.append(id(element))
    else:
        key += (tuple(element._annotations), element.key, element._annotations.get("proxy_key"))
        add_alias(entity, key, parameters)
        _add_selectable(element.table, key, parameters)


def add_attribute(element: Any, key: list[Any], parameters: Parameters) -> None:
    """An attribute to join along, of an alias or to one."""
    if element._extra_criteria:
        raise NoShape
    key += (type(element), element.key)
    for entity in (element._parententity, element._of_type):
        add_path_part(entity, key, parameters)


def add_path_part(part: Any, key: list[Any], parameters: Parameters) -> None:
    """A part of a loader option's path: an alias, or what has an identity that lasts."""
    if isinstance(part, AliasedInsp):
        add_alias(part, key, parameters)
    else:
        key.append(part)


def add_alias(entity: Any, key: list[Any], parameters: Parameters) -> None:
    """An aliased entity: described once, then known by its number."""
    numbers = parameters.numbers
    number = numbers.get(id(entity))
    if number is not None:
        key += (AliasedInsp, number)
        return
    numbers[id(entity)] = len(numbers)
    target = entity._target
    if not isinstance(target, type):
        # an alias of an alias
        raise NoShape
    key += (
        AliasedInsp,
        target,
        entity.name,
        entity._adapt_on_names,
        entity._use_mapper_path,
        id(entity.polymorphic_on),
        *entity.with_polymorphic_mappers,
    )
    _add_selectable(entity.selectable, key, parameters)


def _alias_of(element: Any) -> Any:
    """The alias that an annotated element is of; None for one of a mapped class."""
    annotations = element._annotations
    entity = annotations.get("parententity")
    if not isinstance(entity, AliasedInsp):
        return None
    if not _ANNOTATIONS.issuperset(annotations) or any(
        annotations.get(role, entity) is not entity for role in _ALIAS_ROLES
    ):
        raise NoShape
    return entity


def _add_selectable(element: Any, key: list[Any], parameters: Parameters) -> None:
    kind = type(element)
    if kind is Table:
        key.append(id(element))
        return
    numbers = parameters.numbers
    number = numbers.get(id(element))
    if number is not None:
        key += (kind, number)
        return
    numbers[id(element)] = len(numbers)
    if kind is Alias:
        # without a name of its own it is called by its identity
        key += (Alias, element.name if element._orig_name is not None else None)
        _add_selectable(element.element, key, parameters)
    elif kind is Join:
        key += (Join, Join, element.isouter, element.full, id(element.onclause))
        _add_selectable(element.left, key, parameters)
        _add_selectable(element.right, key, parameters)
    else:
        raise NoShape
