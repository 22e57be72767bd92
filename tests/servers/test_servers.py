"""PostgreSQL and MariaDB: one program on both ORMs, with equal statements, parameters, rows and states.

A server is taken from ``RUSTALCHEMY_PG_URL`` / ``RUSTALCHEMY_MYSQL_URL`` or from its usual port on this machine; the
tests are skipped where none answers. Tables are made and dropped by each run.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import importlib
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from comparison import IS_REFERENCE, in_order
from sqlalchemy import event, exc


class Color(enum.Enum):
    """Stored by name, as an ENUM where the database has one."""

    red = 1
    blue = 2


class Server:
    """A database server and what one ORM does on it."""

    def __init__(self, url: str, orm_name: str) -> None:
        self.orm = orm = importlib.import_module(orm_name)

        class Base(orm.DeclarativeBase):  # type: ignore[misc, name-defined]
            pass

        class Author(Base):
            __tablename__ = "ra_author"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            name = orm.mapped_column(sa.String(40), nullable=False, unique=True)
            born = orm.mapped_column(sa.Date)
            seen = orm.mapped_column(sa.DateTime)
            worth = orm.mapped_column(sa.Numeric(10, 2))
            color = orm.mapped_column(sa.Enum(Color))
            notes = orm.mapped_column(sa.JSON)
            rank = orm.mapped_column(sa.Integer, server_default="7")
            books = orm.relationship("Book", back_populates="author", order_by="Book.id", cascade="all, delete-orphan")
            tags = orm.relationship("Tag", secondary="ra_author_tag", order_by="Tag.id")

        class Book(Base):
            __tablename__ = "ra_book"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            author_id = orm.mapped_column(sa.ForeignKey("ra_author.id"))
            title = orm.mapped_column(sa.String(40))
            version = orm.mapped_column(sa.Integer, nullable=False)
            author = orm.relationship("Author", back_populates="books")
            __mapper_args__ = {"version_id_col": version}

        class Tag(Base):
            __tablename__ = "ra_tag"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            label = orm.mapped_column(sa.String(40))

        sa.Table(
            "ra_author_tag",
            Base.metadata,
            sa.Column("author_id", sa.ForeignKey("ra_author.id"), primary_key=True),
            sa.Column("tag_id", sa.ForeignKey("ra_tag.id"), primary_key=True),
        )
        self.metadata, self.Author, self.Book, self.Tag = Base.metadata, Author, Book, Tag
        self.engine = sa.create_engine(url)
        self.sent: list[tuple[str, list[str]]] = []
        self.metadata.drop_all(self.engine)
        self.metadata.create_all(self.engine)
        event.listen(self.engine, "before_cursor_execute", self._note)

    def _note(self, conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        rows = sorted(map(repr, parameters)) if many else [repr(parameters)]
        self.sent.append((" ".join(statement.split()), rows))

    def session(self, **kw: Any) -> Any:
        return self.orm.Session(self.engine, **kw)

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """All tables, each sorted by its key."""
        with self.engine.connect() as connection:
            return {
                table.name: [tuple(r) for r in connection.execute(sa.select(table).order_by(*table.primary_key))]
                for table in self.metadata.sorted_tables
            }

    def dispose(self) -> None:
        self.metadata.drop_all(self.engine)
        self.engine.dispose()


def on_both(url: str, program: Callable[[Server], Any]) -> Any:
    """Run a program on both ORMs; what it returns, what it sent and what it left must be equal."""
    results = []
    for name in ("sqlalchemy.orm", "rustalchemy.orm"):
        server = Server(url, name)
        try:
            results.append((program(server), in_order(server.sent), server.rows()))
        finally:
            server.dispose()
    theirs, ours = results
    if IS_REFERENCE:
        assert ours[1] == theirs[1]
    assert ours[2] == theirs[2]
    assert ours[0] == theirs[0]
    return ours[0]


def library(server: Server) -> list[Any]:
    """Three authors with books and tags, not added anywhere."""
    Author, Book, Tag = server.Author, server.Book, server.Tag
    tags = [Tag(label=f"t{i}") for i in range(3)]
    return [
        Author(
            name=f"author {i}",
            born=datetime.date(1900 + i, 1, 2),
            seen=datetime.datetime(2020, 1, 1, 12, i, 30),
            worth=decimal.Decimal("10.50") * i,
            color=Color.red if i % 2 else Color.blue,
            notes={"n": [i, None, "ü"]},
            rank=i if i else None,
            books=[Book(title=f"book {i}.{j}") for j in range(i)],
            tags=tags[:i],
        )
        for i in range(3)
    ]


def test_types_and_generated_keys(url: str) -> None:
    """What goes in comes out again, with keys and server defaults fetched."""

    def program(server: Server) -> Any:
        with server.session() as session:
            session.add_all(library(server))
            session.commit()
            session.expunge_all()
            return [
                (a.id, a.name, a.born, a.seen, a.worth, a.color, a.notes, a.rank, [b.title for b in a.books])
                for a in session.scalars(sa.select(server.Author).order_by(server.Author.id))
            ]

    result = on_both(url, program)
    assert [row[0] for row in result] == [1, 2, 3]
    assert result[0][7] == 7
    assert result[2][4] == decimal.Decimal("21.00")
    assert result[2][8] == ["book 2.0", "book 2.1"]


def test_update_orphan_delete(url: str) -> None:
    """Changed columns, a removed member, a moved member, a deleted parent: one flush."""

    def program(server: Server) -> Any:
        with server.session() as session:
            session.add_all(library(server))
            session.commit()
            zero, one, two = session.scalars(sa.select(server.Author).order_by(server.Author.id)).all()
            one.worth = decimal.Decimal("3.25")
            one.notes = {"changed": True}
            zero.books.append(two.books[0])  # which takes it out of two.books
            two.books.append(server.Book(title="new"))
            two.tags.pop()
            session.delete(one)
            session.commit()
            return [
                (b.id, b.author_id, b.version) for b in session.scalars(sa.select(server.Book).order_by(server.Book.id))
            ]

    assert on_both(url, program) == [(2, 1, 2), (3, 3, 1), (4, 3, 1)]


def test_savepoints(url: str) -> None:
    """A failed savepoint takes back its own work only."""

    def program(server: Server) -> Any:
        seen = []
        with server.session() as session:
            first = server.Author(name="a")
            session.add(first)
            session.flush()
            try:
                with session.begin_nested():
                    session.add(server.Author(name="a"))
                    session.flush()
            except exc.IntegrityError:
                seen.append("refused")
            with session.begin_nested() as inner:
                first.name = "b"
                session.flush()
                inner.rollback()
            seen.append(first.name)
            session.commit()
            seen.append(sa.inspect(first).persistent)
        return seen

    assert on_both(url, program) == ["refused", "a", True]


def test_stale_version(url: str) -> None:
    """A version that somebody else raised is noticed."""

    def program(server: Server) -> Any:
        with server.session() as session:
            session.add_all(library(server))
            session.commit()
            book = session.get(server.Book, 1)
            book.title = "mine"
            with server.engine.begin() as other:
                other.execute(sa.text("update ra_book set version = 9 where id = 1"))
            try:
                session.commit()
            except server.orm.exc.StaleDataError as error:
                session.rollback()
                return str(error), book.version
        return None

    message, version = on_both(url, program)
    assert "expected to update 1 row(s); 0 were matched" in message
    assert version == 9


@pytest.mark.parametrize("strategy", ["selectinload", "joinedload", "subqueryload", "lazyload", "immediateload"])
def test_loading(url: str, strategy: str) -> None:
    """Each strategy sends the same SQL and fills the same collections."""

    def program(server: Server) -> Any:
        with server.session() as session:
            session.add_all(library(server))
            session.commit()
        with server.session() as session:
            option = getattr(server.orm, strategy)
            query = sa.select(server.Author).options(option(server.Author.books), option(server.Author.tags))
            authors = session.scalars(query.order_by(server.Author.id)).unique().all()
            return [([b.title for b in a.books], [t.label for t in a.tags]) for a in authors]

    assert on_both(url, program)[1] == (["book 1.0"], ["t0"])


def test_bulk_statements(url: str) -> None:
    """ORM-enabled INSERT, UPDATE and DELETE, with the loaded objects kept in step."""

    def program(server: Server) -> Any:
        Author = server.Author
        with server.session() as session:
            session.execute(sa.insert(Author), [{"name": f"n{i}", "rank": i} for i in range(5)])
            loaded = session.scalars(sa.select(Author).order_by(Author.id)).all()
            session.execute(sa.update(Author).where(Author.rank > 2).values(rank=Author.rank + 10))
            session.execute(sa.delete(Author).where(Author.rank == 0))
            ranks = [a.rank for a in loaded if a in session]
            session.execute(sa.update(Author), [{"id": loaded[1].id, "rank": 99}])
            session.commit()
            return ranks, loaded[1].rank

    assert on_both(url, program) == ([1, 2, 13, 14], 99)


def test_many_rows_with_generated_keys(url: str) -> None:
    """Keys that come back in bulk belong to the objects that were sent."""

    def program(server: Server) -> Any:
        with server.session() as session:
            authors = [server.Author(name=f"n{i}", books=[server.Book(title=f"b{i}")]) for i in range(1200)]
            session.add_all(authors)
            session.commit()
            pairs = session.execute(sa.select(server.Author.id, server.Author.name)).all()
            names = dict(tuple(pair) for pair in pairs)
            assert all(names[author.id] == author.name for author in authors)
            return [author.books[0].title for author in authors[:3]]

    assert on_both(url, program) == ["b0", "b1", "b2"]
