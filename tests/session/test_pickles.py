"""Objects, collections and loader options that travel between processes, in both directions."""

from __future__ import annotations

import copy
import gc
import importlib
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

_FOLDER = Path(__file__).parent / "pickles"


class World:
    """One ORM's classes here, and another process that has them as well."""

    def __init__(self, models: Any, path: Path) -> None:
        self.models, self.orm, self.path = models, models.orm, str(path)
        self.engine = models.made_engine(self.path)

    def elsewhere(self, *task: Any) -> Any:
        done = subprocess.run(
            [sys.executable, str(_FOLDER / "elsewhere.py")],
            input=pickle.dumps(task),
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return pickle.loads(done.stdout)

    def saved(self) -> Any:
        """A session with an admin that has something of everything, in memory."""
        m = self.models
        session = self.orm.Session(self.engine)
        admin = m.Admin(id=1, name="ann", age=20, level=3)
        admin.posts = [m.Post(id=1, title="one"), m.Post(id=2, title="two")]
        admin.notes = {"a": m.Note(id=1, key="a")}
        admin.marks = {m.Mark(id=1), m.Mark(id=2)}
        session.add(admin)
        session.commit()
        assert (admin.name, admin.level, len(admin.posts), len(admin.notes), len(admin.marks)) == ("ann", 3, 2, 1, 2)
        assert all(post.user is admin for post in admin.posts)
        return session, admin


@pytest.fixture(params=["sqlalchemy.orm", "rustalchemy.orm"])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("PICKLES_ORM", request.param)
    places = [str(_FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))
    monkeypatch.syspath_prepend(str(_FOLDER))
    monkeypatch.delitem(sys.modules, "models", raising=False)
    world = World(importlib.import_module("models"), tmp_path / "pickles.db")
    yield world
    world.orm.close_all_sessions()
    world.engine.dispose()
    sys.modules.pop("models", None)


def test_objects_look_the_same_there_and_back(world: World) -> None:
    m = world.models
    session, admin = world.saved()
    changed = admin.posts[1]
    changed.title = "changed"
    session.expire(admin, ["age"])
    objects = [admin, changed, admin.notes["a"], m.User(name="transient"), m.Plain(id=5, name="plain", user=admin)]
    here = [m.looks(obj) for obj in objects]
    there, back = world.elsewhere("describe", objects)
    for look in here:
        if look["life"] == "persistent":
            look["life"] = "detached"
    assert there == here
    assert [m.looks(obj) for obj in back] == here
    assert [(look["life"], look["modified"]) for look in here] == [
        ("detached", False),
        ("detached", True),
        ("detached", False),
        ("transient", True),
        ("transient", True),
    ]
    assert here[0]["expired"] == ["age"] and here[1]["committed"] == {"title": "two"}
    assert back[0].posts[1] is back[1] and back[1].user is back[0] and back[4].user is back[0]
    assert back[0].notes["a"] is back[2] and isinstance(back[0].marks, set)
    assert not any(obj is one for obj in back for one in objects)


def test_collections_are_tied_to_the_object_that_comes_out(world: World) -> None:
    m = world.models
    session, admin = world.saved()
    _, (back,) = world.elsewhere("describe", [admin])
    session.close()
    back.posts.append(m.Post(id=3, title="three"))
    assert back.posts[-1].user is back
    back.posts[0].user = None
    assert [post.id for post in back.posts] == [2, 3]
    note = m.Note(id=2, key="b")
    back.notes[note.key] = note
    with world.orm.Session(world.engine) as other:
        other.add(back)
        assert sorted(obj.id for obj in other.new) == [2, 3]
        other.commit()
        assert [post.id for post in back.posts] == [2, 3] and sorted(back.notes) == ["a", "b"]


def test_changes_made_elsewhere_are_flushed_here(world: World) -> None:
    session, admin = world.saved()
    session.expire(admin)
    seen, back = world.elsewhere("change", world.path, admin)
    assert seen == ["ann", ["one", "two"], ["a"], 2]
    session.close()
    with world.orm.Session(world.engine) as other:
        other.add(back)
        assert back in other.dirty and len(other.new) == 1
        other.commit()
        assert (back.name, [post.title for post in back.posts]) == (
            "changed elsewhere",
            ["one", "two", "from elsewhere"],
        )


def test_changes_made_here_are_flushed_elsewhere(world: World) -> None:
    session, admin = world.saved()
    admin.level = 9
    admin.name = "changed here"
    session.expunge_all()
    written = world.elsewhere("write", world.path, admin)
    assert written == {"id": 1, "kind": "admin", "name": "changed here", "age": 20, "level": 9}


def test_what_is_queued_on_an_unloaded_collection_travels(world: World) -> None:
    m = world.models
    session, admin = world.saved()
    session.expire(admin, ["posts"])
    new = m.Post(id=7, title="queued")
    new.user = admin
    assert "posts" not in vars(admin)
    back = pickle.loads(pickle.dumps(admin))
    session.rollback()
    session.close()
    with world.orm.Session(world.engine, autoflush=False) as other:
        other.add(back)
        assert [post.title for post in back.posts] == ["one", "two", "queued"]
        assert back.posts[-1] is not new and back.posts[-1].user is back


def test_loader_options_travel(world: World) -> None:
    m, orm = world.models, world.orm
    world.saved()[0].close()
    options = [
        orm.selectinload(m.User.posts),
        orm.joinedload(m.User.notes),
        orm.load_only(m.User.name),
        orm.raiseload(m.User.marks),
    ]
    (found,) = world.elsewhere("select", world.path, "User", options)
    assert found["members"] == {"posts": ["1", "2"], "notes": ["1"]}
    assert {"age", "marks"} <= set(found["unloaded"])
    with orm.Session(world.engine) as session:
        (here,) = session.scalars(sa.select(m.User).options(*options)).unique()
        assert m.looks(here) == found
        _, (back,) = world.elsewhere("describe", [here])
    with pytest.raises(sa.exc.InvalidRequestError, match="marks"):
        _ = back.marks
    with orm.Session(world.engine) as session:
        session.add(back)
        with pytest.raises(sa.exc.InvalidRequestError, match="marks"):
            _ = back.marks
        session.expire(back)
        assert back.age == 20 and "posts" in vars(back)


def _age_of(obj: Any) -> Any:
    """Runs in a process that was spawned, which imports the classes with the object."""
    return type(obj).__name__, obj.name, sorted(obj.notes), sa.inspect(obj).detached


def test_a_spawned_pool_takes_objects(world: World) -> None:
    _, admin = world.saved()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_age_of, (admin,)) == ("Admin", "ann", ["a"], True)


