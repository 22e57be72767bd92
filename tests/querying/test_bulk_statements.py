"""Statements on many rows: the same rows, objects, errors and SQL, whether or not they take the short way."""

from __future__ import annotations

import datetime
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from comparison import Comparison, error_of
from sqlalchemy import JSON, Boolean, Column, DateTime, Integer, String, create_engine, delete, func, insert, select
from sqlalchemy import update as sql_update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert


def make_models(orm: ModuleType) -> SimpleNamespace:
    base: Any = orm.declarative_base()

    class Plain(base):
        __tablename__ = "plain"
        id = Column(Integer, primary_key=True)
        label = Column("name", String(20))
        flag = Column(Boolean)
        at = Column(DateTime)
        doc = Column(JSON)

    class WithDefault(base):
        __tablename__ = "defaults"
        id = Column(Integer, primary_key=True)
        name = Column(String(20), default="given by Python")
        n = Column(Integer, server_default="7")
        changed = Column(Integer, onupdate=5)

    class Versioned(base):
        __tablename__ = "versioned"
        id = Column(Integer, primary_key=True)
        name = Column(String(20))
        version = Column(Integer, nullable=False)
        __mapper_args__ = {"version_id_col": version}

    orm.configure_mappers()
    return SimpleNamespace(orm=orm, Base=base, Plain=Plain, WithDefault=WithDefault, Versioned=Versioned)


def make_database(m: SimpleNamespace) -> Any:
    engine = create_engine("sqlite://")
    m.Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(m.Plain.__table__.insert(), [{"id": i, "name": f"n{i}", "flag": True} for i in range(1, 5)])
        connection.execute(m.WithDefault.__table__.insert(), [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
        connection.execute(m.Versioned.__table__.insert(), [{"id": 1, "name": "a", "version": 1}])
    return engine


BOTH = Comparison(make_models, make_database)
WHEN = datetime.datetime(2020, 2, 2, 2, 2, 2)


def rows(m: SimpleNamespace, session: Any, entity: str = "Plain") -> Any:
    table = getattr(m, entity).__table__
    return [tuple(row) for row in session.execute(select(table).order_by(table.c.id))]


INSERTS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "one shape": ("Plain", [{"id": i, "label": f"x{i}", "flag": False, "at": WHEN} for i in (10, 11, 12)]),
    "one row": ("Plain", [{"id": 10, "label": "x"}]),
    "no key": ("Plain", [{"label": "x"}, {"label": "y"}]),
    "some None": ("Plain", [{"id": 10, "label": None}, {"id": 11, "label": "y"}]),
    "all None": ("Plain", [{"id": 10, "label": None}, {"id": 11, "label": None}]),
    "two shapes": ("Plain", [{"id": 10, "label": "x"}, {"id": 11, "flag": True}, {"id": 12, "flag": False}]),
    "JSON null": ("Plain", [{"id": 10, "doc": None}, {"id": 11, "doc": {"a": 1}}]),
    "other order": ("Plain", [{"id": 10, "label": "x"}, {"label": "y", "id": 11}]),
    "unknown name": ("Plain", [{"id": 10, "nobody": "x"}]),
    "column name": ("Plain", [{"id": 10, "name": "x"}]),
    "wrong kind": ("Plain", [{"id": 10, "at": "no date"}]),
    "duplicate": ("Plain", [{"id": 1, "label": "x"}, {"id": 10, "label": "y"}]),
    "Python default": ("WithDefault", [{"id": 10}, {"id": 11}]),
    "defaults given": ("WithDefault", [{"id": 10, "name": "x", "n": 1}, {"id": 11, "name": "y", "n": 2}]),
    "versioned": ("Versioned", [{"id": 10, "name": "x"}, {"id": 11, "name": "y"}]),
}


@pytest.mark.parametrize("name", INSERTS)
@pytest.mark.parametrize("nulls", [False, True], ids=["default", "render_nulls"])
def test_insert(name: str, nulls: bool) -> None:
    entity, given = INSERTS[name]

    def scenario(m: SimpleNamespace, session: Any) -> Any:
        try:
            session.execute(
                insert(getattr(m, entity)), [dict(row) for row in given], execution_options={"render_nulls": nulls}
            )
        except Exception as error:
            return type(error).__name__, str(error).partition("\n")[0]
        return rows(m, session, entity)

    BOTH.check(scenario)


@pytest.mark.parametrize("name", INSERTS)
def test_bulk_insert_mappings(name: str) -> None:
    entity, given = INSERTS[name]

    def scenario(m: SimpleNamespace, session: Any) -> Any:
        copies = [dict(row) for row in given]
        try:
            session.bulk_insert_mappings(getattr(m, entity), copies)
        except Exception as error:
            return type(error).__name__, str(error).partition("\n")[0]
        return copies, rows(m, session, entity)

    BOTH.check(scenario)


def test_insert_with_fixed_values_and_returning() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        session.execute(insert(m.Plain).values(flag=True), [{"label": "x"}, {"label": "y"}])
        found = session.scalars(insert(m.Plain).returning(m.Plain), [{"label": "z"}, {"label": None}]).all()
        one = session.scalars(insert(m.Plain).values(label=func.upper("w")).returning(m.Plain)).one()
        return [(obj.id, obj.label, obj in session) for obj in [*found, one]], rows(m, session)

    BOTH.check(scenario)


UPDATES: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "one column": ("Plain", [{"id": 1, "label": "x"}, {"id": 2, "label": "y"}]),
    "two columns": ("Plain", [{"id": 1, "label": "x", "at": WHEN}, {"id": 2, "label": None, "at": None}]),
    "two shapes": ("Plain", [{"id": 1, "label": "x"}, {"id": 2, "flag": None}]),
    "no such row": ("Plain", [{"id": 1, "label": "x"}, {"id": 99, "label": "y"}]),
    "no key": ("Plain", [{"label": "x"}]),
    "None as key": ("Plain", [{"id": None, "label": "x"}]),
    "only keys": ("Plain", [{"id": 1}, {"id": 2}]),
    "wrong kind": ("Plain", [{"id": 1, "at": "no date"}]),
    "onupdate": ("WithDefault", [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}]),
    "versioned": ("Versioned", [{"id": 1, "name": "x", "version": 1}]),
    "stale version": ("Versioned", [{"id": 1, "name": "x", "version": 9}]),
}


