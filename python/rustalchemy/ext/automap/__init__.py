"""Classes and relationships made from the tables of a database.

`base` has the declarative base that makes them, `relationships` what a foreign key becomes, `naming` the functions that
a program may replace.
"""

from __future__ import annotations

from .base import AutomapBase as AutomapBase
from .base import ByModuleProperties as ByModuleProperties
from .base import automap_base as automap_base
from .naming import GenerateRelationshipType as GenerateRelationshipType
from .naming import NameForCollectionRelationshipType as NameForCollectionRelationshipType
from .naming import NameForScalarRelationshipType as NameForScalarRelationshipType
from .naming import PythonNameForTableType as PythonNameForTableType
from .naming import classname_for_table as classname_for_table
from .naming import generate_relationship as generate_relationship
from .naming import name_for_collection_relationship as name_for_collection_relationship
from .naming import name_for_scalar_relationship as name_for_scalar_relationship

__all__ = [
    "AutomapBase",
    "ByModuleProperties",
    "GenerateRelationshipType",
    "NameForCollectionRelationshipType",
    "NameForScalarRelationshipType",
    "PythonNameForTableType",
    "automap_base",
    "classname_for_table",
    "generate_relationship",
    "name_for_collection_relationship",
    "name_for_scalar_relationship",
]
