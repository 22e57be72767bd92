"""Rows of columns: the classes, names and order of consumption are those of Core's Result, however they were made."""

from __future__ import annotations

import copy
import gc
import logging
import pickle
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import (
    Integer,
    Row,
    RowMapping,
    String,
    TypeDecorator,
    create_engine,
    event,
    func,
    lambda_stmt,
    literal,
    select,
    text,
)
from sqlalchemy.exc import InvalidRequestError, SAWarning


def _statement(world: SimpleNamespace) -> Any:
    return select(world.User.id, world.User.name.label("who"), world.User.age).order_by(world.User.id)


CONSUMERS: dict[str, Callable[[Any], Any]] = {
    "all": lambda result: result.all(),
    "iterate": list,
    "iterate, then the rest": lambda result: [next(iter(result)), result.fetchone(), result.all(), result.all()],
    "fetchone between": lambda result: [result.fetchone(), list(result), result.fetchone()],
    "first": lambda result: result.first(),
    "fetchmany": lambda result: [result.fetchmany(3), result.fetchmany(3), result.fetchmany(3)],
    "partitions": lambda result: list(result.partitions(3)),
    "mappings": lambda result: result.mappings().all(),
    "mappings iterated": lambda result: list(result.mappings()),
    "mappings of columns": lambda result: result.mappings().columns("age", 0).all(),
    "columns": lambda result: result.columns("age", "id").all(),
    "columns iterated": lambda result: list(result.columns(1)),
    "scalars": lambda result: result.scalars().all(),
    "scalars by index": lambda result: result.scalars(2).all(),
    "scalars by name": lambda result: result.scalars("who").all(),
    "scalars of columns": lambda result: result.columns("age", "id").scalars(1).all(),
    "scalars, then rows": lambda result: [result.scalars().fetchmany(2), result.all()],
    "unique scalars": lambda result: result.scalars(2).unique(lambda value: value is None).all(),
    "unique": lambda result: result.unique().all(),
    "unique mappings": lambda result: result.mappings().unique().all(),
    "frozen": lambda result: result.freeze()().all(),
    "yield_per": lambda result: list(result.yield_per(2)),
}


def _look(found: Any) -> Any:
    """What a consumer got, with classes and names."""
    if isinstance(found, Row):
        return type(found), found._fields, tuple(found), dict(found._mapping)
    if isinstance(found, RowMapping):
        return type(found), dict(found)
    return [_look(item) for item in found] if isinstance(found, (list, tuple)) else found


@pytest.mark.sqlalchemy21
@pytest.mark.parametrize("name", CONSUMERS)
@pytest.mark.parametrize("options", [{}, {"yield_per": 2}], ids=["whole", "streamed"])
@pytest.mark.parametrize("observed", [False, True], ids=["lane", "Core"])
def test_consumers(world: SimpleNamespace, name: str, options: dict[str, Any], observed: bool) -> None:
    """Every way of taking rows out of a result gives what it gives for Core's own result of the same table."""
    if not observed:
        event.remove(world.engine, "before_cursor_execute", world.record)
    User = world.User
    table = User.__table__
    ours = select(User.id, User.name.label("who"), User.age).order_by(User.id)
    cores = select(table.c.id, table.c.name.label("who"), table.c.age).order_by(table.c.id)
    consume = CONSUMERS[name]
    if options and "unique" in name and "scalars" not in name:
        with pytest.raises(InvalidRequestError, match="yield_per feature in conjunction with unique"):
            consume(world.session.execute(ours.execution_options(**options)))
        return
    found = consume(world.session.execute(ours.execution_options(**options) if options else ours))
    connection = world.session.connection()
    assert _look(found) == _look(consume(connection.execute(cores.execution_options(**options))))


def test_rows_are_cores(world: SimpleNamespace) -> None:
    rows = world.session.execute(_statement(world)).all()
    assert {type(row) for row in rows} == {Row}
    assert rows[0] == (7, "jack", 25) and rows[0].who == "jack" and rows[0]._mapping["age"] == 25
    assert rows[0][1:] == ("jack", 25) and rows[0]._asdict() == {"id": 7, "who": "jack", "age": 25}
    assert hash(rows[0]) == hash((7, "jack", 25)) and sorted(rows, reverse=True)[-1] == rows[0]
    assert pickle.loads(pickle.dumps(rows)) == rows and copy.copy(rows[0]) == rows[0]
    with pytest.raises(AttributeError, match="nothing"):
        rows[0].nothing  # noqa: B018
    with pytest.raises(AttributeError):
        rows[0].who = "x"


def test_rows_by_expression(world: SimpleNamespace) -> None:
    User = world.User
    row = world.session.execute(_statement(world)).first()
    assert row._mapping[User.id] == 7 and row._mapping[User.__table__.c.age] == 25


