"""One ORM in the state machine: takes a step, and says everything that can be seen afterwards."""

from __future__ import annotations

import functools
import re
import sqlite3
import warnings
from collections import Counter
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import event
from tests.differential.run import rows_of

from .steps import Steps
from .zoo import COLUMNS, ROW_EVENTS, SCALARS, SESSION_EVENTS, declare, make_engine

Step = tuple[Any, ...]
LIVES = ("transient", "pending", "persistent", "deleted", "detached")
_NOT_COMPARED = re.compile(r"0x[0-9a-f]+|\(transient \d+\)|(sql|rust)alchemy")
EXPECTED = (
    sa.exc.SQLAlchemyError,
    sqlite3.Error,
    LookupError,
    AttributeError,
    ValueError,
    AssertionError,
    NotImplementedError,
)


class Options(NamedTuple):
    """How the session is made, and who listens."""

    autoflush: bool = True
    expire_on_commit: bool = True
    foreign_keys: bool = False
    observed: bool = False
    listens: bool = False


class Tripped(ValueError):
    """A listener failed."""


class Undefined(Exception):
    """What comes after this step is not worth to be compared."""


class Side(Steps):
    """One ORM in the state machine."""

    def __init__(self, orm_name: str, options: Options) -> None:
        self.zoo = declare(orm_name)
        self.orm = self.zoo.orm
        self.is_theirs = orm_name == "sqlalchemy.orm"
        self.options = options
        self.engine = make_engine(self.zoo.metadata, observed=options.observed, foreign_keys=options.foreign_keys)
        self.trip = ""
        self.listening: list[tuple[Any, str, Any]] = []
        if options.listens:
            for class_ in self.zoo.classes.values():
                self._listen(class_, ROW_EVENTS)
        self.session = self._make_session(autoflush=options.autoflush, expire_on_commit=options.expire_on_commit)
        self.other_session = self.orm.Session(self.engine, autoflush=False)
        self.objects = []
        self.savepoints = []
        self.driver = self.engine.raw_connection().dbapi_connection
        self.statements: list[str] = []
        self.driver.set_trace_callback(self.statements.append)

    def _make_session(self, **how: Any) -> Any:
        session = self.orm.Session(self.engine, **how)
        if self.options.listens:
            self._listen(session, SESSION_EVENTS)
        return session

    def _listen(self, target: Any, names: tuple[str, ...]) -> None:
        for name in names:
            listener = functools.partial(self._heard, name)
            event.listen(target, name, listener)
            self.listening.append((target, name, listener))

    def _heard(self, name: str, *args: Any) -> None:
        if self.trip == name:
            self.trip = ""
            raise Tripped(name)

    def close(self) -> None:
        self.driver.set_trace_callback(None)
        self.trip = ""
        self.session.close()
        self.other_session.close()
        for listening in self.listening:
            event.remove(*listening)
        self.engine.dispose()

    def take(self, step: Step) -> dict[str, Any]:
        """Take one step; everything that can be seen afterwards, by name."""
        self.statements.clear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                outcome = self._describe(getattr(self, f"_step_{step[0]}")(*step[1:]))
            except EXPECTED as error:
                if "LoaderCallableStatus" in str(error):
                    raise Undefined(f"{step}: the driver was given a symbol in place of a key") from None
                outcome = f"{type(error).__name__} {getattr(error, 'code', None) or ''}"
                self._forget_frames(error)
        if self.is_theirs and any(state.key is None for state in self.session.identity_map.all_states()):
            raise Undefined(f"{step}: a flush that failed at its end left new objects in the map")
        if self.is_theirs and any(self._is_lost(session) for session in (self.session, self.other_session)):
            raise Undefined(f"{step}: a rollback took an object out of another session")
        # how many rows of a batch were sent before, or together with, one that failed is each ORM's own affair
        is_failed = str(outcome).startswith(("StaleDataError", "IntegrityError"))
        written = ("INSERT", "UPDATE") if is_failed else ()
        sent = [" ".join(text.split()) for text in self.statements if not text.startswith(written)]
        return {
            "outcome": outcome,
            # whether a flush warns before or after it asks for a connection, which a listener refuses, is not compared
            "warnings": outcome != "Tripped "
            # and SQLAlchemy leaves to a set which of two unrelated classes is written first
            and sorted((w.category.__name__, _NOT_COMPARED.sub("", str(w.message))) for w in caught),
            "selects": {text for text in sent if text.startswith("SELECT")},
            "statements": Counter(row for text in sent if not text.startswith("SELECT") for row in rows_of(text)),
            "session": self._session_seen(),
            **{self._name(obj): self._object_seen(obj) for obj in self.objects},
            "rows": self._rows(),
        }

    @staticmethod
    def _is_lost(session: Any) -> bool:
        """Does a session have an object that says it is in none?"""
        return any(sa.inspect(obj).session is None for obj in session)

    @staticmethod
    def _forget_frames(error: BaseException | None) -> None:
        """Frames hold objects, which would then stay in the identity map."""
        while error is not None:
            error.__traceback__ = None
            error = error.__context__

    # --- what is seen ------------------------------------------------------------------------------------------------

    def _name(self, obj: Any) -> str:
        for number, known in enumerate(self.objects):
            if known is obj:
                return f"{type(obj).__name__}#{number}"
        return f"{type(obj).__name__}{sa.inspect(obj).identity}"

    def _describe(self, value: Any) -> Any:
        if type(value).__name__ in COLUMNS:
            return self._name(value)
        if isinstance(value, (list, tuple)):
            return [self._describe(each) for each in value]
        if isinstance(value, set):
            return sorted(self._describe(each) for each in value)
        if value is None or isinstance(value, (int, str)):
            # symbols are whole numbers with a name
            return getattr(value, "name", value)
        return value.__name__ if isinstance(value, type) else str(value)

    def _object_seen(self, obj: Any) -> dict[str, Any]:
        state = sa.inspect(obj)

        return {
            "life": [life for life in LIVES if getattr(state, life)],
            "identity": self._describe((state.identity, state.key)),
            "was_deleted": state.was_deleted,
            "session": ["none", "this", "other"][
                (state.session is self.session) + 2 * (state.session is self.other_session)
            ],
            # nothing is written of a deleted or transient object, whatever it says of itself
            "modified": state.modified and not state.was_deleted and not state.transient,
            "expired": state.expired,
            "loaded": {key: self._describe(state.dict[key]) for key in sorted(state.dict) if key[0] != "_"},
            "unloaded": sorted(state.unloaded),
            "expired columns": sorted(
                key
                for key in state.expired_attributes & state.unloaded
                if key in state.mapper.column_attrs and not state.mapper.column_attrs[key].deferred
            ),
            # nobody asks for the history of an object whose row is gone; that of a many-to-one may load the old value
            "history": not state.was_deleted
            and {
                key: self._history(state, key)
                for key in sorted(state.attrs.keys())
                if key not in SCALARS.get(type(obj).__name__, {})
            },
        }

    def _history(self, state: Any, key: str) -> Any:
        history = self._describe(tuple(state.attrs[key].history))
        prop = state.mapper.attrs[key]
        is_set = getattr(prop, "collection_class", None) is set
        return [sorted(part) for part in history] if is_set else history

    def _session_seen(self) -> dict[str, Any]:
        session = self.session
        seen: dict[str, Any] = {
            name: sorted(self._name(obj) for obj in getattr(session, name)) for name in ("new", "dirty", "deleted")
        }
        seen["transaction"] = (session.in_transaction(), session.in_nested_transaction(), session.is_active)
        seen["identity map"] = sorted(
            f"{self._name(obj)} {self._describe(key)}"
            for key, obj in session.identity_map.items()
            if any(known is obj for known in self.objects)
        )
        return seen

    def _rows(self) -> dict[str, Any]:
        """What the session's transaction sees, read past the session and its engine."""
        self.driver.set_trace_callback(None)
        rows = {
            table.name: self.driver.execute(f'SELECT * FROM "{table.name}" ORDER BY 1, 2').fetchall()
            for table in self.zoo.metadata.tables.values()
        }
        self.driver.set_trace_callback(self.statements.append)
        return rows
