"""`python -m tests.soak [SECONDS]`: sessions, objects, failed flushes and rollbacks in loops; fails if memory grows.

Each loop runs for its share of the time in ten stretches. Memory may rise while caches fill; from the fourth stretch on
it has to be flat, in resident bytes and in objects that the collector knows.
"""

from __future__ import annotations

import gc
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import sqlalchemy as sa

from rustalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

_STRETCHES = 10
_SETTLED = 3
# one arena of the allocator, and a little: less says nothing
_TOLERATED_BYTES = 1_500_000
_TOLERATED_OBJECTS = 50


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    books: Mapped[list[Book]] = relationship(back_populates="author", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column()
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("authors.id"))
    author: Mapped[Author] = relationship(back_populates="books")


Loop = Callable[[sa.Engine], int]


def empty_sessions(engine: sa.Engine) -> int:
    for _ in range(1000):
        Session(engine).close()
    return 1000


def dropped_sessions(engine: sa.Engine) -> int:
    for number in range(200):
        session = Session(engine)
        session.add(Author(name=str(number), books=[Book(title="never written")]))
    return 400


def units_of_work(engine: sa.Engine) -> int:
    for number in range(20):
        with Session(engine) as session:
            author = Author(name=f"u{number}", books=[Book(title="a"), Book(title="b")])
            session.add(author)
            session.commit()
            author.name += "!"
            author.books.pop()
            session.commit()
            assert len(author.books) == 1
            session.delete(author)
            session.commit()
    return 60


def loads(engine: sa.Engine) -> int:
    with Session(engine) as session:
        for _ in range(5):
            books = session.scalars(sa.select(Book)).all()
            assert all(book.author.name for book in books)
            session.expire_all()
    return 5 * len(books)


def rollbacks(engine: sa.Engine) -> int:
    with Session(engine) as session:
        kept = session.scalars(sa.select(Author)).first()
        assert kept is not None
        for number in range(30):
            kept.name = f"changed {number}"
            session.add(Author(name=f"r{number}", books=[Book(title="gone")]))
            session.flush()
            savepoint = session.begin_nested()
            session.add(Author(name=f"s{number}"))
            savepoint.rollback()
            session.rollback()
    return 90


def failed_flushes(engine: sa.Engine) -> int:
    with Session(engine) as session:
        for _ in range(30):
            session.add_all([Author(name="taken", books=[Book(title="x")]), Author(name="taken")])
            try:
                session.commit()
            except sa.exc.IntegrityError:
                session.rollback()
    return 90


def detached_errors(engine: sa.Engine) -> int:
    for _ in range(50):
        with Session(engine) as session:
            author = session.scalars(sa.select(Author)).first()
        try:
            assert author is not None and author.books
        except sa.exc.SQLAlchemyError:
            continue
    return 50


LOOPS: tuple[Loop, ...] = (
    empty_sessions,
    dropped_sessions,
    units_of_work,
    loads,
    rollbacks,
    failed_flushes,
    detached_errors,
)


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    return pages * resource.getpagesize() or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _stretches(loop: Loop, engine: sa.Engine, seconds: float) -> Iterator[tuple[int, int, int]]:
    """After each stretch: how often the loop's body ran, resident bytes, and objects the collector knows."""
    for _ in range(_STRETCHES):
        count = 0
        end = time.monotonic() + seconds / _STRETCHES
        while time.monotonic() < end:
            count += loop(engine)
        gc.collect()
        yield count, _resident_bytes(), len(gc.get_objects())


def main(seconds: float) -> int:
    warnings.simplefilter("ignore", sa.exc.SAWarning)
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(Author(name=f"author {n}", books=[Book(title=f"{n}.{b}") for b in range(4)]) for n in range(50))
        session.add(Author(name="taken"))
        session.commit()
    total, growing = 0, []
    for loop in LOOPS:
        counts, memory, objects = zip(*_stretches(loop, engine, seconds / len(LOOPS)), strict=True)
        total += sum(counts)
        more_bytes = memory[-1] - max(memory[: _SETTLED + 1])
        more_objects = objects[-1] - max(objects[: _SETTLED + 1])
        print(f"{loop.__name__:18} {sum(counts):>9,} objects  {more_bytes:>+11,} bytes  {more_objects:>+6} tracked")
        if more_bytes > _TOLERATED_BYTES or more_objects > _TOLERATED_OBJECTS:
            growing.append(loop.__name__)
    print(
        f"{total:,} sessions and objects; " + (f"memory grows in {', '.join(growing)}" if growing else "memory is flat")
    )
    return bool(growing)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 90))
