"""The border with the asyncio side of Core: engines, connections and results, which share a package with a session.

The modules ``base``, ``engine``, ``exc`` and ``result`` of the package ``sqlalchemy.ext.asyncio`` are Core's; the body
of the package also imports its ``session``, and with it ``sqlalchemy.orm``. So where nobody has imported the package
yet, it is put into ``sys.modules`` as an import would, except that its body runs with the first name that somebody asks
it for and that is not a submodule. Who imports submodules, as this module does, does not need the body.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from types import ModuleType
from typing import Any

from sqlalchemy.engine import Connection
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.util import concurrency

_body_lock = threading.RLock()


class _PackageWithoutBody(ModuleType):
    """A package whose ``__init__.py`` has not run; a plain module when that has happened."""

    def __getattr__(self, name: str) -> Any:
        # asked of every module by who looks through them, as unittest does; none of these is the package's content
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        submodule = f"{self.__name__}.{name}"
        if importlib.util.find_spec(submodule) is not None:
            return importlib.import_module(submodule)
        _run_body(self)
        return ModuleType.__getattribute__(self, name)

    def __dir__(self) -> list[str]:
        _run_body(self)
        return list(ModuleType.__dir__(self))


class _PackageInBody(_PackageWithoutBody):
    """A package whose ``__init__.py`` is running; other threads wait for it."""


def _run_body(package: _PackageWithoutBody) -> None:
    with _body_lock:
        if type(package) is not _PackageWithoutBody:
            return
        spec = package.__spec__
        assert spec is not None and spec.loader is not None
        package.__class__ = _PackageInBody
        try:
            spec.loader.exec_module(package)
        except BaseException:
            package.__class__ = _PackageWithoutBody
            raise
        package.__class__ = ModuleType  # type: ignore[assignment]


def _make_importable(name: str) -> None:
    """Let the submodules of a package be imported without its body."""
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    assert spec is not None
    package = importlib.util.module_from_spec(spec)
    package.__class__ = _PackageWithoutBody
    if sys.modules.setdefault(name, package) is package:
        parent, _, child = name.rpartition(".")
        setattr(sys.modules[parent], child, package)


# SQLAlchemy 2.1 imports greenlet late; without it nothing here works, and this says so
if (_greenlets := getattr(concurrency, "_concurrency_shim", None)) is not None:
    _greenlets._initialize()

_make_importable("sqlalchemy.ext.asyncio")

# ruff: noqa: E402, I001 - what follows needs the package to be importable; private names come last, with reasons
from sqlalchemy.ext.asyncio.base import GeneratorStartableContext as GeneratorStartableContext
from sqlalchemy.ext.asyncio.base import ProxyComparable as ProxyComparable
from sqlalchemy.ext.asyncio.base import ReversibleProxy as ReversibleProxy
from sqlalchemy.ext.asyncio.base import StartableContext as StartableContext
from sqlalchemy.ext.asyncio.base import asyncstartablecontext as asyncstartablecontext
from sqlalchemy.ext.asyncio.engine import AsyncConnectable as AsyncConnectable
from sqlalchemy.ext.asyncio.engine import AsyncConnection as AsyncConnection
from sqlalchemy.ext.asyncio.engine import AsyncEngine as AsyncEngine
from sqlalchemy.ext.asyncio.engine import AsyncTransaction as AsyncTransaction
from sqlalchemy.ext.asyncio.engine import async_engine_from_config as async_engine_from_config
from sqlalchemy.ext.asyncio.engine import create_async_engine as create_async_engine
from sqlalchemy.ext.asyncio.engine import create_async_pool_from_url as create_async_pool_from_url
from sqlalchemy.ext.asyncio.exc import AsyncContextAlreadyStarted as AsyncContextAlreadyStarted
from sqlalchemy.ext.asyncio.exc import AsyncContextNotStarted as AsyncContextNotStarted
from sqlalchemy.ext.asyncio.exc import AsyncMethodRequired as AsyncMethodRequired
from sqlalchemy.ext.asyncio.result import AsyncCommon as AsyncCommon
from sqlalchemy.ext.asyncio.result import AsyncMappingResult as AsyncMappingResult
from sqlalchemy.ext.asyncio.result import AsyncResult as AsyncResult
from sqlalchemy.ext.asyncio.result import AsyncScalarResult as AsyncScalarResult
from sqlalchemy.ext.asyncio.result import AsyncTupleResult as AsyncTupleResult

# Cleanup that a cancelled task still does to its end.
from sqlalchemy.ext.asyncio.base import _run_to_completion as _run_to_completion

# The sync engine or connection behind an asynchronous one, or ArgumentError.
from sqlalchemy.ext.asyncio.engine import _get_sync_engine_or_connection as _get_sync_engine_or_connection

# Refuses a result that would have to be fetched later.
from sqlalchemy.ext.asyncio.result import _ensure_sync_result as _ensure_sync_result

try:
    # No AsyncEngine or AsyncConnection of the session stands for a bind.
    from sqlalchemy.ext.asyncio.exc import AsyncBindNotFound as AsyncBindNotFound  # type: ignore[assignment,unused-ignore]
except ImportError:  # SQLAlchemy 2.0

    class AsyncBindNotFound(InvalidRequestError):  # type: ignore[no-redef]
        """No AsyncEngine or AsyncConnection of the session stands for a bind."""


def async_connection(connection: Connection) -> AsyncConnection:
    """The one AsyncConnection that stands for a Connection."""
    return AsyncConnection._retrieve_proxy_for_target(connection)
