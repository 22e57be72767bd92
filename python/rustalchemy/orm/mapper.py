"""The mapper: what one class has to do with its tables, decided once when the class is mapped.

Its parts are in modules of their own: `_mapper_inheritance`, `_mapper_properties`, `_mapper_tables`. When all
properties are known, `_mapper_descriptor` writes them down as plain data for the native core.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Column, event, inspection, log, util
from sqlalchemy import exc as sa_exc
from sqlalchemy.event import EventTarget
from sqlalchemy.sql import coercions, expression, roles
from sqlalchemy.sql.cache_key import MemoizedHasCacheKey
from sqlalchemy.util import HasMemoized

from .. import _core
from .._sa import (
    _entity_namespace_key,
    _self_inspects,
    annotate_for_entity,
    mark_lasting,
    tag_method_for_warnings,
)
from . import attributes, instrumentation
from ._mapper_inheritance import _MapperInheritance
from ._mapper_properties import _ColumnMapping as _ColumnMapping
from ._mapper_properties import _MapperProperties
from ._mapper_registries import _CONFIGURE_MUTEX as _CONFIGURE_MUTEX
from ._mapper_registries import _all_registries as _all_registries
from ._mapper_registries import _configure_registries as _configure_registries
from ._mapper_registries import _dispose_registries as _dispose_registries
from ._mapper_registries import _mapper_registries as _mapper_registries
from ._mapper_registries import _unconfigured_mappers as _unconfigured_mappers
from ._mapper_registries import configure_mappers as configure_mappers
from ._mapper_tables import _MapperTables
from ._mapper_tables import _OptGetColumnsNotAvailable as _OptGetColumnsNotAvailable
from .base import InspectionAttr, _parse_mapper_argument, opt_manager_of_class
from .base import class_mapper as class_mapper
from .base import object_mapper as object_mapper
from .exc import NO_STATE
from .interfaces import MapperProperty, ORMEntityColumnsClauseRole, ORMFromClauseRole, PropComparator

_O = TypeVar("_O", bound=object)
_Fn = TypeVar("_Fn", bound=Callable[..., Any])

NO_ATTRIBUTE = util.symbol("NO_ATTRIBUTE")


@_self_inspects
@log.class_logger
class Mapper(
    _MapperInheritance,
    _MapperProperties,
    _MapperTables,
    ORMFromClauseRole,
    ORMEntityColumnsClauseRole[_O],
    MemoizedHasCacheKey,
    InspectionAttr,
    log.Identified,
    inspection.Inspectable["Mapper[_O]"],
    EventTarget,
    Generic[_O],
):
    """The association of one class with the tables its objects are stored in."""

    dispatch: Any
    logger: Any
    registry: Any
    class_manager: Any
    base_mapper: Mapper[Any]
    _core_descriptor: dict[str, Any]
    configured: bool = False
    is_mapper = True
    represents_outer_join = False

    _dispose_called = False
    _configure_failed: Any = False
    _ready_for_configure = False

    def __init__(
        self,
        class_: type[_O],
        local_table: Any = None,
        properties: Any = None,
        primary_key: Any = None,
        inherits: Any = None,
        inherit_condition: Any = None,
        inherit_foreign_keys: Any = None,
        always_refresh: bool = False,
        version_id_col: Any = None,
        version_id_generator: Any = None,
        polymorphic_on: Any = None,
        _polymorphic_map: Any = None,
        polymorphic_identity: Any = None,
        concrete: bool = False,
        with_polymorphic: Any = None,
        polymorphic_abstract: bool = False,
        polymorphic_load: Any = None,
        allow_partial_pks: bool = True,
        batch: bool = True,
        column_prefix: str | None = None,
        include_properties: Any = None,
        exclude_properties: Any = None,
        passive_updates: bool = True,
        passive_deletes: bool = False,
        confirm_deleted_rows: bool = True,
        eager_defaults: Any = "auto",
        legacy_is_orphan: bool = False,
        _compiled_cache_size: int = 100,
    ) -> None:
        self.class_ = util.assert_arg_type(class_, type, "class_")
        self._sort_key = f"{self.class_.__module__}.{self.class_.__name__}"
        self._primary_key_argument = util.to_list(primary_key)
        self.always_refresh = always_refresh
        self._take_version_id(version_id_col, version_id_generator)

        self.concrete = concrete
        self.single = False
        self.inherits = None if inherits is None else _parse_mapper_argument(inherits)
        if local_table is not None:
            self.local_table = coercions.expect(
                roles.FromClauseRole, local_table, disable_inspection=True, argname="local_table"
            )
        elif self.inherits:
            self.local_table = self.inherits.local_table
            self.single = True
        else:
            raise sa_exc.ArgumentError(
                f"Mapper[{self.class_.__name__}(None)] has None for a primary table argument and does not specify "
                "'inherits'"
            )
        self.inherit_condition = (
            None if inherit_condition is None else coercions.expect(roles.OnClauseRole, inherit_condition)
        )
        self.inherit_foreign_keys = inherit_foreign_keys

        self._init_properties = dict(properties) if properties else {}
        self._delete_orphans: list[tuple[str, type[Any]]] = []
        self.batch = batch
        self.eager_defaults = eager_defaults
        self.column_prefix = column_prefix
        # may be a string or a property until the properties are set up
        self.polymorphic_on: Any = (
            None
            if polymorphic_on is None
            else coercions.expect(roles.ColumnArgumentOrKeyRole, polymorphic_on, argname="polymorphic_on")
        )
        self.polymorphic_abstract = polymorphic_abstract
        self._dependency_processors: list[Any] = []
        self.validators: Any = util.EMPTY_DICT
        self.passive_updates = passive_updates
        self.passive_deletes = passive_deletes
        self.legacy_is_orphan = legacy_is_orphan
        self._clause_adapter = None
        self._requires_row_aliasing = False
        self._inherits_equated_pairs: Any = None
        self._memoized_values: dict[Any, Any] = {}
        self._compiled_cache_size = _compiled_cache_size
        self._reconstructor: Callable[[Any], Any] | None = None
        self.allow_partial_pks = allow_partial_pks
        # rows of joined tables may be removed by ON DELETE CASCADE before their own DELETE
        self.confirm_deleted_rows = confirm_deleted_rows and not (self.inherits and not concrete)
        self._set_with_polymorphic(with_polymorphic)
        self.polymorphic_load = polymorphic_load
        self.polymorphic_identity = polymorphic_identity
        self.polymorphic_map: dict[Any, Any] = {} if _polymorphic_map is None else _polymorphic_map
        self.include_properties = None if include_properties is None else util.to_set(include_properties)
        self.exclude_properties = util.to_set(exclude_properties) if exclude_properties else None

        # one mapper at a time: mapping and configuring change the same structures
        with _CONFIGURE_MUTEX:
            self.dispatch._events._new_mapper_instance(class_, self)
            self._configure_inheritance()
            self._configure_class_instrumentation()
            self._configure_properties()
            self._configure_polymorphic_setter()
            self._configure_pks()
            self.registry._flag_new_mapper(self)
            self._log("constructed")
            self._expire_memoizations()
        _core.mappers_changed()
        self.dispatch.after_mapper_constructed(self, self.class_)

    def _take_version_id(self, version_id_col: Any, version_id_generator: Any) -> None:
        self.version_id_col: Any = None
        if isinstance(version_id_col, MapperProperty):
            self.version_id_prop = version_id_col
        elif version_id_col is not None:
            self.version_id_col = coercions.expect(
                roles.ColumnArgumentOrKeyRole, version_id_col, argname="version_id_col"
            )
        if version_id_generator is None:
            self.version_id_generator: Any = _next_version
        else:
            self.version_id_generator = version_id_generator

    @property
    def _version_id_has_server_side_value(self) -> bool:
        """Whether the database makes the version of a new row."""
        column = self.version_id_col
        if not isinstance(column, Column):
            return column is not None
        default = column.default
        is_sql = default is not None and not default.is_scalar and not default.is_callable
        return column.server_default is not None or is_sql

    def _version_id_generator_or_none(self) -> Any:
        """The generator as the native core wants it: None is the counting one it has itself."""
        return None if self.version_id_generator is _next_version else self.version_id_generator

    def _gen_cache_key(self, anon_map: Any, bindparams: Any) -> Any:
        return (self,)

    @property
    def mapper(self) -> Mapper[_O]:
        return self

    @property
    def entity(self) -> type[_O]:
        return self.class_

    @util.memoized_property
    def _path_registry(self) -> Any:
        from .path_registry import PathRegistry

        return PathRegistry.per_mapper(self)

    # --- the class

    def _configure_class_instrumentation(self) -> None:
        """Make the class' manager know this mapper, and find reconstructor and validators."""
        manager = opt_manager_of_class(self.class_)
        if manager is None or not manager.registry:
            raise sa_exc.InvalidRequestError(
                "The _mapper() function and Mapper() constructor may not be invoked directly outside of a "
                "declarative registry. Please use the sqlalchemy.orm.registry.map_imperatively() function for a "
                "classical mapping."
            )
        self.dispatch.instrument_class(self, self.class_)
        # events of the native state need the manager finished before properties are instrumented
        manager = instrumentation.register_class(
            self.class_,
            mapper=self,
            expired_attribute_loader=self._load_scalar_attributes,
            finalize=True,
        )
        self.class_manager = manager
        assert manager.registry is not None
        self.registry = manager.registry
        if manager.mapper is None:
            return

        for key, method in util.iterate_attributes(self.class_):
            if key == "__init__" and hasattr(method, "_sa_original_init"):
                method = method._sa_original_init
                method = getattr(method, "__func__", method)
            if not callable(method):
                continue
            if hasattr(method, "__sa_reconstructor__"):
                self._reconstructor = method
                event.listen(manager, "load", _event_on_load, raw=True)
            elif hasattr(method, "__sa_validators__"):
                for name in method.__sa_validators__:  # pyright: ignore[reportFunctionMemberAccess]
                    if name in self.validators:
                        raise sa_exc.InvalidRequestError(
                            f"A validation function for mapped attribute {name!r} on mapper {self} already exists."
                        )
                    options = method.__sa_validation_opts__  # pyright: ignore[reportFunctionMemberAccess]
                    self.validators = self.validators.union({name: (method, options)})

    def _load_scalar_attributes(self, state: Any, attribute_names: Any, passive: Any) -> Any:
        from . import loading

        return loading._load_scalar_attributes(self, state, attribute_names, passive)

    def _set_dispose_flags(self) -> None:
        self.configured = True
        self._ready_for_configure = True
        self._dispose_called = True
        self.__dict__.pop("_configure_failed", None)

    #: the prepared ``get()`` of each dialect, once the mapper is configured
    _get_templates: dict[Any, Any] | None = None

    @tag_method_for_warnings(
        "This warning originated from the `configure_mappers()` process, which was invoked automatically in response "
        "to a user-initiated operation.",
        sa_exc.SAWarning,
    )
    def _check_configure(self) -> None:
        if self.registry._new_mappers:
            _configure_registries({self.registry}, cascade=True)

    @HasMemoized.memoized_attribute
    def _post_inspect(self) -> None:
        self._check_configure()

    def _hand_over_descriptor(self) -> None:
        """Give the native core the plain data of this mapper and of those that inherit from it."""
        from ._mapper_descriptor import hand_over

        for mapper in self.self_and_descendants:
            if mapper.configured:
                hand_over(mapper)

    def _hear(self) -> None:
        """Somebody listens to events of this mapper: the native core must know."""
        if self.configured and not self._dispose_called:
            self._hand_over_descriptor()

    @HasMemoized.memoized_attribute
    def _merge_steps(self) -> list[Any]:
        from ._merge_plan import merge_steps

        return merge_steps(self)

    @HasMemoized.memoized_attribute
    def _merge_plan(self) -> _core.MergePlan | None:
        from ._merge_plan import merge_plan

        return merge_plan(self)

    @HasMemoized.memoized_attribute
    def _written_columns(self) -> dict[Any, Any]:
        """By attribute, or its name: the column of a statement's values, as they are met."""
        return {}

    @HasMemoized.memoized_attribute
    def _row_setters(self) -> dict[str, Any]:
        """By name, the attributes that are no columns and what puts their columns into a row of values."""
        setters = {}
        for key in self.all_orm_descriptors.keys():  # noqa: SIM118 - no mapping
            attribute: Any = _entity_namespace_key(cast("Any", self), key, default=None)
            setter = attribute._bulk_dml_setter(key) if isinstance(attribute, PropComparator) else None
            if setter is not None:
                setters[key] = setter
        return setters

    def _expire_memoizations(self) -> None:
        for mapper in self.iterate_to_root():
            mapper._reset_memoizations()

    # --- the mapper as a SQL construct

    @HasMemoized.memoized_instancemethod
    def __clause_element__(self) -> Any:
        annotations: dict[str, Any] = {"entity_namespace": self, "parententity": self, "parentmapper": self}
        if self.persist_selectable is not self.local_table:
            # DML against a joined mapper goes to its own table
            annotations["dml_table"] = annotate_for_entity(self.local_table, dict(annotations), self)
        return mark_lasting(annotate_for_entity(self.selectable, annotations, self))

    @util.memoized_property
    def select_identity_token(self) -> Any:
        annotations = {
            "entity_namespace": self,
            "parententity": self,
            "parentmapper": self,
            "identity_token": True,
        }
        return annotate_for_entity(expression.null(), annotations, self)

    @property
    def selectable(self) -> Any:
        return self._with_polymorphic_selectable

    @util.ro_non_memoized_property
    def entity_namespace(self) -> type[_O]:
        return self.class_

    # --- cascades and orphans

    def _is_orphan(self, state: Any) -> bool:
        orphan_possible = False
        for mapper in self.iterate_to_root():
            for key, cls in mapper._delete_orphans:
                orphan_possible = True
                has_parent = attributes.manager_of_class(cls).has_parent(state, key, optimistic=state.has_identity)
                if self.legacy_is_orphan and has_parent:
                    return False
                if not self.legacy_is_orphan and not has_parent:
                    return True
        return orphan_possible if self.legacy_is_orphan else False

    def cascade_iterator(
        self, type_: str, state: Any, halt_on: Callable[[Any], bool] | None = None
    ) -> Iterator[tuple[object, Any, Any, Any]]:
        """All objects that a cascade of the given kind reaches from a state, depth first."""
        visited: set[Any] = set()
        assert state.mapper.isa(self)
        # each level is either the properties of one state or the members of one property
        levels: deque[tuple[deque[Any], Any]] = deque([(deque(state.mapper._props.values()), state)])
        while levels:
            pending, owner = levels[-1]
            if not pending:
                levels.pop()
            elif owner is not None:
                prop = pending.popleft()
                if prop.cascade and type_ in prop.cascade:
                    members = deque(prop.cascade_iterator(type_, owner, owner.dict, visited, halt_on))
                    if members:
                        levels.append((members, None))
            else:
                instance, mapper, member_state, member_dict = pending.popleft()
                yield instance, mapper, member_state, member_dict
                levels.append((deque(mapper._props.values()), member_state))

    # --- caches of other modules

    @HasMemoized.memoized_attribute
    def _compiled_cache(self) -> Any:
        return util.LRUCache(self._compiled_cache_size)

    def _memo(self, key: Any, callable_: Callable[[], Any]) -> Any:
        if key not in self._memoized_values:
            self._memoized_values[key] = callable_()
        return self._memoized_values[key]

    @HasMemoized.memoized_attribute
    def _subclass_load_via_in_mapper(self) -> Any:
        return self._subclass_load_via_in(self, self.base_mapper)

    def _subclass_load_via_in(self, entity: Any, polymorphic_from: Any) -> Any:
        from ._mapper_subclass_load import subclass_load_via_in

        return subclass_load_via_in(self, entity, polymorphic_from)

    # --- description

    @property
    def _log_desc(self) -> str:
        table = self.local_table
        description = (table is not None and table.description) or str(table)
        return f"({self.class_.__name__}|{description})"

    def _log(self, msg: str, *args: Any) -> None:
        self.logger.info("%s " + msg, self._log_desc, *args)

    def _log_debug(self, msg: str, *args: Any) -> None:
        self.logger.debug("%s " + msg, self._log_desc, *args)

    def __repr__(self) -> str:
        return f"<Mapper at 0x{id(self):x}; {self.class_.__name__}>"

    def __str__(self) -> str:
        table = self.local_table if self.local_table is not None else self.persist_selectable
        return f"Mapper[{self.class_.__name__}({table.description})]"

    def path_string(self) -> str:
        return self.class_.__name__


