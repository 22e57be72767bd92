"""Random programs: made from a seed, and made shorter when the ORMs differ."""

from __future__ import annotations

import random
from typing import NamedTuple

from .pair import Difference, run
from .side import Options, Step
from .zoo import FAMILIES, ROW_EVENTS, SESSION_EVENTS

# How often each step comes up beside the others, and what it draws: a Class, a Number of an object, a small number for
# keys and attributes, a value, a flag or an event.
STEPS = {
    "new": (10, "Ckv"),
    "new_with": (5, "CkN"),
    "add": (8, "N"),
    "add_all": (3, "NNN"),
    "delete": (6, "N"),
    "replace_row": (3, "Nv"),
    "expunge": (3, "N"),
    "expunge_all": (1, ""),
    "elsewhere": (1, "N"),
    "back": (1, "N"),
    "expire": (3, "Nv"),
    "expire_all": (1, ""),
    "refresh": (3, "Nv"),
    "merge": (4, "Nf"),
    "merge_copy": (3, "Nvf"),
    "make_transient": (2, "N"),
    "make_transient_to_detached": (2, "N"),
    "enable_loading": (1, "N"),
    "autoflush": (1, "f"),
    "pickle": (2, "N"),
    "forget": (2, "N"),
    "is_modified": (1, "N"),
    "contains": (1, "N"),
    "trip": (3, "E"),
    "set": (9, "Nkv"),
    "set_committed": (2, "Nkv"),
    "set_committed_related": (1, "NkN"),
    "set_committed_collection": (1, "NkN"),
    "flag_modified": (2, "Nk"),
    "flag_dirty": (1, "N"),
    "read": (8, "Nv"),
    "read_unflushed": (2, "Nv"),
    "point": (8, "NkN"),
    "append": (9, "NkN"),
    "insert": (2, "NkN"),
    "remove": (4, "NkN"),
    "pop": (2, "NkN"),
    "clear": (2, "NkN"),
    "slice": (2, "NkN"),
    "replace": (4, "NkNN"),
    "replace_with_own": (2, "NkN"),
    "del_collection": (2, "NkN"),
    "begin": (1, ""),
    "begin_nested": (5, ""),
    "release": (3, "k"),
    "rollback_to": (4, "k"),
    "close_savepoint": (1, "k"),
    "flush": (10, ""),
    "commit": (5, ""),
    "rollback": (5, ""),
    "close": (1, ""),
    "reset": (1, ""),
    "new_session": (1, ""),
    "get": (3, "Ckkf"),
    "select": (3, "Cf"),
    "select_where": (2, "Cvf"),
    "select_related": (4, "Ckf"),
    "select_partly": (2, "Ckf"),
    "update": (2, "Ckv"),
    "update_named": (2, "Ckv"),
    "update_by_key": (1, "Ckv"),
    "insert_rows": (2, "Ckv"),
    "bulk_save": (1, "N"),
    "delete_where": (2, "Ckv"),
    "delete_named": (2, "Ckv"),
    "behind": (2, "Ckv"),
    "move_behind": (1, "Ckv"),
}


class Program(NamedTuple):
    """Steps, and how the session is set up that they are done to."""

    options: Options
    steps: list[Step]

    def __str__(self) -> str:
        return f"run({self.options}, [\n" + "".join(f"    {step},\n" for step in self.steps) + "])"


def program(seed: int) -> Program:
    """The program of a seed: few classes, and steps of which some are left out and others come often."""
    rnd = random.Random(seed)
    names = sorted({name for family in rnd.sample(FAMILIES, rnd.choice((1, 1, 2, 4))) for name in family})
    weights = [weight * rnd.choice((0, 1, 1, 2, 4)) for weight, _ in STEPS.values()]
    objects = rnd.choice((4, 8, 16))
    draws = {
        "C": lambda: rnd.choice(names),
        "N": lambda: rnd.randrange(objects),
        "k": lambda: rnd.randrange(8),
        "v": lambda: rnd.randrange(16),
        "f": lambda: rnd.random() < 0.5,
        "E": lambda: rnd.choice(ROW_EVENTS + SESSION_EVENTS),
    }

    def step(name: str) -> Step:
        return (name, *(draws[letter]() for letter in STEPS[name][1]))

    options = Options(*(rnd.random() < often for often in (0.75, 0.75, 0.4, 0.5, 0.3)))
    steps = [step("new") for _ in range(rnd.randrange(2, 5))]
    steps += [step(name) for name in rnd.choices(list(STEPS), weights, k=rnd.randrange(20, 70))]
    return Program(options, steps)


def difference(found: Program) -> str | None:
    """What differs at the end of a program."""
    try:
        run(*found)
    except Difference as seen:
        return str(seen)
    return None


def shortest(found: Program) -> Program:
    """Leave out steps as long as the ORMs still differ."""
    width = len(found.steps)
    while width := width // 2:
        start = 0
        while start < len(found.steps):
            shorter = found._replace(steps=found.steps[:start] + found.steps[start + width :])
            if difference(shorter):
                found = shorter
            else:
                start += width
    return found
