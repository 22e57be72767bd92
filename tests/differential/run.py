"""One run of a program on one ORM, observed after every step."""

from __future__ import annotations

import gc
import re
import warnings
from collections import Counter
from typing import Any

import sqlalchemy as sa

from .programs import Program, Step
from .zoo import declare, foreign_keys, is_a, relations

# After these the tables are read, too.
SEEN_IN_ROWS = {"flush", "commit", "rollback", "release", "undo", "bulk_update", "bulk_delete"}
# Core says so whenever it compiles an INSERT without a complete key, and how often that is depends on caches.
_OF_CORE = "is marked as a member of the primary key"
_AROUND = ("BEGIN", "ROLLBACK", "SAVEPOINT", "RELEASE")
LIVES = ("transient", "pending", "persistent", "deleted", "detached")


class Run:
    """A session, the objects of the program so far, and a log of what could be seen."""

    def __init__(self, orm_name: str, program: Program) -> None:
        self.zoo = declare(orm_name)
        self.zoo.numbers.restart()
        self.program = program
        self.engine = sa.create_engine("sqlite://")
        self.sent: list[str] = []
        sa.event.listen(self.engine, "connect", self._on_connect)
        self.zoo.Base.metadata.create_all(self.engine)
        self.session = self.zoo.orm.Session(
            self.engine, autoflush=program.autoflush, expire_on_commit=program.expire_on_commit
        )
        self.objects: list[Any] = []
        self.words: list[str] = []
        self.log: list[dict[str, Any]] = []

    def _on_connect(self, connection: Any, _record: Any) -> None:
        if self.program.foreign_keys:
            connection.execute("PRAGMA foreign_keys = ON")
        # what the driver was told, whichever way the ORM reached it
        connection.set_trace_callback(self.sent.append)

    def run(self) -> list[dict[str, Any]]:
        """Take all steps; the log has what could be seen after each."""
        gc.disable()
        try:
            for step in self.program.steps:
                self._take(step)
            self.session.close()
        finally:
            self.engine.dispose()
            gc.enable()
        return self.log

    def _take(self, step: Step) -> None:
        self.words.append("")
        self.sent.clear()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                outcome = getattr(self, f"_{step.kind}")(step)
            except Exception as error:
                outcome = f"{type(error).__name__}: {_plain(str(error))}"
                self.session.rollback()
        sent = [" ".join(text.split()) for text in self.sent if not text.startswith(_AROUND)]
        if str(outcome).startswith("IntegrityError"):
            sent = _without_failed(sent)
        statements = Counter(one for text in sent for one in rows_of(text))
        with self.session.no_autoflush:
            self._adopt()
            self.log.append(
                {
                    "outcome": outcome,
                    "warnings": Counter(text for w in warned if _OF_CORE not in (text := _plain(str(w.message)))),
                    "objects": [self._look(obj) for obj in self.objects],
                    "session": self._lists(),
                    "statements": statements,
                    "rows": self._rows() if step.kind in SEEN_IN_ROWS else None,
                }
            )

    # --- choosing ----------------------------------------------------------------------------------------------------

    def _pick(self, number: int, class_name: str) -> Any:
        found = [o for o in self.objects if is_a(o, class_name)]
        return found[number % len(found)] if found else None

    def _name(self, obj: Any) -> str:
        number = next((i for i, o in enumerate(self.objects) if o is obj), None)
        return f"{type(obj).__name__}:{number}" if obj is not None else "None"

    def _say(self, *words: Any) -> None:
        self.words[-1] = " ".join(w if isinstance(w, str) else self._name(w) for w in words)

    def _object(self, step: Step) -> Any:
        obj = self._pick(step.a, step.class_name)
        self._say(obj)
        return obj

    def _relation(self, step: Step, uselist: bool) -> tuple[Any, str, Any] | None:
        owner = self._pick(step.a, step.class_name)
        names = relations(uselist)[type(owner).__name__] if owner is not None else ()
        if not names:
            return None
        key, target = names[step.n % len(names)]
        other = self._pick(step.b, target)
        self._say(owner, f".{key}", other)
        return (owner, key, other) if other is not None else None

    def _adopt(self) -> None:
        """Hold what was loaded, so that later steps find it and no collector decides what the session knows."""
        known = {id(o) for o in self.objects}
        found = [o for o in self.session if id(o) not in known]
        found.sort(key=lambda o: (type(o).__name__, str(sa.inspect(o).identity)))
        self.objects += found

    # --- objects and relationships -----------------------------------------------------------------------------------

    def _new(self, step: Step) -> None:
        cls = self.zoo.classes[step.class_name]
        values: dict[str, Any] = {"name": f"n{step.b % 4}"}
        if hasattr(cls, "code"):
            values["code"] = f"c{step.n % 5}" if step.a % 3 else f"own{len(self.objects)}"
        elif step.a % 8 == 0 and step.class_name != "Enrollment":
            values["id"] = 1 + step.n % 6
        if step.class_name == "Enrollment":
            for key, target in (("student", "Student"), ("course", "Course")):
                if (step.n % 7 or key == "course") and (other := self._pick(step.b, target)) is not None:
                    values[key] = other
        obj = cls(**values)
        self.objects.append(obj)
        self._say(obj, *(f"{k}={v if isinstance(v, str | int) else self._name(v)}" for k, v in values.items()))

    def _append(self, step: Step) -> None:
        if found := self._relation(step, True):
            owner, key, other = found
            collection = getattr(owner, key)
            if isinstance(collection, dict):
                collection[other.name] = other
            elif isinstance(collection, set):
                collection.add(other)
            elif step.n % 9 == 0:
                collection.insert(0, other)
            elif not any(member is other for member in collection):
                collection.append(other)

    def _remove(self, step: Step) -> None:
        if found := self._relation(step, True):
            collection = getattr(found[0], found[1])
            if not collection:
                return
            if isinstance(collection, dict):
                del collection[sorted(collection)[step.b % len(collection)]]
            elif isinstance(collection, set):
                members = sorted(collection, key=lambda o: next(i for i, m in enumerate(self.objects) if m is o))
                collection.remove(members[step.b % len(members)])
            elif step.n % 5 == 0:
                del collection[step.b % len(collection) :]
            else:
                collection.remove(collection[step.b % len(collection)])

    def _replace(self, step: Step) -> None:
        if found := self._relation(step, True):
            owner, key, other = found
            if step.n % 4 == 0:
                others: list[Any] = []
            else:
                kept = getattr(owner, key)
                others = [other, *(kept.values() if isinstance(kept, dict) else kept)][: 1 + step.b % 3]
            kind = sa.inspect(type(owner)).relationships[key].collection_class
            if kind is set:
                setattr(owner, key, set(others))
            elif kind is not None:
                setattr(owner, key, {o.name: o for o in others})
            else:
                setattr(owner, key, others)

    def _point(self, step: Step) -> None:
        if found := self._relation(step, False):
            setattr(*found)

    def _unpoint(self, step: Step) -> None:
        if found := self._relation(step, False):
            setattr(found[0], found[1], None)

    def _rename(self, step: Step) -> None:
        obj = self._object(step)
        if obj is not None:
            obj.name = f"r{step.b % 4}"

    def _set_key(self, step: Step) -> None:
        obj = self._object(step)
        keys = foreign_keys()[type(obj).__name__] if obj is not None else ()
        if keys:
            key, target = keys[step.n % len(keys)]
            other = self._pick(step.b, target)
            value = (
                None if other is None or step.n % 3 == 0 else getattr(other, "code", None) or getattr(other, "id", 1)
            )
            self._say(obj, f".{key} = {value}")
            setattr(obj, key, value)

    def _change_key(self, step: Step) -> None:
        if (obj := self._object(step)) is not None and hasattr(obj, "code"):
            obj.code = f"c{step.b % 9}"
            self._say(obj, f"code = c{step.b % 9}")

    def _read(self, step: Step) -> Any:
        if (obj := self._object(step)) is not None:
            names = relations(True)[type(obj).__name__] + relations(False)[type(obj).__name__]
            return [self._show(getattr(obj, key)) for key, _ in names] + [obj.name]
        return None

    # --- the session -------------------------------------------------------------------------------------------------

    def _add(self, step: Step) -> None:
        if (obj := self._object(step)) is not None:
            self.session.add(obj)

    def _delete(self, step: Step) -> None:
        if (obj := self._object(step)) is not None:
            self.session.delete(obj)

    def _flush(self, step: Step) -> None:
        self.session.flush()

    def _commit(self, step: Step) -> None:
        self.session.commit()

    def _rollback(self, step: Step) -> None:
        self.session.rollback()

    def _close(self, step: Step) -> None:
        self.session.close()

    def _savepoint(self, step: Step) -> None:
        self.session.begin_nested()

    def _release(self, step: Step) -> None:
        if nested := self.session.get_nested_transaction():
            nested.commit()

    def _undo(self, step: Step) -> None:
        if nested := self.session.get_nested_transaction():
            nested.rollback()

    def _expire(self, step: Step) -> None:
        if (obj := self._object(step)) is not None:
            self.session.expire(obj)

    def _expire_one(self, step: Step) -> None:
        if (obj := self._object(step)) is not None:
            keys = sorted(sa.inspect(type(obj)).attrs.keys())
            names = [keys[step.b % len(keys)]]
            self._say(obj, f"{names}")
            self.session.expire(obj, names)

    def _expire_all(self, step: Step) -> None:
        self.session.expire_all()

    def _refresh(self, step: Step) -> None:
        if (obj := self._object(step)) is not None:
            self.session.refresh(obj)

    def _expunge(self, step: Step) -> None:
        if (obj := self._object(step)) is not None:
            self.session.expunge(obj)

    def _forget(self, step: Step) -> None:
        if (obj := self._object(step)) is not None:
            self.zoo.orm.make_transient(obj)

    def _merge(self, step: Step) -> None:
        if (obj := self._object(step)) is not None:
            merged = self.session.merge(obj)
            if not any(o is merged for o in self.objects):
                self.objects.append(merged)
            self._say(obj, "gives", merged)

    def _merge_copy(self, step: Step) -> None:
        """Merge a new object that has the key of another."""
        obj = self._object(step)
        identity = None if obj is None else sa.inspect(obj).identity
        if identity is not None:
            copy = type(obj)(name=f"m{step.b % 4}")
            for column, value in zip(sa.inspect(type(obj)).primary_key, identity, strict=True):
                setattr(copy, column.key, value)
            merged = self.session.merge(copy)
            if not any(o is merged for o in self.objects):
                self.objects.append(merged)
            self._say(obj, "gives", merged)

    # --- reading and writing by statement ----------------------------------------------------------------------------

    def _get(self, step: Step) -> Any:
        obj = self._object(step)
        identity = None if obj is None else sa.inspect(obj).identity
        if identity is None:
            return None
        found = self.session.get(type(obj), identity, populate_existing=step.n % 5 == 0)
        self._adopt()
        return self._show(found)

    def _query(self, step: Step, *options: Any) -> Any:
        cls = self.zoo.classes[step.class_name]
        statement = sa.select(cls).options(*options).order_by(*sa.inspect(cls).primary_key)
        if step.n % 4 == 0:
            statement = statement.execution_options(populate_existing=True)
        self._say(step.class_name, *(["populate_existing"] if step.n % 4 == 0 else []))
        found = self.session.scalars(statement).unique().all()
        self._adopt()
        return [self._show(o) for o in found]

    def _query_eager(self, step: Step) -> Any:
        cls, orm = self.zoo.classes[step.class_name], self.zoo.orm
        names = relations(True)[step.class_name] + relations(False)[step.class_name]
        if not names:
            return None
        loader = (orm.joinedload, orm.selectinload, orm.subqueryload, orm.immediateload)[step.b % 4]
        return self._query(step, loader(getattr(cls, names[step.a % len(names)][0])))

    def _bulk_update(self, step: Step) -> None:
        cls = self.zoo.classes[step.class_name]
        self._say(step.class_name)
        statement = sa.update(cls).where(cls.name == f"n{step.b % 4}").values(name=f"b{step.n % 3}")
        self._execute(statement, step)

    def _bulk_delete(self, step: Step) -> None:
        cls = self.zoo.classes[step.class_name]
        self._say(step.class_name)
        self._execute(sa.delete(cls).where(cls.name == f"n{step.b % 4}"), step)

    def _execute(self, statement: Any, step: Step) -> None:
        way = ("auto", "evaluate", "fetch", False)[step.a % 4]
        self.session.execute(statement, execution_options={"synchronize_session": way})

    def _change_outside(self, step: Step) -> None:
        """Change a row without the session's knowledge, its version if there is one."""
        if (found := self._row_of(step)) is not None:
            table, criterion = found
            values = {"version": table.c.version + 1} if "version" in table.c else {"name": "outside"}
            self.session.connection().execute(table.update().where(criterion).values(values))

    def _delete_outside(self, step: Step) -> None:
        if (found := self._row_of(step)) is not None:
            self.session.connection().execute(found[0].delete().where(found[1]))

    def _row_of(self, step: Step) -> tuple[Any, Any] | None:
        obj = self._object(step)
        identity = None if obj is None else sa.inspect(obj).identity
        if identity is None:
            return None
        table = sa.inspect(type(obj)).base_mapper.local_table
        return table, sa.and_(*(c == v for c, v in zip(table.primary_key, identity, strict=True)))

    # --- what can be seen --------------------------------------------------------------------------------------------

    def _show(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._show(member) for key, member in sorted(value.items())}
        if isinstance(value, set):
            return sorted(self._show(member) for member in value)
        if isinstance(value, list):
            return [self._show(member) for member in value]
        if type(value).__name__ not in self.zoo.classes:
            return value
        known = next((i for i, o in enumerate(self.objects) if o is value), None)
        if known is not None:
            return f"{type(value).__name__}:{known}"
        return f"{type(value).__name__} {sa.inspect(value).identity}"

    def _look(self, obj: Any) -> Any:
        """Life, identity and loaded values of an object; nothing is loaded to find out."""
        state = sa.inspect(obj)
        life = next(name for name in LIVES if getattr(state, name))
        values = {key: self._show(v) for key, v in sorted(state.dict.items()) if not key.startswith("_")}
        # nothing is written of a deleted object, whatever it says of itself
        modified = state.modified and not state.was_deleted
        return (
            f"{life}{' was_deleted' if state.was_deleted else ''}{' has_identity' if state.has_identity else ''}"
            f"{' modified' if modified else ''}",
            state.identity,
            values,
            not state.was_deleted and self._is_modified(obj),
        )

    def _is_modified(self, obj: Any) -> Any:
        """What the session says, which may have to load the key of an object whose row is gone."""
        try:
            return self.session.is_modified(obj)
        except sa.exc.InvalidRequestError as error:
            return type(error).__name__

    def _lists(self) -> dict[str, Any]:
        numbers = {id(o): i for i, o in enumerate(self.objects)}
        lists = {
            name: sorted(numbers.get(id(o), -1) for o in getattr(self.session, name))
            for name in ("new", "dirty", "deleted")
        }
        return {
            **lists,
            "map": sorted(numbers.get(id(o), -1) for o in self.session.identity_map.values()),
            "transaction": self.session.in_transaction(),
            "nested": self.session.in_nested_transaction(),
        }

    def _rows(self) -> dict[str, list[Any]]:
        """The database as the session's own transaction sees it."""
        if not self.session.in_transaction():
            with self.engine.connect() as connection:
                return self._dump(connection)
        return self._dump(self.session.connection())

    def _dump(self, connection: Any) -> dict[str, list[Any]]:
        return {
            table.name: rows
            for table in self.zoo.Base.metadata.tables.values()
            if (rows := [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))])
        }


