"""Core's results that are fetched while the program awaits them, under the name of SQLAlchemy's module."""

from __future__ import annotations

from ..._sa_asyncio import AsyncCommon as AsyncCommon
from ..._sa_asyncio import AsyncMappingResult as AsyncMappingResult
from ..._sa_asyncio import AsyncResult as AsyncResult
from ..._sa_asyncio import AsyncScalarResult as AsyncScalarResult
from ..._sa_asyncio import AsyncTupleResult as AsyncTupleResult
from ..._sa_asyncio import _ensure_sync_result as _ensure_sync_result
