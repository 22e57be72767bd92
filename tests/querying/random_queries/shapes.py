"""What the writer of queries knows of the zoo: columns by kind, relationships and subclasses of each class."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import sqlalchemy as sa

from .zoo import declare


@dataclass(frozen=True)
class Relation:
    key: str
    target: str
    uselist: bool
    # "write_only" and "dynamic" take no loader options
    loadable: bool


@dataclass(frozen=True)
class Shape:
    """One class, as far as a query can name its parts."""

    name: str
    numbers: tuple[str, ...]
    texts: tuple[str, ...]
    deferred: tuple[str, ...]
    relations: tuple[Relation, ...]
    subclasses: tuple[str, ...]
    keys: tuple[tuple[object, ...], ...]
    is_joined: bool

    @property
    def columns(self) -> tuple[str, ...]:
        return self.numbers + self.texts


@functools.cache
def shapes() -> dict[str, Shape]:
    """All classes of the zoo by name, as SQLAlchemy's mappers describe them."""
    from .rows import ROWS

    found = {}
    for name, cls in declare("sqlalchemy.orm").classes.items():
        mapper = sa.inspect(cls, raiseerr=False)
        if mapper is None:
            continue
        columns = {
            prop.key: prop for prop in mapper.column_attrs if prop.key not in ("level", "rating", "kind", "type")
        }
        numbers = [k for k, p in columns.items() if isinstance(p.columns[0].type, sa.Integer)]
        texts = [k for k, p in columns.items() if isinstance(p.columns[0].type, sa.String)]
        if name == "User":
            texts.append("nick")
        relations = [
            Relation(p.key, p.mapper.class_.__name__, bool(p.uselist), p.lazy not in ("dynamic", "write_only"))
            for p in mapper.relationships
        ]
        table = mapper.local_table if mapper.concrete else mapper.base_mapper.local_table
        keys = [tuple(row[column.name] for column in table.primary_key) for row in ROWS[table.name]]
        found[name] = Shape(
            name,
            tuple(sorted(numbers)),
            tuple(sorted(texts)),
            tuple(sorted(k for k, p in columns.items() if p.deferred)),
            tuple(sorted(relations, key=lambda r: r.key)),
            tuple(m.class_.__name__ for m in mapper.self_and_descendants if m is not mapper),
            tuple(keys),
            mapper.polymorphic_on is not None and len(mapper.base_mapper.tables) >= 1 and not mapper.single,
        )
    return found
