"""SQLAlchemy with an order: without it, one program can end in several ways.

A flush of SQLAlchemy walks sets of states, whose order is that of memory addresses: which of two parents gets the child
that both claim is left to chance. Here those sets keep the order in which they were filled, and objects are inserted in
the order of `add()` even after an expunge, so that each program has one outcome that the other ORM can be held to.

Mistakes are put right as well: where classes depend on each other, a new object that takes over a deleted one's row
(one UPDATE) has that row deleted in the same flush; a new object whose key was changed counts as detached, not as
transient, after a rollback; a new object that its parent let go, and that has no row, counts as deleted for good; what
was queued for a collection before a rollback took the row away fails an assertion in every later flush once the
collection is there; an old value that nobody knew is looked up for an object that has lost its row, and not found
counts as an object; and a new object that is deleted twice makes the rollback fail.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from sqlalchemy.orm import attributes, collections, dependency, identity, persistence, session, unitofwork
from sqlalchemy.orm.base import ATTR_EMPTY, NO_VALUE
from sqlalchemy.util import OrderedSet, topological

# Which work of one level goes first: SQLAlchemy leaves it to chance, here deletes are before key copies and saves.
_RANKS = {"_DeleteAll": 0, "_DeleteState": 0, "_PostUpdateAll": 1, "_ProcessAll": 2, "_ProcessState": 2}


class _InOrder(OrderedSet[Any]):
    """A set that remembers the order of its members, and gives up pieces of flush work by their names."""

    def pop(self) -> Any:  # type: ignore[override]
        first = min(self, key=lambda work: (_RANKS.get(type(work).__name__, 3), work.sort_key[1:]))
        self.remove(first)
        return first


_init = unitofwork.UOWTransaction.__init__


def _ordered_init(self: Any, session: Any) -> None:
    _init(self, session)
    self.deps = defaultdict(_InOrder)
    self.mappers = defaultdict(_InOrder)


_delete_aggregate = unitofwork._DeleteState.execute_aggregate


def _spare_switched_rows(self: Any, uow: Any, recs: Any) -> None:
    """What a plain delete does: leave out objects whose rows were taken over."""
    same = [rec for rec in recs if rec.__class__ is self.__class__ and rec.mapper is self.mapper]
    switched = [rec for rec in (self, *same) if uow.states[rec.state] == (True, True)]
    for rec in switched:
        recs.discard(rec)
        uow.states[rec.state] = (False, True)
    _delete_aggregate(self, uow, recs)
    for rec in switched:
        uow.states[rec.state] = (True, True)


_restore_snapshot = session.SessionTransaction._restore_snapshot


def _forget_new(self: Any, dirty_only: bool = False) -> None:
    """What becomes transient gets no key back, and no row, however often it was deleted."""
    for state in list(self._new):
        self._key_switches.pop(state, None)
        self._deleted.pop(state, None)
    _restore_snapshot(self, dirty_only=dirty_only)


_remove_newly_deleted = session.Session._remove_newly_deleted


def _keep_pending(self: Any, states: Any) -> None:
    """What was never inserted was not deleted."""
    _remove_newly_deleted(self, [state for state in states if state.key is not None])


_reset_empty = collections.CollectionAdapter._reset_empty


def _fill_empty(self: Any) -> None:
    """A collection that is there waits for nothing."""
    _reset_empty(self)
    self.owner_state._pending_mutations.pop(self._key, None)


_set_collection = attributes._CollectionAttributeImpl.set


def _replace_collection(self: Any, state: Any, *args: Any, **kw: Any) -> None:
    """As `_fill_empty`."""
    _set_collection(self, state, *args, **kw)
    state._pending_mutations.pop(self.key, None)


_of_object = attributes.History.from_object_attribute.__func__  # type: ignore[attr-defined]


@classmethod  # type: ignore[misc]
def _known_or_nothing(cls: Any, *args: Any, **kw: Any) -> Any:
    """Nothing was found: there was nothing."""
    if kw.get("original") is ATTR_EMPTY:
        kw["original"] = NO_VALUE
    return _of_object(cls, *args, **kw)


_save_impl = session.Session._save_impl


def _numbered_save(self: Any, state: Any) -> None:
    """Count the objects that were ever added, not those that are waiting, and forget an earlier life's deletion."""
    is_new = state not in self._new
    _save_impl(self, state)
    if is_new:
        state.insert_order = next(self.__dict__.setdefault("_numbers", itertools.count()))
        state._deleted = False


# Methods, and what is used in their place.
_MENDED = (
    (unitofwork.UOWTransaction, "__init__", _ordered_init),
    (unitofwork._DeleteState, "execute_aggregate", _spare_switched_rows),
    (session.SessionTransaction, "_restore_snapshot", _forget_new),
    (session.Session, "_remove_newly_deleted", _keep_pending),
    (session.Session, "_save_impl", _numbered_save),
    (collections.CollectionAdapter, "_reset_empty", _fill_empty),
    (attributes._CollectionAttributeImpl, "set", _replace_collection),
    (attributes.History, "from_object_attribute", _known_or_nothing),
)


@contextmanager
def ordered() -> Iterator[None]:
    """As long as this lasts, SQLAlchemy's flush uses sets that remember their order."""
    modules = (dependency, identity, persistence, session, unitofwork, topological)
    patches = [mock.patch.object(module, "set", _InOrder, create=True) for module in modules]
    patches += [mock.patch.object(*mended) for mended in _MENDED]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()
