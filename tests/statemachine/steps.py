"""What a program can do to a session and its objects: a step is a name, and class names and numbers.

Numbers stand for objects, attributes and values by remainder, so that any step can be taken at any time, on both ORMs
alike.
"""

from __future__ import annotations

import gc
import pickle
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from .zoo import COLLECTIONS, COLUMNS, REFUSED, SCALARS, is_a, table_of

VALUES = (None, "a", "b", "c")
WAYS = ("auto", "fetch", "evaluate", False)
MOST_SAVEPOINTS = 3


def text_of(value: int) -> str | None:
    """A value for a name; one in sixteen is refused by the database."""
    return REFUSED if value == 13 else VALUES[value % 4]


def pair_or_number(name: str, key: int, second: int) -> Any:
    """A primary key of a class."""
    return (key % 8, second % 3) if name == "Pair" else key % 8


class Steps:
    """One ORM's session and objects, and the steps on them."""

    zoo: SimpleNamespace
    orm: Any
    session: Any
    other_session: Any
    objects: list[Any]
    savepoints: list[Any]
    driver: Any
    trip: str

    def _make_session(self, **how: Any) -> Any:
        raise NotImplementedError

    # --- choosing ----------------------------------------------------------------------------------------------------

    def _object(self, number: int, *names: str) -> Any:
        found = [obj for obj in self.objects if is_a(obj, *names)] if names else self.objects
        return found[number % len(found)] if found else self._step_new(sorted(names or COLUMNS)[0], 0, number)

    def _known(self, obj: Any) -> Any:
        """Enter an object that came out of the session into the numbered ones."""
        if obj is not None and not any(known is obj for known in self.objects):
            self.objects.append(obj)
        return obj

    def _all_known(self, found: Any) -> list[Any]:
        return [self._known(obj) for obj in found]

    def _values(self, name: str, key: int, value: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        if key % 8 or name == "Pair":
            values["id"] = key % 8 or None
        if value % 5:
            values["name"] = REFUSED if value == 13 else f"{VALUES[value % 4]}{len(self.objects)}"
        if name == "Pair":
            values["second"] = value % 3 or None
        if "age" in COLUMNS[name] and value % 3:
            values["age"] = value % 3 + 20
        return values

    def _names(self, obj: Any, mask: int) -> list[str] | None:
        if not mask % 4:
            return None
        keys = sorted(sa.inspect(type(obj)).attrs.keys())
        return [key for position, key in enumerate(keys) if mask >> position & 1]

    def _column(self, number: int, key: int) -> tuple[Any, str]:
        obj = self._object(number)
        keys = COLUMNS[type(obj).__name__]
        return obj, keys[key % len(keys)]

    def _collection(self, number: int, key: int, other: int) -> tuple[Any, str, Any]:
        obj = self._object(number, *COLLECTIONS)
        keys = COLLECTIONS[type(obj).__name__]
        name = sorted(keys)[key % len(keys)]
        return obj, name, self._object(other, keys[name])

    def _scalar(self, number: int, key: int, other: int) -> tuple[Any, str, Any]:
        obj = self._object(number, *SCALARS)
        keys = SCALARS[type(obj).__name__]
        name = sorted(keys)[key % len(keys)]
        return obj, name, self._object(other, keys[name])

    # --- objects and the session -------------------------------------------------------------------------------------

    def _step_new(self, name: str, key: int, value: int) -> Any:
        return self._known(self.zoo.classes[name](**self._values(name, key, value)))

    def _step_new_with(self, name: str, key: int, other: int) -> Any:
        """A new object that has others from the beginning."""
        values = self._values(name, key, other)
        for attribute, target in SCALARS.get(name, {}).items():
            values[attribute] = self._object(other, target)
        for attribute, target in COLLECTIONS.get(name, {}).items():
            kind = sa.inspect(self.zoo.classes[name]).relationships[attribute].collection_class or list
            values[attribute] = kind([self._object(other, target)])
        return self._known(self.zoo.classes[name](**values))

    def _step_add(self, number: int) -> None:
        self.session.add(self._object(number))

    def _step_add_all(self, *numbers: int) -> None:
        self.session.add_all([self._object(number) for number in numbers])

    def _step_delete(self, number: int) -> None:
        self.session.delete(self._object(number))

    def _step_replace_row(self, number: int, value: int) -> Any:
        """Delete an object, and add one that has its key."""
        obj = self._object(number)
        identity = sa.inspect(obj).identity
        self.session.delete(obj)
        copy = self._copy(obj, identity, value)
        self.session.add(copy)
        return self._known(copy)

    def _copy(self, obj: Any, identity: Any, value: int) -> Any:
        values = {**self._values(type(obj).__name__, 0, value)}
        for column, part in zip(sa.inspect(type(obj)).primary_key, identity or (), strict=False):
            values[column.key] = part
        return type(obj)(**values)

    def _step_expunge(self, number: int) -> None:
        self.session.expunge(self._object(number))

    def _step_expunge_all(self) -> None:
        self.session.expunge_all()

    def _step_elsewhere(self, number: int) -> None:
        """Another session takes an object."""
        self.other_session.add(self._object(number))

    def _step_back(self, number: int) -> None:
        """The other session lets go of an object."""
        self.other_session.expunge(self._object(number))

    def _step_expire(self, number: int, mask: int) -> None:
        obj = self._object(number)
        self.session.expire(obj, self._names(obj, mask))

    def _step_expire_all(self) -> None:
        self.session.expire_all()

    def _step_refresh(self, number: int, mask: int) -> None:
        obj = self._object(number)
        self.session.refresh(obj, self._names(obj, mask) or None)

    @property
    def _may_be_told(self) -> bool:
        """May objects be told what is in their rows?

        After a flush that failed in a savepoint SQLAlchemy expires them a second time when the session is rolled back.
        """
        return bool(self.session.is_active)

    def _step_merge(self, number: int, load: bool) -> Any:
        return self._known(self.session.merge(self._object(number), load=load or not self._may_be_told))

    def _step_merge_copy(self, number: int, value: int, load: bool) -> Any:
        """Merge a new object, or one that counts as loaded, with the key of another."""
        obj = self._object(number)
        copy = self._copy(obj, sa.inspect(obj).identity, value)
        load = load or not self._may_be_told
        if not load and self._has_key(copy):
            self.orm.make_transient_to_detached(copy)
        return self._known(self.session.merge(copy, load=load))

    def _step_make_transient(self, number: int) -> None:
        self.orm.make_transient(self._object(number))

    def _step_make_transient_to_detached(self, number: int) -> None:
        obj = self._object(number)
        if self._has_key(obj):
            self.orm.make_transient_to_detached(obj)

    @staticmethod
    def _has_key(obj: Any) -> bool:
        return all(column.key in sa.inspect(obj).dict for column in sa.inspect(type(obj)).primary_key)

    def _step_enable_loading(self, number: int) -> None:
        self.session.enable_relationship_loading(self._object(number))

    def _step_autoflush(self, on: bool) -> None:
        self.session.autoflush = on

    def _step_pickle(self, number: int) -> Any:
        copy = pickle.loads(pickle.dumps(self._object(number)))
        self._all_known(self._reachable(copy))
        return copy

    @staticmethod
    def _reachable(obj: Any) -> list[Any]:
        """An object and those it has in memory, in an order that does not depend on the ORM."""
        found = [obj]
        for each in found:
            values = sa.inspect(each).dict
            for key in sorted(values):
                members = values[key] if isinstance(values[key], list) else [values[key]]
                if isinstance(values[key], set):
                    members = sorted(values[key], key=lambda member: str([sa.inspect(member).dict.get("name")]))
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

    def _step_trip(self, name: str) -> None:
        """The next listener of a name fails."""
        self.trip = name

    # --- attributes --------------------------------------------------------------------------------------------------

    def _step_set(self, number: int, key: int, value: int) -> None:
        obj, name = self._column(number, key)
        setattr(obj, name, text_of(value) if name in ("name", "body") else (value % 5 or None))

    def _step_set_committed(self, number: int, key: int, value: int) -> None:
        obj, name = self._column(number, key)
        if name in ("name", "age") and self._may_be_told:
            self.orm.attributes.set_committed_value(obj, name, VALUES[value % 4])

    def _step_set_committed_related(self, number: int, key: int, other: int) -> None:
        obj, name, target = self._scalar(number, key, other)
        self.orm.attributes.set_committed_value(obj, name, target if other % 3 else None)

    def _step_set_committed_collection(self, number: int, key: int, other: int) -> None:
        obj, name, member = self._collection(number, key, other)
        self.orm.attributes.set_committed_value(obj, name, [member] if other % 3 else [])

    def _step_flag_modified(self, number: int, key: int) -> None:
        self.orm.attributes.flag_modified(*self._column(number, key))

    def _step_flag_dirty(self, number: int) -> None:
        self.orm.attributes.flag_dirty(self._object(number))

    def _step_read(self, number: int, key: int) -> Any:
        obj = self._object(number)
        keys = sorted(sa.inspect(type(obj)).attrs.keys())
        return getattr(obj, keys[key % len(keys)])

    def _step_read_unflushed(self, number: int, key: int) -> Any:
        with self.session.no_autoflush:
            return self._step_read(number, key)

    def _step_point(self, number: int, key: int, other: int) -> None:
        obj, name, target = self._scalar(number, other, other)
        if key % 8 == 0:
            delattr(obj, name)
        else:
            setattr(obj, name, None if key % 4 == 1 else target)

    def _step_append(self, number: int, key: int, other: int) -> None:
        obj, name, member = self._collection(number, key, other)
        collection = getattr(obj, name)
        if isinstance(collection, set):
            collection.add(member)
        elif not any(each is member for each in collection):
            collection.append(member)

    def _step_insert(self, number: int, key: int, other: int) -> None:
        obj, name, member = self._collection(number, key, other)
        collection = getattr(obj, name)
        if isinstance(collection, list) and not any(each is member for each in collection):
            collection.insert(0, member)

    def _step_remove(self, number: int, key: int, other: int) -> None:
        obj, name, member = self._collection(number, key, other)
        getattr(obj, name).remove(member)

    def _step_pop(self, number: int, key: int, other: int) -> Any:
        obj, name, _ = self._collection(number, key, other)
        collection = getattr(obj, name)
        return collection.pop() if isinstance(collection, list) else None

    def _step_clear(self, number: int, key: int, other: int) -> None:
        obj, name, _ = self._collection(number, key, other)
        getattr(obj, name).clear()

    def _step_slice(self, number: int, key: int, other: int) -> None:
        obj, name, member = self._collection(number, key, other)
        collection = getattr(obj, name)
        if isinstance(collection, list) and not any(each is member for each in collection):
            collection[other % 2 : other % 3] = [member]

    def _step_replace(self, number: int, key: int, other: int, third: int) -> None:
        """Another collection takes the place of the old one, some of whose members may stay."""
        obj, name, member = self._collection(number, key, other)
        second = self._object(third, COLLECTIONS[type(obj).__name__][name])
        members = [member] if second is member else [member, second]
        kind = sa.inspect(type(obj)).relationships[name].collection_class or list
        setattr(obj, name, kind(members))

    def _step_replace_with_own(self, number: int, key: int, other: int) -> None:
        """A collection is replaced by itself, or by a copy of itself, or by that of another object."""
        obj, name, _ = self._collection(number, key, other)
        own = getattr(obj, name)
        if other % 3 == 2:
            given = getattr(self._object(other, type(obj).__name__), name)
            setattr(obj, name, type(own)(given))
        else:
            setattr(obj, name, own if other % 3 else type(own)(own))

    def _step_del_collection(self, number: int, key: int, other: int) -> None:
        obj, name, _ = self._collection(number, key, other)
        delattr(obj, name)

    # --- transactions ------------------------------------------------------------------------------------------------

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

    def _step_new_session(self) -> None:
        """Another session takes over; the old one is dropped without being closed."""
        self.savepoints.clear()
        self.session.rollback()
        for obj in self.objects:
            # enable_loading() took it in: once the session is gone SQLAlchemy takes it for detached, and for transient
            if sa.inspect(obj).session is self.session and not sa.inspect(obj).has_identity:
                self.session.expunge(obj)
        self.session = self._make_session(
            autoflush=self.session.autoflush, expire_on_commit=self.session.expire_on_commit
        )
        gc.collect()

    # --- statements --------------------------------------------------------------------------------------------------

    def _step_get(self, name: str, key: int, second: int, populate: bool) -> Any:
        identity = pair_or_number(name, key, second)
        return self._known(self.session.get(self.zoo.classes[name], identity, populate_existing=populate))

    def _select(self, statement: Any, populate: bool) -> list[Any]:
        found = self.session.scalars(statement, execution_options={"populate_existing": populate}).unique().all()
        return self._all_known(found)

    def _step_select(self, name: str, populate: bool) -> list[Any]:
        class_ = self.zoo.classes[name]
        return self._select(sa.select(class_).order_by(class_.id), populate)

    def _step_select_where(self, name: str, value: int, populate: bool) -> list[Any]:
        class_ = self.zoo.classes[name]
        return self._select(sa.select(class_).where(class_.name == VALUES[value % 4]).order_by(class_.id), populate)

    def _step_select_related(self, name: str, how: int, populate: bool) -> list[Any]:
        orm = self.orm
        option = (orm.joinedload, orm.selectinload, orm.subqueryload, orm.immediateload, orm.lazyload, orm.raiseload)
        class_ = self.zoo.classes[name]
        keys = sorted({**COLLECTIONS.get(name, {}), **SCALARS.get(name, {})})
        options = [option[how % len(option)](getattr(class_, key)) for key in keys]
        return self._select(sa.select(class_).order_by(class_.id).options(*options), populate)

    def _step_select_partly(self, name: str, how: int, populate: bool) -> list[Any]:
        class_ = self.zoo.classes[name]
        option = (self.orm.defer, self.orm.load_only, self.orm.undefer)[how % 3]
        return self._select(sa.select(class_).order_by(class_.id).options(option(class_.name)), populate)

    def _execute(self, statement: Any, way: int) -> Any:
        return self.session.execute(statement, execution_options={"synchronize_session": WAYS[way % 4]}).rowcount

    def _step_update(self, name: str, key: int, value: int) -> Any:
        class_ = self.zoo.classes[name]
        statement = sa.update(class_).where(class_.id > key % 8).values(name=text_of(value))
        return self._execute(statement, value // 4)

    def _step_update_named(self, name: str, key: int, value: int) -> Any:
        class_ = self.zoo.classes[name]
        statement = sa.update(class_).where(class_.name == VALUES[key % 4]).values(name=class_.name + "x")
        return self._execute(statement, value)

    def _step_update_by_key(self, name: str, key: int, value: int) -> None:
        row = {**self._values(name, key or 1, value), "name": text_of(value)}
        self.session.execute(sa.update(self.zoo.classes[name]), [row])

    def _step_insert_rows(self, name: str, key: int, value: int) -> Any:
        """INSERT of rows, with or without objects for them."""
        statement = sa.insert(self.zoo.classes[name])
        row = {**self._values(name, key, value), "name": text_of(value)}
        if name == "Document":
            row["version"] = 1
        if value % 2:
            return self._all_known(self.session.scalars(statement.returning(self.zoo.classes[name]), [row]).all())
        return self.session.execute(statement, [row]).rowcount

    def _step_bulk_save(self, number: int) -> None:
        """Write an object past the unit of work: one of the session, or one told its key, would be half persistent."""
        obj = self._object(number)
        if sa.inspect(obj).session is None:
            self.session.bulk_save_objects([obj])

    def _step_delete_where(self, name: str, key: int, value: int) -> Any:
        class_ = self.zoo.classes[name]
        return self._execute(sa.delete(class_).where(class_.id == key % 8), value)

    def _step_delete_named(self, name: str, key: int, value: int) -> Any:
        class_ = self.zoo.classes[name]
        return self._execute(sa.delete(class_).where(class_.name == VALUES[key % 4]), value)

    def _step_behind(self, name: str, key: int, value: int) -> None:
        """Somebody else changes or deletes a row."""
        table = table_of(self.zoo.classes[name]).name
        if value % 4:
            self.driver.execute(f'UPDATE "{table}" SET name = ? WHERE id = ?', (VALUES[value % 4], key % 8))
        else:
            self.driver.execute(f'DELETE FROM "{table}" WHERE id = ?', (key % 8,))

    def _step_move_behind(self, name: str, key: int, value: int) -> None:
        """Somebody else lets a row point to another."""
        table = table_of(self.zoo.classes[name])
        for column in table.c:
            if column.foreign_keys and not column.primary_key:
                sql = f'UPDATE "{table.name}" SET {column.name} = ? WHERE id = ?'
                self.driver.execute(sql, (value % 4 or None, key % 8))
