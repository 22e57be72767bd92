"""subqueryload() of statements that were seen before: the embedded statement's values are those of this time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from comparison import Comparison
from orm_models import make_database, make_models
from sqlalchemy import func, literal, select, text

BOTH = Comparison(make_models, make_database)

Statement = Callable[[SimpleNamespace, int], Any]


def loads(m: SimpleNamespace) -> Any:
    return m.orm.subqueryload(m.User.addresses)


STATEMENTS: dict[str, Statement] = {
    "criteria": lambda m, n: select(m.User).where(m.User.id >= n).options(loads(m)),
    "limit": lambda m, n: select(m.User).order_by(m.User.id.desc()).limit(n).offset(1).options(loads(m)),
    "values in order": lambda m, n: select(m.User).order_by(m.User.id % (n + 1), m.User.id).limit(2).options(loads(m)),
    "values in columns": lambda m, n: select(m.User, literal(n)).where(m.User.id > n).options(loads(m)),
    "in": lambda m, n: select(m.User).where(m.User.id.in_(range(n))).options(loads(m)),
    "text": lambda m, n: select(m.User).where(text("users.id >= :n")).params(n=n).options(loads(m)),
    "twice the same": lambda m, n: (lambda c: select(m.User).where(c).where(c).options(loads(m)))(m.User.id >= n),
    "distinct": lambda m, n: select(m.User).distinct().order_by(func.abs(m.User.id - n)).limit(2).options(loads(m)),
    "nested": lambda m, n: select(m.User).where(m.User.id >= n).options(loads(m).subqueryload(m.Address.dings)),
    "many-to-one": lambda m, n: select(m.Address).where(m.Address.id > n).options(m.orm.subqueryload(m.Address.user)),
    "self-referential": lambda m, n: (
        select(m.Node).where(m.Node.id <= n).options(m.orm.subqueryload(m.Node.children).subqueryload(m.Node.children))
    ),
    "criteria of the load": lambda m, n: select(m.User).options(
        m.orm.subqueryload(m.User.addresses.and_(m.Address.id > n))
    ),
    "loader criteria": lambda m, n: select(m.User).options(
        loads(m), m.orm.with_loader_criteria(m.Address, m.Address.id > n)
    ),
    "alias": lambda m, n: (lambda a: select(a).where(a.id >= n).options(m.orm.subqueryload(a.addresses)))(
        m.orm.aliased(m.User)
    ),
    "join": lambda m, n: select(m.User).join(m.User.addresses).where(m.Address.id > n).options(loads(m)),
}


def loaded(m: SimpleNamespace, value: Any, depth: int = 3) -> Any:
    """What there is of an object without a further statement."""
    if isinstance(value, (list, tuple)):
        return [loaded(m, part, depth) for part in value]
    if not isinstance(value, m.Base):
        return value
    names = sorted(set(vars(value)) - {"_sa_instance_state"}) if depth else ["id"]
    return [(name, loaded(m, vars(value)[name], depth - 1)) for name in names]


@pytest.mark.parametrize("name", STATEMENTS)
def test_values_are_those_of_this_time(name: str) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        found = []
        for n in (1, 2, 3, 1):
            rows = session.execute(STATEMENTS[name](m, n)).all()
            found.append([loaded(m, list(row)) for row in rows])
            session.expunge_all()
        return found

    BOTH.check(scenario)


def test_with_a_query() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        found = []
        for n in (1, 2, 3):
            users = session.query(m.User).filter(m.User.id >= n).options(loads(m)).order_by(m.User.id)
            found += [loaded(m, users.all()), loaded(m, users.limit(1).all())]
            found.append(loaded(m, users.filter(text("users.id < :x")).params(x=n + 2).all()))
            session.expunge_all()
        return found

    BOTH.check(scenario)
