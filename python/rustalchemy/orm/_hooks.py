"""What the native core calls in Python: loading of expired values, events, warnings, exceptions.

One object with these functions is installed when `rustalchemy.orm` is imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import util

from .. import _core
from . import _concurrent_use, _detached, _expired_peers, base
from . import exc as orm_exc
from .base import ATTR_WAS_SET, PASSIVE_NO_RESULT, SQL_OK
from .collections import _check_collection_type
from .state import InstanceState

# settings of `lazy` that load with the object
_EAGER = frozenset({"joined", False, "selectin", "subquery", "immediate"})


class _Hooks:
    """The functions and symbols that the native core knows."""

    PASSIVE_NO_RESULT = base.PASSIVE_NO_RESULT
    PASSIVE_CLASS_MISMATCH = base.PASSIVE_CLASS_MISMATCH
    ATTR_WAS_SET = base.ATTR_WAS_SET
    ATTR_EMPTY = base.ATTR_EMPTY
    NO_VALUE = base.NO_VALUE
    DONT_SET = base.DONT_SET
    NO_KEY = base.NO_KEY

    # the class of the views and states that the core makes
    InstanceState = InstanceState

    current_task = staticmethod(_concurrent_use.current_task)
    is_current_task = staticmethod(_concurrent_use.is_current_task)
    concurrent_use = staticmethod(_concurrent_use.concurrent_use)
    name_the_access = staticmethod(_detached.name_the_access)
    check_collection_type = staticmethod(_check_collection_type)

    @staticmethod
    def load_expired(state: Any, passive: Any) -> Any:
        """Load all expired column values of a state with one SELECT."""
        if not passive & SQL_OK:
            return PASSIVE_NO_RESULT
        peers = _expired_peers.peers_of(state)
        manager = state.manager
        wanted = {
            key for key in state._expired_columns.intersection(state.unmodified) if manager[key].impl.load_on_unexpire
        }
        if state.expired:
            if type(state.load_options) is not tuple:
                # what options said about single attributes ends with the expiry
                state.load_options = tuple(state.load_options)
                for peer, _, _ in peers:
                    _core.instance_state(peer).load_options = state.load_options
            wanted.update(_eager_relationships(manager.mapper, state))
        if not peers or not _expired_peers.load(state, peers, wanted, passive):
            manager.expired_attribute_loader(state, wanted, passive)
        state.expired = False
        return ATTR_WAS_SET

    @staticmethod
    def warn(message: str) -> None:
        util.warn(message)

    @staticmethod
    def unmapped_instance(obj: object) -> Exception:
        return orm_exc.UnmappedInstanceError(obj)

    @staticmethod
    def session_of(uow: Any) -> Any:
        return uow


def _eager_relationships(mapper: Any, state: Any) -> Iterator[str]:
    """Relationships that may come along with the columns when a wholly expired object is loaded again."""
    by_option = bool(state.load_options)
    # not what the program has set or put into since
    unmodified = state.unmodified
    for key, prop in mapper.relationships.items():
        if (by_option or prop.lazy in _EAGER) and key in unmodified:
            yield key


hooks = _Hooks()
_core.install_hooks(hooks)
