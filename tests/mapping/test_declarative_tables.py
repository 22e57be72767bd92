"""Declarative classes: what table and which attributes come out of a class body."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from types import ModuleType
from typing import Annotated, Any, ClassVar, Literal, Optional

import pytest
import sqlalchemy
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    Enum,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    Uuid,
    exc,
    func,
    inspect,
)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


# Evaluated in this module's namespace, as a user's annotations are.
Mapped: Any = None
mapped_column: Any = None
declared_attr: Any = None
synonym: Any = None
column_property: Any = None
pk: Any = None
stamp: Any = None
parent_id: Any = None
short_name = Annotated[str, 30]
type_map = {short_name: String(30), Optional[decimal.Decimal]: Numeric(10, 2)}


@pytest.fixture(autouse=True)
def _annotation_names(orm: ModuleType) -> None:
    """Make the ORM's names those of the module, where annotations look them up."""
    for name in ("Mapped", "mapped_column", "declared_attr", "synonym", "column_property"):
        globals()[name] = getattr(orm, name)


@pytest.fixture
def base(orm: ModuleType) -> Any:
    class Base(orm.DeclarativeBase):
        type_annotation_map = type_map

    return Base


def test_types_from_annotations(base: Any) -> None:
    class Thing(base):
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(primary_key=True)
        text: Mapped[str]
        flag: Mapped[bool]
        number: Mapped[float]
        amount: Mapped[decimal.Decimal]
        day: Mapped[datetime.date]
        moment: Mapped[datetime.datetime]
        data: Mapped[bytes]
        key: Mapped[uuid.UUID]
        colour: Mapped[Colour]
        size: Mapped[Literal["S", "M"]]
        name: Mapped[short_name]

    expected = {
        "id": Integer,
        "text": String,
        "flag": Boolean,
        "number": Double if sqlalchemy.__version__ >= "2.1" else Float,
        "amount": Numeric,
        "day": Date,
        "moment": DateTime,
        "data": LargeBinary,
        "key": Uuid,
        "colour": Enum,
        "size": Enum,
        "name": String,
    }
    columns = Thing.__table__.c
    assert list(columns.keys()) == list(expected)
    assert {key: type(column.type) for key, column in columns.items()} == expected
    assert columns.name.type.length == 30
    assert (columns.amount.type.precision, columns.amount.type.scale) == (10, 2)
    assert columns.colour.type.enum_class is Colour
    assert columns["size"].type.enums == ["S", "M"] and not columns["size"].type.native_enum
    assert all(not column.nullable for column in columns)


def test_nullability(base: Any) -> None:
    class Thing(base):
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(primary_key=True)
        a: Mapped[Optional[str]]
        b: Mapped[str | None]
        c: Mapped[Optional[str]]
        d: Mapped[str] = mapped_column(nullable=True)
        e: Mapped[Optional[str]] = mapped_column(nullable=False)
        f = mapped_column(String)

    nullable = {column.key: column.nullable for column in Thing.__table__.c}
    assert nullable == {"id": False, "a": True, "b": True, "c": True, "d": True, "e": False, "f": True}


def test_annotated_types_are_templates(orm: ModuleType, base: Any) -> None:
    globals()["pk"] = Annotated[int, orm.mapped_column(primary_key=True, autoincrement=False)]
    globals()["stamp"] = Annotated[
        datetime.datetime, orm.mapped_column(server_default=func.current_timestamp(), index=True)
    ]
    globals()["parent_id"] = Annotated[int, orm.mapped_column(ForeignKey("thing.id"))]

    class Thing(base):
        __tablename__ = "thing"
        id: Mapped[pk]
        created: Mapped[stamp]
        changed: Mapped[Optional[stamp]] = mapped_column("changed_at", index=False)
        parent: Mapped[Optional[parent_id]]

    class Other(base):
        __tablename__ = "other"
        id: Mapped[pk]
        thing: Mapped[parent_id] = mapped_column(primary_key=True)

    c = Thing.__table__.c
    assert c.id.primary_key and c.id.autoincrement is False
    assert c.created.index and not c.changed_at.index
    assert c.created.server_default is not None and c.changed_at.nullable
    assert c.parent.nullable and [fk.target_fullname for fk in c.parent.foreign_keys] == ["thing.id"]
    assert c.parent.foreign_keys.isdisjoint(Other.__table__.c.thing.foreign_keys)
    assert [column.key for column in Other.__table__.primary_key] == ["id", "thing"]