@pytest.mark.parametrize("name", UPDATES)
@pytest.mark.parametrize("legacy", [False, True], ids=["update", "bulk_update_mappings"])
def test_update_by_key(name: str, legacy: bool) -> None:
    entity, given = UPDATES[name]

    def scenario(m: SimpleNamespace, session: Any) -> Any:
        class_ = getattr(m, entity)
        loaded = session.get(class_, 1)
        before = dict(loaded.__dict__)
        try:
            if legacy:
                session.bulk_update_mappings(class_, [dict(row) for row in given])
            else:
                session.execute(sql_update(class_), [dict(row) for row in given])
        except Exception as error:
            return type(error).__name__, str(error).partition("\n")[0]
        after = {key: value for key, value in loaded.__dict__.items() if not key.startswith("_")}
        return len(before), after, loaded in session.dirty, rows(m, session, entity)

    BOTH.check(scenario)


@pytest.mark.parametrize("sync", ["auto", "evaluate", "fetch", False])
def test_update_of_loaded_objects(sync: Any) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        one, two, three, four = session.scalars(select(m.Plain).order_by(m.Plain.id)).all()
        session.expire(two)
        three.label = "changed and not flushed"
        session.expire(four, ["label"])
        session.execute(
            sql_update(m.Plain).where(m.Plain.id > 0).values(label=m.Plain.label + "!", flag=False),
            execution_options={"synchronize_session": sync, "autoflush": False},
        )
        loaded = [sorted(key for key in obj.__dict__ if key[0] != "_") for obj in (one, two, three, four)]
        dirty = three in session.dirty
        values = [(obj.label, obj.flag) for obj in (one, two, three, four)]
        session.rollback()
        return loaded, dirty, values, [(obj.label, obj.flag) for obj in (one, two, three, four)]

    BOTH.check(scenario)


@pytest.mark.parametrize("sync", ["auto", "evaluate", "fetch", False])
def test_delete_of_loaded_objects(sync: Any) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        one, two, three, four = session.scalars(select(m.Plain).order_by(m.Plain.id)).all()
        session.expire(two)
        session.expire(four, ["label"])
        result = session.execute(delete(m.Plain).where(m.Plain.id < 3), execution_options={"synchronize_session": sync})
        by_label = session.execute(
            delete(m.Plain).where(m.Plain.label == "n4"), execution_options={"synchronize_session": sync}
        )
        held = [obj in session for obj in (one, two, three, four)]
        session.rollback()
        return result.rowcount, by_label.rowcount, held, [obj in session for obj in (one, two, three, four)]

    BOTH.check(scenario)


def test_what_cannot_be_evaluated() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        session.scalars(select(m.Plain)).all()
        statement = sql_update(m.Plain).where(func.length(m.Plain.label) == 2).values(label="x")
        return error_of(
            lambda: session.execute(statement, execution_options={"synchronize_session": "evaluate"})
        ), session.execute(statement).rowcount

    BOTH.check(scenario)


