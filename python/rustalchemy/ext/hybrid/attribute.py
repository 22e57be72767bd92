"""A property with one body for objects and one, perhaps the same, for SQL."""

from __future__ import annotations

import functools
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar, overload

from sqlalchemy import util
from typing_extensions import Self

from ...orm import InspectionAttrInfo, ORMDescriptor, QueryableAttribute
from ...orm.extensions import UNKNOWN_KEY, proxied_attribute
from .comparator import Comparator, ExprComparator
from .kinds import HybridExtensionType

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import SQLCoreOperations

_T = TypeVar("_T", bound=Any)
_T_co = TypeVar("_T_co", bound=Any, covariant=True)
_T_con = TypeVar("_T_con", bound=Any, contravariant=True)


class _Getter(Protocol[_T_co]):
    def __call__(self, instance: Any, /) -> _T_co: ...


class _Setter(Protocol[_T_con]):
    def __call__(self, instance: Any, value: _T_con, /) -> None: ...


class _Deleter(Protocol):
    def __call__(self, instance: Any, /) -> None: ...


class _Expression(Protocol):
    def __call__(self, cls: Any, /) -> Any: ...


class _ComparatorMaker(Protocol[_T]):
    def __call__(self, cls: Any) -> Comparator[_T]: ...


class _UpdateExpression(Protocol):
    def __call__(self, cls: Any, value: Any) -> list[tuple[Any, Any]]: ...


class _BulkDML(Protocol):
    def __call__(self, cls: Any, mapping: MutableMapping[str, Any], value: Any) -> Any: ...


class _HybridClassLevelAccessor(QueryableAttribute[_T]):
    """What reading a hybrid from the class returns: an attribute with the decorators of the hybrid (typing only)."""

    if TYPE_CHECKING:

        def getter(self, fget: _Getter[_T]) -> hybrid_property[_T]: ...

        def setter(self, fset: _Setter[_T]) -> hybrid_property[_T]: ...

        def deleter(self, fdel: _Deleter) -> hybrid_property[_T]: ...

        @property
        def overrides(self) -> hybrid_property[_T]: ...

        def update_expression(self, meth: _UpdateExpression) -> hybrid_property[_T]: ...

        def bulk_dml(self, meth: _BulkDML) -> hybrid_property[_T]: ...


def _function_of(method: Any) -> Any:
    return method.__func__ if isinstance(method, classmethod) else method


class _InPlace(Generic[_T]):
    """The decorators of a hybrid that change it, so that what they decorate may have any name."""

    __slots__ = ("attr",)

    def __init__(self, attr: hybrid_property[_T]) -> None:
        self.attr = attr

    def _set(self, name: str, function: Any) -> hybrid_property[_T]:
        setattr(self.attr, name, _function_of(function))
        # the class may have been asked for the expression already
        self.attr.__dict__.pop("_expr_comparator", None)
        return self.attr

    def getter(self, fget: _Getter[_T]) -> hybrid_property[_T]:
        return self._set("fget", fget)

    def setter(self, fset: _Setter[_T]) -> hybrid_property[_T]:
        return self._set("fset", fset)

    def deleter(self, fdel: _Deleter) -> hybrid_property[_T]:
        return self._set("fdel", fdel)

    def expression(self, expr: _Expression) -> hybrid_property[_T]:
        return self._set("expr", expr)

    def comparator(self, comparator: _ComparatorMaker[_T]) -> hybrid_property[_T]:
        return self._set("custom_comparator", comparator)

    def update_expression(self, meth: _UpdateExpression) -> hybrid_property[_T]:
        return self._set("update_expr", meth)

    def bulk_dml(self, meth: _BulkDML) -> hybrid_property[_T]:
        return self._set("bulk_dml_setter", meth)


