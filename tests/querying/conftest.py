"""A small database of users and addresses, the same for both ORMs, and a record of the SQL that was sent."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import ForeignKey, Integer, String, create_engine, event


def _map_classes(orm: ModuleType) -> SimpleNamespace:
    class Base(orm.DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "users"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        age = orm.mapped_column(Integer)
        addresses = orm.relationship("Address", back_populates="user", order_by="Address.id")

    class Address(Base):
        __tablename__ = "addresses"
        id = orm.mapped_column(Integer, primary_key=True)
        user_id = orm.mapped_column(ForeignKey("users.id"))
        email = orm.mapped_column(String(50))
        user = orm.relationship("User", back_populates="addresses")

    return SimpleNamespace(Base=Base, User=User, Address=Address)


USERS = [(7, "jack", 25), (8, "ed", 47), (9, "fred", 29), (10, "chuck", None)]
ADDRESSES = [
    (1, 7, "jack@bean.com"),
    (2, 8, "ed@wood.com"),
    (3, 8, "ed@bettyboop.com"),
    (4, 8, "ed@lala.com"),
    (5, 9, "fred@fred.com"),
]


class Recorder(list[tuple[str, Any]]):
    """The statements that went to the database: SQL on one line, and parameters."""

    @property
    def sql(self) -> list[str]:
        return [sql for sql, _ in self]


@pytest.fixture
def world(orm: ModuleType) -> Iterator[SimpleNamespace]:
    """``orm``, the classes, an open ``session`` and ``sent``, the SQL from here on (by the listener ``record``)."""
    names = _map_classes(orm)
    engine = create_engine("sqlite://")
    names.Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(
            names.User.__table__.insert(), [{"id": i, "name": name, "age": age} for i, name, age in USERS]
        )
        connection.execute(
            names.Address.__table__.insert(), [{"id": i, "user_id": u, "email": email} for i, u, email in ADDRESSES]
        )
    sent = Recorder()

    @event.listens_for(engine, "before_cursor_execute")
    def record(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
        sent.append((" ".join(statement.split()), parameters))

    names.orm, names.engine, names.sent, names.record = orm, engine, sent, record
    with orm.Session(engine) as session:
        names.session = session
        yield names
    engine.dispose()