def test_states_come_out_with_their_objects(world: World) -> None:
    session, admin = world.saved()
    admin.name = "changed"
    plain = world.models.Plain(id=1, name="plain")
    for obj in (admin, plain):
        state = sa.inspect(obj)
        state.info["mine"] = 1
        for things in ((obj, state), (state, obj)):
            first, second = pickle.loads(pickle.dumps(things))
            back, its_state = (first, second) if isinstance(first, type(obj)) else (second, first)
            assert sa.inspect(back) is its_state and its_state.obj() is back
            assert (its_state.info, its_state.key, its_state.modified) == ({"mine": 1}, state.key, True)
            assert its_state.committed_state == state.committed_state
            assert (back.id, back.name) == (obj.id, obj.name)
    alone = pickle.loads(pickle.dumps(sa.inspect(admin)))
    gc.collect()
    assert alone.obj() is None and alone.class_ is type(admin)
    session.close()


def test_getstate_and_setstate_of_a_state(world: World) -> None:
    session, admin = world.saved()
    session.expire(admin, ["age"])
    admin.name = "changed"
    described = sa.inspect(admin).__getstate__()
    assert described["instance"] is admin and described["class_"] is type(admin)
    assert described["key"] == sa.inspect(admin).key
    assert (described["committed_state"], set(described["expired_attributes"])) == ({"name": "ann"}, {"age"})
    assert (described["modified"], described["expired"]) == (True, False)
    other = type(admin)(id=1, name="changed")
    sa.inspect(other).__setstate__({**described, "instance": other})
    assert sa.inspect(other).detached and sa.inspect(other).committed_state == {"name": "ann"}
    assert sa.inspect(other).attrs["name"].history == (["changed"], (), ["ann"])
    assert sa.inspect(other).expired_attributes == {"age"}


def test_pickle_events(world: World) -> None:
    m = world.models
    heard: list[Any] = []

    def pickled(target: Any, state_dict: dict[str, Any]) -> None:
        heard.append(("pickle", sa.inspect(target).identity))
        state_dict["mine"] = "luggage"

    def unpickled(target: Any, state_dict: dict[str, Any]) -> None:
        heard.append(("unpickle", sa.inspect(target).identity, state_dict.get("mine")))

    event.listen(m.User, "pickle", pickled, propagate=True)
    event.listen(m.User, "unpickle", unpickled, propagate=True)
    _, admin = world.saved()
    pickle.loads(pickle.dumps(admin))
    assert heard == [("pickle", (1,)), ("unpickle", (1,), "luggage")]


def test_classes_that_are_not_mapped_there_are_named(world: World) -> None:
    plain = world.models.Plain(id=1, name="plain")
    text = pickle.dumps(plain)
    world.models.Base.registry.dispose()
    with pytest.raises(world.orm.exc.UnmappedInstanceError, match=r"Cannot deserialize object of type .*Plain"):
        pickle.loads(text)


def test_deep_copies_are_objects_of_their_own(world: World) -> None:
    session, admin = world.saved()
    admin.name = "changed"
    twin = copy.deepcopy(admin)
    assert twin is not admin and twin.posts[0] is not admin.posts[0] and twin.posts[0].user is twin
    assert twin.notes["a"] is not admin.notes["a"] and len(twin.marks) == 2
    assert sa.inspect(twin) is not sa.inspect(admin) and sa.inspect(twin).obj() is twin
    assert sa.inspect(twin).identity == (1,) and sa.inspect(twin).modified
    twin.posts.append(world.models.Post(id=9))
    assert len(admin.posts) == 2
    session.close()
