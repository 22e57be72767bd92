"""The set of an attribute of related objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSet
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import Self

from .collections import _AssociationSingleItem, _documented_like

if TYPE_CHECKING:
    from .instances import AssociationProxyInstance

_T = TypeVar("_T", bound=Any)
_S = TypeVar("_S", bound=Any)


class _Members:
    """Members to be found by their values: by hash, and one by one those of values that have none."""

    def __init__(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        self._hashed: dict[Any, list[Any]] = {}
        self._others: list[tuple[Any, Any]] = []
        for value, member in pairs:
            self.add(value, member)

    def add(self, value: Any, member: Any) -> None:
        try:
            self._hashed.setdefault(value, []).append(member)
        except TypeError:
            self._others.append((value, member))

    def __contains__(self, value: object) -> bool:
        try:
            return value in self._hashed
        except TypeError:
            return any(value == own for own, _ in self._others)

    def take(self, value: Any) -> list[Any]:
        """The first member of the value, if there is one, which is not found again."""
        try:
            members = self._hashed.get(value)
        except TypeError:
            for position, (own, member) in enumerate(self._others):
                if own == value:
                    del self._others[position]
                    return [member]
            return []
        if members is None:
            return []
        if len(members) == 1:
            del self._hashed[value]
        return [members.pop(0)]


@_documented_like(set)
class _AssociationSet(_AssociationSingleItem[_T], MutableSet[_T]):
    """A set of related objects, seen as the set of their values; a value is added where no member has it."""

    @classmethod
    def _from_iterable(cls, it: Iterable[_S]) -> set[_S]:
        # what the inherited reflected operators make: a proxy belongs to an object, a result to nobody
        return set(it)

    def _fill(self, values: Iterable[Any]) -> None:
        self.update(values)

    def _bulk_replace(self, assoc_proxy: AssociationProxyInstance[Any], values: Iterable[Any]) -> None:
        removals = set(self).difference(values or ())
        self.update(values or ())
        self._remove(removals)

    def _members(self) -> _Members:
        return _Members((self._get(member), member) for member in self.col)

    def _remove(self, values: Iterable[Any]) -> None:
        """Remove a member for each value, if there is one."""
        col = self.col
        members = self._members()
        for value in list(values):
            for member in members.take(value):
                col.discard(member)

    def _become(self, values: set[Any]) -> None:
        own = set(self)
        self._remove(own - values)
        self.update(values - own)

    def __contains__(self, value: object) -> bool:
        return any(self._get(member) == value for member in self.col)

    def __iter__(self) -> Iterator[_T]:
        for member in self.col:
            yield self._get(member)

    def add(self, value: _T, /) -> None:
        if value not in self:
            self.col.add(self._create(value))

    def discard(self, value: _T, /) -> None:
        for member in self.col:
            if self._get(member) == value:
                self.col.discard(member)
                return

    def remove(self, value: _T, /) -> None:
        for member in self.col:
            if self._get(member) == value:
                self.col.discard(member)
                return
        raise KeyError(value)

    def pop(self) -> _T:
        if not self.col:
            raise KeyError("pop from an empty set")
        return self._get(self.col.pop())

    def clear(self) -> None:
        self.col.clear()

    def copy(self) -> set[_T]:
        return set(self)

    def update(self, *iterables: Iterable[_T]) -> None:
        col = self.col
        present = self._members()
        for values in iterables:
            if values is self:
                continue
            for value in values:
                if value not in present:
                    member = self._create(value)
                    col.add(member)
                    # the creator has the last word on what the value is
                    present.add(self._get(member), member)

    def union(self, *iterables: Iterable[Any]) -> set[Any]:
        return set(self).union(*iterables)

    def difference(self, *iterables: Iterable[Any]) -> set[_T]:
        return set(self).difference(*iterables)

    def difference_update(self, *iterables: Iterable[Any]) -> None:
        for values in iterables:
            self._remove(values)

    def intersection(self, *iterables: Iterable[Any]) -> set[_T]:
        return set(self).intersection(*iterables)

    def intersection_update(self, *iterables: Iterable[Any]) -> None:
        for values in iterables:
            self._become(self.intersection(values))

    def symmetric_difference(self, values: Iterable[Any], /) -> set[Any]:
        return set(self).symmetric_difference(values)

    def symmetric_difference_update(self, values: Iterable[Any], /) -> None:
        self._become(self.symmetric_difference(values))

    def issubset(self, values: Iterable[Any], /) -> bool:
        return set(self).issubset(values)

    def issuperset(self, values: Iterable[Any], /) -> bool:
        return set(self).issuperset(values)

    def _is_operand(self, other: Any) -> bool:
        """Whether an operator takes it: a set or such a proxy, like set's own operators."""
        return isinstance(other, (set, frozenset, type(self)))

    def __or__(self, other: Any) -> Any:
        return self.union(other) if self._is_operand(other) else NotImplemented

    def __sub__(self, other: Any) -> Any:
        return self.difference(other) if self._is_operand(other) else NotImplemented

    def __and__(self, other: Any) -> Any:
        return self.intersection(other) if self._is_operand(other) else NotImplemented

    def __xor__(self, other: Any) -> Any:
        return self.symmetric_difference(other) if self._is_operand(other) else NotImplemented

    def __ior__(self, other: Any) -> Self:
        if not self._is_operand(other):
            return NotImplemented
        self.update(other)
        return self

    def __isub__(self, other: Any) -> Self:
        if not self._is_operand(other):
            return NotImplemented
        self.difference_update(other)
        return self

    def __iand__(self, other: Any) -> Self:
        if not self._is_operand(other):
            return NotImplemented
        self.intersection_update(other)
        return self

    def __ixor__(self, other: Any) -> Self:
        if not self._is_operand(other):
            return NotImplemented
        self.symmetric_difference_update(other)
        return self

    def __eq__(self, other: object) -> bool:
        return set(self) == other

    def __ne__(self, other: object) -> bool:
        return set(self) != other

    def __lt__(self, other: Any) -> bool:
        return set(self) < other

    def __le__(self, other: Any) -> bool:
        return set(self) <= other

    def __gt__(self, other: Any) -> bool:
        return set(self) > other

    def __ge__(self, other: Any) -> bool:
        return set(self) >= other

    def __repr__(self) -> str:
        return repr(set(self))
