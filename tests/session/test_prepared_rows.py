"""One-row loads the core does by itself: who has to be asked is asked all the same."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from rustalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from rustalchemy.orm.exc import ObjectDeletedError


class Base(DeclarativeBase):
    pass


class Parent(Base):
    __tablename__ = "parents"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    children: Mapped[list[Child]] = relationship(order_by="Child.id", overlaps="parent")


class Child(Base):
    __tablename__ = "children"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(sa.ForeignKey("parents.id"))
    parent: Mapped[Parent] = relationship()


@pytest.fixture
def engine() -> Iterator[sa.Engine]:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Parent(id=i, name=f"n{i}") for i in range(1, 10)])
        session.add_all([Child(id=i, parent_id=i) for i in range(1, 10)])
        session.commit()
        # every kind of load is prepared from here on
        parent = session.get(Parent, 1)
        child = session.get(Child, 2)
        assert parent is not None and child is not None and child.parent.id == 2
        assert len(parent.children) == 1
        session.commit()
        assert parent.name == "n1"
    yield engine
    engine.dispose()


def test_loads(engine: sa.Engine) -> None:
    with Session(engine) as session:
        parent = session.get(Parent, 3)
        assert parent is not None and parent.name == "n3"
        assert session.get(Parent, 3) is parent
        assert session.get(Parent, 99) is None
        child = session.get(Child, 3)
        assert child is not None and child.parent is parent
        session.execute(sa.text("UPDATE parents SET name = 'x' WHERE id = 3"))
        session.expire(parent)
        assert parent.name == "x"
        assert not session.is_modified(parent)


def test_a_due_flush_comes_first(engine: sa.Engine) -> None:
    with Session(engine) as session:
        assert session.get(Parent, 1) is not None
        pending = Parent(id=50, name="new")
        session.add(pending)
        assert session.get(Parent, 50) is pending
        child = session.get(Child, 1)
        assert child is not None
        with session.no_autoflush:
            session.add(Parent(id=51, name="newer"))
            assert session.get(Parent, 51) is None


def test_collections(engine: sa.Engine) -> None:
    with Session(engine) as session:
        parent = session.get(Parent, 3)
        assert parent is not None
        session.add(Child(id=30, parent_id=3))
        known = session.get(Child, 3)
        # a due flush comes first; rows of objects that are there become these
        assert [child.id for child in parent.children] == [3, 30]
        assert parent.children[0] is known
        assert not session.is_modified(parent)
        lonely = session.get(Parent, 4)
        assert lonely is not None
        session.execute(sa.delete(Child).where(Child.parent_id == 4))
        assert lonely.children == []
        pending = Parent(id=60, name="p")
        session.add(pending)
        assert pending.children == []


def test_missing_row_of_an_expired_object(engine: sa.Engine) -> None:
    with Session(engine) as session:
        parent = session.get(Parent, 4)
        assert parent is not None
        session.execute(sa.text("DELETE FROM parents WHERE id = 4"))
        session.expire(parent)
        with pytest.raises(ObjectDeletedError):
            _ = parent.name


def test_errors_of_the_driver(engine: sa.Engine) -> None:
    with Session(engine) as session:
        assert session.get(Parent, 1) is not None
        session.execute(sa.text("DROP TABLE parents"))
        with pytest.raises(sa_exc.OperationalError, match="no such table") as caught:
            session.get(Parent, 5)
        assert caught.value.statement is not None and "FROM parents" in caught.value.statement
        assert caught.value.params == (5,)


def test_listeners_that_come_later(engine: sa.Engine) -> None:
    heard: list[Any] = []

    def on_statement(conn: Any, cursor: Any, statement: str, *args: Any) -> None:
        heard.append("statement")

    def on_load(target: Any, context: Any) -> None:
        heard.append(("load", context is not None))

    def on_refresh(target: Any, context: Any, attrs: Any) -> None:
        heard.append(("refresh", context is not None))

    with Session(engine) as session:
        assert session.get(Parent, 1) is not None
        sa.event.listen(engine, "before_cursor_execute", on_statement)
        assert session.get(Parent, 2) is not None
        assert heard == ["statement"]
        sa.event.remove(engine, "before_cursor_execute", on_statement)

    heard.clear()
    sa.event.listen(Parent, "load", on_load)
    sa.event.listen(Parent, "refresh", on_refresh)
    sa.event.listen(Child, "load", on_load)
    try:
        with Session(engine) as session:
            parent = session.get(Parent, 1)
            assert parent is not None
            session.expire(parent)
            assert parent.name == "n1"
            assert len(parent.children) == 1
    finally:
        sa.event.remove(Parent, "load", on_load)
        sa.event.remove(Parent, "refresh", on_refresh)
        sa.event.remove(Child, "load", on_load)
    assert heard == [("load", True), ("refresh", True), ("load", True)]


def test_overridden_flush_is_called(engine: sa.Engine) -> None:
    flushes: list[None] = []

    class Counting(Session):
        def flush(self, objects: Any = None) -> None:
            flushes.append(None)
            super().flush(objects)

    with Counting(engine) as session:
        assert session.get(Parent, 1) is not None
        assert session.get(Parent, 2) is not None
    assert len(flushes) == 2


def test_a_commit_inside_a_commit_is_refused(engine: sa.Engine) -> None:
    refused: list[str] = []
    session = Session(engine)

    def on_update(mapper: Any, connection: Any, target: Parent) -> None:
        root = session.get_transaction()
        assert root is not None
        with pytest.raises(sa_exc.IllegalStateChangeError, match="method '_prepare_impl") as caught:
            root.commit()
        refused.append(str(caught.value))

    sa.event.listen(Parent, "before_update", on_update)
    try:
        with session:
            parent = session.get(Parent, 1)
            assert parent is not None
            parent.name = "changed"
            session.commit()
            assert parent.name == "changed"
    finally:
        sa.event.remove(Parent, "before_update", on_update)
    assert len(refused) == 1


def test_a_unit_of_work_leaves_nothing_to_the_collector(engine: sa.Engine) -> None:
    def work(number: int) -> list[Any]:
        with Session(engine) as session:
            parent = session.get(Parent, number)
            assert parent is not None and len(parent.children) == 1
            parent.name += "!"
            session.add(Parent(name="new"))
            left: list[Any] = [
                weakref.ref(session),
                weakref.ref(session.get_transaction()),
                weakref.ref(parent),
            ]
            session.commit()
        return left

    work(1)
    gc.disable()
    try:
        left = work(2)
        assert [ref() for ref in left] == [None, None, None]
    finally:
        gc.enable()
