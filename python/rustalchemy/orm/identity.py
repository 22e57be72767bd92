"""The identity map of a Session, under the name of the SQLAlchemy module.

The map itself is native: it is one table per base mapper inside the unit of work, and ``Session.identity_map`` is a
view.
"""

from __future__ import annotations

from .._core import IdentityMap

__all__ = ["IdentityMap"]
