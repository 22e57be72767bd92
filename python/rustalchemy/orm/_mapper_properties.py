"""The part of a mapper that decides which attributes a class has, and with which columns."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc as sa_exc
from sqlalchemy import util
from sqlalchemy.sql import expression
from sqlalchemy.util import HasMemoized

from .._sa import WriteableColumnCollection, _never_select_column, refresh_for_new_column, set_label_key
from . import attributes, instrumentation
from . import exc as orm_exc
from .base import _MappedAttribute
from .interfaces import MapperProperty

if TYPE_CHECKING:
    from .properties import ColumnProperty


class _ColumnMapping(dict[Any, Any]):
    """Column → property; a miss says whether another property took the column's name."""

    __slots__ = ("_by_hash", "mapper")

    def __init__(self, mapper: Any) -> None:
        self.mapper = mapper
        self._by_hash: dict[int, Any] = {}

    def __setitem__(self, column: Any, prop: Any) -> None:
        super().__setitem__(column, prop)
        self._by_hash[hash(column)] = prop

    def of(self, column: Any) -> Any:
        """As ``[column]``, for the expressions of attributes: these hash as their columns do, and a dictionary that
        compares the two makes an expression each time."""
        prop = self._by_hash.get(hash(column))
        return self[column] if prop is None else prop

    def __missing__(self, column: Any) -> Any:
        prop = self.mapper._props.get(column)
        if prop:
            raise orm_exc.UnmappedColumnError(
                f"Column '{column.table.name}.{column.name}' is not available, due to conflicting property "
                f"'{column.key}':{prop!r}"
            )
        raise orm_exc.UnmappedColumnError(f"No column {column} is configured on mapper {self.mapper}...")


