"""Extensions are tested like the ORM: one body, with either package."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from .awaiting import World

EXTENSIONS = [
    "associationproxy",
    "automap",
    "baked",
    "horizontal_shard",
    "hybrid",
    "indexable",
    "mutable",
    "orderinglist",
    "serializer",
]


def extensions(package: str) -> SimpleNamespace:
    """`orm` and the modules of `ext` of one package."""
    names = [
        "associationproxy",
        "automap",
        "baked",
        "horizontal_shard",
        "hybrid",
        "mutable",
        "orderinglist",
        "indexable",
        "serializer",
    ]
    modules = {name: importlib.import_module(f"{package}.ext.{name}") for name in names}
    return SimpleNamespace(name=package, orm=importlib.import_module(f"{package}.orm"), **modules)


@pytest.fixture(params=["sqlalchemy", "rustalchemy"])
def sa(request: pytest.FixtureRequest) -> SimpleNamespace:
    """The package under test; both must agree with the test's body."""
    return extensions(request.param)


@pytest.fixture
def ours() -> SimpleNamespace:
    """For what differs on purpose."""
    return extensions("rustalchemy")


@pytest.fixture(params=["sqlalchemy", "rustalchemy"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """The asyncio extension of the package under test, with a database."""
    pytest.importorskip("aiosqlite")
    return World(request.param, tmp_path)


@pytest.fixture
def our_world(tmp_path: Path) -> World:
    """For what differs on purpose."""
    pytest.importorskip("aiosqlite")
    return World("rustalchemy", tmp_path)
