"""The error for a Session that two threads, or two tasks, are inside of, and who the other one is."""

from __future__ import annotations

import sys
import threading
import traceback
from types import FrameType
from typing import Any

from sqlalchemy import exc as sa_exc

_OWN_PACKAGES = ("rustalchemy", "sqlalchemy")
_Line = tuple[FrameType, int]
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
        greenlet, task = user
        who = f"task {task.get_name()!r}" if task is not None else f"greenlet {greenlet!r}"
        # the task's coroutines await the greenlet, whose own stack is what they called with the session
        lines = [*_awaiting_lines(task), *_stack(greenlet.gr_frame)]
        kind = "task"
    else:
        names = {other.ident: other.name for other in threading.enumerate()}
        who = f"thread {names.get(thread, 'unknown')!r} ({thread})"
        lines = _stack(sys._current_frames().get(thread))
        kind = "thread"
    stack = _lines_of_the_program(lines)
    where = f", at:\n{stack}" if stack else ""
    return sa_exc.IllegalStateChangeError(
        f"This Session is in use by another {kind}; concurrent operations are not permitted. Every thread and every "
        f"task needs a Session of its own. The other use is in {who}{where}",
        code="isce",
    )


def _stack(frame: FrameType | None) -> list[_Line]:
    """The lines of a stack, outermost first."""
    lines = []
    while frame is not None:
        lines.append((frame, frame.f_lineno))
        frame = frame.f_back
    return lines[::-1]


def _awaiting_lines(task: Any) -> list[_Line]:
    """Where each coroutine of a task awaits the next one, outermost first, down to the one that awaits the session."""
    lines = []
    coroutine = None if task is None else task.get_coro()
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None:
            if not _is_of_the_program(frame):
                break
            lines.append((frame, frame.f_lineno))
        coroutine = getattr(coroutine, "cr_await", None)
    return lines


def _lines_of_the_program(lines: list[_Line]) -> str:
    """The innermost lines that are the program's own, as in a traceback."""
    found = [(frame, number) for frame, number in lines if _is_of_the_program(frame)]
    return "".join(traceback.StackSummary.extract(found[-_FRAMES_SHOWN:]).format()).rstrip()


def _is_of_the_program(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__", "").partition(".")[0] not in _OWN_PACKAGES


def caller() -> str:
    """The line of the program that led here, as in a traceback."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not _is_of_the_program(frame):
        frame = frame.f_back
    if frame is None:
        return ""
    return "".join(traceback.StackSummary.extract([(frame, frame.f_lineno)]).format()).strip()
