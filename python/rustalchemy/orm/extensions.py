"""What extensions of the ORM stand on, beside the names that every program uses.

SQLAlchemy has these under underscored names of several modules; here they are one list, so that the border between
`rustalchemy.ext` and the ORM can be read and checked.
"""

from __future__ import annotations

from ._attribute_options import _DEFAULT_ATTRIBUTE_OPTIONS as NO_ATTRIBUTE_OPTIONS
from ._attribute_options import _AttributeOptions as AttributeOptions
from ._attribute_options import _DCAttributeOptions as DataclassAttribute
from ._proxied_attribute import _create_proxied_attribute as proxied_attribute
from .attributes import _UNKNOWN_ATTR_KEY as UNKNOWN_KEY
from .base import SQLORMOperations

__all__ = [
    "NO_ATTRIBUTE_OPTIONS",
    "UNKNOWN_KEY",
    "AttributeOptions",
    "DataclassAttribute",
    "SQLORMOperations",
    "proxied_attribute",
]
