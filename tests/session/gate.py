"""What the tests of concurrent use share: a class, and a gate that keeps whoever is inside of the session waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import sqlalchemy as sa

from rustalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column()


class Event(Protocol):
    """A flag of `threading` or `asyncio`."""

    def set(self) -> object: ...


E = TypeVar("E", bound=Event)


class Gate(Generic[E]):
    """Keeps one user of the session waiting at a point of the driver until the test lets it go on."""

    def __init__(self, event: Callable[[], E], wait: Callable[[E], object]) -> None:
        self.wanted = ""
        self.reached, self.open = event(), event()
        self._wait = wait

    def pass_through(self, what: str) -> None:
        if self.wanted and what.startswith(self.wanted):
            self.wanted = ""
            self.reached.set()
            self._wait(self.open)


def fill(engine: sa.Engine) -> None:
    """Two items."""
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Item(name="a"), Item(name="b")])
        session.commit()


# ---- what a first user is at ----------------------------------------------------------------------------------------


def statement(session: Session) -> None:
    session.scalars(sa.select(Item)).all()


def flush(session: Session) -> None:
    session.add(Item(name="c"))
    session.flush()


def commit(session: Session) -> None:
    session.add(Item(name="d"))
    session.commit()
