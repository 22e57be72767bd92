"""What the query paths need beside the benchmarks' own classes: loader strategies, inheritance, and rows in all."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from . import models
from .workload import Environment


@functools.cache
def load(name: str) -> SimpleNamespace:
    """The benchmarks' classes and those of this module, declared with the ORM called `name` (a key of models.ORMS)."""
    base = models.load(name)
    return SimpleNamespace(**vars(base), **_declare(base.orm))


def _declare(orm: Any) -> dict[str, Any]:
    class Base(orm.DeclarativeBase):  # type: ignore[misc, name-defined]
        pass

    class Team(Base):
        __tablename__ = "teams"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        name = orm.mapped_column(sa.String)
        staff = orm.relationship("Staff", back_populates="team", order_by="Staff.id")
        written = orm.relationship("Staff", lazy="write_only", viewonly=True, order_by="Staff.id")
        dynamic = orm.relationship("Staff", lazy="dynamic", viewonly=True, order_by="Staff.id")

    class Staff(Base):
        __tablename__ = "staff"
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "staff"}
        id = orm.mapped_column(sa.Integer, primary_key=True)
        team_id = orm.mapped_column(sa.ForeignKey("teams.id"), index=True)
        kind = orm.mapped_column(sa.String)
        name = orm.mapped_column(sa.String)
        team = orm.relationship(Team, back_populates="staff")

    class Manager(Staff):
        __tablename__ = "managers"
        __mapper_args__ = {"polymorphic_identity": "manager", "polymorphic_load": "selectin"}
        id = orm.mapped_column(sa.ForeignKey("staff.id"), primary_key=True)
        budget = orm.mapped_column(sa.Integer)

    class Worker(Staff):
        __mapper_args__ = {"polymorphic_identity": "worker", "polymorphic_load": "inline"}
        skill = orm.mapped_column(sa.String, nullable=True)

    class Numbered:
        id = orm.mapped_column(sa.Integer, primary_key=True)

    class Account(Numbered, Base):
        __tablename__ = "accounts"
        name = orm.mapped_column(sa.String)
        notes = orm.mapped_column(sa.String, deferred=True)
        upper = orm.column_property(sa.func.upper(name))
        extra = orm.query_expression()

    orm.configure_mappers()
    classes = (Team, Staff, Manager, Worker, Account)
    return {"PathBase": Base, "Numbered": Numbered, **{cls.__name__: cls for cls in classes}}


class PathEnvironment(Environment):
    """One ORM's database with `n` rows in every table, and a session on it."""

    def __init__(self, contender: str, n: int) -> None:
        super().__init__(contender)
        self.m = load(contender)
        self.m.PathBase.metadata.create_all(self.engine)
        self._insert("users", ((i, f"a{i}", f"b{i}", i % 100, i / 2) for i in range(1, n + 1)))
        self._insert("parents", ((i, f"p{i}") for i in range(1, n + 1)))
        self._insert("children", ((i, (i - 1) // 5 + 1, f"c{i}", i % 7) for i in range(1, n * 5 + 1)))
        self._insert("posts", ((i, f"t{i}") for i in range(1, n + 1)))
        self._insert("tags", ((i, f"t{i}") for i in range(1, 51)))
        self._insert("post_tags", ((i, (i * 7 + k) % 50 + 1) for i in range(1, n + 1) for k in range(3)))
        self._insert("teams", ((i, f"t{i}") for i in range(1, n // 5 + 2)))
        kinds = ("manager", "worker", "staff")
        self._insert("staff", ((i, (i - 1) // 5 + 1, kinds[i % 3], f"s{i}", f"k{i}") for i in range(1, n + 1)))
        self._insert("managers", ((i, i) for i in range(3, n + 1, 3)))
        self._insert("accounts (id, name, notes)", ((i, f"n{i}", "x" * 20) for i in range(1, n + 1)))
        self.connection.commit()
        self.db = self.session()

    def _insert(self, table: str, rows: Any) -> None:
        rows = list(rows)
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self.connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["m"], name)
