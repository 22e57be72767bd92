"""Time the three contenders in interleaved rounds and print one table.

    python -m benches.compare                      every workload
    python -m benches.compare --only load --rounds 9
    python -m benches.compare --smoke              small sizes, two rounds: does everything still run?
    python -m benches.compare --json out.json --markdown table.md

Figures are CPU microseconds per unit, the median over the rounds, with the spread (interquartile range over median) of
rustalchemy's own. A round measures every contender once, in an order that rotates, so that a drift of the machine's
speed hits all of them; ratios are medians of the ratios within a round. A contender that needs more than half a minute
for a round is measured in the first one only.
"""

from __future__ import annotations

import argparse
import json
import platform
import sqlite3
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import sqlalchemy
from sqlalchemy.util import has_compiled_ext

from . import work_links, work_query, work_read, work_session, work_write  # noqa: F401  (they register their workloads)
from .whole_process import growth, import_times, memory
from .workload import CONTENDERS, WORKLOADS, Workload

PATIENCE = 30.0  # CPU seconds


@dataclass
class Row:
    """One line of the table."""

    name: str
    unit: str
    raw: float
    sqlalchemy: float
    rustalchemy: float
    over_raw: float
    speedup: float
    spread: float
    goal_over_raw: float | None
    goal_speedup: float | None

    @property
    def verdict(self) -> str:
        """Which of the two goals, both ratios, are reached."""
        if self.goal_over_raw is None or self.goal_speedup is None:
            return ""
        raw_ok = self.over_raw <= self.goal_over_raw
        speedup_ok = self.speedup >= self.goal_speedup
        return {(True, True): "both", (True, False): "raw", (False, True): "SA", (False, False): "no"}[
            raw_ok, speedup_ok
        ]


def refuse_unfair_builds() -> None:
    """Exit unless both ORMs are built as users get them."""
    from rustalchemy import _core

    if _core.__opt_level__ != "3":
        sys.exit("rustalchemy._core is not a release build: run `make release` first")
    if not has_compiled_ext():
        sys.exit("SQLAlchemy's compiled extensions are not installed")


def run(work: Workload, rounds: int, size: int) -> Row:
    """Measure one workload."""
    times: dict[str, list[float]] = {c: [] for c in CONTENDERS}
    for contender in CONTENDERS:  # warm up: imports, compiled statements, caches
        work.measure(contender, max(size // 20, 12))
    prepared = {c: work.prepare(c, size) if work.prepared_once else None for c in CONTENDERS}
    for number in range(rounds):
        turn = number % len(CONTENDERS)
        for contender in CONTENDERS[turn:] + CONTENDERS[:turn]:
            known = times[contender]
            is_slow = bool(known) and known[0] * size > PATIENCE * 1e6
            known.append(known[0] if is_slow else work.measure(contender, size, prepared[contender]) * 1e6)
    ours = times["rustalchemy"]
    quartiles = statistics.quantiles(ours, n=4) if len(ours) > 2 else [min(ours), 0.0, max(ours)]
    return Row(
        work.name,
        work.unit,
        statistics.median(times["raw"]),
        statistics.median(times["sqlalchemy"]),
        statistics.median(ours),
        statistics.median(o / r for o, r in zip(ours, times["raw"], strict=False)),
        statistics.median(s / o for s, o in zip(times["sqlalchemy"], ours, strict=False)),
        (quartiles[2] - quartiles[0]) / statistics.median(ours),
        work.target.over_raw if work.target else None,
        work.target.speedup if work.target else None,
    )


HEAD = (
    f"{'workload':<24}{'unit':<9}{'raw':>8}{'SA':>9}{'ours':>9}{'ours/raw':>10}{'goal':>6}"
    f"{'SA/ours':>9}{'goal':>6}{'spread':>8}  reached"
)


def line(row: Row) -> str:
    """A row of the terminal's table."""
    goal_raw = f"{row.goal_over_raw:.2f}" if row.goal_over_raw else ""
    goal_speedup = f"{row.goal_speedup:.1f}" if row.goal_speedup else ""
    return (
        f"{row.name:<24}{row.unit:<9}{row.raw:>8.3f}{row.sqlalchemy:>9.2f}{row.rustalchemy:>9.3f}"
        f"{row.over_raw:>10.2f}{goal_raw:>6}{row.speedup:>9.1f}{goal_speedup:>6}{row.spread:>8.0%}  {row.verdict}"
    )


def markdown(rows: list[Row]) -> str:
    """The README's table."""
    out = [
        "| workload | unit | raw DB-API µs | SQLAlchemy µs | rustalchemy µs | times raw | faster than SQLAlchemy |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    out.extend(
        f"| {r.name} | {r.unit} | {r.raw:.3g} | {r.sqlalchemy:.3g} | {r.rustalchemy:.3g} "
        f"| {r.over_raw:.2f} | {r.speedup:.1f} × |"
        for r in rows
    )
    return "\n".join(out) + "\n"


def machine() -> str:
    """What the figures were taken on."""
    cpu = platform.processor() or "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = f"{names[0]}, {len(names)} cores" if names else cpu
    return (
        f"{cpu}; CPython {platform.python_version()}, SQLAlchemy {sqlalchemy.__version__}, "
        f"SQLite {sqlite3.sqlite_version}"
    )


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="TEXT", help="workloads whose name contains TEXT")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scale", type=float, default=1.0, help="multiply the sizes")
    parser.add_argument("--smoke", action="store_true", help="small and quick; figures mean nothing")
    parser.add_argument("--any-build", action="store_true", help="do not insist on a release build")
    parser.add_argument("--no-processes", action="store_true", help="skip memory, import time and growth")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    opts = parser.parse_args()
    if not opts.any_build:
        refuse_unfair_builds()
    rounds, scale = (2, 0.02) if opts.smoke else (opts.rounds, opts.scale)
    print(machine())
    print(HEAD)
    rows = []
    # what every program does comes first: the workloads that the design has goals for
    for name, work in sorted(WORKLOADS.items(), key=lambda item: item[1].target is None):
        if opts.only and not any(text in name for text in opts.only):
            continue
        row = run(work, rounds, max(int(work.size * scale) // 60 * 60, 60))
        rows.append(row)
        print(line(row), flush=True)
    extra = {}
    if not opts.only and not opts.no_processes:
        extra = {"memory": memory(), "import": import_times(), "growth": growth(0.02 if opts.smoke else 1.0)}
        for title, figures in extra.items():
            print(f"{title}:")
            for key, value in figures.items():
                print(f"  {key:<62}{value}")
    if opts.json:
        opts.json.write_text(json.dumps({"machine": machine(), "rows": [asdict(r) for r in rows], **extra}, indent=1))
    if opts.markdown:
        opts.markdown.write_text(markdown(rows))
    if opts.smoke:
        print(f"{len(rows)} passed, 0 failed")


if __name__ == "__main__":
    main()
