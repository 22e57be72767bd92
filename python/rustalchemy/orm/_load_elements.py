"""What loader options are made of: one element per place in the load path, and how elements take effect.

:mod:`.strategy_options` builds elements as options are chained; when a statement is compiled each element enters itself
into ``compile_state.attributes`` under ``("loader", path)``, where the properties look for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Optional, cast

from sqlalchemy import and_, inspect, util
from sqlalchemy import exc as sa_exc
from sqlalchemy.sql import cache_key, traversals, visitors

from . import util as orm_util
from .base import InspectionAttr, entity_str
from .path_registry import _ACCEPTED_TOKENS, _DEFAULT_TOKEN, _RELATIONSHIP_TOKEN, _WILDCARD_TOKEN, PathRegistry

if TYPE_CHECKING:
    from .strategy_options import Load

_Path = tuple[Any, ...]

# the name of the option that sets a strategy, for messages; by strategy and by the local option that tells two apart
_STRATEGY_FN_LABELS: dict[Any, str] = {
    ((("lazy", "joined"),), "eager_from_alias"): "contains_eager",
    ((("lazy", "joined"),), None): "joinedload",
    ((("lazy", "subquery"),), None): "subqueryload",
    ((("lazy", "selectin"),), None): "selectinload",
    ((("lazy", "select"),), None): "lazyload",
    ((("lazy", "immediate"),), None): "immediateload",
    ((("lazy", "noload"),), None): "noload",
    ((("lazy", "raise"),), None): "raiseload",
    ((("lazy", "raise_on_sql"),), None): "raiseload",
    ((("deferred", True), ("instrument", True)), None): "defer",
    ((("deferred", True), ("instrument", True), ("raiseload", True)), None): "defer",
    ((("deferred", False), ("instrument", True)), None): "undefer",
    ((("query_expression", True),), None): "with_expression",
    ((("selectinload_polymorphic", True),), None): "selectin_polymorphic",
}


def _chop_path(to_chop: _Path, path: PathRegistry) -> Optional[_Path]:
    """The rest of an option's path once the path already walked is taken off; None when they part ways."""
    matched = 0
    for ours, walked in zip(to_chop, path.natural_path, strict=False):
        if isinstance(ours, str):
            if matched == 0 and ours.endswith((f":{_DEFAULT_TOKEN}", f":{_WILDCARD_TOKEN}")):
                return to_chop
            if ours != f"{_RELATIONSHIP_TOKEN}:{_WILDCARD_TOKEN}" and ours != walked.key:
                return None
        if ours is not walked:
            both_mappers = isinstance(ours, InspectionAttr) and ours.is_mapper and walked.is_mapper
            if not both_mappers or not cast("Any", ours).isa(walked):
                return None
        matched += 1
    return to_chop[matched:]


def _links(parent: Load, entity: Any) -> bool:
    """Whether an option about ``entity`` can follow ``parent``."""
    candidates = (parent.path.odd_element(-1), *parent.additional_source_entities)
    return any(orm_util._entity_corresponds_to_use_path_impl(candidate, entity) for candidate in candidates)


def _raise_for_does_not_link(path: Any, attrname: Any, parent_entity: Any) -> NoReturn:
    elements = path.path
    if len(elements) <= 1:
        raise sa_exc.ArgumentError(
            f'ORM mapped attribute "{attrname}" does not link mapped class "{entity_str(elements[-1])}"'
        )
    target, relationship = elements[-1], elements[-2]
    as_subtype = target.entity is not relationship.mapper.class_
    hint = ""
    if (
        not as_subtype
        and not target.is_aliased_class
        and orm_util._entity_corresponds_to(path.entity, inspect(parent_entity).mapper)
    ):
        hint = (
            f'  Did you mean to use "{entity_str(relationship)}.of_type({entity_str(parent_entity)})" or '
            f'"loadopt.options(selectin_polymorphic({relationship.mapper.class_.__name__}, '
            f'[{entity_str(parent_entity)}]), ...)" ?'
        )
    of_type = f".of_type({entity_str(target)})" if as_subtype else ""
    raise sa_exc.ArgumentError(
        f'ORM mapped entity or attribute "{attrname}" does not link from relationship '
        f'"{entity_str(relationship)}{of_type}".{hint}'
    )


