"""How a value knows its objects, and how it becomes one that does: by listening to what puts values into objects."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from sqlalchemy import Column, event, types, util
from sqlalchemy.sql.base import SchemaEventTarget
from sqlalchemy.types import TypeEngine

from ...orm import InstanceState, InstrumentedAttribute, Mapper, QueryableAttribute
from ...orm.attributes import flag_modified

_T = TypeVar("_T", bound=Any)

# Under this key a pickled state has the values, by attribute: their objects are found again when it is unpickled.
_PICKLED = "ext.mutable.values"


class MutableBase:
    """A value that knows which objects, and which attribute of each, have it."""

    @util.memoized_property
    def _parents(self) -> weakref.WeakKeyDictionary[Any, Any]:
        """The name of the attribute, by the state of each object that has the value."""
        return weakref.WeakKeyDictionary()

    @classmethod
    def coerce(cls, key: str, value: Any) -> Any:
        """Make a value of this class of one that is not; a subclass says how. None stays None.

        :raises ValueError: for what cannot be a value of the attribute.
        """
        if value is None:
            return None
        raise ValueError(f"Attribute '{key}' does not accept objects of type {type(value)}")

    @classmethod
    def _get_listen_keys(cls, attribute: QueryableAttribute[Any]) -> set[str]:
        """The attributes whose refresh brings a new value."""
        return {attribute.key}

    @classmethod
    def _listen_on_attribute(cls, attribute: QueryableAttribute[Any], coerce: bool, parent_cls: Any) -> None:
        """Follow the values of an attribute, in subclasses of its class too."""
        if parent_cls is attribute.class_:
            _ValueListener(cls, attribute, coerce).listen()


class _ValueListener:
    """Ties the values of one attribute to the objects that get them."""

    def __init__(self, mutable: type[MutableBase], attribute: QueryableAttribute[Any], coerce: bool) -> None:
        self.mutable = mutable
        self.attribute = attribute
        self.key = attribute.key
        self.coerce = coerce
        self.listen_keys = mutable._get_listen_keys(attribute)

    def listen(self) -> None:
        class_ = self.attribute.class_
        on_class: dict[str, Callable[..., Any]] = {
            "_sa_event_merge_wo_load": self.load,
            "load": self.load,
            "refresh": self.refresh,
            "refresh_flush": self.refresh,
            "pickle": self.pickle,
            "unpickle": self.unpickle,
        }
        for name, function in on_class.items():
            event.listen(class_, name, function, raw=True, propagate=True)
        event.listen(self.attribute, "set", self.set, raw=True, retval=True, propagate=True)

    def load(self, state: InstanceState, *args: Any) -> None:
        value = state.dict.get(self.key)
        if value is None:
            return
        if self.coerce:
            value = self.mutable.coerce(self.key, value)
            state.dict[self.key] = value
        value._parents[state] = self.key

    def refresh(self, state: InstanceState, context: Any, names: Iterable[str] | None) -> None:
        if not names or self.listen_keys.intersection(names):
            self.load(state)

    def set(self, state: InstanceState, value: Any, old_value: Any, initiator: Any) -> Any:
        if value is old_value:
            return value
        if not isinstance(value, self.mutable):
            value = self.mutable.coerce(self.key, value)
        if value is not None:
            value._parents[state] = self.key
        if isinstance(old_value, self.mutable):
            old_value._parents.pop(state, None)
        return value

    def pickle(self, state: InstanceState, state_dict: dict[str, Any]) -> None:
        value = state.dict.get(self.key)
        if value is not None:
            state_dict.setdefault(_PICKLED, defaultdict(list))[self.key].append(value)

    def unpickle(self, state: InstanceState, state_dict: dict[str, Any]) -> None:
        values = state_dict.get(_PICKLED)
        if values is None:
            return
        # SQLAlchemy before 0.7.6 pickled a list
        for value in values if isinstance(values, list) else values[self.key]:
            value._parents[state] = self.key


class Mutable(MutableBase):
    """Base of values of a column that announce their changes by `changed()`."""

    def changed(self) -> None:
        """Mark the attribute as modified in every object that has this value."""
        for state, key in self._parents.items():
            flag_modified(state.obj(), key)

    @classmethod
    def associate_with_attribute(cls, attribute: InstrumentedAttribute[Any]) -> None:
        """Make the values of one mapped attribute values of this class."""
        cls._listen_on_attribute(attribute, True, attribute.class_)

    @classmethod
    def associate_with(cls, sqltype: type[Any]) -> None:
        """Make the values of all columns with a type of this class such values, in every mapping from now on."""

        def mapper_configured(mapper: Mapper[Any], class_: type[Any]) -> None:
            for prop in mapper.column_attrs:
                if isinstance(prop.columns[0].type, sqltype):
                    cls.associate_with_attribute(getattr(class_, prop.key))

        event.listen(Mapper, "mapper_configured", mapper_configured)

    @classmethod
    def as_mutable(cls, sqltype: type[TypeEngine[_T]] | TypeEngine[_T]) -> TypeEngine[_T]:
        """A type, this very object, whose columns have values of this class."""
        made: TypeEngine[_T] = types.to_instance(sqltype)
        # such a type is copied with its column, as mixins' columns are: the column remembers the original
        remembers = isinstance(made, SchemaEventTarget)
        if remembers:

            @event.listens_for(made, "before_parent_attach")
            def remember(type_: TypeEngine[_T], parent: Column[_T]) -> None:
                parent.info["_ext_mutable_orig_type"] = type_

        def mapper_configured(mapper: Mapper[Any], class_: type[Any]) -> None:
            for prop in mapper.column_attrs:
                column = prop.expression
                if not isinstance(column, Column):
                    continue
                is_meant = column.type is made or (remembers and column.info.get("_ext_mutable_orig_type") is made)
                if is_meant and not column.info.get("_ext_mutable_listener_applied", False):
                    # a subclass has the column too, and the listeners with it
                    column.info["_ext_mutable_listener_applied"] = True
                    cls.associate_with_attribute(getattr(class_, prop.key))

        event.listen(Mapper, "mapper_configured", mapper_configured)
        return made
