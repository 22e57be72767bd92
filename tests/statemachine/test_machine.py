"""A short run of random steps on both ORMs; `make fuzz` takes many."""

from __future__ import annotations

import pytest

from .pair import run
from .programs import program


@pytest.mark.parametrize("seed", range(40))
def test_random_steps(seed: int) -> None:
    """Everything that can be seen agrees after every step."""
    run(*program(seed))
