"""The list of an attribute of related objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSequence
from typing import Any, NoReturn, SupportsIndex, TypeVar, overload

from typing_extensions import Self

from .collections import _AssociationSingleItem, _documented_like

_T = TypeVar("_T", bound=Any)


@_documented_like(list)
class _AssociationList(_AssociationSingleItem[_T], MutableSequence[_T]):
    """A list of related objects, seen as the list of their values."""

    def _set(self, object_: Any, value: Any) -> None:
        self.setter(object_, value)

    def _fill(self, values: Iterable[Any]) -> None:
        self.extend(values)

    @overload
    def __getitem__(self, index: int) -> _T: ...

    @overload
    def __getitem__(self, index: slice) -> MutableSequence[_T]: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self._get(member) for member in self.col[index]]
        return self._get(self.col[index])

    @overload
    def __setitem__(self, index: int, value: _T) -> None: ...

    @overload
    def __setitem__(self, index: slice, value: Iterable[_T]) -> None: ...

    def __setitem__(self, index: int | slice, value: Any) -> None:
        """One member, or each of an extended slice, stays and gets the value; a plain slice gets new members."""
        if not isinstance(index, slice):
            self._set(self.col[index], value)
            return
        values = list(value)
        start, stop, step = index.indices(len(self))
        if step == 1:
            for _ in range(start, stop):
                del self[start]
            for position, item in enumerate(values, start):
                self.insert(position, item)
            return
        positions = range(start, stop, step)
        if len(values) != len(positions):
            raise ValueError(
                f"attempt to assign sequence of size {len(values)} to extended slice of size {len(positions)}"
            )
        for position, item in zip(positions, values, strict=True):
            self._set(self.col[position], item)

    def __delitem__(self, index: int | slice) -> None:
        del self.col[index]

    def __contains__(self, value: object) -> bool:
        return any(self._get(member) == value for member in self.col)

    def __iter__(self) -> Iterator[_T]:
        for member in self.col:
            yield self._get(member)

    def append(self, value: _T) -> None:
        col = self.col
        col.append(self._create(value))

    def count(self, value: Any) -> int:
        return sum(1 for own in self if own == value)

    def extend(self, values: Iterable[_T]) -> None:
        for value in list(values) if values is self else values:
            self.append(value)

    def insert(self, index: int, value: _T) -> None:
        self.col[index:index] = [self._create(value)]

    def pop(self, index: int = -1) -> _T:
        return self._get(self.col.pop(index))

    def remove(self, value: _T) -> None:
        for position, own in enumerate(self):
            if own == value:
                del self.col[position]
                return
        raise ValueError("value not in list")

    def reverse(self) -> NoReturn:
        """Not supported, use reversed(mylist)"""
        raise NotImplementedError()

    def sort(self) -> NoReturn:
        """Not supported, use sorted(mylist)"""
        raise NotImplementedError()

    def clear(self) -> None:
        del self.col[:]

    def index(self, value: Any, *bounds: Any) -> int:
        return list(self).index(value, *bounds)

    def copy(self) -> list[_T]:
        return list(self)

    def __eq__(self, other: object) -> bool:
        return list(self) == other

    def __ne__(self, other: object) -> bool:
        return list(self) != other

    def __lt__(self, other: Any) -> bool:
        return list(self) < other

    def __le__(self, other: Any) -> bool:
        return list(self) <= other

    def __gt__(self, other: Any) -> bool:
        return list(self) > other

    def __ge__(self, other: Any) -> bool:
        return list(self) >= other

    def __add__(self, other: Iterable[_T]) -> list[_T]:
        try:
            values = list(other)
        except TypeError:
            return NotImplemented
        return list(self) + values

    def __radd__(self, other: Iterable[_T]) -> list[_T]:
        try:
            values = list(other)
        except TypeError:
            return NotImplemented
        return values + list(self)

    def __mul__(self, n: SupportsIndex) -> list[_T]:
        return list(self) * n if isinstance(n, int) else NotImplemented

    __rmul__ = __mul__

    def __iadd__(self, values: Iterable[_T]) -> Self:
        self.extend(values)
        return self

    def __imul__(self, n: SupportsIndex) -> Self:
        # a copy of a value is a member of its own: related objects are not put into the collection twice
        if not isinstance(n, int):
            raise NotImplementedError()
        if n == 0:
            self.clear()
        elif n > 1:
            self.extend(list(self) * (n - 1))
        return self

    def __repr__(self) -> str:
        return repr(list(self))
