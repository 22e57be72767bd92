"""Queries that stay symbolic find the same, by the same SQL, as ones that are built; and become real when they must."""

from __future__ import annotations

import copy
import datetime
import gc
import importlib
import weakref
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from comparison import ORMS, Comparison
from orm_models import make_database, make_models
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    Interval,
    String,
    and_,
    create_engine,
    desc,
    event,
    func,
    literal,
    or_,
    select,
    text,
)

BOTH = Comparison(make_models, make_database)

CRITERIA = {
    "equal": lambda m, n: (m.User.id == n,),
    "turned": lambda m, n: (literal(n) == m.User.id,),
    "unequal": lambda m, n: (m.User.id != n,),
    "less": lambda m, n: (m.User.id < n,),
    "at least": lambda m, n: (m.User.id >= n,),
    "two columns": lambda m, n: (m.User.id > n - 1, m.User.name == "ed"),
    "a range": lambda m, n: (m.User.id >= n - 1, m.User.id <= n),
    "twice the same": lambda m, n: (m.User.id == n, m.User.id == n),
    "none": lambda m, n: (m.User.name == None,),  # noqa: E711
    "true": lambda m, n: (m.User.id == True,),  # noqa: E712
    "and": lambda m, n: (and_(m.User.id == n, m.User.name == "ed"),),
    "or": lambda m, n: (or_(m.User.id == n, m.User.name == "jack"),),
    "function": lambda m, n: (func.length(m.User.name) == 2,),
    "two attributes": lambda m, n: (m.User.id == m.User.id,),
    "in": lambda m, n: (m.User.id.in_([n, 7]),),
    "like": lambda m, n: (m.User.name.like("%e%"),),
    "table column": lambda m, n: (m.User.__table__.c.id == n,),
    "alias": lambda m, n: (m.orm.aliased(m.User).id == n,),
    "relationship": lambda m, n: (m.User.addresses.any(m.Address.id == 2),),
    "negated": lambda m, n: (~(m.User.id == n),),
    "nothing": lambda m, n: (),
}


@pytest.mark.parametrize("name", CRITERIA)
def test_filter(name: str) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        found = []
        for n in (8, 9, 8):
            criteria = CRITERIA[name](m, n)
            session.query(m.User)  # known from here on
            query = session.query(m.User).filter(*criteria)
            found.append([user.id for user in query.all()])
            found.append([user.id for user in query.order_by(m.User.id.desc())])
            first = query.first()
            found.append([first and first.id, query.count(), str(query)])
        return found

    BOTH.check(scenario)


def test_mixed_with_filter_by_and_later_methods() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        session.query(m.User).first()
        query = session.query(m.User).filter(m.User.id > 7).filter_by(name="ed").filter(m.User.id < 20)
        narrower = query.filter(m.User.id != 8)
        return (
            query.one().id,
            narrower.one_or_none(),
            query.filter(m.User.name == "fred").all(),
            query.join(m.User.addresses).filter(m.Address.id == 3).one().id,
            [row.name for row in query.with_entities(m.User.name)],
            query.filter(m.User.id > 8).update({"name": "x"}, synchronize_session=False),
            str(query.statement),
        )

    BOTH.check(scenario)


def test_values_of_other_types_are_other_shapes() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        session.query(m.User).first()
        return [
            [user.id for user in session.query(m.User).filter(m.User.id == value)] for value in (8, "8", 8.0, "x", 9)
        ]

    BOTH.check(scenario)


ORDERS = {
    "attribute": lambda m: (m.User.name,),
    "down": lambda m: (m.User.name.desc(),),
    "up": lambda m: (m.User.id.asc(),),
    "two": lambda m: (m.User.name.desc(), m.User.id),
    "function desc": lambda m: (desc(m.User.id),),
    "nulls": lambda m: (m.User.name.desc().nulls_last(),),
    "text": lambda m: (text("id DESC"),),
    "string": lambda m: ("name",),
    "table column": lambda m: (m.User.__table__.c.name.desc(),),
    "alias": lambda m: (m.orm.aliased(m.User).name,),
    "other entity": lambda m: (m.Address.id,),
    "expression": lambda m: (func.length(m.User.name), m.User.id),
    "none": lambda m: (None,),
    "false": lambda m: (False,),
    "nothing": lambda m: (),
    "synonym of a relationship": lambda m: (m.User.addresses,),
}

