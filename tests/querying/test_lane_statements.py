"""Statements with options, listeners and parameters of their own: the same rows and SQL on the lane as through Core."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from comparison import Comparison, error_of
from orm_models import make_database, make_models
from sqlalchemy import event, func, select, text

pytestmark = pytest.mark.sqlalchemy21

BOTH = Comparison(make_models, make_database)


def traced(session: Any, work: Callable[[], Any]) -> Any:
    """What ``work`` returns, and the statements that SQLite saw meanwhile."""
    seen: list[str] = []
    raw = session.connection().connection.dbapi_connection
    raw.set_trace_callback(lambda sql: seen.append(" ".join(sql.split())))
    try:
        return work(), seen
    finally:
        raw.set_trace_callback(None)


def names(users: Any) -> list[Any]:
    return [(user.id, user.name) for user in users]


OPTIONS: dict[str, dict[str, Any]] = {
    "of the user": {"my_option": 5},
    "populate_existing": {"populate_existing": True},
    "autoflush": {"autoflush": False},
    "identity_token": {"identity_token": "shard"},
    "yield_per": {"yield_per": 2},
    "stream_results": {"stream_results": True, "max_row_buffer": 3},
    "logging_token": {"logging_token": "abc"},
    "compiled_cache": {"compiled_cache": None},
    "sqlite_raw_colnames": {"sqlite_raw_colnames": True},
    "schema_translate_map": {"schema_translate_map": {None: "main"}},
    "isolation_level": {"isolation_level": "SERIALIZABLE"},
    "prebuffer_rows": {"prebuffer_rows": True},
}


@pytest.mark.parametrize("where", ["statement", "call", "session"])
@pytest.mark.parametrize("name", OPTIONS)
def test_execution_options(name: str, where: str) -> None:
    options = OPTIONS[name]

    def scenario(m: SimpleNamespace, session: Any) -> Any:
        if where == "session":
            session = m.orm.Session(session.get_bind(), execution_options=options)
        ed = session.scalars(select(m.User).where(m.User.id == 8)).first()
        ed.name = "changed"
        outcomes = []
        for number in (8, 9, 8):

            def work(number: int = number) -> Any:
                statement = select(m.User).where(m.User.id >= number).order_by(m.User.id)
                if where == "statement":
                    statement = statement.execution_options(**options)
                return names(session.scalars(statement, execution_options=options if where == "call" else {}).all())

            try:
                outcomes.append(traced(session, work))
            except Exception as error:
                outcomes.append((type(error).__name__, str(error).split(" at 0x")[0]))
        outcomes.append((ed.name, sorted(str(key[1:]) for key in session.identity_map)))
        session.close()
        return outcomes

    BOTH.check(scenario)


LOADS: dict[str, Callable[[SimpleNamespace, Any, Any], Any]] = {
    "get": lambda m, s, user: names([s.get(m.User, 9)]),
    "get, options": lambda m, s, user: [
        a.email for a in s.get(m.User, 9, options=[m.orm.selectinload(m.User.addresses)]).addresses
    ],
    "get, joined": lambda m, s, user: [
        a.email for a in s.get(m.User, 9, options=[m.orm.joinedload(m.User.addresses)]).addresses
    ],
    "get, execution options": lambda m, s, user: names([s.get(m.User, 9, execution_options={"mine": 1})]),
    "get, populate_existing": lambda m, s, user: names([s.get(m.User, 8, populate_existing=True)]),
    "get, for update": lambda m, s, user: names([s.get(m.User, 8, with_for_update=True)]),
    "get, gone": lambda m, s, user: s.get(m.User, 99, execution_options={"mine": 1}),
    "refresh": lambda m, s, user: s.refresh(user),
    "refresh, names": lambda m, s, user: s.refresh(user, ["name"]),
    "refresh, relationship": lambda m, s, user: s.refresh(user, ["addresses"]),
    "refresh, relationship and column": lambda m, s, user: s.refresh(user, ["addresses", "name"]),
    "refresh, for update": lambda m, s, user: s.refresh(user, with_for_update={"nowait": True}),
    "refresh, unknown name": lambda m, s, user: error_of(lambda: s.refresh(user, ["nothing"])),
    "expired": lambda m, s, user: (s.expire(user), user.name)[1],
    "expired name": lambda m, s, user: (s.expire(user, ["name"]), user.name)[1],
    "lazy": lambda m, s, user: [a.email for a in user.addresses],
    "lazy, many to one": lambda m, s, user: s.get(m.Address, 5).user.name,
    "with_loader_criteria": lambda m, s, user: [
        (u.id, [a.id for a in u.addresses])
        for u in s.scalars(
            select(m.User)
            .order_by(m.User.id)
            .options(m.orm.with_loader_criteria(m.Address, m.Address.id > 2), m.orm.selectinload(m.User.addresses))
        )
    ],
    "columns": lambda m, s, user: s.execute(select(m.User.id, func.upper(m.User.name)).order_by(m.User.id)).all(),
    "scalar": lambda m, s, user: s.scalar(select(func.count(m.User.id)).where(m.User.id > 7)),
    "parameter": lambda m, s, user: s.scalar(select(m.User.name).where(text("id = :n")), {"n": 9}),
    "several parameters": lambda m, s, user: error_of(lambda: s.execute(select(m.User), [{"n": 9}, {"n": 8}]).all()),
    "parameter missing": lambda m, s, user: error_of(lambda: s.scalar(select(m.User.name).where(text("id = :n")))),
    "two binds of a Query": lambda m, s, user: names(
        s.query(m.User).filter(m.User.id.in_([7, 9])).populate_existing().order_by(m.User.id)
    ),
}


def _listen_to_nothing(m: SimpleNamespace, session: Any, log: list[Any]) -> None:
    event.listen(
        session,
        "do_orm_execute",
        lambda state: log.append(
            (
                str(state.statement).split("WHERE")[-1].split("\n")[0],
                state.is_column_load,
                state.is_relationship_load,
                sorted(k for k in state.execution_options if k != "_result_disable_adapt_to_context"),
            )
        ),
    )


def _listen_and_add_criteria(m: SimpleNamespace, session: Any, log: list[Any]) -> None:
    def listener(state: Any) -> None:
        if state.is_select and not state.is_column_load:
            state.statement = state.statement.options(
                m.orm.with_loader_criteria(m.User, lambda cls: cls.id < 10, include_aliases=True)
            )

    event.listen(session, "do_orm_execute", listener)


def _listen_and_invoke(m: SimpleNamespace, session: Any, log: list[Any]) -> None:
    event.listen(session, "do_orm_execute", lambda state: state.invoke_statement(execution_options={"again": True}))


LISTENERS = {"nothing": _listen_to_nothing, "criteria": _listen_and_add_criteria, "invoke": _listen_and_invoke}


@pytest.mark.parametrize("listener", ["none", "session options", *LISTENERS])
@pytest.mark.parametrize("load", LOADS)
def test_loads_under_listeners(load: str, listener: str) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        if listener == "session options":
            session = m.orm.Session(session.get_bind(), execution_options={"mine": 2})
        log: list[Any] = []
        if listener in LISTENERS:
            LISTENERS[listener](m, session, log)
        outcomes = []
        for _ in range(3):
            user = session.get(m.User, 8)
            outcomes.append(traced(session, lambda user=user: LOADS[load](m, session, user)))
            outcomes.append((user.name, "addresses" in user.__dict__))
            session.expunge_all()
        session.close()
        return outcomes, log

    BOTH.check(scenario)


def test_objects_are_overwritten_when_rows_are_read() -> None:
    """populate_existing takes effect at the first fetch, not when the statement is sent."""

    def scenario(m: SimpleNamespace, session: Any) -> Any:
        ed = session.get(m.User, 8)
        statement = select(m.User).where(m.User.id == 8).execution_options(populate_existing=True, autoflush=False)
        seen = []
        for _ in range(3):
            ed.name = "changed"
            result = session.scalars(statement)
            seen.append(ed.name)
            ed.name = "changed again"
            seen.append(result.one() is ed)
            seen.append(ed.name)
        return seen

    BOTH.check(scenario)


def test_rows_of_a_session_that_was_closed() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        outcomes = []
        for options in ({}, {"populate_existing": True}, {"mine": 1}):
            for _ in range(2):
                result = session.scalars(select(m.User), execution_options=options)
                session.close()
                outcomes.append(error_of(result.all))
        return outcomes

    BOTH.check(scenario)


def test_load_events() -> None:
    """Listeners of the class hear of every object, with the context of the load."""

    def scenario(m: SimpleNamespace, session: Any) -> Any:
        heard: list[Any] = []

        def load(target: Any, context: Any) -> None:
            heard.append(("load", target.id, context.execution_options.get("mine")))

        def refresh(target: Any, context: Any, attrs: Any) -> None:
            heard.append(("refresh", target.id, context.execution_options.get("mine"), attrs and sorted(attrs)))

        event.listen(m.User, "load", load)
        event.listen(m.User, "refresh", refresh)
        try:
            for n in (1, 2):
                statement = select(m.User).where(m.User.id < 9).order_by(m.User.id).execution_options(mine=n)
                users = session.scalars(statement).all()
                session.scalars(statement, execution_options={"populate_existing": True}).all()
                session.refresh(users[0])
                session.refresh(users[0], ["name"])
                session.expunge_all()
        finally:
            event.remove(m.User, "load", load)
            event.remove(m.User, "refresh", refresh)
        return heard

    BOTH.check(scenario)


def _union(m: SimpleNamespace, n: int) -> Any:
    return select(m.User).where(m.User.id == n).union(select(m.User).where(m.User.name == "fred"))


GIVEN: dict[str, Callable[[SimpleNamespace, int], Any]] = {
    "select": lambda m, n: select(m.User).where(m.User.id > n),
    "select of columns": lambda m, n: select(m.User.name, m.User.id).where(m.User.id > n),
    "columns that lack": lambda m, n: select(m.User.id).where(m.User.id > n),
    "no key": lambda m, n: select(m.User.name).where(m.User.id > n),
    "table": lambda m, n: m.User.__table__.select().where(m.User.__table__.c.id > n),
    "columns of the table": lambda m, n: select(m.User.__table__.c.name, m.User.__table__.c.id),
    "labels": lambda m, n: select(m.User.id.label("id"), func.upper(m.User.name).label("name")).order_by(m.User.id),
    "other labels": lambda m, n: select(m.User.id.label("a"), m.User.name.label("b")),
    "functions": lambda m, n: select(func.max(m.User.id), func.max(m.User.name)),
    "union": _union,
    "union of others": lambda m, n: select(m.User.id, m.User.name).union_all(select(m.Address.id, m.Address.email)),
    "alias": lambda m, n: select(_union(m, n).subquery("anonymous")),
    "entity twice": lambda m, n: select(m.User, m.Address).join(m.User.addresses),
    "text": lambda m, n: text("SELECT name, id FROM users WHERE id > :n ORDER BY id").bindparams(n=n),
    "text, its columns": lambda m, n: (
        text("SELECT id, name FROM users WHERE id > :n").bindparams(n=n).columns(m.User.id, m.User.name)
    ),
    "text, other order": lambda m, n: text("SELECT name, id FROM users").columns(m.User.name, m.User.id),
    "cte": lambda m, n: select(select(m.User).where(m.User.id > n).cte("c")),
    "update": lambda m, n: (
        m.User.__table__.update().where(m.User.__table__.c.id == 8).values(name=f"n{n}").returning(m.User.__table__)
    ),
}


@pytest.mark.parametrize("options", ["none", "loader", "populate_existing", "parameter", "yield_per"])
@pytest.mark.parametrize("name", GIVEN)
def test_from_statement(name: str, options: str) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        outcomes = []
        for n in (7, 8, 7):

            def work(n: int = n) -> Any:
                statement = select(m.User)
                if options == "loader":
                    statement = statement.options(m.orm.selectinload(m.User.addresses))
                statement = statement.from_statement(GIVEN[name](m, n))
                if options == "populate_existing":
                    statement = statement.execution_options(populate_existing=True)
                elif options == "yield_per":
                    statement = statement.execution_options(yield_per=2)
                users = session.scalars(statement, {"n": 8} if options == "parameter" else None).all()
                return sorted(
                    (user.id, user.name, [a.id for a in user.__dict__.get("addresses", ())]) for user in users
                )

            try:
                outcomes.append(traced(session, work))
            except Exception as error:
                outcomes.append((type(error).__name__, str(error).split(" at 0x")[0].split("(Background")[0]))
            try:
                outcomes.append([user.name for user in session.query(m.User).from_statement(GIVEN[name](m, n))])
            except Exception as error:
                outcomes.append(type(error).__name__)
            session.expunge_all()
        return outcomes

    BOTH.check(scenario)
