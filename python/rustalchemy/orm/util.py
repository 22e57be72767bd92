"""The names of ``sqlalchemy.orm.util``, from the modules that define them.

``_aliased``: aliases and polymorphic aliases; ``_adapters``: what translates columns for them; ``_bundle``,
``_orm_join``, ``_loader_criteria``: one construct each; ``_cascades``: cascade settings;
``_annotations``: reading ``Mapped[...]``; ``_entities``: the functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, overload

from .._sa import _deep_deannotate as _orm_full_deannotate
from ._adapters import ORMAdapter, ORMStatementAdapter, _is_alias_of_selectable, _TraceAdaptRole
from ._aliased import AliasedClass, AliasedInsp
from ._annotations import (
    _cleanup_mapped_str_annotation,
    _extract_mapped_subtype,
    _is_mapped_annotation,
    _metadata_for_cls,
    _unresolved_annotation_is_mapped,
    de_stringify_annotation,
    eval_name_only,
)
from ._bundle import Bundle, DictBundle
from ._cascades import CascadeOptions, all_cascades
from ._entities import (
    _entity_corresponds_to,
    _entity_corresponds_to_use_path_impl,
    _entity_isa,
    _getitem,
    _validator_events,
    has_identity,
    identity_key,
    polymorphic_union,
    was_deleted,
    with_parent,
)
from ._loader_criteria import LoaderCriteriaOption, _WrapUserEntity
from ._orm_join import _ORMJoin, join, outerjoin
from .base import (
    GenericAlias,
    InspectionAttr,
    _class_to_mapper,
    _never_set,
    _none_only_set,
    _none_set,
    attribute_str,
    class_mapper,
    instance_str,
    object_mapper,
    object_state,
    state_attribute_str,
    state_class_str,
    state_str,
)
from .interfaces import MapperProperty
from .path_registry import PathRegistry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.sql.elements import ColumnElement
    from sqlalchemy.sql.selectable import FromClause

    from ._typing import _O, _EntityType
    from .mapper import Mapper

    AliasedType = Annotated[type[_O], "aliased"]


@overload
def aliased(
    element: type[_O],
    alias: FromClause | None = None,
    name: str | None = None,
    flat: bool = False,
    adapt_on_names: bool = False,
) -> AliasedType[_O]: ...
@overload
def aliased(
    element: AliasedClass[_O] | Mapper[_O] | AliasedInsp[_O],
    alias: FromClause | None = None,
    name: str | None = None,
    flat: bool = False,
    adapt_on_names: bool = False,
) -> AliasedClass[_O]: ...
@overload
def aliased(
    element: FromClause,
    alias: None = None,
    name: str | None = None,
    flat: bool = False,
    adapt_on_names: bool = False,
) -> FromClause: ...
def aliased(
    element: _EntityType[_O] | FromClause,
    alias: FromClause | None = None,
    name: str | None = None,
    flat: bool = False,
    adapt_on_names: bool = False,
) -> Any:
    """Return an alias of a mapped class or of a selectable.

    :param alias: the selectable the entity is to be read from; an anonymous alias of its table if not given.
    :param name: name of the alias in SQL.
    :param flat: alias the tables inside a join instead of making a subquery of it.
    :param adapt_on_names: match attributes with columns of ``alias`` by name where they are not related otherwise.
    """
    return AliasedInsp._alias_factory(element, alias=alias, name=name, flat=flat, adapt_on_names=adapt_on_names)


def with_polymorphic(
    base: type[_O] | Mapper[_O],
    classes: Literal["*"] | Iterable[type[Any]],
    selectable: Literal[False, None] | FromClause = False,
    flat: bool = False,
    polymorphic_on: ColumnElement[Any] | None = None,
    aliased: bool = False,
    innerjoin: bool = False,
    adapt_on_names: bool = False,
    name: str | None = None,
    _use_mapper_path: bool = False,
) -> AliasedClass[_O]:
    """Return an alias of ``base`` that also selects the columns of the given sub-classes (``"*"``: of all)."""
    return AliasedInsp._with_polymorphic_factory(
        base,
        classes,
        selectable=selectable,
        flat=flat,
        polymorphic_on=polymorphic_on,
        adapt_on_names=adapt_on_names,
        aliased=aliased,
        innerjoin=innerjoin,
        name=name,
        _use_mapper_path=_use_mapper_path,
    )


def with_loader_criteria(
    entity_or_base: Any,
    where_criteria: Any,
    loader_only: bool = False,
    include_aliases: bool = False,
    propagate_to_loaders: bool = True,
    track_closure_variables: bool = True,
) -> LoaderCriteriaOption:
    """Return an option that adds WHERE criteria wherever a statement or its loaders select the entity.

    :param entity_or_base: a mapped class, or any class: then all mapped sub-classes of it.
    :param where_criteria: an expression, or a function that gets the entity and returns one (run once and cached).
    :param include_aliases: apply to aliases too.
    :param propagate_to_loaders: apply to later lazy loads and refreshes of the loaded objects too.
    :param track_closure_variables: let closure variables of the function be part of the cache key.
    """
    return LoaderCriteriaOption(
        entity_or_base, where_criteria, loader_only, include_aliases, propagate_to_loaders, track_closure_variables
    )


__all__ = [
    "AliasedClass",
    "AliasedInsp",
    "Bundle",
    "CascadeOptions",
    "DictBundle",
    "GenericAlias",
    "InspectionAttr",
    "LoaderCriteriaOption",
    "MapperProperty",
    "ORMAdapter",
    "ORMStatementAdapter",
    "PathRegistry",
    "_ORMJoin",
    "_TraceAdaptRole",
    "_WrapUserEntity",
    "_class_to_mapper",
    "_cleanup_mapped_str_annotation",
    "_entity_corresponds_to",
    "_entity_corresponds_to_use_path_impl",
    "_entity_isa",
    "_extract_mapped_subtype",
    "_getitem",
    "_is_alias_of_selectable",
    "_is_mapped_annotation",
    "_metadata_for_cls",
    "_never_set",
    "_none_only_set",
    "_none_set",
    "_orm_full_deannotate",
    "_unresolved_annotation_is_mapped",
    "_validator_events",
    "aliased",
    "all_cascades",
    "attribute_str",
    "class_mapper",
    "de_stringify_annotation",
    "eval_name_only",
    "has_identity",
    "identity_key",
    "instance_str",
    "join",
    "object_mapper",
    "object_state",
    "outerjoin",
    "polymorphic_union",
    "state_attribute_str",
    "state_class_str",
    "state_str",
    "was_deleted",
    "with_loader_criteria",
    "with_parent",
    "with_polymorphic",
]
