"""Attributes and methods that work on an object in Python and on its class in SQL."""

from __future__ import annotations

from .attribute import _HybridClassLevelAccessor as _HybridClassLevelAccessor
from .attribute import hybrid_property as hybrid_property
from .comparator import Comparator as Comparator
from .comparator import ExprComparator as ExprComparator
from .kinds import HybridExtensionType as HybridExtensionType
from .method import hybrid_method as hybrid_method

__all__ = ["Comparator", "ExprComparator", "HybridExtensionType", "hybrid_method", "hybrid_property"]
