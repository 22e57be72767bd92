"""Living sessions are known as long as they live: ``close_all_sessions()`` and events on the class reach them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event


def test_close_all_sessions_reaches_living_sessions(world: Any) -> None:
    sessions = [world.session() for _ in range(3)]
    for session in sessions:
        session.add(world.User(name="ed"))
    dead = sessions.pop()
    closed: list[Any] = []

    class Session(world.orm.Session):  # type: ignore[misc]
        def close(self) -> None:
            closed.append(self)
            super().close()

    sessions += [Session(world.engine), Session(world.engine)]
    del dead, session
    world.orm.close_all_sessions()
    assert closed == sessions[2:]
    assert not any(session.in_transaction() for session in sessions)


def test_sessions_may_compare_equal(world: Any) -> None:
    class Session(world.orm.Session):  # type: ignore[misc]
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Session)

    first, second = Session(world.engine), Session(world.engine)
    first.add(world.User(name="ed"))
    second.add(world.User(name="jack"))
    world.orm.close_all_sessions()
    assert not first.in_transaction()
    assert not second.in_transaction()


def test_listeners_on_the_class_reach_living_sessions(world: Any) -> None:
    class Session(world.orm.Session):  # type: ignore[misc]
        """A class of its own, so that the listener stays with it."""

    session = Session(world.engine)
    seen: list[Any] = []
    event.listen(Session, "before_flush", lambda session, context, objects: seen.append(session))
    session.add(world.User(name="ed"))
    session.flush()
    assert seen == [session]


def test_the_number_of_a_session_places_an_object_in_it(world: Any) -> None:
    session, user = world.session(), world.User(name="ed")
    session.enable_relationship_loading(user)
    assert world.orm.object_session(user) is session
