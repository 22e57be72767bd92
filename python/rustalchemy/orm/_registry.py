"""`registry`: a set of mapped classes, with what they share.

Also here: how a Python type becomes a SQL type (`type_annotation_map`), with the object its event listeners get.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Optional,
    TypeVar,
    Union,
    overload,
)

from sqlalchemy import MetaData, event
from sqlalchemy import exc as sa_exc
from sqlalchemy import types as sqltypes
from sqlalchemy.event import EventTarget, dispatcher
from sqlalchemy.sql.type_api import TypeEngine
from sqlalchemy.util import typing as sa_typing
from typing_extensions import dataclass_transform

from .. import _sa
from .._core import Instance
from .._sa import _NoArg
from . import clsregistry, instrumentation
from ._decl_dataclass import _generate_dc_transforms
from ._decl_lookup import _get_immediate_cls_attr
from ._decl_scan import _ORMClassConfigurator
from ._declarative_metaclass import DeclarativeMeta
from ._orm_constructors import composite, deferred, mapped_column, relationship, synonym, unmapped_column
from .decl_base import _declarative_constructor
from .descriptor_props import Composite, Synonym
from .mapper import _CONFIGURE_MUTEX, _configure_registries, _dispose_registries, _mapper_registries
from .properties import MappedColumn
from .relationships import RelationshipProperty

if TYPE_CHECKING:
    from sqlalchemy.sql.selectable import FromClause

    from .instrumentation import ClassManager
    from .mapper import Mapper

_O = TypeVar("_O", bound=object)
_T = TypeVar("_T", bound=Any)

_TypeAnnotationMapType = Mapping[Any, Any]
_DataclassCallable = Union[_NoArg, Callable[..., type[Any]]]
_Flag = Union[_NoArg, bool]


class registry(EventTarget):
    """A collection of mappings.

    :param metadata: holds the tables of the classes; a new one if not given.
    :param class_registry: where classes are looked up by name; may be shared between registries.
    :param type_annotation_map: SQL types for Python types, before SQLAlchemy's own.
    :param constructor: the ``__init__`` of mapped classes that have none; None to leave it to Python.
    """

    _class_registry: clsregistry._ClsRegistryType
    _managers: weakref.WeakKeyDictionary[ClassManager[Any], Literal[True]]
    metadata: MetaData
    constructor: Callable[..., None]
    type_annotation_map: dict[Any, Any]
    _dependents: set[registry]
    _dependencies: set[registry]
    _new_mappers: bool
    dispatch: dispatcher[registry]

    def __init__(
        self,
        *,
        metadata: Optional[MetaData] = None,
        class_registry: Optional[clsregistry._ClsRegistryType] = None,
        type_annotation_map: Optional[_TypeAnnotationMapType] = None,
        constructor: Callable[..., None] = _declarative_constructor,
    ) -> None:
        self.metadata = metadata or MetaData()
        self._class_registry = weakref.WeakValueDictionary() if class_registry is None else class_registry
        self._managers = weakref.WeakKeyDictionary()
        self.constructor = constructor
        self.type_annotation_map = {}
        if type_annotation_map is not None:
            self.update_type_annotation_map(type_annotation_map)
        self._dependents = set()
        self._dependencies = set()
        self._declare_first_classes: weakref.WeakKeyDictionary[Any, Literal[True]] = weakref.WeakKeyDictionary()
        self._declare_last_classes: weakref.WeakKeyDictionary[Any, Literal[True]] = weakref.WeakKeyDictionary()
        self._listen_for_configuration()
        self._new_mappers = False
        with _CONFIGURE_MUTEX:
            _mapper_registries[self] = True

    def _listen_for_configuration(self) -> None:
        event.listen(self, "before_configured", _declare_first_for_registry)
        event.listen(self, "after_configured", _declare_last_for_registry)

    # -- types -------------------------------------------------------------------------------------------------------

    def update_type_annotation_map(self, type_annotation_map: _TypeAnnotationMapType) -> None:
        """Add to the SQL types for Python types."""
        for python_type, sql_type in type_annotation_map.items():
            self.type_annotation_map[sa_typing.de_optionalize_union_types(python_type)] = sql_type

    def _resolve_type_with_events(
        self,
        cls: Any,
        key: str,
        raw_annotation: Any,
        extracted_type: Any,
        *,
        raw_pep_593_type: Optional[Any] = None,
        pep_593_resolved_argument: Optional[Any] = None,
        raw_pep_695_type: Optional[Any] = None,
        pep_695_resolved_value: Optional[Any] = None,
    ) -> Optional[TypeEngine[Any]]:
        """Return the SQL type for an annotation: from listeners, for the alias, the type, or what is in Annotated."""
        listeners = getattr(self.dispatch, "resolve_type_annotation", None)
        if listeners:
            candidates = (pep_593_resolved_argument, pep_695_resolved_value, extracted_type)
            resolved_type = next(type_ for type_ in candidates if type_ is not None)
            request = TypeResolve(
                self,
                cls,
                key,
                raw_annotation,
                resolved_type,
                raw_pep_593_type,
                pep_593_resolved_argument,
                raw_pep_695_type,
                pep_695_resolved_value,
            )
            for listener in listeners:
                result = listener(request)
                if result is not None:
                    return sqltypes.to_instance(result)

        for python_type in (raw_pep_695_type, extracted_type, pep_593_resolved_argument):
            if python_type is not None or python_type is extracted_type:
                sql_type = self._resolve_type(python_type)
                if sql_type is not None:
                    return sql_type
        return None

    def _resolve_type(self, python_type: Any) -> Optional[TypeEngine[Any]]:
        """Return the SQL type for a Python type or one of its bases."""
        flattened: Any = python_type
        matches: Iterable[tuple[Any, Any]]
        if sa_typing.is_generic(python_type):
            if sa_typing.is_literal(python_type):
                matches = ((python_type, python_type), *((literal, python_type) for literal in sa_typing.LITERAL_TYPES))
            else:
                flattened = python_type.__origin__
                matches = ((python_type, flattened),)
        elif isinstance(python_type, type):
            matches = ((base, base) for base in python_type.__mro__)
        else:
            matches = ((python_type, python_type),)

        for matched_on, matched_flattened in matches:
            sql_type = self.type_annotation_map.get(matched_on)
            if sql_type is None:
                sql_type = _sa._type_map_get(matched_on)  # type: ignore[arg-type]
            if sql_type is not None:
                resolved = _sa.resolve_for_python_type(
                    sqltypes.to_instance(sql_type), flattened, matched_on, matched_flattened
                )
                if resolved is not None:
                    return resolved
        return None

    # -- mappers -----------------------------------------------------------------------------------------------------

    @property
    def mappers(self) -> frozenset[Mapper[Any]]:
        """All mappers of this registry."""
        return frozenset(manager.mapper for manager in self._managers)

    def _set_depends_on(self, registry: registry) -> None:
        if registry is not self:
            registry._dependents.add(self)
            self._dependencies.add(registry)

    def _flag_new_mapper(self, mapper: Mapper[Any]) -> None:
        mapper._ready_for_configure = True
        if not self._new_mappers:
            for dependent in self._recurse_with_dependents({self}):
                dependent._new_mappers = True

    @classmethod
    def _recurse_with_dependents(cls, registries: set[registry]) -> Iterator[registry]:
        return cls._recurse(registries, lambda each: each._dependents)

    @classmethod
    def _recurse_with_dependencies(cls, registries: set[registry]) -> Iterator[registry]:
        return cls._recurse(registries, lambda each: each._dependencies)

    @staticmethod
    def _recurse(registries: set[registry], related: Callable[[registry], set[registry]]) -> Iterator[registry]:
        todo = set(registries)
        done: set[registry] = set()
        while todo:
            current = todo.pop()
            done.add(current)
            todo.update(related(current) - done)
            yield current
            # What the caller did with it may have made it depend on more.
            todo.update(related(current) - done)

    def _mappers_to_configure(self) -> Iterator[Mapper[Any]]:
        for manager in list(self._managers):
            if manager.is_mapped and not manager.mapper.configured and manager.mapper._ready_for_configure:
                yield manager.mapper

    def _dispose_cls(self, cls: type[Any]) -> None:
        clsregistry._remove_class(cls.__name__, cls, self._class_registry)

    def _add_manager(self, manager: ClassManager[Any]) -> None:
        self._managers[manager] = True
        cls = manager.class_
        if _get_immediate_cls_attr(cls, "__declare_first__"):
            self._declare_first_classes[cls] = True
        if _get_immediate_cls_attr(cls, "__declare_last__"):
            self._declare_last_classes[cls] = True
        if manager.is_mapped:
            raise sa_exc.ArgumentError(f"Class '{manager.class_}' already has a primary mapper defined. ")
        assert manager.registry is None
        manager.registry = self

    def configure(self, cascade: bool = False) -> None:
        """Configure all mappers of this registry that are not configured yet.

        :param cascade: configure the registries that this one depends on as well; without it, a dependency raises.
        """
        _configure_registries({self}, cascade=cascade)

    def dispose(self, cascade: bool = False) -> None:
        """Undo all mappings of this registry; its classes are plain classes again.

        :param cascade: dispose the registries that depend on this one as well; without it, such a registry raises.
        """
        from ._statement_cache import forget_statements

        _dispose_registries({self}, cascade=cascade)
        # they would keep the classes for as long as their engines live
        forget_statements()

    def _dispose_manager_and_mapper(self, manager: ClassManager[Any]) -> None:
        if manager.is_mapped:
            manager.mapper._set_dispose_flags()
        self._dispose_cls(manager.class_)
        instrumentation._instrumentation_factory.unregister(manager.class_)

    # -- mapping -----------------------------------------------------------------------------------------------------

    def generate_base(
        self,
        mapper: Optional[Callable[..., Mapper[Any]]] = None,
        cls: Union[type[Any], tuple[type[Any], ...]] = object,
        name: str = "Base",
        metaclass: type[Any] = DeclarativeMeta,
    ) -> Any:
        """Return a new base class for declarative classes.

        :param mapper: called in place of :class:`Mapper`.
        :param cls: base or bases of the new class.
        :param metaclass: its metaclass.
        """
        class_dict: dict[str, Any] = {"registry": self, "metadata": self.metadata, "__abstract__": True}
        if isinstance(cls, type):
            class_dict["__doc__"] = cls.__doc__
        if self.constructor is not None:
            class_dict["__init__"] = self.constructor
        if mapper:
            class_dict["__mapper_cls__"] = mapper
        if hasattr(cls, "__class_getitem__"):

            def __class_getitem__(cls: type[_T], key: Any) -> type[_T]:
                # Base[int] is for type checkers; at run time there is one class.
                return cls

            class_dict["__class_getitem__"] = __class_getitem__
        return _new_base(metaclass, name, cls if isinstance(cls, tuple) else (cls,), class_dict)

    def as_declarative_base(self, **kw: Any) -> Callable[[type[_T]], type[_T]]:
        """Return a decorator that makes a class a declarative base; arguments as for `generate_base`."""

        def decorate(cls: type[_T]) -> type[_T]:
            return self.generate_base(**{**kw, "cls": cls, "name": cls.__name__})

        return decorate

    def mapped(self, cls: type[_O]) -> type[_O]:
        """Map a class by its declarative body; a decorator."""
        _ORMClassConfigurator._as_declarative(self, cls, cls.__dict__)
        return cls

    def map_declaratively(self, cls: type[_O]) -> Mapper[_O]:
        """Map a class by its declarative body and return the mapper."""
        _ORMClassConfigurator._as_declarative(self, cls, cls.__dict__)
        return cls.__mapper__  # type: ignore[attr-defined]

    def map_imperatively(self, class_: type[_O], local_table: Optional[FromClause] = None, **kw: Any) -> Mapper[_O]:
        """Map a class to a table; keyword arguments are those of :class:`Mapper`."""
        return _ORMClassConfigurator._mapper(self, class_, local_table, kw)

    @dataclass_transform(
        field_specifiers=(
            MappedColumn,
            RelationshipProperty,
            Composite,
            Synonym,
            mapped_column,
            unmapped_column,
            relationship,
            composite,
            synonym,
            deferred,
        )
    )
    @overload
    def mapped_as_dataclass(self, __cls: type[_O], /) -> type[_O]: ...

    @overload
    def mapped_as_dataclass(
        self,
        __cls: None = ...,
        /,
        *,
        init: _Flag = ...,
        repr: _Flag = ...,
        eq: _Flag = ...,
        order: _Flag = ...,
        unsafe_hash: _Flag = ...,
        match_args: _Flag = ...,
        kw_only: _Flag = ...,
        dataclass_callable: _DataclassCallable = ...,
    ) -> Callable[[type[_O]], type[_O]]: ...

    def mapped_as_dataclass(
        self, __cls: Optional[type[_O]] = None, /, **arguments: Any
    ) -> Union[type[_O], Callable[[type[_O]], type[_O]]]:
        """Map a class and make it a dataclass; arguments are those of `dataclasses.dataclass()`."""
        decorate: Callable[[type[_O]], type[_O]] = _map_as_dataclass(self, arguments)
        return decorate(__cls) if __cls else decorate


def _map_as_dataclass(reg: registry, arguments: dict[str, Any]) -> Callable[[type[_O]], type[_O]]:
    def decorate(cls: type[_O]) -> type[_O]:
        _generate_dc_transforms(cls_=cls, **arguments)
        _ORMClassConfigurator._as_declarative(reg, cls, cls.__dict__)
        return cls

    return decorate


def _new_base(metaclass: Any, name: str, bases: tuple[type[Any], ...], class_dict: dict[str, Any]) -> Any:
    """Return a declarative base whose instances carry their state, if the layout of the given bases allows it."""
    if any(issubclass(base, Instance) for base in bases):
        return metaclass(name, bases, class_dict)

    # Behind the user's own classes, so that their methods come first.
    inline_bases = (*(base for base in bases if base is not object), Instance)
    try:
        return metaclass(name, inline_bases, dict(class_dict))
    except TypeError as err:
        # Classes with slots, builtin containers: Python refuses before anything of the class was set up.
        if "lay-out conflict" not in str(err):
            raise
    return metaclass(name, bases, class_dict)


def _declare_first_for_registry(registry: registry) -> None:
    for cls in list(registry._declare_first_classes):
        cls.__declare_first__()


def _declare_last_for_registry(registry: registry) -> None:
    for cls in list(registry._declare_last_classes):
        cls.__declare_last__()


class TypeResolve:
    """What a listener of `resolve_type_annotation` gets to know about an annotation.

    `resolved_type` is the Python type once Optional, type alias and Annotated are taken off `raw_type`; the other
    attributes are the type alias (PEP 695) and the Annotated type (PEP 593) that were met on the way, and what is in
    them.
    """

    __slots__ = (
        "cls",
        "key",
        "pep_593_resolved_argument",
        "pep_695_resolved_value",
        "raw_pep_593_type",
        "raw_pep_695_type",
        "raw_type",
        "registry",
        "resolved_type",
    )

    def __init__(
        self,
        registry: registry,
        cls: Any,
        key: str,
        raw_type: Any,
        resolved_type: Any,
        raw_pep_593_type: Optional[Any],
        pep_593_resolved_argument: Optional[Any],
        raw_pep_695_type: Optional[Any],
        pep_695_resolved_value: Optional[Any],
    ) -> None:
        self.registry = registry
        self.cls = cls
        self.key = key
        self.raw_type = raw_type
        self.resolved_type = resolved_type
        self.raw_pep_593_type = raw_pep_593_type
        self.pep_593_resolved_argument = pep_593_resolved_argument
        self.raw_pep_695_type = raw_pep_695_type
        self.pep_695_resolved_value = pep_695_resolved_value

    def resolve(self, python_type: Any) -> Optional[TypeEngine[Any]]:
        """Return the SQL type that the registry has for a Python type."""
        return self.registry._resolve_type(python_type)
