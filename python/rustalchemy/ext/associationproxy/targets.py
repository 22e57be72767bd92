"""Association proxies of a class by what they lead to: a column, an object, or what only an object can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from sqlalchemy import ColumnElement, inspect, or_, util
from sqlalchemy import exc as sa_exc
from sqlalchemy.sql import operators

from ...orm import InspectionAttr, class_mapper
from ...orm.extensions import SQLORMOperations
from .instances import AssociationProxyInstance, related_exists

if TYPE_CHECKING:
    from .descriptor import AssociationProxy

_T = TypeVar("_T", bound=Any)


class AmbiguousAssociationProxyInstance(AssociationProxyInstance[_T]):
    """The proxy of an attribute that the target class itself does not have as a mapped one, though subclasses may."""

    def _ambiguous(self) -> NoReturn:
        raise AttributeError(
            f"Association proxy {self.owning_class.__name__}.{self.target_collection} refers to an attribute "
            f"'{self.value_attr}' that is not directly mapped on class {self.target_class}; therefore this operation "
            "cannot proceed since we don't know what type of object is referred towards"
        )

    def __eq__(self, other: object) -> NoReturn:
        self._ambiguous()

    def __ne__(self, other: object) -> NoReturn:
        self._ambiguous()

    def any(self, criterion: Any = None, **kwargs: Any) -> NoReturn:
        self._ambiguous()

    def has(self, criterion: Any = None, **kwargs: Any) -> NoReturn:
        self._ambiguous()

    @util.memoized_property
    def _lookup_cache(self) -> dict[type[Any], AssociationProxyInstance[_T]]:
        """The proxies for the subclasses of the target class that were met."""
        return {}

    def for_object(self, obj: Any) -> AssociationProxyInstance[_T]:
        related = None if obj is None else getattr(obj, self.target_collection)
        # a collection has no state: each of its members may be of another class
        state = None if related is None else inspect(related, raiseerr=False)
        if state is None:
            return self
        mapper = state.mapper
        if mapper.class_ not in self._lookup_cache:
            relation = class_mapper(self.owning_class).get_property(self.target_collection)
            if not mapper.isa(relation.mapper) or not hasattr(mapper.class_, self.value_attr):
                return self
            self._lookup_cache[mapper.class_] = _instance_for(self.parent, self.owning_class, mapper.class_)
        return self._lookup_cache[mapper.class_]


class ObjectAssociationProxyInstance(AssociationProxyInstance[_T]):
    """The proxy of a relationship of the target class, or of another association proxy."""

    _target_is_object = True

    @property
    def _remote_is_scalar(self) -> bool:
        return not class_mapper(self.target_class).get_property(self.value_attr).uselist

    @property
    def _leads_to_collection(self) -> bool:
        return not self.scalar or not self._remote_is_scalar

    def adapt_to_entity(self, aliased_insp: Any) -> AliasedAssociationProxyInstance[_T]:
        return AliasedAssociationProxyInstance(self, aliased_insp)

    def _remote_criterion(self, criterion: Any, kwargs: dict[str, Any], is_has: bool) -> Any:
        remote: Any = self.remote_attr
        return related_exists(remote.comparator, criterion, **kwargs)

    def contains(self, other: Any, **kw: Any) -> ColumnElement[bool]:
        """True where the object is among the values."""
        remote = self._remote_proxy
        if remote is not None:
            return related_exists(self._comparator, remote == other if remote.scalar else remote.contains(other))
        if not self.scalar:
            return related_exists(self._comparator, **{self.value_attr: other})
        if self._remote_is_scalar:
            raise sa_exc.InvalidRequestError("contains() doesn't apply to a scalar object endpoint; use ==")
        return self._comparator.has(self.remote_attr.contains(other))

    # has() says itself that a collection cannot be compared

    def __eq__(self, other: Any) -> ColumnElement[bool]:  # type: ignore[override]
        same = self._comparator.has(**{self.value_attr: other})
        return same if other is not None else or_(same, self._comparator == None)  # noqa: E711

    def __ne__(self, other: Any) -> ColumnElement[bool]:  # type: ignore[override]
        return self._comparator.has(self.remote_attr != other)


class ColumnAssociationProxyInstance(AssociationProxyInstance[_T]):
    """The proxy of a column of the target class, or of whatever acts as one; it takes a column's operators."""

    _target_is_object = False

    @property
    def _leads_to_collection(self) -> bool:
        return not self.scalar

    def adapt_to_entity(self, aliased_insp: Any) -> ColumnAssociationProxyInstance[_T]:
        return _AliasedColumnProxyInstance(self, aliased_insp)

    def _remote_criterion(self, criterion: Any, kwargs: dict[str, Any], is_has: bool) -> Any:
        if kwargs:
            raise sa_exc.ArgumentError("Can't apply keyword arguments to column-targeted association proxy; use ==")
        if is_has and criterion is not None:
            raise sa_exc.ArgumentError("Non-empty has() not allowed for column-targeted association proxy; use ==")
        return criterion

    def __eq__(self, other: Any) -> ColumnElement[bool]:  # type: ignore[override]
        same = self.operate(operators.eq, other)
        # no related object has no value either
        return same if other is not None else or_(same, self._comparator == None)  # noqa: E711

    def operate(self, op: Any, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
        return related_exists(self._comparator, self.remote_attr.operate(op, *other, **kwargs))


class _OfAlias(AssociationProxyInstance[_T]):
    """A proxy as read from an alias of the owning class."""

    def __init__(self, instance: AssociationProxyInstance[_T], aliased_insp: Any) -> None:
        super().__init__(instance.parent, instance.owning_class, instance.target_class, instance.value_attr)
        self.aliased_insp = aliased_insp

    @property
    def local_attr(self) -> SQLORMOperations[Any]:
        return getattr(self.aliased_insp.entity, self.target_collection)


class AliasedAssociationProxyInstance(_OfAlias[_T], ObjectAssociationProxyInstance[_T]):
    """The proxy of an object, of an alias."""


class _AliasedColumnProxyInstance(_OfAlias[_T], ColumnAssociationProxyInstance[_T]):
    """The proxy of a column, of an alias."""


def proxy_instance(
    parent: AssociationProxy[_T], owning_class: type[Any], target_class: type[Any]
) -> AssociationProxyInstance[_T]:
    """The proxy that fits the attribute of the target class."""
    value_attr = parent.value_attr
    try:
        getattr(target_class, value_attr)
    except AttributeError:
        return AmbiguousAssociationProxyInstance(parent, owning_class, target_class, value_attr)
    except Exception as error:
        raise sa_exc.InvalidRequestError(
            f"Association proxy received an unexpected error when trying to retrieve attribute "
            f'"{target_class.__name__}.{value_attr}" from class "{target_class.__name__}": {error}'
        ) from error
    return _instance_for(parent, owning_class, target_class)


def _instance_for(
    parent: AssociationProxy[_T], owning_class: type[Any], target_class: type[Any]
) -> AssociationProxyInstance[_T]:
    attribute = getattr(target_class, parent.value_attr)
    kind: type[AssociationProxyInstance[_T]]
    if isinstance(attribute, AssociationProxyInstance):
        kind = ObjectAssociationProxyInstance
    elif not isinstance(attribute, InspectionAttr):
        kind = AmbiguousAssociationProxyInstance
    elif attribute._impl_uses_objects:  # type: ignore[attr-defined]
        kind = ObjectAssociationProxyInstance
    else:
        kind = ColumnAssociationProxyInstance
    return kind(parent, owning_class, target_class, parent.value_attr)
