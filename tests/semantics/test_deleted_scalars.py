"""``del`` of a one-to-one or many-to-one that is not loaded: the old value is looked up once, by the flush."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event


class World:
    """Owners and the one thing each of them may have, and what the flush sends."""

    def __init__(self, orm: ModuleType) -> None:
        class Base(orm.DeclarativeBase):  # type: ignore[name-defined]
            pass

        class Owner(Base):
            __tablename__ = "owner"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            code = orm.mapped_column(sa.String, unique=True)
            thing = orm.relationship("Thing", uselist=False, back_populates="owner")

        class Thing(Base):
            __tablename__ = "thing"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            owner_id = orm.mapped_column(sa.ForeignKey("owner.id"))
            code = orm.mapped_column(sa.String)
            owner = orm.relationship("Owner", back_populates="thing")
            named = orm.relationship("Owner", primaryjoin=lambda: orm.foreign(Thing.code) == Owner.code)

        self.Owner, self.Thing = Owner, Thing
        self.engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
        Base.metadata.create_all(self.engine)
        with self.engine.begin() as connection:
            connection.execute(sa.insert(Owner), [{"id": 1, "code": "one"}, {"id": 2, "code": "two"}])
            rows = [{"id": 1, "owner_id": 1, "code": "one"}, {"id": 2, "owner_id": None, "code": "none"}]
            connection.execute(sa.insert(Thing), rows)
        self.session: Any = orm.Session(self.engine)
        self.sent: list[str] = []
        event.listen(self.engine, "before_cursor_execute", lambda *args: self.sent.append(args[2].split()[0]))

    def delete(self, obj: Any, key: str) -> list[str]:
        """Delete an attribute of an object; the statements until it is flushed."""
        self.sent.clear()
        delattr(obj, key)
        self.session.flush()
        return self.sent


@pytest.fixture
def world(orm: ModuleType) -> World:
    return World(orm)


def test_one_to_one(world: World) -> None:
    owner = world.session.get(world.Owner, 1)
    assert world.delete(owner, "thing") == ["SELECT", "UPDATE"]
    assert world.session.get(world.Thing, 1).owner_id is None


def test_one_to_one_that_is_not_there(world: World) -> None:
    assert world.delete(world.session.get(world.Owner, 2), "thing") == ["SELECT"]


def test_many_to_one_by_another_key(world: World) -> None:
    thing = world.session.get(world.Thing, 1)
    assert world.delete(thing, "named") == ["SELECT", "UPDATE"]
    assert thing.code is None


def test_many_to_one_to_a_row_that_is_not_there(world: World) -> None:
    thing = world.session.get(world.Thing, 2)
    assert world.delete(thing, "named") == ["SELECT", "UPDATE"]
    assert thing.code is None
