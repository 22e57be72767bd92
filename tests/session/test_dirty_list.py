"""Who is in `session.dirty`, where foreign code changes objects while a flush settles them."""

from __future__ import annotations

import gc
from typing import Any

import pytest


class Last(str):
    """Text that tells when it goes."""

    def __del__(self) -> None:
        self.goes()

    def goes(self) -> None:
        """Replaced in the tests."""


@pytest.mark.filterwarnings("ignore:The `objects` parameter")
def test_an_object_changed_while_its_flush_settles_is_dirty_once(world: Any) -> None:
    session = world.session()
    first, second = world.User(name="first"), world.User(name="second")
    session.add_all([first, second])
    session.commit()
    session.refresh(first)
    session.refresh(second)
    for user, other in ((first, second), (second, first)):
        old = Last(f"old {user.id}")
        old.goes = lambda other=other: setattr(other, "age", 5)  # type: ignore[method-assign]
        world.orm.attributes.set_committed_value(user, "name", old)
        user.name = f"new {user.id}"
    del old
    session.flush([first, second])
    gc.collect()
    # Which of the two is settled first is nobody's business: the other one's old name goes when that is over.
    (changed,) = session.dirty
    assert changed.age == 5
    session.expunge(changed)
    assert not session.dirty
    assert not session.new


def test_values_of_an_object_that_left_the_list_are_valid(world: Any) -> None:
    session = world.session(expire_on_commit=False)
    users = [world.User(name=f"u{number}", age=number) for number in range(100)]
    session.add_all(users)
    session.commit()
    session.expire_all()
    with session.no_autoflush:
        for user in users:
            user.age += 1
        for user in users[::2]:
            session.refresh(user)
    session.flush()
    world.statements.clear()
    assert [user.age for user in users] == [number + number % 2 for number in range(100)]
    assert world.statements == []
    assert not session.dirty