def _parse_attr_argument(attr: Any) -> tuple[Any, Any, Any]:
    """(inspected, entity it hangs from, property) of an attribute given to an option."""
    message = "expected ORM mapped attribute for loader strategy argument"
    try:
        insp = inspect(attr)
    except sa_exc.NoInspectionAvailable as err:
        raise sa_exc.ArgumentError(message) from err
    if getattr(insp, "is_property", False):
        return insp, insp.parent, insp
    if getattr(insp, "is_attribute", False):
        return insp, insp.parent, insp.prop
    raise sa_exc.ArgumentError(message)


class _LoadElement(cache_key.HasCacheKey, traversals.HasShallowCopy, visitors.Traversible):
    """A strategy, or options for one, at one place of a load."""

    __slots__ = ("_extra_criteria", "_reconcile_to_other", "local_opts", "path", "propagate_to_loaders", "strategy")
    __visit_name__ = "load_element"

    _traverse_internals = [
        ("path", visitors.ExtendedInternalTraversal.dp_has_cache_key),
        ("strategy", visitors.ExtendedInternalTraversal.dp_plain_obj),
        ("local_opts", visitors.ExtendedInternalTraversal.dp_string_multi_dict),
        ("_extra_criteria", visitors.InternalTraversal.dp_clauseelement_list),
        ("propagate_to_loaders", visitors.InternalTraversal.dp_plain_obj),
        ("_reconcile_to_other", visitors.InternalTraversal.dp_plain_obj),
    ]
    _cache_key_traversal = None

    path: Any
    strategy: Any
    propagate_to_loaders: bool
    local_opts: Any
    _extra_criteria: tuple[Any, ...]
    #: True: gives way to any other element at its place; False: wins over any other
    _reconcile_to_other: Optional[bool]
    is_class_strategy: bool
    is_token_strategy: bool

    def __init__(self) -> None:
        raise NotImplementedError()

    __hash__ = object.__hash__

    def __eq__(self, other: Any) -> bool:
        return traversals.compare(self, other)

    @classmethod
    def create(
        cls,
        path: Any,
        attr: Any,
        strategy: Any,
        wildcard_key: Optional[str],
        local_opts: Optional[dict[str, Any]],
        propagate_to_loaders: bool,
        *,
        raiseerr: bool = True,
        attr_group: Optional[tuple[Any, ...]] = None,
        reconcile_to_other: Optional[bool] = None,
        extra_criteria: Optional[tuple[Any, ...]] = None,
    ) -> Any:
        """An element for ``attr`` below ``path``; None when it does not apply there and ``raiseerr`` is off."""
        element = cls.__new__(cls)
        element.path = path
        element.strategy = strategy
        element.propagate_to_loaders = propagate_to_loaders
        element.local_opts = util.immutabledict(local_opts) if local_opts else util.EMPTY_DICT
        element._extra_criteria = ()
        says_nothing = strategy is None and not local_opts
        element._reconcile_to_other = True if reconcile_to_other is None and says_nothing else reconcile_to_other
        place = element._init_path(path, attr, wildcard_key, attr_group, raiseerr, extra_criteria)
        if not place:
            return None
        element.path = place
        return element

    def _init_path(
        self,
        path: Any,
        attr: Any,
        wildcard_key: Optional[str],
        attr_group: Optional[tuple[Any, ...]],
        raiseerr: bool,
        extra_criteria: Optional[tuple[Any, ...]],
    ) -> Any:
        raise NotImplementedError()

    @property
    def is_opts_only(self) -> bool:
        return bool(self.local_opts and self.strategy is None)

    def _clone(self, **kw: Any) -> Any:
        copy = self.__class__.__new__(self.__class__)
        self._shallow_copy_to(copy)
        return copy

    def _update_opts(self, **kw: Any) -> Any:
        copy = self._clone()
        copy.local_opts = copy.local_opts.union(kw)
        return copy

    def __getstate__(self) -> dict[str, Any]:
        state = self._shallow_to_dict()
        state["path"] = self.path.serialize()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state["path"] = PathRegistry.deserialize(state["path"])
        self._shallow_from_dict(state)

    # moving an element

    def _recurse(self) -> Any:
        copy = self._clone()
        copy.path = PathRegistry.coerce(self.path[:] + self.path[-2:])
        return copy

    def _prepend_path(self, path: PathRegistry) -> Any:
        copy = self._clone()
        copy.path = PathRegistry.coerce(path[0:-1] + copy.path[:])
        return copy

    def _prepend_path_from(self, parent: Load) -> Any:
        if not _links(parent, self.path.odd_element(0)):
            raise sa_exc.ArgumentError(
                f'Attribute "{self.path[1]}" does not link from element "{entity_str(parent.path[-1])}".'
            )
        return self._prepend_path(parent.path)

    def _adjust_effective_path_for_current_path(self, effective: PathRegistry, current: PathRegistry) -> Any:
        """What is left of the path when the statement itself loads on behalf of ``current``."""
        rest = _chop_path(effective.natural_path, current)
        if not rest:
            return None
        # natural paths name what relationships lead to by nature; the option's own entity leads
        lead = self.path[len(effective) - len(rest)]
        return PathRegistry.coerce((lead, *rest[1:]))

    # taking effect

    def process_compile_state(
        self,
        parent_loader: Any,
        compile_state: Any,
        mapper_entities: Sequence[Any],
        reconciled_lead_entity: Any,
        raiseerr: bool,
    ) -> None:
        if compile_state.compile_options._for_refresh_state and not self.propagate_to_loaders:
            return
        loaders = compile_state.attributes
        for place in self._places(parent_loader, compile_state, mapper_entities, reconciled_lead_entity, raiseerr):
            key = ("loader", place)
            loaders[key] = self._reconcile(self, loaders[key]) if key in loaders else self

    def _places(
        self,
        parent_loader: Any,
        compile_state: Any,
        mapper_entities: Sequence[Any],
        reconciled_lead_entity: Any,
        raiseerr: bool,
    ) -> Iterable[_Path]:
        """Natural paths this element speaks about in the statement."""
        raise NotImplementedError()

    def _raise_for_no_match(self, parent_loader: Any, mapper_entities: Sequence[Any]) -> NoReturn:
        entities = [ent.entity_zero for ent in mapper_entities if ent.entity_zero]
        option = self._to_option_method_string()
        if not entities:
            raise sa_exc.ArgumentError(
                f"Query has only expression-based entities; attribute loader option {option} can't be applied here."
            )
        raise sa_exc.ArgumentError(
            f"Mapped class {entity_str(parent_loader.path[0])} referenced in option {option} does not apply to any of "
            f"the root entities in this query, e.g. {', '.join(entity_str(entity) for entity in entities)}. "
            "Please specify the full path from one of the root entities to the target attribute. "
        )

    def _to_option_method_string(self) -> str:
        names = [_STRATEGY_FN_LABELS.get((self.strategy, opt)) for opt in (*self.local_opts, None)]
        name = next((name for name in names if name), "defaultload")
        return f"{name}({self.path.path_string()})"

    @staticmethod
    def _reconcile(replacement: _LoadElement, existing: _LoadElement) -> _LoadElement:
        """Which of two elements at one place stands, or the merger of both."""
        if replacement._reconcile_to_other is not None:
            return existing if replacement._reconcile_to_other else replacement
        if existing._reconcile_to_other is not None:
            return replacement if existing._reconcile_to_other else existing
        if existing is replacement or (
            existing.strategy == replacement.strategy and existing.local_opts == replacement.local_opts
        ):
            return replacement
        for strategic, opts_only in ((existing, replacement), (replacement, existing)):
            if opts_only.is_opts_only:
                merged = strategic._update_opts(**opts_only.local_opts)
                merged._extra_criteria += opts_only._extra_criteria
                return merged
        if replacement.path.is_token:
            return replacement
        raise sa_exc.InvalidRequestError(
            f"Loader strategy replacement {replacement._to_option_method_string()} is in conflict with existing "
            f"strategy {existing._to_option_method_string()}"
        )


