"""`Session.merge()` into an object the session has: which values go over, what listeners hear, what is written."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event, inspect


@pytest.fixture(params=["sqlalchemy.orm", "rustalchemy.orm"])
def m(request: pytest.FixtureRequest) -> Any:
    orm = importlib.import_module(request.param)

    class Base(orm.DeclarativeBase):  # type: ignore[misc, name-defined]
        pass

    class User(Base):
        __tablename__ = "users"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        name = orm.mapped_column(sa.String)
        posts = orm.relationship("Post", back_populates="user", order_by="Post.id")
        notes = orm.relationship("Note", cascade="save-update")
        age = orm.mapped_column(sa.Integer)
        bio = orm.deferred(orm.mapped_column(sa.String))

    class Post(Base):
        __tablename__ = "posts"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        user_id = orm.mapped_column(sa.ForeignKey("users.id"))
        title = orm.mapped_column(sa.String)
        user = orm.relationship("User", back_populates="posts")

    class Note(Base):
        __tablename__ = "notes"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        user_id = orm.mapped_column(sa.ForeignKey("users.id"))

    class Counted(Base):
        __tablename__ = "counted"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        name = orm.mapped_column(sa.String)
        version = orm.mapped_column(sa.Integer, nullable=False)
        __mapper_args__ = {"version_id_col": version}

    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    Base.metadata.create_all(engine)
    session = orm.Session(engine)
    statements: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement.split(" ", 1)[0])

    return type(
        "M",
        (),
        {
            "User": User, "Post": Post, "Note": Note, "Counted": Counted,
            "orm": orm, "session": session, "statements": statements,
        },
    )  # fmt: skip


def stored(m: Any, **kw: Any) -> Any:
    user = m.User(id=1, name="old", age=5, bio="long", **kw)
    m.session.add(user)
    m.session.commit()
    user = m.session.get(m.User, 1)
    assert user.age == 5
    m.statements.clear()
    return user


def test_only_differences_are_written(m: Any) -> None:
    user = stored(m)
    assert m.session.merge(m.User(id=1, name="new", age=5)) is user
    assert inspect(user).attrs.name.history == (["new"], (), ["old"])
    assert inspect(user).attrs.age.history == ((), [5], ())
    m.session.commit()
    assert m.statements == ["UPDATE"]


def test_what_the_source_lacks_stays(m: Any) -> None:
    user = stored(m)
    m.session.merge(m.User(id=1, age=6))
    assert (user.name, user.age) == ("old", 6)


def test_what_neither_has_is_expired_or_deferred(m: Any) -> None:
    user = stored(m)
    m.session.expire(user, ["name"])
    heard: list[Any] = []
    event.listen(m.User, "expire", lambda target, attrs: heard.append(attrs))
    m.session.merge(m.User(id=1, age=6))
    assert sorted(key for keys in heard for key in keys) == ["bio", "name"]
    assert "name" in inspect(user).expired_attributes
    assert (user.name, user.bio) == ("old", "long")


def test_listeners_hear_each_column_in_order(m: Any) -> None:
    stored(m)
    heard: list[Any] = []
    for key in ("age", "name", "id"):
        event.listen(
            getattr(m.User, key), "set", lambda target, value, old, i, key=key: heard.append((key, value, old))
        )
    given = m.User(id=1, name="new", age=7)
    heard.clear()
    m.session.merge(given)
    assert heard == [("id", 1, 1), ("name", "new", "old"), ("age", 7, 5)]


def test_a_listener_that_raises_ends_the_merge_half_way(m: Any) -> None:
    user = stored(m)
    given = m.User(id=1, name="new", age=7)

    @event.listens_for(m.User.age, "set")
    def refuse(*args: Any) -> None:
        raise ValueError("age")

    with pytest.raises(ValueError, match="age"):
        m.session.merge(given)
    assert (user.name, user.age) == ("new", 5)
    assert m.session.autoflush


def test_a_listener_that_changes_the_source(m: Any) -> None:
    user = stored(m)
    given = m.User(id=1, name="new", age=7)
    event.listen(m.User.name, "set", lambda *args: given.__dict__.pop("age"))
    m.session.merge(given)
    assert (user.name, user.age) == ("new", 5)


def test_related_objects_follow_along_merge_only(m: Any) -> None:
    user = stored(m)
    given = m.User(id=1, name="new", posts=[m.Post(id=1, title="p")], notes=[m.Note(id=1)])
    assert m.session.merge(given) is user
    assert [post.title for post in user.posts] == ["p"]
    assert user.notes == []
    assert given not in m.session
    m.session.commit()
    assert m.session.scalar(sa.select(m.Post.user_id)) == 1
    assert m.session.scalar(sa.select(sa.func.count(m.Note.id))) == 0


def test_one_to_many_that_was_read_empties_the_other(m: Any) -> None:
    user = stored(m, posts=[m.Post(id=1, title="p")])
    given = m.User(id=1)
    assert given.posts == []  # reading does not set it
    m.session.merge(given)
    assert len(user.posts) == 1
    given.posts = []
    m.session.merge(given)
    assert user.posts == []


def test_the_object_itself(m: Any) -> None:
    user = stored(m)
    assert m.session.merge(user) is user
    assert not m.session.is_modified(user)


def test_pending_object_of_the_same_session_warns(m: Any) -> None:
    pending = m.User(id=3)
    with m.session.no_autoflush:
        m.session.add(pending)
        m.session.autoflush = False
        with pytest.warns(sa.exc.SAWarning, match="already pending"):
            m.session.merge(pending)


def test_expired_target(m: Any) -> None:
    user = stored(m)
    m.session.expire(user)
    m.session.merge(m.User(id=1, name="new"))
    assert m.statements == ["SELECT"]  # the primary key's old value
    assert (user.name, user.age) == ("new", 5)
    m.session.commit()
    assert m.statements.count("UPDATE") == 1


def test_detached_source_with_an_expired_value(m: Any) -> None:
    user = stored(m)
    other = m.orm.Session(m.session.get_bind())
    given = other.get(m.User, 1)
    other.expire(given, ["name"])
    other.expunge(given)
    user.age = 9
    m.session.merge(given)
    assert (user.name, user.age) == ("old", 5)


def test_merge_all_merges_in_order(m: Any) -> None:
    user = stored(m)
    merged = m.session.merge_all([m.User(id=1, name="a"), m.User(id=2, name="b"), m.User(id=1, name="c")])
    assert merged[0] is merged[2] is user
    assert user.name == "c"
    assert list(m.session.new) == [merged[1]]


def test_versions_are_compared(m: Any) -> None:
    m.session.add(m.Counted(id=1, name="x"))
    m.session.commit()
    known = m.session.get(m.Counted, 1)
    with pytest.raises(m.orm.exc.StaleDataError, match="Version id '7'"):
        m.session.merge(m.Counted(id=1, name="y", version=7))
    assert m.session.merge(m.Counted(id=1, name="y")) is known
    assert known.name == "y"


def test_a_column_added_later_is_merged(m: Any) -> None:
    user = stored(m)
    m.session.merge(m.User(id=1, age=6))
    m.User.late = m.orm.column_property(m.User.__table__.c.name + "!")
    m.session.commit()
    assert user.late == "old!"
    assert m.session.merge(m.User(id=1, age=8)) is user
    assert user.late == "old!"


def test_load_false_takes_values_without_history(m: Any) -> None:
    stored(m)
    other = m.orm.Session(m.session.get_bind())
    given = other.get(m.User, 1)
    third = m.orm.Session(m.session.get_bind())
    m.statements.clear()
    merged = third.merge(given, load=False)
    assert (merged.name, merged.age) == ("old", 5)
    assert m.statements == []
    assert not third.dirty
