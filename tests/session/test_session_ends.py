"""Two-phase commit, the ways a session ends, bulk methods in a transaction, and state changes that are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event, exc


class TwoPhases:
    """Two engines whose dialects keep a record of two-phase transactions; the driver knows none, so BEGIN is enough."""

    def __init__(self, world: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.calls: list[tuple[str, str]] = []
        self.second_prepare_fails = False
        self.engines = {"users": world.engine, "posts": sa.create_engine(f"sqlite:///{folder / 'posts.db'}")}
        world.Base.metadata.create_all(self.engines["posts"])
        for name, engine in self.engines.items():
            for phase in ("begin", "prepare", "commit", "rollback"):
                monkeypatch.setattr(engine.dialect, f"do_{phase}_twophase", self._phase(name, phase), raising=False)

    def _phase(self, name: str, phase: str) -> Callable[..., None]:
        def run(connection: Any, xid: Any, *args: Any, **kw: Any) -> None:
            if self.second_prepare_fails and phase == "prepare" and self.phases("prepare"):
                raise RuntimeError("not prepared")
            self.calls.append((phase, name))
            if phase in ("commit", "rollback"):
                getattr(connection.connection.dbapi_connection, phase)()

        return run

    def phases(self, phase: str) -> list[str]:
        """The engines that a phase has reached, sorted: their order is a set's in SQLAlchemy."""
        return sorted(name for called, name in self.calls if called == phase)

    def session(self) -> Any:
        binds = {self.world.User: self.engines["users"], self.world.Post: self.engines["posts"]}
        session = self.world.orm.Session(binds=binds, twophase=True)
        self.user = self.world.User(name="ed")
        session.add(self.user)
        session.flush()
        session.add(self.world.Post(title="t"))
        session.flush()
        return session

    def counts(self) -> list[int]:
        counts = []
        for name, engine in self.engines.items():
            with engine.connect() as connection:
                counts.append(connection.scalar(sa.text(f"SELECT count(*) FROM {name}")))
        return counts


@pytest.fixture
def phases(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoPhases]:
    phases = TwoPhases(world, tmp_path, monkeypatch)
    yield phases
    world.orm.close_all_sessions()
    phases.engines["posts"].dispose()


BOTH = ["posts", "users"]


def test_commit_prepares_everywhere_first(phases: TwoPhases) -> None:
    session = phases.session()
    assert phases.calls == [("begin", "users"), ("begin", "posts")]
    session.commit()
    assert [phase for phase, _ in phases.calls[2:]] == ["prepare", "prepare", "commit", "commit"]
    assert phases.phases("prepare") == phases.phases("commit") == BOTH
    assert phases.counts() == [1, 1]


def test_prepare_then_commit(phases: TwoPhases) -> None:
    session = phases.session()
    session.prepare()
    assert phases.phases("prepare") == BOTH
    with pytest.raises(exc.InvalidRequestError, match="'prepared' state"):
        session.execute(sa.select(phases.world.User))
    session.commit()
    assert phases.phases("commit") == BOTH
    assert phases.counts() == [1, 1]


def test_prepare_then_rollback(phases: TwoPhases) -> None:
    session = phases.session()
    session.prepare()
    session.rollback()
    assert phases.phases("rollback") == BOTH
    assert phases.phases("commit") == []
    assert phases.counts() == [0, 0]
    assert phases.world.state(phases.user) == "transient"


@pytest.mark.parametrize("prepares", [False, True])
def test_prepare_fails_on_one(phases: TwoPhases, prepares: bool) -> None:
    session = phases.session()
    phases.second_prepare_fails = True
    with pytest.raises(RuntimeError, match="not prepared"):
        session.prepare() if prepares else session.commit()
    assert len(phases.phases("prepare")) == 1
    assert phases.phases("rollback") == BOTH
    assert not session.in_transaction()
    assert phases.counts() == [0, 0]
    phases.second_prepare_fails = False
    session.add(phases.world.User(name="jack"))
    session.commit()
    assert phases.counts() == [1, 0]


def test_prepare_without_two_phases(world: Any) -> None:
    session = world.session()
    session.add(world.User(name="ed"))
    with pytest.raises(exc.InvalidRequestError, match="'twophase' mode not enabled, or not root transaction"):
        session.prepare()


