"""`Session(twophase=True)` over two connections of one server: XA on MariaDB; PostgreSQL where it is switched off.

Each program runs on SQLAlchemy's ORM and on rustalchemy, there also with nobody listening to statements: what it
returns, the statements and the rows must be equal.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa
from server_urls import URLS
from sqlalchemy import event, exc

pytestmark = pytest.mark.filterwarnings("ignore:transaction already deassociated:sqlalchemy.exc.SAWarning")
TABLES = ("ra_two_account", "ra_two_entry")
XID = re.compile(r"_sa_[0-9a-f]{32}")


class TwoDatabases:
    """Two engines, a class on each, and what one ORM sends to them."""

    def __init__(self, url: str, orm_name: str, is_watched: bool) -> None:
        self.orm = orm = importlib.import_module(orm_name)

        class Base(orm.DeclarativeBase):  # type: ignore[misc, name-defined]
            pass

        class Account(Base):
            __tablename__ = TABLES[0]
            id = orm.mapped_column(sa.Integer, primary_key=True)
            name = orm.mapped_column(sa.String(20), nullable=False, unique=True)

        class Entry(Base):
            __tablename__ = TABLES[1]
            id = orm.mapped_column(sa.Integer, primary_key=True)
            text = orm.mapped_column(sa.String(20), nullable=False, unique=True)

        self.metadata, self.Account, self.Entry = Base.metadata, Account, Entry
        # what another connection left prepared can only be ended outside of a transaction
        self.admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        self.metadata.create_all(self.admin)
        self.engines = {"one": sa.create_engine(url), "two": sa.create_engine(url)}
        self.sent: dict[str, list[str]] = {"one": [], "two": []}
        # database and second word of each statement, which for XA tells what it does
        self.order: list[tuple[str, str]] = []
        self.xids: list[str] = []
        if is_watched:
            for name, engine in self.engines.items():
                event.listen(engine, "before_cursor_execute", self._listener(name))
        for engine in self.engines.values():
            event.listen(engine, "begin_twophase", lambda connection, xid: self.xids.append(xid))

    def _listener(self, name: str) -> Any:
        def note(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
            text = XID.sub("xid", f"{' '.join(statement.split())} {parameters!r}")
            # generated keys go on counting
            self.sent[name].append(re.sub(r"'id': \d+|_id': \d+|'pk_1': \d+", "key", text))
            self.order.append((name, statement.split()[1]))

        return note

    def session(self, **kw: Any) -> Any:
        binds = {self.Account: self.engines["one"], self.Entry: self.engines["two"]}
        return self.orm.Session(binds=binds, twophase=True, **kw)

    def pair(self, name: str) -> tuple[Any, Any]:
        """A new object for each database."""
        return self.Account(name=name), self.Entry(text=name)

    def rows(self) -> tuple[list[str], list[str]]:
        """What is committed in each, as nobody's transaction sees it."""
        with self.admin.connect() as connection:
            names, texts = (
                connection.scalars(sa.select(column).order_by(column)).all()
                for column in (self.Account.__table__.c.name, self.Entry.__table__.c.text)
            )
            return list(names), list(texts)

    def prepared(self) -> list[str]:
        """The transactions of this program that the server keeps, prepared; in order of their beginning."""
        with self.admin.connect() as connection:
            # some drivers have them as bytes
            kept = {xid.decode() if isinstance(xid, bytes) else xid for xid in connection.recover_twophase()}
        return [xid for xid in self.xids if xid in kept]

    def killer(self, session: Any, mapped: Any) -> Callable[[], None]:
        """What ends the session's connection for a class from outside, as an administrator or a network would."""
        number = session.connection(bind_arguments={"mapper": mapped}).scalar(sa.text("SELECT CONNECTION_ID()"))

        def kill() -> None:
            with self.admin.connect() as connection:
                connection.execute(sa.text(f"KILL CONNECTION {number}"))

        return kill

    def dispose(self) -> None:
        for engine in self.engines.values():
            engine.dispose()
        with self.admin.connect() as connection:
            for xid in self.prepared():
                connection.rollback_prepared(xid, recover=True)
            for table in self.metadata.sorted_tables:
                connection.execute(table.delete())
        self.admin.dispose()


