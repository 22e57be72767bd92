"""Members of a column's value as attributes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sql
from sqlalchemy.dialects import postgresql


def person_class(sa: SimpleNamespace) -> Any:
    orm, index_property = sa.orm, sa.indexable.index_property

    class Base(orm.DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "person"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        data = orm.mapped_column(sql.JSON)
        name = index_property("data", "name")
        nick = index_property("data", "nick", default="-")
        fixed = index_property("data", "name", mutable=False)
        address = index_property("data", "address")
        city = index_property("address", "city", datatype=lambda: {"country": "it"})
        marks = orm.mapped_column(sql.PickleType)
        third = index_property("marks", 2)
        numbers = orm.mapped_column(sql.ARRAY(sql.Integer).with_variant(sql.JSON(), "sqlite"))
        first = index_property("numbers", 0)
        raw_first = index_property("numbers", 0, onebased=False)

    return Person


def test_on_objects(sa: SimpleNamespace) -> None:
    Person = person_class(sa)
    person = Person()
    with pytest.raises(AttributeError, match="data"):
        _ = person.name
    assert person.nick == "-"
    person.name = "Ann"
    assert person.data == {"name": "Ann"} and person.name == person.fixed == "Ann" and person.nick == "-"
    del person.name
    assert person.data == {}
    with pytest.raises(AttributeError, match="data"):
        del person.name
    for change in (lambda: setattr(person, "fixed", 1), lambda: delattr(person, "fixed")):
        with pytest.raises(AttributeError, match="can't"):
            change()
    person.third = "c"
    assert person.marks == [None, None, "c"]
    person.data = None
    with pytest.raises(AttributeError, match="data"):
        del person.name


def test_member_of_a_member(sa: SimpleNamespace) -> None:
    Person = person_class(sa)
    person = Person(data={})
    person.city = "Rome"
    assert person.data == {"address": {"country": "it", "city": "Rome"}}
    if sa.name == "sqlalchemy":
        with pytest.raises(KeyError, match="address"):  # it asks for a mapped attribute of this name
            del person.city
    else:
        del person.city
    assert person.data == {"address": {"country": "it"}}


def test_subclass(sa: SimpleNamespace) -> None:
    """A subclass may say what SQL is made, and what is read and written."""

    class typed(sa.indexable.index_property):
        def __init__(self, attr_name: str, index: str, kind: Any) -> None:
            super().__init__(attr_name, index)
            self.kind = kind

        def fget(self, instance: Any) -> Any:
            return str(super().fget(instance))

        def fset(self, instance: Any, value: Any) -> None:
            super().fset(instance, int(value))

        def expr(self, model: Any) -> Any:
            return super().expr(model).as_string().cast(self.kind)

    Person = person_class(sa)
    Person.age = typed("data", "age", sql.Integer)
    person = Person(data={})
    person.age = "7"
    assert (person.data, person.age) == ({"age": 7}, "7")
    assert "AS INTEGER) > " in str(sql.select(Person.id).where(Person.age > 5))


def test_database(sa: SimpleNamespace) -> None:
    """A change of a member is written, and members can be asked for."""
    Person = person_class(sa)
    engine = sql.create_engine("sqlite://")
    Person.metadata.tables["person"].create(engine)
    with sa.orm.Session(engine) as session:
        person = Person(data={"name": "Ann"})
        session.add(person)
        session.commit()
        person.name = "Bob"
        person.third = 5
        assert person in session.dirty
        session.commit()
        assert (person.data, person.third) == ({"name": "Bob"}, 5)
        del person.name
        session.commit()
        assert person.data == {}
        person.city = "Rome"
        session.commit()
        found = session.scalars(sql.select(Person).where(Person.city.as_string() == "Rome"))
        assert found.one() is person


def test_sql(sa: SimpleNamespace) -> None:
    """The database counts from 1, unless told otherwise."""
    Person = person_class(sa)

    def text(expression: Any) -> str:
        compiled = (
            sql.select(Person.id)
            .where(expression == 1)
            .compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
        )
        return str(compiled).rpartition("WHERE ")[2]

    assert text(Person.first) == "person.numbers[1] = 1"
    assert text(Person.raw_first) == "person.numbers[0] = 1"
    assert text(Person.name.as_integer()) == "CAST((person.data ->> 'name') AS INTEGER) = 1"
    alias = sa.orm.aliased(Person)
    assert text(alias.first) == "person_1.numbers[1] = 1"
