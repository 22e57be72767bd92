"""A short run of random programs on both ORMs; `make fuzz` runs many."""

from __future__ import annotations

import pytest

from .compare import first_difference


@pytest.mark.parametrize("seed", range(150))
def test_program(seed: int) -> None:
    """States, session collections, exception classes and database rows agree after every step."""
    difference = first_difference(seed)
    assert difference is None, difference
