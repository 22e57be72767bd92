"""Recipes on `do_orm_execute`, loader criteria and flush events: caching, soft delete, tenants, history, shards."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from comparison import Comparison, Scenario, error_of
from sqlalchemy import Boolean, Date, ForeignKey, Integer, String, create_engine, event, inspect, select, update

RECIPES: dict[str, Scenario] = {}


def recipe(scenario: Scenario) -> Scenario:
    RECIPES[scenario.__name__] = scenario
    return scenario


def make_models(orm: ModuleType) -> SimpleNamespace:
    class Base(orm.DeclarativeBase):  # type: ignore[misc, name-defined]
        pass

    class Removable:
        """Rows are marked, not deleted."""

        removed = orm.mapped_column(Boolean, default=False)

    class Owned:
        """Rows belong to a tenant."""

        tenant = orm.mapped_column(Integer, default=1)

    class Shelf(Owned, Base):
        __tablename__ = "shelves"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(20))
        books = orm.relationship("Book", back_populates="shelf", order_by="Book.id")

    class Book(Removable, Owned, Base):
        __tablename__ = "books"
        id = orm.mapped_column(Integer, primary_key=True)
        shelf_id = orm.mapped_column(ForeignKey("shelves.id"))
        title = orm.mapped_column(String(20))
        bought = orm.mapped_column(Date)
        shelf = orm.relationship("Shelf", back_populates="books")

    class BookHistory(Base):
        __tablename__ = "books_history"
        id = orm.mapped_column(Integer, primary_key=True)
        book_id = orm.mapped_column(Integer)
        title = orm.mapped_column(String(20))

    orm.configure_mappers()
    return SimpleNamespace(
        orm=orm, Base=Base, Removable=Removable, Owned=Owned, Shelf=Shelf, Book=Book, BookHistory=BookHistory
    )


def make_database(m: SimpleNamespace) -> Any:
    engine = create_engine("sqlite://")
    m.Base.metadata.create_all(engine)
    tables = m.Base.metadata.tables
    with engine.begin() as connection:
        connection.execute(
            tables["shelves"].insert(),
            [{"id": 1, "tenant": 1, "name": "low"}, {"id": 2, "tenant": 2, "name": "high"}],
        )
        connection.execute(
            tables["books"].insert(),
            [
                {
                    "id": number,
                    "shelf_id": 1 + number % 2,
                    "title": f"book {number}",
                    "removed": number == 3,
                    "tenant": 1 + number % 3,
                    "bought": datetime.date(2020, number, 1),
                }
                for number in range(1, 7)
            ],
        )
    return engine


BOTH = Comparison(make_models, make_database)


def titles(books: Any) -> list[str]:
    return [book.title for book in books]


# -- caching -----------------------------------------------------------------------------------------------------------


def _cached(m: Any, session: Any) -> tuple[dict[Any, Any], type[Any], list[str]]:
    """Results of statements with an option are kept frozen; lazy loads of a relationship are found by their key."""
    kept: dict[Any, Any] = {}
    log: list[str] = []

    class FromCache(m.orm.UserDefinedOption):  # type: ignore[misc, name-defined]
        def __init__(self, region: str, relationship: Any = None) -> None:
            super().__init__((region, None if relationship is None else relationship.key))
            self.propagate_to_loaders = relationship is not None

    def look_up(state: Any) -> Any:
        if not state.is_select:
            return None
        for option in state.user_defined_options:
            region, relationship = option.payload
            path = state.loader_strategy_path
            if relationship is not None and (path is None or path[1].key != relationship):
                continue
            if relationship is None and state.is_relationship_load:
                continue
            compiled = str(state.statement)
            values = tuple(sorted((state.parameters or {}).items(), key=str))
            key = (region, compiled, values)
            if key not in kept:
                log.append(f"miss {region}")
                kept[key] = state.invoke_statement().freeze()
            else:
                log.append(f"hit {region}")
            return m.orm.loading.merge_frozen_result(session, state.statement, kept[key], load=False)()
        return None

    event.listen(session, "do_orm_execute", look_up)
    return kept, FromCache, log


@recipe
def cached_statements(m: Any, s: Any) -> Any:
    kept, FromCache, log = _cached(m, s)
    statement = select(m.Book).where(m.Book.id < 4).order_by(m.Book.id).options(FromCache("books"))
    found = []
    for _ in range(3):
        found.append(titles(s.scalars(statement)))
        s.expunge_all()
    rows = select(m.Book.title, m.Shelf).join(m.Book.shelf).order_by(m.Book.id).options(FromCache("rows"))
    for _ in range(2):
        found.append([(title, shelf.name) for title, shelf in s.execute(rows)])
    found.append(titles(s.query(m.Book).options(FromCache("query")).order_by(m.Book.id).all()))
    found.append(titles(s.query(m.Book).options(FromCache("query")).order_by(m.Book.id).all()))
    return found, log, len(kept)


@recipe
def cached_relationships(m: Any, s: Any) -> Any:
    _, FromCache, log = _cached(m, s)
    found = []
    for _ in range(2):
        shelves = s.scalars(select(m.Shelf).options(FromCache("lazy", m.Shelf.books)).order_by(m.Shelf.id)).all()
        found.append([titles(shelf.books) for shelf in shelves])
        s.expunge_all()
    return found, log


@recipe
def cached_objects_are_persistent(m: Any, s: Any) -> Any:
    _, FromCache, _log = _cached(m, s)
    statement = select(m.Book).where(m.Book.id == 1).options(FromCache("one"))
    s.scalars(statement).one()
    s.expunge_all()
    book = s.scalars(statement).one()
    state = inspect(book)
    before = state.persistent, book in s.dirty
    book.title = "new"
    s.flush()
    return before, s.scalar(select(m.Book.title).where(m.Book.id == 1)), book.shelf.name


# -- rows that are not to be seen --------------------------------------------------------------------------------------


def _hide_removed(m: Any, session: Any) -> None:
    @event.listens_for(session, "do_orm_execute")
    def hide(state: Any) -> None:
        if (
            state.is_select
            and not state.is_column_load
            and not state.is_relationship_load
            and not state.execution_options.get("include_removed", False)
        ):
            state.statement = state.statement.options(
                m.orm.with_loader_criteria(m.Removable, lambda cls: cls.removed.is_(False), include_aliases=True)
            )


@recipe
def soft_delete(m: Any, s: Any) -> Any:
    _hide_removed(m, s)
    alias = m.orm.aliased(m.Book)
    found = [
        titles(s.scalars(select(m.Book).order_by(m.Book.id))),
        titles(s.scalars(select(m.Book).order_by(m.Book.id), execution_options={"include_removed": True})),
        titles(s.scalars(select(alias).order_by(alias.id))),
        s.execute(select(m.Shelf.name, m.Book.title).join(m.Shelf.books).order_by(m.Book.id)).all(),
        titles(s.query(m.Book).order_by(m.Book.id)),
        s.query(m.Book).count(),
    ]
    for option in (m.orm.lazyload, m.orm.selectinload, m.orm.joinedload, m.orm.subqueryload):
        s.expunge_all()
        statement = select(m.Shelf).options(option(m.Shelf.books)).order_by(m.Shelf.id)
        found.append([titles(shelf.books) for shelf in s.scalars(statement).unique()])
    return [list(map(tuple, part)) if index == 3 else part for index, part in enumerate(found)]


@recipe
def soft_delete_by_flush(m: Any, s: Any) -> Any:
    """A deleted object becomes a change of its row."""

    @event.listens_for(s, "before_flush")
    def mark(session: Any, context: Any, instances: Any) -> None:
        for obj in list(session.deleted):
            if isinstance(obj, m.Removable):
                session.add(obj)
                obj.removed = True

    _hide_removed(m, s)
    book = s.get(m.Book, 1)
    s.delete(book)
    s.flush()
    return (
        titles(s.scalars(select(m.Book).order_by(m.Book.id))),
        book in s,
        s.scalar(select(m.Book.removed).where(m.Book.id == 1), execution_options={"include_removed": True}),
    )


@recipe
def tenants(m: Any, s: Any) -> Any:
    """One listener, a closure whose value is another each time, and statements of one shape."""

    @event.listens_for(s, "do_orm_execute")
    def of_tenant(state: Any) -> None:
        tenant = state.session.info.get("tenant")
        if tenant is not None and not state.is_column_load and not state.is_relationship_load:
            state.statement = state.statement.options(
                m.orm.with_loader_criteria(m.Owned, lambda cls: cls.tenant == tenant, include_aliases=True)
            )

    found: list[Any] = []
    for tenant in (1, 2, 3, None, 1):
        s.expunge_all()
        s.info["tenant"] = tenant
        books = titles(s.scalars(select(m.Book).order_by(m.Book.id)))
        shelves = s.scalars(select(m.Shelf).options(m.orm.selectinload(m.Shelf.books)).order_by(m.Shelf.id)).all()
        joined = s.execute(select(m.Shelf.id, m.Book.id).join(m.Book.shelf).order_by(m.Book.id)).all()
        found.append((books, [titles(shelf.books) for shelf in shelves], [tuple(row) for row in joined]))
    s.info["tenant"] = 2
    changed = s.execute(update(m.Book).values(title="mine")).rowcount
    s.info["tenant"] = None
    return (
        found,
        changed,
        titles(s.scalars(select(m.Book).order_by(m.Book.id), execution_options={"populate_existing": True})),
    )


@recipe
def temporal_ranges(m: Any, s: Any) -> Any:
    """A range of dates that an option brings; lazy loads keep the one of their object's statement."""

    def between(low: int, high: int) -> Any:
        first, last = datetime.date(2020, low, 1), datetime.date(2020, high, 1)
        return m.orm.with_loader_criteria(m.Book, lambda cls: cls.bought.between(first, last), include_aliases=True)

    found = []
    for low, high in ((1, 3), (2, 6), (4, 4), (1, 3)):
        s.expunge_all()
        shelves = s.scalars(select(m.Shelf).options(between(low, high)).order_by(m.Shelf.id)).all()
        lazily = [titles(shelf.books) for shelf in shelves]
        s.expire_all()
        found.append((lazily, [titles(shelf.books) for shelf in shelves]))
        found.append(titles(s.scalars(select(m.Book).options(between(low, high)).order_by(m.Book.id))))
    return found


