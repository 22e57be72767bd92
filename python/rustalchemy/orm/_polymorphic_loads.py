"""Columns of subclasses loaded by further statements: ``polymorphic_load="selectin"``, ``selectin_polymorphic()``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ._row_plans import Parent, PostLoader

if TYPE_CHECKING:
    from ._row_plans import RowPlanBuilder

_STRATEGY = (("selectinload_polymorphic", True),)


def add_selectin_polymorphic(
    builder: RowPlanBuilder, mapper: Any, path: Any, load_path: Any, polymorphic_from: Any
) -> None:
    """Note the statements that rows of ``mapper``, found through ``polymorphic_from``, need besides their own."""
    option = builder.attributes.get(("loader", path.path))
    entities = None
    if option is not None and option.strategy == _STRATEGY:
        entities = option.local_opts["entities"]
    via = mapper._should_selectin_load(entities, polymorphic_from)
    if not via or via is polymorphic_from:
        return
    steps: list[Any] = [via]
    if via.is_mapper:
        # one statement per mapper between the row's and the one it was found through
        step = via.inherits
        while step and step is not polymorphic_from:
            steps.append(step)
            step = step.inherits
    for entity in steps:
        if builder.has_post_load(load_path, entity):
            builder.share_post_load(load_path, entity)
        else:
            builder.post_load(
                load_path,
                PostLoader(entity, entity.mapper, _load_subclass_via_in, (path, entity, polymorphic_from, entities)),
            )


def _load_subclass_via_in(
    context: Any,
    load_path: Any,
    parents: Sequence[Parent],
    load_only: Any,
    path: Any,
    entity: Any,
    polymorphic_from: Any,
    option_entities: Any,
) -> None:
    from .attributes import instance_state
    from .strategies import _SelectInLoader
    from .strategy_options import Load
    from .util import _entity_corresponds_to

    mapper = entity.mapper
    if not option_entities:
        parents = [
            parent
            for parent in parents
            if instance_state(parent[0]).mapper._would_selectin_load_only_from_given_mapper(mapper)
        ]
        if not parents:
            return

    if entity.is_aliased_class or polymorphic_from.mapper.inherits is not None:
        query, enable, disable = mapper._subclass_load_via_in(entity, polymorphic_from)
    else:
        query, enable, disable = mapper._subclass_load_via_in_mapper
    options = context._loader_strategy_options()
    if load_path.parent:
        enable, disable = enable._prepend_path(load_path), disable._prepend_path(load_path)
    else:
        # options about other entities of the statement do not link to this one
        options = tuple(
            opt for opt in options if not isinstance(opt, Load) or _entity_corresponds_to(entity, opt.path[0])
        )
    query = query.options(enable, *options, disable)
    query._compile_options = context.compile_state.default_compile_options
    query._compile_options += {"_current_path": load_path.parent}
    if context.populate_existing:
        query = query.execution_options(populate_existing=True)

    size = _SelectInLoader._chunksize
    for start in range(0, len(parents), size):
        keys = [parent[1] for parent in parents[start : start + size]]
        context.session.execute(query, {"primary_keys": keys}).unique().scalars().all()