def _without_failed(sent: list[str]) -> list[str]:
    """Without the INSERT that failed: which rows it took along after the wrong one is each ORM's own affair."""
    head, _, rows = sent[-1].partition(" VALUES ") if sent else ("", "", "")
    while rows and sent and sent[-1].startswith(f"{head} VALUES "):
        sent.pop()
    return sent


def rows_of(statement: str) -> list[str]:
    """How many rows an INSERT takes along, how keys come back, when a connection is taken: each ORM's own affair."""
    if not statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
        return []
    found = re.fullmatch(r"(INSERT INTO .* VALUES )\((.*?)\)(?: RETURNING .*)?", statement)
    if found is None:
        return [statement.partition(" RETURNING ")[0]]
    head, rows = found.groups()
    return [f"{head}({row})" for row in rows.split("), (")]


def _plain(text: str) -> str:
    """A message without addresses, the nodes of a cycle (a set's order), the rows sent together, the ORM's name."""
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    text = re.sub(r"(?s)(Circular dependency detected\.).*", r"\1", text)
    text = re.sub(r"(?s)\n\(the flush came before .*?\)(?=\n\()", "", text)
    text = re.sub(r"(?s)\n\[SQL: .*| \(Background on this error at.*", "", text)
    return text.replace("rustalchemy.", "sqlalchemy.")
