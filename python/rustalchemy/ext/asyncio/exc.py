"""What goes wrong on asynchronous drivers only."""

from __future__ import annotations

from ..._sa_asyncio import AsyncBindNotFound as AsyncBindNotFound
from ..._sa_asyncio import AsyncContextAlreadyStarted as AsyncContextAlreadyStarted
from ..._sa_asyncio import AsyncContextNotStarted as AsyncContextNotStarted
from ..._sa_asyncio import AsyncMethodRequired as AsyncMethodRequired
