"""The kinds of faults: exceptions of every sort, a connection that dies, a file that others hold, a full disk."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from fault_world import World


class Fault:
    """What happens at a step, and by what it is known again in what a program catches."""

    def strike(self) -> None:
        raise NotImplementedError

    def is_seen_in(self, error: BaseException) -> bool:
        raise NotImplementedError

    def clean_up(self) -> None:
        """Let go of what only the fault still holds, once the session has been rolled back."""

    def has_caused(self, caught: BaseException | None) -> bool:
        while caught is not None:
            if self.is_seen_in(getattr(caught, "orig", None) or caught):
                return True
            caught = caught.__context__ or caught.__cause__
        return False


Kind = Callable[[World], AbstractContextManager[Fault]]


class Raised(Fault):
    """An exception raised by the step itself."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def strike(self) -> None:
        raise self.error

    def is_seen_in(self, error: BaseException) -> bool:
        return error is self.error


def _raised(make: Callable[[], BaseException]) -> Kind:
    @contextmanager
    def kind(world: World) -> Iterator[Fault]:
        fault = Raised(make())
        yield fault
        # its frames hold the session and its objects
        fault.error.__traceback__ = None

    return kind


class Closed(Fault):
    """The driver's connection is closed under the session; the step goes on."""

    def __init__(self, world: World) -> None:
        self.world = world

    def strike(self) -> None:
        connection = self.world.faults.connection
        if connection is not None:
            sqlite3.Connection.close(connection)

    def clean_up(self) -> None:
        # errors of Core hold their frames, and with them cursors, in cycles: SQLite keeps the file locked until they go
        gc.collect()

    def is_seen_in(self, error: BaseException) -> bool:
        return isinstance(error, sqlite3.ProgrammingError) and "closed database" in str(error)


class Locked(Fault):
    """Somebody else reads, and writes if that is still possible: a write fails, or the COMMIT."""

    def __init__(self, world: World) -> None:
        self.other = sqlite3.connect(world.file, timeout=0, isolation_level=None)

    def strike(self) -> None:
        try:
            self.other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            self.other.execute("BEGIN")
            self.other.execute("SELECT * FROM tags").fetchall()

    def is_seen_in(self, error: BaseException) -> bool:
        return isinstance(error, sqlite3.OperationalError) and "database is locked" in str(error)


class Full(Fault):
    """There is no room for another page."""

    def __init__(self, world: World) -> None:
        self.world = world

    def strike(self) -> None:
        connection = self.world.faults.connection
        if connection is not None:
            (pages,) = sqlite3.Connection.execute(connection, "PRAGMA page_count").fetchone()
            sqlite3.Connection.execute(connection, f"PRAGMA max_page_count = {pages}")

    def is_seen_in(self, error: BaseException) -> bool:
        return isinstance(error, sqlite3.OperationalError) and "is full" in str(error)


@contextmanager
def _closed(world: World) -> Iterator[Fault]:
    yield Closed(world)


@contextmanager
def _locked(world: World) -> Iterator[Fault]:
    fault = Locked(world)
    yield fault
    fault.other.close()


@contextmanager
def _full(world: World) -> Iterator[Fault]:
    yield Full(world)
    connection = world.faults.connection
    if connection is not None:
        sqlite3.Connection.execute(connection, f"PRAGMA max_page_count = {2**31}")


KINDS: dict[str, Kind] = {
    "KeyboardInterrupt": _raised(lambda: KeyboardInterrupt("injected")),
    "MemoryError": _raised(lambda: MemoryError("injected")),
    "OperationalError": _raised(lambda: sqlite3.OperationalError("disk I/O error (injected)")),
    "connection closed": _closed,
    "SystemExit": _raised(lambda: SystemExit("injected")),
    "file locked": _locked,
    "GeneratorExit": _raised(lambda: GeneratorExit("injected")),
    "CancelledError": _raised(lambda: asyncio.CancelledError("injected")),
    # those that a careless caller takes for an answer
    "AttributeError": _raised(lambda: AttributeError("injected")),
    "KeyError": _raised(lambda: KeyError("injected")),
    "StopIteration": _raised(lambda: StopIteration("injected")),
    "disk full": _full,
}
_OF_THE_DRIVER = ("before INSERT", "before UPDATE", "before DELETE", "before SELECT", "before begin", "cursor", "fetch")


def kinds_of(step: str) -> list[str]:
    """The kinds that can happen at a step: the driver's own error comes from the driver.

    A KeyError of a `remove` listener is taken for a member that was not there, when a backref removes it.
    """
    left_out = set() if step.startswith(_OF_THE_DRIVER) else {"OperationalError"}
    if step.startswith("remove "):
        left_out.add("KeyError")
    return [kind for kind in KINDS if kind not in left_out]
