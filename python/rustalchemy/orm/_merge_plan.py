"""What ``Session.merge()`` has to do for the properties of a mapper."""

from __future__ import annotations

from typing import Any

from .._core import MergePlan
from .interfaces import MapperProperty
from .properties import ColumnProperty
from .relationships import RelationshipProperty


def _is_column(prop: Any) -> bool:
    return type(prop).merge is ColumnProperty.merge


def merge_steps(mapper: Any) -> list[Any]:
    """The properties in their order; columns that follow each other are one native step."""
    steps: list[Any] = []
    run: list[int] = []
    for prop in mapper.iterate_properties:
        if _is_column(prop):
            if prop.instrument:
                run.append(mapper.class_manager.allocate(prop.key))
        elif type(prop).merge is not MapperProperty.merge:
            if run:
                steps.append(MergePlan(run))
                run = []
            steps.append(prop)
    if run:
        steps.append(MergePlan(run))
    return steps


def merge_plan(mapper: Any) -> MergePlan | None:
    """For objects that the session has already; None where each property, or the version, must be asked."""
    columns: list[int] = []
    related: list[int] = []
    allocate = mapper.class_manager.allocate
    for prop in mapper.iterate_properties:
        if _is_column(prop):
            if prop.instrument:
                columns.append(allocate(prop.key))
        elif type(prop).merge is RelationshipProperty.merge:
            if "merge" in prop._cascade:
                related.append(allocate(prop.key))
        elif type(prop).merge is not MapperProperty.merge:
            return None
    if mapper.version_id_col is not None:
        return None
    return MergePlan(columns, primary_key=[allocate(prop.key) for prop in mapper._identity_key_props], related=related)
