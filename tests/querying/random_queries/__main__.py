"""Many random queries: `python -m tests.querying.random_queries [COUNT [FIRST_SEED [LIMIT]]]`."""

from __future__ import annotations

import sys

from .compare import first_difference

count = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
limit = int(sys.argv[3]) if len(sys.argv) > 3 else 10
different = 0
done = 0
for seed in range(first, first + count):
    found = first_difference(seed)
    done += 1
    if found:
        different += 1
        print(found, flush=True)
        if different == limit:
            break
print(f"{done} programs, {different} with a difference")
sys.exit(bool(different))
