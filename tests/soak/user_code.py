"""Loops in which users' code takes part: listeners that come, go and raise, and classes that come and go."""

from __future__ import annotations

import gc
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from rustalchemy import orm
from rustalchemy.orm import Session

from .models import Author, Book, Loop


class Refused(Exception):
    """What the hooks raise."""


def _refuse(*args: Any, **kw: Any) -> None:
    raise Refused


def listeners(engine: sa.Engine) -> int:
    """Listeners of one session and of a class, each removed again."""
    heard: list[Any] = []

    def note(*args: Any) -> None:
        heard.append(args)

    for number in range(20):
        with Session(engine) as session:
            event.listen(session, "before_flush", note)
            event.listen(Author, "after_insert", note)
            event.listen(Author.name, "set", note)
            author = Author(name=f"l{number}")
            session.add(author)
            session.flush()
            author.name += "?"
            event.remove(Author, "after_insert", note)
            event.remove(Author.name, "set", note)
            session.rollback()
    assert len(heard) == 80
    return 20


_CLASS_HOOKS = ("before_insert", "after_insert", "before_update", "load", "init")
_SESSION_HOOKS = (
    "before_flush",
    "after_flush",
    "before_commit",
    "after_begin",
    "pending_to_persistent",
    "after_attach",
)


def raising_hooks(engine: sa.Engine) -> int:
    targets: list[tuple[Any, str]] = [(Author, name) for name in _CLASS_HOOKS]
    targets += [(Session, name) for name in _SESSION_HOOKS]
    targets += [(Author.name, "set"), (Author.books, "append")]
    for target, name in targets:
        event.listen(target, name, _refuse)
        try:
            with Session(engine) as session:
                known = session.get(Author, 1)
                assert known is not None
                known.name = "changed"
                session.add(Author(name="new", books=[Book(title="new")]))
                session.commit()
        except Refused:
            pass
        else:
            raise AssertionError(f"{name} was not called")
        finally:
            event.remove(target, name, _refuse)
    return 3 * len(targets)


def classes(engine: sa.Engine) -> int:
    """Two classes that are mapped, used and disposed of. An attribute costs a few hundred bytes that stay."""
    for _ in range(5):
        base: Any = orm.declarative_base()
        parent = type(
            "Parent",
            (base,),
            {
                "__tablename__": "parents",
                "id": orm.mapped_column(sa.Integer, primary_key=True),
                "children": orm.relationship("Child", back_populates="parent"),
            },
        )
        child = type(
            "Child",
            (base,),
            {
                "__tablename__": "children",
                "id": orm.mapped_column(sa.Integer, primary_key=True),
                "parent_id": orm.mapped_column(sa.ForeignKey("parents.id")),
                "parent": orm.relationship("Parent", back_populates="children"),
            },
        )
        base.metadata.create_all(engine)
        with Session(engine) as session:
            session.add(parent(children=[child(), child()]))
            session.flush()
            session.expire_all()
            assert len(session.scalars(sa.select(parent)).one().children) == 2
        base.metadata.drop_all(engine)
        base.registry.dispose()
        del base, parent, child, session
        engine.clear_compiled_cache()
    gc.collect()
    return 10


LOOPS: tuple[Loop, ...] = (listeners, raising_hooks, classes)
