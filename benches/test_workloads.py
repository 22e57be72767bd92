"""The workloads under pytest-benchmark, for histories and comparisons of commits: `pytest benches --benchmark-only`."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from . import work_links, work_query, work_read, work_session, work_write  # noqa: F401
from .workload import CONTENDERS, WORKLOADS, Environment


@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.parametrize("name", WORKLOADS)
def test_workload(benchmark: Any, name: str, contender: str) -> None:
    """One workload of one contender; every round starts from a new database and is verified."""
    work = WORKLOADS[name]
    size = max(work.size // 20 // 60 * 60, 60)
    prepared: list[Environment] = []

    def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
        env, body = work.prepare(contender, size)
        prepared[:] = [env]
        gc.collect()
        return (body,), {}

    benchmark.group = name
    result = benchmark.pedantic(lambda body: body(), setup=setup, rounds=3)
    work.verify(prepared[0], size, result)
