"""Constants, flags and small helpers that every module of the ORM uses; it imports none of them.

The ``Mapped`` family lives here too, because annotations are needed before anything is mapped.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from sqlalchemy import exc as sa_exc
from sqlalchemy import inspection, util
from sqlalchemy.sql import roles
from sqlalchemy.sql.elements import SQLColumnExpression, SQLCoreOperations
from sqlalchemy.util import FastIntFlag, TypingOnly

from .. import _sa
from . import exc
from ._typing import insp_is_mapper

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ColumnElement

    from .._sa import _ColumnExpressionArgument
    from ._typing import _EntityType
    from .attributes import InstrumentedAttribute
    from .dynamic import AppenderQuery
    from .instrumentation import ClassManager
    from .interfaces import PropComparator
    from .mapper import Mapper
    from .writeonly import WriteOnlyCollection

_T = TypeVar("_T", bound=Any)
_T_co = TypeVar("_T_co", bound=Any, covariant=True)
_O = TypeVar("_O", bound=object)
_F = TypeVar("_F", bound=Callable[..., Any])


class LoaderCallableStatus(Enum):
    """What a loader, or a look at an attribute, may answer instead of a value."""

    PASSIVE_NO_RESULT = 0
    PASSIVE_CLASS_MISMATCH = 1
    ATTR_WAS_SET = 2
    ATTR_EMPTY = 3
    NO_VALUE = 4
    NEVER_SET = NO_VALUE
    DONT_SET = 5


(
    PASSIVE_NO_RESULT,
    PASSIVE_CLASS_MISMATCH,
    ATTR_WAS_SET,
    ATTR_EMPTY,
    NO_VALUE,
    DONT_SET,
) = tuple(LoaderCallableStatus)

NEVER_SET = NO_VALUE


class PassiveFlag(FastIntFlag):
    """How much work the read of an attribute may trigger."""

    NO_CHANGE = 0
    CALLABLES_OK = 1
    SQL_OK = 2
    RELATED_OBJECT_OK = 4
    INIT_OK = 8
    NON_PERSISTENT_OK = 16
    LOAD_AGAINST_COMMITTED = 32
    NO_AUTOFLUSH = 64
    NO_RAISE = 128
    DEFERRED_HISTORY_LOAD = 256
    INCLUDE_PENDING_MUTATIONS = 512

    PASSIVE_OFF = RELATED_OBJECT_OK | NON_PERSISTENT_OK | INIT_OK | CALLABLES_OK | SQL_OK
    PASSIVE_RETURN_NO_VALUE = PASSIVE_OFF ^ INIT_OK
    PASSIVE_NO_INITIALIZE = PASSIVE_RETURN_NO_VALUE ^ CALLABLES_OK
    PASSIVE_NO_FETCH = PASSIVE_OFF ^ SQL_OK
    PASSIVE_NO_FETCH_RELATED = PASSIVE_OFF ^ RELATED_OBJECT_OK
    PASSIVE_ONLY_PERSISTENT = PASSIVE_OFF ^ NON_PERSISTENT_OK
    PASSIVE_MERGE = PASSIVE_OFF | NO_RAISE


(
    NO_CHANGE,
    CALLABLES_OK,
    SQL_OK,
    RELATED_OBJECT_OK,
    INIT_OK,
    NON_PERSISTENT_OK,
    LOAD_AGAINST_COMMITTED,
    NO_AUTOFLUSH,
    NO_RAISE,
    DEFERRED_HISTORY_LOAD,
    INCLUDE_PENDING_MUTATIONS,
    PASSIVE_OFF,
    PASSIVE_RETURN_NO_VALUE,
    PASSIVE_NO_INITIALIZE,
    PASSIVE_NO_FETCH,
    PASSIVE_NO_FETCH_RELATED,
    PASSIVE_ONLY_PERSISTENT,
    PASSIVE_MERGE,
) = PassiveFlag.__members__.values()

DEFAULT_MANAGER_ATTR = "_sa_class_manager"
DEFAULT_STATE_ATTR = "_sa_instance_state"


class EventConstants(Enum):
    """What an event listener may answer, and what it may be given."""

    EXT_CONTINUE = 1
    EXT_STOP = 2
    EXT_SKIP = 3
    NO_KEY = 4


EXT_CONTINUE, EXT_STOP, EXT_SKIP, NO_KEY = tuple(EventConstants)


class RelationshipDirection(Enum):
    """Which side of a relationship holds the foreign key."""

    ONETOMANY = 1
    MANYTOONE = 2
    MANYTOMANY = 3


ONETOMANY, MANYTOONE, MANYTOMANY = tuple(RelationshipDirection)


class InspectionAttrExtensionType(Enum):
    """Base of the symbols that say which extension an attribute belongs to."""


class NotExtension(InspectionAttrExtensionType):
    """Marks attributes that belong to no extension."""

    NOT_EXTENSION = "not_extension"


_never_set = frozenset([NEVER_SET])
_none_set = frozenset([None, NEVER_SET, PASSIVE_NO_RESULT])
_none_only_set = frozenset([None])

_SET_DEFERRED_EXPIRED = util.symbol("SET_DEFERRED_EXPIRED")
_DEFER_FOR_STATE = util.symbol("DEFER_FOR_STATE")
_RAISE_FOR_STATE = util.symbol("RAISE_FOR_STATE")


def _assertions(*assertions: Any) -> Callable[[_F], _F]:
    """Make a generative method that checks each assertion before it changes ``self``."""

    @util.decorator
    def generate(fn: Any, self: Any, *args: Any, **kw: Any) -> Any:
        for assertion in assertions:
            # a second form of a method speaks in its name
            assertion(self, fn.__name__.removeprefix("_full_"))
        fn(self, *args, **kw)
        return self

    return generate


def manager_of_class(cls: type[Any]) -> ClassManager[Any]:
    """The manager of an instrumented class; `UnmappedClassError` for any other."""
    try:
        return cls.__dict__[DEFAULT_MANAGER_ATTR]
    except KeyError as error:
        raise exc.UnmappedClassError(cls, f"Can't locate an instrumentation manager for class {cls}") from error


def opt_manager_of_class(cls: Any) -> ClassManager[Any] | None:
    """The manager of an instrumented class, or None."""
    # inspect() asks for objects too: their __dict__ is a view that need not be made for that
    return cls.__dict__.get(DEFAULT_MANAGER_ATTR) if isinstance(cls, type) else None


instance_state: Callable[[Any], Any] = operator.attrgetter(DEFAULT_STATE_ATTR)
instance_dict: Callable[[Any], dict[str, Any]] = operator.attrgetter("__dict__")


def instance_str(instance: object) -> str:
    """An object as messages print it: `<User at 0x…>`."""
    return state_str(instance_state(instance))


def state_str(state: Any) -> str:
    """As `instance_str`, for an `InstanceState`."""
    if state is None:
        return "None"
    return f"<{state.class_.__name__} at 0x{id(state.obj()):x}>"


def state_class_str(state: Any) -> str:
    """The class of an object as messages print it: `<User>`."""
    if state is None:
        return "None"
    return f"<{state.class_.__name__}>"


def attribute_str(instance: object, attribute: str) -> str:
    """An attribute of an object as messages print it."""
    return f"{instance_str(instance)}.{attribute}"


def state_attribute_str(state: Any, attribute: str) -> str:
    """As `attribute_str`, for an `InstanceState`."""
    return f"{state_str(state)}.{attribute}"


def entity_str(entity: Any) -> str:
    """A class, alias or attribute as messages print it."""
    return inspection.inspect(entity).path_string()


def object_mapper(instance: _T) -> Mapper[_T]:
    """The mapper of a mapped object; UnmappedInstanceError if there is none."""
    return object_state(instance).mapper


def object_state(instance: Any) -> Any:
    """The InstanceState of a mapped object; UnmappedInstanceError if there is none."""
    state = _inspect_mapped_object(instance)
    if state is None:
        raise exc.UnmappedInstanceError(instance)
    return state


def _inspect_mapped_object(instance: Any) -> Any:
    # A class whose objects carry their state has an attribute for it, which is a descriptor.
    if isinstance(instance, type):
        return None
    try:
        return instance_state(instance)
    except (exc.UnmappedClassError, *exc.NO_STATE):
        return None


def _class_to_mapper(class_or_mapper: Any) -> Mapper[Any]:
    insp = inspection.inspect(class_or_mapper, False)
    if insp is not None:
        return insp.mapper
    assert isinstance(class_or_mapper, type)
    raise exc.UnmappedClassError(class_or_mapper)


def _mapper_or_none(entity: Any) -> Mapper[Any] | None:
    insp = inspection.inspect(entity, False)
    return None if insp is None else insp.mapper


def _is_mapped_class(entity: Any) -> bool:
    insp = inspection.inspect(entity, False)
    return insp is not None and not insp.is_clause_element and (insp.is_mapper or insp.is_aliased_class)


def _is_aliased_class(entity: Any) -> bool:
    insp = inspection.inspect(entity, False)
    return insp is not None and getattr(insp, "is_aliased_class", False)


def _entity_descriptor(entity: Any, key: str) -> Any:
    """The attribute named ``key`` of a mapped class, alias or selectable."""
    insp = inspection.inspect(entity)
    if insp.is_selectable:
        description = entity
        entity = insp.c
    elif insp.is_aliased_class:
        entity = description = insp.entity
    elif hasattr(insp, "mapper"):
        description = entity = insp.mapper.class_
    else:
        description = entity
    try:
        return getattr(entity, key)
    except AttributeError as error:
        raise sa_exc.InvalidRequestError(f"Entity '{description}' has no property '{key}'") from error


_state_mapper: Callable[[Any], Any] = operator.attrgetter("manager.mapper")


def _inspect_mapped_class(class_: Any, configure: bool = False) -> Mapper[Any] | None:
    try:
        class_manager = opt_manager_of_class(class_)
        if class_manager is None or not class_manager.is_mapped:
            return None
        mapper = class_manager.mapper
    except exc.NO_STATE:
        return None
    if configure:
        mapper._check_configure()
    return mapper


def _parse_mapper_argument(arg: Any) -> Mapper[Any]:
    insp = inspection.inspect(arg, raiseerr=False)
    if insp is not None and insp_is_mapper(insp):
        return insp
    raise sa_exc.ArgumentError(f"Mapper or mapped class expected, got {arg!r}")


def class_mapper(class_: type[_O], configure: bool = True) -> Mapper[_O]:
    """The mapper of a class; UnmappedClassError if there is none, ArgumentError if it is no class."""
    mapper = _inspect_mapped_class(class_, configure=configure)
    if mapper is not None:
        return mapper
    if not isinstance(class_, type):
        raise sa_exc.ArgumentError(f"Class object expected, got '{class_!r}'.")
    raise exc.UnmappedClassError(class_)


class InspectionAttr:
    """Flags that tell the kinds of objects apart that ``inspect()`` can return."""

    __slots__: tuple[str, ...] = ()

    is_selectable = False
    is_aliased_class = False
    is_instance = False
    is_mapper = False
    is_bundle = False
    is_property = False
    is_attribute = False
    _is_internal_proxy = False
    is_clause_element = False
    extension_type: InspectionAttrExtensionType = NotExtension.NOT_EXTENSION


class InspectionAttrInfo(InspectionAttr):
    """An inspectable object that carries a user's ``info`` dictionary."""

    __slots__ = ()

    @util.ro_memoized_property
    def info(self) -> dict[Any, Any]:
        return {}


