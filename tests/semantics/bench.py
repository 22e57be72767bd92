"""One ORM on one empty database: what the database was told, what is in it, and in which state the objects are.

Statements are taken from SQLite itself, with their values, so that both ways a statement can take (through Core, and
past it when nobody listens) are compared with what SQLAlchemy's ORM sends.
"""

from __future__ import annotations

import re
import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

_NOT_TOLD = ("BEGIN", "COMMIT", "ROLLBACK", "PRAGMA", "SAVEPOINT", "RELEASE", "--")
_TABLE = re.compile(r"\bFROM \(?(\w+)")
_ADDRESS = re.compile(r"0x[0-9a-f]+")
_SERIES = re.compile(r"sqlalche\.me/e/2\d/")
_STATES = ("transient", "pending", "persistent", "deleted", "detached")


class Bench:
    """A test makes its classes on ``Base``, then the tables with `create`."""

    def __init__(self, orm: Any, folder: Path, *, observed: bool) -> None:
        self.orm = orm

        class Base(orm.DeclarativeBase):  # type: ignore[misc, name-defined]
            pass

        self.Base = Base
        self.path = folder / "bench.db"
        self.engine = sa.create_engine(f"sqlite:///{self.path}")
        self._statements: list[str] = []
        self._enforce_keys = False
        event.listen(self.engine, "connect", self._connected)
        event.listen(self.engine.pool, "checkout", self._checked_out)
        if observed:
            event.listen(self.engine, "before_cursor_execute", lambda *_: None)

    def _connected(self, connection: Any, record: Any) -> None:
        # the driver begins by itself, and too late for SAVEPOINT: `_checked_out` begins instead
        connection.isolation_level = None
        if self._enforce_keys:
            connection.execute("PRAGMA foreign_keys = ON")
        connection.set_trace_callback(self._note)

    def _checked_out(self, connection: Any, record: Any, proxy: Any) -> None:
        connection.execute("BEGIN")

    def _note(self, statement: str) -> None:
        if statement.lstrip().startswith(_NOT_TOLD):
            return
        text = " ".join(statement.split())
        # SQLite tells an UPDATE or DELETE once more for each foreign key action it starts
        is_repeated = self._enforce_keys and self._statements[-1:] == [text] and not text.startswith("INSERT")
        if not is_repeated:
            self._statements.append(text)

    def create(self, *, enforce_keys: bool = False) -> None:
        """Make the tables; with ``enforce_keys`` the database looks after foreign keys."""
        self._enforce_keys = enforce_keys
        self.Base.metadata.create_all(self.engine)
        self._statements.clear()

    def session(self, **kw: Any) -> Any:
        """A new session on the engine."""
        return self.orm.Session(self.engine, **kw)

    def saved(self, *objects: Any, **kw: Any) -> Any:
        """A session in which the objects are committed, and expired."""
        session = self.session(**kw)
        session.add_all(objects)
        session.commit()
        self._statements.clear()
        return session

    def told(self, *, selects: bool = True) -> list[str]:
        """The statements since the last look, with values: of a SELECT only the table, of an INSERT one row each."""
        told = []
        for statement in self._statements:
            if statement.startswith("SELECT"):
                if selects:
                    told.append(f"SELECT {_TABLE.findall(statement)[0]}")
            else:
                # how many rows an INSERT takes, and where the generated key comes from, is up to the driver
                head, values, rows = statement.removesuffix(" RETURNING id").partition(" VALUES ")
                told += [head + values + row for row in re.split(r"(?<=\)), (?=\()", rows)]
        self._statements.clear()
        return told

    def rows(self, table: str, order: str = "1") -> list[tuple[Any, ...]]:
        """Committed rows, read through a connection of its own."""
        with sqlite3.connect(self.path) as connection:
            return connection.execute(f"SELECT * FROM {table} ORDER BY {order}").fetchall()

    def meanwhile(self, session: Any, sql: str) -> None:
        """What somebody else does to the database, on the session's connection."""
        session.connection().exec_driver_sql(sql)
        self._statements.clear()

    def states(self, *objects: Any) -> list[str]:
        """The lifecycle states by name."""
        return [next(name for name in _STATES if getattr(sa.inspect(obj), name)) for obj in objects]

    def outcome(self, action: Callable[..., Any], *args: Any) -> list[str]:
        """Warnings, then the exception of an action: class and message."""
        seen = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                action(*args)
            except Exception as error:
                seen.append(error)
        told = [f"{w.category.__name__}: {w.message}" for w in caught]
        # without statement and parameters, which `told` has
        told += [f"{type(error).__name__}: {getattr(error, 'orig', None) or error}" for error in seen]
        return [_SERIES.sub("sqlalche.me/e/", _ADDRESS.sub("0x", " ".join(text.split()))) for text in told]
