"""Where a SessionTransaction is in its life, what made it begin, and whether its Session may still be used."""

from __future__ import annotations

from enum import Enum

from .state_changes import _StateChangeState


class SessionTransactionState(_StateChangeState):
    """Where a SessionTransaction is in its life."""

    ACTIVE = 1
    PREPARED = 2
    COMMITTED = 3
    DEACTIVE = 4
    CLOSED = 5
    PROVISIONING_CONNECTION = 6


ACTIVE, PREPARED, COMMITTED, DEACTIVE, CLOSED, PROVISIONING_CONNECTION = tuple(SessionTransactionState)


class SessionTransactionOrigin(Enum):
    """What made a SessionTransaction begin."""

    AUTOBEGIN = 0
    """started by autobegin"""

    BEGIN = 1
    """started by :meth:`.Session.begin`"""

    BEGIN_NESTED = 2
    """started by :meth:`.Session.begin_nested`"""

    SUBTRANSACTION = 3
    """the internal transaction around a flush"""


# by name: until Python 3.12 a member that is asked from its class runs a descriptor of several hundred instructions
AUTOBEGIN, BEGIN, BEGIN_NESTED, SUBTRANSACTION = tuple(SessionTransactionOrigin)


class _SessionCloseState(Enum):
    """Whether a Session may be used after ``close()``."""

    ACTIVE = 1
    CLOSED = 2
    CLOSE_IS_RESET = 3


SESSION_ACTIVE, SESSION_CLOSED, SESSION_CLOSE_IS_RESET = tuple(_SessionCloseState)
