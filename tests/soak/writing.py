"""Loops that write: units of work, what undoes them, and what goes wrong in them."""

from __future__ import annotations

import sqlalchemy as sa

from rustalchemy.orm import Session, make_transient

from .models import Author, Book, Loop, Tag


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


def savepoints(engine: sa.Engine) -> int:
    """Five levels, released or rolled back in turn."""
    with Session(engine) as session:
        for number in range(20):
            levels = []
            # SQLite's driver begins with the first row that is written, not with a SAVEPOINT
            session.add(Author(name=f"n{number}"))
            session.flush()
            for level in range(5):
                levels.append(session.begin_nested())
                session.add(Author(name=f"n{number}.{level}"))
                session.flush()
            for level, savepoint in enumerate(reversed(levels)):
                if (number + level) % 2:
                    savepoint.rollback()
                else:
                    savepoint.commit()
            session.rollback()
    return 120


def bulk_statements(engine: sa.Engine) -> int:
    with Session(engine) as session:
        for size in range(1, 30):
            rows = [{"name": f"b{n}", "data": {}} for n in range(size)]
            added = session.scalars(sa.insert(Author).returning(Author), rows).all()
            session.execute(sa.update(Author).where(Author.name.like("b%")).values(name=Author.name + "!"))
            session.execute(sa.update(Author), [{"id": author.id, "name": f"c{author.id}"} for author in added])
            session.execute(sa.delete(Author).where(Author.id.in_([author.id for author in added])))
            session.bulk_insert_mappings(Tag, [{"label": "bulk"}] * size)
            session.rollback()
    return 435


def merges_and_transients(engine: sa.Engine) -> int:
    with Session(engine) as session:
        ids = session.scalars(sa.select(Author.id).limit(20)).all()
    for id_ in ids:
        with Session(engine) as session:
            merged = session.merge(Author(id=id_, books=[Book(id=id_, title="merged")]))
            session.flush()
            copy = session.merge(merged)
            session.rollback()
            session.expunge(copy)
            make_transient(copy)
            session.plan()
    return 3 * len(ids)


def changes_in_place(engine: sa.Engine) -> int:
    with Session(engine) as session:
        authors = session.scalars(sa.select(Author).limit(20)).all()
        for number, author in enumerate(authors):
            author.data["k"] = number
            author.titles.append("proxied")
            for book in author.books:
                book.tags.add(Tag(label="x"))
                book.tags.discard(next(iter(book.tags)))
        session.flush()
        session.rollback()
    return 7 * len(authors)


LOOPS: tuple[Loop, ...] = (
    empty_sessions,
    dropped_sessions,
    units_of_work,
    rollbacks,
    failed_flushes,
    savepoints,
    bulk_statements,
    merges_and_transients,
    changes_in_place,
)
