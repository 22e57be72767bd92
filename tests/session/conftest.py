"""The world of the session tests: two classes, an engine, and, for our ORM, both ways a statement can take.

Each test runs on SQLAlchemy's ORM, on ours through Core (somebody listens to the engine) and on ours through the lane.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event


class World:
    """One ORM's classes on one database."""

    def __init__(self, orm: Any, folder: Path, observed: bool) -> None:
        self.orm = orm

        class Base(orm.DeclarativeBase):  # type: ignore[misc, name-defined]
            pass

        class User(Base):
            __tablename__ = "users"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            name = orm.mapped_column(sa.String, nullable=False, unique=True)
            age = orm.mapped_column(sa.Integer)
            posts = orm.relationship("Post", back_populates="user", order_by="Post.id", cascade="save-update, expunge")

        class Post(Base):
            __tablename__ = "posts"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            user_id = orm.mapped_column(sa.ForeignKey("users.id"))
            title = orm.mapped_column(sa.String)
            user = orm.relationship("User", back_populates="posts")

        self.Base, self.User, self.Post = Base, User, Post
        self.engine = sa.create_engine(f"sqlite:///{folder / 'world.db'}")
        self._make_savepoints_work()
        Base.metadata.create_all(self.engine)
        self.statements: list[str] = []
        self.is_observed = observed
        if observed:
            event.listen(self.engine, "before_cursor_execute", self._note)

    def _make_savepoints_work(self) -> None:
        """The driver begins by itself, and too late for SAVEPOINT: begin as soon as a connection is checked out."""

        @event.listens_for(self.engine, "connect")
        def manual(connection: Any, record: Any) -> None:
            connection.isolation_level = None

        @event.listens_for(self.engine.pool, "checkout")
        def begin(connection: Any, record: Any, proxy: Any) -> None:
            connection.execute("BEGIN")

    def _note(self, conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        self.statements.append(" ".join(statement.split()))

    def session(self, **kw: Any) -> Any:
        return self.orm.Session(self.engine, **kw)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What another connection reads."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(sql)]

    def state(self, obj: Any) -> str:
        """The lifecycle state by name."""
        inspected = sa.inspect(obj)
        names = ("transient", "pending", "persistent", "deleted", "detached")
        (name,) = [name for name in names if getattr(inspected, name)]
        return name

    def saved(self, session: Any, name: str = "ed", **kw: Any) -> Any:
        """A persistent user."""
        user = self.User(name=name, **kw)
        session.add(user)
        session.commit()
        return user


@pytest.fixture(params=["sqlalchemy.orm", "rustalchemy.orm", "rustalchemy.orm lane"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    module, _, lane = request.param.partition(" ")
    world = World(importlib.import_module(module), tmp_path, observed=not lane)
    yield world
    world.orm.close_all_sessions()
    world.engine.dispose()
