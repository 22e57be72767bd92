"""Query: criteria, results, joins, and Queries as parts of other statements, with the SQL they send."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from sqlalchemy import exc, func, select

COLUMNS = "users.id AS users_id, users.name AS users_name, users.age AS users_age"


def test_all_and_iteration(world: SimpleNamespace) -> None:
    User = world.User
    query = world.session.query(User).order_by(User.id)
    assert [u.name for u in query] == ["jack", "ed", "fred", "chuck"]
    assert query.all() == list(query)
    assert world.sent.sql == [f"SELECT {COLUMNS} FROM users ORDER BY users.id"] * 3


def test_filter_by_first(world: SimpleNamespace) -> None:
    found = world.session.query(world.User).filter_by(name="ed").first()
    assert found.id == 8
    assert world.sent == [(f"SELECT {COLUMNS} FROM users WHERE users.name = ? LIMIT ? OFFSET ?", ("ed", 1, 0))]


def test_filter_by_first_again_with_other_values(world: SimpleNamespace) -> None:
    for name, key in (("ed", 8), ("jack", 7), ("nobody", None), ("fred", 9)):
        found = world.session.query(world.User).filter_by(name=name).first()
        assert (found and found.id) == key
    assert len(set(world.sent.sql)) == 1
    assert [params[0] for _, params in world.sent] == ["ed", "jack", "nobody", "fred"]


def test_filter_by_none_and_bool(world: SimpleNamespace) -> None:
    query = world.session.query(world.User)
    assert query.filter_by(age=None).one().name == "chuck"
    assert world.sent.sql == [f"SELECT {COLUMNS} FROM users WHERE users.age IS NULL"]
    assert query.filter_by(age=25).filter_by(name="jack").one().id == 7


def test_filter_by_unknown_name(world: SimpleNamespace) -> None:
    with pytest.raises(exc.InvalidRequestError, match='has no property "nonexistent"'):
        world.session.query(world.User).filter_by(nonexistent=3)


def test_filter_by_autoflushes(world: SimpleNamespace) -> None:
    world.session.add(world.User(id=11, name="new", age=3))
    assert world.session.query(world.User).filter_by(name="new").first().id == 11


def test_identity(world: SimpleNamespace) -> None:
    query = world.session.query(world.User)
    jack = query.filter_by(name="jack").first()
    assert query.filter_by(name="jack").first() is jack
    assert query.filter(world.User.id == 7).one() is jack


def test_one(world: SimpleNamespace) -> None:
    query = world.session.query(world.User)
    with pytest.raises(exc.NoResultFound, match="No row was found when one was required"):
        query.filter_by(name="nobody").one()
    with pytest.raises(exc.MultipleResultsFound, match="Multiple rows were found when exactly one was required"):
        query.one()
    with pytest.raises(exc.MultipleResultsFound, match="Multiple rows were found when one or none was required"):
        query.one_or_none()
    assert query.filter_by(name="nobody").one_or_none() is None


def test_scalar(world: SimpleNamespace) -> None:
    User, session = world.User, world.session
    assert session.query(User.name).filter_by(id=9).scalar() == "fred"
    assert session.query(User.name).filter_by(id=99).scalar() is None
    assert session.query(func.max(User.age)).scalar() == 47


def test_rows(world: SimpleNamespace) -> None:
    User = world.User
    rows = world.session.query(User, User.name.label("n")).order_by(User.id).all()
    assert rows[0].User.id == 7 and rows[0].n == "jack" and rows[0][1] == "jack"
    assert world.session.query(User.id, User.age).filter(User.age > 26).order_by(User.age).all() == [(9, 29), (8, 47)]


def test_slices(world: SimpleNamespace) -> None:
    query = world.session.query(world.User.name).order_by(world.User.id)
    assert query[1] == ("ed",)
    assert query[1:3] == [("ed",), ("fred",)]
    assert query[2:2] == []
    with pytest.raises(IndexError, match="negative indexes"):
        query[-1]
    assert query.limit(2).offset(1).all() == [("ed",), ("fred",)]


def test_count_and_exists(world: SimpleNamespace) -> None:
    User, session = world.User, world.session
    assert session.query(User).filter(User.age > 26).count() == 2
    assert world.sent.sql[-1] == (
        f"SELECT count(*) AS count_1 FROM (SELECT {COLUMNS} FROM users WHERE users.age > ?) AS anon_1"
    )
    assert session.query(session.query(User).filter_by(name="ed").exists()).scalar() is True
    assert world.sent.sql[-1] == "SELECT EXISTS (SELECT 1 FROM users WHERE users.name = ?) AS anon_1"


def test_join_along_relationship(world: SimpleNamespace) -> None:
    User, Address = world.User, world.Address
    query = world.session.query(User).join(User.addresses).filter_by(email="ed@lala.com")
    assert query.one().id == 8
    assert world.sent.sql == [
        f"SELECT {COLUMNS} FROM users JOIN addresses ON users.id = addresses.user_id WHERE addresses.email = ?"
    ]
    pairs = world.session.query(User.name, func.count(Address.id)).outerjoin(Address).group_by(User.id)
    assert dict(pairs.order_by(User.id).all()) == {"jack": 1, "ed": 3, "fred": 1, "chuck": 0}


def test_reset_joinpoint_and_having(world: SimpleNamespace) -> None:
    User, Address = world.User, world.Address
    query = world.session.query(User).join(Address).reset_joinpoint().filter_by(name="ed")
    assert query.first().id == 8
    crowded = world.session.query(User.name).join(Address).group_by(User.name).having(func.count(Address.id) > 1)
    assert crowded.all() == [("ed",)]


def test_select_from_and_aliased(world: SimpleNamespace) -> None:
    User, orm = world.User, world.orm
    younger = orm.aliased(User, name="younger")
    query = (
        world.session.query(User.name, younger.name)
        .select_from(User)
        .join(younger, younger.age < User.age)
        .order_by(User.id, younger.id)
    )
    assert query.all() == [("ed", "jack"), ("ed", "fred"), ("fred", "jack")]
    assert world.sent.sql == [
        "SELECT users.name AS users_name, younger.name AS younger_name FROM users JOIN users AS younger "
        "ON younger.age < users.age ORDER BY users.id, younger.id"
    ]


def test_aliased_entity_of_subquery(world: SimpleNamespace) -> None:
    User, orm = world.User, world.orm
    old = select(User).where(User.age > 26).subquery()
    entity = orm.aliased(User, old)
    assert sorted(u.name for u in world.session.query(entity)) == ["ed", "fred"]
    assert isinstance(world.session.query(entity).first(), User)


def test_union(world: SimpleNamespace) -> None:
    query = world.session.query(world.User)
    both = query.filter_by(name="ed").union(query.filter_by(name="jack"))
    assert sorted(u.id for u in both) == [7, 8]


def test_subqueries(world: SimpleNamespace) -> None:
    User, Address, session = world.User, world.Address, world.session
    counts = session.query(Address.user_id, func.count("*").label("n")).group_by(Address.user_id).subquery()
    rows = session.query(User.name, counts.c.n).outerjoin(counts, User.id == counts.c.user_id).order_by(User.id)
    assert rows.all() == [("jack", 1), ("ed", 3), ("fred", 1), ("chuck", None)]
    oldest = session.query(func.max(User.age)).scalar_subquery()
    assert session.query(User.name).filter(User.age == oldest).scalar() == "ed"
    ids = session.query(Address.user_id).distinct()
    assert session.query(User).filter(User.id.in_(ids)).count() == 3


def test_with_entities_and_add_columns(world: SimpleNamespace) -> None:
    User = world.User
    query = world.session.query(User).filter_by(name="ed")
    assert query.with_entities(User.id).scalar() == 8
    assert query.add_columns(User.age).one()[1] == 47


def test_get(world: SimpleNamespace) -> None:
    session, User = world.session, world.User
    with pytest.warns(exc.LegacyAPIWarning if hasattr(exc, "LegacyAPIWarning") else DeprecationWarning) as caught:
        jack = session.query(User).get(7)
        again = session.query(User).get(7)
    assert jack is again and len(world.sent) == 1
    assert "Query.get()" in str(caught[0].message)


def test_params_and_text(world: SimpleNamespace) -> None:
    from sqlalchemy import text

    session, User = world.session, world.User
    assert session.query(User).filter(text("age > :least")).params(least=40).one().name == "ed"
    found = session.query(User).from_statement(text("select * from users where id = :i")).params(i=9).all()
    assert [u.name for u in found] == ["fred"]


@pytest.mark.parametrize("method", ["filter", "join", "order_by"])
def test_methods_after_limit(world: SimpleNamespace, method: str) -> None:
    query = world.session.query(world.User).limit(1)
    argument = world.User.addresses if method == "join" else world.User.id
    message = rf"Query.{method}\(\) being called on a Query which already has LIMIT or OFFSET applied"
    with pytest.raises(exc.InvalidRequestError, match=message):
        getattr(query, method)(argument)


def test_generative_methods_leave_the_query_alone(world: SimpleNamespace) -> None:
    User = world.User
    query = world.session.query(User)
    narrowed = query.filter_by(name="ed")
    assert narrowed is not query
    assert query.count() == 4 and narrowed.count() == 1
    assert str(query.whereclause) == "None" and str(narrowed.whereclause) == "users.name = :name_1"


def test_statement_and_str(world: SimpleNamespace) -> None:
    User = world.User
    query = world.session.query(User).filter_by(name="ed")
    assert " ".join(str(query).split()) == f"SELECT {COLUMNS} FROM users WHERE users.name = ?"
    statement = " ".join(str(query.statement).split())
    assert statement == "SELECT users.id, users.name, users.age FROM users WHERE users.name = :name_1"
    assert world.session.scalars(query.statement).one().id == 8


def test_column_descriptions(world: SimpleNamespace) -> None:
    User = world.User
    entity, column = world.session.query(User, User.name.label("n")).column_descriptions
    assert (entity["name"], entity["type"], entity["entity"]) == ("User", User, User)
    assert (column["name"], column["aliased"], column["entity"]) == ("n", False, User)


def test_yield_per_and_streaming(world: SimpleNamespace) -> None:
    names = [u.name for u in world.session.query(world.User).order_by(world.User.id).yield_per(2)]
    assert names == ["jack", "ed", "fred", "chuck"]


def test_bundle(world: SimpleNamespace) -> None:
    User, orm = world.User, world.orm
    bundle = orm.Bundle("b", User.id, User.name)
    row = world.session.query(bundle, User.age).filter(bundle.c.name == "ed").one()
    assert row.b.name == "ed" and row.b == (8, "ed") and row.age == 47
    alone = orm.Bundle("b", User.id, single_entity=True)
    assert world.session.query(alone).order_by(User.id).first() == (7,)


def test_with_parent(world: SimpleNamespace) -> None:
    ed = world.session.get(world.User, 8)
    query = world.session.query(world.Address).filter(world.orm.with_parent(ed, world.User.addresses))
    assert query.count() == 3
    with pytest.raises(exc.ArgumentError, match="accepts class-bound mapped attributes, not strings"):
        world.orm.with_parent(ed, "addresses")


def test_before_compile_event(world: SimpleNamespace) -> None:
    from sqlalchemy import event

    User, Query = world.User, world.orm.Query

    def only_adults(query):  # a listener as users write it
        return query.enable_assertions(False).filter(User.age > 40)

    event.listen(Query, "before_compile", only_adults, retval=True)
    try:
        assert [u.name for u in world.session.query(User)] == ["ed"]
        assert world.session.query(User).filter_by(name="jack").first() is None
    finally:
        event.remove(Query, "before_compile", only_adults)
    assert world.session.query(User).filter_by(name="jack").first().id == 7
