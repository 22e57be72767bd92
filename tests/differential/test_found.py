"""What random programs found: the shortest program of each difference, as a test of its own."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa

from .zoo import declare


class World:
    """The zoo of one ORM, a session on an empty database, and the statements sent."""

    def __init__(self, orm: ModuleType) -> None:
        zoo = declare(orm.__name__)
        self.orm: Any = zoo.orm
        self.classes = zoo.classes
        self.engine = sa.create_engine("sqlite://")
        zoo.Base.metadata.create_all(self.engine)
        self.statements: list[str] = []
        sa.event.listen(self.engine, "before_cursor_execute", self._note)
        self.session = self.orm.Session(self.engine)

    def _note(self, conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        self.statements.append(" ".join(statement.split()))

    def new(self, class_name: str, **values: Any) -> Any:
        return self.classes[class_name](**values)

    def stored(self, class_name: str, **values: Any) -> Any:
        """An object that is persistent."""
        obj = self.new(class_name, **values)
        self.session.add(obj)
        self.session.flush()
        return obj


@pytest.fixture
def world(orm: ModuleType) -> World:
    return World(orm)


@pytest.mark.filterwarnings("ignore:Object of type")
def test_child_outside_gets_the_key_of_a_parent_whose_collection_is_not_loaded(world: World) -> None:
    user = world.stored("User", name="u")
    world.session.commit()
    login = world.new("Login", name="l")
    login.user = user
    world.session.flush()
    assert sa.inspect(login).transient
    assert login.user_id == user.id


@pytest.mark.filterwarnings("ignore:Object of type")
def test_flush_loads_the_key_of_an_expired_object_without_net_change(world: World) -> None:
    book = world.stored("Book", name="b")
    world.session.commit()
    shelf = world.new("Shelf", name="s")
    shelf.books.add(book)
    world.statements.clear()
    world.session.flush()
    assert world.statements == ["SELECT book.shelf_id, book.id, book.name FROM book WHERE book.id = ?"]


def test_flushed_then_expired_then_rolled_back_cannot_be_flushed_again(world: World) -> None:
    team = world.stored("Team", name="t")
    world.session.expire(team)
    world.session.rollback()
    world.session.add(team)
    with pytest.raises(sa.exc.InvalidRequestError, match="cannot be refreshed - it's not  persistent"):
        world.session.flush()


def test_deletes_in_a_cycle_of_classes_load_what_they_have_to_wait_for(world: World) -> None:
    world.session.connection().exec_driver_sql("PRAGMA foreign_keys = ON")
    egg = world.stored("Egg", name="e")
    hen = world.stored("Hen", name="h", hatched_from=egg)
    world.session.commit()
    with world.session.no_autoflush:
        world.session.delete(egg)
        world.session.delete(hen)
    world.session.flush()
    assert sa.inspect(hen).deleted
    assert sa.inspect(egg).deleted


def test_failing_autoflush_begins_nothing_for_the_query(world: World) -> None:
    session, node = world.session, world.new("Node", name="n")
    for _ in range(2):  # the second time the statement is known
        session.scalars(sa.select(world.classes["Node"])).all()
    session.rollback()
    session.begin_nested()
    node.parent = node
    session.add(node)
    begun: list[str] = []
    sa.event.listen(world.engine, "savepoint", lambda conn, name: begun.append(name))
    with pytest.raises(sa.exc.CircularDependencyError):
        session.scalars(sa.select(world.classes["Node"])).all()
    assert begun == []


def test_deleted_object_of_a_cycle_of_classes_knows_its_empty_many_to_one(world: World) -> None:
    session = world.orm.Session(world.engine, expire_on_commit=False)
    hen, egg = world.new("Hen", name="h"), world.new("Egg", name="e")
    hen.eggs.append(egg)
    session.add(hen)
    session.commit()
    session.delete(hen)
    session.commit()
    assert sa.inspect(hen).dict["hatched_from"] is None
