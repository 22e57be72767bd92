"""Both ORMs on one program; the shortest part of a program on which they differ."""

from __future__ import annotations

from typing import Any

from .ordered import ordered
from .programs import Program, program
from .run import Run


class Difference:
    """The first step of a program after which the ORMs differ, and what was seen on each."""

    def __init__(self, number: int, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
        self.number = number
        self.theirs = theirs
        self.ours = ours

    @property
    def aspects(self) -> list[str]:
        """What differs."""
        return [name for name in self.theirs if self.theirs[name] != self.ours[name]]

    def describe(self, steps: Program) -> str:
        """The program up to the step, in words, and what was seen."""
        ours = Run("rustalchemy.orm", steps)
        ours.run()
        lines = [
            f"    {n:>3} {step.kind} {words}"
            for n, (step, words) in enumerate(zip(steps.steps[: self.number + 1], ours.words, strict=False))
        ]
        for name in self.aspects:
            for who, seen in (("SQLAlchemy", self.theirs[name]), ("rustalchemy", self.ours[name])):
                other = self.ours[name] if seen is self.theirs[name] else self.theirs[name]
                lines.append(f"  {name}, {who}: {_only_in(seen, other)}")
        return "\n".join(lines)


def _only_in(seen: Any, other: Any) -> Any:
    """The part of what was seen that the other has not."""
    if isinstance(seen, dict) and isinstance(other, dict):
        return {key: value for key, value in seen.items() if key not in other or other[key] != value}
    if isinstance(seen, list) and isinstance(other, list):
        return {n: value for n, value in enumerate(seen) if n >= len(other) or other[n] != value}
    return seen


def is_fair(theirs: Any, ours: Any) -> bool:
    """May both outcomes count as the same? An error may say more, or say what is wrong where the other stumbles."""
    if not isinstance(theirs, str) or not isinstance(ours, str):
        return False
    return ours.startswith(theirs) or "LoaderCallableStatus" in theirs


def theirs(steps: Program) -> list[dict[str, Any]]:
    """A program's log on SQLAlchemy."""
    with ordered():
        return Run("sqlalchemy.orm", steps).run()


def compare(steps: Program) -> Difference | None:
    """Run a program on both."""
    for number, (a, b) in enumerate(zip(theirs(steps), Run("rustalchemy.orm", steps).run(), strict=True)):
        if is_fair(a["outcome"], b["outcome"]):
            b["outcome"] = a["outcome"]
        if a != b:
            return Difference(number, a, b)
    return None


def shrink(steps: Program, found: Difference) -> tuple[Program, Difference]:
    """Leave out steps as long as the ORMs still differ in the same aspects."""
    steps = steps.without(found.number + 1, len(steps))
    width = max(len(steps) // 2, 1)
    while width:
        start, shorter_found = len(steps) - 1 - width, False
        while start >= 0:
            shorter = steps.without(start, start + width)
            again = compare(shorter)
            if again is not None and set(again.aspects) & set(found.aspects):
                steps, found, shorter_found = shorter.without(again.number + 1, len(shorter)), again, True
                start = min(start, len(steps) - 1)
            start -= width
        width = width if shorter_found and width == 1 else width // 2
    return steps, found


def first_difference(seed: int, length: int = 25) -> str | None:
    """Run the program of a seed on both; describe the shortest part of it on which they differ."""
    steps = program(seed, length)
    found = compare(steps)
    if found is None:
        return None
    again = theirs(steps)
    if again[found.number] != found.theirs:
        return f"program {seed} does not end the same way twice on SQLAlchemy"
    steps, found = shrink(steps, found)
    return f"program {seed} differs after its step {found.number}, {vars_of(steps)}\n{found.describe(steps)}"


def vars_of(steps: Program) -> str:
    """How the session of a program is set up, in words."""
    names = ("foreign_keys", "autoflush", "expire_on_commit")
    return ", ".join(name if getattr(steps, name) else f"no {name}" for name in names)
