"""`python -m tests.soak [SECONDS] [LOOP…]`: sessions, objects, failed flushes, queries, hooks and classes in loops.

Fails if memory grows. Each loop runs for its share of the time in ten stretches. Memory may rise while caches fill;
from the fourth stretch on it has to be flat, in resident bytes and in objects that the collector knows.
"""

from __future__ import annotations

import gc
import resource
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from . import reading, user_code, writing
from .models import Loop, fill

_STRETCHES = 10
_SETTLED = 3
# one arena of the allocator, and a little: less says nothing
_TOLERATED_BYTES = 1_500_000
# dead weak references are swept now and then
_TOLERATED_OBJECTS = 300
LOOPS = (*writing.LOOPS, *reading.LOOPS, *user_code.LOOPS)


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    return pages * resource.getpagesize() or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _stretches(loop: Loop, engine: sa.Engine, seconds: float) -> Iterator[tuple[int, int, int]]:
    """After each stretch: how often the loop's body ran, resident bytes, and objects the collector knows."""
    for _ in range(_STRETCHES):
        count = 0
        end = time.monotonic() + seconds / _STRETCHES
        while time.monotonic() < end:
            count += loop(engine)
        gc.collect()
        yield count, _resident_bytes(), len(gc.get_objects())


def main(seconds: float, loops: tuple[Loop, ...]) -> int:
    warnings.simplefilter("ignore", sa.exc.SAWarning)
    engine = sa.create_engine("sqlite://")
    fill(engine)
    total, growing = 0, []
    for loop in loops:
        counts, memory, objects = zip(*_stretches(loop, engine, seconds / len(loops)), strict=True)
        total += sum(counts)
        more_bytes = memory[-1] - max(memory[: _SETTLED + 1])
        more_objects = objects[-1] - max(objects[: _SETTLED + 1])
        print(
            f"{loop.__name__:22} {sum(counts):>9,} objects  {more_bytes:>+11,} bytes  {more_objects:>+6} tracked",
            flush=True,
        )
        if more_bytes > _TOLERATED_BYTES or more_objects > _TOLERATED_OBJECTS:
            growing.append(loop.__name__)
    print(
        f"{total:,} sessions and objects; " + (f"memory grows in {', '.join(growing)}" if growing else "memory is flat")
    )
    return bool(growing)


if __name__ == "__main__":
    names = sys.argv[2:]
    sys.exit(
        main(
            float(sys.argv[1]) if len(sys.argv) > 1 else 90,
            tuple(loop for loop in LOOPS if not names or loop.__name__ in names),
        )
    )
