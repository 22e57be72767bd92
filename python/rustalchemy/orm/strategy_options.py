"""Loader options: ``joinedload()``, ``selectinload()``, ``defer()``, ``load_only()`` and their kin.

An option is a :class:`.Load`: a place it has arrived at (``path``) and the elements collected on the way (``context``,
:mod:`._load_elements`). Methods are generative; the module level functions start a new :class:`.Load` at the entity of
their first argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Optional, cast

from sqlalchemy import exc as sa_exc
from sqlalchemy import inspect, util
from sqlalchemy.sql import visitors

from .. import _sa
from . import util as orm_util
from ._abstract_load import _AbstractLoad as _AbstractLoad
from ._abstract_load import _expand_column_strategy_attrs
from ._load_elements import (
    _AttributeStrategyLoad,
    _chop_path,
    _ClassStrategyLoad,
    _links,
    _LoadElement,
    _parse_attr_argument,
    _raise_for_does_not_link,
    _TokenStrategyLoad,
    _with_parameters,
)
from .attributes import InstrumentedAttribute
from .base import entity_str
from .path_registry import (
    _DEFAULT_TOKEN,
    _RELATIONSHIP_TOKEN,
    _WILDCARD_TOKEN,
    PathRegistry,
)

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._typing import _AttrType

# options of one attribute that are made once: programs write them into the statement that they are about to execute
_SHARED = frozenset(
    (
        _AbstractLoad.joinedload,
        _AbstractLoad.subqueryload,
        _AbstractLoad.selectinload,
        _AbstractLoad.lazyload,
        _AbstractLoad.immediateload,
    )
)

_STRINGS_REFUSED = (
    "Strings are not accepted for attribute names in loader options; please use class-bound attributes directly."
)


class Load(_AbstractLoad):
    """A loader option that starts at an entity."""

    __slots__ = ("additional_source_entities", "context", "path")

    _traverse_internals = [
        ("path", visitors.ExtendedInternalTraversal.dp_has_cache_key),
        ("context", visitors.InternalTraversal.dp_has_cache_key_list),
        ("propagate_to_loaders", visitors.InternalTraversal.dp_boolean),
        ("additional_source_entities", visitors.InternalTraversal.dp_has_cache_key_list),
    ]
    _cache_key_traversal = None

    path: Any
    context: tuple[_LoadElement, ...]
    additional_source_entities: tuple[Any, ...]

    def __init__(self, entity: Any):
        insp = inspect(entity)
        _ = insp._post_inspect  # completes with_polymorphic
        self._start(insp._path_registry)

    def _start(self, path: PathRegistry) -> None:
        self.path = path
        self.context = ()
        self.propagate_to_loaders = False
        self.additional_source_entities = ()

    @classmethod
    def _construct_for_existing_path(cls, path: PathRegistry) -> Load:
        load = cls.__new__(cls)
        load._start(path)
        return load

    def __str__(self) -> str:
        return f"Load({entity_str(self.path[0])})"

    def __getstate__(self) -> dict[str, Any]:
        state = self._shallow_to_dict()
        state["path"] = self.path.serialize()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state["path"] = PathRegistry.deserialize(state["path"])
        self._shallow_from_dict(state)

    # caching: a cached statement's options stand for those of the statement at hand

    def _adapt_cached_option_to_uncached_option(self, context: Any, uncached_opt: Any) -> Load:
        return self if uncached_opt is self else self._adjust_for_extra_criteria(context)

    def _adjust_for_extra_criteria(self, context: Any) -> Load:
        if not any(element._extra_criteria for element in self.context):
            return self
        adjusted = self._clone()
        adjusted.context = tuple(_with_parameters(self.context, context))
        return adjusted

    # building

    @_sa._generative
    def options(self, *opts: _AbstractLoad) -> Self:
        """Say further options about what this one has arrived at."""
        for opt in opts:
            if not isinstance(opt, _AbstractLoad):
                raise sa_exc.ArgumentError(f"Loader option {opt} is not compatible with the Load.options() method.")
            opt._apply_to_parent(self)
        return self

    def _prepend_path(self, path: PathRegistry) -> Load:
        moved = self._clone()
        moved.context = tuple(element._prepend_path(path) for element in self.context)
        return moved

    def _apply_to_parent(self, parent: Load) -> None:
        own_path = self.path
        if not _links(parent, own_path.odd_element(0)):
            _raise_for_does_not_link(parent.path, own_path[1] if len(own_path) > 1 else own_path[0], own_path[0])
        moved = tuple(element._prepend_path_from(parent) for element in self.context)
        if moved:
            parent.context += moved
            parent.additional_source_entities += self.additional_source_entities

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
        if propagate_to_loaders:
            self.propagate_to_loaders = True
        if self.path.is_token:
            raise sa_exc.ArgumentError("Wildcard token cannot be followed by another entity")
        if self.path.is_property:
            if not strategy:
                raise sa_exc.ArgumentError(f"Mapped attribute '{self.path.prop}' does not refer to a mapped entity")
            # raises for a strategy that this kind of property does not have
            self.path.prop._strategy_lookup(self.path.prop, strategy[0])

        if attrs is None:
            element = _ClassStrategyLoad.create(self.path, None, strategy, wildcard_key, opts, propagate_to_loaders)
            if element:
                self.context += (element,)
                self.additional_source_entities += (opts or {})["entities"]
            return self

        for attr in attrs:
            kind = _TokenStrategyLoad if isinstance(attr, str) else _AttributeStrategyLoad
            element = kind.create(
                self.path,
                attr,
                strategy,
                wildcard_key,
                opts,
                propagate_to_loaders,
                attr_group=attr_group,
                reconcile_to_other=reconcile_to_other,
                extra_criteria=extra_criteria,
            )
            if element:
                if wildcard_key is _RELATIONSHIP_TOKEN:
                    # further options continue from the relationship
                    self.path = element.path
                self.context += (element,)
                if element.local_opts.get("recursion_depth", False):
                    self.context += (element._recurse(),)
        return self

    # taking effect

    def _reconcile_query_entities_with_us(self, mapper_entities: Sequence[Any], raiseerr: bool) -> Any:
        """The entity of the statement this option is about."""
        for ent in mapper_entities:
            entity = ent.entity_zero
            if entity and orm_util._entity_corresponds_to(entity, self.path[0]):
                return entity
        return None

    def _process(self, compile_state: Any, mapper_entities: Sequence[Any], raiseerr: bool) -> None:
        lead_entity = self._reconcile_query_entities_with_us(mapper_entities, raiseerr)
        on_behalf = bool(compile_state.compile_options._current_path)
        for element in self.context:
            # contains_eager() speaks about the original statement only
            if not on_behalf or element.propagate_to_loaders:
                element.process_compile_state(self, compile_state, mapper_entities, lead_entity, raiseerr)


class _WildcardLoad(_AbstractLoad):
    """A loader option that starts with ``"*"`` and learns its entity from the statement."""

    __slots__ = ("local_opts", "path", "strategy")

    _traverse_internals = [
        ("strategy", visitors.ExtendedInternalTraversal.dp_plain_obj),
        ("path", visitors.ExtendedInternalTraversal.dp_plain_obj),
        ("local_opts", visitors.ExtendedInternalTraversal.dp_string_multi_dict),
    ]
    cache_key_traversal = None
    propagate_to_loaders = False

    strategy: Any
    path: tuple[str, ...]
    local_opts: Any

    def __init__(self) -> None:
        self.path = ()
        self.strategy = None
        self.local_opts = util.EMPTY_DICT

    def options(self, *opts: _AbstractLoad) -> Self:
        raise NotImplementedError("Star option does not support sub-options")

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
        assert attrs and attrs[0] in (_WILDCARD_TOKEN, _DEFAULT_TOKEN)
        self.strategy = strategy
        self.path = (f"{wildcard_key}:{attrs[0]}",)
        if opts:
            self.local_opts = util.immutabledict(opts)
        return self

    def _apply_to_parent(self, parent: Load) -> None:
        # below an entity the default token means the wildcard of that entity
        place = parent.path.token(f"{self.path[0].split(':')[0]}:{_WILDCARD_TOKEN}")
        parent.context += (
            _TokenStrategyLoad.create(place, None, self.strategy, None, self.local_opts, self.propagate_to_loaders),
        )

    def _process(self, compile_state: Any, mapper_entities: Sequence[Any], raiseerr: bool) -> Any:
        if compile_state.compile_options._for_refresh_state:
            return None
        if compile_state.current_path and _chop_path(self.path, compile_state.current_path) is None:
            return None
        token = self.path[0]
        entity = self._find_entity([ent.entity_zero for ent in mapper_entities], token, raiseerr)
        if entity is None:
            return None
        element = _TokenStrategyLoad.create(
            entity._path_registry,
            token,
            self.strategy,
            None,
            self.local_opts,
            self.propagate_to_loaders,
            raiseerr=raiseerr,
        )
        if element:
            element.process_compile_state(self, compile_state, mapper_entities, None, raiseerr)
        return element

    def _find_entity(self, entities: Sequence[Any], token: str, raiseerr: bool) -> Any:
        if token.endswith(f":{_WILDCARD_TOKEN}"):
            if len(entities) != 1 and raiseerr:
                raise sa_exc.ArgumentError(
                    "Can't apply wildcard ('*') or load_only() loader option to multiple entities "
                    f"{', '.join(str(ent) for ent in entities)}. Specify loader options for each entity individually, "
                    f"""such as {", ".join(f"Load({ent}).some_option('*')" for ent in entities)}."""
                )
        elif token.endswith(_DEFAULT_TOKEN):
            raiseerr = False
        if entities:
            return entities[0]
        if raiseerr:
            raise sa_exc.ArgumentError(
                f'Query has only expression-based entities - can\'t find property named "{token}".'
            )
        return None

    def __getstate__(self) -> dict[str, Any]:
        return self._shallow_to_dict()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._shallow_from_dict(state)


def _generate_from_keys(
    method: Callable[..., Any], keys: Sequence[Any], chained: bool, kw: dict[str, Any]
) -> _AbstractLoad:
    """An option along ``keys``: ``method`` at the last one, steps towards it (or ``method`` too) before."""
    known = None
    if len(keys) == 1 and type(keys[0]) is InstrumentedAttribute and all(value is None for value in kw.values()):
        known = keys[0]._shared_options
        if method in known:
            return cast(_AbstractLoad, known[method])
    option: Any = None
    last = len(keys) - 1
    for position, attr in enumerate(keys):
        if isinstance(attr, str):
            if attr.startswith("." + _WILDCARD_TOKEN):
                util.warn_deprecated(
                    "The undocumented `.{WILDCARD}` format is deprecated and will be removed in a future version as "
                    "it is believed to be unused. If you have been using this functionality, please comment on "
                    "Issue #4390 on the SQLAlchemy project tracker.",
                    version="1.4",
                )
                attr = attr[1:]
            if attr != _WILDCARD_TOKEN:
                raise sa_exc.ArgumentError(_STRINGS_REFUSED)
            if position < last:
                raise sa_exc.ArgumentError("Wildcard token cannot be followed by another entity")
            option = method(_WildcardLoad() if option is None else option, _DEFAULT_TOKEN, **kw)
            continue
        if option is None:
            option = Load(_parse_attr_argument(attr)[1])
        if position == last:
            option = method(option, attr, **kw)
        elif chained:
            option = method(option, attr, _is_chain=True, **kw)
        else:
            option = option.defaultload(attr)
    assert option is not None
    if known is not None and method in _SHARED:
        option.is_shared = True
        known[method] = option
    return cast(_AbstractLoad, option)


def contains_eager(*keys: _AttrType, **kw: Any) -> _AbstractLoad:
    """Fill relationships from columns that the statement joins anyway."""
    return _generate_from_keys(_AbstractLoad.contains_eager, keys, True, kw)


def load_only(*attrs: _AttrType, raiseload: bool = False) -> _AbstractLoad:
    """Load these columns only; the others are deferred."""
    attrs = _expand_column_strategy_attrs(attrs)
    return Load(_parse_attr_argument(attrs[0])[1]).load_only(*attrs, raiseload=raiseload)


def joinedload(*keys: _AttrType, **kw: Any) -> _AbstractLoad:
    """Load relationships in the same statement, by outer joins."""
    return _generate_from_keys(_AbstractLoad.joinedload, keys, False, kw)


def subqueryload(*keys: _AttrType) -> _AbstractLoad:
    """Load relationships in one more statement each, which repeats the first one as a subquery."""
    return _generate_from_keys(_AbstractLoad.subqueryload, keys, False, {})


def selectinload(
    *keys: _AttrType, recursion_depth: Optional[int] = None, chunksize: Optional[int] = None
) -> _AbstractLoad:
    """Load relationships in one more statement each, by the keys that were loaded."""
    return _generate_from_keys(
        _AbstractLoad.selectinload, keys, False, {"recursion_depth": recursion_depth, "chunksize": chunksize}
    )


def lazyload(*keys: _AttrType) -> _AbstractLoad:
    """Load relationships when they are asked for."""
    return _generate_from_keys(_AbstractLoad.lazyload, keys, False, {})


def immediateload(*keys: _AttrType, recursion_depth: Optional[int] = None) -> _AbstractLoad:
    """Load relationships at once, with a statement for each object."""
    return _generate_from_keys(_AbstractLoad.immediateload, keys, False, {"recursion_depth": recursion_depth})


def noload(*keys: _AttrType) -> _AbstractLoad:
    """Load nothing: relationships are empty."""
    return _generate_from_keys(_AbstractLoad.noload, keys, False, {})


def raiseload(*keys: _AttrType, **kw: Any) -> _AbstractLoad:
    """Refuse to load relationships when they are asked for."""
    return _generate_from_keys(_AbstractLoad.raiseload, keys, False, kw)


def defaultload(*keys: _AttrType) -> _AbstractLoad:
    """Leave the way an attribute is loaded as it is: a step towards options of what it leads to."""
    return _generate_from_keys(_AbstractLoad.defaultload, keys, False, {})


def defer(key: _AttrType, *, raiseload: bool = False) -> _AbstractLoad:
    """Load a column when it is asked for, or refuse to with `raiseload`."""
    return _generate_from_keys(_AbstractLoad.defer, (key,), False, {"raiseload": raiseload} if raiseload else {})


def undefer(key: _AttrType) -> _AbstractLoad:
    """Load a deferred column with the others."""
    return _generate_from_keys(_AbstractLoad.undefer, (key,), False, {})


def undefer_group(name: str) -> _AbstractLoad:
    """Load the deferred columns of a group with the others."""
    return _WildcardLoad().undefer_group(name)


def with_expression(key: _AttrType, expression: Any) -> _AbstractLoad:
    """What a `query_expression()` attribute is filled with."""
    return _generate_from_keys(_AbstractLoad.with_expression, (key,), False, {"expression": expression})


def selectin_polymorphic(base_cls: Any, classes: Iterable[type[Any]]) -> _AbstractLoad:
    """Load the columns of these subclasses in one more statement each."""
    return Load(base_cls).selectin_polymorphic(classes)


for _name in [
    "contains_eager",
    "load_only",
    "joinedload",
    "subqueryload",
    "selectinload",
    "lazyload",
    "immediateload",
    "noload",
    "raiseload",
    "defaultload",
    "defer",
    "undefer",
    "undefer_group",
    "with_expression",
    "selectin_polymorphic",
]:
    globals()[_name].__doc__ = getattr(_AbstractLoad, _name).__doc__
