"""A short run of random queries on both ORMs; `make fuzz` runs many."""

from __future__ import annotations

import pytest

from .compare import first_difference


@pytest.mark.parametrize("seed", range(60))
def test_program(seed: int) -> None:
    """SQL, results, what is loaded, and what later loads send, agree after every step."""
    difference = first_difference(seed)
    assert difference is None, difference
