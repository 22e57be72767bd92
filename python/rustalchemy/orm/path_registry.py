"""Paths of a load: which relationship of which entity was followed to reach an object.

A path alternates entities and properties, ``(User, User.orders, Order, Order.items, Item)``. Loader options, loader
strategies and loaded states all name places in a load by one. The nodes form a tree below :class:`RootRegistry`; the
nodes right below a mapper are kept, since every query walks them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Optional, Union

from sqlalchemy import exc, util
from sqlalchemy.sql import visitors
from sqlalchemy.sql.cache_key import HasCacheKey

from .. import _sa
from . import base as orm_base

if TYPE_CHECKING:
    from .interfaces import StrategizedProperty

_StrPathToken = str
_PathRepresentation = tuple[Any, ...]

_WILDCARD_TOKEN = "*"
_DEFAULT_TOKEN = "_sa_default"
_RELATIONSHIP_TOKEN = "relationship"
_COLUMN_TOKEN = "column"

# what a user may write in place of an attribute, and what an option turns it into
_UNPREFIXED_TOKENS = frozenset((_WILDCARD_TOKEN, _DEFAULT_TOKEN))
_PATH_TOKENS = frozenset(
    f"{kind}:{token}" for kind in (_RELATIONSHIP_TOKEN, _COLUMN_TOKEN) for token in _UNPREFIXED_TOKENS
)
_ACCEPTED_TOKENS = _UNPREFIXED_TOKENS | _PATH_TOKENS


def _unreduce_path(path: list[Any]) -> PathRegistry:
    return PathRegistry.deserialize(path)


@_sa._self_inspects
class PathRegistry(HasCacheKey):
    """A node of the tree of load paths; also the address of facts kept about this place in a dictionary."""

    __slots__ = ()

    is_token: ClassVar[bool] = False
    is_root: ClassVar[bool] = False
    is_property: ClassVar[bool] = False
    is_entity: ClassVar[bool] = False
    has_entity: Any = False
    is_unnatural: Any

    path: _PathRepresentation
    #: the path with the entities its relationships lead to by nature, in place of aliases and subclasses
    natural_path: _PathRepresentation
    parent: Any
    root: ClassVar[RootRegistry]

    _cache_key_traversal = [("path", visitors.ExtendedInternalTraversal.dp_has_cache_key_list)]

    def _same_path(self, other: Any) -> Optional[bool]:
        if other is None:
            return False
        try:
            return self.path == other._path_for_compare
        except AttributeError:
            util.warn(f"Comparison of PathRegistry to {type(other)!r} is not supported")
            return None

    def __eq__(self, other: object) -> bool:
        return bool(self._same_path(other))

    def __ne__(self, other: object) -> bool:
        return not self._same_path(other)

    def __hash__(self) -> int:
        return id(self)

    @property
    def _path_for_compare(self) -> Optional[_PathRepresentation]:
        return self.path

    def __len__(self) -> int:
        return len(self.path)

    @property
    def length(self) -> int:
        return len(self.path)

    def __getitem__(self, entity: Any) -> Any:
        raise NotImplementedError()

    def odd_element(self, index: int) -> Any:
        return self.path[index]

    # facts about this place

    def set(self, attributes: dict[Any, Any], key: Any, value: Any) -> None:
        attributes[(key, self.natural_path)] = value

    def setdefault(self, attributes: dict[Any, Any], key: Any, value: Any) -> None:
        attributes.setdefault((key, self.natural_path), value)

    def get(self, attributes: Mapping[Any, Any], key: Any, value: Any = None) -> Any:
        return attributes.get((key, self.natural_path), value)

    def contains(self, attributes: Mapping[Any, Any], key: Any) -> bool:
        return (key, self.path) in attributes

    # walking

    def pairs(self) -> Iterator[tuple[Any, Any]]:
        elements = self.path
        for i in range(0, len(elements), 2):
            yield elements[i], elements[i + 1]

    def contains_mapper(self, mapper: Any) -> bool:
        return any(entity.mapper.isa(mapper) for entity in self.path[::2])

    def __add__(self, other: PathRegistry) -> PathRegistry:
        return self._descend(other.path)

    def _descend(self, elements: _PathRepresentation) -> PathRegistry:
        node: Any = self
        for element in elements:
            node = node[element]
        return node

    @classmethod
    def coerce(cls, raw: _PathRepresentation) -> Any:
        return cls.root._descend(raw)

    @classmethod
    def per_mapper(cls, mapper: Any) -> _AbstractEntityRegistry:
        kind = _CachingEntityRegistry if mapper.is_mapper else _SlotsEntityRegistry
        return kind(cls.root, mapper)

    # pickling: classes and attribute names stand for mappers and properties

    def __reduce__(self) -> Any:
        return _unreduce_path, (self.serialize(),)

    def serialize(self) -> list[Any]:
        elements = self.path
        steps = []
        for i in range(0, len(elements), 2):
            entity = elements[i]
            prop = elements[i + 1] if i + 1 < len(elements) else None
            of_class = entity.is_mapper or entity.is_aliased_class
            steps.append(
                (
                    entity.class_ if of_class else str(entity),
                    None if prop is None else prop.key if orm_base_is_property(prop) else str(prop),
                )
            )
        return steps

    @classmethod
    def deserialize(cls, path: list[Any]) -> PathRegistry:
        elements: list[Any] = []
        for class_, key in path:
            if class_ in PathToken._intern:
                elements.append(PathToken._intern[class_])
                continue
            mapper: Any = orm_base._inspect_mapped_class(class_, configure=True)
            elements.append(mapper)
            if key is not None:
                elements.append(PathToken._intern[key] if key in PathToken._intern else mapper.attrs[key])
        return cls.coerce(tuple(elements))

    # printing

    def __str__(self) -> str:
        return f"ORM Path[{' -> '.join(str(elem) for elem in self.path)}]"

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.path!r})"

    def path_string(self) -> str:
        """The path as a user would write it, ``User.orders -> Order.items``."""
        elements = self.path
        steps = []
        for i in range(0, len(elements) - 1, 2):
            step = f"{orm_base.entity_str(elements[i])}.{getattr(elements[i + 1], 'key', str(elements[i + 1]))}"
            if i + 2 < len(elements) and elements[i + 2].is_aliased_class:
                step += f".of_type({orm_base.entity_str(elements[i + 2])})"
            steps.append(step)
        if steps:
            return " -> ".join(steps)
        return orm_base.entity_str(elements[0]) if elements else ""


def orm_base_is_property(element: Any) -> bool:
    """Whether an element of a path is a mapper's property."""
    return bool(getattr(element, "is_property", False))


