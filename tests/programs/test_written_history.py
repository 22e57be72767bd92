"""Rows and tables of history, written in before_flush, and criteria of time, added to every statement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from watching import Watch, compare


def base_of(orm: Any) -> Any:
    """A declarative base."""

    class Base(orm.DeclarativeBase):  # type: ignore[misc, name-defined]
        pass

    return Base


def history_tables(run: Watch) -> None:
    """A history row for each UPDATE and DELETE, written in before_flush."""
    orm = run.orm
    Base = base_of(orm)

    class Versioned:
        version = orm.mapped_column(sa.Integer, default=1, nullable=False)

        @classmethod
        def make_history(cls):
            m = sa.inspect(cls)
            cols = [
                sa.Column(c.name, c.type, primary_key=c.primary_key, nullable=True)
                for c in m.local_table.c
                if c.name != "version"
            ]
            t = sa.Table(
                m.local_table.name + "_history",
                m.local_table.metadata,
                *cols,
                sa.Column("version", sa.Integer, primary_key=True),
                sa.Column("changed", sa.String, default="now"),
            )
            hist = type(cls.__name__ + "History", (object,), {})
            cls.registry.map_imperatively(hist, t)
            cls.History = hist

    class Owner(Base):
        __tablename__ = "owner"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        name = orm.mapped_column(sa.String)

    class Doc(Versioned, Base):
        __tablename__ = "doc"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        name = orm.mapped_column(sa.String)
        body = orm.deferred(orm.mapped_column(sa.Text)) if False else orm.mapped_column(sa.Text, deferred=True)
        owner_id = orm.mapped_column(sa.ForeignKey("owner.id"))
        owner = orm.relationship(Owner, backref="docs")

    Doc.make_history()

    def create_version(obj, session, deleted=False):
        m = sa.inspect(obj).mapper
        attr = {}
        changed = False
        for prop in m.column_attrs:
            added, unchanged, removed = orm.attributes.get_history(obj, prop.key, orm.attributes.PASSIVE_OFF)
            run("history", prop.key, added, unchanged, removed)
            if removed:
                attr[prop.key] = removed[0]
                changed = True
            elif unchanged:
                attr[prop.key] = unchanged[0]
            elif added:
                changed = True
        if not changed:
            for prop in m.iterate_properties:
                if (
                    isinstance(prop, orm.RelationshipProperty)
                    and orm.attributes.get_history(
                        obj, prop.key, passive=orm.attributes.PASSIVE_NO_INITIALIZE
                    ).has_changes()
                ):
                    for p in prop.local_columns:
                        if p.foreign_keys:
                            changed = True
                            break
        if not changed and not deleted:
            return
        attr["version"] = obj.version
        hist = type(obj).History()
        for k, v in attr.items():
            setattr(hist, k, v)
        session.add(hist)
        obj.version += 1

    session = orm.Session(run.engine(Base.metadata))

    @event.listens_for(session, "before_flush")
    def before_flush(session, ctx, insts):
        for obj in sorted(session.dirty, key=lambda x: x.__class__.__name__):
            if isinstance(obj, Versioned):
                create_version(obj, session)
        for obj in session.deleted:
            if isinstance(obj, Versioned):
                create_version(obj, session, True)

    d = Doc(name="one", body="text")
    session.add(d)
    session.commit()
    d.name = "two"
    session.commit()
    d.owner = Owner(name="own")
    session.commit()
    d.body = "new"
    session.commit()
    d.name = "two"
    session.commit()  # no net change
    session.query(Owner).one().docs = []
    session.flush()
    session.commit()
    session.delete(d)
    session.commit()
    H = Doc.History
    run([(h.version, h.name, h.body, h.owner_id, h.changed) for h in session.scalars(sa.select(H).order_by(H.version))])


def versioned_rows(run: Watch) -> None:
    """An UPDATE becomes an INSERT, by make_transient in before_flush."""
    orm = run.orm
    Base = base_of(orm)

    class Versioned:
        def new_version(self, session):
            orm.make_transient(self)
            self.id = None

    class Ex(Versioned, Base):
        __tablename__ = "ex"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        data = orm.mapped_column(sa.String)

    class Parent(Base):
        __tablename__ = "parent"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        ex_id = orm.mapped_column(sa.ForeignKey("ex.id"))
        ex = orm.relationship(Ex, backref=orm.backref("parent", uselist=False))

    make = orm.sessionmaker(run.engine(Base.metadata))

    @event.listens_for(make, "before_flush")
    def before_flush(session, ctx, insts):
        for i in session.dirty:
            if not isinstance(i, Versioned) or not session.is_modified(i):
                continue
            if not orm.attributes.instance_state(i).has_identity:
                continue
            i.new_version(session)
            session.add(i)

    session = make()
    p = Parent(ex=Ex(data="e1"))
    session.add(p)
    session.commit()
    x = p.ex
    x.data = "e2"
    session.commit()
    run(x.id, p.ex_id, [tuple(r) for r in session.execute(sa.select(Ex.id, Ex.data))])

    @event.listens_for(Ex, "before_update")
    def before_update(m, c, t):
        run("before_update")

    x.data = "e3"
    session.flush()
    run.state(x, p)
    session.rollback()
    run.state(x, p)


def temporal(run: Watch) -> None:
    """Criteria of time, added to every SELECT by do_orm_execute."""
    orm = run.orm
    Base = base_of(orm)

    class Dated:
        since = orm.mapped_column(sa.Integer, default=1)

    class Parent(Dated, Base):
        __tablename__ = "p"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        children = orm.relationship("Child", order_by="Child.id")

    class Child(Dated, Base):
        __tablename__ = "c"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        parent_id = orm.mapped_column(sa.ForeignKey("p.id"))

    make = orm.sessionmaker(run.engine(Base.metadata))

    @event.listens_for(make, "do_orm_execute")
    def add_criteria(state):
        run(
            "execute",
            state.is_select,
            state.is_update,
            state.is_delete,
            state.is_insert,
            state.is_orm_statement,
            *(
                (state.is_column_load, state.is_relationship_load, state.lazy_loaded_from is not None)
                if state.is_select
                else ()
            ),
            state.is_executemany,
            state.is_from_statement,
            state.bind_mapper and state.bind_mapper.class_.__name__,
            state.execution_options.get("after"),
        )
        after = state.execution_options.get("after")
        if state.is_select and after is not None:
            state.statement = state.statement.options(
                orm.with_loader_criteria(Dated, lambda cls: cls.since >= after, include_aliases=True)
            )

    with make() as session:
        session.add_all(
            [Parent(since=1, children=[Child(since=1), Child(since=5)]), Parent(since=7, children=[Child(since=9)])]
        )
        session.commit()
        for after in (None, 2, 6):
            session.expunge_all()
            for parent in session.scalars(
                sa.select(Parent).order_by(Parent.id), execution_options={"after": after} if after else {}
            ):
                run(parent.id, [child.id for child in parent.children])
            run(
                [
                    (parent.id, [child.id for child in parent.children])
                    for parent in session.scalars(
                        sa.select(Parent).options(orm.selectinload(Parent.children)).execution_options(after=after)
                    )
                ]
            )
            run(
                [
                    (parent.id, [child.id for child in parent.children])
                    for parent in session.scalars(
                        sa.select(Parent).options(orm.joinedload(Parent.children)).execution_options(after=after)
                    ).unique()
                ]
            )
        session.execute(sa.update(Parent).values(since=3))
        session.execute(sa.delete(Child).where(Child.since == 1))
        session.execute(sa.insert(Child), [{"parent_id": 1}, {"parent_id": 2}])
        session.get(Parent, 1)
        session.expire_all()
        session.get(Parent, 1)
        session.refresh(session.get(Parent, 1))
        session.query(Parent).count()


@pytest.mark.parametrize("program", [history_tables, versioned_rows, temporal])
def test_same_on_both_orms(program: Callable[[Watch], None]) -> None:
    compare(program)
