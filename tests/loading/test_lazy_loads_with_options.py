"""Lazy loads of objects that keep loader options: each the rows of its own key, with what the options say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from comparison import Comparison
from orm_models import make_database, make_models
from sqlalchemy import select
from sqlalchemy.exc import InvalidRequestError

BOTH = Comparison(make_models, make_database)

OPTIONS = {
    "load_only": lambda m, n: m.orm.defaultload(m.User.addresses).load_only(m.Address.email),
    "lazyload": lambda m, n: m.orm.lazyload(m.User.addresses),
    "raiseload below": lambda m, n: m.orm.lazyload(m.User.addresses).raiseload(m.Address.dings),
    "joinedload below": lambda m, n: m.orm.lazyload(m.User.addresses).joinedload(m.Address.dings),
    "selectinload below": lambda m, n: m.orm.lazyload(m.User.addresses).selectinload(m.Address.dings),
    "criteria": lambda m, n: m.orm.lazyload(m.User.addresses.and_(m.Address.id > n)),
    "criteria below": lambda m, n: m.orm.lazyload(m.User.addresses).selectinload(m.Address.dings.and_(m.Ding.id > n)),
    "loader criteria": lambda m, n: m.orm.with_loader_criteria(m.Address, m.Address.id > n),
}


def seen(address: Any) -> Any:
    before = sorted(set(vars(address)) - {"_sa_instance_state"})
    try:
        dings = [ding.id for ding in address.dings]
    except InvalidRequestError:
        dings = None
    return before, address.email, dings, address.user.name


@pytest.mark.parametrize("name", OPTIONS)
def test_collections(name: str) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        found = []
        for n in (0, 1, 2, 0):
            for user in session.scalars(select(m.User).options(OPTIONS[name](m, n)).order_by(m.User.id)).all():
                found.append((user.id, [seen(address) for address in user.addresses]))
            session.expunge_all()
        return found

    BOTH.check(scenario)


def test_many_to_one_and_changes() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        found = []
        option = m.orm.lazyload(m.Address.user).load_only(m.User.name)
        for _ in range(3):
            for address in session.scalars(select(m.Address).options(option).order_by(m.Address.id)).all():
                user = address.user
                found.append(user and (user.id, sorted(set(vars(user)) - {"_sa_instance_state"})))
            session.expunge_all()
        address = session.scalars(select(m.Address).options(option).where(m.Address.user_id != None)).first()  # noqa: E711
        address.user_id = None
        found.append(address.user)
        session.rollback()
        user = session.scalars(select(m.User).options(OPTIONS["load_only"](m, 0)).order_by(m.User.id)).first()
        # flushed before its collection is loaded
        session.add(m.Address(id=90, email="new", user_id=user.id))
        found.append([address.email for address in user.addresses])
        return found

    BOTH.check(scenario)
