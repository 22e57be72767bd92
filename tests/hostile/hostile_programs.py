"""Random programs in a world of mischief, and what must be true however they end."""

from __future__ import annotations

import contextlib
import gc
import warnings
from typing import Any

import sqlalchemy as sa
from hostile_world import ACTIONS, World

#: Errors that only the native core or the interpreter can have raised: never right.
IMPOSSIBLE = ("PanicException", "SystemError", "BorrowError", "BorrowMutError")
_STEPS = 25


def run(world: World, seed: int, rarity: int) -> list[str]:
    """One program; returns the classes of the errors it met. AssertionError if one of them must not be."""
    world.random.seed(seed)
    world.objects.clear()
    world.done.clear()
    errors: list[str] = []
    world.rarity = 0
    with world.maker() as session:
        session.execute(sa.delete(world.Member))
        session.execute(sa.delete(world.Node))
        session.add_all(world.Node(id=n, name=str(n), children=[world.Node(id=n + 3)]) for n in range(1, 4))
        session.commit()
    world.session = world.maker()
    world.rarity = rarity
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(_STEPS):
            try:
                action = world.random.choice(ACTIONS)
                action(world, world.pick())
            except Exception as error:
                errors.append(_checked(error, seed))
            if world.session is None:
                break
        _end(world, errors, seed)
    return errors


def _checked(error: BaseException | None, seed: int) -> str:
    name = type(error).__name__
    while error is not None:
        if type(error).__name__ in IMPOSSIBLE:
            raise AssertionError(f"seed {seed}: {error!r}") from error
        error = error.__cause__ or error.__context__
    return name


def _end(world: World, errors: list[str], seed: int) -> None:
    """Whatever happened: closed, the session is empty, and it can be used again, as can another one."""
    session = world.session
    for end in (session.rollback, session.close):
        try:
            end()
        except Exception as error:
            errors.append(_checked(error, seed))
    world.rarity = 0
    world.session = None
    with contextlib.suppress(Exception):
        session.rollback()
    session.close()
    assert not list(session), f"seed {seed}"
    assert not session.new and not session.dirty and not session.deleted, f"seed {seed}"
    assert not session.in_transaction(), f"seed {seed}"
    world.objects.clear()
    gc.collect()
    for usable in (session, world.maker()):
        usable.rollback()
        nodes = usable.scalars(sa.select(world.Node).order_by(world.Node.id)).all()
        keys = [sa.inspect(node).identity_key for node in nodes]
        assert [usable.identity_map[key] is node for key, node in zip(keys, nodes, strict=True)] == [True] * len(keys)
        new = world.Node(name="after", parent=nodes[0] if nodes else None)
        usable.add(new)
        usable.flush()
        assert usable.get(world.Node, new.id) is new
        usable.rollback()
        usable.close()


def programs(world: World, seeds: Any) -> dict[str, int]:
    """Run programs from quiet to wild; how often each class of error was met."""
    met: dict[str, int] = {}
    for seed in seeds:
        for name in run(world, seed, (200, 60, 20, 8)[seed % 4]):
            met[name] = met.get(name, 0) + 1
    return met
