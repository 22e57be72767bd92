"""Guards of an object that moves between states: which method may run when, and where it has to end.

``SessionTransaction`` builds on it, so that a commit inside a commit, or a second thread, is refused with an error that
names both methods.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Literal, NoReturn, TypeVar

from sqlalchemy import exc as sa_exc

_F = TypeVar("_F", bound=Callable[..., Any])


class _StateChangeState(Enum):
    """Base of every enumeration of states."""


class _StateChangeStates(_StateChangeState):
    """Wildcards that stand beside real states in declarations and expectations."""

    ANY = 1
    NO_CHANGE = 2
    CHANGE_IN_PROGRESS = 3


# by name: until Python 3.12 a member that is asked from its class runs a descriptor of several hundred instructions
ANY: Final = _StateChangeStates.ANY
NO_CHANGE: Final = _StateChangeStates.NO_CHANGE
CHANGE_IN_PROGRESS: Final = _StateChangeStates.CHANGE_IN_PROGRESS

_IN_PROGRESS = (NO_CHANGE, CHANGE_IN_PROGRESS)


def _illegal(message: str) -> sa_exc.IllegalStateChangeError:
    return sa_exc.IllegalStateChangeError(message, code="isce")


class _StateChange:
    """Mix-in with a current state, the state that is expected next, and the method that is under way."""

    _next_state: _StateChangeState = ANY
    _state: _StateChangeState = NO_CHANGE
    _current_fn: Callable[..., Any] | None = None

    def _raise_for_prerequisite_state(self, operation_name: str, state: _StateChangeState) -> NoReturn:
        raise _illegal(f"Can't run operation '{operation_name}()' when Session is in state {state!r}")

    def _before_refusal(self) -> None:
        """Where a method is under way already: a chance to say what is behind it."""

    @classmethod
    def declare_states(
        cls,
        prerequisite_states: Literal[_StateChangeStates.ANY] | tuple[_StateChangeState, ...],
        moves_to: _StateChangeState,
        name: str | None = None,
    ) -> Callable[[_F], _F]:
        """Declare the states a method may start in, and the one it ends in (``NO_CHANGE``: the same).

        ``name``: what errors call it, if it does the work of another method.
        """
        assert prerequisite_states, "no prerequisite states sent"
        # a tuple: members are found by identity, without hashing
        allowed = None if prerequisite_states is ANY else prerequisite_states
        changes = moves_to is not NO_CHANGE

        def decorate(fn: _F) -> _F:
            fn.__name__ = called = name or fn.__name__

            @functools.wraps(fn)
            def guarded(self: Any, *args: Any, **kw: Any) -> Any:
                before = self._state
                if allowed is not None and before not in allowed:
                    self._raise_for_prerequisite_state(called, before)

                expected_by_caller = self._next_state
                outer = self._current_fn
                target = moves_to if changes else before
                if changes and expected_by_caller is not ANY and expected_by_caller is not target:
                    self._before_refusal()
                    if outer is not None and expected_by_caller in _IN_PROGRESS:
                        raise _illegal(
                            f"Method '{called}()' can't be called here; method '{outer.__name__}()' is already "
                            f"in progress and this would cause an unexpected state change to {moves_to!r}"
                        )
                    raise _illegal(
                        f"Can't run operation '{called}()' here; will move to state {moves_to!r} where we are "
                        f"expecting {expected_by_caller!r}"
                    )

                self._current_fn = fn
                self._next_state = CHANGE_IN_PROGRESS
                try:
                    result = fn(self, *args, **kw)
                    after = self._state
                    if after is target:
                        return result
                    if after is before:
                        raise _illegal(f"Method '{called}()' failed to change state to {moves_to!r} as expected")
                    if outer is not None:
                        raise _illegal(
                            f"While method '{outer.__name__}()' was running, method '{called}()' caused an "
                            f"unexpected state change to {after!r}"
                        )
                    raise _illegal(f"Method '{called}()' caused an unexpected state change to {after!r}")
                finally:
                    self._next_state = expected_by_caller
                    self._current_fn = outer

            return guarded  # type: ignore[return-value]

        return decorate

    def _expect_state(self, expected: _StateChangeState) -> _Expectation:
        """Allow one nested state change, to ``expected``, inside a declared method."""
        assert self._next_state is CHANGE_IN_PROGRESS, (
            "Unexpected call to _expect_state outside of state-changing method"
        )
        return _Expectation(self, expected)


class _Expectation:
    """The block in which a ``_StateChange`` may move to one state, and has to."""

    __slots__ = ("_expected", "_subject")

    def __init__(self, subject: _StateChange, expected: _StateChangeState) -> None:
        self._subject = subject
        self._expected = expected

    def __enter__(self) -> None:
        self._subject._next_state = self._expected

    def __exit__(self, type_: Any, value: Any, traceback: Any) -> None:
        self._subject._next_state = CHANGE_IN_PROGRESS
        if type_ is None and self._subject._state is not self._expected:
            raise _illegal(f"Unexpected state change to {self._subject._state!r}")
