"""INSERT … ON CONFLICT of lists of rows, one kind after the other, and what the transaction around them sees."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from comparison import ORMS
from sqlalchemy.dialects import sqlite


@functools.cache
def models(orm_name: str) -> SimpleNamespace:
    orm: Any = importlib.import_module(orm_name)

    class Base(orm.DeclarativeBase):  # type: ignore[misc]
        pass

    class Thing(Base):
        __tablename__ = "things"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        name = orm.mapped_column(sa.String(20), unique=True)
        number = orm.mapped_column(sa.Integer)

    return SimpleNamespace(orm=orm, Base=Base, Thing=Thing)


@pytest.fixture(params=ORMS)
def m(request: pytest.FixtureRequest) -> Iterator[SimpleNamespace]:
    known = models(request.param)
    engine = sa.create_engine("sqlite://")
    known.Base.metadata.create_all(engine)
    with known.orm.Session(engine) as session:
        yield SimpleNamespace(orm=known.orm, Thing=known.Thing, session=session, engine=engine)
    engine.dispose()


def update_number(Thing: Any, where: Any = None, index: str = "id") -> Any:
    statement = sqlite.insert(Thing)
    criterion = None if where is None else where(statement)
    return statement.on_conflict_do_update(
        index_elements=[index], set_={"number": statement.excluded.number}, where=criterion
    )


# each of them at first sight like the one before it
KINDS: list[Callable[[Any], Any]] = [
    lambda Thing: sqlite.insert(Thing).on_conflict_do_nothing(),
    lambda Thing: sqlite.insert(Thing).on_conflict_do_nothing(index_elements=["id"]),
    update_number,
    lambda Thing: update_number(Thing, index="name"),
    lambda Thing: update_number(Thing, lambda statement: Thing.number < 5),
    lambda Thing: update_number(Thing, lambda statement: Thing.number < 50),
    lambda Thing: update_number(Thing, lambda statement: Thing.number > statement.excluded.number),
    lambda Thing: sqlite.insert(Thing).on_conflict_do_update(index_elements=["id"], set_={"number": 7}),
    lambda Thing: sqlite.insert(Thing).on_conflict_do_update(index_elements=["id"], set_={"number": 8}),
    lambda Thing: sqlite.insert(Thing).on_conflict_do_update(index_elements=["id"], set_={"number": Thing.number + 1}),
    lambda Thing: sqlite.insert(Thing).on_conflict_do_update(index_elements=["id"], set_={"name": "seven"}),
]


def outcome(m: SimpleNamespace, kind: Callable[[Any], Any], row: dict[str, Any]) -> Any:
    """What the statement leaves of a table with one row in it, or the kind of its error."""
    with m.session.begin_nested() as savepoint:
        m.session.execute(sa.delete(m.Thing))
        m.session.execute(sa.insert(m.Thing), [{"id": 1, "name": "one", "number": 10}])
        try:
            m.session.execute(kind(m.Thing), [row])
            return m.session.execute(sa.select(m.Thing.id, m.Thing.name, m.Thing.number)).all()
        except sa.exc.IntegrityError as error:
            return str(error.orig)
        finally:
            savepoint.rollback()


ROWS = (
    {"id": 1, "name": "one", "number": 20},
    {"id": 1, "name": "two", "number": 3},
    {"id": 2, "name": "one", "number": 4},
    {"id": 2, "name": "two", "number": 5},
)


def test_kinds_are_told_apart() -> None:
    """Each does the same after the others as on SQLAlchemy, the third time as the first."""
    found = {}
    for orm_name in ORMS:
        known = models(orm_name)
        engine = sa.create_engine("sqlite://")
        known.Base.metadata.create_all(engine)
        with known.orm.Session(engine) as session:
            m = SimpleNamespace(Thing=known.Thing, session=session)
            rounds = [[[outcome(m, kind, row) for row in ROWS] for kind in KINDS] for _ in range(3)]
        assert rounds[0] == rounds[1] == rounds[2]
        found[orm_name] = rounds[0]
        engine.dispose()
    outcomes = list(found.values())
    assert all(one == outcomes[0] for one in outcomes)
    assert len({repr(one) for one in outcomes[0]}) == 9


@pytest.mark.parametrize("in_order", (False, True))
@pytest.mark.parametrize("count", (1, 3, 300))
def test_rows_that_come_back(m: SimpleNamespace, count: int, in_order: bool) -> None:
    """Those that were inserted or updated, whether the session has them or not."""
    m.session.add_all([m.Thing(id=n, name=f"name {n}", number=n) for n in range(0, 400, 2)])
    m.session.commit()
    kept = m.session.get(m.Thing, 2)
    rows = [{"id": n, "name": f"name {n}", "number": n * 10} for n in range(count, 0, -1)]
    for where in (None, lambda statement: m.Thing.number > 1000):
        for returned in ((m.Thing,), (m.Thing.id, m.Thing.number)):
            statement = update_number(m.Thing, where).returning(*returned, sort_by_parameter_order=in_order)
            found = m.session.execute(statement, rows, execution_options={"populate_existing": True}).all()
            things = sorted((row.Thing.id, row.Thing.number) for row in found) if len(returned) == 1 else sorted(found)
            # the others are there already, with small numbers
            updated = [n for n in range(1, count + 1) if where is None or n % 2]
            assert [tuple(thing) for thing in things] == [(n, n * 10) for n in updated]
            if in_order and where is None:
                assert [(row.Thing if len(returned) == 1 else row).id for row in found] == [row["id"] for row in rows]
            if where is None and count > 1 and len(returned) == 1:
                assert kept.number == 20
            m.session.rollback()


def test_a_parameter_after_values(m: SimpleNamespace) -> None:
    for number in (7, 8):
        statement = sqlite.insert(m.Thing).on_conflict_do_update(index_elements=["id"], set_={"number": number})
        rows = [{"id": n % 2, "name": f"name {n % 2}", "number": n} for n in range(4)]
        found = m.session.execute(statement.returning(m.Thing.id, m.Thing.number), rows).all()
        assert sorted(tuple(row) for row in found)[-1] == (1, number)
        assert sorted(m.session.scalars(sa.select(m.Thing.number))) == [number, number]


ROW = {"id": 1, "name": "one", "number": 1}
SENDING: dict[str, Callable[[SimpleNamespace], Any]] = {
    "insert": lambda m: m.session.execute(sa.insert(m.Thing), [ROW]),
    "upsert": lambda m: m.session.execute(update_number(m.Thing), [ROW]),
    "insert returning": lambda m: m.session.scalars(sa.insert(m.Thing).returning(m.Thing.id), [ROW]).all(),
    "bulk_insert_mappings": lambda m: m.session.bulk_insert_mappings(m.Thing, [ROW]),
    "update": lambda m: m.session.execute(sa.update(m.Thing), [{"id": 5, "number": 1}]),
    "bulk_update_mappings": lambda m: m.session.bulk_update_mappings(m.Thing, [{"id": 5, "number": 1}]),
}


@pytest.fixture
def stored(m: SimpleNamespace) -> Callable[[], list[Any]]:
    """A row that was there before; the function tells what a session of its own finds."""
    with m.orm.Session(m.engine) as session:
        session.add(m.Thing(id=5, name="five", number=5))
        session.commit()

    def numbers() -> list[Any]:
        with m.orm.Session(m.engine) as other:
            return list(other.scalars(sa.select(m.Thing.number).order_by(m.Thing.id)))

    return numbers


@pytest.mark.parametrize("name", SENDING)
def test_the_transaction_around(m: SimpleNamespace, stored: Callable[[], list[Any]], name: str) -> None:
    """It begins with the statement, whose rows the session's connection sees, and ends with commit and rollback."""
    send = SENDING[name]
    assert not m.session.in_transaction()
    send(m)
    if not name.startswith("bulk"):  # which commit where they have begun
        assert m.session.in_transaction()
        assert m.session.connection().scalar(sa.text("SELECT count(*) FROM things WHERE number = 1")) == 1
        m.session.rollback()
        assert stored() == [5]
        with m.session.begin_nested() as savepoint:
            send(m)
            savepoint.rollback()
        m.session.commit()
        assert stored() == [5]
        send(m)
    m.session.commit()
    assert 1 in stored()


