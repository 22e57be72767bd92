"""What a SELECT of mapped things returns, column by column: the entities of a compile state.

Each element of a statement's columns clause becomes one of these. It first adds the columns it needs to the statement
(:meth:`_QueryEntity.setup_compile_state`) and, once the statement was executed, says how its value is made of a row
(:meth:`_QueryEntity.row_plan`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, Optional

from sqlalchemy.sql import util as sql_util

from . import interfaces
from .base import _is_aliased_class
from .util import Bundle, _entity_corresponds_to

if TYPE_CHECKING:
    from ._row_plans import RowPlanBuilder


def _setup_entity_query(
    compile_state: Any,
    mapper: Any,
    query_entity: Any,
    path: Any,
    adapter: Any,
    column_collection: Any,
    with_polymorphic: Any = None,
    only_load_props: Any = None,
    polymorphic_discriminator: Any = None,
    **kw: Any,
) -> None:
    """Let each property of ``mapper`` add its columns, joins and notes to the statement being compiled."""
    if with_polymorphic:
        properties = mapper._iterate_polymorphic_properties(with_polymorphic)
    else:
        properties = mapper._polymorphic_properties

    # property -> column to fetch it from, or a marker for a deferred one; read back when the row plan is made
    found: dict[Any, Any] = {}
    path.set(compile_state.attributes, "memoized_setups", found)

    # an alias the user made of a subquery may lack columns of the mapped table: these are left out
    check_for_adapt = adapter and len(path) == 1 and path[-1].is_aliased_class

    for prop in properties:
        if only_load_props and prop.key not in only_load_props:
            continue
        prop.setup(
            compile_state,
            query_entity,
            path,
            adapter,
            only_load_props=only_load_props,
            column_collection=column_collection,
            memoized_populators=found,
            check_for_adapt=check_for_adapt,
            **kw,
        )

    if polymorphic_discriminator is not None and polymorphic_discriminator is not mapper.polymorphic_on:
        column_collection.append(adapter.columns[polymorphic_discriminator] if adapter else polymorphic_discriminator)


def _note_extra_criteria(compile_state: Any, entity: Any) -> None:
    """Remember an entity whose rows are limited by single table inheritance or ``with_loader_criteria()``."""
    mapper = entity.mapper
    if (
        mapper._single_table_criterion is not None
        or ("additional_entity_criteria", mapper) in compile_state.global_attributes
    ):
        compile_state.extra_criteria_entities[entity] = (
            entity,
            entity._adapter if entity.is_aliased_class else None,
        )


# untyped in Core
_first_annotation: Any = sql_util.extract_first_column_annotation


class _QueryEntity:
    """One element of the columns clause."""

    __slots__ = ()

    _non_hashable_value: Any = False
    _null_column_type: Any = False
    use_id_for_hash: ClassVar[bool] = False

    supports_single_entity: Any
    entity_zero: Any
    expr: Any
    type: Any
    _label_name: Any

    def setup_compile_state(self, compile_state: Any) -> None:
        raise NotImplementedError()

    def setup_dml_returning_compile_state(self, compile_state: Any, adapter: Any) -> None:
        self.setup_compile_state(compile_state)

    def row_plan(self, builder: RowPlanBuilder) -> tuple[Any, Any, tuple[Any, ...]]:
        """(how to make the value from a row, label, objects that name the column in a Row)."""
        raise NotImplementedError()

    @classmethod
    def to_compile_state(
        cls, compile_state: Any, entities: Iterable[Any], entities_collection: list[Any], is_current_entities: bool
    ) -> list[Any]:
        for idx, entity in enumerate(entities):
            if entity._is_lambda_element:
                if entity._is_sequence:
                    cls.to_compile_state(compile_state, entity._resolved, entities_collection, is_current_entities)
                    continue
                entity = entity._resolved

            if not entity.is_clause_element:
                if entity.is_bundle:
                    _BundleEntity(compile_state, entity, entities_collection, is_current_entities)
            elif entity.is_selectable and "parententity" in entity._annotations:
                _MapperEntity(compile_state, entity, entities_collection, is_current_entities)
            elif not entity.is_selectable and entity._annotations.get("bundle", False):
                _BundleEntity(compile_state, entity, entities_collection, is_current_entities)
            else:
                several = entity.is_selectable or entity._is_clause_list
                columns = entity._select_iterable if several else (entity,)
                _ColumnEntity._for_columns(compile_state, columns, entities_collection, idx, is_current_entities)
        return entities_collection


class _MapperEntity(_QueryEntity):
    """A mapped class or an alias of one."""

    __slots__ = (
        "_extra_entities",
        "_label_name",
        "_polymorphic_discriminator",
        "_with_polymorphic_mappers",
        "entity_zero",
        "expr",
        "is_aliased_class",
        "mapper",
        "path",
        "selectable",
    )

    supports_single_entity = True
    use_id_for_hash = True
    _non_hashable_value = True

    def __init__(
        self, compile_state: Any, entity: Any, entities_collection: list[Any], is_current_entities: bool
    ) -> None:
        entities_collection.append(self)
        if is_current_entities:
            if compile_state._primary_entity is None:
                compile_state._primary_entity = self
            compile_state._has_mapper_entities = compile_state._has_orm_entities = True

        insp = entity._annotations["parententity"]
        _ = insp._post_inspect  # completes with_polymorphic
        self.entity_zero = insp
        self.mapper = insp.mapper
        self.expr = insp.entity
        self._extra_entities = (insp.entity,)
        self.is_aliased_class = insp.is_aliased_class
        self._label_name = insp.name if insp.is_aliased_class else insp.mapper.class_.__name__
        self.path = insp._path_registry
        self.selectable = insp.selectable
        self._with_polymorphic_mappers = insp.with_polymorphic_mappers
        self._polymorphic_discriminator = insp.polymorphic_on
        if insp.mapper._should_select_with_poly_adapter:
            compile_state._create_with_polymorphic_adapter(insp, self.selectable)

    @property
    def type(self) -> Any:
        return self.mapper.class_

    @property
    def entity_zero_or_selectable(self) -> Any:
        return self.entity_zero

    def corresponds_to(self, entity: Any) -> bool:
        return bool(_entity_corresponds_to(self.entity_zero, entity))

    def _get_entity_clauses(self, compile_state: Any) -> Any:
        """What turns the mapper's columns into those of this entity in this statement."""
        if self.is_aliased_class:
            adapter = self.entity_zero._adapter
        else:
            adapter = compile_state._polymorphic_adapters.get(self.mapper)
        outer = compile_state._from_obj_alias
        if adapter and outer:
            return adapter.wrap(outer)
        return adapter or outer

    def _setup(self, compile_state: Any, adapter: Any) -> None:
        _setup_entity_query(
            compile_state,
            self.mapper,
            self,
            self.path,
            adapter,
            compile_state.primary_columns,
            with_polymorphic=self._with_polymorphic_mappers,
            only_load_props=compile_state.compile_options._only_load_props,
            polymorphic_discriminator=self._polymorphic_discriminator,
        )

    def setup_compile_state(self, compile_state: Any) -> None:
        _note_extra_criteria(compile_state, self.entity_zero)
        self._setup(compile_state, self._get_entity_clauses(compile_state))
        compile_state._fallback_from_clauses.append(self.selectable)

    def setup_dml_returning_compile_state(self, compile_state: Any, adapter: Any) -> None:
        self._setup(compile_state, adapter)

    def row_plan(self, builder: RowPlanBuilder) -> tuple[Any, Any, tuple[Any, ...]]:
        compile_state = builder.compile_state
        adapter = self._get_entity_clauses(compile_state)
        compound = compile_state.compound_eager_adapter
        if compound:
            adapter = adapter.wrap(compound) if adapter else compound
        plan = builder.entity_plan(
            self,
            self.mapper,
            self.path,
            adapter,
            is_primary=compile_state._primary_entity is self,
            polymorphic_discriminator=self._polymorphic_discriminator,
        )
        return plan, self._label_name, self._extra_entities


