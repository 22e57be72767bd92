"""What INSERT, UPDATE and DELETE of entities have in common: attribute names as values, and RETURNING of entities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sqlalchemy.sql import coercions, roles, sqltypes
from sqlalchemy.sql.dml import UpdateDMLState

from .._sa import _entity_namespace_key, core_crud_kv_pairs, crud_parameter
from . import loading
from ._bulk_lane import ReturnedRows
from ._comparison_template import PLAIN_TYPES
from ._row_plans import RowSource
from .context import FromStatement, QueryContext, _AbstractORMCompileState, _ORMFromStatementCompileState
from .interfaces import PropComparator

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .mapper import Mapper


# values that become parameters without further ado
_PLAIN_VALUES = PLAIN_TYPES | {bool, type(None)}


def _is_always_written_as(attribute: Any, mapper: Mapper[Any]) -> bool:
    """Whether what is written for an attribute is one column, and the value itself."""
    return (
        mapper.class_manager.get(attribute.key) is attribute
        and type(attribute.comparator)._bulk_update_tuples is PropComparator._bulk_update_tuples
    )


class _ORMDMLState(_AbstractORMCompileState):
    """Compile state of a statement that writes rows of an entity."""

    is_dml_returning = True
    # how rows of RETURNING become entities; None without RETURNING
    from_statement_ctx: _ORMFromStatementCompileState | None = None
    select_statement: FromStatement | None = None

    # -- values ------------------------------------------------------------------------------------------------------

    @classmethod
    def _get_dml_plugin_subject(cls, statement: Any) -> Any:
        """The entity that is written; None if the table only stands beside an entity in the statement."""
        subject = statement.table._propagate_attrs.get("plugin_subject")
        if not subject or not subject.mapper or subject is not statement._propagate_attrs["plugin_subject"]:
            return None
        return subject

    @classmethod
    def _get_orm_crud_kv_pairs(
        cls, mapper: Mapper[Any], statement: Any, kv_iterator: Iterable[tuple[Any, Any]], needs_to_be_cacheable: bool
    ) -> Iterator[tuple[Any, Any]]:
        """Columns and values for the names and attributes given to ``values()``."""

        def cacheable(value: Any) -> Any:
            if not needs_to_be_cacheable:
                return value
            return coercions.expect(roles.ExpressionElementRole, value, type_=sqltypes.NullType(), is_crud=True)

        known = mapper._written_columns
        for given, value in kv_iterator:
            is_plain = type(value) in _PLAIN_VALUES
            if is_plain and given in known:
                yield known[given], crud_parameter(value) if needs_to_be_cacheable else value
                continue
            key = coercions.expect(roles.DMLColumnRole, given)
            attribute: Any = None
            if isinstance(key, str):
                attribute = _entity_namespace_key(cast("Any", mapper), key, default=None)
                if not isinstance(attribute, PropComparator):
                    # a column of the table that no attribute stands for
                    yield coercions.expect(roles.DMLColumnRole, key), cacheable(value)
                    continue
            elif "entity_namespace" in key._annotations:
                annotations = key._annotations
                attribute = _entity_namespace_key(annotations["entity_namespace"], annotations["proxy_key"])
            else:
                yield key, cacheable(value)
                continue
            pairs = attribute._bulk_update_tuples(value)
            found = core_crud_kv_pairs(statement, pairs, needs_to_be_cacheable)
            if is_plain and _is_always_written_as(attribute, mapper):
                known[key if isinstance(key, str) else attribute] = found[0][0]
            yield from found

    @classmethod
    def _get_multi_crud_kv_pairs(cls, statement: Any, kv_iterator: Iterable[dict[Any, Any]]) -> Any:
        subject = cls._get_dml_plugin_subject(statement)
        if not subject:
            return UpdateDMLState._get_multi_crud_kv_pairs(statement, kv_iterator)
        return [dict(cls._get_orm_crud_kv_pairs(subject.mapper, statement, d.items(), False)) for d in kv_iterator]

    @classmethod
    def _get_crud_kv_pairs(cls, statement: Any, kv_iterator: Any, needs_to_be_cacheable: bool) -> Any:
        subject = cls._get_dml_plugin_subject(statement)
        if not subject:
            return UpdateDMLState._get_crud_kv_pairs(statement, kv_iterator, needs_to_be_cacheable)
        return list(cls._get_orm_crud_kv_pairs(subject.mapper, statement, kv_iterator, needs_to_be_cacheable))

    # -- descriptions ------------------------------------------------------------------------------------------------

    @classmethod
    def get_entity_description(cls, statement: Any) -> dict[str, Any]:
        entity = statement.table._annotations["parententity"]
        mapper = entity.mapper
        return {
            "name": entity.name if entity.is_aliased_class else mapper.class_.__name__,
            "type": mapper.class_,
            "expr": entity.entity,
            "entity": entity.entity,
            "table": mapper.local_table,
        }

    @classmethod
    def get_returning_column_descriptions(cls, statement: Any) -> list[dict[str, Any]]:
        return [cls._describe_returned(column) for column in statement._all_selected_columns]

    @staticmethod
    def _describe_returned(column: Any) -> dict[str, Any]:
        entity = column._annotations.get("parententity")
        proxy_key = column._annotations.get("proxy_key") if entity else None
        return {
            "name": column.key,
            "type": column.type,
            "expr": getattr(entity.entity, proxy_key, column) if proxy_key else column,
            "aliased": bool(entity and entity.is_aliased_class),
            "entity": entity and entity.entity,
        }

    # -- RETURNING ---------------------------------------------------------------------------------------------------

    def _setup_orm_returning(
        self,
        compiler: Any,
        orm_level_statement: Any,
        dml_level_statement: Any,
        dml_mapper: Any,
        *,
        use_supplemental_cols: bool = True,
    ) -> Any:
        """The statement with plain columns in RETURNING, and in ``from_statement_ctx`` how to read them.

        :param use_supplemental_cols: the columns come beside generated primary keys that somebody else reads.
        """
        if not orm_level_statement._returning:
            return dml_level_statement
        source = (
            FromStatement(orm_level_statement._returning, dml_level_statement, _adapt_on_names=False)
            .execution_options(**orm_level_statement._execution_options)
            .options(*orm_level_statement._with_options)
        )
        self.select_statement = source
        context = self.from_statement_ctx = _ORMFromStatementCompileState.create_for_statement(source, compiler)
        context.setup_dml_returning_compile_state(dml_mapper)

        dml_level_statement = dml_level_statement._generate()
        dml_level_statement._returning = ()
        columns = [c for c in context.primary_columns if c is not None] or list(dml_mapper.primary_key)
        if use_supplemental_cols:
            return dml_level_statement.return_defaults(*dml_mapper.primary_key, supplemental_cols=columns)
        return dml_level_statement.returning(*columns)

    @classmethod
    def _return_orm_returning(
        cls,
        session: Any,
        statement: Any,
        params: Any,
        execution_options: Any,
        bind_arguments: Any,
        result: Any,
    ) -> Any:
        """The result with entities in its rows, if the statement returns some."""
        is_fetched = isinstance(result, ReturnedRows)
        compile_state = (result if is_fetched else result.context).compiled.compile_state
        returned = compile_state.from_statement_ctx
        if not returned or returned.compile_options._is_star:
            return result
        context = QueryContext(
            returned,
            compile_state.select_statement,
            statement,
            params,
            session,
            execution_options.get("_sa_orm_load_options", QueryContext.default_load_options),
            execution_options,
            bind_arguments,
        )
        if is_fetched:
            source = RowSource(result.compiled, result.dialect, result.description)
            return loading.fetched_instances(result.rows, source, context)
        return loading.instances(result, context)
