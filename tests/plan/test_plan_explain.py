"""`plan.explain(obj)`: what happens to an object's row, why, and when."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.orm.exc import UnmappedInstanceError as TheirUnmappedInstanceError

from rustalchemy.orm.exc import UnmappedInstanceError

from .models import open_session


def test_an_insert(ours: SimpleNamespace, session: Any) -> None:
    user = ours.User(name="ed", addresses=[ours.Address(email="a")])
    session.add(user)
    told = session.plan().explain(user.addresses[0])
    assert (told.kind, told.steps) == ("insert", (2,))
    assert told.why == (
        "it is new in the session: User.addresses of User(new) cascades save-update to it",
        "it was added to User.addresses of User(new) and takes its key",
    )
    assert told.waits_for == ("step 1 (INSERT user): User.addresses",)
    changes = {change.key: change for change in told.changes}
    assert (changes["email"].old, changes["email"].new, changes["email"].via) == (None, "a", None)
    assert (changes["user_id"].new, changes["user_id"].via) == (None, "User.addresses")
    assert str(changes["user_id"]) == "user_id: nothing -> the key of User(new) (User.addresses)"
    assert str(told).splitlines()[0] == "Address(new): insert in step 2 (INSERT address)"


def test_an_update_with_history(ours: SimpleNamespace, session: Any) -> None:
    user = ours.User(id=1, name="ed")
    session.add(user)
    session.flush()
    assert user.posts == []
    user.name, user.posts = "jack", [ours.Post(id=1)]
    told = session.plan().explain(user)
    assert (told.kind, told.steps, told.why) == ("update", (1,), ("it was changed",))
    changes = {change.key: change for change in told.changes}
    assert (changes["name"].old, changes["name"].new) == ("ed", "jack")
    assert (changes["posts"].added, changes["posts"].removed) == (tuple(user.posts), ())
    assert str(told).splitlines() == [
        "User(1): update in step 1 (UPDATE user)",
        "  because   it was changed",
        "  changes   posts: +Post(new)",
        "  changes   name: 'ed' -> 'jack'",
    ]


def test_deletes_by_mark_cascade_and_orphanage(ours: SimpleNamespace, session: Any) -> None:
    doomed = ours.User(id=1, addresses=[ours.Address(id=1), ours.Address(id=2)])
    other = ours.User(id=2, addresses=[ours.Address(id=3)])
    session.add_all([doomed, other])
    session.flush()
    marked, cascaded, orphan = *doomed.addresses, other.addresses[0]
    session.delete(marked)
    session.delete(doomed)
    other.addresses.remove(orphan)
    plan = session.plan()
    assert plan.explain(doomed).kind == "delete"
    assert (plan.explain(marked).kind, plan.explain(marked).why) == ("delete", ("it was marked for deletion",))
    told = plan.explain(cascaded)
    assert told.kind == "cascaded delete"
    assert told.why == ("User.addresses of User(1), which is deleted, cascades delete to it",)
    assert plan.explain(doomed).waits_for == ("step 1 (DELETE address): User.addresses",)
    told = plan.explain(orphan)
    assert told.kind == "orphan delete"
    assert told.why == ("User.addresses of User(2) let it go and deletes orphans",)


def test_a_key_that_becomes_null(ours: SimpleNamespace, session: Any) -> None:
    user = ours.User(id=1, posts=[ours.Post(id=1), ours.Post(id=2)])
    session.add(user)
    session.flush()
    removed, left = user.posts
    user.posts.remove(removed)
    told = session.plan().explain(removed)
    assert told.kind == "update" and "it was removed from User.posts of User(1)" in told.why
    assert "user_id: 1 -> None (User.posts)" in map(str, told.changes)
    session.delete(user)
    told = session.plan().explain(left)
    assert told.kind == "update"
    assert told.why == ("User(1) is deleted: its key along User.posts becomes NULL",)


def test_a_row_switch(ours: SimpleNamespace, session: Any) -> None:
    old = ours.User(id=1, name="old")
    session.add(old)
    session.flush()
    session.delete(old)
    new = ours.User(id=1, name="new")
    session.add(new)
    plan = session.plan()
    told = plan.explain(new)
    assert told.kind == "row switch"
    assert "it has the identity of User(1), which is deleted, and takes over that row" in told.why
    told = plan.explain(old)
    assert told.kind is None and not told
    assert told.why[-1] == "User(new) takes over its row (row switch): no DELETE is sent"
    session.flush()
    assert new in session and old not in session


def test_a_post_update(ours: SimpleNamespace, session: Any) -> None:
    ball = ours.Ball(id=1)
    person = ours.Person(id=1, balls=[ball], favorite=ball)
    session.add(person)
    plan = session.plan()
    assert (plan.explain(person).kind, plan.explain(person).steps) == ("insert", (1, 3))
    session.flush()
    person.favorite = None
    told = session.plan().explain(person)
    assert told.kind == "post update"
    assert "Person.favorite is written by a second UPDATE, when both rows are there" in told.why
    assert "favorite_id: 1 -> None (Person.favorite)" in map(str, told.changes)


def test_association_rows(ours: SimpleNamespace, session: Any) -> None:
    post, tag = ours.Post(id=1), ours.Tag(id=1)
    session.add_all([post, tag])
    session.flush()
    post.tags.append(tag)
    plan = session.plan()
    for obj in (post, tag):
        told = plan.explain(obj)
        assert (told.kind, told.steps) == ("association rows", (1,))


def test_nothing_to_write(ours: SimpleNamespace, session: Any) -> None:
    clean, same = ours.User(id=1, name="a"), ours.User(id=2, name="b")
    session.add_all([clean, same])
    session.flush()
    same.name = "x"
    same.name = "b"
    outside = ours.User(id=3)
    plan = session.plan()
    assert str(plan.explain(clean)) == "User(1) is in the session and had no changes: nothing is written."
    assert str(plan.explain(same)).splitlines()[0] == (
        "User(2): nothing is written, no column differs from the database"
    )
    assert str(plan.explain(outside)) == "User(new) is not in this session: a flush does not touch it."
    assert not plan.explain(outside) and plan.explain(outside).steps == ()


def test_an_object_of_another_session(ours: SimpleNamespace, session: Any) -> None:
    other, _ = open_session(ours)
    with other:
        stranger = ours.User(id=1)
        other.add(stranger)
        assert "is not in this session" in str(session.plan().explain(stranger))
        assert other.plan().explain(stranger).kind == "insert"


@pytest.mark.parametrize("thing", [object(), None, 5, "user"])
def test_unmapped_things(thing: object, ours: SimpleNamespace, theirs: SimpleNamespace, session: Any) -> None:
    with pytest.raises(UnmappedInstanceError) as ours_says:
        session.plan().explain(thing)
    their_session, _ = open_session(theirs)
    with pytest.raises(TheirUnmappedInstanceError) as theirs_says:
        their_session.add(thing)
    assert str(ours_says.value) == str(theirs_says.value)


def test_a_plan_lets_go_of_its_objects(ours: SimpleNamespace) -> None:
    session, _ = open_session(ours)
    user = ours.User(id=1)
    session.add(user)
    user.plan = session.plan()  # a cycle through the plan
    user.told = user.plan.explain(user)
    gone = weakref.ref(user)
    session.close()
    del user, session
    gc.collect()
    assert gone() is None
