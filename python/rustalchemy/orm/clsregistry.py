"""Names of mapped classes: what a string argument of `relationship()` may refer to.

Each registry keeps its classes by name, and by module path below the key ``_sa_module_registry``. Classes are held
weakly. The strings themselves are Python expressions, evaluated when mappers are configured.
"""

from __future__ import annotations

import functools
import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import (
    TYPE_CHECKING,
    Any,
    NoReturn,
    Optional,
    Union,
    cast,
)

import sqlalchemy
from sqlalchemy import MetaData, Table, util
from sqlalchemy import exc as sa_exc
from sqlalchemy.inspection import inspect

from .. import _sa
from . import attributes
from ._annotations import _metadata_for_cls
from .base import NotExtension, class_mapper
from .descriptor_props import SynonymProperty
from .properties import ColumnProperty

if TYPE_CHECKING:
    from .relationships import RelationshipProperty

_ClsRegistryType = MutableMapping[str, Union[type, "_ClsRegistryToken"]]

_MODULES = "_sa_module_registry"

# Registries hold their values weakly (WeakValueDictionary), so that markers are kept alive here.
_registries: set[_ClsRegistryToken] = set()


class _ClsRegistryToken:
    """An entry of the registry that is not a class itself."""

    __slots__ = ()


class _MultipleClassMarker(_ClsRegistryToken):
    """The classes registered under one name."""

    __slots__ = ("__weakref__", "contents", "on_remove")

    def __init__(self, classes: Iterable[type[Any]], on_remove: Optional[Callable[[], None]] = None) -> None:
        self.on_remove = on_remove
        self.contents = {weakref.ref(cls, self._remove_item) for cls in classes}
        _registries.add(self)

    def __iter__(self) -> Iterator[Optional[type[Any]]]:
        return (ref() for ref in self.contents)

    def attempt_get(self, path: list[str], key: str) -> type[Any]:
        """Return the class if there is only one."""
        if len(self.contents) > 1:
            raise sa_exc.InvalidRequestError(
                'Multiple classes found for path "{}" in the registry of this declarative base. Please use a fully '
                "module-qualified path.".format(".".join([*path, key]))
            )
        cls = next(iter(self.contents))()
        if cls is None:
            raise NameError(key)
        return cls

    def add_item(self, item: type[Any]) -> None:
        """Add a class; one of the same name in the same module cannot be told from it any more, which warns."""
        modules = {cls.__module__ for cls in self if cls is not None}
        if item.__module__ in modules:
            util.warn(
                "This declarative base already contains a class with the same class name and module name as "
                f"{item.__module__}.{item.__name__}, and "
                "will be replaced in the string-lookup table."
            )
        self.contents.add(weakref.ref(item, self._remove_item))

    def remove_item(self, cls: type[Any]) -> None:
        """Remove a class."""
        self._remove_item(weakref.ref(cls))

    def _remove_item(self, ref: weakref.ref[type[Any]]) -> None:
        self.contents.discard(ref)
        if not self.contents:
            _registries.discard(self)
            if self.on_remove:
                self.on_remove()


class _ModuleMarker(_ClsRegistryToken):
    """A module, or package, that contains mapped classes."""

    __slots__ = ("__weakref__", "contents", "mod_ns", "name", "parent", "path")

    def __init__(self, name: str, parent: Optional[_ModuleMarker]) -> None:
        self.parent = parent
        self.name = name
        self.contents: dict[str, Union[_ModuleMarker, _MultipleClassMarker]] = {}
        self.mod_ns = _ModNS(self)
        self.path: list[str] = [] if parent is None else [*parent.path, name]
        _registries.add(self)

    def __contains__(self, name: str) -> bool:
        return name in self.contents

    def __getitem__(self, name: str) -> _ClsRegistryToken:
        return self.contents[name]

    def _remove_item(self, name: str) -> None:
        self.contents.pop(name, None)
        if not self.contents:
            if self.parent is not None:
                self.parent._remove_item(self.name)
            _registries.discard(self)

    def resolve_attr(self, key: str) -> Union[_ModNS, type[Any]]:
        """Return what `key` means inside of this module."""
        return self.mod_ns.__getattr__(key)

    def get_module(self, name: str) -> _ModuleMarker:
        """Return the module of that name, made if need be."""
        if name not in self.contents:
            self.contents[name] = _ModuleMarker(name, self)
        return cast(_ModuleMarker, self.contents[name])

    def add_class(self, name: str, cls: type[Any]) -> None:
        """Register a class of this module."""
        existing = self.contents.get(name)
        if existing is None:
            self.contents[name] = _MultipleClassMarker([cls], on_remove=lambda: self._remove_item(name))
        elif isinstance(existing, _MultipleClassMarker):
            existing.add_item(cls)
        else:
            raise _class_and_module(name)

    def remove_class(self, name: str, cls: type[Any]) -> None:
        """Forget a class of this module."""
        existing = self.contents.get(name)
        if isinstance(existing, _MultipleClassMarker):
            existing.remove_item(cls)


