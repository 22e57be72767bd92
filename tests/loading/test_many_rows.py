"""Results of many rows: several blocks of the driver's rows, children of many parents, errors and SQL in between."""

from __future__ import annotations

import gc
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from comparison import Comparison, error_of
from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, Integer, String, create_engine, event, select, text

PARENTS = 150


def make_models(orm: ModuleType) -> SimpleNamespace:
    base: Any = orm.declarative_base()

    class Parent(base):
        __tablename__ = "parents"
        id = Column(Integer, primary_key=True)
        name = Column(String(20))
        children = orm.relationship("Child", back_populates="parent", order_by="Child.id")
        notes = orm.relationship("Note", order_by="Note.id")
        by_name = orm.relationship(
            "Child", viewonly=True, collection_class=orm.attribute_keyed_dict("name"), order_by="Child.id"
        )

    class Child(base):
        __tablename__ = "children"
        id = Column(Integer, primary_key=True)
        parent_id = Column(ForeignKey("parents.id"))
        name = Column(String(20))
        parent = orm.relationship("Parent", back_populates="children")

    class Note(base):
        __tablename__ = "notes"
        id = Column(Integer, primary_key=True)
        parent_id = Column(ForeignKey("parents.id"))

    class Place(base):
        __tablename__ = "places"
        row = Column(Integer, primary_key=True)
        seat = Column(Integer, primary_key=True)
        guests = orm.relationship("Guest", order_by="Guest.id")

    class Guest(base):
        __tablename__ = "guests"
        id = Column(Integer, primary_key=True)
        row = Column(Integer)
        seat = Column(Integer)
        __table_args__ = (ForeignKeyConstraint(["row", "seat"], ["places.row", "places.seat"]),)

    orm.configure_mappers()
    return SimpleNamespace(orm=orm, Base=base, Parent=Parent, Child=Child, Note=Note, Place=Place, Guest=Guest)


def make_database(m: SimpleNamespace) -> Any:
    engine = create_engine("sqlite://")
    m.Base.metadata.create_all(engine)
    rows: dict[str, list[dict[str, Any]]] = {
        "parents": [{"id": i, "name": f"p{i}"} for i in range(1, PARENTS + 1)],
        # interleaved: the children of a parent do not follow each other; every third parent has none
        "children": [
            {"id": i, "parent_id": parent, "name": f"c{i}"}
            for i in range(1, 4 * PARENTS)
            if (parent := i % PARENTS + 1) % 3
        ],
        "notes": [{"id": i, "parent_id": 1 + i % 2} for i in range(1, 25)],
        "places": [{"row": row, "seat": seat} for row in range(10) for seat in range(10)],
        "guests": [{"id": i, "row": i % 7, "seat": i % 10} for i in range(1, 200)],
    }
    with engine.begin() as connection:
        for name, values in rows.items():
            connection.execute(m.Base.metadata.tables[name].insert(), values)
    return engine


BOTH = Comparison(make_models, make_database)


def families(parents: Any) -> list[Any]:
    return [(p.id, p.name, [(c.id, c.name) for c in p.children]) for p in parents]


@pytest.mark.parametrize("option", ["selectinload", "joinedload", "subqueryload", "immediateload"])
def test_children_of_many_parents(option: str) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        load = getattr(m.orm, option)
        statement = select(m.Parent).options(load(m.Parent.children)).order_by(m.Parent.name)
        first = families(session.scalars(statement).unique())
        # once more, over objects that are there: some changed, some expired, some gone
        kept = session.scalars(select(m.Parent).where(m.Parent.id < 20)).all()
        kept[0].children.append(m.Child(id=5000))
        session.expire(kept[1])
        session.expunge(kept[4])
        return first, families(session.scalars(statement).unique()), families(p for p in kept if p in session)

    BOTH.check(scenario)


