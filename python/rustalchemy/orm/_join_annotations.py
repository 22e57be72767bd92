"""Which part each column of a join condition plays: annotations `foreign`, `remote`, `local` and the owning mapper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import exc as sa_exc
from sqlalchemy import schema, sql, util
from sqlalchemy.sql import expression, visitors
from sqlalchemy.sql.util import selectables_overlap

from .._sa import annotate, annotations_of, deannotate


class _JoinAnnotations:
    """Marks the columns of a primary and a secondary join, and finds them again by their marks."""

    primaryjoin: Any
    secondaryjoin: Any
    secondary: Any
    consider_as_foreign_keys: Any
    parent_persist_selectable: Any
    parent_local_selectable: Any
    child_persist_selectable: Any
    child_local_selectable: Any
    prop: Any
    _local_remote_pairs: Any
    _remote_side: Any

    # --- asking for marks

    def _has_annotation(self, clause: Any, annotation: str) -> bool:
        return any(annotation in annotations_of(element) for element in visitors.iterate(clause, {}))

    @util.memoized_property
    def _has_foreign_annotations(self) -> bool:
        return self._has_annotation(self.primaryjoin, "foreign")

    @util.memoized_property
    def _has_remote_annotations(self) -> bool:
        return self._has_annotation(self.primaryjoin, "remote")

    @util.memoized_property
    def remote_columns(self) -> set[Any]:
        return self._gather_join_annotations("remote")

    @util.memoized_property
    def local_columns(self) -> set[Any]:
        # loads name them in their SQL, which is not to differ from process to process
        return util.OrderedSet(sorted(self._gather_join_annotations("local"), key=str))

    @util.memoized_property
    def foreign_key_columns(self) -> set[Any]:
        return self._gather_join_annotations("foreign")

    def _gather_join_annotations(self, annotation: str) -> set[Any]:
        columns = set(self._gather_columns_with_annotation(self.primaryjoin, annotation))
        if self.secondaryjoin is not None:
            columns.update(self._gather_columns_with_annotation(self.secondaryjoin, annotation))
        return {deannotate(column) for column in columns}

    def _gather_columns_with_annotation(self, clause: Any, *annotation: str) -> set[Any]:
        wanted = set(annotation)
        return {element for element in visitors.iterate(clause, {}) if wanted.issubset(annotations_of(element))}

    # --- marking foreign columns

    def _annotate_fks(self) -> None:
        if self._has_foreign_annotations:
            return
        if self.consider_as_foreign_keys:
            self._annotate_from_fk_list()
        else:
            self._annotate_present_fks()

    def _annotate_from_fk_list(self) -> None:
        def check_fk(element: Any, **kw: Any) -> Any:
            if element in self.consider_as_foreign_keys:
                return annotate(element, {"foreign": True})
            return None

        self._replace_in_joins(check_fk)

    def _replace_in_joins(self, replace: Callable[..., Any]) -> None:
        self.primaryjoin = visitors.replacement_traverse(self.primaryjoin, {}, replace)
        if self.secondaryjoin is not None:
            self.secondaryjoin = visitors.replacement_traverse(self.secondaryjoin, {}, replace)

    def _annotate_present_fks(self) -> None:
        secondary_columns = util.column_set(self.secondary.c) if self.secondary is not None else set()

        def foreign_of(left: Any, right: Any) -> Any:
            if isinstance(left, schema.Column) and isinstance(right, schema.Column):
                if left.references(right):
                    return left
                if right.references(left):
                    return right
            if secondary_columns:
                if left in secondary_columns and right not in secondary_columns:
                    return left
                if right in secondary_columns and left not in secondary_columns:
                    return right
            return None

        def visit_binary(binary: Any) -> None:
            left, right = binary.left, binary.right
            if not isinstance(left, sql.ColumnElement) or not isinstance(right, sql.ColumnElement):
                return
            if "foreign" in annotations_of(left) or "foreign" in annotations_of(right):
                return
            column = foreign_of(left, right)
            if column is None:
                return
            if column.compare(left):
                binary.left = annotate(left, {"foreign": True})
            elif column.compare(right):
                binary.right = annotate(right, {"foreign": True})

        self.primaryjoin = visitors.cloned_traverse(self.primaryjoin, {}, {"binary": visit_binary})
        if self.secondaryjoin is not None:
            self.secondaryjoin = visitors.cloned_traverse(self.secondaryjoin, {}, {"binary": visit_binary})

    # --- marking remote columns

    def _refers_to_parent_table(self) -> bool:
        """Whether some comparison has the parent's and the child's table on both sides."""
        selectables = (self.parent_persist_selectable, self.child_persist_selectable)
        found = False

        def visit_binary(binary: Any) -> None:
            nonlocal found
            sides = (binary.left, binary.right)
            if all(isinstance(side, expression.ColumnClause) for side in sides) and all(
                selectable.is_derived_from(side.table) for selectable in selectables for side in sides
            ):
                found = True

        visitors.traverse(self.primaryjoin, {}, {"binary": visit_binary})
        return found

    def _tables_overlap(self) -> bool:
        return selectables_overlap(self.parent_persist_selectable, self.child_persist_selectable)

    def _annotate_remote(self) -> None:
        if self._has_remote_annotations:
            return
        if self.secondary is not None:
            self._annotate_remote_secondary()
        elif self._local_remote_pairs or self._remote_side:
            self._annotate_remote_from_args()
        elif self._refers_to_parent_table():
            self._annotate_selfref(lambda column: "foreign" in annotations_of(column), False)
        elif self._tables_overlap():
            self._annotate_remote_with_overlap()
        else:
            self._annotate_remote_distinct_selectables()

    def _annotate_remote_secondary(self) -> None:
        secondary = self.secondary

        def replace(element: Any, **kw: Any) -> Any:
            if secondary.c.contains_column(element):
                return annotate(element, {"remote": True})
            return None

        self._replace_in_joins(replace)

    def _annotate_selfref(self, is_remote: Callable[[Any], bool], remote_side_given: bool) -> None:
        def visit_binary(binary: Any) -> None:
            equated = binary.left.compare(binary.right)
            if isinstance(binary.left, expression.ColumnClause) and isinstance(binary.right, expression.ColumnClause):
                if is_remote(binary.left):
                    binary.left = annotate(binary.left, {"remote": True})
                if is_remote(binary.right) and not equated:
                    binary.right = annotate(binary.right, {"remote": True})
            elif not remote_side_given:
                self._warn_non_column_elements()

        self.primaryjoin = visitors.cloned_traverse(self.primaryjoin, {}, {"binary": visit_binary})

    def _annotate_remote_from_args(self) -> None:
        if self._local_remote_pairs:
            if self._remote_side:
                raise sa_exc.ArgumentError(
                    "remote_side argument is redundant against more detailed _local_remote_side argument."
                )
            remote_side = {remote for _, remote in self._local_remote_pairs}
        else:
            remote_side = set(self._remote_side)

        if self._refers_to_parent_table():
            self._annotate_selfref(lambda column: column in remote_side, True)
            return

        def replace(element: Any, **kw: Any) -> Any:
            if element in remote_side:
                return annotate(element, {"remote": True})
            return None

        self.primaryjoin = visitors.replacement_traverse(self.primaryjoin, {}, replace)

    def _annotate_remote_with_overlap(self) -> None:
        """Two mappers of one hierarchy: parent and child share tables."""
        prop = self.prop
        target = prop.mapper if prop is not None and prop.mapper is not prop.parent else None

        def mark(left: Any, right: Any) -> tuple[Any, Any]:
            if isinstance(left, expression.ColumnClause) and isinstance(right, expression.ColumnClause):
                if self.child_persist_selectable.c.contains_column(
                    right
                ) and self.parent_persist_selectable.c.contains_column(left):
                    right = annotate(right, {"remote": True})
            elif target is not None and annotations_of(right).get("parentmapper") is target:
                right = annotate(right, {"remote": True})
            elif target is not None and annotations_of(left).get("parentmapper") is target:
                left = annotate(left, {"remote": True})
            else:
                self._warn_non_column_elements()
            return left, right

        def visit_binary(binary: Any) -> None:
            binary.left, binary.right = mark(binary.left, binary.right)
            binary.right, binary.left = mark(binary.right, binary.left)

        self.primaryjoin = visitors.cloned_traverse(self.primaryjoin, {}, {"binary": visit_binary})

    def _annotate_remote_distinct_selectables(self) -> None:
        def replace(element: Any, **kw: Any) -> Any:
            if self.child_persist_selectable.c.contains_column(element) and (
                not self.parent_local_selectable.c.contains_column(element)
                or self.child_local_selectable.c.contains_column(element)
            ):
                return annotate(element, {"remote": True})
            return None

        self.primaryjoin = visitors.replacement_traverse(self.primaryjoin, {}, replace)

    def _warn_non_column_elements(self) -> None:
        util.warn(
            f"Non-simple column elements in primary join condition for property {self.prop} - consider using "
            "remote() annotations to mark the remote side."
        )

    # --- marking local columns and owners

    def _annotate_local(self) -> None:
        if self._has_annotation(self.primaryjoin, "local"):
            return
        if self._local_remote_pairs:
            local_side = util.column_set(local for local, _ in self._local_remote_pairs)
        else:
            local_side = util.column_set(self.parent_persist_selectable.c)

        def replace(element: Any, **kw: Any) -> Any:
            if "remote" not in annotations_of(element) and element in local_side:
                return annotate(element, {"local": True})
            return None

        self.primaryjoin = visitors.replacement_traverse(self.primaryjoin, {}, replace)

    def _annotate_parentmapper(self) -> None:
        def replace(element: Any, **kw: Any) -> Any:
            if "remote" in annotations_of(element):
                return annotate(element, {"parentmapper": self.prop.mapper})
            if "local" in annotations_of(element):
                return annotate(element, {"parentmapper": self.prop.parent})
            return None

        self.primaryjoin = visitors.replacement_traverse(self.primaryjoin, {}, replace)


class _ColInAnnotations:
    """Predicate: the column carries one of these marks; comparable, so that statements with it can be cached."""

    __slots__ = ("names",)

    def __init__(self, *names: str) -> None:
        self.names = frozenset(names)

    def __call__(self, column: Any) -> bool:
        return bool(self.names.intersection(annotations_of(column)))


_local_col_exclude = _ColInAnnotations("local", "should_not_adapt")
_remote_col_exclude = _ColInAnnotations("remote", "should_not_adapt")
