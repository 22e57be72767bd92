"""`yield_per` and `stream_results`: as many objects are alive as one batch has, however many rows there are."""

from __future__ import annotations

import functools
import importlib
import tracemalloc
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from comparison import ORMS
from sqlalchemy import ForeignKey, Integer, String, select

# SQLAlchemy takes its time
ROWS = {"sqlalchemy.orm": 5_000, "rustalchemy.orm": 50_000}
CHILDREN = 2
BATCH = 500
# objects of a batch that is being read, of the one before it, and a few that are held on the way
ALIVE = 2 * BATCH + 10

Stream = Callable[[SimpleNamespace, Any], Iterator[Any]]
STREAMS: dict[str, Stream] = {
    "scalars": lambda m, s: s.scalars(select(m.Parent).execution_options(yield_per=BATCH)),
    "scalars, option of the call": lambda m, s: s.scalars(select(m.Parent), execution_options={"yield_per": BATCH}),
    "rows": lambda m, s: s.execute(select(m.Parent, m.Parent.name).execution_options(yield_per=BATCH)),
    "mappings": lambda m, s: s.execute(select(m.Parent).execution_options(yield_per=BATCH)).mappings(),
    "columns": lambda m, s: s.execute(select(m.Parent.id, m.Parent.name).execution_options(yield_per=BATCH)),
    "partitions": lambda m, s: (
        parent
        for part in s.scalars(select(m.Parent).execution_options(yield_per=BATCH)).partitions()
        for parent in part
    ),
    "yield_per of the result": lambda m, s: s.scalars(
        select(m.Parent).execution_options(stream_results=True, max_row_buffer=BATCH)
    ).yield_per(BATCH),
    "two entities": lambda m, s: s.execute(
        select(m.Parent, m.Child).join(m.Parent.children).execution_options(yield_per=BATCH)
    ),
    "populate_existing": lambda m, s: s.scalars(
        select(m.Parent).execution_options(yield_per=BATCH, populate_existing=True)
    ),
    "Query": lambda m, s: iter(s.query(m.Parent).yield_per(BATCH)),
    "text": lambda m, s: s.scalars(
        select(m.Parent).from_statement(sa.text("SELECT id, name FROM parents")).execution_options(yield_per=BATCH)
    ),
}
LOADING: dict[str, Stream] = {
    "selectinload": lambda m, s: s.scalars(
        select(m.Parent).options(m.orm.selectinload(m.Parent.children)).execution_options(yield_per=BATCH)
    ),
    "selectinload of a Query": lambda m, s: iter(
        s.query(m.Parent).options(m.orm.selectinload(m.Parent.children)).yield_per(BATCH)
    ),
    "selectinload, there and back": lambda m, s: s.scalars(
        select(m.Child).options(m.orm.selectinload(m.Child.parent)).execution_options(yield_per=BATCH)
    ),
    "joinedload of one": lambda m, s: s.scalars(
        select(m.Child).options(m.orm.joinedload(m.Child.parent)).execution_options(yield_per=BATCH)
    ),
}


@functools.cache
def models(orm_name: str) -> SimpleNamespace:
    """A class and its children, and a database with many of both."""
    orm: Any = importlib.import_module(orm_name)

    class Base(orm.DeclarativeBase):  # type: ignore[misc]
        pass

    class Parent(Base):
        __tablename__ = "parents"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(20))
        children = orm.relationship("Child", back_populates="parent")

    class Child(Base):
        __tablename__ = "children"
        id = orm.mapped_column(Integer, primary_key=True)
        parent_id = orm.mapped_column(ForeignKey("parents.id"), index=True)
        parent = orm.relationship("Parent", back_populates="children")

    orm.configure_mappers()
    rows = ROWS[orm_name]
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(Parent.__table__.insert(), [{"id": n, "name": f"name {n}"} for n in range(rows)])
        connection.execute(Child.__table__.insert(), [{"parent_id": n} for n in range(rows) for _ in range(CHILDREN)])
    return SimpleNamespace(orm=orm, engine=engine, rows=rows, Parent=Parent, Child=Child)


def read(m: SimpleNamespace, stream: Stream) -> tuple[int, int, int]:
    """How many rows came, how many objects were alive at most, and by how much the memory grew in a part of them."""
    rows = alive = peak = 0
    with m.orm.Session(m.engine) as session:
        try:
            for rows, _ in enumerate(stream(m, session), 1):
                if rows % 100 == 0:
                    alive = max(alive, len(session.identity_map))
                if rows == 2 * BATCH:
                    tracemalloc.start()
                elif rows == 8 * BATCH:
                    peak = tracemalloc.get_traced_memory()[1]
                    tracemalloc.stop()
        finally:
            tracemalloc.stop()
    return rows, alive, peak


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("orm_name", ORMS)
def test_rows_in_constant_memory(orm_name: str, name: str) -> None:
    m = models(orm_name)
    rows, alive, peak = read(m, STREAMS[name])
    assert rows in (m.rows, m.rows * CHILDREN)
    assert alive <= ALIVE * (2 if name == "two entities" else 1)
    assert peak < 2_000_000


@pytest.mark.parametrize("name", LOADING)
@pytest.mark.parametrize("orm_name", ORMS)
def test_relationships_in_constant_memory(orm_name: str, name: str) -> None:
    m = models(orm_name)
    rows, alive, peak = read(m, LOADING[name])
    assert rows in (m.rows, m.rows * CHILDREN)
    assert alive <= ALIVE * (1 + CHILDREN)
    assert peak < 4_000_000


@pytest.mark.parametrize("orm_name", ORMS)
def test_without_it_all_are_alive(orm_name: str) -> None:
    """What the other tests would see if nothing were streamed."""
    m = models(orm_name)
    _, alive, _ = read(m, lambda m, s: iter(s.scalars(select(m.Parent)).all()))
    assert alive == m.rows


@pytest.mark.parametrize("orm_name", ORMS)
def test_a_stream_that_is_left_early(orm_name: str) -> None:
    """Its rows are not read to the end, and the connection serves what comes next."""
    m = models(orm_name)
    with m.orm.Session(m.engine) as session:
        result = session.scalars(select(m.Parent).execution_options(yield_per=BATCH))
        assert [parent.id for parent, _ in zip(result, range(3), strict=False)] == [0, 1, 2]
        assert len(session.identity_map) <= ALIVE
        result.close()
        assert session.scalar(select(sa.func.count()).select_from(m.Parent)) == m.rows
