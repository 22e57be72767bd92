"""What programs do with a session, up to a commit and the first reads after it. Each starts from the same rows.

A scenario returns nothing; the objects it wants to be looked at afterwards go into ``objects``.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from fault_world import World

Objects = dict[str, Any]
# needs pages of its own, for which there is no room on a full disk
LONG = "long " * 4000


def insert_graph(world: World, session: Any, objects: Objects) -> None:
    user = objects["user"] = world.User(name="dan", note=world.note(LONG))
    tag = objects["tag"] = world.Tag(label="green")
    for title in ("q1", "q2", "q3"):
        post = world.Post(title=title)
        post.tags.append(tag)
        user.posts.append(post)
        objects[title] = post
    other = objects["other"] = world.User(name="eve", age=1)
    session.add_all([user, other])
    session.commit()
    assert (user.name, len(user.posts), other.age) == ("dan", 3, 1)


def change_and_delete(world: World, session: Any, objects: Objects) -> None:
    ann, bob, cid = session.scalars(sa.select(world.User).order_by(world.User.id))
    objects.update(ann=ann, bob=bob, cid=cid)
    ann.name, bob.name = "anna", "bobby"
    ann.note, bob.note = world.note("a"), world.note(LONG)
    moved = objects["moved"] = ann.posts[0]
    bob.posts.append(moved)
    objects["orphan"] = ann.posts[0]
    ann.posts.remove(objects["orphan"])
    moved.tags.clear()
    objects["post of cid"] = cid.posts[0]
    session.delete(cid)
    session.commit()
    assert [post.title for post in bob.posts] == ["p1", "p3"]


def savepoints(world: World, session: Any, objects: Objects) -> None:
    ann = objects["ann"] = session.get(world.User, 1)
    ann.age = 21
    with session.begin_nested():
        inner = objects["inner"] = world.User(name="inner")
        session.add(inner)
        session.flush()
        ann.age = 22
    savepoint = session.begin_nested()
    lost = objects["lost"] = world.User(name="lost")
    session.add(lost)
    ann.name = "lost too"
    session.flush()
    savepoint.rollback()
    session.add(lost)
    lost.name = "found"
    session.commit()
    assert (ann.name, ann.age, inner.name) == ("ann", 22, "inner")


def autoflush_and_loads(world: World, session: Any, objects: Objects) -> None:
    user = objects["user"] = world.User(name="dan")
    session.add(user)
    ann = objects["ann"] = session.scalars(sa.select(world.User).where(world.User.name == "ann")).one()
    ann.age = 99
    assert [post.title for post in ann.posts] == ["p1", "p2"]
    post = objects["post"] = session.get(world.Post, 3)
    assert post.user.name == "bob"
    session.refresh(post)
    post.title = "changed"
    session.expire(ann, ["name"])
    assert ann.name == "ann"
    session.commit()
    assert (ann.age, post.title, user.age) == (99, "changed", 7)


def versions_and_keys(world: World, session: Any, objects: Objects) -> None:
    first, second = session.scalars(sa.select(world.Account).order_by(world.Account.code))
    objects.update(first=first, second=second)
    first.amount = 11
    first.code = "z"
    session.delete(second)
    instead = objects["instead"] = world.Account(code="y", amount=21)
    session.add(instead)
    session.flush()
    first.amount += 1
    session.commit()
    assert (first.amount, first.version, instead.amount) == (12, 3, 21)


def statements(world: World, session: Any, objects: Objects) -> None:
    ann = objects["ann"] = session.get(world.User, 1)
    cid = objects["cid"] = session.get(world.User, 3)
    session.execute(sa.update(world.User).values(age=world.User.age + 1))
    added = session.scalars(sa.insert(world.User).returning(world.User), [{"name": "dan"}, {"name": "eve"}]).all()
    objects.update(zip(("dan", "eve"), added, strict=True))
    session.execute(sa.delete(world.Post).where(world.Post.user_id == 3))
    session.execute(sa.delete(world.User).where(world.User.id == 3))
    session.bulk_insert_mappings(world.Tag, [{"label": "bulk"}])
    session.commit()
    assert (ann.age, added[0].name, cid in session) == (21, "dan", False)


def ends(world: World, session: Any, objects: Objects) -> None:
    """Rollback, close, expunge and merge on the way to the commit, with what is left of each."""
    ann = objects["ann"] = session.get(world.User, 1)
    lost = objects["lost"] = world.User(name="lost")
    session.add(lost)
    session.delete(ann.posts[0])
    session.flush()
    session.rollback()
    ann.age = 5
    session.flush()
    session.close()
    with session.begin():
        session.add(lost)
        session.expunge(lost)
        merged = objects["merged"] = session.merge(world.User(id=2, name="merged"))
        session.add(ann)
        ann.age = 6
    assert (merged.name, ann.age) == ("merged", 6)


SCENARIOS = (insert_graph, change_and_delete, savepoints, autoflush_and_loads, versions_and_keys, statements, ends)
