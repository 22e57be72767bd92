"""Reading a relationship's target, collection class and cardinality from the annotation of its attribute."""

from __future__ import annotations

import inspect as py_inspect
import typing
from collections import abc
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc as sa_exc
from sqlalchemy import util
from sqlalchemy.util.typing import de_optionalize_union_types, resolve_name_to_real_class_name

from .._sa import _NoArg
from .base import DynamicMapped, WriteOnlyMapped


class _RelationshipAnnotations:
    """Mixin of ``RelationshipProperty``: declarative set-up."""

    # what the property itself provides
    if TYPE_CHECKING:
        argument: Any
        collection_class: Any
        lazy: Any
        strategy_key: Any
        uselist: Any

        def __getattr__(self, key: str) -> Any: ...

    def declarative_scan(
        self,
        decl_scan: Any,
        registry: Any,
        cls: type[Any],
        originating_module: str | None,
        key: str,
        mapped_container: type[Any] | None,
        annotation: Any,
        extracted_mapped_annotation: Any,
        is_dataclass_field: bool,
    ) -> None:
        """Read target, collection class and cardinality from the annotation."""
        if extracted_mapped_annotation is None:
            if self.argument is None:
                self._raise_for_required(key, cls)
            return
        assert originating_module is not None
        holds_statements = False
        if mapped_container is not None:
            for container, lazy in ((WriteOnlyMapped, "write_only"), (DynamicMapped, "dynamic")):
                if issubclass(mapped_container, container):
                    self.lazy = lazy
                    self.strategy_key = (("lazy", lazy),)
                    holds_statements = True
                    break

        argument = de_optionalize_union_types(extracted_mapped_annotation)
        if hasattr(argument, "__origin__"):
            argument = self._target_of_generic(argument, originating_module, holds_statements)
        elif hasattr(argument, "__forward_arg__"):
            argument = resolve_name_to_real_class_name(argument.__forward_arg__, originating_module)

        if self.collection_class is None and not holds_statements:
            self.uselist = False
        # an explicit argument wins over the annotation
        if self.argument is None:
            self.argument = argument
        if self._attribute_options.dataclasses_default_factory is not _NoArg.NO_ARG:
            self._check_default_factory(cls, key, list if holds_statements else self.collection_class)

    def _target_of_generic(self, argument: Any, originating_module: str, holds_statements: bool) -> Any:
        """The target named inside ``List[...]``, ``Dict[..., ...]`` and the like."""
        origin = argument.__origin__
        if isinstance(origin, type) and issubclass(origin, abc.Collection):
            if self.collection_class is None:
                if py_inspect.isabstract(origin):
                    raise sa_exc.ArgumentError(
                        f"Collection annotation type {origin} cannot be instantiated; please provide an explicit "
                        "'collection_class' parameter (e.g. list, set, etc.) to the relationship() function to "
                        "accompany this annotation"
                    )
                self.collection_class = origin
        elif not holds_statements:
            self.uselist = False

        if not argument.__args__:
            raise sa_exc.ArgumentError(f"Generic alias {argument} requires an argument")
        if isinstance(origin, type) and issubclass(origin, typing.Mapping):
            target = argument.__args__[-1]
        else:
            target = argument.__args__[0]
        if hasattr(target, "__forward_arg__"):
            return resolve_name_to_real_class_name(target.__forward_arg__, originating_module)
        return target

    def _check_default_factory(self, cls: type[Any], key: str, exact: Any) -> None:
        default_factory = self._attribute_options.dataclasses_default_factory
        plain = util.duck_type_collection(exact)
        if plain is exact:
            plain = None
        if default_factory is not exact and (plain is None or default_factory is not plain):
            expected = str(exact)
            if plain is not None:
                expected += f" or {plain}"
            raise sa_exc.ArgumentError(
                f"For relationship {self._format_as_string(cls, key)} using dataclass options, default_factory must "
                f"be exactly {expected}"
            )
