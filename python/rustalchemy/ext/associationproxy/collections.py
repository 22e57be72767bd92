"""What all proxies of collections have in common: the way to the collection they stand for, and pickling."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from .instances import AssociationProxyInstance

_T = TypeVar("_T", bound=Any)
_C = TypeVar("_C", bound="type[Any]")


class _lazy_collection:
    """The collection of one object, read anew at each use: a refresh or an assignment may replace it."""

    def __init__(self, obj: Any, target: str) -> None:
        self.parent = obj
        self.target = target

    def __call__(self) -> Any:
        return getattr(self.parent, self.target)


class _AssociationCollection(Generic[_T]):
    """A collection of related objects, seen as the collection of one of their attributes."""

    def __init__(
        self,
        lazy_collection: Callable[[], Any],
        creator: Callable[..., Any],
        getter: Callable[[Any], Any],
        setter: Callable[..., Any],
        parent: AssociationProxyInstance[Any],
    ) -> None:
        self.lazy_collection = lazy_collection
        self.creator = creator
        self.getter = getter
        self.setter = setter
        self.parent = parent

    @property
    def col(self) -> Any:
        """The collection of related objects itself."""
        return self.lazy_collection()

    def __len__(self) -> int:
        return len(self.col)

    def __bool__(self) -> bool:
        return bool(self.col)

    def __getstate__(self) -> Any:
        # accessors are functions made on the spot: an unpickled proxy asks for new ones
        return {"parent": self.parent, "lazy_collection": self.lazy_collection}

    def __setstate__(self, state: Any) -> None:
        self.parent = state["parent"]
        self.lazy_collection = state["lazy_collection"]
        self.parent._inflate(self)

    def clear(self) -> None:
        raise NotImplementedError()

    def _fill(self, values: Iterable[Any]) -> None:
        """Add values of one's own kind; what a bulk assignment does after `clear()`."""
        raise NotImplementedError()

    def _bulk_replace(self, assoc_proxy: AssociationProxyInstance[Any], values: Any) -> None:
        """Take the place of an assigned value: `parent.proxy = values`."""
        raise NotImplementedError()


class _AssociationSingleItem(_AssociationCollection[_T]):
    """A proxy whose members are made from one value each, not from key and value."""

    def _create(self, value: Any) -> Any:
        return self.creator(value)

    def _get(self, object_: Any) -> Any:
        return self.getter(object_)

    def _bulk_replace(self, assoc_proxy: AssociationProxyInstance[Any], values: Iterable[Any]) -> None:
        self.clear()
        assoc_proxy._set(self, values)


def _documented_like(builtin: type[Any]) -> Callable[[_C], _C]:
    """Give methods without a docstring that of the builtin's method of the same name."""

    def document(cls: _C) -> _C:
        for name, method in vars(cls).items():
            if callable(method) and not method.__doc__:
                method.__doc__ = getattr(getattr(builtin, name, None), "__doc__", None)
        return cls

    return document
