"""User code for type checkers: what is inferred of a Query and of what it returns."""

from __future__ import annotations

from typing import Any, Optional

from sqlalchemy import ColumnElement, ForeignKey, Row, create_engine, func, inspect
from typing_extensions import assert_type

from rustalchemy.orm import (
    DeclarativeBase,
    InstanceState,
    Mapped,
    Query,
    Session,
    aliased,
    joinedload,
    mapped_column,
    relationship,
)
from rustalchemy.orm.query import RowReturningQuery


class Base(DeclarativeBase):
    pass


class Address(Base):
    __tablename__ = "address"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))


class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    addresses: Mapped[list[Address]] = relationship()


session = Session(create_engine("sqlite://"))

# of one entity
users = session.query(User)
assert_type(users, Query[User])
assert_type(users.all(), list[User])
assert_type(users.first(), Optional[User])
assert_type(users.one(), User)
assert_type(users.one_or_none(), Optional[User])
assert_type(users[0], User)
assert_type(users[1:2], list[User])
assert_type(list(users), list[User])
assert_type(users.get(1), Optional[User])
assert_type(users.scalar(), Any)
assert_type(users.count(), int)
for user in users:
    assert_type(user, User)

# what returns a changed copy
changed = (
    users.filter(User.name == "a", User.id > 1)
    .filter_by(name="a")
    .where(User.id > 1)
    .join(User.addresses)
    .outerjoin(Address, Address.id == User.id)
    .options(joinedload(User.addresses))
    .order_by(User.name, "id")
    .order_by(None)
    .group_by(User.id)
    .having(func.count(Address.id) > 1)
    .distinct()
    .limit(1)
    .offset(2)
    .slice(0, 1)
    .params(a=1)
    .execution_options(a=1)
    .with_for_update(of=User)
    .populate_existing()
    .yield_per(3)
    .enable_eagerloads(False)
    .union(users)
)
assert_type(changed, Query[User])
assert_type(users.delete(synchronize_session="fetch"), int)
assert_type(users.update({User.name: "b", "id": 1}, synchronize_session=False), int)

# of columns
names = session.query(User.name)
assert_type(names, RowReturningQuery[str])
assert_type(names.one()[0], str)
assert_type(names.all(), list[Row[str]])
pairs = session.query(User.id, User.name)
assert_type(pairs, RowReturningQuery[int, str])
assert_type(pairs.first(), Optional[Row[int, str]])
assert_type(pairs.filter(User.id > 1).one()[1], str)
for number, name in pairs:
    assert_type(number, int)
    assert_type(name, str)

# of several, and changed to others
other = aliased(User)
assert_type(session.query(User, Address, other), RowReturningQuery[User, Address, User])
assert_type(users.with_entities(Address), Query[Address])
assert_type(users.with_entities(User.id, User.name), RowReturningQuery[int, str])
assert_type(users.add_columns(User.id), Query[Any])
assert_type(users.only_return_tuples(True), RowReturningQuery[User])
assert_type(User.name == "a", ColumnElement[bool])
assert_type(User.id < 1, ColumnElement[bool])
assert_type(inspect(User()), InstanceState[User])