def test_expressions_name_the_columns_of_their_own_statement(world: SimpleNamespace) -> None:
    """However often a statement like it was executed: alone, twice, beside columns and of one name with another."""
    User, session = world.User, world.session
    for n in range(5):
        more, same, label = User.age + n, User.age * 2, func.upper(User.name).label("who")
        statement = select(more, User.id, label, same, same, User.name.label("who")).where(User.id == 7)
        row = session.execute(statement).one()
        assert row == (25 + n, 7, "JACK", 50, 50, "jack")
        assert row._mapping[more] == 25 + n and row._mapping[label] == "JACK" and row._mapping[same] == 50
        assert row._mapping[User.id] == 7 and row._mapping["who"] == row.who == "JACK"
        assert more in row._mapping and User.age not in row._mapping
        assert session.execute(statement).columns(label, more).one() == ("JACK", 25 + n)
        assert session.execute(statement).scalars(more).one() == 25 + n
        frozen = session.execute(statement).freeze()
        assert frozen().one()._mapping[label] == "JACK"


def test_columns_in_another_order_and_twice(world: SimpleNamespace) -> None:
    User = world.User
    rows = world.session.execute(select(User.age, User.id, User.age, literal("x")).order_by(User.id).limit(2)).all()
    assert rows == [(25, 7, 25, "x"), (47, 8, 47, "x")]


def test_text_and_core_tables(world: SimpleNamespace) -> None:
    session, table = world.session, world.User.__table__
    assert session.execute(text("SELECT id, name FROM users WHERE id = :id"), {"id": 8}).all() == [(8, "ed")]
    assert session.execute(select(table.c.id).where(table.c.id > 8)).scalars().all() == [9, 10]


def test_collected_with_the_objects_they_hold(world: SimpleNamespace) -> None:
    """A row that an object of its own refers to is garbage like any other."""
    session, User = world.session, world.User
    user = User(id=99, name="x")
    session.add(user)
    session.flush()
    row = session.execute(select(User, User.id).where(User.id == 99)).one()
    assert row[0] is user
    user.row = row
    gone = weakref.ref(user)
    session.commit()
    session.close()
    del user, row
    gc.collect()
    assert gone() is None


def test_collected_whatever_their_values(world: SimpleNamespace) -> None:
    """Rows do not keep what their values refer to from being collected."""

    class Holder:
        pass

    session, User = world.session, world.User
    holder = Holder()
    row = session.execute(select(User, User.name).where(User.id == 7)).one()
    holder.rows, row[0].holder = [row], holder  # type: ignore[attr-defined]
    gone = weakref.ref(holder)
    session.close()
    del holder, row
    gc.collect()
    assert gone() is None


def test_the_collector_is_left_as_it_was(world: SimpleNamespace) -> None:
    world.session.execute(_statement(world)).all()
    assert gc.isenabled()
    gc.disable()
    try:
        world.session.execute(_statement(world)).all()
        assert not gc.isenabled()
    finally:
        gc.enable()


class Shout(TypeDecorator[str]):
    """Stored as given, read in capitals."""

    impl = String
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return None if value is None else value.upper()


def test_debug_log_has_processed_rows(orm: Any, caplog: pytest.LogCaptureFixture) -> None:
    """``echo="debug"`` shows rows as Core shows them, whether they become objects or not."""

    class Base(orm.DeclarativeBase):
        pass

    class Thing(Base):
        __tablename__ = "things"
        id = orm.mapped_column(Integer, primary_key=True)
        word = orm.mapped_column(Shout)

    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        session.add_all([Thing(id=1, word="one"), Thing(id=2)])
        session.commit()
        with caplog.at_level(logging.DEBUG, "sqlalchemy.engine"):
            found = session.scalars(select(Thing).order_by(Thing.id)).all()
            words = session.execute(select(Thing.word).order_by(Thing.id)).all()
    assert [thing.word for thing in found] == ["ONE", None] and words == [("ONE",), (None,)]
    logged = [str(record.args[0]) for record in caplog.records if str(record.msg).startswith("Row ")]
    assert logged == ["(1, 'ONE')", "(2, None)", "('ONE',)", "(None,)"]


def test_subqueryload_of_a_lambda_statement_warns(world: SimpleNamespace) -> None:
    """It has to make the statement anew to embed it, which is what lambdas are there to avoid."""
    User, subqueryload = world.User, world.orm.subqueryload
    statement = lambda_stmt(lambda: select(User).options(subqueryload(User.addresses)))
    statement += lambda s: s.order_by(User.id)
    with pytest.warns(SAWarning, match='subqueryloader for "User.addresses" must invoke lambda callable at .*Lambda'):
        users = world.session.scalars(statement).all()
    assert [len(user.addresses) for user in users] == [1, 3, 1, 0]
