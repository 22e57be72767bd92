"""INSERT, UPDATE and DELETE of entities, time and again: what the first of a form prepared executes the second."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from comparison import Comparison
from sqlalchemy import (
    JSON,
    Boolean,
    CursorResult,
    Integer,
    String,
    TypeDecorator,
    and_,
    bindparam,
    create_engine,
    delete,
    event,
    func,
    insert,
    not_,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert


class Doubled(TypeDecorator[int]):
    """Stored as twice the value."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return None if value is None else value * 2

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return None if value is None else value // 2


def make_models(orm: ModuleType) -> SimpleNamespace:
    """Things of two kinds, with columns that are filled in by Python or by the database."""
    base: Any = orm.declarative_base()
    counted = itertools.count(1)

    class Thing(base):
        __tablename__ = "things"
        id = orm.mapped_column(Integer, primary_key=True)
        kind = orm.mapped_column(String(10))
        label = orm.mapped_column("name", String(30))
        size = orm.mapped_column(Integer, default=5)
        flag = orm.mapped_column(Boolean)
        doc = orm.mapped_column(JSON)
        twice = orm.mapped_column(Doubled)
        touched = orm.mapped_column(Integer, onupdate=lambda: 77)
        made = orm.mapped_column(String(10), server_default="db")
        title = orm.synonym("label")
        rest = orm.deferred(orm.mapped_column(String(10)))
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "thing"}

        def __repr__(self) -> str:
            return f"{type(self).__name__}({self.id}, {self.label}, {self.size})"

    class Special(Thing):
        __mapper_args__ = {"polymorphic_identity": "special"}

    return SimpleNamespace(orm=orm, Base=base, Thing=Thing, Special=Special, counted=counted)


def make_database(m: SimpleNamespace) -> Any:
    engine = create_engine("sqlite://")
    m.Base.metadata.create_all(engine)
    rows = [
        {
            "id": n,
            "kind": "special" if n % 3 == 0 else "thing",
            "name": f"n{n}" if n != 4 else None,
            "size": n,
            "flag": n % 2 == 0,
            "twice": n,
        }
        for n in range(1, 8)
    ]
    with engine.begin() as connection:
        connection.execute(insert(m.Thing.__table__), rows)
    return engine


BOTH = Comparison(make_models, make_database)

Build = Callable[[SimpleNamespace, int], Any]

CRITERIA: dict[str, Build] = {
    "key": lambda m, n: m.Thing.id == n,
    "not equal": lambda m, n: m.Thing.label != f"n{n}",
    "less": lambda m, n: m.Thing.size < n,
    "at least": lambda m, n: m.Thing.size >= n,
    "in": lambda m, n: m.Thing.id.in_([n, n + 1]),
    "in nothing": lambda m, n: m.Thing.id.in_([]),
    "not in": lambda m, n: m.Thing.label.not_in([f"n{n}", "x"]),
    "null": lambda m, n: m.Thing.label == None,  # noqa: E711
    "null parameter": lambda m, n: m.Thing.label == bindparam(None, None, String),
    "boolean": lambda m, n: m.Thing.flag == (n % 2 == 0),
    "is": lambda m, n: m.Thing.flag.is_(True),
    "type": lambda m, n: m.Thing.twice == n,
    "synonym": lambda m, n: m.Thing.title == f"n{n}",
    "deferred": lambda m, n: m.Thing.rest != f"n{n}",
    "and": lambda m, n: and_(m.Thing.size > 1, m.Thing.size < n),
    "or": lambda m, n: or_(m.Thing.id == n, m.Thing.label == "n2"),
    "not": lambda m, n: not_(m.Thing.id == n),
    "starts": lambda m, n: m.Thing.label.startswith(f"n{n}"),
    "like": lambda m, n: m.Thing.label.like(f"%{n}"),
    "named": lambda m, n: m.Thing.id == bindparam("n", n),
    "callable": lambda m, n: m.Thing.id == bindparam("n", callable_=lambda: n),
    "function": lambda m, n: func.lower(m.Thing.label) == f"n{n}",
    "subquery": lambda m, n: m.Thing.id.in_(select(m.Thing.id).where(m.Thing.size == n)),
    "subclass": lambda m, n: m.Special.size > n,
}

