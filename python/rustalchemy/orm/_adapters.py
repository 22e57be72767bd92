"""Column adapters: translate columns of a mapped table into those of an alias, subquery or join.

Used by ``_aliased`` (every aliased entity has one), by ``context`` (compile state) and by the loader strategies.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy.sql import expression
from sqlalchemy.sql import util as sql_util

if TYPE_CHECKING:
    from collections.abc import Set

    from sqlalchemy.sql.elements import ClauseElement
    from sqlalchemy.sql.selectable import FromClause, Selectable


class _TraceAdaptRole(enum.Enum):
    """Says why an adapter exists; a few rules of eager joins branch on it, and a debugger shows it."""

    ALIASED_INSP = enum.auto()
    JOINEDLOAD_USER_DEFINED_ALIAS = enum.auto()
    JOINEDLOAD_PATH_WITH_POLYMORPHIC = enum.auto()
    JOINEDLOAD_MEMOIZED_ADAPTER = enum.auto()
    MAPPER_POLYMORPHIC_ADAPTER = enum.auto()
    WITH_POLYMORPHIC_ADAPTER = enum.auto()
    WITH_POLYMORPHIC_ADAPTER_RIGHT_JOIN = enum.auto()
    DEPRECATED_JOIN_ADAPT_RIGHT_SIDE = enum.auto()
    ADAPT_FROM_STATEMENT = enum.auto()
    COMPOUND_EAGER_STATEMENT = enum.auto()
    LEGACY_SELECT_FROM_ALIAS = enum.auto()


class ORMStatementAdapter(sql_util.ColumnAdapter):
    """Adapts whatever belongs to a selectable, without knowing of mappers."""

    __slots__ = ("role",)

    def __init__(
        self,
        role: _TraceAdaptRole,
        selectable: Selectable,
        *,
        equivalents: dict[Any, Any] | None = None,
        adapt_required: bool = False,
        allow_label_resolve: bool = True,
        anonymize_labels: bool = False,
        adapt_on_names: bool = False,
        adapt_from_selectables: Set[FromClause] | None = None,
        exclude_fn: Callable[[ClauseElement], bool] | None = None,
    ) -> None:
        self.role = role
        super().__init__(
            selectable,
            equivalents=equivalents,
            adapt_required=adapt_required,
            allow_label_resolve=allow_label_resolve,
            anonymize_labels=anonymize_labels,
            adapt_on_names=adapt_on_names,
            adapt_from_selectables=adapt_from_selectables,
            exclude_fn=exclude_fn,
        )


class ORMAdapter(sql_util.ColumnAdapter):
    """Adapts only what belongs to one entity's mapper hierarchy."""

    __slots__ = ("aliased_insp", "is_aliased_class", "mapper", "role")

    def __init__(
        self,
        role: _TraceAdaptRole,
        entity: Any,
        *,
        equivalents: dict[Any, Any] | None = None,
        adapt_required: bool = False,
        allow_label_resolve: bool = True,
        anonymize_labels: bool = False,
        selectable: Selectable | None = None,
        limit_on_entity: bool = True,
        adapt_on_names: bool = False,
        adapt_from_selectables: Set[FromClause] | None = None,
    ) -> None:
        self.role = role
        self.mapper = entity.mapper
        self.is_aliased_class = bool(entity.is_aliased_class)
        self.aliased_insp = entity if self.is_aliased_class else None
        super().__init__(
            entity.selectable if selectable is None else selectable,
            equivalents,
            adapt_required=adapt_required,
            allow_label_resolve=allow_label_resolve,
            anonymize_labels=anonymize_labels,
            include_fn=self._include_fn if limit_on_entity else None,
            adapt_on_names=adapt_on_names,
            adapt_from_selectables=adapt_from_selectables,
        )

    def _include_fn(self, elem: ClauseElement) -> bool:
        mapper = elem._annotations.get("parentmapper")
        return not mapper or mapper.isa(self.mapper) or self.mapper.isa(mapper)


def _same_shape(elem: Any, target: Any) -> bool:
    """True if two parts of a selectable match: the same, one an alias of the other, joins or groupings of one kind."""
    if elem is target or (isinstance(elem, expression.Alias) and elem.element is target):
        return True
    if elem is None or target is None:
        return False
    if isinstance(elem, expression.Join) and isinstance(target, expression.Join):
        return elem.isouter == target.isouter and elem.full == target.full
    return isinstance(elem, expression.FromGrouping) and isinstance(target, expression.FromGrouping)


def _is_alias_of_selectable(selectable: FromClause, target: FromClause) -> bool:
    """True if ``selectable`` is ``target`` or an alias of it; a flat alias of a join counts."""
    if selectable is target or (isinstance(selectable, expression.Alias) and selectable.element is target):
        return True
    pairs = itertools.zip_longest(sql_util.surface_selectables(selectable), sql_util.surface_selectables(target))
    return all(_same_shape(elem, part) for elem, part in pairs)
