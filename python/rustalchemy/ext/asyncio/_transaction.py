"""What ``AsyncSession.begin()`` and ``async_sessionmaker.begin()`` return."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy.util import greenlet_spawn

from ..._sa_asyncio import _get_sync_engine_or_connection, _run_to_completion, async_connection
from ...orm import SessionTransaction
from .base import ReversibleProxy, StartableContext
from .engine import AsyncConnection

if TYPE_CHECKING:
    from ._typing import AsyncSessionBind, EntityBindKey
    from .session import AsyncSession

_AS = TypeVar("_AS", bound="AsyncSession")


class AsyncSessionTransaction(ReversibleProxy[SessionTransaction], StartableContext["AsyncSessionTransaction"]):
    """A transaction, or a SAVEPOINT, of an AsyncSession: begins when it is awaited, or entered with ``async with``."""

    __slots__ = ("nested", "session", "sync_transaction")

    session: AsyncSession
    nested: bool
    sync_transaction: SessionTransaction | None

    def __init__(self, session: AsyncSession, nested: bool = False) -> None:
        self.session = session
        self.nested = nested
        self.sync_transaction = None

    @classmethod
    def _regenerate_proxy_for_target(  # type: ignore[override]
        cls, target: SessionTransaction, async_session: AsyncSession, **additional_kw: Any
    ) -> AsyncSessionTransaction:
        transaction = cls(async_session, target.nested)
        transaction.sync_transaction = transaction._assign_proxied(target)
        return transaction

    def _started(self) -> SessionTransaction:
        if self.sync_transaction is None:
            self._raise_for_not_started()
        return self.sync_transaction

    @property
    def is_active(self) -> bool:
        """Whether the transaction goes on. AsyncContextNotStarted is raised, as by all here, before it has begun."""
        return self._started().is_active

    @property
    def connections(self) -> frozenset[AsyncConnection]:
        """The connections this transaction has acquired so far; a SAVEPOINT lists only those it was used on."""
        return frozenset(map(async_connection, self._started().connections))

    def bound_connection(
        self, bindkey: EntityBindKey[Any] | None = None, *, bind: AsyncSessionBind | None = None, **kw: Any
    ) -> AsyncConnection:
        """The connection already acquired for this bind key; InvalidRequestError if there is none."""
        if bind is not None:
            kw["bind"] = _get_sync_engine_or_connection(bind)
        return async_connection(self._started().bound_connection(bindkey, **kw))

    async def commit(self) -> None:
        """Flush and commit."""
        await greenlet_spawn(self._started().commit)

    async def rollback(self) -> None:
        """Roll back."""
        await greenlet_spawn(self._started().rollback)

    async def start(self, is_ctxmanager: bool = False) -> AsyncSessionTransaction:
        """Begin; what awaiting the transaction, or entering it, does."""
        sync_session = self.session.sync_session
        begin = sync_session.begin_nested if self.nested else sync_session.begin
        self.sync_transaction = self._assign_proxied(await greenlet_spawn(begin))
        if is_ctxmanager:
            self.sync_transaction.__enter__()
        return self

    async def __aexit__(self, type_: Any, value: Any, traceback: Any) -> None:
        await greenlet_spawn(self._started().__exit__, type_, value, traceback)


class AsyncSessionContextManager(Generic[_AS]):
    """A session with its transaction, both ended by one ``async with``."""

    __slots__ = ("async_session", "trans")

    async_session: _AS
    trans: AsyncSessionTransaction

    def __init__(self, async_session: _AS) -> None:
        self.async_session = async_session

    async def __aenter__(self) -> _AS:
        self.trans = self.async_session.begin()
        await self.trans.__aenter__()
        return self.async_session

    async def __aexit__(self, type_: Any, value: Any, traceback: Any) -> None:
        async def end() -> None:
            await self.trans.__aexit__(type_, value, traceback)
            await self.async_session.__aexit__(type_, value, traceback)

        await _run_to_completion(end())
