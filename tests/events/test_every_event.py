"""One program in which every event of both ORMs happens: who is called, in which order, with what."""

from __future__ import annotations

import importlib
import inspect
import itertools
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

UNORDERED = {"pending_to_persistent", "persistent_to_transient", "persistent_to_detached"}
PROGRAMS = ("sqlalchemy.orm", "rustalchemy.orm")
KINDS = (
    "SessionEvents",
    "MapperEvents",
    "InstanceEvents",
    "AttributeEvents",
    "QueryEvents",
    "RegistryEvents",
    "InstrumentationEvents",
)


def names_of(kind: type[Any]) -> list[str]:
    """The events a class of events defines."""
    return [name for name, what in vars(kind).items() if not name.startswith("_") and inspect.isfunction(what)]


def describe(value: Any) -> Any:
    """An argument without what differs between two runs."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [describe(one) for one in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(describe, value))
    if isinstance(value, dict):
        return "dict"
    if isinstance(value, type):
        return value.__name__
    if hasattr(value, "op") and hasattr(value, "parent_token"):
        return f"token of {value.key}, {value.op.name}"
    name = type(value).__name__.lstrip("_")
    if hasattr(type(value), "__mapper__"):
        return f"{name} {value.__dict__.get('id')}"
    if name.endswith("Mapper"):
        return f"Mapper of {value.class_.__name__}"
    return name


class Record:
    """All listeners there can be, and what they heard."""

    def __init__(self, orm: Any) -> None:
        self.orm = orm
        self.heard: list[tuple[Any, ...]] = []
        self.kinds = {kind: getattr(orm.events, kind) for kind in KINDS if hasattr(orm.events, kind)}
        self.listening: list[tuple[Any, str, Any]] = []

    def listen(self, target: Any, kind: str, label: str, **options: Any) -> None:
        """Listen to all events of a kind that the target has."""
        for name in names_of(self.kinds[kind]):
            if kind == "MapperEvents" and name in ("before_configured", "after_configured"):
                if target is not self.orm.Mapper:
                    continue
            elif target is self.orm.Mapper:
                continue
            self.hear(target, kind, name, label, **options)

    def hear(self, target: Any, kind: str, name: str, label: str, **options: Any) -> None:
        def listener(*args: Any, **kw: Any) -> None:
            self.heard.append((kind, name, label, *map(describe, args), *sorted(kw)))

        event.listen(target, name, listener, **options)
        self.listening.append((target, name, listener))

    def forget(self) -> None:
        for target, name, listener in self.listening:
            if event.contains(target, name, listener):
                event.remove(target, name, listener)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.heard.append(("step", name))
        yield


def run(module: str) -> Record:
    """Define classes, write, load, expire, merge, roll back, pickle, dispose."""
    orm = importlib.import_module(module)
    importlib.import_module(f"{module}.events")
    record = Record(orm)
    try:
        program(orm, record)
    finally:
        record.forget()
    return record


def program(orm: Any, record: Record) -> None:
    class Base(orm.DeclarativeBase):  # type: ignore[misc, name-defined]
        pass

    # what is defined
    record.listen(Base, "InstrumentationEvents", "Base")
    record.listen(Base, "MapperEvents", "Base", propagate=True)
    record.listen(orm.Mapper, "MapperEvents", "all")
    if "RegistryEvents" in record.kinds:
        record.listen(Base.registry, "RegistryEvents", "registry")

    class Text:
        """A type that the registry does not know."""

    if "RegistryEvents" in record.kinds:

        @event.listens_for(Base.registry, "resolve_type_annotation")
        def resolve(resolve_type: Any) -> Any:
            return sa.String() if resolve_type.resolved_type is Text else None

    class Tag(Base):
        __tablename__ = "tags"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        node_id = orm.mapped_column(sa.ForeignKey("nodes.id"))

    class Node(Base):
        __tablename__ = "nodes"
        __annotations__ = {"note": orm.Mapped[Text]} if "RegistryEvents" in record.kinds else {}
        id = orm.mapped_column(sa.Integer, primary_key=True)
        name = orm.mapped_column(sa.String)
        size = orm.mapped_column(sa.Integer, default=3)
        note = orm.mapped_column(nullable=True) if "RegistryEvents" in record.kinds else None
        tags = orm.relationship(Tag, order_by=Tag.id)
        set_of_tags = orm.relationship(Tag, collection_class=set, viewonly=False, overlaps="tags")

    orm.configure_mappers()
    record.listen(Node, "InstanceEvents", "Node")
    record.listen(Node, "MapperEvents", "Node")
    for key in ("name", "size", "tags", "set_of_tags"):
        record.listen(getattr(Node, key), "AttributeEvents", f"Node.{key}")
    Node.__module__, Node.__qualname__ = __name__, "Node"
    globals()["Node"] = Node

    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    Base.metadata.create_all(engine)
    session = orm.Session(engine)
    record.listen(session, "SessionEvents", "session")
    record.listen(orm.Query, "QueryEvents", "Query")

    with record.step("make"):
        one = Node(id=1, name="one")
        two = Node(id=2)
        assert (two.name, two.tags) == (None, [])
        with pytest.raises(TypeError):
            Node(unknown=1)
    with record.step("change"):
        tag = Tag(id=1)
        one.tags.append(tag)
        one.tags.remove(tag)
        one.tags = [Tag(id=2), tag]
        one.set_of_tags.add(tag)
        one.set_of_tags.add(tag)
        one.set_of_tags = set()
        del one.name
        one.name = "again"
        orm.attributes.flag_modified(one, "name")
    with record.step("add and take back"):
        session.add_all([one, two])
        session.expunge(two)
        session.add(two)
    with record.step("insert"):
        session.flush()
    with record.step("roll the insert back"):
        session.rollback()
    with record.step("commit"):
        session.add_all([one, two])
        session.commit()
    with record.step("reload"):
        assert one.name == "again"
        session.refresh(two, ["name"])
        session.refresh(two)
        session.expire(one, ["name"])
    with record.step("update in a savepoint that ends badly"):
        nested = session.begin_nested()
        two.name = "two"
        session.flush()
        nested.rollback()
    with record.step("leave and come back"):
        session.expunge(two)
        session.add(two)
        session.commit()
    with record.step("delete and take back"):
        session.delete(two)
        session.flush()
        session.rollback()
    with record.step("delete"):
        session.delete(two)
        session.commit()
    with record.step("load"):
        session.expunge_all()
        one = session.get(Node, 1)
        assert [tag.id for tag in one.tags] == [1, 2]
        assert session.scalars(sa.select(Node)).all() == [one]
        session.query(Node).populate_existing().all()
    with record.step("merge"):
        session.merge(Node(id=1, name="merged"))
        session.merge(Node(id=5, name="new"))
        session.rollback()
    with record.step("statements"):
        session.query(Node).filter(Node.id == 1).update({"name": "bulk"})
        session.query(Node).filter(Node.id == 77).delete()
        session.execute(sa.update(Node).values(name="more"))
        session.commit()
    with record.step("pickle"):
        assert one.id == 1
        copy = pickle.loads(pickle.dumps(one))
        assert copy.id == 1
    with record.step("make transient"):
        orm.make_transient(one)
        session.add(Tag(id=9))
        session.rollback()
        session.close()
    with record.step("dispose"):
        Base.registry.dispose()


def split(record: Record) -> dict[str, list[tuple[Any, ...]]]:
    """What was heard, by step. Several objects in a row that hear of the same thing may do so in any order."""
    steps: dict[str, list[tuple[Any, ...]]] = {"define": []}
    current = steps["define"]
    for entry in record.heard:
        if entry[0] == "step":
            current = steps[entry[1]] = []
        else:
            current.append(entry)
    return {
        name: [
            entry for _, run in itertools.groupby(entries, lambda entry: entry[1]) for entry in _in_any_order(list(run))
        ]
        for name, entries in steps.items()
    }


def _in_any_order(run: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """SQLAlchemy keeps the states of a flush, and of a transaction, in sets."""
    return sorted(run, key=repr) if run[0][1] in UNORDERED else run


@pytest.fixture(scope="module")
def records() -> dict[str, Record]:
    return {module: run(module) for module in PROGRAMS}


@pytest.mark.parametrize("module", PROGRAMS)
def test_every_event_happens(records: dict[str, Record], module: str) -> None:
    record = records[module]
    heard = {(entry[0], entry[1]) for entry in record.heard}
    missing = [
        f"{kind}.{name}"
        for kind, events in record.kinds.items()
        for name in names_of(events)
        if (kind, name) not in heard
    ]
    assert missing == []


def test_both_orms_have_the_same_events(records: dict[str, Record]) -> None:
    theirs, ours = (
        {kind: sorted(names_of(events)) for kind, events in records[module].kinds.items()} for module in PROGRAMS
    )
    assert ours == theirs


STEPS = [
    "define", "make", "change", "add and take back", "insert", "roll the insert back", "commit", "reload",
    "update in a savepoint that ends badly", "leave and come back", "delete and take back", "delete", "load", "merge",
    "statements", "pickle", "make transient", "dispose",
]  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_same_events_with_same_arguments_in_the_same_order(records: dict[str, Record], step: str) -> None:
    theirs, ours = (split(records[module])[step] for module in PROGRAMS)
    assert ours == theirs
