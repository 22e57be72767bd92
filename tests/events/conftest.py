"""The world of the event tests: a hierarchy of two classes with every kind of attribute, on either ORM."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import sqlalchemy as sa


class World:
    """One ORM's classes on an empty database in memory."""

    def __init__(self, orm: Any) -> None:
        self.orm = orm

        class Base(orm.DeclarativeBase):  # type: ignore[misc, name-defined]
            pass

        class Node(Base):
            __tablename__ = "nodes"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            kind = orm.mapped_column(sa.String, default="node")
            name = orm.mapped_column(sa.String)
            size = orm.mapped_column(sa.Integer, server_default="5")
            leaves = orm.relationship("Leaf", back_populates="node", order_by="Leaf.id")
            tagged = orm.relationship("Tag", collection_class=set)
            __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "node"}

        class Branch(Node):
            __mapper_args__ = {"polymorphic_identity": "branch"}

        class Leaf(Base):
            __tablename__ = "leaves"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            node_id = orm.mapped_column(sa.ForeignKey("nodes.id"))
            node = orm.relationship("Node", back_populates="leaves")

        class Tag(Base):
            __tablename__ = "tags"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            node_id = orm.mapped_column(sa.ForeignKey("nodes.id"))

        self.Base, self.Node, self.Branch, self.Leaf, self.Tag = Base, Node, Branch, Leaf, Tag
        self.engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
        Base.metadata.create_all(self.engine)
        self.seen: list[Any] = []

    def session(self, **kw: Any) -> Any:
        return self.orm.Session(self.engine, **kw)

    def note(self, label: str) -> Any:
        """A listener that writes down under `label` that it was called, and with how many arguments."""
        return lambda *args, **kw: self.seen.append((label, len(args), sorted(kw)))

    def took(self) -> list[Any]:
        """What was written down since the last call."""
        seen = list(self.seen)
        self.seen.clear()
        return seen


@pytest.fixture(params=["sqlalchemy.orm", "rustalchemy.orm"])
def world(request: pytest.FixtureRequest) -> World:
    return World(importlib.import_module(request.param))
