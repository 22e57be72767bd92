"""Tests of mapping leave no mapper behind: some of theirs are broken on purpose, and configuration is global."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def registries_of_the_test(orm: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Dispose of the registries that were made by the test, and of no other."""
    made: list[Any] = []
    init = orm.registry.__init__

    def remember(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(orm.registry, "__init__", remember)
    yield
    for registry in made:
        registry.dispose(cascade=True)


@pytest.fixture
def base(orm: ModuleType) -> Any:
    """A declarative base of the ORM under test."""

    class Base(orm.DeclarativeBase):
        pass

    return Base
