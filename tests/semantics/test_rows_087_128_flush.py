"""Rows 87–128: statements that meet no row, values that change nothing, defaults, failures of a flush, autoflush."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import sqlalchemy as sa


def test_087_update_and_delete_of_missing_rows(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    other = session.get(world.User, 2)
    session.execute(sa.text("DELETE FROM users"))
    user.name = "gone"
    with pytest.raises(
        world.orm.exc.StaleDataError, match=r"UPDATE statement on table 'users' expected to update 1 row"
    ):
        session.flush()
    session.rollback()
    session.get(world.User, 2)
    session.execute(sa.text("DELETE FROM users WHERE id = 2"))
    session.delete(other)
    with pytest.warns(sa.exc.SAWarning, match=r"DELETE statement on table 'users' expected to delete 1 row"):
        session.flush()


def test_088_collection_only_change(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    user.addresses.append(world.Address(email="c@x"))
    assert user in session.dirty
    world.sent()
    session.flush()
    assert world.verbs() == ["INSERT addresses"]


def test_089_set_and_set_back(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    user.name = "x"
    user.name = "ed"
    assert user in session.dirty
    assert not session.is_modified(user)
    world.sent()
    session.flush()
    assert world.sent() == []
    assert user not in session.dirty


def test_090_set_on_an_unloaded_column(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    session.expire(user, ["name"])
    world.sent()
    user.name = "ed"
    assert world.sent() == []
    session.flush()
    assert world.sent() == [("UPDATE users SET name=? WHERE users.id = ?", ("ed", 1))]


def test_091_dirty_with_expired_key(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    session.commit()
    user.name = "x"
    world.sent()
    session.flush()
    assert world.verbs() == ["SELECT users", "UPDATE users"]
    session.commit()
    user.name = "y"
    with session.no_autoflush:
        session.execute(sa.text("DELETE FROM users"))
    with pytest.raises(world.orm.exc.ObjectDeletedError):
        session.flush()


def test_092_none_and_unset(world: Any) -> None:
    orm = world.orm

    class Base(orm.DeclarativeBase):
        pass

    class Thing(Base):
        __tablename__ = "things"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        plain = orm.mapped_column(sa.String)
        python = orm.mapped_column(sa.String, default="py")
        called = orm.mapped_column(sa.Integer, default=lambda: 7)
        server = orm.mapped_column(sa.String, server_default="srv")
        doc = orm.mapped_column(sa.JSON)

    Base.metadata.create_all(world.engine)
    with world.session() as session:
        thing = Thing()
        explicit = Thing(plain=None, python=None, called=None, server=None, doc=None)
        forced = Thing(python=sa.null(), doc=sa.null())
        session.add_all([thing, explicit, forced])
        session.commit()
        assert (thing.python, thing.called, thing.server, thing.plain) == ("py", 7, "srv", None)
    assert world.rows("SELECT plain, python, called, server, doc FROM things ORDER BY id") == [
        (None, "py", 7, "srv", None),
        (None, "py", 7, "srv", "null"),
        (None, None, 7, "srv", None),
    ]


def test_093_server_defaults_and_onupdate(world: Any) -> None:
    orm = world.orm

    class Base(orm.DeclarativeBase):
        pass

    class Stamp(Base):
        __tablename__ = "stamps"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        name = orm.mapped_column(sa.String)
        made = orm.mapped_column(sa.Integer, server_default=sa.text("5"))
        touched = orm.mapped_column(sa.Integer, default=0, onupdate=lambda: 99)

    Base.metadata.create_all(world.engine)
    with world.session() as session:
        stamp = Stamp(name="a")
        session.add(stamp)
        session.flush()
        world.sent()
        assert (stamp.made, stamp.touched) == (5, 0)
        assert world.sent() == []
        stamp.name = "b"
        session.flush()
        assert stamp.touched == 99
        session.commit()
    assert world.rows("SELECT name, made, touched FROM stamps") == [("b", 5, 99)]


def test_094_sql_expression_as_value(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    user.age = world.User.age + 5
    session.flush()
    world.sent()
    assert user.age == 35
    assert world.verbs() == ["SELECT users"]
    new = world.User(name=sa.func.upper("abc"))
    session.add(new)
    session.flush()
    assert new.name == "ABC"


def test_095_deleted_attribute(world: Any) -> None:
    if not world.ours:
        pytest.skip("SQLAlchemy raises KeyError at flush; docs/differences.md")
    session = world.session()
    user = session.get(world.User, 1)
    del user.name
    session.commit()
    assert world.rows("SELECT name FROM users WHERE id = 1") == [(None,)]


def test_095_deleted_many_to_one(world: Any) -> None:
    session = world.session()
    address = session.get(world.Address, 1)
    assert address.user is not None
    del address.user
    session.commit()
    assert world.rows("SELECT user_id FROM addresses WHERE id = 1") == [(None,)]


def test_096_changes_in_place(world: Any) -> None:
    orm = world.orm

    class Base(orm.DeclarativeBase):
        pass

    class Doc(Base):
        __tablename__ = "docs"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        data = orm.mapped_column(sa.JSON)

    Base.metadata.create_all(world.engine)
    with world.session() as session:
        doc = Doc(data={"a": 1})
        session.add(doc)
        session.commit()
        doc.data["a"] = 2
        session.commit()
        assert doc.data == {"a": 1}
        doc.data["a"] = 3
        orm.attributes.flag_modified(doc, "data")
        session.commit()
        assert doc.data == {"a": 3}
        session.expire(doc)
        with pytest.raises(sa.exc.InvalidRequestError):
            orm.attributes.flag_modified(doc, "data")


def test_098_order_of_unrelated_classes(world: Any) -> None:
    session = world.session()
    session.add_all([world.Pair(a=1, b=1), world.Node(name="n"), world.User(name="u")])
    world.sent()
    session.flush()
    assert world.verbs() == ["INSERT nodes", "INSERT pairs", "INSERT users"]


def test_101_failed_flush(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    bad = world.User(id=1, name="dup")
    session.expunge(user)
    session.add(bad)
    with pytest.raises(sa.exc.IntegrityError):
        session.flush()
    assert sa.inspect(bad).transient
    session.add(world.User(name="fine"))
    session.rollback()
    session.add(world.User(name="after"))
    session.commit()
    assert world.rows("SELECT name FROM users ORDER BY id") == [("ed",), ("wendy",), ("after",)]


def test_101_pending_rollback_until_rolled_back(world: Any) -> None:
    session = world.session()
    session.begin()
    session.add(world.User(id=1, name="dup"))
    with pytest.raises(sa.exc.IntegrityError):
        session.flush()
    session.rollback()
    session.begin()
    with session.no_autoflush:
        session.add(world.User(id=1, name="dup"))
        with contextlib.suppress(sa.exc.IntegrityError):
            session.commit()
    session.rollback()
    assert session.get(world.User, 1).name == "ed"


def test_103_flush_inside_flush(world: Any) -> None:
    session = world.session()
    caught: list[Exception] = []

    @sa.event.listens_for(session, "before_flush")
    def again(session: Any, context: Any, instances: Any) -> None:
        try:
            session.flush()
        except sa.exc.InvalidRequestError as error:
            caught.append(error)

    session.add(world.User(name="x"))
    session.flush()
    assert "already flushing" in str(caught[0])


def test_112_autoflush_set(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)

    def pending() -> Any:
        new = world.User(name="new")
        session.add(new)
        world.sent()
        return new

    new = pending()
    user.addresses  # noqa: B018
    assert sa.inspect(new).persistent
    new = pending()
    session.query(world.User).count()
    assert sa.inspect(new).persistent
    new = pending()
    session.execute(sa.text("SELECT 1"))
    assert sa.inspect(new).persistent
    new = pending()
    session.refresh(user)
    assert sa.inspect(new).persistent
    new = pending()
    session.get(world.User, 1)
    session.connection()
    assert sa.inspect(new).pending


def test_113_autoflush_error_says_so(world: Any) -> None:
    session = world.session()
    session.add(world.User(id=1, name="dup"))
    with pytest.raises(sa.exc.IntegrityError, match="raised as a result of Query-invoked autoflush"):
        session.scalars(sa.select(world.User)).all()
    session.rollback()


def test_114_refresh_loses_changes(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    user.name = "lost"
    session.refresh(user)
    assert user.name == "ed"
    with pytest.raises(sa.exc.InvalidRequestError, match="is not persistent within this Session"):
        session.refresh(world.User())


def test_115_expire_drops_changes(world: Any) -> None:
    session = world.session()
    user = session.get(world.User, 1)
    user.name, user.age = "lost", 31
    session.expire(user, ["name"])
    assert (user.name, user.age) == ("ed", 31)
    session.expire_all()
    assert (user.name, user.age) == ("ed", 31)  # reading the expired name had flushed the age
    with pytest.raises(sa.exc.InvalidRequestError):
        session.expire(world.User())


def test_128_init_is_not_called_on_load(world: Any) -> None:
    orm = world.orm
    calls: list[str] = []

    class Base(orm.DeclarativeBase):
        pass

    class Thing(Base):
        __tablename__ = "inits"
        id = orm.mapped_column(sa.Integer, primary_key=True)

        def __init__(self) -> None:
            calls.append("init")

        @orm.reconstructor
        def again(self) -> None:
            calls.append("load")

    Base.metadata.create_all(world.engine)
    with world.session() as session:
        session.add(Thing())
        session.commit()
    with world.session() as session:
        thing = session.get(Thing, 1)
        assert session.get(Thing, 1) is thing
    assert calls == ["init", "load"]
