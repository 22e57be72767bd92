"""A short run of random steps on both ORMs; `make fuzz` takes many."""

from __future__ import annotations

from .machine import SessionMachine, run_machine


def test_random_steps() -> None:
    """Everything that can be seen agrees after every step."""
    run_machine(SessionMachine, number=0, programs=25)
