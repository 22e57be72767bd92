"""What SQLAlchemy's tutorial and querying guide teach about SELECT, on a schema of our own: same rows, same SQL."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any

import pytest
from comparison import Comparison, Scenario
from sqlalchemy import String as SqlString
from sqlalchemy import (
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    lateral,
    literal,
    literal_column,
    not_,
    or_,
    select,
    text,
    tuple_,
    union,
    union_all,
)
from tutorial_models import make_database, make_models

BOTH = Comparison(make_models, make_database)
SECTIONS: dict[str, Scenario] = {}


def section(scenario: Scenario) -> Scenario:
    SECTIONS[scenario.__name__] = scenario
    return scenario


def plain(rows: Any) -> list[Any]:
    """Rows as tuples of plain values; objects by class and key."""

    def value(item: Any) -> Any:
        if hasattr(item, "_sa_instance_state"):
            return type(item).__name__, item.id
        return tuple(map(value, item)) if isinstance(item, tuple) else item

    return [tuple(map(value, row)) for row in rows]


@section
def entities_and_columns(m: Any, s: Any) -> Any:
    whole = s.execute(select(m.Sailor).order_by(m.Sailor.id)).all()
    columns = s.execute(select(m.Sailor.name, m.Sailor.fullname).order_by(m.Sailor.id)).all()
    mixed = s.execute(select(m.Sailor.name, m.Entry).join(m.Sailor.entries).order_by(m.Entry.id)).all()
    return plain(whole), plain(columns), plain(mixed), s.scalar(select(m.Sailor.name).where(m.Sailor.id == 3))


@section
def rows_by_name_and_position(m: Any, s: Any) -> Any:
    row = s.execute(select(m.Sailor, m.Entry).join(m.Sailor.entries).where(m.Entry.id == 2)).one()
    sailor, entry = row
    return row.Sailor is sailor, row.Entry is row[1], entry.title, row._fields, list(row._mapping)


@section
def labels_and_expressions(m: Any, s: Any) -> Any:
    shout = ("Ahoy " + m.Sailor.name).label("greeting")
    rows = s.execute(select(shout, literal_column("'x'").label("mark")).order_by(shout.desc())).all()
    rank = case((m.Sailor.fullname.is_(None), "unknown"), else_="known").label("rank")
    return plain(rows), rows[0].greeting, plain(s.execute(select(m.Sailor.id, rank).order_by(rank, m.Sailor.id)))


@section
def where_and_its_operators(m: Any, s: Any) -> Any:
    criteria = [
        and_(m.Sailor.name == "ada", m.Sailor.fullname.like("Ada%")),
        or_(m.Sailor.name.in_(["bo", "cy"]), m.Sailor.id > 3),
        not_(m.Sailor.fullname.is_not(None)),
        m.Sailor.id.between(2, 3),
        m.Sailor.name.startswith("d") | m.Sailor.name.endswith("a"),
        tuple_(m.Sailor.id, m.Sailor.name).in_([(1, "ada"), (2, "x")]),
        m.Sailor.name.in_(select(m.Entry.title)),
        m.Sailor.id.in_([]),
        cast(m.Sailor.id, SqlString) == "2",
        m.Sailor.name.regexp_match("^[ab]"),
    ]
    found = [[x.id for x in s.scalars(select(m.Sailor).where(c).order_by(m.Sailor.id))] for c in criteria[:-1]]
    return found, str(select(m.Sailor.id).where(criteria[-1]))


@section
def filter_by(m: Any, s: Any) -> Any:
    first = s.scalars(select(m.Sailor).filter_by(name="bo", fullname="Bo Bowsprit")).one()
    second = s.scalars(select(m.Sailor).join(m.Sailor.entries).filter_by(title="calm").order_by(m.Sailor.id)).all()
    return first.id, [x.id for x in second]


@section
def order_group_having_limit(m: Any, s: Any) -> Any:
    count = func.count(m.Entry.id).label("entries")
    grouped = select(m.Sailor.name, count).join(m.Sailor.entries).group_by(m.Sailor.name).having(count > 1)
    paged = select(m.Sailor).order_by(m.Sailor.name.desc().nulls_last()).limit(2).offset(1)
    distinct = select(m.Entry.title).distinct().order_by(m.Entry.title)
    by_label = select(m.Entry.title, count).group_by("title").order_by("title", count.desc())
    return (
        plain(s.execute(grouped)),
        [x.id for x in s.scalars(paged)],
        s.scalars(distinct).all(),
        plain(s.execute(by_label)),
    )


@section
def joins(m: Any, s: Any) -> Any:
    statements = [
        select(m.Sailor.name, m.Entry.title).join(m.Sailor.entries),
        select(m.Sailor.name, m.Entry.title).join(m.Entry),
        select(m.Sailor.name, m.Entry.title).join(m.Entry, m.Sailor.id == m.Entry.sailor_id),
        select(m.Sailor.name, m.Entry.title).join_from(m.Sailor, m.Entry),
        select(m.Sailor.name, m.Entry.title).select_from(m.Entry).join(m.Entry.sailor),
        select(m.Sailor.name, m.Entry.title).outerjoin(m.Sailor.entries),
        select(m.Sailor.name, m.Entry.title).outerjoin_from(m.Entry, m.Sailor),
        select(m.Sailor.name, m.Entry.title).join(m.Sailor.entries.and_(m.Entry.title == "calm")),
        select(m.Sailor.name, m.Port.name).join(m.Sailor.ports),
        select(m.Sailor.name, m.Port.name).select_from(m.Sailor).join(m.licences).join(m.Port),
        select(m.Sailor.name, m.Entry.title, m.Port.name).join(m.Sailor.entries).join(m.Sailor.ports),
        select(m.Sailor.name).join(m.Sailor.entries, isouter=True).where(m.Entry.id.is_(None)),
    ]
    return [sorted(plain(s.execute(statement)), key=repr) for statement in statements]


@section
def aliases(m: Any, s: Any) -> Any:
    one, two = m.orm.aliased(m.Entry), m.orm.aliased(m.Entry, name="second")
    twice = select(m.Sailor).join(m.Sailor.entries.of_type(one)).join(m.Sailor.entries.of_type(two))
    twice = twice.where(one.title == "calm", two.title == "storm")
    upper = m.orm.aliased(m.Port)
    tree = select(m.Port.name, upper.name).join(upper, m.Port.above_id == upper.id).order_by(m.Port.id)
    pairs = select(one, two).where(one.id < two.id, one.title == two.title)
    return [x.id for x in s.scalars(twice)], plain(s.execute(tree)), plain(s.execute(pairs))


@section
def subqueries_and_ctes(m: Any, s: Any) -> Any:
    counts = select(func.count().label("n"), m.Entry.sailor_id).group_by(m.Entry.sailor_id).subquery()
    joined = select(m.Sailor.name, counts.c.n).outerjoin(counts, counts.c.sailor_id == m.Sailor.id)
    cte = select(m.Entry).where(m.Entry.wind > 1).cte("windy")
    windy = m.orm.aliased(m.Entry, cte)
    narrowed = m.orm.aliased(m.Entry, select(m.Entry).where(m.Entry.title == "calm").subquery(), name="calm")
    named = m.orm.aliased(m.Sailor, select(m.Sailor.id, m.Sailor.name).subquery(), adapt_on_names=True)
    return (
        plain(s.execute(joined.order_by(m.Sailor.id))),
        plain(s.execute(select(m.Sailor, windy).join(windy, m.Sailor.id == windy.sailor_id).order_by(windy.id))),
        plain(s.execute(select(narrowed).order_by(narrowed.id))),
        plain(s.execute(select(named.name).order_by(named.id))),
    )


@section
def recursive_cte(m: Any, s: Any) -> Any:
    tree = (
        select(m.Port.id, m.Port.name, literal(0).label("depth")).where(m.Port.above_id.is_(None)).cte(recursive=True)
    )
    tree = tree.union_all(select(m.Port.id, m.Port.name, tree.c.depth + 1).join(tree, m.Port.above_id == tree.c.id))
    return plain(s.execute(select(tree.c.name, tree.c.depth).order_by(tree.c.depth, tree.c.id)))


@section
def scalar_and_correlated_subqueries(m: Any, s: Any) -> Any:
    count = select(func.count(m.Entry.id)).where(m.Entry.sailor_id == m.Sailor.id).scalar_subquery()
    other = m.orm.aliased(m.Sailor)
    explicit = select(func.max(m.Entry.wind)).where(m.Entry.sailor_id == other.id).correlate(other).scalar_subquery()
    return (
        plain(s.execute(select(m.Sailor.name, count.label("n")).order_by(m.Sailor.id))),
        plain(s.execute(select(other.name, explicit).order_by(other.id))),
        [x.id for x in s.scalars(select(m.Sailor).where(count > 0).order_by(count, m.Sailor.id))],
    )


@section
def lateral_joins_compile(m: Any, s: Any) -> Any:
    from sqlalchemy.dialects import postgresql

    newest = select(m.Entry).where(m.Entry.sailor_id == m.Sailor.id).order_by(m.Entry.id.desc()).limit(1)
    entry = m.orm.aliased(m.Entry, lateral(newest))
    statement = select(m.Sailor.name, entry.title).join(entry, literal(True))
    return str(statement.compile(dialect=postgresql.dialect()))


@section
def unions(m: Any, s: Any) -> Any:
    low, high = select(m.Sailor).where(m.Sailor.id < 3), select(m.Sailor).where(m.Sailor.id > 1)
    both = union_all(low, high).order_by("id")
    entity = m.orm.aliased(m.Sailor, union(low, high).subquery())
    titles = union(select(m.Sailor.name.label("word")), select(m.Entry.title))
    return (
        [x.id for x in s.scalars(select(m.Sailor).from_statement(both))],
        [x.id for x in s.scalars(select(entity).order_by(entity.id.desc()))],
        sorted(s.scalars(titles)),
        plain(s.execute(low.intersect(high).subquery().select())),
    )


@section
def exists_any_has_contains(m: Any, s: Any) -> Any:
    entry, port = s.get(m.Entry, 3), s.get(m.Port, 3)
    statements = [
        select(m.Sailor).where(exists().where(m.Entry.sailor_id == m.Sailor.id)),
        select(m.Sailor).where(~select(m.Entry.id).where(m.Entry.sailor_id == m.Sailor.id).exists()),
        select(m.Sailor).where(m.Sailor.entries.any(m.Entry.title == "storm")),
        select(m.Sailor).where(~m.Sailor.entries.any()),
        select(m.Entry).where(m.Entry.sailor.has(m.Sailor.name == "ada")),
        select(m.Sailor).where(m.Sailor.entries.contains(entry)),
        select(m.Sailor).where(m.Sailor.ports.contains(port)),
        select(m.Sailor).where(m.Sailor.ports.any(m.Port.name == "hull")),
        select(m.Entry).where(m.Entry.sailor == s.get(m.Sailor, 2)),
        select(m.Entry).where(m.Entry.sailor != s.get(m.Sailor, 2)),
        select(m.Entry).where(m.Entry.sailor == None),  # noqa: E711
        select(m.Entry).where(m.Entry.sailor != None),  # noqa: E711
        select(m.Entry).where(m.orm.with_parent(s.get(m.Sailor, 1), m.Sailor.entries)),
        select(m.Port).where(m.orm.with_parent(s.get(m.Sailor, 1), m.Sailor.ports)),
    ]
    return [sorted(x.id for x in s.scalars(statement)) for statement in statements]


@section
def bundles(m: Any, s: Any) -> Any:
    pair = m.orm.Bundle("who", m.Sailor.id, m.Sailor.name)
    alone = m.orm.Bundle("alone", m.Entry.title, single_entity=True)
    rows = s.execute(select(pair, m.Entry.title).join(m.Sailor.entries).order_by(m.Entry.id)).all()
    return [(row.who.id, row.who.name, row.title) for row in rows], [x.title for x in s.scalars(select(alone))]


@section
def textual_sql(m: Any, s: Any) -> Any:
    by_name = select(m.Sailor).from_statement(
        text("SELECT id, name, fullname FROM sailors WHERE id < :top ORDER BY id")
    )
    columns = text("SELECT name, id FROM sailors ORDER BY id").columns(m.Sailor.name, m.Sailor.id)
    sub = m.orm.aliased(m.Sailor, columns.subquery())
    return (
        [x.fullname for x in s.scalars(by_name, {"top": 3})],
        [(x.id, x.name) for x in s.scalars(select(m.Sailor).from_statement(columns))],
        [x.name for x in s.scalars(select(sub).where(sub.id > 2))],
        [x.id for x in s.scalars(select(m.Sailor).where(text("sailors.id > 2")).order_by(text("id DESC")))],
        s.execute(text("SELECT count(*) FROM entries")).scalar(),
    )


@section
def parameters_and_locking(m: Any, s: Any) -> Any:
    from sqlalchemy.dialects import postgresql

    by_name = select(m.Sailor.id).where(m.Sailor.name == bindparam("name"))
    locked = select(m.Sailor).with_for_update(read=True, nowait=True, of=m.Sailor)
    skipping = select(m.Sailor).join(m.Sailor.entries).with_for_update(skip_locked=True, of=m.Entry)
    return (
        [s.scalar(by_name, {"name": name}) for name in ("ada", "dot")],
        str(locked.compile(dialect=postgresql.dialect())),
        str(skipping.compile(dialect=postgresql.dialect())),
        [x.id for x in s.scalars(select(m.Sailor).with_for_update().order_by(m.Sailor.id))],
    )


@section
def functions_and_windows(m: Any, s: Any) -> Any:
    number = func.row_number().over(partition_by=m.Entry.sailor_id, order_by=m.Entry.wind.desc()).label("number")
    total = func.sum(m.Entry.wind).filter(m.Entry.title != "calm")
    return (
        plain(s.execute(select(m.Entry.id, number).order_by(m.Entry.id))),
        s.scalar(select(total)),
        s.scalar(select(func.coalesce(m.Sailor.fullname, "?")).where(m.Sailor.id == 3)),
        plain(s.execute(select(func.lower(m.Sailor.fullname), func.count()).group_by(func.lower(m.Sailor.fullname)))),
    )


@section
def inheritance_joined(m: Any, s: Any) -> Any:
    every = s.scalars(select(m.Vessel).order_by(m.Vessel.id)).all()
    lazy = [getattr(x, "seats", None) for x in every]
    ferries = s.scalars(select(m.Ferry).where(m.Ferry.seats > 50)).all()
    poly = m.orm.with_polymorphic(m.Vessel, [m.Ferry, m.Trawler])
    both = select(poly).where(or_(poly.Ferry.seats > 50, poly.Trawler.catch == "cod")).order_by(poly.id)
    flat = m.orm.with_polymorphic(m.Vessel, "*", flat=True, aliased=True)
    statement = select(m.Fleet.name, flat.name).join(m.Fleet.vessels.of_type(flat)).order_by(flat.id)
    return (
        plain([(x,) for x in every]),
        lazy,
        [x.id for x in ferries],
        plain(s.execute(both)),
        plain(s.execute(statement)),
    )


@section
def inheritance_selectin_polymorphic(m: Any, s: Any) -> Any:
    option = m.orm.selectin_polymorphic(m.Vessel, [m.Ferry, m.Trawler])
    found = s.scalars(select(m.Vessel).options(option).order_by(m.Vessel.id)).all()
    seen = [(x.name, getattr(x, "seats", None), getattr(x, "catch", None)) for x in found]
    s.expunge_all()
    chained = m.orm.selectinload(m.Fleet.vessels).options(
        m.orm.selectin_polymorphic(m.Vessel, [m.Ferry]), m.orm.selectinload(m.Ferry.decks)
    )
    fleets = s.scalars(select(m.Fleet).options(chained).order_by(m.Fleet.id)).all()
    return seen, [[(x.name, [d.name for d in getattr(x, "decks", ())]) for x in f.vessels] for f in fleets]


@section
def inheritance_of_type(m: Any, s: Any) -> Any:
    joined = select(m.Fleet.name, m.Ferry.seats).join(m.Fleet.vessels.of_type(m.Ferry)).order_by(m.Ferry.id)
    having = select(m.Fleet.name).where(m.Fleet.vessels.of_type(m.Trawler).any(m.Trawler.catch == "cod"))
    eager = select(m.Fleet).options(m.orm.joinedload(m.Fleet.vessels.of_type(m.Ferry))).order_by(m.Fleet.id)
    return (
        plain(s.execute(joined)),
        s.scalars(having).all(),
        [[x.name for x in fleet.vessels] for fleet in s.scalars(eager).unique()],
    )


@section
def inheritance_single_table(m: Any, s: Any) -> Any:
    compass = m.orm.aliased(m.Compass)
    poly = m.orm.with_polymorphic(m.Instrument, [m.Compass, m.Barometer])
    return (
        plain(s.execute(select(m.Instrument).order_by(m.Instrument.id))),
        plain(s.execute(select(m.Compass))),
        plain(s.execute(select(compass.name, compass.deviation))),
        [getattr(x, "pressure", None) for x in s.scalars(select(poly).order_by(poly.id))],
        s.scalar(select(func.count()).select_from(m.Barometer)),
    )


@section
def results(m: Any, s: Any) -> Any:
    names = select(m.Sailor.name).order_by(m.Sailor.id)
    frozen = s.execute(select(m.Sailor).order_by(m.Sailor.id)).freeze()
    merged = m.orm.merge_frozen_result(s, select(m.Sailor), frozen, load=False)
    return (
        s.scalars(names).first(),
        s.execute(names).scalars().fetchmany(2),
        list(s.scalars(names).partitions(3)),
        s.execute(names.limit(1)).scalar_one(),
        s.execute(select(m.Sailor.id, m.Sailor.name).order_by(m.Sailor.id)).columns("name", 0).first()._asdict(),
        s.execute(select(m.Sailor.id, m.Sailor.name)).mappings().first()["name"],
        [x.id for x in merged().scalars()],
        s.scalars(names.where(m.Sailor.id > 90)).one_or_none(),
        [tuple(row) for row in s.execute(select(m.Entry.title).order_by(m.Entry.title)).unique()],
    )


@pytest.mark.parametrize("name", SECTIONS)
def test_section(name: str) -> None:
    BOTH.check(SECTIONS[name])


def test_query_is_the_same_as_select() -> None:
    def scenario(m: SimpleNamespace, s: Any) -> Any:
        query = s.query(m.Sailor, m.Entry).join(m.Sailor.entries).filter(m.Entry.wind > 0).order_by(m.Entry.id)
        return (
            plain(query.all()),
            query.count(),
            plain(query.with_entities(m.Entry.title)),
            s.query(query.exists()).scalar(),
            [x.id for x in s.query(m.Sailor).filter(m.Sailor.entries.any()).order_by(m.Sailor.id).slice(1, 3)],
            s.query(m.Sailor.name).distinct().order_by(m.Sailor.name.desc()).first().name,
            [x.id for x in s.query(m.Sailor).union(s.query(m.Sailor).filter_by(id=1)).order_by(m.Sailor.id)],
            s.query(func.count(m.Sailor.id)).scalar(),
            [x.id for x in s.query(m.Sailor).select_from(m.Entry).join(m.Entry.sailor).order_by(m.Entry.id)],
            [
                x.id
                for x in s.query(m.Sailor).options(m.orm.joinedload(m.Sailor.entries)).order_by(m.Sailor.id).limit(2)
            ],
        )

    BOTH.check(scenario)


def test_comparison_to_an_object_that_is_gone() -> None:
    def scenario(m: SimpleNamespace, s: Any) -> Any:
        statement = select(m.Entry.id).where(m.Entry.sailor == s.get(m.Sailor, 1)).order_by(m.Entry.id)
        gc.collect()
        return s.scalars(statement).all()

    assert BOTH.check(scenario) == [1, 2]
