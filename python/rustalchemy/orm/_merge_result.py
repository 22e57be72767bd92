"""Merging results of another session, or of a cache, into a session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import util
from sqlalchemy.engine.result import FrozenResult, result_tuple

from .. import _sa
from . import attributes
from ._context_entities import _MapperEntity
from .context import _ORMSelectCompileState


def _merge_rows(session: Any, entities: Sequence[Any], rows: Iterable[list[Any]], load: bool) -> list[Any]:
    keyed_tuple = result_tuple([ent._label_name for ent in entities], [ent._extra_entities for ent in entities])
    mapped = [index for index, ent in enumerate(entities) if isinstance(ent, _MapperEntity)]
    merged = []
    for row in rows:
        for index in mapped:
            if row[index] is not None:
                row[index] = _merge_one(session, row[index], load)
        merged.append(keyed_tuple(row))
    return merged


def _merge_one(session: Any, instance: Any, load: bool) -> Any:
    return session._merge(
        attributes.instance_state(instance),
        attributes.instance_dict(instance),
        load=load,
        _recursive={},
        _resolve_conflict_map={},
    )


def merge_frozen_result(session: Any, statement: Any, frozen_result: Any, load: bool = True) -> Any:
    """Bring the objects of a frozen Result into ``session``; a Result factory of them."""
    if load:
        session._autoflush()
    entities = _ORMSelectCompileState._create_entities_collection(statement, legacy=False)._entities
    with session.no_autoflush:
        rows = [list(row) for row in _sa.rewritten_rows(frozen_result)]
        return frozen_result.with_new_rows(_merge_rows(session, entities, rows, load))


@util.became_legacy_20(
    ":func:`_orm.merge_result`",
    alternative="The function as well as the method on :class:`_orm.Query` is superseded by the "
    ":func:`_orm.merge_frozen_result` function.",
)
def merge_result(query: Any, iterator: Any, load: bool = True) -> Any:
    """Bring the objects of a Query's result into the Query's session."""
    session = query.session
    if load:
        session._autoflush()
    is_frozen = isinstance(iterator, FrozenResult)
    source = iter(iterator.data) if is_frozen else iterator
    entities = _ORMSelectCompileState._create_entities_collection(query, legacy=True)._entities
    with session.no_autoflush:
        if not is_frozen and len(entities) == 1:
            is_mapped = isinstance(entities[0], _MapperEntity)
            merged = [_merge_one(session, item, load) if is_mapped else item for item in source]
        else:
            merged = _merge_rows(session, entities, (list(row) for row in source), load)
    return iterator.with_new_rows(merged) if is_frozen else iter(merged)