class _ModNS:
    """A module as seen by the expression in a string: attribute access goes down the registry."""

    __slots__ = ("__parent",)

    def __init__(self, parent: _ModuleMarker) -> None:
        self.__parent = parent

    def __getattr__(self, key: str) -> Union[_ModNS, type[Any]]:
        value = self.__parent.contents.get(key)
        if isinstance(value, _ModuleMarker):
            return value.mod_ns
        if value is not None:
            return value.attempt_get(self.__parent.path, key)
        raise NameError(f"Module {self.__parent.name!r} has no mapped classes registered under the name {key!r}")


class _GetColumns:
    """A class as seen by the expression in a string: attribute access gives mapped columns only."""

    __slots__ = ("cls",)

    def __init__(self, cls: type[Any]) -> None:
        self.cls = cls

    def __getattr__(self, key: str) -> Any:
        mapper = class_mapper(self.cls, configure=False)
        if mapper:
            if key not in mapper.all_orm_descriptors:
                raise AttributeError(f"Class {self.cls!r} does not have a mapped column named {key!r}")
            descriptor: Any = mapper.all_orm_descriptors[key]
            if descriptor.extension_type is NotExtension.NOT_EXTENSION:
                prop = descriptor.property
                if isinstance(prop, SynonymProperty):
                    key = prop.name
                elif not isinstance(prop, ColumnProperty):
                    raise sa_exc.InvalidRequestError(
                        f"Property {key!r} is not an instance of ColumnProperty (i.e. does not correspond directly to "
                        "a "
                        "Column)."
                    )
        return getattr(self.cls, key)


_sa._inspects(_GetColumns)(lambda target: inspect(target.cls))


class _GetTable:
    """A schema as seen by the expression in a string: attribute access gives its tables."""

    __slots__ = ("key", "metadata")

    def __init__(self, key: str, metadata: MetaData) -> None:
        self.key = key
        self.metadata = metadata

    def __getattr__(self, key: str) -> Table:
        return self.metadata.tables[_sa._get_table_key(key, self.key)]


class _class_resolver:
    """A string argument, to be called when mappers are configured."""

    __slots__ = ("_dict", "_resolvers", "arg", "cls", "fallback", "prop", "tables_only")

    def __init__(
        self,
        cls: type[Any],
        prop: RelationshipProperty[Any],
        fallback: Mapping[str, Any],
        arg: str,
        tables_only: bool = False,
    ) -> None:
        self.cls = cls
        self.prop = prop
        self.arg = arg
        self.fallback = fallback
        self.tables_only = tables_only
        self._dict: Any = util.PopulateDict(self._access_cls)
        # automap and user code may add look-ups of their own.
        self._resolvers: tuple[Callable[[str], Any], ...] = ()

    def __call__(self) -> Any:
        if self.tables_only:
            try:
                return self._dict[self.arg]
            except KeyError as err:
                self._raise_for_name(self.arg, err)
        try:
            value = eval(self.arg, {}, self._dict)
        except NameError as err:
            self._raise_for_name(err.args[0], err)
        return value.cls if isinstance(value, _GetColumns) else value

    def _resolve_name(self) -> Any:
        """Return what a dotted name stands for, without evaluating an expression."""
        first, *rest = self.arg.split(".")
        try:
            value = self._dict[first]
            for token in rest:
                value = getattr(value, token)
        except KeyError as err:
            self._raise_for_name(self.arg, err)
        except NameError as err:
            self._raise_for_name(err.args[0], err)
        return value.cls if isinstance(value, _GetColumns) else value

    def _access_cls(self, key: str) -> Any:
        """Return what one name stands for: class, table, schema, module, or a function of SQLAlchemy."""
        registry = attributes.manager_of_class(self.cls).registry
        assert registry is not None
        class_registry: Any = registry._class_registry
        metadata = _metadata_for_cls(self.cls, registry)

        # `secondary` means tables first, everything else classes first.
        if self.tables_only and (found := self._table_or_schema(key, metadata)) is not None:
            return found
        if key in class_registry:
            columns = _determine_container(key, class_registry[key])
            return columns.cls if self.tables_only else columns
        if not self.tables_only and (found := self._table_or_schema(key, metadata)) is not None:
            return found
        if _MODULES in class_registry and key in class_registry[_MODULES]:
            return class_registry[_MODULES].resolve_attr(key)
        for resolver in self._resolvers:
            value = resolver(key)
            if value is not None:
                return value
        return self.fallback[key]

    def _table_or_schema(self, key: str, metadata: MetaData) -> Optional[Union[Table, _GetTable]]:
        table = self._resolve_table_key(key, metadata)
        if table is not None:
            return table
        return _GetTable(key, metadata) if key in _sa.schema_names(metadata) else None

    def _resolve_table_key(self, key: str, metadata: MetaData) -> Optional[Table]:
        if metadata.schema is None or "." in key:
            return metadata.tables.get(key)
        schema_key = _sa._get_table_key(key, metadata.schema)
        if schema_key in metadata.tables:
            return metadata.tables[schema_key]
        if key in metadata.tables:
            util.warn_deprecated(
                f"The string '{key}' was resolved to the non-schema-qualified table '{key}', however the MetaData "
                "object has a "
                f"default schema of '{metadata.schema}'. In a future version of SQLAlchemy, this unqualified name "
                "will be resolved as "
                f"'{schema_key}'. To reference a table without a schema, use the Table object directly.",
                "2.1",
            )
            return metadata.tables[key]
        return None

    def _raise_for_name(self, name: str, err: Exception) -> NoReturn:
        generic = re.match(r"(.+)\[(.+)\]", name)
        if generic:
            inner = generic.group(2).strip("'")
            raise sa_exc.InvalidRequestError(
                f'When initializing mapper {self.prop.parent}, expression "relationship({self.arg!r})" seems to be '
                "using a "
                "generic class as the argument to relationship(); please state the generic argument using an "
                "annotation, "
                f"e.g. \"{self.prop.key}: Mapped[{generic.group(1)}['{inner}']] = relationship()\""
            ) from err
        raise sa_exc.InvalidRequestError(
            f"When initializing mapper {self.prop.parent}, expression {self.arg!r} failed to locate a name "
            f"({name!r}). If this is a class name, consider "
            f"adding this relationship() to the {self.cls!r} class after both dependent classes have been defined."
        ) from err


