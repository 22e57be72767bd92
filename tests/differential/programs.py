"""Random programs: made once from a seed, as steps that refer to objects by number."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from .zoo import FAMILIES

# What a step does, and how often it comes up beside the others.
KINDS = {
    "new": 10,
    "append": 14,
    "remove": 6,
    "replace": 4,
    "point": 12,
    "unpoint": 3,
    "rename": 6,
    "set_key": 2,
    "change_key": 2,
    "add": 7,
    "delete": 5,
    "flush": 8,
    "commit": 3,
    "rollback": 2,
    "savepoint": 3,
    "release": 2,
    "undo": 2,
    "expire": 2,
    "expire_one": 2,
    "expire_all": 1,
    "refresh": 2,
    "expunge": 2,
    "merge": 3,
    "merge_copy": 3,
    "get": 3,
    "query": 3,
    "query_eager": 2,
    "read": 5,
    "forget": 1,
    "bulk_update": 1,
    "bulk_delete": 1,
    "change_outside": 1,
    "delete_outside": 1,
    "close": 1,
}


@dataclass(frozen=True)
class Step:
    """One thing done to a session; the numbers choose objects, relationships and values."""

    kind: str
    class_name: str
    a: int
    b: int
    n: int


@dataclass(frozen=True)
class Program:
    """Steps, and how the session they are done to is set up."""

    steps: tuple[Step, ...]
    foreign_keys: bool
    autoflush: bool
    expire_on_commit: bool

    def __len__(self) -> int:
        return len(self.steps)

    def without(self, start: int, stop: int) -> Program:
        """The same program, some steps left out."""
        return replace(self, steps=self.steps[:start] + self.steps[stop:])


def program(seed: int, length: int) -> Program:
    """The program of a seed; a step that makes no sense when it is reached does nothing."""
    rnd = random.Random(seed)
    families = rnd.sample(FAMILIES, rnd.choice((1, 1, 2, 3)))
    names = sorted({name for family in families for name in family})
    kinds, weights = list(KINDS), list(KINDS.values())

    def step(kind: str) -> Step:
        return Step(kind, rnd.choice(names), rnd.randrange(1000), rnd.randrange(1000), rnd.randrange(1000))

    steps = [step("new") for _ in range(rnd.randrange(3, 7))]
    steps += [step(rnd.choices(kinds, weights)[0]) for _ in range(length)]
    return Program(
        (*steps, step("commit")),
        foreign_keys=rnd.random() < 0.5,
        autoflush=rnd.random() < 0.8,
        expire_on_commit=rnd.random() < 0.8,
    )
