"""The servers the tests talk to; a test is skipped where its server does not answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from server_urls import URLS
from sqlalchemy import exc


def _answering(name: str) -> str:
    engine = sa.create_engine(URLS[name])
    try:
        engine.connect().close()
    except (exc.OperationalError, ImportError) as error:
        pytest.skip(f"no {name} here: {error}")
    finally:
        engine.dispose()
    return URLS[name]


@pytest.fixture(params=sorted(URLS))
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a server that answers."""
    yield _answering(request.param)


@pytest.fixture
def mariadb_url() -> str:
    return _answering("mariadb")


@pytest.fixture
def postgresql_url() -> str:
    return _answering("postgresql")
