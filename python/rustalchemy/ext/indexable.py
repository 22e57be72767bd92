"""One member of a column's value, a list or a dictionary, as an attribute: in Python and in SQL."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

from sqlalchemy import inspect

from ..orm.attributes import flag_modified
from .hybrid import hybrid_property

__all__ = ["index_property"]

_T = TypeVar("_T", bound=Any)


class _NoDefault(Enum):
    """A missing member is an AttributeError."""

    NO_DEFAULT = 0


class index_property(hybrid_property[_T]):
    """The member of ``attr_name`` at ``index``; a subclass may read, write or express it otherwise.

    :param default: what a missing member reads as; without it reading raises AttributeError.
    :param datatype: makes the value of the column where there is none; a dictionary or, for a number, a list that is
        just long enough, if not given.
    :param mutable: whether it can be set and deleted.
    :param onebased: whether the database counts a list's members from 1.
    """

    def __init__(
        self,
        attr_name: str,
        index: int | str,
        default: Any = _NoDefault.NO_DEFAULT,
        datatype: Callable[[], Any] | None = None,
        mutable: bool = True,
        onebased: bool = True,
    ) -> None:
        if mutable:
            super().__init__(self.fget, self.fset, self.fdel, self.expr)
        else:
            super().__init__(self.fget, None, None, self.expr)
        self.attr_name = attr_name
        self.index: Any = index
        self.default = default
        self.onebased = isinstance(index, int) and onebased
        if datatype is not None:
            self.datatype = datatype
        else:
            self.datatype = (lambda: [None] * (index + 1)) if isinstance(index, int) else dict

    def _missing(self, error: Exception | None = None) -> Any:
        if self.default is _NoDefault.NO_DEFAULT:
            raise AttributeError(self.attr_name) from error
        return self.default

    def fget(self, instance: Any, /) -> _T:
        value = getattr(instance, self.attr_name)
        if value is None:
            return self._missing()
        try:
            return value[self.index]
        except (KeyError, IndexError) as error:
            return self._missing(error)

    def fset(self, instance: Any, member: Any, /) -> None:
        value = getattr(instance, self.attr_name, None)
        if value is None:
            value = self.datatype()
            setattr(instance, self.attr_name, value)
        value[self.index] = member
        self._assign(instance, value)

    def fdel(self, instance: Any, /) -> None:
        value = getattr(instance, self.attr_name)
        if value is None:
            raise AttributeError(self.attr_name)
        try:
            del value[self.index]
        except KeyError as error:
            raise AttributeError(self.attr_name) from error
        self._assign(instance, value)

    def _assign(self, instance: Any, value: Any) -> None:
        """Have the changed value written; the attribute may itself be such a property."""
        setattr(instance, self.attr_name, value)
        if self.attr_name in inspect(instance).mapper.attrs:
            flag_modified(instance, self.attr_name)

    def expr(self, cls: Any, /) -> Any:
        return getattr(cls, self.attr_name)[self.index + 1 if self.onebased else self.index]
