"""The mapped classes of the query and loading tests, made on the ORM that is passed in."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

from sqlalchemy import Column, ForeignKey, Integer, String, Table, create_engine, event


def make_models(orm: ModuleType) -> SimpleNamespace:
    """Users with addresses with dings; items with tags (many-to-many); a tree of nodes."""
    base: Any = orm.declarative_base()

    class User(base):
        __tablename__ = "users"
        id = Column(Integer, primary_key=True)
        name = Column(String(30))
        addresses = orm.relationship("Address", back_populates="user", order_by="Address.id")

    class Address(base):
        __tablename__ = "addresses"
        id = Column(Integer, primary_key=True)
        user_id = Column(ForeignKey("users.id"))
        email = Column(String(30))
        user = orm.relationship("User", back_populates="addresses")
        dings = orm.relationship("Ding", order_by="Ding.id")

    class Ding(base):
        __tablename__ = "dings"
        id = Column(Integer, primary_key=True)
        address_id = Column(ForeignKey("addresses.id"))
        data = Column(String(30))

    class Node(base):
        __tablename__ = "nodes"
        id = Column(Integer, primary_key=True)
        parent_id = Column(ForeignKey("nodes.id"))
        name = Column(String(30))
        children = orm.relationship("Node", back_populates="parent", order_by="Node.id")
        parent = orm.relationship("Node", back_populates="children", remote_side=[id])

    links = Table(
        "links",
        base.metadata,
        Column("user_id", ForeignKey("users.id"), primary_key=True),
        Column("tag_id", ForeignKey("tags.id"), primary_key=True),
    )

    class Tag(base):
        __tablename__ = "tags"
        id = Column(Integer, primary_key=True)
        label = Column(String(30))
        users = orm.relationship("User", secondary=links, viewonly=True, order_by="User.id")

    orm.configure_mappers()
    return SimpleNamespace(orm=orm, Base=base, User=User, Address=Address, Ding=Ding, Node=Node, Tag=Tag, links=links)


def make_database(models: SimpleNamespace) -> Any:
    """An engine on a filled SQLite database in memory."""
    engine = create_engine("sqlite://")
    models.Base.metadata.create_all(engine)
    tables = models.Base.metadata.tables
    rows = {
        "users": [{"id": i, "name": name} for i, name in enumerate(["jack", "ed", "fred", "chuck"], 7)],
        "addresses": [
            {"id": 1, "user_id": 7, "email": "jack@bean.com"},
            {"id": 2, "user_id": 8, "email": "ed@wood.com"},
            {"id": 3, "user_id": 8, "email": "ed@bettyboop.com"},
            {"id": 4, "user_id": 8, "email": "ed@lala.com"},
            {"id": 5, "user_id": 9, "email": "fred@fred.com"},
            {"id": 6, "user_id": None, "email": "nobody"},
        ],
        "dings": [
            {"id": 1, "address_id": 2, "data": "one"},
            {"id": 2, "address_id": 5, "data": "two"},
            {"id": 3, "address_id": 5, "data": "three"},
        ],
        "nodes": [
            {"id": 1, "parent_id": None, "name": "root"},
            {"id": 2, "parent_id": 1, "name": "left"},
            {"id": 3, "parent_id": 1, "name": "right"},
            {"id": 4, "parent_id": 2, "name": "leaf"},
        ],
        "tags": [{"id": 1, "label": "red"}, {"id": 2, "label": "blue"}],
        "links": [{"user_id": 7, "tag_id": 1}, {"user_id": 8, "tag_id": 1}, {"user_id": 8, "tag_id": 2}],
    }
    with engine.begin() as connection:
        for name, values in rows.items():
            connection.execute(tables[name].insert(), values)
    return engine


class Statements:
    """The SQL an engine sends, in order; also forces the way through Core."""

    def __init__(self, engine: Any) -> None:
        self.sent: list[tuple[str, Any]] = []
        event.listen(engine, "before_cursor_execute", self._note)

    def _note(self, conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
        self.sent.append((" ".join(statement.split()), tuple(parameters)))

    def take(self) -> list[tuple[str, Any]]:
        sent, self.sent = self.sent, []
        return sent
