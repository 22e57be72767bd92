"""One ORM's session and the objects it works on: takes a step, and says everything that can be seen afterwards.

A step is a name and whole numbers. Numbers stand for objects, classes, attributes and values by remainder, so that any
step can be taken at any time, on both ORMs alike.
"""

from __future__ import annotations

import gc
import pickle
import re
import warnings
from typing import Any, NamedTuple

import sqlalchemy as sa

from .zoo import COLLECTIONS, COLUMNS, NAMES, SCALARS, declare, make_engine

Step = tuple[Any, ...]
LIVES = ("transient", "pending", "persistent", "deleted", "detached")
VALUES = (None, "a", "b", "c")
MOST_SAVEPOINTS = 3
_NOT_COMPARED = re.compile(r"0x[0-9a-f]+|\(transient \d+\)|(sql|rust)alchemy")


class Options(NamedTuple):
    """How the session is made."""

    autoflush: bool = True
    expire_on_commit: bool = True
    observed: bool = False


class Side:
    """One ORM in the state machine."""

    def __init__(self, orm_name: str, options: Options) -> None:
        self.zoo = declare(orm_name)
        self.orm = self.zoo.orm
        self.engine = make_engine(self.zoo.metadata, observed=options.observed)
        self.session = self.orm.Session(
            self.engine, autoflush=options.autoflush, expire_on_commit=options.expire_on_commit
        )
        self.objects: list[Any] = []
        self.savepoints: list[Any] = []
        self.driver = self.engine.raw_connection().dbapi_connection
        self.statements: list[str] = []
        self.driver.set_trace_callback(self._note_statement)

    def close(self) -> None:
        self.driver.set_trace_callback(None)
        self.session.close()
        self.engine.dispose()

    def _note_statement(self, text: str) -> None:
        # rustalchemy asks the driver for the new key where RETURNING would fetch nothing else
        self.statements.append(" ".join(text.partition(" RETURNING ")[0].split()))

    # --- steps -----------------------------------------------------------------------------------------------------

    def take(self, step: Step) -> dict[str, Any]:
        """Take one step; everything that can be seen afterwards, by name."""
        self.statements.clear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                outcome = self._describe(getattr(self, f"_step_{step[0]}")(*step[1:]))
            except (sa.exc.SQLAlchemyError, LookupError, AttributeError, ValueError, AssertionError) as error:
                outcome = f"{type(error).__name__} {getattr(error, 'code', None) or ''}"
                self._forget_frames(error)
        return {
            "outcome": outcome,
            "warnings": [(w.category.__name__, _NOT_COMPARED.sub("", str(w.message))) for w in caught],
            "statements": set(self.statements),
            "session": self._session_seen(),
            **{self._name(obj): self._object_seen(obj) for obj in self.objects},
            "rows": self._rows(),
        }

    @staticmethod
    def _forget_frames(error: BaseException | None) -> None:
        """Frames hold objects, which would then stay in the identity map."""
        while error is not None:
            error.__traceback__ = None
            error = error.__context__

    def _object(self, number: int, names: Any = NAMES) -> Any:
        found = [obj for obj in self.objects if type(obj).__name__ in names]
        return found[number % len(found)] if found else self._step_new(NAMES.index(sorted(names)[0]), 0, number)

    def _known(self, obj: Any) -> Any:
        """Enter an object that came out of the session into the numbered ones."""
        if obj is not None and not any(known is obj for known in self.objects):
            self.objects.append(obj)
        return obj

    def _step_new(self, kind: int, key: int, value: int) -> Any:
        name = NAMES[kind % len(NAMES)]
        values: dict[str, Any] = {}
        if key % 8 or name == "Pair":
            values["id"] = key % 8 or None
        if value % 5:
            values["name"] = f"{VALUES[value % 4]}{len(self.objects)}"
        if name == "Pair":
            values["second"] = value % 3 or None
        if "age" in COLUMNS[name] and value % 3:
            values["age"] = value % 3 + 20
        return self._known(self.zoo.classes[name](**values))

    def _step_add(self, number: int) -> None:
        self.session.add(self._object(number))

    def _step_add_all(self, *numbers: int) -> None:
        self.session.add_all([self._object(number) for number in numbers])

    def _step_delete(self, number: int) -> None:
        self.session.delete(self._object(number))

    def _step_expunge(self, number: int) -> None:
        self.session.expunge(self._object(number))

    def _step_expunge_all(self) -> None:
        self.session.expunge_all()

    def _names(self, obj: Any, mask: int) -> list[str] | None:
        if not mask % 4:
            return None
        keys = sorted(sa.inspect(type(obj)).attrs.keys())
        return [key for position, key in enumerate(keys) if mask >> position & 1]

    def _step_expire(self, number: int, mask: int) -> None:
        obj = self._object(number)
        self.session.expire(obj, self._names(obj, mask))

    def _step_expire_all(self) -> None:
        self.session.expire_all()

    def _step_refresh(self, number: int, mask: int) -> None:
        obj = self._object(number)
        self.session.refresh(obj, self._names(obj, mask) or None)

    def _step_merge(self, number: int, load: bool) -> Any:
        return self._known(self.session.merge(self._object(number), load=load))

    def _step_make_transient(self, number: int) -> None:
        self.orm.make_transient(self._object(number))

    def _step_make_transient_to_detached(self, number: int) -> None:
        obj = self._object(number)
        if all(column.key in sa.inspect(obj).dict for column in sa.inspect(type(obj)).primary_key):
            self.orm.make_transient_to_detached(obj)

    def _column(self, number: int, key: int) -> tuple[Any, str]:
        obj = self._object(number)
        keys = COLUMNS[type(obj).__name__]
        return obj, keys[key % len(keys)]

    def _step_flag_modified(self, number: int, key: int) -> None:
        self.orm.attributes.flag_modified(*self._column(number, key))

    def _step_set(self, number: int, key: int, value: int) -> None:
        obj, name = self._column(number, key)
        given = VALUES[value % 4] if name in ("name", "body") else (value % 5 or None)
        setattr(obj, name, given)

    def _step_set_committed(self, number: int, key: int, value: int) -> None:
        obj, name = self._column(number, key)
        if name in ("name", "age"):
            self.orm.attributes.set_committed_value(obj, name, VALUES[value % 4])

    def _step_read(self, number: int, key: int) -> Any:
        obj = self._object(number)
        keys = sorted(sa.inspect(type(obj)).attrs.keys())
        return getattr(obj, keys[key % len(keys)])

    def _collection(self, number: int, key: int, other: int) -> tuple[Any, str, Any]:
        obj = self._object(number, COLLECTIONS)
        keys = COLLECTIONS[type(obj).__name__]
        name = sorted(keys)[key % len(keys)]
        return obj, name, self._object(other, {keys[name]})

    def _step_append(self, number: int, key: int, other: int) -> None:
        obj, name, member = self._collection(number, key, other)
        collection = getattr(obj, name)
        if not any(each is member for each in collection):
            collection.append(member)

    def _step_insert(self, number: int, key: int, other: int) -> None:
        obj, name, member = self._collection(number, key, other)
        collection = getattr(obj, name)
        if not any(each is member for each in collection):
            collection.insert(0, member)

    def _step_remove(self, number: int, key: int, other: int) -> None:
        obj, name, member = self._collection(number, key, other)
        getattr(obj, name).remove(member)

    def _step_pop(self, number: int, key: int, other: int) -> Any:
        obj, name, _ = self._collection(number, key, other)
        return getattr(obj, name).pop()

    def _step_clear(self, number: int, key: int, other: int) -> None:
        obj, name, _ = self._collection(number, key, other)
        getattr(obj, name).clear()

    def _step_replace(self, number: int, key: int, other: int) -> None:
        obj, name, member = self._collection(number, key, other)
        setattr(obj, name, [member])

    def _step_del_collection(self, number: int, key: int, other: int) -> None:
        obj, name, _ = self._collection(number, key, other)
        delattr(obj, name)

    def _step_point(self, number: int, key: int, other: int) -> None:
        obj = self._object(number, SCALARS)
        ((name, target),) = SCALARS[type(obj).__name__].items()
        if key % 4 == 0:
            delattr(obj, name)
        else:
            setattr(obj, name, None if key % 4 == 1 else self._object(other, {target}))

    def _step_begin(self) -> None:
        self.session.begin()

    def _step_begin_nested(self) -> None:
        if len(self.savepoints) < MOST_SAVEPOINTS:
            self.savepoints.append(self.session.begin_nested())

    def _end_savepoint(self, number: int, method: str) -> None:
        if self.savepoints:
            number %= len(self.savepoints)
            savepoint = self.savepoints[number]
            try:
                getattr(savepoint, method)()
            finally:
                del self.savepoints[number:]

    def _step_release(self, number: int) -> None:
        self._end_savepoint(number, "commit")

    def _step_rollback_to(self, number: int) -> None:
        self._end_savepoint(number, "rollback")

    def _step_close_savepoint(self, number: int) -> None:
        self._end_savepoint(number, "close")

    def _step_flush(self) -> None:
        self.session.flush()

    def _ended(self, method: str) -> None:
        getattr(self.session, method)()
        self.savepoints.clear()

    def _step_commit(self) -> None:
        self._ended("commit")

    def _step_rollback(self) -> None:
        self._ended("rollback")

    def _step_close(self) -> None:
        self._ended("close")

    def _step_reset(self) -> None:
        self._ended("reset")

    def _step_get(self, kind: int, key: int, second: int, populate: bool) -> Any:
        name = NAMES[kind % len(NAMES)]
        identity: Any = (key % 8, second % 3) if name == "Pair" else key % 8
        return self._known(self.session.get(self.zoo.classes[name], identity, populate_existing=populate))

    def _step_select(self, kind: int, populate: bool) -> list[Any]:
        class_ = self.zoo.classes[NAMES[kind % len(NAMES)]]
        statement = sa.select(class_).order_by(class_.id)
        found = self.session.scalars(statement, execution_options={"populate_existing": populate}).all()
        return [self._known(obj) for obj in found]

    def _step_select_eagerly(self, kind: int, how: int, populate: bool) -> list[Any]:
        relations = {**COLLECTIONS, **{name: SCALARS[name] for name in ("Profile", "Document")}}
        name = sorted(relations)[kind % len(relations)]
        class_ = self.zoo.classes[name]
        option = (self.orm.joinedload, self.orm.selectinload, self.orm.subqueryload)[how % 3]
        statement = sa.select(class_).order_by(class_.id)
        statement = statement.options(*[option(getattr(class_, key)) for key in sorted(relations[name])])
        found = self.session.scalars(statement, execution_options={"populate_existing": populate}).unique().all()
        return [self._known(obj) for obj in found]

    def _step_update(self, kind: int, key: int, value: int) -> int:
        class_ = self.zoo.classes[NAMES[kind % len(NAMES)]]
        statement = sa.update(class_).where(class_.id > key % 8).values(name=VALUES[value % 4])
        how = ("auto", "fetch", "evaluate", False)[value // 4 % 4]
        return self.session.execute(statement, execution_options={"synchronize_session": how}).rowcount

    def _step_delete_where(self, kind: int, key: int, value: int) -> int:
        class_ = self.zoo.classes[NAMES[kind % len(NAMES)]]
        statement = sa.delete(class_).where(class_.id == key % 8)
        how = ("auto", "fetch", "evaluate", False)[value % 4]
        return self.session.execute(statement, execution_options={"synchronize_session": how}).rowcount

    def _step_behind(self, kind: int, key: int, value: int) -> None:
        """Somebody else changes or deletes a row."""
        table = self.zoo.classes[NAMES[kind % len(NAMES)]].__mapper__.persist_selectable
        table = getattr(table, "left", table).name
        if value % 4:
            self.driver.execute(f'UPDATE "{table}" SET name = ? WHERE id = ?', (VALUES[value % 4], key % 8))
        else:
            self.driver.execute(f'DELETE FROM "{table}" WHERE id = ?', (key % 8,))

    def _step_autoflush(self, on: bool) -> None:
        self.session.autoflush = on

    def _step_pickle(self, number: int) -> Any:
        copy = pickle.loads(pickle.dumps(self._object(number)))
        for obj in self._reachable(copy):
            self._known(obj)
        return copy

    @staticmethod
    def _reachable(obj: Any) -> list[Any]:
        """An object and those it has in memory, in an order that does not depend on the ORM."""
        found = [obj]
        for each in found:
            values = sa.inspect(each).dict
            for key in sorted(values):
                members = values[key] if isinstance(values[key], list) else [values[key]]
                for member in members:
                    if type(member).__name__ in COLUMNS and not any(member is other for other in found):
                        found.append(member)
        return found

    def _step_forget(self, number: int) -> None:
        """The program drops an object; what nobody holds is collected."""
        if self.objects:
            del self.objects[number % len(self.objects)]
        gc.collect()

    def _step_is_modified(self, number: int) -> bool:
        return self.session.is_modified(self._object(number))

    def _step_contains(self, number: int) -> bool:
        return self._object(number) in self.session

    def _step_new_session(self) -> None:
        """Another session takes over; the old one is dropped without being closed."""
        self.savepoints.clear()
        self.session.rollback()
        self.session = self.orm.Session(
            self.engine, autoflush=self.session.autoflush, expire_on_commit=self.session.expire_on_commit
        )
        gc.collect()

    # --- what is seen ----------------------------------------------------------------------------------------------

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
            "session": state.session is self.session,
            "modified": state.modified,
            "expired": state.expired,
            "loaded": {key: self._describe(value) for key, value in sorted(state.dict.items()) if key[0] != "_"},
            "unloaded": sorted(state.unloaded),
            "expired columns": sorted(
                key
                for key in state.expired_attributes & state.unloaded
                if key in state.mapper.column_attrs and not state.mapper.column_attrs[key].deferred
            ),
            # nobody asks for the history of an object whose row is gone; that of a many-to-one may load the old value
            "history": not state.was_deleted
            and {
                key: self._describe(tuple(state.attrs[key].history))
                for key in sorted(state.attrs.keys())
                if key not in SCALARS.get(type(obj).__name__, {})
            },
        }

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
            for table in self.zoo.metadata.sorted_tables
        }
        self.driver.set_trace_callback(self._note_statement)
        return rows