@pytest.mark.parametrize("name", SENDING)
def test_listeners_see_the_statement(m: SimpleNamespace, stored: Callable[[], list[Any]], name: str) -> None:
    SENDING[name](m)
    m.session.rollback()
    m.session.execute(sa.delete(m.Thing).where(m.Thing.id == 1))
    m.session.commit()
    seen: list[str] = []
    sa.event.listen(m.engine, "before_cursor_execute", lambda c, cursor, text, *_: seen.append(text.split()[0]))
    SENDING[name](m)
    assert seen == ["UPDATE" if "update" in name else "INSERT"]


@pytest.mark.parametrize("name", [name for name in SENDING if not name.startswith("bulk")])
def test_on_another_connection(m: SimpleNamespace, stored: Callable[[], list[Any]], name: str) -> None:
    """A session on a connection of the user's joins its transaction."""
    with m.engine.connect() as connection:
        outer = connection.begin()
        with m.orm.Session(connection) as session:
            SENDING[name](SimpleNamespace(session=session, Thing=m.Thing))
            session.commit()
        assert connection.scalar(sa.text("SELECT count(*) FROM things WHERE number = 1")) == 1
        outer.rollback()
    assert stored() == [5]


def test_without_a_bind(m: SimpleNamespace) -> None:
    session = m.orm.Session()
    for send in SENDING.values():
        with pytest.raises(sa.exc.UnboundExecutionError):
            send(SimpleNamespace(session=session, Thing=m.Thing))
        session.rollback()


def test_rows_that_are_not_there(m: SimpleNamespace, stored: Callable[[], list[Any]]) -> None:
    for _ in range(2):
        with pytest.raises(m.orm.exc.StaleDataError, match="expected to update 2 row"):
            m.session.execute(sa.update(m.Thing), [{"id": 5, "number": 1}, {"id": 6, "number": 1}])
        m.session.rollback()
    assert stored() == [5]