VALUES: dict[str, Callable[[SimpleNamespace, int], dict[Any, Any]]] = {
    "name": lambda m, n: {"label": f"v{n}"},
    "attribute": lambda m, n: {m.Thing.label: f"v{n}", m.Thing.size: n},
    "synonym": lambda m, n: {"title": f"v{n}"},
    "null": lambda m, n: {"label": None, "flag": n % 2 == 1},
    "type": lambda m, n: {"twice": n * 10},
    "document": lambda m, n: {"doc": {"n": n}},
    "expression": lambda m, n: {"size": m.Thing.size + n},
    "function": lambda m, n: {"label": func.upper("v")},
    "deferred": lambda m, n: {"rest": f"r{n}"},
}

SYNCHRONIZE = ("auto", "evaluate", "fetch", None)


def stored(m: SimpleNamespace, session: Any) -> list[Any]:
    return [tuple(row) for row in session.execute(text("SELECT * FROM things ORDER BY id"))]


def seen(session: Any, things: list[Any]) -> list[Any]:
    """What objects know without asking the database."""
    return [(sorted(key for key in vars(t) if key[0] != "_"), vars(t).get("size"), t in session) for t in things]


def told(result: Any) -> list[Any]:
    """What a program may read off a result."""
    answers: list[Any] = [result.returns_rows] if isinstance(result, CursorResult) else []
    for name in ("rowcount", "is_insert", "lastrowid", "inserted_primary_key", "returned_defaults", "closed"):
        try:
            answers.append(getattr(result, name))
        except Exception as error:
            answers.append(type(error).__name__)
    try:
        answers.append([str(row) for row in result.all()])
    except Exception as error:
        answers.append(type(error).__name__)
    return answers


def attempts(m: SimpleNamespace, session: Any, make: Build, options: dict[str, Any]) -> list[Any]:
    things = session.scalars(select(m.Thing).order_by(m.Thing.id)).all()
    session.expire(things[4])
    session.expire(things[5], ["label", "size"])
    outcomes: list[Any] = []
    for n in (2, 3, 5, 3):
        things[0].size = n * 100
        try:
            outcomes.append(told(session.execute(make(m, n), execution_options=options)))
            outcomes.append(seen(session, things))
        except Exception as error:
            outcomes.append((type(error).__name__, str(error).split("(Background")[0].split("\n[SQL")[0]))
            session.rollback()
        outcomes.append(stored(m, session))
    session.rollback()
    outcomes.append([(t.id, t.label, t.size, t.doc, t.twice, t in session) for t in things])
    return outcomes


@pytest.mark.parametrize("synchronize", SYNCHRONIZE)
@pytest.mark.parametrize("name", CRITERIA)
def test_update_by(name: str, synchronize: Any) -> None:
    def make(m: SimpleNamespace, n: int) -> Any:
        return update(m.Thing).where(CRITERIA[name](m, n)).values(label=f"v{n}", size=n)

    BOTH.check(lambda m, session: attempts(m, session, make, {"synchronize_session": synchronize}))


@pytest.mark.parametrize("synchronize", ["auto", "fetch"])
@pytest.mark.parametrize("name", CRITERIA)
def test_delete_by(name: str, synchronize: Any) -> None:
    def make(m: SimpleNamespace, n: int) -> Any:
        statement = delete(m.Thing).where(CRITERIA[name](m, n))
        return statement.execution_options(synchronize_session=synchronize)

    BOTH.check(lambda m, session: attempts(m, session, make, {}))


@pytest.mark.parametrize("synchronize", ["auto", "fetch"])
@pytest.mark.parametrize("name", VALUES)
def test_update_to(name: str, synchronize: Any) -> None:
    def make(m: SimpleNamespace, n: int) -> Any:
        return update(m.Thing).where(m.Thing.size <= n).values(VALUES[name](m, n))

    BOTH.check(lambda m, session: attempts(m, session, make, {"synchronize_session": synchronize}))


