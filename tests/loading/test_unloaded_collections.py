"""Collections that are never in memory, ``lazy="dynamic"`` and ``"write_only"``: reads, changes, flush, cascades."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from comparison import Comparison, error_of
from sqlalchemy import Column, ForeignKey, Integer, String, Table, create_engine, inspect, select


def make_models(lazy: str, **options: Any) -> Callable[[ModuleType], SimpleNamespace]:
    def make(orm: ModuleType) -> SimpleNamespace:
        base: Any = orm.declarative_base()
        crate_tags = Table(
            "crate_tags",
            base.metadata,
            Column("crate_id", ForeignKey("crates.id"), primary_key=True),
            Column("tag_id", ForeignKey("tags.id"), primary_key=True),
        )

        class Crate(base):
            __tablename__ = "crates"
            id = Column(Integer, primary_key=True)
            name = Column(String(20))
            parts = orm.relationship("Part", lazy=lazy, back_populates="crate", order_by="Part.id", **options)
            tags = orm.relationship("Tag", secondary=crate_tags, lazy=lazy, back_populates="crates", order_by="Tag.id")

        class Part(base):
            __tablename__ = "parts"
            id = Column(Integer, primary_key=True)
            crate_id = Column(ForeignKey("crates.id"))
            name = Column(String(20))
            crate = orm.relationship("Crate", back_populates="parts")

        class Tag(base):
            __tablename__ = "tags"
            id = Column(Integer, primary_key=True)
            label = Column(String(20))
            crates = orm.relationship("Crate", secondary=crate_tags, back_populates="tags", order_by="Crate.id")

        orm.configure_mappers()
        return SimpleNamespace(orm=orm, Base=base, Crate=Crate, Part=Part, Tag=Tag)

    return make


def make_database(m: SimpleNamespace) -> Any:
    engine = create_engine("sqlite://")
    m.Base.metadata.create_all(engine)
    rows = {
        "crates": [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}],
        "parts": [
            {"id": 1, "crate_id": 1, "name": "bolt"},
            {"id": 2, "crate_id": 1, "name": "nut"},
            {"id": 3, "crate_id": 2, "name": "gear"},
        ],
        "tags": [{"id": 1, "label": "heavy"}, {"id": 2, "label": "fragile"}],
        "crate_tags": [{"crate_id": 1, "tag_id": 1}],
    }
    with engine.begin() as connection:
        for name, values in rows.items():
            connection.execute(m.Base.metadata.tables[name].insert(), values)
    return engine


DYNAMIC = Comparison(make_models("dynamic"), make_database)
WRITE_ONLY = Comparison(make_models("write_only"), make_database)
OWNED = Comparison(make_models("write_only", cascade="all, delete-orphan", passive_deletes=True), make_database)
OWNED_DYNAMIC = Comparison(make_models("dynamic", cascade="all, delete-orphan"), make_database)
BOTH = pytest.mark.parametrize("kind", [DYNAMIC, WRITE_ONLY], ids=["dynamic", "write_only"])


def names(parts: Any) -> list[str]:
    return [part.name for part in parts]


def rows(m: SimpleNamespace, session: Any) -> Any:
    return [(p.id, p.crate_id, p.name) for p in session.execute(select(m.Part.__table__).order_by(m.Part.id))]


def history(obj: Any, key: str, passive: str = "history") -> Any:
    found = getattr(inspect(obj).attrs[key], passive)
    found = found() if callable(found) else found
    return [names(part or ()) for part in found]


def test_a_dynamic_collection_is_a_query() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        crate = session.get(m.Crate, 1)
        parts = crate.parts
        return (
            names(parts),
            names(parts.filter(m.Part.name == "nut")),
            parts.count(),
            parts[0].name,
            names(parts[0:2]),
            parts.filter_by(name="bolt").one().id,
            isinstance(parts, m.orm.AppenderQuery),
            isinstance(parts, m.orm.Query),
            names(crate.tags.join(m.Tag.crates).filter(m.Crate.id == 2)),
        )

    assert DYNAMIC.check(scenario)[2] == 2


def test_a_write_only_collection_makes_statements() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        crate = session.get(m.Crate, 1)
        parts = crate.parts
        found = names(session.scalars(parts.select()))
        more = session.scalars(parts.insert().returning(m.Part), [{"name": "pin"}, {"name": "cog"}]).all()
        session.execute(parts.update().where(m.Part.name == "nut").values(name="wing nut"))
        session.execute(parts.delete().where(m.Part.name == "bolt"))
        return (
            found,
            [(part.name, part.crate_id) for part in more],
            names(session.scalars(parts.select())),
            isinstance(parts, m.orm.WriteOnlyCollection),
            error_of(lambda: list(parts)),
            error_of(lambda: crate.tags.insert()),
            [tag.label for tag in session.scalars(crate.tags.select())],
        )

    assert WRITE_ONLY.check(scenario)[2] == ["wing nut", "pin", "cog"]


@BOTH
def test_changes_reach_the_database(kind: Comparison) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        crate = session.get(m.Crate, 1)
        new, nut = m.Part(name="pin"), session.get(m.Part, 2)
        crate.parts.add(new)
        crate.parts.add(new)
        crate.parts.add_all([m.Part(name="cog"), m.Part(name="cam")])
        crate.parts.remove(nut)
        crate.tags.add(session.get(m.Tag, 2))
        crate.tags.remove(session.get(m.Tag, 1))
        in_session = new in session
        session.flush()
        tags = session.execute(select(m.Base.metadata.tables["crate_tags"])).all()
        return in_session, nut.crate, new.crate is crate, rows(m, session), [tuple(row) for row in tags]

    assert kind.check(scenario)[4] == [(1, 2)]


@BOTH
def test_the_other_side_records_changes_without_loading(kind: Comparison) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        red, blue = session.get(m.Crate, 1), session.get(m.Crate, 2)
        gear = session.get(m.Part, 3)
        gear.crate = red
        seen = history(red, "parts"), history(blue, "parts")
        session.flush()
        return seen, history(red, "parts"), rows(m, session)

    kind.check(scenario)


@BOTH
def test_history_of_new_and_old_owners(kind: Comparison) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        new = m.Crate(name="new", parts=[m.Part(name="a"), m.Part(name="b")])
        transient = history(new, "parts"), history(new, "parts", "load_history"), "parts" in new.__dict__
        session.add(new)
        pending = len(session.new), history(new, "parts")
        session.flush()
        flushed = history(new, "parts")
        first = m.Part(name="c")
        new.parts.add(first)
        new.parts.remove(first)
        return transient, pending, flushed, history(new, "parts"), session.is_modified(new), new in session.dirty

    kind.check(scenario)


def test_a_dynamic_collection_is_replaced_by_difference() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        crate = session.get(m.Crate, 1)
        nut = session.get(m.Part, 2)
        crate.parts = [nut, m.Part(name="pin")]
        changed = history(crate, "parts", "load_history"), m.orm.attributes.get_history(crate, "parts")[0][0].name
        session.flush()
        return changed, rows(m, session)

    DYNAMIC.check(scenario)


def test_a_write_only_collection_is_not_replaced() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        crate = session.get(m.Crate, 1)
        return (
            error_of(lambda: setattr(crate, "parts", [])),
            error_of(lambda: m.orm.attributes.get_history(crate, "parts")),
            error_of(lambda: delattr(crate, "parts")),
            error_of(lambda: m.orm.attributes.set_committed_value(crate, "parts", [])),
            error_of(lambda: crate.parts.add("no object")),
        )

    WRITE_ONLY.check(scenario)


@BOTH
def test_owners_without_rows_or_sessions(kind: Comparison) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        new = m.Crate(name="new")
        new.parts.add(m.Part(name="a"))
        seen = []
        if hasattr(new.parts, "count"):
            seen += [names(new.parts), new.parts.count(), new.parts[0].name, names(new.parts[0:1])]
            crate = session.get(m.Crate, 1)
            session.expunge(crate)
            seen += [names(crate.parts), crate.parts.count()]
            seen.append(error_of(lambda: crate.parts.filter_by(name="bolt")))
        return seen

    kind.check(scenario)


@BOTH
def test_deleting_the_owner(kind: Comparison) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        crate = session.get(m.Crate, 1)
        session.delete(crate)
        try:
            session.flush()
        except Exception as error:
            return type(error).__name__, str(error)
        return rows(m, session)

    kind.check(scenario)


@pytest.mark.parametrize("kind", [OWNED, OWNED_DYNAMIC], ids=["write_only", "dynamic"])
def test_orphans_and_delete_cascade(kind: Comparison) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        crate, nut = session.get(m.Crate, 1), session.get(m.Part, 2)
        crate.parts.remove(nut)
        pin = m.Part(name="pin")
        crate.parts.add(pin)
        crate.parts.remove(pin)
        left = pin in session
        session.flush()
        after_removal = rows(m, session)
        crate.tags.remove(session.get(m.Tag, 1))
        session.delete(crate)
        try:
            session.flush()
        except Exception as error:
            return left, after_removal, type(error).__name__, str(error)
        return left, after_removal, rows(m, session)

    kind.check(scenario)


@BOTH
def test_rollback_forgets_recorded_changes(kind: Comparison) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        crate = session.get(m.Crate, 1)
        crate.parts.add(m.Part(name="pin"))
        session.flush()
        crate.parts.add(m.Part(name="cog"))
        session.rollback()
        return history(crate, "parts"), rows(m, session), len(session.new)

    kind.check(scenario)


@BOTH
def test_options_refuse_to_fill_them(kind: Comparison) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        loads = (m.orm.joinedload, m.orm.selectinload, m.orm.subqueryload)
        statements = [select(m.Crate).options(load(m.Crate.parts)) for load in loads]
        return [error_of(partial(session.scalars, statement)) for statement in statements]

    kind.check(scenario)


@BOTH
def test_merge_of_an_owner(kind: Comparison) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        plain = session.merge(m.Crate(id=1, name="painted"))
        new = session.merge(m.Crate(id=9, name="new", parts=[m.Part(name="a")]))
        session.flush()
        seen = plain.name, rows(m, session), new.id
        try:
            session.merge(m.Crate(id=2, parts=[m.Part(id=1, name="bolt")]))
            session.flush()
        except Exception as error:
            return seen, type(error).__name__, str(error)
        return seen, rows(m, session)

    kind.check(scenario)


def test_many_recorded_members_cost_the_same_each() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        crate = session.get(m.Crate, 2)
        parts = [m.Part(name=str(number)) for number in range(40)]
        crate.parts.add_all(parts)
        for part in parts[::2]:
            crate.parts.remove(part)
        crate.parts.add_all(parts[:10])
        return history(crate, "parts")

    WRITE_ONLY.check(scenario)


def test_user_query_class() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        class Named(m.orm.Query):
            def named(self, name: str) -> Any:
                return self.filter_by(name=name)

        base: Any = m.orm.declarative_base()

        class Part(base):
            __tablename__ = "parts"
            id = Column(Integer, primary_key=True)
            name = Column(String)
            crate_id = Column(ForeignKey("crates.id"))

        class Crate(base):
            __tablename__ = "crates"
            id = Column(Integer, primary_key=True)
            parts = m.orm.relationship(Part, lazy="dynamic", query_class=Named)

        parts = session.get(Crate, 1).parts
        return type(parts).__name__, type(parts.filter_by()).__name__, [part.id for part in parts.named("nut")]

    assert DYNAMIC.check(scenario) == ("AppenderNamed", "Named", [2])


def test_annotations_choose_the_strategy() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        class Base(m.orm.DeclarativeBase):
            pass

        class Leaf(Base):
            __tablename__ = "leaf"
            id = m.orm.mapped_column(Integer, primary_key=True)
            root_id = m.orm.mapped_column(ForeignKey("root.id"))

        namespace = {
            "__tablename__": "root",
            "__annotations__": {"w": m.orm.WriteOnlyMapped["Leaf"], "d": m.orm.DynamicMapped["Leaf"]},
            "__module__": __name__,
            "id": m.orm.mapped_column(Integer, primary_key=True),
            "w": m.orm.relationship(),
            "d": m.orm.relationship(viewonly=True),
        }
        root = type("Root", (Base,), namespace)
        lazy = [inspect(root).relationships[key].lazy for key in "wd"]
        return lazy, inspect(root).relationships["d"].mapper.class_ is Leaf

    assert DYNAMIC.check(scenario) == (["write_only", "dynamic"], True)