class _BundleEntity(_QueryEntity):
    """A ``Bundle``: several columns returned as one value."""

    __slots__ = ("_entities", "_label_name", "bundle", "expr", "supports_single_entity", "type")

    _extra_entities: ClassVar[tuple[Any, ...]] = ()

    def __init__(
        self,
        compile_state: Any,
        expr: Any,
        entities_collection: list[Any],
        is_current_entities: bool,
        setup_entities: bool = True,
        parent_bundle: Optional[_BundleEntity] = None,
    ) -> None:
        compile_state._has_orm_entities = True
        (parent_bundle._entities if parent_bundle else entities_collection).append(self)

        bundle = expr._annotations["bundle"]
        if isinstance(bundle, interfaces.PropComparator):
            bundle = bundle.__clause_element__()
        self.bundle = self.expr = bundle
        self.type = type(bundle)
        self._label_name = bundle.name
        self._entities: list[Any] = []
        self.supports_single_entity = bundle.single_entity

        if setup_entities:
            for inner in bundle.exprs:
                if "bundle" in inner._annotations or isinstance(inner, Bundle):
                    _BundleEntity(compile_state, inner, entities_collection, is_current_entities, parent_bundle=self)
                else:
                    _ORMColumnEntity._for_columns(
                        compile_state, (inner,), entities_collection, None, is_current_entities, parent_bundle=self
                    )

    @property
    def entity_zero(self) -> Any:
        return next((ent.entity_zero for ent in self._entities if ent.entity_zero is not None), None)

    @property
    def mapper(self) -> Any:
        entity = self.entity_zero
        return None if entity is None else entity.mapper

    @property
    def entity_zero_or_selectable(self) -> Any:
        candidates = (ent.entity_zero_or_selectable for ent in self._entities)
        return next((candidate for candidate in candidates if candidate is not None), None)

    def corresponds_to(self, entity: Any) -> bool:
        return False

    def setup_compile_state(self, compile_state: Any) -> None:
        for ent in self._entities:
            ent.setup_compile_state(compile_state)

    def row_plan(self, builder: RowPlanBuilder) -> tuple[Any, Any, tuple[Any, ...]]:
        parts = [ent.row_plan(builder) for ent in self._entities]
        return (
            builder.composed_plan(
                [plan for plan, _, _ in parts],
                lambda query, getters: self.bundle.create_row_processor(
                    query, getters, [label for _, label, _ in parts]
                ),
            ),
            self._label_name,
            self._extra_entities,
        )