@pytest.mark.parametrize(
    "make",
    [
        lambda m, n: update(m.Special).where(m.Special.size > n).values(label="s"),
        lambda m, n: delete(m.Special).where(m.Special.size > n),
        lambda m, n: update(m.Thing).values(label=f"v{n}"),
        lambda m, n: update(m.Thing).where(m.Thing.id == n, m.Thing.size > 1).values(label="x").values(size=n),
        lambda m, n: update(m.Thing).where(m.Thing.id == n).values(label="x").returning(m.Thing),
        lambda m, n: update(m.Thing).where(m.Thing.id <= n).values(size=n).returning(m.Thing.id, m.Thing.label),
        lambda m, n: delete(m.Thing).where(m.Thing.id == n).returning(m.Thing),
        lambda m, n: delete(m.Thing).where(m.Thing.id == n).returning(m.Thing.label),
        lambda m, n: update(m.Thing).filter_by(id=n).ordered_values((m.Thing.label, "o"), (m.Thing.size, n)),
        lambda m, n: update(m.Thing).where(m.Thing.id == n).values(nothing=n),
        lambda m, n: update(m.Thing).where(m.Thing.id == n),
        lambda m, n: delete(m.Thing).where(m.Thing.id == n).prefix_with("/* x */"),
    ],
)
@pytest.mark.parametrize("synchronize", ["auto", "fetch", False])
def test_other_forms(make: Build, synchronize: Any) -> None:
    BOTH.check(lambda m, session: attempts(m, session, make, {"synchronize_session": synchronize}))


def upserting(m: SimpleNamespace, n: int, **values: Any) -> Any:
    statement = upsert(m.Thing).values(id=n, kind="thing", label=f"u{n}", **values)
    return statement.on_conflict_do_update(index_elements=["id"], set_={"name": statement.excluded.name, "size": n})


@pytest.mark.parametrize(
    "make",
    [
        lambda m, n: insert(m.Thing).values(label=f"i{n}"),
        lambda m, n: insert(m.Thing).values(id=n * 100 + next(m.counted), label=f"i{n}", flag=True, twice=n),
        lambda m, n: insert(m.Thing).values({m.Thing.label: f"i{n}", m.Thing.doc: [n]}),
        lambda m, n: insert(m.Special).values(label=f"i{n}", size=None),
        lambda m, n: insert(m.Thing),
        lambda m, n: insert(m.Thing).values(id=n),
        lambda m, n: insert(m.Thing).values(label=func.upper(f"i{n}")),
        lambda m, n: insert(m.Thing).values(label=f"i{n}").returning(m.Thing),
        lambda m, n: insert(m.Thing).values(label=f"i{n}").returning(m.Thing.id, m.Thing.made),
        lambda m, n: insert(m.Special).values(label=f"i{n}", kind="special").returning(m.Special),
        lambda m, n: insert(m.Thing).values([{"label": f"i{n}"}, {"label": "second"}]),
        lambda m, n: insert(m.Thing).values([{"label": f"i{n}"}, {"label": "second"}]).returning(m.Thing.size),
        lambda m, n: insert(m.Thing).values(id=n, label="there").returning(m.Thing),
        lambda m, n: insert(m.Thing).values(flag=f"f{n}").returning(m.Thing.id),
        lambda m, n: insert(m.Thing).values(flag=f"f{n}"),
        lambda m, n: insert(m.Thing).values(label=f"i{n}", size=n).returning(m.Thing, m.Thing.label, func.count(1)),
        lambda m, n: insert(m.Thing).values(id=n * 100, kind="thing", size=n).returning(m.Thing),
        pytest.param(
            lambda m, n: insert(m.Thing.__table__).values(name=f"i{n}").returning(m.Thing.__table__.c.name),
            marks=pytest.mark.sqlalchemy21,  # 2.0 does not flush before it
        ),
        lambda m, n: insert(m.Thing).from_select(["label", "size"], select(m.Thing.label, m.Thing.size + n)),
        lambda m, n: upserting(m, n),
        lambda m, n: upserting(m, n, size=n, twice=n).returning(m.Thing),
        lambda m, n: upserting(m, n + 50).returning(m.Thing.label),
        lambda m, n: upsert(m.Thing).values(id=n, label=f"i{n}").on_conflict_do_nothing(),
        lambda m, n: upsert(m.Thing).values(id=n, label=f"i{n}").on_conflict_do_nothing(index_elements=["id"]),
    ],
)
def test_insert(make: Build) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        m.counted = itertools.count(1)
        return attempts(m, session, make, {})

    BOTH.check(scenario)


