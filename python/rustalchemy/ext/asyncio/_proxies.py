"""Methods and attributes of an object that stands for another one, its ``_proxied``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from typing_extensions import Self

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")


def proxied(method: Callable[Concatenate[Any, _P], _R]) -> Callable[Concatenate[Any, _P], _R]:
    """The method of the same name and type that calls the one of ``_proxied``; a coroutine function for one."""
    name = method.__name__

    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def call_and_await(self: Any, /, *args: _P.args, **kw: _P.kwargs) -> Any:
            return await getattr(self._proxied, name)(*args, **kw)

        return call_and_await  # type: ignore[return-value]

    @functools.wraps(method)
    def call(self: Any, /, *args: _P.args, **kw: _P.kwargs) -> _R:
        return getattr(self._proxied, name)(*args, **kw)

    return call


class ProxiedAttribute(Generic[_T]):
    """An attribute that is read from ``_proxied``."""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name = name
        self.__doc__ = f"Proxy of the attribute ``{name}``."

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[Any]) -> _T: ...
    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        return self if instance is None else getattr(instance._proxied, self._name)

    def __set__(self, instance: Any, value: _T) -> None:
        raise AttributeError(f"{type(instance).__name__}.{self._name} cannot be assigned")


class WritableProxiedAttribute(ProxiedAttribute[_T]):
    """An attribute that is read from and assigned to ``_proxied``."""

    def __set__(self, instance: Any, value: _T) -> None:
        setattr(instance._proxied, self._name, value)
