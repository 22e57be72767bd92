"""Statements of one shape are statements of one cache key, whatever their values are, and have their parameters in
the same order."""

from __future__ import annotations

import functools
import importlib
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from comparison import IS_REFERENCE, Comparison
from orm_models import make_database, make_models
from sqlalchemy import (
    String,
    and_,
    bindparam,
    case,
    cast,
    desc,
    exists,
    extract,
    func,
    literal,
    null,
    or_,
    select,
    text,
    tuple_,
    type_coerce,
    union,
    union_all,
)

from rustalchemy.orm._statement_shape import statement_shape

BOTH = Comparison(make_models, make_database)


def aliased_join(m: SimpleNamespace, n: int) -> Any:
    one, other = m.orm.aliased(m.Address), m.orm.aliased(m.Address)
    return select(m.User, one.id).join(m.User.addresses.of_type(one)).join(other, other.user_id == one.user_id + n)


def aliased_join_turned(m: SimpleNamespace, n: int) -> Any:
    one, other = m.orm.aliased(m.Address), m.orm.aliased(m.Address)
    return select(m.User, one.id).join(m.User.addresses.of_type(other)).join(one, other.user_id == one.user_id + n)


def aliased_criteria(m: SimpleNamespace, n: int) -> Any:
    alias = m.orm.aliased(m.User)
    return select(alias).where(alias.id > n, alias.name != "x").order_by(alias.name.desc())


def aliased_plain(m: SimpleNamespace, n: int, **kw: Any) -> Any:
    alias = m.orm.aliased(m.User, **kw)
    return select(alias).where(alias.id > n)


def aliased_twice(m: SimpleNamespace, n: int) -> Any:
    one, other = m.orm.aliased(m.User), m.orm.aliased(m.User)
    return select(one).where(other.id > n)


def aliased_options(m: SimpleNamespace, n: int) -> Any:
    alias = m.orm.aliased(m.User)
    loads = (m.orm.joinedload(alias.addresses), m.orm.load_only(alias.name))
    return select(alias).options(*loads).where(alias.id > n)


def aliased_relationship(m: SimpleNamespace, n: int) -> Any:
    alias = m.orm.aliased(m.User)
    return select(alias.id, m.Address).join(alias.addresses).where(m.Address.id > n)


def polymorphic(m: SimpleNamespace, n: int, **kw: Any) -> Any:
    alias = m.orm.with_polymorphic(m.User, [m.User], **kw)
    return select(alias).where(alias.id > n)


def counts(m: SimpleNamespace, n: int) -> Any:
    per_user = select(m.Address.user_id, func.count().label("many")).group_by(m.Address.user_id)
    return per_user.where(m.Address.id > n).subquery()


Statement = Callable[[SimpleNamespace, int], Any]

