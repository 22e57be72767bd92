"""Mapped classes whose every hook does mischief: uses the session from the inside of whatever calls it, or raises.

Nothing is said about what comes of that, except that the interpreter survives it, that no error of the native core
comes out, and that a session that is closed afterwards, and a new one, work.
"""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

MAPPER_HOOKS = ("before_insert", "after_insert", "before_update", "after_update", "before_delete", "after_delete")
INSTANCE_HOOKS = ("init", "load", "refresh", "refresh_flush", "expire", "pickle", "unpickle", "init_failure")
SESSION_HOOKS = (
    "before_commit",
    "after_commit",
    "after_rollback",
    "after_soft_rollback",
    "before_flush",
    "after_flush",
    "after_flush_postexec",
    "after_begin",
    "after_transaction_create",
    "after_transaction_end",
    "before_attach",
    "after_attach",
    "transient_to_pending",
    "pending_to_persistent",
    "pending_to_transient",
    "persistent_to_deleted",
    "persistent_to_detached",
    "persistent_to_transient",
    "deleted_to_persistent",
    "deleted_to_detached",
    "detached_to_persistent",
    "loaded_as_persistent",
    "do_orm_execute",
)
ATTRIBUTE_HOOKS = ("set", "init_scalar", "modified")
COLLECTION_HOOKS = ("append", "remove", "bulk_replace", "init_collection", "dispose_collection", "append_wo_mutation")


class Mischief(Exception):
    """What a hook raises when it is in the mood."""


class Value:
    """A column's value whose comparison, hash and end run code."""

    def __init__(self, world: World, text: str) -> None:
        self.world, self.text = world, text

    def __eq__(self, other: object) -> bool:
        self.world.hook("__eq__")
        return isinstance(other, Value) and other.text == self.text

    def __hash__(self) -> int:
        self.world.hook("__hash__")
        return hash(self.text)

    def __del__(self) -> None:
        self.world.hook("__del__ of a value", may_raise=False)


class World:
    """The classes on one ORM, and what their hooks choose to do, decided by a seed."""

    def __init__(self, orm: Any) -> None:
        self.orm = orm
        self.random = random.Random(0)
        self.session: Any = None
        self.objects: list[Any] = []
        self.depth = 0
        # one in so many calls does something
        self.rarity = 0
        self.done: list[str] = []
        self.engine = sa.create_engine("sqlite://")
        self._map()
        self.Base.metadata.create_all(self.engine)
        self.maker = orm.sessionmaker(self.engine)
        self._listen()

    def _map(self) -> None:
        orm, world = self.orm, self

        class Base(orm.DeclarativeBase):
            pass

        class ValueType(sa.types.TypeDecorator[Any]):
            impl = sa.String
            cache_ok = True

            def process_bind_param(self, value: Any, dialect: Any) -> Any:
                world.hook("bind")
                return None if value is None else value.text

            def process_result_value(self, value: Any, dialect: Any) -> Any:
                world.hook("result")
                return None if value is None else Value(world, value)

        class Family(set[Any]):
            """A collection class of the user's."""

            def __eq__(self, other: object) -> bool:
                world.hook("__eq__ of a collection")
                return super().__eq__(other)

            __hash__ = None  # type: ignore[assignment]

            @orm.collections.collection.appender
            def enter(self, member: Any) -> None:
                world.hook("appender")
                set.add(self, member)

            @orm.collections.collection.remover
            def leave(self, member: Any) -> None:
                world.hook("remover")
                set.discard(self, member)

        class Node(Base):
            __tablename__ = "nodes"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            name = orm.mapped_column(sa.String, default=lambda: world.hook("default") or "default")
            value = orm.mapped_column(ValueType)
            parent_id = orm.mapped_column(sa.ForeignKey("nodes.id"))
            children = orm.relationship("Node", back_populates="parent", cascade="all")
            parent = orm.relationship("Node", back_populates="children", remote_side=id)
            family = orm.relationship("Member", collection_class=Family, cascade="all, delete-orphan")

            def __init__(self, **kw: Any) -> None:
                world.hook("__init__")
                super().__init__(**kw)

            @orm.validates("name", "children")
            def check(self, key: str, value: Any) -> Any:
                world.hook("validator")
                return value

            @orm.reconstructor
            def loaded(self) -> None:
                world.hook("reconstructor")

            def __eq__(self, other: object) -> bool:
                world.hook("__eq__ of an entity")
                return self is other

            def __hash__(self) -> int:
                world.hook("__hash__ of an entity")
                return id(self)

            def __del__(self) -> None:
                world.hook("__del__", self, may_raise=False)

        class Member(Base):
            __tablename__ = "members"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            node_id = orm.mapped_column(sa.ForeignKey("nodes.id"), nullable=False)
            value = orm.mapped_column(ValueType)

        self.Base, self.Node, self.Member = Base, Node, Member
        orm.configure_mappers()

    def _listen(self) -> None:
        for name in SESSION_HOOKS:
            event.listen(self.maker, name, self._listener(name))
        for cls in (self.Node, self.Member):
            for name in (*MAPPER_HOOKS, *INSTANCE_HOOKS):
                event.listen(cls, name, self._listener(name))
            for attribute in (cls.value, cls.id):
                for name in ATTRIBUTE_HOOKS:
                    event.listen(attribute, name, self._listener(f"{name} of {attribute.key}"))
        for name in COLLECTION_HOOKS:
            event.listen(self.Node.children, name, self._listener(name))
            event.listen(self.Node.family, name, self._listener(name))
        event.listen(self.Node.parent, "set", self._listener("set of parent"))

    def _listener(self, name: str) -> Callable[..., None]:
        def listener(*args: Any) -> None:
            target = args[0] if args else None
            self.hook(name, target if isinstance(target, self.Base) else None)

        return listener

    # --- mischief ----------------------------------------------------------------------------------------------------

    def hook(self, name: str, target: Any = None, *, may_raise: bool = True) -> None:
        """A hook was called: mostly nothing happens, and nothing at all deep inside of other mischief."""
        if not self.rarity or self.depth > 2 or self.session is None or self.random.randrange(self.rarity):
            return
        self.depth += 1
        try:
            self._do(self.random.choice(ACTIONS), target)
        except Mischief:
            if may_raise:
                raise
        except Exception:
            # what a session refuses is no concern of the hook; now and then it lets it through
            if may_raise and not self.random.randrange(3):
                raise
        finally:
            self.depth -= 1

    def _do(self, action: Callable[[World, Any], None], target: Any) -> None:
        self.done.append(action.__name__)
        if target is None and self.objects:
            target = self.random.choice(self.objects)
        action(self, target)

    def node(self) -> Any:
        node = self.Node(name=self.random.choice("abc"), value=Value(self, self.random.choice("xyz")))
        if len(self.objects) < 60:
            self.objects.append(node)
        return node

    def pick(self) -> Any:
        nodes = [obj for obj in self.objects if type(obj) is self.Node]
        return self.random.choice(nodes) if nodes else self.node()

    def dispose(self) -> None:
        self.rarity = 0
        self.session = None
        self.objects.clear()
        gc.collect()
        self.orm.close_all_sessions()
        self.engine.dispose()


