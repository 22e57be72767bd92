"""Core's asynchronous engines and connections, under the name of SQLAlchemy's module."""

from __future__ import annotations

from ..._sa_asyncio import AsyncConnectable as AsyncConnectable
from ..._sa_asyncio import AsyncConnection as AsyncConnection
from ..._sa_asyncio import AsyncEngine as AsyncEngine
from ..._sa_asyncio import AsyncTransaction as AsyncTransaction
from ..._sa_asyncio import _get_sync_engine_or_connection as _get_sync_engine_or_connection
from ..._sa_asyncio import async_engine_from_config as async_engine_from_config
from ..._sa_asyncio import create_async_engine as create_async_engine
from ..._sa_asyncio import create_async_pool_from_url as create_async_pool_from_url
