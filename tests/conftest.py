"""The comparator: behaviour tests run the same body on SQLAlchemy's ORM and on rustalchemy.

Tests named `test_NNN_…` cover row NNN of the table of observed session semantics; `pytest --rows` prints which rows
have tests and which of them pass on rustalchemy.
"""

from __future__ import annotations

import importlib
import re
from collections import defaultdict
from types import ModuleType

import pytest

ROW = re.compile(r"test_(\d{3})_")
outcomes: dict[int, list[str]] = defaultdict(list)


@pytest.fixture(params=["sqlalchemy.orm", "rustalchemy.orm"])
def orm(request: pytest.FixtureRequest) -> ModuleType:
    """The ORM under test; both must agree with the test's body."""
    return importlib.import_module(request.param)


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
