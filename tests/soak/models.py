"""The classes of the loops, and how often a loop says it has run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from rustalchemy.ext.associationproxy import association_proxy
from rustalchemy.ext.mutable import MutableDict
from rustalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

#: Works on a database for a moment; tells how many sessions, objects or classes it made.
Loop = Callable[[sa.Engine], int]


class Base(DeclarativeBase):
    pass


book_tags = sa.Table(
    "book_tags",
    Base.metadata,
    sa.Column("book_id", sa.ForeignKey("books.id"), primary_key=True),
    sa.Column("tag_id", sa.ForeignKey("tags.id"), primary_key=True),
)


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    data: Mapped[Any] = mapped_column(MutableDict.as_mutable(sa.JSON), default=lambda: {"k": 0})
    books: Mapped[list[Book]] = relationship(back_populates="author", cascade="all, delete-orphan")
    titles = association_proxy("books", "title", creator=lambda title: Book(title=title))


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column()
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("authors.id"))
    author: Mapped[Author] = relationship(back_populates="books")
    tags: Mapped[set[Tag]] = relationship(secondary=book_tags)


class Tag(Base):
    __tablename__ = "tags"
    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column()


def fill(engine: sa.Engine) -> None:
    """Fifty authors of four books each, and one whose name is taken."""
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        tags = {Tag(label="a"), Tag(label="b")}
        session.add_all(
            Author(name=f"author {n}", books=[Book(title=f"{n}.{b}", tags=tags) for b in range(4)]) for n in range(50)
        )
        session.add(Author(name="taken"))
        session.commit()