class SQLORMOperations(SQLCoreOperations[_T_co], TypingOnly):
    """Operators of ORM attributes beyond those of Core expressions (typing only)."""

    __slots__ = ()

    if TYPE_CHECKING:

        def of_type(self, class_: _EntityType[Any]) -> PropComparator[_T_co]: ...

        def and_(self, *criteria: _ColumnExpressionArgument[bool]) -> PropComparator[bool]: ...

        def any(
            self, criterion: _ColumnExpressionArgument[bool] | None = None, **kwargs: Any
        ) -> ColumnElement[bool]: ...

        def has(
            self, criterion: _ColumnExpressionArgument[bool] | None = None, **kwargs: Any
        ) -> ColumnElement[bool]: ...


class ORMDescriptor(Generic[_T_co], TypingOnly):
    """A descriptor that is a SQL expression when read from the class."""

    __slots__ = ()

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: Any, owner: Literal[None]) -> ORMDescriptor[_T_co]: ...

        @overload
        def __get__(self, instance: Literal[None], owner: Any) -> SQLCoreOperations[_T_co]: ...

        @overload
        def __get__(self, instance: object, owner: Any) -> _T_co: ...

        def __get__(self, instance: object, owner: Any) -> ORMDescriptor[_T_co] | SQLCoreOperations[_T_co] | _T_co: ...


