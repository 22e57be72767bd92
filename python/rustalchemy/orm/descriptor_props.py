"""Synonyms, composites and placeholders of concrete inheritance, under SQLAlchemy's module name."""

from __future__ import annotations

from ._composite import Composite as Composite
from ._composite import CompositeProperty as CompositeProperty
from ._composite import _composite_getters as _composite_getters
from ._composite import _CompositeAttrType as _CompositeAttrType
from ._descriptor_property import ConcreteInheritedProperty as ConcreteInheritedProperty
from ._descriptor_property import DescriptorProperty as DescriptorProperty
from ._descriptor_property import Synonym as Synonym
from ._descriptor_property import SynonymProperty as SynonymProperty
