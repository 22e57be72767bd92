"""PostgreSQL by psycopg's asynchronous mode: one program on both ORMs, with equal statements, parameters and rows."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from comparison import IS_REFERENCE, in_order
from sqlalchemy import event, exc


class AsyncServer:
    """The server and what one ORM does on it, in asynchronous sessions."""

    def __init__(self, url: str, package: str) -> None:
        orm = importlib.import_module(f"{package}.orm")
        self.package = package
        self.orm: Any = orm
        self.aio: Any = importlib.import_module(f"{package}.ext.asyncio")

        class Base(self.aio.AsyncAttrs, orm.DeclarativeBase):  # type: ignore[misc, name-defined]
            pass

        class Author(Base):
            __tablename__ = "ra_async_author"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            name = orm.mapped_column(sa.String(40), unique=True)
            notes = orm.mapped_column(sa.JSON)
            rank = orm.mapped_column(sa.Integer, server_default="7")
            books = orm.relationship("Book", back_populates="author", order_by="Book.id", cascade="all, delete-orphan")

        class Book(Base):
            __tablename__ = "ra_async_book"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            author_id = orm.mapped_column(sa.ForeignKey("ra_async_author.id"))
            title = orm.mapped_column(sa.String(40))
            author = orm.relationship("Author", back_populates="books")

        self.Base, self.Author, self.Book = Base, Author, Book
        self.engine = self.aio.create_async_engine(url)
        self.sent: list[tuple[str, list[str]]] = []
        event.listen(self.engine.sync_engine, "before_cursor_execute", self._note)

    def _note(self, conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        rows = sorted(map(repr, parameters)) if many else [repr(parameters)]
        self.sent.append((" ".join(statement.split()), rows))

    def session(self, **kw: Any) -> Any:
        return self.aio.AsyncSession(self.engine, **kw)

    def author(self, name: str, books: int = 2) -> Any:
        return self.Author(
            name=name, notes={"n": [name, None]}, books=[self.Book(title=f"{name} {i}") for i in range(books)]
        )

    async def recreate(self) -> None:
        async with self.engine.begin() as connection:
            await connection.run_sync(self.Base.metadata.drop_all)
            await connection.run_sync(self.Base.metadata.create_all)
        self.sent.clear()

    async def rows(self) -> list[Any]:
        async with self.engine.connect() as connection:
            tables = self.Base.metadata.sorted_tables
            return [
                [tuple(row) for row in await connection.execute(sa.select(table).order_by("id"))] for table in tables
            ]

    async def dispose(self) -> None:
        async with self.engine.begin() as connection:
            await connection.run_sync(self.Base.metadata.drop_all)
        await self.engine.dispose()


Program = Callable[[AsyncServer], Coroutine[Any, Any, Any]]


@pytest.fixture
def on_both(postgresql_url: str) -> Iterator[Callable[[Program], Any]]:
    """Run a program on both ORMs; what it returns, what it sent and what it left must be equal."""

    async def run(package: str, program: Program) -> Any:
        server = AsyncServer(postgresql_url, package)
        try:
            await server.recreate()
            returned = await asyncio.wait_for(program(server), 60)
            return returned, in_order(server.sent), await server.rows()
        finally:
            await server.dispose()

    def both(program: Program) -> Any:
        theirs, ours = (asyncio.run(run(package, program)) for package in ("sqlalchemy", "rustalchemy"))
        if IS_REFERENCE:
            assert ours[1] == theirs[1]
        assert ours[2] == theirs[2]
        assert ours[0] == theirs[0]
        return ours[0]

    yield both


def test_life_of_objects(on_both: Callable[[Program], Any]) -> None:
    async def program(server: AsyncServer) -> Any:
        Author, Book = server.Author, server.Book
        async with server.session() as session:
            session.add_all([server.author(name) for name in ("a", "b", "c")])
            await session.commit()
        async with server.session() as session:
            loaded = sa.select(Author).options(server.orm.selectinload(Author.books)).order_by(Author.id)
            a, b, c = (await session.scalars(loaded)).all()
            a.books.append(b.books[0])
            c.notes = {"changed": True}
            await session.delete(b)
            await session.commit()
            titles = [book.title for book in await a.awaitable_attrs.books]
            await session.refresh(c)
            await session.execute(sa.update(Author).where(Author.name == "c").values(rank=8))
            merged = await session.merge(Author(id=1, name="A"))
            returned = await session.scalars(sa.insert(Book).returning(Book), [{"title": "x"}, {"title": "y"}])
            seen = [titles, c.notes, c.rank, merged is a, sorted(book.title for book in returned)]
            await session.commit()
        return seen

    assert on_both(program) == [["a 0", "a 1", "b 0"], {"changed": True}, 8, True, ["x", "y"]]


def test_savepoints(on_both: Callable[[Program], Any]) -> None:
    async def program(server: AsyncServer) -> Any:
        seen: list[Any] = []
        async with server.session() as session, session.begin() as outer:
            first = server.author("a")
            session.add(first)
            try:
                async with session.begin_nested():
                    session.add(server.author("a"))
                    await session.flush()
            except exc.IntegrityError:
                seen.append("refused")
            inner = await session.begin_nested()
            seen.append((session.get_nested_transaction() is inner, session.get_transaction() is outer))
            first.name = "b"
            await session.flush()
            await inner.rollback()
            seen.append((session.in_nested_transaction(), await first.awaitable_attrs.name))
            async with session.begin_nested():
                first.rank = 9
        return seen

    assert on_both(program) == ["refused", (True, True), (False, "a")]


def test_server_side_cursors(on_both: Callable[[Program], Any]) -> None:
    async def program(server: AsyncServer) -> Any:
        Author = server.Author
        async with server.session() as session:
            session.add_all([server.author(f"{i:02}", books=1) for i in range(25)])
            await session.commit()
            ordered = sa.select(Author).order_by(Author.id)
            stream = await session.stream_scalars(ordered.options(server.orm.selectinload(Author.books)))
            names = [(author.name, len(author.books)) async for author in stream]
            parts = (await session.stream(ordered, execution_options={"yield_per": 10})).scalars().partitions()
            sizes = [len(part) async for part in parts]
            halfway = await session.stream_scalars(ordered)
            third = (await halfway.fetchmany(3))[-1].name
            await halfway.close()
            try:
                await session.execute(ordered, execution_options={"stream_results": True})
            except server.aio.exc.AsyncMethodRequired:
                refused = True
            return names[0], names[-1], sizes, third, refused

    assert on_both(program) == (("00", 1), ("24", 1), [10, 10, 5], "02", True)


@pytest.mark.parametrize("statement", ["INSERT INTO ra_async_author", "INSERT INTO ra_async_book", "UPDATE", "DELETE"])
def test_cancelled_in_a_flush(on_both: Callable[[Program], Any], statement: str) -> None:
    """While the server works on a statement: the connection is given back and the session is as it was."""

    async def program(server: AsyncServer) -> Any:
        async with server.session() as session:
            session.add_all([server.author("a"), server.author("b")])
            await session.commit()
        armed = asyncio.Event()

        def be_slow(connection: Any, cursor: Any, sql: str, *args: Any) -> None:
            if armed.is_set() and sql.startswith(statement):
                armed.clear()
                asyncio.get_running_loop().call_later(0.05, task.cancel)
                cursor.execute("select pg_sleep(20)")

        event.listen(server.engine.sync_engine, "before_cursor_execute", be_slow)

        async def work(session: Any) -> None:
            a = await session.get_one(server.Author, 1)
            await session.delete(await session.get_one(server.Author, 2))
            a.name = "A"
            session.add(server.author("c"))
            await session.flush()

        session = server.session()
        armed.set()
        task = asyncio.create_task(work(session))
        seen: list[Any] = []
        try:
            await task
        except asyncio.CancelledError:
            seen.append("cancelled")
        seen.append(session.is_active)
        await session.rollback()
        seen.append((len(session.new), len(session.dirty), len(session.deleted)))
        await work(session)
        await session.commit()
        await session.close()
        return [*seen, server.engine.pool.checkedout()]

    assert on_both(program) == ["cancelled", False, (0, 0, 0), 0]


def test_many_tasks(on_both: Callable[[Program], Any]) -> None:
    """A session for each task, more tasks than connections."""

    async def program(server: AsyncServer) -> Any:
        maker = server.aio.async_sessionmaker(server.engine)

        async def add(number: int) -> None:
            async with maker.begin() as session:
                session.add(server.author(f"{number:02}"))

        async def count(number: int) -> int:
            async with maker() as session:
                author = (await session.scalars(sa.select(server.Author).filter_by(name=f"{number:02}"))).one()
                return len(await author.awaitable_attrs.books)

        await asyncio.gather(*map(add, range(40)))
        counts = await asyncio.gather(*map(count, range(40)))
        server.sent.clear()  # in the order the tasks came
        async with server.engine.begin() as connection:  # whose keys vary
            await connection.execute(sa.delete(server.Book))
            await connection.execute(sa.delete(server.Author))
        return counts

    assert on_both(program) == [2] * 40
