"""Mapped classes whose every hook is a step that can fail, on one ORM and one database file."""

from __future__ import annotations

import contextlib
import gc
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from fault_driver import Faults, driver
from sqlalchemy import event

TABLES = ("users", "posts", "tags", "links", "accounts")
MAPPER_EVENTS = tuple(f"{when}_{what}" for when in ("before", "after") for what in ("insert", "update", "delete"))
SESSION_EVENTS = (
    "before_commit",
    "after_commit",
    "after_rollback",
    "after_soft_rollback",
    "before_flush",
    "after_flush",
    "after_flush_postexec",
    "after_begin",
    "after_transaction_create",
    "after_transaction_end",
    "before_attach",
    "after_attach",
    "transient_to_pending",
    "pending_to_persistent",
    "pending_to_transient",
    "persistent_to_deleted",
    "deleted_to_persistent",
    "deleted_to_detached",
    "persistent_to_detached",
    "loaded_as_persistent",
)
ENGINE_EVENTS = (
    "before_cursor_execute",
    "after_cursor_execute",
    "begin",
    "commit",
    "rollback",
    "savepoint",
    "release_savepoint",
    "rollback_savepoint",
)


class Note:
    """A value whose comparison can fail."""

    def __init__(self, faults: Faults, text: str) -> None:
        self.faults = faults
        self.text = text

    def __eq__(self, other: object) -> bool:
        self.faults.step("Note.__eq__")
        return isinstance(other, Note) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


