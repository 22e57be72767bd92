"""Lazy loads noticed, refused, or done for all objects of a result at once, as ``on_lazy`` says.

Peers are the objects that the same result brought. Nothing is kept to know them: the native core marks every object
with the load it came from anyway, and looks through the identity map when they are asked for.
"""

from __future__ import annotations

import sys
import warnings
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc as sa_exc

from ._prepared_loads import NO_LANE
from ._row_plans import overrides_of
from .base import LoaderCallableStatus

if TYPE_CHECKING:
    from .interfaces import StrategizedProperty
    from .session import Session

# object, identity, whether to overwrite: as select-in loading takes its parents
Peer = tuple[Any, Any, bool]

# (attribute, file, line) of warnings given
_warned: set[tuple[str, str, int]] = set()

_PACKAGE = __name__.partition(".")[0]
_SELECT_IN = (("lazy", "selectin"),)


def instead_of_load(strategy: Any, state: Any) -> Any:
    """Do what is wished where ``strategy`` would send a SELECT; NO_LANE if it is to go on by itself."""
    session = state.session
    prop = strategy.parent_property
    if session is None or not state.key:
        return NO_LANE
    wish = prop.on_lazy or session.on_lazy
    if wish == "load" or strategy._raise_always or strategy._raise_on_sql:
        return NO_LANE
    if not strategy._needs_sql(session, state):
        return NO_LANE
    if wish == "raise":
        raise sa_exc.InvalidRequestError(
            f"'{prop}' is not loaded, and the session does not load it one object at a time (on_lazy='raise'). Load it "
            f"with the objects: select(...).options(selectinload({prop}))"
        )
    if wish == "warn":
        _warn(strategy, session, state)
        return NO_LANE
    return _load_for_peers(strategy, session, state)


def _peers(strategy: Any, session: Session, state: Any) -> list[Peer]:
    """(object, identity, False) of the objects that came with this one and lack the attribute, itself included."""
    manager = strategy.parent.class_manager
    return session._uow_peers(state, manager, manager[strategy.key]._index)


def in_key_order(peers: list[Peer]) -> list[Peer]:
    """Sort objects by their identity: the map knows no order, and statements should be the same each time."""
    try:
        return sorted(peers, key=itemgetter(1))
    except TypeError:
        return sorted(peers, key=lambda peer: repr(peer[1]))


def _warn(strategy: Any, session: Session, state: Any) -> None:
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        frame = frame.f_back
        level += 1
    file, line = frame.f_code.co_filename, frame.f_lineno
    place = (str(strategy.parent_property), file, line)
    if place in _warned:
        return
    _warned.add(place)
    count = len(_peers(strategy, session, state))
    others = f"one of {count} objects of the same result that lack it" if count > 1 else "the only object of its result"
    warnings.warn(
        f"'{strategy.parent_property}' is loaded lazily at {file}:{line}, for {others}",
        sa_exc.SAWarning,
        stacklevel=level + 1,
    )


def _load_for_peers(strategy: Any, session: Session, state: Any) -> Any:
    """Load the attribute of all peers as ``selectinload()`` would have; NO_LANE if there are none."""
    prop = strategy.parent_property
    if prop._target_correlates_to_parent or _is_overridden(state, prop):
        return NO_LANE
    peers = _peers(strategy, session, state)
    if len(peers) < 2:
        return NO_LANE
    peers = in_key_order(peers)
    path = (state.load_path if state.load_options else None) or state.mapper._path_registry
    prop._get_strategy(_SELECT_IN)._load_for_path(
        _LoadOfPeers(session, state, prop), path, peers, None, prop.entity, None, None
    )
    return LoaderCallableStatus.ATTR_WAS_SET if strategy.key in state.dict else NO_LANE


def _is_overridden(state: Any, prop: StrategizedProperty[Any]) -> bool:
    """Whether the objects' own statement chose another way for the attribute."""
    return prop.key in overrides_of(state)


class _LoadOfPeers:
    """What a loader asks of the execution that it follows."""

    __slots__ = ("_options", "following_selects", "session")

    populate_existing = False
    compiled_parameters = parameters = ()

    def __init__(self, session: Session, state: Any, prop: Any) -> None:
        self.session = session
        self._options = tuple(state.load_options)
        # statements without options are kept with the relationship
        self.following_selects = {} if self._options else prop._selects_for_peers

    @property
    def compiled_options(self) -> tuple[Any, ...]:
        return self._options

    def _loader_strategy_options(self) -> tuple[Any, ...]:
        return self._options

    def _get_top_level_context(self) -> None:
        return None
