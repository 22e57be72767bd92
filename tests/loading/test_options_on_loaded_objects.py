"""Loader options of a statement that meets objects which are in the session already."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from orm_models import make_database, make_models
from sqlalchemy.exc import InvalidRequestError

ANEW = {"populate_existing": True}


@pytest.fixture
def models(orm: ModuleType) -> SimpleNamespace:
    return make_models(orm)


@pytest.fixture
def session(models: SimpleNamespace) -> Any:
    with models.orm.Session(make_database(models), autoflush=False) as session:
        yield session


@pytest.mark.parametrize("populate_existing", [False, True])
def test_raiseload_for_what_is_not_loaded(models: SimpleNamespace, session: Any, populate_existing: bool) -> None:
    user = session.get(models.User, 7)
    statement = sa.select(models.User).where(models.User.id == 7).options(models.orm.raiseload(models.User.addresses))
    options = {"populate_existing": populate_existing}
    assert session.scalars(statement, execution_options=options).one() is user
    with pytest.raises(InvalidRequestError, match="lazy='raise'"):
        _ = user.addresses
    session.expire(user, ["name"])
    assert user.name == "jack"
    with pytest.raises(InvalidRequestError, match="lazy='raise'"):
        _ = user.addresses
    session.scalars(sa.select(models.User).where(models.User.id == 7), execution_options=ANEW).one()
    assert len(user.addresses) == 1


@pytest.mark.parametrize("loaded_before", [False, True])
def test_raiseload_after_the_object_has_expired(models: SimpleNamespace, session: Any, loaded_before: bool) -> None:
    """The options an object was loaded with are used again; those that met it later are not."""
    user = session.get(models.User, 7) if loaded_before else None
    statement = sa.select(models.User).where(models.User.id == 7).options(models.orm.raiseload(models.User.addresses))
    user = session.scalars(statement).one()
    session.commit()
    assert user.name == "jack"
    if loaded_before:
        assert len(user.addresses) == 1
    else:
        with pytest.raises(InvalidRequestError, match="lazy='raise'"):
            _ = user.addresses


def test_an_expired_object_that_is_found_again_forgets_its_options(models: SimpleNamespace, session: Any) -> None:
    statement = sa.select(models.User).where(models.User.id == 7)
    user = session.scalars(statement.options(models.orm.raiseload(models.User.addresses))).one()
    session.expire(user)
    session.scalars(statement).one()
    assert len(user.addresses) == 1


def test_what_loads_later_keeps_its_value_when_the_rest_is_overwritten(models: SimpleNamespace, session: Any) -> None:
    """And what was changed of it counts as loaded."""
    address = session.get(models.Address, 1)
    assert address.user.name == "jack"
    address.user_id, address.email = 8, "changed"
    options = (models.orm.raiseload(models.Address.user), models.orm.load_only(models.Address.email))
    statement = sa.select(models.Address).where(models.Address.id == 1).options(*options)
    session.scalars(statement, execution_options=ANEW).one()
    assert (address.email, address.user_id, address.user.name) == ("jack@bean.com", 8, "jack")
    assert address not in session.dirty
    assert tuple(sa.inspect(address).attrs.user_id.history) == ((), [8], ())


def test_a_collection_that_loads_later_is_dropped_when_the_rest_is_overwritten(
    models: SimpleNamespace, session: Any
) -> None:
    user = session.get(models.User, 7)
    assert len(user.addresses) == 1
    statement = sa.select(models.User).where(models.User.id == 7).options(models.orm.raiseload(models.User.addresses))
    session.scalars(statement, execution_options=ANEW).one()
    with pytest.raises(InvalidRequestError, match="lazy='raise'"):
        _ = user.addresses


def test_merge_leaves_what_loads_later_to_its_loader(models: SimpleNamespace, session: Any) -> None:
    """A column that only a loader of the object can bring is not expired for what the merged object lacks."""
    options = models.orm.load_only(models.Address.email)
    address = session.scalars(sa.select(models.Address).where(models.Address.id == 1).options(options)).one()
    other = models.Address(id=1, email="merged")
    models.orm.make_transient_to_detached(other)
    assert session.merge(other, load=False) is address
    assert "user_id" not in sa.inspect(address).expired_attributes
    assert (address.email, address.user_id) == ("merged", 7)


def test_an_option_without_values(models: SimpleNamespace, session: Any) -> None:
    """A class of options that says of its cache key that nothing more is in it."""

    class Marker(models.orm.interfaces.CompileStateOption):  # type: ignore[name-defined,misc]
        _cache_key_traversal = ()
        propagate_to_loaders = True

    marker = Marker()
    for _ in range(2):
        session.expunge_all()
        found = session.scalars(sa.select(models.User).options(marker)).all()
        assert found and all(sa.inspect(user).load_options == (marker,) for user in found)
