"""Configuring and disposing the mappers of registries, together with the registries they depend on."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from typing import Any

from sqlalchemy import exc as sa_exc

from .base import EXT_SKIP

_mapper_registries: weakref.WeakKeyDictionary[Any, bool] = weakref.WeakKeyDictionary()
_CONFIGURE_MUTEX = threading.RLock()
_configuring = False


def _all_registries() -> set[Any]:
    with _CONFIGURE_MUTEX:
        return set(_mapper_registries)


def all_mappers() -> list[Any]:
    """The mappers of all registries."""
    return [mapper for registry in _all_registries() for mapper in registry.mappers]


def _unconfigured_mappers() -> Iterator[Any]:
    for registry in _all_registries():
        yield from registry._mappers_to_configure()


def configure_mappers() -> None:
    """Finish the relationships of all mappers that were made so far."""
    _configure_registries(_all_registries(), cascade=True)


def _configure_registries(registries: set[Any], cascade: bool) -> None:
    from .mapper import Mapper

    global _configuring
    if not any(registry._new_mappers for registry in registries):
        return
    with _CONFIGURE_MUTEX:
        # a property may ask for a configured mapper while mappers are being configured
        if _configuring:
            return
        _configuring = True
        try:
            # another thread may have been first
            if not any(registry._new_mappers for registry in registries):
                return
            Mapper.dispatch._for_class(Mapper).before_configured()
            configured = list(_do_configure_registries(registries, cascade))
        finally:
            _configuring = False
    for registry in configured:
        registry.dispatch.after_configured(registry)
    Mapper.dispatch._for_class(Mapper).after_configured()


def _do_configure_registries(registries: set[Any], cascade: bool) -> Iterator[Any]:
    from .decl_api import registry as registry_type

    given = set(registries)
    for registry in registry_type._recurse_with_dependencies(registries):
        if registry._new_mappers:
            registry.dispatch.before_configured(registry)
        finished = []
        has_skip = False
        for mapper in registry._mappers_to_configure():
            if _is_skipped(mapper):
                has_skip = True
                continue
            _refuse_failed(mapper)
            if not mapper.configured:
                try:
                    mapper._post_configure_properties()
                    mapper._expire_memoizations()
                    mapper.dispatch.mapper_configured(mapper, mapper.class_)
                except Exception as error:
                    # the first error is what later attempts must report
                    if not hasattr(error, "_configure_failed"):
                        mapper._configure_failed = error
                    raise
                finished.append(mapper)
        for mapper in finished:
            mapper._hand_over_descriptor()
        if registry._new_mappers:
            yield registry
        if not has_skip:
            registry._new_mappers = False
        if not cascade and registry._dependencies.difference(given):
            raise sa_exc.InvalidRequestError("configure was called with cascade=False but additional registries remain")


def _is_skipped(mapper: Any) -> bool:
    return any(fn(mapper, mapper.class_) is EXT_SKIP for fn in mapper.dispatch.before_mapper_configured)


def _refuse_failed(mapper: Any) -> None:
    failure = getattr(mapper, "_configure_failed", False)
    if not failure:
        return
    error = sa_exc.InvalidRequestError(
        "One or more mappers failed to initialize - can't proceed with initialization of other mappers. "
        f"Triggering mapper: '{mapper}'. Original exception was: {failure}"
    )
    error._configure_failed = failure  # type: ignore[attr-defined]
    raise error


def _dispose_registries(registries: set[Any], cascade: bool) -> None:
    from .decl_api import registry as registry_type

    given = set(registries)
    for registry in registry_type._recurse_with_dependents(registries):
        if not cascade and registry._dependents.difference(given):
            raise sa_exc.InvalidRequestError(
                "Registry has dependent registries that are not disposed; pass cascade=True to clear these also"
            )
        while registry._managers:
            try:
                manager, _ = registry._managers.popitem()
            except KeyError:
                # the last one was garbage collected in between
                break
            registry._dispose_manager_and_mapper(manager)
        registry._dependents.clear()
        for dependency in registry._dependencies:
            dependency._dependents.discard(registry)
        registry._dependencies.clear()
        registry._new_mappers = False
