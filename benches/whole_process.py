"""What is measured from a process of its own: memory per object, import time, growth from 1,000 to 300,000 rows."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile

from .workload import CONTENDERS

MEMORY = """
import gc, os, sys
sys.path[:0] = {path!r}
from benches import models, work_read, work_write
from benches.workload import Environment
def rss():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
env = Environment({contender!r})
n = 100_000
kind = {kind!r}
if kind == "loaded":
    work_write.seed_users(env, n)
    work = (work_read.Load.raw if {contender!r} == "raw" else None)
    if {contender!r} == "raw":
        def load():
            identity = {{}}
            for row in env.connection.execute("SELECT id, a, b, c, d FROM users"):
                identity[row[0]] = models.RawUser(*row)
            return identity
    else:
        import sqlalchemy as sa
        session = env.session()
        session.get(env.m.User, 1)
        def load():
            return [u for u in session.scalars(sa.select(env.m.User).execution_options(yield_per=1000))]
else:
    make = work_write.raw_users if {contender!r} == "raw" else lambda n, key: work_write.orm_users(env, n, key=key)
    keep = make(100, key=True)
    def load():
        return make(n, key=True)
gc.collect()
before = rss()
kept = load()
gc.collect()
print((rss() - before) / n)
"""

GROWTH = """
import sys
sys.path[:0] = {path!r}
from benches import work_links, work_read, work_write
from benches.workload import WORKLOADS
work = WORKLOADS[{name!r}]
work.measure({contender!r}, 600)
print(min(work.measure({contender!r}, {n}) for _ in range({rounds})) * 1e6)
"""

IMPORT = "import time; t = time.process_time(); import {module}; print((time.process_time() - t) * 1e3)"


def _python(code: str, environment: dict[str, str] | None = None) -> float:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout.split()[-1])


def memory() -> dict[str, str]:
    """Resident bytes per loaded and per transient object of five columns."""
    out = {}
    for kind in ("loaded", "transient"):
        figures = {
            c: statistics.median(_python(MEMORY.format(path=sys.path[:1], contender=c, kind=kind)) for _ in range(3))
            for c in CONTENDERS
        }
        out[f"bytes per {kind} object, {' / '.join(CONTENDERS)}"] = " / ".join(
            f"{value:.0f}" for value in figures.values()
        )
    return out


def import_times() -> dict[str, str]:
    """CPU milliseconds to import each ORM in a fresh interpreter, all of them from compiled bytecode.

    An installer compiles what it installs, a source tree may never have been compiled: without a cache of its own the
    measurement would be of the compiler.
    """
    modules = ("sqlalchemy", "sqlalchemy.orm", "rustalchemy.orm")
    with tempfile.TemporaryDirectory(prefix="benches-") as folder:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = folder
        for module in modules:
            _python(IMPORT.format(module=module), environment)
        rounds = [[_python(IMPORT.format(module=m), environment) for m in modules] for _ in range(7)]
    figures = [statistics.median(times) for times in zip(*rounds, strict=True)]
    return {"ms to import " + " / ".join(modules): " / ".join(f"{f:.0f}" for f in figures)}


def growth(scale: float = 1.0) -> dict[str, str]:
    """Microseconds per row from 1,000 to 300,000 rows, and the exponent of total time over rows (1 is linear)."""
    out = {}
    sizes = [max(int(n * scale), 120) for n in (1_000, 10_000, 100_000, 300_000)]
    for name in ("insert, key generated", "tree", "chain", "wide tree", "load"):
        for contender in ("raw", "rustalchemy"):
            per_row = [
                _python(
                    GROWTH.format(
                        path=sys.path[:1], name=name, contender=contender, n=n, rounds=5 if n <= 10_000 else 2
                    )
                )
                for n in sizes
            ]
            slope = 1 + math.log(per_row[-1] / per_row[0]) / math.log(sizes[-1] / sizes[0])
            out[f"{name}, {contender}, {sizes[0]:,} … {sizes[-1]:,}"] = (
                " ".join(f"{value:.2f}" for value in per_row) + f"  exponent {slope:.2f}"
            )
    return out