def _next_version(version: Any) -> Any:
    return (version or 0) + 1


def reconstructor(fn: _Fn) -> _Fn:
    """Method decorator: call the method after an object was loaded, in place of ``__init__``."""
    fn.__sa_reconstructor__ = True  # type: ignore[attr-defined]
    return fn


def validates(*names: str, include_removes: bool = False, include_backrefs: bool = True) -> Callable[[_Fn], _Fn]:
    """Method decorator: pass every value set on the named attributes through the method."""

    def wrap(fn: _Fn) -> _Fn:
        fn.__sa_validators__ = names  # type: ignore[attr-defined]
        fn.__sa_validation_opts__ = {  # type: ignore[attr-defined]
            "include_removes": include_removes,
            "include_backrefs": include_backrefs,
        }
        return fn

    return wrap


def _event_on_load(state: Any, ctx: Any) -> None:
    mapper = state.manager.mapper
    if mapper._reconstructor:
        mapper._reconstructor(state.obj())


def _inspect_mc(class_: Any) -> Mapper[Any] | None:
    """What ``inspect()`` answers for a class; one mapped by another ORM has a manager of another kind."""
    try:
        manager = opt_manager_of_class(class_)
        if not isinstance(manager, instrumentation.ClassManager) or not manager.is_mapped:
            return None
        return manager.mapper
    except NO_STATE:
        return None
