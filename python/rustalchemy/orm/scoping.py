"""``scoped_session``: one Session per scope (thread, task, request), with the Session's own interface."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy import exc as sa_exc
from sqlalchemy import util
from sqlalchemy.util import ScopedRegistry, ThreadLocalRegistry

from .session import Session, sessionmaker

__all__ = ["QueryPropertyDescriptor", "scoped_session"]

_S = TypeVar("_S", bound=Session)

_PROXIED_METHODS = (
    "__contains__",
    "__iter__",
    "add_all",
    "begin",
    "begin_nested",
    "bulk_insert_mappings",
    "bulk_save_objects",
    "bulk_update_mappings",
    "close",
    "commit",
    "connection",
    "delete",
    "delete_all",
    "execute",
    "expire",
    "expire_all",
    "expunge",
    "expunge_all",
    "flush",
    "get_bind",
    "get_one",
    "invalidate",
    "is_modified",
    "merge",
    "merge_all",
    "plan",
    "query",
    "refresh",
    "reset",
    "rollback",
    "scalar",
    "scalars",
)
_PROXIED_CLASS_METHODS = ("object_session", "identity_key")
_PROXIED_READABLE = (
    "autobegin",
    "deleted",
    "dirty",
    "enable_baked_queries",
    "expire_on_commit",
    "hash_key",
    "info",
    "is_active",
    "join_transaction_mode",
    "new",
    "no_autoflush",
    "on_expired",
    "on_lazy",
    "read_only",
    "twophase",
)
_PROXIED_WRITABLE = ("autoflush", "bind", "binds", "execution_options", "identity_map")


class QueryPropertyDescriptor:
    """What ``scoped_session.query_property()`` puts on a class: a Query over the class it is read from."""

    def __init__(self, scoped: scoped_session[Any], query_cls: type[Any] | None) -> None:
        self._scoped = scoped
        self._query_cls = query_cls

    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        session = self._scoped.registry()
        if self._query_cls is not None:
            return self._query_cls(owner, session=session)
        return session.query(owner)


class scoped_session(Generic[_S]):
    """A registry of sessions by scope, usable in place of the session of the current scope."""

    _support_async: bool = False
    session_factory: sessionmaker[_S]
    registry: ScopedRegistry[_S]

    def __init__(self, session_factory: sessionmaker[_S], scopefunc: Callable[[], Any] | None = None) -> None:
        self.session_factory = session_factory
        self.registry = (
            ScopedRegistry(session_factory, scopefunc) if scopefunc else ThreadLocalRegistry(session_factory)
        )

    @property
    def _proxied(self) -> _S:
        return self.registry()

    def __call__(self, **kw: Any) -> _S:
        """The session of the current scope; made with the arguments given, if it is not there yet."""
        if kw:
            if self.registry.has():
                raise sa_exc.InvalidRequestError(
                    "Scoped session is already present; no new arguments may be specified."
                )
            session = self.session_factory(**kw)
            self.registry.set(session)
        else:
            session = self.registry()
        if not self._support_async and session._is_asyncio:
            util.warn_deprecated(
                "Using `scoped_session` with asyncio is deprecated and will raise an error in a future version. "
                "Please use `async_scoped_session` instead.",
                "1.4.23",
            )
        return session

    def configure(self, **kwargs: Any) -> None:
        """Change the arguments of the factory, for sessions made from now on."""
        if self.registry.has():
            util.warn(
                "At least one scoped session is already present.  configure() can not affect sessions that have "
                "already been created."
            )
        self.session_factory.configure(**kwargs)

    def remove(self) -> None:
        """Close and forget the session of the current scope."""
        if self.registry.has():
            self.registry().close()
        self.registry.clear()

    def add(self, instance: object, *, _warn: bool = True) -> None:
        """Proxy of ``Session.add()``."""
        self.registry().add(instance, _warn=_warn)

    def get(
        self,
        entity: Any,
        ident: Any,
        *,
        options: Sequence[Any] | None = None,
        populate_existing: bool | None = None,
        with_for_update: Any = None,
        identity_token: Any = None,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
    ) -> Any:
        """Proxy of ``Session.get()``."""
        return self.registry().get(
            entity,
            ident,
            options=options,
            populate_existing=populate_existing,
            with_for_update=with_for_update,
            identity_token=identity_token,
            execution_options=execution_options,
            bind_arguments=bind_arguments,
        )

    def query_property(self, query_cls: type[Any] | None = None) -> QueryPropertyDescriptor:
        """A class attribute that reads as a Query over that class."""
        return QueryPropertyDescriptor(self, query_cls)


def _method_proxy(name: str) -> Callable[..., Any]:
    @functools.wraps(getattr(Session, name))
    def proxy(self: scoped_session[Any], *args: Any, **kw: Any) -> Any:
        return getattr(self.registry(), name)(*args, **kw)

    return proxy


def _attribute_proxy(name: str, writable: bool) -> property:
    def read(self: scoped_session[Any]) -> Any:
        return getattr(self.registry(), name)

    def write(self: scoped_session[Any], value: Any) -> None:
        setattr(self.registry(), name, value)

    return property(read, write if writable else None, doc=f"Proxy of ``Session.{name}``.")


for _name in _PROXIED_METHODS:
    setattr(scoped_session, _name, _method_proxy(_name))
for _name in _PROXIED_CLASS_METHODS:
    setattr(scoped_session, _name, getattr(Session, _name))
for _name in _PROXIED_READABLE:
    setattr(scoped_session, _name, _attribute_proxy(_name, writable=False))
for _name in _PROXIED_WRITABLE:
    setattr(scoped_session, _name, _attribute_proxy(_name, writable=True))
del _name  # pyright: ignore[reportPossiblyUnboundVariable]
