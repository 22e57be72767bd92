"""The state of a mapped object as `inspect(obj)` shows it.

Everything that is asked often is native; this subclass adds what is asked by people: attribute views, history as a
named tuple, the running of constructors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic

from sqlalchemy import util
from typing_extensions import TypeVar

from .. import _core
from .._sa import _self_inspects
from . import exc, interfaces
from ._history import History
from ._state_views import CommittedState, ExpiredAttributes
from .base import INIT_OK, NO_VALUE, PASSIVE_NO_INITIALIZE, PASSIVE_OFF, opt_manager_of_class

# a state whose class nobody names is one of any object
_O = TypeVar("_O", bound=Any, default=Any)

# from a session to its AsyncSession, where `rustalchemy.ext.asyncio` is in use
_async_provider: Callable[[Any], Any] | None = None


@_self_inspects
class InstanceState(_core.InstanceState, interfaces.InspectionAttr, Generic[_O]):
    """The bookkeeping of one mapped object."""

    __slots__ = ()

    is_instance = True

    @property
    def attrs(self) -> Any:
        """A view of each attribute: loaded value, value, history."""
        return util.ReadOnlyProperties({key: AttributeState(self, key) for key in self.manager})

    @property
    def session_id(self) -> int | None:
        """The number of the session the object is in."""
        return super().session_id

    @session_id.setter
    def session_id(self, number: int) -> None:
        sessions = {session.hash_key: session for session in _core.live_sessions()}
        before = self._load_pending
        sessions[number]._uow_enable_relationship_loading(self)
        self._load_pending = before

    @property
    def async_session(self) -> Any:
        """The AsyncSession of the object, if it is in one."""
        owner = self.session
        return None if _async_provider is None or owner is None else _async_provider(owner)

    def get_history(self, key: str, passive: Any = PASSIVE_OFF) -> History:
        # through the attribute: a synonym's key stands for another one
        return self.manager[key].impl.get_history(self, None, passive)

    def get_impl(self, key: str) -> Any:
        return self.manager[key].impl

    @property
    def expired_attributes(self) -> ExpiredAttributes:
        """Names of the attributes that the next access loads again; a live set."""
        return ExpiredAttributes(self)

    @property
    def committed_state(self) -> CommittedState:
        """Old values of changed attributes; a live dictionary."""
        return CommittedState(self)

    def __reduce__(self) -> Any:
        return _core._new_state, (), self.__getstate__()

    def __getstate__(self) -> dict[str, Any]:
        """What pickles of the state hold; ``pickle`` listeners may add to it."""
        state_dict = _core._describe_state(self)
        manager = _SerializedManager(state_dict["class_"])
        state_dict["manager"] = manager
        return state_dict

    def __setstate__(self, state_dict: dict[str, Any]) -> None:
        """Become the state of the object that was pickled with it, which is detached or transient again."""
        instance = state_dict["instance"]
        _SerializedManager(state_dict["class_"]).get(instance)
        _core._restore_state(self, state_dict)
        state_dict["manager"](self, instance, state_dict)

    @property
    def unloaded(self) -> set[str]:
        """Names of attributes without a value, synonyms and composites included."""
        return super().unloaded.union(self._described_keys().difference(self.dict))

    @property
    def unmodified(self) -> set[str]:
        """Names of attributes without changes, synonyms and composites included."""
        return super().unmodified.union(self._described_keys())

    def _described_keys(self) -> set[str]:
        """Names of the attributes that stand for others."""
        return {key for key, attr in self.manager.items() if not isinstance(attr, _core.AttributeDescriptor)}

    @property
    def unloaded_expirable(self) -> set[str]:
        return self.unloaded

    def _initialize_instance(self, /, instance: Any, *args: Any, **kwargs: Any) -> None:
        """Run the constructor of a class that was mapped after it was written, with the events around it."""
        manager = self.manager
        manager.dispatch.init(self, args, kwargs)
        try:
            manager.original_init(instance, *args, **kwargs)
        except BaseException:
            with util.safe_reraise():
                manager.dispatch.init_failure(self, args, kwargs)

    @classmethod
    def _instance_level_callable_processor(cls, manager: Any, fn: Callable[..., Any], key: str) -> Callable[..., None]:
        """Give a row processor that puts a loader in the place of an attribute's value."""

        def set_callable(state: Any, dict_: Any, row: Any) -> None:
            state._set_callable(key, fn)

        return set_callable

    def _copy_callables(self, from_: InstanceState) -> None:
        if from_.callables:
            self.callables = dict(from_.callables)

    @classmethod
    def _commit_all_states(cls, iter_: Iterable[tuple[Any, Any]], instance_dict: Any = None) -> None:
        for state, dict_ in iter_:
            state._commit_all(dict_, instance_dict)


class _SerializedManager:
    """Stands in pickles of states for the manager of their class."""

    def __init__(self, class_: type[Any]) -> None:
        self.class_ = class_

    def get(self, instance: object) -> Any:
        manager = opt_manager_of_class(self.class_)
        if manager is None:
            raise exc.UnmappedInstanceError(
                instance,
                f"Cannot deserialize object of type {self.class_!r} - no mapper() has been configured for this class "
                "within the current Python process!",
            )
        if manager.is_mapped:
            manager.mapper._check_configure()
        return manager

    def __call__(self, state: InstanceState, instance: object, state_dict: dict[str, Any]) -> None:
        """What SQLAlchemy's does here, the native core has done."""


class AttributeState:
    """One attribute of one object, as ``inspect(obj).attrs`` shows it."""

    __slots__ = ("key", "state")

    def __init__(self, state: InstanceState, key: str) -> None:
        self.state = state
        self.key = key

    @property
    def loaded_value(self) -> Any:
        """The value in memory, or NO_VALUE; never loads."""
        return self.state.dict.get(self.key, NO_VALUE)

    @property
    def value(self) -> Any:
        """The value as reading the attribute gives it."""
        return self.state.manager[self.key].__get__(self.state.obj(), self.state.class_)

    @property
    def history(self) -> History:
        """What changed since the committed state; never loads."""
        return self.state.get_history(self.key, PASSIVE_NO_INITIALIZE)

    def load_history(self) -> History:
        """The same, after loading the value if it is not there."""
        return self.state.get_history(self.key, PASSIVE_OFF ^ INIT_OK)
