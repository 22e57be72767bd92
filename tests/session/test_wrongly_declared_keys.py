"""A primary key that is declared, but that the database does not know of: several rows have it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc


class World:
    """A table whose key the database compares without regard to case, and one that refers to it."""

    def __init__(self, orm: ModuleType) -> None:
        class Base(orm.DeclarativeBase):  # type: ignore[name-defined]
            pass

        class Word(Base):
            __tablename__ = "word"
            text = orm.mapped_column(sa.String, primary_key=True)

        class Use(Base):
            __tablename__ = "use"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            text = orm.mapped_column(sa.ForeignKey("word.text"))
            word = orm.relationship("Word")

        self.Word, self.Use = Word, Use
        self.engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
        with self.engine.begin() as connection:
            for statement in (
                "CREATE TABLE word (text TEXT COLLATE NOCASE)",
                "CREATE TABLE use (id INTEGER PRIMARY KEY, text TEXT)",
                "INSERT INTO word VALUES ('one'), ('two'), ('Two'), ('three'), ('three'), ('four'), ('Four')",
                "INSERT INTO use VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, 'four')",
            ):
                connection.exec_driver_sql(statement)
        self.orm: Any = orm

    def session(self) -> Any:
        return self.orm.Session(self.engine)


@pytest.fixture
def world(orm: ModuleType) -> World:
    return World(orm)


@pytest.mark.parametrize("is_prepared", [False, True])
def test_get_refuses_several_objects(world: World, is_prepared: bool) -> None:
    with world.session() as session:
        if is_prepared:
            assert session.get(world.Word, "one") is not None
        for _ in range(2):
            with pytest.raises(exc.MultipleResultsFound, match="when exactly one was required"):
                session.get(world.Word, "two")
        # several rows of one object
        assert session.get(world.Word, "three").text == "three"


@pytest.mark.parametrize("is_prepared", [False, True])
def test_a_lazy_load_by_key_refuses_several_objects(world: World, is_prepared: bool) -> None:
    with world.session() as session:
        if is_prepared:
            assert session.get(world.Use, 1).word.text == "one"
        for key in (2, 4):
            use = session.get(world.Use, key)
            with pytest.raises(exc.MultipleResultsFound):
                _ = use.word
        assert session.get(world.Use, 3).word.text == "three"
