"""Loader options of one shape with other values each time: objects keep those of their own statement."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from comparison import Comparison
from orm_models import make_database, make_models
from sqlalchemy import select

BOTH = Comparison(make_models, make_database)

OPTIONS: dict[str, Callable[[SimpleNamespace, int], Any]] = {
    "lazyload": lambda m, value: m.orm.lazyload(m.User.addresses.and_(m.Address.id != value)),
    "selectinload": lambda m, value: m.orm.selectinload(m.User.addresses.and_(m.Address.id != value)),
    "subqueryload": lambda m, value: m.orm.subqueryload(m.User.addresses.and_(m.Address.id != value)),
    "joinedload": lambda m, value: m.orm.joinedload(m.User.addresses.and_(m.Address.id != value)),
    "criteria": lambda m, value: m.orm.with_loader_criteria(m.Address, m.Address.id != value),
    "criteria lambda": lambda m, value: m.orm.with_loader_criteria(m.Address, lambda cls: cls.id != value),
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("legacy", [False, True], ids=["select", "query"])
def test_values_are_those_of_the_statement_at_hand(name: str, legacy: bool) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        found = []
        for value in (2, 3, 4, 2):
            session.expunge_all()
            option = OPTIONS[name](m, value)
            if legacy:
                user = session.query(m.User).filter(m.User.id == 8).options(option).one()
            else:
                user = session.scalars(select(m.User).where(m.User.id == 8).options(option)).unique().one()
            found.append([address.id for address in user.addresses])
        return found

    assert BOTH.check(scenario) == [[3, 4], [2, 4], [2, 3], [3, 4]]


def test_objects_of_earlier_executions_keep_theirs() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        users = [
            session.scalars(
                select(m.User)
                .where(m.User.id == id_)
                .options(m.orm.lazyload(m.User.addresses.and_(m.Address.id != value)))
            ).one()
            for id_, value in ((8, 2), (9, 4), (7, 99))
        ]
        return [[address.id for address in user.addresses] for user in users]

    assert BOTH.check(scenario) == [[3, 4], [5], [1]]


def test_criteria_beside_a_strategy_of_the_same_statement() -> None:
    """What loads later follows the strategy that an option chose, with the criteria of the object's own execution."""

    def scenario(m: SimpleNamespace, session: Any) -> Any:
        users = [
            session.scalars(
                select(m.User)
                .where(m.User.id == id_)
                .options(m.orm.immediateload(m.User.addresses), m.orm.defer(m.User.name))
                .options(m.orm.with_loader_criteria(m.Address, m.Address.id != value))
            ).one()
            for id_, value in ((8, 2), (9, 4), (7, 1), (8, 3))
        ]
        session.expire(users[0], ["addresses"])
        return [([address.id for address in user.addresses], user.name) for user in users]

    found = BOTH.check(scenario)
    assert [addresses for addresses, _ in found] == [[3, 4], [5], [], [3, 4]]


def test_criteria_of_a_refreshed_object_are_those_of_the_last_execution() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        found = []
        for value in (2, 3, 4):
            statement = select(m.User).where(m.User.id == 8)
            statement = statement.options(m.orm.with_loader_criteria(m.Address, m.Address.id != value))
            user = session.scalars(statement, execution_options={"populate_existing": True}).one()
            found.append([address.id for address in user.addresses])
        return found

    assert BOTH.check(scenario) == [[3, 4], [2, 4], [2, 3]]
