"""The querying guide's chapters on loading, writing and options of executions: same results, same SQL."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from comparison import Comparison, Scenario, error_of
from sqlalchemy import delete, event, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from tutorial_models import make_database, make_models

BOTH = Comparison(make_models, make_database)
SECTIONS: dict[str, Scenario] = {}


def section(scenario: Scenario) -> Scenario:
    SECTIONS[scenario.__name__] = scenario
    return scenario


def shown(obj: Any) -> list[str]:
    """What is loaded of an object."""
    return sorted(key for key in obj.__dict__ if not key.startswith("_"))


def tree(sailors: Any) -> Any:
    return [(x.name, [(e.title, e.id) for e in x.entries]) for x in sailors]


# -- columns -----------------------------------------------------------------------------------------------------------


@section
def deferred_columns(m: Any, s: Any) -> Any:
    entry = s.scalars(select(m.Entry).where(m.Entry.id == 2)).one()
    before = shown(entry)
    return before, entry.body, shown(entry), entry.wind, shown(entry)


@section
def undefer_and_groups(m: Any, s: Any) -> Any:
    found = []
    for option in (m.orm.undefer(m.Entry.body), m.orm.undefer_group("conditions"), m.orm.undefer("*")):
        s.expunge_all()
        found.append(shown(s.scalars(select(m.Entry).where(m.Entry.id == 1).options(option)).one()))
    return found


@section
def load_only_and_defer(m: Any, s: Any) -> Any:
    found = []
    options = (
        m.orm.load_only(m.Sailor.name),
        m.orm.defer(m.Sailor.fullname),
        m.orm.defer("*"),
        m.orm.defaultload(m.Sailor.entries).load_only(m.Entry.title),
        m.orm.Load(m.Sailor).load_only(m.Sailor.fullname),
    )
    for option in options:
        s.expunge_all()
        sailor = s.scalars(select(m.Sailor).where(m.Sailor.id == 1).options(option)).one()
        found.append((shown(sailor), sailor.name, sailor.fullname, [shown(e) for e in sailor.entries]))
    return found


@section
def raiseload_of_columns(m: Any, s: Any) -> Any:
    option = m.orm.defer(m.Sailor.fullname, raiseload=True)
    sailor = s.scalars(select(m.Sailor).where(m.Sailor.id == 1).options(option)).one()
    only = m.orm.load_only(m.Entry.title, raiseload=True)
    entry = s.scalars(select(m.Entry).where(m.Entry.id == 1).options(only)).one()
    first = error_of(lambda: sailor.fullname), error_of(lambda: entry.sailor_id)
    again = s.scalars(select(m.Sailor).where(m.Sailor.id == 1).execution_options(populate_existing=True)).one()
    return first, again is sailor, sailor.fullname


@section
def options_on_several_entities(m: Any, s: Any) -> Any:
    statement = (
        select(m.Sailor, m.Entry)
        .join(m.Sailor.entries)
        .options(m.orm.load_only(m.Sailor.name), m.orm.Load(m.Entry).undefer(m.Entry.body))
        .order_by(m.Entry.id)
    )
    return [(shown(sailor), shown(entry)) for sailor, entry in s.execute(statement)]


@section
def expressions_as_attributes(m: Any, s: Any) -> Any:
    loud = m.orm.with_expression(m.Entry.loudness, m.Entry.wind * 2)
    found = s.scalars(select(m.Entry).options(loud).order_by(m.Entry.id)).all()
    seen = [entry.loudness for entry in found]
    s.expunge_all()
    return seen, [entry.loudness for entry in s.scalars(select(m.Entry))]


# -- relationships -----------------------------------------------------------------------------------------------------


def _strategy(name: str) -> None:
    def strategy(m: Any, s: Any) -> Any:
        load = getattr(m.orm, name)
        sailors = s.scalars(select(m.Sailor).options(load(m.Sailor.entries)).order_by(m.Sailor.id)).unique().all()
        before = [shown(x) for x in sailors]
        found = before, tree(sailors)
        s.expunge_all()
        deep = load(m.Port.sailors).options(load(m.Sailor.entries), load(m.Sailor.ports))
        ports = s.scalars(select(m.Port).options(deep).order_by(m.Port.id)).unique().all()
        second = [(p.name, tree(p.sailors), [[q.name for q in x.ports] for x in p.sailors]) for p in ports]
        s.expunge_all()
        upward = s.scalars(select(m.Entry).options(load(m.Entry.sailor)).order_by(m.Entry.id)).unique().all()
        return found, second, [(e.title, e.sailor and e.sailor.name) for e in upward]

    SECTIONS[name] = strategy


for _name in ("lazyload", "joinedload", "selectinload", "subqueryload", "immediateload"):
    _strategy(_name)


@section
def joined_details(m: Any, s: Any) -> Any:
    inner = select(m.Entry).options(m.orm.joinedload(m.Entry.sailor, innerjoin=True)).order_by(m.Entry.id)
    limited = select(m.Sailor).options(m.orm.joinedload(m.Sailor.entries)).order_by(m.Sailor.name.desc()).limit(2)
    nested = m.orm.joinedload(m.Port.sailors).joinedload(m.Sailor.entries, innerjoin=True)
    return (
        [entry.title for entry in s.scalars(inner)],
        tree(s.scalars(limited).unique()),
        [len(port.sailors) for port in s.scalars(select(m.Port).options(nested).order_by(m.Port.id)).unique()],
        error_of(lambda: s.scalars(limited).all()),
    )


@section
def contains_eager(m: Any, s: Any) -> Any:
    option = m.orm.contains_eager(m.Sailor.entries)
    plain = select(m.Sailor).join(m.Sailor.entries).where(m.Entry.title == "calm").options(option).order_by(m.Sailor.id)
    found = tree(s.scalars(plain.execution_options(populate_existing=True)).unique())
    s.expunge_all()
    other = m.orm.aliased(m.Entry)
    statement = select(m.Sailor).outerjoin(m.Sailor.entries.of_type(other))
    statement = statement.options(m.orm.contains_eager(m.Sailor.entries.of_type(other))).order_by(m.Sailor.id, other.id)
    aliased = tree(s.scalars(statement).unique())
    s.expunge_all()
    chained = (
        select(m.Port)
        .join(m.Port.sailors)
        .join(m.Sailor.entries)
        .options(m.orm.contains_eager(m.Port.sailors).contains_eager(m.Sailor.entries))
        .order_by(m.Port.id, m.Sailor.id, m.Entry.id)
    )
    return found, aliased, [(port.name, tree(port.sailors)) for port in s.scalars(chained).unique()]


@section
def recursive_selectin(m: Any, s: Any) -> Any:
    def shape(port: Any) -> Any:
        return port.name, [shape(p) for p in port.__dict__.get("below", ())]

    found = []
    for depth in (1, 2, -1):
        s.expunge_all()
        option = m.orm.selectinload(m.Port.below, recursion_depth=depth)
        found.append(shape(s.scalars(select(m.Port).where(m.Port.id == 1).options(option)).one()))
    return found


@section
def raising(m: Any, s: Any) -> Any:
    sailor = s.scalars(select(m.Sailor).where(m.Sailor.id == 1).options(m.orm.raiseload(m.Sailor.entries))).one()
    first = error_of(lambda: sailor.entries)
    s.expunge_all()
    wild = select(m.Entry).options(m.orm.joinedload(m.Entry.sailor), m.orm.raiseload("*")).where(m.Entry.id == 1)
    entry = s.scalars(wild).one()
    second = entry.sailor.name, error_of(lambda: entry.sailor.entries)
    s.expunge_all()
    on_sql = select(m.Entry).options(m.orm.raiseload(m.Entry.sailor, sql_only=True)).order_by(m.Entry.id)
    held = s.get(m.Sailor, 1)
    entries = s.scalars(on_sql).all()
    return first, second, entries[0].sailor is held, error_of(lambda: entries[2].sailor)


@section
def wildcards_and_defaultload(m: Any, s: Any) -> Any:
    everything = s.scalars(select(m.Sailor).options(m.orm.selectinload("*")).order_by(m.Sailor.id)).all()
    seen = [shown(x) for x in everything]
    s.expunge_all()
    option = m.orm.defaultload(m.Sailor.entries).undefer(m.Entry.body)
    sailor = s.scalars(select(m.Sailor).where(m.Sailor.id == 1).options(option)).one()
    later = [shown(entry) for entry in sailor.entries]
    s.expunge_all()
    several = m.orm.Load(m.Sailor).options(m.orm.selectinload(m.Sailor.ports), m.orm.joinedload(m.Sailor.entries))
    return seen, later, [shown(x) for x in s.scalars(select(m.Sailor).options(several)).unique()]


@section
def criteria_on_relationships(m: Any, s: Any) -> Any:
    found = []
    for load in (m.orm.selectinload, m.orm.joinedload, m.orm.subqueryload, m.orm.lazyload):
        s.expunge_all()
        option = load(m.Sailor.entries.and_(m.Entry.title != "calm"))
        found.append(tree(s.scalars(select(m.Sailor).options(option).order_by(m.Sailor.id)).unique()))
    return found


@section
def criteria_everywhere(m: Any, s: Any) -> Any:
    option = m.orm.with_loader_criteria(m.Entry, m.Entry.title != "calm")
    sailors = s.scalars(select(m.Sailor).options(option).order_by(m.Sailor.id)).all()
    first = tree(sailors)
    s.expunge_all()
    by_lambda = m.orm.with_loader_criteria(m.Entry, lambda cls: cls.title == "calm", include_aliases=True)
    other = m.orm.aliased(m.Entry)
    return first, s.scalars(select(other.id).options(by_lambda).order_by(other.id)).all()


@section
def noload_leaves_empty(m: Any, s: Any) -> Any:
    option = m.orm.noload(m.Sailor.entries)
    return tree(s.scalars(select(m.Sailor).options(option).order_by(m.Sailor.id)))


# -- writing -----------------------------------------------------------------------------------------------------------


@section
def inserting(m: Any, s: Any) -> Any:
    s.execute(insert(m.Sailor), [{"name": "eve", "fullname": "Eve Ebb"}, {"name": "flo"}])
    returned = s.scalars(
        insert(m.Sailor).returning(m.Sailor, sort_by_parameter_order=True), [{"name": "gus"}, {"name": "hal"}]
    ).all()
    columns = s.execute(insert(m.Sailor).values(name=func.upper("ida")).returning(m.Sailor.id, m.Sailor.name)).all()
    from_select = insert(m.Port).from_select(["name"], select(m.Sailor.name).where(m.Sailor.id < 3))
    s.execute(from_select)
    return (
        [(x.id, x.name, x in s) for x in returned],
        [tuple(row) for row in columns],
        s.execute(select(m.Port.name).order_by(m.Port.id)).scalars().all(),
    )


@section
def inserting_subclasses(m: Any, s: Any) -> Any:
    s.execute(insert(m.Ferry), [{"name": "Eos", "seats": 9}, {"name": "Flora", "seats": 8}])
    return [(x.kind, x.name, x.seats) for x in s.scalars(select(m.Ferry).order_by(m.Ferry.id))]


@section
def upserting(m: Any, s: Any) -> Any:
    held = s.get(m.Sailor, 1)
    statement = upsert(m.Sailor).values([{"id": 1, "name": "ada!"}, {"id": 20, "name": "new"}])
    statement = statement.on_conflict_do_update(index_elements=[m.Sailor.id], set_={"name": statement.excluded.name})
    found = s.scalars(statement.returning(m.Sailor), execution_options={"populate_existing": True}).all()
    return sorted((x.id, x.name) for x in found), held in found, held.name


@section
def updating(m: Any, s: Any) -> Any:
    ada, bo = s.get(m.Sailor, 1), s.get(m.Sailor, 2)
    counts = [
        s.execute(update(m.Sailor).where(m.Sailor.name == "ada").values(fullname="A")).rowcount,
        s.execute(
            update(m.Sailor).values(fullname=m.Sailor.name + "?"), execution_options={"synchronize_session": "fetch"}
        ).rowcount,
    ]
    seen = ada.fullname, bo.fullname
    returned = s.execute(update(m.Sailor).where(m.Sailor.id < 3).values(name="x").returning(m.Sailor.id)).all()
    s.execute(update(m.Sailor), [{"id": 1, "fullname": "bulk"}, {"id": 2, "fullname": "rows"}])
    return counts, seen, sorted(map(tuple, returned)), ada.name, ada.fullname, bo.fullname


@section
def updating_with_subqueries(m: Any, s: Any) -> Any:
    newest = select(func.max(m.Entry.title)).where(m.Entry.sailor_id == m.Sailor.id).scalar_subquery()
    s.execute(update(m.Sailor).values(fullname=newest), execution_options={"synchronize_session": False})
    return s.execute(select(m.Sailor.id, m.Sailor.fullname).order_by(m.Sailor.id)).mappings().all()


@section
def deleting(m: Any, s: Any) -> Any:
    entries = s.scalars(select(m.Entry).order_by(m.Entry.id)).all()
    first = s.execute(delete(m.Entry).where(m.Entry.sailor_id == 1)).rowcount
    second = s.execute(delete(m.Entry).where(m.Entry.id == 3).returning(m.Entry.id)).all()
    held = [entry in s for entry in entries]
    s.rollback()
    return first, [tuple(row) for row in second], held, [entry in s for entry in entries]


# -- options of executions ---------------------------------------------------------------------------------------------


@section
def execution_options(m: Any, s: Any) -> Any:
    ada = s.get(m.Sailor, 1)
    ada.name = "changed"
    quiet = s.scalars(select(m.Sailor.name).where(m.Sailor.id == 1), execution_options={"autoflush": False}).one()
    with s.no_autoflush:
        fresh = select(m.Sailor).where(m.Sailor.id == 1).execution_options(populate_existing=True)
        again = s.scalars(fresh).one()
    return quiet, again is ada, ada.name


@section
def streaming(m: Any, s: Any) -> Any:
    statement = select(m.Sailor).order_by(m.Sailor.id).execution_options(yield_per=3)
    parts = [[x.id for x in part] for part in s.scalars(statement).partitions()]
    with_children = statement.options(m.orm.selectinload(m.Sailor.entries))
    return (
        parts,
        tree(s.scalars(with_children)),
        [x.id for x in s.execute(select(m.Sailor), execution_options={"stream_results": True}).scalars()],
        [x.id for x in s.query(m.Sailor).order_by(m.Sailor.id).yield_per(2)],
        error_of(lambda: s.scalars(statement.options(m.orm.joinedload(m.Sailor.entries))).unique().all()),
    )


@section
def execute_hooks(m: Any, s: Any) -> Any:
    seen = []

    def only_white(state: Any) -> None:
        seen.append((state.is_select, state.is_relationship_load, state.is_column_load, state.is_orm_statement))
        if state.is_select and not state.is_column_load and not state.is_relationship_load:
            state.statement = state.statement.options(m.orm.with_loader_criteria(m.Fleet, m.Fleet.name == "white"))

    event.listen(s, "do_orm_execute", only_white)
    fleets = s.scalars(select(m.Fleet)).all()
    return [(f.name, [v.name for v in f.vessels]) for f in fleets], s.scalar(select(func.count(m.Fleet.id))), seen


@section
def cached_by_a_hook(m: Any, s: Any) -> Any:
    kept: dict[str, Any] = {}

    def from_cache(state: Any) -> Any:
        if "key" not in state.execution_options:
            return None
        key = state.execution_options["key"]
        if key not in kept:
            kept[key] = state.invoke_statement().freeze()
        return m.orm.loading.merge_frozen_result(s, state.statement, kept[key], load=False)()

    event.listen(s, "do_orm_execute", from_cache)
    statement = select(m.Sailor).order_by(m.Sailor.id)
    found = [[x.name for x in s.scalars(statement, execution_options={"key": "all"})] for _ in range(3)]
    return found, len(kept)


@pytest.mark.parametrize("name", SECTIONS)
def test_section(name: str) -> None:
    BOTH.check(SECTIONS[name])


def test_every_strategy_finds_the_same() -> None:
    def scenario(m: SimpleNamespace, s: Any) -> Any:
        found = []
        for name in ("lazyload", "joinedload", "selectinload", "subqueryload", "immediateload"):
            s.expunge_all()
            option = getattr(m.orm, name)(m.Sailor.entries)
            found.append(tree(s.scalars(select(m.Sailor).options(option).order_by(m.Sailor.id)).unique()))
        return found

    found = BOTH.check(scenario)
    assert all(one == found[0] for one in found)