class _ColumnEntity(_QueryEntity):
    """A column or SQL expression."""

    __slots__ = ("_fetch_column", "raw_column_index", "translate_raw_column")

    column: Any
    _extra_entities: tuple[Any, ...]
    _fetch_column: Any
    raw_column_index: int | None
    translate_raw_column: bool

    @classmethod
    def _for_columns(
        cls,
        compile_state: Any,
        columns: Iterable[Any],
        entities_collection: list[Any],
        raw_column_index: Optional[int],
        is_current_entities: bool,
        parent_bundle: Any = None,
    ) -> None:
        for column in columns:
            annotations = column._annotations
            entity = annotations.get("parententity") or _first_annotation(column, "parententity")
            if not entity:
                kind: Any = _RawColumnEntity
            elif "identity_token" in annotations:
                kind = _IdentityTokenEntity
            else:
                kind = _ORMColumnEntity
            ent = kind(
                compile_state, column, entity, raw_column_index, is_current_entities, in_bundle=bool(parent_bundle)
            )
            (parent_bundle._entities if parent_bundle else entities_collection).append(ent)

    @property
    def type(self) -> Any:
        return self.column.type

    @property
    def _non_hashable_value(self) -> bool:
        return not self.column.type.hashable

    @property
    def _null_column_type(self) -> bool:
        return bool(self.column.type._isnull)

    def row_plan(self, builder: RowPlanBuilder) -> tuple[Any, Any, tuple[Any, ...]]:
        compile_state = builder.compile_state
        column = self._fetch_column
        if column is None:
            # from_statement() does not set columns up: the statement has its own
            column = self.column
            if compile_state._from_obj_alias:
                column = compile_state._from_obj_alias.columns[column]
            if column._annotations:
                column = column._deannotate()
        if compile_state.compound_eager_adapter:
            column = compile_state.compound_eager_adapter.columns[column]

        return builder.scalar_plan(column), self._label_name, self._extra_entities


class _RawColumnEntity(_ColumnEntity):
    """An expression without any mapped column in it."""

    __slots__ = ("_extra_entities", "_label_name", "column", "entity_zero_or_selectable", "expr")

    entity_zero = None
    mapper = None
    supports_single_entity = False

    def __init__(
        self,
        compile_state: Any,
        column: Any,
        entity: Any,
        raw_column_index: Optional[int],
        is_current_entities: bool,
        in_bundle: bool,
    ) -> None:
        self.expr = self.column = column
        self.raw_column_index = raw_column_index
        self.translate_raw_column = raw_column_index is not None
        if column._is_star:
            compile_state.compile_options += {"_is_star": True}
        if not is_current_entities or column._is_text_clause:
            self._label_name = None
        elif in_bundle:
            self._label_name = column._proxy_key
        else:
            self._label_name = compile_state._label_convention(column)
        froms = column._from_objects
        self.entity_zero_or_selectable = froms[0] if froms else None
        self._extra_entities = (column, column)
        self._fetch_column = None

    def corresponds_to(self, entity: Any) -> bool:
        return False

    def setup_compile_state(self, compile_state: Any) -> None:
        column = self.column
        adapt = compile_state._get_current_adapter()
        if adapt:
            column = adapt(column, False)
            if column is None:
                return
        if column._annotations:
            # annotated columns are slow to compare
            column = column._deannotate()
        compile_state.dedupe_columns.add(column)
        compile_state.primary_columns.append(column)
        self._fetch_column = column


