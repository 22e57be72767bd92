"""Values that tell the object they belong to when they change: dictionaries, lists, sets, composites, or one's own."""

from __future__ import annotations

from .base import Mutable as Mutable
from .base import MutableBase as MutableBase
from .composites import MutableComposite as MutableComposite
from .composites import _setup_composite_listener as _setup_composite_listener
from .containers import MutableDict as MutableDict
from .containers import MutableList as MutableList
from .containers import MutableSet as MutableSet

__all__ = ["Mutable", "MutableBase", "MutableComposite", "MutableDict", "MutableList", "MutableSet"]

_setup_composite_listener()