class _MappedAnnotationBase(Generic[_T_co], TypingOnly):
    """Base of all containers that may stand on the left side of a declarative mapping."""

    __slots__ = ()


class SQLORMExpression(SQLORMOperations[_T_co], SQLColumnExpression[_T_co], TypingOnly):
    """An ORM attribute, or what acts in place of one, inside SQL expressions."""

    __slots__ = ()


class Mapped(
    SQLORMExpression[_T_co],
    ORMDescriptor[_T_co],
    _MappedAnnotationBase[_T_co],
    roles.DDLConstraintColumnRole,
    TypingOnly,
):
    """The annotation of a mapped attribute: ``name: Mapped[str]``."""

    __slots__ = ()

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: Any) -> InstrumentedAttribute[_T_co]: ...

        @overload
        def __get__(self, instance: object, owner: Any) -> _T_co: ...

        def __get__(self, instance: object | None, owner: Any) -> InstrumentedAttribute[_T_co] | _T_co: ...

        @classmethod
        def _empty_constructor(cls, arg1: Any) -> Mapped[_T_co]: ...

        def __set__(self, instance: Any, value: SQLCoreOperations[_T_co] | _T_co) -> None: ...

        def __delete__(self, instance: Any) -> None: ...


class _MappedAttribute(Generic[_T_co], TypingOnly):
    """Mixin of everything that a class body may assign to become a mapped attribute."""

    __slots__ = ()


