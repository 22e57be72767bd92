"""`test_059`: rows that wait for each other are refused before anything is sent, by an error that names them."""

from __future__ import annotations

import pickle
import re
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, Integer
from sqlalchemy.exc import CircularDependencyError

from .models import open_session

MEMBER = re.compile(r"_\w+State\((?:_\w+DP\([\w.]+\), )?<\w+ at 0x[0-9a-f]+>(?:, delete=(?:True|False))?\)")


def make(orm: ModuleType) -> SimpleNamespace:
    base: Any = orm.declarative_base()

    class Hub(base):
        __tablename__ = "hub"
        id = Column(Integer, primary_key=True)
        rim_id = Column(ForeignKey("rim.id", use_alter=True))
        next_id = Column(ForeignKey("hub.id"))
        rim = orm.relationship("Rim", foreign_keys=rim_id)
        next = orm.relationship("Hub", foreign_keys=next_id, remote_side=id)

    class Rim(base):
        __tablename__ = "rim"
        id = Column(Integer, primary_key=True)
        hub_id = Column(ForeignKey("hub.id"))
        hub = orm.relationship("Hub", foreign_keys=hub_id)

    orm.configure_mappers()
    return SimpleNamespace(orm=orm, Base=base, Hub=Hub, Rim=Rim)


def itself(m: SimpleNamespace) -> list[Any]:
    hub = m.Hub(id=1)
    hub.next = hub
    return [hub]


def each_other(m: SimpleNamespace) -> list[Any]:
    one, two = m.Hub(id=1), m.Hub(id=2)
    one.next, two.next = two, one
    return [one, two]


def between_classes(m: SimpleNamespace) -> list[Any]:
    hub, rim = m.Hub(id=1), m.Rim(id=1)
    hub.rim, rim.hub = rim, hub
    return [hub, rim]


def names(error: CircularDependencyError, objects: list[Any]) -> list[str]:
    """The members the message names, addresses replaced by places."""
    text = str(error)
    for number, obj in enumerate(objects):
        text = text.replace(f"{id(obj):#x}", f"0x{number}").replace(f"0x{id(obj):x}", f"0x{number}")
    return sorted(MEMBER.findall(text))


@pytest.mark.parametrize("build", [itself, each_other, between_classes])
def test_059_the_cycle_is_named_before_any_statement(build: Any, orm: ModuleType) -> None:
    models = make(orm)
    session, recorder = open_session(models)
    with session:
        objects = build(models)
        session.add_all(objects)
        with pytest.raises(CircularDependencyError, match=r"^Circular dependency detected\. \(") as caught:
            session.flush()
        assert recorder.lines == []
        found = names(caught.value, objects)
        saves = [f"_SaveUpdateState(<{type(obj).__name__} at 0x{number}>)" for number, obj in enumerate(objects)]
        assert [name for name in found if name.startswith("_Save")] == sorted(saves)
        keys = {"itself": ["Hub.next"], "each_other": ["Hub.next"] * 2, "between_classes": ["Hub.rim", "Rim.hub"]}
        processed = [name for name in found if name.startswith("_Process")]
        assert sorted(re.findall(r"_ManyToOneDP\(([\w.]+)\)", " ".join(processed))) == keys[build.__name__]
        assert len(caught.value.cycles) == len(found)
        assert caught.value.edges


@pytest.mark.parametrize("build", [itself, each_other, between_classes])
def test_059_a_plan_says_it_too(build: Any) -> None:
    import rustalchemy.orm

    models = make(rustalchemy.orm)
    session, recorder = open_session(models)
    with session:
        objects = build(models)
        session.add_all(objects)
        with pytest.raises(CircularDependencyError) as planned:
            session.plan()
        assert [obj in session.new for obj in objects] == [True] * len(objects)
        with pytest.raises(CircularDependencyError) as flushed:
            session.flush()
        assert str(planned.value) == str(flushed.value)
        assert recorder.lines == []


def test_059_the_error_walks_around_the_cycle() -> None:
    import rustalchemy.orm

    models = make(rustalchemy.orm)
    session, _ = open_session(models)
    objects = between_classes(models)
    session.add_all(objects)
    with pytest.raises(CircularDependencyError) as caught:
        session.plan()
    members, edges = caught.value.cycles, set(caught.value.edges)
    assert len(members) == 4
    assert all(pair in edges for pair in zip(members, [*members[1:], members[0]], strict=True))
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value) and copy.cycles == members
    session.close()
