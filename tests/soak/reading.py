"""Loops that read: every kind of statement and loader, statements that are never the same, and what is pickled."""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import sqlalchemy as sa

from rustalchemy import orm
from rustalchemy.orm import Session

from .models import Author, Book, Loop, Tag

_numbers = itertools.count()


def loads(engine: sa.Engine) -> int:
    with Session(engine) as session:
        books: Any = ()
        for _ in range(5):
            books = session.scalars(sa.select(Book)).all()
            assert all(book.author.name for book in books)
            session.expire_all()
    return 5 * len(books)


def detached_errors(engine: sa.Engine) -> int:
    for _ in range(50):
        with Session(engine) as session:
            author = session.scalars(sa.select(Author)).first()
        try:
            assert author is not None and author.books
        except sa.exc.SQLAlchemyError:
            continue
    return 50


def statements(engine: sa.Engine) -> int:
    """Selects of every kind, by `select()` and by `Query`."""
    other = orm.aliased(Book)
    with Session(engine) as session:
        for n in range(1, 20):
            session.scalars(sa.select(Author).where(Author.id == n)).one_or_none()
            session.execute(sa.select(Author.id, Author.name).where(Author.id < n)).all()
            session.execute(sa.select(Author, Book).join(Author.books).limit(n)).all()
            session.scalars(sa.select(Author).where(Author.books.any(Book.title == str(n)))).all()
            session.scalar(sa.select(sa.func.count()).select_from(Book).join(other, other.author_id == Book.author_id))
            session.scalars(sa.select(Author).from_statement(sa.text("SELECT * FROM authors LIMIT 3"))).all()
            session.scalars(sa.select(Author).where(Author.id.in_(range(n)))).all()
            session.execute(sa.union(sa.select(Author.id), sa.select(Book.id))).all()
            session.scalars(sa.select(Book).execution_options(yield_per=7)).first()
            session.query(Author).filter_by(id=n).first()
            session.query(Author).filter(Author.name != "x").count()
            session.query(Author.name, sa.func.max(Book.id)).join(Book).group_by(Author.name).all()
            session.query(orm.Bundle("pair", Author.id, Author.name)).limit(n).all()
            session.get(Author, n)
            session.expunge_all()
    return 19 * 14


def loaders(engine: sa.Engine) -> int:
    options = (orm.joinedload, orm.selectinload, orm.subqueryload, orm.immediateload, orm.lazyload, orm.defaultload)
    count = 0
    for option in options:
        with Session(engine, on_lazy="batch", on_expired="batch") as session:
            loading = option(Author.books).options(orm.selectinload(Book.tags), orm.defer(Book.title))
            authors = session.scalars(sa.select(Author).options(loading).limit(10)).unique().all()
            count += sum(1 + len(author.books) for author in authors)
            assert all(book.title for author in authors for book in author.books)
            session.expire_all()
            assert all(author.name for author in authors)
            session.refresh(authors[0], ["books"])
    return count


def aliases(engine: sa.Engine) -> int:
    """An alias, a subquery and a path of options of its own in each statement."""
    with Session(engine) as session:
        for _ in range(20):
            author, book = orm.aliased(Author), orm.aliased(Book)
            loading = orm.contains_eager(author.books.of_type(book))
            statement = sa.select(author).join(author.books.of_type(book)).options(loading)
            session.scalars(statement.limit(5)).unique().all()
            rows = sa.select(Author).where(Author.id < 5).subquery()
            session.scalars(sa.select(orm.aliased(Author, rows)).options(orm.selectinload("*"))).all()
            session.expunge_all()
    return 40


def new_shapes(engine: sa.Engine) -> int:
    """Statements nobody has seen before: caches have an end."""
    with Session(engine) as session:
        # the first time as many as the caches hold
        for _ in range(30 if next(_numbers) else 1500):
            number = next(_numbers)
            session.execute(sa.select(Author.id.label(f"label_{number}")).limit(1)).all()
            session.scalars(sa.select(Tag).where(sa.literal_column(str(number)) == Tag.id)).all()
            session.query(Tag).filter(sa.text(f"{number} = id")).all()
    return 90


def pickles(engine: sa.Engine) -> int:
    with Session(engine) as session:
        authors = session.scalars(sa.select(Author).options(orm.selectinload(Author.books)).limit(20)).all()
        statement = sa.select(Author).options(orm.selectinload(Author.books))
        copies = pickle.loads(pickle.dumps(authors))
        for author in authors:
            copy.copy(author)
        pickle.loads(pickle.dumps(statement.options(orm.defer(Author.name))._with_options))
        session.expunge_all()
        session.add_all(copies)
        assert all(book.author in session for author in copies for book in author.books)
    return 7 * len(authors)


def threads(engine: sa.Engine) -> int:
    """Sessions of threads that come and go."""
    import threading

    def work() -> None:
        with Session(engine) as session:
            assert session.get(Author, 1) is not None

    for _ in range(5):
        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return 20


LOOPS: tuple[Loop, ...] = (loads, detached_errors, statements, loaders, aliases, new_shapes, pickles)