SHAPED: dict[str, Statement] = {
    "entity": lambda m, n: select(m.User),
    "other entity": lambda m, n: select(m.Address),
    "two entities": lambda m, n: select(m.User, m.Address).join(m.User.addresses),
    "columns": lambda m, n: select(m.User.id, m.User.name),
    "columns turned": lambda m, n: select(m.User.name, m.User.id),
    "select_from": lambda m, n: select(m.User.id).select_from(m.User),
    "equal": lambda m, n: select(m.User).where(m.User.id == n),
    "less": lambda m, n: select(m.User).where(m.User.id < n),
    "other column": lambda m, n: select(m.User).where(m.User.name == str(n)),
    "two criteria": lambda m, n: select(m.User).where(m.User.id == n, m.User.name == str(n)),
    "and": lambda m, n: select(m.User).where(and_(m.User.id == n, m.User.name == str(n))),
    "or": lambda m, n: select(m.User).where(or_(m.User.id == n, m.User.name == str(n))),
    "or of three": lambda m, n: select(m.User).where(or_(m.User.id == n, m.User.id == n + 1, m.User.name == "x")),
    "nested": lambda m, n: select(m.User).where(or_(and_(m.User.id > n, m.User.id < n + 9), ~(m.User.name == "x"))),
    "not": lambda m, n: select(m.User).where(~or_(m.User.id == n, m.User.name == str(n))),
    "arithmetic": lambda m, n: select(m.User).where(m.User.id + n == 9),
    "in": lambda m, n: select(m.User).where(m.User.id.in_(range(n))),
    "not in": lambda m, n: select(m.User).where(m.User.id.not_in(range(n))),
    "like": lambda m, n: select(m.User).where(m.User.name.like("%e%")),
    "like, escaped": lambda m, n: select(m.User).where(m.User.name.like("%e%", escape="/")),
    "like, escaped otherwise": lambda m, n: select(m.User).where(m.User.name.like("%e%", escape="!")),
    "startswith": lambda m, n: select(m.User).where(m.User.name.startswith("e")),
    "contains": lambda m, n: select(m.User).where(m.User.name.contains("e", autoescape=True)),
    "ilike": lambda m, n: select(m.User).where(m.User.name.ilike("E%")),
    "between": lambda m, n: select(m.User).where(m.User.id.between(n, n + 2)),
    "null": lambda m, n: select(m.User).where(m.User.name.is_(None)),
    "not null": lambda m, n: select(m.User).where(m.User.name.is_not(null())),
    "two columns compared": lambda m, n: select(m.Address).where(m.Address.id == m.Address.user_id),
    "order": lambda m, n: select(m.User).order_by(m.User.id),
    "order down": lambda m, n: select(m.User).order_by(m.User.id.desc()),
    "order down nulls": lambda m, n: select(m.User).order_by(desc(m.User.id).nulls_last()),
    "order by two": lambda m, n: select(m.User).order_by(m.User.name, m.User.id.desc()),
    "limit": lambda m, n: select(m.User).limit(n),
    "offset": lambda m, n: select(m.User).offset(n),
    "limit, offset": lambda m, n: select(m.User).limit(n).offset(n + 1),
    "all of it": lambda m, n: (
        select(m.User)
        .join(m.User.addresses)
        .where(m.Address.id > n)
        .order_by(m.User.id + n)
        .group_by(m.User.id)
        .having(func.count(m.Address.id) > 0)
        .limit(n + 2)
        .offset(1)
    ),
    "distinct": lambda m, n: select(m.User.name).distinct(),
    "group": lambda m, n: select(m.User.name, func.count(m.User.id)).group_by(m.User.name),
    "having": lambda m, n: select(m.User.name).group_by(m.User.name).having(func.count(m.User.id) > n),
    "function": lambda m, n: select(m.User).where(func.lower(m.User.name) == "x"),
    "other function": lambda m, n: select(m.User).where(func.upper(m.User.name) == "x"),
    "function of a package": lambda m, n: select(func.main.lower(m.User.name)),
    "function with a value": lambda m, n: select(func.coalesce(m.User.name, str(n))),
    "count": lambda m, n: select(func.count()).select_from(m.User),
    "count of a column": lambda m, n: select(func.count(m.User.id)),
    "label": lambda m, n: select(m.User.id.label("one")),
    "other label": lambda m, n: select(m.User.id.label("two")),
    "label of a function": lambda m, n: select(func.max(m.User.id).label("one")),
    "join": lambda m, n: select(m.User).join(m.User.addresses),
    "outer join": lambda m, n: select(m.User).outerjoin(m.User.addresses),
    "full join": lambda m, n: select(m.User).join(m.User.addresses, full=True),
    "join of an entity": lambda m, n: select(m.User).join(m.Address),
    "join on": lambda m, n: select(m.User).join(m.Address, m.Address.user_id == m.User.id),
    "join on a value": lambda m, n: select(m.User).join(m.Address, m.Address.user_id == n),
    "two joins": lambda m, n: select(m.User).join(m.User.addresses).join(m.Address.dings).where(m.Ding.id == n),
    "joined": lambda m, n: select(m.User).options(m.orm.joinedload(m.User.addresses)),
    "joined inner": lambda m, n: select(m.User).options(m.orm.joinedload(m.User.addresses, innerjoin=True)),
    "selectin": lambda m, n: select(m.User).options(m.orm.selectinload(m.User.addresses)),
    "selectin chunks": lambda m, n: select(m.User).options(m.orm.selectinload(m.User.addresses, chunksize=2)),
    "selectin chain": lambda m, n: select(m.User).options(
        m.orm.selectinload(m.User.addresses).joinedload(m.Address.dings)
    ),
    "two options": lambda m, n: select(m.User).options(
        m.orm.selectinload(m.User.addresses), m.orm.load_only(m.User.name)
    ),
    "load_only": lambda m, n: select(m.User).options(m.orm.load_only(m.User.name)),
    "load_only, raising": lambda m, n: select(m.User).options(m.orm.load_only(m.User.name, raiseload=True)),
    "defer": lambda m, n: select(m.User).options(m.orm.defer(m.User.name)),
    "raiseload": lambda m, n: select(m.User).options(m.orm.raiseload(m.User.addresses, sql_only=True)),
    "lazyload *": lambda m, n: select(m.User).options(m.orm.Load(m.User).lazyload("*")),
    "text": lambda m, n: select(m.User).where(text("id > 3")),
    "text with a value": lambda m, n: select(m.User).where(text("id > :n").bindparams(n=n)),
    "text with params": lambda m, n: select(m.User).where(text("name > :n AND id > :m")).params(n=n),
    "parameter": lambda m, n: select(m.User).where(m.User.id == bindparam("n", n)),
    "other parameter": lambda m, n: select(m.User).where(m.User.id == bindparam("m", n)),
    "criteria of an option": lambda m, n: select(m.User).options(
        m.orm.selectinload(m.User.addresses.and_(m.Address.id > n))
    ),
    "*": lambda m, n: select(m.User).options(m.orm.raiseload("*")),
    "loader criteria": lambda m, n: select(m.User).options(m.orm.with_loader_criteria(m.Address, m.Address.id > n)),
    "anonymous label": lambda m, n: select(m.User.id.label(None)),
    "label twice": lambda m, n: (lambda one: select(one, one))(m.User.id.label(None)),
    "two labels": lambda m, n: select(m.User.id.label(None), m.User.id.label(None)),
    "selectin_polymorphic": lambda m, n: select(m.User).options(m.orm.selectin_polymorphic(m.User, [m.User])),
    "aliased": aliased_plain,
    "aliased by name": lambda m, n: aliased_plain(m, n, name="x"),
    "aliased by other name": lambda m, n: aliased_plain(m, n, name="y"),
    "aliased, on names": lambda m, n: aliased_plain(m, n, adapt_on_names=True),
    "aliased of a table's alias": lambda m, n: aliased_plain(m, n, alias=m.User.__table__.alias()),
    "aliased twice": aliased_twice,
    "aliased, several criteria": aliased_criteria,
    "aliased join": aliased_join,
    "aliased join, turned": aliased_join_turned,
    "aliased and options": aliased_options,
    "aliased and relationship": aliased_relationship,
    "with_polymorphic": polymorphic,
    "with_polymorphic, aliased": lambda m, n: polymorphic(m, n, aliased=True),
    "alias": lambda m, n: select(m.Alias).where(m.Alias.id == n),
    "legacy labels": lambda m, n: m.session.query(m.User).filter(m.User.id > n)._statement_20(),
    "of a Query": lambda m, n: m.session.query(m.User).filter(m.User.id > n).order_by(m.User.name)._statement_20(),
    "without eager loads": lambda m, n: m.session.query(m.User).enable_eagerloads(False)._statement_20(),
}

