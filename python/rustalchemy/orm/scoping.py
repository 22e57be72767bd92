"""``scoped_session``: one Session per scope (thread, task, request), with the Session's own interface."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from sqlalchemy import exc as sa_exc
from sqlalchemy import util
from sqlalchemy.util import ScopedRegistry, ThreadLocalRegistry

from .session import JoinTransactionMode, Session, sessionmaker

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.sql.selectable import ForUpdateParameter
    from sqlalchemy.util import IdentitySet

    from ._expired_peers import OnExpired
    from ._on_lazy import OnLazy
    from ._typing import _O, _EntityBindKey
    from .identity import IdentityMap
    from .interfaces import ORMOption
    from .query import Query

__all__ = ["QueryPropertyDescriptor", "scoped_session"]

_S = TypeVar("_S", bound=Session)
_T = TypeVar("_T", bound=Any)
_P = ParamSpec("_P")
_R = TypeVar("_R")

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


def _proxy(method: Callable[Concatenate[Any, _P], _R]) -> Callable[Concatenate[Any, _P], _R]:
    """The method of the same name and type that calls the one of the current scope's session."""
    name = method.__name__

    @functools.wraps(method)
    def call(self: Any, /, *args: _P.args, **kw: _P.kwargs) -> _R:
        return getattr(self.registry(), name)(*args, **kw)

    return call


class QueryPropertyDescriptor:
    """What ``scoped_session.query_property()`` puts on a class: a Query over the class it is read from."""

    def __init__(self, scoped: scoped_session[Any], query_cls: type[Query[Any]] | None) -> None:
        self._scoped = scoped
        self._query_cls = query_cls

    def __get__(self, instance: Any, owner: type[_T]) -> Query[_T]:
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
        entity: _EntityBindKey[_O],
        ident: Any,
        *,
        options: Sequence[ORMOption] | None = None,
        populate_existing: bool | None = None,
        with_for_update: ForUpdateParameter = None,
        identity_token: Any = None,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
    ) -> _O | None:
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

    def query_property(self, query_cls: type[Query[Any]] | None = None) -> QueryPropertyDescriptor:
        """A class attribute that reads as a Query over that class."""
        return QueryPropertyDescriptor(self, query_cls)

    # --- what the session of the current scope does ------------------------------------------------------------------

    __contains__ = _proxy(Session.__contains__)
    __iter__ = _proxy(Session.__iter__)
    add_all = _proxy(Session.add_all)
    begin = _proxy(Session.begin)
    begin_nested = _proxy(Session.begin_nested)
    bulk_insert_mappings = _proxy(Session.bulk_insert_mappings)
    bulk_save_objects = _proxy(Session.bulk_save_objects)
    bulk_update_mappings = _proxy(Session.bulk_update_mappings)
    close = _proxy(Session.close)
    commit = _proxy(Session.commit)
    connection = _proxy(Session.connection)
    delete = _proxy(Session.delete)
    delete_all = _proxy(Session.delete_all)
    execute = _proxy(Session.execute)
    expire = _proxy(Session.expire)
    expire_all = _proxy(Session.expire_all)
    expunge = _proxy(Session.expunge)
    expunge_all = _proxy(Session.expunge_all)
    flush = _proxy(Session.flush)
    get_bind = _proxy(Session.get_bind)
    get_one = _proxy(Session.get_one)
    invalidate = _proxy(Session.invalidate)
    is_modified = _proxy(Session.is_modified)
    merge = _proxy(Session.merge)
    merge_all = _proxy(Session.merge_all)
    plan = _proxy(Session.plan)
    query = _proxy(Session.query)
    refresh = _proxy(Session.refresh)
    reset = _proxy(Session.reset)
    rollback = _proxy(Session.rollback)
    scalar = _proxy(Session.scalar)
    scalars = _proxy(Session.scalars)

    object_session = Session.object_session
    identity_key = Session.identity_key

    if TYPE_CHECKING:
        autoflush: bool
        bind: Engine | Connection | None
        binds: Mapping[Any, Engine | Connection]
        execution_options: Mapping[str, Any]
        identity_map: IdentityMap

        @property
        def autobegin(self) -> bool: ...
        @property
        def deleted(self) -> IdentitySet: ...
        @property
        def dirty(self) -> IdentitySet: ...
        @property
        def enable_baked_queries(self) -> bool: ...
        @property
        def expire_on_commit(self) -> bool: ...
        @property
        def hash_key(self) -> int: ...
        @property
        def info(self) -> dict[Any, Any]: ...
        @property
        def is_active(self) -> bool: ...
        @property
        def join_transaction_mode(self) -> JoinTransactionMode: ...
        @property
        def new(self) -> IdentitySet: ...
        @property
        def no_autoflush(self) -> AbstractContextManager[Session]: ...
        @property
        def on_expired(self) -> OnExpired: ...
        @property
        def on_lazy(self) -> OnLazy: ...
        @property
        def read_only(self) -> bool: ...
        @property
        def twophase(self) -> bool: ...


def _attribute_proxy(name: str, writable: bool) -> property:
    def read(self: scoped_session[Any]) -> Any:
        return getattr(self.registry(), name)

    def write(self: scoped_session[Any], value: Any) -> None:
        setattr(self.registry(), name, value)

    return property(read, write if writable else None, doc=f"Proxy of ``Session.{name}``.")


for _name in _PROXIED_READABLE:
    setattr(scoped_session, _name, _attribute_proxy(_name, writable=False))
for _name in _PROXIED_WRITABLE:
    setattr(scoped_session, _name, _attribute_proxy(_name, writable=True))
del _name  # pyright: ignore[reportPossiblyUnboundVariable]
