"""Rows 79–85: association rows, one-to-one, collections that are held, reordered, sets and dictionaries."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Integer, String, Table


def tagged(bench: Any, *, unique: bool = True, other_side: bool = True, **relationship_args: Any) -> SimpleNamespace:
    """Items and tags, many to many."""
    orm = bench.orm
    links = Table(
        "links",
        bench.Base.metadata,
        Column("item_id", ForeignKey("items.id"), primary_key=unique),
        Column("tag_id", ForeignKey("tags.id"), primary_key=unique),
    )
    back = {"back_populates": "items"} if other_side else {}

    class Item(bench.Base):
        __tablename__ = "items"
        id = orm.mapped_column(Integer, primary_key=True)
        tags = orm.relationship("Tag", secondary=links, order_by="Tag.id", **back, **relationship_args)

    class Tag(bench.Base):
        __tablename__ = "tags"
        id = orm.mapped_column(Integer, primary_key=True)
        if other_side:
            items = orm.relationship("Item", secondary=links, order_by="Item.id", back_populates="tags")

    bench.create(enforce_keys=True)
    return SimpleNamespace(Item=Item, Tag=Tag)


# which side writes the rows of a flush is up to a set's order in SQLAlchemy
def test_079_one_row_from_both_sides(bench: Any) -> None:
    t = tagged(bench)
    one, two, red, blue = t.Item(id=1), t.Item(id=2), t.Tag(id=1), t.Tag(id=2)
    one.tags = [red, blue]
    red.items.append(two)
    session = bench.session()
    session.add_all([one, two])
    session.flush()
    assert sorted(bench.told()) == [
        "INSERT INTO items (id) VALUES (1)",
        "INSERT INTO items (id) VALUES (2)",
        "INSERT INTO links (item_id, tag_id) VALUES (1, 1)",
        "INSERT INTO links (item_id, tag_id) VALUES (1, 2)",
        "INSERT INTO links (item_id, tag_id) VALUES (2, 1)",
        "INSERT INTO tags (id) VALUES (1)",
        "INSERT INTO tags (id) VALUES (2)",
    ]
    session.commit()
    assert bench.rows("links", "1, 2") == [(1, 1), (1, 2), (2, 1)]
    assert (one.tags, red.items) == ([red, blue], [one, two])
    bench.told()
    one.tags.remove(red)
    blue.items.append(two)
    session.flush()
    assert sorted(bench.told()) == [
        "DELETE FROM links WHERE links.item_id = 1 AND links.tag_id = 1",
        "INSERT INTO links (item_id, tag_id) VALUES (2, 2)",
        "SELECT items",
    ]
    session.commit()
    assert bench.rows("links", "1, 2") == [(1, 2), (2, 1), (2, 2)]


def test_079_deleting_either_side_deletes_its_rows(bench: Any) -> None:
    t = tagged(bench)
    one, two, red, blue = t.Item(id=1), t.Item(id=2), t.Tag(id=1), t.Tag(id=2)
    one.tags, two.tags = [red, blue], [red]
    session = bench.saved(one, two)
    session.delete(red)
    session.flush()
    assert bench.told() == [
        "SELECT tags",
        "SELECT items",
        "DELETE FROM links WHERE links.item_id = 1 AND links.tag_id = 1",
        "DELETE FROM links WHERE links.item_id = 2 AND links.tag_id = 1",
        "DELETE FROM tags WHERE tags.id = 1",
    ]
    session.delete(one)
    session.flush()
    assert bench.told() == [
        "SELECT tags",
        "DELETE FROM links WHERE links.item_id = 1 AND links.tag_id = 2",
        "DELETE FROM items WHERE items.id = 1",
    ]
    session.commit()
    assert (bench.rows("items"), bench.rows("tags"), bench.rows("links")) == ([(2,)], [(2,)], [])


def test_079_deleting_both_sides(bench: Any) -> None:
    t = tagged(bench)
    one, red, blue = t.Item(id=1), t.Tag(id=1), t.Tag(id=2)
    one.tags = [red, blue]
    session = bench.saved(one)
    session.delete(one)
    session.delete(red)
    session.flush()
    assert bench.told(selects=False) == [
        "DELETE FROM links WHERE links.item_id = 1 AND links.tag_id = 1",
        "DELETE FROM links WHERE links.item_id = 1 AND links.tag_id = 2",
        "DELETE FROM items WHERE items.id = 1",
        "DELETE FROM tags WHERE tags.id = 1",
    ]


def test_079_without_other_side_the_target_keeps_its_rows(bench: Any) -> None:
    t = tagged(bench, other_side=False)
    one, red = t.Item(id=1), t.Tag(id=1)
    one.tags = [red]
    session = bench.saved(one)
    session.delete(red)
    assert bench.outcome(session.flush) == ["IntegrityError: FOREIGN KEY constraint failed"]
    assert bench.told() == ["SELECT tags", "DELETE FROM tags WHERE tags.id = 1"]


def test_079_passive_deletes(bench: Any) -> None:
    t = tagged(bench, passive_deletes=True, other_side=False)
    one, two = t.Item(id=1, tags=[t.Tag(id=1)]), t.Item(id=2, tags=[t.Tag(id=2)])
    session = bench.saved(one, two)
    assert len(one.tags) == 1
    bench.told()
    session.delete(one)
    session.flush()
    assert bench.told() == [
        "DELETE FROM links WHERE links.item_id = 1 AND links.tag_id = 1",
        "DELETE FROM items WHERE items.id = 1",
    ]
    session.delete(two)
    assert bench.outcome(session.flush) == ["IntegrityError: FOREIGN KEY constraint failed"]
    assert bench.told() == ["SELECT items", "DELETE FROM items WHERE items.id = 2"]


def test_079_row_switch(bench: Any) -> None:
    t = tagged(bench)
    red, blue = t.Tag(id=1), t.Tag(id=2)
    session = bench.saved(t.Item(id=1, tags=[red, blue]))
    session.delete(session.get(t.Item, 1))
    new = t.Item(id=1, tags=[blue])
    session.add(new)
    bench.told()
    session.flush()
    assert bench.told(selects=False) == [
        "DELETE FROM links WHERE links.item_id = 1 AND links.tag_id = 1",
        "DELETE FROM links WHERE links.item_id = 1 AND links.tag_id = 2",
        "INSERT INTO links (item_id, tag_id) VALUES (1, 2)",
    ]
    session.commit()
    assert (bench.rows("links"), new.tags) == ([(1, 2)], [blue])


def test_080_row_already_gone(bench: Any) -> None:
    t = tagged(bench)
    one = t.Item(id=1, tags=[t.Tag(id=1), t.Tag(id=2)])
    session = bench.saved(one)
    assert len(one.tags) == 2
    bench.meanwhile(session, "DELETE FROM links WHERE tag_id = 1")
    one.tags.clear()
    assert bench.outcome(session.flush) == [
        ("StaleDataError: DELETE statement on table 'links' expected to delete 2 row(s); Only 1 were matched.")
    ]
    assert bench.told() == [
        "DELETE FROM links WHERE links.item_id = 1 AND links.tag_id = 1",
        "DELETE FROM links WHERE links.item_id = 1 AND links.tag_id = 2",
    ]


def test_080_row_already_gone_when_the_object_is_deleted(bench: Any) -> None:
    t = tagged(bench)
    one = t.Item(id=1, tags=[t.Tag(id=1), t.Tag(id=2)])
    session = bench.saved(one)
    assert len(one.tags) == 2
    bench.meanwhile(session, "DELETE FROM links WHERE tag_id = 1")
    session.delete(one)
    assert bench.outcome(session.flush) == [
        ("StaleDataError: DELETE statement on table 'links' expected to delete 2 row(s); Only 1 were matched.")
    ]


def test_080_member_twice_is_two_rows(bench: Any) -> None:
    t = tagged(bench, unique=False, other_side=False)
    red = t.Tag(id=1)
    one = t.Item(id=1, tags=[red, red])
    session = bench.saved(one)
    assert bench.rows("links") == [(1, 1), (1, 1)]
    assert len(one.tags) == 1
    one.tags.append(red)
    bench.told()
    session.flush()
    assert bench.told() == []


def test_081_wrong_class_in_a_collection(bench: Any) -> None:
    t = tagged(bench, other_side=False)
    session = bench.session()
    assert bench.outcome(session.add, t.Item(id=1, tags=[t.Item(id=2)])) == [
        (
            "AssertionError: Attribute 'tags' on class '<class "
            "'test_rows_079_085_collections.tagged.<locals>.Item'>' doesn't handle objects of type '<class "
            "'test_rows_079_085_collections.tagged.<locals>.Item'>'"
        )
    ]
    assert bench.told() == []


def husbands(bench: Any, **relationship_args: Any) -> SimpleNamespace:
    """One to one."""
    orm = bench.orm

    class Owner(bench.Base):
        __tablename__ = "owners"
        id = orm.mapped_column(Integer, primary_key=True)
        card = orm.relationship("Card", back_populates="owner", uselist=False, **relationship_args)

    class Card(bench.Base):
        __tablename__ = "cards"
        id = orm.mapped_column(Integer, primary_key=True)
        owner_id = orm.mapped_column(ForeignKey("owners.id"))
        owner = orm.relationship("Owner", back_populates="card")

    bench.create(enforce_keys=True)
    return SimpleNamespace(Owner=Owner, Card=Card)


def test_082_scalar_replaced(bench: Any) -> None:
    h = husbands(bench)
    owner, old = h.Owner(id=1), h.Card(id=1)
    owner.card = old
    session = bench.saved(owner)
    assert owner.card is old
    bench.told()
    new = h.Card(id=2)
    owner.card = new
    assert (new.owner is owner, old.owner, bench.told()) == (True, None, [])
    session.flush()
    assert bench.told() == [
        "UPDATE cards SET owner_id=NULL WHERE cards.id = 1",
        "INSERT INTO cards (id, owner_id) VALUES (2, 1)",
    ]
    session.commit()
    assert bench.rows("cards") == [(1, None), (2, 1)]


def test_082_unloaded_scalar_replaced(bench: Any) -> None:
    h = husbands(bench)
    owner, old = h.Owner(id=1), h.Card(id=1)
    owner.card = old
    session = bench.saved(owner)
    new = h.Card(id=2)
    owner.card = new
    assert bench.told() == []
    session.flush()
    assert bench.told() == [
        "SELECT owners",
        "SELECT cards",
        "UPDATE cards SET owner_id=NULL WHERE cards.id = 1",
        "INSERT INTO cards (id, owner_id) VALUES (2, 1)",
    ]
    session.commit()
    assert (bench.rows("cards"), old.owner) == ([(1, None), (2, 1)], None)


def test_082_scalar_replaced_is_an_orphan(bench: Any) -> None:
    h = husbands(bench, cascade="all, delete-orphan")
    owner, old = h.Owner(id=1), h.Card(id=1)
    owner.card = old
    session = bench.saved(owner)
    owner.card = h.Card(id=2)
    bench.told()
    session.flush()
    assert bench.told() == [
        "SELECT owners",
        "SELECT cards",
        "INSERT INTO cards (id, owner_id) VALUES (2, 1)",
        "DELETE FROM cards WHERE cards.id = 1",
    ]
    assert bench.states(old) == ["deleted"]


def test_082_set_from_the_other_side(bench: Any) -> None:
    h = husbands(bench)
    owner, old = h.Owner(id=1), h.Card(id=1)
    owner.card = old
    session = bench.saved(owner, h.Card(id=2))
    new = session.get(h.Card, 2)
    bench.told()
    new.owner = owner
    assert bench.told() == []
    session.flush()
    assert bench.told() == [
        "SELECT owners",
        "SELECT cards",
        "UPDATE cards SET owner_id=NULL WHERE cards.id = 1",
        "UPDATE cards SET owner_id=1 WHERE cards.id = 2",
    ]
    session.commit()
    assert (bench.rows("cards"), owner.card is new) == ([(1, None), (2, 1)], True)


def test_082_two_rows_on_load(bench: Any) -> None:
    h = husbands(bench)
    session = bench.saved(h.Owner(id=1))
    bench.meanwhile(session, "INSERT INTO cards VALUES (1, 1), (2, 1)")
    owner = session.get(h.Owner, 1)
    assert bench.outcome(lambda: owner.card) == [
        "SAWarning: Multiple rows returned with uselist=False for lazily-loaded attribute 'Owner.card'"
    ]
    assert owner.card.id == 1


def test_083_collection_held_across_a_commit(bench: Any) -> None:
    t = tagged(bench)
    one = t.Item(id=1, tags=[t.Tag(id=1)])
    session = bench.saved(one)
    held = one.tags
    session.expire(one)
    assert bench.outcome(held.append, t.Tag(id=2)) == ["SAWarning: This collection has been invalidated."]
    assert bench.outcome(held.remove, held[0]) == ["SAWarning: This collection has been invalidated."]
    bench.told()
    session.flush()
    assert bench.told() == [
        "INSERT INTO tags (id) VALUES (2)",
        "SELECT items",
        "DELETE FROM links WHERE links.item_id = 1 AND links.tag_id = 1",
        "INSERT INTO links (item_id, tag_id) VALUES (1, 2)",
    ]
    assert held is not one.tags


def test_084_reordered(bench: Any) -> None:
    t = tagged(bench)
    red, blue = t.Tag(id=1), t.Tag(id=2)
    one = t.Item(id=1, tags=[red, blue])
    session = bench.saved(one)
    one.tags.reverse()
    one.tags = [blue, red]
    bench.told()
    session.flush()
    assert bench.told() == []
    session.commit()
    assert one.tags == [red, blue]


def test_085_set(bench: Any) -> None:
    t = tagged(bench, collection_class=set, other_side=False)
    red, blue, green = (t.Tag(id=n) for n in (1, 2, 3))
    one = t.Item(id=1, tags={red, blue})
    session = bench.saved(one)
    assert one.tags == {red, blue}
    bench.told()
    one.tags ^= {blue, green}
    one.tags.add(red)
    session.flush()
    assert bench.told() == [
        "INSERT INTO tags (id) VALUES (3)",
        "DELETE FROM links WHERE links.item_id = 1 AND links.tag_id = 2",
        "INSERT INTO links (item_id, tag_id) VALUES (1, 3)",
    ]
    one.tags = {green}
    session.flush()
    assert bench.told() == ["DELETE FROM links WHERE links.item_id = 1 AND links.tag_id = 1"]


def test_085_dictionary(bench: Any) -> None:
    orm = bench.orm

    class Person(bench.Base):
        __tablename__ = "persons"
        id = orm.mapped_column(Integer, primary_key=True)
        notes = orm.relationship("Note", collection_class=orm.attribute_keyed_dict("title"))

    class Note(bench.Base):
        __tablename__ = "notes"
        id = orm.mapped_column(Integer, primary_key=True)
        person_id = orm.mapped_column(ForeignKey("persons.id"))
        title = orm.mapped_column(String)

    bench.create()
    a, b = Note(id=1, title="a"), Note(id=2, title="b")
    person = Person(id=1, notes={"a": a, "b": b})
    session = bench.saved(person)
    assert sorted(person.notes) == ["a", "b"]
    a.title = "c"
    assert (sorted(person.notes), person.notes["a"] is a) == (["a", "b"], True)
    bench.told()
    session.flush()
    assert bench.told() == ["UPDATE notes SET title='c' WHERE notes.id = 1"]
    assert sorted(person.notes) == ["a", "b"]
    person.notes["b"] = Note(id=3, title="b")
    session.flush()
    assert (bench.told(), bench.states(b), b.person_id) == (
        [
            "UPDATE notes SET person_id=NULL WHERE notes.id = 2",
            "INSERT INTO notes (id, person_id, title) VALUES (3, 1, 'b')",
        ],
        ["persistent"],
        None,
    )
    session.commit()
    assert sorted(person.notes) == ["b", "c"]
    assert bench.rows("notes") == [(1, 1, "c"), (2, None, "b"), (3, 1, "b")]
    assert bench.outcome(person.notes.__setitem__, "x", Note(title="y")) == []
    session.rollback()
    del person.notes["b"]
    session.flush()
    assert bench.told(selects=False) == ["UPDATE notes SET person_id=NULL WHERE notes.id = 3"]
    assert sa.inspect(person).persistent
