"""A mapped class made by hand: the native side alone, without mapper and attributes."""

from __future__ import annotations

from typing import Any

from rustalchemy import _core
from rustalchemy._core import EntityPlan, RowPlan, read_loaded


class Model:
    """One class, its manager, and what its rows and objects look like."""

    def __init__(
        self, keys: str, *, pk: tuple[int, ...] = (0,), base: type = _core.Instance, **descriptor: Any
    ) -> None:
        self.class_ = type("Thing", (base,), {})
        self.manager = _core.ClassManager(self.class_)
        self.class_._sa_class_manager = self.manager  # type: ignore[attr-defined]
        self.names = keys.split()
        for name in self.names:
            self.manager.allocate(name)
        self.manager.configure_mapper(
            {"name": "Thing", "base": self.manager, "primary_key": pk, "tables": [], "relationships": [], **descriptor}
        )
        self.pk = pk

    def entity(self, *columns: int, start: int = 0, **keywords: Any) -> EntityPlan:
        numbers = columns or tuple(range(len(self.names)))
        entries = [(start + at, number, None) for at, number in enumerate(numbers)]
        return EntityPlan(self.manager, tuple(start + numbers.index(at) for at in self.pk), entries, **keywords)

    def values(self, instance: Any) -> list[Any]:
        no_value = _core.symbol("NO_VALUE")
        return [
            "-" if value is no_value else value
            for number in range(len(self.names))
            for value in read_loaded([instance], (number,))
        ]


def single(entity: EntityPlan) -> RowPlan:
    return RowPlan([entity], single=True)
