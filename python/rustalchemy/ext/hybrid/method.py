"""A method with one body for objects and one, perhaps the same, for SQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, overload

from sqlalchemy.sql.elements import SQLCoreOperations
from typing_extensions import Self

from ...orm import InspectionAttrInfo
from .kinds import HybridExtensionType

_P = ParamSpec("_P")
_R = TypeVar("_R")


class hybrid_method(InspectionAttrInfo, Generic[_P, _R]):
    """Decorator of a method that is called on objects, and on the class for a SQL expression."""

    is_attribute = True
    extension_type = HybridExtensionType.HYBRID_METHOD

    def __init__(
        self,
        func: Callable[Concatenate[Any, _P], _R],
        expr: Callable[Concatenate[Any, _P], SQLCoreOperations[_R]] | None = None,
    ) -> None:
        self.func = func
        self.expression(func if expr is None else expr)  # type: ignore[arg-type]

    @property
    def inplace(self) -> Self:
        """The method itself: `expression()` changes it in place anyway."""
        return self

    @overload
    def __get__(self, instance: Literal[None], owner: type[object]) -> Callable[_P, SQLCoreOperations[_R]]: ...

    @overload
    def __get__(self, instance: object, owner: type[object]) -> Callable[_P, _R]: ...

    def __get__(self, instance: object | None, owner: type[object]) -> Any:
        if instance is None:
            return self.expr.__get__(owner, owner)
        return self.func.__get__(instance, owner)

    def expression(self, expr: Callable[Concatenate[Any, _P], SQLCoreOperations[_R]]) -> hybrid_method[_P, _R]:
        """Decorator of what the class is asked for: a method that returns SQL."""
        self.expr: Any = expr
        if not self.expr.__doc__:
            self.expr.__doc__ = self.func.__doc__
        return self