def test_column_arguments(base: Any) -> None:
    class Thing(base):
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column("thing_id", BigInteger, primary_key=True)
        name: Mapped[str] = mapped_column(
            String(50),
            unique=True,
            index=True,
            comment="what it is called",
            default="x",
            onupdate="y",
            server_default="z",
            info={"a": 1},
            doc="the name",
        )
        other: Mapped[str] = mapped_column(insert_default="inserted", key="other_key")

    c = Thing.__table__.c
    assert isinstance(c.thing_id.type, BigInteger)
    assert c.name.unique and c.name.index and c.name.comment == "what it is called"
    assert (c.name.default.arg, c.name.onupdate.arg, c.name.server_default.arg) == ("x", "y", "z")
    assert c.name.info == {"a": 1} and c.name.doc == "the name"
    assert c.other_key.default.arg == "inserted" and c.other_key.name == "other"
    assert list(inspect(Thing).columns.keys()) == ["id", "name", "other"]


def test_column_order(base: Any) -> None:
    class Mixin:
        mixed: Mapped[int]

    class Thing(Mixin, base):
        __tablename__ = "thing"
        b: Mapped[int]
        id: Mapped[int] = mapped_column(primary_key=True, sort_order=-1)
        last: Mapped[int] = mapped_column(sort_order=10)
        a: Mapped[int]

    assert Thing.__table__.c.keys() == ["id", "b", "a", "mixed", "last"]


def test_table_args(base: Any) -> None:
    class First(base):
        __tablename__ = "first"
        __table_args__ = {"comment": "one"}
        id: Mapped[int] = mapped_column(primary_key=True)

    class Second(base):
        __tablename__ = "second"
        __table_args__ = (CheckConstraint("n > 0", name="positive"), Index("by_n", "n"), {"schema": "s"})
        id: Mapped[int] = mapped_column(primary_key=True)
        n: Mapped[int]

    assert First.__table__.comment == "one"
    assert Second.__table__.fullname == "s.second"
    assert [index.name for index in Second.__table__.indexes] == ["by_n"]

    with pytest.raises(exc.ArgumentError, match="__table_args__ value must be a tuple, dict, or None"):

        class Third(base):
            __tablename__ = "third"
            __table_args__ = "no"
            id: Mapped[int] = mapped_column(primary_key=True)


def test_given_table(base: Any) -> None:
    class Thing(base):
        __table__ = Table("thing", base.metadata, Column("id", Integer, primary_key=True), Column("n", Integer))
        id: Mapped[int]
        n: Mapped[int]

    assert list(inspect(Thing).columns.keys()) == ["id", "n"]
    with pytest.raises(exc.ArgumentError, match="Can't add additional column 'm' when specifying __table__"):

        class Other(base):
            __table__ = Thing.__table__
            m = mapped_column(Integer)


def test_class_variables_are_not_mapped(base: Any) -> None:
    class Thing(base):
        __tablename__ = "thing"
        registry_size: ClassVar[int] = 3
        plain = "text"
        id: Mapped[int] = mapped_column(primary_key=True)

        @property
        def double(self) -> int:
            return self.id * 2

    assert Thing.__table__.c.keys() == ["id"]
    assert Thing.registry_size == 3 and Thing.plain == "text"


def test_unmapped_annotations(base: Any) -> None:
    with pytest.raises(exc.ArgumentError, match=r'Type annotation for "Thing.n" can\'t be correctly interpreted'):

        class Thing(base):
            __tablename__ = "thing"
            id: Mapped[int] = mapped_column(primary_key=True)
            n: int = mapped_column()

    class Legacy(base):
        __tablename__ = "legacy"
        __allow_unmapped__ = True
        id: int = mapped_column(Integer, primary_key=True)
        n: str

    assert Legacy.__table__.c.keys() == ["id"]


def test_unknown_python_type(orm: ModuleType, base: Any) -> None:
    with pytest.raises(
        orm.exc.MappedAnnotationError,
        match=r"Could not locate SQLAlchemy Core type when resolving for Python type indicated by .* the 'n' attribute",
    ):

        class Thing(base):
            __tablename__ = "thing"
            id: Mapped[int] = mapped_column(primary_key=True)
            n: Mapped[object]


