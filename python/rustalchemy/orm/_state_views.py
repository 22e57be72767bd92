"""Live views of one state: ``inspect(obj).expired_attributes`` and ``.committed_state``.

Flags and old values live in the native core; the views keep nothing and ask it each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping, MutableSet
from typing import Any

from .. import _core


class ExpiredAttributes(MutableSet[str]):
    """Names of expired attributes, with the methods of ``set``; results are plain sets."""

    __slots__ = ("_state",)

    def __init__(self, state: _core.InstanceState) -> None:
        self._state = state

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> Any:
        return set(it)

    def __contains__(self, key: object) -> bool:
        return key in _core._expired_names(self._state)

    def __iter__(self) -> Iterator[str]:
        return iter(_core._expired_names(self._state))

    def __len__(self) -> int:
        return len(_core._expired_names(self._state))

    def __repr__(self) -> str:
        return repr(self.copy())

    def add(self, value: str) -> None:
        _core._mark_expired(self._state, value, True)

    def discard(self, value: str) -> None:
        if value in self:
            _core._mark_expired(self._state, value, False)

    def clear(self) -> None:
        for key in self.copy():
            self.discard(key)

    def copy(self) -> set[str]:
        return _core._expired_names(self._state)

    def update(self, *others: Iterable[str]) -> None:
        for key in set().union(*others):
            self.add(key)

    def difference_update(self, *others: Iterable[str]) -> None:
        for key in set().union(*others):
            self.discard(key)

    def intersection_update(self, *others: Iterable[str]) -> None:
        self.difference_update(self.difference(self.intersection(*others)))

    def union(self, *others: Iterable[str]) -> set[str]:
        return self.copy().union(*others)

    def intersection(self, *others: Iterable[str]) -> set[str]:
        return self.copy().intersection(*others)

    def difference(self, *others: Iterable[str]) -> set[str]:
        return self.copy().difference(*others)

    def symmetric_difference(self, other: Iterable[str]) -> set[str]:
        return self.copy().symmetric_difference(other)

    def issubset(self, other: Iterable[str]) -> bool:
        return self.copy().issubset(other)

    def issuperset(self, other: Iterable[str]) -> bool:
        return self.copy().issuperset(other)


class CommittedState(MutableMapping[str, Any]):
    """Old values of changed attributes by name. Putting one in makes the attribute count as changed from it."""

    __slots__ = ("_state",)

    def __init__(self, state: _core.InstanceState) -> None:
        self._state = state

    def __getitem__(self, key: str) -> Any:
        return _core._committed_values(self._state)[key]

    def __iter__(self) -> Iterator[str]:
        return iter(_core._committed_values(self._state))

    def __len__(self) -> int:
        return len(_core._committed_values(self._state))

    def __repr__(self) -> str:
        return repr(self.copy())

    def __setitem__(self, key: str, value: Any) -> None:
        _core._set_committed(self._state, key, value)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        _core._forget_committed(self._state, key)

    def clear(self) -> None:
        for key in self.copy():
            del self[key]

    def copy(self) -> dict[str, Any]:
        return _core._committed_values(self._state)