def test_prepare_in_a_savepoint(phases: TwoPhases) -> None:
    session = phases.session()
    session.begin_nested()
    with pytest.raises(exc.InvalidRequestError, match="not root transaction"):
        session.prepare()
    session.rollback()
    session.rollback()
    assert phases.counts() == [0, 0]


# --- close, reset, invalidate -----------------------------------------------------------------------------------------


def test_a_session_that_closes_for_good(world: Any) -> None:
    session = world.session(close_resets_only=False)
    user = world.saved(session)
    session.reset()
    assert world.state(user) == "detached"
    assert session.get(world.User, 1).name == "ed"
    session.close()
    session.close()
    for use in (
        lambda: session.get(world.User, 1),
        lambda: session.execute(sa.text("SELECT 1")),
        lambda: session.add(world.User(name="jack")),
        session.begin,
        session.begin_nested,
        session.connection,
        session.commit,
    ):
        with pytest.raises(exc.InvalidRequestError, match="permanently closed"):
            use()
    session.rollback()
    # from what was given up for good there is a way back
    session.reset()
    with pytest.raises(exc.InvalidRequestError, match="permanently closed"):
        session.begin()


@pytest.mark.parametrize("end", ["close", "reset"])
def test_ends_inside_of_a_savepoint(world: Any, end: str) -> None:
    session = world.session()
    user = world.saved(session)
    user.age = 1
    session.flush()
    session.begin_nested()
    user.age = 2
    session.flush()
    getattr(session, end)()
    assert not session.in_transaction() and not session.in_nested_transaction()
    assert world.engine.pool.checkedout() == 0
    assert world.state(user) == "detached"
    assert world.rows("SELECT age FROM users") == [(None,)]
    assert session.get(world.User, 1).age is None


@pytest.mark.parametrize("in_savepoint", [False, True])
def test_invalidate_drops_the_connection(world: Any, in_savepoint: bool) -> None:
    session = world.session()
    user = world.saved(session)
    invalidated: list[Any] = []
    event.listen(world.engine.pool, "invalidate", lambda connection, record, error: invalidated.append(connection))
    user.age = 1
    session.flush()
    if in_savepoint:
        session.begin_nested()
        user.age = 2
        session.flush()
    session.invalidate()
    assert len(invalidated) == 1
    assert world.state(user) == "detached"
    assert not session.in_transaction()
    assert session.get(world.User, 1).age is None
    session.commit()


def test_invalidate_without_a_connection(world: Any) -> None:
    session = world.session()
    session.invalidate()
    session.add(world.User(name="ed"))
    session.invalidate()
    assert not session.new
    session.commit()
    assert world.rows("SELECT * FROM users") == []


# --- bulk methods -----------------------------------------------------------------------------------------------------


def _bulk(world: Any, session: Any, name: str) -> None:
    if name == "bulk_save_objects":
        session.bulk_save_objects([world.User(name="a"), world.User(name="b")])
    elif name == "bulk_insert_mappings":
        session.bulk_insert_mappings(world.User, [{"name": "a"}, {"name": "b"}])
    else:
        session.bulk_update_mappings(world.User, [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])


BULK = ("bulk_save_objects", "bulk_insert_mappings", "bulk_update_mappings")


@pytest.fixture(params=BULK)
def bulk(world: Any, request: pytest.FixtureRequest) -> str:
    """One of the methods, with rows where it needs some."""
    if request.param == "bulk_update_mappings":
        with world.session() as session:
            session.add_all([world.User(name="x"), world.User(name="y")])
            session.commit()
    return str(request.param)


def test_bulk_methods_are_part_of_the_transaction(world: Any, bulk: str) -> None:
    before = world.rows("SELECT name FROM users ORDER BY id")
    session = world.session()
    _bulk(world, session, bulk)
    assert session.in_transaction()
    assert world.rows("SELECT name FROM users ORDER BY id") == before
    session.rollback()
    assert world.rows("SELECT name FROM users ORDER BY id") == before
    _bulk(world, session, bulk)
    session.commit()
    assert world.rows("SELECT name FROM users ORDER BY id") == [("a",), ("b",)]


