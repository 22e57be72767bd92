"""Many random programs, from a command line: `[COUNT [FIRST_SEED [LIMIT]]]`."""

from __future__ import annotations

import sys
from collections.abc import Callable


def main(first_difference: Callable[[int], str | None], count: int) -> None:
    """Run `count` programs, or COUNT, by their seeds, up to LIMIT (10) differences; exit with 1 if there are any."""
    given = dict(enumerate(map(int, sys.argv[1:])))
    count, first, limit = given.get(0, count), given.get(1, 0), given.get(2, 10)
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
