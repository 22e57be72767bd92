"""Attributes and owners that are rows of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from watching import Watch, compare


def base_of(orm: Any) -> Any:
    """A declarative base."""

    class Base(orm.DeclarativeBase):  # type: ignore[misc, name-defined]
        pass

    return Base


def generic_discriminator(run: Watch) -> None:
    """Addresses of several kinds of owners, by way of a row that knows which kind it is."""
    orm = run.orm
    ap = run.ext("associationproxy").association_proxy

    class Base(orm.DeclarativeBase):
        @orm.declared_attr.directive
        def __tablename__(cls):
            return cls.__name__.lower()

        id = orm.mapped_column(sa.Integer, primary_key=True)

    class Assoc(Base):
        __tablename__ = "assoc"
        discriminator = orm.mapped_column(sa.String)
        __mapper_args__ = {"polymorphic_on": discriminator}

    class Address(Base):
        assoc_id = orm.mapped_column(sa.ForeignKey("assoc.id"))
        street = orm.mapped_column(sa.String)
        association = orm.relationship(Assoc, backref="addresses")
        parent = ap("association", "parent")

    class HasA:
        @orm.declared_attr
        def assoc_id(cls):
            return orm.mapped_column(sa.ForeignKey("assoc.id"))

        @orm.declared_attr
        def assoc(cls):
            name = cls.__name__
            disc = name.lower()
            sub = type(
                f"{name}Assoc", (Assoc,), {"__tablename__": None, "__mapper_args__": {"polymorphic_identity": disc}}
            )
            cls.addresses = ap("assoc", "addresses", creator=lambda a: sub(addresses=a))
            return orm.relationship(sub, backref=orm.backref("parent", uselist=False))

    class Customer(HasA, Base):
        name = orm.mapped_column(sa.String)

    class Supplier(HasA, Base):
        name = orm.mapped_column(sa.String)

    session = orm.Session(run.engine(Base.metadata))
    session.add_all(
        [
            Customer(name="c1", addresses=[Address(street="a"), Address(street="b")]),
            Supplier(name="x", addresses=[Address(street="c")]),
        ]
    )
    session.commit()
    for c in session.scalars(sa.select(Customer)):
        run([(a.street, a.parent.name) for a in c.addresses])
    run([(a.street, a.parent) for a in session.scalars(sa.select(Address).order_by(Address.id))])
    run.error(lambda: session.scalars(sa.select(Customer).where(Customer.addresses.any(Address.street == "a"))).all())


def vertical(run: Watch) -> None:
    """Attributes as rows: a dictionary of typed values."""
    orm = run.orm
    ap = run.ext("associationproxy").association_proxy
    hyb = run.ext("hybrid").hybrid_property
    Base = base_of(orm)

    class PolyVal:
        def __init__(self, key=None, value=None):
            self.key = key
            self.value = value

        @hyb
        def value(self):
            name, _ = self.type_map[self.type]
            return getattr(self, name)

        @value.setter
        def value(self, value):
            py = type(value)
            attr, disc = self.type_map[py]
            self.type = disc
            setattr(self, attr, value)

        @value.comparator
        class value(run.ext("hybrid").Comparator):
            def __init__(self, cls):
                self.cls = cls

            def _case(self):
                pairs = {(attr, disc) for k, (attr, disc) in sorted(self.cls.type_map.items(), key=str)}
                return sa.case(
                    *[
                        (sa.literal_column(f"'{d}'") == self.cls.type, sa.cast(getattr(self.cls, a), sa.String))
                        for a, d in sorted(pairs, key=str)
                        if a
                    ],
                    else_=sa.null(),
                )

            def __eq__(self, other):
                return self._case() == sa.cast(other, sa.String)

            def __ne__(self, other):
                return self._case() != sa.cast(other, sa.String)

    class Fact(PolyVal, Base):
        __tablename__ = "fact"
        animal_id = orm.mapped_column(sa.ForeignKey("animal.id"), primary_key=True)
        key = orm.mapped_column(sa.Unicode(64), primary_key=True)
        type = orm.mapped_column(sa.Unicode(16))
        int_value = orm.mapped_column(sa.Integer, info={"type": (int, "integer")})
        char_value = orm.mapped_column(sa.UnicodeText, info={"type": (str, "string")})
        boolean_value = orm.mapped_column(sa.Boolean, info={"type": (bool, "boolean")})

    @event.listens_for(PolyVal, "mapper_configured", propagate=True)
    def conf(mapper, cls):
        m = {}
        m[type(None)] = (None, "none")
        m["none"] = (None, "none")
        for prop in mapper.column_attrs:
            c = prop.columns[0]
            if "type" in c.info:
                py, d = c.info["type"]
                m[py] = m[d] = (prop.key, d)
        cls.type_map = m

    class Animal(Base):
        __tablename__ = "animal"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        name = orm.mapped_column(sa.Unicode(100))
        facts = orm.relationship(Fact, collection_class=orm.attribute_keyed_dict("key"), cascade="all, delete-orphan")
        proxied = ap("facts", "value", creator=lambda k, v: Fact(key=k, value=v))

        def __init__(self, name):
            self.name = name

        def __getitem__(self, k):
            return self.proxied[k]

        def __setitem__(self, k, v):
            self.proxied[k] = v

        @classmethod
        def with_char(cls, k, v):
            return cls.facts.any(sa.and_(Fact.key == k, Fact.value == v))

    session = orm.Session(run.engine(Base.metadata))
    a = Animal("stoat")
    a["reddish"] = True
    a["cute"] = "very"
    a["w"] = 5
    session.add(a)
    session.commit()
    run(sorted(a.proxied.items(), key=str))
    a["cute"] = 7
    session.flush()
    a["w"] = 6
    del a.proxied["reddish"]
    session.commit()
    run(
        session.scalars(sa.select(Animal).where(Animal.with_char("w", 6))).all(),
        session.scalars(sa.select(Animal).where(~Animal.with_char("w", 6))).all(),
    )
    a.proxied.clear()
    a.proxied.update({"x": "1", "cute": "2"})
    session.commit()
    run(dict(a.proxied))
    run(session.execute(sa.select(Fact.__table__)).all())


@pytest.mark.parametrize("program", [generic_discriminator, vertical])
def test_same_on_both_orms(program: Callable[[Watch], None]) -> None:
    compare(program)
