"""A statement is preceded by one flush, however it goes to the database."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import event, select, union_all

STATEMENTS: dict[str, Callable[[SimpleNamespace], Any]] = {
    "entity": lambda w: w.session.scalars(select(w.User)).all(),
    "columns": lambda w: w.session.execute(select(w.User.id)).all(),
    "options": lambda w: w.session.scalars(select(w.User).execution_options(identity_token=None)).all(),
    "union": lambda w: w.session.execute(union_all(select(w.User.id), select(w.User.id))).all(),
    "from_statement": lambda w: w.session.scalars(select(w.User).from_statement(select(w.User))).all(),
    "query": lambda w: w.session.query(w.User).all(),
    "query of columns": lambda w: w.session.query(w.User.id, w.User.name).all(),
    "query.filter_by": lambda w: w.session.query(w.User).filter_by(name="ed").first(),
    "query.count": lambda w: w.session.query(w.User).count(),
    "get": lambda w: w.session.get(w.User, 9),
}


@pytest.mark.parametrize("name", STATEMENTS)
@pytest.mark.parametrize("observed", [False, True], ids=["lane", "Core"])
def test_one_flush(world: SimpleNamespace, name: str, observed: bool) -> None:
    """Also where a flush leaves something to do: a listener of its end changes another object."""
    if not observed:
        event.remove(world.engine, "before_cursor_execute", world.record)
    session, User = world.session, world.User
    first, other = session.scalars(select(User).where(User.id.in_([7, 8])).order_by(User.id)).all()
    seen = []
    for moment in ("before_flush", "after_flush", "after_flush_postexec"):
        event.listen(session, moment, lambda *args, moment=moment: seen.append(moment))

    @event.listens_for(session, "after_flush_postexec")
    def change_another(session: Any, context: Any) -> None:
        other.age = (other.age or 0) + 1

    first.name = "changed"
    STATEMENTS[name](world)
    assert seen == ["before_flush", "after_flush", "after_flush_postexec"]
    assert other in session.dirty