FETCHES = {
    "all": lambda query: [user.id for user in query.all()],
    "iterate": lambda query: [user.id for user in query],
    "left early": lambda query: next(iter(query)).id,
    "first": lambda query: (user := query.first()) and user.id,
    "count": lambda query: query.count(),
    "one": lambda query: query.one().id,
    "one_or_none": lambda query: (user := query.one_or_none()) and user.id,
    "scalar": lambda query: (user := query.scalar()) and user.id,
    "get": lambda query: query.get(8).id,
    "slice": lambda query: [user.id for user in query[1:3]],
    "slice from 0": lambda query: [user.id for user in query[:2]],
    "index": lambda query: query[1].id,
    "filter": lambda query: [user.id for user in query.filter_by(name="ed")],
    "join": lambda query: query.join(query.column_descriptions[0]["entity"].addresses).count(),
    "subquery": lambda query: str(query.subquery()),
    "exists": lambda query: query.session.query(query.exists()).scalar(),
    "distinct": lambda query: [user.id for user in query.distinct()],
    "order again": lambda query: [user.id for user in query.order_by(None)],
    "update": lambda query: query.update({"name": "x"}),
    "from self": lambda query: [user.id for user in query.union(query)],
    "statement": lambda query: str(query.statement),
    "string": lambda query: str(query),
    "parts": lambda query: (len(query._order_by_clauses), query._limit_clause is None, query._offset_clause is None),
}

LIMITS = {
    "none": lambda query, n: query,
    "limit": lambda query, n: query.limit(n),
    "offset": lambda query, n: query.offset(n),
    "both": lambda query, n: query.limit(n + 1).offset(n - 1),
    "turned": lambda query, n: query.offset(1).limit(n),
    "twice": lambda query, n: query.limit(1).limit(n),
    "taken back": lambda query, n: query.limit(n).limit(None),
    "slice": lambda query, n: query.slice(0, n),
    "slices": lambda query, n: query.slice(1, 9).slice(0, n),
    "zero": lambda query, n: query.limit(0),
    "negative": lambda query, n: query.limit(-n),
    "string": lambda query, n: query.limit(str(n)),
    "expression": lambda query, n: query.limit(literal(n)),
}


def _fetched(query: Any, fetch: str) -> Any:
    try:
        return FETCHES[fetch](query)
    except Exception as error:
        return type(error).__name__, str(error).split(" at 0x")[0]
    finally:
        query.session.rollback()
        query.session.expunge_all()


@pytest.mark.parametrize("name", ORDERS)
def test_order(name: str) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        found = []
        for n in (7, 8):
            session.query(m.User)  # known from here on
            try:
                query = session.query(m.User).filter(m.User.id >= n).order_by(*ORDERS[name](m))
                again = query.order_by(m.User.id)
            except Exception as error:
                found.append(type(error).__name__)
                continue
            for fetch in ("all", "first", "count", "string", "filter", "slice", "parts"):
                found += [_fetched(query, fetch), _fetched(again, fetch)]
        return found

    BOTH.check(scenario)


@pytest.mark.parametrize("name", LIMITS)
def test_limits(name: str) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        found = []
        for n in (1, 2, 3):
            session.query(m.User)  # known from here on
            try:
                query = LIMITS[name](session.query(m.User).filter(m.User.id > 6).order_by(m.User.id), n)
            except Exception as error:
                found.append(type(error).__name__)
                continue
            for fetch in FETCHES:
                found += [_fetched(query, fetch), _fetched(query, fetch)]
        return found

    BOTH.check(scenario)


def test_count_flushes_and_sees_listeners() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        seen = []
        session.query(m.User).count()
        session.add(m.User(id=50, name="new"))
        seen.append(session.query(m.User).count())
        with session.no_autoflush:
            session.add(m.User(id=51, name="newer"))
            seen.append(session.query(m.User).filter_by(name="newer").count())
        event.listen(session, "do_orm_execute", lambda state: seen.append(str(state.statement)))
        seen.append(session.query(m.User).filter_by(name="newer").count())
        seen.append(session.query(m.User).order_by(m.User.id).limit(2).count())
        return seen

    BOTH.check(scenario)


def test_intervals() -> None:
    def make(orm: ModuleType) -> SimpleNamespace:
        base: Any = orm.declarative_base()

        class Lap(base):
            __tablename__ = "laps"
            id = Column(Integer, primary_key=True)
            took = Column(Interval)
            name = Column(String(30))

        return SimpleNamespace(orm=orm, Base=base, Lap=Lap)

    def database(m: SimpleNamespace) -> Any:
        engine = create_engine("sqlite://")
        m.Base.metadata.create_all(engine)
        with m.orm.Session(engine) as session:
            seconds = (5, 90, 5, -3)
            session.add_all([m.Lap(id=i, took=datetime.timedelta(seconds=each)) for i, each in enumerate(seconds, 1)])
            session.commit()
        return engine

    def scenario(m: SimpleNamespace, session: Any) -> Any:
        Lap = m.Lap
        found = []
        for seconds in (5, 90, 5, 6, -3):
            took = datetime.timedelta(seconds=seconds)
            found += [lap.id for lap in session.query(Lap).filter_by(took=took).order_by(Lap.id)]
            found += [lap.id for lap in session.query(Lap).filter(Lap.took > took).order_by(Lap.took)]
            found.append(session.query(Lap).filter_by(name=took).count())
            found.append(session.query(Lap).filter(Lap.took == took).count())
        return found

    Comparison(make, database).check(scenario)


