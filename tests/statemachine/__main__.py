"""Many random steps: `python -m tests.statemachine [STEPS [SEED]]`; stops at the first difference, made short."""

from __future__ import annotations

import gc
import sys

from .machine import Count, SessionMachine, run_machine
from .side import Difference

wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
number = int(sys.argv[2]) if len(sys.argv) > 2 else 0

different = 0
gc.freeze()  # the steps collect garbage often: only theirs
while Count.steps < wanted and not different:
    try:
        run_machine(SessionMachine, number, programs=50)
    except Difference as difference:
        print(f"seed {number}: {difference}")
        print("\n".join(getattr(difference, "__notes__", [])))
        different += 1
    number += 1
print(
    f"{Count.steps} steps, {different} differences, {Count.unsettled} that did not happen again, "
    f"{Count.undefined} programs left where SQLAlchemy has a bug or finds a cycle halfway"
)
sys.exit(bool(different))