# those that need more than the models
OWN_NAMES = ("alias", "legacy labels", "of a Query", "without eager loads")

if not IS_REFERENCE:  # 2.0 has no `chunksize`, and makes a copy of text whose parameters are given
    del SHAPED["selectin chunks"], SHAPED["text with params"]

NESTED: dict[str, Statement] = {
    "custom operator": lambda m, n: select(m.User).where(m.User.id.op("%")(n) == 1),
    "other custom operator": lambda m, n: select(m.User).where(m.User.id.op("/")(n) == 1),
    "literal parameter": lambda m, n: select(m.User).where(m.User.id == literal(n, literal_execute=True)),
    "type_coerce": lambda m, n: select(m.User).where(type_coerce(m.User.id, String) == str(n)),
    "type_coerce, length": lambda m, n: select(m.User).where(type_coerce(m.User.id, String(9)) == str(n)),
    "cast": lambda m, n: select(cast(m.User.id, String)).where(cast(m.User.id, String) == str(n)),
    "in subquery": lambda m, n: select(m.User).where(m.User.id.in_(select(m.Address.user_id))),
    "in subquery with a value": lambda m, n: select(m.User).where(
        m.User.id.in_(select(m.Address.user_id).where(m.Address.id > n))
    ),
    "not in subquery": lambda m, n: select(m.User).where(m.User.id.not_in(select(m.Address.user_id))),
    "of_type": lambda m, n: select(m.User).options(
        m.orm.selectinload(m.User.addresses.of_type(m.orm.aliased(m.Address)))
    ),
    "for update": lambda m, n: select(m.User).with_for_update(),
    "for update, nowait": lambda m, n: select(m.User).with_for_update(nowait=True),
    "for update of": lambda m, n: select(m.User).with_for_update(of=m.User),
    "prefix": lambda m, n: select(m.User).prefix_with("ALL"),
    "other prefix": lambda m, n: select(m.User).prefix_with("DISTINCT"),
    "suffix": lambda m, n: select(m.User).suffix_with("LIMIT 3"),
    "cte, added": lambda m, n: select(m.User).add_cte(select(m.Address.id).cte("c")),
    "fetch": lambda m, n: select(m.User).fetch(n),
    "fetch, ties": lambda m, n: select(m.User).order_by(m.User.id).fetch(n, with_ties=True),
    "correlate": lambda m, n: select(m.User).correlate(m.Address),
    "filter of a function": lambda m, n: select(func.count(m.User.id).filter(m.User.id > n)),
    "over": lambda m, n: select(func.count(m.User.id).over(order_by=m.User.id)),
    "over, partition": lambda m, n: select(func.count(m.User.id).over(partition_by=m.User.name)),
    "over, rows": lambda m, n: select(func.count(m.User.id).over(order_by=m.User.id, rows=(0, 1))),
    "only other columns": lambda m, n: select(m.User).join(m.User.addresses).with_only_columns(m.Address.id),
    "case": lambda m, n: select(case((m.User.id > n, "a"), else_="b")),
    "case of two": lambda m, n: select(case((m.User.id > n, "a"), (m.User.name == "x", "c"), else_="b")),
    "case without else": lambda m, n: select(case((m.User.id > n, "a"))),
    "any": lambda m, n: select(m.User).where(m.User.addresses.any(m.Address.id > n)),
    "any, plain": lambda m, n: select(m.User).where(m.User.addresses.any()),
    "not any": lambda m, n: select(m.User).where(~m.User.addresses.any(m.Address.id > n)),
    "any twice": lambda m, n: select(m.User).where(
        m.User.addresses.any(m.Address.id > n), m.User.addresses.any(m.Address.id < n)
    ),
    "any of many to many": lambda m, n: select(m.Address).where(m.Address.dings.any(m.Ding.id > n)),
    "has": lambda m, n: select(m.Address).where(m.Address.user.has(m.User.id > n)),
    "has, by keyword": lambda m, n: select(m.Address).where(m.Address.user.has(name=str(n))),
    "exists": lambda m, n: select(m.User).where(exists().where(m.Address.user_id == m.User.id, m.Address.id > n)),
    "exists, correlated": lambda m, n: select(m.User).where(
        exists().where(m.Address.user_id == m.User.id, m.Address.id > n).correlate(m.User)
    ),
    "exists, correlated to all others": lambda m, n: select(m.User).where(
        exists().where(m.Address.user_id == m.User.id, m.Address.id > n).correlate_except(m.Address)
    ),
    "scalar subquery": lambda m, n: select(m.User).where(m.User.id == select(func.max(m.Address.id)).scalar_subquery()),
    "scalar subquery, minimum": lambda m, n: select(m.User).where(
        m.User.id == select(func.min(m.Address.id)).scalar_subquery()
    ),
    "scalar subquery as column": lambda m, n: select(
        m.User.id,
        select(func.count(m.Address.id)).where(m.Address.user_id == m.User.id, m.Address.id > n).scalar_subquery(),
    ),
    "contains": lambda m, n: select(m.User).where(m.User.addresses.contains(m.Address(id=n))),
    "compared with an object": lambda m, n: select(m.Address).where(m.Address.user == m.User(id=n)),
    "relationship is None": lambda m, n: select(m.Address).where(m.Address.user == None),  # noqa: E711
    "aliased subquery": lambda m, n: select(m.orm.aliased(m.User, select(m.User).where(m.User.id > n).subquery())),
    "aliased subquery, named": lambda m, n: select(m.orm.aliased(m.User, select(m.User).subquery("few"))),
    "aliased subquery, other name": lambda m, n: select(m.orm.aliased(m.User, select(m.User).subquery("many"))),
    "aliased cte": lambda m, n: select(m.orm.aliased(m.User, select(m.User).where(m.User.id > n).cte("few"))),
    "aliased cte, nesting": lambda m, n: select(
        m.orm.aliased(m.User, select(m.User).where(m.User.id > n).cte("few", nesting=True))
    ),
    "alias of an alias": lambda m, n: select(m.orm.aliased(m.orm.aliased(m.User, name="one"), name="two")),
    "columns of a subquery": lambda m, n: (lambda sub: select(sub.c.id).where(sub.c.id > n))(
        select(m.User.id, m.User.name).subquery()
    ),
    "other columns of a subquery": lambda m, n: (lambda sub: select(sub.c.name).where(sub.c.id > n))(
        select(m.User.id, m.User.name).subquery()
    ),
    "join to a subquery": lambda m, n: (lambda sub: select(m.User).join(sub, sub.c.user_id == m.User.id))(counts(m, n)),
    "outer join to a subquery": lambda m, n: (lambda sub: select(m.User).outerjoin(sub, sub.c.user_id == m.User.id))(
        counts(m, n)
    ),
    "one subquery twice": lambda m, n: (
        lambda sub: select(m.User).where(m.User.id.in_(select(sub.c.id)), m.User.id.in_(select(sub.c.id)))
    )(select(m.User.id).where(m.User.id > n).subquery()),
    "two subqueries": lambda m, n: (
        lambda one, two: select(m.User).where(m.User.id.in_(select(one.c.id)), m.User.id.in_(select(two.c.id)))
    )(*(select(m.User.id).where(m.User.id > n).subquery() for _ in range(2))),
    "subqueries joined": lambda m, n: (lambda one, two: select(one.c.id, two.c.id).join(two, one.c.id == two.c.id))(
        *(select(m.User.id).where(m.User.id > n).subquery() for _ in range(2))
    ),
    "subqueries joined, turned": lambda m, n: (
        lambda one, two: select(one.c.id, two.c.id).join(one, one.c.id == two.c.id).select_from(two)
    )(*(select(m.User.id).where(m.User.id > n).subquery() for _ in range(2))),
    "one parameter twice": lambda m, n: (lambda p: select(m.User).where(or_(m.User.id > p, m.User.id < p)))(literal(n)),
    "called parameter": lambda m, n: select(m.User).where(m.User.id == bindparam("n", callable_=lambda: n)),
    "two parameters": lambda m, n: select(m.User).where(or_(m.User.id > literal(n), m.User.id < literal(n))),
    "recursive": lambda m, n: (
        lambda one: select(one.union_all(select(one.c.id + 1).where(one.c.id < n)))  # not of the ORM
    )(select(m.User.id).where(m.User.id == 7).cte("up", recursive=True)),
    "lateral": lambda m, n: (lambda sub: select(sub.c.id))(select(m.User.id).where(m.User.id > n).lateral()),
    "bundle": lambda m, n: select(m.orm.Bundle("b", m.User.id, m.User.name)).where(m.User.id > n),
    "bundle, renamed": lambda m, n: select(m.orm.Bundle("c", m.User.id, m.User.name)).where(m.User.id > n),
    "bundle, single": lambda m, n: select(m.orm.Bundle("b", m.User.id, m.User.name, single_entity=True)),
    "from a union": lambda m, n: select(
        m.orm.aliased(m.User, union(select(m.User).where(m.User.id > n), select(m.User)).subquery())
    ),
    "from all of a union": lambda m, n: select(
        m.orm.aliased(m.User, union_all(select(m.User).where(m.User.id > n), select(m.User)).subquery())
    ),
    "collate": lambda m, n: select(m.User).order_by(m.User.name.collate("NOCASE")),
    "extract": lambda m, n: select(extract("year", func.date(str(2000 + n)))),
    "tuples": lambda m, n: select(m.User).where(tuple_(m.User.id, m.User.name).in_([(n, "x")])),
    "distinct column": lambda m, n: select(func.count(m.User.id.distinct())),
    "hint": lambda m, n: select(m.User).with_statement_hint("x"),
    "joined of_type": lambda m, n: (lambda a: select(m.User).join(m.User.addresses.of_type(a)).where(a.id > n))(
        m.orm.aliased(m.Address)
    ),
    "joined and": lambda m, n: select(m.User).join(m.User.addresses.and_(m.Address.id > n)),
    "contains_eager": lambda m, n: (
        select(m.User).join(m.User.addresses).options(m.orm.contains_eager(m.User.addresses)).where(m.Address.id > n)
    ),
    "loader criteria, lambda": lambda m, n: select(m.User).options(
        m.orm.with_loader_criteria(m.User, lambda cls: cls.id > n)
    ),
    "loader criteria, other lambda": lambda m, n: select(m.User).options(
        m.orm.with_loader_criteria(m.User, lambda cls: cls.id < n)
    ),
    "loader criteria, other entity": lambda m, n: select(m.User).options(
        m.orm.with_loader_criteria(m.Address, lambda cls: cls.id > n)
    ),
    "loader criteria, aliases": lambda m, n: select(m.User).options(
        m.orm.with_loader_criteria(m.User, lambda cls: cls.id > n, include_aliases=True)
    ),
}
SHAPED.update(NESTED)

