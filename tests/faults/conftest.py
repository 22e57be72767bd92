"""The worlds of the fault tests, each made once, and a collector that only looks at what a test made."""

from __future__ import annotations

import gc
import importlib
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fault_world import World

WORLDS = {
    "sqlalchemy.orm": ("sqlalchemy.orm", True),
    "rustalchemy.orm": ("rustalchemy.orm", True),
    "rustalchemy.orm lane": ("rustalchemy.orm", False),
}


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, World]]:
    """By name; the first two have listeners everywhere."""
    worlds = {
        name: World(importlib.import_module(module), tmp_path_factory.mktemp("world"), observed)
        for name, (module, observed) in WORLDS.items()
    }
    yield worlds
    for world in worlds.values():
        world.dispose()


@pytest.fixture(params=list(WORLDS))
def world(request: pytest.FixtureRequest, worlds: dict[str, World]) -> Any:
    world = worlds[request.param]
    world.restore()
    return world


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The pool logs what goes wrong in clean-up, which is what happens here on purpose."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
    logging.disable(level)
