"""Dictionaries of related objects, keyed by a column, an attribute or any function of the object."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, TypeVar

from sqlalchemy import exc as sa_exc
from sqlalchemy import util
from sqlalchemy.sql import coercions, expression, roles

from . import base
from .collections import collection, collection_adapter

_KT = TypeVar("_KT", bound=Any)
_VT = TypeVar("_VT", bound=Any)


class _Missing(Enum):
    """The object has no key: the attribute it would come from is None."""

    MISSING = 0


Missing = _Missing.MISSING


class _PlainColumnGetter:
    """Key function: the values of columns."""

    __slots__ = ("cols", "composite")

    def __init__(self, cols: Sequence[Any]) -> None:
        self.cols = cols
        self.composite = len(cols) > 1

    def __reduce__(self) -> Any:
        return _SerializableColumnGetterV2._reduce_from_cols(self.cols)

    def _cols(self, mapper: Any) -> Sequence[Any]:
        return self.cols

    def __call__(self, value: Any) -> Any:
        state = base.instance_state(value)
        mapper = base._state_mapper(state)
        key = [mapper._get_state_attr_by_column(state, state.dict, column) for column in self._cols(mapper)]
        if self.composite:
            return tuple(key)
        return Missing if key[0] is None else key[0]


class _SerializableColumnGetterV2(_PlainColumnGetter):
    """The same by names of columns and tables, as pickles carry it."""

    __slots__ = ("colkeys",)

    def __init__(self, colkeys: Sequence[tuple[str, str | None]]) -> None:
        self.colkeys = colkeys
        self.composite = len(colkeys) > 1

    def __reduce__(self) -> Any:
        return self.__class__, (self.colkeys,)

    @classmethod
    def _reduce_from_cols(cls, cols: Sequence[Any]) -> Any:
        def table_key(column: Any) -> str | None:
            return getattr(column.table, "key", None) if isinstance(column.table, expression.TableClause) else None

        return _SerializableColumnGetterV2, ([(column.key, table_key(column)) for column in cols],)

    def _cols(self, mapper: Any) -> Sequence[Any]:
        metadata = getattr(mapper.local_table, "metadata", None)
        cols = []
        for column_key, table_key in self.colkeys:
            if table_key is None or metadata is None or table_key not in metadata:
                cols.append(mapper.local_table.c[column_key])
            else:
                cols.append(metadata.tables[table_key].c[column_key])
        return cols


class _AttrGetter:
    """Key function: the value of an attribute."""

    __slots__ = ("attr_name", "getter")

    def __init__(self, attr_name: str) -> None:
        self.attr_name = attr_name
        self.getter = operator.attrgetter(attr_name)

    def __call__(self, mapped_object: Any) -> Any:
        value = self.getter(mapped_object)
        if value is not None:
            return value
        state = base.instance_state(mapped_object)
        if self.attr_name not in state.mapper.attrs:
            return Missing
        value = state.dict.get(self.attr_name, base.NO_VALUE)
        return Missing if value is None else value

    def __reduce__(self) -> Any:
        return _AttrGetter, (self.attr_name,)


def column_keyed_dict(mapping_spec: Any, *, ignore_unpopulated_attribute: bool = False) -> Any:
    """A collection class: dictionary keyed by the values of one or more columns."""
    cols = [
        coercions.expect(roles.ColumnArgumentRole, column, argname="mapping_spec")
        for column in util.to_list(mapping_spec)
    ]
    return _mapped_collection_cls(_PlainColumnGetter(cols), ignore_unpopulated_attribute)


def attribute_keyed_dict(attr_name: str, *, ignore_unpopulated_attribute: bool = False) -> Any:
    """A collection class: dictionary keyed by the value of an attribute."""
    return _mapped_collection_cls(_AttrGetter(attr_name), ignore_unpopulated_attribute)


def keyfunc_mapping(keyfunc: Callable[[Any], Any], *, ignore_unpopulated_attribute: bool = False) -> Any:
    """A collection class: dictionary keyed by what a function says of each object."""
    return _mapped_collection_cls(keyfunc, ignore_unpopulated_attribute)


class KeyFuncDict(dict[_KT, _VT]):
    """A dictionary of related objects that knows the key of each."""

    def __init__(
        self, keyfunc: Callable[[Any], Any], *dict_args: Any, ignore_unpopulated_attribute: bool = False
    ) -> None:
        self.keyfunc = keyfunc
        self.ignore_unpopulated_attribute = ignore_unpopulated_attribute
        super().__init__(*dict_args)

    @classmethod
    def _unreduce(cls, keyfunc: Any, values: dict[Any, Any], adapter: Any = None) -> KeyFuncDict[Any, Any]:
        made: KeyFuncDict[Any, Any] = KeyFuncDict(keyfunc)
        made.update(values)
        return made

    def __reduce__(self) -> Any:
        return KeyFuncDict._unreduce, (self.keyfunc, dict(self), collection_adapter(self))

    def _raise_for_unpopulated(self, value: Any, initiator: Any = None, *, warn_only: bool) -> None:
        mapper = base.instance_state(value).mapper
        key = getattr(initiator, "key", None)
        if key is None:
            relationship = "unknown relationship"
        elif key in mapper.attrs:
            relationship = f"{mapper.attrs[key]}"
        else:
            relationship = key
        skip = (
            'To skip this assignment entirely, Set the "ignore_unpopulated_attribute=True" parameter on the mapped '
            "collection factory."
        )
        if warn_only:
            util.warn(
                f"Attribute keyed dictionary value for attribute '{relationship}' was None; this will raise in a "
                f"future release. {skip}"
            )
            return
        name = base.instance_str(value)
        raise sa_exc.InvalidRequestError(
            f"In event triggered from population of attribute '{relationship}' (potentially from a backref), can't "
            f"populate value in KeyFuncDict; dictionary key derived from {name} is not populated. Ensure appropriate "
            f"state is set up on the {name} object before assigning to the {relationship} attribute. {skip}"
        )

    def _key_of(self, value: Any, initiator: Any) -> tuple[bool, Any]:
        """Whether the object takes part, and its key."""
        key = self.keyfunc(value)
        if key is not base.NO_VALUE and key is not Missing:
            return True, key
        if self.ignore_unpopulated_attribute:
            return False, None
        self._raise_for_unpopulated(value, initiator, warn_only=key is Missing)
        return True, None

    @collection.appender
    @collection.internally_instrumented
    def set(self, value: Any, _sa_initiator: Any = None) -> None:
        """Add an object under its key."""
        takes_part, key = self._key_of(value, _sa_initiator)
        if takes_part:
            self.__setitem__(key, value, _sa_initiator)  # type: ignore[call-arg]

    @collection.remover
    @collection.internally_instrumented
    def remove(self, value: Any, _sa_initiator: Any = None) -> None:
        """Remove an object, found by its key."""
        takes_part, key = self._key_of(value, _sa_initiator)
        if not takes_part:
            return
        # by identity: comparing entities would call their code
        if self[key] is not value:
            raise sa_exc.InvalidRequestError(
                f"Can not remove '{value}': collection holds '{self[key]}' for key '{key}'. Possible cause: is the "
                "KeyFuncDict key function based on mutable properties or properties that only obtain values after "
                "flush?"
            )
        self.__delitem__(key, _sa_initiator)  # type: ignore[call-arg]


def _mapped_collection_cls(keyfunc: Callable[[Any], Any], ignore_unpopulated_attribute: bool) -> type[Any]:
    class _MKeyfuncMapped(KeyFuncDict[Any, Any]):
        """A KeyFuncDict with its key function, made without arguments."""

        def __init__(self, *dict_args: Any) -> None:
            super().__init__(keyfunc, *dict_args, ignore_unpopulated_attribute=ignore_unpopulated_attribute)

    return _MKeyfuncMapped


MappedCollection = KeyFuncDict
mapped_collection = keyfunc_mapping
column_mapped_collection = column_keyed_dict
attribute_mapped_collection = attribute_keyed_dict
