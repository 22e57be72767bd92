"""A random program: lines of Python about a zoo, and touches of the objects that they load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Query:
    """A statement as source code: lines that prepare, an expression, calls chained to it, and how it is consumed."""

    setup: tuple[str, ...]
    start: str
    calls: tuple[str, ...]
    end: str
    # `end` is a format: where the statement goes, "{}"

    @property
    def source(self) -> str:
        return self.end.format(self.start + "".join(self.calls))

    def shorter(self) -> Sequence[Query]:
        """The same with one part left out."""
        found = [replace(self, calls=self.calls[:n] + self.calls[n + 1 :]) for n in range(len(self.calls))]
        found += [replace(self, setup=self.setup[:n] + self.setup[n + 1 :]) for n in range(len(self.setup))]
        return found

    def __str__(self) -> str:
        return "\n".join((*self.setup, self.source))


@dataclass(frozen=True)
class Touch:
    """Something done to the object with a number: which attribute, and what, is decided when it is there."""

    kind: str
    number: int
    attribute: int

    def shorter(self) -> Sequence[Touch]:
        return []


@dataclass(frozen=True)
class Program:
    """Steps, and how the session they are done in is set up."""

    steps: tuple[Query | Touch, ...]
    autoflush: bool
    is_watched: bool

    def shorter(self) -> Sequence[Program]:
        found = [replace(self, steps=self.steps[:n] + self.steps[n + 1 :]) for n in range(len(self.steps))]
        for n, step in enumerate(self.steps):
            for less in step.shorter():
                found.append(replace(self, steps=(*self.steps[:n], less, *self.steps[n + 1 :])))
        return found