def test_what_is_set_on_a_query_stays_with_its_copies() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        session.query(m.User).first()
        query = session.query(m.User)
        query.remark = "a"
        copies = [
            query.filter_by(id=8),
            query.filter(m.User.id == 8),
            query.order_by(m.User.id),
            query.limit(2),
            query.filter_by(id=8).join(m.User.addresses),
            copy.copy(query).filter_by(id=8),
        ]
        copies[0].remark = "b"
        seen = [(each.remark, each.session is session, each.count()) for each in (query, *copies)]
        return seen

    BOTH.check(scenario)


def test_names_made_at_run_time_and_names_that_are_no_columns() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        session.query(m.User).first()
        seen: list[Any] = []
        for name in ("id", "na", "addresses", "id"):
            for value in (7, "ed", None, True, [7]):
                key = "".join([*name, "me"]) if name == "na" else "".join(name)
                try:
                    seen.append([user.id for user in session.query(m.User).filter_by(**{key: value})])
                except Exception as error:
                    seen.append(type(error).__name__)
        return seen

    BOTH.check(scenario)


def test_a_result_has_each_object_once() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        queries = [session.query(m.User).filter(m.User.id > n).order_by(m.User.id) for n in (0, 7, 7)]
        return [[user.id for user in query.all()] for query in queries], [query.count() for query in queries]

    BOTH.check(scenario)


def test_many_shapes_of_one_class() -> None:
    def make(orm: ModuleType) -> SimpleNamespace:
        base: Any = orm.declarative_base()
        columns = {f"c{i}": Column(Integer) for i in range(16)}
        wide = type("Wide", (base,), {"__tablename__": "wide", "id": Column(Integer, primary_key=True), **columns})
        return SimpleNamespace(orm=orm, Base=base, Wide=wide)

    def database(m: SimpleNamespace) -> Any:
        engine = create_engine("sqlite://")
        m.Base.metadata.create_all(engine)
        with m.orm.Session(engine) as session:
            session.add_all([m.Wide(id=n, **{f"c{i}": i % n for i in range(16)}) for n in range(1, 6)])
            session.commit()
        return engine

    def scenario(m: SimpleNamespace, session: Any) -> Any:
        session.query(m.Wide).first()
        kept = session.query(m.Wide).filter_by(c0=0)
        found = []
        for a in range(16):
            for b in range(16):
                query = kept.filter_by(**{f"c{a}": a % 3}) if a else kept
                if b not in {0, a}:
                    query = query.filter_by(**{f"c{b}": b % 3})
                found.append([each.id for each in query.order_by(m.Wide.id)])
        return found, kept.count()

    Comparison(make, database).check(scenario)


@pytest.mark.parametrize("name", ORMS)
def test_mappers_that_come_later_and_mappings_that_end(name: str) -> None:
    orm = importlib.import_module(name)
    base: Any = orm.declarative_base()

    class First(base):
        __tablename__ = "firsts"
        id = Column(Integer, primary_key=True)

    engine = create_engine("sqlite://")
    base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        for _ in range(3):
            assert session.query(First).filter_by(id=1).first() is None

        class Second(base):
            __tablename__ = "seconds"
            id = Column(Integer, primary_key=True)
            first_id = Column(ForeignKey("firsts.id"))
            first = orm.relationship(First, backref="seconds")

        base.metadata.create_all(session.connection())
        for _ in range(3):
            assert session.query(Second).join(Second.first).all() == []
            assert session.query(First).filter_by(id=1).options(orm.joinedload(First.seconds)).all() == []
    base.registry.dispose()
    with orm.Session(engine) as session, pytest.raises(Exception, match="First"):
        session.query(First)


def test_queries_keep_neither_classes_nor_sessions_alive() -> None:
    orm = importlib.import_module("rustalchemy.orm")

    def run() -> list[weakref.ref[Any]]:
        base: Any = orm.declarative_base()

        class Passing(base):
            __tablename__ = "passing"
            id = Column(Integer, primary_key=True)
            name = Column(String(30))

        engine = create_engine("sqlite://")
        base.metadata.create_all(engine)
        session = orm.Session(engine)
        for _ in range(3):
            query = session.query(Passing).filter_by(name="x").order_by(Passing.id).limit(3)
            assert query.all() == session.scalars(select(Passing)).all() == []
        session.close()
        engine.dispose()
        return [weakref.ref(each) for each in (Passing, session, query)]

    left = run()
    gc.collect()
    gc.collect()
    assert [each() for each in left] == [None, None, None]
