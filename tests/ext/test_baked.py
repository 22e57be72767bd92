"""Queries built from functions: what they return, what is sent, and how often the functions are called."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sql


@pytest.fixture
def w(sa: SimpleNamespace) -> SimpleNamespace:
    """Models, a session on three users, a bakery, the statements that were sent and the functions that were called."""
    orm = sa.orm

    class Base(orm.DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "user"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        name = orm.mapped_column(sql.String)
        addresses = orm.relationship("Address", order_by="Address.id")

    class Address(Base):
        __tablename__ = "address"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        user_id = orm.mapped_column(sql.ForeignKey("user.id"))
        mail = orm.mapped_column(sql.String)

    class Part(Base):
        __tablename__ = "part"
        a = orm.mapped_column(sql.Integer, primary_key=True)
        b = orm.mapped_column(sql.Integer, primary_key=True, nullable=True, autoincrement=False)

    engine = sql.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    sent: list[str] = []
    session = orm.Session(engine)
    session.add_all(User(name=name, addresses=[Address(mail=f"{name}@x")]) for name in ("Ann", "Bob", "Cid"))
    session.commit()
    sql.event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    calls: list[str] = []

    def called(name: str, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """A step that is noted; the code of each is its own, as that of functions in a program is."""

        def noted(given: Any) -> Any:
            calls.append(name)
            return step(given)

        noted.__code__ = noted.__code__.replace(co_name=name)
        return noted

    return SimpleNamespace(
        orm=orm,
        baked=sa.baked,
        bakery=sa.baked.bakery(),
        User=User,
        Address=Address,
        Part=Part,
        engine=engine,
        session=session,
        sent=sent,
        calls=calls,
        called=called,
    )


def names(found: Any) -> list[str]:
    return [user.name for user in found]


def users(w: SimpleNamespace) -> Any:
    query = w.bakery(w.called("users", lambda session: session.query(w.User)))
    return query + w.called("order", lambda query: query.order_by(w.User.id))


def test_built_once(w: SimpleNamespace) -> None:
    named = users(w)
    named += w.called("named", lambda query: query.filter(w.User.name == sql.bindparam("name")))
    for name in ("Ann", "Bob", "nobody", "Ann"):
        found = named(w.session).params(name=name).all()
        assert names(found) == [name] * (name != "nobody")
    assert w.calls == ["users", "order", "named"]
    assert len(set(w.sent)) == 1 and len(w.sent) == 4
    assert names(named(w.session).params({"name": "Ann"}, name="Bob")) == ["Ann"]
    with w.orm.Session(w.engine) as other:
        assert names(named.for_session(other).params(name="Cid")) == ["Cid"]
    assert w.calls == ["users", "order", "named"]
    with pytest.raises(sql.exc.ArgumentError, match="zero or one positional"):
        named(w.session).params({}, {})


def test_arguments_are_part_of_the_key(w: SimpleNamespace) -> None:
    def by(column: str) -> Any:
        query = w.bakery(lambda session: session.query(w.User.id))
        query += (lambda query: query.order_by(getattr(w.User, column).desc()), column)
        query += (lambda query: query.limit(2), 2)
        return query

    assert [by("name")(w.session).all() for _ in range(2)] == [[(3,), (2,)]] * 2
    assert by("id")(w.session).all() == [(3,), (2,)]
    orders = [sent.rpartition("ORDER BY ")[2].split()[0] for sent in w.sent]
    assert orders == ["user.name", "user.name", "user.id"]


def test_ways_to_run(w: SimpleNamespace) -> None:
    query = users(w)
    found = query(w.session)
    assert names(found) == names(found.all()) == ["Ann", "Bob", "Cid"]
    assert found.first().name == "Ann" and found.count() == 3
    assert str(found) == str(w.session.query(w.User).order_by(w.User.id))
    one = query + (lambda query: query.filter_by(name=sql.bindparam("name")))
    assert one(w.session).params(name="Bob").one().name == "Bob"
    assert one(w.session).params(name="x").one_or_none() is None
    assert one(w.session).params(name="x").first() is None
    assert one(w.session).params(name="Bob").count() == 1
    assert one(w.session).params(name="x").scalar() is None
    with pytest.raises(sql.exc.NoResultFound):
        one(w.session).params(name="x").one()
    for run in (query(w.session).one, query(w.session).one_or_none, query(w.session).scalar):
        with pytest.raises(sql.exc.MultipleResultsFound):
            run()
    ids = w.bakery(lambda session: session.query(sql.func.max(w.User.id)))
    assert ids(w.session).scalar() == 3 and ids(w.session).one() == (3,)


def test_get(w: SimpleNamespace) -> None:
    query = w.bakery(lambda session: session.query(w.User).order_by(w.User.id))
    bob = query(w.session).get(2)
    assert bob.name == "Bob" and query(w.session).get(2) is bob and len(w.sent) == 1
    assert query(w.session).get(9) is None
    assert w.sent[0] == w.sent[1] and "ORDER" not in w.sent[0]
    part = w.bakery(lambda session: session.query(w.Part))
    w.session.execute(sql.insert(w.Part.__table__).values(a=1, b=2))
    assert part(w.session).get((1, 2)).b == 2
    with pytest.raises(sql.exc.InvalidRequestError, match="existing criterion"):
        (query + (lambda query: query.filter(w.User.id > 1)))(w.session).get(3)


def test_spoiled(w: SimpleNamespace) -> None:
    """What is added after spoiling is called each time; all of it, if it is spoiled in full."""
    for _ in range(3):
        query = users(w).spoil()
        query += w.called("late", lambda query: query.filter(w.User.id > 1))
        assert names(query(w.session)) == ["Bob", "Cid"]
    assert w.calls == ["users", "order", "late", "late", "late"]
    w.calls.clear()
    for _ in range(2):
        query = users(w)
        query.spoil(full=True)
        assert query(w.session).count() == 3
    assert w.calls == ["users", "order"] * 2


def test_not_enabled(w: SimpleNamespace) -> None:
    with w.orm.Session(w.engine, enable_baked_queries=False) as session:
        for _ in range(2):
            assert names(users(w)(session)) == ["Ann", "Bob", "Cid"]
    assert w.calls == ["users", "order"] * 2


def test_post_criteria(w: SimpleNamespace) -> None:
    """They are called each time, and may give parameters and execution options."""
    query = users(w)
    query += lambda query: query.filter(w.User.id >= sql.bindparam("least"))
    heard = []
    sql.event.listen(w.session, "do_orm_execute", lambda state: heard.append(state.execution_options.get("mine")))
    for least in (3, 2):
        found = query(w.session).with_post_criteria(lambda query: query.execution_options(mine=least))  # noqa: B023
        found = found.with_post_criteria(lambda query: query.params(least=least))  # noqa: B023
        assert len(found.all()) == 4 - least
    assert found.first().name == "Bob"
    assert heard == [3, 2, 2]
    ann = w.session.get(w.User, 1)
    ann.name = "Anna"
    with w.session.no_autoflush:
        again = query(w.session).params(least=1)
        assert again.first().name == "Anna"
        assert again.with_post_criteria(lambda query: query.populate_existing()).first().name == "Ann"


def test_inside_of_another(w: SimpleNamespace) -> None:
    of_user = w.bakery(lambda session: session.query(w.Address))
    of_user += lambda query: query.filter(w.Address.user_id == w.User.id).correlate(w.User)
    having = w.bakery(lambda session: session.query(w.User))
    having += lambda query: query.filter(of_user.to_query(query).filter(w.Address.mail == "Bob@x").exists())
    counted = w.bakery(lambda session: session.query(w.User.name, of_user.to_query(session).count()))
    for _ in range(2):
        assert names(having(w.session)) == ["Bob"]
    assert counted(w.session).first() is not None
    with pytest.raises(TypeError, match="Query or Session object expected"):
        of_user.to_query(5)
    with pytest.raises(sql.exc.ArgumentError, match="needs to be associated with a Session"):
        of_user.to_query(w.orm.Query(w.User))


@pytest.mark.parametrize("load", ["joinedload", "selectinload", "subqueryload", "lazyload"])
def test_loader_options(w: SimpleNamespace, load: str) -> None:
    option = getattr(w.orm, load)(w.User.addresses)
    query = users(w)
    query += (lambda query: query.options(option), load)
    seen = []
    for _ in range(2):
        with w.orm.Session(w.engine) as session:
            w.sent.clear()
            found = query(session).all()
            assert [[address.mail for address in user.addresses] for user in found] == [["Ann@x"], ["Bob@x"], ["Cid@x"]]
            seen.append(len(w.sent))
    assert seen == [{"joinedload": 1, "lazyload": 4}.get(load, 2)] * 2


@pytest.mark.parametrize("bake_ok", [True, False])
def test_listeners(w: SimpleNamespace, bake_ok: bool) -> None:
    """A listener that changes queries sees one that is kept once, unless it asks for more."""

    class Query(w.orm.Query):
        pass

    def only_late(query: Any) -> Any:
        w.calls.append("listener")
        return query.enable_assertions(False).filter(w.User.id > 1)

    sql.event.listen(Query, "before_compile", only_late, retval=True, bake_ok=bake_ok)
    with w.orm.Session(w.engine, query_cls=Query) as session:
        for _ in range(2):
            assert names(users(w)(session)) == ["Bob", "Cid"]
    assert w.calls == (["users", "order", "listener"] if bake_ok else ["users", "order", "listener"] * 2)


def test_bakery(w: SimpleNamespace) -> None:
    """A bakery keeps what was used of late."""
    small = w.baked.BakedQuery.bakery(size=2)
    assert isinstance(small, w.baked.Bakery) and small.cls is w.baked.BakedQuery

    def first_user(number: int) -> Any:
        return small(w.called("users", lambda session: session.query(w.User)), number)(w.session).first()

    for number in range(8):
        assert first_user(number).id == 1
    assert len(w.calls) == 8
    first_user(7)
    assert len(w.calls) == 8
    first_user(0)
    assert len(w.calls) == 9
