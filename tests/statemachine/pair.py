"""Both ORMs, taking the same steps."""

from __future__ import annotations

from typing import Any

from tests.differential.ordered import ordered

from .side import Options, Side, Step, Undefined


class Difference(Exception):
    """The two ORMs do not show the same."""


# expunge after del obj.scalar: symbols taken for values
BUGS = ("AttributeError ",)
# found when half of the flush was sent, by rustalchemy before anything is
CYCLE = "CircularDependencyError "


def differences(theirs: Any, ours: Any, path: str = "") -> list[str]:
    """Where two observations differ."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        keys = [*theirs, *(key for key in ours if key not in theirs)]
        return [line for key in keys for line in differences(theirs.get(key), ours.get(key), f"{path} {key}")]
    return [] if theirs == ours else [f"{path.strip()}: SQLAlchemy {theirs}", f"{path.strip()}: rustalchemy {ours}"]


def _is_past_comparing(seen: dict[str, Any]) -> bool:
    """Two objects stand for one row after a rollback."""
    objects = [each for name, each in seen.items() if "#" in name]
    here = [str(each["identity"]) for each in objects if each["session"] == "this" and each["life"] == ["persistent"]]
    return len(here) != len(set(here))


class Pair:
    """Both ORMs, taking the same steps."""

    def __init__(self, options: Options) -> None:
        self.theirs = Side("sqlalchemy.orm", options)
        self.ours = Side("rustalchemy.orm", options)

    def take(self, step: Step) -> None:
        """Take a step on both; Difference if they do not show the same afterwards, Undefined for bugs of SQLAlchemy."""
        with ordered():
            theirs = self.theirs.take(step)
        ours = self.ours.take(step)
        if theirs["outcome"] in BUGS and ours["outcome"] != theirs["outcome"]:
            raise Undefined(f"{step}: a bug of SQLAlchemy")
        if ours["outcome"] == CYCLE:
            raise Undefined(f"{step}: a cycle")
        if any(_is_past_comparing(seen) for seen in (theirs, ours)):
            raise Undefined(f"{step}: two objects for one row")
        theirs["selects"] &= ours["selects"]  # rustalchemy may ask less
        found = differences(theirs, ours)
        if found:
            raise Difference(f"after {step}:\n" + "\n".join(found))

    def close(self) -> None:
        self.theirs.close()
        self.ours.close()


def run(options: Options, steps: list[Step]) -> int:
    """Take some steps on both ORMs; how many were taken before the end, or before what is not worth to be compared."""
    pair = Pair(options)
    taken = 0
    try:
        for step in steps:
            pair.take(step)
            taken += 1
    except Undefined:
        pass
    finally:
        pair.close()
    return taken
