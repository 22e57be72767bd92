"""Queries that stay symbolic find the same, by the same SQL, as ones that are built; and become real when they must."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from comparison import Comparison
from orm_models import make_database, make_models
from sqlalchemy import and_, func, literal, or_

BOTH = Comparison(make_models, make_database)

CRITERIA = {
    "equal": lambda m, n: (m.User.id == n,),
    "turned": lambda m, n: (literal(n) == m.User.id,),
    "unequal": lambda m, n: (m.User.id != n,),
    "less": lambda m, n: (m.User.id < n,),
    "at least": lambda m, n: (m.User.id >= n,),
    "two columns": lambda m, n: (m.User.id > n - 1, m.User.name == "ed"),
    "a range": lambda m, n: (m.User.id >= n - 1, m.User.id <= n),
    "twice the same": lambda m, n: (m.User.id == n, m.User.id == n),
    "none": lambda m, n: (m.User.name == None,),  # noqa: E711
    "true": lambda m, n: (m.User.id == True,),  # noqa: E712
    "and": lambda m, n: (and_(m.User.id == n, m.User.name == "ed"),),
    "or": lambda m, n: (or_(m.User.id == n, m.User.name == "jack"),),
    "function": lambda m, n: (func.length(m.User.name) == 2,),
    "two attributes": lambda m, n: (m.User.id == m.User.id,),
    "in": lambda m, n: (m.User.id.in_([n, 7]),),
    "like": lambda m, n: (m.User.name.like("%e%"),),
    "table column": lambda m, n: (m.User.__table__.c.id == n,),
    "alias": lambda m, n: (m.orm.aliased(m.User).id == n,),
    "relationship": lambda m, n: (m.User.addresses.any(m.Address.id == 2),),
    "negated": lambda m, n: (~(m.User.id == n),),
    "nothing": lambda m, n: (),
}


@pytest.mark.parametrize("name", CRITERIA)
def test_filter(name: str) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        found = []
        for n in (8, 9, 8):
            criteria = CRITERIA[name](m, n)
            session.query(m.User)  # known from here on
            query = session.query(m.User).filter(*criteria)
            found.append([user.id for user in query.all()])
            found.append([user.id for user in query.order_by(m.User.id.desc())])
            first = query.first()
            found.append([first and first.id, query.count(), str(query)])
        return found

    BOTH.check(scenario)


def test_mixed_with_filter_by_and_later_methods() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        session.query(m.User).first()
        query = session.query(m.User).filter(m.User.id > 7).filter_by(name="ed").filter(m.User.id < 20)
        narrower = query.filter(m.User.id != 8)
        return (
            query.one().id,
            narrower.one_or_none(),
            query.filter(m.User.name == "fred").all(),
            query.join(m.User.addresses).filter(m.Address.id == 3).one().id,
            [row.name for row in query.with_entities(m.User.name)],
            query.filter(m.User.id > 8).update({"name": "x"}, synchronize_session=False),
            str(query.statement),
        )

    BOTH.check(scenario)


def test_values_of_other_types_are_other_shapes() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        session.query(m.User).first()
        return [
            [user.id for user in session.query(m.User).filter(m.User.id == value)] for value in (8, "8", 8.0, "x", 9)
        ]

    BOTH.check(scenario)
