"""Every way of querying on both ORMs, and how many times SQLAlchemy's speed each has: one line a path, slowest first.

    python -m benches.paths                        every path at 1, 20 and 5,000 rows
    python -m benches.paths --only aliased --rounds 9
    python -m benches.paths --below 3              only what is slower than that

The ratio is the median, over interleaved rounds, of the ratios of CPU time. What `benches.compare` does not show, is
looked for here: a feature that few use and that is slower than its neighbours.
"""

from __future__ import annotations

import argparse
import functools
import gc
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from . import query_paths
from .compare import machine, refuse_unfair_builds
from .path_models import PathEnvironment

SIZES = (1, 20, 5000)
# CPU seconds that one turn of one contender takes at least, as far as repeating it can bring it there
TURN = 0.01
# statements above this size are not timed built anew: their building does not show. Their garbage does.
SMALL = 100

Work = Callable[[], Any]


@dataclass
class Line:
    """One path at one size."""

    name: str
    sqlalchemy: float
    rustalchemy: float
    ratio: float


def consume_scalars(k: PathEnvironment, statement: Any) -> Any:
    return k.db.scalars(statement).all()


def consume_unique(k: PathEnvironment, statement: Any) -> Any:
    return k.db.scalars(statement).unique().all()


def consume_rows(k: PathEnvironment, statement: Any) -> Any:
    return k.db.execute(statement).all()


STATEMENTS = (
    (query_paths.ENTITIES, consume_scalars),
    (query_paths.UNIQUE, consume_unique),
    (query_paths.ROWS, consume_rows),
)


@functools.cache
def environments(n: int) -> dict[str, PathEnvironment]:
    """Both ORMs' databases for paths of `n` rows: no larger than needed, or short paths would measure SQLite."""
    return {c: PathEnvironment(c, max(n, 20)) for c in ("sqlalchemy", "rustalchemy")}


def forgetting(k: PathEnvironment, work: Work) -> Work:
    """The same with an identity map that is empty at first."""

    def run() -> Any:
        k.db.expunge_all()
        return work()

    return run


def of_statement(make: query_paths.Statement, consume: Any, n: int) -> Iterator[tuple[str, query_paths.Call]]:
    """What is timed of a statement."""

    def anew(k: PathEnvironment, n: int) -> Work:
        return forgetting(k, lambda: consume(k, make(k, n)))

    def prebuilt(k: PathEnvironment, n: int) -> Work:
        statement = make(k, n)
        return forgetting(k, lambda: consume(k, statement))

    def loaded(k: PathEnvironment, n: int) -> Work:
        statement = make(k, n)
        kept = consume(k, statement)
        return lambda: (consume(k, statement), kept)[0]

    if n <= SMALL:
        yield "anew", anew
    yield "prebuilt", prebuilt
    if consume is not consume_rows:
        yield "loaded", loaded


def of_call(call: query_paths.Call) -> query_paths.Call:
    if hasattr(call, "keeps_objects"):
        return call
    return lambda k, n: forgetting(k, call(k, n))


def all_paths(sizes: tuple[int, ...]) -> Iterator[tuple[str, int, query_paths.Call]]:
    """Name, size and function of everything there is to time."""
    for table, consume in STATEMENTS:
        for name, make in table.items():
            for n in sizes:
                for mode, call in of_statement(make, consume, n):
                    yield f"{name} [{n}, {mode}]", n, call
    for name, call in query_paths.CALLS.items():
        for n in sizes:
            if n <= getattr(call, "largest", n):
                yield f"{name} [{n}]", n, of_call(call)


def seconds(work: Work, times: int) -> float:
    """CPU seconds of one call."""
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times


def extent(result: Any) -> Any:
    """What can be compared of the two ORMs' results."""
    return len(result) if isinstance(result, (list, tuple)) else type(result).__name__


def run(
    name: str, n: int, call: query_paths.Call, contenders: dict[str, PathEnvironment], rounds: int, turn: float = TURN
) -> Line:
    """Measure one path."""
    works = {}
    extents = {}
    for contender, k in contenders.items():
        k.db.rollback()
        k.db.expunge_all()
        works[contender] = call(k, n)
        extents[contender] = extent(works[contender]())  # this is the warm-up, too
        works[contender]()
    assert len(set(extents.values())) == 1, f"{name}: {extents}"
    times = max(int(turn / max(seconds(works["sqlalchemy"], 1), 1e-6)), 1)
    spent: dict[str, list[float]] = {c: [] for c in works}
    if n > SMALL:
        gc.collect()
    for number in range(rounds):
        for contender in sorted(works, reverse=bool(number % 2)):
            spent[contender].append(seconds(works[contender], times))
    return Line(
        name,
        statistics.median(spent["sqlalchemy"]),
        statistics.median(spent["rustalchemy"]),
        statistics.median(s / o for s, o in zip(spent["sqlalchemy"], spent["rustalchemy"], strict=True)),
    )


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="TEXT", help="paths whose name contains TEXT")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--below", type=float, metavar="RATIO", help="print only what is slower than RATIO times")
    parser.add_argument("--smoke", action="store_true", help="one row, one round; figures mean nothing")
    parser.add_argument("--any-build", action="store_true", help="do not insist on a release build")
    opts = parser.parse_args()
    if not opts.any_build:
        refuse_unfair_builds()
    warnings.simplefilter("ignore")  # several paths are what SQLAlchemy calls legacy
    sizes, rounds, turn = ((1,), 1, 0.0) if opts.smoke else (SIZES, opts.rounds, TURN)
    lines = [
        run(name, n, call, environments(n), rounds, turn)
        for name, n, call in all_paths(sizes)
        if not opts.only or any(text in name for text in opts.only)
    ]
    if opts.smoke:
        print(f"{len(lines)} passed, 0 failed")
        return
    print(machine())
    print(f"{'path [rows, statement]':<58}{'SA µs':>11}{'ours µs':>11}{'SA/ours':>9}")
    for line in sorted(lines, key=lambda line: line.ratio):
        if opts.below is None or line.ratio < opts.below:
            print(f"{line.name:<58}{line.sqlalchemy * 1e6:>11.1f}{line.rustalchemy * 1e6:>11.1f}{line.ratio:>9.2f}")
    for limit in (1, 2, 3):
        print(f"below {limit}: {sum(line.ratio < limit for line in lines)} of {len(lines)}")


if __name__ == "__main__":
    main()
