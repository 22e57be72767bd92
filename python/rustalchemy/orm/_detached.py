"""What a load that comes too late says: how the object left its session, and what would have helped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .base import state_str
from .exc import DetachedInstanceError

# by the numbers of the native core
_HOW = (
    "The object is in no Session",
    "The object was taken out of its Session by expunge()",
    "The object was detached when its Session was closed (the end of its 'with' block, close(), expunge_all())",
    "The object was detached when its Session was garbage collected, since nothing else referred to it",
    "The object's row was deleted, and the object was detached by the commit",
    "The object was made detached by make_transient_to_detached()",
    "The object was unpickled and has not been added to a Session",
)


def lazy_load(state: Any, key: str) -> DetachedInstanceError:
    """A relationship was not loaded in time."""
    name = _name(state, key)
    return DetachedInstanceError(
        f"Parent instance {state_str(state)} is not bound to a Session; lazy load operation of attribute '{key}' "
        f"cannot proceed. {_how(state)}. Load '{name}' before that: read it, or give the statement "
        f"options(selectinload({name}))"
    )


def deferred_load(state: Any, key: str) -> DetachedInstanceError:
    """A deferred column was not loaded in time."""
    name = _name(state, key)
    return DetachedInstanceError(
        f"Parent instance {state_str(state)} is not bound to a Session; deferred load operation of attribute '{key}' "
        f"cannot proceed. {_how(state)}. Load '{name}' before that: read it, or give the statement "
        f"options(undefer({name}))"
    )


def refresh(state: Any, names: Iterable[str]) -> DetachedInstanceError:
    """Expired columns can't be loaded any more."""
    expired = ", ".join(f"'{name}'" for name in sorted(names or ()))
    which = f"; expired are {expired}" if expired else ""
    if state.expired:
        why = (
            "All its attributes are expired, as they are after commit(), rollback() and expire(). Read them before, "
            "use a Session with expire_on_commit=False, or refresh() the object after the commit"
        )
    else:
        why = "Read them before, or name them in refresh()"
    return DetachedInstanceError(
        f"Instance {state_str(state)} is not bound to a Session; attribute refresh operation cannot proceed{which}. "
        f"{_how(state)}. {why}"
    )


def name_the_access(error: BaseException, key: str) -> None:
    """Put the attribute that was read into the error of ``refresh``."""
    if type(error) is DetachedInstanceError and error.args and "; expired are " in error.args[0]:
        head, _, tail = error.args[0].partition("; expired are ")
        error.args = (f"{head} (attribute '{key}' was read); expired are {tail}", *error.args[1:])


def _how(state: Any) -> str:
    return _HOW[state._detached_how]


def _name(state: Any, key: str) -> str:
    return f"{state.class_.__name__}.{key}"
