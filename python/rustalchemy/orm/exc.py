"""Exceptions of the ORM: SQLAlchemy's names, bases, codes and messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import exc as sa_exc
from sqlalchemy import util
from sqlalchemy.exc import MultipleResultsFound as MultipleResultsFound
from sqlalchemy.exc import NoResultFound as NoResultFound

if TYPE_CHECKING:
    from .interfaces import LoaderStrategy, MapperProperty

NO_STATE = (AttributeError, KeyError)
"""What looking for the state of an object without instrumentation may raise."""


class StaleDataError(sa_exc.SQLAlchemyError):
    """The database holds other rows, versions or parents than the flush or refresh expected."""


ConcurrentModificationError = StaleDataError


class FlushError(sa_exc.SQLAlchemyError):
    """A flush found a condition it cannot work with."""


class MappedAnnotationError(sa_exc.ArgumentError):
    """The expression inside ``Mapped[...]`` cannot be understood."""


class UnmappedError(sa_exc.InvalidRequestError):
    """Base of the errors about missing mappings."""


class ObjectDereferencedError(sa_exc.SQLAlchemyError):
    """An operation needs an object that has been garbage collected."""


class DetachedInstanceError(sa_exc.SQLAlchemyError):
    """An unloaded attribute was read on an object that is in no session."""

    code = "bhk3"


class UnmappedInstanceError(UnmappedError):
    """An object without mapping was given to an operation that needs one."""

    def __init__(self, obj: object, msg: str | None = None) -> None:
        super().__init__(msg or _unmapped_instance_message(obj))

    def __reduce__(self) -> Any:
        return self.__class__, (None, self.args[0])


class UnmappedClassError(UnmappedError):
    """A class without mapping was given to an operation that needs one."""

    def __init__(self, cls: type[Any], msg: str | None = None) -> None:
        super().__init__(msg or _default_unmapped(cls))

    def __reduce__(self) -> Any:
        return self.__class__, (None, self.args[0])


class ObjectDeletedError(sa_exc.InvalidRequestError):
    """The row of a persistent object was not found when it had to be read again."""

    def __init__(self, state: Any, msg: str | None = None) -> None:
        if not msg:
            from .base import state_str

            msg = f"Instance '{state_str(state)}' has been deleted, or its row is otherwise not present."
        super().__init__(msg)

    def __reduce__(self) -> Any:
        return self.__class__, (None, self.args[0])


class UnmappedColumnError(sa_exc.InvalidRequestError):
    """A column that the mapper does not know was used."""


class LoaderStrategyException(sa_exc.InvalidRequestError):
    """No loader strategy of the asked-for kind exists for an attribute."""

    def __init__(
        self,
        applied_to_property_type: type[Any],
        requesting_property: MapperProperty[Any],
        applies_to: type[MapperProperty[Any]] | None,
        actual_strategy_type: type[LoaderStrategy] | None,
        strategy_key: tuple[Any, ...],
    ) -> None:
        if actual_strategy_type is None or applies_to is None:
            super().__init__(f"Can't find strategy {strategy_key} for {requesting_property}")
            return
        strategy = util.clsname_as_plain_name(actual_strategy_type)
        super().__init__(
            f'Can\'t apply "{strategy}" strategy to property "{requesting_property}", '
            f'which is a "{_property_plain_name(applied_to_property_type)}"; this loader strategy is intended '
            f'to be used with a "{_property_plain_name(applies_to)}".'
        )


def _property_plain_name(prop: type[Any]) -> str:
    if hasattr(prop, "_mapper_property_name"):
        name = prop._mapper_property_name()
    else:
        name = None
    return util.clsname_as_plain_name(prop, name)


def _safe_cls_name(cls: Any) -> str:
    try:
        return ".".join((cls.__module__, cls.__name__))
    except AttributeError:
        name = getattr(cls, "__name__", None)
        return repr(cls) if name is None else name


def _unmapped_instance_message(obj: object) -> str:
    from .base import class_mapper

    name = _safe_cls_name(type(obj))
    try:
        class_mapper(type(obj))
    except UnmappedClassError:
        message = f"Class '{name}' is not mapped"
        if isinstance(obj, type):
            message += f"; was a class ({_safe_cls_name(obj)}) supplied where an instance was required?"
        return message
    return (
        f"Class {name!r} is mapped, but this instance lacks instrumentation.  This occurs when the instance "
        f"is created before sqlalchemy.orm.mapper({name}) was called."
    )


def _default_unmapped(cls: Any) -> str | None:
    from .base import manager_of_class

    try:
        manager: Any = manager_of_class(cls)
        mappers = manager.mappers
    except (UnmappedClassError, TypeError, *NO_STATE):
        mappers = {}
    return None if mappers else f"Class '{_safe_cls_name(cls)}' is not mapped"
