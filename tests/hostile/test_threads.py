"""Threads with sessions of their own share engine and mappers, while other classes are being mapped and disposed of."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

_THREADS = 8
_ROUNDS = 12


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns every few bytecodes."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def _map(orm: Any) -> tuple[Any, Any]:
    class Base(orm.DeclarativeBase):
        pass

    class Parent(Base):
        __tablename__ = "parents"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        name = orm.mapped_column(sa.String)
        children = orm.relationship("Child", back_populates="parent", cascade="all, delete-orphan")

    class Child(Base):
        __tablename__ = "children"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        parent_id = orm.mapped_column(sa.ForeignKey("parents.id"))
        parent = orm.relationship("Parent", back_populates="children")

    return Parent, Child


def _work(orm: Any, engine: sa.Engine, classes: tuple[Any, Any], number: int) -> None:
    """Insert, read in every way, change, fail and delete; leaves one parent with two children."""
    parent_class, child_class = classes
    for turn in range(_ROUNDS):
        name = f"{number}.{turn}"
        with orm.Session(engine) as session:
            parent = parent_class(name=name, children=[child_class() for _ in range(3)])
            session.add(parent)
            session.commit()
            statement = sa.select(parent_class).where(parent_class.name == name)
            assert session.scalars(statement).one() is parent
            session.expire_all()
            for option in (orm.selectinload, orm.joinedload, orm.lazyload):
                loaded = session.scalars(statement.options(option(parent_class.children))).unique().one()
                assert len(loaded.children) == 3 and all(child.parent is parent for child in loaded.children)
                session.expunge_all()
                session.add(parent)
            parent = session.query(parent_class).filter_by(name=name).one()
            session.add(parent_class(id=parent.id))
            with pytest.raises((sa.exc.IntegrityError, orm.exc.FlushError)):
                session.flush()
            session.rollback()
            session.delete(parent.children[0])
            session.commit()
            if turn < _ROUNDS - 1:
                session.delete(parent)
            session.commit()


def _map_and_dispose(orm: Any, done: threading.Event, count: list[int]) -> None:
    while not done.is_set():
        parent_class, _ = _map(orm)
        orm.configure_mappers()
        parent_class(name="x", children=[]).children.clear()
        parent_class.registry.dispose()
        count.append(1)


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
def test_threads_share_mappers_while_classes_come_and_go(orm: Any, tmp_path: Path, hasty: None) -> None:
    classes = _map(orm)
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'threads.db'}", connect_args={"timeout": 120})
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    classes[0].metadata.create_all(engine)
    errors: list[BaseException] = []
    done, mapped = threading.Event(), list[int]()

    def guarded(call: Any, *args: Any) -> None:
        try:
            call(*args)
        except BaseException as error:
            errors.append(error)

    mapping = threading.Thread(target=guarded, args=(_map_and_dispose, orm, done, mapped))
    workers = [threading.Thread(target=guarded, args=(_work, orm, engine, classes, n)) for n in range(_THREADS)]
    for thread in (mapping, *workers):
        thread.start()
    for thread in workers:
        thread.join()
    done.set()
    mapping.join()
    assert not errors and mapped
    with orm.Session(engine) as session:
        names = session.scalars(sa.select(classes[0].name).order_by(classes[0].name)).all()
        assert names == [f"{n}.{_ROUNDS - 1}" for n in range(_THREADS)]
        assert session.scalar(sa.select(sa.func.count()).select_from(classes[1])) == 2 * _THREADS
    engine.dispose()
