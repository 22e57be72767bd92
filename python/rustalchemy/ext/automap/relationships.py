"""From foreign keys to relationships between classes whose mappers are still to be made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKeyConstraint, Table, and_

from ...orm import backref, relationship
from ...orm.interfaces import MANYTOMANY, MANYTOONE, ONETOMANY

if TYPE_CHECKING:
    from ...orm import RelationshipDirection
    from ...orm.decl_base import _DeferredDeclarativeConfig
    from .naming import (
        GenerateRelationshipType,
        NameForCollectionRelationshipType,
        NameForScalarRelationshipType,
    )

_Configs = Mapping[Table, "_DeferredDeclarativeConfig"]


def foreign_keys(table: Table) -> list[ForeignKeyConstraint]:
    """The foreign keys of a table in the order of their columns; the table itself has a set."""
    places = {column: place for place, column in enumerate(table.c)}

    def order(constraint: ForeignKeyConstraint) -> tuple[list[int], list[str]]:
        elements = constraint.elements
        return [places[key.parent] for key in elements], [key.target_fullname for key in elements]

    return sorted(table.foreign_key_constraints, key=order)


def association(table: Table) -> list[ForeignKeyConstraint] | None:
    """The two foreign keys that are all there is to an association table; None for any other table."""
    constraints = foreign_keys(table)
    if len(constraints) != 2:
        return None
    columns = {key.parent for constraint in constraints for key in constraint.elements}
    return constraints if columns == set(table.c) else None


@dataclass(frozen=True)
class RelationshipMaker:
    """Adds relationships to classes, both directions of each, by the functions `prepare()` was given."""

    base: type[Any]
    configs: _Configs
    collection_class: Callable[[], Any]
    name_for_scalar_relationship: NameForScalarRelationshipType
    name_for_collection_relationship: NameForCollectionRelationshipType
    generate_relationship: GenerateRelationshipType

    def add_foreign_keys(self, config: _DeferredDeclarativeConfig) -> None:
        """Relationships for the foreign keys of one class' table; that of joined inheritance is none."""
        table: Any = config.local_table
        local_cls = config.cls
        if table is None or local_cls is None:
            return
        for constraint in foreign_keys(table):
            referred = self.configs.get(constraint.elements[0].column.table)
            if referred is None:
                continue
            referred_cls = referred.cls
            if local_cls is not referred_cls and issubclass(local_cls, referred_cls):
                continue
            columns = [key.parent for key in constraint.elements]
            of_collection: dict[str, Any] = {"collection_class": self.collection_class, **_cascade(constraint)}
            self._add(
                _Side(
                    config,
                    self.name_for_scalar_relationship(self.base, local_cls, referred_cls, constraint),
                    MANYTOONE,
                    {"foreign_keys": columns, "remote_side": [key.column for key in constraint.elements]},
                ),
                _Side(
                    referred,
                    self.name_for_collection_relationship(self.base, referred_cls, local_cls, constraint),
                    ONETOMANY,
                    {"foreign_keys": columns, **of_collection},
                ),
                of_collection,
            )

    def add_association(self, table: Table, constraints: list[ForeignKeyConstraint]) -> None:
        """The relationships along an association table, if both of the tables it connects are mapped."""
        config, referred = (self.configs.get(constraint.elements[0].column.table) for constraint in constraints)
        if config is None or referred is None:
            return
        to_local, to_referred = (and_(*(key.column == key.parent for key in each.elements)) for each in constraints)
        # an association table that is mapped itself is written by two relationships, as is meant
        common = {
            "overlaps": "__*" if table in self.configs else None,
            "collection_class": self.collection_class,
        }
        self._add(
            _Side(
                config,
                self.name_for_collection_relationship(self.base, config.cls, referred.cls, constraints[0]),
                MANYTOMANY,
                {"secondary": table, "primaryjoin": to_local, "secondaryjoin": to_referred, **common},
            ),
            _Side(
                referred,
                self.name_for_collection_relationship(self.base, referred.cls, config.cls, constraints[1]),
                MANYTOMANY,
                {"secondary": table, "primaryjoin": to_referred, "secondaryjoin": to_local, **common},
            ),
            common,
        )

    def _add(self, side: _Side, other: _Side, backref_arguments: dict[str, Any]) -> None:
        """Add what the program has not declared itself; declared attributes learn of each other's side."""
        needs_other = other.name not in other.config.properties
        generate: Any = self.generate_relationship
        if side.name not in side.config.properties:
            reverse = None
            if needs_other:
                reverse = generate(
                    self.base,
                    other.direction,
                    backref,
                    other.name,
                    other.config.cls,
                    side.config.cls,
                    **backref_arguments,
                )
            made = generate(
                self.base,
                side.direction,
                relationship,
                side.name,
                side.config.cls,
                other.config.cls,
                backref=reverse,
                **side.arguments,
            )
            if made is not None:
                side.config.properties[side.name] = made
                if not needs_other:
                    other.populate_back(side.name)
        elif needs_other:
            made = generate(
                self.base,
                other.direction,
                relationship,
                other.name,
                other.config.cls,
                side.config.cls,
                back_populates=side.name,
                **other.arguments,
            )
            if made is not None:
                other.config.properties[other.name] = made
                side.populate_back(other.name)


@dataclass(frozen=True)
class _Side:
    """One direction of a relationship: the class that gets the attribute, and how it is made."""

    config: _DeferredDeclarativeConfig
    name: str
    direction: RelationshipDirection
    arguments: dict[str, Any]

    def populate_back(self, name: str) -> None:
        declared: Any = self.config.properties[self.name]
        declared.back_populates = name


def _cascade(constraint: ForeignKeyConstraint) -> dict[str, Any]:
    """What the members of a collection go through when they lose their owner, as the foreign key has it."""
    arguments: dict[str, Any] = {}
    is_required = any(not key.parent.nullable for key in constraint.elements)
    if is_required:
        arguments["cascade"] = "all, delete-orphan"
    if (constraint.ondelete or "").lower() == ("cascade" if is_required else "set null"):
        arguments["passive_deletes"] = True
    return arguments
