"""The plan tests' models on both ORMs."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from .models import make_models, open_session


@pytest.fixture(scope="session")
def ours() -> SimpleNamespace:
    import rustalchemy.orm

    return make_models(rustalchemy.orm)


@pytest.fixture(scope="session")
def theirs() -> SimpleNamespace:
    import sqlalchemy.orm

    return make_models(sqlalchemy.orm)


@pytest.fixture
def session(ours: SimpleNamespace) -> Iterator[Any]:
    session, recorder = open_session(ours)
    session.info["recorder"] = recorder
    with session:
        yield session
