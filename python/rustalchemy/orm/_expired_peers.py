"""The setting ``on_expired`` of sessions: an expired object is loaded again alone, or its peers come with it.

Peers are the objects of the same class in the session that are wholly expired too, and untouched since. Nothing is
kept to know them: the native core looks through the identity map when one of them is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc
from sqlalchemy import util

from ._lazy_peers import Peer, in_key_order
from .base import PassiveFlag

OnExpired = Literal["load", "batch"]

_CHOICES = ("load", "batch")
_OBJECTS_PER_STATEMENT = 500


def is_batch(on_expired: OnExpired) -> bool:
    """Check a setting; True if peers come along."""
    if on_expired not in _CHOICES:
        raise sa_exc.ArgumentError(f"on_expired must be one of {', '.join(map(repr, _CHOICES))}, not {on_expired!r}")
    return on_expired == "batch"


def peers_of(state: Any) -> list[Peer]:
    """The objects to be loaded by one statement with this one; none if it is to be loaded alone."""
    session = state.session
    if not state.expired or session is None or not session._uow_refreshes_peers:
        return []
    peers: list[Peer] = session._uow_expired_peers(state)
    return in_key_order(peers) if len(peers) > 1 else []


def load(state: Any, peers: list[Peer], attribute_names: Iterable[str], passive: PassiveFlag) -> bool:
    """Load the peers as a query would that meets them; False if the row of ``state`` was not there."""
    from .context import QueryContext, _ORMCompileState

    mapper = state.mapper
    key = mapper.primary_key
    column = key[0] if len(key) == 1 else sa.tuple_(*key)
    compile_options = _ORMCompileState.default_compile_options + {
        "_for_refresh_state": True,
        "_only_load_props": frozenset(attribute_names).intersection(mapper.attrs.keys()),
    }
    options: Any = QueryContext.default_load_options
    if passive & PassiveFlag.NO_AUTOFLUSH:
        options += {"_autoflush": False}
    statement: Any = sa.select(mapper)
    if state.load_options:
        compile_options += {"_current_path": state.load_path.parent}
        statement = statement.options(*state.load_options)
    statement._compile_options = compile_options
    for start in range(0, len(peers), _OBJECTS_PER_STATEMENT):
        page = [identity for _, identity, _ in peers[start : start + _OBJECTS_PER_STATEMENT]]
        result = state.session.execute(
            statement.where(column.in_(page)), execution_options=util.immutabledict(_sa_orm_load_options=options)
        )
        result.unique().scalars().all()
    return not state.expired
