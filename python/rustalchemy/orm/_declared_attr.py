"""`declared_attr`: class attributes that are computed for each mapped class."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Optional, TypeVar, Union, overload

from sqlalchemy import util
from sqlalchemy.sql.elements import SQLCoreOperations
from sqlalchemy.util import hybridmethod, hybridproperty

from . import attributes
from .base import Mapped, ORMDescriptor, _MappedAttribute

if TYPE_CHECKING:
    from .attributes import InstrumentedAttribute

_T = TypeVar("_T", bound=Any)
_T_co = TypeVar("_T_co", bound=Any, covariant=True)
_TT = TypeVar("_TT", bound=Any)

_DeclaredAttrDecorated = Callable[..., Union[Mapped[_T_co], ORMDescriptor[_T_co], SQLCoreOperations[_T_co]]]

_DUNDER = re.compile(r"^__.+__$")


class _declared_attr_common:
    """The run-time side of all forms: a class property, remembered while the class is being mapped."""

    def __init__(self, fn: Callable[..., Any], cascading: bool = False, quiet: bool = False) -> None:
        self.fget = fn.__func__ if isinstance(fn, classmethod) else fn
        self._cascading = cascading
        self._quiet = quiet
        self.__doc__ = self.fget.__doc__

    def _collect_return_annotation(self) -> Optional[type[Any]]:
        return util.get_annotations(self.fget).get("return")

    def __get__(self, instance: Optional[object], owner: Any) -> Any:
        manager = attributes.opt_manager_of_class(owner)
        if manager is None:
            if not _DUNDER.match(self.fget.__name__):
                util.warn(
                    f"Unmanaged access of declarative attribute {self.fget.__name__} from non-mapped class "
                    f"{owner.__name__}"
                )
            return self.fget(owner)
        if manager.is_mapped:
            return self.fget(owner)

        # While scanning, every access must give the same object: a column is looked at by several steps.
        scan_ref: Any = manager.declarative_scan
        scan = scan_ref()
        assert scan is not None
        values = scan.declared_attr_reg
        if self not in values:
            values[self] = self.fget(owner)
        return values[self]


class _declared_directive(_declared_attr_common, Generic[_T]):
    """`declared_attr.directive`: for a name such as ``__tablename__``, which is no attribute of instances."""

    if TYPE_CHECKING:

        def __init__(self, fn: Callable[..., _T], cascading: bool = False) -> None: ...

        def __get__(self, instance: Optional[object], owner: Any) -> _T: ...

        def __set__(self, instance: Any, value: Any) -> None: ...

        def __delete__(self, instance: Any) -> None: ...

        def __call__(self, fn: Callable[..., _TT]) -> _declared_directive[_TT]: ...


class declared_attr(_MappedAttribute[_T_co], _declared_attr_common):
    """Mark a method of a mixin or abstract base as giving a mapped attribute, or a declarative setting, per class."""

    if TYPE_CHECKING:

        def __init__(self, fn: _DeclaredAttrDecorated[_T_co], cascading: bool = False) -> None: ...

        def __set__(self, instance: Any, value: Any) -> None: ...

        def __delete__(self, instance: Any) -> None: ...

        @overload
        def __get__(self, instance: None, owner: Any) -> InstrumentedAttribute[_T_co]: ...

        @overload
        def __get__(self, instance: object, owner: Any) -> _T_co: ...

        def __get__(self, instance: Optional[object], owner: Any) -> Union[InstrumentedAttribute[_T_co], _T_co]: ...

    @hybridmethod
    def _stateful(cls, **kw: Any) -> _stateful_declared_attr[_T_co]:
        return _stateful_declared_attr(**kw)

    @hybridproperty
    def directive(cls) -> _declared_directive[Any]:
        """The form for declarative settings; type checkers see the value's own type."""
        return _declared_directive  # type: ignore[return-value]

    @hybridproperty
    def cascading(cls) -> _stateful_declared_attr[_T_co]:
        """The form that is evaluated again for every mapped subclass."""
        return cls._stateful(cascading=True)


class _stateful_declared_attr(declared_attr[_T_co]):
    """A `declared_attr` with settings, before it has its function."""

    kw: dict[str, Any]

    def __init__(self, **kw: Any) -> None:
        self.kw = kw

    @hybridmethod
    def _stateful(self, **kw: Any) -> _stateful_declared_attr[_T_co]:
        return _stateful_declared_attr(**{**self.kw, **kw})

    def __call__(self, fn: _DeclaredAttrDecorated[_T_co]) -> declared_attr[_T_co]:
        return declared_attr(fn, **self.kw)
