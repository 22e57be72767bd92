"""Workloads that construct, insert, change and delete."""

from __future__ import annotations

from typing import Any

from .models import RawChild, RawNode, RawParent, RawUser
from .workload import Environment, Target, Work, workload

PAGE = 500  # rows of one multi-row INSERT


def raw_users(n: int, *, key: bool) -> list[RawUser]:
    """Users as hand-written objects."""
    return [RawUser(i + 1 if key else None, f"a{i}", f"b{i}", i, i * 0.5) for i in range(n)]


def orm_users(env: Environment, n: int, *, key: bool) -> list[Any]:
    """Users as mapped objects."""
    User = env.m.User
    if key:
        return [User(id=i + 1, a=f"a{i}", b=f"b{i}", c=i, d=i * 0.5) for i in range(n)]
    return [User(a=f"a{i}", b=f"b{i}", c=i, d=i * 0.5) for i in range(n)]


def seed_users(env: Environment, n: int) -> None:
    """Fill the users table."""
    env.connection.executemany(
        "INSERT INTO users VALUES (?, ?, ?, ?, ?)",
        ((i + 1, f"a{i}", f"b{i}", i, i * 0.5) for i in range(n)),
    )
    env.connection.commit()


def raw_loaded_users(env: Environment, n: int) -> list[RawUser]:
    """Stored users as hand-written objects."""
    seed_users(env, n)
    return [RawUser(*row) for row in env.connection.execute("SELECT id, a, b, c, d FROM users")]


def orm_loaded_users(env: Environment, n: int) -> tuple[list[Any], Any]:
    """Stored users as mapped objects, and the session that has them."""
    seed_users(env, n)
    session = env.session()
    return session.query(env.m.User).all(), session


