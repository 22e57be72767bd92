"""Relationships held in sets, dictionaries and classes of one's own."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import ForeignKey, Integer, String, create_engine, select


class Shelf(list[Any]):
    """A list with a method of its own."""

    def last(self) -> Any:
        return self[-1]


@pytest.fixture(params=["set", "keyed", "shelf"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def classes(orm: ModuleType, kind: str) -> tuple[Any, Any, Any]:
    from importlib import import_module

    collections = import_module(f"{orm.__name__}.collections")
    held_in = {"set": set, "keyed": collections.attribute_keyed_dict("name"), "shelf": Shelf}[kind]

    class Base(orm.DeclarativeBase):
        pass

    class Parent(Base):
        __tablename__ = "parent"
        id = orm.mapped_column(Integer, primary_key=True)
        children = orm.relationship("Child", collection_class=held_in, back_populates="parent")

    class Child(Base):
        __tablename__ = "child"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String)
        parent_id = orm.mapped_column(ForeignKey("parent.id"))
        parent = orm.relationship(Parent, back_populates="children")

    return Base, Parent, Child


def members(collection: Any) -> list[Any]:
    return list(collection.values()) if isinstance(collection, dict) else list(collection)


def put(collection: Any, child: Any) -> None:
    if isinstance(collection, dict):
        collection[child.name] = child
    elif isinstance(collection, set):
        collection.add(child)
    else:
        collection.append(child)


def test_both_sides_stay_in_step(classes: tuple[Any, Any, Any]) -> None:
    _, parent_class, child_class = classes
    parent, child, other = parent_class(), child_class(name="a"), child_class(name="b")
    put(parent.children, child)
    assert child.parent is parent
    other.parent = parent
    assert {one.name for one in members(parent.children)} == {"a", "b"}
    child.parent = None
    assert [one.name for one in members(parent.children)] == ["b"]


def test_stored_and_loaded(orm: ModuleType, classes: tuple[Any, Any, Any], kind: str) -> None:
    base, parent_class, child_class = classes
    engine = create_engine("sqlite://")
    base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        parent = parent_class()
        for name in "abc":
            put(parent.children, child_class(name=name))
        session.add(parent)
        session.commit()
        session.expunge_all()

        parent = session.scalars(select(parent_class)).one()
        assert {one.name for one in members(parent.children)} == {"a", "b", "c"}
        if kind == "keyed":
            assert parent.children["b"].name == "b"
        if kind == "shelf":
            assert parent.children.last().name == "c"
        gone = next(one for one in members(parent.children) if one.name == "a")
        if kind == "keyed":
            del parent.children["a"]
        else:
            parent.children.remove(gone)
        session.commit()
        assert gone.parent_id is None


def test_wrong_kind_is_refused(classes: tuple[Any, Any, Any], kind: str) -> None:
    _, parent_class, _ = classes
    wrong: Any = [] if kind != "shelf" else set()
    with pytest.raises(TypeError, match="Incompatible collection type"):
        parent_class().children = wrong
