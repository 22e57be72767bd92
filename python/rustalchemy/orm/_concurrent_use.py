"""The error for a Session that two threads, or two tasks, are inside of, and who the other one is."""

from __future__ import annotations

import sys
import threading
import traceback
from types import FrameType
from typing import Any

from sqlalchemy import exc as sa_exc

_OWN_PACKAGES = ("rustalchemy", "sqlalchemy")
_FRAMES_SHOWN = 6


def current_task() -> tuple[Any, Any]:
    """The greenlet that runs, and the asyncio task it belongs to, or None."""
    import asyncio

    import greenlet  # type: ignore[import-untyped,unused-ignore]

    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return greenlet.getcurrent(), task


def is_current_task(user: tuple[Any, Any]) -> bool:
    """Whether what ``current_task`` returned is still what runs."""
    return user[0] is current_task()[0]


def concurrent_use(thread: int, user: tuple[Any, Any] | None) -> Exception:
    """The exception for a thread or task that finds somebody else inside."""
    if user is not None and thread == threading.get_ident():
        who = f"task {user[1].get_name()!r}" if user[1] is not None else f"greenlet {user[0]!r}"
        stack = _user_frames(user[0].gr_frame)
        kind = "task"
    else:
        names = {other.ident: other.name for other in threading.enumerate()}
        who = f"thread {names.get(thread, 'unknown')!r} ({thread})"
        stack = _user_frames(sys._current_frames().get(thread))
        kind = "thread"
    where = f", at:\n{stack}" if stack else ""
    return sa_exc.IllegalStateChangeError(
        f"This Session is in use by another {kind}; concurrent operations are not permitted. Every thread and every "
        f"task needs a Session of its own. The other use is in {who}{where}",
        code="isce",
    )


def _user_frames(frame: FrameType | None) -> str:
    """The innermost frames of a stack that are the program's own, outermost first."""
    found: list[tuple[FrameType, int]] = []
    while frame is not None and len(found) < _FRAMES_SHOWN:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package not in _OWN_PACKAGES:
            found.append((frame, frame.f_lineno))
        frame = frame.f_back
    return "".join(traceback.StackSummary.extract(reversed(found)).format()).rstrip()


def caller() -> str:
    """The line of the program that led here, as in a traceback."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _OWN_PACKAGES:
        frame = frame.f_back
    if frame is None:
        return ""
    return "".join(traceback.StackSummary.extract([(frame, frame.f_lineno)]).format()).strip()
