"""AsyncSession: a Session whose methods are awaited.

Each method that may send something to the database runs the one of the sync session in a greenlet, which gives way to
the event loop wherever the driver has to wait.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NoReturn, ParamSpec, TypeVar, overload

from sqlalchemy import util
from sqlalchemy.util import greenlet_spawn
from typing_extensions import Self

from ..._sa_asyncio import _get_sync_engine_or_connection, _run_to_completion, async_connection
from ...orm import Session, object_session
from ...orm import close_all_sessions as _close_all_sync_sessions
from ...orm import state as _instance_state
from ._binds import AsyncBinds
from ._execution import _EXECUTE_OPTIONS as _EXECUTE_OPTIONS
from ._execution import _STREAM_OPTIONS as _STREAM_OPTIONS
from ._execution import AsyncExecution
from ._proxies import ProxiedAttribute, WritableProxiedAttribute, proxied
from ._transaction import AsyncSessionContextManager, AsyncSessionTransaction
from ._typing import AsyncSessionBind, EntityBindKey, O, T
from .base import ReversibleProxy
from .engine import AsyncConnection

if TYPE_CHECKING:
    from sqlalchemy.util import IdentitySet

    from ...orm.identity import IdentityMap

_P = ParamSpec("_P")
_AS = TypeVar("_AS", bound="AsyncSession")

__all__ = [
    "AsyncAttrs",
    "AsyncSession",
    "AsyncSessionTransaction",
    "async_object_session",
    "async_session",
    "async_sessionmaker",
    "close_all_sessions",
]


class AsyncAttrs:
    """A mixin for mapped classes: attributes that may have to be loaded can be awaited."""

    class _AsyncAttrGetitem:
        __slots__ = ("_instance",)

        def __init__(self, _instance: Any) -> None:
            self._instance = _instance

        def __getattr__(self, name: str) -> Awaitable[Any]:
            return greenlet_spawn(getattr, self._instance, name)

    @property
    def awaitable_attrs(self) -> AsyncAttrs._AsyncAttrGetitem:
        """All attributes of the object, each as something to be awaited: ``await user.awaitable_attrs.addresses``."""
        return AsyncAttrs._AsyncAttrGetitem(self)


class AsyncSession(AsyncBinds, AsyncExecution, ReversibleProxy[Session]):
    """A Session of its own, ``sync_session``, whose methods are awaited. For one task at a time."""

    _is_asyncio = True

    sync_session_class: type[Session] = Session
    sync_session: Session
    _proxied: Session

    def __init__(
        self,
        bind: AsyncSessionBind | None = None,
        *,
        binds: Mapping[Any, AsyncSessionBind] | None = None,
        sync_session_class: type[Session] | None = None,
        **kw: Any,
    ) -> None:
        self._async_bind = bind
        self._async_binds = dict(binds) if binds else {}
        if sync_session_class is not None:
            self.sync_session_class = sync_session_class
        self.sync_session = self._proxied = self._assign_proxied(
            self.sync_session_class(
                bind=None if bind is None else _get_sync_engine_or_connection(bind),
                binds={key: _get_sync_engine_or_connection(bound) for key, bound in binds.items()} if binds else None,
                **kw,
            )
        )
        # listeners may await before there is a connection that does
        self.sync_session._uow_switches_tasks()

    @classmethod
    def _no_async_engine_events(cls) -> NoReturn:
        raise NotImplementedError(
            "asynchronous events are not implemented at this time.  Apply synchronous listeners to the "
            "AsyncSession.sync_session."
        )

    async def run_sync(self, fn: Callable[Concatenate[Session, _P], T], *arg: _P.args, **kw: _P.kwargs) -> T:
        """Call a function with the sync session, where whatever waits for the database lets other tasks run."""
        return await greenlet_spawn(fn, self.sync_session, *arg, _require_await=False, **kw)

    # --- objects -----------------------------------------------------------------------------------------------------

    async def get(
        self,
        entity: EntityBindKey[O],
        ident: Any,
        *,
        options: Sequence[Any] | None = None,
        populate_existing: bool | None = None,
        with_for_update: Any = None,
        identity_token: Any = None,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
    ) -> O | None:
        """The object with a primary key, from the identity map or the database, or None."""
        return await greenlet_spawn(
            self.sync_session.get,
            entity,
            ident,
            options=options,
            populate_existing=populate_existing,
            with_for_update=with_for_update,
            identity_token=identity_token,
            execution_options=execution_options,
        )

    async def get_one(
        self,
        entity: EntityBindKey[O],
        ident: Any,
        *,
        options: Sequence[Any] | None = None,
        populate_existing: bool | None = None,
        with_for_update: Any = None,
        identity_token: Any = None,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
    ) -> O:
        """As ``get()``, but raises NoResultFound where that returns None."""
        return await greenlet_spawn(
            self.sync_session.get_one,
            entity,
            ident,
            options=options,
            populate_existing=populate_existing,
            with_for_update=with_for_update,
            identity_token=identity_token,
            execution_options=execution_options,
        )

    async def refresh(
        self, instance: object, attribute_names: Iterable[str] | None = None, with_for_update: Any = None
    ) -> None:
        """Expire an object's attributes, all or those named, and load them now."""
        await greenlet_spawn(
            self.sync_session.refresh, instance, attribute_names=attribute_names, with_for_update=with_for_update
        )

    async def delete(self, instance: object) -> None:
        """Mark an object as deleted; cascades may load what it refers to."""
        await greenlet_spawn(self.sync_session.delete, instance)

    async def delete_all(self, instances: Iterable[object]) -> None:
        """``delete()`` of several objects."""
        await greenlet_spawn(self.sync_session.delete_all, instances)

    async def merge(self, instance: O, *, load: bool = True, options: Sequence[Any] | None = None) -> O:
        """Copy the state of an object onto the object of the same identity in this session, and return that one."""
        return await greenlet_spawn(self.sync_session.merge, instance, load=load, options=options)  # pyright: ignore

    async def merge_all(
        self, instances: Iterable[O], *, load: bool = True, options: Sequence[Any] | None = None
    ) -> Sequence[O]:
        """``merge()`` of several objects."""
        return await greenlet_spawn(self.sync_session.merge_all, instances, load=load, options=options)  # pyright: ignore

    async def flush(self, objects: Sequence[Any] | None = None) -> None:
        """Turn pending changes into SQL now."""
        await greenlet_spawn(self.sync_session.flush, objects=objects)

    # --- transactions and connections --------------------------------------------------------------------------------

    def begin(self) -> AsyncSessionTransaction:
        """A transaction that begins when it is awaited or entered with ``async with``."""
        return AsyncSessionTransaction(self)

    def begin_nested(self) -> AsyncSessionTransaction:
        """A SAVEPOINT that begins when it is awaited or entered with ``async with``."""
        return AsyncSessionTransaction(self, nested=True)

    def get_transaction(self) -> AsyncSessionTransaction | None:
        """The root transaction, or None."""
        return self._async_transaction(self.sync_session.get_transaction())

    def get_nested_transaction(self) -> AsyncSessionTransaction | None:
        """The innermost SAVEPOINT, or None."""
        return self._async_transaction(self.sync_session.get_nested_transaction())

    def _async_transaction(self, transaction: Any) -> AsyncSessionTransaction | None:
        if transaction is None:
            return None
        return AsyncSessionTransaction._retrieve_proxy_for_target(transaction, async_session=self)

    async def connection(
        self,
        /,
        bind_arguments: dict[str, Any] | None = None,
        execution_options: Mapping[str, Any] | None = None,
        **kw: Any,
    ) -> AsyncConnection:
        """The connection that statements of this session go to."""
        connection = await greenlet_spawn(
            self.sync_session.connection, bind_arguments=bind_arguments, execution_options=execution_options, **kw
        )
        return async_connection(connection)

    async def commit(self) -> None:
        """Flush, and commit the whole transaction."""
        await greenlet_spawn(self.sync_session.commit)

    async def rollback(self) -> None:
        """Roll back the whole transaction; nothing happens if there is none."""
        await greenlet_spawn(self.sync_session.rollback)

    # --- end of use --------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Let go of all objects and connections."""
        await greenlet_spawn(self.sync_session.close)

    async def aclose(self) -> None:
        """``close()``, for ``contextlib.aclosing()``."""
        await self.close()

    async def reset(self) -> None:
        """As ``close()``, but the session may always be used again."""
        await greenlet_spawn(self.sync_session.reset)

    async def invalidate(self) -> None:
        """As ``close()``, and the connections are not given back to their pool but dropped."""
        await greenlet_spawn(self.sync_session.invalidate)

    @classmethod
    @util.deprecated(
        "2.0",
        "The :meth:`.AsyncSession.close_all` method is deprecated and will be removed in a future release.  Please "
        "refer to :func:`_asyncio.close_all_sessions`.",
    )
    async def close_all(cls) -> None:
        """Close every session that is alive."""
        await close_all_sessions()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, type_: Any, value: Any, traceback: Any) -> None:
        await _run_to_completion(self.close())

    def _maker_context_manager(self) -> AsyncSessionContextManager[Self]:
        return AsyncSessionContextManager(self)

    # --- what the sync session does without the database -------------------------------------------------------------

    __contains__ = proxied(Session.__contains__)
    __iter__ = proxied(Session.__iter__)
    add = proxied(Session.add)
    add_all = proxied(Session.add_all)
    expire = proxied(Session.expire)
    expire_all = proxied(Session.expire_all)
    expunge = proxied(Session.expunge)
    expunge_all = proxied(Session.expunge_all)
    is_modified = proxied(Session.is_modified)
    in_transaction = proxied(Session.in_transaction)
    in_nested_transaction = proxied(Session.in_nested_transaction)
    plan = proxied(Session.plan)

    dirty: ProxiedAttribute[IdentitySet] = ProxiedAttribute()
    deleted: ProxiedAttribute[IdentitySet] = ProxiedAttribute()
    new: ProxiedAttribute[IdentitySet] = ProxiedAttribute()
    is_active: ProxiedAttribute[bool] = ProxiedAttribute()
    no_autoflush: ProxiedAttribute[Any] = ProxiedAttribute()
    info: ProxiedAttribute[dict[Any, Any]] = ProxiedAttribute()
    on_expired: ProxiedAttribute[Any] = ProxiedAttribute()
    on_lazy: ProxiedAttribute[Any] = ProxiedAttribute()
    read_only: ProxiedAttribute[bool] = ProxiedAttribute()
    identity_map: WritableProxiedAttribute[IdentityMap] = WritableProxiedAttribute()
    autoflush: WritableProxiedAttribute[bool] = WritableProxiedAttribute()
    execution_options: WritableProxiedAttribute[Mapping[str, Any]] = WritableProxiedAttribute()

    object_session = Session.object_session
    identity_key = Session.identity_key


