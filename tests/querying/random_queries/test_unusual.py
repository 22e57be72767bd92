"""Unusual queries and combinations of loader options: results, SQL, warnings and errors as SQLAlchemy has them."""

from __future__ import annotations

import pathlib

import pytest

from .compare import compare
from .steps import Program, Query

LINES = (pathlib.Path(__file__).parent / "unusual.txt").read_text().splitlines()
QUERIES = [line for line in LINES if line and not line.startswith("#")]


@pytest.mark.parametrize("is_watched", [True, False], ids=["Core", "lane"])
@pytest.mark.parametrize("line", QUERIES)
def test_query(line: str, is_watched: bool) -> None:
    """Twice in one session: the second time its objects are there."""
    *setup, last = line.split("; ")
    step = Query(tuple(setup), last, (), "{}")
    steps = Program((step, step), autoflush=True, is_watched=is_watched)
    difference = compare(steps)
    assert difference is None, difference.describe(steps)
