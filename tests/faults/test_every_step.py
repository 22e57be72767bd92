"""A fault at every step of a scenario: no partial commit, no wrong state, usable after rollback, nothing kept alive."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from fault_world import World
from scenarios import SCENARIOS
from trial import ERRORS, Outcome, run, steps_of

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")

# SQLAlchemy tells of an expiry of no attributes where we are silent, and leaves the objects deleted that come after one
# whose listener raises
_NOT_COMPARED = ("expire User", "deleted_to_detached")


def _error_for(scenario: Any, step: str) -> BaseException:
    """Each kind of error meets each kind of step somewhere; the driver's own error comes from the driver."""
    kinds = list(ERRORS)
    if not step.startswith(("before INSERT", "before UPDATE", "before DELETE", "before SELECT", "cursor", "fetch")):
        kinds.remove("OperationalError")
    return ERRORS[kinds[zlib.crc32(f"{scenario.__name__} {step}".encode()) % len(kinds)]]()


def _outcomes(world: World, scenario: Any) -> dict[str, Outcome | Exception]:
    steps = steps_of(world, scenario)
    after = world.dump()
    outcomes: dict[str, Outcome | Exception] = {}
    for step in steps:
        error = _error_for(scenario, step)
        name = f"{type(error).__name__} at {step}"
        try:
            outcomes[name] = run(world, scenario, step, error, after)
        except Exception as err:
            outcomes[name] = err
            world.abandon()
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


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_same_outcome_as_sqlalchemy(worlds: dict[str, World], known: Any, scenario: Any) -> None:
    """What is raised and committed, how to go on, and the states of objects. SQLAlchemy may break, we may not."""
    theirs = _outcomes(worlds["sqlalchemy.orm"], scenario)
    ours = known.get(("rustalchemy.orm", scenario.__name__)) or _outcomes(worlds["rustalchemy.orm"], scenario)
    compared = [
        step
        for step, outcome in theirs.items()
        if step in ours and isinstance(outcome, Outcome) and not any(name in step for name in _NOT_COMPARED)
    ]
    assert len(compared) > len(theirs) * 0.8
    assert {step: ours[step] for step in compared} == {step: theirs[step] for step in compared}
