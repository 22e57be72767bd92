"""All sessions that are alive, for ``close_all_sessions()`` and for events listened to on the Session class.

Sessions come and go with every request, so that entering one and forgetting it must not run Python code: references
go into a set, whose own ``discard`` is their callback. They compare by identity, whatever a subclass defines.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import Session

    _Reference = weakref.ref[Session]
else:
    _Reference = weakref.ref


class SessionReference(_Reference):
    """A weak reference to a Session that is equal to itself only."""

    __slots__ = ()
    __hash__ = object.__hash__
    __eq__ = object.__eq__


references: set[SessionReference] = set()


def live_sessions() -> list[Session]:
    """The sessions that are alive, oldest first."""
    # a copy is made at once, while sessions that die meanwhile would disturb an iteration
    sessions = [session for reference in references.copy() if (session := reference()) is not None]
    return sorted(sessions, key=lambda session: session.hash_key)


def live_session(number: int) -> Session:
    """The living session of this number; KeyError if there is none."""
    for session in live_sessions():
        if session.hash_key == number:
            return session
    raise KeyError(number)
