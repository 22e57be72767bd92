"""A list of related objects that keeps the position of each in an attribute of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, SupportsIndex, TypeVar, overload

from ..orm.collections import collection, collection_adapter

_T = TypeVar("_T")
OrderingFunc = Callable[[int, Sequence[_T]], object]

__all__ = ["ordering_list"]


def ordering_list(
    attr: str,
    count_from: int | None = None,
    ordering_func: OrderingFunc[_T] | None = None,
    reorder_on_append: bool = False,
) -> Callable[[], OrderingList[_T]]:
    """The ``collection_class`` of a relationship whose objects have their position in the attribute ``attr``.

    :param count_from: the position of the first object, 0 if not given.
    :param ordering_func: makes the value of the attribute from index and list, in place of ``count_from``.
    :param reorder_on_append: give an appended object its position even if it has one.
    """
    if ordering_func is None and count_from is not None:
        ordering_func = _counting_from(count_from)
    return lambda: OrderingList(attr, ordering_func, reorder_on_append)


def count_from_0(index: int, collection: object) -> int:
    """Positions 0, 1, 2 …"""
    return index


def count_from_1(index: int, collection: object) -> int:
    """Positions 1, 2, 3 …"""
    return index + 1


def count_from_n_factory(start: int) -> OrderingFunc[Any]:
    """A function that counts from ``start``."""

    def count(index: int, collection: object) -> int:
        return index + start

    count.__name__ = f"count_from_{start}"
    return count


def _counting_from(start: int) -> OrderingFunc[Any]:
    # the first two have a name, so that lists with them can be pickled
    return {0: count_from_0, 1: count_from_1}.get(start) or count_from_n_factory(start)


class OrderingList(list[_T]):
    """A list that numbers its objects; see `ordering_list()`."""

    def __init__(
        self, ordering_attr: str, ordering_func: OrderingFunc[_T] | None = None, reorder_on_append: bool = False
    ) -> None:
        self.ordering_attr = ordering_attr
        self.ordering_func: OrderingFunc[_T] = count_from_0 if ordering_func is None else ordering_func
        self.reorder_on_append = reorder_on_append

    # a subclass may keep the position elsewhere

    def _get_order_value(self, entity: _T) -> Any:
        return getattr(entity, self.ordering_attr)

    def _set_order_value(self, entity: _T, value: Any) -> None:
        setattr(entity, self.ordering_attr, value)

    def reorder(self) -> None:
        """Number all objects anew."""
        for index, entity in enumerate(self):
            self._order_entity(index, entity, True)

    _reorder = reorder

    def _order_entity(self, index: int, entity: _T, reorder: bool = True) -> None:
        position = self._get_order_value(entity)
        if position is not None and not reorder:
            return
        wanted = self.ordering_func(index, self)
        if position != wanted:
            self._set_order_value(entity, wanted)

    def append(self, entity: _T) -> None:
        super().append(entity)
        self._order_entity(len(self) - 1, entity, self.reorder_on_append)

    def _raw_append(self, entity: _T) -> None:
        """Append without a position."""
        super().append(entity)

    _raw_append = collection.adds(1)(_raw_append)

    def insert(self, index: SupportsIndex, entity: _T) -> None:
        super().insert(index, entity)
        self.reorder()

    def remove(self, entity: _T) -> None:
        super().remove(entity)
        # a list that was replaced is emptied: the objects are numbered by their new one
        adapter = collection_adapter(self)
        if adapter and adapter._referenced_by_owner:
            self.reorder()

    def pop(self, index: SupportsIndex = -1) -> _T:
        entity = super().pop(index)
        self.reorder()
        return entity

    @overload
    def __setitem__(self, index: SupportsIndex, entity: _T) -> None: ...

    @overload
    def __setitem__(self, index: slice, entity: Iterable[_T]) -> None: ...

    def __setitem__(self, index: Any, entity: Any) -> None:
        if isinstance(index, slice):
            super().__setitem__(index, entity)
            self.reorder()
        else:
            self._order_entity(int(index), entity, True)
            super().__setitem__(index, entity)

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        super().__delitem__(index)
        self.reorder()

    def __reduce__(self) -> Any:
        return _reconstitute, (type(self), self.__dict__, list(self))


def _reconstitute(cls: type[OrderingList[_T]], attributes: dict[str, Any], items: list[_T]) -> OrderingList[_T]:
    made = cls.__new__(cls)
    made.__dict__.update(attributes)
    list.extend(made, items)
    return made