def test_two_collections_joined() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        joined = m.orm.joinedload
        statement = select(m.Parent).options(joined(m.Parent.children), joined(m.Parent.notes)).order_by(m.Parent.id)
        parents = session.scalars(statement).unique().all()
        return [([c.id for c in p.children], [n.id for n in p.notes]) for p in parents]

    BOTH.check(scenario)


def test_back_to_the_same_collection() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        joined, parent = m.orm.joinedload, m.Parent
        path = joined(parent.children).joinedload(m.Child.parent).joinedload(parent.children)
        statement = select(parent).options(path).where(parent.id < 30).order_by(parent.id)
        return families(session.scalars(statement).unique())

    BOTH.check(scenario)


def test_composite_keys() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        statement = select(m.Place).options(m.orm.selectinload(m.Place.guests))
        return [(p.row, p.seat, [guest.id for guest in p.guests]) for p in session.scalars(statement)]

    BOTH.check(scenario)


def test_collections_of_other_classes() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        outcomes = []
        for option in (m.orm.joinedload, m.orm.selectinload):
            statement = select(m.Parent).options(option(m.Parent.by_name))
            found = session.scalars(statement).unique().all()
            outcomes.append([(p.id, list(p.by_name)) for p in found])
            session.expunge_all()
        return outcomes

    BOTH.check(scenario)


@pytest.mark.parametrize("option", [None, "selectinload", "joinedload"])
def test_a_row_that_cannot_be_read(option: str | None) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        session.execute(text("UPDATE children SET name = CAST(X'ff' AS TEXT) WHERE id = 199"))
        statement = select(m.Child).order_by(m.Child.id)
        if option is not None:
            statement = select(m.Parent).options(getattr(m.orm, option)(m.Parent.children))
        kept = session.scalars(select(m.Child).where(m.Child.id < 4)).all()
        # ours name the statement, too
        outcomes = [error_of(lambda: session.scalars(statement).unique().all())[1].split("\n")[0] for _ in range(2)]
        session.execute(text("UPDATE children SET name = 'mended' WHERE id = 199"))
        found = session.scalars(statement).unique().all()
        return outcomes, len(found), [child.name for child in kept]

    BOTH.check(scenario)


def test_listeners_that_use_the_connection() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        seen = []

        def loaded(child: Any, context: Any) -> None:
            if child.id % 100 == 0:
                seen.append(session.execute(text("SELECT count(*) FROM notes")).scalar())
                session.execute(text("UPDATE children SET name = 'x' WHERE id > 300"))

        event.listen(m.Child, "load", loaded)
        try:
            children = session.scalars(select(m.Child).order_by(m.Child.id)).all()
        finally:
            event.remove(m.Child, "load", loaded)
        return seen, [child.name for child in children]

    BOTH.check(scenario)


def test_columns() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        statement = select(m.Child.id, m.Child.name).order_by(m.Child.id)
        rows = session.execute(statement).all()
        return (
            [(type(row).__name__, tuple(row), row.name, row._mapping["id"]) for row in rows],
            [tuple(row) for row in session.execute(statement)],
            [dict(row) for row in session.execute(statement).mappings()],
            session.scalars(statement).all(),
        )

    BOTH.check(scenario)


def test_the_collector_passes_by_objects_with_plain_options() -> None:
    orm, m = BOTH.models["rustalchemy.orm"].orm, BOTH.models["rustalchemy.orm"]
    with orm.Session(make_database(m)) as session:
        plain = session.scalars(select(m.Child).options(orm.selectinload(m.Child.parent), orm.raiseload("*"))).all()
        plain = session.scalars(select(m.Note).options(orm.Load(m.Note).load_only(m.Note.parent_id))).all()
        assert not any(map(gc.is_tracked, plain))
        session.expunge_all()
        parent = m.Parent
        option = orm.defaultload(parent.children.and_(m.Child.id > 5))
        (held,) = session.scalars(select(parent).options(option).where(parent.id == 1))
        assert gc.is_tracked(held)
