"""A plan says what a flush sends: the same verbs, tables and row counts, in the same order, on both ORMs."""

from __future__ import annotations

import random
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from .models import Line, Recorder, open_session, steps_of
from .scenarios import SCENARIOS


def flushed(models: SimpleNamespace, name: str) -> list[Line]:
    """What a flush of the scenario sends."""
    session, recorder = open_session(models)
    with session:
        SCENARIOS[name](models, session)
        recorder.lines.clear()
        session.flush()
        return recorder.statements()


def planned(models: SimpleNamespace, name: str) -> tuple[list[Line], list[Line]]:
    """The steps of the scenario's plan, and what the flush after it sends."""
    session, recorder = open_session(models)
    with session:
        SCENARIOS[name](models, session)
        recorder.lines.clear()
        recorder.selects = 0
        plan = session.plan()
        assert not recorder.lines and not recorder.selects
        steps = steps_of(plan)
        session.flush()
        return steps, recorder.statements()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_flush_sends_what_was_planned(name: str, ours: SimpleNamespace, theirs: SimpleNamespace) -> None:
    steps, sent = planned(ours, name)
    assert steps == sent == flushed(ours, name) == flushed(theirs, name)


def snapshot(session: Any, objects: list[Any]) -> list[Any]:
    """Everything a plan could disturb."""
    from sqlalchemy import inspect

    found: list[Any] = [
        [id(o) for o in session.new],
        [id(o) for o in session.dirty],
        [id(o) for o in session.deleted],
        sorted(map(str, session.identity_map.keys())),
    ]
    for obj in objects:
        state = inspect(obj)
        history = {
            attr.key: tuple(map(list, map(tuple, attr.history))) for attr in state.attrs if attr.key in state.dict
        }
        found.append((sorted(state.dict), sorted(state.unloaded), str(history), state.modified, state.identity))
    return found


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_plan_changes_nothing(name: str, ours: SimpleNamespace) -> None:
    session, recorder = open_session(ours)
    with session:
        SCENARIOS[name](ours, session)
        objects = [*session.new, *session.dirty, *session.deleted, *session.identity_map.values()]
        before, recorder.selects = snapshot(session, objects), 0
        first = session.plan()
        assert snapshot(session, objects) == before
        assert str(session.plan()) == str(first) and session.plan().to_mermaid() == first.to_mermaid()
        assert recorder.selects == 0


def has_cycles(number: int) -> bool:
    return number % 2 == 0


class Program:
    """A random unit of work: the same number gives the same one."""

    def __init__(self, number: int, models: SimpleNamespace, session: Any) -> None:
        self.random, self.m, self.session = random.Random(number), models, session
        self.has_cycles = has_cycles(number)
        self.next_id = 1

    def some(self, objects: list[Any], chance: float = 0.5) -> list[Any]:
        return [obj for obj in objects if self.random.random() < chance]

    def make(self, class_: Any, count: int) -> list[Any]:
        made = []
        for _ in range(count):
            made.append(class_(id=self.next_id))
            self.next_id += 1
        return made

    def grow(self) -> None:
        """New objects, related at random."""
        m, pick = self.m, self.random.choice
        users, nodes = self.make(m.User, 3), self.make(m.Node, 5 if self.has_cycles else 0)
        posts, tags, addresses = self.make(m.Post, 4), self.make(m.Tag, 3), self.make(m.Address, 4)
        for address in addresses:
            pick(users).addresses.append(address)
        for post in posts:
            post.user = pick([None, *users])
            post.tags = self.some(tags)
        for number, node in enumerate(nodes[1:], 1):
            node.parent = pick([None, *nodes[:number]])
        people, balls = self.make(m.Person, 2), self.make(m.Ball, 3 if self.has_cycles else 0)
        for ball in balls:
            pick(people).balls.append(ball)
        for person in people:
            person.favorite = pick([None, *balls])
        made = [*users, *nodes, *posts, *tags, *people, *self.make(m.Engineer, 2), *self.make(m.Employee, 1)]
        self.random.shuffle(made)
        self.session.add_all(made)

    def shake(self) -> None:
        """Changes, moves and deletes of what is there; everything is loaded first."""
        m = self.m
        everything = {
            class_: self.session.query(class_).order_by(class_.id).all()
            for class_ in (m.User, m.Post, m.Tag, m.Address, m.Person, m.Ball, m.Node, m.Employee)
        }
        for objects in everything.values():
            for obj in objects:
                for attribute in m.orm.class_mapper(type(obj)).relationships:
                    getattr(obj, attribute.key)
        with self.session.no_autoflush:
            for user in self.some(everything[m.User]):
                user.name = self.random.choice(["x", None])
            for engineer in self.some(everything[m.Employee]):
                engineer.name = "e"
                if isinstance(engineer, m.Engineer) and self.random.random() < 0.5:
                    engineer.language = "Rust"
            for post in self.some(everything[m.Post]):
                post.user = self.random.choice([None, *everything[m.User]])
                post.tags = self.some(everything[m.Tag])
            for user in self.some(everything[m.User], 0.3):
                if user.addresses:
                    user.addresses.pop()
            for person in self.some(everything[m.Person]):
                person.favorite = self.random.choice([None, *everything[m.Ball]])
            doomed = [
                *self.some(everything[m.User], 0.3),
                *self.some(everything[m.Tag], 0.3),
                *self.some(everything[m.Post], 0.2),
                *self.some(everything[m.Employee], 0.3),
            ]
            leaves = [node for node in everything[m.Node] if not node.children]
            for obj in [*doomed, *self.some(leaves)]:
                self.session.delete(obj)


def run(models: SimpleNamespace, number: int) -> tuple[list[list[Line]], list[list[Line]]]:
    """Steps planned (rustalchemy only) and statements sent by two flushes of a random program."""
    session, recorder = open_session(models)
    program = Program(number, models, session)
    planned, sent = [], []
    with session:
        for act in (program.grow, program.shake):
            act()
            recorder.lines.clear()
            if hasattr(session, "plan"):
                plan = session.plan()
                assert not plan.notes
                planned.append(steps_of(plan))
            session.flush()
            sent.append(recorder.statements())
            session.commit()
    return planned, sent


@pytest.mark.parametrize("number", range(40))
def test_random_flushes_send_what_was_planned(number: int, ours: SimpleNamespace, theirs: SimpleNamespace) -> None:
    planned, sent = run(ours, number)
    assert planned == sent
    expected = run(theirs, number)[1]
    if has_cycles(number):  # there SQLAlchemy keeps what may go in any order in a set
        assert [rows_by_table(lines) for lines in sent] == [rows_by_table(lines) for lines in expected]
    else:
        assert sent == expected


def rows_by_table(lines: list[Line]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for verb, table, rows in lines:
        found[verb, table] += rows
    return found


def test_the_recorder_sees_flushes(ours: SimpleNamespace) -> None:
    session, recorder = open_session(ours)
    assert isinstance(recorder, Recorder)
    with session:
        session.add_all([ours.Tag(id=1), ours.Tag(id=2)])
        session.flush()
        assert recorder.statements() == [("INSERT", "tag", 2)]