ROWS: dict[str, Callable[[int], Any]] = {
    "one": lambda n: {"label": f"i{n}", "size": n, "twice": n},
    "list of one": lambda n: [{"label": f"i{n}", "flag": n % 2 == 0}],
    "list": lambda n: [{"label": f"i{n}", "size": k} for k in range(n)],
    "synonym": lambda n: [{"title": f"i{n}", "size": n}],
    "mixed": lambda n: [{"label": "a", "size": n}, {"label": None, "size": 1}, {"size": 2}],
    "documents": lambda n: [{"doc": [n], "label": "d"}],
    "wrong": lambda n: [{"flag": f"f{n}", "label": "w"}],
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize(
    "statement",
    [
        lambda m: insert(m.Thing),
        lambda m: insert(m.Thing).returning(m.Thing),
        lambda m: insert(m.Thing).returning(m.Thing.label, sort_by_parameter_order=True),
        lambda m: insert(m.Thing).values(kind="special"),
        lambda m: insert(m.Thing).values(size=bindparam("k", 3)),
    ],
)
def test_insert_rows(statement: Callable[[SimpleNamespace], Any], name: str) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        outcomes: list[Any] = []
        for n in (2, 3, 1, 3):
            try:
                outcomes.append(told(session.execute(statement(m), ROWS[name](n))))
            except Exception as error:
                outcomes.append((type(error).__name__, str(error).split("\n[SQL")[0]))
                session.rollback()
            outcomes.append(stored(m, session))
        return outcomes

    BOTH.check(scenario)


@pytest.mark.parametrize("synchronize", ["auto", "evaluate", None])
@pytest.mark.parametrize(
    "statement",
    [
        lambda m: update(m.Thing),
        lambda m: update(m.Thing).values(label="fixed"),
        lambda m: update(m.Thing).where(m.Thing.size > bindparam("least", 2)),
        lambda m: update(m.Special),
    ],
)
def test_update_rows(statement: Callable[[SimpleNamespace], Any], synchronize: Any) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        things = session.scalars(select(m.Thing).order_by(m.Thing.id)).all()
        outcomes: list[Any] = []
        for n in (3, 6, 3, 5):
            for rows in (
                [{"id": n, "size": n * 10}],
                [{"id": n, "size": 7, "label": "r"}, {"id": 6, "size": 8, "label": None}],
                [{"id": n, "size": 1}, {"id": 6, "title": "t"}],
                [{"id": n, "twice": n, "least": 0}],
                [{"id": n}],
                [{"id": n, "flag": "wrong"}],
                [{"size": n}],
                [{"id": 99, "size": n}],
            ):
                try:
                    options = {"synchronize_session": synchronize}
                    session.execute(statement(m), rows, execution_options=options)
                    outcomes.append(seen(session, things))
                except Exception as error:
                    outcomes.append((type(error).__name__, str(error).split("\n[SQL")[0]))
                    session.rollback()
                outcomes.append(stored(m, session))
        return outcomes

    BOTH.check(scenario)


def test_parameters_given_by_statement_and_call() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        outcomes = []
        for n in (2, 3, 2):
            kept = m.Thing.id == bindparam("n", 5)
            inner = select(m.Thing.id).where(kept).params(n=n)
            outcomes.append(session.scalars(select(m.Thing).where(kept).params(n=n)).one().label)
            outcomes.append(session.execute(select(m.Thing.label).where(kept).params(n=n)).all())
            outcomes.append(session.execute(update(m.Thing).where(m.Thing.id.in_(inner)).values(size=n)).rowcount)
            outcomes.append(session.execute(update(m.Thing).where(kept).values(size=n), {"n": n}).rowcount)
            outcomes.append(session.execute(delete(m.Thing).where(kept), {"n": n + 3}).rowcount)
            outcomes.append(stored(m, session))
        return outcomes

    BOTH.check(scenario)


def test_flush_comes_first_and_its_failure_is_told() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        outcomes = []
        for n in (2, 3, 4):
            session.add(m.Thing(id=n * 10, label="new"))
            outcomes.append(session.execute(update(m.Thing).where(m.Thing.id == n * 10).values(size=n)).rowcount)
            session.add(m.Thing(id=n, label="twice"))
            try:
                session.execute(update(m.Thing).where(m.Thing.id == n).values(size=n))
            except Exception as error:
                outcomes.append((type(error).__name__, "autoflush" in str(error)))
            try:
                session.execute(update(m.Thing).where(m.Thing.id == n).values(size=n))
            except Exception as error:
                outcomes.append(type(error).__name__)
            session.rollback()
            with session.no_autoflush:
                session.add(m.Thing(id=70, label="new"))
                outcomes.append(session.execute(delete(m.Thing).where(m.Thing.id == 70)).rowcount)
            session.rollback()
        return outcomes

    BOTH.check(scenario)


@pytest.mark.parametrize("kind", ["update", "delete", "insert"])
def test_those_that_come_to_watch(kind: str) -> None:
    """Listeners of the session and the engine, options of the engine, a bind of one's own: after all was prepared."""

    def make(m: SimpleNamespace, n: int) -> Any:
        if kind == "insert":
            return insert(m.Thing).values(label=f"i{n}")
        criterion = m.Thing.id == n
        return delete(m.Thing).where(criterion) if kind == "delete" else update(m.Thing).where(criterion).values(size=n)

    def scenario(m: SimpleNamespace, session: Any) -> Any:
        outcomes: list[Any] = []
        for n in (1, 2):
            outcomes.append(session.execute(make(m, n)).rowcount)
        session.commit()

        def on_execute(state: Any) -> None:
            options = dict(state.execution_options)
            outcomes.append((state.is_update, state.is_delete, state.is_insert, options.get("mine")))
            if kind != "insert":
                state.statement = state.statement.where(m.Thing.size > 3)

        event.listen(session, "do_orm_execute", on_execute)
        outcomes.append([session.execute(make(m, n)).rowcount for n in (3, 4)])
        event.remove(session, "do_orm_execute", on_execute)
        outcomes.append(session.execute(make(m, 3)).rowcount)

        engine = session.get_bind()
        session.commit()

        def on_cursor(conn: Any, cursor: Any, sql: str, parameters: Any, context: Any, many: bool) -> None:
            outcomes.append((sql, parameters, context.execution_options.get("mine")))

        event.listen(engine, "before_cursor_execute", on_cursor)
        session.execute(make(m, 5), execution_options={"mine": 2})
        session.execute(make(m, 6))
        event.remove(engine, "before_cursor_execute", on_cursor)
        session.rollback()

        class Routed(m.orm.Session):  # type: ignore[misc, name-defined]
            def get_bind(self, mapper: Any = None, *, clause: Any = None, **kw: Any) -> Any:
                outcomes.append((type(clause).__name__, mapper is not None))
                return engine

        with Routed() as routed:
            outcomes.append(routed.execute(make(m, 6)).rowcount)
        with m.orm.Session(engine.execution_options(schema_translate_map={None: "main"})) as translated:
            outcomes.append(translated.execute(make(m, 6)).rowcount)
        with m.orm.Session(binds={m.Thing: engine}) as bound:
            outcomes.append([bound.execute(make(m, n)).rowcount for n in (6, 7)])
        with engine.connect() as connection, m.orm.Session(connection) as joined:
            outcomes.append([joined.execute(make(m, n)).rowcount for n in (6, 7)])
        with m.orm.Session() as unbound:
            try:
                unbound.execute(make(m, 6))
            except Exception as error:
                outcomes.append(type(error).__name__)
        outcomes.append(stored(m, session))
        return outcomes

    BOTH.check(scenario)


def test_hybrids_and_mappings_that_change() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        base: Any = m.orm.declarative_base()

        class Part(base):
            __tablename__ = "things"
            id = m.orm.mapped_column(Integer, primary_key=True)
            name = m.orm.mapped_column(String(30))

        statement = lambda n: update(Part).where(Part.id == n).values(name=f"p{n}")  # noqa: E731
        outcomes = [session.execute(statement(n)).rowcount for n in (1, 2)]
        Part.size = m.orm.mapped_column(Integer)
        outcomes += [session.execute(statement(n).values(size=n)).rowcount for n in (1, 2)]
        found = session.scalars(select(Part).order_by(Part.id)).all()
        outcomes += [session.execute(statement(n).values(size=n + 5)).rowcount for n in (1, 2)]
        outcomes.append([(part.name, part.size) for part in found])
        return outcomes

    BOTH.check(scenario)
