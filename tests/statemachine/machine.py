"""The state machine: rules draw numbers, both ORMs take the step."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from .side import Difference, Options, Pair, Step, Undefined, run

numbers = st.integers(0, 15)
small = st.integers(0, 7)
flags = st.booleans()

# The steps and what they draw.
STEPS: dict[str, tuple[st.SearchStrategy[Any], ...]] = {
    "new": (numbers, small, small),
    "add": (numbers,),
    "add_all": (numbers, numbers, numbers),
    "delete": (numbers,),
    "expunge": (numbers,),
    "expunge_all": (),
    "expire": (numbers, numbers),
    "expire_all": (),
    "refresh": (numbers, numbers),
    "merge": (numbers, flags),
    "make_transient": (numbers,),
    "make_transient_to_detached": (numbers,),
    "flag_modified": (numbers, small),
    "set": (numbers, small, small),
    "set_committed": (numbers, small, small),
    "read": (numbers, small),
    "append": (numbers, small, numbers),
    "insert": (numbers, small, numbers),
    "remove": (numbers, small, numbers),
    "pop": (numbers, small, numbers),
    "clear": (numbers, small, numbers),
    "replace": (numbers, small, numbers),
    "del_collection": (numbers, small, numbers),
    "point": (numbers, small, numbers),
    "begin": (),
    "begin_nested": (),
    "release": (small,),
    "rollback_to": (small,),
    "close_savepoint": (small,),
    "flush": (),
    "commit": (),
    "rollback": (),
    "close": (),
    "reset": (),
    "get": (numbers, small, small, flags),
    "select": (numbers, flags),
    "select_eagerly": (numbers, small, flags),
    "update": (numbers, small, numbers),
    "delete_where": (numbers, small, small),
    "behind": (numbers, small, small),
    "autoflush": (flags,),
    "pickle": (numbers,),
    "forget": (numbers,),
    "is_modified": (numbers,),
    "contains": (numbers,),
    "new_session": (),
}


class Count:
    """What was done so far."""

    steps = 0
    unsettled = 0
    undefined = 0


class SessionMachine(RuleBasedStateMachine):
    """Random steps on two sessions that have to agree after each."""

    def __init__(self) -> None:
        super().__init__()
        self.pair: Pair | None = None
        self.taken: list[Step] = []
        self.options = Options()

    @initialize(options=st.builds(Options, flags, flags, flags))
    def start(self, options: Options) -> None:
        self.options = options
        self.pair = Pair(options)

    def take(self, step: Step) -> None:
        if self.pair is None:
            return
        self.taken.append(step)
        Count.steps += 1
        try:
            self.pair.take(step)
        except Undefined:
            Count.undefined += 1
            self.teardown()
        except Difference:
            if all(self._differs_again() for _ in range(2)):
                raise
            # SQLAlchemy walks sets in places: only what differs every time counts
            Count.unsettled += 1
            self.teardown()

    def _differs_again(self) -> bool:
        try:
            run(self.options, self.taken)
        except Difference:
            return True
        return False

    def teardown(self) -> None:
        if self.pair is not None:
            self.pair.close()
            self.pair = None


def _rule_of(name: str, drawn: tuple[st.SearchStrategy[Any], ...]) -> Any:
    def step(self: SessionMachine, args: tuple[Any, ...]) -> None:
        self.take((name, *args))

    step.__name__ = f"step_{name}"
    return rule(args=st.tuples(*drawn))(step)


for _name, _drawn in STEPS.items():
    setattr(SessionMachine, f"step_{_name}", _rule_of(_name, _drawn))


def run_machine(machine: type[SessionMachine], number: int, programs: int) -> None:
    """Run some programs of a seed; Difference, with the shortest program that shows it, if there is one."""
    limits = settings(
        max_examples=programs,
        stateful_step_count=50,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(number)(machine), settings=limits)
