"""Many random programs: `python -m tests.differential [COUNT [FIRST_SEED [LIMIT]]]`; stops at the tenth difference."""

from __future__ import annotations

from ..many_programs import main
from .compare import first_difference

main(lambda seed: first_difference(seed, 15 + seed % 40), 10_000)