class _AttributeStrategyLoad(_LoadElement):
    """An element about one attribute, possibly narrowed by ``of_type()`` or ``and_()``."""

    __slots__ = ("_of_type", "_path_with_polymorphic_path")
    __visit_name__ = "attribute_strategy_load_element"

    _traverse_internals = [
        *_LoadElement._traverse_internals,
        ("_of_type", visitors.ExtendedInternalTraversal.dp_multi),
        ("_path_with_polymorphic_path", visitors.ExtendedInternalTraversal.dp_has_cache_key),
    ]

    _of_type: Any
    _path_with_polymorphic_path: Any
    is_class_strategy = False
    is_token_strategy = False

    def _init_path(
        self, path: Any, attr: Any, wildcard_key: Any, attr_group: Any, raiseerr: bool, extra_criteria: Any
    ) -> Any:
        self._of_type = self._path_with_polymorphic_path = None
        insp, _, prop = _parse_attr_argument(attr)
        if insp.is_property:
            place = path[prop]
            return place.entity_path if place.has_entity else place

        if not orm_util._entity_corresponds_to_use_path_impl(path[-1], attr.parent):
            if not raiseerr:
                return None
            if attr_group and attr is not attr_group[0]:
                raise sa_exc.ArgumentError(
                    "Can't apply wildcard ('*') or load_only() loader option to multiple entities in the same option. "
                    "Use separate options per entity."
                )
            _raise_for_does_not_link(path, str(attr), attr.parent)

        self._extra_criteria = extra_criteria or attr._extra_criteria
        place = path[prop]
        if getattr(attr, "_of_type", None):
            self._of_type = inspect(attr._of_type)
            self._path_with_polymorphic_path = path.entity_path[prop]
            place = place[self._of_type]
        return place.entity_path if place.has_entity else place

    def _prepend_path(self, path: PathRegistry) -> Any:
        copy = super()._prepend_path(path)
        if self._path_with_polymorphic_path is not None:
            copy._path_with_polymorphic_path = PathRegistry.coerce(path[0:-1] + self._path_with_polymorphic_path[:])
        return copy

    def _generate_extra_criteria(self, context: Any) -> Any:
        """The ``and_()`` criteria with this execution's parameter values put in place of the cached ones."""
        criterion = and_(*self._extra_criteria)
        is_own = context.query is context.compile_state.select_statement
        return criterion if is_own else context.with_parameters(criterion)

    def _with_current_criteria(self, context: Any) -> Any:
        """This element for objects of one execution, which keep it for their own loads."""
        copy = self._clone()
        copy._extra_criteria = (self._generate_extra_criteria(context),)
        return copy

    def _set_of_type_info(self, attributes: dict[Any, Any], current_path: PathRegistry) -> None:
        entity = self._of_type
        if not entity.is_aliased_class:
            entity = inspect(
                orm_util.AliasedInsp._with_polymorphic_factory(
                    entity.mapper.base_mapper, (entity.mapper,), aliased=True, _use_mapper_path=True
                )
            )
        place = self._path_with_polymorphic_path
        if current_path:
            place = self._adjust_effective_path_for_current_path(place, current_path)
            if place is None:
                return
        key = ("path_with_polymorphic", place.natural_path)
        existing = attributes.get(key)
        if existing is not None:
            if existing.mapper is not entity.mapper:
                raise sa_exc.InvalidRequestError(
                    f"Can't combine of_type() targets {existing} and {entity} along the relationship {place[-1]} in "
                    "the same query.  To load multiple subclasses along a single relationship, use a single "
                    "with_polymorphic() object that includes all of the target classes."
                )
            entity = existing._merge_with(entity)
        attributes[key] = entity

    def _places(
        self,
        parent_loader: Any,
        compile_state: Any,
        mapper_entities: Sequence[Any],
        reconciled_lead_entity: Any,
        raiseerr: bool,
    ) -> Iterable[_Path]:
        if self._of_type:
            self._set_of_type_info(compile_state.attributes, compile_state.current_path)
        if not self.strategy and not self.local_opts:
            return ()
        if raiseerr and not reconciled_lead_entity:
            self._raise_for_no_match(parent_loader, mapper_entities)
        # options about a relationship are looked up at the relationship, not at the entity it leads to
        place = self.path.parent if self.path.has_entity else self.path
        if compile_state.current_path:
            place = self._adjust_effective_path_for_current_path(place, compile_state.current_path)
        return () if place is None else (place.natural_path,)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        # criteria hold mapped entities of this process
        state["_extra_criteria"] = ()
        if self._path_with_polymorphic_path:
            state["_path_with_polymorphic_path"] = self._path_with_polymorphic_path.serialize()
        if self._of_type:
            state["_of_type"] = None if self._of_type.is_aliased_class else self._of_type.class_
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        place = state.get("_path_with_polymorphic_path")
        self._path_with_polymorphic_path = PathRegistry.deserialize(place) if place else None
        of_type = state.get("_of_type")
        self._of_type = inspect(of_type) if of_type else None


