"""Loading strategies on both ORMs: the same objects, by the same statements in the same order."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from orm_models import Statements, make_database, make_models
from sqlalchemy import func, select

ORMS = ("sqlalchemy.orm", "rustalchemy.orm")
MODELS = {name: make_models(importlib.import_module(name)) for name in ORMS}
ENGINES = {name: make_database(MODELS[name]) for name in ORMS}

Scenario = Callable[[SimpleNamespace, Any], Any]


def addresses_of(users: Any) -> Any:
    return [(user.id, user.name, [address.email for address in user.addresses]) for user in users]


def eager(*options: Callable[[SimpleNamespace], Any], limit: int | None = None) -> Scenario:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        statement = select(m.User).options(*[option(m) for option in options]).order_by(m.User.id)
        if limit is not None:
            statement = statement.limit(limit)
        users = session.scalars(statement).unique().all()
        return [(user.name, [(a.email, [d.data for d in a.dings]) for a in user.addresses]) for user in users]

    return scenario


def lazy(m: SimpleNamespace, session: Any) -> Any:
    return addresses_of(session.scalars(select(m.User).order_by(m.User.id)).all())


def lazy_many_to_one(m: SimpleNamespace, session: Any) -> Any:
    addresses = session.scalars(select(m.Address).order_by(m.Address.id)).all()
    return [address.user and address.user.name for address in addresses]


def lazy_from_map(m: SimpleNamespace, session: Any) -> Any:
    users = session.scalars(select(m.User)).all()
    addresses = session.scalars(select(m.Address).order_by(m.Address.id)).all()
    return [address.user in users for address in addresses]


def lazy_tree(m: SimpleNamespace, session: Any) -> Any:
    def shape(node: Any) -> Any:
        return node.name, [shape(child) for child in node.children]

    root = session.scalars(select(m.Node).where(m.Node.parent_id == None)).one()  # noqa: E711
    leaf = session.get(m.Node, 4)
    return shape(root), leaf.parent.parent is root


def lazy_secondary(m: SimpleNamespace, session: Any) -> Any:
    return [[user.name for user in tag.users] for tag in session.scalars(select(m.Tag).order_by(m.Tag.id))]


def lazy_of_expired(m: SimpleNamespace, session: Any) -> Any:
    user = session.get(m.User, 8)
    session.expire_all()
    return [address.email for address in user.addresses]


def get_then_get(m: SimpleNamespace, session: Any) -> Any:
    user = session.get(m.User, 8)
    return user.name, session.get(m.User, 8) is user, session.get(m.User, 99)


def expired_refresh(m: SimpleNamespace, session: Any) -> Any:
    user = session.get(m.User, 8)
    session.expire(user)
    return user.name, user.id


def expired_attribute(m: SimpleNamespace, session: Any) -> Any:
    user = session.get(m.User, 8)
    session.expire(user, ["name"])
    return user.id, user.name


def refresh(m: SimpleNamespace, session: Any) -> Any:
    user = session.get(m.User, 8)
    session.refresh(user)
    return user.name


def refresh_relationship(m: SimpleNamespace, session: Any) -> Any:
    user = session.get(m.User, 8)
    session.refresh(user, ["addresses"])
    return [address.email for address in user.addresses]


def refresh_after_eager(m: SimpleNamespace, session: Any) -> Any:
    user = (
        session.scalars(select(m.User).where(m.User.id == 8).options(m.orm.joinedload(m.User.addresses))).unique().one()
    )
    session.expire(user)
    return user.name, len(user.addresses)


def deferred(m: SimpleNamespace, session: Any) -> Any:
    user = session.scalars(select(m.User).options(m.orm.defer(m.User.name)).where(m.User.id == 8)).one()
    return "name" in user.__dict__, user.name


def deferred_twice(m: SimpleNamespace, session: Any) -> Any:
    address = session.scalars(select(m.Address).options(m.orm.load_only(m.Address.id)).where(m.Address.id == 2)).one()
    return address.email, address.user_id


def unset_after_flush(m: SimpleNamespace, session: Any) -> Any:
    user = m.User(id=50)
    session.add(user)
    session.flush()
    return user.name


def raise_ends_with_expiry(m: SimpleNamespace, session: Any) -> Any:
    address = session.scalars(
        select(m.Address).options(m.orm.raiseload("*"), m.orm.defer(m.Address.email)).where(m.Address.id == 2)
    ).one()
    session.expire(address)
    return address.id, "email" in address.__dict__, address.user.name


def mixed_rows(m: SimpleNamespace, session: Any) -> Any:
    statement = (
        select(m.User, m.Address.email, func.length(m.Address.email).label("n"))
        .join(m.User.addresses)
        .order_by(m.Address.id)
    )
    return [(row.User.name, row.email, row.n, row[0] is row.User) for row in session.execute(statement)]


def same_entity_many_rows(m: SimpleNamespace, session: Any) -> Any:
    users = session.scalars(select(m.User).join(m.User.addresses).order_by(m.Address.id)).all()
    return [user.id for user in users], len({id(user) for user in users})


def aliased_entities(m: SimpleNamespace, session: Any) -> Any:
    other = m.orm.aliased(m.User)
    rows = session.execute(select(m.User, other).where(m.User.id < other.id).order_by(m.User.id, other.id))
    return [(a.id, b.id) for a, b in rows]


def outer_join_none(m: SimpleNamespace, session: Any) -> Any:
    rows = session.execute(select(m.User, m.Address).outerjoin(m.User.addresses).order_by(m.User.id, m.Address.id))
    return [(user.name, address and address.email) for user, address in rows]


def bundle(m: SimpleNamespace, session: Any) -> Any:
    statement = select(m.orm.Bundle("b", m.User.id, m.User.name), m.User.name).order_by(m.User.id)
    return [(row.b.id, row.b.name, row.name) for row in session.execute(statement)]


def many_to_one(option: str) -> Scenario:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        load = getattr(m.orm, option)
        statement = select(m.Address).options(load(m.Address.user)).order_by(m.Address.id)
        return [address.user and address.user.name for address in session.scalars(statement)]

    return scenario


def secondary(option: str) -> Scenario:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        load = getattr(m.orm, option)
        statement = select(m.Tag).options(load(m.Tag.users).selectinload(m.User.addresses)).order_by(m.Tag.id)
        tags = session.scalars(statement).unique().all()
        return [[(user.name, len(user.addresses)) for user in tag.users] for tag in tags]

    return scenario


def tree(option: str, depth: int) -> Scenario:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        load = getattr(m.orm, option)(m.Node.children)
        for _ in range(depth - 1):
            load = getattr(load, option)(m.Node.children)
        statement = select(m.Node).where(m.Node.id == 1).options(load)
        root = session.scalars(statement).unique().one()
        return [[leaf.name for leaf in child.children] for child in root.children]

    return scenario


def recursive_selectin(m: SimpleNamespace, session: Any) -> Any:
    statement = select(m.Node).where(m.Node.id == 1).options(m.orm.selectinload(m.Node.children, recursion_depth=-1))
    root = session.scalars(statement).one()
    return [[leaf.name for leaf in child.children] for child in root.children]


def raised(option: Callable[[SimpleNamespace], Any]) -> Scenario:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        address = session.scalars(select(m.Address).options(option(m)).where(m.Address.id == 2)).one()
        try:
            return address.user.name
        except Exception as error:
            return type(error).__name__, str(error)

    return scenario


def raise_on_sql_in_map(m: SimpleNamespace, session: Any) -> Any:
    users = session.scalars(select(m.User)).all()
    address = session.scalars(
        select(m.Address).options(m.orm.raiseload(m.Address.user, sql_only=True)).where(m.Address.id == 2)
    ).one()
    return address.user in users


def raise_deferred(m: SimpleNamespace, session: Any) -> Any:
    user = session.scalars(select(m.User).options(m.orm.defer(m.User.name, raiseload=True))).first()
    try:
        return user.name
    except Exception as error:
        return type(error).__name__, str(error)


def eager_fills_existing(m: SimpleNamespace, session: Any) -> Any:
    kept = session.scalars(select(m.User)).all()
    session.scalars(select(m.User).options(m.orm.selectinload(m.User.addresses))).all()
    session.connection()
    return ["addresses" in user.__dict__ for user in kept]


def populate_existing(m: SimpleNamespace, session: Any) -> Any:
    user = session.get(m.User, 8)
    user.name = "changed"
    with session.no_autoflush:
        session.scalars(select(m.User).execution_options(populate_existing=True)).all()
    return user.name, user in session.dirty


def contains_eager(m: SimpleNamespace, session: Any) -> Any:
    statement = (
        select(m.User)
        .join(m.User.addresses)
        .where(m.Address.email.like("%lala%"))
        .options(m.orm.contains_eager(m.User.addresses))
    )
    return addresses_of(session.scalars(statement).unique().all())


def detached(m: SimpleNamespace, session: Any) -> Any:
    user = session.get(m.User, 8)
    session.expunge(user)
    try:
        return user.addresses
    except Exception as error:
        return type(error).__name__, str(error).startswith("Parent instance <User at 0x")


def not_uniqued(m: SimpleNamespace, session: Any) -> Any:
    try:
        return session.scalars(select(m.User).options(m.orm.joinedload(m.User.addresses))).all()
    except Exception as error:
        return type(error).__name__, str(error)


def results(m: SimpleNamespace, session: Any) -> Any:
    statement = select(m.User.id, m.User.name).order_by(m.User.id)
    one = session.execute(statement.where(m.User.id == 8))
    return (
        session.execute(statement).mappings().all() == [{"id": u.id, "name": u.name} for u in session.query(m.User)],
        one.one()._asdict(),
        session.scalar(select(func.count()).select_from(m.User)),
        session.execute(statement).partitions(3).__next__()[0].name,
        session.scalars(statement).fetchmany(2),
        session.execute(select(m.User)).scalars().first().name,
        list(session.execute(statement).columns("name")),
        session.execute(statement).keys() == ["id", "name"],
    )


def in_lists(m: SimpleNamespace, session: Any) -> Any:
    def names(ids: list[int]) -> Any:
        return session.scalars(select(m.User.name).where(m.User.id.in_(ids)).order_by(m.User.id)).all()

    return names([7, 8]), names([9]), names([]), names([7, 8, 9, 10])


def subquery_chain(m: SimpleNamespace, session: Any) -> Any:
    load = m.orm.subqueryload(m.User.addresses).subqueryload(m.Address.dings)
    users = session.scalars(select(m.User).options(load).where(m.User.id > 7).order_by(m.User.id)).unique().all()
    return [(user.name, [(a.email, [d.data for d in a.dings]) for a in user.addresses]) for user in users]


def yield_per(m: SimpleNamespace, session: Any) -> Any:
    return [user.name for user in session.scalars(select(m.User).execution_options(yield_per=2))]


SCENARIOS: dict[str, Scenario] = {
    "lazy": lazy,
    "lazy many-to-one": lazy_many_to_one,
    "lazy from the map": lazy_from_map,
    "lazy tree": lazy_tree,
    "lazy secondary": lazy_secondary,
    "lazy of expired": lazy_of_expired,
    "get": get_then_get,
    "expired": expired_refresh,
    "expired attribute": expired_attribute,
    "refresh": refresh,
    "refresh relationship": refresh_relationship,
    "refresh after eager": refresh_after_eager,
    "deferred": deferred,
    "deferred twice": deferred_twice,
    "unset after flush": unset_after_flush,
    "raise ends with expiry": raise_ends_with_expiry,
    "mixed rows": mixed_rows,
    "same entity": same_entity_many_rows,
    "aliased": aliased_entities,
    "outer join": outer_join_none,
    "bundle": bundle,
    "raiseload": raised(lambda m: m.orm.raiseload(m.Address.user)),
    "raiseload sql_only": raised(lambda m: m.orm.raiseload(m.Address.user, sql_only=True)),
    "raiseload all": raised(lambda m: m.orm.raiseload("*")),
    "raise_on_sql in map": raise_on_sql_in_map,
    "raise deferred": raise_deferred,
    "eager fills existing": eager_fills_existing,
    "populate_existing": populate_existing,
    "contains_eager": contains_eager,
    "detached": detached,
    "not uniqued": not_uniqued,
    "results": results,
    "yield_per": yield_per,
    "in": in_lists,
    "subquery chain": subquery_chain,
    "recursive selectin": recursive_selectin,
    "joined": eager(lambda m: m.orm.joinedload(m.User.addresses)),
    "joined chain": eager(lambda m: m.orm.joinedload(m.User.addresses).joinedload(m.Address.dings)),
    "joined limit": eager(lambda m: m.orm.joinedload(m.User.addresses), limit=2),
    "selectin": eager(lambda m: m.orm.selectinload(m.User.addresses)),
    "selectin chain": eager(lambda m: m.orm.selectinload(m.User.addresses).selectinload(m.Address.dings)),
    "selectin, joined": eager(lambda m: m.orm.selectinload(m.User.addresses).joinedload(m.Address.dings)),
    "joined, selectin": eager(lambda m: m.orm.joinedload(m.User.addresses).selectinload(m.Address.dings)),
    "immediate": eager(lambda m: m.orm.immediateload(m.User.addresses)),
    "lazyload, joined": eager(lambda m: m.orm.lazyload(m.User.addresses).joinedload(m.Address.dings)),
    "selectin chunks": eager(lambda m: m.orm.selectinload(m.User.addresses, chunksize=2)),
    **{f"m2o {option}": many_to_one(option) for option in ("joinedload", "selectinload", "immediateload")},
    **{f"m2m {option}": secondary(option) for option in ("joinedload", "selectinload")},
    **{f"tree {option} {n}": tree(option, n) for option in ("joinedload", "selectinload") for n in (1, 2)},
}


@pytest.mark.sqlalchemy21
@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("observed", [True, False], ids=["core", "lane"])
def test_same_objects_and_statements(name: str, observed: bool) -> None:
    outcomes = []
    for which in ORMS:
        models = MODELS[which]
        engine = ENGINES[which] if not observed else make_database(models)
        statements = Statements(engine) if observed else None
        for _ in range(2):  # the second time from the caches
            with models.orm.Session(engine) as session:
                outcome = SCENARIOS[name](models, session)
            outcomes.append((which, outcome, statements.take() if statements else None))
    theirs, theirs_again, ours, ours_again = outcomes
    assert ours[1] == theirs[1]
    assert ours[2] == theirs[2]
    assert ours_again[1:] == theirs_again[1:]
