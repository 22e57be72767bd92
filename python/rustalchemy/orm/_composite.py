"""`composite()`: several columns seen as one value object.

`orm.descriptor_props` re-exports the classes under SQLAlchemy's module name.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import operator
import weakref
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, Optional, TypeVar, Union, get_args

from sqlalchemy import Column, and_, event, util
from sqlalchemy import exc as sa_exc
from sqlalchemy.sql import expression, operators
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.util import typing as sa_typing

from .. import _sa
from .._sa import _NoArg
from . import attributes
from ._annotations import de_stringify_annotation
from ._attribute_options import _AttributeOptions, _IntrospectsAnnotations, _MapsColumns
from ._descriptor_property import DescriptorProperty
from ._mapped_column import MappedColumn, _name_column
from .base import DONT_SET, NO_VALUE, Mapped, PassiveFlag, _DeclarativeMapped
from .interfaces import MapperProperty, PropComparator

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.sql.elements import ClauseList, ColumnElement
    from sqlalchemy.sql.operators import OperatorType

    from ._typing import _InstanceDict
    from .attributes import History, InstrumentedAttribute, QueryableAttribute
    from .decl_api import RegistryType
    from .decl_base import _DeclarativeMapperConfig
    from .mapper import Mapper

_T = TypeVar("_T", bound=Any)
_PT = TypeVar("_PT", bound=Any)
_CC = TypeVar("_CC", bound=Any)

_CompositeAttrType = Union[str, "Column[_T]", "MappedColumn[_T]", "InstrumentedAttribute[_T]", "Mapped[_T]"]

# How the values of a composite class are read, for code that meets an instance without its property.
_composite_getters: weakref.WeakKeyDictionary[type[Any], Callable[[Any], tuple[Any, ...]]] = weakref.WeakKeyDictionary()


class CompositeProperty(_MapsColumns[_CC], _IntrospectsAnnotations, DescriptorProperty[_CC]):
    """An attribute whose value is an object made of the values of other attributes."""

    composite_class: Any
    attrs: tuple[_CompositeAttrType[Any], ...]
    column_template: Optional[str]
    comparator_factory: type[Comparator[_CC]]
    _generated_composite_accessor: Optional[Callable[[Any], tuple[Any, ...]]]

    # Says to refresh listeners that the value was made by a read, not by a load.
    _COMPOSITE_FGET = object()

    def __init__(
        self,
        _class_or_attr: Union[type[_CC], Callable[..., _CC], _CompositeAttrType[Any], None] = None,
        *attrs: _CompositeAttrType[Any],
        return_none_on: Union[_NoArg, Callable[..., bool], None] = _NoArg.NO_ARG,
        attribute_options: Optional[_AttributeOptions] = None,
        active_history: bool = False,
        deferred: bool = False,
        group: Optional[str] = None,
        comparator_factory: Optional[type[Comparator[_CC]]] = None,
        column_template: Optional[str] = None,
        info: Optional[dict[Any, Any]] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(attribute_options=attribute_options)
        if isinstance(_class_or_attr, (Mapped, str, expression.ColumnElement)):
            self.attrs = (_class_or_attr, *attrs)  # pyright: ignore[reportAttributeAccessIssue]
            self.composite_class = None
        else:
            self.composite_class = _class_or_attr
            self.attrs = attrs
        if column_template is not None:
            _check_template(column_template)
        self.column_template = column_template
        self.return_none_on = return_none_on
        self.active_history = active_history
        self.deferred = deferred
        self.group = group
        self.comparator_factory = comparator_factory if comparator_factory is not None else type(self).Comparator
        self._generated_composite_accessor = None
        if info is not None:
            self.info.update(info)
        util.set_creation_order(self)
        self._create_descriptor()
        self._init_accessor()

    @util.memoized_property
    def _construct_composite(self) -> Callable[..., Any]:
        return_none_on = self.return_none_on
        if not callable(return_none_on):
            return self.composite_class

        def construct(*args: Any) -> Any:
            return None if return_none_on(*args) else self.composite_class(*args)

        return construct

    def instrument_class(self, mapper: Mapper[Any]) -> None:
        super().instrument_class(mapper)
        self._setup_event_handlers()

    def do_init(self) -> None:
        self._setup_arguments_on_columns()

    # -- values ------------------------------------------------------------------------------------------------------

    def _composite_values_from_instance(self, value: _CC) -> tuple[Any, ...]:
        if self._generated_composite_accessor:
            return self._generated_composite_accessor(value)
        try:
            accessor = value.__composite_values__
        except AttributeError as err:
            raise sa_exc.InvalidRequestError(
                f"Composite class {self.composite_class.__name__} is not a dataclass and does not define a "
                "__composite_values__() method; can't get state"
            ) from err
        return accessor()

    def _init_accessor(self) -> None:
        """Learn how to take a value object apart."""
        class_: Any = self.composite_class
        if is_dataclass(class_) and not hasattr(class_, "__composite_values__"):
            names = list(inspect.signature(self.composite_class).parameters)
            getter = operator.attrgetter(*names)
            if len(names) == 1:
                self._generated_composite_accessor = lambda obj: (getter(obj),)
            else:
                self._generated_composite_accessor = getter
        if isinstance(class_, type) and class_ not in _composite_getters:
            if self._generated_composite_accessor is not None:
                _composite_getters[class_] = self._generated_composite_accessor
            elif hasattr(class_, "__composite_values__"):
                _composite_getters[class_] = lambda obj: obj.__composite_values__()

    def _create_descriptor(self) -> None:
        """Make the property that users read and write."""

        def fget(instance: Any) -> Any:
            dict_ = attributes.instance_dict(instance)
            state = attributes.instance_state(instance)
            if self.key not in dict_:
                values = [getattr(instance, key) for key in self._attribute_keys]
                # Reading a column may have loaded the row, and a load listener made the composite.
                if self.key not in dict_:
                    dict_[self.key] = self._construct_composite(*values)
                    state.manager.dispatch.refresh(state, self._COMPOSITE_FGET, [self.key])
            return dict_.get(self.key, None)

        def fset(instance: Any, value: Any) -> None:
            if value is DONT_SET:
                return
            dict_ = attributes.instance_dict(instance)
            state = attributes.instance_state(instance)
            attr = state.manager[self.key]
            previous = fget(instance) if attr.dispatch._active_history else dict_.get(self.key, NO_VALUE)
            for fn in attr.dispatch.set:
                value = fn(state, value, previous, attr.impl)
            dict_[self.key] = value
            keys = self._attribute_keys
            values = (None,) * len(keys) if value is None else self._composite_values_from_instance(value)
            try:
                for key, element in zip(keys, values, strict=False):
                    setattr(instance, key, element)
            except sa_exc.InvalidRequestError:
                # refused, as by a read-only session: the value is made anew from the columns
                dict_.pop(self.key, None)
                raise

        def fdel(instance: Any) -> None:
            dict_ = attributes.instance_dict(instance)
            state = attributes.instance_state(instance)
            attr = state.manager[self.key]
            previous = fget(instance) if attr.dispatch._active_history else NO_VALUE
            previous = dict_.pop(self.key, previous)
            attr.dispatch.remove(state, previous, attr.impl)
            for key in self._attribute_keys:
                setattr(instance, key, None)

        self.descriptor = property(fget, fset, fdel)

    def get_history(self, state: Any, dict_: _InstanceDict, passive: PassiveFlag = PassiveFlag.PASSIVE_OFF) -> History:
        """Return the history of the value object, put together from those of its columns."""
        added: list[Any] = []
        deleted: list[Any] = []
        has_history = False
        for prop in self.props:
            history = state.manager[prop.key].impl.get_history(state, dict_)
            has_history = has_history or history.has_changes()
            added.extend(history.non_deleted() or (None,))
            deleted.extend(history.deleted or (None,))
        construct = self._construct_composite
        if has_history:
            return attributes.History([construct(*added)], (), [construct(*deleted)])
        return attributes.History((), [construct(*added)], ())

    def _populate_composite_bulk_save_mappings_fn(self) -> Callable[[dict[str, Any]], None]:
        """Return a function that replaces the value object in a row dictionary by its columns' values."""
        get_values = self._generated_composite_accessor or (lambda value: value.__composite_values__())
        keys = [prop.key for prop in self.props]

        def populate(dest_dict: dict[str, Any]) -> None:
            dest_dict.update(zip(keys, get_values(dest_dict.pop(self.key)), strict=False))

        return populate

    # -- declaration -------------------------------------------------------------------------------------------------

    def declarative_scan(
        self,
        decl_scan: _DeclarativeMapperConfig,
        registry: RegistryType,
        cls: type[Any],
        originating_module: Optional[str],
        key: str,
        mapped_container: Optional[type[Mapped[Any]]],
        annotation: Optional[Any],
        extracted_mapped_annotation: Optional[Any],
        is_dataclass_field: bool,
    ) -> None:
        if self.composite_class is None:
            if extracted_mapped_annotation is None:
                self._raise_for_required(key, cls)
            self._take_class_from(extracted_mapped_annotation, cls, originating_module)

        if is_dataclass(self.composite_class):
            self._setup_for_dataclass(decl_scan, registry, cls, originating_module, key)
        elif self.column_template is not None:
            raise sa_exc.ArgumentError("column_template is only supported when composite_class is a dataclass")
        else:
            for attr in self.attrs:
                if isinstance(attr, (MappedColumn, Column)) and attr.name is None:
                    raise sa_exc.ArgumentError(
                        "Composite class column arguments must be named unless a dataclass is used"
                    )
        self._init_accessor()

    def _take_class_from(self, argument: Any, cls: type[Any], originating_module: Optional[str]) -> None:
        if sa_typing.is_pep593(argument):
            argument = get_args(argument)[0]
        if isinstance(argument, str) or sa_typing.is_fwd_ref(argument, check_generic=True):
            if originating_module is None:
                name = getattr(argument, "__forward_arg__", str(argument))
                raise sa_exc.ArgumentError(
                    f"Can't use forward ref {argument} for composite class argument; set up the type as Mapped[{name}]"
                )
            argument = de_stringify_annotation(cls, argument, originating_module, include_generic=True)
        if sa_typing.is_union(argument) and sa_typing.includes_none(argument):
            if self.return_none_on is _NoArg.NO_ARG:
                self.return_none_on = lambda *args: all(arg is None for arg in args)
            optional: Any = argument
            argument = sa_typing.de_optionalize_union_types(optional)
        self.composite_class = argument

    def _setup_for_dataclass(
        self,
        decl_scan: _DeclarativeMapperConfig,
        registry: RegistryType,
        cls: type[Any],
        originating_module: Optional[str],
        key: str,
    ) -> None:
        """Complete, and where none are given make, a column for each parameter of the dataclass."""
        parameters = inspect.signature(self.composite_class).parameters
        for param, attr in itertools.zip_longest(parameters.values(), self.attrs):
            if param is None:
                raise sa_exc.ArgumentError(
                    f"number of composite attributes {len(self.attrs)} exceeds that of the number of attributes in "
                    "class "
                    f"{self.composite_class.__name__} {len(parameters)}"
                )
            if attr is None:
                template = self.column_template
                attr = MappedColumn() if template is None else MappedColumn(template % param.name)
                self.attrs += (attr,)
            if isinstance(attr, MappedColumn):
                attr.declarative_scan_for_composite(
                    decl_scan, registry, cls, originating_module, key, param.name, param.annotation
                )
            elif isinstance(attr, Column):
                _name_column(param.name, attr)

    # -- columns -----------------------------------------------------------------------------------------------------

    @util.memoized_property
    def _comparable_elements(self) -> Sequence[QueryableAttribute[Any]]:
        return [getattr(self.parent.class_, prop.key) for prop in self.props]

    @util.memoized_property
    def props(self) -> Sequence[MapperProperty[Any]]:
        """The properties of the columns, in the order of the constructor's arguments."""
        return [self._prop_of(attr) for attr in self.attrs]

    def _prop_of(self, attr: Any) -> MapperProperty[Any]:
        prop: Any = None
        if isinstance(attr, str):
            prop = self.parent.get_property(attr, _configure_mappers=False)
        elif isinstance(attr, Column):
            prop = self.parent._columntoproperty[attr]
        elif isinstance(attr, MappedColumn):
            prop = self.parent._columntoproperty[attr.column]
        elif isinstance(attr, attributes.InstrumentedAttribute):
            prop = attr.property
        if not isinstance(prop, MapperProperty):
            raise sa_exc.ArgumentError(
                f"Composite expects Column objects or mapped attributes/attribute names as arguments, got: {attr!r}"
            )
        return prop

    def _column_strategy_attrs(self) -> Sequence[QueryableAttribute[Any]]:
        return self._comparable_elements

    @property
    def columns(self) -> Sequence[Column[Any]]:
        """The Column objects among the arguments."""
        columns = (attr.column if isinstance(attr, MappedColumn) else attr for attr in self.attrs)
        return [column for column in columns if isinstance(column, Column)]

    @property
    def mapper_property_to_assign(self) -> Optional[MapperProperty[_CC]]:
        return self

    @property
    def columns_to_assign(self) -> list[tuple[Column[Any], int]]:
        return [(column, 0) for column in self.columns if column.table is None]

    def _setup_arguments_on_columns(self) -> None:
        """Hand the loading arguments on to the columns, which are what is loaded."""
        from .properties import ColumnProperty

        for prop in self.props:
            if isinstance(prop, ColumnProperty):
                prop.active_history = self.active_history
                if self.deferred:
                    prop.deferred = self.deferred
                    prop.strategy_key = (("deferred", True), ("instrument", True))
                prop.group = self.group

    @util.memoized_property
    def _attribute_keys(self) -> Sequence[str]:
        return [prop.key for prop in self.props]

    # -- events ------------------------------------------------------------------------------------------------------

    def _setup_event_handlers(self) -> None:
        """Keep the value object in step with its columns as these are loaded, refreshed, expired and flushed."""

        own_key = self.key

        def make(dict_: dict[str, Any]) -> None:
            try:
                values = [dict_[key] for key in self._attribute_keys]
            except KeyError:
                return
            dict_[own_key] = self._construct_composite(*values)

        def on_load(state: Any, context: Any) -> None:
            dict_ = state.dict
            if own_key not in dict_:
                make(dict_)

        def on_refresh(state: Any, context: Any, to_load: Optional[Sequence[str]]) -> None:
            if to_load and not {self.key, *self._attribute_keys}.intersection(to_load):
                return
            dict_ = state.dict
            if context is not self._COMPOSITE_FGET or own_key not in dict_:
                make(dict_)

        def on_expire(state: Any, keys: Optional[Sequence[str]]) -> None:
            if keys is None or set(self._attribute_keys).intersection(keys):
                state.dict.pop(self.key, None)

        def on_flush(mapper: Mapper[Any], connection: Connection, state: Any) -> None:
            state.dict.pop(self.key, None)

        event.listen(self.parent, "after_insert", on_flush, raw=True)
        event.listen(self.parent, "after_update", on_flush, raw=True)
        event.listen(self.parent, "load", on_load, raw=True, propagate=True)
        event.listen(self.parent, "refresh", on_refresh, raw=True, propagate=True)
        event.listen(self.parent, "expire", on_expire, raw=True, propagate=True)

        proxy = self.parent.class_manager[self.key]
        proxy.impl.dispatch = proxy.dispatch
        proxy.impl.dispatch._active_history = self.active_history

    # -- SQL ---------------------------------------------------------------------------------------------------------

    def _comparator_factory(self, mapper: Mapper[Any]) -> Comparator[_CC]:
        return self.comparator_factory(self, mapper)

    class Comparator(PropComparator[_PT]):
        """SQL operators of a composite: comparisons column by column."""

        # Comparing makes SQL, so that these objects cannot be dictionary keys.
        __hash__ = None  # type: ignore[assignment]

        prop: CompositeProperty[_PT]

        @util.memoized_property
        def clauses(self) -> ClauseList:
            return expression.ClauseList(*self._comparable_elements, group=False)

        def __clause_element__(self) -> Any:
            return self.expression

        @util.memoized_property
        def expression(self) -> Any:
            clauses = _sa.annotate(
                self.clauses,
                {
                    "parententity": self._parententity,
                    "parentmapper": self._parententity,
                    "proxy_key": self.prop.key,
                },
            )
            return _bundle_type()(self.prop, clauses)

        def _bulk_update_tuples(self, value: Any) -> Sequence[tuple[Any, Any]]:
            if isinstance(value, BindParameter):
                value = value.value
            prop: CompositeProperty[Any] = self.prop
            values: Sequence[Any]
            if value is None:
                values = [None] * len(prop._attribute_keys)
            elif isinstance(prop.composite_class, type) and isinstance(value, prop.composite_class):
                values = prop._composite_values_from_instance(value)
            else:
                raise sa_exc.ArgumentError(f"Can't UPDATE composite attribute {prop} to {value!r}")
            return list(zip(self._comparable_elements, values, strict=False))

        def _bulk_dml_setter(self, key: str) -> Optional[Callable[..., Any]]:
            return self.prop._populate_composite_bulk_save_mappings_fn()

        @util.memoized_property
        def _comparable_elements(self) -> Sequence[QueryableAttribute[Any]]:
            elements = self.prop._comparable_elements
            if self._adapt_to_entity:
                return [getattr(self._adapt_to_entity.entity, element.key) for element in elements]
            return elements

        def __eq__(self, other: Any) -> ColumnElement[bool]:  # type: ignore[override]
            return self._compare(operators.eq, other)

        def __ne__(self, other: Any) -> ColumnElement[bool]:  # type: ignore[override]
            return self._compare(operators.ne, other)

        def __lt__(self, other: Any) -> ColumnElement[bool]:
            return self._compare(operators.lt, other)

        def __gt__(self, other: Any) -> ColumnElement[bool]:
            return self._compare(operators.gt, other)

        def __le__(self, other: Any) -> ColumnElement[bool]:
            return self._compare(operators.le, other)

        def __ge__(self, other: Any) -> ColumnElement[bool]:
            return self._compare(operators.ge, other)

        def desc(self) -> Any:
            return expression.OrderByList([e.desc() for e in self._comparable_elements])

        def asc(self) -> Any:
            return expression.OrderByList([e.asc() for e in self._comparable_elements])

        def nulls_first(self) -> Any:
            return expression.OrderByList([e.nulls_first() for e in self._comparable_elements])

        def nulls_last(self) -> Any:
            return expression.OrderByList([e.nulls_last() for e in self._comparable_elements])

        def _compare(self, operator_: OperatorType, other: Any) -> ColumnElement[bool]:
            elements = self._comparable_elements
            values: Sequence[Any]
            if other is None:
                values = [None] * len(elements)
            else:
                values = self.prop._composite_values_from_instance(other)
            comparisons = [operator_(a, b) for a, b in zip(elements, values, strict=False)]
            if self._adapt_to_entity and self.adapter is not None:
                comparisons = [self.adapter(comparison) for comparison in comparisons]
            return and_(*comparisons)

    def __str__(self) -> str:
        return f"{self.parent.class_.__name__}.{self.key}"


class Composite(CompositeProperty[_CC], _DeclarativeMapped[_CC]):
    """The declarative form of `composite()`."""

    inherit_cache = True


def _check_template(template: str) -> None:
    try:
        _ = template % "x"
    except (TypeError, ValueError) as err:
        raise sa_exc.ArgumentError(
            f"column_template {template!r} is not a valid template; expected a string containing exactly one '%s' "
            "placeholder"
        ) from err


@functools.cache
def _bundle_type() -> type[Any]:
    """Return the Bundle type of composites; made at first use, since `orm.util` needs the properties."""
    from .util import Bundle

    class CompositeBundle(Bundle[Any]):
        """The columns of a composite in a SELECT, read back as one value object."""

        def __init__(self, property_: CompositeProperty[Any], expr: ClauseList) -> None:
            self.property = property_
            super().__init__(property_.key, *expr)

        def create_row_processor(self, query: Any, procs: Sequence[Callable[[Any], Any]], labels: Sequence[str]) -> Any:
            def proc(row: Any) -> Any:
                return self.property._construct_composite(*[proc(row) for proc in procs])

            return proc

    return CompositeBundle
