"""User code that uses the session from the inside of everything that calls it: nothing dies, and sessions go on."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hostile_programs import IMPOSSIBLE, programs
from hostile_world import World

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def impossible(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Errors of the native core that came where nobody can catch them."""
    found: list[str] = []

    def hook(args: Any) -> None:
        if args.exc_type.__name__ in IMPOSSIBLE:
            found.append(repr(args.exc_value))

    monkeypatch.setattr(sys, "unraisablehook", hook)
    yield found


def test_random_mischief(impossible: list[str]) -> None:
    world = World(importlib.import_module("rustalchemy.orm"))
    met = programs(world, range(24))
    world.dispose()
    assert not impossible
    # the programs do meet errors, and what hooks raise comes out
    assert {"InvalidRequestError", "Mischief"} <= met.keys()
