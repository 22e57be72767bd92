"""The methods all loader options have: each names a strategy for attributes and comes down to one of four setters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Optional

from sqlalchemy import inspect, util
from sqlalchemy.sql import coercions, roles, traversals

from .. import _sa
from . import util as orm_util
from ._load_elements import _chop_path
from .interfaces import LoaderOption
from .path_registry import _COLUMN_TOKEN, _RELATIONSHIP_TOKEN, _WILDCARD_TOKEN, PathRegistry

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._typing import _AttrType
    from .strategy_options import Load


class _AbstractLoad(traversals.GenerativeOnTraversal, LoaderOption):
    """The methods all loader options have."""

    __slots__ = ("is_shared", "propagate_to_loaders")

    _is_strategy_option = True
    propagate_to_loaders: bool
    #: the same object each time it is asked for, so that its identity says what it is; not set in any other
    is_shared: bool

    # relationships

    def contains_eager(
        self, attr: _AttrType, alias: Any = None, _is_chain: bool = False, _propagate_to_loaders: bool = False
    ) -> Self:
        """Take ``attr`` from columns the statement states explicitly."""
        if isinstance(alias, str):
            util.warn_deprecated(
                "Passing a string name for the 'alias' argument to 'contains_eager()` is deprecated, and will not work "
                "in a future release.  Please use a sqlalchemy.alias() or sqlalchemy.orm.aliased() construct.",
                version="1.4",
            )
        elif alias is not None:
            alias = coercions.expect(roles.FromClauseRole, alias)
        elif of_type := getattr(attr, "_of_type", None):
            alias = inspect(of_type).selectable
        return self._set_relationship_strategy(
            attr,
            {"lazy": "joined"},
            propagate_to_loaders=_propagate_to_loaders,
            opts={"eager_from_alias": alias},
            # an intermediate step of a chain gives way to what is said about it elsewhere
            _reconcile_to_other=True if _is_chain else None,
        )

    def joinedload(self, attr: _AttrType, innerjoin: Any = None) -> Self:
        """Load ``attr`` by a JOIN added to the statement."""
        opts = {} if innerjoin is None else {"innerjoin": innerjoin}
        return self._set_relationship_strategy(attr, {"lazy": "joined"}, opts=opts)

    def subqueryload(self, attr: _AttrType) -> Self:
        """Load ``attr`` by a second statement that embeds the first as a subquery."""
        return self._set_relationship_strategy(attr, {"lazy": "subquery"})

    def selectinload(
        self, attr: _AttrType, recursion_depth: Optional[int] = None, chunksize: Optional[int] = None
    ) -> Self:
        """Load ``attr`` by a second statement with the parents' keys in an IN list."""
        return self._set_relationship_strategy(
            attr, {"lazy": "selectin"}, opts={"recursion_depth": recursion_depth, "chunksize": chunksize}
        )

    def lazyload(self, attr: _AttrType) -> Self:
        """Load ``attr`` when it is first read."""
        return self._set_relationship_strategy(attr, {"lazy": "select"})

    def immediateload(self, attr: _AttrType, recursion_depth: Optional[int] = None) -> Self:
        """Load ``attr`` right after its parents, one SELECT each."""
        return self._set_relationship_strategy(attr, {"lazy": "immediate"}, opts={"recursion_depth": recursion_depth})

    @util.deprecated(
        "2.1",
        "The :func:`_orm.noload` option is deprecated and will be removed in a future release.  This option "
        "produces incorrect results by returning ``None`` for related items.",
    )
    def noload(self, attr: _AttrType) -> Self:
        """Leave ``attr`` empty."""
        return self._set_relationship_strategy(attr, {"lazy": "noload"})

    def raiseload(self, attr: _AttrType, sql_only: bool = False) -> Self:
        """Refuse to load ``attr`` when it is read."""
        return self._set_relationship_strategy(attr, {"lazy": "raise_on_sql" if sql_only else "raise"})

    def defaultload(self, attr: _AttrType) -> Self:
        """Leave ``attr`` as mapped; a step towards options below it."""
        return self._set_relationship_strategy(attr, None)

    # columns

    def load_only(self, *attrs: _AttrType, raiseload: bool = False) -> Self:
        """Load these columns, defer all others."""
        others: dict[str, Any] = {"deferred": True, "instrument": True}
        if raiseload:
            others["raiseload"] = True
        named = self._set_column_strategy(_expand_column_strategy_attrs(attrs), {"deferred": False, "instrument": True})
        return named._set_column_strategy(("*",), others)

    def defer(self, key: _AttrType, raiseload: bool = False) -> Self:
        """Load this column when it is first read."""
        strategy: dict[str, Any] = {"deferred": True, "instrument": True}
        if raiseload:
            strategy["raiseload"] = True
        return self._set_column_strategy(_expand_column_strategy_attrs((key,)), strategy)

    def undefer(self, key: _AttrType) -> Self:
        """Load this column with the others."""
        return self._set_column_strategy(_expand_column_strategy_attrs((key,)), {"deferred": False, "instrument": True})

    def undefer_group(self, name: str) -> Self:
        """Load the deferred columns of a group with the others."""
        return self._set_column_strategy((_WILDCARD_TOKEN,), None, {f"undefer_group_{name}": True})

    def with_expression(self, key: _AttrType, expression: Any) -> Self:
        """Load ``expression`` into a ``query_expression()`` attribute."""
        plain = orm_util._orm_full_deannotate(coercions.expect(roles.LabeledColumnExprRole, expression))
        return self._set_column_strategy((key,), {"query_expression": True}, extra_criteria=(plain,))

    def selectin_polymorphic(self, classes: Iterable[type[Any]]) -> Self:
        """Load the columns of these subclasses by further statements with IN."""
        # sorted, so that the order in which they are named does not show in the cache key
        entities = tuple(sorted((inspect(cls) for cls in classes), key=id))
        return self._set_class_strategy({"selectinload_polymorphic": True}, opts={"entities": entities})

    # what the above come down to

    @staticmethod
    def _coerce_strat(strategy: Optional[dict[str, Any]]) -> Any:
        return None if strategy is None else tuple(sorted(strategy.items()))

    @_sa._generative
    def _set_relationship_strategy(
        self,
        attr: Any,
        strategy: Optional[dict[str, Any]],
        propagate_to_loaders: bool = True,
        opts: Optional[dict[str, Any]] = None,
        _reconcile_to_other: Optional[bool] = None,
    ) -> Self:
        self._clone_for_bind_strategy(
            (attr,),
            self._coerce_strat(strategy),
            _RELATIONSHIP_TOKEN,
            opts=opts,
            propagate_to_loaders=propagate_to_loaders,
            reconcile_to_other=_reconcile_to_other,
        )
        return self

    @_sa._generative
    def _set_column_strategy(
        self,
        attrs: tuple[Any, ...],
        strategy: Optional[dict[str, Any]],
        opts: Optional[dict[str, Any]] = None,
        extra_criteria: Optional[tuple[Any, ...]] = None,
    ) -> Self:
        self._clone_for_bind_strategy(
            attrs,
            self._coerce_strat(strategy),
            _COLUMN_TOKEN,
            opts=opts,
            attr_group=attrs,
            extra_criteria=extra_criteria,
        )
        return self

    @_sa._generative
    def _set_generic_strategy(
        self, attrs: tuple[Any, ...], strategy: dict[str, Any], _reconcile_to_other: Optional[bool] = None
    ) -> Self:
        self._clone_for_bind_strategy(attrs, self._coerce_strat(strategy), None, reconcile_to_other=_reconcile_to_other)
        return self

    @_sa._generative
    def _set_class_strategy(self, strategy: dict[str, Any], opts: dict[str, Any]) -> Self:
        self._clone_for_bind_strategy(None, self._coerce_strat(strategy), None, opts=opts)
        return self

    def options(self, *opts: _AbstractLoad) -> Self:
        raise NotImplementedError()

    def _apply_to_parent(self, parent: Load) -> None:
        raise NotImplementedError()

    def _clone_for_bind_strategy(
        self,
        attrs: Optional[tuple[Any, ...]],
        strategy: Any,
        wildcard_key: Optional[str],
        opts: Optional[dict[str, Any]] = None,
        attr_group: Optional[tuple[Any, ...]] = None,
        propagate_to_loaders: bool = True,
        reconcile_to_other: Optional[bool] = None,
        extra_criteria: Optional[tuple[Any, ...]] = None,
    ) -> Self:
        raise NotImplementedError()

    # taking effect

    def process_compile_state_replaced_entities(self, compile_state: Any, mapper_entities: Sequence[Any]) -> None:
        if compile_state.compile_options._enable_eagerloads:
            self._process(compile_state, mapper_entities, not bool(compile_state.current_path))

    def process_compile_state(self, compile_state: Any) -> None:
        options = compile_state.compile_options
        if options._enable_eagerloads:
            strict = not bool(compile_state.current_path) and not options._for_refresh_state
            self._process(compile_state, compile_state._lead_mapper_entities, strict)

    def _process(self, compile_state: Any, mapper_entities: Sequence[Any], raiseerr: bool) -> Any:
        raise NotImplementedError()

    @classmethod
    def _chop_path(cls, to_chop: tuple[Any, ...], path: PathRegistry, debug: bool = False) -> Any:
        return _chop_path(to_chop, path)


def _expand_column_strategy_attrs(attrs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Composites stand for their columns."""
    expanded: list[Any] = []
    for attr in attrs:
        expanded.extend(attr._column_strategy_attrs() if hasattr(attr, "_column_strategy_attrs") else (attr,))
    return tuple(expanded)
