"""Core statements, and UPDATE and DELETE by criteria: the same results whether they were seen before or not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from comparison import Comparison
from orm_models import make_database, make_models
from sqlalchemy import CursorResult, bindparam, delete, event, exists, func, insert, literal, select, text, update

BOTH = Comparison(make_models, make_database)

Statement = Callable[[SimpleNamespace, int], Any]


def table(m: SimpleNamespace) -> Any:
    return m.User.__table__


STATEMENTS: dict[str, Statement] = {
    "columns": lambda m, n: select(table(m).c.id, table(m).c.name).where(table(m).c.id > n),
    "table": lambda m, n: select(table(m)).where(table(m).c.id == n),
    "order": lambda m, n: select(table(m)).order_by(table(m).c.name.desc()).limit(n).offset(1),
    "join": lambda m, n: select(table(m).join(m.Address.__table__)).where(table(m).c.id == n),
    "count": lambda m, n: select(func.count()).select_from(table(m)).where(table(m).c.id > n),
    "label": lambda m, n: select(table(m).c.name.label("a")).where(table(m).c.id == n),
    "literal": lambda m, n: select(literal(n), literal(str(n)).label("x")),
    "in": lambda m, n: select(table(m).c.id).where(table(m).c.id.in_(range(n))),
    "bindparam": lambda m, n: select(table(m).c.id).where(table(m).c.id == bindparam("x", n)),
    "params": lambda m, n: select(table(m).c.id).where(table(m).c.id == bindparam("x")).params(x=n),
    "union": lambda m, n: select(table(m).c.id).where(table(m).c.id == n).union(select(m.Address.__table__.c.id)),
    "exists": lambda m, n: select(exists().where(table(m).c.id == n)),
    "text": lambda m, n: text("SELECT id, name FROM users WHERE id = :n").bindparams(n=n),
    "options": lambda m, n: select(table(m)).where(table(m).c.id == n).execution_options(mine=n),
    "raw columns": lambda m, n: select(table(m).c.id).execution_options(sqlite_raw_colnames=True),
    "insert": lambda m, n: insert(table(m)).values(name=f"n{n}"),
    "insert with key": lambda m, n: insert(table(m)).values(id=100 + n, name=None),
    "insert returning": lambda m, n: insert(table(m)).values(name=f"n{n}").returning(table(m).c.name),
    "insert several": lambda m, n: insert(table(m)).values([{"name": f"n{n}"}, {"name": "x"}]),
    "insert nothing": lambda m, n: insert(table(m)),
    "update table": lambda m, n: update(table(m)).where(table(m).c.id == n).values(name=f"n{n}"),
    "update table by column": lambda m, n: update(table(m)).where(table(m).c.id > n).values({table(m).c.name: None}),
    "delete of table": lambda m, n: delete(table(m)).where(table(m).c.id == n),
    "update": lambda m, n: update(m.User).where(m.User.id == n).values(name=f"n{n}"),
    "update by attribute": lambda m, n: update(m.User).where(m.User.id == n).values({m.User.name: f"n{n}"}),
    "update to NULL": lambda m, n: update(m.User).where(m.User.id == n).values(name=None),
    "update to expression": lambda m, n: (
        update(m.User).where(m.User.id == n).values(name=m.User.name + str(n), id=m.User.id + 100)
    ),
    "update to function": lambda m, n: update(m.User).where(m.User.id >= n).values(name=func.upper(m.User.name)),
    "update all": lambda m, n: update(m.User).values(name=f"n{n}"),
    "update in": lambda m, n: update(m.User).where(m.User.id.in_([n, n + 1])).values(name=f"n{n}"),
    "update by subquery": lambda m, n: (
        update(m.User).where(m.User.id.in_(select(m.Address.user_id))).values(name=f"n{n}")
    ),
    "update returning": lambda m, n: (
        update(m.User).where(m.User.id == n).values(name=f"n{n}").returning(m.User.id, m.User.name)
    ),
    "update ordered": lambda m, n: update(m.User).where(m.User.id == n).ordered_values((m.User.name, f"n{n}")),
    "delete": lambda m, n: delete(m.User).where(m.User.id == n),
    "delete two": lambda m, n: delete(m.User).where(m.User.id == n, m.User.name != "x"),
    "delete returning": lambda m, n: delete(m.User).where(m.User.id == n).returning(m.User.name),
}

SYNCHRONIZE = ("auto", "evaluate", "fetch", False)


def facts(result: Any) -> list[Any]:
    """What a program may read off a result."""
    if not isinstance(result, CursorResult):
        return [list(result.keys()), sorted(map(str, result.all()))]
    context = result.context
    told = [result.rowcount, context.isinsert, context.isupdate, context.isdelete, len(context.compiled_parameters)]
    if context.isinsert and not context.compiled.effective_returning:
        told.append(len(result.inserted_primary_key_rows))
    if result.returns_rows:
        told += [list(result.keys()), sorted(map(str, result.all()))]
    return told


BY_CRITERIA = [name for name in STATEMENTS if name.startswith(("update", "delete")) and "table" not in name]
CASES = [(name, "none") for name in STATEMENTS] + list(itertools.product(BY_CRITERIA, SYNCHRONIZE))


@pytest.mark.parametrize(("name", "synchronize"), CASES)
def test_results(name: str, synchronize: Any) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        users = session.scalars(select(m.User).order_by(m.User.id)).all()
        outcomes = []
        for n in (7, 8, 9, 8):
            statement = STATEMENTS[name](m, n)
            if synchronize != "none":
                statement = statement.execution_options(synchronize_session=synchronize)
            try:
                outcomes.append(facts(session.execute(statement)))
                outcomes.append(
                    [(user.__dict__.get("id"), user.__dict__.get("name"), user in session) for user in users]
                )
                outcomes.append(session.execute(text("SELECT * FROM users ORDER BY id")).all())
            except Exception as error:
                outcomes.append((type(error).__name__, str(error).split("(Background")[0]))
            if n == 9:
                session.rollback()
                outcomes.append([(user.id, user.name) for user in users])
        return outcomes

    BOTH.check(scenario)


@pytest.mark.parametrize("name", ["columns", "update", "delete", "insert", "text"])
def test_listeners_see_statements(name: str) -> None:
    """Those that begin to listen once the statement was seen, too; and they may change it."""

    def scenario(m: SimpleNamespace, session: Any) -> Any:
        engine = session.get_bind()
        seen: list[Any] = []

        def before_execute(conn: Any, clause: Any, multiparams: Any, params: Any, options: Any) -> Any:
            seen.append(("execute", str(clause)))

        def before_cursor(conn: Any, cursor: Any, sql: str, parameters: Any, context: Any, many: bool) -> None:
            seen.append((sql, parameters, bool(context.compiled), context.execution_options.get("mine")))

        for _ in range(2):
            session.execute(STATEMENTS[name](m, 7))
        session.commit()
        event.listen(engine, "before_execute", before_execute)
        event.listen(engine, "before_cursor_execute", before_cursor)
        session.execute(STATEMENTS[name](m, 8), execution_options={"mine": 1})
        session.execute(STATEMENTS[name](m, 9))
        session.commit()
        event.remove(engine, "before_execute", before_execute)
        event.remove(engine, "before_cursor_execute", before_cursor)
        session.execute(STATEMENTS[name](m, 9))
        return seen

    BOTH.check(scenario)


def test_shapes_of_statements() -> None:
    """One shape is one cache key, with the parameters in the same order."""
    from rustalchemy.orm._statement_shape import dml_shape, statement_shape

    m = BOTH.models["rustalchemy.orm"]
    found = {}
    for name, make in STATEMENTS.items():
        first, second = make(m, 3), make(m, 4)
        if name == "text":
            continue
        shape_of = statement_shape if first.is_select else dml_shape
        one, other = shape_of(first), shape_of(second)
        if one is None or other is None:
            continue
        key = first._generate_cache_key()
        assert one[0] == other[0], name
        assert [id(bind) for bind in one[1]] == [id(bind) for bind in key.bindparams], name
        if not first.is_select:
            annotated = dml_shape(make(m, 3)._annotate({"synchronize_session": "fetch"}))
            assert annotated is not None and annotated[0] != one[0]
        found[name] = (one[0], key.key)
    for (one_name, (shape, key)), (other_name, (shape_2, key_2)) in itertools.combinations(found.items(), 2):
        assert (shape == shape_2) <= (key == key_2), (one_name, other_name)
    expected = {
        "columns",
        "table",
        "count",
        "union",
        "update",
        "update to NULL",
        "update to expression",
        "delete",
        "insert",
    }
    assert expected.issubset(found)


def test_statements_without_caching() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        connection = session.connection().execution_options(compiled_cache=None)
        bound = m.orm.Session(connection)
        return [
            facts(bound.execute(STATEMENTS[name](m, n))) for name in ("columns", "update", "delete") for n in (7, 8)
        ]

    BOTH.check(scenario)


def test_listeners_of_engines_see_every_statement_of_a_shape() -> None:
    """Of the cursor: text and parameters. Of executions: the statement, which they may replace."""

    def scenario(m: SimpleNamespace, session: Any) -> Any:
        engine = session.get_bind()
        seen: list[Any] = []

        @event.listens_for(engine, "before_cursor_execute", retval=True)
        def before_cursor(conn: Any, cursor: Any, sql: str, parameters: Any, context: Any, many: bool) -> Any:
            seen.append((sql, parameters, context.compiled is not None, many))
            return sql.replace("!=", "<>"), parameters

        def names(n: int) -> list[str]:
            return list(session.scalars(select(m.User.name).where(m.User.id != n).order_by(m.User.id)))

        seen.extend(names(n) for n in (1, 2, 3))
        seen.append([user.name for user in session.scalars(select(m.User).where(m.User.id != 1).order_by(m.User.id))])

        @event.listens_for(engine, "before_execute", retval=True)
        def before(conn: Any, element: Any, many: Any, params: Any, options: Any) -> Any:
            seen.append("executes")
            return element.where(m.User.id != 2), many, params

        seen.extend(names(n) for n in (1, 2, 3))
        event.remove(engine, "before_execute", before)
        seen.extend(names(n) for n in (1, 2))
        event.remove(engine, "before_cursor_execute", before_cursor)
        return seen

    BOTH.check(scenario)