class _TokenStrategyLoad(_LoadElement):
    """An element about all attributes of a kind: ``"*"``."""

    __slots__ = ()
    __visit_name__ = "token_strategy_load_element"

    inherit_cache = True
    is_class_strategy = False
    is_token_strategy = True

    def _init_path(
        self, path: Any, attr: Any, wildcard_key: Any, attr_group: Any, raiseerr: bool, extra_criteria: Any
    ) -> Any:
        if attr is None:
            return path
        if attr not in _ACCEPTED_TOKENS:
            raise sa_exc.ArgumentError(
                "Strings are not accepted for attribute names in loader options; please use "
                "class-bound attributes directly."
            )
        return path.token(f"{wildcard_key}:{attr}" if wildcard_key else attr)

    def _places(
        self,
        parent_loader: Any,
        compile_state: Any,
        mapper_entities: Sequence[Any],
        reconciled_lead_entity: Any,
        raiseerr: bool,
    ) -> Iterable[_Path]:
        if not self.strategy and not self.local_opts:
            return ()
        place = self.path
        if reconciled_lead_entity:
            place = PathRegistry.coerce((reconciled_lead_entity, *place.path[1:]))
        if compile_state.current_path:
            place = self._adjust_effective_path_for_current_path(place, compile_state.current_path)
            if place is None:
                return ()
        return place._generate_natural_for_superclasses()


