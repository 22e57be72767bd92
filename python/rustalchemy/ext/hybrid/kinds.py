"""The marks of hybrids among the descriptors of a mapped class."""

from __future__ import annotations

from ...orm import InspectionAttrExtensionType


class HybridExtensionType(InspectionAttrExtensionType):
    """Which hybrid a descriptor is."""

    HYBRID_METHOD = "HYBRID_METHOD"
    HYBRID_PROPERTY = "HYBRID_PROPERTY"