def _add_class(classname: str, cls: type[Any], decl_class_registry: _ClsRegistryType) -> None:
    """Register a class under its name and under its module's path, whole and by each of its tails."""
    existing: Any = decl_class_registry.get(classname)
    if existing is None:
        decl_class_registry[classname] = cls
    elif not isinstance(existing, _MultipleClassMarker):
        decl_class_registry[classname] = _MultipleClassMarker([cls, existing])
    # Beyond two, the name alone is ambiguous anyway: only the module path tells the classes apart.

    root = decl_class_registry.get(_MODULES)
    if root is None:
        root = decl_class_registry[_MODULES] = _ModuleMarker(_MODULES, None)
    for module in _module_tails(cast(_ModuleMarker, root), cls):
        if not isinstance(module, _ModuleMarker):
            raise _class_and_module(classname)
        module.add_class(classname, cls)


def _remove_class(classname: str, cls: type[Any], decl_class_registry: _ClsRegistryType) -> None:
    """Forget a class."""
    existing: Any = decl_class_registry.get(classname)
    if isinstance(existing, _MultipleClassMarker):
        existing.remove_item(cls)
    elif existing is not None:
        del decl_class_registry[classname]

    root = decl_class_registry.get(_MODULES)
    if root is not None:
        for module in _module_tails(cast(_ModuleMarker, root), cls):
            if isinstance(module, _ModuleMarker):
                module.remove_class(classname, cls)


def _module_tails(root: _ModuleMarker, cls: type[Any]) -> Iterator[_ModuleMarker]:
    """Yield the markers of ``a.b.c``, ``b.c`` and ``c`` for a class of module ``a.b.c``."""
    tokens = cls.__module__.split(".")
    for start in range(len(tokens)):
        module = root
        for token in tokens[start:]:
            if not isinstance(module, _ModuleMarker):
                raise _class_and_module(cls.__name__)
            module = module.get_module(token)
        yield module


def _key_is_empty(key: str, decl_class_registry: _ClsRegistryType, test: Callable[[Any], bool]) -> bool:
    """Return whether no class for which `test` holds is registered under a name."""
    thing = decl_class_registry.get(key)
    if thing is None:
        return True
    if not isinstance(thing, _MultipleClassMarker):
        return not test(thing)
    for ref in thing.contents:
        if test(ref):
            return False
    raise NotImplementedError("unknown codepath")


def _class_and_module(name: str) -> sa_exc.InvalidRequestError:
    return sa_exc.InvalidRequestError(f'name "{name}" matches both a class name and a module name')


def _determine_container(key: str, value: Any) -> _GetColumns:
    if isinstance(value, _MultipleClassMarker):
        value = value.attempt_get([], key)
    return _GetColumns(value)


@functools.cache
def _fallback_names() -> Mapping[str, Any]:
    """Return the names of SQLAlchemy (`and_`, `func`, ...) that an expression may use."""
    from .relationships import foreign, remote

    return {**vars(sqlalchemy), "foreign": foreign, "remote": remote}


def _resolver(
    cls: type[Any], prop: RelationshipProperty[Any]
) -> tuple[Callable[[str], Callable[[], Any]], Callable[..., _class_resolver]]:
    """Return the two ways to make a resolver for a relationship's string: as a dotted name, as an expression."""
    fallback = _fallback_names()

    def resolve_arg(arg: str, tables_only: bool = False) -> _class_resolver:
        return _class_resolver(cls, prop, fallback, arg, tables_only=tables_only)

    def resolve_name(arg: str) -> Callable[[], Any]:
        return _class_resolver(cls, prop, fallback, arg)._resolve_name

    return resolve_name, resolve_arg