UNSHAPED: dict[str, Statement] = {
    "bundle, named by a column": lambda m, n: select(m.orm.Bundle(m.User.__table__.c.id, m.User.name)),
    "parameters of a subquery": lambda m, n: select(select(text("x")).params(n=n).subquery()),
    "hint of a table": lambda m, n: select(m.User).with_hint(m.User, "x"),
    "deep": lambda m, n: select(functools.reduce(lambda one, _: func.lower(one), range(300), m.User.name)),
}

if not IS_REFERENCE:  # there it is an error
    del UNSHAPED["parameters of a subquery"]


@pytest.fixture(scope="module")
def m() -> Any:
    orm = importlib.import_module("rustalchemy.orm")
    models = make_models(orm)
    models.Alias = orm.aliased(models.User)
    models.session = orm.Session()
    return models


def key_of(statement: Any) -> Any:
    return statement._generate_cache_key()


@pytest.mark.parametrize("name", SHAPED)
def test_values_do_not_change_a_shape(m: SimpleNamespace, name: str) -> None:
    first, second = (SHAPED[name](m, n) for n in (3, 4))
    one, other = statement_shape(first), statement_shape(second)
    assert one is not None and other is not None
    assert one[0] == other[0]
    assert hash(one[0]) == hash(other[0])
    for shape, statement in ((one, first), (other, second)):
        assert [id(bind) for bind in shape[1]] == [id(bind) for bind in key_of(statement).bindparams]


