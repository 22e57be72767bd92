"""Loads that follow a statement seen before: their statements are kept, the values in them are those of this time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from comparison import Comparison
from orm_models import make_database, make_models
from sqlalchemy import event, select

BOTH = Comparison(make_models, make_database)

Options = Callable[[SimpleNamespace, int], Any]


def _criterion(m: SimpleNamespace, n: int) -> Any:
    return m.User.addresses.and_(m.Address.id != n)


def _of_alias(m: SimpleNamespace, n: int) -> Any:
    alias = m.orm.aliased(m.Address)
    return [m.orm.selectinload(m.User.addresses.of_type(alias).and_(alias.id != n))]


OPTIONS: dict[str, Options] = {
    "criteria": lambda m, n: [m.orm.selectinload(_criterion(m, n))],
    "two criteria": lambda m, n: [m.orm.selectinload(_criterion(m, n).and_(m.Address.email != f"a{n}"))],
    "list": lambda m, n: [m.orm.selectinload(m.User.addresses.and_(m.Address.id.in_(range(n))))],
    "nested": lambda m, n: [m.orm.selectinload(_criterion(m, n)).selectinload(m.Address.dings)],
    "nested criteria": lambda m, n: [
        m.orm.selectinload(_criterion(m, n)).selectinload(m.Address.dings.and_(m.Ding.id >= n))
    ],
    "inner criteria": lambda m, n: [
        m.orm.selectinload(m.User.addresses).selectinload(m.Address.dings.and_(m.Ding.id >= n))
    ],
    "lazy inner criteria": lambda m, n: [
        m.orm.selectinload(m.User.addresses).lazyload(m.Address.dings.and_(m.Ding.id >= n))
    ],
    "immediate inner": lambda m, n: [m.orm.selectinload(_criterion(m, n)).immediateload(m.Address.dings)],
    "joined inner criteria": lambda m, n: [
        m.orm.selectinload(m.User.addresses).joinedload(m.Address.dings.and_(m.Ding.id >= n))
    ],
    "subquery inner": lambda m, n: [m.orm.selectinload(_criterion(m, n)).subqueryload(m.Address.dings)],
    "below joined": lambda m, n: [
        m.orm.joinedload(m.User.addresses).selectinload(m.Address.dings.and_(m.Ding.id >= n))
    ],
    "loader criteria": lambda m, n: [
        m.orm.selectinload(m.User.addresses),
        m.orm.with_loader_criteria(m.Address, m.Address.id != n),
    ],
    "loader criteria, lambda": lambda m, n: [
        m.orm.selectinload(m.User.addresses),
        m.orm.with_loader_criteria(m.Address, lambda cls: cls.id != n),
    ],
    "both": lambda m, n: [
        m.orm.selectinload(_criterion(m, n)),
        m.orm.with_loader_criteria(m.Address, m.Address.id != n + 1),
    ],
    "loader criteria that do not propagate": lambda m, n: [
        m.orm.selectinload(m.User.addresses),
        m.orm.with_loader_criteria(m.Address, m.Address.id != n, propagate_to_loaders=False),
    ],
    "alias": _of_alias,
    "plain": lambda m, n: [m.orm.selectinload(m.User.addresses).selectinload(m.Address.dings)],
    "immediate": lambda m, n: [m.orm.immediateload(m.User.addresses).immediateload(m.Address.dings)],
    "immediate and criteria": lambda m, n: [
        m.orm.immediateload(m.User.addresses),
        m.orm.with_loader_criteria(m.Address, m.Address.id != n),
    ],
    "immediate, select-in below": lambda m, n: [
        m.orm.immediateload(m.User.addresses).selectinload(m.Address.dings.and_(m.Ding.id >= n))
    ],
    "immediate, back": lambda m, n: [m.orm.immediateload(m.User.addresses).immediateload(m.Address.user)],
}


def statement_of(m: SimpleNamespace, name: str, n: int, first: int = 7) -> Any:
    return select(m.User).where(m.User.id >= first).order_by(m.User.id).options(*OPTIONS[name](m, n))


def tree(m: SimpleNamespace, users: list[Any]) -> Any:
    """What the objects have, and load, below the users."""
    return [
        (user.id, [(address.id, [ding.id for ding in address.dings]) for address in user.addresses]) for user in users
    ]


@pytest.mark.parametrize("name", OPTIONS)
def test_built_anew(name: str) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        found = []
        for n in (1, 2, 3, 1):
            found.append(tree(m, session.scalars(statement_of(m, name, n, 6 + n)).unique().all()))
            session.expunge_all()
        return found

    BOTH.check(scenario)


@pytest.mark.parametrize("name", OPTIONS)
def test_executed_again(name: str) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        statements = [statement_of(m, name, n) for n in (1, 2)]
        found = []
        for statement in statements * 2:
            found.append(tree(m, session.scalars(statement).unique().all()))
            session.expunge_all()
        return found

    BOTH.check(scenario)


@pytest.mark.parametrize("name", OPTIONS)
def test_objects_keep_the_options_of_their_own_execution(name: str) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        users = []
        for n, key in ((2, 8), (5, 9), (3, 8)):
            statement = select(m.User).where(m.User.id == key).options(*OPTIONS[name](m, n))
            with m.orm.Session(session.get_bind()) as other:
                users.append(other.scalars(statement).unique().one())
                for address in users[-1].addresses:
                    other.expire(address, ["dings"])
                other.expire(users[-1], ["addresses"])
                other.expunge_all()
        found = []
        for user in users:
            session.expunge_all()
            session.add(user)
            found.append(tree(m, [user]))
        return found

    BOTH.check(scenario)


@pytest.mark.parametrize("name", OPTIONS)
def test_with_listeners(name: str) -> None:
    """do_orm_execute hears of every statement, what kind of load it is, and along which path."""

    def scenario(m: SimpleNamespace, session: Any) -> Any:
        heard: list[Any] = []

        @event.listens_for(session, "do_orm_execute")
        def listen(state: Any) -> None:
            path = state.loader_strategy_path
            heard.append(
                (
                    state.is_column_load,
                    state.is_relationship_load,
                    [str(part) for part in path.path] if path else None,
                    state.lazy_loaded_from and state.lazy_loaded_from.obj().id,
                    len(state.user_defined_options),
                    sorted(map(str, state.bind_arguments)),
                )
            )

        found = []
        for n in (1, 2):
            found.append(tree(m, session.scalars(statement_of(m, name, n)).unique().all()))
            session.expunge_all()
        return found, heard

    BOTH.check(scenario)


def test_populate_existing() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        found = []
        for n in (1, 2, 3):
            for name in ("criteria", "immediate and criteria", "nested criteria"):
                statement = statement_of(m, name, n).execution_options(populate_existing=True)
                found.append(tree(m, session.scalars(statement).all()))
        return found

    BOTH.check(scenario)


def test_execution_options_reach_the_loads_that_follow() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        heard = []
        listen = lambda state: heard.append(state.execution_options.get("mine"))  # noqa: E731
        found = []
        for name in ("criteria", "immediate", "immediate, select-in below"):
            for n in (1, 2):
                found.append(tree(m, session.scalars(statement_of(m, name, n), execution_options={"mine": n}).all()))
                session.expunge_all()
        event.listen(session, "do_orm_execute", listen)
        for name in ("criteria", "immediate", "immediate, select-in below"):
            found.append(tree(m, session.scalars(statement_of(m, name, 1).execution_options(mine=name)).all()))
            session.expunge_all()
        return found, heard

    BOTH.check(scenario)


def test_more_parents_than_one_statement_takes() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        session.add_all(m.User(id=i, addresses=[m.Address(id=i, email=f"e{i % 3}")]) for i in range(1000, 2100))
        session.flush()
        found = []
        for n in (0, 1, 2):
            session.expunge_all()
            option = m.orm.selectinload(m.User.addresses.and_(m.Address.email != f"e{n}"))
            users = session.scalars(select(m.User).options(option).order_by(m.User.id))
            found.append(sum(len(user.addresses) for user in users))
        session.rollback()
        return found

    BOTH.check(scenario)