def add(world: World, target: Any) -> None:
    world.session.add(world.node())


def add_target(world: World, target: Any) -> None:
    world.session.add(target)


def delete(world: World, target: Any) -> None:
    world.session.delete(target)


def expunge(world: World, target: Any) -> None:
    world.session.expunge(target)


def expunge_all(world: World, target: Any) -> None:
    world.session.expunge_all()


def expire(world: World, target: Any) -> None:
    world.session.expire(target)


def expire_all(world: World, target: Any) -> None:
    world.session.expire_all()


def refresh(world: World, target: Any) -> None:
    world.session.refresh(target)


def merge(world: World, target: Any) -> None:
    world.session.merge(target)


def flush(world: World, target: Any) -> None:
    world.session.flush()


def commit(world: World, target: Any) -> None:
    world.session.commit()


def rollback(world: World, target: Any) -> None:
    world.session.rollback()


def close(world: World, target: Any) -> None:
    world.session.close()


def begin_nested(world: World, target: Any) -> None:
    world.session.begin_nested()


def query(world: World, target: Any) -> None:
    found = world.session.scalars(sa.select(world.Node).limit(5)).all()
    if len(world.objects) < 60:
        world.objects.extend(found)


def get(world: World, target: Any) -> None:
    world.session.get(world.Node, world.random.randrange(1, 8))


def update_statement(world: World, target: Any) -> None:
    world.session.execute(sa.update(world.Node).where(world.Node.id > 2).values(name="updated"))


def delete_statement(world: World, target: Any) -> None:
    world.session.execute(sa.delete(world.Member).where(world.Member.id > 2))


def set_name(world: World, target: Any) -> None:
    target.name = "mischief"


def set_value(world: World, target: Any) -> None:
    target.value = Value(world, "m")


def set_key(world: World, target: Any) -> None:
    target.id = world.random.randrange(100, 200)


def del_value(world: World, target: Any) -> None:
    del target.value


def set_parent(world: World, target: Any) -> None:
    target.parent = world.random.choice([None, world.pick()])


def append_child(world: World, target: Any) -> None:
    target.children.append(world.node())


def remove_child(world: World, target: Any) -> None:
    target.children.pop()


def replace_children(world: World, target: Any) -> None:
    target.children = [world.pick()]


def add_member(world: World, target: Any) -> None:
    target.family.add(world.Member(value=Value(world, "f")))


def clear_family(world: World, target: Any) -> None:
    target.family.clear()


def read_all(world: World, target: Any) -> None:
    for obj in list(world.objects):
        for name in ("name", "value", "children", "parent", "family"):
            getattr(obj, name, None)
        repr(sa.inspect(obj).attrs)


def look(world: World, target: Any) -> None:
    session = world.session
    list(session), list(session.new), list(session.dirty), list(session.deleted), list(session.identity_map.items())
    session.is_modified(target)
    sa.inspect(target).attrs.value.history  # noqa: B018


def make_transient(world: World, target: Any) -> None:
    world.orm.make_transient(target)


def collect(world: World, target: Any) -> None:
    gc.collect()


def forget(world: World, target: Any) -> None:
    """Drop all objects the world knows."""
    world.objects.clear()


def watch(world: World, target: Any) -> None:
    """A weak reference whose callback does mischief in its turn."""
    reference = weakref.ref(target, lambda _: world.hook("weakref", may_raise=False))
    world.objects[:] = world.objects[-20:]
    _watched.append(reference)
    del _watched[:-20]


def resurrect(world: World, target: Any) -> None:
    world.objects.append(target)


def refuse(world: World, target: Any) -> None:
    raise Mischief


def plan(world: World, target: Any) -> None:
    if hasattr(world.session, "plan"):
        str(world.session.plan())


_watched: list[Any] = []
ACTIONS: tuple[Callable[[World, Any], None], ...] = (
    *(add, add_target, delete, expunge, expunge_all, expire, expire_all, refresh, merge, flush, commit, rollback),
    *(close, begin_nested, query, get, update_statement, delete_statement, set_name, set_value, set_key, del_value),
    *(set_parent, append_child, remove_child, replace_children, add_member, clear_family, read_all, look),
    *(make_transient, collect, forget, watch, resurrect, refuse, plan),
)