class Difference(Exception):
    """The two ORMs do not show the same."""


class Undefined(Exception):
    """What comes after this step is not worth to be compared."""


# expunge after del obj.scalar: symbols taken for values
BUGS = ("AttributeError ",)
# found when half of the flush was sent, by rustalchemy before anything is
CYCLE = "CircularDependencyError "
# an object without identity is deleted again: the rollback of that fails halfway, and hides what it is for
DELETED_TWICE = ("InvalidRequestError ", "StaleDataError ")


def differences(theirs: Any, ours: Any, path: str = "") -> list[str]:
    """Where two observations differ."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        keys = [*theirs, *(key for key in ours if key not in theirs)]
        return [line for key in keys for line in differences(theirs.get(key), ours.get(key), f"{path} {key}")]
    return [] if theirs == ours else [f"{path.strip()}: SQLAlchemy {theirs}", f"{path.strip()}: rustalchemy {ours}"]


def _more(ours: set[str], theirs: set[str]) -> list[str]:
    """The statements rustalchemy sent and SQLAlchemy did not; fewer are fine, and so are batches of INSERT."""
    return sorted(text for text in ours - theirs if not text.startswith("INSERT"))


def _is_past_comparing(seen: dict[str, Any]) -> bool:
    """SQLAlchemy holds an object for deleted that was added again; two objects stand for one row after a rollback."""
    objects = [each for name, each in seen.items() if "#" in name]
    if any(each["was_deleted"] and each["life"] == ["pending"] for each in objects):
        return True
    here = [str(each["identity"]) for each in objects if each["session"] and each["life"] == ["persistent"]]
    return len(here) != len(set(here))


class Pair:
    """Both ORMs, taking the same steps."""

    def __init__(self, options: Options) -> None:
        self.theirs = Side("sqlalchemy.orm", options)
        self.ours = Side("rustalchemy.orm", options)

    def take(self, step: Step) -> None:
        """Take a step on both; Difference if they do not show the same afterwards, Undefined for bugs of SQLAlchemy."""
        theirs, ours = self.theirs.take(step), self.ours.take(step)
        if theirs["outcome"] in BUGS and ours["outcome"] != theirs["outcome"]:
            raise Undefined(step)
        if ours["outcome"] == CYCLE or (theirs["outcome"], ours["outcome"]) == DELETED_TWICE:
            raise Undefined(step)
        if any(_is_past_comparing(seen) for seen in (theirs, ours)):
            raise Undefined(step)
        theirs["more statements"], ours["more statements"] = [], _more(ours.pop("statements"), theirs.pop("statements"))
        found = differences(theirs, ours)
        if found:
            raise Difference(f"after {step}:\n" + "\n".join(found))

    def close(self) -> None:
        self.theirs.close()
        self.ours.close()


def run(options: Options, steps: list[Step]) -> None:
    """Take some steps on both ORMs."""
    pair = Pair(options)
    try:
        for step in steps:
            pair.take(step)
    finally:
        pair.close()
