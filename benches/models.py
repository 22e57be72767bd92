"""The mapped classes of the benchmarks, declared once per ORM under comparison, and their hand-written twins."""

from __future__ import annotations

import datetime
import decimal
import enum
import functools
import importlib
from types import ModuleType, SimpleNamespace
from typing import Any, Optional

import sqlalchemy as sa

ORMS = {"sqlalchemy": "sqlalchemy.orm", "rustalchemy": "rustalchemy.orm"}

SCHEMA = """
CREATE TABLE users (id INTEGER NOT NULL PRIMARY KEY, a VARCHAR, b VARCHAR, c INTEGER, d FLOAT);
CREATE TABLE parents (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR);
CREATE TABLE children (
    id INTEGER NOT NULL PRIMARY KEY, parent_id INTEGER REFERENCES parents (id), name VARCHAR, n INTEGER
);
CREATE INDEX children_parent ON children (parent_id);
CREATE TABLE nodes (id INTEGER NOT NULL PRIMARY KEY, parent_id INTEGER REFERENCES nodes (id), name VARCHAR);
CREATE INDEX nodes_parent ON nodes (parent_id);
CREATE TABLE posts (id INTEGER NOT NULL PRIMARY KEY, title VARCHAR);
CREATE TABLE tags (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR);
CREATE TABLE post_tags (
    post_id INTEGER NOT NULL REFERENCES posts (id), tag_id INTEGER NOT NULL REFERENCES tags (id),
    PRIMARY KEY (post_id, tag_id)
);
CREATE TABLE members (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR);
CREATE TABLE clubs (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR);
CREATE TABLE memberships (
    member_id INTEGER NOT NULL REFERENCES members (id), club_id INTEGER NOT NULL REFERENCES clubs (id), note VARCHAR,
    PRIMARY KEY (member_id, club_id, note)
);
CREATE TABLE orders (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR);
CREATE TABLE order_lines (
    id INTEGER NOT NULL PRIMARY KEY, parent_id INTEGER REFERENCES orders (id), name VARCHAR
);
CREATE INDEX order_lines_parent ON order_lines (parent_id);
CREATE TABLE wide (id INTEGER NOT NULL PRIMARY KEY, {});
""".format(
    ", ".join(
        f"{name}{n} {type_}"
        for name, type_ in (
            ("dt", "DATETIME"),
            ("num", "NUMERIC(10, 2)"),
            ("flag", "BOOLEAN"),
            ("kind", "VARCHAR(5)"),
            ("doc", "JSON"),
            ("txt", "VARCHAR"),
        )
        for n in range(1, 5 if name == "txt" else 4)
    )
)


class Kind(enum.Enum):
    """The enumeration stored in the wide table."""

    small = 1
    large = 2


@functools.cache
def load(name: str) -> SimpleNamespace:
    """The mapped classes, declared with the ORM called `name` (a key of ORMS)."""
    orm: Any = importlib.import_module(ORMS[name])
    return _declare(orm)


