"""The three-way difference of one attribute: what was added, kept and deleted since the committed state."""

from __future__ import annotations

from typing import Any, NamedTuple

from .base import instance_state


class History(NamedTuple):
    """Added, unchanged and deleted values of an attribute; each a list or an empty tuple."""

    added: tuple[()] | list[Any]
    unchanged: tuple[()] | list[Any]
    deleted: tuple[()] | list[Any]

    # Three-way emptiness is told by identity of the parts, never by comparing entities.
    def __bool__(self) -> bool:
        return not self.empty()

    def empty(self) -> bool:
        return not bool((self.added or self.deleted) or self.unchanged)

    def sum(self) -> list[Any]:
        return list(self.added) + list(self.unchanged) + list(self.deleted)

    def non_deleted(self) -> list[Any]:
        return list(self.added) + list(self.unchanged)

    def non_added(self) -> list[Any]:
        return list(self.unchanged) + list(self.deleted)

    def has_changes(self) -> bool:
        return bool(self.added or self.deleted)

    def _merge(self, added: Any, deleted: Any) -> History:
        return History(list(self.added) + list(added), self.unchanged, list(self.deleted) + list(deleted))

    def as_state(self) -> History:
        """The same with the states of the objects in place of the objects."""
        return History(_states(self.added), _states(self.unchanged), _states(self.deleted))


def _states(items: Any) -> list[Any]:
    return [None if item is None else instance_state(item) for item in items]


HISTORY_BLANK = History((), (), ())
