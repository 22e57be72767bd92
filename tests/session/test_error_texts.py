"""Errors that say what to do: SQLAlchemy's class, code and first words, and then what happened and what would help."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

LAZY = (
    r"^Parent instance <User at 0x[0-9a-f]+> is not bound to a Session; lazy load operation of attribute 'posts' "
    r"cannot proceed"
)
REFRESH = r"^Instance <User at 0x[0-9a-f]+> is not bound to a Session; attribute refresh operation cannot proceed"


def _is_ours(world: Any) -> bool:
    return bool(world.orm.__name__ == "rustalchemy.orm")


def _closed(world: Any) -> Any:
    with world.session() as session:
        return session.get(world.User, 1)


def _expunged(world: Any) -> Any:
    session = world.session()
    user = session.get(world.User, 1)
    session.expunge(user)
    return user


def _collected(world: Any) -> Any:
    user = world.session().get(world.User, 1)
    gc.collect()
    return user


def _made(world: Any) -> Any:
    user = world.User(id=1, name="ed")
    world.orm.make_transient_to_detached(user)
    return user


DETACHED = {
    "closed": (_closed, "detached when its Session was closed"),
    "expunged": (_expunged, r"taken out of its Session by expunge\(\)"),
    "collected": (_collected, "detached when its Session was garbage collected"),
    "made": (_made, r"made detached by make_transient_to_detached\(\)"),
}


@pytest.mark.parametrize("how", DETACHED)
def test_117_lazy_load_of_a_detached_object(world: Any, how: str) -> None:
    world.saved(world.session())
    make, reason = DETACHED[how]
    user = make(world)
    with pytest.raises(world.orm.exc.DetachedInstanceError, match=LAZY) as raised:
        _ = user.posts
    assert raised.value.code == "bhk3"
    if _is_ours(world):
        raised.match(reason)
        raised.match(r"options\(selectinload\(User\.posts\)\)")


def test_117_expired_attribute_of_a_detached_object(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    session.close()
    with pytest.raises(world.orm.exc.DetachedInstanceError, match=REFRESH) as raised:
        _ = user.age
    assert raised.value.code == "bhk3"
    if _is_ours(world):
        raised.match(r"\(attribute 'age' was read\); expired are 'age', 'id', 'name'")
        raised.match("expire_on_commit=False")
        raised.match("detached when its Session was closed")


def test_117_deferred_column_of_a_detached_object(world: Any) -> None:
    world.saved(world.session(), age=5)
    with world.session() as session:
        user = session.scalars(sa.select(world.User).options(world.orm.defer(world.User.age))).one()
    text = "is not bound to a Session; deferred load operation of attribute 'age' cannot proceed"
    with pytest.raises(world.orm.exc.DetachedInstanceError, match=text) as raised:
        _ = user.age
    if _is_ours(world):
        raised.match(r"options\(undefer\(User\.age\)\)")


def test_deleted_and_committed(world: Any) -> None:
    session = world.session()
    world.saved(session)
    user = session.scalars(
        sa.select(world.User).options(world.orm.defer(world.User.age)).execution_options(populate_existing=True)
    ).one()
    session.delete(user)
    session.commit()
    with pytest.raises(world.orm.exc.DetachedInstanceError) as raised:
        _ = user.age
    if _is_ours(world):
        raised.match("row was deleted, and the object was detached by the commit")


def test_attached_again_and_detached_otherwise(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    session.close()
    session.add(user)
    assert user.posts == []
    session.expire(user)
    session.expunge(user)
    with pytest.raises(world.orm.exc.DetachedInstanceError) as raised:
        _ = user.posts
    if _is_ours(world):
        raised.match("expunge")


def test_113_autoflush_error_says_who_asked(world: Any) -> None:
    session = world.session()
    user = world.saved(session)
    session.add(world.User(name="ed"))
    with pytest.raises(exc.IntegrityError, match="raised as a result of Query-invoked autoflush") as raised:
        _ = user.posts  # the access
    if _is_ours(world):
        raised.match("the flush came before a load that was caused here: File")
        raised.match("_ = user.posts  # the access")


def test_another_session(world: Any) -> None:
    first, second = world.session(), world.session()
    user = world.saved(first)
    text = r"^Object '<User at 0x[0-9a-f]+>' is already attached to session '\d+' \(this is '\d+'\)"
    with pytest.raises(exc.InvalidRequestError, match=text) as raised:
        second.add(user)
    if _is_ours(world):
        raised.match("merge")


def test_identity_that_is_taken(world: Any) -> None:
    session = world.session()
    world.saved(session)
    copy = _expunged(world)
    user = session.get(world.User, 1)
    text = r"^Can't attach instance <User at .*>; another instance with key \(.*\) is already present in this session\."
    with pytest.raises(exc.InvalidRequestError, match=text) as raised:
        session.add(copy)
    assert user in session
    if _is_ours(world):
        raised.match("merge")
