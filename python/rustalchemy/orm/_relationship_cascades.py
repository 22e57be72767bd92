"""What ``Session.merge()`` and the cascades do along a relationship."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from . import attributes
from ._typing import is_has_collection_adapter
from .base import LoaderCallableStatus, PassiveFlag


class _RelationshipCascades:
    """Mixin of ``RelationshipProperty``: merge and cascades."""

    __slots__ = ()

    # what the property itself provides
    if TYPE_CHECKING:

        def __getattr__(self, key: str) -> Any: ...

    def merge(
        self,
        session: Any,
        source_state: Any,
        source_dict: dict[str, Any],
        dest_state: Any,
        dest_dict: dict[str, Any],
        load: bool,
        _recursive: dict[Any, object],
        _resolve_conflict_map: dict[Any, object],
    ) -> None:
        if load and any((source_state, reverse) in _recursive for reverse in self._reverse_property):
            return
        if "merge" not in self._cascade or self.key not in source_dict:
            return

        def merged(current: Any) -> Any:
            current_state = attributes.instance_state(current)
            _recursive[(current_state, self)] = True
            return session._merge(
                current_state,
                attributes.instance_dict(current),
                load=load,
                _recursive=_recursive,
                _resolve_conflict_map=_resolve_conflict_map,
            )

        dest_impl = dest_state.get_impl(self.key)
        if self.uselist:
            members = list(source_state.get_impl(self.key).get_collection(source_state, source_dict))
            if load:
                # the collection is loaded first, so that what merge replaces is seen as removed
                dest_impl.get(dest_state, dest_dict, passive=PassiveFlag.PASSIVE_MERGE)
            merged_members = [obj for obj in map(merged, members) if obj is not None]
            if load:
                dest_impl.set(dest_state, dest_dict, merged_members, _adapt=False, passive=PassiveFlag.PASSIVE_MERGE)
            else:
                collection = attributes.init_state_collection(dest_state, dest_dict, self.key)
                for obj in merged_members:
                    collection.append_without_event(obj)
            return

        current = source_dict[self.key]
        obj = None if current is None else merged(current)
        if load:
            dest_impl.set(dest_state, dest_dict, obj, None)
        else:
            dest_impl.set_committed_value(dest_state, dest_dict, obj)

    def _value_as_iterable(
        self, state: Any, dict_: dict[str, Any], key: str, passive: Any = PassiveFlag.PASSIVE_OFF
    ) -> Sequence[tuple[Any, Any]]:
        """The related objects with their states, whether the attribute holds one or many."""
        impl = state.manager[key].impl
        value = impl.get(state, dict_, passive=passive)
        if value is LoaderCallableStatus.PASSIVE_NO_RESULT or value is None:
            return []
        if is_has_collection_adapter(impl):
            members = impl.get_collection(state, dict_, value, passive=passive)
            return [(attributes.instance_state(member), member) for member in members]
        return [(attributes.instance_state(value), value)]

    def cascade_iterator(
        self,
        type_: str,
        state: Any,
        dict_: dict[str, Any],
        visited_states: set[Any],
        halt_on: Callable[[Any], bool] | None = None,
    ) -> Iterator[tuple[Any, Any, Any, Any]]:
        if type_ != "delete" or self.passive_deletes:
            passive = PassiveFlag.PASSIVE_NO_INITIALIZE
        else:
            passive = PassiveFlag.PASSIVE_OFF | PassiveFlag.NO_RAISE
        if type_ == "save-update":
            pairs = state.manager[self.key].impl.get_all_pending(state, dict_)
        else:
            pairs = self._value_as_iterable(state, dict_, self.key, passive=passive)
        # pending members are left alone by refresh, unless they would be orphans
        skip_pending = type_ == "refresh-expire" and "delete-orphan" not in self._cascade

        for member_state, member in pairs:
            if member_state in visited_states or member is None:
                continue
            if halt_on and halt_on(member_state):
                continue
            if skip_pending and not member_state.key:
                continue
            mapper = member_state.manager.mapper
            if not mapper.isa(self.mapper.class_manager.mapper):
                raise AssertionError(
                    f"Attribute '{self.key}' on class '{self.parent.class_}' doesn't handle objects of type "
                    f"'{member.__class__}'"
                )
            visited_states.add(member_state)
            yield member, mapper, member_state, attributes.instance_dict(member)
