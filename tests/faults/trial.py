"""One run of a scenario with a fault at one step: what came of it, and whether everything is as it must be."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from fault_kinds import KINDS, Fault, Kind
from fault_world import World

Scenario = Callable[[World, Any, dict[str, Any]], None]


@dataclass
class Outcome:
    """What a program could tell afterwards. Equal on both ORMs."""

    raised: str
    is_committed: bool
    rollback: str
    states: dict[str, str] = field(default_factory=dict)


class Broken(AssertionError):
    """A fault did what no fault may do."""


# SQLAlchemy tells of an expiry of no attributes where we are silent, and leaves the objects deleted that come after one
# whose listener raises
_NOT_COMPARED = ("expire User", "deleted_to_detached")


def is_comparable(step: str) -> bool:
    """Both ORMs have the step, at the same point."""
    return not any(name in step for name in _NOT_COMPARED)


def steps_of(world: World, scenario: Scenario) -> list[str]:
    """The steps of an undisturbed run; also learns what the scenario leaves in the database."""
    world.restore()
    with world.Session() as session, world.faults.counting() as steps:
        scenario(world, session, {})
        steps = list(steps)
    return steps


def attempt(world: World, scenario: Scenario, step: str, kind: str, after: Any) -> Outcome | Exception:
    """The outcome of one trial, or what is wrong with it; the next one finds the world as it was."""
    try:
        return run(world, scenario, step, KINDS[kind], after)
    except Exception as err:
        world.abandon()
        return err


def run(world: World, scenario: Scenario, step: str, kind: Kind, after: Any) -> Outcome:
    """The scenario with a fault at the step, then a rollback, checks, and the scenario again in the same session."""
    world.restore()
    session = world.Session()
    objects: dict[str, Any] = {}
    with kind(world) as fault:
        raised = _disturbed(world, scenario, session, objects, step, fault)
    # a COMMIT that waits for readers lets no new ones in until it is rolled back
    rollback = _recover(session)
    fault.clean_up()
    # some errors hold the object they are about
    del fault
    found = world.dump()
    is_committed = found == after
    if not is_committed and found != world.before:
        raise Broken(f"a part of the transaction was committed: {found}")
    outcome = Outcome(raised, is_committed, rollback, {name: world.state(obj) for name, obj in objects.items()})
    try:
        _check_session(world, session, found)
        _check_objects(world, session, objects, found, is_closed=rollback != "rollback")
    except sa.exc.SQLAlchemyError as err:
        raise Broken(f"objects cannot be read: {err}") from err
    session.rollback()
    _check_usable(world, scenario, session, after, is_committed)
    _check_let_go(world, session, objects)
    return outcome


def _disturbed(world: World, scenario: Scenario, session: Any, objects: dict[str, Any], step: str, fault: Fault) -> str:
    with world.faults.counting(step, fault.strike):
        try:
            scenario(world, session, objects)
        except BaseException as caught:
            if not fault.has_caused(caught):
                raise Broken(f"something else was raised: {caught!r}") from caught
            # a generator makes a RuntimeError of it; SQLAlchemy has more of them
            error = caught.__cause__ if isinstance(caught.__cause__, StopIteration) else caught
            raised = f"{type(error).__module__}.{type(error).__name__}"
        else:
            raised = "nothing"
    return raised


def _recover(session: Any) -> str:
    """How the session becomes usable again; some errors leave only close()."""
    try:
        session.rollback()
        return "rollback"
    except sa.exc.SQLAlchemyError as err:
        session.close()
        return f"close after {type(err).__name__}"


def _check_session(world: World, session: Any, found: Any) -> None:
    if session.in_transaction():
        raise Broken("still in a transaction")
    if session.new or session.dirty or session.deleted:
        raise Broken(f"left over: {list(session.new)} {list(session.dirty)} {list(session.deleted)}")
    for obj in list(session.identity_map.values()):
        _check_row(world, obj, found)


def _check_row(world: World, obj: Any, found: Any) -> None:
    """It has the values of its row; or says that there is none, as after a COMMIT that failed when it was done."""
    rows = found[obj.__tablename__]
    identity = sa.inspect(obj).identity
    try:
        row = world.row_of(obj)
    except world.orm.exc.ObjectDeletedError:
        if any(row[0] == identity[0] for row in rows):
            raise
        return
    if row not in rows:
        raise Broken(f"{row} is not in the database")


def _check_objects(world: World, session: Any, objects: dict[str, Any], found: Any, *, is_closed: bool) -> None:
    """Persistent objects have rows, collections hold what the database says; close() leaves deleted objects deleted."""
    for name, obj in objects.items():
        state = world.state(obj)
        if state == "pending" or (state == "deleted" and not is_closed):
            raise Broken(f"{name} is {state} after the rollback")
        if (state == "persistent") is not (obj in session):
            raise Broken(f"{name} is {state}, but in the session: {obj in session}")
        if state == "persistent":
            if session.identity_map.get(sa.inspect(obj).identity_key) is not obj:
                raise Broken(f"{name} is not the object of its identity")
            _check_row(world, obj, found)
            if isinstance(obj, world.User) and not sa.inspect(obj).expired:
                ids = [row[0] for row in found["posts"] if row[1] == obj.id]
                if [post.id for post in obj.posts] != ids:
                    raise Broken(f"posts of {name}: {[post.id for post in obj.posts]} instead of {ids}")


def _check_usable(world: World, scenario: Scenario, session: Any, after: Any, is_committed: bool) -> None:
    """What did not happen can be done again; what happened stays."""
    if not is_committed:
        scenario(world, session, {})
        if world.dump() != after:
            raise Broken(f"the second attempt left {world.dump()}")
    else:
        session.add(world.Tag(id=77, label="afterwards"))
        session.commit()
        expected = {**after, "tags": [*after["tags"], (77, "afterwards")]}
        if world.dump() != expected:
            raise Broken(f"a later commit left {world.dump()}")


def _check_let_go(world: World, session: Any, objects: dict[str, Any]) -> None:
    """Nothing keeps objects or connections."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session.close()
    references = {name: weakref.ref(obj) for name, obj in objects.items()}
    references["session"] = weakref.ref(session)
    objects.clear()
    del session
    if world.engine.pool.checkedout():
        raise Broken("a connection did not come back")
    # `run` still holds the session
    alive = [name for name, reference in references.items() if name != "session" and reference() is not None]
    if alive:
        gc.collect()
        alive = [name for name in alive if references[name]() is not None]
    if alive:
        raise Broken(f"kept alive: {alive}")
