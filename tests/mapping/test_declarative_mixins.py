"""Mixins, abstract bases and `declared_attr`."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Optional

import pytest
from sqlalchemy import Column, ForeignKey, Integer, String, exc, inspect

Mapped: Any = None
mapped_column: Any = None
relationship: Any = None
declared_attr: Any = None
column_property: Any = None
First: Any = None


@pytest.fixture(autouse=True)
def _annotation_names(orm: ModuleType) -> None:
    """Make the ORM's names those of the module, where annotations look them up."""
    for name in ("Mapped", "mapped_column", "relationship", "declared_attr", "column_property"):
        globals()[name] = getattr(orm, name)


def test_columns_of_mixins_are_copied(base: Any) -> None:
    class Mixin:
        id: Mapped[int] = mapped_column(primary_key=True)
        note: Mapped[Optional[str]]
        plain = Column("plain_name", Integer)

    class First(Mixin, base):
        __tablename__ = "first"

    class Second(Mixin, base):
        __tablename__ = "second"
        note: Mapped[str] = mapped_column(String(5))

    assert First.__table__.c.keys() == ["id", "note", "plain_name"]
    assert First.__table__.c.id is not Second.__table__.c.id
    assert First.__table__.c.note.nullable and not Second.__table__.c.note.nullable
    assert First.plain.property.columns[0] is First.__table__.c.plain_name


def test_abstract_base(base: Any) -> None:
    class Identified(base):
        __abstract__ = True
        id: Mapped[int] = mapped_column(primary_key=True)

    class Named(Identified):
        __abstract__ = True
        name: Mapped[str]

    class Thing(Named):
        __tablename__ = "thing"

    assert set(Thing.__table__.c.keys()) == {"id", "name"}
    assert "__table__" not in Identified.__dict__
    with pytest.raises(exc.NoInspectionAvailable):
        inspect(Named)


def test_declared_attr_runs_for_each_class(base: Any) -> None:
    class Mixin:
        @declared_attr.directive
        def __tablename__(cls) -> str:
            return cls.__name__.lower()

        @declared_attr.directive
        def __table_args__(cls) -> Any:
            return {"comment": f"for {cls.__name__}"}

        @declared_attr.directive
        def __mapper_args__(cls) -> Any:
            return {"eager_defaults": cls.__name__ == "First"}

        id: Mapped[int] = mapped_column(primary_key=True)

    class RefersToFirst:
        @declared_attr
        def first_id(cls) -> Mapped[int]:
            return mapped_column(ForeignKey("first.id"))

        @declared_attr
        def first(cls) -> Mapped[First]:
            return relationship("First")

    class First(Mixin, base):
        pass

    globals()["First"] = First

    class Second(RefersToFirst, Mixin, base):
        pass

    class Third(RefersToFirst, Mixin, base):
        pass

    assert (First.__tablename__, Second.__table__.name, Third.__table__.name) == ("first", "second", "third")
    assert Second.__table__.comment == "for Second"
    assert inspect(First).eager_defaults is True and inspect(Second).eager_defaults is False
    assert Second.__table__.c.first_id is not Third.__table__.c.first_id
    assert inspect(Third).relationships["first"].mapper is inspect(First)


def test_declared_attr_sees_the_same_column(base: Any) -> None:
    calls = []

    class Mixin:
        @declared_attr
        def n(cls) -> Mapped[int]:
            calls.append(cls.__name__)
            return mapped_column(Integer)

        @declared_attr
        def twice(cls) -> Mapped[int]:
            return column_property(cls.n + cls.n)

    class Thing(Mixin, base):
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(primary_key=True)

    assert calls == ["Thing"]
    assert str(Thing.twice.property.columns[0]) == "thing.n + thing.n"


def test_cascading_declared_attr(base: Any) -> None:
    class HasId:
        @declared_attr.cascading
        def id(cls) -> Mapped[int]:
            if cls.__name__ == "Manager":
                return mapped_column(ForeignKey("person.id"), primary_key=True)
            return mapped_column(primary_key=True)

    class Person(HasId, base):
        __tablename__ = "person"
        kind: Mapped[str]
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}

    class Manager(Person):
        __tablename__ = "manager"
        __mapper_args__ = {"polymorphic_identity": "manager"}

    assert next(iter(Manager.__table__.c.id.foreign_keys)).column is Person.__table__.c.id
    assert inspect(Manager).inherits is inspect(Person)


def test_relationship_on_mixin_is_refused(base: Any) -> None:
    class Mixin:
        others = relationship("Other")

    with pytest.raises(exc.InvalidRequestError, match="must be declared as @declared_attr callables"):

        class Thing(Mixin, base):
            __tablename__ = "thing"
            id: Mapped[int] = mapped_column(primary_key=True)


def test_unmanaged_access_warns(orm: ModuleType) -> None:
    class Mixin:
        @declared_attr
        def n(cls) -> Mapped[int]:
            return mapped_column()

    with pytest.warns(exc.SAWarning, match="Unmanaged access of declarative attribute n from non-mapped class Mixin"):
        assert Mixin.n is not None


def test_has_inherited_table(orm: ModuleType, base: Any) -> None:
    class Named:
        @declared_attr.directive
        def __tablename__(cls) -> Optional[str]:
            return None if orm.has_inherited_table(cls) else cls.__name__.lower()

    class Person(Named, base):
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str]
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "p"}

    class Engineer(Person):
        skill: Mapped[Optional[str]]
        __mapper_args__ = {"polymorphic_identity": "e"}

    assert Engineer.__table__ is Person.__table__
    assert Person.__table__.c.keys() == ["id", "kind", "skill"]
    assert "skill" not in inspect(Person).attrs and "skill" in inspect(Engineer).attrs


def test_use_existing_column(base: Any) -> None:
    class Person(base):
        __tablename__ = "person"
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str]
        __mapper_args__ = {"polymorphic_on": "kind"}

    class Engineer(Person):
        start: Mapped[Optional[int]] = mapped_column(use_existing_column=True)
        __mapper_args__ = {"polymorphic_identity": "e"}

    class Manager(Person):
        start: Mapped[Optional[int]] = mapped_column(use_existing_column=True)
        __mapper_args__ = {"polymorphic_identity": "m"}

    assert Person.__table__.c.keys() == ["id", "kind", "start"]
    with pytest.raises(exc.ArgumentError, match=r"conflicts with existing column 'person\.start'"):

        class Boss(Person):
            start: Mapped[Optional[int]]
            __mapper_args__ = {"polymorphic_identity": "b"}


def test_mapper_args_name_a_mixin_column(base: Any) -> None:
    class Old:
        version = mapped_column(Integer, nullable=False)
        __mapper_args__ = {"version_id_col": version}

    class Second(Old, base):
        __tablename__ = "second"
        id: Mapped[int] = mapped_column(primary_key=True)

    assert inspect(Second).version_id_col is Second.__table__.c.version
