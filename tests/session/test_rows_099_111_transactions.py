"""Rows 99-111, 123, 124, 129 and 130 of the semantics table: the transaction of a session, and its events."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event, exc


def test_099_autobegin(world: Any) -> None:
    session = world.session()
    assert not session.in_transaction()
    session.add(world.User(name="ed"))
    assert session.in_transaction()
    assert not session.get_transaction().connections
    session.commit()
    assert not session.in_transaction()
    user = session.get(world.User, 1)
    session.commit()
    user.age = 5
    assert session.in_transaction()
    session.commit()
    session.execute(sa.text("SELECT 1"))
    assert session.in_transaction()


def test_100_begin_inside_a_transaction(world: Any) -> None:
    session = world.session()
    session.begin()
    with pytest.raises(exc.InvalidRequestError, match="A transaction is already begun on this Session"):
        session.begin()


def test_100_without_autobegin(world: Any) -> None:
    session = world.session(autobegin=False)
    with pytest.raises(exc.InvalidRequestError, match="Autobegin is disabled on this Session"):
        session.add(world.User(name="ed"))
    with pytest.raises(exc.InvalidRequestError, match="Autobegin is disabled on this Session"):
        session.execute(sa.text("SELECT 1"))
    with session.begin():
        session.add(world.User(name="jack"))
    assert world.rows("SELECT name FROM users") == [("jack",)]


def test_101_failed_flush(world: Any) -> None:
    session = world.session()
    world.saved(session)
    bad = world.User(name="ed")
    session.add(bad)
    with pytest.raises(exc.IntegrityError) as raised:
        session.flush()
    assert "INSERT INTO users" in raised.value.statement
    assert "ed" in raised.value.params
    assert world.state(bad) == "transient"
    for call in (session.flush, session.commit, lambda: session.execute(sa.text("SELECT 1")), session.connection):
        if call == session.flush:
            session.add(world.User(name="x"))
        with pytest.raises(exc.PendingRollbackError, match=r"Original exception was: .*UNIQUE") as pending:
            call()
        assert pending.value.code == "7s2a"
    with pytest.warns(exc.SAWarning, match="changed on a non-active transaction"):
        session.rollback()
    session.add(world.User(name="fred"))
    session.commit()
    assert world.rows("SELECT name FROM users ORDER BY id") == [("ed",), ("fred",)]


def test_102_failed_flush_in_a_savepoint(world: Any) -> None:
    session = world.session()
    world.saved(session)
    kept = world.User(name="kept")
    session.add(kept)
    savepoint = session.begin_nested()
    bad = world.User(name="ed")
    session.add(bad)
    with pytest.raises(exc.IntegrityError):
        session.flush()
    savepoint.rollback()
    assert world.state(bad) == "transient"
    assert world.state(kept) == "persistent"
    session.commit()
    assert world.rows("SELECT name FROM users ORDER BY id") == [("ed",), ("kept",)]


def test_104_add_inside_flush_events(world: Any) -> None:
    session = world.session()
    event.listen(world.User, "before_insert", lambda mapper, connection, user: session.add(world.Post(title="late")))
    session.add(world.User(name="ed"))
    with pytest.warns(exc.SAWarning, match=r"Usage of the 'Session.add\(\)' operation"):
        session.flush()


def test_105_clean_object_changed_inside_flush_events(world: Any) -> None:
    session = world.session()
    clean, changed = world.saved(session, "clean"), world.saved(session, "changed")
    assert clean.age is None

    def touch(mapper: Any, connection: Any, target: Any) -> None:
        clean.age = 99

    event.listen(world.User, "after_update", touch)
    changed.age = 1
    with pytest.warns(exc.SAWarning, match="accumulated on 1 previously clean instances"):
        session.flush()
    assert clean.age == 99
    assert clean not in session.dirty
    session.commit()
    assert world.rows("SELECT name, age FROM users ORDER BY id") == [("clean", None), ("changed", 1)]


@pytest.mark.parametrize("name", ["before_flush", "after_flush", "before_commit"])
def test_106_commit_inside_events(world: Any, name: str) -> None:
    session = world.session()
    event.listen(session, name, lambda session, *args: session.commit())
    session.add(world.User(name="ed"))
    with pytest.raises((exc.IllegalStateChangeError, exc.ResourceClosedError)):
        session.commit()


@pytest.mark.parametrize(
    "name, end, message",
    [("after_commit", "commit", "'committed' state"), ("after_rollback", "rollback", "'inactive' state")],
)
def test_107_sql_after_the_end(world: Any, name: str, end: str, message: str) -> None:
    session = world.session()
    session.execute(sa.text("SELECT 1"))
    seen = []

    @event.listens_for(session, name)
    def ask(session: Any) -> None:
        with pytest.raises(exc.InvalidRequestError, match=message):
            session.execute(sa.text("SELECT 1"))
        seen.append(name)

    getattr(session, end)()
    assert seen == [name]


def test_107_sql_after_soft_rollback(world: Any) -> None:
    session = world.session()
    session.execute(sa.text("SELECT 1"))
    seen = []

    @event.listens_for(session, "after_soft_rollback")
    def ask(session: Any, previous: Any) -> None:
        if session.is_active:
            seen.append(session.scalar(sa.text("SELECT 1")))

    session.rollback()
    assert seen == [1]


def test_108_after_flush_keeps_adding(world: Any) -> None:
    session = world.session()
    numbers = iter(range(1000))
    event.listen(session, "after_flush_postexec", lambda s, c: s.add(world.User(name=f"u{next(numbers)}")))
    session.add(world.User(name="first"))
    with pytest.raises(world.orm.exc.FlushError, match="Over 100 subsequent flushes"):
        session.commit()


def test_109_before_commit_raises(world: Any) -> None:
    session = world.session()
    user = world.User(name="ed")
    session.add(user)

    def fail(session: Any) -> None:
        raise ValueError("no")

    event.listen(session, "before_commit", fail)
    with pytest.raises(ValueError, match="no"):
        session.commit()
    assert session.in_transaction()
    assert world.state(user) == "pending"
    event.remove(session, "before_commit", fail)
    session.commit()
    assert world.state(user) == "persistent"


def test_110_commit_of_the_database_fails(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session = world.session()
    user = world.User(name="ed")
    session.add(user)

    def fail(connection: Any) -> None:
        raise RuntimeError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(world.engine.dialect, "do_commit", fail)
        with pytest.raises(RuntimeError, match="disk full"):
            session.commit()
    with pytest.raises(exc.InvalidRequestError, match="'prepared' state"):
        session.execute(sa.text("SELECT 1"))
    session.rollback()
    assert world.state(user) == "transient"
    assert world.rows("SELECT * FROM users") == []


def test_111_commit_inside_the_block(world: Any) -> None:
    session = world.session()
    with session.begin():
        session.add(world.User(name="ed"))
        session.commit()
        with pytest.raises(exc.InvalidRequestError, match="Can't operate on closed transaction inside context manager"):
            session.execute(sa.text("SELECT 1"))
    session.execute(sa.text("SELECT 1"))


_EVENTS = (
    "after_transaction_create",
    "before_attach",
    "after_attach",
    "transient_to_pending",
    "before_commit",
    "before_flush",
    "after_begin",
    "after_flush",
    "pending_to_persistent",
    "after_flush_postexec",
    "after_transaction_end",
    "after_commit",
    "after_rollback",
    "deleted_to_persistent",
    "after_soft_rollback",
)


def _log(session: Any, *names: str) -> list[str]:
    seen: list[str] = []
    for name in names:
        event.listen(session, name, lambda *args, name=name: seen.append(name))
    return seen


def test_123_events_of_add_and_commit(world: Any) -> None:
    session = world.session()
    seen = _log(session, *_EVENTS)
    event.listen(world.User, "before_insert", lambda *args: seen.append("before_insert"))
    event.listen(world.User, "after_insert", lambda *args: seen.append("after_insert"))
    session.add(world.User(name="ed"))
    session.commit()
    assert seen == [
        "after_transaction_create",
        "before_attach",
        "after_attach",
        "transient_to_pending",
        "before_commit",
        "before_flush",
        "after_transaction_create",
        "after_begin",
        "before_insert",
        "after_insert",
        "after_flush",
        "pending_to_persistent",
        "after_flush_postexec",
        "after_transaction_end",
        "after_commit",
        "after_transaction_end",
    ]


def test_124_events_of_a_rolled_back_delete(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    session.delete(user)
    session.flush()
    seen = _log(session, *_EVENTS)
    session.rollback()
    assert seen == ["after_rollback", "deleted_to_persistent", "after_transaction_end", "after_soft_rollback"]


def test_129_configure_affects_later_sessions(world: Any) -> None:
    maker = world.orm.sessionmaker(world.engine)
    before = maker()
    maker.configure(autoflush=False, info={"a": 1})
    assert before.autoflush
    after = maker(info={"b": 2})
    assert not after.autoflush
    assert after.info == {"a": 1, "b": 2}
    maker.configure(nonsense=True)
    with pytest.raises(TypeError, match="nonsense"):
        maker()


def test_130_class_without_bind(world: Any) -> None:
    session = world.orm.Session(binds={world.User: world.engine})
    session.add(world.User(name="ed"))
    session.flush()
    session.add(world.Post(title="t"))
    with pytest.raises(exc.UnboundExecutionError, match=r"Could not locate a bind configured on mapper .*Post"):
        session.flush()
