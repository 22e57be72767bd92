"""Types that the asynchronous session's methods are annotated with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, Union

from .engine import AsyncConnection, AsyncEngine

if TYPE_CHECKING:
    from ...orm import Mapper

T = TypeVar("T", bound=Any)
O = TypeVar("O", bound=object)  # noqa: E741 - SQLAlchemy's letter for an entity

EntityBindKey = Union[type[O], "Mapper[O]"]
AsyncSessionBind = Union[AsyncEngine, AsyncConnection]
