"""Objects of a plain class that were made before the class was mapped, or past its constructor: they have no state."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import sqlalchemy as sa


class Plain:
    name = "unset"

    def __init__(self, name: str) -> None:
        self.name = name


def make(orm: Any) -> tuple[Any, Any, sa.Engine]:
    """The class, an object that is older than its mapping, and an engine."""
    class_ = type("Plain", (Plain,), {})
    older = class_("older")
    registry = orm.registry()
    table = sa.Table(
        "plain", registry.metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String)
    )
    registry.map_imperatively(class_, table)
    engine = sa.create_engine("sqlite://")
    registry.metadata.create_all(engine)
    return class_, older, engine


@pytest.mark.parametrize("is_configured", [True, False])
def test_it_is_refused_and_left_alone(orm: Any, is_configured: bool) -> None:
    class_, older, engine = make(orm)
    if is_configured:
        orm.configure_mappers()
    made = class_.__new__(class_)
    with orm.Session(engine) as session:
        for obj in (older, made):
            for call in (session.add, session.delete, session.merge, session.expunge, session.refresh):
                with pytest.raises(orm.exc.UnmappedInstanceError, match="is mapped, but this instance lacks instrumen"):
                    call(obj)
            with pytest.raises(orm.exc.UnmappedInstanceError):
                _ = obj in session
            with pytest.raises(sa.exc.NoInspectionAvailable):
                sa.inspect(obj)
            with pytest.raises(AttributeError, match="no attribute '_sa_instance_state'"):
                obj.name = "changed"
            with pytest.raises(orm.exc.UnmappedInstanceError):
                _ = obj.id
            assert orm.object_mapper is not None and not session.new
        assert older.name == "older" and vars(older) == {"name": "older"}
        with pytest.raises(orm.exc.UnmappedInstanceError):
            _ = made.name
        newer = class_("newer")
        session.add(newer)
        session.commit()
        assert newer.name == "newer"
    engine.dispose()


def test_it_can_be_given_a_state(orm: Any) -> None:
    class_, _, engine = make(orm)
    orm.configure_mappers()
    made = class_.__new__(class_)
    orm.attributes.manager_of_class(class_).setup_instance(made)
    with orm.Session(engine) as session:
        made.name = "made"
        session.add(made)
        session.commit()
        assert (made.id, made.name) == (1, "made")
        twin = copy.deepcopy(made)
        assert sa.inspect(twin).detached and twin.name == "made"
    engine.dispose()
