"""Relationships as configured: direction, join condition, the other side, operators, errors of bad configurations."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, Integer, String, Table, exc, inspect, select


@pytest.fixture
def pair(orm: ModuleType, base: Any) -> Callable[..., tuple[Any, Any]]:
    """Makes a parent and a child class with a foreign key between them, and relationships as given."""

    def make(parent: dict[str, Any] | None = None, child: dict[str, Any] | None = None) -> tuple[Any, Any]:
        class Parent(base):
            __tablename__ = "parent"
            id = orm.mapped_column(Integer, primary_key=True)
            if parent is not None:
                children = orm.relationship("Child", **parent)

        class Child(base):
            __tablename__ = "child"
            id = orm.mapped_column(Integer, primary_key=True)
            parent_id = orm.mapped_column(ForeignKey("parent.id"))
            name = orm.mapped_column(String)
            if child is not None:
                parent_ = orm.relationship("Parent", **child)

        kept.append((Parent, Child))
        return Parent, Child

    kept: list[Any] = []  # classes are only weakly known to their registry
    return make


def test_directions_and_pairs(orm: ModuleType, pair: Any) -> None:
    parent, child = pair({"back_populates": "parent_"}, {"back_populates": "children"})
    orm.configure_mappers()
    one_to_many, many_to_one = parent.children.property, child.parent_.property
    assert one_to_many.direction.name == "ONETOMANY"
    assert many_to_one.direction.name == "MANYTOONE"
    assert one_to_many.uselist
    assert not many_to_one.uselist
    assert str(one_to_many.primaryjoin) == "parent.id = child.parent_id"
    columns = (parent.__table__.c.id, child.__table__.c.parent_id)
    assert [tuple(found) for found in one_to_many.local_remote_pairs] == [columns]
    assert [tuple(found) for found in many_to_one.local_remote_pairs] == [columns[::-1]]
    assert [tuple(found) for found in many_to_one.synchronize_pairs] == [columns]
    assert one_to_many.mapper is inspect(child)
    assert set(one_to_many.cascade) == {"save-update", "merge"}


def test_backref_makes_the_other_side(orm: ModuleType, pair: Any) -> None:
    parent, child = pair({"backref": "parent_", "passive_updates": False})
    orm.configure_mappers()
    other = child.parent_.property
    assert other.direction.name == "MANYTOONE"
    assert other.back_populates == "children"
    assert parent.children.property.back_populates == "parent_"
    assert other.passive_updates is False
    assert other._reverse_property == {parent.children.property}


def test_tree(orm: ModuleType, base: Any) -> None:
    class Node(base):
        __tablename__ = "node"
        id = orm.mapped_column(Integer, primary_key=True)
        parent_id = orm.mapped_column(ForeignKey("node.id"))
        children = orm.relationship("Node", backref=orm.backref("parent", remote_side=[id]))

    orm.configure_mappers()
    assert Node.children.property.direction.name == "ONETOMANY"
    assert Node.parent.property.direction.name == "MANYTOONE"
    assert str(Node.children.any(Node.id == 5)) == (
        "EXISTS (SELECT 1 \nFROM node AS node_1, node \nWHERE node.id = node_1.parent_id AND node_1.id = :id_1)"
    )


def test_several_paths(orm: ModuleType, base: Any) -> None:
    class City(base):
        __tablename__ = "city"
        id = orm.mapped_column(Integer, primary_key=True)

    class Trip(base):
        __tablename__ = "trip"
        id = orm.mapped_column(Integer, primary_key=True)
        start_id = orm.mapped_column(ForeignKey("city.id"))
        end_id = orm.mapped_column(ForeignKey("city.id"))
        start = orm.relationship(City, foreign_keys=start_id)
        end = orm.relationship(City, primaryjoin="Trip.end_id == City.id")
        far = orm.relationship(
            City,
            primaryjoin=lambda: orm.foreign(Trip.start_id) == orm.remote(City.id),
            viewonly=True,
        )

    orm.configure_mappers()
    assert str(Trip.start.property.primaryjoin) == "city.id = trip.start_id"
    assert str(Trip.end.property.primaryjoin) == "trip.end_id = city.id"
    assert Trip.far.property.direction.name == "MANYTOONE"
    assert set(Trip.far.property.cascade) == {"merge"}


def test_many_to_many(orm: ModuleType, base: Any) -> None:
    links = Table("links", base.metadata, Column("a", ForeignKey("a.id")), Column("b", ForeignKey("b.id")))

    class A(base):
        __tablename__ = "a"
        id = orm.mapped_column(Integer, primary_key=True)
        bs = orm.relationship("B", secondary="links", backref="as_")

    class B(base):
        __tablename__ = "b"
        id = orm.mapped_column(Integer, primary_key=True)

    orm.configure_mappers()
    forward, backward = A.bs.property, B.as_.property
    assert forward.direction.name == backward.direction.name == "MANYTOMANY"
    assert str(forward.primaryjoin) == "a.id = links.a"
    assert str(forward.secondaryjoin) == "b.id = links.b"
    assert str(backward.primaryjoin) == "b.id = links.b"
    assert backward.secondary is links


class TestOperators:
    """SQL made by relationship attributes."""

    def test_none_and_exists(self, pair: Any) -> None:
        parent, child = pair({"back_populates": "parent_"}, {"back_populates": "children"})
        assert str(child.parent_ == None) == "child.parent_id IS NULL"  # noqa: E711
        assert str(child.parent_ != None) == "child.parent_id IS NOT NULL"  # noqa: E711
        assert str(parent.children == None) == (  # noqa: E711
            "NOT (EXISTS (SELECT 1 \nFROM child, parent \nWHERE parent.id = child.parent_id))"
        )
        assert str(child.parent_.has(id=3)) == (
            "EXISTS (SELECT 1 \nFROM parent, child \nWHERE parent.id = child.parent_id AND parent.id = :id_1)"
        )

    def test_in_a_select(self, pair: Any) -> None:
        parent, child = pair({})
        statement = select(parent.id).where(parent.children.any(child.name == "x"))
        assert str(statement) == (
            "SELECT parent.id \nFROM parent \nWHERE EXISTS (SELECT 1 \nFROM child \n"
            "WHERE parent.id = child.parent_id AND child.name = :name_1)"
        )

    def test_refusals(self, pair: Any) -> None:
        parent, child = pair({"back_populates": "parent_"}, {"back_populates": "children"})
        with pytest.raises(exc.InvalidRequestError, match=r"'any\(\)' not implemented for scalar attributes"):
            child.parent_.any()
        with pytest.raises(exc.InvalidRequestError, match=r"'has\(\)' not implemented for collections"):
            parent.children.has()
        with pytest.raises(exc.InvalidRequestError, match="Can't compare a collection to an object or collection"):
            parent.children == parent()  # noqa: B015
        with pytest.raises(exc.InvalidRequestError, match="'contains' not implemented for scalar attributes"):
            child.parent_.contains(parent())
        with pytest.raises(exc.ArgumentError, match="Mapped instance expected for relationship comparison to object"):
            child.parent_ == 5  # noqa: B015
        with pytest.raises(NotImplementedError, match=r"in_\(\) not yet supported for relationships"):
            child.parent_.in_([1])

    def test_attribute_errors(self, pair: Any) -> None:
        parent, _ = pair({})
        with pytest.raises(
            AttributeError,
            match=r"Neither 'InstrumentedAttribute' object nor 'Comparator' object associated with Parent.id has",
        ):
            parent.id.nope  # noqa: B018


class TestRefusals:
    """Configurations that cannot work, and what is said about them."""

    def test_no_foreign_keys(self, orm: ModuleType, base: Any) -> None:
        class A(base):
            __tablename__ = "a"
            id = orm.mapped_column(Integer, primary_key=True)
            bs = orm.relationship("B")

        class B(base):
            __tablename__ = "b"
            id = orm.mapped_column(Integer, primary_key=True)

        with pytest.raises(exc.NoForeignKeysError, match="there are no foreign keys linking these tables"):
            orm.configure_mappers()
        with pytest.raises(exc.InvalidRequestError, match="One or more mappers failed to initialize"):
            orm.configure_mappers()

    def test_several_foreign_keys(self, orm: ModuleType, base: Any) -> None:
        class A(base):
            __tablename__ = "a"
            id = orm.mapped_column(Integer, primary_key=True)
            bs = orm.relationship("B")

        class B(base):
            __tablename__ = "b"
            id = orm.mapped_column(Integer, primary_key=True)
            first = orm.mapped_column(ForeignKey("a.id"))
            second = orm.mapped_column(ForeignKey("a.id"))

        with pytest.raises(exc.AmbiguousForeignKeysError, match="there are multiple foreign key paths"):
            orm.configure_mappers()

    def test_same_direction(self, orm: ModuleType, base: Any) -> None:
        class Node(base):
            __tablename__ = "node"
            id = orm.mapped_column(Integer, primary_key=True)
            parent_id = orm.mapped_column(ForeignKey("node.id"))
            children = orm.relationship("Node", back_populates="parent")
            parent = orm.relationship("Node", back_populates="children")

        with pytest.raises(exc.ArgumentError, match="are both of the same direction"):
            orm.configure_mappers()

    @pytest.mark.parametrize(
        ("arguments", "error", "text"),
        [
            ({"back_populates": "name"}, exc.InvalidRequestError, "that is not a relationship"),
            ({"back_populates": "nope"}, exc.InvalidRequestError, "has no property 'nope'"),
            ({"backref": "name"}, exc.ArgumentError, "property of that name exists on mapper"),
            ({"secondaryjoin": "Parent.id == Child.id"}, exc.ArgumentError, "but no secondary argument"),
            ({"primaryjoin": "Parent.id > Child.id"}, exc.ArgumentError, "Could not locate any relevant foreign key"),
            (
                {"primaryjoin": "Parent.id > foreign(Child.id)"},
                exc.ArgumentError,
                "Could not locate any simple equality expressions",
            ),
        ],
    )
    def test_bad_arguments(self, orm: ModuleType, pair: Any, arguments: Any, error: Any, text: str) -> None:
        pair(arguments)
        with pytest.raises(error, match=text):
            orm.configure_mappers()

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ({"back_populates": "a", "backref": "b"}, "mutually exclusive"),
            ({"cascade": "nope"}, "Invalid cascade option"),
            ({"viewonly": True, "sync_backref": True}, "sync_backref and viewonly cannot both be True"),
            ({"cascade_backrefs": True}, "may only be set to False"),
        ],
    )
    def test_bad_arguments_at_once(self, orm: ModuleType, arguments: Any, text: str) -> None:
        with pytest.raises(exc.ArgumentError, match=text):
            orm.relationship("X", **arguments)

    def test_delete_orphan_on_many_to_one(self, orm: ModuleType, pair: Any) -> None:
        pair(None, {"cascade": "all, delete-orphan"})
        with pytest.raises(exc.ArgumentError, match="delete-orphan cascade is normally configured only on") as caught:
            orm.configure_mappers()
        assert caught.value.code == "bbf0"

    def test_target_is_no_class(self, orm: ModuleType, base: Any) -> None:
        class A(base):
            __tablename__ = "a"
            id = orm.mapped_column(Integer, primary_key=True)
            bs = orm.relationship(lambda: 5)

        with pytest.raises(exc.ArgumentError, match="expects a class or a mapper argument"):
            orm.configure_mappers()

    def test_overlapping_writes(self, orm: ModuleType, pair: Any) -> None:
        pair({}, {})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            orm.configure_mappers()
        assert any(
            "relationship 'Child.parent_' will copy column parent.id to column child.parent_id" in str(warning.message)
            for warning in caught
        )
        pairs = [warning for warning in caught if 'overlaps="children"' in str(warning.message)]
        assert len(pairs) == 1
