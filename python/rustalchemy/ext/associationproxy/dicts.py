"""The dictionary of an attribute of related objects."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, MutableMapping, ValuesView
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from .collections import _AssociationCollection, _documented_like

if TYPE_CHECKING:
    from .instances import AssociationProxyInstance

_KT = TypeVar("_KT", bound=Any)
_VT = TypeVar("_VT", bound=Any)


class _Absent(Enum):
    """No default was given."""

    ABSENT = 0


@_documented_like(dict)
class _AssociationDict(_AssociationCollection[_VT], MutableMapping[_KT, _VT]):
    """A dictionary of related objects, seen as the dictionary of their values under the same keys."""

    def _create(self, key: Any, value: Any) -> Any:
        return self.creator(key, value)

    def _get(self, object_: Any) -> Any:
        return self.getter(object_)

    def _set(self, object_: Any, key: Any, value: Any) -> None:
        self.setter(object_, key, value)

    def _fill(self, values: Iterable[Any]) -> None:
        self.update(values)

    def _bulk_replace(self, assoc_proxy: AssociationProxyInstance[Any], values: Mapping[Any, Any]) -> None:
        removals = [key for key in self if key not in (values or ())]
        for key, value in values.items():
            self[key] = value
        for key in removals:
            del self[key]

    def __getitem__(self, key: _KT) -> _VT:
        return self._get(self.col[key])

    def __setitem__(self, key: _KT, value: _VT) -> None:
        col = self.col
        if key in col:
            self._set(col[key], key, value)
        else:
            col[key] = self._create(key, value)

    def __delitem__(self, key: _KT) -> None:
        del self.col[key]

    def __contains__(self, key: object) -> bool:
        return key in self.col

    def __iter__(self) -> Iterator[_KT]:
        return iter(self.col.keys())

    def keys(self) -> KeysView[_KT]:
        return self.col.keys()

    def items(self) -> ItemsView[_KT, _VT]:
        return ItemsView(self)

    def values(self) -> ValuesView[_VT]:
        return ValuesView(self)

    def get(self, key: _KT, /, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def setdefault(self, key: _KT, default: Any = None) -> Any:
        if key in self.col:
            return self[key]
        self.col[key] = self._create(key, default)
        return default

    def pop(self, key: _KT, /, default: Any = _Absent.ABSENT) -> Any:
        col = self.col
        if default is not _Absent.ABSENT and key not in col:
            return default
        return self._get(col.pop(key))

    def popitem(self) -> tuple[_KT, _VT]:
        key, member = self.col.popitem()
        return key, self._get(member)

    def update(self, *args: Any, **kw: Any) -> None:
        values: dict[Any, Any] = {}
        values.update(*args, **kw)
        for key, value in values.items():
            self[key] = value

    def clear(self) -> None:
        self.col.clear()

    def copy(self) -> dict[_KT, _VT]:
        return dict(self.items())

    def __eq__(self, other: object) -> bool:
        return dict(self) == other

    def __ne__(self, other: object) -> bool:
        return dict(self) != other

    def __repr__(self) -> str:
        return repr(dict(self))
