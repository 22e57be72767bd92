"""`Session(read_only=True)`: loads as every session does, and refuses everything that would have to be written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from rustalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, sessionmaker


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column()
    books: Mapped[list[Book]] = relationship(back_populates="author", order_by="Book.id")


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("authors.id"))
    author: Mapped[Author] = relationship(back_populates="books")


@pytest.fixture
def engine() -> Iterator[sa.Engine]:
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Author(name="ann", books=[Book(), Book()]))
        session.commit()
    yield engine
    engine.dispose()


def test_reading(engine: sa.Engine) -> None:
    with sessionmaker(engine, read_only=True)() as session:
        assert session.read_only
        author = session.scalars(sa.select(Author)).one()
        assert [book.author is author for book in author.books] == [True, True]
        assert session.get(Author, 1) is author
        session.refresh(author)
        session.commit()
        assert author.name == "ann"
        session.expire(author)
        session.rollback()
        assert author in session and not session.dirty
        session.expunge(author)
    assert not Session(engine).read_only


WRITES: dict[str, Callable[[Session, Any], Any]] = {
    "add": lambda session, author: session.add(Author(name="x")),
    "add_all": lambda session, author: session.add_all([Author(name="x")]),
    "merge": lambda session, author: session.merge(Author(name="x")),
    "merge of a persistent object": lambda session, author: session.merge(Author(id=1, name="x")),
    "delete": lambda session, author: session.delete(author),
    "set": lambda session, author: setattr(author, "name", "x"),
    "set of an expired attribute": lambda session, author: (session.expire(author), setattr(author, "name", "x")),
    "del": lambda session, author: delattr(author, "name"),
    "append": lambda session, author: author.books.append(Book()),
    "remove": lambda session, author: author.books.remove(author.books[0]),
    "replace": lambda session, author: setattr(author, "books", []),
    "many-to-one": lambda session, author: setattr(author.books[0], "author", None),
    "insert": lambda session, author: session.execute(sa.insert(Author), [{"name": "x"}]),
    "update": lambda session, author: session.execute(sa.update(Author).values(name="x")),
    "delete statement": lambda session, author: session.execute(sa.delete(Author)),
    "query.update": lambda session, author: session.query(Author).update({"name": "x"}),
    "core insert": lambda session, author: session.execute(Author.__table__.insert(), [{"name": "x"}]),
    "bulk_save_objects": lambda session, author: session.bulk_save_objects([Author(name="x")]),
    "bulk_insert_mappings": lambda session, author: session.bulk_insert_mappings(Author, [{"name": "x"}]),
}


@pytest.mark.parametrize("write", WRITES)
def test_writes_are_refused(engine: sa.Engine, write: str) -> None:
    with Session(engine, read_only=True) as session:
        author = session.scalars(sa.select(Author)).one()
        assert len(author.books) == 2
        with pytest.raises(exc.InvalidRequestError, match=r"^This Session is read-only: .* is refused"):
            WRITES[write](session, author)
        assert not session.new and not session.dirty and not session.deleted
        assert (author.name, len(author.books)) == ("ann", 2)
        assert not sa.inspect(author).modified
        assert all(book.author is author for book in author.books)
        session.commit()
    with Session(engine) as session:
        assert [(author.name, len(author.books)) for author in session.scalars(sa.select(Author))] == [("ann", 2)]
