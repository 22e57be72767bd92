"""Classes, engines and objects go when nothing refers to them any more."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa


def _declarative(orm: Any) -> tuple[Any, Any, Any]:
    class Base(orm.DeclarativeBase):
        pass

    class Parent(Base):
        __tablename__ = "parents"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        name = orm.mapped_column(sa.String)
        children = orm.relationship("Child", back_populates="parent")

    class Child(Base):
        __tablename__ = "children"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        parent_id = orm.mapped_column(sa.ForeignKey("parents.id"))
        parent = orm.relationship("Parent", back_populates="children")

    return Base.registry, Parent, Child


def _imperative(orm: Any) -> tuple[Any, Any, Any]:
    registry = orm.registry()

    class Parent:
        pass

    class Child:
        pass

    parents = sa.Table(
        "parents", registry.metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String)
    )
    children = sa.Table(
        "children",
        registry.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("parent_id", sa.ForeignKey("parents.id")),
    )
    registry.map_imperatively(
        Parent, parents, properties={"children": orm.relationship(Child, back_populates="parent")}
    )
    registry.map_imperatively(
        Child, children, properties={"parent": orm.relationship(Parent, back_populates="children")}
    )
    return registry, Parent, Child


def _use(orm: Any, engine: Any, parent_class: Any, child_class: Any) -> None:
    """Every kind of statement that leaves something prepared behind."""
    for _ in range(2):
        with orm.Session(engine) as session:
            parent = parent_class()
            parent.name = "new"
            parent.children.append(child_class())
            session.add(parent)
            session.add_all([parent_class(), parent_class()])
            session.commit()
            child = session.get(child_class, parent.children[0].id)
            session.commit()
            assert child.parent is parent
            session.expire_all()
            for option in (orm.joinedload, orm.selectinload, orm.lazyload):
                statement = sa.select(parent_class).options(option(parent_class.children))
                assert session.scalars(statement.where(parent_class.id == parent.id)).unique().one().children == [child]
            assert session.query(parent_class).filter_by(id=parent.id).one() is parent
            session.execute(sa.update(parent_class).values(name="x").where(parent_class.id > 0))
            parent.name = "changed"
            session.delete(child)
            session.commit()


@pytest.mark.parametrize("is_disposed", [True, False], ids=["disposed", "dropped"])
@pytest.mark.parametrize("make", [_declarative, _imperative])
def test_classes_are_collected(orm: Any, make: Callable[[Any], Any], is_disposed: bool) -> None:
    def work() -> list[weakref.ref[Any]]:
        registry, parent_class, child_class = make(orm)
        engine = sa.create_engine("sqlite://")
        registry.metadata.create_all(engine)
        _use(orm, engine, parent_class, child_class)
        engine.dispose()
        left = [parent_class, child_class, sa.inspect(parent_class), engine.dialect, registry]
        if is_disposed:
            registry.dispose()
        return [weakref.ref(thing) for thing in left]

    references = work()
    for _ in range(3):
        gc.collect()
    assert [reference() for reference in references] == [None] * 5


def test_disposed_classes_go_while_the_engine_stays() -> None:
    import rustalchemy.orm as orm

    engine = sa.create_engine("sqlite://")

    def work() -> list[weakref.ref[Any]]:
        registry, parent_class, child_class = _declarative(orm)
        registry.metadata.create_all(engine)
        _use(orm, engine, parent_class, child_class)
        registry.dispose()
        # Core's own cache of compiled statements
        engine.clear_compiled_cache()
        return [weakref.ref(parent_class), weakref.ref(child_class)]

    references = work()
    for _ in range(3):
        gc.collect()
    assert [reference() for reference in references] == [None, None]
    engine.dispose()


def test_a_write_only_collection_lets_go_of_what_it_gives_up(orm: Any) -> None:
    class Base(orm.DeclarativeBase):
        pass

    class Post(Base):
        __tablename__ = "posts"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        notes = orm.relationship("Note", lazy="write_only")

    class Note(Base):
        __tablename__ = "notes"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        post_id = orm.mapped_column(sa.ForeignKey("posts.id"))

    post, note = Post(), Note()
    gone = weakref.ref(note)
    for _ in range(2):
        post.notes.add(note)
        post.notes.remove(note)
    del note, post
    gc.collect()
    assert gone() is None
    Base.registry.dispose()
