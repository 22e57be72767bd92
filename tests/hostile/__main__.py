"""`python tests/hostile [LAST [FIRST]]`: the random programs of a range of seeds, a thousand if nothing is said."""

from __future__ import annotations

import faulthandler
import importlib
import sys

from hostile_programs import programs
from hostile_world import World


def main(last: int = 1000, first: int = 0) -> None:
    faulthandler.enable()
    world = World(importlib.import_module("rustalchemy.orm"))
    met = programs(world, range(first, last))
    world.dispose()
    print(f"{last - first:,} programs; errors met: {met}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
