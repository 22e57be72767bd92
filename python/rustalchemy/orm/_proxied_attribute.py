"""Class-level attributes that stand for a user's descriptor: hybrids, synonyms, composites."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from sqlalchemy import inspection, util
from sqlalchemy.sql import visitors
from sqlalchemy.sql.cache_key import HasCacheKey
from sqlalchemy.sql.visitors import InternalTraversal

from .attributes import QueryableAttribute


@dataclasses.dataclass(frozen=True)
class _AdHocHasEntityNamespace(HasCacheKey):
    """The namespace of an attribute whose comparator knows no entity."""

    _traverse_internals: ClassVar[Any] = [("_entity_namespace", InternalTraversal.dp_has_cache_key)]

    __slots__ = ("_entity_namespace",)

    _entity_namespace: Any
    is_mapper: ClassVar[bool] = False
    is_aliased_class: ClassVar[bool] = False

    @property
    def entity_namespace(self) -> Any:
        return self._entity_namespace.entity_namespace


def _create_proxied_attribute(descriptor: Any) -> Any:
    """A class of attributes that act as ``descriptor`` and as SQL expressions through a comparator."""

    class Proxy(QueryableAttribute[Any]):
        """A user's descriptor as class-level attribute."""

        _extra_criteria = ()
        _is_internal_proxy = True
        _cache_key_traversal = [
            ("key", visitors.ExtendedInternalTraversal.dp_string),
            ("_parententity", visitors.ExtendedInternalTraversal.dp_multi),
        ]

        def __init__(
            self,
            class_: Any,
            key: str,
            descriptor: Any,
            comparator: Any,
            adapt_to_entity: Any = None,
            doc: str | None = None,
            original_property: Any = None,
        ) -> None:
            self.class_ = class_
            self.key = key
            self.descriptor = descriptor
            self.original_property = original_property
            self._comparator: Any = comparator
            self._adapt_to_entity = adapt_to_entity
            self._doc = self.__doc__ = doc

        @property
        def _parententity(self) -> Any:
            return inspection.inspect(self.class_, raiseerr=False)

        @property
        def parent(self) -> Any:
            return inspection.inspect(self.class_, raiseerr=False)

        def _column_strategy_attrs(self) -> Any:
            return () if self.original_property is None else self.original_property._column_strategy_attrs()

        @property
        def _impl_uses_objects(self) -> bool:
            return self.original_property is not None and getattr(self.class_, self.key).impl.uses_objects

        @property
        def _entity_namespace(self) -> Any:
            if hasattr(self._comparator, "_parententity"):
                return self._comparator._parententity
            return _AdHocHasEntityNamespace(self._parententity)

        @util.memoized_property
        def comparator(self) -> Any:
            if callable(self._comparator):
                self._comparator = self._comparator()
            if self._adapt_to_entity:
                self._comparator = self._comparator.adapt_to_entity(self._adapt_to_entity)
            return self._comparator

        def adapt_to_entity(self, adapt_to_entity: Any) -> Any:
            return self.__class__(adapt_to_entity.entity, self.key, self.descriptor, self._comparator, adapt_to_entity)

        def _clone(self, **kw: Any) -> Any:
            return self.__class__(
                self.class_,
                self.key,
                self.descriptor,
                self._comparator,
                adapt_to_entity=self._adapt_to_entity,
                original_property=self.original_property,
            )

        def __get__(self, instance: Any, owner: Any) -> Any:
            value = self.descriptor.__get__(instance, owner)
            # a descriptor without class-level behaviour answers itself; the expression is this proxy then
            if value is self.descriptor and instance is None:
                return self
            return value

        def __str__(self) -> str:
            return f"{self.class_.__name__}.{self.key}"

        def __getattr__(self, attribute: str) -> Any:
            try:
                return util.MemoizedSlots.__getattr__(self, attribute)
            except AttributeError:
                pass
            try:
                return getattr(descriptor, attribute)
            except AttributeError as error:
                if attribute == "comparator":
                    raise AttributeError("comparator") from error
                try:
                    comparator = self.comparator
                except AttributeError as second:
                    raise AttributeError(
                        f"Neither {type(descriptor).__name__!r} object nor unconfigured comparator object associated "
                        f"with {self} has an attribute {attribute!r}"
                    ) from second
                try:
                    return getattr(comparator, attribute)
                except AttributeError as third:
                    raise AttributeError(
                        f"Neither {type(descriptor).__name__!r} object nor {type(comparator).__name__!r} object "
                        f"associated with {self} has an attribute {attribute!r}"
                    ) from third

    Proxy.__name__ = type(descriptor).__name__ + "Proxy"
    util.monkeypatch_proxied_specials(Proxy, type(descriptor), name="descriptor", from_instance=descriptor)
    return Proxy
