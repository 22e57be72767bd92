"""Runs one scenario on SQLAlchemy's ORM and on rustalchemy: results, errors and statements must be the same."""

from __future__ import annotations

import importlib
import itertools
import re
import warnings
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import sqlalchemy as sa
from orm_models import Statements

IS_REFERENCE = not sa.__version__.startswith("2.0")
Scenario = Callable[[SimpleNamespace, Any], Any]
ORMS = ("sqlalchemy.orm", "rustalchemy.orm")


class Comparison:
    """One set of models on both ORMs. A scenario gets the models' namespace and an open session."""

    def __init__(
        self, make_models: Callable[[ModuleType], SimpleNamespace], make_database: Callable[[SimpleNamespace], Any]
    ) -> None:
        self.make_database = make_database
        self.models = {name: make_models(importlib.import_module(name)) for name in ORMS}

    def check(self, scenario: Scenario) -> Any:
        """Run a scenario on each, watched and not, each time twice: cold and with warm caches; return what it returned.

        Watched, every statement goes through Core; not watched, the lanes are open.
        """
        theirs, ours = (self._run(models, scenario) for models in self.models.values())
        for expected, seen in zip(theirs, ours, strict=True):
            assert seen["outcome"] == expected["outcome"]
            if not IS_REFERENCE:
                continue  # statements and warnings are those of 2.1
            assert seen["sent"] == expected["sent"]
            assert seen["warned"] == expected["warned"]
        return ours[0]["outcome"]

    def _run(self, models: SimpleNamespace, scenario: Scenario) -> list[dict[str, Any]]:
        runs = []
        for is_watched in (True, True, False, False):
            engine = self.make_database(models)
            statements = Statements(engine) if is_watched else None
            with models.orm.Session(engine) as session, warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                outcome = scenario(models, session)
            runs.append(
                {
                    "outcome": outcome,
                    "sent": in_order(statements.take()) if statements else None,
                    # without addresses, and without the order of FROM elements, which is a set's
                    "warned": [re.split(" at 0x| between FROM", str(warning.message))[0] for warning in caught],
                }
            )
            engine.dispose()
        return runs


def in_order(sent: list[Any]) -> list[Any]:
    """Statements in order, neighbouring SELECTs sorted: SQLAlchemy takes the loads of several attributes from a set."""
    ordered: list[Any] = []
    for is_select, run in itertools.groupby(sent, lambda statement: "SELECT" in str(statement)[:10]):
        statements = list(run)
        ordered.extend(sorted(statements, key=str) if is_select else statements)
    return ordered


def error_of(call: Callable[[], Any]) -> tuple[str, str]:
    """Class and message of what a call raises, without addresses of objects."""
    try:
        call()
    except Exception as error:
        return type(error).__name__, str(error).split(" at 0x")[0]
    raise AssertionError("nothing was raised")