class _ClassStrategyLoad(_LoadElement):
    """An element about an entity itself: ``selectin_polymorphic()``."""

    __slots__ = ()
    __visit_name__ = "class_strategy_load_element"

    inherit_cache = True
    is_class_strategy = True
    is_token_strategy = False

    def _init_path(
        self, path: Any, attr: Any, wildcard_key: Any, attr_group: Any, raiseerr: bool, extra_criteria: Any
    ) -> Any:
        return path

    def _places(
        self,
        parent_loader: Any,
        compile_state: Any,
        mapper_entities: Sequence[Any],
        reconciled_lead_entity: Any,
        raiseerr: bool,
    ) -> Iterable[_Path]:
        if not self.strategy and not self.local_opts:
            return ()
        place = self.path
        if compile_state.current_path:
            place = self._adjust_effective_path_for_current_path(place, compile_state.current_path)
        return () if place is None else (place.natural_path,)


def _with_parameters(elements: Sequence[_LoadElement], context: Any) -> list[_LoadElement]:
    """Elements whose criteria have the parameters of one execution."""
    adapted = []
    for element in elements:
        if element._extra_criteria:
            element = element._clone()
            element._extra_criteria = tuple(map(context.with_parameters, element._extra_criteria))
        adapted.append(element)
    return adapted
