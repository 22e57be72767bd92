"""What random programs found: the shortest program of each difference, as a test of its own."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa

from .ordered import ordered
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


def test_key_set_to_an_equal_value_is_no_new_key(world: World) -> None:
    country = world.stored("Country", code="".join(["c", "4"]), name="n")
    world.session.commit()
    assert country.name == "n"
    country.code = "".join(["c", "4"])
    world.statements.clear()
    world.session.flush()
    assert world.statements == []
    assert "cities" not in sa.inspect(country).dict


def test_commit_after_close_leaves_what_was_deleted_before(world: World) -> None:
    user = world.stored("User", name="u")
    world.session.delete(user)
    world.session.flush()
    world.session.close()
    world.session.begin()
    world.session.commit()
    assert sa.inspect(user).deleted


@pytest.mark.filterwarnings("ignore:Object of type")
def test_refresh_in_a_flush_leaves_out_relationships_that_something_was_put_into(world: World) -> None:
    session, country = world.session, world.stored("Country", code="c1", name="n")
    session.commit()
    Country = world.classes["Country"]
    option = world.orm.immediateload(Country.cities)
    session.scalars(sa.select(Country).options(option).execution_options(populate_existing=True)).all()
    session.expire(country)
    world.new("City", name="x").country = country
    world.statements.clear()
    session.flush()
    assert world.statements == ["SELECT country.code, country.name FROM country WHERE country.code = ?"]
    assert "cities" not in sa.inspect(country).dict


def test_circular_rows_let_the_others_be_written_first(world: World) -> None:
    node, tag = world.new("Node", name="n"), world.new("Tag", name="t")
    node.parent = node
    world.session.add_all([node, tag])
    with pytest.raises(sa.exc.CircularDependencyError):
        world.session.flush()
    assert world.statements == ["INSERT INTO tag (name) VALUES (?)"]
    assert sa.inspect(tag).transient
    assert tag.id == 1


def test_association_rows_are_found_by_columns_in_the_order_of_the_table(world: World) -> None:
    person, group = world.new("Person", name="p"), world.new("Group", name="g")
    group.people.append(person)
    world.session.add(group)
    world.session.flush()
    group.people.remove(person)
    world.statements.clear()
    world.session.flush()
    assert world.statements == ["DELETE FROM membership WHERE membership.person_id = ? AND membership.group_id = ?"]


def test_deleted_object_that_was_changed_before_begins_nothing_when_it_is_changed_again(world: World) -> None:
    session = world.orm.Session(world.engine, expire_on_commit=False)
    known, changed = world.new("Tag", name="a"), world.new("Tag", name="b")
    session.add_all([known, changed])
    session.flush()
    changed.name = "c"
    session.delete(known)
    session.delete(changed)
    session.commit()
    changed.name = "d"
    assert not session.in_transaction()
    known.name = "d"
    assert session.in_transaction()


def test_rows_of_sibling_tables_are_written_in_the_order_of_their_foreign_keys(world: World) -> None:
    world.session.connection().exec_driver_sql("PRAGMA foreign_keys = ON")
    dog, cat = world.new("Dog", name="d", id=1, enemy_id=2), world.new("Cat", name="c", id=2)
    world.session.add_all([dog, cat])
    world.session.flush()
    assert [statement.split()[2] for statement in world.statements[1:]] == ["animal", "animal_cat", "animal_dog"]


def test_objects_of_subclasses_wait_for_what_their_base_refers_to(world: World) -> None:
    keeper, dog, cat = world.new("Keeper", name="k"), world.new("Dog", name="d"), world.new("Cat", name="c")
    dog.enemy = None
    with ordered():  # SQLAlchemy's otherwise depends on which class it happens to look at first
        world.session.add_all([world.new("Dog", name="first"), keeper, dog, cat])
        world.session.flush()
    # the keeper goes first: without it the dog would, for the sake of an enemy that it might have had, wait for the cat
    assert [obj.id for obj in (dog, cat)] == [2, 3]


def test_query_of_a_base_expires_what_a_subclass_never_had(world: World) -> None:
    session, dog = world.session, world.stored("Dog", name="d", keeper_id=None)
    session.scalars(sa.select(world.classes["Animal"])).all()
    session.connection().exec_driver_sql("UPDATE animal_dog SET trick = 'roll'")
    assert dog.trick == "roll"


def test_many_to_one_of_a_deleted_object_is_looked_up_before_its_key_is_cleared(world: World) -> None:
    team, player = world.stored("Team", name="t"), world.stored("Player", name="p")
    player.name = "q"
    world.session.delete(team)
    world.session.flush()
    assert (team.captain_id, "captain" in sa.inspect(team).dict) == (None, False)


def test_savepoint_undoes_what_it_changed_before_it_was_to_delete_it(world: World) -> None:
    document = world.stored("Document", name="d")
    nested = world.session.begin_nested()
    document.name = "e"
    world.session.flush()
    world.session.delete(document)
    nested.rollback()
    assert "name" not in sa.inspect(document).dict
    assert document.name == "d"


def test_merge_into_an_object_of_another_class_misses_what_that_has_not(world: World) -> None:
    dog = world.stored("Dog", name="d")
    key = dog.id
    world.session.rollback()
    animal = world.stored("Animal", name="a", id=key)
    copy = world.new("Dog", id=key)
    world.orm.make_transient_to_detached(copy)
    assert sa.inspect(animal).identity == sa.inspect(copy).identity
    with pytest.raises(KeyError, match=r"enemy_id|trick"):
        world.session.merge(copy)


# --- where SQLAlchemy makes a mistake that `ordered` puts right ------------------------------------------------------


def test_new_object_that_its_parent_lets_go_is_not_deleted(world: World) -> None:
    session, user, login = world.session, world.new("User", name="u"), world.new("Login", name="l")
    user.sessions.append(login)
    session.add(user)
    session.flush()
    session.rollback()
    user.sessions.remove(login)
    session.add(login)
    world.statements.clear()
    with ordered(), pytest.warns(sa.exc.SAWarning, match="expected to delete 1 row"):
        session.flush()
        assert sa.inspect(login).pending
        session.commit()
    assert world.statements == [
        "INSERT INTO user (id, name) VALUES (?, ?)",
        "DELETE FROM login WHERE login.id = ?",
        "INSERT INTO login (user_id, id, name) VALUES (?, ?, ?)",
    ]
    assert sa.inspect(login).persistent
    assert login in session


@pytest.mark.parametrize("way", ["remove", "replace"])
def test_collection_does_not_wait_for_a_row_that_was_rolled_back(world: World, way: str) -> None:
    session, parent, child = world.session, world.new("Node", name="p"), world.new("Node", name="c")
    session.add(parent)
    session.flush()
    child.parent = parent
    session.rollback()
    with ordered():
        if way == "remove":
            child.parent = None
        else:
            parent.children = [child]
        session.add_all([parent, child])
        session.flush()
    assert child.parent_id == (None if way == "remove" else parent.id)
    session.expire(parent)
    assert parent.children == ([] if way == "remove" else [child])


def test_old_value_of_an_object_that_lost_its_row_is_nothing(world: World) -> None:
    session, user = world.session, world.stored("User", name="u")
    user.profile = world.new("Profile", name="p")
    session.rollback()
    session.add(user)
    with ordered():
        session.flush()
    assert user.profile.user_id == user.id


def test_new_object_that_is_deleted_twice_is_transient_after_a_rollback(world: World) -> None:
    session, city = world.session, world.stored("City", name="c")
    session.delete(city)
    session.flush()
    session.delete(city)
    with ordered():
        session.rollback()
    assert sa.inspect(city).transient


@pytest.mark.parametrize("is_expired", [False, True])
def test_key_cleared_by_a_delete_is_a_change_to_a_savepoint(world: World, is_expired: bool) -> None:
    """A post-updated many-to-one is looked at only where the object has to be loaded anyway."""
    session, team = world.session, world.stored("Team", name="t")
    savepoint = session.begin_nested()
    session.delete(team)
    if is_expired:
        session.expire(team)
    session.flush()
    savepoint.rollback()
    assert sa.inspect(team).persistent
    assert sa.inspect(team).expired is is_expired


def test_refresh_of_an_object_to_be_deleted_leaves_it_empty(world: World) -> None:
    session, team = world.session, world.new("Team", name="t")
    session.add(team)
    session.begin_nested()
    session.delete(team)
    with pytest.raises(sa.exc.InvalidRequestError, match="Could not refresh"):
        session.refresh(team)
    session.rollback()
    assert sa.inspect(team).transient
    assert not [key for key in sa.inspect(team).dict if not key.startswith("_")]


def test_object_deleted_by_a_flush_and_again_keeps_its_values(world: World) -> None:
    """Only its row was gone, however often it was asked for: the failed flush takes the savepoint back."""
    session, group = world.session, world.new("Group", name="g")
    session.add(group)
    session.begin_nested()
    session.delete(group)
    merged = session.merge(world.new("Group", id=1, name="g"))
    session.delete(group)
    with pytest.raises(world.orm.exc.StaleDataError, match="expected to update 1"):
        session.flush()
    session.rollback()
    assert sa.inspect(merged).transient
    assert sa.inspect(group).transient
    assert sa.inspect(group).dict["name"] == "g"
