"""The comparator: behaviour tests run the same body on SQLAlchemy's ORM and on rustalchemy.

Tests named `test_NNN_…` cover row NNN of the table of observed session semantics; `pytest --rows` prints which rows
have tests and which of them pass on rustalchemy.

SQLAlchemy 2.1 says what is right. On top of 2.0 the same tests run on rustalchemy alone, and what compares both ORMs
looks at outcomes only; tests of what Core has in 2.1 only are marked `sqlalchemy21`.
"""

from __future__ import annotations

import importlib
import re
from collections import defaultdict
from types import ModuleType

import pytest
import sqlalchemy as sa

IS_REFERENCE = not sa.__version__.startswith("2.0")
# they look into SQLAlchemy 2.1, or hold every statement against it
collect_ignore = (
    []
    if IS_REFERENCE
    else [
        "api/test_public_names.py",
        "differential",
        "events/test_every_event.py",
        "programs",
        "querying/random_queries",
        "statemachine",
    ]
)
COMPARATOR = re.compile(r"[\[-]sqlalchemy(\.orm)?[\]-]")
ROW = re.compile(r"test_(\d{3})_")
outcomes: dict[int, list[str]] = defaultdict(list)


@pytest.fixture(params=["sqlalchemy.orm", "rustalchemy.orm"])
def orm(request: pytest.FixtureRequest) -> ModuleType:
    """The ORM under test; both must agree with the test's body."""
    return importlib.import_module(request.param)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not IS_REFERENCE:
        for item in items:
            if COMPARATOR.search(item.nodeid):
                item.add_marker(pytest.mark.skip(reason="SQLAlchemy 2.1 is what rustalchemy is compared with"))
            elif item.get_closest_marker("sqlalchemy21"):
                item.add_marker(pytest.mark.skip(reason="Core has this in SQLAlchemy 2.1 only"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rows", action="store_true", help="list the rows of the semantics table that have tests")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    row = ROW.search(report.nodeid)
    if row and "[sqlalchemy.orm]" not in report.nodeid and (report.when == "call" or report.failed):
        outcomes[int(row.group(1))].append(report.outcome)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not config.getoption("--rows"):
        return
    passing = sorted(n for n, results in outcomes.items() if "failed" not in results)
    failing = sorted(n for n, results in outcomes.items() if "failed" in results)
    terminalreporter.section("rows of the semantics table")
    terminalreporter.write_line(f"{len(outcomes)} rows have tests")
    terminalreporter.write_line(f"{len(passing)} pass: {' '.join(map(str, passing))}")
    terminalreporter.write_line(f"{len(failing)} fail: {' '.join(map(str, failing))}")