def _declare(orm: ModuleType | Any) -> SimpleNamespace:
    class Base(orm.DeclarativeBase):  # type: ignore[misc, name-defined]
        type_annotation_map = {}

    class User(Base):
        __tablename__ = "users"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        a = orm.mapped_column(sa.String)
        b = orm.mapped_column(sa.String)
        c = orm.mapped_column(sa.Integer)
        d = orm.mapped_column(sa.Float)

    class Parent(Base):
        __tablename__ = "parents"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        name = orm.mapped_column(sa.String)
        children = orm.relationship("Child", back_populates="parent", order_by="Child.id")

    class Child(Base):
        __tablename__ = "children"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        parent_id = orm.mapped_column(sa.ForeignKey("parents.id"))
        name = orm.mapped_column(sa.String)
        n = orm.mapped_column(sa.Integer)
        parent = orm.relationship("Parent", back_populates="children")

    class Node(Base):
        __tablename__ = "nodes"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        parent_id = orm.mapped_column(sa.ForeignKey("nodes.id"))
        name = orm.mapped_column(sa.String)
        children = orm.relationship("Node", back_populates="parent")
        parent = orm.relationship("Node", back_populates="children", remote_side=[id])

    post_tags = sa.Table(
        "post_tags",
        Base.metadata,
        sa.Column("post_id", sa.ForeignKey("posts.id"), primary_key=True),
        sa.Column("tag_id", sa.ForeignKey("tags.id"), primary_key=True),
    )

    class Post(Base):
        __tablename__ = "posts"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        title = orm.mapped_column(sa.String)
        tags = orm.relationship("Tag", secondary=post_tags, back_populates="posts")

    class Tag(Base):
        __tablename__ = "tags"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        name = orm.mapped_column(sa.String)
        posts = orm.relationship("Post", secondary=post_tags, back_populates="tags")

    class Member(Base):
        __tablename__ = "members"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        name = orm.mapped_column(sa.String)
        memberships = orm.relationship("Membership", back_populates="member")

    class Club(Base):
        __tablename__ = "clubs"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        name = orm.mapped_column(sa.String)
        memberships = orm.relationship("Membership", back_populates="club")

    class Membership(Base):
        __tablename__ = "memberships"
        member_id = orm.mapped_column(sa.ForeignKey("members.id"), primary_key=True)
        club_id = orm.mapped_column(sa.ForeignKey("clubs.id"), primary_key=True)
        note = orm.mapped_column(sa.String, primary_key=True)
        member = orm.relationship("Member", back_populates="memberships")
        club = orm.relationship("Club", back_populates="memberships")

    class Order(Base):
        __tablename__ = "orders"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        name = orm.mapped_column(sa.String)
        children = orm.relationship("Line", back_populates="order", cascade="all, delete-orphan")

    class Line(Base):
        __tablename__ = "order_lines"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        parent_id = orm.mapped_column(sa.ForeignKey("orders.id"))
        name = orm.mapped_column(sa.String)
        order = orm.relationship("Order", back_populates="children")

    wide: dict[str, Any] = {
        "__tablename__": "wide",
        "id": orm.mapped_column(sa.Integer, primary_key=True),
    }
    for name, type_ in (
        ("dt", sa.DateTime()),
        ("num", sa.Numeric(10, 2)),
        ("flag", sa.Boolean()),
        ("kind", sa.Enum(Kind)),
        ("doc", sa.JSON()),
        ("txt", sa.String()),
    ):
        for n in range(1, 5 if name == "txt" else 4):
            wide[f"{name}{n}"] = orm.mapped_column(type_)
    wide["__module__"] = __name__
    Wide = type("Wide", (Base,), wide)
    orm.configure_mappers()
    classes = (User, Parent, Child, Node, Post, Tag, Member, Club, Membership, Order, Line, Wide)
    return SimpleNamespace(orm=orm, Base=Base, **{cls.__name__: cls for cls in classes})


class RawUser:
    """A hand-written row object of five columns."""

    __slots__ = ("a", "b", "c", "d", "dirty", "id")

    def __init__(
        self,
        id: Optional[int] = None,
        a: Optional[str] = None,
        b: Optional[str] = None,
        c: Optional[int] = None,
        d: Optional[float] = None,
    ) -> None:
        self.id = id
        self.a = a
        self.b = b
        self.c = c
        self.d = d
        self.dirty = False


class RawParent:
    """A hand-written parent with its list of children."""

    __slots__ = ("children", "id", "name")

    def __init__(self, id: Optional[int] = None, name: Optional[str] = None) -> None:
        self.id = id
        self.name = name
        self.children: list[RawChild] = []


class RawChild:
    """A hand-written child that knows its parent."""

    __slots__ = ("id", "n", "name", "parent", "parent_id")

    def __init__(
        self,
        id: Optional[int] = None,
        parent_id: Optional[int] = None,
        name: Optional[str] = None,
        n: Optional[int] = None,
    ) -> None:
        self.id = id
        self.parent_id = parent_id
        self.name = name
        self.n = n
        self.parent: Optional[RawParent] = None


class RawNode:
    """A hand-written tree node."""

    __slots__ = ("children", "id", "name", "parent", "parent_id")

    def __init__(self, name: Optional[str] = None, parent: Optional[RawNode] = None) -> None:
        self.id: Optional[int] = None
        self.parent_id: Optional[int] = None
        self.name = name
        self.parent = parent
        self.children: list[RawNode] = []
        if parent is not None:
            parent.children.append(self)


RAW_WIDE_COLUMNS = [
    f"{name}{n}" for name in ("dt", "num", "flag", "kind", "doc", "txt") for n in range(1, 5 if name == "txt" else 4)
]


class RawWide:
    """A hand-written row object of twenty columns."""

    __slots__ = ("id", *RAW_WIDE_COLUMNS)


def wide_row(i: int) -> dict[str, Any]:
    """Python values of the i-th wide row."""
    row: dict[str, Any] = {"id": i}
    for n in (1, 2, 3):
        row[f"dt{n}"] = datetime.datetime(2013, 1 + i % 12, 1 + i % 28, i % 24, n, 7, 1000 * n)
        row[f"num{n}"] = decimal.Decimal(i % 1000 + n).scaleb(-2).quantize(decimal.Decimal("0.01"))
        row[f"flag{n}"] = (i + n) % 2 == 0
        row[f"kind{n}"] = Kind.small if (i + n) % 3 else Kind.large
        row[f"doc{n}"] = {"i": i, "tags": ["a", "b"], "n": n}
    for n in (1, 2, 3, 4):
        row[f"txt{n}"] = f"text {i} {n}"
    return row
