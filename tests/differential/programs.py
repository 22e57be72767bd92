"""Random programs against a Session: made once from a seed, run on either ORM, observed after every step."""

from __future__ import annotations

import random
import warnings
from typing import Any

import sqlalchemy as sa

from .zoo import COLLECTIONS, SCALARS, declare

Step = tuple[Any, ...]
NAMES = sorted({*COLLECTIONS, *SCALARS})


def program(seed: int, length: int = 25) -> list[Step]:
    """Steps that refer to objects by number; a step that makes no sense when it is reached does nothing."""
    rnd = random.Random(seed)
    steps: list[Step] = [("new", rnd.choice(NAMES)) for _ in range(5)]
    kinds = {
        "new": 5,
        "append": 8,
        "remove": 4,
        "replace": 2,
        "point": 7,
        "unpoint": 2,
        "rename": 4,
        "add": 4,
        "delete": 3,
        "flush": 4,
        "commit": 2,
        "rollback": 1,
        "expire": 1,
        "expunge": 1,
        "read": 3,
    }
    for _ in range(length):
        kind = rnd.choices(list(kinds), list(kinds.values()))[0]
        a, b, n = rnd.randrange(1000), rnd.randrange(1000), rnd.randrange(1000)
        steps.append((kind, rnd.choice(NAMES)) if kind == "new" else (kind, a, b, n))
    return [*steps, ("commit", 0, 0, 0)]


class Run:
    """One run of a program on one ORM."""

    def __init__(self, orm_name: str) -> None:
        self.zoo = declare(orm_name)
        self.engine = sa.create_engine("sqlite://")
        self.zoo.Base.metadata.create_all(self.engine)
        self.session = self.zoo.orm.Session(self.engine)
        self.objects: list[Any] = []
        self.log: list[Any] = []
        self.words: list[str] = []

    def run(self, steps: list[Step]) -> list[Any]:
        """Take all steps; the log has what could be seen after each."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for step in steps:
                self.words.append("")
                try:
                    self._step(step)
                    outcome = "ok"
                except (sa.exc.SQLAlchemyError, AssertionError) as error:
                    outcome = type(error).__name__
                    self.session.rollback()
                self.log.append((step, outcome, self._states(), self._rows() if step[0] in _SEEN_IN_ROWS else None))
        self.session.close()
        self.engine.dispose()
        return self.log

    def _pick(self, number: int, class_name: str | None = None) -> Any:
        found = [o for o in self.objects if class_name is None or type(o).__name__ == class_name]
        return found[number % len(found)] if found else None

    def _name(self, obj: Any) -> str:
        return f"{type(obj).__name__}:{next((i for i, o in enumerate(self.objects) if o is obj), None)}"

    def _relation(self, table: dict[str, dict[str, str]], a: int, b: int, n: int) -> tuple[Any, str, Any] | None:
        owner = self._pick(a)
        relations = table.get(type(owner).__name__)
        if not relations:
            return None
        key = sorted(relations)[n % len(relations)]
        other = self._pick(b, relations[key])
        self.words[-1] = f"{self._name(owner)}.{key} {self._name(other)}"
        return (owner, key, other) if other is not None else None

    def _step(self, step: Step) -> None:
        kind, session = step[0], self.session
        if kind == "new":
            self.words[-1] = f"{step[1]} as {len(self.objects)}"
            self.objects.append(self.zoo.classes[step[1]](name=f"n{len(self.objects)}"))
            return
        _, a, b, n = step
        obj = self._pick(a)
        self.words[-1] = self._name(obj)
        if kind == "append" and (found := self._relation(COLLECTIONS, a, b, n)):
            collection = getattr(found[0], found[1])
            if not any(member is found[2] for member in collection):
                collection.append(found[2])
        elif kind == "remove" and (found := self._relation(COLLECTIONS, a, b, n)):
            collection = getattr(found[0], found[1])
            if collection:
                collection.remove(collection[b % len(collection)])
        elif kind == "replace" and (found := self._relation(COLLECTIONS, a, b, n)):
            setattr(found[0], found[1], [found[2]])
        elif kind == "point" and (found := self._relation(SCALARS, a, b, n)):
            setattr(*found)
        elif kind == "unpoint" and (found := self._relation(SCALARS, a, b, n)):
            setattr(found[0], found[1], None)
        elif kind == "read":
            for table in (COLLECTIONS, SCALARS):
                for key in table.get(type(obj).__name__, {}):
                    getattr(obj, key)
        elif kind == "rename":
            obj.name = f"r{b % 5}"
        elif kind == "add":
            session.add(obj)
        elif kind == "delete":
            session.delete(obj)
        elif kind == "flush":
            session.flush()
        elif kind == "commit":
            session.commit()
        elif kind == "rollback":
            session.rollback()
        elif kind == "expire" and obj in session and sa.inspect(obj).persistent:
            session.expire(obj)
        elif kind == "expunge" and obj in session:
            session.expunge(obj)

    def _states(self) -> list[tuple[str, Any]]:
        """Lifecycle and identity of every object, and the session's three collections."""
        out: list[Any] = []
        numbers = {id(o): i for i, o in enumerate(self.objects)}
        for obj in self.objects:
            state = sa.inspect(obj)
            life = next(
                name for name in ("transient", "pending", "persistent", "deleted", "detached") if getattr(state, name)
            )
            out.append((life, state.identity))
        for name in ("new", "dirty", "deleted"):
            out.append((name, sorted(numbers.get(id(o), -1) for o in getattr(self.session, name))))
        return out

    def _rows(self) -> dict[str, list[Any]]:
        """The database as the session's own transaction sees it."""
        if not self.session.in_transaction():
            with self.engine.connect() as connection:
                return self._dump(connection)
        with self.session.no_autoflush:
            return self._dump(self.session.connection())

    def _dump(self, connection: Any) -> dict[str, list[Any]]:
        return {
            table.name: [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))]
            for table in self.zoo.Base.metadata.sorted_tables
        }


_SEEN_IN_ROWS = {"flush", "commit", "rollback"}


def compare(steps: list[Step]) -> tuple[int, Any, Any] | None:
    """Number of the first step after which the ORMs differ, and what was seen on each."""
    theirs, ours = Run("sqlalchemy.orm").run(steps), Run("rustalchemy.orm").run(steps)
    for number, (a, b) in enumerate(zip(theirs, ours, strict=True)):
        if a[1:] != b[1:]:
            return number, a, b
    return None


def shrink(steps: list[Step]) -> list[Step]:
    """Leave out steps as long as the ORMs still differ."""
    again = True
    while again:
        again = False
        for number in reversed(range(len(steps))):
            shorter = steps[:number] + steps[number + 1 :]
            if compare(shorter):
                steps, again = shorter, True
    return steps


def first_difference(seed: int, length: int = 25) -> str | None:
    """Run one program on both; describe the shortest part of it on which they differ."""
    steps = program(seed, length)
    # SQLAlchemy walks sets in places (two parents that claim one child): only what differs every time counts.
    if not all(compare(steps) for _ in range(3)):
        return None
    steps = shrink(steps)
    found = compare(steps)
    if found is None:
        return None
    number, theirs, ours = found
    lines = [f"program {seed} differs after its step {number}"]
    again = Run("rustalchemy.orm")
    again.run(steps)
    lines += [f"    {step[0]} {words}" for step, words in zip(steps[: number + 1], again.words, strict=False)]
    lines += [f"  SQLAlchemy:  {theirs[1:]}", f"  rustalchemy: {ours[1:]}"]
    return "\n".join(lines)
