"""What objects look like after a flush that failed halfway."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("made", [{"default": 30}, {"server_default": "30"}])
def test_inserted_defaults_are_committed_before_the_flush_fails(
    orm: ModuleType, made: dict[str, Any], observed: bool
) -> None:
    """A default made in Python takes the place of what was set; one of the database waits for the flush to succeed."""
    base: Any = orm.declarative_base()

    class User(base):
        __tablename__ = "user"
        id = sa.Column(sa.Integer, primary_key=True)
        age = sa.Column(sa.Integer, **made)
        __mapper_args__ = {"eager_defaults": True}

    class Zoo(base):
        __tablename__ = "zoo"
        id = sa.Column(sa.Integer, primary_key=True)
        name = sa.Column(sa.String, nullable=False)

    engine = sa.create_engine("sqlite://")
    if observed:
        sa.event.listen(engine, "before_cursor_execute", lambda *args: None)
    base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        user = User(age=None)
        session.add_all([user, Zoo()])
        with pytest.raises(sa.exc.IntegrityError):
            session.flush()
        session.rollback()
        assert sa.inspect(user).transient
        assert user.age == 30
        assert tuple(sa.inspect(user).attrs.age.history) == (((), [30], ()) if "default" in made else ([30], (), ()))
