"""``select()`` of mapped classes compiles to the text SQLAlchemy's ORM makes of it, with a cache key of its own."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from orm_models import make_models
from sqlalchemy import and_, case, exists, func, literal_column, or_, select, text, union_all
from sqlalchemy.dialects import mysql, postgresql, sqlite

MODELS = {name: make_models(importlib.import_module(name)) for name in ("sqlalchemy.orm", "rustalchemy.orm")}

STATEMENTS: dict[str, Callable[[SimpleNamespace], Any]] = {
    "entity": lambda m: select(m.User),
    "columns": lambda m: select(m.User.id, m.User.name),
    "same name twice": lambda m: select(m.User.id, m.Address.id).join(m.User.addresses),
    "labels": lambda m: select(m.User.name.label("x"), (m.User.id + 1).label("y")),
    "mixed": lambda m: select(m.User, m.Address.email).join(m.User.addresses),
    "two entities": lambda m: select(m.User, m.Address).where(m.User.id == m.Address.user_id),
    "where": lambda m: select(m.User).where(or_(m.User.name == "ed", m.User.id.in_([7, 8]))),
    "order, limit": lambda m: select(m.User).order_by(m.User.name.desc(), m.User.id).limit(2).offset(1),
    "distinct": lambda m: select(m.User.name).distinct(),
    "filter_by": lambda m: select(m.User).filter_by(name="ed"),
    "filter_by joined": lambda m: select(m.User).join(m.User.addresses).filter_by(email="x"),
    "group": lambda m: (
        select(m.User.name, func.count(m.Address.id))
        .join(m.User.addresses)
        .group_by(m.User.name)
        .having(func.count(m.Address.id) > 1)
    ),
    "join relationship": lambda m: select(m.User).join(m.User.addresses),
    "join twice": lambda m: select(m.User).join(m.User.addresses).join(m.Address.dings),
    "join entity": lambda m: select(m.User).join(m.Address),
    "join target, relationship": lambda m: select(m.User).join(m.Address, m.User.addresses),
    "join target, onclause": lambda m: select(m.User).join(m.Address, m.User.id == m.Address.user_id),
    "outer join": lambda m: select(m.User).outerjoin(m.User.addresses).where(m.Address.id == None),  # noqa: E711
    "full join": lambda m: select(m.User).join(m.User.addresses, full=True),
    "join_from": lambda m: select(m.User.name, m.Address.email).join_from(m.User, m.Address),
    "join_from relationship": lambda m: select(m.Address).join_from(m.User, m.User.addresses),
    "select_from": lambda m: select(m.Address).select_from(m.User).join(m.User.addresses),
    "join secondary": lambda m: select(m.Tag).join(m.Tag.users),
    "join table": lambda m: select(m.User).join(m.links, m.links.c.user_id == m.User.id),
    "and_": lambda m: select(m.User).join(m.User.addresses.and_(m.Address.email == "x")),
    "alias": lambda m: _aliased(m, lambda a: select(a).where(a.name == "ed")),
    "alias and entity": lambda m: _aliased(m, lambda a: select(m.User, a).where(m.User.id < a.id)),
    "alias join": lambda m: _aliased(m, lambda a: select(a).join(a.addresses)),
    "of_type": lambda m: select(m.User).join(m.User.addresses.of_type(m.orm.aliased(m.Address))),
    "self join": lambda m: _node(m, lambda a: select(m.Node).join(m.Node.parent.of_type(a)).where(a.name == "x")),
    "any": lambda m: select(m.User).where(m.User.addresses.any(m.Address.email == "x")),
    "not any": lambda m: select(m.User).where(~m.User.addresses.any()),
    "has": lambda m: select(m.Address).where(m.Address.user.has(name="ed")),
    "any secondary": lambda m: select(m.Tag).where(m.Tag.users.any(m.User.name == "ed")),
    "relationship is None": lambda m: select(m.Address).where(m.Address.user == None),  # noqa: E711
    "exists": lambda m: select(m.User).where(exists().where(m.Address.user_id == m.User.id)),
    "in subquery": lambda m: select(m.User).where(m.User.id.in_(select(m.Address.user_id))),
    "scalar subquery": lambda m: select(
        m.User.name,
        select(func.count(m.Address.id)).where(m.Address.user_id == m.User.id).scalar_subquery(),
    ),
    "correlate": lambda m: select(m.User).where(
        select(m.Address.id).where(m.Address.user_id == m.User.id).correlate(m.User).exists()
    ),
    "subquery": lambda m: _subquery(m),
    "alias of subquery": lambda m: select(m.orm.aliased(m.User, select(m.User).where(m.User.id > 7).subquery())),
    "cte": lambda m: _cte(m),
    "recursive cte": lambda m: _recursive(m),
    "union": lambda m: select(m.User.id).union(select(m.Address.id)),
    "entities of union": lambda m: select(m.orm.aliased(m.User, union_all(select(m.User), select(m.User)).subquery())),
    "from_statement": lambda m: select(m.User).from_statement(select(m.User).order_by(m.User.id)),
    "from text": lambda m: select(m.User).from_statement(text("SELECT * FROM users")),
    "case": lambda m: select(case((m.User.id > 7, m.User.name), else_="x")),
    "literal": lambda m: select(m.User, literal_column("1").label("one")),
    "bundle": lambda m: select(m.orm.Bundle("b", m.User.id, m.User.name)),
    "with_only_columns": lambda m: select(m.User).join(m.User.addresses).with_only_columns(m.Address.id),
    "for update": lambda m: select(m.User).with_for_update(),
    "prefix": lambda m: select(m.User).prefix_with("ALL"),
    "and twice": lambda m: select(m.User).where(and_(m.User.id > 1, m.User.id < 9)).where(m.User.name != "q"),
}

OPTIONS: dict[str, Callable[[SimpleNamespace], Any]] = {
    "joined": lambda m: select(m.User).options(m.orm.joinedload(m.User.addresses)),
    "joined many-to-one": lambda m: select(m.Address).options(m.orm.joinedload(m.Address.user)),
    "joined inner": lambda m: select(m.Address).options(m.orm.joinedload(m.Address.user, innerjoin=True)),
    "joined chain": lambda m: select(m.User).options(m.orm.joinedload(m.User.addresses).joinedload(m.Address.dings)),
    "joined nested inner": lambda m: select(m.User).options(
        m.orm.joinedload(m.User.addresses).joinedload(m.Address.dings, innerjoin=True)
    ),
    "joined all inner": lambda m: select(m.User).options(
        m.orm.joinedload(m.User.addresses, innerjoin=True).joinedload(m.Address.dings, innerjoin=True)
    ),
    "joined unnested": lambda m: select(m.User).options(
        m.orm.joinedload(m.User.addresses).joinedload(m.Address.dings, innerjoin="unnested")
    ),
    "joined secondary": lambda m: select(m.Tag).options(m.orm.joinedload(m.Tag.users)),
    "joined secondary chain": lambda m: select(m.Tag).options(
        m.orm.joinedload(m.Tag.users).joinedload(m.User.addresses)
    ),
    "joined limit": lambda m: select(m.User).options(m.orm.joinedload(m.User.addresses)).limit(2),
    "joined limit ordered": lambda m: (
        select(m.User).options(m.orm.joinedload(m.User.addresses)).order_by(m.User.name).limit(2).offset(1)
    ),
    "joined limit ordered by other": lambda m: (
        select(m.User)
        .join(m.User.addresses)
        .options(m.orm.joinedload(m.User.addresses))
        .order_by(m.Address.email)
        .limit(2)
    ),
    "joined scalar limit": lambda m: select(m.Address).options(m.orm.joinedload(m.Address.user)).limit(2),
    "joined distinct": lambda m: select(m.User).distinct().options(m.orm.joinedload(m.User.addresses)),
    "joined self": lambda m: select(m.Node).options(m.orm.joinedload(m.Node.children)),
    "joined self twice": lambda m: select(m.Node).options(
        m.orm.joinedload(m.Node.children).joinedload(m.Node.children)
    ),
    "joined beside join": lambda m: (
        select(m.User).join(m.User.addresses).where(m.Address.email == "x").options(m.orm.joinedload(m.User.addresses))
    ),
    "joined alias": lambda m: _aliased(m, lambda a: select(a).options(m.orm.joinedload(a.addresses))),
    "joined and_": lambda m: select(m.User).options(m.orm.joinedload(m.User.addresses.and_(m.Address.email == "x"))),
    "contains_eager": lambda m: select(m.User).join(m.User.addresses).options(m.orm.contains_eager(m.User.addresses)),
    "contains_eager alias": lambda m: _address(
        m,
        lambda a: (
            select(m.User).join(m.User.addresses.of_type(a)).options(m.orm.contains_eager(m.User.addresses.of_type(a)))
        ),
    ),
    "load_only": lambda m: select(m.User).options(m.orm.load_only(m.User.name)),
    "defer": lambda m: select(m.User).options(m.orm.defer(m.User.name)),
    "defer all": lambda m: select(m.User).options(m.orm.defer("*"), m.orm.undefer(m.User.name)),
    "defer in joined": lambda m: select(m.User).options(m.orm.joinedload(m.User.addresses).defer(m.Address.email)),
    "load_only in joined": lambda m: select(m.User).options(
        m.orm.joinedload(m.User.addresses).load_only(m.Address.email)
    ),
    "selectin": lambda m: select(m.User).options(m.orm.selectinload(m.User.addresses)),
    "raise all": lambda m: select(m.User).options(m.orm.raiseload("*")),
    "Load": lambda m: select(m.User).options(m.orm.Load(m.User).joinedload(m.User.addresses)),
    "Load.options": lambda m: select(m.User).options(
        m.orm.defaultload(m.User.addresses).options(m.orm.joinedload(m.Address.dings))
    ),
    "criteria": lambda m: select(m.User).options(m.orm.with_loader_criteria(m.User, m.User.name != "x")),
    "criteria in joined": lambda m: select(m.User).options(
        m.orm.joinedload(m.User.addresses), m.orm.with_loader_criteria(m.Address, m.Address.email != "x")
    ),
}


def _aliased(m: SimpleNamespace, build: Callable[[Any], Any]) -> Any:
    return build(m.orm.aliased(m.User))


def _address(m: SimpleNamespace, build: Callable[[Any], Any]) -> Any:
    return build(m.orm.aliased(m.Address))


def _node(m: SimpleNamespace, build: Callable[[Any], Any]) -> Any:
    return build(m.orm.aliased(m.Node))


def _subquery(m: SimpleNamespace) -> Any:
    counts = select(m.Address.user_id, func.count().label("n")).group_by(m.Address.user_id).subquery()
    return select(m.User, counts.c.n).outerjoin(counts, m.User.id == counts.c.user_id)


def _cte(m: SimpleNamespace) -> Any:
    cte = select(m.User).where(m.User.id > 7).cte("some_users")
    return select(m.orm.aliased(m.User, cte))


def _recursive(m: SimpleNamespace) -> Any:
    top = select(m.Node.id, m.Node.parent_id).where(m.Node.parent_id == None).cte("tree", recursive=True)  # noqa: E711
    tree = top.union_all(select(m.Node.id, m.Node.parent_id).where(m.Node.parent_id == top.c.id))
    return select(m.Node).join(tree, m.Node.id == tree.c.id)


@pytest.mark.parametrize("name", [*STATEMENTS, *OPTIONS])
def test_same_text(name: str) -> None:
    build = STATEMENTS.get(name) or OPTIONS[name]
    theirs, ours = (build(MODELS[which]) for which in ("sqlalchemy.orm", "rustalchemy.orm"))
    for dialect in (None, sqlite.dialect(), postgresql.dialect(), mysql.dialect()):
        expected, got = theirs.compile(dialect=dialect), ours.compile(dialect=dialect)
        assert str(got) == str(expected)
        assert got.params == expected.params


@pytest.mark.parametrize("name", [*STATEMENTS, *OPTIONS])
def test_cache_key(name: str) -> None:
    """Two statements built alike share a key; it is there exactly where SQLAlchemy has one."""
    build = STATEMENTS.get(name) or OPTIONS[name]
    theirs, ours = MODELS["sqlalchemy.orm"], MODELS["rustalchemy.orm"]
    key, again = build(ours)._generate_cache_key(), build(ours)._generate_cache_key()
    assert (key is None) == (build(theirs)._generate_cache_key() is None)
    assert (key == again) == (build(theirs)._generate_cache_key() == build(theirs)._generate_cache_key())
