"""`enable_relationship_loading`: objects that are in a session only so that their relationships can be loaded."""

from __future__ import annotations

import warnings
from types import ModuleType, SimpleNamespace

import pytest
import sqlalchemy as sa
from orm_models import make_database, make_models


@pytest.fixture
def models(orm: ModuleType) -> SimpleNamespace:
    return make_models(orm)


def test_merge_does_not_take_them_for_pending(models: SimpleNamespace) -> None:
    with models.orm.Session(make_database(models), autoflush=False) as session:
        user = models.User(id=7)
        session.enable_relationship_loading(user)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert session.merge(user) is session.get(models.User, 7)
        session.add(user)
        with pytest.warns(sa.exc.SAWarning, match="is already pending in this Session"):
            session.merge(user)


@pytest.mark.parametrize("changed_before", [False, True])
def test_only_the_first_change_begins_a_transaction(models: SimpleNamespace, changed_before: bool) -> None:
    with models.orm.Session(make_database(models)) as session:
        user = models.User(name="ed") if changed_before else models.User()
        session.enable_relationship_loading(user)
        session.rollback()
        user.name = "jack"
        assert session.in_transaction() is not changed_before
        session.rollback()
        user.name = "fred"
        assert not session.in_transaction()


def test_they_may_load_in_the_next_session_as_well(models: SimpleNamespace) -> None:
    engine = make_database(models)
    address = models.Address(user_id=7)
    with models.orm.Session(engine) as session:
        session.enable_relationship_loading(address)
        session.expunge(address)
        assert address.user is None
    with models.orm.Session(engine, autoflush=False) as session:
        session.add(address)
        assert address.user.name == "jack"


def test_they_are_inserted_in_the_order_of_add(models: SimpleNamespace) -> None:
    with models.orm.Session(make_database(models)) as session:
        first, third = models.User(name="first"), models.User(name="third")
        session.enable_relationship_loading(third)
        session.add(first)
        second = session.merge(models.User(name="second"))
        session.add(third)
        session.flush()
        assert [user.id for user in (first, second, third)] == list(range(first.id, first.id + 3))
