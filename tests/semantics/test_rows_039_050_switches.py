"""Rows 39–50: get() of a sibling class, row switches, objects that turn out to be gone, identities taken meanwhile."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ForeignKey, Integer, String


def animals(bench: Any) -> SimpleNamespace:
    """A hierarchy over two tables."""
    orm = bench.orm

    class Animal(bench.Base):
        __tablename__ = "animals"
        id = orm.mapped_column(Integer, primary_key=True)
        kind = orm.mapped_column(String)
        name = orm.mapped_column(String)
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}

    class Dog(Animal):
        __tablename__ = "dogs"
        id = orm.mapped_column(ForeignKey("animals.id"), primary_key=True)
        tricks = orm.mapped_column(Integer)
        __mapper_args__ = {"polymorphic_identity": "dog"}

    class Cat(Animal):
        __mapper_args__ = {"polymorphic_identity": "cat"}

    bench.create()
    return SimpleNamespace(Animal=Animal, Dog=Dog, Cat=Cat)


def documents(bench: Any, **mapper_args: Any) -> Any:
    """A class with a version."""
    orm = bench.orm

    class Document(bench.Base):
        __tablename__ = "documents"
        id = orm.mapped_column(Integer, primary_key=True)
        version = orm.mapped_column(Integer, nullable=False)
        title = orm.mapped_column(String)
        text = orm.mapped_column(String)
        __mapper_args__ = {"version_id_col": version, **mapper_args}

    bench.create()
    return Document


def test_039_get_of_a_sibling_class(bench: Any) -> None:
    a = animals(bench)
    session = bench.saved(a.Dog(id=1, name="rex", tricks=3), a.Cat(id=2, name="tom"))
    rex, tom = session.get(a.Animal, 1), session.get(a.Cat, 2)
    assert (type(rex), type(tom)) == (a.Dog, a.Cat)
    bench.told()
    assert session.get(a.Cat, 1) is None
    assert session.get(a.Dog, 2) is None
    assert session.get(a.Dog, 1) is rex
    assert session.get(a.Animal, 2) is tom
    assert bench.told() == []


def test_039_get_of_a_sibling_class_that_is_expired(bench: Any) -> None:
    a = animals(bench)
    session = bench.saved(a.Dog(id=1, name="rex", tricks=3))
    session.get(a.Animal, 1)
    session.expire_all()
    bench.told()
    assert session.get(a.Cat, 1) is None
    assert session.get(a.Dog, 7) is None
    assert bench.told() == ["SELECT animals", "SELECT animals"]


def test_046_row_switch_with_a_version(bench: Any) -> None:
    Document = documents(bench)
    session = bench.saved(Document(id=1, title="old", text="kept"))
    first = session.get(Document, 1)
    session.delete(first)
    second = Document(id=1, title="new")
    session.add(second)
    bench.told()
    session.flush()
    assert bench.told() == [
        "UPDATE documents SET version=2, title='new' WHERE documents.id = 1 AND documents.version = 1"
    ]
    assert (second.version, bench.states(first, second)) == (2, ["deleted", "persistent"])
    assert second.text is None
    session.commit()
    assert bench.rows("documents") == [(1, 2, "new", "kept")]
    assert second.text == "kept"
    assert (bench.states(first), sa.inspect(first).was_deleted) == (["detached"], True)


def test_046_row_switch_of_a_stale_version(bench: Any) -> None:
    Document = documents(bench)
    session = bench.saved(Document(id=1, title="old"))
    first = session.get(Document, 1)
    bench.meanwhile(session, "UPDATE documents SET version = 9")
    session.delete(first)
    second = Document(id=1, title="new")
    session.add(second)
    assert bench.outcome(session.flush) == [
        "StaleDataError: UPDATE statement on table 'documents' expected to update 1 row(s); 0 were matched."
    ]
    session.rollback()
    assert (first.version, bench.states(first, second)) == (1, ["persistent", "transient"])


def test_046_row_switch_with_a_version_of_ones_own(bench: Any) -> None:
    Document = documents(bench)
    session = bench.saved(Document(id=1, title="old"))
    first = session.get(Document, 1)
    session.delete(first)
    second = Document(id=1, title="new", version=7)
    session.add(second)
    bench.told()
    session.flush()
    assert bench.told() == [
        "UPDATE documents SET version=7, title='new' WHERE documents.id = 1 AND documents.version = 1"
    ]
    assert second.version == 7


def test_049_conflicting_object_turns_out_to_be_gone(bench: Any) -> None:
    a = animals(bench)
    session = bench.saved(a.Cat(id=2, name="tom"))
    tom = session.get(a.Cat, 2)
    session.commit()
    bench.meanwhile(session, "DELETE FROM animals")
    new = a.Cat(id=2, name="kitty")
    session.add(new)
    assert bench.outcome(session.flush) == []
    assert bench.told() == ["SELECT animals", "INSERT INTO animals (id, kind, name) VALUES (2, 'cat', 'kitty')"]
    assert bench.states(tom, new) == ["deleted", "persistent"]
    assert session.get(a.Cat, 2) is new
    session.commit()
    assert bench.rows("animals") == [(2, "cat", "kitty")]
    assert bench.states(tom, new) == ["detached", "persistent"]


def test_049_then_rolled_back(bench: Any) -> None:
    a = animals(bench)
    session = bench.saved(a.Cat(id=2, name="tom"))
    tom = session.get(a.Cat, 2)
    session.commit()
    bench.meanwhile(session, "DELETE FROM animals")
    new = a.Cat(id=2, name="kitty")
    session.add(new)
    session.flush()
    session.rollback()
    assert bench.states(tom, new) == ["persistent", "transient"]
    assert (tom.name, session.get(a.Cat, 2) is tom) == ("tom", True)


def test_050_identity_taken_during_the_flush(bench: Any) -> None:
    a = animals(bench)
    session = bench.session()
    loaded = []

    @sa.event.listens_for(a.Cat, "after_insert")
    def load(mapper: Any, connection: Any, target: Any) -> None:
        other = session.scalars(sa.select(a.Cat).where(a.Cat.name == "tom").execution_options(autoflush=False)).one()
        loaded.append(other)

    new = a.Cat(name="tom")
    session.add(new)
    assert bench.outcome(session.flush) == [
        (
            "SAWarning: Identity map already had an identity for (<class "
            "'test_rows_039_050_switches.animals.<locals>.Animal'>, (1,), None), replacing it with newly flushed "
            "object. Are there load operations occurring inside of an event handler within the flush?"
        )
    ]
    assert loaded[0] is not new
    assert (bench.states(new, loaded[0]), session.get(a.Cat, 1) is new) == (["persistent", "persistent"], True)
    session.commit()
    assert bench.rows("animals") == [(1, "cat", "tom")]