def insert_returning(env: Environment, table: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[int]:
    """Multi-row INSERT with the generated keys, in row order."""
    keys: list[int] = []
    one = "(" + ", ".join("?" * len(columns)) + ")"
    head = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "
    for start in range(0, len(rows), PAGE):
        page = rows[start : start + PAGE]
        sql = head + ", ".join([one] * len(page)) + " RETURNING id"
        flat = [value for row in page for value in row]
        keys.extend(sorted(key for (key,) in env.connection.execute(sql, flat)))
    return keys


@workload("construct", "object", 100_000, Target(0.60, 12.4, 0.9))
class Construct:
    """Build objects from keywords and keep them."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        return lambda: [RawUser(a="a", b="b", c=i, d=0.5) for i in range(n)]

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        User = env.m.User
        return lambda: [User(a="a", b="b", c=i, d=0.5) for i in range(n)]

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert len(result) == n
        assert [(u.id, u.a, u.c, u.d) for u in result[-2:]] == [(None, "a", n - 2, 0.5), (None, "a", n - 1, 0.5)]


@workload("insert, key given", "row", 20_000, Target(1.1, 28, 2.0))
class InsertKey:
    """add_all, flush and commit of objects whose primary key is known."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        users = raw_users(n, key=True)

        def work() -> list[RawUser]:
            env.connection.executemany(
                "INSERT INTO users (id, a, b, c, d) VALUES (?, ?, ?, ?, ?)",
                [(u.id, u.a, u.b, u.c, u.d) for u in users],
            )
            env.connection.commit()
            return users

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        users = orm_users(env, n, key=True)
        session = env.session()

        def work() -> list[Any]:
            session.add_all(users)
            session.flush()
            session.commit()
            return users

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert env.count("users") == n
        last = env.connection.execute("SELECT * FROM users WHERE id = ?", (n,)).fetchone()
        assert last == (n, f"a{n - 1}", f"b{n - 1}", n - 1, (n - 1) * 0.5)


@workload("insert, key generated", "row", 20_000, Target(1.2, 33, 2.2))
class InsertGenerated:
    """add_all, flush and commit of objects whose primary key the database makes; it is read back."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        users = raw_users(n, key=False)

        def work() -> list[RawUser]:
            keys = insert_returning(env, "users", ("a", "b", "c", "d"), [(u.a, u.b, u.c, u.d) for u in users])
            for u, key in zip(users, keys, strict=False):
                u.id = key
            env.connection.commit()
            return users

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        users = orm_users(env, n, key=False)
        session = env.session(expire_on_commit=False)

        def work() -> list[Any]:
            session.add_all(users)
            session.flush()
            session.commit()
            return users

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        stored = dict(env.connection.execute("SELECT id, c FROM users").fetchall())
        assert len(stored) == n
        assert all(stored[u.id] == u.c for u in result)


@workload("graph", "row", 30_000, Target(1.4, 69, 3.0))
class Graph:
    """Parents with five children each, linked by relationship, keys generated."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        parents = []
        for i in range(n // 6):
            p = RawParent(name=f"p{i}")
            p.children.extend(RawChild(name=f"c{j}", n=j) for j in range(5))
            parents.append(p)

        def work() -> list[Any]:
            keys = insert_returning(env, "parents", ("name",), [(p.name,) for p in parents])
            children = []
            for p, key in zip(parents, keys, strict=False):
                p.id = key
                for c in p.children:
                    c.parent_id = key
                    children.append(c)
            keys = insert_returning(
                env, "children", ("parent_id", "name", "n"), [(c.parent_id, c.name, c.n) for c in children]
            )
            for c, key in zip(children, keys, strict=False):
                c.id = key
            env.connection.commit()
            return parents

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        Parent, Child = env.m.Parent, env.m.Child
        parents = [Parent(name=f"p{i}", children=[Child(name=f"c{j}", n=j) for j in range(5)]) for i in range(n // 6)]
        session = env.session(expire_on_commit=False)

        def work() -> list[Any]:
            session.add_all(parents)
            session.flush()
            session.commit()
            return parents

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert env.count("parents") == n // 6
        assert env.count("children") == n // 6 * 5
        stored = dict(env.connection.execute("SELECT id, parent_id FROM children").fetchall())
        assert all(stored[c.id] == c.parent_id == p.id for p in result for c in p.children)


@workload("tree", "row", 10_000, Target(1.5, 114, 3.5))
class Tree:
    """A self-referential tree of branching five, in one flush."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        nodes = [RawNode("n0")]
        nodes.extend(RawNode(f"n{i}", nodes[(i - 1) // 5]) for i in range(1, n))

        def work() -> list[Any]:
            level = [nodes[0]]
            while level:
                rows = []
                for node in level:
                    node.parent_id = node.parent.id if node.parent is not None else None
                    rows.append((node.parent_id, node.name))
                for node, key in zip(level, insert_returning(env, "nodes", ("parent_id", "name"), rows), strict=False):
                    node.id = key
                level = [child for node in level for child in node.children]
            env.connection.commit()
            return nodes

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        Node = env.m.Node
        nodes = [Node(name="n0")]
        for i in range(1, n):
            nodes.append(Node(name=f"n{i}", parent=nodes[(i - 1) // 5]))
        session = env.session(expire_on_commit=False)

        def work() -> list[Any]:
            session.add_all(nodes)
            session.flush()
            session.commit()
            return nodes

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        stored = dict(env.connection.execute("SELECT id, parent_id FROM nodes").fetchall())
        assert len(stored) == n
        assert all(stored[node.id] == (node.parent.id if node.parent else None) for node in result)


@workload("update", "row", 10_000, Target(1.2, 23, 2.2))
class Update:
    """Load, set one attribute on every object, flush."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        users = raw_loaded_users(env, n)

        def work() -> list[Any]:
            for u in users:
                u.a = "changed"
                u.dirty = True
            env.connection.executemany(
                "UPDATE users SET a=? WHERE users.id = ?", [(u.a, u.id) for u in users if u.dirty]
            )
            return users

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        users, session = orm_loaded_users(env, n)

        def work() -> list[Any]:
            for u in users:
                u.a = "changed"
            session.flush()
            return [users, session]

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        found = env.connection.execute("SELECT count(*) FROM users WHERE a = 'changed'").fetchone()
        assert found == (n,)


@workload("update, mixed columns", "row", 10_000, Target(1.9, 33, 3.2))
class UpdateMixed:
    """Different columns changed on different rows."""

    names = (("a",), ("b",), ("a", "b"), ("c",), ("a", "c"))

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        users = raw_loaded_users(env, n)
        shapes = UpdateMixed.names

        def work() -> list[Any]:
            groups: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
            for i, u in enumerate(users):
                names = shapes[i % 5]
                for name in names:
                    setattr(u, name, 7)
                u.dirty = True
            for i, u in enumerate(users):
                names = shapes[i % 5]
                groups.setdefault(names, []).append((*(getattr(u, name) for name in names), u.id))
            for names, rows in groups.items():
                env.connection.executemany(
                    f"UPDATE users SET {', '.join(f'{name}=?' for name in names)} WHERE users.id = ?", rows
                )
            return users

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        users, session = orm_loaded_users(env, n)
        shapes = UpdateMixed.names

        def work() -> list[Any]:
            for i, u in enumerate(users):
                for name in shapes[i % 5]:
                    setattr(u, name, 7)
            session.flush()
            return [users, session]

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        found = env.connection.execute("SELECT count(*) FROM users WHERE a = '7' OR b = '7' OR c = 7").fetchone()
        assert found[0] >= n - 1


@workload("delete", "row", 10_000, Target(0.65, 10.9, 1.3))
class Delete:
    """Delete loaded objects, flush."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        users = raw_loaded_users(env, n)

        def work() -> list[Any]:
            env.connection.executemany("DELETE FROM users WHERE users.id = ?", [(u.id,) for u in users])
            return users

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        users, session = orm_loaded_users(env, n)

        def work() -> list[Any]:
            delete = session.delete
            for u in users:
                delete(u)
            session.flush()
            return [users, session]

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert env.count("users") == 0


@workload("rollback", "object", 40_000, Target(0.48, 4.4, 1.0))
class Rollback:
    """Roll back pending and changed objects, half of each."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        users = raw_loaded_users(env, n // 2)
        old = [(u, (u.id, u.a, u.b, u.c, u.d)) for u in users]
        for u in users:
            u.a = "changed"
        pending = raw_users(n // 2, key=False)
        for p in pending:
            p.dirty = True
        new = {id(p): p for p in pending}

        def work() -> list[Any]:
            for u, row in old:
                u.id, u.a, u.b, u.c, u.d = row
                u.dirty = False
            for p in pending:
                p.id = None
                p.dirty = False
                del new[id(p)]
            env.connection.rollback()
            return [users[-1].a, len(new)]

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        users, session = orm_loaded_users(env, n // 2)
        pending = orm_users(env, n // 2, key=False)
        session.add_all(pending)
        for u in users:
            u.a = "changed"

        def work() -> list[Any]:
            session.rollback()
            return [users, session, pending]

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        if env.contender == "raw":
            assert result == [f"a{n // 2 - 1}", 0]
        else:
            users, session, pending = result
            assert users[-1].a == f"a{n // 2 - 1}"
            assert not session.new
            assert not session.dirty
            assert pending[0] not in session


@workload("commit and expire", "object", 20_000, Target(0.85, 12, 1.4))
class CommitExpire:
    """Commit with all objects persistent, then refresh a tenth by reading them."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        users = raw_loaded_users(env, n)

        def work() -> int:
            env.connection.commit()
            execute = env.connection.execute
            total = 0
            for u in users[: n // 10]:
                row = execute("SELECT id, a, b, c, d FROM users WHERE id = ?", (u.id,)).fetchone()
                u.id, u.a, u.b, u.c, u.d = row
                total += u.c or 0
            return total

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        users, session = orm_loaded_users(env, n)

        def work() -> int:
            session.commit()
            total = 0
            for u in users[: n // 10]:
                total += u.c
            return total

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert result == sum(range(n // 10))
