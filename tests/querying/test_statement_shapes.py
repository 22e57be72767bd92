"""Statements of one shape are statements of one cache key, whatever their values are, and have their parameters in
the same order."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from comparison import IS_REFERENCE, Comparison
from orm_models import make_database, make_models
from sqlalchemy import String, and_, bindparam, desc, func, literal, null, or_, select, text, type_coerce

from rustalchemy.orm._statement_shape import shape_by_aliases, statement_shape

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

UNSHAPED: dict[str, Statement] = {
    "custom operator": lambda m, n: select(m.User).where(m.User.id.op("%")(n) == 1),
    "named parameter": lambda m, n: select(m.User).where(m.User.id == literal(n, literal_execute=True)),
    "type_coerce": lambda m, n: select(m.User).where(type_coerce(m.User.id, String) == str(n)),
    "subquery": lambda m, n: select(m.User).where(m.User.id.in_(select(m.Address.user_id))),
    "of_type": lambda m, n: select(m.User).options(
        m.orm.selectinload(m.User.addresses.of_type(m.orm.aliased(m.Address)))
    ),
    "for update": lambda m, n: select(m.User).with_for_update(),
    "prefix": lambda m, n: select(m.User).prefix_with("ALL"),
    "hint": lambda m, n: select(m.User).with_hint(m.User, "x"),
    "cte": lambda m, n: select(m.User).add_cte(select(m.Address.id).cte("c")),
    "fetch": lambda m, n: select(m.User).fetch(n),
    "correlate": lambda m, n: select(m.User).correlate(m.Address),
    "filter of a function": lambda m, n: select(func.count(m.User.id).filter(m.User.id > n)),
    "over": lambda m, n: select(func.count(m.User.id).over(order_by=m.User.id)),
    "only other columns": lambda m, n: select(m.User).join(m.User.addresses).with_only_columns(m.Address.id),
}


@pytest.fixture(scope="module")
def m() -> Any:
    orm = importlib.import_module("rustalchemy.orm")
    models = make_models(orm)
    models.Alias = orm.aliased(models.User)
    models.session = orm.Session()
    return models


def shape_of(statement: Any) -> Any:
    """The shape by which a statement that is made anew is found."""
    return shape_by_aliases(statement) or statement_shape(statement)


def key_of(statement: Any) -> Any:
    return statement._generate_cache_key()


@pytest.mark.parametrize("name", SHAPED)
def test_values_do_not_change_a_shape(m: SimpleNamespace, name: str) -> None:
    first, second = (SHAPED[name](m, n) for n in (3, 4))
    one, other = shape_of(first), shape_of(second)
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
        found = shape_of(statement)
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
