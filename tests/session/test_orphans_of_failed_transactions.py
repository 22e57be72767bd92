"""A flush in a transaction that waits for its rollback: what only has to leave the session leaves it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc


@pytest.fixture
def world(orm: ModuleType) -> Any:
    """Parents that own their children."""

    class Base(orm.DeclarativeBase):  # type: ignore[name-defined]
        pass

    class Parent(Base):
        __tablename__ = "parents"
        id = sa.Column(sa.Integer, primary_key=True)
        children = orm.relationship("Child", cascade="all, delete-orphan")

    class Child(Base):
        __tablename__ = "children"
        id = sa.Column(sa.Integer, primary_key=True)
        parent_id = sa.Column(sa.ForeignKey("parents.id"))

    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(Parent.__table__), [{"id": 1}])
    Base.Session, Base.Parent, Base.Child = orm.sessionmaker(engine), Parent, Child  # type: ignore[attr-defined]
    yield Base
    engine.dispose()


def pending_orphan(world: Any, session: Any) -> Any:
    """A new child of the session that a parent outside of it took and gave up."""
    parent, child = world.Parent(), world.Child()
    session.add(child)
    parent.children.append(child)
    parent.children.remove(child)
    return child


@pytest.mark.parametrize("autoflush", [False, True])
def test_a_pending_orphan_leaves_a_session_that_waits_for_its_rollback(world: Any, autoflush: bool) -> None:
    with world.Session() as session:
        session.add(world.Parent(id=1))
        with pytest.raises(exc.IntegrityError):
            session.flush()
        orphan = pending_orphan(world, session)
        assert orphan in session
        if autoflush:
            with pytest.raises(exc.PendingRollbackError):
                session.scalars(sa.select(world.Parent)).all()
        else:
            session.flush()
        assert orphan not in session


def test_anything_else_asks_for_the_rollback(world: Any) -> None:
    with world.Session() as session:
        session.add(world.Parent(id=1))
        with pytest.raises(exc.IntegrityError):
            session.flush()
        orphan, parent = pending_orphan(world, session), world.Parent(id=2)
        session.add(parent)
        with pytest.raises(exc.PendingRollbackError):
            session.flush()
        assert orphan not in session
        assert parent in session
        with pytest.warns(exc.SAWarning, match="will be discarded"):
            session.rollback()
        assert session.scalars(sa.select(world.Parent.id)).all() == [1]
