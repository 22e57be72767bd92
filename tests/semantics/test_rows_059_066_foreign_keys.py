"""Rows 59–66: rows that need each other, foreign keys of deleted rows, keys that must not be blanked out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ForeignKey, Integer, String


def departments(bench: Any, **relationship_args: Any) -> SimpleNamespace:
    """Departments have employees and one of them as head, by a second UPDATE."""
    orm = bench.orm

    class Department(bench.Base):
        __tablename__ = "departments"
        id = orm.mapped_column(Integer, primary_key=True)
        head_id = orm.mapped_column(ForeignKey("employees.id"))
        employees = orm.relationship(
            "Employee",
            primaryjoin="Department.id == Employee.department_id",
            order_by="Employee.id",
            back_populates="department",
        )
        head = orm.relationship(
            "Employee", primaryjoin="Department.head_id == Employee.id", post_update=True, **relationship_args
        )

    class Employee(bench.Base):
        __tablename__ = "employees"
        id = orm.mapped_column(Integer, primary_key=True)
        department_id = orm.mapped_column(ForeignKey("departments.id"))
        name = orm.mapped_column(String)
        department = orm.relationship(
            "Department", primaryjoin="Department.id == Employee.department_id", back_populates="employees"
        )

    bench.create(enforce_keys=True)
    return SimpleNamespace(Department=Department, Employee=Employee)


def trees(bench: Any, *, post_update: bool) -> Any:
    """Nodes that refer to another node, or to themselves."""
    orm = bench.orm

    class Node(bench.Base):
        __tablename__ = "nodes"
        id = orm.mapped_column(Integer, primary_key=True)
        twin_id = orm.mapped_column(ForeignKey("nodes.id"))
        twin = orm.relationship("Node", remote_side=[id], post_update=post_update, uselist=False)

    bench.create(enforce_keys=True)
    return Node


def parents(bench: Any, *, enforce_keys: bool = False, on_delete: str | None = None, **relationship_args: Any) -> Any:
    """Parents with children."""
    orm = bench.orm

    class Parent(bench.Base):
        __tablename__ = "parents"
        id = orm.mapped_column(Integer, primary_key=True)
        children = orm.relationship("Child", order_by="Child.id", **relationship_args)

    class Child(bench.Base):
        __tablename__ = "children"
        id = orm.mapped_column(Integer, primary_key=True)
        parent_id = orm.mapped_column(ForeignKey("parents.id", ondelete=on_delete))

    bench.create(enforce_keys=enforce_keys)
    return SimpleNamespace(Parent=Parent, Child=Child)


def test_059_two_rows_that_need_each_other(bench: Any) -> None:
    Node = trees(bench, post_update=False)
    one, two = Node(), Node()
    one.twin, two.twin = two, one
    session = bench.session()
    session.add_all([one, two])
    (problem,) = bench.outcome(session.flush)
    assert problem.startswith("CircularDependencyError: Circular dependency detected.")
    assert bench.told() == []
    session.rollback()
    assert bench.states(one, two) == ["transient", "transient"]


def test_060_rows_that_need_each_other_with_post_update(bench: Any) -> None:
    Node = trees(bench, post_update=True)
    one, two, itself = Node(), Node(), Node()
    one.twin, two.twin, itself.twin = two, one, itself
    session = bench.session()
    session.add_all([one, two, itself])
    session.flush()
    assert bench.told() == [
        "INSERT INTO nodes (twin_id) VALUES (NULL)",
        "INSERT INTO nodes (twin_id) VALUES (NULL)",
        "INSERT INTO nodes (twin_id) VALUES (NULL)",
        "UPDATE nodes SET twin_id=2 WHERE nodes.id = 1",
        "UPDATE nodes SET twin_id=1 WHERE nodes.id = 2",
        "UPDATE nodes SET twin_id=3 WHERE nodes.id = 3",
    ]
    session.commit()
    assert bench.rows("nodes") == [(1, 2), (2, 1), (3, 3)]
    assert [node.twin for node in (one, two, itself)] == [two, one, itself]
    for node in (one, two, itself):
        session.delete(node)
    bench.told()
    session.flush()
    assert bench.told() == [
        "UPDATE nodes SET twin_id=NULL WHERE nodes.id = 1",
        "UPDATE nodes SET twin_id=NULL WHERE nodes.id = 2",
        "UPDATE nodes SET twin_id=NULL WHERE nodes.id = 3",
        "DELETE FROM nodes WHERE nodes.id = 1",
        "DELETE FROM nodes WHERE nodes.id = 2",
        "DELETE FROM nodes WHERE nodes.id = 3",
    ]
    session.commit()
    assert bench.rows("nodes") == []


def test_060_post_update_many_to_one(bench: Any) -> None:
    d = departments(bench)
    ann, bob = d.Employee(name="ann"), d.Employee(name="bob")
    department = d.Department(employees=[ann, bob], head=ann)
    session = bench.session()
    session.add(department)
    session.flush()
    assert bench.told() == [
        "INSERT INTO departments (head_id) VALUES (NULL)",
        "INSERT INTO employees (department_id, name) VALUES (1, 'ann')",
        "INSERT INTO employees (department_id, name) VALUES (1, 'bob')",
        "UPDATE departments SET head_id=1 WHERE departments.id = 1",
    ]
    department.head = bob
    session.flush()
    assert bench.told() == ["UPDATE departments SET head_id=2 WHERE departments.id = 1"]
    department.head = None
    bob.name = "bobby"
    session.flush()
    assert bench.told() == [
        "UPDATE employees SET name='bobby' WHERE employees.id = 2",
        "UPDATE departments SET head_id=NULL WHERE departments.id = 1",
    ]
    department.head = bob
    session.commit()
    bench.told()
    session.delete(department)
    session.delete(bob)
    session.flush()
    assert bench.told(selects=False) == [
        "UPDATE employees SET department_id=NULL WHERE employees.id = 1",
        "UPDATE departments SET head_id=NULL WHERE departments.id = 1",
        "DELETE FROM employees WHERE employees.id = 2",
        "DELETE FROM departments WHERE departments.id = 1",
    ]
    session.commit()
    assert (bench.rows("departments"), bench.rows("employees")) == ([], [(1, None, "ann")])


def test_060_post_update_with_a_delete_cascade(bench: Any) -> None:
    d = departments(bench, cascade="all")
    ann, bob = d.Employee(name="ann"), d.Employee(name="bob")
    department = d.Department(employees=[ann, bob], head=ann)
    session = bench.saved(department)
    assert department.head is ann
    department.head = bob
    bench.told()
    session.flush()
    assert (bench.told(), bench.states(ann)) == (
        ["SELECT employees", "UPDATE departments SET head_id=2 WHERE departments.id = 1"],
        ["persistent"],
    )
    session.delete(department)
    session.flush()
    assert bench.told() == [
        "SELECT employees",
        "UPDATE employees SET department_id=NULL WHERE employees.id = 1",
        "UPDATE departments SET head_id=NULL WHERE departments.id = 1",
        "DELETE FROM employees WHERE employees.id = 2",
        "DELETE FROM departments WHERE departments.id = 1",
    ]
    session.commit()
    assert (bench.rows("departments"), bench.rows("employees"), bench.states(ann, bob)) == (
        [],
        [(1, None, "ann")],
        ["persistent", "detached"],
    )


def test_060_post_update_one_to_many(bench: Any) -> None:
    orm = bench.orm

    class Parent(bench.Base):
        __tablename__ = "parents"
        id = orm.mapped_column(Integer, primary_key=True)
        favorite_id = orm.mapped_column(ForeignKey("children.id"))
        children = orm.relationship(
            "Child", primaryjoin="Parent.id == Child.parent_id", order_by="Child.id", post_update=True
        )
        favorite = orm.relationship("Child", primaryjoin="Parent.favorite_id == Child.id")

    class Child(bench.Base):
        __tablename__ = "children"
        id = orm.mapped_column(Integer, primary_key=True)
        parent_id = orm.mapped_column(ForeignKey("parents.id"))
        version = orm.mapped_column(Integer, nullable=False)
        __mapper_args__ = {"version_id_col": version}

    bench.create(enforce_keys=True)
    first, second = Child(), Child()
    parent = Parent(children=[first, second], favorite=second)
    session = bench.session()
    session.add(parent)
    session.flush()
    assert bench.told() == [
        "INSERT INTO children (parent_id, version) VALUES (NULL, 1)",
        "INSERT INTO children (parent_id, version) VALUES (NULL, 1)",
        "INSERT INTO parents (favorite_id) VALUES (2)",
        "UPDATE children SET parent_id=1 WHERE children.id = 1 AND children.version = 1",
        "UPDATE children SET parent_id=1 WHERE children.id = 2 AND children.version = 1",
    ]
    parent.children.remove(first)
    session.flush()
    # nothing is sent, though the attribute is cleared: the row keeps its foreign key
    assert (bench.told(), first.parent_id, first.version) == ([], None, 1)
    session.commit()
    assert (bench.rows("children"), first.parent_id) == ([(1, 1, 1), (2, 1, 1)], 1)
    bench.told()
    session.delete(parent)
    session.flush()
    assert bench.told() == [
        "SELECT parents",
        "SELECT children",
        "UPDATE children SET parent_id=NULL, version=2 WHERE children.id = 1 AND children.version = 1",
        "UPDATE children SET parent_id=NULL, version=2 WHERE children.id = 2 AND children.version = 1",
        "DELETE FROM parents WHERE parents.id = 1",
    ]
    session.commit()
    assert (bench.rows("parents"), bench.rows("children")) == ([], [(1, None, 2), (2, None, 2)])


def test_063_passive_deletes_touches_loaded_children_only(bench: Any) -> None:
    p = parents(bench, passive_deletes=True, on_delete="SET NULL", enforce_keys=True)
    session = bench.saved(p.Parent(id=1, children=[p.Child(id=1), p.Child(id=2)]), p.Parent(id=2, children=[p.Child()]))
    loaded, unloaded = session.get(p.Parent, 1), session.get(p.Parent, 2)
    child = loaded.children[0]
    bench.told()
    session.delete(loaded)
    session.delete(unloaded)
    session.flush()
    assert bench.told() == [
        "UPDATE children SET parent_id=NULL WHERE children.id = 1",
        "UPDATE children SET parent_id=NULL WHERE children.id = 2",
        "DELETE FROM parents WHERE parents.id = 1",
        "DELETE FROM parents WHERE parents.id = 2",
    ]
    assert (bench.states(child), child.parent_id) == (["persistent"], None)
    session.commit()
    assert bench.rows("children") == [(1, None), (2, None), (3, None)]


def test_063_passive_deletes_with_a_delete_cascade(bench: Any) -> None:
    p = parents(bench, passive_deletes=True, cascade="all, delete", on_delete="CASCADE", enforce_keys=True)
    session = bench.saved(p.Parent(id=1, children=[p.Child(id=1), p.Child(id=2)]), p.Parent(id=2, children=[p.Child()]))
    loaded, unloaded = session.get(p.Parent, 1), session.get(p.Parent, 2)
    children = list(loaded.children)
    other = session.get(p.Child, 3)
    bench.told()
    session.delete(loaded)
    session.delete(unloaded)
    session.flush()
    assert bench.told() == [
        "DELETE FROM children WHERE children.id = 1",
        "DELETE FROM children WHERE children.id = 2",
        "DELETE FROM parents WHERE parents.id = 1",
        "DELETE FROM parents WHERE parents.id = 2",
    ]
    assert (bench.states(*children), bench.states(other)) == (["deleted", "deleted"], ["persistent"])
    session.commit()
    assert (bench.rows("children"), bench.states(other)) == ([], ["persistent"])


def test_063_passive_deletes_all_touches_none(bench: Any) -> None:
    p = parents(bench, passive_deletes="all")
    session = bench.saved(p.Parent(id=1, children=[p.Child(id=1), p.Child(id=2)]))
    parent = session.get(p.Parent, 1)
    first, second = parent.children
    parent.children.remove(second)
    bench.told()
    session.flush()
    assert (bench.told(), second.parent_id) == ([], 1)
    session.delete(parent)
    session.flush()
    assert bench.told() == ["DELETE FROM parents WHERE parents.id = 1"]
    assert (bench.states(first, second), first.parent_id) == (["persistent", "persistent"], 1)
    session.commit()
    assert bench.rows("children") == [(1, 1), (2, 1)]


def test_064_key_in_the_childs_key(bench: Any) -> None:
    orm = bench.orm

    class Order(bench.Base):
        __tablename__ = "orders"
        id = orm.mapped_column(Integer, primary_key=True)
        lines = orm.relationship("Line", order_by="Line.place")

    class Line(bench.Base):
        __tablename__ = "lines"
        order_id = orm.mapped_column(ForeignKey("orders.id"), primary_key=True)
        place = orm.mapped_column(Integer, primary_key=True)

    bench.create()
    order = Order(id=1, lines=[Line(place=1), Line(place=2)])
    session = bench.saved(order)
    order.lines.pop()
    assert bench.outcome(session.flush) == [
        (
            "AssertionError: Dependency rule on column 'orders.id' tried to blank-out primary key column "
            "'lines.order_id' on instance '<Line at 0x>'"
        )
    ]
    session.rollback()
    assert len(order.lines) == 2
    session.delete(order)
    assert bench.outcome(session.flush) == [
        (
            "AssertionError: Dependency rule on column 'orders.id' tried to blank-out primary key column "
            "'lines.order_id' on instance '<Line at 0x>'"
        )
    ]
    session.rollback()
    session.delete(order.lines[1])
    line = order.lines.pop()
    bench.told()
    session.flush()
    assert (bench.told(), bench.states(line)) == (
        ["DELETE FROM lines WHERE lines.order_id = 1 AND lines.place = 2"],
        ["deleted"],
    )
    order.lines.append(Line(place=3))
    moved = order.lines.pop(0)
    session.add(Order(id=2, lines=[moved]))
    session.flush()
    assert bench.told() == [
        "INSERT INTO orders (id) VALUES (2)",
        "UPDATE lines SET order_id=2 WHERE lines.order_id = 1 AND lines.place = 1",
        "INSERT INTO lines (order_id, place) VALUES (1, 3)",
    ]
    session.commit()
    assert bench.rows("lines", "1, 2") == [(1, 3), (2, 1)]


def test_066_target_of_a_many_to_one_deleted(bench: Any) -> None:
    orm = bench.orm

    class Kind(bench.Base):
        __tablename__ = "kinds"
        id = orm.mapped_column(Integer, primary_key=True)

    class Animal(bench.Base):
        __tablename__ = "animals"
        id = orm.mapped_column(Integer, primary_key=True)
        kind_id = orm.mapped_column(ForeignKey("kinds.id"))
        kind = orm.relationship("Kind")

    bench.create(enforce_keys=True)
    rex, tom = Animal(id=1, kind=Kind(id=1)), Animal(id=2, kind=Kind(id=2))
    session = bench.saved(rex, tom)
    session.delete(rex.kind)
    bench.told()
    assert bench.outcome(session.flush) == ["IntegrityError: FOREIGN KEY constraint failed"]
    assert bench.told() == ["DELETE FROM kinds WHERE kinds.id = 1"]
    session.rollback()
    session.delete(rex.kind)
    session.delete(rex)
    session.delete(tom.kind)
    tom.kind = None
    bench.told()
    session.flush()
    assert bench.told() == [
        "UPDATE animals SET kind_id=NULL WHERE animals.id = 2",
        "DELETE FROM kinds WHERE kinds.id = 2",
    ]
    session.commit()
    assert (bench.rows("kinds"), bench.rows("animals")) == ([], [(2, None)])
    assert (sa.inspect(rex).was_deleted, tom.kind) == (True, None)
