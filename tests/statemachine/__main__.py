"""Many random steps: `python -m tests.statemachine [STEPS [SEED]]`; stops at the first difference, made short."""

from __future__ import annotations

import gc
import sys

from .pair import Difference, run
from .programs import difference, program, shortest

wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
first = seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0

steps = left = 0
found = False
gc.freeze()  # the steps collect garbage often: only theirs
while steps < wanted and not found:
    tried = program(seed)
    try:
        taken = run(*tried)
        steps += taken
        left += taken < len(tried.steps)
    except Difference as seen:
        found = True
        short = shortest(tried)
        print(f"seed {seed}: {difference(short) or f'only once: {seen}'}\n{short}")
    seed += 1
print(f"seeds {first} to {seed - 1}, {steps} steps, {int(found)} differences, {left} programs left before their end")
sys.exit(found)
