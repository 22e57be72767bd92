"""What the native core calls in Python: loading of expired values, events, warnings, exceptions.

One object with these functions is installed when `rustalchemy.orm` is imported.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import util

from .. import _core
from . import _concurrent_use, _detached, _expired_peers, base
from . import exc as orm_exc
from ._row_plans import choose_strategies, merge_load_options
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
        # not what the program has set or put into since
        expired = _core._expired_names(state).intersection(state.unmodified)
        wanted = {key for key in expired if _is_loaded_with(manager, key, bool(state.load_options))}
        if not peers or not _expired_peers.load(state, peers, wanted, passive):
            manager.expired_attribute_loader(state, wanted, passive)
        state.expired = False
        return ATTR_WAS_SET

    choose_strategies = staticmethod(choose_strategies)
    merge_load_options = staticmethod(merge_load_options)

    @staticmethod
    def warn(message: str) -> None:
        util.warn(message)

    @staticmethod
    def unmapped_instance(obj: object) -> Exception:
        return orm_exc.UnmappedInstanceError(obj)


def _is_loaded_with(manager: Any, key: str, has_options: bool) -> bool:
    """Whether an expired attribute comes along when others are loaded: columns do, and eager relationships."""
    prop = manager.mapper.relationships.get(key) if manager.is_mapped else None
    if prop is not None and not has_options and prop.lazy not in _EAGER:
        return False
    return bool(manager[key].impl.load_on_unexpire)


hooks = _Hooks()
_core.install_hooks(hooks)
