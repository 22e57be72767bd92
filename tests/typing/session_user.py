"""User code for type checkers: what is inferred of a Session, of what makes sessions, and of what they return."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Optional

from sqlalchemy import ForeignKey, create_engine, insert, select, text, update
from sqlalchemy.engine import Connection, Result, ScalarResult
from sqlalchemy.util.typing import TupleAny, Unpack
from typing_extensions import assert_type

from rustalchemy.orm import (
    DeclarativeBase,
    DynamicMapped,
    InstrumentedAttribute,
    Mapped,
    Session,
    SessionTransaction,
    WriteOnlyCollection,
    WriteOnlyMapped,
    aliased,
    mapped_column,
    object_session,
    relationship,
    scoped_session,
    selectinload,
    sessionmaker,
    with_polymorphic,
)
from rustalchemy.orm.dynamic import AppenderQuery
from rustalchemy.orm.util import AliasedClass


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
    nick: Mapped[Optional[str]]
    addresses: Mapped[list[Address]] = relationship()
    many: WriteOnlyMapped[Address] = relationship()
    queried: DynamicMapped[Address] = relationship()


engine = create_engine("sqlite://")
session = Session(engine)

# objects
assert_type(session.get(User, 1), Optional[User])
assert_type(session.get(User, (1,), options=[selectinload(User.addresses)], with_for_update=True), Optional[User])
assert_type(session.get_one(User, 1, populate_existing=True), User)
user = session.get_one(User, {"id": 1})
assert_type(session.merge(user, load=False), User)
assert_type(session.merge_all([user]), Sequence[User])
assert_type(object_session(user), Optional[Session])
assert_type(Session.object_session(user), Optional[Session])
assert_type(user in session, bool)
assert_type(list(session), list[object])
assert_type(session.is_modified(user), bool)
session.refresh(user, ["name"], with_for_update={"nowait": True})
for changed in session.dirty:
    session.expunge(changed)

# statements
assert_type(session.execute(select(User)), Result[User])
assert_type(session.execute(select(User.id, User.nick)), Result[int, Optional[str]])
assert_type(session.execute(text("select 1")), Result[Unpack[TupleAny]])
assert_type(session.execute(insert(User).returning(User.id)), Result[int])
assert_type(session.execute(update(User)), Result[Unpack[TupleAny]])
found: Optional[User] = session.scalar(select(User))
assert_type(session.scalar(select(User.id, User.name)), Any)
assert_type(session.scalar(text("select 1")), Any)
assert_type(session.scalars(select(User.name)), ScalarResult[str])
assert_type(session.scalars(text("select 1")), ScalarResult[Any])
assert_type(session.scalars(select(User)).all(), Sequence[User])
for number, name in session.execute(select(User.id, User.name)):
    assert_type(number, int)
    assert_type(name, str)

# transactions
assert_type(session.begin(), SessionTransaction)
assert_type(session.connection(), Connection)
with session.begin_nested() as savepoint:
    assert_type(savepoint, SessionTransaction)
with session as same:
    assert_type(same, Session)
with session.no_autoflush:
    session.flush()


# what makes sessions
class Own(Session):
    pass


maker = sessionmaker(engine)
assert_type(maker, sessionmaker[Session])
assert_type(maker(), Session)
own_maker = sessionmaker(engine, class_=Own)
assert_type(own_maker, sessionmaker[Own])
assert_type(own_maker(), Own)
assert_type(own_maker.begin(), AbstractContextManager[Own])
with own_maker.begin() as begun:
    assert_type(begun, Own)

scoped = scoped_session(own_maker)
assert_type(scoped, scoped_session[Own])
assert_type(scoped(), Own)
assert_type(scoped.get(User, 1), Optional[User])
assert_type(scoped.get_one(User, 1), User)
assert_type(scoped.merge(user), User)
assert_type(scoped.execute(select(User.id, User.name)), Result[int, str])
assert_type(scoped.execute(text("select 1")), Result[Unpack[TupleAny]])
highest: Optional[int] = scoped.scalar(select(User.id))
assert_type(scoped.scalar(text("select 1")), Any)
assert_type(scoped.scalars(select(User)), ScalarResult[User])
assert_type(scoped.connection(), Connection)
assert_type(scoped.query(User).all(), list[User])
assert_type(scoped.query(User.id, User.name).all()[0][1], str)
assert_type(scoped.is_active, bool)
assert_type(scoped.info, dict[Any, Any])
scoped.add_all([user])
scoped.autoflush = False
scoped.commit()
scoped.remove()


class Queried:
    query = scoped.query_property()


assert_type(Queried.query.all(), list[Queried])

# aliases and attributes
other = aliased(User)
assert_type(other.name, InstrumentedAttribute[str])
assert_type(session.execute(select(User, other)), Result[User, User])
assert_type(with_polymorphic(User, "*"), AliasedClass[User])
assert_type(user.many, WriteOnlyCollection[Address])
assert_type(session.scalars(user.many.select()).all(), Sequence[Address])
assert_type(user.queried, AppenderQuery[Address])
assert_type(user.queried[0], Address)
assert_type(user.queried.all(), list[Address])
user.queried.append(Address())
session.scalars(select(User).where(User.addresses.any(Address.id > 1) | User.addresses.of_type(Address).any()))
session.scalars(select(User).options(selectinload(User.addresses.and_(Address.id > 1))))
session.scalars(select(User).options(selectinload("addresses")))  # type: ignore[arg-type]
