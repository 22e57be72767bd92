"""Events of mappers, objects, attributes and sessions reach their listeners with SQLAlchemy's arguments."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sqlalchemy import event, inspect, select


def test_mapper_row_events(world: SimpleNamespace) -> None:
    session, User = world.session, world.User
    seen: list[Any] = []
    for name in ("before_insert", "after_insert", "before_update", "after_update", "before_delete", "after_delete"):
        event.listen(User, name, lambda m, c, target, name=name: seen.append((name, m is inspect(User), target.name)))
    user = User(id=20, name="x")
    session.add(user)
    session.flush()
    user.name = "y"
    session.flush()
    session.delete(user)
    session.flush()
    assert seen == [
        ("before_insert", True, "x"),
        ("after_insert", True, "x"),
        ("before_update", True, "y"),
        ("after_update", True, "y"),
        ("before_delete", True, "y"),
        ("after_delete", True, "y"),
    ]


def test_before_insert_may_change_values(world: SimpleNamespace) -> None:
    session, User = world.session, world.User

    @event.listens_for(User, "before_insert")
    def shout(mapper: Any, connection: Any, target: Any) -> None:
        target.name = target.name.upper()

    session.add(User(id=20, name="quiet"))
    session.flush()
    assert session.scalar(select(User.name).where(User.id == 20)) == "QUIET"


def test_instance_events(world: SimpleNamespace) -> None:
    session, User = world.session, world.User
    seen: list[Any] = []
    event.listen(User, "init", lambda target, args, kwargs: seen.append(("init", kwargs)))
    event.listen(User, "load", lambda target, context: seen.append(("load", target.id)))
    event.listen(User, "refresh", lambda target, context, attrs: seen.append(("refresh", target.id)))
    event.listen(User, "expire", lambda target, attrs: seen.append(("expire", attrs)))
    User(name="x")
    jack = session.get(User, 7)
    session.expire(jack, ["age"])
    assert jack.age == 25
    assert seen == [("init", {"name": "x"}), ("load", 7), ("expire", ["age"]), ("refresh", 7)]


def test_attribute_set_event(world: SimpleNamespace) -> None:
    User = world.User
    seen: list[Any] = []

    @event.listens_for(User.name, "set", retval=True)
    def on_set(target: Any, value: Any, oldvalue: Any, initiator: Any) -> Any:
        seen.append((value, oldvalue is world.orm.attributes.NO_VALUE or oldvalue, initiator.key))
        return value.strip()

    user = User(name=" a ")
    assert user.name == "a"
    user.name = "b "
    assert user.name == "b"
    assert seen == [(" a ", True, "name"), ("b ", "a", "name")]


def test_collection_events(world: SimpleNamespace) -> None:
    User, Address = world.User, world.Address
    seen: list[Any] = []
    event.listen(User.addresses, "append", lambda t, value, i: seen.append(("append", value.email)))
    event.listen(User.addresses, "remove", lambda t, value, i: seen.append(("remove", value.email)))
    event.listen(Address.user, "set", lambda t, value, old, i: seen.append(("set", t.email, value and value.name)))
    user = User(name="x")
    one, two = Address(email="one"), Address(email="two")
    user.addresses.append(one)
    two.user = user
    user.addresses.remove(one)
    assert seen == [
        ("append", "one"),
        ("set", "one", "x"),
        ("set", "two", "x"),
        ("append", "two"),
        ("remove", "one"),
        ("set", "one", None),
    ]


def test_session_events(world: SimpleNamespace) -> None:
    session, User = world.session, world.User
    seen: list[Any] = []
    event.listen(session, "before_flush", lambda s, context, instances: seen.append(("before_flush", len(s.new))))
    event.listen(session, "after_flush", lambda s, context: seen.append("after_flush"))
    event.listen(session, "transient_to_pending", lambda s, instance: seen.append(("pending", instance.name)))
    event.listen(session, "pending_to_persistent", lambda s, instance: seen.append(("persistent", instance.name)))
    event.listen(session, "after_commit", lambda s: seen.append("after_commit"))
    session.add(User(name="x"))
    session.commit()
    assert seen == [("pending", "x"), ("before_flush", 1), "after_flush", ("persistent", "x"), "after_commit"]


def test_listener_of_a_class_to_be_mapped(world: SimpleNamespace) -> None:
    orm = world.orm
    from sqlalchemy import Integer

    class Mixin:
        pass

    seen: list[Any] = []
    event.listen(Mixin, "init", lambda target, args, kwargs: seen.append(type(target).__name__), propagate=True)
    event.listen(
        Mixin, "mapper_configured", lambda mapper, cls: seen.append(("configured", cls.__name__)), propagate=True
    )

    class Later(Mixin, world.Base):
        __tablename__ = "later"
        id = orm.mapped_column(Integer, primary_key=True)

    orm.configure_mappers()
    Later()
    assert seen == [("configured", "Later"), "Later"]


def test_validates(world: SimpleNamespace) -> None:
    orm = world.orm
    from sqlalchemy import Integer, String

    class Checked(world.Base):
        __tablename__ = "checked"
        id = orm.mapped_column(Integer, primary_key=True)
        email = orm.mapped_column(String)

        @orm.validates("email")
        def check(self, key: str, value: str) -> str:
            assert "@" in value
            return value.lower()

    assert Checked(email="A@B").email == "a@b"
