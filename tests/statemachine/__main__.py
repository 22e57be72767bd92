"""Many random steps: `python -m tests.statemachine [STEPS [SEED]]`; stops at the first difference, made short."""

from __future__ import annotations

import gc
import sys

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from .machine import Count, SessionMachine
from .side import Difference

wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
number = int(sys.argv[2]) if len(sys.argv) > 2 else 0
SETTINGS = settings(
    max_examples=50,
    stateful_step_count=50,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)

different = 0
gc.freeze()
while Count.steps < wanted and not different:
    try:
        run_state_machine_as_test(seed(number)(SessionMachine), settings=SETTINGS)
    except Difference as difference:
        print(f"seed {number}: {difference}")
        print("\n".join(getattr(difference, "__notes__", [])))
        different += 1
    number += 1
print(
    f"{Count.steps} steps, {different} differences, {Count.unsettled} that did not happen again, "
    f"{Count.undefined} programs ended by a bug of SQLAlchemy"
)
sys.exit(bool(different))
