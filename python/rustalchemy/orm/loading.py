"""Executing ORM SELECTs: rows in chunks to the native core, objects out as a ``Result``."""

from __future__ import annotations

from typing import Any, Optional

from sqlalchemy import exc as sa_exc

from .. import _sa
from ._context_entities import _setup_entity_query
from ._load_object import _load_on_ident as _load_on_ident
from ._load_object import _load_on_pk_identity as _load_on_pk_identity
from ._load_object import _load_scalar_attributes as _load_scalar_attributes
from ._load_object import _props_with_primary_key as _props_with_primary_key
from ._load_object import get_from_identity
from ._merge_result import merge_frozen_result, merge_result
from ._results import FetchedResult, chunked_result, result_metadata
from ._row_loading import RowLoad, later, statement_plan
from ._row_plans import RowSource
from .context import QueryContext

__all__ = ("_setup_entity_query", "get_from_identity", "instances", "merge_frozen_result", "merge_result")


def fetched_instances(rows: list[Any], source: RowSource, context: QueryContext) -> Any:
    """A Result of ORM objects and values, over the raw rows of one execution."""
    plan = statement_plan(context, lambda: source)
    load = RowLoad(context, plan)
    found = later(lambda: load.rows(rows))
    metadata = plan.named(result_metadata(plan, context.load_options), context.query)
    return FetchedResult(metadata, found, plan.single_entity, context, context.compile_state.multi_row_eager_loaders)


def instances(cursor: Any, context: QueryContext) -> Any:
    """A Result of ORM objects and values, over the rows of a Core result."""
    compiled = cursor.context.compiled
    try:
        plan = statement_plan(
            context,
            lambda: RowSource(
                compiled,
                cursor.dialect,
                getattr(cursor.cursor, "description", None),
                cursor._metadata,
            ),
        )
        if context.yield_per and plan.requires_uniquing:
            raise sa_exc.InvalidRequestError(
                "Can't use yield_per with eager loaders that require uniquing or row buffering, e.g. joinedload() "
                "against collections or subqueryload().  Consider the selectinload() strategy for better flexibility "
                "in loading objects."
            )
    except Exception:
        cursor.close()
        raise
    logs_rows = getattr(cursor, "_row_logging_fn", None) is not None

    def fetch(size: Optional[int]) -> list[Any]:
        fetched = cursor._fetchmany_impl(size) if size else cursor._fetchall_impl()
        if logs_rows:
            _sa.log_rows(cursor, fetched)
        return fetched if isinstance(fetched, list) else list(fetched)

    return chunked_result(context, plan, fetch, RowLoad(context, plan).rows, cursor, cursor.context._is_server_side)
