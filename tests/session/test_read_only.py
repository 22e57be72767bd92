"""`Session(read_only=True)`: loads as every session does, and refuses everything that would have to be written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from rustalchemy.ext.associationproxy import association_proxy
from rustalchemy.ext.mutable import MutableComposite, MutableDict
from rustalchemy.orm import (
    DeclarativeBase,
    DynamicMapped,
    Mapped,
    Session,
    WriteOnlyMapped,
    attribute_keyed_dict,
    attributes,
    composite,
    mapped_column,
    relationship,
    sessionmaker,
    synonym,
)


class Base(DeclarativeBase):
    pass


@dataclasses.dataclass
class Point:
    x: int
    y: int


@dataclasses.dataclass
class Range(MutableComposite):
    """A composite that tells of changes in place."""

    low: int
    high: int

    def __setattr__(self, key: str, value: Any) -> None:
        object.__setattr__(self, key, value)
        self.changed()


author_tags = sa.Table(
    "author_tags",
    Base.metadata,
    sa.Column("author_id", sa.ForeignKey("authors.id"), primary_key=True),
    sa.Column("tag_id", sa.ForeignKey("tags.id"), primary_key=True),
)


class Tag(Base):
    __tablename__ = "tags"
    id: Mapped[int] = mapped_column(primary_key=True)


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column()
    data: Mapped[Any] = mapped_column(MutableDict.as_mutable(sa.JSON), default=lambda: {"k": 1})
    x: Mapped[int] = mapped_column(default=1)
    y: Mapped[int] = mapped_column(default=2)
    low: Mapped[int] = mapped_column(default=3)
    high: Mapped[int] = mapped_column(default=4)
    point: Mapped[Point] = composite("x", "y")
    range: Mapped[Range] = composite("low", "high")
    called: Mapped[str] = synonym("name")
    books: Mapped[list[Book]] = relationship(back_populates="author", order_by="Book.id", cascade="all, delete-orphan")
    notes: Mapped[dict[str, Note]] = relationship(collection_class=attribute_keyed_dict("key"))
    tags: Mapped[set[Tag]] = relationship(secondary=author_tags)
    queried: DynamicMapped[Note] = relationship(overlaps="notes")
    written: WriteOnlyMapped[Note] = relationship(overlaps="notes,queried")
    titles = association_proxy("books", "title", creator=lambda title: Book(title=title))


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(default="t")
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("authors.id"))
    author: Mapped[Author] = relationship(back_populates="books")


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column()
    author_id: Mapped[int | None] = mapped_column(sa.ForeignKey("authors.id"))


@pytest.fixture
def engine() -> Iterator[sa.Engine]:
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Author(name="ann", books=[Book(), Book()], notes={"n": Note(key="n")}, tags={Tag()}))
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


def _inserted() -> sa.CTE:
    """An INSERT that a SELECT could read from."""
    return sa.insert(Author).values(name="x").returning(Author.id).cte("inserted")


class _Uncached(sa.sql.expression.ColumnElement[bool]):
    """An expression that no cache key can be made of."""

    inherit_cache = False
    type = sa.Boolean()


def _detached(session: Session) -> Author:
    """A persistent object let go by a session that may write."""
    with Session(session.get_bind()) as other:
        author = other.scalars(sa.select(Author)).one()
        other.expunge(author)
    return author


def _after_expunge(session: Session, call: Callable[[Any], Any]) -> None:
    detached = _detached(session)
    session.expunge_all()
    call(detached)


Write = Callable[[Session, Any], Any]

SESSION_WRITES: dict[str, Write] = {
    "add": lambda session, author: session.add(Author(name="x")),
    "add of a persistent object": lambda session, author: session.add(author),
    "add of a detached object": lambda session, author: _after_expunge(session, session.add),
    "add_all": lambda session, author: session.add_all([Author(name="x")]),
    "merge": lambda session, author: session.merge(Author(name="x")),
    "merge of a persistent object": lambda session, author: session.merge(Author(id=1, name="x")),
    "merge_all": lambda session, author: session.merge_all([Author(id=1, name="x")]),
    "delete": lambda session, author: session.delete(author),
    "delete of a detached object": lambda session, author: _after_expunge(session, session.delete),
    "delete_all": lambda session, author: session.delete_all([author]),
    "insert": lambda session, author: session.execute(sa.insert(Author), [{"name": "x"}]),
    "insert returning": lambda session, author: session.scalars(sa.insert(Author).returning(Author), [{"name": "x"}]),
    "update": lambda session, author: session.execute(sa.update(Author).values(name="x")),
    "update by key": lambda session, author: session.execute(sa.update(Author), [{"id": 1, "name": "x"}]),
    "delete statement": lambda session, author: session.execute(sa.delete(Author)),
    "query.update": lambda session, author: session.query(Author).update({"name": "x"}),
    "query.delete": lambda session, author: session.query(Author).delete(),
    "core insert": lambda session, author: session.execute(Author.__table__.insert(), [{"name": "x"}]),
    "insert of a collection": lambda session, author: session.execute(author.written.insert(), [{"key": "x"}]),
    "insert in a select": lambda session, author: session.execute(sa.select(_inserted().c.id)),
    "insert beside a select": lambda session, author: session.scalars(sa.select(Author).add_cte(_inserted())),
    "insert in a subquery": lambda session, author: session.execute(
        sa.select(Author.id).where(Author.id.in_(sa.select(_inserted().c.id)))
    ),
    "insert in a query": lambda session, author: session.query(_inserted().c.id).all(),
    "delete in a union": lambda session, author: session.execute(
        sa.union(sa.select(Author.id), sa.select(sa.delete(Author).returning(Author.id).cte().c.id))
    ),
    "update in a statement without cache key": lambda session, author: session.execute(
        sa.select(_inserted().c.id).where(_Uncached())
    ),
    "DDL": lambda session, author: session.execute(sa.DDL("DROP TABLE books")),
    "DROP TABLE": lambda session, author: session.execute(sa.schema.DropTable(Book.__table__)),
    "bulk_save_objects": lambda session, author: session.bulk_save_objects([Author(name="x")]),
    "bulk_insert_mappings": lambda session, author: session.bulk_insert_mappings(Author, [{"name": "x"}]),
    "bulk_update_mappings": lambda session, author: session.bulk_update_mappings(Author, [{"id": 1, "name": "x"}]),
}

OBJECT_WRITES: dict[str, Write] = {
    "set": lambda session, author: setattr(author, "name", "x"),
    "set to what it is": lambda session, author: setattr(author, "name", "ann"),
    "set of an expired attribute": lambda session, author: (session.expire(author), setattr(author, "name", "x")),
    "set of the key": lambda session, author: setattr(author, "id", 7),
    "set of a synonym": lambda session, author: setattr(author, "called", "x"),
    "set of a composite": lambda session, author: setattr(author, "point", Point(5, 6)),
    "change of a mutable composite": lambda session, author: setattr(author.range, "high", 6),
    "change of a mutable dictionary": lambda session, author: author.data.update(k=2),
    "del": lambda session, author: delattr(author, "name"),
    "del of a composite": lambda session, author: delattr(author, "point"),
    "set_attribute": lambda session, author: attributes.set_attribute(author, "name", "x"),
    "flag_modified": lambda session, author: attributes.flag_modified(author, "name"),
    "flag_dirty": lambda session, author: attributes.flag_dirty(author),
    "in a savepoint": lambda session, author: (session.begin_nested(), setattr(author, "name", "x")),
    "append": lambda session, author: author.books.append(Book()),
    "append to an expired list": lambda session, author: (session.expire(author), author.books.append(Book())),
    "extend": lambda session, author: author.books.extend([Book()]),
    "insert into a list": lambda session, author: author.books.insert(0, Book()),
    "set of a slice": lambda session, author: author.books.__setitem__(slice(None), []),
    "remove": lambda session, author: author.books.remove(author.books[0]),
    "pop": lambda session, author: author.books.pop(),
    "clear": lambda session, author: author.books.clear(),
    "replace": lambda session, author: setattr(author, "books", []),
    "del of a list": lambda session, author: delattr(author, "books"),
    "append to a proxy": lambda session, author: author.titles.append("x"),
    "add to a set": lambda session, author: author.tags.add(Tag()),
    "clear of a set": lambda session, author: author.tags.clear(),
    "set of an item": lambda session, author: author.notes.__setitem__("m", Note(key="m")),
    "popitem": lambda session, author: author.notes.popitem(),
    "dynamic append": lambda session, author: author.queried.append(Note(key="m")),
    "dynamic remove": lambda session, author: author.queried.remove(author.notes["n"]),
    "write-only add": lambda session, author: author.written.add(Note(key="m")),
    "write-only remove": lambda session, author: author.written.remove(author.notes["n"]),
    "many-to-one": lambda session, author: setattr(author.books[0], "author", None),
    "del of a many-to-one": lambda session, author: delattr(author.books[0], "author"),
    "new member by its many-to-one": lambda session, author: Book(author=author),
    "move to a new parent": lambda session, author: Author(name="x", books=[author.books[0]]),
}
WRITES = SESSION_WRITES | OBJECT_WRITES


def _content(author: Author) -> Any:
    """All that an author says, members by what they are."""
    books = [(book.id, book.title, book.author is author) for book in author.books]
    columns = (author.id, author.name, dict(author.data), author.point, author.range.low, author.range.high)
    return (*columns, author.called, books, sorted(author.notes), len(author.tags), author.queried.count())


@pytest.mark.parametrize("write", WRITES)
def test_writes_are_refused(engine: sa.Engine, write: str) -> None:
    with Session(engine) as session:
        before = _content(session.scalars(sa.select(Author)).one())
    with Session(engine, read_only=True) as session:
        author = session.scalars(sa.select(Author)).one()
        assert _content(author) == before
        with pytest.raises(exc.InvalidRequestError) as caught:
            WRITES[write](session, author)
        assert str(caught.value).startswith("This Session is read-only: ")
        assert " is refused. Use a Session without read_only=True for what is to be written" in str(caught.value)
        assert not session.new and not session.dirty and not session.deleted
        assert not sa.inspect(author).modified
        if author in session:
            assert _content(author) == before
        session.commit()
    with Session(engine) as session:
        assert [_content(author) for author in session.scalars(sa.select(Author))] == [before]
        assert session.scalar(sa.select(sa.func.count()).select_from(Book)) == 2


def test_what_is_not_written_is_allowed(engine: sa.Engine) -> None:
    """Values put in as loaded ones, also by a merge from a cache, and changes of objects that were let go."""
    with Session(engine, read_only=True) as session:
        author = session.scalars(sa.select(Author)).one()
        assert session.merge(_detached(session), load=False) is author
        attributes.set_committed_value(author, "name", "put in")
        assert author.name == "put in" and not session.dirty
        assert session.scalars(sa.select(Author).with_for_update()).one() is author
        session.expunge(author)
        author.name = "nobody's"
        assert not session.dirty