class _ORMColumnEntity(_ColumnEntity):
    """A mapped attribute, or an expression of some."""

    __slots__ = (
        "_extra_entities",
        "_label_name",
        "column",
        "entity_zero",
        "entity_zero_or_selectable",
        "expr",
        "mapper",
    )

    supports_single_entity = False

    def __init__(
        self,
        compile_state: Any,
        column: Any,
        entity: Any,
        raw_column_index: Optional[int],
        is_current_entities: bool,
        in_bundle: bool,
    ) -> None:
        annotations = column._annotations
        key = annotations.get("proxy_key")
        if key:
            self.expr = getattr(annotations.get("proxy_owner", entity).entity, key)
            self.translate_raw_column = False
        else:
            self.expr = column
            self.translate_raw_column = raw_column_index is not None
        self.raw_column_index = raw_column_index

        if not is_current_entities:
            self._label_name = None
        elif in_bundle:
            self._label_name = key or column._proxy_key
        else:
            self._label_name = compile_state._label_convention(column, col_name=key)

        _ = entity._post_inspect  # completes with_polymorphic
        self.entity_zero = self.entity_zero_or_selectable = entity
        self.mapper = entity.mapper
        self.column = column
        self._extra_entities = (self.expr, column)
        self._fetch_column = None
        compile_state._has_orm_entities = True
        if self.mapper._should_select_with_poly_adapter:
            compile_state._create_with_polymorphic_adapter(entity, entity.selectable)

    def corresponds_to(self, entity: Any) -> bool:
        if _is_aliased_class(entity):
            return entity is self.entity_zero
        return not _is_aliased_class(self.entity_zero) and entity.common_parent(self.entity_zero)

    def setup_dml_returning_compile_state(self, compile_state: Any, adapter: Any) -> None:
        self._fetch_column = self.column
        column = adapter(self.column, False) if adapter else self.column
        if column is not None:
            compile_state.dedupe_columns.add(column)
            compile_state.primary_columns.append(column)

    def setup_compile_state(self, compile_state: Any) -> None:
        column = self.column
        adapt = compile_state._get_current_adapter()
        if adapt:
            column = adapt(column, False)
            if column is None:
                assert compile_state.is_dml_returning
                self._fetch_column = self.column
                return

        entity = self.entity_zero
        _note_extra_criteria(compile_state, entity)

        if column._annotations and not column._expression_label:
            column = column._deannotate()

        # the entity's FROM, which may be an alias or a join, unless the expression has none of it: a scalar subquery
        if set(self.column._from_objects).intersection(entity.selectable._from_objects):
            compile_state._fallback_from_clauses.append(entity.selectable)

        compile_state.dedupe_columns.add(column)
        compile_state.primary_columns.append(column)
        self._fetch_column = column


class _IdentityTokenEntity(_ORMColumnEntity):
    """``Entity.identity_token``: known to the execution, absent from the row."""

    __slots__ = ()

    def setup_compile_state(self, compile_state: Any) -> None:
        pass

    def row_plan(self, builder: RowPlanBuilder) -> tuple[Any, Any, tuple[Any, ...]]:
        token = builder.identity_token
        return (
            builder.composed_plan([], lambda query, getters: lambda row: token),
            self._label_name,
            self._extra_entities,
        )


def _column_descriptions(query_or_select_stmt: Any, compile_state: Any = None, legacy: bool = False) -> list[Any]:
    if compile_state is None:
        from .context import _ORMSelectCompileState

        compile_state = _ORMSelectCompileState._create_entities_collection(query_or_select_stmt, legacy=legacy)
    descriptions = []
    for ent in compile_state._entities:
        insp = ent.entity_zero
        mapped = insp is not None and not insp.is_clause_element
        descriptions.append(
            {
                "name": ent._label_name,
                "type": ent.type,
                "aliased": getattr(insp, "is_aliased_class", False),
                "expr": ent.expr,
                "entity": getattr(insp, "entity", None) if mapped else None,
            }
        )
    return descriptions


def _regroup(shapes: Sequence[Any], query: Any) -> list[Any]:
    """Row functions that put flat rows back into the shape asked for; see ``RowPlanBuilder.composed_plan``."""
    functions: list[Any] = []
    position = 0
    for shape in shapes:
        function, position = _row_function(shape, position, query)
        functions.append(function)
    return functions


def _row_function(shape: Any, position: int, query: Any) -> tuple[Any, int]:
    if shape is None:
        return itemgetter(position), position + 1
    parts, compose = shape
    getters = []
    for part in parts:
        getter, position = _row_function(part, position, query)
        getters.append(getter)
    return compose(query, getters), position
