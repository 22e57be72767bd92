"""Many random queries: `python -m tests.querying.random_queries [COUNT [FIRST_SEED [LIMIT]]]`."""

from __future__ import annotations

from ...many_programs import main
from .compare import first_difference

main(first_difference, 5_000)
