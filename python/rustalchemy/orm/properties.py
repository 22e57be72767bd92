"""Properties that map columns: `column_property()`, and what the mapper makes of a plain column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional, TypeVar

from sqlalchemy import Column, log, util
from sqlalchemy.sql import coercions, roles

from .. import _sa
from . import attributes
from ._attribute_options import _AttributeOptions, _DataclassDefaultsDontSet, _IntrospectsAnnotations, _MapsColumns
from ._mapped_column import MappedColumn as MappedColumn
from ._mapped_column import UnmappedColumn as UnmappedColumn
from ._mapped_column import _name_column
from .base import _DeclarativeMapped
from .descriptor_props import CompositeProperty as CompositeProperty
from .descriptor_props import ConcreteInheritedProperty as ConcreteInheritedProperty
from .descriptor_props import SynonymProperty as SynonymProperty
from .interfaces import PropComparator, StrategizedProperty
from .path_registry import _COLUMN_TOKEN
from .relationships import RelationshipProperty as RelationshipProperty

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ColumnElement, NamedColumn
    from sqlalchemy.sql.operators import OperatorType

    from ._typing import _IdentityKeyType, _InstanceDict, _ORMColumnExprArgument
    from .base import Mapped
    from .decl_api import RegistryType
    from .decl_base import _DeclarativeMapperConfig
    from .interfaces import MapperProperty
    from .mapper import Mapper
    from .session import Session

_T = TypeVar("_T", bound=Any)
_PT = TypeVar("_PT", bound=Any)

__all__ = [
    "ColumnProperty",
    "CompositeProperty",
    "ConcreteInheritedProperty",
    "RelationshipProperty",
    "SynonymProperty",
]


@log.class_logger
class ColumnProperty(
    _DataclassDefaultsDontSet, _MapsColumns[_T], StrategizedProperty[_T], _IntrospectsAnnotations, log.Identified
):
    """An attribute that holds the value of a column, or of a SQL expression."""

    strategy_wildcard_key = _COLUMN_TOKEN
    inherit_cache = True
    _links_to_entity = False

    columns: list[NamedColumn[Any]]
    comparator_factory: type[PropComparator[_T]]
    _is_polymorphic_discriminator: bool
    _mapped_by_synonym: Optional[str]

    __slots__ = (
        "_creation_order",
        "_default_scalar_value",
        "_deferred_column_loader",
        "_is_polymorphic_discriminator",
        "_mapped_by_synonym",
        "_raise_column_loader",
        "_renders_in_subqueries",
        "active_history",
        "columns",
        "comparator_factory",
        "deferred",
        "expire_on_flush",
        "group",
        "instrument",
        "raiseload",
    )

    def __init__(
        self,
        column: _ORMColumnExprArgument[_T],
        *additional_columns: _ORMColumnExprArgument[Any],
        attribute_options: Optional[_AttributeOptions] = None,
        group: Optional[str] = None,
        deferred: bool = False,
        raiseload: bool = False,
        comparator_factory: Optional[type[PropComparator[_T]]] = None,
        active_history: bool = False,
        default_scalar_value: Any = None,
        expire_on_flush: bool = True,
        info: Optional[dict[Any, Any]] = None,
        doc: Optional[str] = None,
        _instrument: bool = True,
        _assume_readonly_dc_attributes: bool = False,
    ) -> None:
        super().__init__(
            attribute_options=attribute_options, _assume_readonly_dc_attributes=_assume_readonly_dc_attributes
        )
        self.columns = [coercions.expect(roles.LabeledColumnExprRole, c) for c in (column, *additional_columns)]
        self.group = group
        self.deferred = deferred
        self.raiseload = raiseload
        self.instrument = _instrument
        self.comparator_factory = comparator_factory if comparator_factory is not None else type(self).Comparator
        self.active_history = active_history
        self._default_scalar_value = default_scalar_value
        self.expire_on_flush = expire_on_flush
        if info is not None:
            self.info.update(info)
        if doc is None:
            docs = (getattr(c, "doc", None) for c in reversed(self.columns))
            doc = next((d for d in docs if d is not None), None)
        self.doc = doc
        util.set_creation_order(self)

        self.strategy_key = (("deferred", self.deferred), ("instrument", self.instrument))
        if self.raiseload:
            self.strategy_key += (("raiseload", True),)

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
        column: Any = self.columns[0]
        _name_column(key, column)

    @property
    def mapper_property_to_assign(self) -> Optional[MapperProperty[_T]]:
        return self

    @property
    def columns_to_assign(self) -> list[tuple[Column[Any], int]]:
        columns: list[Any] = list(self.columns)
        return [(c, 0) for c in columns if isinstance(c, Column) and c.table is None]

    def _memoized_attr__renders_in_subqueries(self) -> bool:
        if ("query_expression", True) in self.strategy_key:
            return bool(self.strategy._have_default_expression)
        return ("deferred", True) not in self.strategy_key or self not in self.parent._readonly_props

    def __clause_element__(self) -> Any:
        return self.expression

    @property
    def expression(self) -> Any:
        """The column or expression to select for this attribute."""
        return self.columns[0]

    def instrument_class(self, mapper: Mapper[Any]) -> None:
        if self.instrument:
            attributes._register_descriptor(
                mapper.class_,
                self.key,
                comparator=self.comparator_factory(self, mapper),
                parententity=mapper,
                doc=self.doc,
            )

    def do_init(self) -> None:
        super().do_init()
        if len(self.columns) > 1 and set(self.parent.primary_key).issuperset(self.columns):
            util.warn(
                f"On mapper {self.parent}, primary key column '{self.columns[1]}' is being combined with distinct "
                f"primary key column '{self.columns[0]}' in "
                f"attribute '{self.key}'. Use explicit properties to give each column its own mapped attribute name."
            )

    def copy(self) -> ColumnProperty[_T]:
        """Return a property of the same columns for another mapper."""
        return ColumnProperty(
            *self.columns,
            deferred=self.deferred,
            group=self.group,
            active_history=self.active_history,
            default_scalar_value=self._default_scalar_value,
        )

    def merge(
        self,
        session: Session,
        source_state: Any,
        source_dict: _InstanceDict,
        dest_state: Any,
        dest_dict: _InstanceDict,
        load: bool,
        _recursive: dict[Any, object],
        _resolve_conflict_map: dict[_IdentityKeyType[Any], object],
    ) -> None:
        """Copy the attribute's value into another instance; one that is not loaded there either is expired."""
        if not self.instrument:
            return
        if self.key in source_dict:
            value = source_dict[self.key]
            if load:
                dest_state.get_impl(self.key).set(dest_state, dest_dict, value, None)
            else:
                dest_dict[self.key] = value
        elif dest_state.has_identity and self.key not in dest_dict:
            dest_state._expire_attributes(dest_dict, [self.key], no_loader=True)

    class Comparator(util.MemoizedSlots, PropComparator[_PT]):
        """SQL operators of a column attribute: those of the column, annotated with the entity it is taken from."""

        if not TYPE_CHECKING:
            __slots__ = "__clause_element__", "expressions", "info"

        prop: ColumnProperty[_PT]
        expressions: Sequence[NamedColumn[Any]]

        def _orm_annotate_column(self, column: Any) -> Any:
            entity = self._parententity
            annotations = {
                "entity_namespace": entity,
                "parententity": entity,
                "parentmapper": entity,
                "proxy_key": self.prop.key,
            }
            adapter = self._parentmapper._polymorphic_adapter
            if adapter:
                annotations["adapt_column"] = column
                column = adapter.traverse(column)
            return _sa.annotate_for_entity(column, annotations, entity)

        if TYPE_CHECKING:

            def __clause_element__(self) -> NamedColumn[_PT]: ...

        def _memoized_method___clause_element__(self) -> Any:
            if self.adapter:
                return self.adapter(self.prop.columns[0], self.prop.key)
            return _sa.mark_lasting(self._orm_annotate_column(self.prop.columns[0]))

        def _memoized_attr_info(self) -> Any:
            element = self.__clause_element__()
            try:
                return element.info
            except AttributeError:
                return self.prop.info

        def _memoized_attr_expressions(self) -> Sequence[NamedColumn[Any]]:
            if self.adapter:
                return [self.adapter(column, self.prop.key) for column in self.prop.columns]
            return [self._orm_annotate_column(column) for column in self.prop.columns]

        def _fallback_getattr(self, key: str) -> Any:
            return getattr(self.__clause_element__(), key)

        def operate(self, op: OperatorType, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
            return op(self.__clause_element__(), *other, **kwargs)

        def reverse_operate(self, op: OperatorType, other: Any, **kwargs: Any) -> ColumnElement[Any]:
            column = self.__clause_element__()
            return op(_sa.bind_param(column, op, other), column, **kwargs)  # pyright: ignore[reportReturnType]

    def __str__(self) -> str:
        # Also called, by error messages, on a property that no mapper has taken yet.
        if not getattr(self, "parent", None) or not getattr(self, "key", None):
            return object.__repr__(self)
        return f"{self.parent.class_.__name__}.{self.key}"


class MappedSQLExpression(ColumnProperty[_T], _DeclarativeMapped[_T]):
    """The declarative form of `column_property()`, `deferred()` and `query_expression()`."""

    inherit_cache = True
