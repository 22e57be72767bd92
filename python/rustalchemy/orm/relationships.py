"""Relationships between mapped classes: `relationship()` as the mapper knows it.

The join condition is worked out in `_join_condition`, the marks of its columns in `_join_annotations`; the SQL
operators are in `_relationship_comparator`, the criteria they are made of in `_relationship_comparison`, merge and
cascades in `_relationship_cascades`, the other side in `_relationship_backrefs`, the reading of annotations in
`_relationship_annotations`. What a flush does along a relationship is native; `_mapper_descriptor` hands over what it
needs to know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar, Union

from sqlalchemy import exc as sa_exc
from sqlalchemy import log, util
from sqlalchemy.inspection import inspect
from sqlalchemy.sql import coercions, expression, roles

from .._sa import (
    _lateral_correlated_froms,
    _NoArg,
    annotate,
    anonymous_fromclause,
    copy_internals,
    is_subquery,
)
from . import attributes
from ._cascades import CascadeOptions
from ._join_annotations import _ColInAnnotations as _ColInAnnotations
from ._join_condition import _JoinCondition
from ._on_lazy import OnLazy, watch_lazy_loads
from ._relationship_annotations import _RelationshipAnnotations
from ._relationship_args import _RelationshipArg as _RelationshipArg
from ._relationship_args import _RelationshipArgs
from ._relationship_backrefs import _RelationshipBackrefs
from ._relationship_cascades import _RelationshipCascades
from ._relationship_comparator import _RelationshipComparator
from ._relationship_comparison import _RelationshipComparison
from .base import (
    DynamicMapped,
    WriteOnlyMapped,
    _DeclarativeMapped,
    _is_mapped_class,
    class_mapper,
)
from .interfaces import (
    MANYTOMANY,
    MANYTOONE,
    PropComparator,
    StrategizedProperty,
    _DataclassDefaultsDontSet,
    _IntrospectsAnnotations,
)

_T = TypeVar("_T", bound=Any)

# what the arguments of relationship() may be; late ones may be strings or callables
_RelationshipArgumentType = Union[str, type[Any], Callable[[], Any], Any]
_LazyLoadArgumentType = Literal[
    "select",
    "joined",
    "selectin",
    "subquery",
    "raise",
    "raise_on_sql",
    "noload",
    "immediate",
    "write_only",
    "dynamic",
    True,
    False,
    None,
]
_RelationshipJoinConditionArgument = Union[str, Any]
_RelationshipSecondaryArgument = Union[str, Callable[[], Any], Any]
_ORMOrderByArgument = Union[Literal[False], str, Callable[[], Any], Iterable[Any], Any]
_RelationshipBackPopulatesArgument = Union[str, PropComparator[Any], Callable[[], Any]]
ORMBackrefArgument = Union[str, tuple[str, dict[str, Any]]]
_ORMColCollectionElement = Any
_ORMColCollectionArgument = Union[str, Sequence[Any], Callable[[], Any], Any]

_LATE_ARGUMENTS = (
    "order_by",
    "primaryjoin",
    "secondaryjoin",
    "secondary",
    "foreign_keys",
    "remote_side",
    "back_populates",
)


def remote(expr: Any) -> Any:
    """Mark the columns of an expression inside a join condition as those of the related class."""
    return _annotate_columns(coercions.expect(roles.ColumnArgumentRole, expr), {"remote": True})


def foreign(expr: Any) -> Any:
    """Mark the columns of an expression inside a join condition as those that refer to others."""
    return _annotate_columns(coercions.expect(roles.ColumnArgumentRole, expr), {"foreign": True})


def _annotate_columns(element: Any, annotations: dict[str, Any]) -> Any:
    def clone(part: Any, **kw: Any) -> Any:
        if isinstance(part, expression.ColumnClause):
            part = annotate(part, dict(annotations))
        copy_internals(part, clone)
        return part

    return None if element is None else clone(element)


@log.class_logger
class RelationshipProperty(
    _RelationshipAnnotations,
    _RelationshipBackrefs,
    _RelationshipCascades,
    _RelationshipComparison,
    _DataclassDefaultsDontSet,
    _IntrospectsAnnotations,
    StrategizedProperty[_T],
    log.Identified,
):
    """An attribute that holds one or many objects of another mapped class."""

    strategy_wildcard_key = "relationship"
    inherit_cache = True
    _links_to_entity = True
    _is_relationship = True

    Comparator = _RelationshipComparator

    # arguments that only a relationship that writes can use, with their defaults
    _persistence_only = {
        "passive_deletes": False,
        "passive_updates": True,
        "enable_typechecks": True,
        "active_history": False,
        "cascade_backrefs": False,
    }
    _disable_dataclass_default_factory = True

    logger: Any
    direction: Any
    order_by: Any
    primaryjoin: Any
    secondaryjoin: Any
    secondary: Any
    local_remote_pairs: Any
    remote_side: Any
    local_columns: set[Any]
    synchronize_pairs: Any
    secondary_synchronize_pairs: Any
    _join_condition: _JoinCondition
    _lazy_strategy: Any
    _overlaps: Any
    on_lazy: OnLazy | None = None

    def __init__(
        self,
        argument: Any = None,
        secondary: Any = None,
        *,
        uselist: bool | None = None,
        collection_class: Any = None,
        primaryjoin: Any = None,
        secondaryjoin: Any = None,
        back_populates: Any = None,
        order_by: Any = False,
        backref: ORMBackrefArgument | None = None,
        overlaps: str | None = None,
        post_update: bool = False,
        cascade: str = "save-update, merge",
        viewonly: bool = False,
        attribute_options: Any = None,
        lazy: Any = "select",
        passive_deletes: Any = False,
        passive_updates: bool = True,
        active_history: bool = False,
        enable_typechecks: bool = True,
        foreign_keys: Any = None,
        remote_side: Any = None,
        join_depth: int | None = None,
        comparator_factory: Any = None,
        single_parent: bool = False,
        innerjoin: Any = False,
        distinct_target_key: bool | None = None,
        load_on_pending: bool = False,
        query_class: Any = None,
        info: dict[Any, Any] | None = None,
        omit_join: bool | None = None,
        sync_backref: bool | None = None,
        on_lazy: OnLazy | None = None,
        doc: str | None = None,
        bake_queries: Literal[True] = True,
        cascade_backrefs: Literal[False] = False,
        _local_remote_pairs: Any = None,
        _legacy_inactive_history_style: bool = False,
    ) -> None:
        super().__init__(attribute_options=attribute_options)
        self.uselist = uselist
        self.argument = argument
        self._init_args = _RelationshipArgs.from_arguments(
            secondary=secondary,
            primaryjoin=primaryjoin,
            secondaryjoin=secondaryjoin,
            order_by=order_by,
            foreign_keys=foreign_keys,
            remote_side=remote_side,
            back_populates=back_populates,
        )
        if self._attribute_options.dataclasses_default not in (_NoArg.NO_ARG, None):
            raise sa_exc.ArgumentError("Only 'None' is accepted as dataclass default for a relationship()")

        self.post_update = post_update
        self.viewonly = viewonly
        if viewonly:
            self._warn_for_persistence_only_flags(
                passive_deletes=passive_deletes,
                passive_updates=passive_updates,
                enable_typechecks=enable_typechecks,
                active_history=active_history,
                cascade_backrefs=cascade_backrefs,
            )
        if viewonly and sync_backref:
            raise sa_exc.ArgumentError("sync_backref and viewonly cannot both be True")
        self.sync_backref = sync_backref
        self.lazy = lazy
        self.single_parent = single_parent
        self.collection_class = collection_class
        self.passive_deletes = passive_deletes
        if cascade_backrefs:
            raise sa_exc.ArgumentError(
                "The 'cascade_backrefs' parameter passed to relationship() may only be set to False."
            )
        self.passive_updates = passive_updates
        self.enable_typechecks = enable_typechecks
        self.query_class = query_class
        self.innerjoin = innerjoin
        self.distinct_target_key = distinct_target_key
        self.doc = doc
        self.active_history = active_history
        self._legacy_inactive_history_style = _legacy_inactive_history_style
        self.join_depth = join_depth
        if omit_join:
            util.warn(
                "setting omit_join to True is not supported; selectin loading of this relationship may not work "
                "correctly if this flag is set explicitly.  omit_join optimization is automatically detected for "
                "conditions under which it is supported."
            )
        self.omit_join = omit_join
        if on_lazy is not None:
            self.on_lazy = watch_lazy_loads(on_lazy)
        self.local_remote_pairs = _local_remote_pairs or ()
        self._load_on_pending = load_on_pending
        self.comparator_factory = comparator_factory or RelationshipProperty.Comparator
        util.set_creation_order(self)
        if info is not None:
            self.info.update(info)
        self.strategy_key = (("lazy", self.lazy),)
        self._reverse_property: set[RelationshipProperty[Any]] = set()
        self._overlaps = set(re.split(r"\s*,\s*", overlaps)) if overlaps else ()
        self.cascade = cascade
        if back_populates and backref:
            raise sa_exc.ArgumentError("backref and back_populates keyword arguments are mutually exclusive")
        self.backref = None if back_populates else backref

    @property
    def load_on_pending(self) -> bool:
        """Whether pending objects load this attribute by the keys they have."""
        return self._load_on_pending

    @load_on_pending.setter
    def load_on_pending(self, value: bool) -> None:
        self._load_on_pending = value
        if self._configure_finished:
            self.parent._hand_over_descriptor()

    @property
    def back_populates(self) -> str:
        return self._init_args.back_populates.effective_value()

    @back_populates.setter
    def back_populates(self, value: str) -> None:
        self._init_args.back_populates.argument = value

    def _warn_for_persistence_only_flags(self, **kw: Any) -> None:
        for name, value in kw.items():
            if value != self._persistence_only[name]:
                util.warn(
                    f"Setting {name} on relationship() while also setting viewonly=True does not make sense, as a "
                    "viewonly=True relationship does not perform persistence operations. This configuration may "
                    "raise an error in a future release."
                )

    def instrument_class(self, mapper: Any) -> None:
        attributes._register_descriptor(
            mapper.class_,
            self.key,
            comparator=self.comparator_factory(self, mapper),
            parententity=mapper,
            doc=self.doc,
        )

    def _format_as_string(self, class_: type[Any], key: str) -> str:
        return f"{class_.__name__}.{key}"

    def __str__(self) -> str:
        return self._format_as_string(self.parent.class_, self.key)

    # --- cascades

    @property
    def cascade(self) -> CascadeOptions:
        return self._cascade

    @cascade.setter
    def cascade(self, cascade: Any) -> None:
        self._set_cascade(cascade)

    def _set_cascade(self, cascade_arg: Any) -> None:
        cascade = CascadeOptions(cascade_arg)
        if self.viewonly:
            cascade = CascadeOptions(cascade.intersection(CascadeOptions._viewonly_cascades))
        if "mapper" in self.__dict__:
            self._check_cascade_settings(cascade)
        self._cascade = cascade

    def _check_cascade_settings(self, cascade: CascadeOptions) -> None:
        if cascade.delete_orphan and not self.single_parent and self.direction in (MANYTOMANY, MANYTOONE):
            direction = "many-to-one" if self.direction is MANYTOONE else "many-to-many"
            raise sa_exc.ArgumentError(
                f"For {direction} relationship {self}, delete-orphan cascade is normally configured only on the "
                '"one" side of a one-to-many relationship, and not on the "many" side of a many-to-one or '
                "many-to-many relationship.  To force this relationship to allow a particular "
                f'"{self.mapper.class_.__name__}" object to be referenced by only a single '
                f'"{self.parent.class_.__name__}" object at a time via the {self} relationship, which would allow '
                "delete-orphan cascade to take place in this direction, set the single_parent=True flag.",
                code="bbf0",
            )
        if self.passive_deletes == "all" and ("delete" in cascade or "delete-orphan" in cascade):
            raise sa_exc.ArgumentError(
                f"On {self}, can't set passive_deletes='all' in conjunction with 'delete' or 'delete-orphan' cascade"
            )
        if cascade.delete_orphan:
            target = self.mapper.primary_mapper()
            target._delete_orphans.append((self.key, self.parent.class_))
            target.class_manager.add_delete_orphan(self.parent.class_manager, self.key)

    # --- configuration

    @util.memoized_property
    def _selects_for_peers(self) -> dict[Any, Any]:
        """Statements that load the attribute for all objects of a result."""
        return {}

    @util.memoized_property
    def entity(self) -> Any:
        """The mapper or alias this relationship refers to."""
        self.parent._check_configure()
        return self.entity

    @util.memoized_property
    def mapper(self) -> Any:
        return self.entity.mapper

    def do_init(self) -> None:
        self._process_dependent_arguments()
        self._setup_entity()
        self.parent.mapper.registry._set_depends_on(self.entity.mapper.registry)
        self._setup_join_conditions()
        self._check_cascade_settings(self._cascade)
        self._post_init()
        self._generate_backref()
        self._join_condition._warn_for_conflicting_sync_targets()
        super().do_init()
        self._lazy_strategy = self._get_strategy((("lazy", "select"),))

    def _process_dependent_arguments(self) -> None:
        """Resolve the arguments that were strings or callables, now that everything is defined."""
        args = self._init_args
        for name in _LATE_ARGUMENTS:
            getattr(args, name)._resolve_against_registry(self._clsregistry_resolvers[1])
        for argument in (args.primaryjoin, args.secondaryjoin):
            if argument.resolved is not None:
                argument.resolved = coercions.expect(roles.ColumnArgumentRole, argument.resolved, argname=argument.name)
        secondary = args.secondary.resolved
        if secondary is not None and _is_mapped_class(secondary):
            raise sa_exc.ArgumentError(
                f"secondary argument {secondary} passed to to relationship() {self} must be a Table object or other "
                "FROM clause; can't send a mapped class directly as rows in 'secondary' are persisted independently "
                "of a class that is mapped to that same table."
            )
        order_by = args.order_by.resolved
        if order_by is not False and order_by is not None:
            self.order_by = tuple(
                coercions.expect(roles.ColumnArgumentRole, column, argname="order_by")
                for column in util.to_list(order_by)
            )
        else:
            self.order_by = False
        self._user_defined_foreign_keys = _column_set(args.foreign_keys)
        self.remote_side = _column_set(args.remote_side)

    def _setup_entity(self, __argument: Any = None, /) -> None:
        if "entity" in self.__dict__:
            return
        from .mapper import Mapper

        argument = __argument or self.argument
        if isinstance(argument, str):
            resolved = self._clsregistry_resolve_name(argument)()
        elif callable(argument) and not isinstance(argument, (type, Mapper)):
            resolved = argument()
        else:
            resolved = argument

        if isinstance(resolved, type):
            entity: Any = class_mapper(resolved, configure=False)
        else:
            entity = inspect(resolved, raiseerr=False)
            if not hasattr(entity, "mapper"):
                raise sa_exc.ArgumentError(
                    f"relationship '{self.key}' expects a class or a mapper argument (received: {type(resolved)})"
                )
        self.entity = entity
        self.target = entity.persist_selectable

    def _setup_join_conditions(self) -> None:
        args = self._init_args
        self._join_condition = condition = _JoinCondition(
            parent_persist_selectable=self.parent.persist_selectable,
            child_persist_selectable=self.entity.persist_selectable,
            parent_local_selectable=self.parent.local_table,
            child_local_selectable=self.entity.local_table,
            primaryjoin=args.primaryjoin.resolved,
            secondary=args.secondary.resolved,
            secondaryjoin=args.secondaryjoin.resolved,
            parent_equivalents=self.parent._equivalent_columns,
            child_equivalents=self.mapper._equivalent_columns,
            consider_as_foreign_keys=self._user_defined_foreign_keys,
            local_remote_pairs=self.local_remote_pairs,
            remote_side=self.remote_side,
            self_referential=self._is_self_referential,
            prop=self,
            support_sync=not self.viewonly,
            can_be_synced_fn=self._columns_are_mapped,
        )
        self.primaryjoin = condition.primaryjoin
        self.secondaryjoin = condition.secondaryjoin
        self.secondary = condition.secondary
        self.direction = condition.direction
        self.local_remote_pairs = condition.local_remote_pairs
        self.remote_side = condition.remote_columns
        self.local_columns = condition.local_columns
        self.synchronize_pairs = condition.synchronize_pairs
        self._calculated_foreign_keys = condition.foreign_key_columns
        self.secondary_synchronize_pairs = condition.secondary_synchronize_pairs

    @property
    def _clsregistry_resolve_arg(self) -> Any:
        return self._clsregistry_resolvers[1]

    @property
    def _clsregistry_resolve_name(self) -> Any:
        return self._clsregistry_resolvers[0]

    @util.memoized_property
    def _clsregistry_resolvers(self) -> Any:
        from .clsregistry import _resolver

        return _resolver(self.parent.class_, self)

    def _persists_for(self, mapper: Any) -> bool:
        return self.key in mapper.relationships and mapper.relationships[self.key] is self

    def _columns_are_mapped(self, *cols: Any) -> bool:
        secondary = self._init_args.secondary.resolved
        return all(
            (secondary is not None and secondary.c.contains_column(column))
            or self.parent.persist_selectable.c.contains_column(column)
            or self.target.c.contains_column(column)
            for column in cols
        )

    def _post_init(self) -> None:
        if self.uselist is None:
            self.uselist = self.direction is not MANYTOONE
        if not self.viewonly and not self.synchronize_pairs:
            raise sa_exc.ArgumentError(
                f"Can't build a DependencyProcessor for relationship {self}. No target attributes to populate between "
                "parent and child are present"
            )
        if self.uselist and self._attribute_options.dataclasses_default is not _NoArg.NO_ARG:
            raise sa_exc.ArgumentError(
                f"On relationship {self}, the dataclass default for relationship may only be set for a relationship "
                "that references a scalar value, i.e. many-to-one or explicitly uselist=False"
            )

    @util.memoized_property
    def _use_get(self) -> bool:
        """Whether the target is found by its primary key."""
        return self._lazy_strategy.use_get

    @util.memoized_property
    def _is_self_referential(self) -> bool:
        return self.mapper.common_parent(self.parent)

    @util.memoized_property
    def _target_correlates_to_parent(self) -> bool:
        return bool(_lateral_correlated_froms(self.entity.selectable, self.parent.selectable))

    def _create_joins(
        self,
        source_polymorphic: bool = False,
        source_selectable: Any = None,
        dest_selectable: Any = None,
        of_type_entity: Any = None,
        alias_secondary: bool = False,
        extra_criteria: tuple[Any, ...] = (),
    ) -> tuple[Any, Any, Any, Any, Any, Any]:
        """The join condition between two selectables, with aliases made where the tables would be ambiguous."""
        aliased = alias_secondary and self.secondary is not None
        if source_selectable is None and source_polymorphic and self.parent.with_polymorphic:
            source_selectable = self.parent._with_polymorphic_selectable

        if of_type_entity:
            dest_mapper = of_type_entity.mapper
            if dest_selectable is None:
                dest_selectable = of_type_entity.selectable
                aliased = True
        else:
            dest_mapper = self.mapper

        if dest_selectable is None:
            dest_selectable = self.entity.selectable
            if self.mapper.with_polymorphic:
                aliased = True
            if self._is_self_referential and source_selectable is None:
                dest_selectable = anonymous_fromclause(dest_selectable)
                aliased = True
        elif dest_selectable is not self.mapper._with_polymorphic_selectable or self.mapper.with_polymorphic:
            aliased = True

        aliased = aliased or (
            source_selectable is not None
            and (source_selectable is not self.parent._with_polymorphic_selectable or is_subquery(source_selectable))
        )
        primaryjoin, secondaryjoin, secondary, target_adapter, dest_selectable = self._join_condition.join_targets(
            source_selectable, dest_selectable, aliased, dest_mapper._single_table_criterion, extra_criteria
        )
        return (
            primaryjoin,
            secondaryjoin,
            self.parent.local_table if source_selectable is None else source_selectable,
            self.entity.local_table if dest_selectable is None else dest_selectable,
            secondary,
            target_adapter,
        )


def _column_set(argument: _RelationshipArg) -> Any:
    return util.column_set(
        coercions.expect(roles.ColumnArgumentRole, column, argname=argument.name)
        for column in util.to_column_set(argument.resolved)
    )


class Relationship(RelationshipProperty[_T], _DeclarativeMapped[_T]):
    """The public face of a relationship property."""

    inherit_cache = True


class _RelationshipDeclared(Relationship[_T], WriteOnlyMapped[_T], DynamicMapped[_T]):  # type: ignore[misc]
    """What ``relationship()`` returns: fits every kind of annotation."""

    inherit_cache = True

    @classmethod
    def _mapper_property_name(cls) -> str:
        return "Relationship"
