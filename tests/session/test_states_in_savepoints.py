"""Corners of object states that random steps on both ORMs have found: savepoints, failed flushes, merge, pickle."""

from __future__ import annotations

import gc
import pickle
import sys
import weakref
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc


def test_closing_a_savepoint_forgets_what_was_flushed_in_it(world: Any) -> None:
    session = world.session()
    session.begin()
    savepoint = session.begin_nested()
    user = world.User(name="ed")
    session.add(user)
    session.flush()
    savepoint.close()
    session.rollback()
    assert world.state(user) == "persistent"
    assert sa.inspect(user).expired


def test_closing_an_outer_savepoint_ends_the_inner_one(world: Any) -> None:
    session = world.session()
    outer = session.begin_nested()
    session.begin_nested()
    user = world.User(name="ed")
    session.add(user)
    session.flush()
    outer.close()
    session.rollback()
    assert not session.in_transaction()
    assert world.state(user) == "persistent"
    assert sa.inspect(user).expired


def test_a_savepoint_rolled_back_leaves_earlier_flushes_to_the_outer_one(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    outer = session.begin_nested()
    user.name = "outer"
    session.flush()
    inner = session.begin_nested()
    user.name = "inner"
    session.flush()
    inner.rollback()
    assert user.name == "outer"
    outer.rollback()
    assert sa.inspect(user).expired
    assert user.name == "ed"


def test_no_load_after_a_flush_failed_in_a_savepoint(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    session.begin_nested()
    assert user.name == "ed"
    session.add(world.User(name="ed"))
    with pytest.raises(exc.IntegrityError):
        session.flush()
    with pytest.raises(exc.PendingRollbackError):
        _ = user.posts


def test_values_lost_in_a_savepoint_are_missed_when_the_object_is_added_again(world: Any) -> None:
    session = world.session()
    user = world.User(name="ed")
    session.add(user)
    session.begin_nested()
    user.name = "changed"
    session.rollback()
    assert world.state(user) == "transient"
    session.add(user)
    with pytest.raises(exc.InvalidRequestError, match="cannot be refreshed"):
        session.flush()


def test_a_failed_flush_leaves_generated_keys_as_changes(world: Any) -> None:
    session = world.session()
    first, second = world.User(id=None, name="ed", age=1), world.User(id=None, name="ed", age=2)
    session.add(first)
    session.flush()
    session.add(second)
    with pytest.raises(exc.IntegrityError):
        session.flush()
    assert tuple(sa.inspect(first).attrs.id.history) == ((), [1], ())
    assert list(sa.inspect(second).attrs.id.history.added) == [None]


def test_merge_without_load_leaves_nothing_dirty(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    copy = pickle_free_copy(world, user)
    user.name = "changed"
    assert user in session.dirty
    assert session.merge(copy, load=False) is user
    assert user not in session.dirty
    assert user.name == "ed"


def pickle_free_copy(world: Any, user: Any) -> Any:
    """The same row in another session, detached and clean."""
    with world.session() as other:
        return other.get(world.User, user.id)


def test_close_leaves_deleted_objects_where_they_are(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    session.delete(user)
    session.flush()
    session.close()
    assert world.state(user) == "deleted"
    assert sa.inspect(user).session is session


def test_make_transient_to_detached_without_a_key(world: Any) -> None:
    user = world.User(name="ed")
    world.orm.make_transient_to_detached(user)
    assert sa.inspect(user).identity == (world.orm.base.NO_VALUE,)


def test_make_transient_keeps_the_mark_of_expiry(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    world.orm.make_transient(user)
    assert sa.inspect(user).expired
    assert sa.inspect(user).expired_attributes == set()
    assert user.name is None


def test_all_attributes_of_an_expired_object_are_expired(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    assert sa.inspect(user).expired_attributes == {"id", "name", "age", "posts"}


def test_a_new_key_of_an_object_added_again_reaches_its_children(world: Any) -> None:
    session = world.session()
    user = world.User(name="ed", posts=[world.Post(title="t")])
    session.add(user)
    session.flush()
    session.rollback()
    user.id = 7
    session.add(user)
    session.commit()
    assert world.rows("SELECT user_id FROM posts") == [(7,)]


def test_a_removal_queued_on_an_unloaded_collection_reaches_an_object_outside(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    post = world.Post(title="t", user_id=user.id)
    world.orm.attributes.set_committed_value(post, "user", user)
    post.user = None
    with pytest.warns(exc.SAWarning, match="delete operation along 'User.posts' will not proceed"):
        session.flush()
    assert post.user_id is None


def test_a_polymorphic_get_does_not_keep_its_session(world: Any) -> None:
    class Animal(world.Base):  # type: ignore[misc, name-defined]
        __tablename__ = "animals"
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}
        id = world.orm.mapped_column(sa.Integer, primary_key=True)
        kind = world.orm.mapped_column(sa.String)

    class Dog(Animal):
        __mapper_args__ = {"polymorphic_identity": "dog"}

    world.Base.metadata.create_all(world.engine)
    session = world.session()
    assert session.get(Animal, 1) is None
    gone = weakref.ref(session)
    session.close()
    del session
    gc.collect()
    assert gone() is None


def test_an_expired_object_of_a_hierarchy_is_unpickled_expired(world: Any) -> None:
    class Animal(world.Base):  # type: ignore[misc, name-defined]
        __tablename__ = "animals"
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}
        id = world.orm.mapped_column(sa.Integer, primary_key=True)
        kind = world.orm.mapped_column(sa.String)

    Animal.__module__, Animal.__qualname__ = __name__, "Animal"
    setattr(sys.modules[__name__], "Animal", Animal)  # noqa: B010  # pickle looks it up by name
    world.Base.metadata.create_all(world.engine)
    session = world.session()
    animal = Animal()
    session.add(animal)
    session.commit()
    copy = pickle.loads(pickle.dumps(animal))
    assert sa.inspect(copy).expired
    assert not sa.inspect(copy).modified
    assert "kind" in sa.inspect(copy).unloaded


def test_two_keys_missing_are_warned_about_once(world: Any) -> None:
    class Pair(world.Base):  # type: ignore[misc, name-defined]
        __tablename__ = "pairs"
        first = world.orm.mapped_column(sa.Integer, primary_key=True, autoincrement=False)
        second = world.orm.mapped_column(sa.Integer, primary_key=True, autoincrement=False)

    world.Base.metadata.create_all(world.engine)
    session = world.session()
    session.add(Pair(first=1))
    with pytest.warns(exc.SAWarning) as caught, pytest.raises(exc.IntegrityError):
        session.flush()
    assert len([w for w in caught if "pairs.second" in str(w.message)]) == 1


def test_a_deletion_undone_by_a_savepoint_leaves_values_that_were_not_changed(world: Any) -> None:
    session = world.session()
    user = world.User(name="ed")
    session.add(user)
    session.flush()
    savepoint = session.begin_nested()
    session.delete(user)
    session.flush()
    savepoint.rollback()
    assert world.state(user) == "persistent"
    assert sa.inspect(user).dict["name"] == "ed"


@pytest.mark.parametrize("deleted_deeper", [False, True])
def test_a_deletion_undone_by_a_savepoint_expires_values_that_were_changed(world: Any, deleted_deeper: bool) -> None:
    session = world.session()
    user = world.saved(session)
    savepoint = session.begin_nested()
    user.name = "changed"
    session.flush()
    inner = session.begin_nested() if deleted_deeper else None
    session.delete(user)
    session.flush()
    if inner is not None:
        inner.commit()
    savepoint.rollback()
    assert world.state(user) == "persistent"
    assert sa.inspect(user).expired
    assert user.name == "ed"


def test_deferred_and_refused_loads_travel_in_a_pickle(world: Any) -> None:
    for class_ in (world.User, world.Post):
        class_.__module__, class_.__qualname__ = __name__, class_.__name__
        setattr(sys.modules[__name__], class_.__name__, class_)
    orm = world.orm
    session = world.session()
    user_id = world.saved(session).id
    session.expunge_all()
    options = [orm.defer(world.User.name), orm.raiseload(world.User.posts)]
    user = session.get(world.User, user_id, options=options)
    copy = pickle.loads(pickle.dumps(user))
    with world.session() as other:
        other.add(copy)
        assert copy.name == "ed"
        with pytest.raises(exc.InvalidRequestError, match="lazy='raise'"):
            _ = copy.posts


def test_a_comparison_with_an_object_keeps_its_last_known_key(world: Any) -> None:
    session = world.session()
    user = world.User(name="ed", posts=[world.Post(title="t")])
    statement = sa.select(world.Post.title).where(world.Post.user == user)
    session.add(user)
    session.flush()
    session.expire(user)
    session.expunge(user)
    assert session.scalars(statement).all() == ["t"]


def test_an_equal_value_does_not_move_the_version(world: Any) -> None:
    class Page(world.Base):  # type: ignore[misc, name-defined]
        __tablename__ = "pages"
        id = world.orm.mapped_column(sa.Integer, primary_key=True)
        text = world.orm.mapped_column(sa.String)
        version = world.orm.mapped_column(sa.Integer, nullable=False)
        __mapper_args__ = {"version_id_col": version}

    world.Base.metadata.create_all(world.engine)
    session = world.session()
    page = Page(text="long enough")
    session.add(page)
    session.commit()
    assert page.version == 1
    page.text = " ".join(["long", "enough"])
    session.commit()
    assert page.version == 1
    page.text = "other"
    session.commit()
    assert page.version == 2