class _CreatesToken(PathRegistry):
    """A node that may be followed by a wildcard."""

    __slots__ = ()

    is_aliased_class: bool

    def token(self, token: _StrPathToken) -> _TokenRegistry:
        if token not in PathToken._intern:
            raise exc.ArgumentError(f"invalid token: {token}")
        # the default token speaks for every entity of the query, so it hangs from the root
        return _TokenRegistry(self if token.endswith(f":{_WILDCARD_TOKEN}") else self.root, token)


class RootRegistry(_CreatesToken):
    """The empty path; its children are kept by the entities themselves."""

    __slots__ = ()

    inherit_cache = True
    is_root = True
    has_entity = False
    is_aliased_class = False
    is_unnatural = False
    path = natural_path = ()

    def __getitem__(self, entity: Any) -> Any:
        if entity in PathToken._intern:
            return _TokenRegistry(self, PathToken._intern[entity])
        try:
            return entity._path_registry
        except AttributeError:
            raise IndexError(f"invalid argument for RootRegistry.__getitem__: {entity}") from None

    def _truncate_recursive(self) -> RootRegistry:
        return self


PathRegistry.root = RootRegistry()


class PathToken(orm_base.InspectionAttr, HasCacheKey, str):
    """One of the four wildcard strings, interned, with a cache key."""

    _intern: ClassVar[Mapping[str, PathToken]]

    def _gen_cache_key(self, anon_map: Any, bindparams: Any) -> tuple[Any, ...]:
        return (str(self),)

    @property
    def _path_for_compare(self) -> None:
        return None


PathToken._intern = {token: PathToken(token) for token in sorted(_PATH_TOKENS)}


class _TokenRegistry(PathRegistry):
    """A wildcard below an entity, or below the root."""

    __slots__ = ("natural_path", "parent", "path", "token")

    inherit_cache = True
    is_token = True
    has_entity = False

    def __init__(self, parent: _CreatesToken, token: _StrPathToken):
        self.token = PathToken._intern[token]
        self.parent = parent
        self.path = (*parent.path, self.token)
        self.natural_path = (*parent.natural_path, self.token)

    def generate_for_superclasses(self) -> Iterator[PathRegistry]:
        """This token, said of each entity it applies to."""
        parent: Any = self.parent
        if parent.is_root:
            yield self
        elif not parent.is_aliased_class:
            for mapper in parent.mapper.iterate_to_root():
                yield _TokenRegistry(parent.parent[mapper], self.token)
        else:
            yield self
            if parent.entity._is_with_polymorphic:
                for entity in parent.entity._with_polymorphic_entities:
                    yield _TokenRegistry(parent.parent[entity], self.token)

    def _generate_natural_for_superclasses(self) -> Iterator[_PathRepresentation]:
        parent: Any = self.parent
        if not parent.is_root:
            for mapper in parent.mapper.iterate_to_root():
                yield _TokenRegistry(parent.parent[mapper], self.token).natural_path
            if parent.is_aliased_class and parent.entity._is_with_polymorphic:
                for entity in parent.entity._with_polymorphic_entities:
                    yield _TokenRegistry(parent.parent[entity], self.token).natural_path
        yield self.natural_path

    def __getitem__(self, entity: Any) -> Any:
        try:
            return self.path[entity]
        except TypeError as err:
            raise IndexError(f"{entity}") from err


