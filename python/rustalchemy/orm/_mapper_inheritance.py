"""The part of a mapper that knows its place in a hierarchy: tables joined, discriminator, identity class."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import exc as sa_exc
from sqlalchemy import schema, sql, util
from sqlalchemy.sql import coercions, expression, roles
from sqlalchemy.sql import util as sql_util
from sqlalchemy.util import HasMemoized

from .._sa import annotate
from .base import _class_to_mapper, state_str
from .interfaces import MapperProperty

if TYPE_CHECKING:
    from .mapper import Mapper


class _MapperInheritance(HasMemoized):
    """Mixin of ``Mapper``: inheritance."""

    # what the other parts of a mapper provide
    if TYPE_CHECKING:

        def __getattr__(self, key: str) -> Any: ...

    inherits: Any
    inherit_condition: Any
    local_table: Any
    passive_deletes: Any
    polymorphic_map: dict[Any, Any]
    version_id_col: Any
    _inheriting_mappers: Any

    _validate_polymorphic_identity: Any = None
    _set_polymorphic_identity: Any = None
    _polymorphic_attr_key: str | None = None

    def _configure_inheritance(self) -> None:
        """Find the mapped selectable and everything that is taken over from the parent mapper."""
        self._inheriting_mappers = util.WeakSequence()
        if self.inherits:
            self._configure_as_subclass(self.inherits)
        else:
            self._all_tables: set[Any] = set()
            self.base_mapper = self
            assert self.local_table is not None
            self.persist_selectable = self.local_table
            if self.polymorphic_identity is not None:
                self.polymorphic_map[self.polymorphic_identity] = self
            self._identity_class = self.class_
        if self.persist_selectable is None:
            raise sa_exc.ArgumentError(f"Mapper '{self}' does not have a persist_selectable specified.")

    def _configure_as_subclass(self, parent: Any) -> None:
        if not issubclass(self.class_, parent.class_):
            raise sa_exc.ArgumentError(
                f"Class '{self.class_.__name__}' does not inherit from '{parent.class_.__name__}'"
            )
        self.dispatch._update(parent.dispatch)
        if self.single:
            self.persist_selectable = parent.persist_selectable
        elif self.local_table is parent.local_table:
            self.persist_selectable = self.local_table
        elif self.concrete:
            self.persist_selectable = self.local_table
            for mapper in self.iterate_to_root():
                if mapper.polymorphic_on is not None:
                    mapper._requires_row_aliasing = True
        else:
            self._configure_joined(parent)

        self._configure_identity_class(parent)
        self._inherit_version_id(parent)

        self.polymorphic_map = parent.polymorphic_map
        self.batch = parent.batch
        parent._inheriting_mappers.append(self)
        self.base_mapper = parent.base_mapper
        self.passive_updates = parent.passive_updates
        self.passive_deletes = parent.passive_deletes or self.passive_deletes
        self._all_tables = parent._all_tables

        if self.polymorphic_identity is not None:
            identity = self.polymorphic_identity
            if identity in self.polymorphic_map:
                util.warn(
                    f"Reassigning polymorphic association for identity {identity!r} from "
                    f"{self.polymorphic_map[identity]!r} to {self!r}: Check for duplicate use of {identity!r} as "
                    "value for polymorphic_identity."
                )
            self.polymorphic_map[identity] = self

        if self.polymorphic_load and self.concrete:
            raise sa_exc.ArgumentError("polymorphic_load is not currently supported with concrete table inheritance")
        if self.polymorphic_load == "inline":
            parent._add_with_polymorphic_subclass(self)
        elif self.polymorphic_load not in (None, "selectin"):
            raise sa_exc.ArgumentError(f"unknown argument for polymorphic_load: {self.polymorphic_load!r}")

    def _configure_joined(self, parent: Any) -> None:
        """Join the own table to the parent's selectable."""
        if self.inherit_condition is None:
            tables = (parent.local_table, self.local_table)
            message = (
                "Can't determine the inherit condition between inherited table "
                f"'{tables[0].description}' and inheriting table '{tables[1].description}'; tables have "
            )
            try:
                self.inherit_condition = sql_util.join_condition(*tables)
            except sa_exc.NoForeignKeysError as error:
                raise sa_exc.NoForeignKeysError(
                    message + "no foreign key relationships established.  Please ensure the inheriting table has "
                    "a foreign key relationship to the inherited table, or provide an 'on clause' using the "
                    "'inherit_condition' mapper argument."
                ) from error
            except sa_exc.AmbiguousForeignKeysError as error:
                raise sa_exc.AmbiguousForeignKeysError(
                    message + "more than one foreign key relationship established.  Please specify the 'on clause' "
                    "using the 'inherit_condition' mapper argument."
                ) from error
        self.persist_selectable = sql.join(parent.persist_selectable, self.local_table, self.inherit_condition)
        self._inherits_equated_pairs = sql_util.criterion_as_pairs(
            self.persist_selectable.onclause,
            consider_as_foreign_keys=util.to_set(self.inherit_foreign_keys),
        )

    def _configure_identity_class(self, parent: Any) -> None:
        if self.polymorphic_identity is None:
            self._identity_class = self.class_
            if not self.polymorphic_abstract and parent.base_mapper.polymorphic_on is not None:
                util.warn(
                    f"{self} does not indicate a 'polymorphic_identity', yet is part of an inheritance hierarchy "
                    f"that has a 'polymorphic_on' column of '{parent.base_mapper.polymorphic_on}'. If this is an "
                    "intermediary class that should not be instantiated, the class may either be left unmapped, or "
                    "may include the 'polymorphic_abstract=True' parameter in its Mapper arguments. To leave the "
                    "class unmapped when using Declarative, set the '__abstract__ = True' attribute on the class."
                )
        elif self.concrete:
            self._identity_class = self.class_
        else:
            self._identity_class = parent._identity_class

    def _inherit_version_id(self, parent: Any) -> None:
        if self.version_id_col is None:
            self.version_id_col = parent.version_id_col
            self.version_id_generator = parent.version_id_generator
        elif parent.version_id_col is not None and self.version_id_col is not parent.version_id_col:
            util.warn(
                f"Inheriting version_id_col '{self.version_id_col.description}' does not match inherited "
                f"version_id_col '{parent.version_id_col.description}' and will not automatically populate the "
                "inherited versioning column. version_id_col should only be specified on the base-most mapper that "
                "includes versioning."
            )

    # --- with_polymorphic

    def _set_with_polymorphic(self, with_polymorphic: Any) -> None:
        self.with_polymorphic: tuple[Any, Any] | None
        if with_polymorphic == "*":
            self.with_polymorphic = ("*", None)
        elif isinstance(with_polymorphic, (tuple, list)):
            if isinstance(with_polymorphic[0], (str, tuple, list)):
                self.with_polymorphic = with_polymorphic  # type: ignore[assignment]
            else:
                self.with_polymorphic = (with_polymorphic, None)
        elif with_polymorphic is not None:
            raise sa_exc.ArgumentError(f"Invalid setting for with_polymorphic: {with_polymorphic!r}")
        else:
            self.with_polymorphic = None

        if self.with_polymorphic and self.with_polymorphic[1] is not None:
            self.with_polymorphic = (
                self.with_polymorphic[0],
                coercions.expect(roles.FromClauseRole, self.with_polymorphic[1]),
            )
        if self.configured:
            self._expire_memoizations()

    def _add_with_polymorphic_subclass(self, mapper: Any) -> None:
        if self.with_polymorphic is None:
            self._set_with_polymorphic((mapper.class_,))
        elif self.with_polymorphic[0] != "*":
            spec, selectable = self.with_polymorphic
            assert isinstance(spec, tuple)
            self._set_with_polymorphic(((*spec, mapper.class_), selectable))

    def _set_concrete_base(self, mapper: Any) -> None:
        """Enter a concrete hierarchy after this mapper was made."""
        assert self.concrete
        assert not self.inherits
        self.inherits = mapper
        mapper.polymorphic_map.update(self.polymorphic_map)
        self.polymorphic_map = mapper.polymorphic_map
        for ancestor in self.iterate_to_root():
            if ancestor.polymorphic_on is not None:
                ancestor._requires_row_aliasing = True
        self.batch = mapper.batch
        for descendant in self.self_and_descendants:
            descendant.base_mapper = mapper.base_mapper
        mapper._inheriting_mappers.append(self)
        self.passive_updates = mapper.passive_updates
        self._all_tables = mapper._all_tables
        for key, prop in mapper._props.items():
            if key not in self._props and not self._should_exclude(key, key, local=False, column=None):
                self._adapt_inherited_property(key, prop, False)

    def _set_polymorphic_on(self, polymorphic_on: Any) -> None:
        self.polymorphic_on = polymorphic_on
        self._configure_polymorphic_setter(True)

    # --- the discriminator

    def _configure_polymorphic_setter(self, init: bool = False) -> None:
        """Find the discriminator column and attribute, and how its value is set and checked."""
        if self.polymorphic_on is None:
            if self._take_discriminator_from_parent():
                return
            polymorphic_key, setter = None, False
        else:
            prop, setter = self._discriminator_property(init)
            self.polymorphic_on = prop.columns[0]
            polymorphic_key = prop.key

        if self.polymorphic_abstract and self.polymorphic_on is None:
            raise sa_exc.InvalidRequestError(
                "The Mapper.polymorphic_abstract parameter may only be used on a mapper hierarchy which includes the "
                "Mapper.polymorphic_on parameter at the base of the hierarchy."
            )
        if not setter or polymorphic_key is None:
            self._polymorphic_attr_key = None
            self._set_polymorphic_identity = None
            return

        key = polymorphic_key

        def set_identity(state: Any) -> None:
            mapper = state.manager.mapper
            if mapper.polymorphic_identity is None and mapper.polymorphic_abstract:
                raise sa_exc.InvalidRequestError(
                    f"Can't instantiate class for {mapper}; mapper is marked polymorphic_abstract=True"
                )
            state.manager[key].impl.set(state, state.dict, mapper.polymorphic_identity, None)

        def validate_identity(mapper: Any, state: Any, dict_: dict[str, Any]) -> None:
            if key in dict_ and dict_[key] not in mapper._acceptable_polymorphic_identities:
                util.warn_limited(
                    "Flushing object %s with incompatible polymorphic identity %r; the object may not refresh and/or "
                    "load correctly",
                    (state_str(state), dict_[key]),
                )

        self._polymorphic_attr_key = key
        self._set_polymorphic_identity = set_identity
        self._validate_polymorphic_identity = validate_identity

    def _take_discriminator_from_parent(self) -> bool:
        for mapper in self.iterate_to_root():
            if mapper.polymorphic_on is None:
                continue
            if self.persist_selectable is mapper.persist_selectable:
                self.polymorphic_on = mapper.polymorphic_on
            else:
                self.polymorphic_on = self.persist_selectable.corresponding_column(mapper.polymorphic_on)
            # a concrete subclass may have no such column; then it has no discriminator of its own
            found = self.polymorphic_on is not None
            self._set_polymorphic_identity = mapper._set_polymorphic_identity if found else None
            self._polymorphic_attr_key = mapper._polymorphic_attr_key if found else None
            if found:
                self._validate_polymorphic_identity = mapper._validate_polymorphic_identity
            return True
        return False

    def _discriminator_property(self, init: bool) -> tuple[Any, bool]:
        """The property of ``polymorphic_on`` and whether its value is set on new objects."""
        from .properties import ColumnProperty

        if isinstance(self.polymorphic_on, str):
            try:
                self.polymorphic_on = self._props[self.polymorphic_on]
            except KeyError as error:
                raise sa_exc.ArgumentError(
                    f"Can't determine polymorphic_on value '{self.polymorphic_on}' - no attribute is mapped to this "
                    "name."
                ) from error
        if self.polymorphic_on in self._columntoproperty:
            return self._columntoproperty[self.polymorphic_on], True
        if isinstance(self.polymorphic_on, MapperProperty):
            if not isinstance(self.polymorphic_on, ColumnProperty):
                raise sa_exc.ArgumentError(
                    "Only direct column-mapped property or SQL expression can be passed for polymorphic_on"
                )
            return self.polymorphic_on, True

        discriminator = cast("Any", self.polymorphic_on)
        column = cast("Any", self.persist_selectable.corresponding_column(discriminator))
        mapped = column is not None
        if not mapped:
            column = discriminator
            wider = self.with_polymorphic[1] if self.with_polymorphic is not None else None
            if isinstance(column, schema.Column) and (wider is None or wider.corresponding_column(column) is None):
                raise sa_exc.InvalidRequestError(
                    f"Could not map polymorphic_on column '{column.description}' to the mapped table - polymorphic "
                    "loads will not function properly"
                )
        key = getattr(column, "key", None)
        if key:
            if self._should_exclude(key, key, False, column):
                raise sa_exc.InvalidRequestError(f"Cannot exclude or override the discriminator column {key!r}")
        else:
            self.polymorphic_on = column = column.label("_sa_polymorphic_on")
            key = column.key
        prop = ColumnProperty(column, _instrument=mapped)
        self._configure_property(key, prop, init=init, setparent=True)
        return prop, mapped

    @HasMemoized.memoized_attribute
    def _acceptable_polymorphic_identities(self) -> set[Any]:
        identities = set()
        queue: deque[Any] = deque([self])
        while queue:
            mapper = queue.popleft()
            if mapper.persist_selectable is self.persist_selectable:
                identities.add(mapper.polymorphic_identity)
                queue.extend(mapper._inheriting_mappers)
        return identities

    # --- walking the hierarchy

    def common_parent(self, other: Mapper[Any]) -> bool:
        return self.base_mapper is other.base_mapper

    def is_sibling(self, other: Mapper[Any]) -> bool:
        return self.base_mapper is other.base_mapper and not self.isa(other) and not other.isa(self)  # type: ignore[arg-type]

    def isa(self, other: Mapper[Any]) -> bool:
        return any(mapper is other for mapper in self.iterate_to_root())

    def iterate_to_root(self) -> Iterator[Any]:
        mapper: Any = self
        while mapper:
            yield mapper
            mapper = mapper.inherits

    @HasMemoized.memoized_attribute
    def self_and_descendants(self) -> Sequence[Any]:
        descendants = []
        queue: deque[Any] = deque([self])
        while queue:
            mapper = queue.popleft()
            descendants.append(mapper)
            queue.extend(mapper._inheriting_mappers)
        return util.WeakSequence(descendants)

    def polymorphic_iterator(self) -> Iterator[Any]:
        return iter(self.self_and_descendants)

    def primary_mapper(self) -> Any:
        return self.class_manager.mapper

    @property
    def primary_base_mapper(self) -> Any:
        return self.class_manager.mapper.base_mapper

    def _canload(self, state: Any, allow_subtypes: bool) -> bool:
        own = self.primary_mapper()
        if self.polymorphic_on is not None or allow_subtypes:
            return state.manager.mapper.isa(own)
        return state.manager.mapper is own

    # --- selectables of the hierarchy

    def _mappers_from_spec(self, spec: Any, selectable: Any) -> list[Any]:
        if spec == "*":
            mappers = list(self.self_and_descendants)
        elif spec:
            named: set[Any] = set()
            for entity in util.to_list(spec):
                mapper = _class_to_mapper(entity)
                if not mapper.isa(self):  # type: ignore[arg-type]
                    raise sa_exc.InvalidRequestError(f"{mapper!r} does not inherit from {self!r}")
                if selectable is None:
                    named.update(mapper.iterate_to_root())
                else:
                    named.add(mapper)
            mappers = [mapper for mapper in self.self_and_descendants if mapper in named]
        else:
            mappers = []
        if selectable is not None:
            tables = set(sql_util.find_tables(selectable, include_aliases=True))
            mappers = [mapper for mapper in mappers if mapper.local_table in tables]
        return mappers

    def _selectable_from_mappers(self, mappers: Sequence[Any], innerjoin: bool) -> Any:
        from_obj = self.persist_selectable
        for mapper in mappers:
            if mapper is self:
                continue
            if mapper.concrete:
                raise sa_exc.InvalidRequestError(
                    "'with_polymorphic()' requires 'selectable' argument when concrete-inheriting mappers are used."
                )
            if not mapper.single:
                from_obj = from_obj.join(mapper.local_table, mapper.inherit_condition, isouter=not innerjoin)
        return from_obj

    def _with_polymorphic_args(
        self, spec: Any = None, selectable: Any = False, innerjoin: bool = False
    ) -> tuple[list[Any], Any]:
        if selectable not in (None, False):
            selectable = coercions.expect(roles.FromClauseRole, selectable)
        if self.with_polymorphic:
            if not spec:
                spec = self.with_polymorphic[0]
            if selectable is False:
                selectable = self.with_polymorphic[1]
        elif selectable is False:
            selectable = None
        mappers = self._mappers_from_spec(spec, selectable)
        if selectable is not None:
            return mappers, selectable
        return mappers, self._selectable_from_mappers(mappers, innerjoin)

    @HasMemoized.memoized_attribute
    def _with_polymorphic_mappers(self) -> Sequence[Any]:
        self._check_configure()
        if not self.with_polymorphic:
            return []
        return self._mappers_from_spec(*self.with_polymorphic)

    with_polymorphic_mappers = _with_polymorphic_mappers

    @HasMemoized.memoized_attribute
    def _with_polymorphic_selectable(self) -> Any:
        if not self.with_polymorphic:
            return self.persist_selectable
        spec, selectable = self.with_polymorphic
        if selectable is not None:
            return selectable
        return self._selectable_from_mappers(self._mappers_from_spec(spec, selectable), False)

    @HasMemoized.memoized_attribute
    def _single_table_criteria_component(self) -> tuple[Any, tuple[Any, ...]] | None:
        if not (self.single and self.inherits and self.polymorphic_on is not None):
            return None
        identities = tuple(
            mapper.polymorphic_identity for mapper in self.self_and_descendants if not mapper.polymorphic_abstract
        )
        return annotate(self.polymorphic_on, {"parententity": self, "parentmapper": self}), identities

    @HasMemoized.memoized_attribute
    def _single_table_criterion(self) -> Any:
        component = self._single_table_criteria_component
        return None if component is None else component[0].in_(component[1])

    @HasMemoized.memoized_attribute
    def _has_aliased_polymorphic_fromclause(self) -> Any:
        return self.with_polymorphic and isinstance(self.with_polymorphic[1], expression.AliasedReturnsRows)

    @HasMemoized.memoized_attribute
    def _should_select_with_poly_adapter(self) -> Any:
        return (
            self._has_aliased_polymorphic_fromclause
            or self._requires_row_aliasing
            or self.base_mapper._has_aliased_polymorphic_fromclause
            or self.base_mapper._requires_row_aliasing
        )

    @HasMemoized.memoized_attribute
    def _polymorphic_adapter(self) -> Any:
        from . import util as orm_util

        if not self._has_aliased_polymorphic_fromclause:
            return None
        return orm_util.ORMAdapter(
            orm_util._TraceAdaptRole.MAPPER_POLYMORPHIC_ADAPTER,
            self,
            selectable=self.selectable,
            equivalents=self._equivalent_columns,
            limit_on_entity=False,
        )

    # --- select-in loading of subclass attributes

    def _iterate_to_target_viawpoly(self, mapper: Any) -> Iterator[Any]:
        if not self.isa(mapper):
            return
        previous: Any = self
        for ancestor in self.iterate_to_root():
            yield ancestor
            if ancestor is not previous and previous not in ancestor._with_polymorphic_mappers:
                break
            previous = ancestor
            if ancestor is mapper:
                break

    @HasMemoized.memoized_attribute
    def _would_selectinload_combinations_cache(self) -> dict[Any, bool]:
        return {}

    def _would_selectin_load_only_from_given_mapper(self, super_mapper: Any) -> bool:
        cache = self._would_selectinload_combinations_cache
        if super_mapper not in cache:
            assert self.isa(super_mapper)
            cache[super_mapper] = next(
                (
                    mapper is super_mapper
                    for mapper in self._iterate_to_target_viawpoly(super_mapper)
                    if mapper.polymorphic_load == "selectin"
                ),
                False,
            )
        return cache[super_mapper]

    def _should_selectin_load(self, enabled_via_opt: Any, polymorphic_from: Any) -> Any:
        if not enabled_via_opt:
            for mapper in self._iterate_to_target_viawpoly(polymorphic_from):
                if mapper.polymorphic_load == "selectin":
                    return mapper
            return None
        enabled = {entity.mapper: entity for entity in enabled_via_opt}
        for entity in {*enabled_via_opt, polymorphic_from}:
            for mapper in self._iterate_to_target_viawpoly(entity.mapper):
                if mapper.polymorphic_load == "selectin" or mapper in enabled:
                    return enabled.get(mapper, mapper)
        return None
