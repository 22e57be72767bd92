"""Workloads that load and read."""
# ruff: noqa: B018  (reading an attribute is the work)

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from .models import RAW_WIDE_COLUMNS, Kind, RawChild, RawParent, RawUser, RawWide, wide_row
from .work_write import seed_users
from .workload import Environment, Target, Work, workload


def seed_family(env: Environment, parents: int) -> None:
    """Parents with five children each."""
    env.connection.executemany("INSERT INTO parents VALUES (?, ?)", ((i + 1, f"p{i}") for i in range(parents)))
    env.connection.executemany(
        "INSERT INTO children VALUES (?, ?, ?, ?)",
        ((i + 1, i // 5 + 1, f"c{i}", i) for i in range(parents * 5)),
    )
    env.connection.commit()


def seed_wide(env: Environment, n: int) -> None:
    """Wide rows in SQLAlchemy's storage formats for SQLite."""

    def stored(value: Any) -> Any:
        if isinstance(value, datetime.datetime):
            return value.strftime("%Y-%m-%d %H:%M:%S.%f")
        if isinstance(value, decimal.Decimal):
            return float(value)
        if isinstance(value, bool):
            return int(value)
        if isinstance(value, Kind):
            return value.name
        if isinstance(value, dict):
            return json.dumps(value)
        return value

    columns = ["id", *RAW_WIDE_COLUMNS]
    for i in range(n):
        row = wide_row(i + 1)
        env.connection.execute(
            f"INSERT INTO wide ({', '.join(columns)}) VALUES ({', '.join('?' * 20)})",
            [stored(row[c]) for c in columns],
        )
    env.connection.commit()


def same_users(n: int, users: list[Any]) -> None:
    """All users are there, with their values."""
    assert len(users) == n
    first, last = users[0], users[-1]
    assert (first.id, first.a, first.c) == (1, "a0", 0)
    assert (last.id, last.b, last.c, last.d) == (n, f"b{n - 1}", n - 1, (n - 1) * 0.5)


@workload("load", "row", 50_000, Target(1.2, 9.9, 1.6))
class Load:
    """Select all rows as entities into an empty session."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_users(env, n)

        def work() -> Any:
            identity: dict[int, RawUser] = {}
            out = []
            for row in env.connection.execute("SELECT id, a, b, c, d FROM users").fetchall():
                u = identity.get(row[0])
                if u is None:
                    identity[row[0]] = u = RawUser(*row)
                out.append(u)
            return out, identity

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_users(env, n)
        session = env.session()
        statement = sa.select(env.m.User)
        return lambda: (session.scalars(statement).all(), session)

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        same_users(n, result[0])


@workload("reload", "row", 50_000, Target(0.93, 2.7, 1.05))
class Reload:
    """Select all rows when every object is already in the identity map."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        load = Load.raw(env, n)
        _, identity = load()

        def work() -> Any:
            out = []
            for row in env.connection.execute("SELECT id, a, b, c, d FROM users").fetchall():
                u = identity.get(row[0])
                if u is None:
                    identity[row[0]] = u = RawUser(*row)
                out.append(u)
            return out, identity

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_users(env, n)
        session = env.session()
        statement = sa.select(env.m.User)
        kept = session.scalars(statement).all()
        return lambda: (session.scalars(statement).all(), kept, session)

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        same_users(n, result[0])
        if env.contender != "raw":
            assert all(a is b for a, b in zip(result[0], result[1], strict=False))


@workload("load, 20 typed columns", "row", 3_000, Target(6.8, 10.6, 6.8))
class LoadWide:
    """Twenty columns with DateTime, Numeric, Boolean, Enum and JSON."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_wide(env, n)
        columns = ["id", *RAW_WIDE_COLUMNS]
        sql = f"SELECT {', '.join(columns)} FROM wide"
        fromiso = datetime.datetime.fromisoformat
        loads = json.loads
        Decimal = decimal.Decimal
        kinds = {kind.name: kind for kind in Kind}

        def work() -> Any:
            identity: dict[int, RawWide] = {}
            out = []
            for r in env.connection.execute(sql).fetchall():
                w = RawWide()
                w.id = r[0]  # type: ignore[attr-defined]
                w.dt1, w.dt2, w.dt3 = fromiso(r[1]), fromiso(r[2]), fromiso(r[3])  # type: ignore[attr-defined]
                w.num1, w.num2, w.num3 = Decimal(f"{r[4]:.2f}"), Decimal(f"{r[5]:.2f}"), Decimal(f"{r[6]:.2f}")  # type: ignore[attr-defined]
                w.flag1, w.flag2, w.flag3 = bool(r[7]), bool(r[8]), bool(r[9])  # type: ignore[attr-defined]
                w.kind1, w.kind2, w.kind3 = kinds[r[10]], kinds[r[11]], kinds[r[12]]  # type: ignore[attr-defined]
                w.doc1, w.doc2, w.doc3 = loads(r[13]), loads(r[14]), loads(r[15])  # type: ignore[attr-defined]
                w.txt1, w.txt2, w.txt3, w.txt4 = r[16], r[17], r[18], r[19]  # type: ignore[attr-defined]
                identity[r[0]] = w
                out.append(w)
            return out, identity

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_wide(env, n)
        session = env.session()
        statement = sa.select(env.m.Wide)
        return lambda: (session.scalars(statement).all(), session)

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert len(result[0]) == n
        for i in (0, n - 1):
            assert {c: getattr(result[0][i], c) for c in ["id", *RAW_WIDE_COLUMNS]} == wide_row(i + 1)


@workload("get, hit", "call", 50_000, Target(0.02, 2.5, 0.12))
class GetHit:
    """session.get() of an object in the identity map."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_users(env, 100)
        identity = {row[0]: RawUser(*row) for row in env.connection.execute("SELECT id, a, b, c, d FROM users")}

        def work() -> Any:
            get = identity.get
            for _ in range(n):
                u = get(50)
            return u

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_users(env, 100)
        session = env.session()
        User = env.m.User
        kept = session.query(User).all()

        def work() -> Any:
            get = session.get
            for _ in range(n):
                u = get(User, 50)
            assert kept
            return u

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert result.id == 50


@workload("get, miss", "call", 2_000, Target(8.8, 94, 13))
class GetMiss:
    """session.get() of an object that must be selected."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_users(env, n)

        def work() -> Any:
            identity: dict[int, RawUser] = {}
            cursor = env.connection.cursor
            for i in range(1, n + 1):
                c = cursor()
                c.execute("SELECT id, a, b, c, d FROM users WHERE id = ?", (i,))
                (row,) = c.fetchall()
                c.close()
                identity[i] = RawUser(*row)
            return list(identity.values())

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_users(env, n)
        session = env.session()
        User = env.m.User
        session.get(User, -1)
        return lambda: [session.get(User, i) for i in range(1, n + 1)]

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        same_users(n, result)


@workload("attribute read", "access", 400_000, Target(0.005, 0.24, 0.035))
class AttributeRead:
    """Read an attribute of a persistent object, four at a time; the loop itself is part of every contender."""

    @staticmethod
    def _loop(u: Any, n: int) -> Work:
        def work() -> Any:
            for _ in range(n // 10):
                u.a
                u.a
                u.a
                u.a
                u.a
                u.a
                u.a
                u.a
                u.a
                u.a
            return u

        return work

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        return AttributeRead._loop(RawUser(1, "a0"), n)

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_users(env, 1)
        env.kept = session = env.session()  # type: ignore[attr-defined]
        return AttributeRead._loop(session.get(env.m.User, 1), n)

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert result.a == "a0"


@workload("attribute write", "access", 400_000, Target(0.006, 0.59, 0.05))
class AttributeWrite:
    """Write an attribute of a persistent object."""

    @staticmethod
    def _loop(u: Any, n: int) -> Work:
        def work() -> Any:
            for _ in range(n // 10):
                u.a = "x"
                u.a = "y"
                u.a = "x"
                u.a = "y"
                u.a = "x"
                u.a = "y"
                u.a = "x"
                u.a = "y"
                u.a = "x"
                u.a = "y"
            return u

        return work

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        return AttributeWrite._loop(RawUser(1, "a0"), n)

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_users(env, 1)
        env.kept = session = env.session()  # type: ignore[attr-defined]
        return AttributeWrite._loop(session.get(env.m.User, 1), n)

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert result.a == "y"
        if env.contender != "raw":
            assert result in env.kept.dirty  # type: ignore[attr-defined]


@workload("lazy many-to-one", "load", 2_000, Target(4.2, 62, 8))
class LazyParent:
    """Read child.parent, each parent not yet loaded."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_family(env, n)
        children = [RawChild(*row) for row in env.connection.execute("SELECT * FROM children WHERE n % 5 = 0")]

        def work() -> Any:
            identity: dict[int, RawParent] = {}
            execute = env.connection.execute
            for c in children:
                p = identity.get(c.parent_id)  # type: ignore[arg-type]
                if p is None:
                    p = RawParent(*execute("SELECT id, name FROM parents WHERE id = ?", (c.parent_id,)).fetchone())
                    identity[c.parent_id] = p  # type: ignore[index]
                c.parent = p
            return children

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_family(env, n)
        env.kept = session = env.session()  # type: ignore[attr-defined]
        Child = env.m.Child
        children = session.scalars(sa.select(Child).where(Child.n % 5 == 0)).all()
        warm = env.session()
        assert warm.get(Child, 1).parent.id == 1

        def work() -> Any:
            for c in children:
                c.parent
            return children

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert len(result) == n
        assert all(c.parent.id == c.parent_id for c in result)


@workload("lazy one-to-many", "load", 2_000, Target(11.7, 181, 22))
class LazyChildren:
    """Read parent.children, five each."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_family(env, n)
        parents = [RawParent(*row) for row in env.connection.execute("SELECT * FROM parents")]

        def work() -> Any:
            identity: dict[int, RawChild] = {}
            execute = env.connection.execute
            for p in parents:
                for row in execute(
                    "SELECT id, parent_id, name, n FROM children WHERE parent_id = ? ORDER BY id", (p.id,)
                ).fetchall():
                    c = identity.get(row[0])
                    if c is None:
                        identity[row[0]] = c = RawChild(*row)
                    p.children.append(c)
            return parents, identity

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_family(env, n)
        env.kept = session = env.session()  # type: ignore[attr-defined]
        Parent = env.m.Parent
        parents = session.scalars(sa.select(Parent)).all()
        warm = env.session()
        assert len(warm.get(Parent, 1).children) == 5

        def work() -> Any:
            for p in parents:
                p.children
            return parents, session

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert [[c.n for c in p.children] for p in result[0][:2]] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
        assert sum(len(p.children) for p in result[0]) == n * 5


def _eager(option: str) -> Callable[[Environment, int], Work]:
    def orm(env: Environment, n: int) -> Work:
        seed_family(env, n // 5)
        Parent = env.m.Parent
        statement = sa.select(Parent).options(getattr(env.orm, option)(Parent.children))
        warm = env.session()
        warm.scalars(statement.limit(1)).unique().all()
        session = env.session()
        return lambda: (session.scalars(statement).unique().all(), session)

    return orm


def _verify_family(env: Environment, n: int, result: Any) -> None:
    parents = result[0]
    assert len(parents) == n // 5
    assert all([c.n for c in p.children] == list(range(5 * i, 5 * i + 5)) for i, p in enumerate(parents))


@workload("selectinload", "row", 20_000, Target(0.84, 11.5, 1.5))
class SelectIn:
    """Parents and their five children by a second SELECT … IN."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_family(env, n // 5)

        def work() -> Any:
            parents = {
                row[0]: RawParent(*row) for row in env.connection.execute("SELECT id, name FROM parents").fetchall()
            }
            children: dict[int, RawChild] = {}
            keys = list(parents)
            for start in range(0, len(keys), 500):
                page = keys[start : start + 500]
                sql = (
                    "SELECT id, parent_id, name, n FROM children WHERE parent_id IN "
                    f"({', '.join('?' * len(page))}) ORDER BY id"
                )
                for row in env.connection.execute(sql, page).fetchall():
                    children[row[0]] = c = RawChild(*row)
                    parents[row[1]].children.append(c)
            return list(parents.values()), children

        return work

    orm = staticmethod(_eager("selectinload"))
    verify = staticmethod(_verify_family)


@workload("joinedload", "row", 20_000, Target(1.2, 12.1, 1.9))
class Joined:
    """Parents and their five children by a LEFT OUTER JOIN."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_family(env, n // 5)

        def work() -> Any:
            parents: dict[int, RawParent] = {}
            children: dict[int, RawChild] = {}
            for row in env.connection.execute(
                "SELECT p.id, p.name, c.id, c.parent_id, c.name, c.n FROM parents p "
                "LEFT OUTER JOIN children c ON p.id = c.parent_id ORDER BY c.id"
            ).fetchall():
                p = parents.get(row[0])
                if p is None:
                    parents[row[0]] = p = RawParent(row[0], row[1])
                if row[2] is not None:
                    c = children.get(row[2])
                    if c is None:
                        children[row[2]] = c = RawChild(*row[2:])
                    p.children.append(c)
            return list(parents.values()), children

        return work

    orm = staticmethod(_eager("joinedload"))
    verify = staticmethod(_verify_family)


@workload("short select", "query", 1_000, Target(9.0, 133, 35))
class ShortSelect:
    """session.scalars(select(User).where(User.id == i)).one(), the statement built anew each time."""

    raw = staticmethod(GetMiss.raw)

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_users(env, n)
        env.kept = session = env.session()  # type: ignore[attr-defined]
        User = env.m.User
        env.session().scalars(sa.select(User).where(User.id == 1)).one()
        select = sa.select
        return lambda: [session.scalars(select(User).where(User.id == i)).one() for i in range(1, n + 1)]

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        same_users(n, result)


@workload("query API", "query", 1_000, Target(9.2, 154, 16))
class QueryApi:
    """session.query(User).filter_by(a=x).first()."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_users(env, n)
        env.connection.execute("CREATE INDEX users_a ON users (a)")

        def work() -> Any:
            identity: dict[int, RawUser] = {}
            cursor = env.connection.cursor
            for i in range(n):
                c = cursor()
                c.execute("SELECT id, a, b, c, d FROM users WHERE a = ? LIMIT ? OFFSET ?", (f"a{i}", 1, 0))
                (row,) = c.fetchall()
                c.close()
                identity[row[0]] = RawUser(*row)
            return list(identity.values())

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_users(env, n)
        env.connection.execute("CREATE INDEX users_a ON users (a)")
        env.kept = session = env.session()  # type: ignore[attr-defined]
        User = env.m.User
        env.session().query(User).filter_by(a="a1").first()
        return lambda: [session.query(User).filter_by(a=f"a{i}").first() for i in range(n)]

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        same_users(n, result)


@workload("web request", "request", 300, Target(54, 966, 115))
class WebRequest:
    """A new session, one get, twenty children, one change, one addition, commit."""

    @staticmethod
    def seed(env: Environment) -> None:
        """Ten parents with twenty children each."""
        env.connection.executemany("INSERT INTO parents VALUES (?, ?)", ((i + 1, f"p{i}") for i in range(10)))
        env.connection.executemany(
            "INSERT INTO children VALUES (?, ?, ?, ?)",
            ((i + 1, i // 20 + 1, f"c{i}", i) for i in range(200)),
        )
        env.connection.commit()

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        WebRequest.seed(env)

        def work() -> Any:
            connection = env.connection
            for i in range(n):
                parents: dict[int, RawParent] = {}
                children: dict[int, RawChild] = {}
                cursor = connection.cursor()
                key = i % 5 + 1
                cursor.execute("SELECT id, name FROM parents WHERE id = ?", (key,))
                parents[key] = p = RawParent(*cursor.fetchall()[0])
                cursor.execute("SELECT id, parent_id, name, n FROM children WHERE parent_id = ? ORDER BY id", (key,))
                for row in cursor.fetchall():
                    children[row[0]] = c = RawChild(*row)
                    p.children.append(c)
                p.name = f"renamed {i}"
                cursor.execute("UPDATE parents SET name=? WHERE parents.id = ?", (p.name, key))
                new = RawChild(None, key + 5, f"new {i}", i)
                cursor.execute(
                    "INSERT INTO children (parent_id, name, n) VALUES (?, ?, ?)", (new.parent_id, new.name, new.n)
                )
                new.id = cursor.lastrowid
                connection.commit()
                cursor.close()

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        WebRequest.seed(env)
        Session = env.orm.sessionmaker(env.engine)
        Parent, Child = env.m.Parent, env.m.Child
        with Session() as warm:
            assert len(warm.get(Parent, 1).children) == 20

        def work() -> Any:
            for i in range(n):
                key = i % 5 + 1
                with Session() as session:
                    p = session.get(Parent, key)
                    for c in p.children:
                        c.name
                    p.name = f"renamed {i}"
                    session.add(Child(parent_id=key + 5, name=f"new {i}", n=i))
                    session.commit()

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert env.count("children") == 200 + n
        name = env.connection.execute("SELECT name FROM parents WHERE id = ?", ((n - 1) % 5 + 1,)).fetchone()
        assert name == (f"renamed {n - 1}",)


@workload("session life cycle", "session", 3_000, None)
class SessionLife:
    """Open a session, run nothing, close it; raw code opens and closes a cursor."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        def work() -> Any:
            for _ in range(n):
                env.connection.cursor().close()

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        Session = env.orm.sessionmaker(env.engine)

        def work() -> Any:
            for _ in range(n):
                with Session() as session:
                    session.new

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert env.count("users") == 0
