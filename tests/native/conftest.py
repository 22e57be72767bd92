"""Fixtures of the native tests."""

from __future__ import annotations

from typing import Any

import pytest
from handmade import Model

from rustalchemy import _core


@pytest.fixture(params=["inline", "external"])
def model(request: pytest.FixtureRequest) -> Model:
    return Model("id name age", base=_core.Instance if request.param == "inline" else object)


@pytest.fixture
def uow() -> Any:
    return _core.UnitOfWork()
