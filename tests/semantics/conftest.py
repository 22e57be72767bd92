"""What the rows of the semantics table are tested on: a small world with fixed classes, or a bench for a test's own."""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from bench import Bench
from sqlalchemy import create_engine, event


class World:
    """One ORM's classes on one database."""

    def __init__(self, orm: Any, folder: Path) -> None:
        self.orm = orm
        self.ours = orm.__name__.startswith("rustalchemy")

        class Base(orm.DeclarativeBase):  # type: ignore[misc, name-defined]
            pass

        class User(Base):
            __tablename__ = "users"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            name = orm.mapped_column(sa.String)
            age = orm.mapped_column(sa.Integer)
            addresses = orm.relationship("Address", back_populates="user", order_by="Address.id")

        class Address(Base):
            __tablename__ = "addresses"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            user_id = orm.mapped_column(sa.ForeignKey("users.id"))
            email = orm.mapped_column(sa.String)
            user = orm.relationship("User", back_populates="addresses")

        class Node(Base):
            __tablename__ = "nodes"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            parent_id = orm.mapped_column(sa.ForeignKey("nodes.id"))
            name = orm.mapped_column(sa.String)
            children = orm.relationship("Node", back_populates="parent", order_by="Node.id")
            parent = orm.relationship("Node", back_populates="children", remote_side=[id])

        class Pair(Base):
            __tablename__ = "pairs"
            a = orm.mapped_column(sa.Integer, primary_key=True, autoincrement=False)
            b = orm.mapped_column(sa.Integer, primary_key=True, autoincrement=False, nullable=True)
            note = orm.mapped_column(sa.String)

        self.Base, self.User, self.Address, self.Node, self.Pair = Base, User, Address, Node, Pair
        self.path = folder / "world.db"
        self.engine = create_engine(f"sqlite:///{self.path}")
        Base.metadata.create_all(self.engine)
        self.statements: list[tuple[str, Any]] = []
        event.listen(self.engine, "before_cursor_execute", self._note)

    def _note(self, conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        self.statements.append((" ".join(statement.split()), parameters))

    def session(self, **kw: Any) -> Any:
        """A new session on the engine."""
        return self.orm.Session(self.engine, **kw)

    def sent(self) -> list[tuple[str, Any]]:
        """Statements and parameters since the last look."""
        out = list(self.statements)
        self.statements.clear()
        return out

    def verbs(self) -> list[str]:
        """First word and table of the statements since the last look."""
        out = []
        for statement, _ in self.sent():
            words = statement.replace(",", " ").split()
            verb = words[0]
            table = {"INSERT": 2, "UPDATE": 1, "DELETE": 2}.get(verb)
            out.append(f"{verb} {words[table] if table else words[words.index('FROM') + 1] if 'FROM' in words else ''}")
        return out

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Committed rows, read through a connection of its own."""
        with sqlite3.connect(self.path) as connection:
            return connection.execute(sql).fetchall()

    def seed(self) -> None:
        """Two users; the first has two addresses."""
        with sqlite3.connect(self.path) as connection:
            connection.execute("INSERT INTO users VALUES (1, 'ed', 30), (2, 'wendy', 40)")
            connection.execute("INSERT INTO addresses VALUES (1, 1, 'a@x'), (2, 1, 'b@x')")


@pytest.fixture
def world(orm: ModuleType, tmp_path: Path) -> World:
    """The small world, with two users and two addresses."""
    w = World(orm, tmp_path)
    w.seed()
    return w


@pytest.fixture(params=["sqlalchemy.orm", "rustalchemy.orm", "rustalchemy.orm lane"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A bench on SQLAlchemy's ORM; on ours, statements going through Core; and on ours with nobody listening."""
    module, _, lane = request.param.partition(" ")
    bench = Bench(importlib.import_module(module), tmp_path, observed=not lane)
    yield bench
    bench.orm.close_all_sessions()
    bench.engine.dispose()