@pytest.fixture(autouse=True, scope="module")
def tables_go() -> Iterator[None]:
    """The tables stay from test to test, which is quicker than to make them again."""
    yield
    for url in URLS.values():
        engine = sa.create_engine(url)
        with suppress(exc.OperationalError, ImportError), engine.begin() as connection:
            for table in TABLES:
                connection.execute(sa.text(f"DROP TABLE IF EXISTS {table}"))
        engine.dispose()


Program = Callable[[TwoDatabases], Any]


RUNS = {
    "sqlalchemy": ("sqlalchemy.orm", True),
    "rustalchemy": ("rustalchemy.orm", True),
    # nobody listens to statements
    "unwatched": ("rustalchemy.orm", False),
}


def on_each(url: str, program: Program) -> dict[str, Any]:
    """What a program returns, the rows, how many are left prepared, and the statements; for each run."""
    outcomes = {}
    for run, (name, is_watched) in RUNS.items():
        databases = TwoDatabases(url, name, is_watched)
        try:
            outcome = program(databases)
            outcomes[run] = (outcome, databases.rows(), len(databases.prepared()), databases.sent)
        finally:
            databases.orm.close_all_sessions()
            databases.dispose()
    return outcomes


def on_both(url: str, program: Program) -> Any:
    """Run a program on both ORMs, with equal outcomes.

    SQLAlchemy walks connections in the order of a set: statements are compared for each database.
    """
    outcomes = on_each(url, program)
    assert outcomes["rustalchemy"] == outcomes["sqlalchemy"]
    assert outcomes["unwatched"][:3] == outcomes["sqlalchemy"][:3]
    return outcomes["rustalchemy"][0]


def state_of(obj: Any) -> str:
    inspected = sa.inspect(obj)
    names = ("transient", "pending", "persistent", "deleted", "detached")
    return next(name for name in names if getattr(inspected, name))


def refusal(call: Callable[[], Any]) -> tuple[str, str]:
    """Class and first line of what a call raises; without the numbers of connections."""
    with pytest.raises(Exception) as caught:
        call()
    message = XID.sub("xid", str(caught.value)).splitlines()[0]
    return type(caught.value).__name__, re.sub(r"\d{2,}", "N", message)


def recovery(session: Any) -> str:
    """How the session becomes usable again."""
    try:
        session.rollback()
    except exc.SQLAlchemyError as error:
        session.close()
        return f"close after {type(error).__name__}"
    return "rollback"


@pytest.mark.sqlalchemy21  # what is sent is that of 2.1
def test_commit(mariadb_url: str) -> None:
    """Both are prepared before one is committed; what is read afterwards begins anew."""

    def program(databases: TwoDatabases) -> Any:
        with databases.session() as session:
            pair = databases.pair("a")
            session.add_all(pair)
            session.commit()
            committed = databases.rows()
            names = pair[0].name, pair[1].text
            pair[0].name, pair[1].text = "b", "b"
            session.commit()
            session.delete(pair[0])
            session.commit()
            return committed, names, [state_of(obj) for obj in pair], databases.rows()

    assert on_both(mariadb_url, program) == (
        (["a"], ["a"]),
        ("a", "a"),
        ["detached", "persistent"],
        ([], ["b"]),
    )


def test_all_are_prepared_before_one_is_committed(mariadb_url: str) -> None:
    databases = TwoDatabases(mariadb_url, "rustalchemy.orm", True)
    try:
        with databases.session() as session:
            session.add_all(databases.pair("a"))
            session.flush()
            databases.order.clear()
            session.commit()
        phases = [[("one", "END"), ("one", "PREPARE")], [("two", "END"), ("two", "PREPARE")]]
        assert databases.order == [*phases[0], *phases[1], ("one", "COMMIT"), ("two", "COMMIT")]
    finally:
        databases.dispose()


