"""Writes random programs: source code that means the same to both ORMs, and touches of what it loads."""

from __future__ import annotations

import random

from .dml import DmlWriter
from .legacy import QueryWriter
from .reads import ReadWriter
from .selects import SelectWriter
from .steps import Program, Query, Touch

WRITERS = {SelectWriter: 13, QueryWriter: 6, DmlWriter: 3, ReadWriter: 3}
TOUCHES = {
    "read": 12,
    "read_all": 3,
    "expire": 2,
    "expire_one": 2,
    "refresh": 1,
    "refresh_one": 2,
    "set": 1,
    "expunge": 1,
    "get": 1,
    "merge": 1,
    "relate": 1,
    "delete": 0.5,
    "expire_all": 0.5,
    "rollback": 0.5,
    "savepoint": 0.5,
}


def program(seed: int) -> Program:
    """The program of a seed."""
    rnd = random.Random(seed)
    steps: list[Query | Touch] = []
    for _ in range(rnd.choice((1, 1, 2, 2, 3))):
        steps.append(rnd.choices(list(WRITERS), list(WRITERS.values()))[0](rnd).write())
        for _ in range(rnd.randrange(8)):
            kind = rnd.choices(list(TOUCHES), list(TOUCHES.values()))[0]
            steps.append(Touch(kind, rnd.randrange(1000), rnd.randrange(1000)))
    return Program(tuple(steps), autoflush=rnd.random() < 0.8, is_watched=rnd.random() < 0.6)
