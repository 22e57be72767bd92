"""Sessions that the collector takes away together with their objects, in whatever order it clears them.

SQLAlchemy's states keep changed objects alive, ours leave that to the session: what outlives what is not compared.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from rustalchemy import orm


@pytest.fixture
def item() -> Iterator[Any]:
    """A class whose objects have their state beside them, not inside."""

    class Item:
        pass

    registry = orm.registry()
    registry.map_imperatively(Item, sa.Table("item", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True)))
    yield Item
    registry.dispose()


def known_to(session: Any, item: Any, kind: str) -> Any:
    """An object of a kind."""
    one = item(id=1)
    session.add(one)
    if kind == "pending":
        return one
    sa.inspect(item).local_table.create(session.connection())
    session.flush()
    if kind == "dirty":
        one.id = 2
    elif kind != "persistent":
        session.delete(one)
    if kind == "deleted":
        session.flush()
    return one


@pytest.mark.parametrize("kind", ["pending", "persistent", "dirty", "marked for deletion", "deleted"])
def test_a_state_outlives_its_object_and_session(item: Any, kind: str) -> None:
    session: Any = orm.Session(sa.create_engine("sqlite://"))
    one = known_to(session, item, kind)
    state = sa.inspect(one)
    assert state.session is session
    one.session = session  # a cycle: the session holds the object
    session.info["one"] = one
    del one, session
    gc.collect()
    assert (state.obj(), state.session) == (None, None)


@pytest.mark.parametrize("kind", ["pending", "dirty", "marked for deletion"])
def test_an_object_loses_its_state(item: Any, kind: str) -> None:
    """A session does not keep what has no state any more."""
    session: Any = orm.Session(sa.create_engine("sqlite://"))
    one = known_to(session, item, kind)
    del one._sa_instance_state
    gc.collect()
    assert (len(session.new), len(session.dirty), len(session.deleted)) == (0, 0, 0)
    session.flush()
    session.close()
