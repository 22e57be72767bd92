"""Questions that declarative asks about a class and its bases.

A class can be in three conditions: mapped, known but with a deferred mapping (`_deferred_configs`), or neither.
Abstract bases are looked through.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Optional, Union

from sqlalchemy import exc as sa_exc
from sqlalchemy import util

from . import attributes
from .base import _is_mapped_class, class_mapper

if TYPE_CHECKING:
    from .decl_base import _DeferredDeclarativeConfig
    from .instrumentation import ClassManager
    from .mapper import Mapper

# Classes whose mapping waits for a call to prepare().
_deferred_configs: util.OrderedDict[weakref.ref[type[Any]], _DeferredDeclarativeConfig] = util.OrderedDict()


def _is_deferred(cls: Any) -> bool:
    return isinstance(cls, type) and weakref.ref(cls) in _deferred_configs


def _declared_mapping_info(cls: type[Any]) -> Optional[Union[_DeferredDeclarativeConfig, Mapper[Any]]]:
    """Return the mapper of a class, or the configuration that will become one."""
    if _is_deferred(cls):
        return _deferred_configs[weakref.ref(cls)]
    return class_mapper(cls, configure=False) if _is_mapped_class(cls) else None


def _is_supercls_for_inherits(cls: type[Any]) -> bool:
    """Return whether a class is one that a subclass's mapping inherits from."""
    if _is_deferred(cls):
        return not _get_immediate_cls_attr(cls, "_sa_decl_prepare_nocascade", strict=True)
    return _is_mapped_class(cls)


def _resolve_for_abstract_or_classical(cls: type[Any]) -> Optional[type[Any]]:
    """Return the class that a base stands for: itself, or the first concrete one behind an abstract base."""
    if cls is object:
        return None
    if cls.__dict__.get("__abstract__", False):
        candidates = (_resolve_for_abstract_or_classical(base) for base in cls.__bases__)
        return next((candidate for candidate in candidates if candidate is not None), None)
    manager = _dive_for_cls_manager(cls)
    return manager.class_ if manager else cls


def _find_inherits(cls: type[Any]) -> Optional[type[Any]]:
    """Return the mapped class that a class inherits from; there may be one at most."""
    found: list[type[Any]] = []
    for base in cls.__bases__:
        resolved = _resolve_for_abstract_or_classical(base)
        if resolved is not None and resolved not in found and _is_supercls_for_inherits(resolved):
            found.append(resolved)
    if len(found) > 1:
        raise sa_exc.InvalidRequestError(f"Class {cls} has multiple mapped bases: {found!r}")
    return found[0] if found else None


def _get_immediate_cls_attr(cls: type[Any], attrname: str, strict: bool = False) -> Optional[Any]:
    """Return an attribute of the class or of an unmapped base of it (`strict`: a direct one).

    What a mapped superclass says about itself is not inherited.
    """
    assert attrname != "__abstract__"
    if not issubclass(cls, object):
        return None
    if attrname in cls.__dict__:
        return getattr(cls, attrname)
    for base in cls.__mro__[1:]:
        if attrname not in base.__dict__ or _dive_for_cls_manager(base) is not None:
            continue
        if not strict or base in cls.__bases__:
            return getattr(base, attrname)
    return None


def _dive_for_cls_manager(cls: type[Any]) -> Optional[ClassManager[Any]]:
    """Return the manager of the class or of its nearest instrumented base."""
    for base in cls.__mro__:
        manager = attributes.opt_manager_of_class(base)
        if manager:
            return manager
    return None


def _is_declarative_props(obj: Any) -> bool:
    """Return whether a class attribute is a declared_attr, whose function gives the value for each class."""
    from ._declared_attr import _declared_attr_common

    return isinstance(obj, (_declared_attr_common, util.classproperty))


def _check_declared_props_nocascade(obj: Any, name: str, cls: type[Any]) -> bool:
    """Return whether a dunder attribute is a declared_attr; cascading says nothing there, and warns."""
    if not _is_declarative_props(obj):
        return False
    if getattr(obj, "_cascading", False):
        util.warn(
            f"@declared_attr.cascading is not supported on the {name} attribute on class {cls}.  This attribute "
            "invokes for "
            "subclasses in any case."
        )
    return True
