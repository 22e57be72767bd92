"""Sessions whose listeners were removed: nobody is told any more, and the lane is open again."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from rustalchemy import orm


@pytest.fixture
def engine() -> Iterator[sa.Engine]:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    yield engine
    engine.dispose()


class Class(orm.Session):
    """A class of sessions of its own."""


class SubClass(Class):
    """One derived from it."""


def ignore(*args: Any) -> None:
    """Listens."""


def ignore_too(*args: Any) -> None:
    """Listens."""


class Listening:
    def heard(self, *args: Any) -> None:
        """Listens."""


NAMES = pytest.mark.parametrize("name", ["after_begin", "do_orm_execute", "pending_to_persistent"])


@NAMES
def test_of_a_session(name: str) -> None:
    session = orm.Session()
    event.listen(session, name, ignore)
    event.listen(session, name, ignore_too)
    event.remove(session, name, ignore)
    assert session._event_bits
    event.remove(session, name, ignore_too)
    assert not session._event_bits


@NAMES
@pytest.mark.parametrize("made", [Class, SubClass])
def test_of_a_class(name: str, made: type[orm.Session]) -> None:
    early = made()
    event.listen(Class, name, ignore)
    late = made()
    own = made()
    event.listen(own, "before_flush", ignore)
    assert early._event_bits and late._event_bits and made._event_bits
    event.remove(Class, name, ignore)
    assert not early._event_bits and not late._event_bits and not made._event_bits
    assert own._event_bits
    event.remove(own, "before_flush", ignore)
    assert not own._event_bits


def test_of_a_sub_class_and_its_base() -> None:
    session = SubClass()
    event.listen(Class, "before_flush", ignore)
    event.listen(SubClass, "before_flush", ignore)
    event.remove(Class, "before_flush", ignore)
    assert session._event_bits and SubClass._event_bits and not Class._event_bits
    event.remove(SubClass, "before_flush", ignore)
    assert not session._event_bits


def test_of_a_factory() -> None:
    factory = orm.sessionmaker()
    event.listen(factory, "before_flush", ignore)
    assert factory()._event_bits
    event.remove(factory, "before_flush", ignore)
    assert not factory()._event_bits


def test_of_a_method_and_of_once() -> None:
    session, listening = orm.Session(), Listening()
    event.listen(session, "before_commit", listening.heard)
    event.listen(session, "after_commit", ignore, once=True)
    event.remove(session, "before_commit", listening.heard)
    assert session._event_bits
    event.remove(session, "after_commit", ignore)
    assert not session._event_bits


def test_the_same_listener_twice_is_one() -> None:
    session = orm.Session()
    event.listen(session, "before_commit", ignore)
    event.listen(session, "before_commit", ignore)
    event.remove(session, "before_commit", ignore)
    assert not session._event_bits


def test_sessions_that_are_gone_leave_nothing_behind() -> None:
    """A later session may stand where one stood before, and has the same listener."""
    for _ in range(50):
        session = orm.Session()
        event.listen(session, "before_commit", ignore)
        assert session._event_bits
        del session
        gc.collect()


def test_the_lane_is_open_again(engine: sa.Engine) -> None:
    with orm.Session(engine) as session:
        event.listen(session, "after_begin", ignore)
        session.execute(sa.text("SELECT 1"))
        session.commit()
        event.remove(session, "after_begin", ignore)
        session.execute(sa.text("SELECT 1"))
        assert session._transaction is not None
        assert not session._event_bits
        session.commit()
