"""Turning a class into a dataclass on the way to its mapping.

`dataclasses` sees the class as it would be without the ORM: plain annotations and `field()` objects. Afterwards the
class has its own annotations back.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Union

from sqlalchemy import exc as sa_exc
from sqlalchemy import util

from .. import _sa
from .._sa import _NoArg
from ._attribute_options import _AttributeOptions, _DataclassArguments
from ._decl_scan import _INCLUDE_DUNDERS, _ClassScanAbstractConfig
from .attributes import QueryableAttribute
from .base import _is_unmapped_container

if TYPE_CHECKING:
    from ._typing import _ClassDict

_ACCEPTED = frozenset({"init", "repr", "order", "eq", "unsafe_hash", "kw_only", "match_args", "dataclass_callable"})


class _UnmappedDataclassConfig(_ClassScanAbstractConfig):
    """A mixin or abstract base that becomes a dataclass, so that mapped dataclasses may derive from it."""

    __slots__ = (
        "allow_dataclass_fields",
        "allow_unmapped_annotations",
        "clsdict_view",
        "collected_annotations",
        "collected_attributes",
        "dataclass_setup_arguments",
        "is_dataclass_prior_to_mapping",
    )

    def __init__(self, cls_: type[Any], dict_: _ClassDict) -> None:
        super().__init__(cls_)
        self.clsdict_view = util.immutabledict(dict_) if dict_ else util.EMPTY_DICT
        self.dataclass_setup_arguments = getattr(cls_, "_sa_apply_dc_transforms", None)
        self.is_dataclass_prior_to_mapping = dataclasses.is_dataclass(cls_)
        self.allow_dataclass_fields = False
        self.allow_unmapped_annotations = True
        self.collected_attributes = {}
        self.collected_annotations = {}
        self._scan_attributes()
        _setup_dataclasses_transforms(self, enable_descriptor_defaults=False, revert=True)

    def _scan_attributes(self) -> None:
        for name, obj, annotation, _ in self._cls_attr_resolver(self.cls)():
            if name in _INCLUDE_DUNDERS:
                continue
            self._collect_annotation(name, annotation, self.cls, None, obj)
            if name in self.clsdict_view:
                self.collected_attributes[name] = obj


def _assert_dc_arguments(arguments: _DataclassArguments) -> None:
    """Refuse arguments that dataclasses of the ORM do not take."""
    disallowed = sorted(set(arguments).difference(_ACCEPTED))
    if disallowed:
        names = ", ".join(repr(name) for name in disallowed)
        raise sa_exc.ArgumentError(f"Dataclass argument(s) {names} are not accepted")


def _generate_dc_transforms(
    cls_: type[Any],
    init: Union[_NoArg, bool] = _NoArg.NO_ARG,
    repr: Union[_NoArg, bool] = _NoArg.NO_ARG,
    eq: Union[_NoArg, bool] = _NoArg.NO_ARG,
    order: Union[_NoArg, bool] = _NoArg.NO_ARG,
    unsafe_hash: Union[_NoArg, bool] = _NoArg.NO_ARG,
    match_args: Union[_NoArg, bool] = _NoArg.NO_ARG,
    kw_only: Union[_NoArg, bool] = _NoArg.NO_ARG,
    dataclass_callable: Union[_NoArg, Callable[..., type[Any]]] = _NoArg.NO_ARG,
) -> None:
    """Note on the class that it becomes a dataclass, and with which arguments; those of its bases hold on."""
    arguments: _DataclassArguments = {
        "init": init,
        "repr": repr,
        "eq": eq,
        "order": order,
        "unsafe_hash": unsafe_hash,
        "match_args": match_args,
        "kw_only": kw_only,
        "dataclass_callable": dataclass_callable,
    }
    inherited = getattr(cls_, "_sa_apply_dc_transforms", None)
    if inherited is not None:
        _assert_dc_arguments(inherited)
        arguments = {  # type: ignore[assignment]
            name: inherited.get(name, _NoArg.NO_ARG) if value is _NoArg.NO_ARG else value
            for name, value in arguments.items()
        }
    cls_._sa_apply_dc_transforms = arguments


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _setup_dataclasses_transforms(
    scan: _ClassScanAbstractConfig, *, enable_descriptor_defaults: bool, revert: bool = False
) -> None:
    """Apply `dataclasses.dataclass()`; `revert` puts back the class attributes that it replaced by defaults."""
    arguments = scan.dataclass_setup_arguments
    if not arguments:
        return
    cls = scan.cls
    _refuse_unfit_class(cls)

    fields = _dataclass_fields(scan, arguments, enable_descriptor_defaults)
    replaced = {name: value for name, value in vars(cls).items() if not _is_dunder(name)} if revert else {}

    own_annotations = {
        name: annotation
        for name, annotation in util.get_annotations(cls).items()
        if name not in scan.collected_annotations
        or not _is_unmapped_container(scan.collected_annotations[name].mapped_container)
    }
    field_annotations = {name: own_annotations.get(name, annotation) for name, annotation, *_ in fields}
    for name, _, *default in fields:
        if default:
            setattr(cls, name, default[0])

    # Order of fields is order of annotations: the class's own ones first as far as they precede the first field, then
    # the fields (inherited mixin columns among them) in the order in which they were collected.
    leading = itertools.takewhile(lambda name: name not in field_annotations, own_annotations)
    annotations = {name: own_annotations[name] for name in leading} | field_annotations | own_annotations

    _assert_dc_arguments(arguments)
    dataclass_callable: Any = arguments["dataclass_callable"]
    if dataclass_callable is _NoArg.NO_ARG:
        dataclass_callable = dataclasses.dataclass
    keywords = {
        name: value for name, value in arguments.items() if value is not _NoArg.NO_ARG and name != "dataclass_callable"
    }

    has_init = "__init__" in vars(cls)
    restore_annotations = _sa.restore_annotations(cls, annotations)
    try:
        dataclass_callable(cls, **keywords)
        # Python 3.13 makes the docstring, which has the signature and so the annotations in it, when first read.
        getattr(cls, "__doc__")  # noqa: B009
    except (TypeError, ValueError) as err:
        raise sa_exc.InvalidRequestError(
            f"Python dataclasses error encountered when creating dataclass for {cls.__name__!r}: {err!r}. Please "
            "refer to "
            "Python dataclasses documentation for additional information.",
            code="dcte",
        ) from err
    finally:
        for name, value in replaced.items():
            if name in cls.__dict__:
                delattr(cls, name)
            setattr(cls, name, value)
        restore_annotations()
    if not (has_init or revert) and "__init__" in vars(cls):
        # they say how the attributes are mapped, not what the parameters take
        vars(cls)["__init__"].__annotations__ = {}


def _refuse_unfit_class(cls: type[Any]) -> None:
    if "__dataclass_fields__" in cls.__dict__:
        raise sa_exc.InvalidRequestError(
            f"Class {cls} is already a dataclass; ensure that base classes / decorator styles of establishing "
            "dataclasses "
            "are not being mixed. This can happen if a class that inherits from 'MappedAsDataclass', even indirectly, "
            "is "
            "been mapped with '@registry.mapped_as_dataclass'"
        )
    if "__table__" in cls.__dict__:
        raise sa_exc.InvalidRequestError(
            f"Class {cls} already defines a '__table__'. ORM Annotated Dataclasses do not support a pre-existing "
            "'__table__' element"
        )


def _dataclass_fields(
    scan: _ClassScanAbstractConfig, arguments: _DataclassArguments, enable_descriptor_defaults: bool
) -> list[tuple[Any, ...]]:
    """Return name, annotation and field of each attribute that becomes a dataclass field."""
    fields = []
    from_non_dataclasses: dict[type[Any], list[str]] = collections.defaultdict(list)
    for key, collected in scan.collected_annotations.items():
        origin = collected.originating_class
        if _is_unmapped_container(collected.mapped_container):
            continue
        if origin is not scan.cls and "__dataclass_fields__" not in origin.__dict__:
            from_non_dataclasses[origin].append(key)
        value = scan.collected_attributes.get(key, _NoArg.NO_ARG)
        # An attribute of a mapped superclass has its field there.
        if not isinstance(value, QueryableAttribute):
            fields.append(
                _AttributeOptions._get_arguments_for_make_dataclass(
                    scan,
                    key,
                    collected.raw_annotation,
                    collected.mapped_container,
                    value,
                    arguments,
                    enable_descriptor_defaults,
                )
            )
    for origin, keys in from_non_dataclasses.items():
        names = ", ".join(repr(key) for key in keys)
        raise sa_exc.InvalidRequestError(
            f"When transforming {scan.cls} to a dataclass, attribute(s) {names} originates from superclass {origin}, "
            "which "
            "is not a dataclass.  When declaring SQLAlchemy Declarative Dataclasses, ensure that all mixin classes and "
            "other superclasses which include attributes are also a subclass of MappedAsDataclass or make use of the "
            "@unmapped_dataclass decorator.",
            code="dcmx",
        )
    return fields
