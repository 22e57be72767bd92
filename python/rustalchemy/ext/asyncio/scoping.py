"""``async_scoped_session``: one AsyncSession per scope, a task or a request, with the AsyncSession's own interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy import exc as sa_exc
from sqlalchemy import util
from sqlalchemy.util import ScopedRegistry

from ._proxies import ProxiedAttribute, WritableProxiedAttribute, proxied
from ._typing import AsyncSessionBind
from .session import AsyncSession, async_sessionmaker

if TYPE_CHECKING:
    from sqlalchemy.util import IdentitySet

    from ...orm.identity import IdentityMap

__all__ = ["async_scoped_session"]

_AS = TypeVar("_AS", bound=AsyncSession)


class async_scoped_session(Generic[_AS]):
    """A registry of sessions by scope, usable in place of the session of the current scope."""

    _support_async = True
    session_factory: async_sessionmaker[_AS]
    registry: ScopedRegistry[_AS]

    def __init__(self, session_factory: async_sessionmaker[_AS], scopefunc: Callable[[], Any]) -> None:
        self.session_factory = session_factory
        self.registry = ScopedRegistry(session_factory, scopefunc)

    @property
    def _proxied(self) -> _AS:
        return self.registry()

    def __call__(self, **kw: Any) -> _AS:
        """The session of the current scope; made with the arguments given, if it is not there yet."""
        if not kw:
            return self.registry()
        if self.registry.has():
            raise sa_exc.InvalidRequestError("Scoped session is already present; no new arguments may be specified.")
        session = self.session_factory(**kw)
        self.registry.set(session)
        return session

    def configure(self, **kwargs: Any) -> None:
        """Change the arguments of the factory, for sessions made from now on."""
        if self.registry.has():
            util.warn(
                "At least one scoped session is already present.  configure() can not affect sessions that have "
                "already been created."
            )
        self.session_factory.configure(**kwargs)

    async def remove(self) -> None:
        """Close and forget the session of the current scope."""
        if self.registry.has():
            await self.registry().close()
        self.registry.clear()

    # --- what the session of the current scope does ------------------------------------------------------------------

    __contains__ = proxied(AsyncSession.__contains__)
    __iter__ = proxied(AsyncSession.__iter__)
    aclose = proxied(AsyncSession.aclose)
    add = proxied(AsyncSession.add)
    add_all = proxied(AsyncSession.add_all)
    begin = proxied(AsyncSession.begin)
    begin_nested = proxied(AsyncSession.begin_nested)
    close = proxied(AsyncSession.close)
    commit = proxied(AsyncSession.commit)
    connection = proxied(AsyncSession.connection)
    delete = proxied(AsyncSession.delete)
    delete_all = proxied(AsyncSession.delete_all)
    execute = proxied(AsyncSession.execute)
    expire = proxied(AsyncSession.expire)
    expire_all = proxied(AsyncSession.expire_all)
    expunge = proxied(AsyncSession.expunge)
    expunge_all = proxied(AsyncSession.expunge_all)
    flush = proxied(AsyncSession.flush)
    get = proxied(AsyncSession.get)
    get_async_bind = proxied(AsyncSession.get_async_bind)
    get_bind = proxied(AsyncSession.get_bind)
    get_one = proxied(AsyncSession.get_one)
    invalidate = proxied(AsyncSession.invalidate)
    is_modified = proxied(AsyncSession.is_modified)
    merge = proxied(AsyncSession.merge)
    merge_all = proxied(AsyncSession.merge_all)
    plan = proxied(AsyncSession.plan)
    refresh = proxied(AsyncSession.refresh)
    reset = proxied(AsyncSession.reset)
    rollback = proxied(AsyncSession.rollback)
    scalar = proxied(AsyncSession.scalar)
    scalars = proxied(AsyncSession.scalars)
    stream = proxied(AsyncSession.stream)
    stream_scalars = proxied(AsyncSession.stream_scalars)

    binds: ProxiedAttribute[Mapping[Any, AsyncSessionBind]] = ProxiedAttribute()
    dirty: ProxiedAttribute[IdentitySet] = ProxiedAttribute()
    deleted: ProxiedAttribute[IdentitySet] = ProxiedAttribute()
    new: ProxiedAttribute[IdentitySet] = ProxiedAttribute()
    is_active: ProxiedAttribute[bool] = ProxiedAttribute()
    no_autoflush: ProxiedAttribute[Any] = ProxiedAttribute()
    info: ProxiedAttribute[dict[Any, Any]] = ProxiedAttribute()
    on_expired: ProxiedAttribute[Any] = ProxiedAttribute()
    on_lazy: ProxiedAttribute[Any] = ProxiedAttribute()
    read_only: ProxiedAttribute[bool] = ProxiedAttribute()
    bind: WritableProxiedAttribute[AsyncSessionBind | None] = WritableProxiedAttribute()
    identity_map: WritableProxiedAttribute[IdentityMap] = WritableProxiedAttribute()
    autoflush: WritableProxiedAttribute[bool] = WritableProxiedAttribute()
    execution_options: WritableProxiedAttribute[Mapping[str, Any]] = WritableProxiedAttribute()

    close_all = AsyncSession.close_all
    object_session = AsyncSession.object_session
    identity_key = AsyncSession.identity_key
