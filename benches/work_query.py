"""Workloads of select(), Query, streaming, batched lazy loads and statements on many rows."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from .models import RawChild, RawParent, RawUser
from .work_read import SelectIn, same_users, seed_family
from .work_write import insert_returning, orm_loaded_users, raw_loaded_users, seed_users
from .workload import Environment, Work, workload


@workload("aliased join", "row", 20_000)
class AliasedJoin:
    """Pairs of two entities, one of them aliased: select(Parent, aliased(Child)).join(…)."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_family(env, n // 5)

        def work() -> Any:
            parents: dict[int, RawParent] = {}
            children: dict[int, RawChild] = {}
            pairs = []
            for row in env.connection.execute(
                "SELECT p.id, p.name, c.id, c.parent_id, c.name, c.n FROM parents p JOIN children c "
                "ON c.parent_id = p.id ORDER BY c.id"
            ).fetchall():
                p = parents.get(row[0])
                if p is None:
                    parents[row[0]] = p = RawParent(row[0], row[1])
                c = children.get(row[2])
                if c is None:
                    children[row[2]] = c = RawChild(*row[2:])
                pairs.append((p, c))
            return pairs

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_family(env, n // 5)
        Parent = env.m.Parent
        child = env.orm.aliased(env.m.Child)
        statement = sa.select(Parent, child).join(child, child.parent_id == Parent.id).order_by(child.id)
        env.session().execute(statement.limit(1)).all()
        env.kept = session = env.session()  # type: ignore[attr-defined]
        return lambda: session.execute(statement).all()

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert len(result) == n // 5 * 5
        assert [c.n for _, c in result[:3]] == [0, 1, 2]
        assert result[0][0] is result[4][0] and result[5][0].id == 2


@workload("load_only", "row", 50_000)
class LoadOnly:
    """Two of five columns: select(User).options(load_only(User.a))."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_users(env, n)

        def work() -> Any:
            identity: dict[int, RawUser] = {}
            for id_, a in env.connection.execute("SELECT id, a FROM users").fetchall():
                identity[id_] = RawUser(id_, a)
            return list(identity.values())

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_users(env, n)
        User = env.m.User
        statement = sa.select(User).options(env.orm.load_only(User.a))
        env.session().scalars(statement.limit(1)).all()
        env.kept = session = env.session()  # type: ignore[attr-defined]
        return lambda: session.scalars(statement).all()

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert len(result) == n
        assert result[0].a is not None
        if env.contender != "raw":
            assert "b" not in result[0].__dict__


@workload("column tuples", "row", 100_000)
class ColumnTuples:
    """select(User.id, User.a, User.c): no objects. Here `raw` is SQLAlchemy Core on the same table."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        from . import models

        seed_users(env, n)
        table = models.load("sqlalchemy").User.__table__
        statement = sa.select(table.c.id, table.c.a, table.c.c)
        env.kept = connection = env.engine.connect()  # type: ignore[attr-defined]
        connection.execute(statement.limit(1)).all()
        return lambda: connection.execute(statement).all()

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_users(env, n)
        User = env.m.User
        statement = sa.select(User.id, User.a, User.c)
        env.kept = session = env.session()  # type: ignore[attr-defined]
        session.execute(statement.limit(1)).all()
        return lambda: session.execute(statement).all()

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert len(result) == n
        assert result[0].id == 1 and result[-1].id == n


@workload("yield_per", "row", 300_000)
class YieldPer:
    """Objects in pages of a thousand, none kept."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_users(env, n)

        def work() -> Any:
            cursor = env.connection.execute("SELECT id, a, b, c, d FROM users")
            count = 0
            while rows := cursor.fetchmany(1000):
                for row in rows:
                    count += RawUser(*row).id is not None
            return count

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_users(env, n)
        statement = sa.select(env.m.User).execution_options(yield_per=1000)
        env.session().scalars(statement.limit(1)).all()
        env.kept = session = env.session()  # type: ignore[attr-defined]

        def work() -> Any:
            count = 0
            for user in session.scalars(statement):
                count += user.id is not None
            return count

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert result == n
        if env.contender != "raw":
            assert len(env.kept.identity_map) <= 1000  # type: ignore[attr-defined]


@workload("on_lazy batch", "row", 20_000)
class BatchedLazyLoads:
    """Children read in a loop without an option (`on_lazy="batch"`); raw and SQLAlchemy load them by SELECT … IN."""

    raw = staticmethod(SelectIn.raw)

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_family(env, n // 5)
        Parent = env.m.Parent
        statement = sa.select(Parent)
        keywords = {}
        if env.contender == "rustalchemy":
            keywords["on_lazy"] = "batch"
        else:
            statement = statement.options(env.orm.selectinload(Parent.children))

        def read(session: Any, statement: Any) -> Any:
            parents = session.scalars(statement).all()
            for parent in parents:
                parent.children  # noqa: B018  (reading it loads it)
            return parents, session

        read(env.session(**keywords), statement.limit(2))
        session = env.session(**keywords)
        return lambda: read(session, statement)

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        SelectIn.verify(env, n, result)
        assert len(result[0]) == n // 5


@workload("selectinload, one parent", "query", 500)
class SelectInOne:
    """One object by key with its five children by selectinload(), the statement built anew each time."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_family(env, n)

        def work() -> Any:
            found = []
            for i in range(1, n + 1):
                parent = RawParent(
                    *env.connection.execute("SELECT id, name FROM parents WHERE id = ?", (i,)).fetchone()
                )
                rows = env.connection.execute(
                    "SELECT id, parent_id, name, n FROM children WHERE parent_id IN (?) ORDER BY id", (i,)
                )
                parent.children = [RawChild(*row) for row in rows.fetchall()]
                found.append(parent)
            return found

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_family(env, n)
        Parent, selectinload, select = env.m.Parent, env.orm.selectinload, sa.select

        def one(session: Any, i: int) -> Any:
            return session.scalars(select(Parent).where(Parent.id == i).options(selectinload(Parent.children))).one()

        one(env.session(), 1)
        env.kept = session = env.session()  # type: ignore[attr-defined]
        return lambda: [one(session, i) for i in range(1, n + 1)]

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert [[c.n for c in p.children] for p in result] == [list(range(5 * i, 5 * i + 5)) for i in range(n)]


@workload("query().filter()", "query", 1_000)
class QueryFilter:
    """session.query(User).filter(User.id == i).first()."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_users(env, n)

        def work() -> Any:
            sql = "SELECT id, a, b, c, d FROM users WHERE id = ? LIMIT 1"
            return [RawUser(*env.connection.execute(sql, (i,)).fetchone()) for i in range(1, n + 1)]

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_users(env, n)
        User = env.m.User
        env.session().query(User).filter(User.id == 1).first()
        env.kept = session = env.session()  # type: ignore[attr-defined]
        return lambda: [session.query(User).filter(User.id == i).first() for i in range(1, n + 1)]

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        same_users(n, result)


@workload("page and count", "page", 500)
class PageAndCount:
    """What a list in a web page takes: the number of matching rows, and ten of them in order."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_users(env, n)

        def work() -> Any:
            found = []
            for i in range(n):
                count = env.connection.execute("SELECT count(*) FROM (SELECT id FROM users WHERE id > ?)", (i,))
                (total,) = count.fetchone()
                rows = env.connection.execute(
                    "SELECT id, a, b, c, d FROM users WHERE id > ? ORDER BY id LIMIT ? OFFSET ?", (i, 10, 0)
                )
                found.append((total, [RawUser(*row) for row in rows.fetchall()]))
            return found

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_users(env, n)
        User = env.m.User

        def page(session: Any, i: int) -> Any:
            query = session.query(User).filter(User.id > i)
            return query.count(), query.order_by(User.id).limit(10).offset(0).all()

        page(env.session(), 0)
        env.kept = session = env.session()  # type: ignore[attr-defined]
        return lambda: [page(session, i) for i in range(n)]

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert [total for total, _ in result] == list(range(n, 0, -1))
        assert [user.id for user in result[0][1]] == list(range(1, 11))
        assert [user.id for user in result[-1][1]] == [n]


@workload("refresh", "object", 1_000)
class Refresh:
    """session.refresh(user) for one object after the other."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        users = raw_loaded_users(env, n)
        env.connection.execute("UPDATE users SET a = 'changed'")

        def work() -> Any:
            for user in users:
                row = env.connection.execute("SELECT a, b, c, d FROM users WHERE id = ?", (user.id,)).fetchone()
                user.a, user.b, user.c, user.d = row
            return users

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        users, session = orm_loaded_users(env, n)
        env.connection.execute("UPDATE users SET a = 'changed'")
        env.kept = session  # type: ignore[attr-defined]

        def work() -> Any:
            for user in users:
                session.refresh(user)
            return users

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert len(result) == n
        assert {user.a for user in result} == {"changed"}


@workload("update by criteria", "statement", 500)
class UpdateByCriteria:
    """session.execute(update(User).where(User.id == i).values(c=…)), ten objects in the session."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        users = raw_loaded_users(env, n)

        def work() -> Any:
            for user in users:
                c = -user.id  # type: ignore[operator]
                env.connection.execute("UPDATE users SET c = ? WHERE id = ?", (c, user.id))
                user.c = c
            return users[:10]

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        users, session = orm_loaded_users(env, n)
        User, update = env.m.User, sa.update
        # others than these are no longer in the session: each statement looks at all that are
        few = users[:10]
        keys = [user.id for user in users]
        users.clear()
        env.kept = session  # type: ignore[attr-defined]

        def work() -> Any:
            for i in keys:
                session.execute(update(User).where(User.id == i).values(c=-i))
            return few

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert all(user.c == -user.id for user in result)
        assert env.connection.execute("SELECT count(*) FROM users WHERE c = -id").fetchone() == (n,)


def _rows(n: int) -> list[dict[str, Any]]:
    return [{"id": i, "a": f"a{i}", "b": "b", "c": i, "d": i / 2} for i in range(1, n + 1)]


@workload("bulk insert", "row", 50_000)
class BulkInsert:
    """session.execute(insert(User), rows)."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        rows = _rows(n)

        def work() -> None:
            env.connection.executemany("INSERT INTO users (id, a, b, c, d) VALUES (:id, :a, :b, :c, :d)", rows)
            env.connection.commit()

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        rows = _rows(n)
        User = env.m.User
        session = env.session()

        def work() -> None:
            session.execute(sa.insert(User), rows)
            session.commit()

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert env.count("users") == n


@workload("bulk insert, returning", "row", 20_000)
class BulkInsertReturning:
    """session.scalars(insert(User).returning(User), rows): objects with keys from the database."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        rows = [(f"a{i}", "b", i, i / 2) for i in range(1, n + 1)]

        def work() -> Any:
            keys = insert_returning(env, "users", ("a", "b", "c", "d"), rows)
            env.connection.commit()
            return [RawUser(key, *row) for key, row in zip(keys, rows, strict=True)]

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        rows = [{key: row[key] for key in "abcd"} for row in _rows(n)]
        User = env.m.User
        session = env.session(expire_on_commit=False)

        def work() -> Any:
            users = session.scalars(sa.insert(User).returning(User), rows).all()
            session.commit()
            return users

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert env.count("users") == n
        assert [user.id for user in result[:2]] == [1, 2] and result[-1].c == n


@workload("bulk update", "row", 20_000)
class BulkUpdate:
    """session.execute(update(User), rows): by primary key."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_users(env, n)
        rows = [{"id": i, "a": f"new{i}"} for i in range(1, n + 1)]

        def work() -> None:
            env.connection.executemany("UPDATE users SET a = :a WHERE id = :id", rows)
            env.connection.commit()

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_users(env, n)
        rows = [{"id": i, "a": f"new{i}"} for i in range(1, n + 1)]
        User = env.m.User
        session = env.session()

        def work() -> None:
            session.execute(sa.update(User), rows)
            session.commit()

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert env.connection.execute("SELECT a FROM users WHERE id = ?", (n,)).fetchone() == (f"new{n}",)


@workload("update, objects loaded", "object", 20_000)
class UpdateLoaded:
    """session.execute(update(User).where(…).values(…)) while its rows are loaded: the objects change too."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        users = raw_loaded_users(env, n)

        def work() -> Any:
            env.connection.execute("UPDATE users SET a = ? WHERE id > ?", ("new", 0))
            for user in users:
                if user.id > 0:  # type: ignore[operator]
                    user.a = "new"
            return users

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        User = env.m.User
        users, session = orm_loaded_users(env, n)

        def work() -> Any:
            session.execute(sa.update(User).where(User.id > 0).values(a="new"))
            return users

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert len(result) == n and {user.a for user in result} == {"new"}


@workload("delete, objects loaded", "object", 20_000)
class DeleteLoaded:
    """session.execute(delete(User).where(…)) while its rows are loaded: the objects leave the session."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        identity: dict[Any, RawUser] = {user.id: user for user in raw_loaded_users(env, n)}

        def work() -> Any:
            env.connection.execute("DELETE FROM users WHERE id > ?", (0,))
            for key in [key for key in identity if key > 0]:
                del identity[key]
            return identity

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        User = env.m.User
        env.kept, session = orm_loaded_users(env, n)  # type: ignore[attr-defined]

        def work() -> Any:
            session.execute(sa.delete(User).where(User.id > 0))
            return session.identity_map

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert len(result) == 0
        assert env.count("users") == 0
