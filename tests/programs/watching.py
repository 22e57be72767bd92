"""Runs one program on both ORMs and compares what can be seen of it: values, states, statements, warnings, errors."""

from __future__ import annotations

import importlib
import itertools
import os
import re
import warnings
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from differential.ordered import ordered
from sqlalchemy import event

ORMS = ("sqlalchemy.orm", "rustalchemy.orm")
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+|0x[0-9a-fA-F]+")
PACKAGE = re.compile(r"\b(sqlalchemy|rustalchemy)\.(orm|ext)\b")
STATES = ("transient", "pending", "persistent", "deleted", "detached")


class Watch:
    """What one run of a program shows; the program calls it with whatever it wants compared."""

    def __init__(self, name: str, is_watched: bool) -> None:
        self.name, self.is_watched = name, is_watched
        self.orm: Any = importlib.import_module(name)
        importlib.import_module(f"{name}.events")
        self.log: list[tuple[str, Any]] = []
        self._engines: list[Any] = []

    def ext(self, name: str) -> Any:
        """An extension of the ORM under test."""
        return importlib.import_module(f"{self.name.rpartition('.')[0]}.ext.{name}")

    def engine(self, metadata: Any = None, url: str = "sqlite://", foreign_keys: bool = False, **options: Any) -> Any:
        """An engine whose statements are noted, unless the run is to take the lanes; with the tables of `metadata`."""
        engine = sa.create_engine(url, **options)
        self._engines.append(engine)
        if foreign_keys:
            event.listen(engine, "connect", lambda connection, _: connection.execute("pragma foreign_keys = on"))
        if metadata is not None:
            metadata.create_all(engine)
        if self.is_watched:
            event.listen(engine, "before_cursor_execute", self._statement)
            for name in ("begin", "commit", "rollback"):
                event.listen(engine, name, lambda connection, name=name: self.log.append(("transaction", name)))
        return engine

    def _statement(self, conn: Any, cursor: Any, sql: str, parameters: Any, context: Any, many: bool) -> None:
        self.log.append(("sql", (" ".join(sql.split()), plain(parameters))))

    def __call__(self, *values: Any) -> None:
        self.log.append(("value", [plain(value) for value in values]))

    def state(self, *objects: Any) -> None:
        """The state, the identity and the loaded attributes of each object."""
        for one in objects:
            state = sa.inspect(one)
            names = [name for name in STATES if getattr(state, name)]
            loaded = {key: value for key, value in vars(one).items() if not key.startswith("_")}
            key = state.identity_key and state.identity_key[1:]
            extra = (state.modified, sorted(state.unloaded), state.was_deleted)
            self.log.append(
                ("state", (type(one).__name__, names, plain(key), plain(dict(sorted(loaded.items()))), extra))
            )

    def session(self, session: Any) -> None:
        self(
            "session", *(sorted(map(repr, map(plain, part))) for part in (session.new, session.dirty, session.deleted))
        )

    def error(self, call: Callable[[], Any]) -> BaseException | None:
        """Class and message of what a call raises; what it returns if it does not raise."""
        try:
            self("returned", call())
        except Exception as error:
            self.log.append(("error", (type(error).__name__, getattr(error, "code", None), masked(str(error)))))
            return error
        return None

    def listen(self, target: Any, names: Iterable[str], **options: Any) -> None:
        """Note that these events happen, with their arguments."""
        for name in names:
            event.listen(
                target, name, lambda *args, name=name, **kw: self("event", name, *args, *sorted(kw)), **options
            )

    @contextmanager
    def _warnings(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            show = warnings.showwarning
            warnings.showwarning = lambda message, category, filename, line, *rest: self.log.append(
                ("warning", (category.__name__, masked(str(message)), os.path.basename(filename), line))
            )
            try:
                yield
            finally:
                warnings.showwarning = show

    def close(self) -> None:
        for engine in self._engines:
            engine.dispose()


def masked(text: str) -> str:
    """A text without addresses and without what names the ORM."""
    text = re.sub(r"[\w.<>]+\.__init__\(\)", "__init__()", ADDRESS.sub("", text))
    return PACKAGE.sub(r"orm.\2", text).replace("orm.orm.collections.", "")


def plain(value: Any) -> Any:
    """A value as something that compares equal between two runs."""
    if value is None or isinstance(value, (bool, int, float, bytes)):
        return value
    if isinstance(value, str):
        return masked(value)
    if hasattr(type(value), "__mapper__"):
        values = vars(value)
        return f"<{type(value).__name__} {values.get('name', values.get('id', '-'))}>"
    if isinstance(value, dict):
        return {plain(key): plain(one) for key, one in value.items()}
    if isinstance(value, (set, frozenset)):
        return ["set", *sorted((plain(one) for one in value), key=repr)]
    if isinstance(value, (list, tuple)) or type(value).__name__ == "Row":
        return [plain(one) for one in value]
    if isinstance(value, type):
        return value.__name__
    if type(value).__repr__ is not object.__repr__ and type(value).__module__ in (
        "datetime",
        "decimal",
        "uuid",
        "enum",
    ):
        return repr(value)
    if isinstance(value, BaseException):
        return [type(value).__name__, masked(str(value))]
    if type(value).__module__.startswith("sqlalchemy.sql"):
        return masked(str(value))
    if hasattr(value, "added"):
        return ["history", plain(value.added), plain(value.unchanged), plain(value.deleted)]
    return masked(type(value).__name__.lstrip("_"))


def in_order(log: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Neighbouring SELECTs sorted: SQLAlchemy takes the loads of several attributes from a set."""
    in_a_row: list[tuple[str, Any]] = []
    for is_select, run in itertools.groupby(log, lambda one: one[0] == "sql" and one[1][0].startswith("SELECT")):
        steps = list(run)
        in_a_row.extend(sorted(steps, key=repr) if is_select else steps)
    return in_a_row


def same(theirs: tuple[str, Any], ours: tuple[str, Any]) -> bool:
    """Are two steps equal? An error's text may go on where SQLAlchemy's ends."""
    if theirs[0] == ours[0] == "error":
        if theirs[1][0] in ("TypeError", "AttributeError", "KeyError"):
            return bool(theirs[1][0] == ours[1][0])  # the interpreter's texts
        head = theirs[1][2].partition("(Background on this error")[0].rstrip().rstrip(". ")
        return theirs[1][:2] == ours[1][:2] and ours[1][2].startswith(head)
    return theirs == ours


def watch(program: Callable[[Watch], None], name: str, is_watched: bool) -> list[tuple[str, Any]]:
    """The log of one run."""
    run = Watch(name, is_watched)
    with run._warnings():
        try:
            program(run)
        except Exception as error:
            run.log.append(("ended by", (type(error).__name__, masked(str(error)))))
    run.close()
    return in_order(run.log)


def compare(program: Callable[[Watch], None]) -> None:
    """The program shows the same on both ORMs, with every statement watched and with the lanes open."""
    for is_watched in (True, False):
        with ordered():
            theirs = watch(program, "sqlalchemy.orm", is_watched)
        ours = watch(program, "rustalchemy.orm", is_watched)
        assert not theirs or theirs[-1][0] != "ended by", theirs[-1]
        for number, (expected, seen) in enumerate(itertools.zip_longest(theirs, ours, fillvalue=("nothing", None))):
            if not same(expected, seen):
                before = "\n".join(f"    {one}" for one in theirs[max(0, number - 4) : number])
                later = "\n".join(f"    {one}" for one in ours[number + 1 : number + 4])
                way = "watched" if is_watched else "lanes"
                raise AssertionError(f"step {number} ({way})\n{before}\nexpected {expected}\nseen     {seen}\n{later}")
