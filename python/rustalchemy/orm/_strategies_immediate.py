"""Relationships loaded one by one as soon as their parents are read: ``immediateload()``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional

from . import attributes, relationships
from ._prepared_loads import NO_LANE
from ._row_plans import Parent, PostLoader
from ._strategies_lazy import _LAZY
from ._strategies_post import _PostLoader, execution_options
from .base import LoaderCallableStatus, PassiveFlag
from .strategy_options import Load

if TYPE_CHECKING:
    from ._row_plans import EntityParts, RowPlanBuilder


@relationships.RelationshipProperty.strategy_for(lazy="immediate")
class _ImmediateLoader(_PostLoader):
    """Runs the lazy loader for each parent at once."""

    __slots__ = ()

    def plan_row(
        self,
        builder: RowPlanBuilder,
        query_entity: Any,
        path: Any,
        loadopt: Any,
        mapper: Any,
        adapter: Any,
        parts: EntityParts,
    ) -> None:
        if not builder.compile_state.compile_options._enable_eagerloads:
            return
        place, run, _, depth = self._setup_for_recursion(builder, path, loadopt, self.join_depth)
        # on the way back, and once more for a subclass, only the identity map is asked; an expired object found there
        # is taken as it is
        flags = PassiveFlag.PASSIVE_OFF if run else PassiveFlag.PASSIVE_NO_FETCH_RELATED
        builder.post_load(
            place,
            PostLoader(
                self.parent_property,
                self.parent,
                self._load_for_path,
                (loadopt, flags | PassiveFlag.NO_RAISE, depth),
            ),
        )

    def _load_for_path(
        self,
        context: Any,
        path: Any,
        parents: Sequence[Parent],
        load_only: Any,
        loadopt: Any,
        flags: Any,
        recursion_depth: Optional[int],
    ) -> None:
        extra_options: tuple[Any, ...] = ()
        if recursion_depth:
            option = Load(loadopt.path.entity)
            option.context = (loadopt, loadopt._recurse())
            path = path._truncate_recursive()
            extra_options = (option,)
        options = execution_options(self, context, recursion_depth)
        key = self.key
        lazy_loader = self.parent_property._get_strategy(_LAZY)
        # whether the related object is in the session needs no statement
        native = lazy_loader._native if lazy_loader.use_get else None
        passive = int(flags)
        for instance, _, overwrite in parents:
            state = attributes.instance_state(instance)
            if not overwrite and key in state.dict:
                continue
            value = NO_LANE if native is None else native.known(state, passive)
            if value is NO_LANE:
                value = lazy_loader._load_for_state(
                    state,
                    flags,
                    extra_options=extra_options,
                    alternate_effective_path=path,
                    execution_options=options,
                )
            if value is not LoaderCallableStatus.ATTR_WAS_SET and value is not LoaderCallableStatus.PASSIVE_NO_RESULT:
                state.get_impl(key).set_committed_value(state, state.dict, value)
