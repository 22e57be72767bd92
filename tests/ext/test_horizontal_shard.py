"""A session over several databases: what a scenario returns, what the choosers are asked, what each shard is sent."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sql
from comparison import error_of

from .conftest import extensions

SHARDS = ("north", "south")


def world(sa: SimpleNamespace, **kw: Any) -> SimpleNamespace:
    """Two databases with ten observed rows, the choosers, and models: cities of a region, their reports."""
    orm = sa.orm

    class Base(orm.DeclarativeBase):
        pass

    class City(Base):
        __tablename__ = "city"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        region = orm.mapped_column(sql.String)
        name = orm.mapped_column(sql.String)
        note = orm.deferred(orm.mapped_column(sql.String))
        reports = orm.relationship("Report", back_populates="city", order_by="Report.id", cascade="all, delete-orphan")

    class Report(Base):
        __tablename__ = "report"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        city_id = orm.mapped_column(sql.ForeignKey("city.id"))
        degrees = orm.mapped_column(sql.Integer)
        city = orm.relationship(City, back_populates="reports")

    asked: list[Any] = []
    sent: list[Any] = []

    def choose_shard(mapper: Any, instance: Any, clause: Any = None) -> str:
        asked.append(("shard", mapper.class_.__name__, instance is not None))
        if isinstance(instance, Report):
            return choose_shard(sql.inspect(City), instance.city)
        return "north" if instance is None else instance.region

    def choose_by_identity(mapper: Any, primary_key: Any, *, lazy_loaded_from: Any, **kw: Any) -> Any:
        lazy = lazy_loaded_from and lazy_loaded_from.identity_token
        asked.append(("identity", mapper.class_.__name__, tuple(primary_key), lazy, sorted(kw)))
        return [lazy] if lazy else SHARDS

    def choose_to_execute(context: Any) -> Any:
        if not context.is_select:
            asked.append(("execute", context.is_update, context.is_delete))
            return SHARDS
        lazy = context.lazy_loaded_from and context.lazy_loaded_from.identity_token
        asked.append(("execute", context.is_relationship_load, context.is_column_load, lazy))
        return [lazy] if lazy else SHARDS

    engines = {shard: sql.create_engine("sqlite://") for shard in SHARDS}

    def listener(shard: str) -> Callable[..., None]:
        return lambda connection, cursor, statement, parameters, *args: sent.append((shard, statement, parameters))

    for shard, engine in engines.items():
        Base.metadata.create_all(engine)
        sql.event.listen(engine, "before_cursor_execute", listener(shard))
    arguments = {
        "shard_chooser": choose_shard,
        "identity_chooser": choose_by_identity,
        "execute_chooser": choose_to_execute,
        "shards": engines,
    }
    make = orm.sessionmaker(class_=sa.horizontal_shard.ShardedSession, **{**arguments, **kw})
    with make() as session:
        for shard in SHARDS:
            for name in ("Oslo", "Bergen") if shard == "north" else ("Rome", "Bari", "Pisa"):
                reports = [Report(degrees=degrees) for degrees in range(len(name))]
                session.add(City(region=shard, name=name, reports=reports, note=f"in the {shard}"))
        session.commit()
    return SimpleNamespace(
        orm=orm,
        City=City,
        Report=Report,
        make=make,
        engines=engines,
        asked=asked,
        sent=sent,
        set_shard_id=sa.horizontal_shard.set_shard_id,
        sharded=sa.horizontal_shard,
    )


def tokens(found: Any) -> list[Any]:
    return [(sql.inspect(one).key[1:], one.name) for one in found]


Scenario = Callable[[SimpleNamespace, Any], Any]
scenarios: dict[str, Scenario] = {}


def scenario(body: Scenario) -> Scenario:
    scenarios[body.__name__] = body
    return body


@scenario
def all_shards(w: SimpleNamespace, session: Any) -> Any:
    cities = session.scalars(sql.select(w.City).order_by(w.City.name)).all()
    again = session.scalars(sql.select(w.City).order_by(w.City.name)).all()
    rows = session.execute(sql.select(w.City.name, w.City.id)).all()
    return tokens(cities), cities == again, [tuple(row) for row in rows]


@scenario
def get(w: SimpleNamespace, session: Any) -> Any:
    with pytest.raises(sql.exc.MultipleResultsFound):
        session.get(w.City, 1)
    first, south = (session.get(w.City, 1, identity_token=shard) for shard in SHARDS)
    same = session.get(w.City, 1), session.get(w.City, 1, identity_token="south")
    others = session.get(w.City, 3), session.get(w.City, 2, bind_arguments={"shard_id": "south"})
    populated = session.get(w.City, 3, populate_existing=True)
    return tokens([first, south, *same, *others, populated]), session.get(w.City, 9), first is not south


@scenario
def lazy_loads(w: SimpleNamespace, session: Any) -> Any:
    rome = session.scalars(sql.select(w.City).where(w.City.name == "Rome")).one()
    degrees = [report.degrees for report in rome.reports]
    session.expunge(rome)
    report = session.scalars(sql.select(w.Report).where(w.Report.degrees == 3), bind_arguments={"shard_id": "south"})
    found = report.all()
    return degrees, tokens([one.city for one in found]), [one.city is found[0].city for one in found]


@scenario
def columns_and_refresh(w: SimpleNamespace, session: Any) -> Any:
    cities = session.scalars(sql.select(w.City).order_by(w.City.name)).all()
    notes = [city.note for city in cities]
    session.commit()
    names = [city.name for city in cities]
    session.refresh(cities[-1])
    session.refresh(cities[0], ["note"])
    session.expire(cities[1])
    return notes, names, cities[1].name


@scenario
def eager_loads(w: SimpleNamespace, session: Any) -> Any:
    seen = []
    for load in (w.orm.selectinload, w.orm.joinedload, w.orm.subqueryload, w.orm.immediateload):
        statement = sql.select(w.City).options(load(w.City.reports)).order_by(w.City.name)
        cities = session.scalars(statement).unique().all()
        seen.append([(city.name, [sql.inspect(report).identity_token for report in city.reports]) for city in cities])
        session.expunge_all()
    reports = session.scalars(sql.select(w.Report).options(w.orm.selectinload(w.Report.city))).all()
    return seen, [(sql.inspect(report).identity_token, report.city.name) for report in reports]


@scenario
def one_shard(w: SimpleNamespace, session: Any) -> Any:
    seen = []
    statement = sql.select(w.City).order_by(w.City.id)
    for kw in (
        {"bind_arguments": {"shard_id": "south"}},
        {"execution_options": {"identity_token": "south"}},
        {"execution_options": {"_sa_shard_id": "south"}},
    ):
        seen.append(tokens(session.scalars(statement, **kw)))
    for propagate in (True, False):
        session.expunge_all()
        option = w.set_shard_id("south", propagate_to_loaders=propagate)
        # such options do not tell statements apart
        of_its_own = statement.where(w.City.id > 0) if propagate else statement.where(w.City.id >= 1)
        first = session.scalars(of_its_own.options(option)).all()[0]
        seen.append((first.name, first.note, len(first.reports)))
    seen.append(tokens(session.query(w.City).set_shard("north").order_by(w.City.id).all()))
    seen.append(tokens([session.query(w.City).options(w.set_shard_id("south")).filter_by(id=1).one()]))
    return seen


@scenario
def changes(w: SimpleNamespace, session: Any) -> Any:
    oslo, rome = (session.scalars(sql.select(w.City).where(w.City.name == name)).one() for name in ("Oslo", "Rome"))
    oslo.name, rome.name = "Christiania", "Roma"
    rome.reports.append(w.Report(degrees=40))
    del oslo.reports[0]
    session.add(w.City(region="south", name="Naples"))
    session.flush()
    tokens_ = [sql.inspect(report).key[2] for report in rome.reports]
    session.rollback()
    before = oslo.name, rome.name, len(rome.reports)
    session.delete(rome)
    session.commit()
    return tokens_, before, session.scalars(sql.select(w.City.name)).all()


@scenario
def moved(w: SimpleNamespace, session: Any) -> Any:
    """The shard of an object is chosen once."""
    city = w.City(region="north", name="Nowhere")
    session.add(city)
    session.flush()
    city.region = "south"
    session.commit()
    return sql.inspect(city).identity_token, tokens([city])


@scenario
def bulk(w: SimpleNamespace, session: Any) -> Any:
    seen = []
    for strategy in ("evaluate", "fetch", False, "auto"):
        cities = session.scalars(sql.select(w.City).order_by(w.City.name)).all()
        statement = sql.update(w.City).where(w.City.id == 1).values(name=w.City.name + "!")
        done = session.execute(statement, execution_options={"synchronize_session": strategy})
        seen.append((done.rowcount, [sql.inspect(city).dict.get("name") for city in cities]))
        done = session.execute(
            sql.delete(w.City).where(w.City.id == 2).options(w.set_shard_id("south")),
            execution_options={"synchronize_session": strategy},
        )
        seen.append((done.rowcount, [city in session for city in cities]))
        session.rollback()
        session.expunge_all()
    found = session.query(w.City).filter_by(id=2).update({"name": "x"}), session.query(w.Report).delete()
    return seen, found


@scenario
def merged(w: SimpleNamespace, session: Any) -> Any:
    rome = session.get(w.City, 1, identity_token="south")
    copy = pickle.loads(pickle.dumps(sql.inspect(rome).key[1:]))
    session.expunge_all()
    rome.name = "Roma"
    merged = session.merge(rome)
    session.commit()
    return copy, tokens([merged]), merged is not rome


@scenario
def counted(w: SimpleNamespace, session: Any) -> Any:
    cities = session.scalars(sql.select(w.City).order_by(w.City.id).execution_options(yield_per=1))
    names = [city.name for city in cities]
    firsts = session.query(w.City.name).order_by(w.City.name).limit(1).all()
    return names, [tuple(row) for row in firsts], session.scalars(sql.select(sql.func.count(w.City.id))).all()


@scenario
def inserted(w: SimpleNamespace, session: Any) -> Any:
    to_south = {"shard_id": "south"}
    rows = [{"name": "a"}, {"name": "b"}]

    def refusal(call: Any) -> Any:
        error = error_of(call)
        session.rollback()
        return error

    refused = [
        refusal(call)
        for call in (
            lambda: session.execute(sql.insert(w.City), rows, bind_arguments=to_south),
            lambda: session.scalars(sql.insert(w.City).returning(w.City), rows, bind_arguments=to_south),
            lambda: session.bulk_save_objects([w.City(region="north", name="d"), w.City(region="south", name="e")]),
            lambda: session.bulk_insert_mappings(w.City, rows),
            lambda: session.bulk_update_mappings(w.City, [{"id": 1, "name": "a"}]),
            lambda: session.execute(sql.update(w.City), [{"id": 1, "name": "a"}], bind_arguments=to_south),
        )
    ]
    session.execute(sql.insert(w.City).values(name="h"), bind_arguments=to_south)
    with session.begin_nested():
        session.add(w.City(region="north", name="f"))
    nested = session.begin_nested()
    session.add(w.City(region="south", name="g"))
    nested.rollback()
    session.commit()
    return refused, sorted(session.scalars(sql.select(w.City.name)))


@scenario
def queried(w: SimpleNamespace, session: Any) -> Any:
    query = session.query(w.City)
    with pytest.warns(sql.exc.LegacyAPIWarning):
        got = query.get(3)
    found = query.join(w.City.reports).filter(w.Report.degrees == 3).order_by(w.City.id).all()
    locked = session.get(w.City, 3, with_for_update=True)
    alias = w.orm.aliased(w.City)
    return tokens([got, *found, locked]), tokens(session.scalars(sql.select(alias).where(alias.id > 1)))


def observed(package: str, body: Scenario, **kw: Any) -> dict[str, Any]:
    made = world(extensions(package), **kw)
    loaded = list(made.sent)
    made.asked.clear()
    made.sent.clear()
    with made.make() as session:
        returned = body(made, session)
    seen = {"returned": returned, "asked": made.asked, "sent": made.sent, "loaded": loaded}
    for engine in made.engines.values():
        engine.dispose()
    return seen


@functools.cache
def expected(name: str) -> dict[str, Any]:
    return observed("sqlalchemy", scenarios[name])


@pytest.mark.sqlalchemy21
@pytest.mark.parametrize("name", scenarios)
def test_both_agree(name: str) -> None:
    theirs = expected(name)
    ours = observed("rustalchemy", scenarios[name])
    for what in ("returned", "asked"):
        assert ours[what] == theirs[what], what
    # rows of equal keys come in either order of their shards
    for what in ("sent", "loaded"):
        for shard in SHARDS:
            assert [entry for entry in ours[what] if entry[0] == shard] == [
                entry for entry in theirs[what] if entry[0] == shard
            ]


def test_each_object_has_its_shard(sa: SimpleNamespace) -> None:
    seen = observed(sa.name, scenarios["all_shards"])
    cities, is_same, _ = seen["returned"]
    assert is_same
    assert [(key[1], name) for key, name in cities] == [
        ("north", "Bergen"),
        ("north", "Oslo"),
        ("south", "Bari"),
        ("south", "Pisa"),
        ("south", "Rome"),
    ]
    assert [shard for shard, *_ in seen["sent"][:2]] == ["north", "south"]


@pytest.mark.filterwarnings("ignore:The ``:sqlalchemy.exc.SADeprecationWarning")
def test_older_choosers(sa: SimpleNamespace) -> None:
    made = world(
        sa,
        identity_chooser=None,
        execute_chooser=None,
        id_chooser=lambda query, identity: SHARDS,
        query_chooser=lambda statement: ["south"],
    )
    with made.make() as session:
        assert tokens(session.scalars(sql.select(made.City).order_by(made.City.id))) == [
            (((1,), "south"), "Rome"),
            (((2,), "south"), "Bari"),
            (((3,), "south"), "Pisa"),
        ]
        assert session.get(made.City, 1).name == "Rome"


def test_what_is_required(sa: SimpleNamespace) -> None:
    sharded = sa.horizontal_shard.ShardedSession
    with pytest.raises(sql.exc.ArgumentError, match="identity_chooser or id_chooser is required"):
        sharded(lambda *args: "north")
    with pytest.raises(sql.exc.ArgumentError, match="execute_chooser or query_chooser is required"):
        sharded(lambda *args: "north", lambda *args, **kw: SHARDS)


def test_our_own_options(ours: SimpleNamespace) -> None:
    """Peers are of one shard; a plan and a read-only session need no choosers."""
    made = world(ours)
    with made.make(on_lazy="batch", on_expired="batch") as session:
        cities = session.scalars(sql.select(made.City).order_by(made.City.id)).all()
        assert [len(city.reports) for city in cities] == [4, 6, 4, 4, 4]
        session.commit()
        assert [city.name for city in cities] == ["Oslo", "Bergen", "Rome", "Bari", "Pisa"]
        session.add(made.City(region="south", name="Naples"))
        cities[0].name = "Christiania"
        assert len(session.plan().steps) == 2
        session.commit()
        assert cities[0].name == "Christiania"
    with made.make(read_only=True) as session:
        assert len(session.scalars(sql.select(made.City)).all()) == 6
        with pytest.raises(sql.exc.InvalidRequestError):
            session.add(made.City(region="south", name="Naples"))
            session.flush()


def test_tokens_without_shards(sa: SimpleNamespace) -> None:
    """Each token has objects of its own, as many as there are: a version, say, of the same row."""
    made = world(sa)
    statement = sql.select(made.City).where(made.City.id == 1)
    with sa.orm.Session(made.engines["south"]) as session:
        plain = session.scalars(statement).one()
        seen = [
            session.scalars(statement, execution_options={"identity_token": token}).one()
            for token in [*range(150), "last", *range(150)]
        ]
        assert len({id(city) for city in seen}) == 151 and plain not in seen
        assert [sql.inspect(city).identity_token for city in seen] == [*range(150), "last", *range(150)]
        assert session.scalars(statement).one() is plain
        session.expire_all()
        assert [city.name for city in (plain, *seen)] == ["Rome"] * 302


def test_plain_sessions_know_nothing_of_it(ours: SimpleNamespace) -> None:
    made = world(ours)
    with ours.orm.Session(made.engines["south"]) as session:
        rome = session.get(made.City, 1)
        assert rome.name == "Rome" and sql.inspect(rome).identity_token is None
        assert [report.degrees for report in rome.reports] == [0, 1, 2, 3]
