"""Workloads of the session around a flush: savepoints, merge, listeners."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event

from .models import RawUser
from .work_write import orm_users, raw_users, seed_users
from .workload import Environment, Work, workload

COLUMNS = "id, a, b, c, d"


def raw_loaded(env: Environment) -> list[RawUser]:
    """All users, loaded by hand."""
    return [RawUser(*row) for row in env.connection.execute(f"SELECT {COLUMNS} FROM users ORDER BY id")]


def orm_loaded(env: Environment, session: Any) -> list[Any]:
    """All users, loaded into a session."""
    return list(session.query(env.m.User).order_by(env.m.User.id))


@workload("savepoint", "savepoint", 2_000)
class Savepoint:
    """A savepoint around one change each, all in one transaction."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_users(env, n)
        users = raw_loaded(env)
        execute = env.connection.execute

        def work() -> None:
            execute("BEGIN")
            for number, user in enumerate(users):
                execute(f"SAVEPOINT s{number}")
                user.a = "changed"
                execute("UPDATE users SET a = ? WHERE id = ?", (user.a, user.id))
                execute(f"RELEASE SAVEPOINT s{number}")
            env.connection.commit()

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_users(env, n)
        session = env.session()
        users = orm_loaded(env, session)

        def work() -> None:
            # pysqlite begins at the first change, which has to come before the first SAVEPOINT
            users[0].b = "first"
            session.flush()
            for user in users:
                with session.begin_nested():
                    user.a = "changed"
            session.commit()

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert env.connection.execute("SELECT count(*) FROM users WHERE a = 'changed'").fetchone() == (n,)
        assert not env.connection.in_transaction


@workload("merge", "object", 10_000)
class Merge:
    """Merge changed copies into a session that has the originals, then flush."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_users(env, n)
        loaded = {user.id: user for user in raw_loaded(env)}
        given = [RawUser(i + 1, "merged", f"b{i}", i, i * 0.5) for i in range(n)]

        def work() -> None:
            changed = []
            for copy in given:
                user = loaded[copy.id]
                if user.a != copy.a:
                    user.a = copy.a
                    changed.append((user.a, user.id))
                user.b, user.c, user.d = copy.b, copy.c, copy.d
            env.connection.executemany("UPDATE users SET a = ? WHERE id = ?", changed)
            env.connection.commit()

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_users(env, n)
        session = env.session()
        users = orm_loaded(env, session)
        User = env.m.User
        given = [User(id=i + 1, a="merged", b=f"b{i}", c=i, d=i * 0.5) for i in range(n)]

        def work() -> list[Any]:
            for copy in given:
                session.merge(copy)
            session.commit()
            return users

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert env.connection.execute("SELECT count(*) FROM users WHERE a = 'merged'").fetchone() == (n,)


@workload("insert with a listener", "row", 10_000)
class InsertWithListener:
    """add_all, flush and commit while `before_insert` is listened to."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        users = raw_users(n, key=True)

        def stamp(user: RawUser) -> None:
            user.b = "stamped"

        def work() -> None:
            for user in users:
                stamp(user)
            rows = [(u.id, u.a, u.b, u.c, u.d) for u in users]
            env.connection.executemany("INSERT INTO users VALUES (?, ?, ?, ?, ?)", rows)
            env.connection.commit()

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        users = orm_users(env, n, key=True)
        User = env.m.User

        def stamp(mapper: Any, connection: Any, user: Any) -> None:
            user.b = "stamped"

        def work() -> None:
            event.listen(User, "before_insert", stamp)
            session = env.session()
            session.add_all(users)
            session.commit()
            event.remove(User, "before_insert", stamp)

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert env.connection.execute("SELECT count(*) FROM users WHERE b = 'stamped'").fetchone() == (n,)


@workload("write with a listener", "access", 50_000)
class WriteWithListener:
    """Set a column attribute whose `set` event is listened to."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_users(env, 1)
        (user,) = raw_loaded(env)
        seen: list[Any] = []

        def work() -> list[Any]:
            note = seen.append
            for i in range(n):
                user.a = i
                note(i)
            return seen

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_users(env, 1)
        session = env.session()
        (user,) = orm_loaded(env, session)
        seen: list[Any] = []

        def note(target: Any, value: Any, old: Any, initiator: Any) -> None:
            seen.append(value)

        def work() -> list[Any]:
            event.listen(env.m.User.a, "set", note)
            for i in range(n):
                user.a = i
            event.remove(env.m.User.a, "set", note)
            session.rollback()
            return seen

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert result == list(range(n))