class World:
    """One ORM's classes on one database; ``observed`` adds listeners everywhere, so that all goes through Core."""

    def __init__(self, orm: Any, folder: Path, observed: bool) -> None:
        self.orm = orm
        self.is_observed = observed
        self.faults = faults = Faults()
        self.file = folder / "world.db"
        self.engine = sa.create_engine(f"sqlite:///{self.file}", connect_args=driver(faults))
        self._make_transactions_explicit()
        self._map_classes()
        self.Base.metadata.create_all(self.engine)
        self._fill()
        with sqlite3.connect(self.file) as source:
            self._template = sqlite3.connect(":memory:")
            source.backup(self._template)
        source.close()
        self.before = self.dump()
        self.Session = orm.sessionmaker(self.engine)
        if observed:
            self._observe()

    def _map_classes(self) -> None:
        orm, faults = self.orm, self.faults

        class Base(orm.DeclarativeBase):
            pass

        class Text(sa.types.TypeDecorator):
            impl = sa.String
            cache_ok = True

            def process_bind_param(self, value: Any, dialect: Any) -> Any:
                faults.step("bind processor")
                return value

            def process_result_value(self, value: Any, dialect: Any) -> Any:
                faults.step("result processor")
                return value

        class NoteType(sa.types.TypeDecorator):
            impl = sa.String
            cache_ok = True

            def process_bind_param(self, value: Any, dialect: Any) -> Any:
                return None if value is None else value.text

            def process_result_value(self, value: Any, dialect: Any) -> Any:
                return None if value is None else Note(faults, value)

        def default_age() -> int:
            faults.step("default")
            return 7

        links = sa.Table(
            "links",
            Base.metadata,
            sa.Column("post_id", sa.ForeignKey("posts.id"), primary_key=True),
            sa.Column("tag_id", sa.ForeignKey("tags.id"), primary_key=True),
        )

        class User(Base):
            __tablename__ = "users"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            name = orm.mapped_column(Text, nullable=False, unique=True)
            age = orm.mapped_column(sa.Integer, default=default_age)
            note = orm.mapped_column(NoteType)
            posts = orm.relationship("Post", back_populates="user", order_by="Post.id", cascade="all, delete-orphan")

            def __init__(self, **kw: Any) -> None:
                faults.step("User.__init__")
                super().__init__(**kw)

            @orm.validates("name")
            def check_name(self, key: str, name: str) -> str:
                faults.step("validator")
                return name

            @orm.reconstructor
            def loaded(self) -> None:
                faults.step("reconstructor")

        class Post(Base):
            __tablename__ = "posts"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            user_id = orm.mapped_column(sa.ForeignKey("users.id"))
            title = orm.mapped_column(Text)
            user = orm.relationship("User", back_populates="posts")
            tags = orm.relationship("Tag", secondary=links, order_by="Tag.id", back_populates="posts")

        class Tag(Base):
            __tablename__ = "tags"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            label = orm.mapped_column(sa.String)
            posts = orm.relationship("Post", secondary=links, order_by="Post.id", back_populates="tags")

        class Account(Base):
            __tablename__ = "accounts"
            code = orm.mapped_column(sa.String, primary_key=True)
            amount = orm.mapped_column(sa.Integer)
            version = orm.mapped_column(sa.Integer, nullable=False)
            __mapper_args__ = {"version_id_col": version}

        self.Base, self.User, self.Post, self.Tag, self.Account = Base, User, Post, Tag, Account
        orm.configure_mappers()

    def _make_transactions_explicit(self) -> None:
        @event.listens_for(self.engine, "connect")
        def manual(connection: Any, record: Any) -> None:
            connection.isolation_level = None
            sqlite3.Connection.execute(connection, "PRAGMA synchronous = OFF")

        @event.listens_for(self.engine.pool, "checkout")
        def begin(connection: Any, record: Any, proxy: Any) -> None:
            connection.begin()

    def _observe(self) -> None:
        """Make steps of the events."""
        for name in SESSION_EVENTS:
            event.listen(self.Session, name, self._listener(name))
        for name in MAPPER_EVENTS:
            for cls in (self.User, self.Post):
                event.listen(cls, name, self._listener(f"{name} {cls.__name__}"))
        for name in ("load", "refresh", "expire"):
            event.listen(self.User, name, self._listener(f"{name} User"))
        event.listen(self.User.name, "set", self._listener("set User.name"))
        event.listen(self.User.posts, "append", self._listener("append User.posts"))
        event.listen(self.User.posts, "remove", self._listener("remove User.posts"))
        for name in ENGINE_EVENTS:
            event.listen(self.engine, name, self._listener(f"engine {name}"), named=True)

    def _listener(self, name: str) -> Any:
        def listener(*args: Any, **kw: Any) -> None:
            self.faults.step(name)

        return listener

    def _fill(self) -> None:
        with sqlite3.connect(self.file) as connection:
            connection.executescript(
                """
                INSERT INTO users VALUES (1, 'ann', 20, 'a'), (2, 'bob', 30, 'b'), (3, 'cid', 40, NULL);
                INSERT INTO posts VALUES (1, 1, 'p1'), (2, 1, 'p2'), (3, 2, 'p3'), (4, 3, 'p4');
                INSERT INTO tags VALUES (1, 'red'), (2, 'blue');
                INSERT INTO links VALUES (1, 1), (2, 1), (2, 2), (4, 1);
                INSERT INTO accounts VALUES ('x', 10, 1), ('y', 20, 1);
                """
            )
        connection.close()

    def restore(self) -> None:
        """The database as it was at first. Fails where a transaction was left open, for which a backup would wait."""
        connection = sqlite3.connect(self.file, timeout=0.1)
        try:
            connection.execute("BEGIN EXCLUSIVE")
            connection.rollback()
            self._template.backup(connection)
        finally:
            connection.close()

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows, as another connection reads them."""
        connection = sqlite3.connect(self.file)
        try:
            return {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in TABLES}
        finally:
            connection.close()

    def note(self, text: str) -> Note:
        return Note(self.faults, text)

    @staticmethod
    def state(obj: Any) -> str:
        """The lifecycle state by name."""
        inspected = sa.inspect(obj)
        names = ("transient", "pending", "persistent", "deleted", "detached")
        (name,) = [name for name in names if getattr(inspected, name)]
        return name

    def row_of(self, obj: Any) -> tuple[Any, ...]:
        """The object's columns as the database would have them; reads what is expired."""
        columns = sa.inspect(type(obj)).columns
        values = (getattr(obj, column.key) for column in columns)
        return tuple(value.text if isinstance(value, Note) else value for value in values)

    def abandon(self) -> None:
        """Let go of sessions and connections in whatever state they are."""
        self.faults.stop()
        gc.collect()
        with contextlib.suppress(Exception):
            self.orm.close_all_sessions()
        gc.collect()
        self.engine.dispose()

    def dispose(self) -> None:
        self.orm.close_all_sessions()
        self.engine.dispose()
        self._template.close()
