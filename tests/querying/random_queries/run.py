"""One run of a program on one ORM, observed after every step."""

from __future__ import annotations

import functools
import gc
import re
import warnings
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.dialects import postgresql, sqlite

from .steps import Program, Query, Touch
from .zoo import declare, make_database

_CORE_NAMES = str.split(
    "inspect select update delete insert func case literal or_ and_ not_ exists union_all union text literal_column "
    "bindparam true tuple_ LABEL_STYLE_DISAMBIGUATE_ONLY"
)
_ORM_NAMES = str.split(
    "aliased with_polymorphic Bundle Load joinedload selectinload subqueryload lazyload immediateload raiseload noload "
    "defaultload contains_eager load_only defer undefer undefer_group with_expression selectin_polymorphic "
    "with_loader_criteria with_parent loading"
)
_AROUND = ("BEGIN", "ROLLBACK", "COMMIT", "SAVEPOINT", "RELEASE", "PRAGMA")


@functools.cache
def _engine(orm_name: str, is_watched: bool) -> tuple[Any, list[Any]]:
    """A database for each ORM, watched through Core's events or by the driver; programs leave it as it was."""
    engine = make_database(declare(orm_name))
    sent: list[Any] = []
    if is_watched:

        @event.listens_for(engine, "before_cursor_execute")
        def note(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
            # how many rows an UPDATE takes along is each ORM's own affair
            for row in parameters if executemany else [parameters]:
                sent.append(f"{' '.join(statement.split())} {row!r}")

    else:
        with engine.connect() as connection:
            # what the driver was told, whichever way the ORM reached it
            connection.connection.driver_connection.set_trace_callback(
                lambda text: None if text.startswith(_AROUND) else sent.append(" ".join(text.split()))
            )
    return engine, sent


class Run:
    """A session, what was loaded so far, and a log of what could be seen."""

    def __init__(self, orm_name: str, program: Program, holds_all: bool = False) -> None:
        self.zoo = declare(orm_name)
        self.program = program
        self.engine, self.sent = _engine(orm_name, program.is_watched)
        self.session = self.zoo.orm.Session(self.engine, autoflush=program.autoflush)
        self.names: dict[str, Any] = {
            **{name: getattr(sa, name) for name in _CORE_NAMES},
            **self.zoo.classes,
            **{name: getattr(self.zoo.orm, name) for name in _ORM_NAMES},
            "s": self.session,
            "upsert": sqlite.insert,
            "gc": gc,
        }
        # held, so that no collector decides what the session knows from step to step
        self.objects: list[Any] = []
        # and within a step
        self.loaded: list[Any] = []
        if holds_all:
            event.listen(self.session, "loaded_as_persistent", lambda session, obj: self.loaded.append(obj))
        self.log: list[dict[str, Any]] = []
        # the steps, for people
        self.words: list[str] = []

    def run(self) -> list[dict[str, Any]]:
        """Take all steps; the log has what could be seen after each."""
        # collections are to look at what the run makes only
        gc.freeze()
        try:
            for step in self.program.steps:
                self._take(step)
        finally:
            self.session.close()
            gc.unfreeze()
        return self.log

    def _take(self, step: Query | Touch) -> None:
        self.sent.clear()
        self.words.append(self._say(step))
        seen: dict[str, Any] = {}
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                outcome = self._query(step, seen) if isinstance(step, Query) else getattr(self, f"_{step.kind}")(step)
            except Exception as error:
                outcome = f"{type(error).__name__}: {plain(str(error))}"
                if isinstance(error, exc.DBAPIError):
                    self.session.rollback()
        # what only cycles hold is not to be seen
        gc.collect()
        seen["outcome"] = outcome
        seen["sent"] = _in_order([_without_discriminator(plain(text)) for text in self.sent])
        seen["warned"] = [plain(str(warning.message)) for warning in warned]
        with self.session.no_autoflush:
            self._adopt()
            seen["objects"] = {self._show(obj): self._look(obj) for obj in self.objects}
        self.log.append(seen)

    def _say(self, step: Query | Touch) -> str:
        if isinstance(step, Query):
            return str(step)
        obj = self._object(step)
        if obj is None:
            return "pass"
        keys = self._keys(obj)
        some = self._some_keys(obj, step) if step.kind.endswith("_one") else [keys[step.attribute % len(keys)]]
        return f"# {step.kind} {_name(obj)} {', '.join(some)}"

    def _adopt(self) -> None:
        known = {id(obj) for obj in self.objects}
        found = [obj for obj in self.session.identity_map.values() if id(obj) not in known]
        self.objects += sorted(found, key=_name)

    def _query(self, step: Query, seen: dict[str, Any]) -> Any:
        for line in step.setup:
            exec(line, self.names)
        statement = eval(step.start + "".join(step.calls), self.names)
        seen["described"] = _described(statement)
        if not isinstance(statement, self.zoo.orm.Query):
            seen["text"] = _compiled(statement)
        self.names["statement"] = statement
        result = eval(step.end.format("statement"), self.names)
        self.names["result"] = _bare(result)
        return self._show(result)

    # --- touches -----------------------------------------------------------------------------------------------------

    def _object(self, step: Touch) -> Any:
        return self.objects[step.number % len(self.objects)] if self.objects else None

    def _keys(self, obj: Any) -> list[str]:
        mapper = sa.inspect(type(obj))
        return sorted(key for key in dict(mapper.all_orm_descriptors) if not key.startswith("_"))

    def _read(self, step: Touch) -> Any:
        if (obj := self._object(step)) is None:
            return None
        keys = self._keys(obj)
        key = keys[step.attribute % len(keys)]
        return _name(obj), key, self._value(obj, key)

    def _value(self, obj: Any, key: str) -> Any:
        value = getattr(obj, key)
        if key == "stream":
            return self._show(value.all())
        if key == "written":
            return self._show(self.session.scalars(value.select()).unique().all())
        return self._show(value)

    def _read_all(self, step: Touch) -> Any:
        """One attribute of all objects of a class."""
        if (obj := self._object(step)) is None:
            return None
        keys = self._keys(obj)
        key = keys[step.attribute % len(keys)]
        return key, [self._value(o, key) for o in self.objects if type(o) is type(obj)]

    def _expire(self, step: Touch) -> None:
        if (obj := self._object(step)) is not None:
            self.session.expire(obj)

    def _some_keys(self, obj: Any, step: Touch) -> list[str]:
        keys = sorted(sa.inspect(type(obj)).attrs.keys())
        return [keys[step.attribute % len(keys)], keys[step.attribute // 7 % len(keys)]]

    def _expire_one(self, step: Touch) -> None:
        if (obj := self._object(step)) is not None:
            self.session.expire(obj, self._some_keys(obj, step))

    def _refresh(self, step: Touch) -> None:
        if (obj := self._object(step)) is not None:
            self.session.refresh(obj)

    def _refresh_one(self, step: Touch) -> None:
        if (obj := self._object(step)) is not None:
            self.session.refresh(obj, self._some_keys(obj, step))

    def _set(self, step: Touch) -> None:
        if (obj := self._object(step)) is not None:
            obj.name = f"set{step.attribute % 3}"

    def _expunge(self, step: Touch) -> None:
        if (obj := self._object(step)) is not None:
            self.session.expunge(obj)

    def _get(self, step: Touch) -> Any:
        if (obj := self._object(step)) is None:
            return None
        base = sa.inspect(type(obj)).base_mapper.class_
        cls = base if step.attribute % 2 else type(obj)
        return self._show(self.session.get(cls, sa.inspect(obj).identity, populate_existing=step.attribute % 5 == 0))

    def _merge(self, step: Touch) -> Any:
        """The object, copied in; or a new one with its key."""
        if (obj := self._object(step)) is None:
            return None
        if step.attribute % 2:
            return self._show(self.session.merge(obj))
        mapper = sa.inspect(type(obj))
        keys = {mapper.get_property_by_column(column).key for column in mapper.primary_key}
        given = dict(zip(sorted(keys), sorted(sa.inspect(obj).identity, key=str), strict=False))
        if len(keys) > 1:
            return None
        return self._show(self.session.merge(type(obj)(**given, name="merged")))

    def _relate(self, step: Touch) -> None:
        """Another object of the right class, or none, for a relationship to one."""
        if (obj := self._object(step)) is None:
            return
        single = [r for r in sa.inspect(type(obj)).relationships if not r.uselist and not r.viewonly]
        if single:
            chosen = sorted(single, key=lambda r: r.key)[step.attribute % len(single)]
            others = [o for o in self.objects if isinstance(o, chosen.mapper.class_)]
            other = None if step.attribute % 3 == 0 or not others else others[step.attribute % len(others)]
            setattr(obj, chosen.key, other)

    def _delete(self, step: Touch) -> None:
        if (obj := self._object(step)) is not None:
            self.session.delete(obj)

    def _expire_all(self, step: Touch) -> None:
        self.session.expire_all()

    def _rollback(self, step: Touch) -> None:
        self.session.rollback()

    def _savepoint(self, step: Touch) -> Any:
        """A change that is taken back."""
        if (obj := self._object(step)) is None:
            return None
        with self.session.begin_nested() as savepoint:
            obj.name = "in a savepoint"
            self.session.flush()
            savepoint.rollback()
        return obj in self.session

    # --- what can be seen --------------------------------------------------------------------------------------------

    def _show(self, value: Any) -> Any:
        if type(value).__name__ in self.zoo.classes and sa.inspect(value, raiseerr=False) is not None:
            return _name(value)
        if isinstance(value, tuple) and not isinstance(value, sa.Row):
            return tuple(map(self._show, value))
        if isinstance(value, sa.Row):
            return (*map(plain, value._fields), *map(self._show, value))
        if hasattr(value, "_asdict"):
            return self._show(value._asdict())
        if isinstance(value, dict | sa.RowMapping):
            return {plain(str(key)): self._show(member) for key, member in value.items()}
        if type(value).__name__ == "_AssociationList" or isinstance(value, list):
            return [self._show(member) for member in value]
        return plain(repr(value))

    def _look(self, obj: Any) -> Any:
        """Loaded values of an object and its state; nothing is loaded to find out."""
        state = sa.inspect(obj)
        # what tells the classes of a union apart is no attribute, but SQLAlchemy's options may load it as one
        values = {key: self._show(v) for key, v in sorted(state.dict.items()) if key[0] != "_" and key != "type"}
        return values, sorted(state.unloaded - {"type"}), obj in self.session, state.modified


def _without_discriminator(text: str) -> str:
    """A statement as it is whether or not what tells the classes of a union apart is refreshed with the rest."""
    return text.replace(", pjoin.type", "")


def _name(obj: Any) -> str:
    key = sa.inspect(obj).key
    if key is None:  # its INSERT was rolled back
        return f"new {type(obj).__name__}"
    _, identity, token = key
    return f"{type(obj).__name__}#{','.join(map(str, identity))}{token or ''}"


def _bare(result: Any) -> Any:
    """A result that is held for its objects; a Row of SQLAlchemy may hold all that its query has loaded."""
    if isinstance(result, sa.Row | sa.RowMapping):
        return list(dict(getattr(result, "_mapping", result)).values())
    return [_bare(member) for member in result] if isinstance(result, list) else result


def _described(statement: Any) -> Any:
    descriptions = getattr(statement, "column_descriptions", None)
    if descriptions is None:
        return None
    return [
        (
            plain(str(d["name"])),
            str(d["type"]).rpartition(".")[2],
            d.get("aliased"),
            getattr(d.get("entity"), "__name__", None),
        )
        for d in descriptions
    ]


def _compiled(statement: Any) -> Any:
    try:
        compiled = statement.compile(dialect=postgresql.dialect())
    except Exception as error:
        return f"{type(error).__name__}: {plain(str(error))}"
    return " ".join(str(compiled).split()), {key: repr(value) for key, value in compiled.params.items()}


def _in_order(sent: list[str]) -> list[str]:
    """Statements in order, but for what comes from a set: rows of an autoflush, and, after the first SELECT, loads."""
    if any(text.startswith("DELETE") for text in sent):
        return sorted(sent)  # which of the deleted objects loads what it needs for that first is left to a set
    first = next((n for n, text in enumerate(sent) if text.startswith("SELECT")), len(sent))
    return [*sorted(sent[:first]), *sent[first : first + 1], *sorted(sent[first + 1 :])]


def plain(text: str) -> str:
    """A message without addresses and the ORM's name."""
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    text = re.sub(r"\b\d{9,}\b", "N", text)
    text = re.sub(r"(?s)between FROM.*|FROM clause entities \(.*|Searched entities: .*", "", text)  # sets, in any order
    text = re.sub(r"(?s)(?<=dependency detected. )\(.*", "", text)  # the same
    text = re.sub(r"(?s)\(the flush came before a load.*?\)\n(?=\()", "", text)  # what only we say
    text = re.sub(r"(?s)\n\[SQL: .*| \(Background on this error at.*", "", text)
    return re.sub(r"(sql|rust)alchemy\.orm\.\w+\.", "orm.", text).replace("rustalchemy.", "sqlalchemy.")