# -- history -----------------------------------------------------------------------------------------------------------


@recipe
def versioned_history(m: Any, s: Any) -> Any:
    """Every flush writes the old rows of what it changes."""

    @event.listens_for(s, "before_flush")
    def keep(session: Any, context: Any, instances: Any) -> None:
        for obj in [*session.dirty, *session.deleted]:
            if isinstance(obj, m.Book) and (obj in session.deleted or session.is_modified(obj)):
                history = m.orm.attributes.get_history(obj, "title")
                old = history.deleted[0] if history.deleted else obj.title
                session.add(m.BookHistory(book_id=obj.id, title=old))

    first, second = s.get(m.Book, 1), s.get(m.Book, 2)
    first.title = "one"
    s.flush()
    first.title, second.title = "two", second.title
    s.flush()
    s.delete(second)
    s.flush()
    rows = s.execute(select(m.BookHistory.book_id, m.BookHistory.title).order_by(m.BookHistory.id))
    return [tuple(row) for row in rows]


# -- executing again ---------------------------------------------------------------------------------------------------


@recipe
def executed_again(m: Any, s: Any) -> Any:
    """A listener runs the statement itself: with other parameters, another statement, other options."""
    seen: list[Any] = []

    @event.listens_for(s, "do_orm_execute")
    def run(state: Any) -> Any:
        seen.append(
            (
                state.is_select,
                state.is_update,
                state.is_orm_statement,
                state.is_column_load,
                state.is_relationship_load,
                state.is_from_statement,
                state.is_executemany,
                sorted(mapper.class_.__name__ for mapper in state.all_mappers),
                state.bind_mapper.class_.__name__ if state.bind_mapper else None,
                {key: v for key, v in state.local_execution_options.items() if not key.startswith("_")},
            )
        )
        if state.local_execution_options.get("again") == "parameters":
            return state.invoke_statement(params={"low": 5}, execution_options={"again": "done"})
        if state.local_execution_options.get("again") == "statement":
            state.update_execution_options(again="done", populate_existing=True)
            return state.invoke_statement(statement=state.statement.order_by(m.Book.id.desc()))
        return None

    from sqlalchemy import bindparam

    statement = select(m.Book).where(m.Book.id > bindparam("low"))
    book = s.get(m.Book, 6)
    book.title = "changed"
    with s.no_autoflush:
        found = [
            titles(s.scalars(statement, {"low": 3}, execution_options={"again": "parameters"})),
            titles(s.scalars(statement, {"low": 4}, execution_options={"again": "statement"})),
        ]
    return found, book.title, seen


