"""The comparator: behaviour tests run the same body on SQLAlchemy's ORM and on rustalchemy."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest


@pytest.fixture(params=["sqlalchemy.orm", "rustalchemy.orm"])
def orm(request: pytest.FixtureRequest) -> ModuleType:
    """The ORM under test; both must agree with the test's body."""
    return importlib.import_module(request.param)
