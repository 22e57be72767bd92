"""Loader strategies: how columns and relationships get into statements and out of rows.

A strategy serves one property. It adds columns and joins while a statement compiles (``setup_query``), contributes to
the row plan made after that (``plan_row``), and sets up the class attribute (``init_class_attribute``). Those of
relationships stand in modules of their own, imported at the end, so that importing this one registers them all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Optional

from sqlalchemy import event, sql
from sqlalchemy import exc as sa_exc

from . import _detached, attributes, interfaces, properties
from . import util as orm_util
from ._row_plans import DEFER_FOR_STATE, DEFERRED, RAISE_FOR_STATE, SET_DEFERRED_EXPIRED, overrides_of
from .base import LoaderCallableStatus, PassiveFlag
from .interfaces import LoaderStrategy, StrategizedProperty

if TYPE_CHECKING:
    from ._row_plans import EntityParts, RowPlanBuilder

_UNDEFERRED = (("deferred", False), ("instrument", True))


def _register_attribute(
    prop: Any,
    mapper: Any,
    useobject: bool,
    compare_function: Any = None,
    typecallable: Any = None,
    callable_: Any = None,
    active_history: bool = False,
    impl_class: Any = None,
    default_scalar_value: Any = None,
    **kw: Any,
) -> None:
    """Put the attribute of ``prop`` on the class of ``mapper`` and of those that inherit it."""
    uselist = useobject and prop.uselist
    for sub_mapper in mapper.self_and_descendants:
        if prop is not sub_mapper._props.get(prop.key) or sub_mapper.class_manager._attr_has_impl(prop.key):
            continue
        descriptor = attributes._register_attribute_impl(
            sub_mapper.class_,
            prop.key,
            parent_token=prop,
            uselist=uselist,
            compare_function=compare_function,
            useobject=useobject,
            trackparent=useobject and (prop.single_parent or prop.direction is interfaces.ONETOMANY),
            typecallable=typecallable,
            callable_=callable_,
            active_history=active_history,
            default_scalar_value=default_scalar_value,
            impl_class=impl_class,
            send_modified_events=not useobject or not prop.viewonly,
            doc=prop.doc,
            **kw,
        )
        # the order of listeners: single parent, then the user's validators; cascades and backrefs are native
        if useobject and prop.single_parent:
            _single_parent_validator(descriptor, prop)
        for parent in sub_mapper.iterate_to_root():
            if prop.key in parent.validators:
                function, options = parent.validators[prop.key]
                orm_util._validator_events(descriptor, prop.key, function, **options)
                break


def _single_parent_validator(desc: Any, prop: Any) -> None:
    def check(state: Any, value: Any, oldvalue: Any, initiator: Any) -> Any:
        if value is not None and initiator.key == prop.key:
            hasparent = initiator.hasparent(attributes.instance_state(value))
            if hasparent and oldvalue is not value:
                raise sa_exc.InvalidRequestError(
                    f"Instance {orm_util.instance_str(value)} is already associated with an instance "
                    f"of {state.class_} via its {prop} attribute, and is only "
                    "allowed a single parent.",
                    code="bbf1",
                )
        return value

    def append(state: Any, value: Any, initiator: Any) -> Any:
        return check(state, value, None, initiator)

    event.listen(desc, "append", append, raw=True, retval=True, active_history=True)
    event.listen(desc, "set", check, raw=True, retval=True, active_history=True)


def _overridden_strategy(state: Any, prop: Any) -> Optional[tuple[Any, Any]]:
    """(strategy, option) that the load of ``state`` chose for ``prop`` in place of the mapped one."""
    override = overrides_of(state).get(prop.key)
    if override is None:
        return None
    key, option = override
    return prop._get_strategy(key), option


@properties.ColumnProperty.strategy_for(instrument=False, deferred=False)
class _UninstrumentedColumnLoader(LoaderStrategy):
    """A column that is selected but is no attribute: a discriminator of a polymorphic selectable."""

    __slots__ = ("columns",)

    def __init__(self, parent: Any, strategy_key: Any) -> None:
        super().__init__(parent, strategy_key)
        self.columns = self.parent_property.columns

    def setup_query(
        self,
        compile_state: Any,
        query_entity: Any,
        path: Any,
        loadopt: Any,
        adapter: Any,
        column_collection: Any = None,
        **kwargs: Any,
    ) -> None:
        for column in self.columns:
            compile_state._append_dedupe_col_collection(
                adapter.columns[column] if adapter else column, column_collection
            )

    def plan_row(
        self,
        builder: RowPlanBuilder,
        query_entity: Any,
        path: Any,
        loadopt: Any,
        mapper: Any,
        adapter: Any,
        parts: EntityParts,
    ) -> None:
        pass


@properties.ColumnProperty.strategy_for(instrument=True, deferred=False)
class _ColumnLoader(LoaderStrategy):
    """A column loaded with its object."""

    __slots__ = ("columns", "is_composite")

    def __init__(self, parent: Any, strategy_key: Any) -> None:
        super().__init__(parent, strategy_key)
        self.columns = self.parent_property.columns
        self.is_composite = hasattr(self.parent_property, "composite_class")

    def setup_query(
        self,
        compile_state: Any,
        query_entity: Any,
        path: Any,
        loadopt: Any,
        adapter: Any,
        column_collection: Any = None,
        memoized_populators: Any = None,
        check_for_adapt: bool = False,
        **kwargs: Any,
    ) -> None:
        self._select(compile_state, self.columns, adapter, column_collection, memoized_populators, check_for_adapt)

    def _select(
        self,
        compile_state: Any,
        columns: Any,
        adapter: Any,
        column_collection: Any,
        memoized_populators: Any,
        check_for_adapt: bool = False,
    ) -> None:
        for column in columns:
            if adapter:
                column = adapter.adapt_check_present(column) if check_for_adapt else adapter.columns[column]
                if check_for_adapt and column is None:
                    return
            compile_state._append_dedupe_col_collection(column, column_collection)
        fetch = adapter.columns[columns[0]] if adapter else columns[0]
        # None: RETURNING of a DML statement that can't return it
        if fetch is not None:
            memoized_populators[self.parent_property] = fetch

    def init_class_attribute(self, mapper: Any) -> None:
        self.is_class_level = True
        prop = self.parent_property
        column = self.columns[0]
        version = mapper.version_id_col
        active_history = (
            prop.active_history
            or column.primary_key
            or (version is not None and mapper._columntoproperty.get(version) is prop)
        )
        _register_attribute(
            prop,
            mapper,
            useobject=False,
            compare_function=column.type.compare_values,
            # an option may have deferred it
            callable_=self._load_for_state,
            active_history=active_history,
            default_scalar_value=prop._default_scalar_value,
        )

    def _load_for_state(self, state: Any, passive: Any) -> Any:
        override = _overridden_strategy(state, self.parent_property)
        if override is None:
            # never set, or deleted: there is nothing to load
            return LoaderCallableStatus.ATTR_EMPTY
        return override[0]._load_for_state(state, passive)

    # the native core need not ask for an object that was loaded without options
    _load_for_state._only_with_options = True  # type: ignore[attr-defined]

    def plan_row(
        self,
        builder: RowPlanBuilder,
        query_entity: Any,
        path: Any,
        loadopt: Any,
        mapper: Any,
        adapter: Any,
        parts: EntityParts,
    ) -> None:
        attribute = mapper.class_manager[self.key]._index
        for column in self._columns_for(loadopt):
            if builder.column(adapter.columns[column] if adapter else column, attribute, parts):
                return
        parts.expired.append(attribute)

    def _columns_for(self, loadopt: Any) -> Iterable[Any]:
        return self.columns


@properties.ColumnProperty.strategy_for(query_expression=True)
class _ExpressionColumnLoader(_ColumnLoader):
    """A ``query_expression()``: its column comes with the statement, by ``with_expression()``."""

    __slots__ = ("_have_default_expression",)

    def __init__(self, parent: Any, strategy_key: Any) -> None:
        super().__init__(parent, strategy_key)
        null = sql.null().label(None)
        self._have_default_expression = any(not column.compare(null) for column in self.columns)

    def setup_query(
        self,
        compile_state: Any,
        query_entity: Any,
        path: Any,
        loadopt: Any,
        adapter: Any,
        column_collection: Any = None,
        memoized_populators: Any = None,
        check_for_adapt: bool = False,
        **kwargs: Any,
    ) -> None:
        given = loadopt._extra_criteria if loadopt else None
        columns = given or (self.columns if self._have_default_expression else None)
        if not columns:
            return
        self._select(compile_state, columns, adapter, column_collection, memoized_populators)
        if given and query_entity._polymorphic_discriminator is self.columns[0]:
            query_entity._polymorphic_discriminator = columns[0]

    def _columns_for(self, loadopt: Any) -> Iterable[Any]:
        return loadopt._extra_criteria if loadopt else ()

    def plan_row(
        self,
        builder: RowPlanBuilder,
        query_entity: Any,
        path: Any,
        loadopt: Any,
        mapper: Any,
        adapter: Any,
        parts: EntityParts,
    ) -> None:
        if loadopt and loadopt._extra_criteria:
            super().plan_row(builder, query_entity, path, loadopt, mapper, adapter, parts)

    def init_class_attribute(self, mapper: Any) -> None:
        self.is_class_level = True
        _register_attribute(
            self.parent_property,
            mapper,
            useobject=False,
            compare_function=self.columns[0].type.compare_values,
            # an option may have deferred it
            callable_=self._load_for_state,
            accepts_scalar_loader=False,
            default_scalar_value=self.parent_property._default_scalar_value,
        )


@properties.ColumnProperty.strategy_for(deferred=True, instrument=True)
@properties.ColumnProperty.strategy_for(deferred=True, instrument=True, raiseload=True)
@properties.ColumnProperty.strategy_for(do_nothing=True)
class _DeferredColumnLoader(LoaderStrategy):
    """A column loaded when it is first read, alone or with its group."""

    __slots__ = ("columns", "group", "raiseload")

    def __init__(self, parent: Any, strategy_key: Any) -> None:
        super().__init__(parent, strategy_key)
        if hasattr(self.parent_property, "composite_class"):
            raise NotImplementedError("Deferred loading for composite types not implemented yet")
        self.raiseload = self.strategy_opts.get("raiseload", False)
        self.columns = self.parent_property.columns
        self.group = self.parent_property.group

    def setup_query(
        self,
        compile_state: Any,
        query_entity: Any,
        path: Any,
        loadopt: Any,
        adapter: Any,
        column_collection: Any = None,
        memoized_populators: Any = None,
        only_load_props: Any = None,
        **kw: Any,
    ) -> None:
        prop = self.parent_property
        if self._loads_now(compile_state, loadopt, only_load_props):
            prop._get_strategy(_UNDEFERRED).setup_query(
                compile_state,
                query_entity,
                path,
                loadopt,
                adapter,
                column_collection=column_collection,
                memoized_populators=memoized_populators,
                **kw,
            )
        elif self.is_class_level:
            memoized_populators[prop] = SET_DEFERRED_EXPIRED
        else:
            memoized_populators[prop] = RAISE_FOR_STATE if self.raiseload else DEFER_FOR_STATE

    def _loads_now(self, compile_state: Any, loadopt: Any, only_load_props: Any) -> bool:
        if compile_state.compile_options._render_for_subquery and self.parent_property._renders_in_subqueries:
            return True
        if only_load_props and self.key in only_load_props:
            return True
        if not loadopt:
            return False
        if set(self.columns).intersection(self.parent._should_undefer_in_wildcard):
            return True
        return bool(self.group and loadopt.local_opts.get(f"undefer_group_{self.group}", False))

    def plan_row(
        self,
        builder: RowPlanBuilder,
        query_entity: Any,
        path: Any,
        loadopt: Any,
        mapper: Any,
        adapter: Any,
        parts: EntityParts,
    ) -> None:
        # met where the statement was not made by setup_query(): from_statement()
        prop = self.parent_property
        only = builder.only_load_props
        if builder.refresh_state and only and self.key in only:
            prop._get_strategy(_UNDEFERRED).plan_row(builder, query_entity, path, loadopt, mapper, adapter, parts)
            return
        if self.is_class_level:
            parts.reset.append(mapper.class_manager[self.key]._index)
        else:
            parts.overrides[self.key] = (self.strategy_key, None)

    def init_class_attribute(self, mapper: Any) -> None:
        self.is_class_level = True
        _register_attribute(
            self.parent_property,
            mapper,
            useobject=False,
            compare_function=self.columns[0].type.compare_values,
            callable_=self._load_at_class_level,
            load_on_unexpire=False,
            default_scalar_value=self.parent_property._default_scalar_value,
        )

    def _load_at_class_level(self, state: Any, passive: Any) -> Any:
        override = _overridden_strategy(state, self.parent_property)
        strategy = override[0] if override else self
        return strategy._load_for_state(state, passive)

    def _load_for_state(self, state: Any, passive: Any) -> Any:
        if not state.key:
            return LoaderCallableStatus.ATTR_EMPTY
        if not passive & PassiveFlag.SQL_OK:
            return LoaderCallableStatus.PASSIVE_NO_RESULT
        to_load = state.unmodified_intersection(self._group_keys(state))
        if state.session is None:
            raise _detached.deferred_load(state, self.key)
        if self.raiseload:
            raise sa_exc.InvalidRequestError(f"'{self}' is not available due to raiseload=True")

        from . import loading

        loading._load_scalar_attributes(state.mapper, state, to_load, PassiveFlag.PASSIVE_OFF)
        return LoaderCallableStatus.ATTR_WAS_SET

    def _group_keys(self, state: Any) -> Iterable[str]:
        if not self.group:
            return (self.key,)
        return [
            prop.key
            for prop in state.mapper.iterate_properties
            if isinstance(prop, StrategizedProperty)
            and isinstance(prop.strategy, _DeferredColumnLoader)
            and prop.group == self.group
        ]


class _LoadDeferredColumns:
    """A deferred column's loader by name: what pickles of states refer to."""

    def __init__(self, key: str, raiseload: bool = False) -> None:
        self.key = key
        self.raiseload = raiseload

    def __call__(self, state: Any, passive: Any = PassiveFlag.PASSIVE_OFF) -> Any:
        prop = state.mapper._props[self.key]
        key = (*DEFERRED, ("raiseload", True)) if self.raiseload else DEFERRED
        return prop._get_strategy(key)._load_for_state(state, passive)


from ._strategies_eager import _JoinedLoader as _JoinedLoader  # noqa: E402
from ._strategies_immediate import _ImmediateLoader as _ImmediateLoader  # noqa: E402
from ._strategies_lazy import _LazyLoader as _LazyLoader  # noqa: E402
from ._strategies_noload import _DoNothingLoader as _DoNothingLoader  # noqa: E402
from ._strategies_noload import _NoLoader as _NoLoader  # noqa: E402
from ._strategies_post import _PostLoader as _PostLoader  # noqa: E402
from ._strategies_post import _SelectInLoader as _SelectInLoader  # noqa: E402
from ._strategies_subquery import _SubqueryLoader as _SubqueryLoader  # noqa: E402