def test_refresh_listeners_hear_of_it() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        from sqlalchemy import event

        heard = []

        def refreshed(target: Any, context: Any, names: Any) -> None:
            heard.append((target.id, sorted(names or ())))

        event.listen(m.Plain, "refresh", refreshed)
        try:
            session.scalars(select(m.Plain)).all()
            session.execute(sql_update(m.Plain).where(m.Plain.id > 2).values(label="x"))
        finally:
            event.remove(m.Plain, "refresh", refreshed)
        return sorted(heard)

    BOTH.check(scenario)


RETURNING = {
    "objects": lambda m: [m.Plain],
    "columns": lambda m: [m.Plain.id, m.Plain.at],
    "object and column": lambda m: [m.Plain, m.Plain.label],
    "expression": lambda m: [m.Plain.label + "!", m.Plain.flag],
    "bundle": lambda m: [m.orm.Bundle("b", m.Plain.id, m.Plain.doc)],
}
PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "one row": [{"label": "a"}],
    "rows": [{"label": f"x{i}", "flag": i % 2 == 0, "at": WHEN, "doc": {"i": i}} for i in range(9)],
    "many pages": [{"label": f"x{i}"} for i in range(2500)],
    "NULLs": [{"label": "a", "at": None}, {"label": None, "at": WHEN}, {"label": "c", "at": None}],
    "several shapes": [{"label": "a"}, {"label": "b", "flag": True}, {"flag": False}],
    "keys given": [{"id": i, "label": f"k{i}"} for i in (40, 30, 20)],
}


@pytest.mark.parametrize("parameters", PARAMETERS)
@pytest.mark.parametrize("returning", RETURNING)
@pytest.mark.parametrize("in_order", [False, True], ids=["", "sorted"])
def test_insert_returning(returning: str, parameters: str, in_order: bool) -> None:
    def look(value: Any, m: SimpleNamespace) -> Any:
        if isinstance(value, m.Plain):
            return sorted((key, found) for key, found in vars(value).items() if not key.startswith("_"))
        return [look(part, m) for part in value] if isinstance(value, tuple) else value

    def scenario(m: SimpleNamespace, session: Any) -> Any:
        statement = insert(m.Plain).returning(*RETURNING[returning](m), sort_by_parameter_order=in_order)
        result = session.execute(statement, [dict(row) for row in PARAMETERS[parameters]])
        return [look(tuple(row), m) for row in result.all()], rows(m, session)

    BOTH.check(scenario)


def test_insert_returning_objects_in_the_session() -> None:
    """Rows of objects that the session has already do not overwrite them, unless that is asked for."""

    def scenario(m: SimpleNamespace, session: Any, populate: bool = False) -> Any:
        held = session.get(m.Plain, 1)
        session.execute(delete(m.Plain), execution_options={"synchronize_session": False})
        statement = insert(m.Plain).returning(m.Plain, sort_by_parameter_order=True)
        options = {"populate_existing": True} if populate else {}
        users = session.scalars(
            statement, [{"id": 1, "label": "new"}, {"id": 2, "label": "x"}], execution_options=options
        ).all()
        return users[0] is held, held.label, users[1].label

    assert BOTH.check(scenario) == (True, "n1", "x")
    assert BOTH.check(lambda m, s: scenario(m, s, True)) == (True, "new", "x")


def test_insert_returning_that_fails() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        statement = insert(m.Plain).returning(m.Plain.id)
        duplicate = [{"id": i, "label": "x"} for i in (7, 8, 7)]
        error, _ = error_of(lambda: session.execute(statement, duplicate))
        session.rollback()
        return error, len(rows(m, session))

    assert BOTH.check(scenario) == ("IntegrityError", 4)


def test_insert_returning_of_python_defaults_and_upserts() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        given = session.execute(
            insert(m.WithDefault).returning(m.WithDefault.name, m.WithDefault.n), [{"id": 8}, {"id": 9}]
        ).all()
        upsert = sqlite_insert(m.Plain)
        upsert = upsert.on_conflict_do_update(index_elements=["id"], set_={"name": upsert.excluded.name + "?"})
        changed = session.execute(
            upsert.returning(m.Plain.id, m.Plain.label), [{"id": 1, "label": "a"}, {"id": 11, "label": "b"}]
        ).all()
        ignored = session.execute(
            sqlite_insert(m.Plain).on_conflict_do_nothing().returning(m.Plain.id),
            [{"id": 1, "label": "a"}, {"id": 12, "label": "b"}],
        ).all()
        return given, changed, ignored

    assert BOTH.check(scenario) == (
        [("given by Python", 7), ("given by Python", 7)],
        [(1, "a?"), (11, "b")],
        [(12,)],
    )