@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
def test_prepare(mariadb_url: str, end: str) -> None:
    """A prepared transaction is kept by the server, unseen by others, takes no more SQL, and ends either way."""

    def program(databases: TwoDatabases) -> Any:
        session = databases.session()
        pair = databases.pair("a")
        session.add_all(pair)
        session.prepare()
        seen = [len(databases.prepared()), databases.rows(), [state_of(obj) for obj in pair]]
        seen.append(refusal(lambda: session.get(databases.Account, 77)))
        seen.append(refusal(lambda: session.execute(sa.select(databases.Entry))))
        seen.append(refusal(session.prepare))
        seen.append(refusal(session.begin_nested))
        getattr(session, end)()
        seen += [databases.rows(), [state_of(obj) for obj in pair], len(databases.prepared())]
        session.add_all(databases.pair("later"))
        session.commit()
        session.close()
        return seen

    seen = on_both(mariadb_url, program)
    rows: Any = (["a"], ["a"]) if end == "commit" else ([], [])
    states = {"commit": "persistent", "rollback": "transient", "close": "detached"}[end]
    assert seen[:3] == [2, ([], []), ["persistent"] * 2]
    assert [name for name, _ in seen[3:7]] == ["InvalidRequestError"] * 4
    assert seen[7:] == [rows, [states] * 2, 0]


def test_prepare_where_it_is_not_asked_for(mariadb_url: str) -> None:
    def program(databases: TwoDatabases) -> Any:
        with databases.orm.Session(databases.engines["one"]) as plain, databases.session() as session:
            plain.add(databases.pair("a")[0])
            refusals = [refusal(plain.prepare)]
            session.begin()
            session.begin_nested()
            return [*refusals, refusal(session.prepare)]

    assert {name for name, _ in on_both(mariadb_url, program)} == {"InvalidRequestError"}


@pytest.mark.sqlalchemy21  # what is sent is that of 2.1
def test_rollback(mariadb_url: str) -> None:
    def program(databases: TwoDatabases) -> Any:
        with databases.session() as session:
            kept, lost = databases.pair("kept"), databases.pair("lost")
            session.add_all(kept)
            session.commit()
            kept[0].name = "changed"
            session.add_all(lost)
            session.delete(kept[1])
            session.flush()
            session.rollback()
            states = [state_of(obj) for obj in (*kept, *lost)]
            return states, kept[0].name, kept[1].text

    assert on_both(mariadb_url, program) == (["persistent"] * 2 + ["transient"] * 2, "kept", "kept")


def test_savepoints(mariadb_url: str) -> None:
    """SAVEPOINTs of both inside of the two phases."""

    def program(databases: TwoDatabases) -> Any:
        with databases.session() as session:
            session.add_all(databases.pair("outer"))
            with session.begin_nested():
                session.add_all(databases.pair("inner"))
            lost = databases.pair("lost")
            savepoint = session.begin_nested()
            session.add_all(lost)
            session.flush()
            savepoint.rollback()
            session.commit()
            return [state_of(obj) for obj in lost], databases.rows()

    assert on_both(mariadb_url, program) == (["transient"] * 2, (["inner", "outer"], ["inner", "outer"]))


def test_flush_fails_in_one(mariadb_url: str) -> None:
    """What the second database refuses is not kept by the first."""

    def program(databases: TwoDatabases) -> Any:
        with databases.session() as session:
            session.add_all(databases.pair("a"))
            session.commit()
            pair = (databases.Account(name="b"), databases.Entry(text="a"))
            session.add_all(pair)
            seen = [refusal(session.commit), refusal(session.commit)]
            session.rollback()
            seen += [[state_of(obj) for obj in pair], databases.rows(), len(databases.prepared())]
            pair[1].text = "b"
            session.add_all(pair)
            session.commit()
            return seen

    seen = on_both(mariadb_url, program)
    assert [seen[0][0], seen[1][0]] == ["IntegrityError", "PendingRollbackError"]
    assert seen[2:] == [["transient"] * 2, (["a"], ["a"]), 0]


