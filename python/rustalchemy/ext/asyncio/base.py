"""What Core's asynchronous classes are made of, under the name of SQLAlchemy's module."""

from __future__ import annotations

from ..._sa_asyncio import GeneratorStartableContext as GeneratorStartableContext
from ..._sa_asyncio import ProxyComparable as ProxyComparable
from ..._sa_asyncio import ReversibleProxy as ReversibleProxy
from ..._sa_asyncio import StartableContext as StartableContext
from ..._sa_asyncio import _run_to_completion as _run_to_completion
from ..._sa_asyncio import asyncstartablecontext as asyncstartablecontext