class _PropRegistry(PathRegistry):
    """A property of the entity before it."""

    __slots__ = (
        "_default_path_loader_key",
        "_loader_key",
        "_wildcard_path_loader_key",
        "entity",
        "has_entity",
        "is_unnatural",
        "mapper",
        "natural_path",
        "parent",
        "path",
        "prop",
    )

    inherit_cache = True
    is_property = True

    def __init__(self, parent: _AbstractEntityRegistry, prop: StrategizedProperty[Any]):
        entity: Any = parent.path[-1]
        natural_parent: Any = parent
        unnatural = parent.parent.is_unnatural or bool(parent.mapper.inherits)

        if not entity.is_aliased_class or entity._use_mapper_path:
            # a property inherited by the entity belongs to the class that maps it
            parent = natural_parent = parent.parent[prop.parent]
        elif entity.with_polymorphic_mappers and prop.parent in entity.with_polymorphic_mappers:
            sub_entity = parent.path[-1]._entity_for_mapper(prop.parent)
            parent = parent.parent[sub_entity]
            if parent.parent:
                natural_parent = parent.parent[sub_entity.mapper]
                unnatural = True
            else:
                natural_parent = parent
        elif parent.parent and prop.parent is not entity.mapper and entity.mapper.isa(prop.parent):
            natural_parent = parent.parent[prop.parent]

        self.prop = prop
        self.parent = parent
        self.path = (*parent.path, prop)
        self.natural_path = (*natural_parent.natural_path, prop)
        self.is_unnatural = unnatural
        self.has_entity = prop._links_to_entity
        self.entity = prop.entity if prop._is_relationship else None
        self.mapper = prop.mapper if prop._is_relationship else None
        self._wildcard_path_loader_key = ("loader", parent.natural_path + prop._wildcard_token)
        self._default_path_loader_key = prop._default_path_loader_key
        self._loader_key = ("loader", self.natural_path)

    def _truncate_recursive(self) -> PathRegistry:
        """The path up to the first time this property was followed."""
        elements = self.path
        for i, element in enumerate(elements[:-1]):
            if element is self.prop:
                return self.coerce(elements[: i + 1])
        return self

    @property
    def entity_path(self) -> _AbstractEntityRegistry:
        assert self.entity is not None
        return self[self.entity]

    def __getitem__(self, entity: Any) -> Any:
        if isinstance(entity, (int, slice)):
            return self.path[entity]
        return _SlotsEntityRegistry(self, entity)


class _AbstractEntityRegistry(_CreatesToken):
    """A mapper or aliased class, first of a path or target of the property before it."""

    __slots__ = ("entity", "is_aliased_class", "key", "natural_path", "parent", "path")

    has_entity = True
    is_entity = True

    def __init__(self, parent: Union[RootRegistry, _PropRegistry], entity: Any):
        self.key = self.entity = entity
        self.parent = parent
        self.is_aliased_class = entity.is_aliased_class
        self.path = (*parent.path, entity)
        if parent.path and (self.is_aliased_class or parent.is_unnatural):
            led_to = parent.natural_path[-1]
            related = entity.mapper.isa(led_to.mapper) or led_to.mapper.isa(entity.mapper)
            self.natural_path = (*parent.natural_path, entity.mapper if related else led_to.entity)
        else:
            self.natural_path = self.path

    @property
    def root_entity(self) -> Any:
        return self.path[0]

    @property
    def entity_path(self) -> PathRegistry:
        return self

    @property
    def mapper(self) -> Any:
        return self.entity.mapper

    def _truncate_recursive(self) -> Any:
        return self.parent._truncate_recursive()[self.entity]

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, entity: Any) -> Any:
        if isinstance(entity, (int, slice)):
            return self.path[entity]
        if entity in PathToken._intern:
            return _TokenRegistry(self, PathToken._intern[entity])
        return _PropRegistry(self, entity)


class _SlotsEntityRegistry(_AbstractEntityRegistry):
    """An entity inside of a path, made when asked for."""

    __slots__ = ()
    inherit_cache = True


class _CachingEntityRegistry(_AbstractEntityRegistry):
    """A mapper at the head of a path: keeps the nodes of its properties."""

    __slots__ = ("_cache",)

    inherit_cache = True

    def __init__(self, parent: Union[RootRegistry, _PropRegistry], entity: Any):
        super().__init__(parent, entity)
        self._cache: dict[Any, Any] = {}

    def pop(self, key: Any, default: Any = None) -> Any:
        return self._cache.pop(key, default)

    def __getitem__(self, entity: Any) -> Any:
        if isinstance(entity, (int, slice)):
            return self.path[entity]
        node = self._cache.get(entity)
        if node is None:
            if isinstance(entity, str):
                return _TokenRegistry(self, PathToken._intern[entity])
            node = self._cache[entity] = _PropRegistry(self, entity)
        return node


def path_is_entity(path: PathRegistry) -> bool:
    """Whether a path ends in a class or alias."""
    return path.is_entity


def path_is_property(path: PathRegistry) -> bool:
    """Whether a path ends in an attribute."""
    return path.is_property
