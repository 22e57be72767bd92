"""Objects and values go once nobody refers to them, whatever was done with them before."""

from __future__ import annotations

import gc
import pickle
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

Use = Callable[[Any], Iterator[Any]]


class Value:
    """A value that can be referred to weakly."""


class Parent:
    """Mapped by `world`; here so that it can be pickled."""


class Child:
    """As `Parent`."""


@pytest.fixture
def world(orm: Any) -> Iterator[Any]:
    registry = orm.registry()
    parents = sa.Table(
        "parents", registry.metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String)
    )
    key = sa.Column("parent_id", sa.ForeignKey(parents.c.id))
    children = sa.Table("children", registry.metadata, sa.Column("id", sa.Integer, primary_key=True), key)
    of_parent = orm.relationship(Child, back_populates="parent", cascade="all, delete-orphan")
    registry.map_imperatively(Parent, parents, properties={"children": of_parent})
    of_child = {"parent": orm.relationship(Parent, back_populates="children")}
    registry.map_imperatively(Child, children, properties=of_child)
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    registry.metadata.create_all(engine)
    yield SimpleNamespace(orm=orm, engine=engine)
    engine.dispose()
    registry.dispose()


def saved(world: Any) -> tuple[Any, Any]:
    """A session, and a parent with two children in it, all expired."""
    session: Any = world.orm.Session(world.engine, autoflush=False)
    parent: Any = Parent()
    parent.children = [Child(), Child()]
    session.add(parent)
    session.commit()
    return session, parent


# ---- what is done; each yields what has to go ------------------------------------------------------------------------


def queued_and_taken_back(world: Any) -> Iterator[Any]:
    session, parent = saved(world)
    child: Any = Child()
    child.parent = parent
    child.parent = None
    yield child
    session.close()


def queued_and_loaded(world: Any) -> Iterator[Any]:
    session, parent = saved(world)
    child: Any = Child()
    child.parent = parent
    parent.children.remove(child)
    yield child
    session.close()


def queued_and_expired(world: Any) -> Iterator[Any]:
    session, parent = saved(world)
    child: Any = Child()
    child.parent = parent
    session.expire(parent)
    yield child
    session.close()


def merged(world: Any) -> Iterator[Any]:
    session, parent = saved(world)
    other = world.orm.Session(world.engine)
    copy = other.merge(parent)
    copy.name = "changed"
    yield copy
    yield parent
    session.close()
    other.close()


def pickled(world: Any) -> Iterator[Any]:
    session, parent = saved(world)
    assert len(parent.children) == 2
    yield pickle.loads(pickle.dumps(parent))
    yield parent
    session.close()


def values_replaced(world: Any) -> Iterator[Any]:
    value, parent = Value(), Parent()
    changed: Any = parent
    changed.name = value
    world.orm.attributes.set_committed_value(parent, "name", value)
    world.orm.attributes.flag_modified(parent, "name")
    changed.name = "another"
    changed.name = value
    del changed.name
    yield value
    yield parent


def written_past_the_attributes(world: Any) -> Iterator[Any]:
    value, parent = Value(), Parent()
    parent.__dict__["name"] = parent.__dict__["other"] = value
    del parent.__dict__["name"], parent.__dict__["other"]
    yield value
    yield parent


def collections_changed(world: Any) -> Iterator[Any]:
    parent: Any = Parent()
    children = [Child(), Child(), Child()]
    empty = parent.children
    parent.children = children[:1]
    parent.children.extend(children[1:])
    parent.children[0:1] = []
    parent.children.insert(0, children[0])
    parent.children.pop()
    parent.children[0] = children[2]
    parent.children.clear()
    yield empty
    yield from children
    children.clear()
    yield parent


def rolled_back(world: Any) -> Iterator[Any]:
    session, parent = saved(world)
    savepoint = session.begin_nested()
    child: Any = Child()
    child.parent = parent
    session.add(child)
    session.flush()
    savepoint.rollback()
    savepoint = session.begin_nested()
    parent.children[0].parent = None
    session.flush()
    savepoint.commit()
    session.rollback()
    yield child
    yield parent
    session.close()


def deleted(world: Any) -> Iterator[Any]:
    session, parent = saved(world)
    child = parent.children[0]
    session.delete(parent)
    session.commit()
    yield child
    yield parent
    session.close()


USES: list[Use] = [
    queued_and_taken_back,
    queued_and_loaded,
    queued_and_expired,
    merged,
    pickled,
    values_replaced,
    written_past_the_attributes,
    collections_changed,
    rolled_back,
    deleted,
]


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
def test_nothing_stays(world: Any, use: Use) -> None:
    done = use(world)
    given_up = [weakref.ref(one) for one in done]
    del done
    gc.collect()
    assert [ref() for ref in given_up] == [None] * len(given_up)
