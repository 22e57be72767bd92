"""A fault at every step of a scenario: no partial commit, no wrong state, usable after rollback, nothing kept alive."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from fault_kinds import kinds_of
from fault_world import World
from scenarios import SCENARIOS
from trial import Outcome, attempt, is_comparable, steps_of

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")


def _kind_for(scenario: Any, step: str) -> str:
    """Each kind of fault meets each kind of step somewhere; `python tests/faults` tries all of them at all steps."""
    kinds = kinds_of(step)
    return kinds[zlib.crc32(f"{scenario.__name__} {step}".encode()) % len(kinds)]


def _outcomes(world: World, scenario: Any) -> dict[str, Outcome | Exception]:
    steps = steps_of(world, scenario)
    after = world.dump()
    outcomes: dict[str, Outcome | Exception] = {}
    for step in steps:
        kind = _kind_for(scenario, step)
        outcomes[f"{kind} at {step}"] = attempt(world, scenario, step, kind, after)
    return outcomes


@pytest.fixture(scope="session")
def known() -> dict[tuple[str, str], dict[str, Outcome | Exception]]:
    """Outcomes by world and scenario, so that each is tried once."""
    return {}


@pytest.mark.parametrize("name", ["rustalchemy.orm", "rustalchemy.orm lane"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_fault_at_every_step(worlds: dict[str, World], known: Any, scenario: Any, name: str) -> None:
    outcomes = known[name, scenario.__name__] = _outcomes(worlds[name], scenario)
    assert len(outcomes) > 20
    broken = {step: repr(outcome) for step, outcome in outcomes.items() if isinstance(outcome, Exception)}
    assert not broken


@pytest.mark.sqlalchemy21  # steps are named by statements, whose text is that of 2.1
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_same_outcome_as_sqlalchemy(worlds: dict[str, World], known: Any, scenario: Any) -> None:
    """What is raised and committed, how to go on, and the states of objects. SQLAlchemy may break, we may not."""
    theirs = _outcomes(worlds["sqlalchemy.orm"], scenario)
    ours = known.get(("rustalchemy.orm", scenario.__name__)) or _outcomes(worlds["rustalchemy.orm"], scenario)
    compared = [
        step
        for step, outcome in theirs.items()
        if step in ours and isinstance(outcome, Outcome) and is_comparable(step)
    ]
    assert len(compared) > len(theirs) * 0.8
    assert {step: ours[step] for step in compared} == {step: theirs[step] for step in compared}
