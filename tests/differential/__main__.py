"""Many random programs: `python -m tests.differential [COUNT [FIRST_SEED]]`; stops at the tenth difference."""

from __future__ import annotations

import sys

from .programs import first_difference

count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
different = 0
for seed in range(first, first + count):
    found = first_difference(seed, 15 + seed % 40)
    if found:
        different += 1
        print(found, flush=True)
        if different == 10:
            break
print(f"{count} programs, {different} with a difference")
sys.exit(bool(different))
