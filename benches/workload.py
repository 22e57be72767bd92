"""What a workload is: one body of work with three contenders, timed apart from its preparation and its verification."""

from __future__ import annotations

import gc
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from . import models

CONTENDERS = ("raw", "sqlalchemy", "rustalchemy")

Work = Callable[[], Any]
"""What is timed."""

Rows = tuple[str, Sequence[tuple[Any, ...]]]
"""A statement and the parameters it is executed with."""


@dataclass(frozen=True)
class Target:
    """Microseconds per unit once measured for raw code and SQLAlchemy, and the figure to reach. Only ratios count."""

    raw: float
    sqlalchemy: float
    goal: float

    @property
    def over_raw(self) -> float:
        """The largest allowed ratio of rustalchemy to raw code."""
        return self.goal / self.raw

    @property
    def speedup(self) -> float:
        """The smallest allowed ratio of SQLAlchemy to rustalchemy."""
        return self.sqlalchemy / self.goal


class Environment:
    """An empty SQLite file, the engine on it, and one contender's classes.

    A file, because that is what people have: every statement outside of a transaction pays its locks. Nothing waits for
    the disk (`synchronous` and the journal are off), and CPU time is what is counted.
    """

    def __init__(self, contender: str) -> None:
        self.contender = contender
        self.folder = tempfile.TemporaryDirectory(prefix="benches-")
        path = f"{self.folder.name}/db.sqlite"
        self.connection = sqlite3.connect(path, check_same_thread=False)
        self.connection.executescript("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;" + models.SCHEMA)
        self.engine = sa.create_engine("sqlite://", creator=lambda: self.connection, poolclass=StaticPool)
        if contender != "raw":
            self.m: SimpleNamespace = models.load(contender)
            self.orm: Any = self.m.orm

    def session(self, **kw: Any) -> Any:
        """A new session of this contender's ORM."""
        return self.orm.Session(self.engine, **kw)

    def count(self, table: str) -> int:
        """Rows now in a table."""
        return int(self.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def sending(env: Environment, change: Callable[[], Iterable[Rows]]) -> Work:
    """Hand-written work: a change in memory, the statements it comes to, a commit."""

    def work() -> None:
        for sql, rows in change():
            env.connection.executemany(sql, rows)
        env.connection.commit()

    return work


def committing(session: Any, change: Callable[[], Any]) -> Work:
    """The same with an ORM, which finds the statements by itself. The session is returned to outlive the timing."""

    def work() -> Any:
        change()
        session.commit()
        return session

    return work


@dataclass(frozen=True)
class Workload:
    """A named body of work: `raw` and `orm` prepare it and return what is timed; `verify` checks its result.

    Work that is `prepared_once` goes on, round after round, with what it left behind: its preparation takes far longer
    than the work itself.
    """

    name: str
    unit: str
    size: int
    target: Target | None
    raw: Callable[[Environment, int], Work]
    orm: Callable[[Environment, int], Work]
    verify: Callable[[Environment, int, Any], None]
    prepared_once: bool = False

    def prepare(self, contender: str, n: int) -> tuple[Environment, Work]:
        """A new environment with everything in it that the work needs, and the work."""
        env = Environment(contender)
        return env, (self.raw if contender == "raw" else self.orm)(env, n)

    def measure(self, contender: str, n: int, prepared: tuple[Environment, Work] | None = None) -> float:
        """CPU seconds per unit of one round, verified."""
        env, work = prepared or self.prepare(contender, n)
        gc.collect()
        began = time.process_time()
        result = work()
        spent = time.process_time() - began
        self.verify(env, n, result)
        return spent / n


WORKLOADS: dict[str, Workload] = {}


def workload(
    name: str, unit: str, size: int, target: Target | None = None, *, prepared_once: bool = False
) -> Callable[[type], type]:
    """Register a class with `raw`, `orm` and `verify` as a workload."""

    def register(cls: type) -> type:
        made: Any = cls
        WORKLOADS[name] = Workload(name, unit, size, target, made.raw, made.orm, made.verify, prepared_once)
        return cls

    return register
