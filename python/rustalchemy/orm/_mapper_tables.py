"""The part of a mapper that knows its tables: primary keys, columns a flush writes, statements for single rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc as sa_exc
from sqlalchemy import schema, sql, util
from sqlalchemy.schema import Column
from sqlalchemy.sql import coercions, expression, operators, roles, visitors
from sqlalchemy.sql import util as sql_util
from sqlalchemy.sql.selectable import LABEL_STYLE_TABLENAME_PLUS_COL
from sqlalchemy.util import HasMemoized

from .._sa import _find_columns
from .base import PassiveFlag, _none_set, instance_state

if TYPE_CHECKING:
    pass


class _OptGetColumnsNotAvailable(Exception):
    """A value needed to narrow the reload of a subclass row is not loaded."""


class _MapperTables(HasMemoized):
    """Mixin of ``Mapper``: tables, keys and identity."""

    if TYPE_CHECKING:

        def __getattr__(self, key: str) -> Any: ...

    def _configure_pks(self) -> None:
        """Find the columns of each table and the primary key of the mapped selectable."""
        self.tables = sql_util.find_tables(self.persist_selectable)
        self._all_tables.update(self.tables)
        self._pks_by_table: dict[Any, Any] = {}
        self._cols_by_table: dict[Any, Any] = {}

        all_cols = util.column_set(chain(*[column.proxy_set for column in self._columntoproperty]))
        pk_cols = util.column_set(column for column in all_cols if column.primary_key)
        for table in {*self.tables, self.persist_selectable}:
            if table.primary_key and pk_cols.issuperset(table.primary_key):
                # ordered by column position
                self._pks_by_table[table] = util.ordered_column_set(table.primary_key).intersection(pk_cols)
            self._cols_by_table[table] = util.ordered_column_set(table.c).intersection(all_cols)

        given = self._given_primary_key()
        if given:
            for column in given:
                self._pks_by_table.setdefault(column.table, util.OrderedSet()).add(column)
        elif not self._pks_by_table.get(self.persist_selectable):
            self._refuse_keyless()
        elif self.local_table not in self._pks_by_table and isinstance(self.local_table, schema.Table):
            util.warn(
                "Could not assemble any primary keys for locally mapped table "
                f"'{self.local_table.description}' - no rows will be persisted in this Table."
            )

        if self.inherits and not self.concrete and not self._primary_key_argument:
            self.primary_key = self.inherits.primary_key
        else:
            if given:
                found = ((self.persist_selectable.corresponding_column(column), column) for column in given)
                primary_key: Sequence[Any] = [own if own is not None else column for own, column in found]
            else:
                # of columns that a join makes equal, one is enough
                primary_key = sql_util.reduce_columns(
                    self._pks_by_table[self.persist_selectable], ignore_nonexistent_tables=True
                )
            if len(primary_key) == 0:
                self._refuse_keyless()
            self.primary_key = tuple(primary_key)
            self._log("Identified primary key columns: %s", primary_key)

        # columns of no table of ours: SQL expressions, columns of an enclosing select
        self._readonly_props = {
            prop
            for column, prop in self._columntoproperty.items()
            if prop not in self._identity_key_props
            and (not hasattr(column, "table") or column.table not in self._cols_by_table)
        }

    def _refuse_keyless(self) -> None:
        raise sa_exc.ArgumentError(
            f"Mapper {self} could not assemble any primary key columns for mapped table "
            f"'{self.persist_selectable.description}'"
        )

    def _given_primary_key(self) -> list[Any] | None:
        if not self._primary_key_argument:
            return None
        coerced = (
            coercions.expect(roles.DDLConstraintColumnRole, column, argname="primary_key")
            for column in self._primary_key_argument
        )
        return [
            self._str_arg_to_mapped_col("primary_key", column) if isinstance(column, str) else column
            for column in coerced
        ]

    def _str_arg_to_mapped_col(self, argname: str, key: str) -> Any:
        try:
            prop: Any = self._props[key]
        except KeyError as error:
            raise sa_exc.ArgumentError(
                f"Can't determine {argname} column '{key}' - no attribute is mapped to this name."
            ) from error
        message = f"Can't determine {argname} column '{key}'; property does not refer to a single mapped Column"
        try:
            column = prop.expression
        except AttributeError as error:
            raise sa_exc.ArgumentError(message) from error
        if not isinstance(column, Column):
            raise sa_exc.ArgumentError(message)
        return column

    # --- columns by table, as a flush needs them

    def _by_table(self, make: Callable[[Any], Any]) -> dict[Any, Any]:
        return {table: make(columns) for table, columns in self._cols_by_table.items()}

    @HasMemoized.memoized_attribute
    def _insert_cols_evaluating_none(self) -> dict[Any, frozenset[Any]]:
        return self._by_table(lambda columns: frozenset(c for c in columns if c.type.should_evaluate_none))

    @HasMemoized.memoized_attribute
    def _insert_cols_as_none(self) -> dict[Any, frozenset[str]]:
        return self._by_table(
            lambda columns: frozenset(
                column.key
                for column in columns
                if not column.primary_key
                and not column.server_default
                and not column.default
                and not column.type.should_evaluate_none
            )
        )

    @HasMemoized.memoized_attribute
    def _insert_orm_defaults(self) -> dict[Any, list[tuple[str, Any, Any]]]:
        def defaults(columns: Any) -> list[tuple[str, Any, Any]]:
            found = []
            for column in columns:
                prop = self._columntoproperty[column]
                value = prop._default_scalar_value
                if value is not None and not (column.default is not None and column.default.compare_argument(value)):
                    found.append((prop.key, column, value))
            return found

        return self._by_table(defaults)

    @HasMemoized.memoized_attribute
    def _propkey_to_col(self) -> dict[Any, dict[str, Any]]:
        return self._by_table(lambda columns: {self._columntoproperty[column].key: column for column in columns})

    @HasMemoized.memoized_attribute
    def _pk_keys_by_table(self) -> dict[Any, frozenset[str]]:
        return {table: frozenset(column.key for column in pks) for table, pks in self._pks_by_table.items()}

    @HasMemoized.memoized_attribute
    def _pk_attr_keys_by_table(self) -> dict[Any, frozenset[str]]:
        return {
            table: frozenset(self._columntoproperty[column].key for column in pks)
            for table, pks in self._pks_by_table.items()
        }

    @HasMemoized.memoized_attribute
    def _server_default_cols(self) -> dict[Any, frozenset[Any]]:
        return self._by_table(
            lambda columns: frozenset(
                column
                for column in columns
                if column.server_default is not None
                or (column.default is not None and column.default.is_clause_element)
            )
        )

    @HasMemoized.memoized_attribute
    def _server_onupdate_default_cols(self) -> dict[Any, frozenset[Any]]:
        return self._by_table(
            lambda columns: frozenset(
                column
                for column in columns
                if column.server_onupdate is not None
                or (column.onupdate is not None and column.onupdate.is_clause_element)
            )
        )

    @HasMemoized.memoized_attribute
    def _server_default_col_keys(self) -> dict[Any, frozenset[str]]:
        return {
            table: frozenset(column.key for column in columns if column.key is not None)
            for table, columns in self._server_default_cols.items()
        }

    @HasMemoized.memoized_attribute
    def _server_onupdate_default_col_keys(self) -> dict[Any, frozenset[str]]:
        return {
            table: frozenset(column.key for column in columns if column.key is not None)
            for table, columns in self._server_onupdate_default_cols.items()
        }

    @HasMemoized.memoized_attribute
    def _server_default_plus_onupdate_propkeys(self) -> set[str]:
        keys: set[str] = set()
        for by_table in (self._server_default_cols, self._server_onupdate_default_cols):
            for columns in by_table.values():
                keys.update(self._columntoproperty[c].key for c in columns.intersection(self._columntoproperty))
        return keys

    @HasMemoized.memoized_attribute
    def _local_pk_cols(self) -> Any:
        pk_cols = util.column_set(self.primary_key)
        equivalents = self._equivalent_columns
        for column in pk_cols.intersection(equivalents):
            pk_cols.update(equivalents[column])
        return util.column_set(column for column in pk_cols if column.table is self.local_table)

    @HasMemoized.memoized_attribute
    def _all_pk_cols(self) -> set[Any]:
        columns: set[Any] = set()
        for table in self.tables:
            columns.update(self._pks_by_table[table])
        return columns

    @HasMemoized.memoized_attribute
    def _should_undefer_in_wildcard(self) -> set[Any]:
        columns = set(self.primary_key)
        if self.polymorphic_on is not None:
            columns.add(self.polymorphic_on)
        return columns

    @HasMemoized.memoized_attribute
    def _primary_key_propkeys(self) -> set[str]:
        return {self._columntoproperty[column].key for column in self._all_pk_cols}

    @HasMemoized.memoized_attribute
    def _version_id_prop(self) -> Any:
        return None if self.version_id_col is None else self._columntoproperty[self.version_id_col]

    @HasMemoized.memoized_attribute
    def _version_id_has_server_side_value(self) -> bool:
        column = self.version_id_col
        if column is None:
            return False
        if not isinstance(column, Column):
            return True
        default = column.default
        return column.server_default is not None or (
            default is not None and not default.is_scalar and not default.is_callable
        )

    def _prefer_eager_defaults(self, dialect: Any, table: Any) -> bool:
        if self.eager_defaults != "auto":
            return self.eager_defaults
        if not table.implicit_returning:
            return False
        return table in self._server_default_col_keys and dialect.insert_executemany_returning

    @HasMemoized.memoized_attribute
    def _multiple_persistence_tables(self) -> bool:
        return len(self.tables) > 1

    @HasMemoized.memoized_attribute
    def _sorted_tables(self) -> Any:
        """Tables of the whole hierarchy → mapper, in the order in which rows must be written."""
        table_to_mapper: dict[Any, Any] = {}
        for mapper in self.base_mapper.self_and_descendants:
            for table in mapper.tables:
                table_to_mapper.setdefault(table, mapper)

        extra = [
            (super_table, table)
            for table, mapper in table_to_mapper.items()
            if mapper.inherits
            for super_table in mapper.inherits.tables
        ]

        def skip(fk: Any) -> bool:
            # foreign keys between the tables that are not the joining of the hierarchy don't order its rows
            parent = table_to_mapper.get(fk.parent.table)
            dep = table_to_mapper.get(fk.column.table)
            if parent is None or dep is None or dep is parent or dep.inherit_condition is None:
                return False
            columns = set(_find_columns(dep.inherit_condition))
            if parent.inherit_condition is not None:
                columns = columns.union(_find_columns(parent.inherit_condition))
                return fk.parent not in columns and fk.column not in columns
            return fk.parent not in columns

        ordered = util.OrderedDict()
        for table in sql_util.sort_tables(table_to_mapper, skip_fn=skip, extra_dependencies=extra):
            ordered[table] = table_to_mapper[table]
        return ordered

    @util.memoized_property
    def _table_to_equated(self) -> Any:
        """Table → pairs of columns that joined inheritance keeps equal."""
        result: dict[Any, list[tuple[Any, Any]]] = defaultdict(list)
        for table in self._sorted_tables:
            columns = set(table.c)
            for mapper in self.iterate_to_root():
                pairs = mapper._inherits_equated_pairs
                if pairs and columns.intersection(set().union(*[left.proxy_set for left, _ in pairs])):
                    result[table].append((mapper, pairs))
        return result

    @HasMemoized.memoized_attribute
    def _equivalent_columns(self) -> dict[Any, set[Any]]:
        """Column → columns that the joins of the hierarchy make equal to it."""
        result: dict[Any, set[Any]] = {}

        def visit_binary(binary: Any) -> None:
            if binary.operator == operators.eq:
                result.setdefault(binary.left, set()).add(binary.right)
                result.setdefault(binary.right, set()).add(binary.left)

        for mapper in self.base_mapper.self_and_descendants:
            if mapper.inherit_condition is not None:
                visitors.traverse(mapper.inherit_condition, {}, {"binary": visit_binary})
        return result

    @HasMemoized.memoized_attribute
    def _get_clause(self) -> tuple[Any, Any]:
        """``WHERE primary key = ?`` and its parameters by column."""
        params = [
            (column, sql.bindparam(f"pk_{number}", type_=column.type))
            for number, column in enumerate(self.primary_key, 1)
        ]
        return sql.and_(*[column == param for column, param in params]), util.column_dict(params)

    # --- identity

    @HasMemoized.memoized_attribute
    def _identity_key_props(self) -> list[Any]:
        return [self._columntoproperty[column] for column in self.primary_key]

    @HasMemoized.memoized_attribute
    def _persistent_sortkey_fn(self) -> Callable[[Any], Any]:
        key_fns = [column.type.sort_key_function for column in self.primary_key]
        if all(fn is None for fn in key_fns):
            return lambda state: state.key[1]
        return lambda state: tuple(
            value if fn is None else fn(value) for fn, value in zip(key_fns, state.key[1], strict=True)
        )

    def _pk_columns_of(self, adapter: Any) -> Sequence[Any]:
        if adapter is None:
            return self.primary_key
        return [adapter.columns[column] for column in self.primary_key]

    def _result_has_identity_key(self, result: Any, adapter: Any = None) -> bool:
        keys = result.keys()
        return all(column in keys for column in self._pk_columns_of(adapter))

    def identity_key_from_row(self, row: Any, identity_token: Any = None, adapter: Any = None) -> tuple[Any, ...]:
        """The identity key of the object a row stands for."""
        mapping = row._mapping if hasattr(row, "_mapping") else row
        key = tuple(mapping[column] for column in self._pk_columns_of(adapter))
        return self._identity_class, key, identity_token

    def identity_key_from_primary_key(self, primary_key: Any, identity_token: Any = None) -> tuple[Any, ...]:
        """The identity key for primary key values in the order of ``primary_key``."""
        return self._identity_class, tuple(primary_key), identity_token

    def identity_key_from_instance(self, instance: Any) -> tuple[Any, ...]:
        """The identity key an object has, or would have; expired attributes are loaded."""
        return self._identity_key_from_state(instance_state(instance), PassiveFlag.PASSIVE_OFF)

    def _identity_key_from_state(
        self, state: Any, passive: Any = PassiveFlag.PASSIVE_RETURN_NO_VALUE
    ) -> tuple[Any, ...]:
        manager, dict_ = state.manager, None
        key = tuple(manager[prop.key].impl.get(state, dict_, passive) for prop in self._identity_key_props)
        return self._identity_class, key, state.identity_token

    def primary_key_from_instance(self, instance: Any) -> tuple[Any, ...]:
        """The primary key values of an object; expired attributes are loaded."""
        return self.identity_key_from_instance(instance)[1]

    # --- values of a state by column

    def _impl_for(self, state: Any, column: Any) -> Any:
        return state.manager[self._columntoproperty.of(column).key].impl

    def _get_state_attr_by_column(
        self, state: Any, dict_: Any, column: Any, passive: Any = PassiveFlag.PASSIVE_RETURN_NO_VALUE
    ) -> Any:
        return self._impl_for(state, column).get(state, dict_, passive=passive)

    def _state_ident_getter(self, columns: Sequence[Any], passive: Any) -> Callable[[Any, Any], tuple[Any, ...]]:
        def get_ident(state: Any, state_dict: Any) -> tuple[Any, ...]:
            return tuple(self._get_state_attr_by_column(state, state_dict, c, passive=passive) for c in columns)

        return get_ident

    def _set_committed_state_attr_by_column(self, state: Any, dict_: Any, column: Any, value: Any) -> None:
        self._impl_for(state, column).set_committed_value(state, dict_, value)

    def _set_state_attr_by_column(self, state: Any, dict_: Any, column: Any, value: Any) -> None:
        self._impl_for(state, column).set(state, dict_, value, None)

    def _get_committed_attr_by_column(self, obj: Any, column: Any) -> Any:
        state = instance_state(obj)
        return self._get_committed_state_attr_by_column(state, None, column, passive=PassiveFlag.PASSIVE_OFF)

    def _get_committed_state_attr_by_column(
        self, state: Any, dict_: Any, column: Any, passive: Any = PassiveFlag.PASSIVE_RETURN_NO_VALUE
    ) -> Any:
        return self._impl_for(state, column).get_committed_value(state, dict_, passive=passive)

    def _optimized_get_statement(self, state: Any, attribute_names: Any) -> Any:
        """A SELECT of the given attributes that leaves out tables whose key values are known, or None."""
        col_keys = set(attribute_names).intersection(state.mapper.column_attrs.keys())
        tables: set[Any] = set(
            chain(
                *[
                    sql_util.find_tables(column, check_columns=True)
                    for key in col_keys
                    for column in self._props[key].columns
                ]
            )
        )
        if self.base_mapper.local_table in tables:
            return None

        def known_value(column: Any) -> Any:
            value = self._get_committed_state_attr_by_column(
                state, state.dict, column, passive=PassiveFlag.PASSIVE_NO_INITIALIZE
            )
            if value in _none_set:
                raise _OptGetColumnsNotAvailable()
            return value

        def visit_binary(binary: Any) -> None:
            left, right = binary.left, binary.right
            if left is None or right is None:
                return
            if left.table not in tables:
                binary.left = sql.bindparam(None, known_value(left), type_=right.type)
            elif right.table not in tables:
                binary.right = sql.bindparam(None, known_value(right), type_=right.type)

        conditions = []
        started = False
        for mapper in reversed(list(self.iterate_to_root())):
            if mapper.local_table in tables:
                started = True
            elif not isinstance(mapper.local_table, expression.TableClause):
                return None
            if started and not mapper.single:
                conditions.append(mapper.inherit_condition)
                tables.add(mapper.local_table)
        # only the condition nearest to the root refers to tables that are left out
        try:
            conditions[0] = visitors.cloned_traverse(conditions[0], {}, {"binary": visit_binary})
        except _OptGetColumnsNotAvailable:
            return None
        columns = [column for key in col_keys for column in self._props[key].columns]
        return sql.select(*columns).where(sql.and_(*conditions)).set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
