"""Attributes of related objects, read and written as if they were the object's own.

`descriptor` has what stands in the body of a class, `instances` what that is for one mapped class: the way to the value
and the SQL operators. A collection of related objects is seen through one of the proxies in `lists`, `sets`, `dicts`.
"""

from __future__ import annotations

from .collections import _AssociationCollection as _AssociationCollection
from .collections import _AssociationSingleItem as _AssociationSingleItem
from .collections import _lazy_collection as _lazy_collection
from .descriptor import AssociationProxy as AssociationProxy
from .descriptor import AssociationProxyExtensionType as AssociationProxyExtensionType
from .descriptor import association_proxy as association_proxy
from .dicts import _AssociationDict as _AssociationDict
from .instances import AssociationProxyInstance as AssociationProxyInstance
from .lists import _AssociationList as _AssociationList
from .sets import _AssociationSet as _AssociationSet
from .targets import AliasedAssociationProxyInstance as AliasedAssociationProxyInstance
from .targets import AmbiguousAssociationProxyInstance as AmbiguousAssociationProxyInstance
from .targets import ColumnAssociationProxyInstance as ColumnAssociationProxyInstance
from .targets import ObjectAssociationProxyInstance as ObjectAssociationProxyInstance

__all__ = [
    "AliasedAssociationProxyInstance",
    "AmbiguousAssociationProxyInstance",
    "AssociationProxy",
    "AssociationProxyExtensionType",
    "AssociationProxyInstance",
    "ColumnAssociationProxyInstance",
    "ObjectAssociationProxyInstance",
    "association_proxy",
]
