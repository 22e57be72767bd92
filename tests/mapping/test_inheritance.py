"""Joined and single inheritance, stored and loaded."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import ForeignKey, Integer, String, create_engine, event, func, select


@pytest.fixture
def animals(orm: ModuleType) -> dict[str, Any]:
    """A hierarchy: a base table, a subclass whose key has another name, one with the same name, one without table."""

    class Base(orm.DeclarativeBase):
        pass

    class Animal(Base):
        __tablename__ = "animal"
        id = orm.mapped_column(Integer, primary_key=True)
        kind = orm.mapped_column(String)
        weight = orm.mapped_column(Integer)
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "animal"}

    class Bird(Animal):
        __tablename__ = "bird"
        bird_id = orm.mapped_column(ForeignKey("animal.id"), primary_key=True)
        span = orm.mapped_column(Integer)
        __mapper_args__ = {"polymorphic_identity": "bird"}

    class Cat(Animal):
        __tablename__ = "cat"
        id = orm.mapped_column(ForeignKey("animal.id"), primary_key=True)
        lives = orm.mapped_column(Integer)
        __mapper_args__ = {"polymorphic_identity": "cat"}

    class Snail(Animal):
        shell = orm.mapped_column(Integer)
        __mapper_args__ = {"polymorphic_identity": "snail"}

    return {"Base": Base, "Animal": Animal, "Bird": Bird, "Cat": Cat, "Snail": Snail}


@pytest.fixture
def session(orm: ModuleType, animals: dict[str, Any]) -> Any:
    engine = create_engine("sqlite://")
    animals["Base"].metadata.create_all(engine)
    with orm.Session(engine) as session:
        yield session


def test_rows_come_back_as_their_classes(session: Any, animals: dict[str, Any]) -> None:
    animal, bird, cat, snail = (animals[name] for name in ("Animal", "Bird", "Cat", "Snail"))
    session.add_all([bird(weight=1, span=2), cat(weight=3, lives=9), snail(weight=5, shell=6), animal(weight=7)])
    session.commit()
    session.expunge_all()

    found = session.scalars(select(animal).order_by(animal.weight)).all()
    assert [type(one).__name__ for one in found] == ["Bird", "Cat", "Snail", "Animal"]
    assert [one.kind for one in found] == ["bird", "cat", "snail", "animal"]
    assert session.scalars(select(snail)).one().shell == 6
    assert session.scalars(select(cat)).one().lives == 9


def test_the_key_is_copied_to_the_subclass_table(session: Any, animals: dict[str, Any]) -> None:
    one = animals["Bird"](weight=1, span=2)
    session.add(one)
    session.flush()
    assert one.bird_id == one.id
    assert session.get(animals["Animal"], one.id) is one


def test_changes_go_to_the_tables_they_belong_to(session: Any, animals: dict[str, Any]) -> None:
    one = animals["Bird"](weight=1, span=2)
    session.add(one)
    session.commit()
    one.span = 9
    one.weight = 8
    session.commit()
    session.expunge_all()
    again = session.scalars(select(animals["Bird"])).one()
    assert (again.weight, again.span) == (8, 9)


def test_a_delete_removes_all_rows(session: Any, animals: dict[str, Any]) -> None:
    one = animals["Bird"](weight=1, span=2)
    session.add(one)
    session.commit()
    session.delete(one)
    session.commit()
    for name in ("Animal", "Bird"):
        assert session.scalar(select(func.count()).select_from(animals[name].__table__)) == 0


def test_the_columns_of_subclasses_are_loaded_in_the_order_of_the_rows(orm: ModuleType) -> None:
    """One further statement for each class on the way to that of the row, the class itself first."""

    class Base(orm.DeclarativeBase):
        pass

    class Animal(Base):
        __tablename__ = "animal"
        id = orm.mapped_column(Integer, primary_key=True)
        kind = orm.mapped_column(String)
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "animal"}

    classes = {"animal": Animal}
    for name, parent in {"bird": "animal", "cat": "animal", "owl": "bird"}.items():
        columns = {
            "id": orm.mapped_column(ForeignKey(f"{parent}.id"), primary_key=True),
            f"{name}_data": orm.mapped_column(Integer),
            "__tablename__": name,
            "__mapper_args__": {"polymorphic_identity": name, "polymorphic_load": "selectin"},
        }
        classes[name] = type(name.title(), (classes[parent],), columns)

    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    sent: list[str] = []

    def tables_of(names: list[str]) -> list[str]:
        with orm.Session(engine) as session:
            for number, name in enumerate(names):
                session.add(classes[name](id=number))
            session.flush()
            session.expunge_all()
            event.listen(engine, "before_cursor_execute", listener)
            found = session.scalars(select(Animal).order_by(Animal.id)).all()
            event.remove(engine, "before_cursor_execute", listener)
            assert [type(one) for one in found] == [classes[name] for name in names]
        loads = [statement.split("FROM ")[1].split("WHERE")[0].split("ORDER")[0].strip() for statement in sent]
        sent.clear()
        return loads

    def listener(connection: Any, cursor: Any, statement: str, *args: Any) -> None:
        sent.append(statement)

    to_owl = "animal JOIN bird ON animal.id = bird.id JOIN owl ON bird.id = owl.id"
    to_bird, to_cat = "animal JOIN bird ON animal.id = bird.id", "animal JOIN cat ON animal.id = cat.id"
    assert tables_of(["owl", "cat", "bird"]) == ["animal", to_owl, to_bird, to_cat]
    assert tables_of(["cat", "bird", "owl"]) == ["animal", to_cat, to_bird, to_owl]
    assert tables_of(["animal", "bird"]) == ["animal", to_bird]