class _DeclarativeMapped(Mapped[_T_co], _MappedAttribute[_T_co]):
    """A construct of a declarative class body that acts as a ``Mapped`` there."""

    __slots__ = ()

    # A property object is no SQL expression yet; Python then falls back to plain object comparison.
    def operate(self, op: Any, *other: Any, **kwargs: Any) -> Any:
        return NotImplemented

    __sa_operate__ = operate

    def reverse_operate(self, op: Any, other: Any, **kwargs: Any) -> Any:
        return NotImplemented


class Unmapped(_MappedAnnotationBase[_T_co]):
    """The annotation of an attribute that takes part in a mapped dataclass but is not mapped."""

    __slots__ = ()


def _is_unmapped_container(mapped_container: type | None) -> bool:
    return mapped_container is Unmapped


class DynamicMapped(_MappedAnnotationBase[_T_co]):
    """The annotation of a relationship with the "dynamic" loader."""

    __slots__ = ()

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: Any) -> InstrumentedAttribute[_T_co]: ...

        @overload
        def __get__(self, instance: object, owner: Any) -> AppenderQuery[_T_co]: ...

        def __get__(
            self, instance: object | None, owner: Any
        ) -> InstrumentedAttribute[_T_co] | AppenderQuery[_T_co]: ...

        def __set__(self, instance: Any, value: Collection[_T_co]) -> None: ...


class WriteOnlyMapped(_MappedAnnotationBase[_T_co]):
    """The annotation of a relationship with the "write only" loader."""

    __slots__ = ()

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: Any) -> InstrumentedAttribute[_T_co]: ...

        @overload
        def __get__(self, instance: object, owner: Any) -> WriteOnlyCollection[_T_co]: ...

        def __get__(
            self, instance: object | None, owner: Any
        ) -> InstrumentedAttribute[_T_co] | WriteOnlyCollection[_T_co]: ...

        def __set__(self, instance: Any, value: Collection[_T_co]) -> None: ...


# The type of User[int] for a generic mapped class.
GenericAlias: Any = type(Generic[_T])  # type: ignore[index]  # pyright: ignore[reportGeneralTypeIssues]


def _register_inspection() -> None:
    """Answer ``inspect()`` for mapped classes and objects, beside whoever else does.

    ``sqlalchemy.orm`` registers handlers for ``object``, ``type`` and subscripted classes when it is imported, and Core
    refuses a second one. Both import orders are served: a handler that is there already is kept behind ours, and a
    later registration is put behind ours instead of being refused.
    """
    registrars = _sa.inspect_registrars
    shared = (object, type, GenericAlias)
    behind: dict[type, Any] = {kind: registrars[kind] for kind in shared if kind in registrars}

    def inspect_mapped_class(subject: Any) -> Any:
        from .mapper import _inspect_mc

        return _inspect_mc(subject)

    def inspect_generic_alias(subject: Any) -> Any:
        return inspect_mapped_class(subject.__origin__)

    def with_handler_behind(kind: Any, handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def inspect_kind(subject: Any) -> Any:
            if kind is object and isinstance(subject, type):
                # a class is no mapped object, though it shows the descriptor of its instances' state
                return None
            found = handler(subject)
            if found is None and (other := behind.get(kind)) is not None:
                return other(subject)
            return found

        return inspect_kind

    handlers = (_inspect_mapped_object, inspect_mapped_class, inspect_generic_alias)
    for kind, handler in zip(shared, handlers, strict=True):
        registrars[kind] = with_handler_behind(kind, handler)

    def tolerant_inspects(*types: type[Any]) -> Callable[[_F], _F]:
        others = [kind for kind in types if kind not in shared]

        def decorate(fn: _F) -> _F:
            behind.update((kind, fn) for kind in types if kind in shared)
            return original(*others)(fn) if others else fn

        return decorate

    original: Any = _sa.patch_inspects(tolerant_inspects)


_register_inspection()