class async_sessionmaker(Generic[_AS]):
    """A factory of asynchronous sessions with the same arguments."""

    class_: type[_AS]

    @overload
    def __init__(
        self,
        bind: AsyncSessionBind | None = ...,
        *,
        class_: type[_AS],
        autoflush: bool = ...,
        expire_on_commit: bool = ...,
        info: Mapping[Any, Any] | None = ...,
        **kw: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: async_sessionmaker[AsyncSession],
        bind: AsyncSessionBind | None = ...,
        *,
        autoflush: bool = ...,
        expire_on_commit: bool = ...,
        info: Mapping[Any, Any] | None = ...,
        **kw: Any,
    ) -> None: ...
    def __init__(
        self,
        bind: AsyncSessionBind | None = None,
        *,
        class_: type[_AS] = AsyncSession,  # type: ignore[assignment]
        autoflush: bool = True,
        expire_on_commit: bool = True,
        info: Mapping[Any, Any] | None = None,
        **kw: Any,
    ) -> None:
        kw.update(bind=bind, autoflush=autoflush, expire_on_commit=expire_on_commit)
        if info is not None:
            kw["info"] = info
        self.kw = kw
        self.class_ = class_

    def begin(self) -> AsyncSessionContextManager[_AS]:
        """A new session inside of a new transaction, both ended by the context manager."""
        return self()._maker_context_manager()

    def __call__(self, **local_kw: Any) -> _AS:
        kw = {**self.kw, **local_kw}
        if "info" in local_kw and "info" in self.kw:
            kw["info"] = {**self.kw["info"], **local_kw["info"]}
        return self.class_(**kw)

    def configure(self, **new_kw: Any) -> None:
        """Change the arguments of sessions made from now on."""
        self.kw.update(new_kw)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.kw.items())
        return f"{self.__class__.__name__}(class_={self.class_.__name__!r}, {arguments})"


def async_object_session(instance: object) -> AsyncSession | None:
    """The AsyncSession an object is in, or None; also None if its AsyncSession is gone while its Session is not."""
    session = object_session(instance)
    return None if session is None else async_session(session)


def async_session(session: Session) -> AsyncSession | None:
    """The AsyncSession that a Session belongs to, or None."""
    return AsyncSession._retrieve_proxy_for_target(session, regenerate=False)


async def close_all_sessions() -> None:
    """Close every session that is alive."""
    await greenlet_spawn(_close_all_sync_sessions)


_instance_state._async_provider = async_session
