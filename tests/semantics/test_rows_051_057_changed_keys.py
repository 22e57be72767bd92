"""Rows 51–57: primary keys that change, and the rows that refer to them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Integer, String, Table


def people(bench: Any, *, cascades: bool, backref: bool = True, enforce_keys: bool = True, **user_args: Any) -> Any:
    """Users with natural keys, their notes, and the groups they are in; ``cascades``: the database passes keys on."""
    orm, on_update = bench.orm, "CASCADE" if cascades else None
    passive = {"passive_updates": cascades}
    both = {"back_populates": "notes"} if backref else {}

    members = Table(
        "members",
        bench.Base.metadata,
        Column("user_name", ForeignKey("users.name", onupdate=on_update), primary_key=True),
        Column("group_id", ForeignKey("groups.id"), primary_key=True),
    )

    class User(bench.Base):
        __tablename__ = "users"
        name = orm.mapped_column(String, primary_key=True)
        full = orm.mapped_column(String)
        groups = orm.relationship("Group", secondary=members, order_by="Group.id", **passive)
        if backref:
            notes = orm.relationship("Note", order_by="Note.id", back_populates="user", **passive)
        __mapper_args__ = user_args

    class Note(bench.Base):
        __tablename__ = "notes"
        id = orm.mapped_column(Integer, primary_key=True)
        user_name = orm.mapped_column(ForeignKey("users.name", onupdate=on_update))
        text = orm.mapped_column(String)
        user = orm.relationship("User", **both, **passive)

    class Group(bench.Base):
        __tablename__ = "groups"
        id = orm.mapped_column(Integer, primary_key=True)

    bench.create(enforce_keys=enforce_keys)
    return SimpleNamespace(User=User, Note=Note, Group=Group)


def test_053_swapped_keys_are_two_updates(bench: Any) -> None:
    orm = bench.orm

    class Seat(bench.Base):
        __tablename__ = "seats"
        row = orm.mapped_column(Integer, primary_key=True)
        place = orm.mapped_column(Integer, primary_key=True)
        who = orm.mapped_column(String)

    bench.create()
    session = bench.saved(Seat(row=1, place=1, who="a"), Seat(row=1, place=2, who="b"))
    a, b = session.get(Seat, (1, 1)), session.get(Seat, (1, 2))
    a.place, b.place = 2, 1
    bench.told()
    assert bench.outcome(session.flush) == ["IntegrityError: UNIQUE constraint failed: seats.row, seats.place"]
    assert bench.told() == ['UPDATE seats SET place=2 WHERE seats."row" = 1 AND seats.place = 1']
    session.rollback()
    assert ((a.place, b.place), session.get(Seat, (1, 1)) is a) == ((1, 2), True)


def test_053_key_taken_over_from_an_object_that_leaves_it(bench: Any) -> None:
    orm = bench.orm

    class Thing(bench.Base):
        __tablename__ = "things"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String)

    bench.create()
    session = bench.saved(Thing(id=1, name="a"), Thing(id=2, name="b"), Thing(id=3, name="c"))
    a, b, c = (session.get(Thing, n) for n in (1, 2, 3))
    c.id, b.id, a.id = 4, 3, 2
    bench.told()
    assert bench.outcome(session.flush) == ["IntegrityError: UNIQUE constraint failed: things.id"]
    assert bench.told() == ["UPDATE things SET id=2 WHERE things.id = 1"]
    session.rollback()
    b.id = 9
    session.flush()
    a.id = 2
    assert bench.outcome(session.flush) == []
    assert bench.told() == [
        "SELECT things",
        "UPDATE things SET id=9 WHERE things.id = 2",
        "SELECT things",
        "UPDATE things SET id=2 WHERE things.id = 1",
    ]
    assert [session.get(Thing, n) for n in (1, 2, 3, 9)] == [None, a, c, b]
    session.rollback()
    assert [session.get(Thing, n) for n in (1, 2, 3, 9)] == [a, b, c, None]


def test_056_the_database_passes_the_key_on(bench: Any) -> None:
    p = people(bench, cascades=True)
    session = bench.saved(p.User(name="ed", notes=[p.Note(text="a"), p.Note(text="b")], groups=[p.Group()]))
    ed = session.get(p.User, "ed")
    loaded = ed.notes[0]
    ed.name = "edward"
    bench.told()
    session.flush()
    assert bench.told() == ["UPDATE users SET name='edward' WHERE users.name = 'ed'"]
    assert [n.user_name for n in ed.notes] == ["edward", "edward"]
    assert bench.told() == []
    assert (loaded.user is ed, loaded in session.dirty, sa.inspect(ed).identity) == (True, False, ("edward",))
    session.commit()
    assert (bench.rows("users"), bench.rows("notes"), bench.rows("members")) == (
        [("edward", None)],
        [(1, "edward", "a"), (2, "edward", "b")],
        [("edward", 1)],
    )
    assert (len(ed.groups), session.get(p.User, "edward") is ed) == (1, True)


def test_056_unloaded_children_are_not_looked_at(bench: Any) -> None:
    p = people(bench, cascades=True)
    session = bench.saved(p.User(name="ed", notes=[p.Note(text="a")]))
    ed = session.get(p.User, "ed")
    ed.name = "edward"
    bench.told()
    session.flush()
    assert bench.told() == ["UPDATE users SET name='edward' WHERE users.name = 'ed'"]
    assert [n.user_name for n in ed.notes] == ["edward"]


def test_056_children_are_updated_one_by_one(bench: Any) -> None:
    p = people(bench, cascades=False, enforce_keys=False)
    session = bench.saved(p.User(name="ed", notes=[p.Note(text="a"), p.Note(text="b")], groups=[p.Group(), p.Group()]))
    ed = session.get(p.User, "ed")
    bench.told()
    ed.name = "edward"
    session.flush()
    assert bench.told() == [
        "SELECT groups",
        "SELECT notes",
        "UPDATE users SET name='edward' WHERE users.name = 'ed'",
        "UPDATE members SET user_name='edward', group_id=1 WHERE members.user_name = 'ed' AND members.group_id = 1",
        "UPDATE members SET user_name='edward', group_id=2 WHERE members.user_name = 'ed' AND members.group_id = 2",
        "UPDATE notes SET user_name='edward' WHERE notes.id = 1",
        "UPDATE notes SET user_name='edward' WHERE notes.id = 2",
    ]
    assert [n.user_name for n in ed.notes] == ["edward", "edward"]
    session.commit()
    assert (bench.rows("users"), bench.rows("notes"), bench.rows("members")) == (
        [("edward", None)],
        [(1, "edward", "a"), (2, "edward", "b")],
        [("edward", 1), ("edward", 2)],
    )
    ed.name, ed.notes[0].text = "eddy", "changed"
    ed.groups.pop()
    ed.groups.append(p.Group())
    bench.told()
    session.flush()
    assert bench.told() == [
        "INSERT INTO groups DEFAULT VALUES",
        "DELETE FROM members WHERE members.user_name = 'eddy' AND members.group_id = 2",
        "INSERT INTO members (user_name, group_id) VALUES ('eddy', 3)",
        "UPDATE notes SET text='changed' WHERE notes.id = 1",
    ]
    session.rollback()
    assert (ed.name, [n.user_name for n in ed.notes]) == ("edward", ["edward", "edward"])


def test_056_without_a_cascade_the_database_refuses(bench: Any) -> None:
    p = people(bench, cascades=False)
    session = bench.saved(p.User(name="ed", notes=[p.Note(text="a")]))
    ed = session.get(p.User, "ed")
    ed.name = "edward"
    bench.told()
    assert bench.outcome(session.flush) == ["IntegrityError: FOREIGN KEY constraint failed"]
    assert bench.told() == ["SELECT groups", "SELECT notes", "UPDATE users SET name='edward' WHERE users.name = 'ed'"]
    session.rollback()
    assert (ed.name, sa.inspect(ed).identity) == ("ed", ("ed",))


def test_056_key_in_the_childs_key(bench: Any) -> None:
    orm = bench.orm

    class Order(bench.Base):
        __tablename__ = "orders"
        number = orm.mapped_column(String, primary_key=True)
        lines = orm.relationship("Line", order_by="Line.place", passive_updates=False, back_populates="order")

    class Line(bench.Base):
        __tablename__ = "lines"
        number = orm.mapped_column(ForeignKey("orders.number"), primary_key=True)
        place = orm.mapped_column(Integer, primary_key=True)
        what = orm.mapped_column(String)
        order = orm.relationship("Order", back_populates="lines")

    bench.create()
    session = bench.saved(Order(number="a", lines=[Line(place=1, what="x"), Line(place=2, what="y")]))
    order = session.get(Order, "a")
    first = order.lines[0]
    order.number = "b"
    bench.told()
    session.flush()
    assert bench.told() == [
        "UPDATE orders SET number='b' WHERE orders.number = 'a'",
        "UPDATE lines SET number='b' WHERE lines.number = 'a' AND lines.place = 1",
        "UPDATE lines SET number='b' WHERE lines.number = 'a' AND lines.place = 2",
    ]
    assert (sa.inspect(first).identity, session.get(Line, ("b", 1)) is first) == (("b", 1), True)
    session.commit()
    assert bench.rows("lines", "place") == [("b", 1, "x"), ("b", 2, "y")]


def test_056_key_in_the_childs_key_passed_on_by_the_database(bench: Any) -> None:
    orm = bench.orm

    class Order(bench.Base):
        __tablename__ = "orders"
        number = orm.mapped_column(String, primary_key=True)
        lines = orm.relationship("Line", order_by="Line.place", back_populates="order")

    class Line(bench.Base):
        __tablename__ = "lines"
        number = orm.mapped_column(ForeignKey("orders.number", onupdate="CASCADE"), primary_key=True)
        place = orm.mapped_column(Integer, primary_key=True)
        what = orm.mapped_column(String)
        order = orm.relationship("Order", back_populates="lines")

    bench.create(enforce_keys=True)
    session = bench.saved(Order(number="a", lines=[Line(place=1, what="x"), Line(place=2, what="y")]))
    order = session.get(Order, "a")
    first, second = order.lines
    order.number, second.what = "b", "z"
    bench.told()
    session.flush()
    assert bench.told() == [
        "UPDATE orders SET number='b' WHERE orders.number = 'a'",
        "UPDATE lines SET what='z' WHERE lines.number = 'b' AND lines.place = 2",
    ]
    assert [sa.inspect(line).identity for line in (first, second)] == [("b", 1), ("b", 2)]
    session.commit()
    assert bench.rows("lines", "place") == [("b", 1, "x"), ("b", 2, "z")]


def rename_engineer(bench: Any, *, cascades: bool) -> list[Any]:
    """What is seen when the key of a joined-inheritance object changes, twice."""
    orm, on_update = bench.orm, "CASCADE" if cascades else None

    class Person(bench.Base):
        __tablename__ = "persons"
        name = orm.mapped_column(String, primary_key=True)
        kind = orm.mapped_column(String)
        __mapper_args__ = {
            "polymorphic_on": "kind",
            "polymorphic_identity": "person",
            "passive_updates": cascades,
        }

    class Engineer(Person):
        __tablename__ = "engineers"
        name = orm.mapped_column(ForeignKey("persons.name", onupdate=on_update), primary_key=True)
        language = orm.mapped_column(String)
        __mapper_args__ = {"polymorphic_identity": "engineer"}

    class Report(bench.Base):
        __tablename__ = "reports"
        id = orm.mapped_column(Integer, primary_key=True)
        author_name = orm.mapped_column(ForeignKey("engineers.name", onupdate=on_update))
        author = orm.relationship("Engineer", passive_updates=cascades)

    bench.create(enforce_keys=cascades)
    session = bench.saved(Report(author=Engineer(name="ann", language="c")))
    ann, report = session.get(Engineer, "ann"), session.get(Report, 1)
    assert report.author is ann
    bench.told()
    ann.name = "anna"
    session.flush()
    seen = [bench.told(), report.author_name, sa.inspect(ann).identity]
    ann.name, ann.language = "annie", "rust"
    session.flush()
    seen += [bench.told()]
    session.commit()
    assert (ann.language, report.author is ann) == ("rust", True)
    return [*seen, bench.rows("persons"), bench.rows("engineers"), bench.rows("reports")]


def test_056_key_of_joined_inheritance_passed_on_by_the_database(bench: Any) -> None:
    assert rename_engineer(bench, cascades=True) == [
        ["UPDATE persons SET name='anna' WHERE persons.name = 'ann'"],
        "anna",
        ("anna",),
        [
            "UPDATE persons SET name='annie' WHERE persons.name = 'anna'",
            "UPDATE engineers SET language='rust' WHERE engineers.name = 'annie'",
        ],
        [("annie", "engineer")],
        [("annie", "rust")],
        [(1, "annie")],
    ]


def test_056_key_of_joined_inheritance(bench: Any) -> None:
    assert rename_engineer(bench, cascades=False) == [
        [
            "UPDATE persons SET name='anna' WHERE persons.name = 'ann'",
            "UPDATE engineers SET name='anna' WHERE engineers.name = 'ann'",
            "UPDATE reports SET author_name='anna' WHERE reports.id = 1",
        ],
        "anna",
        ("anna",),
        [
            "UPDATE persons SET name='annie' WHERE persons.name = 'anna'",
            "UPDATE engineers SET name='annie', language='rust' WHERE engineers.name = 'anna'",
            "UPDATE reports SET author_name='annie' WHERE reports.id = 1",
        ],
        [("annie", "engineer")],
        [("annie", "rust")],
        [(1, "annie")],
    ]


def rename_target(bench: Any, *, cascades: bool) -> list[Any]:
    """What is seen when the target of many-to-ones without other side gets another key."""
    p = people(bench, cascades=cascades, backref=False, enforce_keys=cascades)
    ed = p.User(name="ed")
    session = bench.saved(*(p.Note(id=n, user=ed) for n in (1, 2)), p.Note(id=3, user=p.User(name="jack")))
    loaded, unloaded, other = (session.get(p.Note, n) for n in (1, 2, 3))
    assert (loaded.user is ed, other.user.name) == (True, "jack")
    ed.name = "edward"
    bench.told()
    session.flush()
    seen = [bench.told(), [note.user_name for note in (loaded, unloaded, other)], bench.told()]
    assert (loaded.user is ed, unloaded in session.dirty) == (True, False)
    session.commit()
    return [*seen, bench.rows("notes")]


def test_057_many_to_one_without_other_side_passed_on_by_the_database(bench: Any) -> None:
    assert rename_target(bench, cascades=True) == [
        ["UPDATE users SET name='edward' WHERE users.name = 'ed'"],
        ["edward", "ed", "jack"],
        [],
        [(1, "edward", None), (2, "edward", None), (3, "jack", None)],
    ]


def test_057_many_to_one_without_other_side(bench: Any) -> None:
    assert rename_target(bench, cascades=False) == [
        [
            "SELECT groups",
            "UPDATE users SET name='edward' WHERE users.name = 'ed'",
            "UPDATE notes SET user_name='edward' WHERE notes.id = 1",
            "UPDATE notes SET user_name='edward' WHERE notes.id = 2",
        ],
        ["edward", "edward", "jack"],
        [],
        [(1, "edward", None), (2, "edward", None), (3, "jack", None)],
    ]


def test_057_many_to_one_by_a_column_that_is_not_the_key(bench: Any) -> None:
    orm = bench.orm

    class Country(bench.Base):
        __tablename__ = "countries"
        id = orm.mapped_column(Integer, primary_key=True)
        kind = orm.mapped_column(String)
        code = orm.mapped_column(String, unique=True)
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "mainland"}

    class Island(Country):
        __tablename__ = "islands"
        id = orm.mapped_column(ForeignKey("countries.id"), primary_key=True)
        __mapper_args__ = {"polymorphic_identity": "island"}

    class City(bench.Base):
        __tablename__ = "cities"
        id = orm.mapped_column(Integer, primary_key=True)
        code = orm.mapped_column(ForeignKey("countries.code"))
        twin_id = orm.mapped_column(ForeignKey("cities.id"))
        country = orm.relationship(Country, passive_updates=False)
        twin = orm.relationship("City", remote_side=[id], passive_updates=False)

    bench.create()
    island = Island(id=1, code="ie")
    loaded, unloaded, other = cities = [City(id=1, country=island), City(id=2, country=island), City(id=3)]
    other.twin = City(id=4)
    session = bench.saved(*cities)
    assert [loaded.country.code, unloaded.id, other.id] == ["ie", 2, 3]
    island.code = "irl"
    bench.told()
    session.flush()
    told = bench.told()
    # the country that is not known is looked up, and no twin, as no city has another key
    assert "SELECT cities" not in told
    assert [text for text in told if text.startswith("UPDATE")] == [
        "UPDATE countries SET code='irl' WHERE countries.id = 1",
        "UPDATE cities SET code='irl' WHERE cities.id = 1",
        "UPDATE cities SET code='irl' WHERE cities.id = 2",
    ]
    assert [city.code for city in cities] == ["irl", "irl", None]
    assert bench.told() == []
