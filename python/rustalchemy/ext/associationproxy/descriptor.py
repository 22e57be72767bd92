"""What stands in the body of a class: a descriptor that knows names only, and finds the rest when a class is mapped."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, overload

from sqlalchemy import exc as sa_exc
from sqlalchemy import inspect
from typing_extensions import Self

from ..._sa import _NoArg
from ...orm import InspectionAttrExtensionType, InspectionAttrInfo, ORMDescriptor
from ...orm.extensions import NO_ATTRIBUTE_OPTIONS, AttributeOptions, DataclassAttribute
from .instances import AssociationProxyInstance

_T = TypeVar("_T", bound=Any)


class AssociationProxyExtensionType(InspectionAttrExtensionType):
    """The mark of association proxies among the descriptors of a mapped class."""

    ASSOCIATION_PROXY = "ASSOCIATION_PROXY"


class AssociationProxy(InspectionAttrInfo, ORMDescriptor[_T], DataclassAttribute):
    """An attribute that is read from, and written to, the objects of a relationship."""

    is_attribute = True
    extension_type = AssociationProxyExtensionType.ASSOCIATION_PROXY

    def __init__(
        self,
        target_collection: str,
        attr: str,
        *,
        creator: Callable[..., Any] | None = None,
        getset_factory: Callable[..., Any] | None = None,
        proxy_factory: Callable[..., Any] | None = None,
        proxy_bulk_set: Callable[..., Any] | None = None,
        info: dict[Any, Any] | None = None,
        cascade_scalar_deletes: bool = False,
        create_on_none_assignment: bool = False,
        attribute_options: AttributeOptions | None = None,
    ) -> None:
        if cascade_scalar_deletes and create_on_none_assignment:
            raise sa_exc.ArgumentError(
                "The cascade_scalar_deletes and create_on_none_assignment parameters are mutually exclusive."
            )
        self.target_collection = target_collection
        self.value_attr = attr
        self.creator = creator
        self.getset_factory = getset_factory
        self.proxy_factory = proxy_factory
        self.proxy_bulk_set = proxy_bulk_set
        self.cascade_scalar_deletes = cascade_scalar_deletes
        self.create_on_none_assignment = create_on_none_assignment
        # Under this name classes and objects keep what was made for them. The descriptor does not know its own name:
        # a declared_attr or a mixin may put it under several.
        self.key = f"_{type(self).__name__}_{target_collection}_{id(self)}"
        if info:
            self.info = info  # type: ignore[misc]
        self._attribute_options = attribute_options or NO_ATTRIBUTE_OPTIONS
        self._has_dataclass_arguments = self._attribute_options != NO_ATTRIBUTE_OPTIONS

    @overload
    def __get__(self, instance: Literal[None], owner: Literal[None]) -> Self: ...

    @overload
    def __get__(self, instance: Literal[None], owner: Any) -> AssociationProxyInstance[_T]: ...

    @overload
    def __get__(self, instance: object, owner: Any) -> _T: ...

    def __get__(self, instance: object, owner: Any) -> Any:
        if owner is None:
            return self
        found = self._as_instance(owner, instance)
        # a class that is not mapped yet shows the descriptor
        return self if found is None else found.get(instance)

    def __set__(self, instance: object, values: _T) -> None:
        self.for_class(type(instance), instance).set(instance, values)

    def __delete__(self, instance: object) -> None:
        self.for_class(type(instance), instance).delete(instance)

    def for_class(self, class_: type[Any], obj: object | None = None) -> AssociationProxyInstance[_T]:
        """What this attribute is for a mapped class; of an object too, where subclasses of the target differ."""
        return self._as_instance(class_, obj)  # type: ignore[return-value]

    def _as_instance(self, class_: Any, obj: Any) -> AssociationProxyInstance[_T] | None:
        name = self.key + "_inst"
        found: AssociationProxyInstance[_T] | None = class_.__dict__.get(name)
        if found is None:
            owner = self._mapped_class(class_)
            if owner is None:
                return None
            found = AssociationProxyInstance.for_proxy(self, owner, obj)
            setattr(class_, name, found)
        return found.for_object(obj)

    def _mapped_class(self, class_: Any) -> type[Any] | None:
        """The class itself, once it is mapped: declarative reads attributes of classes that are not yet."""
        mapper = inspect(class_, raiseerr=False)
        return None if mapper is None else mapper.mapper.class_manager.class_

    def _default_getset(self, collection_class: Any) -> tuple[Callable[[Any], Any], Callable[..., None]]:
        attr = self.value_attr
        read = operator.attrgetter(attr)

        def getter(instance: Any) -> Any:
            return None if instance is None else read(instance)

        def plain_setter(instance: Any, value: Any) -> None:
            setattr(instance, attr, value)

        def dict_setter(instance: Any, key: Any, value: Any) -> None:
            setattr(instance, attr, value)

        return getter, dict_setter if collection_class is dict else plain_setter

    def __repr__(self) -> str:
        return f"AssociationProxy({self.target_collection!r}, {self.value_attr!r})"


def association_proxy(
    target_collection: str,
    attr: str,
    *,
    creator: Callable[..., Any] | None = None,
    getset_factory: Callable[..., Any] | None = None,
    proxy_factory: Callable[..., Any] | None = None,
    proxy_bulk_set: Callable[..., Any] | None = None,
    info: dict[Any, Any] | None = None,
    cascade_scalar_deletes: bool = False,
    create_on_none_assignment: bool = False,
    init: _NoArg | bool = _NoArg.NO_ARG,
    repr: _NoArg | bool = _NoArg.NO_ARG,
    default: Any | None = _NoArg.NO_ARG,
    default_factory: _NoArg | Callable[[], _T] = _NoArg.NO_ARG,
    compare: _NoArg | bool = _NoArg.NO_ARG,
    kw_only: _NoArg | bool = _NoArg.NO_ARG,
    hash: _NoArg | bool | None = _NoArg.NO_ARG,
    dataclass_metadata: _NoArg | Mapping[Any, Any] | None = _NoArg.NO_ARG,
) -> AssociationProxy[Any]:
    """An attribute that shows the attribute ``attr`` of what the relationship ``target_collection`` refers to.

    Over a collection it is a list, set or dictionary of values, over a scalar relationship one value.

    :param creator: makes the related object for a new value (for key and value, in a dictionary); without it the class
        is called with the value.
    :param getset_factory: called with the kind of collection (None for a scalar) and the proxy of the class, returns
        the functions that read a value from a related object and write it.
    :param proxy_factory: called with a function that returns the collection, the creator, the name of the attribute
        and the proxy of the class, returns the proxy to be used for a collection.
    :param proxy_bulk_set: adds an iterable of values to such a proxy.
    :param info: becomes ``info`` of the descriptor.
    :param cascade_scalar_deletes: assigning None to, or deleting, a scalar attribute also lets the related object go.
    :param create_on_none_assignment: assigning None to a scalar attribute makes a related object where there is none.
    :param init, repr, default, default_factory, compare, kw_only, hash, dataclass_metadata: the arguments of the
        dataclass field, in a class that is mapped as one.
    """
    return AssociationProxy(
        target_collection,
        attr,
        creator=creator,
        getset_factory=getset_factory,
        proxy_factory=proxy_factory,
        proxy_bulk_set=proxy_bulk_set,
        info=info,
        cascade_scalar_deletes=cascade_scalar_deletes,
        create_on_none_assignment=create_on_none_assignment,
        attribute_options=AttributeOptions(
            init, repr, default, default_factory, compare, kw_only, hash, dataclass_metadata
        ),
    )
