"""A listener that loads the object that is just being loaded."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey, Integer, String


@pytest.fixture
def model(bench: Any) -> SimpleNamespace:
    """Parents with children, and a column that a listener can load."""
    orm = bench.orm

    class Parent(bench.Base):
        __tablename__ = "parents"
        id = orm.mapped_column(Integer, primary_key=True)
        late = orm.mapped_column(String, deferred=True)
        children = orm.relationship("Child")

    class Child(bench.Base):
        __tablename__ = "children"
        id = orm.mapped_column(Integer, primary_key=True)
        parent_id = orm.mapped_column(ForeignKey("parents.id"))

    bench.create()
    bench.saved(Parent(id=1, late="x", children=[Child(), Child()])).close()
    return SimpleNamespace(Parent=Parent, Child=Child)


@pytest.mark.parametrize("name", ["load", "refresh", "loaded_as_persistent"])
@pytest.mark.parametrize("restores", [False, True])
def test_warning_unless_the_context_is_restored(bench: Any, model: Any, name: str, restores: bool) -> None:
    session = bench.session()

    def load_more(*args: Any) -> None:
        target = args[1] if name == "loaded_as_persistent" else args[0]
        assert not isinstance(target, model.Parent) or target.late == "x"

    target = session if name == "loaded_as_persistent" else model.Parent
    sa.event.listen(target, name, load_more, restore_load_context=restores)

    kept = []

    def load() -> None:
        kept.append(session.scalars(sa.select(model.Parent)).one())
        session.refresh(kept[0])

    said = bench.outcome(load)
    assert all(text.startswith("SAWarning: Loading context for <Parent at 0x> has changed within a") for text in said)
    assert len(said) == (0 if restores else 1)
    assert (kept[0].late, len(kept[0].children)) == ("x", 2)
