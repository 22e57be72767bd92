"""User code for type checkers: what SQLAlchemy's users rely on being inferred. Checked by test_declarative_typing."""

from __future__ import annotations

import datetime
from typing import Optional

from sqlalchemy import ForeignKey, String
from typing_extensions import assert_type

from rustalchemy.orm import (
    DeclarativeBase,
    InstrumentedAttribute,
    Mapped,
    MappedAsDataclass,
    column_property,
    declared_attr,
    mapped_as_dataclass,
    mapped_column,
    registry,
    relationship,
)


class Base(DeclarativeBase):
    type_annotation_map = {str: String(50)}

    @declared_attr.directive
    def __tablename__(cls) -> str:
        return cls.__name__.lower()


class Stamped:
    created: Mapped[datetime.datetime]


class User(Stamped, Base):
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    nick: Mapped[Optional[str]] = mapped_column(String(30), index=True)
    addresses: Mapped[list[Address]] = relationship(back_populates="user", cascade="all, delete-orphan")


class Address(Stamped, Base):
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    user: Mapped[User] = relationship(back_populates="addresses")


class Point(MappedAsDataclass, Base, kw_only=True):
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    x: Mapped[int]
    y: Mapped[int] = mapped_column(default=0)


Point.double = column_property(Point.x * 2)

reg = registry()


@mapped_as_dataclass(reg)
class Plane:
    __tablename__ = "plane"

    tail: Mapped[str] = mapped_column(primary_key=True)
    seats: Mapped[Optional[int]] = mapped_column(default=None)


user = User(name="ed", nick=None)
assert_type(user.id, int)
assert_type(user.nick, Optional[str])
assert_type(user.addresses, list[Address])
assert_type(user.addresses[0].user, User)
assert_type(User.name, InstrumentedAttribute[str])
user.name = "wendy"

point = Point(x=1)
assert_type(point.y, int)
plane = Plane("N1")
assert_type(plane.seats, Optional[int])
