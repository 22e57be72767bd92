"""Streams of few and of many rows: where pages end, what fails on the way, what else the session does meanwhile."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from comparison import ORMS

ROWS = 200
PER_PAGE = {"yield_per": 10}
STREAM = {"stream_results": True}
OPTIONS = (PER_PAGE, STREAM, {**STREAM, "max_row_buffer": 7}, {**STREAM, "yield_per": 64})


@functools.cache
def models(orm_name: str) -> SimpleNamespace:
    orm: Any = importlib.import_module(orm_name)

    class Base(orm.DeclarativeBase):  # type: ignore[misc]
        pass

    class Thing(Base):
        __tablename__ = "things"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        number = orm.mapped_column(sa.Integer)

    return SimpleNamespace(orm=orm, Base=Base, Thing=Thing)


@pytest.fixture(params=ORMS)
def m(request: pytest.FixtureRequest) -> Iterator[SimpleNamespace]:
    known = models(request.param)
    engine = sa.create_engine("sqlite://")
    known.Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(known.Thing.__table__.insert(), [{"id": n, "number": n} for n in range(1, ROWS + 1)])
    with known.orm.Session(engine) as session:
        yield SimpleNamespace(orm=known.orm, Thing=known.Thing, session=session)
    engine.dispose()


def things(m: SimpleNamespace, count: int, **options: Any) -> Any:
    return sa.select(m.Thing).where(m.Thing.id <= count).order_by(m.Thing.id).execution_options(**options)


@pytest.mark.parametrize("count", (0, 1, 6, 7, 9, 10, 11, 20, 63, 64, 65, 200))
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_no_row_is_lost_where_a_page_ends(m: SimpleNamespace, options: dict[str, Any], count: int) -> None:
    statement = things(m, count, **options)
    expected = list(range(1, count + 1))
    for _ in range(2):
        assert [thing.id for thing in m.session.scalars(statement)] == expected
        assert [thing.id for thing in m.session.scalars(statement).all()] == expected
        assert [row.Thing.id for row in m.session.execute(statement)] == expected
        assert [thing.id for thing in m.session.scalars(statement).yield_per(3)] == expected
        pages = [[thing.id for thing in page] for page in m.session.scalars(statement).partitions(7)]
        assert [id_ for page in pages for id_ in page] == expected
        assert all(len(page) == 7 for page in pages[:-1])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_one_row_after_the_other(m: SimpleNamespace, options: dict[str, Any]) -> None:
    result = m.session.scalars(things(m, ROWS, **options))
    assert [thing.id for thing in result.fetchmany(5)] == [1, 2, 3, 4, 5]
    assert next(result).id == 6
    assert len(result.fetchmany(30)) == 30
    assert [thing.id for thing in result.all()] == list(range(37, ROWS + 1))
    assert result.all() == []
    assert m.session.scalars(things(m, ROWS, **options)).first().id == 1
    assert m.session.scalars(things(m, 1, **options)).one().id == 1
    with pytest.raises(sa.exc.MultipleResultsFound):
        m.session.scalars(things(m, ROWS, **options)).one()


def test_a_query_in_pages(m: SimpleNamespace) -> None:
    query = m.session.query(m.Thing).order_by(m.Thing.id).execution_options(**STREAM)
    assert [thing.id for thing in query] == list(range(1, ROWS + 1))
    assert [thing.id for thing in query.yield_per(9)] == list(range(1, ROWS + 1))
    assert [thing.id for thing in query.filter(m.Thing.id < 5).yield_per(9)] == [1, 2, 3, 4]


@pytest.mark.parametrize("act", ("commit", "rollback", "other statements", "close", "expunge_all"))
@pytest.mark.parametrize("options", (PER_PAGE, STREAM), ids=str)
@pytest.mark.parametrize("count", (5, ROWS))
def test_what_the_session_does_meanwhile(m: SimpleNamespace, options: dict[str, Any], act: str, count: int) -> None:
    result = m.session.scalars(things(m, count, **options))
    ids = [next(result).id]
    if act == "other statements":
        m.session.get(m.Thing, ROWS).number = -1
        m.session.flush()
        with m.session.begin_nested():
            assert m.session.scalar(sa.select(sa.func.min(m.Thing.number))) == -1
    else:
        getattr(m.session, act)()
    if act in ("close", "expunge_all") and options is PER_PAGE and count == ROWS:
        ids += [thing.id for thing in result.fetchmany(9)]  # their page was read before
        with pytest.raises(sa.exc.InvalidRequestError, match="cannot be converted to 'persistent' state"):
            next(result)
        return
    ids += [thing.id for thing in result]
    assert ids == list(range(1, count + 1))


@pytest.mark.parametrize(("bad", "before"), ((35, 30), (155, 150)))
def test_a_row_that_cannot_be_read(m: SimpleNamespace, bad: int, before: int) -> None:
    """The rows of the pages before it come; the error is the driver's, and the session goes on."""
    smallest = sa.text("-9223372036854775807 - 1")
    value = sa.func.abs(sa.case((m.Thing.id == bad, smallest), else_=m.Thing.id))
    result = m.session.execute(sa.select(m.Thing, value).order_by(m.Thing.id), execution_options=PER_PAGE)
    seen = 0
    with pytest.raises(sa.exc.OperationalError, match="integer overflow") as caught:
        for _ in result:
            seen += 1
    assert seen == before
    assert caught.value.statement is None
    assert m.session.scalar(sa.select(sa.func.count()).select_from(m.Thing)) == ROWS


def test_a_statement_that_fails(m: SimpleNamespace) -> None:
    statement = sa.select(m.Thing).where(sa.text("nonsense(id) = 1")).execution_options(**PER_PAGE)
    for _ in range(2):
        with pytest.raises(sa.exc.OperationalError, match="nonsense") as caught:
            m.session.scalars(statement)
        assert "nonsense" in str(caught.value.statement)


@pytest.mark.skipif(sa.__version__.startswith("2.0"), reason="asked for before it is known how rows come")
def test_uniqueness_needs_all_rows(m: SimpleNamespace) -> None:
    with pytest.raises(sa.exc.InvalidRequestError, match="yield_per feature in conjunction with unique"):
        m.session.scalars(things(m, 5, **PER_PAGE)).unique().all()
    assert len(m.session.scalars(things(m, 5, **STREAM)).unique().all()) == 5


@pytest.mark.parametrize("options", (PER_PAGE, STREAM), ids=str)
def test_a_closed_stream(m: SimpleNamespace, options: dict[str, Any]) -> None:
    result = m.session.scalars(things(m, ROWS, **options))
    next(result)
    result.close()
    with pytest.raises(sa.exc.ResourceClosedError):
        result.all()
    # no cursor is left that would lock the table
    m.session.connection().execute(sa.text("DROP TABLE things"))