def test_column_without_type_or_annotation(base: Any) -> None:
    with pytest.raises(exc.ArgumentError, match=r'Python typing annotation is required for attribute "Thing\.n"'):

        class Thing(base):
            __tablename__ = "thing"
            id: Mapped[int] = mapped_column(primary_key=True)
            n = mapped_column()


def test_no_table(base: Any) -> None:
    with pytest.raises(exc.InvalidRequestError, match="does not have a __table__ or __tablename__ specified"):

        class Thing(base):
            id: Mapped[int] = mapped_column(primary_key=True)


def test_no_primary_key(base: Any) -> None:
    with pytest.raises(exc.ArgumentError, match="could not assemble any primary key columns for mapped table 'thing'"):

        class Thing(base):
            __tablename__ = "thing"
            id: Mapped[int]


def test_column_named_twice_warns(base: Any) -> None:
    with pytest.warns(exc.SAWarning, match="Column object 'n' named directly multiple times"):

        class Thing(base):
            __tablename__ = "thing"
            id: Mapped[int] = mapped_column(primary_key=True)
            a = Column("n", Integer)
            b = a


def test_reserved_names(base: Any) -> None:
    with pytest.warns(exc.SAWarning, match="Attribute name 'metadata' should be left reserved"):

        class Thing(base):
            __tablename__ = "thing"
            id: Mapped[int] = mapped_column(primary_key=True)
            metadata: Mapped[str] = mapped_column()


def test_trailing_comma_warns(base: Any) -> None:
    with pytest.warns(exc.SAWarning, match="possibly a copy-and-paste error with a comma"):

        class Thing(base):
            __tablename__ = "thing"
            id: Mapped[int] = mapped_column(primary_key=True)
            n = (mapped_column(Integer),)


def test_own_metadata_and_schema(orm: ModuleType) -> None:
    class Base(orm.DeclarativeBase):
        metadata = MetaData(schema="wide")

    class Thing(Base):
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(primary_key=True)

    assert Base.registry.metadata is Base.metadata
    assert Base.metadata.tables["wide.thing"] is Thing.__table__
    assert Thing.registry is Base.registry and Thing.metadata is Base.metadata


def test_base_cannot_be_mapped_itself(orm: ModuleType) -> None:
    with pytest.raises(exc.InvalidRequestError, match="Cannot use 'DeclarativeBase' directly"):

        class Thing(orm.DeclarativeBase):
            __tablename__ = "thing"
            id: Mapped[int] = mapped_column(primary_key=True)


def test_registry_and_type_map_do_not_mix(orm: ModuleType) -> None:
    with pytest.raises(exc.InvalidRequestError, match="both a 'registry' attribute and a type_annotation_map entry"):

        class Base(orm.DeclarativeBase):
            registry = orm.registry()
            type_annotation_map = {str: Text()}


def test_attributes_added_later(base: Any) -> None:
    class Thing(base):
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(primary_key=True)

    Thing.n = mapped_column(Integer)
    Thing.m = Column("m_col", Integer)
    Thing.both = column_property(Thing.n + Thing.m)
    Thing.alias = synonym("n")
    Thing.note = "plain"
    assert Thing.__table__.c.keys() == ["id", "n", "m_col"]
    assert {"n", "m", "both", "alias"} <= set(inspect(Thing).attrs.keys())
    assert Thing.note == "plain"
    with pytest.raises(NotImplementedError, match="Can't un-map individual mapped attributes"):
        del Thing.n
    del Thing.note
    assert not hasattr(Thing, "note")


def test_attributes_added_later_without_metaclass(orm: ModuleType) -> None:
    class Base(orm.DeclarativeBaseNoMeta):
        pass

    class Thing(Base):
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(primary_key=True)

    assert type(Base) is type
    orm.add_mapped_attribute(Thing, "n", mapped_column(Integer))
    assert Thing.__table__.c.keys() == ["id", "n"]
    assert "n" in inspect(Thing).attrs


def test_attribute_from_other_class_is_a_synonym(base: Any) -> None:
    class Mixin:
        @declared_attr
        def other(cls) -> Mapped[list[str]]:
            return synonym("name")

    class Thing(Mixin, base):
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    assert str(Thing.other == "x") == str(Thing.name == "x")
