"""Both ORMs on one program; the shortest part of it on which they differ."""

from __future__ import annotations

from typing import Any

from .run import Run
from .steps import Program
from .writer import program

Seen = dict[str, Any]
ORMS = ("sqlalchemy.orm", "rustalchemy.orm")


class Difference:
    """The first step of a program after which the ORMs differ, and what was seen on each."""

    def __init__(self, number: int, theirs: Seen, ours: Seen) -> None:
        self.number = number
        self.theirs = theirs
        self.ours = ours

    @property
    def aspects(self) -> list[str]:
        """What differs."""
        return [name for name in {**self.theirs, **self.ours} if self.theirs.get(name) != self.ours.get(name)]

    def describe(self, steps: Program) -> str:
        """The program up to the step, as source code, and what was seen."""
        ours = Run("rustalchemy.orm", steps)
        ours.run()
        lines = [f"    {line}" for words in ours.words[: self.number + 1] for line in words.splitlines()]
        for name in self.aspects:
            seen, other = self.theirs.get(name), self.ours.get(name)
            lines.append(f"  {name}, SQLAlchemy: {_only_in(seen, other)}")
            lines.append(f"  {name}, rustalchemy: {_only_in(other, seen)}")
        return "\n".join(lines)


def _only_in(seen: Any, other: Any) -> Any:
    """The part of what was seen that the other has not."""
    if isinstance(seen, dict) and isinstance(other, dict):
        return {key: value for key, value in seen.items() if key not in other or other[key] != value}
    return seen


def is_fair(theirs: Any, ours: Any) -> bool:
    """May both outcomes count as the same? An error may say more."""
    return isinstance(theirs, str) and isinstance(ours, str) and ours.startswith(theirs.rstrip("."))


# said where there is nothing wrong with the program
_BROKEN = (
    "UnmappedColumnError: No column vessels.",  # an eager relationship of ConcreteBase, for objects of a subclass
    "KeyError: 'type'",  # the discriminator of ConcreteBase, taken for an attribute
    "TypeError: immutabledict object is immutable",  # a Bundle in returning() of a class with inheritance
    "AttributeError: 'NoneType' object has no attribute '_sa_",
    "InvalidRequestError: Select statement '<sqlalchemy.sql.selectable.Select object at 0x>' returned no FROM clauses",
)


def is_broken(outcome: Any) -> bool:
    """Has SQLAlchemy failed on itself?"""
    return isinstance(outcome, str) and outcome.startswith(_BROKEN)


def compare(steps: Program) -> Difference | None:
    """Run a program on both, with cold caches and with warm ones."""
    for _ in range(2):
        found = _compare(steps)
        # objects that nobody holds leave SQLAlchemy's session in the middle of a load; that does not count
        if found is not None and _compare(steps, holds_all=True) is not None:
            return found
    return None


def _compare(steps: Program, holds_all: bool = False) -> Difference | None:
    theirs, ours = (Run(name, steps, holds_all).run() for name in ORMS)
    for number, (a, b) in enumerate(zip(theirs, ours, strict=True)):
        for name in ("outcome", "text"):
            if name in a and is_fair(a[name], b.get(name)):
                b[name] = a[name]
        if a != b:
            return None if is_broken(a["outcome"]) or is_broken(a.get("text")) else Difference(number, a, b)
    return None


def shrink(steps: Program, found: Difference) -> tuple[Program, Difference]:
    """Leave out parts as long as the ORMs still differ in one of the same aspects."""
    steps = Program(steps.steps[: found.number + 1], steps.autoflush, steps.is_watched)
    is_shorter = True
    while is_shorter:
        is_shorter = False
        for shorter in steps.shorter():
            if not shorter.steps:
                continue
            again = compare(shorter)
            if again is not None and set(again.aspects) & set(found.aspects):
                steps, found, is_shorter = shorter, again, True
                break
    return steps, found


def first_difference(seed: int) -> str | None:
    """Run the program of a seed on both; describe the shortest part of it on which they differ."""
    steps = program(seed)
    found = compare(steps)
    if found is None:
        return None
    steps, found = shrink(steps, found)
    how = f"{'' if steps.autoflush else 'no '}autoflush, {'watched' if steps.is_watched else 'not watched'}"
    return f"program {seed} differs, {how}\n{found.describe(steps)}"
