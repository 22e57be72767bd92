"""Extensions are tested like the ORM: one body, with either package."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import pytest


def extensions(package: str) -> SimpleNamespace:
    """`orm` and the modules of `ext` of one package."""
    names = ["associationproxy", "automap", "horizontal_shard", "hybrid", "mutable", "orderinglist", "indexable"]
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
