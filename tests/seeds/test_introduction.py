"""The programs that introduce SQLAlchemy's Session to newcomers, each whole, on both ORMs.

Every test is a program as a tutorial shows it: persisting objects, the identity map, dirty tracking, object states,
sessionmaker, flush against commit. The same body runs on `sqlalchemy.orm` and on `rustalchemy.orm`.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, create_engine, event


class Shop(NamedTuple):
    """One ORM's classes on an empty database, and the statements sent so far."""

    orm: Any
    User: Any
    Author: Any
    Book: Any
    engine: Engine
    statements: list[str]

    def sent(self) -> list[str]:
        """First words of the statements sent since the last look."""
        out = [s.split()[0] for s in self.statements]
        self.statements.clear()
        return out


@pytest.fixture
def shop(orm: ModuleType, tmp_path: Path) -> Shop:
    o: Any = orm

    class Base(o.DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "users"
        id = o.mapped_column(sa.Integer, primary_key=True)
        name = o.mapped_column(sa.String)
        fullname = o.mapped_column(sa.String)
        password = o.mapped_column(sa.String)

        def __repr__(self) -> str:
            return f"User(id={self.id!r}, name={self.name!r}, fullname={self.fullname!r})"

    class Author(Base):
        __tablename__ = "authors"
        id = o.mapped_column(sa.Integer, primary_key=True)
        name = o.mapped_column(sa.String)
        books = o.relationship("Book", back_populates="author")

    class Book(Base):
        __tablename__ = "books"
        id = o.mapped_column(sa.Integer, primary_key=True)
        title = o.mapped_column(sa.String)
        author_id = o.mapped_column(sa.ForeignKey("authors.id"))
        author = o.relationship("Author", back_populates="books")

    engine = create_engine(f"sqlite:///{tmp_path}/shop.db")
    Base.metadata.create_all(engine)
    statements: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        statements.append(statement)

    return Shop(o, User, Author, Book, engine, statements)


def test_adding_and_finding_ed(shop: Shop) -> None:
    """Pending until needed, flushed by the query, and the very same object comes back."""
    User = shop.User
    Session = shop.orm.sessionmaker(bind=shop.engine)
    session = Session()
    ed_user = User(name="ed", fullname="Ed Jones", password="edspassword")
    session.add(ed_user)
    assert sa.inspect(ed_user).pending
    assert shop.sent() == []

    our_user = session.query(User).filter_by(name="ed").first()
    assert shop.sent() == ["INSERT", "SELECT"]
    assert ed_user is our_user
    assert repr(our_user) == "User(id=1, name='ed', fullname='Ed Jones')"

    session.add_all(
        [
            User(name="wendy", fullname="Wendy Williams", password="foobar"),
            User(name="mary", fullname="Mary Contrary", password="xxg527"),
            User(name="fred", fullname="Fred Flinstone", password="blah"),
        ]
    )
    ed_user.password = "f8s7ccs"
    assert list(session.dirty) == [ed_user]
    assert sorted(user.name for user in session.new) == ["fred", "mary", "wendy"]

    session.commit()
    assert shop.sent()[0] == "UPDATE"
    assert not session.new
    assert not session.dirty
    assert ed_user.id == 1
    assert shop.sent() == ["SELECT"]  # a new transaction: the whole row is loaded again
    assert session.query(User).filter(User.name.in_(["ed", "fakeuser"])).all() == [ed_user]
    session.close()


def test_a_second_object_with_the_same_key_is_refused(shop: Shop) -> None:
    """An already persisted object cannot be represented twice in one session."""
    with shop.orm.Session(shop.engine) as session:
        session.add(shop.User(id=1, name="ed"))
        session.commit()
        other = shop.User(id=1, name="impostor")
        shop.orm.make_transient_to_detached(other)
        kept = session.get(shop.User, 1)
        with pytest.raises(sa.exc.InvalidRequestError, match="another instance with key"):
            session.add(other)
        assert session.get(shop.User, 1) is kept


def test_instances_are_rows_to_be(shop: Shop) -> None:
    """Keyword construction; an attribute without a value is None."""
    squidward = shop.User(name="squidward", fullname="Squidward Tentacles")
    krabs = shop.User(name="ehkrabs", fullname="Eugene H. Krabs")
    assert repr(squidward) == "User(id=None, name='squidward', fullname='Squidward Tentacles')"
    assert sa.inspect(squidward).transient
    with shop.orm.Session(shop.engine) as session:
        session.add(squidward)
        session.add(krabs)
        assert set(session.new) == {squidward, krabs}
        session.flush()
        assert (squidward.id, krabs.id) == (1, 2)
        session.commit()


def test_add_and_commit_an_author_and_a_book(shop: Shop) -> None:
    """Nothing runs at add; the INSERTs fire at commit; the key is read back."""
    with shop.orm.Session(shop.engine) as session:
        author = shop.Author(name="Ursula K. Le Guin")
        book = shop.Book(title="A Wizard of Earthsea")
        session.add(author)
        session.add(book)
        assert author.id is None
        assert shop.sent() == []
        session.commit()
        assert author.id == 1
    inserts = [s for s in shop.statements if s.startswith("INSERT")]
    assert inserts == ["INSERT INTO authors (name) VALUES (?)", "INSERT INTO books (title, author_id) VALUES (?, ?)"]


def test_work_without_commit_is_rolled_back(shop: Shop) -> None:
    """Leaving the block without commit leaves no trace."""
    with shop.orm.Session(shop.engine) as session:
        session.add(shop.Author(name="nobody"))
        session.flush()
    with shop.orm.Session(shop.engine) as session:
        assert session.scalars(sa.select(shop.Author)).all() == []


def test_two_gets_one_select(shop: Shop) -> None:
    """The identity map: one row, one object, one SELECT."""
    with shop.orm.Session(shop.engine) as session:
        session.add(shop.Author(name="Ursula K. Le Guin"))
        session.commit()
    shop.sent()
    with shop.orm.Session(shop.engine) as session:
        first = session.get(shop.Author, 1)
        second = session.get(shop.Author, 1)
        assert first is second
        assert shop.statements == ["SELECT authors.id, authors.name \nFROM authors \nWHERE authors.id = ?"]


def test_changes_are_saved_without_save(shop: Shop) -> None:
    """Dirty tracking: one UPDATE for the one column that changed."""
    with shop.orm.Session(shop.engine) as session:
        session.add(shop.Book(title="A Wizard of Earthsea"))
        session.commit()
    with shop.orm.Session(shop.engine) as session:
        book = session.get(shop.Book, 1)
        assert book.title == "A Wizard of Earthsea"
        shop.sent()
        book.title = "A Wizard of Earthsea (Illustrated)"
        session.commit()
    assert shop.statements == ["UPDATE books SET title=? WHERE books.id = ?"]
    assert not hasattr(shop.orm.Session, "save")


def test_the_four_states(shop: Shop) -> None:
    """transient → pending → persistent → detached, and the trap of lazy loading on a detached object."""
    book = shop.Book(title="Tehanu")
    state = sa.inspect(book)
    assert state.transient
    with shop.orm.Session(shop.engine) as session:
        session.add(book)
        assert state.pending
        session.flush()
        assert state.persistent
        session.commit()
        assert state.persistent
        author = shop.Author(name="Ursula K. Le Guin", books=[book])
        session.add(author)
        session.commit()
    assert state.detached
    with shop.orm.Session(shop.engine) as session:
        loaded = session.get(shop.Author, 1)
    assert loaded.name == "Ursula K. Le Guin"  # a detached object keeps what it holds
    with pytest.raises(shop.orm.exc.DetachedInstanceError) as caught:
        loaded.books  # noqa: B018
    assert caught.value.code == "bhk3"


def test_flush_sends_and_commit_keeps(shop: Shop) -> None:
    """A flush makes rows visible inside of the transaction only; commit flushes first."""
    Session = shop.orm.sessionmaker(bind=shop.engine)
    with Session() as session:
        session.add(shop.User(name="ed"))
        session.flush()
        assert shop.sent() == ["INSERT"]
        assert session.scalar(sa.select(sa.func.count()).select_from(shop.User)) == 1
        session.rollback()
        assert session.scalar(sa.select(sa.func.count()).select_from(shop.User)) == 0


def test_session_factory(shop: Shop) -> None:
    """sessionmaker with a bind, configured later, and overridden per session."""
    Session = shop.orm.sessionmaker(bind=shop.engine)
    session = Session()
    assert session.get_bind() is shop.engine
    Later = shop.orm.sessionmaker()
    unbound = Later()
    with pytest.raises(sa.exc.UnboundExecutionError):
        unbound.get_bind()
    Later.configure(bind=shop.engine)
    assert Later().get_bind() is shop.engine
    engine2 = create_engine("sqlite://")
    session_bound_to_engine2 = Session(bind=engine2)
    assert session_bound_to_engine2.get_bind() is engine2


def test_add_delete_and_query(shop: Shop) -> None:
    """Adding one and several instances, deleting one at the next flush."""
    Session = shop.orm.sessionmaker(bind=shop.engine)
    session = Session()
    obj = shop.User(name="one")
    session.add(obj)
    obj1, obj2 = shop.User(name="two"), shop.User(name="three")
    session.add_all([obj1, obj2])
    session.commit()
    session.delete(obj)
    assert [u.name for u in session.query(shop.User).order_by(shop.User.id)] == ["two", "three"]
    session.commit()
    assert sa.inspect(obj).detached
    session.close()


def test_alice_and_bob_in_two_sessions(shop: Shop) -> None:
    """Who sees what: flushed work inside of its own session, committed work everywhere."""
    User = shop.User
    Session = shop.orm.sessionmaker(bind=shop.engine)

    def names(session: Any) -> list[str]:
        return sorted(user.name for user in session.query(User).all())

    s = Session()
    s.add(User(name="Alice"))
    assert names(s) == ["Alice"]
    s.commit()
    s2 = Session()
    assert names(s2) == ["Alice"]
    s.add(User(name="Bob"))
    assert names(s) == ["Alice", "Bob"]
    s.flush()
    assert names(s2) == ["Alice"]
    s.rollback()
    assert names(s) == ["Alice"]
    assert names(s2) == ["Alice"]
    s.close()
    s2.close()


def test_registry_maps_in_three_ways(shop: Shop) -> None:
    """One registry serves the declarative base, the decorator and the imperative call."""
    registry = shop.orm.registry()
    Base = registry.generate_base()

    class A(Base):
        __tablename__ = "a"
        id = sa.Column(sa.Integer, primary_key=True)

    @registry.mapped
    class B:
        __tablename__ = "b"
        id = sa.Column(sa.Integer, primary_key=True)

    class C:
        pass

    table = sa.Table("c", registry.metadata, sa.Column("id", sa.Integer, primary_key=True))
    registry.map_imperatively(C, table)
    assert {mapper.class_ for mapper in registry.mappers} == {A, B, C}
    registry.metadata.create_all(shop.engine)
    with shop.orm.Session(shop.engine) as session:
        objects = [A(), B(), C()]
        session.add_all(objects)
        session.commit()
        assert [o.id for o in objects] == [1, 1, 1]
