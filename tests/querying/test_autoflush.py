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
# loads of what is known: (what makes the objects before anything is changed, what loads)
LOADS: dict[str, tuple[Callable[[SimpleNamespace], Any], Callable[[SimpleNamespace, Any], Any]]] = {
    "collection": (lambda w: w.session.get(w.User, 9), lambda w, user: user.addresses),
    "many-to-one": (lambda w: w.session.get(w.Address, 5), lambda w, address: address.user),
    "expired": (lambda w: _expired(w, w.session.get(w.User, 9)), lambda w, user: user.name),
    "expired attribute": (lambda w: _expired(w, w.session.get(w.User, 9), ["age"]), lambda w, user: user.age),
    "deferred": (
        lambda w: w.session.scalars(select(w.User).options(w.orm.defer(w.User.age)).where(w.User.id == 9)).one(),
        lambda w, user: user.age,
    ),
    "refresh": (lambda w: w.session.get(w.User, 9), lambda w, user: w.session.refresh(user)),
    "refresh of one": (lambda w: w.session.get(w.User, 9), lambda w, user: w.session.refresh(user, ["age"])),
    "selectinload": (
        lambda w: None,
        lambda w, _: w.session.scalars(select(w.Address).options(w.orm.selectinload(w.Address.user))).all(),
    ),
}


def _expired(w: SimpleNamespace, obj: Any, names: Any = None) -> Any:
    w.session.expire(obj, names)
    return obj


@pytest.mark.parametrize("name", STATEMENTS)
@pytest.mark.parametrize("observed", [False, True], ids=["lane", "Core"])
def test_one_flush(world: SimpleNamespace, name: str, observed: bool) -> None:
    """Also where a flush leaves something to do: a listener of its end changes another object."""
    _check(world, observed, lambda w: None, lambda w, _: STATEMENTS[name](w))


@pytest.mark.parametrize("name", LOADS)
@pytest.mark.parametrize("observed", [False, True], ids=["lane", "Core"])
def test_one_flush_before_a_load(world: SimpleNamespace, name: str, observed: bool) -> None:
    _check(world, observed, *LOADS[name], 2 if name == "selectinload" else 1)


def _check(world: SimpleNamespace, observed: bool, prepare: Any, load: Any, times: int = 1) -> None:
    if not observed:
        event.remove(world.engine, "before_cursor_execute", world.record)
    session, User = world.session, world.User
    found = prepare(world)
    first, other = session.scalars(select(User).where(User.id.in_([7, 8])).order_by(User.id)).all()
    seen = []
    for moment in ("before_flush", "after_flush", "after_flush_postexec"):
        event.listen(session, moment, lambda *args, moment=moment: seen.append(moment))

    @event.listens_for(session, "after_flush_postexec")
    def change_another(session: Any, context: Any) -> None:
        other.age = (other.age or 0) + 1

    first.name = "changed"
    load(world, found)
    assert seen == ["before_flush", "after_flush", "after_flush_postexec"] * times
    assert other in session.dirty