@pytest.mark.parametrize("victim", ["Account", "Entry"])
def test_prepare_fails_in_one(mariadb_url: str, victim: str) -> None:
    """The connection of one dies before it is prepared: the other one is rolled back."""

    def program(databases: TwoDatabases) -> Any:
        with databases.session() as session:
            pair = databases.pair("a")
            session.add_all(pair)
            session.flush()
            databases.killer(session, getattr(databases, victim))()
            seen = [refusal(session.commit)[0]]
            seen.append(recovery(session))
            seen += [[state_of(obj) for obj in pair], databases.rows(), len(databases.prepared())]
            again = databases.pair("again")
            session.add_all(again)
            session.commit()
            return [*seen, databases.rows()]

    # whether the other one was prepared already depends on SQLAlchemy's set
    for seen, *_ in on_each(mariadb_url, program).values():
        assert seen[0] == "OperationalError"
        assert seen[2:] == [["transient"] * 2, ([], []), 0, (["again"], ["again"])]


@pytest.mark.parametrize("victim", ["Account", "Entry"])
def test_commit_fails_in_one(mariadb_url: str, victim: str) -> None:
    """The connection of one dies between the phases: the server keeps what was prepared, and can be told to commit."""

    def program(databases: TwoDatabases) -> Any:
        session = databases.session()
        pair = databases.pair("a")
        session.add_all(pair)
        session.flush()
        kill = databases.killer(session, getattr(databases, victim))
        session.prepare()
        kill()
        seen = [refusal(session.commit)[0], databases.rows(), len(databases.prepared())]
        seen.append(refusal(lambda: session.get(databases.Account, 77)))
        seen.append(recovery(session))
        seen += [[state_of(obj) for obj in pair], databases.rows()]
        with databases.admin.connect() as connection:
            for xid in databases.prepared():
                connection.commit_prepared(xid, recover=True)
        seen += [databases.rows(), len(databases.prepared())]
        session.add_all(databases.pair("later"))
        session.commit()
        session.close()
        return seen

    outcomes = on_each(mariadb_url, program)
    for error, (names, texts), prepared, refused, recovered, states, *_, left in (
        seen for seen, *_ in outcomes.values()
    ):
        # nothing is lost: what is committed and what is prepared make the whole
        assert len(names) + len(texts) + prepared == 2
        assert [error, refused[0], recovered, states, left] == [
            "OperationalError",
            "InvalidRequestError",
            "rollback",
            ["transient"] * 2,
            0,
        ]
    # the first is committed first
    kept = {"Account": ([], []), "Entry": (["a"], [])}[victim]
    assert [outcomes[run][0][1] for run in ("rustalchemy", "unwatched")] == [kept] * 2


@pytest.mark.parametrize("hook", ["before_commit", "after_flush", "after_commit"])
def test_listener_raises(mariadb_url: str, hook: str) -> None:
    def program(databases: TwoDatabases) -> Any:
        with databases.session() as session:
            pair = databases.pair("a")
            session.add_all(pair)

            def refuse(*args: Any) -> None:
                raise KeyboardInterrupt

            event.listen(session, hook, refuse)
            with pytest.raises(KeyboardInterrupt):
                session.commit()
            event.remove(session, hook, refuse)
            seen = [databases.rows(), len(databases.prepared()), recovery(session)]
            seen += [[state_of(obj) for obj in pair], databases.rows()]
            session.add_all(databases.pair("later"))
            session.commit()
            return seen

    seen = on_both(mariadb_url, program)
    assert seen[1] == 0
    assert seen[4] == ((["a"], ["a"]) if hook == "after_commit" else ([], []))


def test_postgresql_says_whether_it_can(postgresql_url: str) -> None:
    """With `max_prepared_transactions = 0`, as it comes, the server refuses: all is rolled back, nothing is kept."""

    def program(databases: TwoDatabases) -> Any:
        with databases.admin.connect() as connection:
            can_prepare = connection.scalar(sa.text("SHOW max_prepared_transactions")) != "0"
        with databases.session() as session:
            pair = databases.pair("a")
            session.add_all(pair)
            if can_prepare:
                session.commit()
                return can_prepare, databases.rows()
            seen = refusal(session.commit)
            return can_prepare, seen, recovery(session), [state_of(obj) for obj in pair], databases.rows()

    seen = on_both(postgresql_url, program)
    if seen[0]:
        assert seen == (True, (["a"], ["a"]))
    else:
        assert seen[3:] == (["transient"] * 2, ([], []))
