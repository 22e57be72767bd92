"""Cascade settings of a relationship, parsed once per relationship."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import exc as sa_exc
from sqlalchemy import util

if TYPE_CHECKING:
    from collections.abc import Iterable

all_cascades = frozenset(
    ("delete", "delete-orphan", "all", "merge", "expunge", "save-update", "refresh-expire", "none")
)


class CascadeOptions(frozenset[str]):
    """The cascades of one relationship: a frozen set with one boolean for each."""

    _add_w_all_cascades = all_cascades.difference(("all", "none", "delete-orphan"))
    _allowed_cascades = all_cascades
    _viewonly_cascades = ("expunge", "all", "none", "refresh-expire", "merge")

    __slots__ = ("delete", "delete_orphan", "expunge", "merge", "refresh_expire", "save_update")

    save_update: bool
    delete: bool
    refresh_expire: bool
    merge: bool
    expunge: bool
    delete_orphan: bool

    def __new__(cls, value_list: Iterable[str] | str | None) -> CascadeOptions:
        if value_list is None or isinstance(value_list, str):
            return cls.from_string(value_list)
        values = set(value_list)
        unknown = values - cls._allowed_cascades
        if unknown:
            raise sa_exc.ArgumentError(f"Invalid cascade option(s): {', '.join(repr(x) for x in sorted(unknown))}")
        if "all" in values:
            values |= cls._add_w_all_cascades
        if "none" in values:
            values.clear()
        values.discard("all")

        self = super().__new__(cls, values)
        for name in cls.__slots__:
            setattr(self, name, name.replace("_", "-") in values)
        if self.delete_orphan and not self.delete:
            util.warn("The 'delete-orphan' cascade option requires 'delete'.")
        return self

    def __reduce__(self) -> tuple[type[CascadeOptions], tuple[list[str]]]:
        return type(self), (sorted(self),)

    def __repr__(self) -> str:
        return f"CascadeOptions({','.join(sorted(self))!r})"

    @classmethod
    def from_string(cls, arg: str | None) -> CascadeOptions:
        return cls([name for name in re.split(r"\s*,\s*", arg or "") if name])