class _MapperProperties(HasMemoized):
    """Mixin of ``Mapper``: its properties."""

    if TYPE_CHECKING:

        def __getattr__(self, key: str) -> Any: ...

    def _configure_properties(self) -> None:
        """Set up explicit properties, then inherited ones, then those of the remaining columns in column order."""
        from .properties import ColumnProperty

        self._columns: Any = WriteableColumnCollection()
        self._props: dict[str, MapperProperty[Any]] = util.OrderedDict()
        self._columntoproperty = _ColumnMapping(self)

        by_column: dict[Any, tuple[str, ColumnProperty[Any]]] = {}
        by_key: dict[str, ColumnProperty[Any]] = {}
        for key, prop_arg in self._init_properties.items():
            prop = prop_arg if isinstance(prop_arg, MapperProperty) else self._make_prop_from_column(key, prop_arg)
            local = False
            if isinstance(prop, ColumnProperty):
                if self._excluded_by_include_exclude(key, prop.columns):
                    self._warn_for_excluded_declared_attr(key, prop.columns)
                for column in prop.columns:
                    if self.local_table.c.contains_column(column):
                        # set up below, in the order of the table's columns
                        local = True
                        by_key[key] = prop
                        by_column[column] = (key, prop)
            if not local:
                self._configure_property(key, prop, init=False)

        if self.inherits:
            for key, inherited in self.inherits._props.items():
                if self._should_exclude(key, key, local=False, column=None):
                    continue
                incoming = by_key.get(key)
                if incoming:
                    combined = self._reconcile_prop_with_incoming_columns(
                        key, inherited, warn_only=False, incoming_prop=incoming
                    )
                    by_key[key] = combined
                    for column in incoming.columns:
                        by_column[column] = (key, combined)
                elif key not in self._props:
                    self._adapt_inherited_property(key, inherited, False)

        for column in self.persist_selectable.columns:
            if column in by_column:
                key, prop = by_column[column]
                self._configure_property(key, prop, init=False)
                continue
            if column in self._columntoproperty:
                continue
            column_key = (self.column_prefix or "") + column.key
            if self._should_exclude(
                column.key, column_key, local=self.local_table.c.contains_column(column), column=column
            ):
                continue
            # an ancestor may have given the column another name
            for mapper in self.iterate_to_root():
                if column in mapper._columntoproperty:
                    column_key = mapper._columntoproperty[column].key
            self._configure_property(column_key, column, init=False, setparent=True)

    def _adapt_inherited_property(self, key: str, prop: MapperProperty[Any], init: bool) -> None:
        from .descriptor_props import ConcreteInheritedProperty

        if not self.concrete:
            self._configure_property(key, prop, init=False, setparent=False)
        elif key not in self._props:
            implementing = self.class_manager._get_class_attr_mro(key, prop)
            if implementing is prop or (
                isinstance(implementing, attributes.InstrumentedAttribute) and implementing._parententity is prop.parent
            ):
                self._configure_property(key, ConcreteInheritedProperty(), init=init, setparent=True)

    def _configure_property(
        self,
        key: str,
        prop_arg: Any,
        *,
        init: bool = True,
        setparent: bool = True,
        warn_for_existing: bool = False,
    ) -> MapperProperty[Any]:
        """Enter one property into this mapper and those that inherit from it, and instrument the class with it."""
        from .descriptor_props import ConcreteInheritedProperty, SynonymProperty
        from .properties import ColumnProperty

        self._log("_configure_property(%s, %s)", key, prop_arg.__class__.__name__)
        early_setup = not hasattr(self, "_props")
        if isinstance(prop_arg, MapperProperty):
            prop: Any = prop_arg
        else:
            prop = self._property_from_column(key, prop_arg, early_setup)
        if early_setup:
            return prop

        if isinstance(prop, ColumnProperty):
            self._configure_column_property(key, prop)

        if getattr(prop, "key", key) != key:
            util.warn(
                f"ORM mapped property {self.class_.__name__}.{prop.key} being assigned to attribute {key!r} is "
                f"already associated with attribute {prop.key!r}. The attribute will be de-associated from "
                f"{prop.key!r}."
            )
        prop.key = key
        if setparent:
            prop.set_parent(self, init)  # pyright: ignore[reportArgumentType]  # the part stands for the whole

        existing = self._props.get(key)
        if getattr(existing, "_mapped_by_synonym", False):
            synonym = existing._mapped_by_synonym  # type: ignore[union-attr]
            raise sa_exc.ArgumentError(
                f"Can't call map_column=True for synonym {synonym!r}={key!r}, a ColumnProperty already exists keyed "
                f"to the name {key!r} for column {synonym!r}"
            )
        if (
            existing is not None
            and not isinstance(existing, ConcreteInheritedProperty)
            and not isinstance(prop, SynonymProperty)
        ):
            if warn_for_existing:
                self._warn_replacing(key, "an existing ORM-mapped attribute")
            self._path_registry.pop(existing, None)
        elif (
            warn_for_existing
            and self.class_.__dict__.get(key, None) is not None
            and not isinstance(prop, SynonymProperty)
            and not isinstance(existing, ConcreteInheritedProperty)
        ):
            self._warn_replacing(key, "an existing class-bound attribute of the same name")

        self._props[key] = prop
        prop.instrument_class(self)  # pyright: ignore[reportArgumentType]
        for mapper in self._inheriting_mappers:
            mapper._adapt_inherited_property(key, prop, init)
        if init:
            prop.init()
            prop.post_instrument_class(self)  # pyright: ignore[reportArgumentType]
        if self.configured:
            self._expire_memoizations()
        return prop

    def _warn_replacing(self, key: str, what: str) -> None:
        util.warn_deprecated(
            f"User-placed attribute {self.class_.__name__}.{key} on {self} is replacing {what}.  Behavior is not "
            "fully defined in this case.  This use is deprecated and will raise an error in a future release",
            "2.0",
        )

    def _configure_column_property(self, key: str, prop: Any) -> None:
        """Enter the columns of a property into the mapper's column tables."""
        column = self.persist_selectable.corresponding_column(prop.columns[0])
        if column is None and self.inherits:
            # the column was added to an ancestor's table after the join was made
            path: list[Any] = [self]
            for mapper in self.inherits.iterate_to_root():
                column = mapper.local_table.corresponding_column(prop.columns[0])
                if column is not None:
                    for stale in path:
                        refresh_for_new_column(stale.persist_selectable, column)
                    column = self.persist_selectable.corresponding_column(prop.columns[0])
                    break
                path.append(mapper)

        if column is None:
            column = prop.columns[0]
            # added to a configured mapper
            if hasattr(self, "_readonly_props") and (
                not hasattr(column, "table") or column.table not in self._cols_by_table
            ):
                self._readonly_props.add(prop)
        elif (
            hasattr(self, "_cols_by_table")
            and column.table in self._cols_by_table
            and column not in self._cols_by_table[column.table]
        ):
            self._cols_by_table[column.table].add(column)

        if not hasattr(prop, "_is_polymorphic_discriminator"):
            prop._is_polymorphic_discriminator = column is self.polymorphic_on or prop.columns[0] is self.polymorphic_on
        if isinstance(column, expression.Label):
            set_label_key(column, key)
        self._columns.add(column, key)
        for mapped in prop.columns:
            for proxied in mapped.proxy_set:
                self._columntoproperty[proxied] = prop

    def _make_prop_from_column(self, key: str, column: Any) -> Any:
        from .properties import ColumnProperty

        mapped = []
        for given in util.to_list(column):
            found = self.persist_selectable.corresponding_column(given)
            if found is None:
                found = self.local_table.corresponding_column(given)
                if found is not None:
                    # a column that was added to the table of a join
                    refresh_for_new_column(self.persist_selectable, found)
                found = self.persist_selectable.corresponding_column(given)
                if found is None:
                    raise sa_exc.ArgumentError(
                        f"When configuring property '{key}' on {self}, column '{given}' is not represented in the "
                        "mapper's table. Use the `column_property()` function to force this column to be mapped as "
                        "a read-only attribute."
                    )
            mapped.append(found)
        return ColumnProperty(*mapped)

    def _reconcile_prop_with_incoming_columns(
        self,
        key: str,
        existing_prop: Any,
        warn_only: bool,
        incoming_prop: Any = None,
        single_column: Any = None,
    ) -> Any:
        """Combine columns of two tables under one attribute, if their joining or the user says they are the same."""
        from .properties import ColumnProperty

        if incoming_prop and (self.concrete or not isinstance(existing_prop, ColumnProperty)):
            return incoming_prop
        existing_column = existing_prop.columns[0]
        if incoming_prop and existing_column in incoming_prop.columns:
            return incoming_prop

        if incoming_prop is None:
            assert single_column is not None
            incoming_column = single_column
            equated_pair = (existing_prop.columns[0], incoming_column)
        else:
            assert single_column is None
            incoming_column = incoming_prop.columns[0]
            equated_pair = (incoming_column, existing_prop.columns[0])

        if (
            (not self._inherits_equated_pairs or equated_pair not in self._inherits_equated_pairs)
            and not existing_column.shares_lineage(incoming_column)
            and existing_column is not self.version_id_col
            and incoming_column is not self.version_id_col
        ):
            message = (
                f"Implicitly combining column {existing_prop.columns[-1]} with column {incoming_column} under "
                f"attribute '{key}'.  Please configure one or more attributes for these same-named columns "
                "explicitly."
            )
            if not warn_only:
                raise sa_exc.InvalidRequestError(message)
            util.warn(message)

        combined = existing_prop.copy()
        combined.columns.insert(0, incoming_column)
        self._log("inserting column to existing list in properties.ColumnProperty %s", key)
        return combined

    def _property_from_column(self, key: str, column: Any, early_setup: bool) -> Any:
        from .descriptor_props import ConcreteInheritedProperty
        from .properties import ColumnProperty

        prop = None if early_setup else self._props.get(key)
        if isinstance(prop, ColumnProperty):
            return self._reconcile_prop_with_incoming_columns(
                key, prop, single_column=column, warn_only=prop.parent is not self
            )
        if prop is None or isinstance(prop, ConcreteInheritedProperty):
            return self._make_prop_from_column(key, column)
        raise sa_exc.ArgumentError(
            f"WARNING: when configuring property '{key}' on {self}, column '{column.key}' conflicts with property "
            f"'{prop!r}'. To resolve this, map the column to the class under a different name in the 'properties' "
            "dictionary.  Or, to remove all awareness of the column entirely (including its availability as a "
            "foreign key), use the 'include_properties' or 'exclude_properties' mapper arguments to control "
            "specifically which table columns get mapped."
        )

    def _post_configure_properties(self) -> None:
        """Finish all properties; every mapper of the registry exists by now."""
        self._log("_post_configure_properties() started")
        for key, prop in list(self._props.items()):
            self._log("initialize prop %s", key)
            if prop.parent is self and not prop._configure_started:
                prop.init()
            if prop._configure_finished:
                prop.post_instrument_class(self)  # type: ignore[arg-type]
        self._log("_post_configure_properties() complete")
        self.configured = True

    def add_properties(self, dict_of_properties: dict[str, Any]) -> None:
        for key, value in dict_of_properties.items():
            self.add_property(key, value)

    def add_property(self, key: str, prop: Any) -> None:
        prop = self._configure_property(key, prop, init=self.configured, warn_for_existing=True)
        assert isinstance(prop, MapperProperty)
        self._init_properties[key] = prop
        if self.configured:
            self._hand_over_descriptor()

    # --- which columns and names are left out

    def _is_userland_descriptor(self, assigned_name: str, obj: Any) -> bool:
        if isinstance(obj, (_MappedAttribute, instrumentation.ClassManager, expression.ColumnElement)):
            return False
        return assigned_name not in self._dataclass_fields

    @HasMemoized.memoized_attribute
    def _dataclass_fields(self) -> list[str]:
        return [field.name for field in util.dataclass_fields(self.class_)]

    def _should_exclude(self, name: str, assigned_name: str, local: bool, column: Any) -> bool:
        """Whether a column or inherited attribute gives way to what the class has under that name, or to options."""
        if column is not None and _never_select_column(column):
            return True
        if local:
            attribute = self.class_.__dict__.get(assigned_name, None)
        else:
            attribute = self.class_manager._get_class_attr_mro(assigned_name, None)
        if attribute is not None and self._is_userland_descriptor(assigned_name, attribute):
            return True
        columns = [column] if column is not None else []
        if self._excluded_by_include_exclude(name, columns):
            self._warn_for_excluded_declared_attr(name, columns)
            return True
        return False

    def _excluded_by_include_exclude(self, name: str, columns: Any) -> bool:
        included = self.include_properties
        if included is not None and name not in included and included.isdisjoint(columns):
            self._log("not including property %s", name)
            return True
        excluded = self.exclude_properties
        if excluded is not None and (name in excluded or not excluded.isdisjoint(columns)):
            self._log("excluding property %s", name)
            return True
        return False

    def _warn_for_excluded_declared_attr(self, name: str, columns: Any) -> None:
        reference = self.class_manager.declarative_scan
        scan: Any = reference() if reference is not None else None
        if scan is None or not scan.is_declarative:
            return
        if any(column in scan.declared_columns and column not in scan.unmapped_columns for column in columns):
            util.warn_deprecated(
                f"Attribute {name!r} declared on class {self.class_} is excluded from the mapping by the "
                "exclude_properties / include_properties mapper arguments; excluding attributes that are declared "
                "on the class is deprecated, and does not reliably remove them from the mapping.  To declare a "
                "column that is part of the Table but is not mapped, use the Unmapped[] annotation with "
                "unmapped_column().",
                "2.1.5",
            )

    # --- looking properties up

    def has_property(self, key: str) -> bool:
        return key in self._props

    def get_property(self, key: str, _configure_mappers: bool = False) -> MapperProperty[Any]:
        if _configure_mappers:
            self._check_configure()
        try:
            return self._props[key]
        except KeyError as error:
            raise sa_exc.InvalidRequestError(
                f"Mapper '{self}' has no property '{key}'.  If this property was indicated from other mappers or "
                "configure events, ensure registry.configure() has been called."
            ) from error

    def get_property_by_column(self, column: Any) -> MapperProperty[Any]:
        prop: MapperProperty[Any] = self._columntoproperty.of(column)
        return prop

    @HasMemoized.memoized_attribute
    def columns(self) -> Any:
        return self._columns.as_readonly()

    @HasMemoized.memoized_attribute
    def c(self) -> Any:
        return self._columns.as_readonly()

    @property
    def iterate_properties(self) -> Iterator[MapperProperty[Any]]:
        return iter(self._props.values())

    @HasMemoized.memoized_attribute
    def _prop_set(self) -> frozenset[MapperProperty[Any]]:
        return frozenset(self._props.values())

    @HasMemoized.memoized_attribute
    def attrs(self) -> Any:
        self._check_configure()
        return util.ReadOnlyProperties(self._props)

    @HasMemoized.memoized_attribute
    def all_orm_descriptors(self) -> Any:
        return util.ReadOnlyProperties(dict(self.class_manager._all_sqla_attributes()))

    @HasMemoized.memoized_attribute
    def _pk_synonyms(self) -> dict[str, str]:
        from .descriptor_props import SynonymProperty

        pk_keys = {prop.key for prop in self._identity_key_props}
        return {
            prop.key: prop.name
            for prop in self._props.values()
            if isinstance(prop, SynonymProperty) and prop.name in pk_keys
        }

    @HasMemoized.memoized_attribute
    def synonyms(self) -> Any:
        from .descriptor_props import SynonymProperty

        return self._filter_properties(SynonymProperty)

    @HasMemoized.memoized_attribute
    def column_attrs(self) -> Any:
        from .properties import ColumnProperty

        return self._filter_properties(ColumnProperty)

    @HasMemoized.memoized_attribute
    def relationships(self) -> Any:
        from .relationships import RelationshipProperty

        return self._filter_properties(RelationshipProperty)

    @HasMemoized.memoized_attribute
    def composites(self) -> Any:
        from .descriptor_props import CompositeProperty

        return self._filter_properties(CompositeProperty)

    def _filter_properties(self, type_: type[Any]) -> Any:
        self._check_configure()
        return util.ReadOnlyProperties(
            util.OrderedDict((key, prop) for key, prop in self._props.items() if isinstance(prop, type_))
        )

    @HasMemoized.memoized_attribute
    def _polymorphic_properties(self) -> list[MapperProperty[Any]]:
        return list(self._iterate_polymorphic_properties(self._with_polymorphic_mappers))

    @property
    def _all_column_expressions(self) -> list[Any]:
        from .properties import ColumnProperty

        adapter = self._polymorphic_adapter
        return [
            adapter.columns[column] if adapter else column
            for prop in self._polymorphic_properties
            if isinstance(prop, ColumnProperty) and prop._renders_in_subqueries
            for column in prop.columns
        ]

    def _columns_plus_keys(self, polymorphic_mappers: Any = ()) -> list[tuple[str, Any]]:
        from .properties import ColumnProperty

        if polymorphic_mappers:
            props: Any = self._iterate_polymorphic_properties(polymorphic_mappers)
        else:
            props = self._polymorphic_properties
        return [(prop.key, prop.columns[0]) for prop in props if isinstance(prop, ColumnProperty)]

    def _iterate_polymorphic_properties(self, mappers: Any = None) -> Iterator[MapperProperty[Any]]:
        """The properties of this mapper and the given ones of its hierarchy, one discriminator only."""
        if mappers is None:
            mappers = self._with_polymorphic_mappers
        if not mappers:
            yield from self.iterate_properties
            return
        for prop in util.unique_list(chain(*[list(m.iterate_properties) for m in [self, *mappers]])):
            if getattr(prop, "_is_polymorphic_discriminator", False) and (
                self.polymorphic_on is None or prop.columns[0] is not self.polymorphic_on
            ):
                continue
            yield prop
