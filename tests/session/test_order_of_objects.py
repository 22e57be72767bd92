"""The identity map lists its objects in the order in which they came in, whatever their class and key."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event


@pytest.fixture
def world(orm: ModuleType) -> Any:
    """Two classes, one with keys that are texts, and rows of both."""

    class Base(orm.DeclarativeBase):  # type: ignore[name-defined]
        pass

    class Item(Base):
        __tablename__ = "items"
        id = sa.Column(sa.Integer, primary_key=True)
        name = sa.Column(sa.String)

    class Label(Base):
        __tablename__ = "labels"
        name = sa.Column(sa.String, primary_key=True)
        text = sa.Column(sa.String)

    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(Item.__table__), [{"id": n, "name": f"i{n}"} for n in range(600)])
        connection.execute(sa.insert(Label.__table__), [{"name": f"l{n}", "text": "t"} for n in range(40)])
    Base.orm, Base.engine, Base.Item, Base.Label = orm, engine, Item, Label  # type: ignore[attr-defined]
    yield Base
    engine.dispose()


def keys(objects: Any) -> list[Any]:
    """The primary keys of objects."""
    return [sa.inspect(obj).identity[0] for obj in objects]


def load(world: Any, session: Any) -> list[Any]:
    """Objects of both classes, loaded in an order that neither keys nor hashes have."""
    by_name = session.scalars(sa.select(world.Item).where(world.Item.id < 300).order_by(world.Item.name.desc())).all()
    labels = session.scalars(sa.select(world.Label).order_by(world.Label.name)).all()
    by_id = session.scalars(sa.select(world.Item).order_by(world.Item.id.desc())).all()
    return [*by_name, *labels, *(item for item in by_id if item.id >= 300)]


def test_objects_are_listed_as_they_were_loaded(world: Any) -> None:
    with world.orm.Session(world.engine) as session:
        expected = keys(load(world, session) and (held := load(world, session)))
        assert len(held) == 640
        assert keys(session) == expected
        assert keys(session.identity_map.values()) == expected
        assert [key[1][0] for key in session.identity_map] == expected


def test_what_leaves_and_comes_back_is_the_last(world: Any) -> None:
    with world.orm.Session(world.engine) as session:
        held = load(world, session)
        first = held.pop(0)
        session.expunge(first)
        session.add(first)
        assert keys(session) == keys([*held, first])


def test_a_new_object_with_the_key_of_a_deleted_one_is_the_last(world: Any) -> None:
    with world.orm.Session(world.engine) as session:
        held = [session.get(world.Item, n) for n in (7, 3, 5)]
        session.delete(held[1])
        held.append(world.Item(id=3, name="new"))
        session.add(held[-1])
        session.flush()
        assert [obj.name for obj in session] == ["i7", "i5", "new"]


def test_events_of_all_objects_come_in_this_order(world: Any) -> None:
    with world.orm.Session(world.engine) as session:
        held = load(world, session)
        told: list[Any] = []
        event.listen(
            world.Item, "expire", lambda obj, names: told.append(obj.__dict__.get("id") or sa.inspect(obj).identity[0])
        )
        session.expire_all()
        assert told == [n for n in keys(held) if isinstance(n, int)]

        gone: list[Any] = []
        event.listen(session, "persistent_to_detached", lambda session, obj: gone.append(sa.inspect(obj).identity[0]))
        session.expunge_all()
        assert gone == keys(held)