@recipe
def listeners_in_a_row(m: Any, s: Any) -> Any:
    """The first listener that answers ends the row; one that re-executes has the later ones asked."""
    seen: list[Any] = []

    def first(state: Any) -> Any:
        seen.append("first")
        return state.invoke_statement() if state.execution_options.get("again") else None

    def second(state: Any) -> None:
        seen.append("second")
        state.statement = state.statement.limit(1)

    event.listen(s, "do_orm_execute", first)
    event.listen(s, "do_orm_execute", second)
    plain = titles(s.scalars(select(m.Book).order_by(m.Book.id)))
    again = titles(s.scalars(select(m.Book).order_by(m.Book.id), execution_options={"again": True}))
    return plain, again, seen, error_of(lambda: s.scalars(select(m.Book).where(m.Book.id == 99)).one())


@pytest.mark.parametrize("name", RECIPES)
def test_recipe(name: str) -> None:
    BOTH.check(RECIPES[name])


# -- shards ------------------------------------------------------------------------------------------------------------


def test_shards_by_identity_token(orm: Any) -> None:
    """Two databases with the same keys in one session: a listener asks both and merges what they answer."""
    m = make_models(orm)
    engines = {"east": make_database(m), "west": make_database(m)}
    with engines["west"].begin() as connection:
        connection.execute(update(m.Base.metadata.tables["books"]).values(title="western"))

    class ShardedSession(orm.Session):  # type: ignore[misc, name-defined]
        def get_bind(self, mapper: Any = None, *, shard: str | None = None, **kw: Any) -> Any:
            return engines[shard or "east"]

    def ask_all(state: Any) -> Any:
        if not state.is_select or "shard" in state.bind_arguments:
            return None
        if state.is_relationship_load or state.is_column_load:
            token = state.lazy_loaded_from.identity_token if state.lazy_loaded_from else None
            token = token or state.load_options._identity_token or "east"
            return state.invoke_statement(bind_arguments={"shard": token}, execution_options={"identity_token": token})
        chosen: Callable[..., Any] = state.execution_options.get("shards", lambda: list(engines))
        results = [
            state.invoke_statement(bind_arguments={"shard": name}, execution_options={"identity_token": name})
            for name in chosen()
        ]
        return results[0].merge(*results[1:])

    with ShardedSession() as session:
        event.listen(session, "do_orm_execute", ask_all)
        books = session.scalars(select(m.Book).where(m.Book.id < 3).order_by(m.Book.id)).all()
        assert [(book.id, book.title) for book in books] == [
            (1, "book 1"),
            (2, "book 2"),
            (1, "western"),
            (2, "western"),
        ]
        assert [inspect(book).identity_token for book in books] == ["east", "east", "west", "west"]
        assert len({id(book) for book in books}) == 4
        assert inspect(books[2]).key == (m.Book, (1,), "west")
        only = select(m.Book).where(m.Book.id == 1)
        (west,) = session.scalars(only, execution_options={"shards": lambda: ["west"]})
        assert west is books[2]
        shelves = [inspect(book.shelf).identity_token for book in books]
        assert shelves == ["east", "east", "west", "west"]
        assert books[0].shelf is not books[2].shelf
        session.expire(west)
        assert west.title == "western"
        assert session.get(m.Book, 1, identity_token="west") is west
        assert session.get(m.Book, 1, identity_token="east") is books[0]
    for engine in engines.values():
        engine.dispose()