class hybrid_property(InspectionAttrInfo, ORMDescriptor[_T]):
    """Decorator of a property that is read from objects, and from the class as a SQL expression."""

    is_attribute = True
    extension_type = HybridExtensionType.HYBRID_PROPERTY

    __name__: str

    def __init__(
        self,
        fget: _Getter[_T],
        fset: _Setter[_T] | None = None,
        fdel: _Deleter | None = None,
        expr: _Expression | None = None,
        custom_comparator: _ComparatorMaker[_T] | None = None,
        update_expr: _UpdateExpression | None = None,
        bulk_dml_setter: _BulkDML | None = None,
    ) -> None:
        # of any type: a subclass may have methods of these names
        self.fget: Any = fget
        self.fset: Any = fset
        self.fdel: Any = fdel
        self.expr: Any = _function_of(expr)
        self.custom_comparator = _function_of(custom_comparator)
        self.update_expr = _function_of(update_expr)
        self.bulk_dml_setter = _function_of(bulk_dml_setter)
        functools.update_wrapper(self, self.fget)  # type: ignore[arg-type]

    @overload
    def __get__(self, instance: Any, owner: Literal[None]) -> Self: ...

    @overload
    def __get__(self, instance: Literal[None], owner: type[object]) -> _HybridClassLevelAccessor[_T]: ...

    @overload
    def __get__(self, instance: object, owner: type[object]) -> _T: ...

    def __get__(self, instance: object | None, owner: type[object] | None) -> Any:
        if owner is None:
            return self
        if instance is None:
            return self._expr_comparator(owner)
        return self.fget(instance)

    def __set__(self, instance: object, value: SQLCoreOperations[_T] | _T) -> None:
        if self.fset is None:
            raise AttributeError("can't set attribute")
        self.fset(instance, value)

    def __delete__(self, instance: object) -> None:
        if self.fdel is None:
            raise AttributeError("can't delete attribute")
        self.fdel(instance)

    # decorators

    def _copy(self, **changes: Any) -> hybrid_property[_T]:
        # a subclass may have parameters, and attributes for them, of its own; those of the function came with it
        of_function = getattr(self.fget, "__dict__", {})
        own = {
            name: value
            for name, value in self.__dict__.items()
            if not name.startswith("_") and name not in of_function and name != "info"
        }
        copy = type(self)(**{**own, **changes})
        if "info" in self.__dict__:
            copy.info = self.info  # type: ignore[misc]
        return copy

    @property
    def overrides(self) -> Self:
        """The hybrid itself, where the attribute of a base class would answer its own `expression` or `comparator`."""
        return self

    @property
    def inplace(self) -> _InPlace[_T]:
        """The same decorators, changing this hybrid instead of making a new one."""
        return _InPlace(self)

    def getter(self, fget: _Getter[_T]) -> hybrid_property[_T]:
        """Decorator of the function that reads an object's value."""
        return self._copy(fget=fget)

    def setter(self, fset: _Setter[_T]) -> hybrid_property[_T]:
        """Decorator of the function that sets it."""
        return self._copy(fset=fset)

    def deleter(self, fdel: _Deleter) -> hybrid_property[_T]:
        """Decorator of the function that deletes it."""
        return self._copy(fdel=fdel)

    def expression(self, expr: _Expression) -> hybrid_property[_T]:
        """Decorator of the function that makes the SQL expression of a class."""
        return self._copy(expr=expr)

    def comparator(self, comparator: _ComparatorMaker[_T]) -> hybrid_property[_T]:
        """Decorator of the function that makes a `Comparator` for a class; it takes the place of `expression`."""
        return self._copy(custom_comparator=comparator)

    def update_expression(self, meth: _UpdateExpression) -> hybrid_property[_T]:
        """Decorator of the function that returns pairs of column and value for the values of a statement."""
        return self._copy(update_expr=meth)

    def bulk_dml(self, meth: _BulkDML) -> hybrid_property[_T]:
        """Decorator of the function that puts values of columns into a parameter dictionary of a bulk statement."""
        return self._copy(bulk_dml_setter=meth)

    # the class level

    @util.memoized_property
    def _expr_comparator(self) -> Callable[[Any], _HybridClassLevelAccessor[_T]]:
        if self.custom_comparator is not None:
            return self._class_level(self.custom_comparator)
        expression: Any = self.fget if self.expr is None else self.expr

        @functools.wraps(expression)
        def comparator(cls: Any) -> ExprComparator[_T]:
            return ExprComparator(cls, expression(cls), self)

        return self._class_level(comparator)

    def _class_level(self, comparator: Callable[[Any], Any]) -> Callable[[Any], _HybridClassLevelAccessor[_T]]:
        attribute = proxied_attribute(self)
        doc = comparator.__doc__ or self.__doc__

        def class_level(owner: type[object]) -> _HybridClassLevelAccessor[_T]:
            return attribute(owner, self._key_in(owner), self, comparator(owner), doc=doc)

        return class_level

    def _key_in(self, owner: type[object]) -> Any:
        """The hybrid's name, if it is under the name of its function in the class: a descriptor is not told."""
        name = self.__name__
        if any(base.__dict__.get(name) is self for base in owner.__mro__):
            return name
        return UNKNOWN_KEY
