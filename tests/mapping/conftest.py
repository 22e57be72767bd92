"""No mapper outlives its test: one that failed to configure would fail every later `configure_mappers()`."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest


@pytest.fixture(autouse=True)
def _no_mappers_left(orm: ModuleType) -> Iterator[None]:
    yield
    orm.clear_mappers()
