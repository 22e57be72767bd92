"""`python tests/faults [KIND…]`: every kind of fault at every step of every scenario, on both ORMs. Takes minutes.

Fails if anything is broken here, or comes out differently than on SQLAlchemy where that is not broken itself.
"""

from __future__ import annotations

import gc
import importlib
import logging
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from conftest import WORLDS
from fault_kinds import KINDS, kinds_of
from fault_world import World
from scenarios import SCENARIOS
from trial import Outcome, attempt, is_comparable, steps_of

Outcomes = dict[tuple[str, str, str], "Outcome | Exception"]


def outcomes_of(world: World, kinds: list[str]) -> Outcomes:
    """By scenario, kind and step."""
    outcomes: Outcomes = {}
    for scenario in SCENARIOS:
        steps = steps_of(world, scenario)
        after = world.dump()
        for step in steps:
            for kind in kinds_of(step):
                if kind in kinds:
                    outcomes[scenario.__name__, kind, step] = attempt(world, scenario, step, kind, after)
    return outcomes


def main(kinds: list[str]) -> int:
    warnings.simplefilter("ignore", sa.exc.SAWarning)
    logging.disable(logging.CRITICAL)
    seen: dict[str, Outcomes] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, (module, observed)) in enumerate(WORLDS.items()):
            path = Path(folder) / str(number)
            path.mkdir()
            world = World(importlib.import_module(module), path, observed)
            gc.collect()
            gc.freeze()
            seen[name] = outcomes_of(world, kinds)
            gc.unfreeze()
            world.dispose()
            broken = {trial: error for trial, error in seen[name].items() if isinstance(error, Exception)}
            print(f"{name}: {len(seen[name]):,} trials, {len(broken)} broken", flush=True)
            if name != "sqlalchemy.orm":
                for trial, error in broken.items():
                    print("   ", *trial, repr(error)[:300])
    return report(seen["sqlalchemy.orm"], seen["rustalchemy.orm"], seen["rustalchemy.orm lane"])


def report(theirs: Outcomes, ours: Outcomes, lane: Outcomes) -> int:
    """Print what differs; the lane has steps of its own and is only asked whether it is whole."""
    differing: Counter[Any] = Counter()
    compared = 0
    for trial, outcome in theirs.items():
        if trial in ours and isinstance(outcome, Outcome) and is_comparable(trial[2]):
            compared += 1
            if ours[trial] != outcome:
                differing[trial[1]] += 1
                print("differs:", *trial, outcome, ours[trial], sep="\n    ")
    broken = sum(isinstance(outcome, Exception) for outcome in (*ours.values(), *lane.values()))
    print(f"{compared:,} of {len(theirs):,} trials compared, {differing.total()} differ, {broken} broken")
    return bool(broken or differing)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(KINDS)))
