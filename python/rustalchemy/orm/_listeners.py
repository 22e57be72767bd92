"""The listeners of an event target, as the native core calls them: without a Python frame of ours in between."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def collections_of(dispatch: Any, event: str) -> tuple[Any, Any]:
    """Where SQLAlchemy keeps the listeners of an event: those of the target's class, then its own.

    The core looks into both whenever it fires the event, so listeners may come and go.
    """
    found = getattr(dispatch, event)
    return found.parent_listeners, found.listeners


def heard(dispatch: Any, events: Iterable[str]) -> dict[str, tuple[Any, Any]]:
    """The collections of those events that have listeners now."""
    return {event: collections_of(dispatch, event) for event in events if getattr(dispatch, event)}
