"""A driver that can be told to fail: every call to it, and every hook that asks, is a step with a name.

A scenario is run once to learn its steps, and then with each kind of fault at each step.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Faults:
    """Counts the steps of a scenario, and lets a fault strike at one of them."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        # the driver's connection that was used last
        self.connection: sqlite3.Connection | None = None
        self._is_counting = False
        self._seen: Counter[str] = Counter()
        self._target: str | None = None
        self._strike: Callable[[], None] | None = None

    @contextmanager
    def counting(self, target: str | None = None, strike: Callable[[], None] | None = None) -> Iterator[list[str]]:
        """Count the steps of the block, and strike at the one that is named."""
        self.steps = []
        self._seen.clear()
        self._target, self._strike = target, strike
        self._is_counting = True
        try:
            yield self.steps
        finally:
            self.stop()

    def stop(self) -> None:
        self._is_counting = False
        self._strike = None

    def step(self, name: str) -> None:
        """A place where the scenario may fail."""
        if not self._is_counting:
            return
        self._seen[name] += 1
        name = f"{name} #{self._seen[name]}"
        self.steps.append(name)
        if name == self._target and self._strike is not None:
            strike, self._strike = self._strike, None
            # nothing else fails: what cleans up must be able to
            self._is_counting = False
            strike()


def _kind(sql: str) -> str:
    words = sql.split()
    return " ".join(words[: 3 if words[0] in ("INSERT", "DELETE") else 2])


def driver(faults: Faults) -> dict[str, Any]:
    """Connection arguments that make SQLite's driver ask before and after each of its calls."""

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, *args: Any) -> Any:
            faults.step(f"before {_kind(sql)}")
            super().execute(sql, *args)
            faults.step(f"after {_kind(sql)}")
            return self

        def executemany(self, sql: str, *args: Any) -> Any:
            faults.step(f"before many {_kind(sql)}")
            super().executemany(sql, *args)
            faults.step(f"after many {_kind(sql)}")
            return self

        def fetchall(self) -> Any:
            rows = super().fetchall()
            faults.step("fetchall")
            return rows

        def fetchone(self) -> Any:
            row = super().fetchone()
            faults.step("fetchone")
            return row

        def close(self) -> None:
            faults.step("close cursor")
            super().close()

    class Connection(sqlite3.Connection):
        def __init__(self, *args: Any, **kw: Any) -> None:
            faults.step("connect")
            super().__init__(*args, **kw)

        def begin(self) -> None:
            """The driver begins by itself, and too late for SAVEPOINT: the world begins at check-out."""
            faults.connection = self
            faults.step("before begin")
            self.execute("BEGIN")
            faults.step("after begin")

        def cursor(self, factory: Any = Cursor) -> Any:
            faults.step("cursor")
            return super().cursor(factory)

        def commit(self) -> None:
            faults.step("before commit")
            super().commit()
            faults.step("after commit")

        def rollback(self) -> None:
            faults.step("before rollback")
            super().rollback()
            faults.step("after rollback")

    return {"factory": Connection, "timeout": 0}