@pytest.mark.parametrize("name", UNSHAPED)
def test_other_statements_have_none(m: SimpleNamespace, name: str) -> None:
    assert statement_shape(UNSHAPED[name](m, 3)) is None


def test_a_shape_is_of_one_cache_key(m: SimpleNamespace) -> None:
    shapes = {}
    for name, make in SHAPED.items():
        statement = make(m, 3)
        found = statement_shape(statement)
        assert found is not None
        shapes[name] = (found[0], key_of(statement).key, statement)
    for (one, (shape, key, _)), (other, (shape_2, key_2, _)) in itertools.combinations(shapes.items(), 2):
        assert (shape == shape_2) <= (key == key_2), (one, other)


@pytest.mark.parametrize("name", [name for name in SHAPED if name not in OWN_NAMES])
def test_rows_of_every_shape(name: str) -> None:
    """With other values each time, and a neighbouring statement in between."""

    def scenario(m: SimpleNamespace, session: Any) -> Any:
        rows = []
        for n in (1, 7, 8):
            for make in (SHAPED[name], SHAPED["equal"]):
                try:
                    result = session.execute(make(m, n)).unique().all()
                except Exception as error:
                    rows.append(type(error).__name__)
                    continue
                rows.append([[getattr(value, "id", value) for value in row] for row in result])
                firsts = [row[0] for row in result if isinstance(row[0], m.Base)]
                rows.append([sorted(set(vars(first)) - {"_sa_instance_state"}) for first in firsts])
        return rows

    BOTH.check(scenario)
