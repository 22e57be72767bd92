"""Faults as they come: a dead connection, a locked file, a full disk, finalizers and listeners that raise."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from fault_world import World
from sqlalchemy import event, exc

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")


def _raw(session: Any) -> Any:
    return session.connection().connection.dbapi_connection


@pytest.mark.parametrize(
    "when", ["before the flush", "between flush and commit", "before a load", "before the rollback"]
)
def test_connection_dies(world: World, when: str) -> None:
    session = world.Session()
    ann = session.get(world.User, 1)
    new = world.User(name="dan")
    if when == "between flush and commit":
        session.add(new)
        ann.age = 77
        session.flush()
    raw = _raw(session)
    if when == "before the flush":
        session.add(new)
        ann.age = 77
    raw.close()
    with pytest.raises(exc.ProgrammingError, match="closed database"):
        if when == "before a load":
            session.get(world.User, 2)
        elif when == "before the rollback":
            session.rollback()
        else:
            session.commit()
    try:
        session.rollback()
    except exc.ProgrammingError:
        session.close()
    assert world.dump() == world.before
    assert not session.new and not session.dirty
    world.engine.dispose()
    session.add(world.User(name="eve", age=1))
    session.get(world.User, 1).age = 21
    session.commit()
    assert [row[1:3] for row in world.dump()["users"]] == [("ann", 21), ("bob", 30), ("cid", 40), ("eve", 1)]
    session.close()
    world.engine.dispose()


def test_file_is_locked_by_another_writer(world: World) -> None:
    session = world.Session()
    ann = session.get(world.User, 1)
    session.connection().exec_driver_sql("PRAGMA busy_timeout = 10")
    session.commit()
    other = sqlite3.connect(world.file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    new = world.User(name="dan", age=3)
    session.add(new)
    ann.age = 78
    session.connection().exec_driver_sql("PRAGMA busy_timeout = 10")
    with pytest.raises(exc.OperationalError, match="database is locked"):
        session.commit()
    with pytest.raises(exc.PendingRollbackError, match="database is locked"):
        session.get(world.User, 2)
    session.rollback()
    assert world.state(new) == "transient" and world.state(ann) == "persistent"
    other.execute("COMMIT")
    other.close()
    assert ann.age == 20 and world.dump() == world.before
    session.add(new)
    ann.age = 78
    session.commit()
    assert (1, "ann", 78, "a") in world.dump()["users"] and (4, "dan", 3, None) in world.dump()["users"]
    session.close()


def test_disk_is_full(world: World) -> None:
    session = world.Session()
    pages = session.connection().exec_driver_sql("PRAGMA page_count").scalar()
    session.connection().exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    ann = session.get(world.User, 1)
    ann.age = 79
    session.flush()
    users = [world.User(name=f"{number} {'x' * 2000}", age=number) for number in range(200)]
    session.add_all(users)
    with pytest.raises(exc.OperationalError, match="full"):
        session.commit()
    session.rollback()
    assert world.dump() == world.before
    assert {world.state(user) for user in users} == {"transient"}
    assert ann.age == 20
    session.connection().exec_driver_sql("PRAGMA max_page_count = 100000")
    session.add_all(users)
    session.commit()
    assert len(world.dump()["users"]) == 203
    session.close()
    world.engine.dispose()


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What finalizers raise, which nobody but the interpreter's hook hears of."""
    heard: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", lambda args: heard.append(args.exc_type))
    yield heard


def test_finalizers_that_raise(orm: Any, unraisable: list[Any]) -> None:
    class Base(orm.DeclarativeBase):
        pass

    class Thing(Base):
        __tablename__ = "things"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        value = orm.mapped_column(sa.PickleType)

        def __del__(self) -> None:
            raise KeyboardInterrupt

    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    session = orm.Session(engine)
    for number in range(3):
        session.add(Thing(id=number))
    session.flush()
    gc.collect()
    lost = unraisable.count(KeyboardInterrupt)
    assert lost == 3
    session.add(Thing(id=7))
    session.rollback()
    gc.collect()
    assert unraisable.count(KeyboardInterrupt) == 4
    assert session.scalars(sa.select(Thing)).all() == [] and not session.new
    session.close()
    engine.dispose()


def test_constructors_that_raise_leave_nothing_behind(orm: Any) -> None:
    class Base(orm.DeclarativeBase):
        pass

    class Thing(Base):
        __tablename__ = "things"
        id = orm.mapped_column(sa.Integer, primary_key=True)

        def __init__(self, session: Any, error: BaseException) -> None:
            session.add(self)
            raise error

    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        for error in (KeyboardInterrupt, MemoryError, ValueError):
            with pytest.raises(error):
                Thing(session, error())
        assert len(session.new) == 3
        session.rollback()
        assert not session.new
    engine.dispose()


def test_listener_interrupted_in_an_attribute_change(orm: Any) -> None:
    """A `set` or `append` listener that raises: nothing has changed."""

    class Base(orm.DeclarativeBase):
        pass

    class Node(Base):
        __tablename__ = "nodes"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        name = orm.mapped_column(sa.String)
        parent_id = orm.mapped_column(sa.ForeignKey("nodes.id"))
        children = orm.relationship("Node")

    def refuse(*args: Any) -> None:
        raise KeyboardInterrupt

    event.listen(Node.name, "set", refuse)
    event.listen(Node.children, "append", refuse)
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        session.execute(sa.insert(Node).values(id=1, name="one"))
        node = session.get(Node, 1)
        with pytest.raises(KeyboardInterrupt):
            node.name = "two"
        with pytest.raises(KeyboardInterrupt):
            node.children.append(Node(id=2))
        assert node.name == "one" and node.children == []
        assert not session.dirty and not session.new
    engine.dispose()


def test_close_whose_rollback_fails_gives_the_connection_back(world: World) -> None:
    session = world.Session()
    ann = session.get(world.User, 1)

    def fail() -> None:
        raise MemoryError

    with world.faults.counting("before rollback #1", fail):
        try:
            session.close()
        except MemoryError:
            pass
        else:
            raise AssertionError("the rollback did not fail")
    if world.is_observed:
        # a Connection of Core is in a cycle then
        gc.collect()
    assert world.engine.pool.checkedout() == 0
    session.rollback()
    session.add(ann)
    ann.age = 21
    session.commit()
    assert world.dump()["users"][0][2] == 21
    session.close()
