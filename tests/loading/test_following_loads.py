"""selectinload() in statements made anew each time: a shape that is known loads children as the first run did."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from comparison import Comparison
from orm_models import make_database, make_models
from sqlalchemy import Column, ForeignKey, Integer, String, create_engine, event, inspect, select

from rustalchemy.orm._statement_shape import SHAPES

BOTH = Comparison(make_models, make_database)


def users(m: SimpleNamespace, n: int) -> Any:
    return select(m.User).where(m.User.id > n).options(m.orm.selectinload(m.User.addresses))


def loaded(session: Any, statement: Any, *keys: str) -> Any:
    """The objects found, with the members of attributes that are loaded already."""
    try:
        found = session.scalars(statement).all()
    except Exception as error:
        return type(error).__name__
    return [(each.id, [[o.id for o in each.__dict__.get(key, ())] for key in keys]) for each in found]


def check_often(statement: Callable[[SimpleNamespace, int], Any], *keys: str) -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        seen = []
        for n in (0, 8, 100, 9, 7, 0):
            seen.append(loaded(session, statement(m, n), *keys))
            session.expunge_all()
        return seen

    BOTH.check(scenario)


STATEMENTS: dict[str, Callable[[SimpleNamespace, int], Any]] = {
    "one": lambda m, n: users(m, n),
    "two": lambda m, n: users(m, n).options(m.orm.selectinload(m.User.addresses)),
    "nested": lambda m, n: (
        select(m.User).where(m.User.id > n).options(m.orm.selectinload(m.User.addresses).selectinload(m.Address.dings))
    ),
    "nested by options": lambda m, n: (
        select(m.User)
        .where(m.User.id > n)
        .options(m.orm.selectinload(m.User.addresses).options(m.orm.selectinload(m.Address.dings)))
    ),
    "after others": lambda m, n: users(m, n).options(m.orm.defer(m.User.name)),
    "in chunks": lambda m, n: (
        select(m.User).where(m.User.id > n).options(m.orm.selectinload(m.User.addresses, chunksize=2))
    ),
    "with criteria": lambda m, n: (
        select(m.User).where(m.User.id > n).options(m.orm.selectinload(m.User.addresses.and_(m.Address.id > n % 3)))
    ),
    "lazy": lambda m, n: select(m.User).where(m.User.id > n).options(m.orm.lazyload(m.User.addresses)),
    "joined": lambda m, n: select(m.User).where(m.User.id > n).options(m.orm.joinedload(m.User.addresses)),
    "with options of execution": lambda m, n: users(m, n).execution_options(populate_existing=True),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_collections(name: str) -> None:
    check_often(STATEMENTS[name], "addresses")


def test_several_paths_and_ways() -> None:
    def statement(m: SimpleNamespace, n: int) -> Any:
        load = m.orm.selectinload
        return select(m.Address).where(m.Address.id > n).options(load(m.Address.dings), load(m.Address.user))

    check_often(statement, "dings")
    check_often(lambda m, n: select(m.Tag).where(m.Tag.id > n).options(m.orm.selectinload(m.Tag.users)), "users")
    check_often(
        lambda m, n: select(m.Node).where(m.Node.id > n).options(m.orm.selectinload(m.Node.children)), "children"
    )
    check_often(
        lambda m, n: (
            select(m.Node).where(m.Node.id > n).options(m.orm.selectinload(m.Node.children, recursion_depth=2))
        ),
        "children",
    )


def test_what_is_there_already_stays() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        seen = []
        for _ in range(3):
            session.scalars(users(m, 0)).all()
            session.expunge_all()
        ed = session.scalars(select(m.User).where(m.User.id == 8)).one()
        first = ed.addresses
        first.append(m.Address(id=70, email="new"))
        seen.append(loaded(session, users(m, 7), "addresses"))
        seen.append(ed.addresses is first)
        seen.append(session.new == set() and session.dirty == set())
        session.rollback()
        seen.append(loaded(session, users(m, 7), "addresses"))
        session.expire(ed, ["addresses"])
        seen.append(loaded(session, users(m, 7), "addresses"))
        state = inspect(ed)
        seen.append((len(state.load_options), [each.user is ed for each in ed.addresses]))
        return seen

    BOTH.check(scenario)


def test_a_listener_that_comes_later() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        seen: list[Any] = []

        def hear(address: Any, context: Any) -> None:
            seen.append((address.id, context is not None))

        for _ in range(3):
            session.scalars(users(m, 0)).all()
            session.expunge_all()
        event.listen(m.Address, "load", hear)
        event.listen(m.User, "load", hear)
        try:
            seen.append(loaded(session, users(m, 0), "addresses"))
        finally:
            event.remove(m.Address, "load", hear)
            event.remove(m.User, "load", hear)
        session.expunge_all()
        event.listen(session, "loaded_as_persistent", lambda _, each: seen.append(each.id))
        seen.append(loaded(session, users(m, 0), "addresses"))
        return seen

    BOTH.check(scenario)


def test_a_lazy_load_afterwards_knows_the_options() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        seen = []
        for n in (0, 0, 0, 7):
            option = m.orm.selectinload(m.Address.dings)
            found = session.scalars(select(m.Address).where(m.Address.id > n).options(option)).all()
            session.expire_all()
            seen.append([[ding.id for ding in each.dings] for each in found])
            session.expunge_all()
        return seen

    BOTH.check(scenario)


def test_strategy_of_the_mapping_and_inheritance() -> None:
    def make(orm: ModuleType) -> SimpleNamespace:
        base: Any = orm.declarative_base()

        class Shelf(base):
            __tablename__ = "shelves"
            id = Column(Integer, primary_key=True)
            kind = Column(String(10))
            books = orm.relationship("Book", lazy="selectin", order_by="Book.id.desc()")
            label = orm.relationship("Label", lazy="selectin", uselist=False)
            __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "shelf"}

        class Case(Shelf):
            __mapper_args__ = {"polymorphic_identity": "case"}

        class Book(base):
            __tablename__ = "books"
            id = Column(Integer, primary_key=True)
            shelf_id = Column(ForeignKey("shelves.id"))
            pages = orm.relationship("Page", lazy="selectin")

        class Page(base):
            __tablename__ = "pages"
            id = Column(Integer, primary_key=True)
            book_id = Column(ForeignKey("books.id"))

        class Label(base):
            __tablename__ = "labels"
            id = Column(Integer, primary_key=True)
            shelf_id = Column(ForeignKey("shelves.id"))

        return SimpleNamespace(orm=orm, Base=base, Shelf=Shelf, Case=Case, Book=Book, Page=Page, Label=Label)

    def database(m: SimpleNamespace) -> Any:
        engine = create_engine("sqlite://")
        m.Base.metadata.create_all(engine)
        with m.orm.Session(engine) as session:
            for n in range(1, 5):
                books = [m.Book(pages=[m.Page() for _ in range(k)]) for k in range(n)]
                session.add((m.Case if n % 2 else m.Shelf)(id=n, books=books, label=m.Label()))
            session.commit()
        return engine

    def scenario(m: SimpleNamespace, session: Any) -> Any:
        seen = []
        for n in (0, 3, 0, 9, 2):
            seen.append(loaded(session, select(m.Book).where(m.Book.id > n), "pages"))
            session.expunge_all()
            seen.append(loaded(session, select(m.Shelf).where(m.Shelf.id > n), "books"))
            session.expunge_all()
            seen.append(loaded(session, select(m.Case).where(m.Case.id > n), "books"))
            session.expunge_all()
        return seen

    Comparison(make, database).check(scenario)


def test_more_parents_than_one_statement_takes() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        session.add_all([m.User(id=n, addresses=[m.Address(id=n)]) for n in range(1000, 2100)])
        session.commit()
        seen = []
        for n in (0, 1050, 1700, 0):
            seen.append(loaded(session, users(m, n), "addresses"))
            session.expunge_all()
        return seen

    BOTH.check(scenario)


def test_which_are_run_natively() -> None:
    m = make_models(importlib.import_module("rustalchemy.orm"))
    with m.orm.Session(make_database(m)) as session:

        def is_native(statement: Callable[[SimpleNamespace, int], Any]) -> bool:
            for n in (0, 100, 7):
                session.scalars(statement(m, n)).unique().all()
            rows = session._uow_select(SHAPES, statement(m, 7))
            return rows is not None

        native = {name for name, statement in STATEMENTS.items() if is_native(statement)}
        assert native == {"one", "two", "lazy", "after others", "in chunks"}
        user = m.orm.selectinload(m.Address.user)
        assert not is_native(lambda m, n: select(m.Address).where(m.Address.id > n).options(user))
        event.listen(m.Address, "load", lambda *_: None)
        assert is_native(STATEMENTS["lazy"])
        assert not is_native(STATEMENTS["one"])


def test_an_option_that_is_shared_is_not_changed() -> None:
    m = make_models(importlib.import_module("rustalchemy.orm"))
    option = m.orm.selectinload(m.User.addresses)
    assert option is m.orm.selectinload(m.User.addresses)
    longer = option.selectinload(m.Address.dings)
    other = m.orm.selectinload(m.User.addresses).options(m.orm.joinedload(m.Address.dings))
    assert longer is not option is not other
    assert [len(each.context) for each in (option, longer, other)] == [1, 2, 2]
    assert m.orm.selectinload(m.User.addresses, chunksize=5) is not option
    assert m.orm.joinedload(m.User.addresses, innerjoin=True) is not m.orm.joinedload(m.User.addresses)
    assert m.orm.lazyload(m.User.addresses) is not m.orm.joinedload(m.User.addresses)
    assert m.orm.selectinload(m.orm.aliased(m.User).addresses) is not option
