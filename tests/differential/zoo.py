"""Classes with every kind of relationship, cascade, key and collection, declared once per ORM."""

from __future__ import annotations

import functools
import importlib
import itertools
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from . import zoo_keys, zoo_links

# Classes that have to do with one another; a program plays with the classes of a few families.
FAMILIES: tuple[tuple[str, ...], ...] = (
    ("User", "Post", "Tag", "Comment", "Profile", "Login"),
    ("User", "Profile", "Login"),
    ("Post", "Tag"),
    ("Node",),
    ("Team", "Player"),
    ("Egg", "Hen"),
    ("Person", "Group"),
    ("Shelf", "Book", "Folder", "File"),
    ("Box", "Item", "Crate", "Thing"),
    ("Car", "Motor", "Desk", "Lamp"),
    ("Country", "City"),
    ("Region", "Town"),
    ("Student", "Course", "Enrollment"),
    ("Document", "Section"),
    ("Keeper", "Animal", "Dog", "Cat", "Puppy"),
)


class Numbers:
    """Numbers of objects, given out in the order in which they are first asked for."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._numbers = itertools.count()

    def of(self, obj: Any) -> int:
        if "_number" not in vars(obj):
            obj._number = next(self._numbers)
        number: int = obj._number
        return number


@functools.cache
def declare(orm_name: str) -> SimpleNamespace:
    """The classes, declared with `sqlalchemy.orm` or `rustalchemy.orm`, by name."""
    orm: Any = importlib.import_module(orm_name)

    numbers = Numbers()

    class Base(orm.DeclarativeBase):
        def __hash__(self) -> int:
            # sets of objects have an order that does not depend on where the objects are in memory
            return numbers.of(self)

    classes = {**zoo_links.declare(orm, Base), **zoo_keys.declare(orm, Base)}
    orm.configure_mappers()
    return SimpleNamespace(orm=orm, Base=Base, classes=classes, numbers=numbers)


@functools.cache
def relations(uselist: bool) -> dict[str, list[tuple[str, str]]]:
    """Relationships of each class that hold many objects, or one: names and the target classes' names."""
    found = {}
    for name, cls in declare("sqlalchemy.orm").classes.items():
        props = sorted(sa.inspect(cls).relationships, key=lambda prop: prop.key)
        found[name] = [(prop.key, prop.mapper.class_.__name__) for prop in props if prop.uselist is uselist]
    return found


@functools.cache
def foreign_keys() -> dict[str, list[tuple[str, str]]]:
    """Columns of each class that point to another class' table: attribute and target class."""
    classes = declare("sqlalchemy.orm").classes
    of_table = {cls.__table__.name: name for name, cls in reversed(classes.items())}
    found: dict[str, list[tuple[str, str]]] = {}
    for name, cls in classes.items():
        found[name] = []
        for prop in sa.inspect(cls).column_attrs:
            for key in prop.columns[0].foreign_keys:
                if not key.column.table.name.startswith("animal"):
                    found[name].append((prop.key, of_table[key.column.table.name]))
    return found


def is_a(obj: Any, class_name: str) -> bool:
    """Is the object of the class, or of one derived from it?"""
    return any(cls.__name__ == class_name for cls in type(obj).__mro__)
