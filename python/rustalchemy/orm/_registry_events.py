"""Events of a ``registry`` (SQLAlchemy 2.1)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event

from .decl_api import registry as _registry


class RegistryEvents(event.Events[_registry]):
    """Events of a registry; listen on it, or on a declarative base that has one."""

    _target_class_doc = "SomeRegistry"
    _dispatch_target = _registry

    @classmethod
    def _accept_with(cls, target: Any, identifier: str) -> Any:
        if isinstance(target, _registry):
            return target
        if isinstance(target, type) and isinstance(target.__dict__.get("_sa_registry"), _registry):
            return target._sa_registry  # type: ignore[attr-defined]
        return None

    @classmethod
    def _listen(cls, event_key: Any, **kw: Any) -> None:
        if event_key.identifier == "resolve_type_annotation":
            kw["retval"] = True
        event_key.base_listen(**kw)

    def resolve_type_annotation(self, resolve_type: Any) -> Any:
        """A Python type in ``Mapped[...]`` needs a SQL type; return one, or None to leave it to the registry."""

    def before_configured(self, registry: _registry) -> None:
        """The registry's mappers are about to be configured."""

    def after_configured(self, registry: _registry) -> None:
        """The registry's mappers were configured."""
