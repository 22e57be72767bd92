"""Relationships that no load touches, ``lazy="noload"`` among them, and what all strategies of relationships share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from sqlalchemy import util

from . import relationships
from .interfaces import LoaderStrategy
from .strategies import _register_attribute

if TYPE_CHECKING:
    from ._row_plans import EntityParts, RowPlanBuilder


class _AbstractRelationshipLoader(LoaderStrategy):
    """What strategies of relationships have in common."""

    __slots__ = ("entity", "mapper", "target", "uselist")

    def __init__(self, parent: Any, strategy_key: Any) -> None:
        super().__init__(parent, strategy_key)
        prop: Any = self.parent_property
        self.mapper = prop.mapper
        self.entity = prop.entity
        self.target = prop.target
        self.uselist = prop.uselist

    def _immediate_plan_row(self, *args: Any) -> None:
        self.parent_property._get_strategy((("lazy", "immediate"),)).plan_row(*args)

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
        pass


@relationships.RelationshipProperty.strategy_for(do_nothing=True)
class _DoNothingLoader(_AbstractRelationshipLoader):
    """Leaves the attribute to what the class does by itself."""

    __slots__ = ()

    def __init__(self, parent: Any, strategy_key: Any) -> None:
        LoaderStrategy.__init__(self, parent, strategy_key)


@relationships.RelationshipProperty.strategy_for(lazy="noload")
@relationships.RelationshipProperty.strategy_for(lazy=None)
class _NoLoader(_AbstractRelationshipLoader):
    """Answers None or an empty collection."""

    __slots__ = ()

    @util.deprecated(
        "2.1",
        "The ``noload`` loader strategy is deprecated and will be removed in a future release.  This option produces "
        "incorrect results by returning ``None`` for related items.",
    )
    def init_class_attribute(self, mapper: Any) -> None:
        self.is_class_level = True
        _register_attribute(
            self.parent_property,
            mapper,
            useobject=True,
            typecallable=self.parent_property.collection_class,
        )

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
        key = self.key
        if not mapper.class_manager[key].impl.supports_population:
            return  # a dynamic or write-only collection is never there
        empty: Any = () if self.uselist else None

        def leave_empty(state: Any, row: Any, is_new: Optional[bool]) -> None:
            if is_new is None and key in state.dict:
                return
            state.get_impl(key).set_committed_value(state, state.dict, empty)

        parts.on_new.append(leave_empty)
