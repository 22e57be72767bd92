"""Arguments of ``relationship()`` that may be strings or callables until all mappers are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from . import attributes
from .base import _is_mapped_class


@dataclasses.dataclass
class _RelationshipArg:
    """One argument: as it was given, and as it is once mappers are configured."""

    __slots__ = ("argument", "name", "resolved")

    name: str
    argument: Any
    resolved: Any

    def _is_populated(self) -> bool:
        return self.argument is not None

    def _resolve_against_registry(self, clsregistry_resolver: Callable[[str, bool], Callable[[], Any]]) -> None:
        given = self.argument
        if isinstance(given, str):
            self.resolved = clsregistry_resolver(given, self.name == "secondary")()
        elif callable(given) and not _is_mapped_class(given):
            self.resolved = given()
        else:
            self.resolved = given

    def effective_value(self) -> Any:
        return self.resolved if self.resolved is not None else self.argument


class _StringRelationshipArg(_RelationshipArg):
    """An argument that names an attribute: a string, the attribute, or a callable for one of them."""

    def _resolve_against_registry(self, clsregistry_resolver: Callable[[str, bool], Callable[[], Any]]) -> None:
        value = self.argument
        if callable(value):
            value = value()
        if isinstance(value, attributes.QueryableAttribute):
            value = value.key
        self.resolved = value


class _RelationshipArgs(NamedTuple):
    """All late arguments of one relationship."""

    secondary: _RelationshipArg
    primaryjoin: _RelationshipArg
    secondaryjoin: _RelationshipArg
    order_by: _RelationshipArg
    foreign_keys: _RelationshipArg
    remote_side: _RelationshipArg
    back_populates: _StringRelationshipArg

    @classmethod
    def from_arguments(cls, **given: Any) -> _RelationshipArgs:
        back_populates = _StringRelationshipArg("back_populates", given.pop("back_populates"), None)
        others = {name: _RelationshipArg(name, value, None) for name, value in given.items()}
        return cls(back_populates=back_populates, **others)
