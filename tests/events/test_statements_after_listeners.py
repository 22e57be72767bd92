"""Statements in a session with do_orm_execute listeners: what is executed is what the listeners have left."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from comparison import Comparison
from orm_models import make_database, make_models
from sqlalchemy import bindparam, event, func, select, update

BOTH = Comparison(make_models, make_database)

Listener = Callable[[SimpleNamespace, Any], Any]


def _replace(m: SimpleNamespace, state: Any) -> None:
    if state.is_select and not state.is_relationship_load:
        state.statement = select(m.User).where(m.User.id == 8)


def _of_other_class(m: SimpleNamespace, state: Any) -> None:
    if state.is_select:
        state.statement = select(m.Address).where(m.Address.id == 2)


def _invoke(m: SimpleNamespace, state: Any) -> Any:
    return state.invoke_statement()


def _parameters(m: SimpleNamespace, state: Any) -> None:
    state.parameters = {"given": 9}


def _execution_options(m: SimpleNamespace, state: Any) -> None:
    state.update_execution_options(populate_existing=True, mine=1)


def _tenancy(m: SimpleNamespace, state: Any) -> None:
    if state.is_select and not state.is_column_load and not state.is_relationship_load:
        state.statement = state.statement.options(m.orm.with_loader_criteria(m.User, lambda cls: cls.id != 7))


def _of_mapper(m: SimpleNamespace, state: Any) -> None:
    if state.bind_mapper is m.User.__mapper__ and state.is_select:
        state.statement = state.statement.where(m.User.id != 10)


LISTENERS: dict[str, Listener] = {
    "listens only": lambda m, state: None,
    "replaces": _replace,
    "another class": _of_other_class,
    "invokes": _invoke,
    "parameters": _parameters,
    "execution options": _execution_options,
    "tenancy": _tenancy,
    "of a mapper": _of_mapper,
}


def statements(m: SimpleNamespace) -> list[Any]:
    return [
        select(m.User).where(m.User.id == bindparam("given", 7)),
        select(m.User).order_by(m.User.id),
        select(m.User.id, m.User.name).order_by(m.User.id),
        select(m.User).options(m.orm.selectinload(m.User.addresses)).order_by(m.User.id),
        select(func.count()).select_from(m.User),
        select(m.User.__table__.c.id).where(m.User.__table__.c.id < 9),
        select(m.User).from_statement(select(m.User).where(m.User.id == 9)),
        update(m.User).where(m.User.id == 7).values(name="x"),
    ]


def outcome(m: SimpleNamespace, session: Any, statement: Any, **kw: Any) -> Any:
    try:
        result = session.execute(statement, **kw)
        if not result.returns_rows:
            return result.rowcount
        return [
            [(value.id, sorted(vars(value))) if isinstance(value, m.Base) else value for value in row]
            for row in result.unique().all()
        ]
    except Exception as err:
        return type(err).__name__


@pytest.mark.parametrize("name", LISTENERS)
def test_what_is_executed(name: str) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        seen: list[Any] = []

        @event.listens_for(session, "do_orm_execute")
        def listen(state: Any) -> Any:
            seen.append(
                (state.is_select, state.is_orm_statement, state.is_relationship_load, sorted(state.bind_arguments))
            )
            return LISTENERS[name](m, state)

        found = []
        for statement in [*statements(m), *statements(m)]:
            found.append(outcome(m, session, statement))
            found.append(outcome(m, session, statement, params={"given": 8}))
            found.append(outcome(m, session, statement, execution_options={"mine": 2}))
            found.append(outcome(m, session, statement, bind_arguments={"mapper": m.User}))
            session.expunge_all()
        return found, seen

    BOTH.check(scenario)


def test_flushed_once_and_after_the_listeners() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        order: list[str] = []
        event.listen(session, "do_orm_execute", lambda state: order.append(f"execute {bool(session.new)}"))
        event.listen(session, "before_flush", lambda *_: order.append("flush"))
        found = []
        for key in (101, 102):
            session.add(m.User(id=key, name="new"))
            found.append(session.scalars(select(m.User.id).where(m.User.id > 100)).all())
        session.add(m.User(id=103))
        found.append(session.execute(select(m.User.__table__.c.id).where(m.User.__table__.c.id > 100)).all())
        session.rollback()
        return [list(map(str, each)) for each in found], order

    BOTH.check(scenario)


def test_a_listener_that_sets_a_bind_argument() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        asked: list[Any] = []

        class Routed(m.orm.Session):  # type: ignore[misc, name-defined]
            def get_bind(self, **kw: Any) -> Any:
                asked.append(sorted(kw))
                kw.pop("mine", None)
                return super().get_bind(**kw)

        def listen(state: Any) -> None:
            state.bind_arguments["mine"] = 1

        with Routed(session.get_bind()) as routed:
            event.listen(routed, "do_orm_execute", listen)
            names = [user.name for user in routed.scalars(select(m.User).order_by(m.User.id))]
        return names, asked

    BOTH.check(scenario)
