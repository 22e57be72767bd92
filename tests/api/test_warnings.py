"""A warning names the line of the program that caused it, whatever of the ORM and of Core lies between."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa


@pytest.fixture
def models(orm: Any) -> SimpleNamespace:
    class Base(orm.DeclarativeBase):  # type: ignore[misc, name-defined]
        pass

    class Parent(Base):
        __tablename__ = "parents"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        children = orm.relationship("Child")

    class Child(Base):
        __tablename__ = "children"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        parent_id = orm.mapped_column(sa.ForeignKey("parents.id"))
        parent = orm.relationship("Parent", cascade="", overlaps="children")

    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    return SimpleNamespace(orm=orm, Base=Base, Parent=Parent, Child=Child, engine=engine)


def caused(cause: Callable[[], Any]) -> list[str]:
    """Messages of the warnings that a call gives; all of them name this file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cause()
    assert [warning.filename for warning in caught] == [__file__] * len(caught)
    return [str(warning.message) for warning in caught]


def test_of_a_query(models: SimpleNamespace) -> None:
    with models.orm.Session(models.engine) as session:
        (text,) = caused(lambda: session.get(models.Parent, None))
    assert text.startswith("fully NULL primary key identity cannot load any object")


def test_of_a_flush(models: SimpleNamespace) -> None:
    with models.orm.Session(models.engine) as session:
        session.add(models.Child(parent=models.Parent()))
        (text,) = caused(session.flush)
        assert text == "Object of type <Parent> not in session, add operation along 'Child.parent' won't proceed"
        session.add(models.Child(parent=models.Parent()))
        (text,) = caused(lambda: session.scalars(sa.select(models.Child)))
        assert "This warning originated from the Session 'autoflush' process" in text


def test_of_a_collection(models: SimpleNamespace) -> None:
    with models.orm.Session(models.engine) as session:
        parent = models.Parent(children=[models.Child()])
        session.add(parent)
        session.flush()
        children = parent.children
        session.expire(parent)
        assert caused(lambda: children.append(models.Child())) == ["This collection has been invalidated."]


def test_of_configuring(models: SimpleNamespace) -> None:
    class Late(models.Base):  # type: ignore[misc, name-defined]
        __tablename__ = "late"
        id = models.orm.mapped_column(sa.ForeignKey("parents.id"), primary_key=True)
        parent = models.orm.relationship("Parent")
        again = models.orm.relationship("Parent")

    (text,) = caused(Late)
    assert "relationship 'Late.again' will copy column parents.id to column late.id" in text
    assert text.endswith(
        "(This warning originated from the `configure_mappers()` process, "
        "which was invoked automatically in response to a user-initiated operation.)"
    )


def test_of_core(models: SimpleNamespace) -> None:
    """A statement that the ORM compiles, and that Core warns about."""
    other = sa.table("elsewhere", sa.column("x"))
    with models.engine.begin() as connection:
        connection.execute(sa.text("create table elsewhere (x integer)"))
    with models.orm.Session(models.engine) as session:
        (text,) = caused(lambda: session.execute(sa.select(models.Parent, other.c.x)))
    assert "cartesian product" in text
