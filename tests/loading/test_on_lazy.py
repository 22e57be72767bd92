"""``on_lazy``: lazy loads that warn, that are refused, or that load for all objects of the same result."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from orm_models import Statements, make_database, make_models
from sqlalchemy import Column, ForeignKey, Integer, create_engine, exc, select

import rustalchemy.orm as orm


@pytest.fixture
def m() -> Iterator[SimpleNamespace]:
    models = make_models(orm)
    models.engine = make_database(models)
    models.statements = Statements(models.engine)
    yield models
    models.engine.dispose()


def sent(m: SimpleNamespace) -> list[str]:
    return [sql for sql, _ in m.statements.take()]


def all_users(m: SimpleNamespace, session: Any, *options: Any) -> Any:
    return session.scalars(select(m.User).options(*options).order_by(m.User.id)).all()


def emails(users: Any) -> Any:
    return [[address.email for address in user.addresses] for user in users]


def expected(m: SimpleNamespace) -> Any:
    with orm.Session(m.engine) as session:
        found = emails(all_users(m, session))
    m.statements.take()
    return found


def test_batch_loads_a_collection_of_all_peers_in_one_statement(m: SimpleNamespace) -> None:
    wanted = expected(m)
    with orm.Session(m.engine, on_lazy="batch") as session:
        users = all_users(m, session)
        assert emails(users) == wanted
        _, children = m.statements.take()
        assert "IN (?, ?, ?, ?)" in children[0]
        assert children[1] == (7, 8, 9, 10)
        assert all("addresses" in user.__dict__ for user in users)
        assert not session.dirty


def test_batch_sends_what_selectinload_sends(m: SimpleNamespace) -> None:
    with orm.Session(m.engine) as session:
        by_hand = emails(all_users(m, session, orm.selectinload(m.User.addresses).selectinload(m.Address.dings)))
    by_option = m.statements.take()
    with orm.Session(m.engine, on_lazy="batch") as session:
        users = all_users(m, session)
        assert emails(users) == by_hand
        assert [[len(a.dings) for a in user.addresses] for user in users] == [[0], [1, 0, 0], [2], []]
    assert m.statements.take() == by_option


def test_batch_of_many_to_one(m: SimpleNamespace) -> None:
    with orm.Session(m.engine, on_lazy="batch") as session:
        addresses = session.scalars(select(m.Address).order_by(m.Address.id)).all()
        assert [a.user and a.user.name for a in addresses] == ["jack", "ed", "ed", "ed", "fred", None]
        assert len(sent(m)) == 2


def test_batch_of_many_to_many_and_of_trees(m: SimpleNamespace) -> None:
    with orm.Session(m.engine, on_lazy="batch") as session:
        tags = session.scalars(select(m.Tag).order_by(m.Tag.id)).all()
        assert [[user.name for user in tag.users] for tag in tags] == [["jack", "ed"], ["ed"]]
        assert len(sent(m)) == 2
        nodes = session.scalars(select(m.Node).order_by(m.Node.id)).all()
        assert [[child.name for child in node.children] for node in nodes] == [["left", "right"], ["leaf"], [], []]
        assert len(sent(m)) == 2


def test_batch_is_of_one_result_only(m: SimpleNamespace) -> None:
    with orm.Session(m.engine, on_lazy="batch") as session:
        first = session.get(m.User, 7)
        rest = session.scalars(select(m.User).where(m.User.id > 8).order_by(m.User.id)).all()
        assert emails([first]) == [["jack@bean.com"]]
        assert "addresses" not in rest[0].__dict__
        assert emails(rest) == [["fred@fred.com"], []]
        assert "addresses" in first.__dict__ and "addresses" in rest[1].__dict__
        assert len(sent(m)) == 4


def test_batch_leaves_loaded_changed_and_expired_peers_alone(m: SimpleNamespace) -> None:
    with orm.Session(m.engine, on_lazy="batch", autoflush=False) as session:
        jack, ed, fred, chuck = all_users(m, session)
        jack.addresses = []
        new = m.Address(email="new")
        new.user = ed
        session.expire(chuck)
        assert [a.email for a in fred.addresses] == ["fred@fred.com"]
        assert jack.addresses == []
        assert "addresses" not in chuck.__dict__
        assert [a.email for a in ed.addresses] == ["ed@wood.com", "ed@bettyboop.com", "ed@lala.com", "new"]


def test_batch_keeps_options_of_the_statement(m: SimpleNamespace) -> None:
    with orm.Session(m.engine, on_lazy="batch") as session:
        criteria = orm.with_loader_criteria(m.Address, m.Address.email.like("ed%"))
        assert emails(all_users(m, session, criteria)) == [
            [],
            ["ed@wood.com", "ed@bettyboop.com", "ed@lala.com"],
            [],
            [],
        ]
        assert len(sent(m)) == 2
        session.expunge_all()
        users = all_users(m, session, orm.lazyload(m.User.addresses.and_(m.Address.id > 3)))
        assert [[a.id for a in user.addresses] for user in users] == [[], [4], [5], []]


def test_batch_of_an_expired_object_is_its_own_result(m: SimpleNamespace) -> None:
    with orm.Session(m.engine, on_lazy="batch") as session:
        users = all_users(m, session)
        session.commit()
        assert emails(users) == expected(m)


@pytest.mark.parametrize("on_lazy", ["load", "batch", "warn", "raise"])
def test_sessions_do_not_keep_peers_alive(m: SimpleNamespace, on_lazy: Any) -> None:
    with orm.Session(m.engine, on_lazy=on_lazy) as session:
        users = all_users(m, session)
        gone = [weakref.ref(user) for user in users[1:]]
        user = users[0]
        del users
        gc.collect()
        assert [ref() for ref in gone] == [None] * 3
        if on_lazy == "batch":
            assert emails([user]) == [["jack@bean.com"]]
            assert "IN" not in sent(m)[-1]


def test_raise_refuses_what_would_send_a_statement(m: SimpleNamespace) -> None:
    with orm.Session(m.engine, on_lazy="raise") as session:
        users = all_users(m, session)
        with pytest.raises(
            exc.InvalidRequestError, match=r"'User.addresses' is not loaded.*selectinload\(User.addresses\)"
        ):
            assert users[0].addresses
        session.refresh(users[0])
        address = session.get(m.Address, 1)
        assert address.user is users[0]  # from the identity map
        assert session.get(m.Address, 6).user is None  # a NULL key refers to nothing
        assert emails(all_users(m, session, orm.selectinload(m.User.addresses)))[1][0] == "ed@wood.com"
        assert m.User(id=99).addresses == []


def test_warn_names_attribute_count_and_place_once(m: SimpleNamespace) -> None:
    with orm.Session(m.engine, on_lazy="warn") as session, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for user in all_users(m, session):
            assert user.addresses is not None
        [warning] = caught
        assert warning.category is exc.SAWarning
        assert warning.filename == __file__
        place = f"{__file__}:{warning.lineno}"
        assert str(warning.message) == (
            f"'User.addresses' is loaded lazily at {place}, for one of 4 objects of the same result that lack it"
        )
        assert session.get(m.Address, 2).dings
        assert "'Address.dings'" in str(caught[1].message) and "the only object" in str(caught[1].message)


def test_a_relationship_has_the_last_word() -> None:
    base: Any = orm.declarative_base()

    class Child(base):
        __tablename__ = "child"
        id = Column(Integer, primary_key=True)
        parent_id = Column(ForeignKey("parent.id"))

    class Parent(base):
        __tablename__ = "parent"
        id = Column(Integer, primary_key=True)
        batched = orm.relationship(Child, on_lazy="batch", viewonly=True)
        refused = orm.relationship(Child, on_lazy="raise", viewonly=True)
        plain = orm.relationship(Child, on_lazy="load", viewonly=True)

    engine = create_engine("sqlite://")
    base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        session.add_all([Parent(id=1), Parent(id=2), Child(id=1, parent_id=2)])
        session.commit()
        first, second = session.scalars(select(Parent).order_by(Parent.id)).all()
        assert first.batched == []
        assert [child.id for child in second.__dict__["batched"]] == [1]
        with pytest.raises(exc.InvalidRequestError):
            assert first.refused
    with orm.Session(engine, on_lazy="raise") as session:
        parent = session.get(Parent, 2)
        assert len(parent.plain) == 1
    engine.dispose()


def test_settings_are_checked() -> None:
    with pytest.raises(exc.ArgumentError, match="on_lazy must be one of 'load', 'warn', 'raise', 'batch', not 'often'"):
        orm.Session(on_lazy="often")  # type: ignore[arg-type]
    with pytest.raises(exc.ArgumentError):
        orm.relationship("X", on_lazy="")  # type: ignore[arg-type]


def test_a_sessionmaker_passes_it_on(m: SimpleNamespace) -> None:
    with orm.sessionmaker(m.engine, on_lazy="batch")() as session:
        assert session.on_lazy == "batch"
        assert len(emails(all_users(m, session))) == 4
    assert len(sent(m)) == 2
