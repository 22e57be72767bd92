"""Objects that are being torn down: code that runs meanwhile must neither find them nor bring them back."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa


class Last:
    """Runs code when it goes."""

    def __init__(self, run: Callable[[], None]) -> None:
        self.run = run

    def __del__(self) -> None:
        self.run()


@pytest.fixture
def item(orm: Any) -> Iterator[Any]:
    class Base(orm.DeclarativeBase):
        pass

    class Item(Base):
        __tablename__ = "items"
        __slots__ = ("member",)
        id = orm.mapped_column(sa.Integer, primary_key=True)
        name = orm.mapped_column(sa.String)

    yield Item
    Base.registry.dispose()


def test_a_slot_member_looks_for_its_object(item: Any) -> None:
    one = item(id=1)
    view, seen = sa.inspect(one), []
    one.member = Last(lambda: seen.append((view.obj(), view.session)))
    del one
    assert seen == [(None, None)]


def test_what_a_session_holds_looks_for_the_session(orm: Any, item: Any) -> None:
    engine = sa.create_engine("sqlite://")
    item.metadata.create_all(engine)
    one, seen = item(id=1), []
    session = orm.Session(engine)
    session.add(one)
    session.commit()
    session.held = Last(lambda: seen.append((orm.object_session(one), sa.inspect(one).session)))
    del session
    gc.collect()
    assert seen == [(None, None)]
    assert orm.object_session(one) is None
    engine.dispose()


def test_an_argument_lets_go_of_the_object(item: Any) -> None:
    held = [item(id=1)]
    view = sa.inspect(held[0])

    def names() -> Iterator[str]:
        held.clear()
        gc.collect()
        yield "id"
        yield "name"

    assert view.unmodified_intersection(names()) == {"name"}


@pytest.fixture
def collecting() -> Iterator[None]:
    """The collector is due after each ten new objects."""
    before = gc.get_threshold()
    gc.collect()
    gc.set_threshold(10)
    yield
    gc.set_threshold(*before)


def test_a_collection_asks_for_the_state_that_is_being_made(orm: Any, item: Any, collecting: None) -> None:
    for waiting in range(12):  # with one of these the collector runs exactly when the state is made
        one, seen, is_armed = item(id=1), [], []

        def look(phase: str, info: Any, one: Any = one, seen: list[Any] = seen, is_armed: list[Any] = is_armed) -> None:
            if is_armed:
                is_armed.clear()
                seen.append(orm.attributes.instance_state(one))

        gc.callbacks.append(look)
        gc.collect()
        kept: list[Any] = []
        for _ in range(waiting):
            kept.append(set())
        is_armed.append(True)
        state = orm.attributes.instance_state(one)
        is_armed.clear()
        gc.callbacks.remove(look)
        look.__defaults__ = None
        del one
        assert all(other is state for other in seen)
        assert state.obj() is None


def test_lists_of_lists(orm: Any) -> None:
    nested = innermost = orm.collections.InstrumentedList()
    gone: list[str] = []
    innermost.append(Last(lambda: gone.append("innermost")))
    for _ in range(200_000):
        nested = orm.collections.InstrumentedList([nested])
    del nested, innermost
    assert gone == ["innermost"]
