"""An association proxy for one mapped class: the way from an object to its values, and back.

Which SQL operators there are depends on what the proxied attribute is: see `targets`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, overload

from sqlalchemy import ColumnElement, util
from sqlalchemy import exc as sa_exc

from ...orm import RelationshipProperty, class_mapper
from ...orm.extensions import SQLORMOperations
from .collections import _AssociationCollection, _lazy_collection
from .dicts import _AssociationDict
from .lists import _AssociationList
from .sets import _AssociationSet

if TYPE_CHECKING:
    from .descriptor import AssociationProxy

_T = TypeVar("_T", bound=Any)
_Self = TypeVar("_Self", bound="AssociationProxyInstance[Any]")

_PROXIES: dict[type[Any], type[_AssociationCollection[Any]]] = {
    list: _AssociationList,
    dict: _AssociationDict,
    set: _AssociationSet,
}


class _KeptProxy:
    """The proxy of a collection, kept in the ``__dict__`` of the object that has the collection.

    A copy of the object brings it along, and must not use it: `serves` tells.
    """

    __slots__ = ("collection", "instance", "proxy")

    def __init__(self, collection: Any = None, instance: Any = None, proxy: Any = None) -> None:
        self.collection = collection
        self.instance = instance
        self.proxy = proxy

    def serves(self, instance: AssociationProxyInstance[Any], obj: Any) -> bool:
        return self.instance is instance and self.collection.parent is obj

    def __reduce__(self) -> Any:
        # a pickled object does not take the proxy, and with it a user's functions, along
        return _KeptProxy, ()


def related_exists(comparator: Any, criterion: Any = None, **kwargs: Any) -> ColumnElement[bool]:
    """EXISTS for a relationship, scalar or not."""
    exists = comparator.any if comparator.property.uselist else comparator.has
    return exists(criterion, **kwargs)


class AssociationProxyInstance(SQLORMOperations[_T]):
    """What an association proxy is for one mapped class, and what reading it from the class returns."""

    collection_class: type[Any] | None
    """list, set or dict: what the collection acts as; known from its first use."""

    target_class: type[Any]
    """The class of the objects between the owner and the values."""

    _target_is_object: bool
    """Whether the values are objects, or lists of them, that SQL can look into."""

    def __init__(
        self, parent: AssociationProxy[_T], owning_class: type[Any], target_class: type[Any], value_attr: str
    ) -> None:
        self.parent = parent
        self.key = parent.key
        self.owning_class = owning_class
        self.target_collection = parent.target_collection
        self.collection_class = None
        self.target_class = target_class
        self.value_attr = value_attr

    @classmethod
    def for_proxy(
        cls, parent: AssociationProxy[_T], owning_class: type[Any], parent_instance: Any
    ) -> AssociationProxyInstance[_T]:
        """The kind of proxy that fits what the descriptor refers to."""
        from .targets import proxy_instance

        relation = class_mapper(owning_class).get_property(parent.target_collection)
        if not isinstance(relation, RelationshipProperty):
            raise NotImplementedError("association proxy to a non-relationship intermediary is not supported")
        return proxy_instance(parent, owning_class, relation.mapper.class_)

    def for_object(self, obj: Any) -> AssociationProxyInstance[_T]:
        """The proxy that serves an object of the class; None is the class itself."""
        return self

    # the two attributes on the way

    @property
    def local_attr(self) -> SQLORMOperations[Any]:
        """The relationship, an attribute of the owning class."""
        return getattr(self.owning_class, self.target_collection)

    @property
    def remote_attr(self) -> SQLORMOperations[_T]:
        """The proxied attribute of the target class."""
        return getattr(self.target_class, self.value_attr)

    @property
    def attr(self) -> tuple[SQLORMOperations[Any], SQLORMOperations[_T]]:
        """`(local_attr, remote_attr)`."""
        return self.local_attr, self.remote_attr

    @util.memoized_property
    def scalar(self) -> bool:
        """Whether the relationship refers to one object at most."""
        return not class_mapper(self.owning_class).get_property(self.target_collection).uselist

    @property
    def info(self) -> dict[Any, Any]:
        return self.parent.info

    # values of an object

    @util.memoized_property
    def _scalar_accessors(self) -> tuple[Callable[[Any], Any], Callable[[Any, Any], None]]:
        return self._accessors(None)

    def _default_getset(self, collection_class: Any) -> tuple[Callable[[Any], Any], Callable[..., None]]:
        return self.parent._default_getset(collection_class)

    def _accessors(self, collection_class: type[Any] | None) -> tuple[Callable[[Any], Any], Callable[..., None]]:
        factory = self.parent.getset_factory
        if factory is not None:
            return factory(collection_class, self)
        return self.parent._default_getset(collection_class)

    @property
    def _creator(self) -> Callable[..., Any]:
        return self.target_class if self.parent.creator is None else self.parent.creator

    @overload
    def get(self: _Self, obj: Literal[None]) -> _Self: ...

    @overload
    def get(self, obj: Any) -> _T: ...

    def get(self, obj: Any) -> Any:
        """The value, or the proxy of the collection, of an object."""
        if obj is None:
            return self
        if self.scalar:
            read, _ = self._scalar_accessors
            return read(getattr(obj, self.target_collection))
        kept = getattr(obj, self.key, None)
        if kept is not None and kept.serves(self, obj):
            return kept.proxy
        collection = _lazy_collection(obj, self.target_collection)
        self.collection_class, proxy = self._new(collection)
        setattr(obj, self.key, _KeptProxy(collection, self, proxy))
        return proxy

    def set(self, obj: Any, values: Any) -> None:
        """Assign a value, or the values of a collection, to an object."""
        if self.scalar:
            self._set_scalar(obj, values)
            return
        proxy: Any = self.get(obj)
        if proxy is values:
            return
        if hasattr(proxy, "_bulk_replace"):
            proxy._bulk_replace(self, values)
        else:
            proxy.clear()
            self._set(proxy, values)

    def _set_scalar(self, obj: Any, value: Any) -> None:
        related = getattr(obj, self.target_collection)
        if related is None:
            if value is not None or self.parent.create_on_none_assignment:
                setattr(obj, self.target_collection, self._creator(value))
            return
        _, write = self._scalar_accessors
        write(related, value)
        if value is None and self.parent.cascade_scalar_deletes:
            setattr(obj, self.target_collection, None)

    def delete(self, obj: Any) -> None:
        """Let the related objects of an object go, after the value of a scalar one."""
        if self.scalar:
            related = getattr(obj, self.target_collection)
            if related is not None:
                delattr(related, self.value_attr)
        delattr(obj, self.target_collection)

    def _new(self, lazy_collection: Callable[[], Any]) -> tuple[type[Any], Any]:
        collection_class = util.duck_type_collection(lazy_collection())
        if collection_class is None:
            raise sa_exc.InvalidRequestError(
                f"lazy collection factory did not return a valid collection type, got {collection_class}"
            )
        if self.parent.proxy_factory is not None:
            proxy = self.parent.proxy_factory(lazy_collection, self._creator, self.value_attr, self)
        else:
            getter, setter = self._accessors(collection_class)
            proxy = _PROXIES[collection_class](lazy_collection, self._creator, getter, setter, self)
        return collection_class, proxy

    def _set(self, proxy: Any, values: Iterable[Any]) -> None:
        """Add the values of an assignment to an empty proxy."""
        if self.parent.proxy_bulk_set is not None:
            self.parent.proxy_bulk_set(proxy, values)
        elif isinstance(proxy, _AssociationCollection):
            proxy._fill(values)
        else:
            raise sa_exc.ArgumentError("no proxy_bulk_set supplied for custom collection_class implementation")

    def _inflate(self, proxy: _AssociationCollection[Any]) -> None:
        """Give an unpickled proxy its functions."""
        proxy.creator = self._creator
        proxy.getter, proxy.setter = self._accessors(self.collection_class)

    # SQL

    @property
    def _comparator(self) -> Any:
        local: Any = self.local_attr
        return local.comparator

    @property
    def _remote_proxy(self) -> AssociationProxyInstance[Any] | None:
        """The proxied attribute, where that is an association proxy itself."""
        remote: Any = self.remote_attr
        return remote if isinstance(remote, AssociationProxyInstance) else None

    @property
    def _leads_to_collection(self) -> bool:
        """Whether an object has more than one value."""
        raise NotImplementedError()

    def __clause_element__(self) -> NoReturn:
        raise NotImplementedError(
            "The association proxy can't be used as a plain column expression; it only works inside of a comparison "
            "expression"
        )

    def _remote_criterion(self, criterion: Any, kwargs: dict[str, Any], is_has: bool) -> Any:
        """A criterion for the proxied attribute as one for the target class."""
        raise NotImplementedError()

    def _exists(self, criterion: Any, kwargs: dict[str, Any], is_has: bool) -> ColumnElement[bool]:
        remote = self._remote_proxy
        if remote is not None:
            inner = remote._exists(criterion, kwargs, is_has=False)
        else:
            inner = self._remote_criterion(criterion, kwargs, is_has)
        return related_exists(self._comparator, inner)

    def any(self, criterion: Any = None, **kwargs: Any) -> ColumnElement[bool]:
        """True where one of the values meets the criterion."""
        if self._remote_proxy is None and not self._leads_to_collection:
            raise sa_exc.InvalidRequestError("'any()' not implemented for scalar attributes. Use has().")
        return self._exists(criterion, kwargs, is_has=False)

    def has(self, criterion: Any = None, **kwargs: Any) -> ColumnElement[bool]:
        """True where the value meets the criterion."""
        if self._remote_proxy is None and self._leads_to_collection:
            raise sa_exc.InvalidRequestError("'has()' not implemented for collections. Use any().")
        return self._exists(criterion, kwargs, is_has=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.parent!r})"
