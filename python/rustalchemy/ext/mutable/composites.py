"""Composite values, each attribute of which is a column: a change is written to the columns at once."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import InvalidRequestError

from ...orm import CompositeProperty, Mapper, QueryableAttribute
from .base import MutableBase


class MutableComposite(MutableBase):
    """Base of composite values that announce their changes by `changed()`."""

    @classmethod
    def _get_listen_keys(cls, attribute: QueryableAttribute[Any]) -> set[str]:
        composite: Any = attribute.property
        return {attribute.key, *composite._attribute_keys}

    def changed(self) -> None:
        """Set the columns' attributes of every object that has this value."""
        for state, key in self._parents.items():
            composite = state.mapper.get_property(key)
            values = composite._composite_values_from_instance(self)
            try:
                for value, name in zip(values, composite._attribute_keys, strict=True):
                    setattr(state.obj(), name, value)
            except InvalidRequestError:
                # refused, as by a read-only session: the value is made anew from the columns
                state.dict.pop(key, None)
                raise


def _listen_to_composites(mapper: Mapper[Any], class_: type[Any]) -> None:
    for prop in mapper.iterate_properties:
        composite_class = prop.composite_class if isinstance(prop, CompositeProperty) else None
        if isinstance(composite_class, type) and issubclass(composite_class, MutableComposite):
            composite_class._listen_on_attribute(getattr(class_, prop.key), False, class_)


def _setup_composite_listener() -> None:
    """Find such composites in every mapping from now on."""
    if not event.contains(Mapper, "mapper_configured", _listen_to_composites):
        event.listen(Mapper, "mapper_configured", _listen_to_composites)
