"""Rows 97–98: which tables of a hierarchy are written, in which order, and discriminators that say something else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ForeignKey, Integer, String


def staff(bench: Any) -> SimpleNamespace:
    """Two levels of joined inheritance, and a class in the table of its parent."""
    orm = bench.orm

    class Person(bench.Base):
        __tablename__ = "persons"
        id = orm.mapped_column(Integer, primary_key=True)
        kind = orm.mapped_column(String)
        name = orm.mapped_column(String)
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}

    class Engineer(Person):
        __tablename__ = "engineers"
        id = orm.mapped_column(ForeignKey("persons.id"), primary_key=True)
        language = orm.mapped_column(String)
        __mapper_args__ = {"polymorphic_identity": "engineer"}

    class Lead(Engineer):
        __tablename__ = "leads"
        id = orm.mapped_column(ForeignKey("engineers.id"), primary_key=True)
        team = orm.mapped_column(String)
        __mapper_args__ = {"polymorphic_identity": "lead"}

    class Guest(Person):
        visits = orm.mapped_column(Integer)
        __mapper_args__ = {"polymorphic_identity": "guest"}

    bench.create(enforce_keys=True)
    return SimpleNamespace(Person=Person, Engineer=Engineer, Lead=Lead, Guest=Guest)


def test_097_base_row_first_and_last(bench: Any) -> None:
    s = staff(bench)
    session = bench.session()
    lead = s.Lead(name="l", language="c", team="t")
    session.add(lead)
    session.flush()
    assert bench.told() == [
        "INSERT INTO persons (kind, name) VALUES ('lead', 'l')",
        "INSERT INTO engineers (id, language) VALUES (1, 'c')",
        "INSERT INTO leads (id, team) VALUES (1, 't')",
    ]
    session.delete(lead)
    session.flush()
    assert bench.told() == [
        "DELETE FROM leads WHERE leads.id = 1",
        "DELETE FROM engineers WHERE engineers.id = 1",
        "DELETE FROM persons WHERE persons.id = 1",
    ]


def test_097_classes_in_the_order_of_add(bench: Any) -> None:
    s = staff(bench)
    session = bench.session()
    people = [
        s.Lead(name="l1", language="c", team="t"),
        s.Person(name="p1"),
        s.Engineer(name="e1", language="c"),
        s.Guest(name="g1", visits=1),
        s.Lead(name="l2", language="c", team="t"),
        s.Engineer(name="e2"),
        s.Guest(name="g2"),
    ]
    session.add_all(people)
    session.flush()
    assert [p.id for p in people] == [1, 2, 3, 4, 5, 6, 7]
    assert bench.told() == [
        "INSERT INTO persons (kind, name) VALUES ('lead', 'l1')",
        "INSERT INTO persons (kind, name) VALUES ('person', 'p1')",
        "INSERT INTO persons (kind, name) VALUES ('engineer', 'e1')",
        "INSERT INTO persons (kind, name, visits) VALUES ('guest', 'g1', 1)",
        "INSERT INTO persons (kind, name) VALUES ('lead', 'l2')",
        "INSERT INTO persons (kind, name) VALUES ('engineer', 'e2')",
        "INSERT INTO persons (kind, name, visits) VALUES ('guest', 'g2', NULL)",
        "INSERT INTO engineers (id, language) VALUES (1, 'c')",
        "INSERT INTO engineers (id, language) VALUES (3, 'c')",
        "INSERT INTO engineers (id, language) VALUES (5, 'c')",
        "INSERT INTO engineers (id, language) VALUES (6, NULL)",
        "INSERT INTO leads (id, team) VALUES (1, 't')",
        "INSERT INTO leads (id, team) VALUES (5, 't')",
    ]
    for person in people:
        person.name += "!"
    people[0].team = people[2].language = "x"
    people[3].visits = 2
    session.flush()
    assert bench.told() == [
        "UPDATE persons SET name='l1!' WHERE persons.id = 1",
        "UPDATE persons SET name='p1!' WHERE persons.id = 2",
        "UPDATE persons SET name='e1!' WHERE persons.id = 3",
        "UPDATE persons SET name='g1!', visits=2 WHERE persons.id = 4",
        "UPDATE persons SET name='l2!' WHERE persons.id = 5",
        "UPDATE persons SET name='e2!' WHERE persons.id = 6",
        "UPDATE persons SET name='g2!' WHERE persons.id = 7",
        "UPDATE engineers SET language='x' WHERE engineers.id = 3",
        "UPDATE leads SET team='x' WHERE leads.id = 1",
    ]
    for person in people:
        session.delete(person)
    session.flush()
    assert bench.told() == [
        "DELETE FROM leads WHERE leads.id = 1",
        "DELETE FROM leads WHERE leads.id = 5",
        "DELETE FROM engineers WHERE engineers.id = 1",
        "DELETE FROM engineers WHERE engineers.id = 3",
        "DELETE FROM engineers WHERE engineers.id = 5",
        "DELETE FROM engineers WHERE engineers.id = 6",
        "DELETE FROM persons WHERE persons.id = 1",
        "DELETE FROM persons WHERE persons.id = 2",
        "DELETE FROM persons WHERE persons.id = 3",
        "DELETE FROM persons WHERE persons.id = 4",
        "DELETE FROM persons WHERE persons.id = 5",
        "DELETE FROM persons WHERE persons.id = 6",
        "DELETE FROM persons WHERE persons.id = 7",
    ]


def test_097_only_touched_tables_are_updated(bench: Any) -> None:
    s = staff(bench)
    lead = s.Lead(name="l", language="c", team="t")
    session = bench.saved(lead)
    assert (lead.name, bench.told()) == ("l", ["SELECT persons"])
    lead.team = "u"
    session.flush()
    assert bench.told() == ["UPDATE leads SET team='u' WHERE leads.id = 1"]
    lead.language, lead.name = "d", "m"
    session.flush()
    assert bench.told() == [
        "UPDATE persons SET name='m' WHERE persons.id = 1",
        "UPDATE engineers SET language='d' WHERE engineers.id = 1",
    ]
    lead.name = "m"
    session.flush()
    assert bench.told() == []


def test_097_missing_row_of_one_table(bench: Any) -> None:
    s = staff(bench)
    lead = s.Lead(name="l", language="c", team="t")
    session = bench.saved(lead)
    assert lead.name == "l"
    bench.meanwhile(session, "DELETE FROM leads")
    lead.name, lead.team = "m", "u"
    assert bench.outcome(session.flush) == [
        "StaleDataError: UPDATE statement on table 'leads' expected to update 1 row(s); 0 were matched."
    ]
    assert bench.told() == [
        "UPDATE persons SET name='m' WHERE persons.id = 1",
        "UPDATE leads SET team='u' WHERE leads.id = 1",
    ]
    session.rollback()
    bench.meanwhile(session, "DELETE FROM leads")
    session.delete(lead)
    assert bench.outcome(session.flush) == [
        ("ObjectDeletedError: Instance '<Lead at 0x>' has been deleted, or its row is otherwise not present.")
    ]


def test_097_discriminator_set_to_another_class(bench: Any) -> None:
    s = staff(bench)
    session = bench.session()
    people = [
        s.Engineer(name="a", kind="lead"),
        s.Person(name="b", kind="guest"),
        s.Guest(name="c", kind="person"),
        s.Person(name="d", kind="nobody"),
        s.Person(name="e", kind=None),
    ]
    said = []
    for person in people:
        session.add(person)
        said.append(bench.outcome(session.flush))
    assert said == [
        [
            (
                "SAWarning: Flushing object <Engineer at 0x> with incompatible polymorphic identity 'lead'; the "
                "object may not refresh and/or load correctly (this warning may be suppressed after 10 "
                "occurrences)"
            )
        ],
        [],
        [
            (
                "SAWarning: Flushing object <Guest at 0x> with incompatible polymorphic identity 'person'; the "
                "object may not refresh and/or load correctly (this warning may be suppressed after 10 "
                "occurrences)"
            )
        ],
        [
            (
                "SAWarning: Flushing object <Person at 0x> with incompatible polymorphic identity 'nobody'; the "
                "object may not refresh and/or load correctly (this warning may be suppressed after 10 "
                "occurrences)"
            )
        ],
        [
            (
                "SAWarning: Flushing object <Person at 0x> with incompatible polymorphic identity None; the "
                "object may not refresh and/or load correctly (this warning may be suppressed after 10 "
                "occurrences)"
            )
        ],
    ]
    session.commit()
    assert bench.rows("persons") == [
        (1, "lead", "a", None),
        (2, "guest", "b", None),
        (3, "person", "c", None),
        (4, "nobody", "d", None),
        (5, None, "e", None),
    ]


def test_097_discriminator_changed_later(bench: Any) -> None:
    s = staff(bench)
    engineer = s.Engineer(name="a")
    session = bench.saved(engineer)
    assert engineer.kind == "engineer"
    engineer.kind = "person"
    bench.told()
    assert bench.outcome(session.flush) == [
        (
            "SAWarning: Flushing object <Engineer at 0x> with incompatible polymorphic identity 'person'; "
            "the object may not refresh and/or load correctly (this warning may be suppressed after 10 "
            "occurrences)"
        )
    ]
    assert bench.told() == ["UPDATE persons SET kind='person' WHERE persons.id = 1"]
    session.commit()
    session.expunge_all()
    assert bench.outcome(session.get, s.Engineer, 1) == [
        (
            "InvalidRequestError: Row with identity key (<class "
            "'test_rows_097_098_inheritance.staff.<locals>.Person'>, (1,), None) can't be loaded into an "
            "object; the polymorphic discriminator column 'persons.kind' refers to Mapper[Person(persons)], "
            "which is not a sub-mapper of the requested Mapper[Engineer(engineers)]"
        )
    ]
    person = session.get(s.Person, 1)
    assert type(person) is s.Person
    assert session.get(s.Engineer, 1) is None


def test_097_rows_that_say_nothing_or_something_else(bench: Any) -> None:
    s = staff(bench)
    session = bench.saved(s.Person(id=1, name="a"), s.Engineer(id=2, name="b"), s.Lead(id=3, name="c"))
    session.expunge_all()
    bench.meanwhile(session, "UPDATE persons SET kind = NULL WHERE id = 1")
    bench.meanwhile(session, "UPDATE persons SET kind = 'alien' WHERE id = 2")
    bench.meanwhile(session, "UPDATE persons SET kind = 'guest' WHERE id = 3")

    def load(*entities: Any) -> list[Any]:
        return session.execute(sa.select(*entities).order_by(entities[0].id)).all()

    assert bench.outcome(session.get, s.Person, 1) == [
        (
            "InvalidRequestError: Row with identity key (<class "
            "'test_rows_097_098_inheritance.staff.<locals>.Person'>, (1,), None) can't be loaded into an "
            "object; the polymorphic discriminator column 'persons.kind' is NULL"
        )
    ]
    assert bench.outcome(session.get, s.Person, 2) == [
        "AssertionError: No such polymorphic_identity 'alien' is defined"
    ]
    assert bench.outcome(load, s.Engineer) == ["AssertionError: No such polymorphic_identity 'alien' is defined"]
    assert bench.outcome(session.get, s.Lead, 3) == [
        (
            "InvalidRequestError: Row with identity key (<class "
            "'test_rows_097_098_inheritance.staff.<locals>.Person'>, (3,), None) can't be loaded into an "
            "object; the polymorphic discriminator column 'persons.kind' refers to Mapper[Guest(persons)], "
            "which is not a sub-mapper of the requested Mapper[Lead(leads)]"
        )
    ]
    assert bench.outcome(lambda: session.get(s.Person, 3).visits) == []


def test_097_abstract_class(bench: Any) -> None:
    orm = bench.orm

    class Shape(bench.Base):
        __tablename__ = "shapes"
        id = orm.mapped_column(Integer, primary_key=True)
        kind = orm.mapped_column(String)
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_abstract": True}

    class Round(Shape):
        __mapper_args__ = {"polymorphic_abstract": True}

    class Circle(Round):
        __mapper_args__ = {"polymorphic_identity": "circle"}

    bench.create()
    assert bench.outcome(Shape) == [
        (
            "InvalidRequestError: Can't instantiate class for Mapper[Shape(shapes)]; mapper is marked "
            "polymorphic_abstract=True"
        )
    ]
    assert bench.outcome(Round) == [
        (
            "InvalidRequestError: Can't instantiate class for Mapper[Round(shapes)]; mapper is marked "
            "polymorphic_abstract=True"
        )
    ]
    session = bench.session()
    session.add(Circle())
    session.commit()
    assert bench.rows("shapes") == [(1, "circle")]
    assert [type(o) for o in session.scalars(sa.select(Round))] == [Circle]


def test_097_concrete_classes_have_identities_of_their_own(bench: Any) -> None:
    orm = bench.orm

    class Employee(bench.Base):
        __tablename__ = "employees"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String)

    class Manager(Employee):
        __tablename__ = "managers"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String)
        __mapper_args__ = {"concrete": True}

    bench.create()
    employee, manager = Employee(id=1, name="e"), Manager(id=1, name="m")
    session = bench.session()
    session.add_all([employee, manager])
    assert bench.outcome(session.flush) == []
    assert bench.told() == [
        "INSERT INTO employees (id, name) VALUES (1, 'e')",
        "INSERT INTO managers (id, name) VALUES (1, 'm')",
    ]
    assert (session.get(Employee, 1) is employee, session.get(Manager, 1) is manager) == (True, True)
    assert sa.inspect(manager).identity_key[0] is Manager
    session.delete(manager)
    session.commit()
    assert (bench.rows("employees"), bench.rows("managers")) == ([(1, "e")], [])


def test_097_subclass_without_identity_of_its_own(bench: Any) -> None:
    orm = bench.orm

    class Base(bench.Base):
        __tablename__ = "bases"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String)

    class Sub(Base):
        __tablename__ = "subs"
        id = orm.mapped_column(ForeignKey("bases.id"), primary_key=True)
        data = orm.mapped_column(String)

    bench.create()
    sub = Sub(id=1, name="n", data="d")
    session = bench.saved(sub)
    plain = session.get(Base, 1)
    assert (type(plain), plain is sub, sa.inspect(sub).identity_key[0] is Sub) == (Base, False, True)
    assert session.get(Sub, 1) is sub
    plain.name = "changed"
    sub.data = "other"
    bench.told()
    session.flush()
    assert bench.told() == [
        "UPDATE bases SET name='changed' WHERE bases.id = 1",
        "UPDATE subs SET data='other' WHERE subs.id = 1",
    ]
    session.commit()
    assert (sub.name, plain.name) == ("changed", "changed")


def test_098_classes_without_relationship_by_name(bench: Any) -> None:
    orm = bench.orm
    classes = {}
    for name in ("Zebra", "Ant", "Mole"):
        classes[name] = type(
            name,
            (bench.Base,),
            {
                "__tablename__": f"t_{len(classes)}",
                "__module__": __name__,
                "id": orm.mapped_column(Integer, primary_key=True),
                "n": orm.mapped_column(Integer),
            },
        )
    bench.create()
    objects = [classes[name](n=n) for n in (1, 2) for name in ("Zebra", "Ant", "Mole")]
    session = bench.session()
    session.add_all(objects)
    session.flush()
    assert bench.told() == [
        "INSERT INTO t_1 (n) VALUES (1)",
        "INSERT INTO t_1 (n) VALUES (2)",
        "INSERT INTO t_2 (n) VALUES (1)",
        "INSERT INTO t_2 (n) VALUES (2)",
        "INSERT INTO t_0 (n) VALUES (1)",
        "INSERT INTO t_0 (n) VALUES (2)",
    ]
    for obj in reversed(objects):
        obj.n += 10
    session.delete(objects[0])
    session.delete(objects[1])
    session.flush()
    assert bench.told() == [
        "UPDATE t_1 SET n=12 WHERE t_1.id = 2",
        "UPDATE t_2 SET n=11 WHERE t_2.id = 1",
        "UPDATE t_2 SET n=12 WHERE t_2.id = 2",
        "UPDATE t_0 SET n=12 WHERE t_0.id = 2",
        "DELETE FROM t_1 WHERE t_1.id = 1",
        "DELETE FROM t_0 WHERE t_0.id = 1",
    ]


def test_097_rows_of_several_classes_in_one_statement(bench: Any) -> None:
    """What the statement says of a table decides, and not the class."""
    s = staff(bench)
    session = bench.session(expire_on_commit=False)
    people = [s.Lead(name="l"), s.Person(name="p"), s.Guest(name="g", visits=1), s.Engineer(name="e")]
    session.add_all(people)
    session.commit()
    sent: list[Any] = []

    @sa.event.listens_for(bench.engine, "before_cursor_execute")
    def note(conn: Any, cursor: Any, sql: str, parameters: Any, context: Any, many: bool) -> None:
        if not sql.startswith("SELECT"):
            sent.append((sql.split(" WHERE ")[0], parameters))

    for person in people:
        person.name += "!"
    session.flush()
    assert sent == [("UPDATE persons SET name=?", [("l!", 1), ("p!", 2), ("g!", 3), ("e!", 4)])]
    sent.clear()
    people[0].name = people[1].name = people[2].name = people[3].name = "same"
    people[2].visits = 2
    session.flush()
    assert sent == [
        ("UPDATE persons SET name=?", [("same", 1), ("same", 2)]),
        ("UPDATE persons SET name=?, visits=?", ("same", 2, 3)),
        ("UPDATE persons SET name=?", ("same", 4)),
    ]
    sent.clear()
    for person in people:
        session.delete(person)
    session.commit()
    assert sent == [
        ("DELETE FROM leads", (1,)),
        ("DELETE FROM engineers", [(1,), (4,)]),
        ("DELETE FROM persons", [(1,), (2,), (3,), (4,)]),
    ]
    assert bench.rows("persons") == []
