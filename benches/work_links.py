"""Workloads of links between objects: association tables, cascades, orphans, collections, deep and wide trees."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from .models import RawChild, RawNode, RawParent
from .workload import Environment, Rows, Target, Work, committing, sending, workload

PARENTS = ("Parent", "parents", "children")
ORDERS = ("Order", "orders", "order_lines")  # the same, with delete and delete-orphan cascades
MOVE = "UPDATE children SET parent_id = ? WHERE id = ?"


def seed_families(env: Environment, parents: int, children: int, names: tuple[str, str, str] = PARENTS) -> None:
    """Parents with so many children each; the keys of one parent's children are consecutive."""
    _, first, second = names
    rows = ((i + 1, f"p{i}") for i in range(parents))
    env.connection.executemany(f"INSERT INTO {first} (id, name) VALUES (?, ?)", rows)
    members = ((i + 1, i // children + 1, f"c{i}") for i in range(parents * children))
    env.connection.executemany(f"INSERT INTO {second} (id, parent_id, name) VALUES (?, ?, ?)", members)
    env.connection.commit()


def raw_families(parents: int, children: int) -> list[RawParent]:
    """The same as hand-written objects."""
    made = []
    for i in range(parents):
        parent = RawParent(i + 1, f"p{i}")
        for j in range(children):
            child = RawChild(i * children + j + 1, i + 1, f"c{i * children + j}")
            child.parent = parent
            parent.children.append(child)
        made.append(parent)
    return made


def orm_families(env: Environment, parents: int, children: int, names: tuple[str, str, str] = PARENTS) -> Any:
    """The same as mapped objects, collections loaded; also the session that has them."""
    session, Parent = env.session(), getattr(env.m, names[0])
    seed_families(env, parents, children, names)
    found = session.query(Parent).options(env.orm.selectinload(Parent.children)).order_by(Parent.id).all()
    return found, session


def sizes(env: Environment, table: str = "children") -> dict[int, int]:
    """How many children each parent has in the database."""
    return dict(env.connection.execute(f"SELECT parent_id, count(*) FROM {table} GROUP BY parent_id").fetchall())


def pairs(n: int) -> Iterable[tuple[int, int]]:
    """Which post (of ten links) gets which tag (of a hundred), by position."""
    return ((i // 10, (i * 7 + i // 10) % 100) for i in range(n))


class RawPost:
    """A hand-written post or tag, with the objects on the other side."""

    __slots__ = ("id", "others")

    def __init__(self, id: int) -> None:
        self.id = id
        self.others: list[RawPost] = []


def seed_posts(env: Environment, n: int) -> None:
    """Posts and tags without links."""
    env.connection.executemany("INSERT INTO posts VALUES (?, ?)", ((i + 1, f"p{i}") for i in range(-(-n // 10))))
    env.connection.executemany("INSERT INTO tags VALUES (?, ?)", ((i + 1, f"t{i}") for i in range(100)))
    env.connection.commit()


def seed_links(env: Environment, n: int) -> None:
    """Posts and tags with links."""
    seed_posts(env, n)
    rows = ((post + 1, tag + 1) for post, tag in pairs(n))
    env.connection.executemany("INSERT INTO post_tags (post_id, tag_id) VALUES (?, ?)", rows)
    env.connection.commit()


def raw_posts(n: int) -> tuple[list[RawPost], list[RawPost]]:
    """Posts and tags as hand-written objects."""
    return [RawPost(i + 1) for i in range(-(-n // 10))], [RawPost(i + 1) for i in range(100)]


def orm_posts(env: Environment) -> tuple[list[Any], list[Any], Any]:
    """Loaded posts and tags, the posts' collections loaded, too."""
    session, m = env.session(), env.m
    posts = session.query(m.Post).options(env.orm.selectinload(m.Post.tags)).order_by(m.Post.id).all()
    return posts, session.query(m.Tag).order_by(m.Tag.id).all(), session


@workload("link many-to-many", "link", 20_000, Target(1.6, 27, 3.2))
class Links:
    """Link loaded posts to loaded tags, ten each, and flush."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_posts(env, n)
        posts, tags = raw_posts(n)

        def change() -> Iterator[Rows]:
            for post, tag in pairs(n):
                posts[post].others.append(tags[tag])
                tags[tag].others.append(posts[post])
            rows = [(post.id, tag.id) for post in posts for tag in post.others]
            yield "INSERT INTO post_tags (post_id, tag_id) VALUES (?, ?)", rows

        return sending(env, change)

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_posts(env, n)
        posts, tags, session = orm_posts(env)

        def change() -> None:
            for post, tag in pairs(n):
                posts[post].tags.append(tags[tag])

        return committing(session, change)

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        rows = env.connection.execute("SELECT post_id, tag_id FROM post_tags").fetchall()
        assert sorted(rows) == sorted((post + 1, tag + 1) for post, tag in pairs(n))


@workload("unlink many-to-many", "link", 20_000)
class Unlink:
    """Take half of the links of loaded posts away, and flush."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_links(env, n)
        posts, tags = raw_posts(n)
        for post, tag in pairs(n):
            posts[post].others.append(tags[tag])

        def change() -> Iterator[Rows]:
            gone = []
            for post in posts:
                for tag in post.others[:5]:
                    post.others.remove(tag)
                    gone.append((post.id, tag.id))
            yield "DELETE FROM post_tags WHERE post_id = ? AND tag_id = ?", gone

        return sending(env, change)

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_links(env, n)
        posts, _, session = orm_posts(env)

        def change() -> None:
            for post in posts:
                for tag in post.tags[:5]:
                    post.tags.remove(tag)

        return committing(session, change)

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert env.count("post_tags") == n - n // 10 * 5 - min(n % 10, 5)


@workload("association objects", "object", 10_000)
class AssociationObjects:
    """Objects whose key is made of the keys of two new parents, in one flush."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        members = [RawParent(name=f"m{i}") for i in range(-(-n // 10))]
        clubs = [RawParent(name=f"c{i}") for i in range(20)]
        joins = [(members[i // 10], clubs[i % 20], f"note {i}") for i in range(n)]

        def change() -> Iterator[Rows]:
            for table, rows in (("clubs", clubs), ("members", members)):
                for number, row in enumerate(rows, 1):
                    row.id = number
                yield f"INSERT INTO {table} (id, name) VALUES (?, ?)", [(row.id, row.name) for row in rows]
            rows_joined = [(member.id, club.id, note) for member, club, note in joins]
            yield "INSERT INTO memberships (member_id, club_id, note) VALUES (?, ?, ?)", rows_joined

        return sending(env, change)

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        m, session = env.m, env.session()
        members, clubs = [m.Member(name=f"m{i}") for i in range(-(-n // 10))], [m.Club(name=f"c{i}") for i in range(20)]
        joins = [m.Membership(member=members[i // 10], club=clubs[i % 20], note=f"note {i}") for i in range(n)]
        return committing(session, lambda: session.add_all(joins))

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert env.count("memberships") == n
        assert env.connection.execute("SELECT count(DISTINCT member_id) FROM memberships").fetchone() == (-(-n // 10),)


@workload("cascade delete", "row", 12_000, Target(0.48, 86, 2.5))
class CascadeDelete:
    """Delete loaded parents; their five children each go by cascade."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_families(env, n // 6, 5, ORDERS)
        orders = raw_families(n // 6, 5)

        def change() -> Iterator[Rows]:
            yield "DELETE FROM order_lines WHERE id = ?", [(line.id,) for order in orders for line in order.children]
            yield "DELETE FROM orders WHERE id = ?", [(order.id,) for order in orders]

        return sending(env, change)

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        orders, session = orm_families(env, n // 6, 5, ORDERS)

        def change() -> None:
            for order in orders:
                session.delete(order)

        return committing(session, change)

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert env.count("orders") == env.count("order_lines") == 0


@workload("delete-orphan", "row", 10_000)
class DeleteOrphan:
    """Take children out of their parents' collections; they are deleted as orphans."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_families(env, n // 5, 10, ORDERS)
        orders = raw_families(n // 5, 10)

        def change() -> Iterator[Rows]:
            orphans = []
            for order in orders:
                for line in order.children[:5]:
                    order.children.remove(line)
                    orphans.append((line.id,))
            yield "DELETE FROM order_lines WHERE id = ?", orphans

        return sending(env, change)

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        orders, session = orm_families(env, n // 5, 10, ORDERS)

        def change() -> None:
            for order in orders:
                for line in order.children[:5]:
                    order.children.remove(line)

        return committing(session, change)

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert sizes(env, "order_lines") == dict.fromkeys(range(1, n // 5 + 1), 5)


@workload("reparent", "child", 10_000)
class Reparent:
    """Move every child to the next parent by its many-to-one attribute."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_families(env, n // 10, 10)
        parents = raw_families(n // 10, 10)
        children = [child for parent in parents for child in parent.children]

        def change() -> Iterator[Rows]:
            for child in children:
                assert child.parent is not None
                target = parents[child.parent.id % len(parents)]  # type: ignore[operator]
                child.parent.children.remove(child)
                child.parent, child.parent_id = target, target.id
                target.children.append(child)
            yield MOVE, [(child.parent_id, child.id) for child in children]

        return sending(env, change)

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        parents, session = orm_families(env, n // 10, 10)
        children = [child for parent in parents for child in parent.children]

        def change() -> None:
            for child in children:
                child.parent = parents[child.parent.id % len(parents)]

        return committing(session, change)

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        moved = env.connection.execute("SELECT id, parent_id FROM children").fetchall()
        assert all(parent == ((key - 1) // 10 + 1) % (n // 10) + 1 for key, parent in moved)


@workload("collection append", "object", 10_000)
class CollectionAppend:
    """New children appended to loaded collections, flushed."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_families(env, n // 10, 2)
        parents = raw_families(n // 10, 2)

        def change() -> Iterator[Rows]:
            new = []
            for parent in parents:
                for j in range(10):
                    child = RawChild(parent_id=parent.id, name=f"n{j}")
                    child.parent = parent
                    parent.children.append(child)
                    new.append((child.parent_id, child.name))
            yield "INSERT INTO children (parent_id, name) VALUES (?, ?)", new

        return sending(env, change)

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        parents, session = orm_families(env, n // 10, 2)
        Child = env.m.Child

        def change() -> None:
            for parent in parents:
                for j in range(10):
                    parent.children.append(Child(name=f"n{j}"))

        return committing(session, change)

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert sizes(env) == dict.fromkeys(range(1, n // 10 + 1), 12)


@workload("collection remove", "object", 10_000)
class CollectionRemove:
    """Take children out of one wide collection, from its end: each search ends at once, or is as long as the list."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_families(env, 1, n)
        (parent,) = raw_families(1, n)

        def change() -> Iterator[Rows]:
            loose = []
            while parent.children:
                child = parent.children.pop()
                child.parent = child.parent_id = None
                loose.append((child.parent_id, child.id))
            yield MOVE, loose

        return sending(env, change)

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        (parent,), session = orm_families(env, 1, n)

        def change() -> None:
            while parent.children:
                parent.children.pop()

        return committing(session, change)

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        assert sizes(env) == {None: n}


@workload("collection replace", "object", 10_000)
class CollectionReplace:
    """Every parent's collection replaced by the next parent's old one."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_families(env, n // 10, 10)
        parents = raw_families(n // 10, 10)
        lists = [list(parent.children) for parent in parents]

        def change() -> Iterator[Rows]:
            moved = []
            for number, parent in enumerate(parents):
                new = lists[(number + 1) % len(lists)]
                for child in new:
                    child.parent, child.parent_id = parent, parent.id
                    moved.append((child.parent_id, child.id))
                parent.children = new
            yield MOVE, moved

        return sending(env, change)

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        parents, session = orm_families(env, n // 10, 10)
        lists = [list(parent.children) for parent in parents]

        def change() -> None:
            for number, parent in enumerate(parents):
                parent.children = lists[(number + 1) % len(lists)]

        return committing(session, change)

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        moved = env.connection.execute("SELECT id, parent_id FROM children").fetchall()
        assert all(parent == ((key - 1) // 10 - 1) % (n // 10) + 1 for key, parent in moved)


class NewNodes:
    """New nodes inserted in one flush; the tree's form says which node stands above the i-th one."""

    @staticmethod
    def above(i: int) -> int:
        """Number of the parent."""
        raise NotImplementedError

    @classmethod
    def raw(cls, env: Environment, n: int) -> Work:
        nodes = [RawNode("n0")]
        for i in range(1, n):
            nodes.append(RawNode(f"n{i}", nodes[cls.above(i)]))

        def change() -> Iterator[Rows]:
            # Parents come before their children: keys can be given out in order.
            for number, node in enumerate(nodes, 1):
                node.id = number
                node.parent_id = None if node.parent is None else node.parent.id
            rows = [(node.id, node.parent_id, node.name) for node in nodes]
            yield "INSERT INTO nodes (id, parent_id, name) VALUES (?, ?, ?)", rows

        return sending(env, change)

    @classmethod
    def orm(cls, env: Environment, n: int) -> Work:
        Node, session = env.m.Node, env.session()
        nodes = [Node(name="n0")]
        for i in range(1, n):
            nodes.append(Node(name=f"n{i}", parent=nodes[cls.above(i)]))
        return committing(session, lambda: session.add_all(nodes))

    @classmethod
    def verify(cls, env: Environment, n: int, result: Any) -> None:
        stored = env.connection.execute("SELECT name, (SELECT name FROM nodes p WHERE p.id = c.parent_id) FROM nodes c")
        assert dict(stored.fetchall()) == {"n0": None} | {f"n{i}": f"n{cls.above(i)}" for i in range(1, n)}


@workload("chain", "row", 10_000)
class Chain(NewNodes):
    """A list of nodes, each the child of the one before: as many levels as rows."""

    @staticmethod
    def above(i: int) -> int:
        return i - 1


@workload("wide tree", "row", 100_000)
class WideTree(NewNodes):
    """One root with all other nodes as its children."""

    @staticmethod
    def above(i: int) -> int:
        return 0


FLUSHES = 100  # in a round: the first ones find the processor's caches full of what was collected before the timing


def ten_of(turn: int, n: int) -> list[int]:
    """The keys of the objects one flush is about: others in every turn, far from each other."""
    return [(turn + i * (n // 10)) % n + 1 for i in range(10)]


@workload("flush of ten in many", "object", 200_000, prepared_once=True)
class FlushOfTen:
    """Ten objects changed and flushed, a hundred times, in a session that holds all; time is per object held."""

    @staticmethod
    def raw(env: Environment, n: int) -> Work:
        seed_families(env, n, 0)
        parents = {i: RawParent(i, f"p{i - 1}") for i in range(1, n + 1)}
        turns, values = [ten_of(turn, n) for turn in range(FLUSHES)], itertools.count()

        def work() -> Any:
            for keys in turns:
                value = f"changed {next(values)}"
                changed = [parents[key] for key in keys]
                for parent in changed:
                    parent.name = value
                env.connection.executemany(
                    "UPDATE parents SET name = ? WHERE id = ?", [(parent.name, parent.id) for parent in changed]
                )

        return work

    @staticmethod
    def orm(env: Environment, n: int) -> Work:
        seed_families(env, n, 0)
        session = env.session()
        parents = {parent.id: parent for parent in session.query(env.m.Parent).all()}
        turns, values = [ten_of(turn, n) for turn in range(FLUSHES)], itertools.count()

        def work() -> Any:
            for keys in turns:
                value = f"changed {next(values)}"
                for key in keys:
                    parents[key].name = value
                session.flush()
            return session

        return work

    @staticmethod
    def verify(env: Environment, n: int, result: Any) -> None:
        changed = {key for turn in range(FLUSHES) for key in ten_of(turn, n)}
        found = env.connection.execute("SELECT count(*) FROM parents WHERE name LIKE 'changed %'").fetchone()
        assert found == (len(changed),)
