"""Attributes that listeners change while an object is loaded, refreshed or flushed: values, history, what is sent."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey, Integer, String


@pytest.fixture
def article(bench: Any) -> Any:
    """A class with a value of the server and notes that belong to it, one of each stored."""
    orm = bench.orm

    class Article(bench.Base):
        __tablename__ = "articles"
        id = orm.mapped_column(Integer, primary_key=True)
        title = orm.mapped_column(String)
        slug = orm.mapped_column(String)
        rank = orm.mapped_column(Integer, server_default="7")
        notes = orm.relationship("Note", cascade="all, delete-orphan")

    class Note(bench.Base):
        __tablename__ = "notes"
        id = orm.mapped_column(Integer, primary_key=True)
        article_id = orm.mapped_column(ForeignKey("articles.id"))

    Article.note_class = Note
    bench.create()
    bench.saved(Article(id=1, title="a", slug="old", notes=[Note(id=1)])).close()
    return Article


def listen(article: Any, session: Any, moment: str, change: Any) -> None:
    """Call ``change(object)`` at a moment of the class or of the session."""
    if moment == "loaded_as_persistent":
        sa.event.listen(session, moment, lambda _, target: change(target))
    else:
        sa.event.listen(article, moment, lambda target, *_: change(target), restore_load_context=True)


def load(article: Any, session: Any, way: str) -> Any:
    """The stored object, read in one of the ways that loads or refreshes it."""
    if way == "query":
        return session.scalars(sa.select(article)).one()
    found = session.get(article, 1)
    if way == "refresh":
        session.refresh(found)
    elif way == "expired":
        session.expire(found)
        assert found.title == "a"
    elif way == "expired, query":
        session.expire(found)
        session.scalars(sa.select(article)).one()
    elif way == "populate_existing":
        session.scalars(sa.select(article).execution_options(populate_existing=True)).one()
    return found


WAYS = [
    ("load", "get"),
    ("load", "query"),
    ("loaded_as_persistent", "get"),
    ("loaded_as_persistent", "query"),
    ("refresh", "refresh"),
    ("refresh", "expired"),
    ("refresh", "expired, query"),
    ("refresh", "populate_existing"),
]


@pytest.mark.parametrize(("moment", "way"), WAYS)
@pytest.mark.parametrize("how", ["set", "set_committed_value"])
def test_a_column_set_while_loading_counts_as_loaded(bench: Any, article: Any, moment: str, way: str, how: str) -> None:
    session = bench.session()

    def change(target: Any) -> None:
        if how == "set":
            target.slug = "new"
        else:
            bench.orm.attributes.set_committed_value(target, "slug", "new")

    listen(article, session, moment, change)
    found = load(article, session, way)
    assert (found.slug, list(sa.inspect(found).attrs.slug.history)) == ("new", [(), ["new"], ()])
    # a refresh of expired attributes commits these, and leaves the object among the dirty ones
    assert (found in session.dirty) == (how == "set" and way.startswith("expired"))
    bench.told()
    session.commit()
    assert bench.told() == []
    assert bench.rows("articles") == [(1, "a", "old", 7)]


@pytest.mark.parametrize(
    ("moment", "ids", "stored"), [("load", [1], [(1, 1)]), ("refresh", [1, 2], [(1, 1), (2, None)])]
)
def test_a_collection_changed_while_loading(
    bench: Any, article: Any, moment: str, ids: list[int], stored: list[Any]
) -> None:
    """What is appended counts as loaded as well: its foreign key is not written, and a refresh forgets it."""
    session = bench.session()

    def change(target: Any) -> None:
        if len(target.notes) == 1:
            target.notes.append(article.note_class(id=2))

    listen(article, session, moment, change)
    found = load(article, session, "refresh")
    assert [note.id for note in found.notes] == ids
    session.commit()
    assert bench.rows("notes") == stored


def test_a_column_set_when_a_flush_has_fetched_values(bench: Any, article: Any) -> None:
    """`refresh_flush` is heard before the flush commits the object: what it sets is not sent."""
    session = bench.session()
    heard: list[Any] = []

    def change(target: Any, context: Any, names: Any) -> None:
        heard.append(sorted(names))
        target.slug = "heard"

    sa.event.listen(article, "refresh_flush", change)
    found = article(id=2, title="b")
    session.add(found)
    session.flush()
    assert (heard, found.slug, found in session.dirty) == ([["rank"]], "heard", False)
    bench.told()
    session.commit()
    assert bench.told() == []
    assert found.slug is None


@pytest.mark.parametrize(
    ("moment", "sent", "stored"),
    [
        ("before_insert", "INSERT INTO articles (id, title, slug, rank) VALUES (2, 'b', 'heard', 1)", "heard"),
        ("after_insert", "INSERT INTO articles (id, title, slug, rank) VALUES (2, 'b', 'own', 1)", "own"),
        ("before_update", "UPDATE articles SET title='b', slug='heard' WHERE articles.id = 1", "heard"),
        ("after_update", "UPDATE articles SET title='b' WHERE articles.id = 1", "old"),
    ],
)
def test_a_column_set_around_its_row(bench: Any, article: Any, moment: str, sent: str, stored: str) -> None:
    """Before the row is written the value goes with it; after it the flush commits the value unsent."""
    session = bench.session()
    sa.event.listen(article, moment, lambda mapper, connection, target: setattr(target, "slug", "heard"))
    if moment.endswith("insert"):
        found = article(id=2, title="b", slug="own", rank=1)
        session.add(found)
    else:
        found = session.get(article, 1)
        found.title = "b"
    bench.told()
    session.flush()
    assert bench.told() == [sent]
    assert (found.slug, found in session.dirty) == ("heard", False)
    session.commit()
    assert bench.told() == []
    assert found.slug == stored


CHANGES: dict[str, tuple[str, Any]] = {
    "add": ("Session.add()", lambda session, found, article: session.add(article(id=5))),
    "delete": ("Session.delete()", lambda session, found, article: session.delete(found.notes[0])),
    "merge": ("Session.merge()", lambda session, found, article: session.merge(article(id=6))),
    "remove": ("collection remove", lambda session, found, article: found.notes.pop()),
}
AFTER_COMMIT = {
    "add": ([(1, "b", "old", 7), (5, None, None, 7)], [(1, 1)]),
    "delete": ([(1, "b", "old", 7)], []),
    "merge": ([(1, "b", "old", 7), (6, None, None, 7)], [(1, 1)]),
    "remove": ([(1, "b", "old", 7)], [(1, 1)]),
}


@pytest.mark.parametrize("method", CHANGES)
@pytest.mark.parametrize("moment", ["before_update", "after_update", "after_flush", "after_flush_postexec"])
def test_changes_that_come_too_late_for_a_flush(bench: Any, article: Any, method: str, moment: str) -> None:
    """Around a row they are warned of; all of them wait for the next flush, but a removal that this one commits."""
    session = bench.session()
    found = session.get(article, 1)
    assert len(found.notes) == 1
    operation, change = CHANGES[method]
    is_of_session = moment.startswith("after_flush")
    sa.event.listen(
        session if is_of_session else article, moment, lambda *_: change(session, found, article), once=True
    )
    found.title = "b"
    said = bench.outcome(session.flush)
    assert len(said) == (0 if is_of_session else 1)
    assert all(f"Usage of the '{operation}' operation is not currently supported" in text for text in said)
    assert bench.rows("notes") == [(1, 1)]
    session.commit()
    articles, notes = AFTER_COMMIT[method]
    if (method, moment) == ("remove", "after_flush_postexec"):
        notes = []
    assert (bench.rows("articles"), bench.rows("notes")) == (articles, notes)