def test_bulk_methods_in_a_savepoint(world: Any, bulk: str) -> None:
    before = world.rows("SELECT name FROM users ORDER BY id")
    session = world.session()
    kept = world.User(name="kept")
    session.add(kept)
    savepoint = session.begin_nested()
    _bulk(world, session, bulk)
    savepoint.rollback()
    assert world.state(kept) == "persistent"
    session.commit()
    assert world.rows("SELECT name FROM users ORDER BY id") == [*before, ("kept",)]


def test_a_bulk_method_that_fails_fails_the_transaction(world: Any, bulk: str) -> None:
    with world.session() as session:
        session.add(world.User(id=9, name="b"))
        session.commit()
    before = world.rows("SELECT name FROM users ORDER BY id")
    session = world.session()
    session.add(world.User(name="kept"))
    session.flush()
    with pytest.raises(exc.IntegrityError):
        _bulk(world, session, bulk)
    with pytest.raises(exc.PendingRollbackError, match=r"Original exception was: .*UNIQUE"):
        session.execute(sa.text("SELECT 1"))
    session.rollback()
    assert world.rows("SELECT name FROM users ORDER BY id") == before


def test_bulk_methods_do_not_flush(world: Any, bulk: str) -> None:
    session = world.session()
    pending = world.User(name="pending")
    session.add(pending)
    _bulk(world, session, bulk)
    assert world.state(pending) == "pending"
    session.commit()
    assert ("pending",) in world.rows("SELECT name FROM users")


# --- refused state changes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["commit", "rollback", "close"])
def test_an_end_while_a_connection_is_being_made(world: Any, method: str) -> None:
    """An engine event that ends the session that is connecting: named, and the session is usable afterwards."""
    session = world.session()
    refused: list[str] = []

    def end(connection: Any) -> None:
        with pytest.raises((exc.IllegalStateChangeError, exc.InvalidRequestError)) as raised:
            getattr(session, method)()
        refused.append(raised.value.code)

    event.listen(world.engine, "begin", end, once=True)
    session.execute(sa.text("SELECT 1"))
    assert refused == ["isce"]
    session.add(world.User(name="ed"))
    session.commit()
    assert world.rows("SELECT name FROM users") == [("ed",)]


@pytest.mark.parametrize("method", ["commit", "rollback", "close"])
@pytest.mark.parametrize("when", ["begin_nested", "commit"])
def test_an_end_inside_of_a_flush_that_another_method_made(world: Any, method: str, when: str) -> None:
    """A listener of rows ends the transaction while commit() or begin_nested() flushes."""
    session = world.session()
    refused: list[str] = []

    def end(mapper: Any, connection: Any, user: Any) -> None:
        with pytest.raises(exc.IllegalStateChangeError) as raised:
            session.get_transaction().rollback() if method == "rollback" else getattr(
                session.get_transaction(), method
            )()
        refused.append(str(raised.value).partition(";")[0])

    event.listen(world.User, "before_insert", end)
    session.add(world.User(name="ed"))
    getattr(session, when)()
    assert len(refused) == 1
    assert refused[0].startswith(f"Method '{method}()' can't be called here")
    session.commit()
    assert world.rows("SELECT name FROM users") == [("ed",)]


def test_a_savepoint_that_has_ended(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    savepoint = session.begin_nested()
    user.age = 1
    savepoint.commit()
    for method in ("commit", "rollback"):
        with pytest.raises(exc.ResourceClosedError, match="This transaction is closed"):
            getattr(savepoint, method)()
    session.commit()
    assert world.rows("SELECT age FROM users") == [(1,)]


def test_an_outer_savepoint_ends_first(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    outer = session.begin_nested()
    user.age = 1
    inner = session.begin_nested()
    user.name = "jack"
    outer.commit()
    assert not inner.is_active and not session.in_nested_transaction()
    session.commit()
    assert world.rows("SELECT name, age FROM users") == [("jack", 1)]


def test_a_closed_session_begins_again_with_the_next_object(world: Any) -> None:
    with world.session() as session:
        session.add(world.User(name="ed"))
        session.close()
        session.add(world.User(name="other"))
        assert session.in_transaction()
        session.begin_nested()
        session.close()
        session.add(world.User(name="third"))
        assert session.in_transaction()
