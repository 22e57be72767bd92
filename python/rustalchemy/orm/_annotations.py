"""Reading `Mapped[...]` annotations: strings to objects, container and inner type apart.

Used by declarative scanning (`_decl_scan`), by `relationship()` and `composite()`; `orm.util` re-exports the names that
SQLAlchemy has there. Resolution of names inside an annotation follows `sqlalchemy.util.typing`.
"""

from __future__ import annotations

import functools
import re
import typing
from collections.abc import Callable
from typing import Any, ClassVar, ForwardRef, Optional, Union

from sqlalchemy import MetaData, util
from sqlalchemy.util import typing as sa_typing

from . import exc as orm_exc
from .base import DynamicMapped, Mapped, ORMDescriptor, Unmapped, WriteOnlyMapped, _MappedAnnotationBase

_CONTAINERS = util.immutabledict(
    {"Mapped": Mapped, "WriteOnlyMapped": WriteOnlyMapped, "DynamicMapped": DynamicMapped, "Unmapped": Unmapped}
)

_SUBSCRIPTED = re.compile(r"^([^ \|]+?)\[(.+)\]$")
_QUOTED = re.compile(r"^[\"'].*[\"']$")
_NAMES_A_MAPPED_CONTAINER = re.compile(r"(?:Mapped|Unmapped)\[")

# The containers are known by name even where the user imports them for type checkers only.
de_stringify_annotation: Callable[..., Any] = functools.partial(sa_typing.de_stringify_annotation, locals_=_CONTAINERS)
eval_name_only: Callable[[str, str], Any] = functools.partial(sa_typing.eval_name_only, locals_=_CONTAINERS)


class _UnresolvedContainer(Exception):
    """The container of a string annotation is no name of its module."""


def _is_mapped_annotation(raw_annotation: Any, cls: type[Any], originating_cls: type[Any]) -> bool:
    """Return whether an annotation resolves to `Mapped[...]` or one of its relatives."""
    try:
        annotation = de_stringify_annotation(cls, raw_annotation, originating_cls.__module__)
    except NameError:
        # A name that only type checkers see can still be a mapped annotation of an unrelated class.
        return False
    return bool(sa_typing.is_origin_of_cls(annotation, _MappedAnnotationBase))


def _cleanup_mapped_str_annotation(annotation: str, originating_module: str) -> str:
    """Quote the innermost type of a string such as ``Mapped[List[Address]]``.

    The container must resolve now, the mapped class inside it need not: as a quoted string it survives evaluation and
    is looked up when mappers are configured.
    """
    outer = _SUBSCRIPTED.match(annotation)
    if outer is None:
        return annotation
    try:
        container = eval_name_only(outer.group(1), originating_module)
    except NameError as err:
        raise _UnresolvedContainer(
            f'For annotation "{annotation}", could not resolve container type "{outer.group(1)}".  '
            "Please ensure this type is imported at the module level outside of TYPE_CHECKING blocks"
        ) from err

    if container is ClassVar:
        name = "ClassVar"
    elif isinstance(container, type) and issubclass(container, _MappedAnnotationBase):
        name = container.__name__
    else:
        return annotation

    containers = [name]
    inner = outer.group(2)
    while (nested := _SUBSCRIPTED.match(inner)) is not None:
        containers.append(nested.group(1))
        inner = nested.group(2)

    # Something with brackets left is no plain subscription (a union of generics, say) and is evaluated as it stands.
    if _QUOTED.match(inner) or re.search(r"[\[\]]", inner):
        return annotation
    quoted = ", ".join('"{}"'.format(element.strip("\"' ")) for element in inner.split(","))
    return "[".join([*containers, quoted]) + "]" * len(containers)


def _unresolved_annotation_is_mapped(raw_annotation: Any) -> bool:
    """Return whether an annotation that cannot be resolved was meant as a mapped one."""
    if isinstance(raw_annotation, str):
        return _NAMES_A_MAPPED_CONTAINER.search(raw_annotation) is not None
    if isinstance(raw_annotation, ForwardRef):
        return _NAMES_A_MAPPED_CONTAINER.search(raw_annotation.__forward_arg__) is not None
    origin = typing.get_origin(raw_annotation)
    return isinstance(origin, type) and issubclass(origin, _MappedAnnotationBase)


def _extract_mapped_subtype(
    raw_annotation: Any,
    cls: type[Any],
    originating_module: str,
    key: str,
    attr_cls: type[Any],
    required: bool,
    is_dataclass_field: bool,
    expect_mapped: bool = True,
    raiseerr: bool = True,
) -> Optional[tuple[Union[Any, str], Optional[type[Any]]]]:
    """Split an annotation into inner type and container.

    Returns None for "nothing to map here"; a container of None means a plain annotation, whose type is returned whole.
    """
    if raw_annotation is None:
        if required:
            raise orm_exc.MappedAnnotationError(
                f'Python typing annotation is required for attribute "{cls.__name__}.{key}" when primary argument(s) '
                f'for "{attr_cls.__name__}" construct are None or not present'
            )
        return None

    uninterpretable = (
        f"Could not interpret annotation {raw_annotation}.  Check that it uses names that are correctly imported at "
        "the module level. See chained stack trace for more hints."
    )
    try:
        annotation = de_stringify_annotation(
            cls, raw_annotation, originating_module, str_cleanup_fn=_cleanup_mapped_str_annotation
        )
    except _UnresolvedContainer as err:
        raise orm_exc.MappedAnnotationError(uninterpretable) from err
    except NameError as err:
        if raiseerr and _unresolved_annotation_is_mapped(raw_annotation):
            raise orm_exc.MappedAnnotationError(uninterpretable) from err
        annotation = raw_annotation

    if is_dataclass_field:
        return annotation, None

    if not hasattr(annotation, "__origin__") or not sa_typing.is_origin_of_cls(annotation, _MappedAnnotationBase):
        if not expect_mapped:
            return annotation, None
        origin = getattr(annotation, "__origin__", None)
        is_descriptor = isinstance(origin, type) and issubclass(origin, ORMDescriptor)
        if not raiseerr or origin is ClassVar or is_descriptor:
            return None
        raise orm_exc.MappedAnnotationError(
            f'Type annotation for "{cls.__name__}.{key}" can\'t be correctly interpreted for Annotated Declarative '
            "Table "
            "form.  ORM annotations should normally make use of the ``Mapped[]`` generic type, or other ORM-compatible "
            "generic type, as a container for the actual type, which indicates the intent that the attribute is "
            "mapped. "
            "Class variables that are not intended to be mapped by the ORM should use ClassVar[].  To allow Annotated "
            "Declarative to disregard legacy annotations which don't use Mapped[] to pass, set "
            '"__allow_unmapped__ = True" on the class or a superclass this class.',
            code="zlpr",
        )

    if len(annotation.__args__) != 1:
        raise orm_exc.MappedAnnotationError("Expected sub-type for Mapped[] annotation")
    return sa_typing.fixup_container_fwd_refs(annotation.__args__[0]), annotation.__origin__


def _metadata_for_cls(cls: type[Any], registry: Any) -> MetaData:
    """Return the MetaData of a class: its own `metadata` attribute, otherwise that of its registry."""
    metadata = getattr(cls, "metadata", None)
    return metadata if isinstance(metadata, MetaData) else registry.metadata
