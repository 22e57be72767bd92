"""How two mapped classes are joined: the columns compared, their marks (foreign, remote, local), and the direction."""

from __future__ import annotations

import itertools
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import exc as sa_exc
from sqlalchemy import sql, util
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.util import ClauseAdapter, join_condition, visit_binary_product

from .._sa import (
    _deep_annotate,
    _deep_deannotate,
    _safe_annotate,
    _shallow_annotate,
    annotations_of,
    anonymous_fromclause,
    deannotate,
    with_annotations,
)
from ._join_annotations import _JoinAnnotations, _local_col_exclude, _remote_col_exclude
from .interfaces import MANYTOMANY, MANYTOONE, ONETOMANY

_Pairs = list[tuple[Any, Any]]


class _JoinCondition(_JoinAnnotations):
    """The join condition of one relationship, with every column's part in it marked by annotations."""

    local_remote_pairs: _Pairs
    synchronize_pairs: _Pairs
    secondary_synchronize_pairs: _Pairs
    direction: Any

    def __init__(
        self,
        parent_persist_selectable: Any,
        child_persist_selectable: Any,
        parent_local_selectable: Any,
        child_local_selectable: Any,
        *,
        primaryjoin: Any = None,
        secondary: Any = None,
        secondaryjoin: Any = None,
        parent_equivalents: Any = None,
        child_equivalents: Any = None,
        consider_as_foreign_keys: Any = None,
        local_remote_pairs: Any = None,
        remote_side: Any = None,
        self_referential: Any = False,
        prop: Any,
        support_sync: bool = True,
        can_be_synced_fn: Callable[..., bool] = lambda *c: True,
    ) -> None:
        self.parent_persist_selectable = parent_persist_selectable
        self.parent_local_selectable = parent_local_selectable
        self.child_persist_selectable = child_persist_selectable
        self.child_local_selectable = child_local_selectable
        self.parent_equivalents = parent_equivalents
        self.child_equivalents = child_equivalents
        self.primaryjoin_initial = primaryjoin
        self.secondaryjoin = secondaryjoin
        self.secondary = secondary
        self.consider_as_foreign_keys = consider_as_foreign_keys
        self._local_remote_pairs = local_remote_pairs
        self._remote_side = remote_side
        self.prop = prop
        self.self_referential = self_referential
        self.support_sync = support_sync
        self.can_be_synced_fn = can_be_synced_fn

        self._determine_joins()
        assert self.primaryjoin is not None
        self._annotate_fks()
        self._annotate_remote()
        self._annotate_local()
        self._annotate_parentmapper()
        self._setup_pairs()
        self._check_foreign_cols(self.primaryjoin, True)
        if self.secondaryjoin is not None:
            self._check_foreign_cols(self.secondaryjoin, False)
        self._determine_direction()
        self._check_remote_side()
        self._log_joins()

    def _log_joins(self) -> None:
        info, prop = self.prop.logger.info, self.prop
        info("%s setup primary join %s", prop, self.primaryjoin)
        info("%s setup secondary join %s", prop, self.secondaryjoin)
        info("%s synchronize pairs [%s]", prop, ",".join(f"({a} => {b})" for a, b in self.synchronize_pairs))
        info(
            "%s secondary synchronize pairs [%s]",
            prop,
            ",".join(f"({a} => {b})" for a, b in self.secondary_synchronize_pairs),
        )
        info("%s local/remote pairs [%s]", prop, ",".join(f"({a} / {b})" for a, b in self.local_remote_pairs))
        info("%s remote columns [%s]", prop, ",".join(str(column) for column in self.remote_columns))
        info("%s local columns [%s]", prop, ",".join(str(column) for column in self.local_columns))
        info("%s relationship direction %s", prop, self.direction)

    # --- finding the condition

    def _determine_joins(self) -> None:
        """Take the conditions that were given and find the others through foreign keys."""
        if self.secondaryjoin is not None and self.secondary is None:
            raise sa_exc.ArgumentError(
                f"Property {self.prop} specified with secondary join condition but no secondary argument"
            )
        foreign = self.consider_as_foreign_keys or None
        via_secondary = self.secondary is not None
        try:
            if via_secondary and self.secondaryjoin is None:
                self.secondaryjoin = join_condition(
                    self.child_persist_selectable,
                    self.secondary,
                    a_subset=self.child_local_selectable,
                    consider_as_foreign_keys=foreign,
                )
            if self.primaryjoin_initial is not None:
                self.primaryjoin = self.primaryjoin_initial
            else:
                self.primaryjoin = join_condition(
                    self.parent_persist_selectable,
                    self.secondary if via_secondary else self.child_persist_selectable,
                    a_subset=self.parent_local_selectable,
                    consider_as_foreign_keys=foreign,
                )
        except sa_exc.NoForeignKeysError as error:
            raise sa_exc.NoForeignKeysError(self._no_foreign_keys_message()) from error
        except sa_exc.AmbiguousForeignKeysError as error:
            raise sa_exc.AmbiguousForeignKeysError(self._ambiguous_message()) from error

    def _no_foreign_keys_message(self) -> str:
        message = (
            "Could not determine join condition between parent/child tables on relationship "
            f"{self.prop} - there are no foreign keys linking these tables"
        )
        ensure = "Ensure that referencing columns are associated with a ForeignKey or ForeignKeyConstraint, or specify "
        if self.secondary is not None:
            return (
                f"{message} via secondary table '{self.secondary}'.  {ensure}'primaryjoin' and 'secondaryjoin' "
                "expressions."
            )
        return f"{message}.  {ensure}a 'primaryjoin' expression."

    def _ambiguous_message(self) -> str:
        message = (
            "Could not determine join condition between parent/child tables on relationship "
            f"{self.prop} - there are multiple foreign key paths linking the tables"
        )
        if self.secondary is not None:
            return (
                f"{message} via secondary table '{self.secondary}'.  Specify the 'foreign_keys' argument, providing a "
                "list of those columns which should be counted as containing a foreign key reference from the "
                "secondary table to each of the parent and child tables."
            )
        return (
            f"{message}.  Specify the 'foreign_keys' argument, providing a list of those columns which should be "
            "counted as containing a foreign key reference to the parent table."
        )

    # --- the same condition for the other direction

    @property
    def primaryjoin_minus_local(self) -> Any:
        return _deep_deannotate(self.primaryjoin, values=("local", "remote"))

    @property
    def secondaryjoin_minus_local(self) -> Any:
        assert self.secondaryjoin is not None
        return _deep_deannotate(self.secondaryjoin, values=("local", "remote"))

    @util.memoized_property
    def primaryjoin_reverse_remote(self) -> Any:
        """The primary join as the backref needs it: local and remote exchanged."""
        if self._has_remote_annotations:
            other = {"remote": "local", "local": "remote"}

            def replace(element: Any, **kw: Any) -> Any:
                for mark in ("remote", "local"):
                    if mark in annotations_of(element):
                        marks = dict(annotations_of(element))
                        del marks[mark]
                        marks[other[mark]] = True
                        return with_annotations(element, marks)
                return None

            return visitors.replacement_traverse(self.primaryjoin, {}, replace)
        if self._has_foreign_annotations:
            return _deep_deannotate(self.primaryjoin, values=("local", "remote"))
        return _deep_deannotate(self.primaryjoin)

    @util.memoized_property
    def secondary_can_be_used_for_related_join(self) -> bool:
        """Whether the secondary table alone tells which parent a row belongs to."""
        if self.secondary is None:
            return False
        parent_pk_cols = self.prop.parent._local_pk_cols
        if not parent_pk_cols.issubset(left for left, _ in self.synchronize_pairs):
            return False
        plain = sql.and_(*[left == right for left, right in self.synchronize_pairs if left in parent_pk_cols])
        return self.primaryjoin.compare(plain)

    # --- checks

    def _check_remote_side(self) -> None:
        if not self.local_remote_pairs:
            raise sa_exc.ArgumentError(
                f"Relationship {self.prop} could not determine any unambiguous local/remote column pairs based on "
                "join condition and remote_side arguments.  Consider using the remote() annotation to accurately "
                "mark those elements of the join condition that are on the remote side of the relationship."
            )
        not_target = util.column_set(self.parent_persist_selectable.c).difference(self.child_persist_selectable.c)
        for _, remote in self.local_remote_pairs:
            if remote in not_target:
                util.warn(
                    f"Expression {remote} is marked as 'remote', but these column(s) are local to the local side.  "
                    "The remote() annotation is needed only for a self-referential relationship where both sides of "
                    "the relationship refer to the same tables."
                )

    def _check_foreign_cols(self, condition: Any, primary: bool) -> None:
        has_foreign = bool(self._gather_columns_with_annotation(condition, "foreign"))
        can_sync = bool(self.synchronize_pairs if primary else self.secondary_synchronize_pairs)
        if can_sync if self.support_sync else has_foreign:
            return
        which = "primary" if primary else "secondary"
        where = f"{which} join condition '{condition}' on relationship {self.prop}."
        ensure = (
            "  Ensure that referencing columns are associated with a ForeignKey or ForeignKeyConstraint, or are "
            "annotated in the join condition with the foreign() annotation."
        )
        if self.support_sync and has_foreign:
            raise sa_exc.ArgumentError(
                "Could not locate any simple equality expressions involving locally mapped foreign key columns for "
                f"{where}{ensure} To allow comparison operators other than '==', the relationship can be marked as "
                "viewonly=True."
            )
        raise sa_exc.ArgumentError(f"Could not locate any relevant foreign key columns for {where}{ensure}")

    def _determine_direction(self) -> None:
        if self.secondaryjoin is not None:
            self.direction = MANYTOMANY
            return
        parent_columns = util.column_set(self.parent_persist_selectable.c)
        target_columns = util.column_set(self.child_persist_selectable.c)
        in_child = target_columns.intersection(self.foreign_key_columns)
        in_parent = parent_columns.intersection(self.foreign_key_columns)
        if in_child and in_parent:
            self.direction = self._direction_by_remote_side()
        elif in_child:
            self.direction = ONETOMANY
        elif in_parent:
            self.direction = MANYTOONE
        else:
            raise sa_exc.ArgumentError(
                f"Can't determine relationship direction for relationship '{self.prop}' - foreign key columns are "
                "present in neither the parent nor the child's mapped tables"
            )

    def _direction_by_remote_side(self) -> Any:
        """Both tables have the foreign keys, as in a tree: what counts is on which side they are marked."""
        remote = self._gather_columns_with_annotation(self.primaryjoin, "remote", "foreign")
        local = {
            column
            for column in self._gather_columns_with_annotation(self.primaryjoin, "foreign")
            if "remote" not in annotations_of(column)
        }
        if remote and local:
            # a column compared with itself says nothing about the direction
            self_equated = self.remote_columns.intersection(self.local_columns)
            remote = remote.difference(self_equated)
            local = local.difference(self_equated)
        if remote and not local:
            return ONETOMANY
        if local and not remote:
            return MANYTOONE
        raise sa_exc.ArgumentError(
            f"Can't determine relationship direction for relationship '{self.prop}' - foreign key columns within the "
            "join condition are present in both the parent and the child's mapped tables.  Ensure that only those "
            "columns referring to a parent column are marked as foreign, either via the foreign() annotation or via "
            "the foreign_keys argument."
        )

    # --- column pairs

    def _setup_pairs(self) -> None:
        """Collect (local, remote) pairs, and (source, destination) pairs of what a flush copies."""
        local_remote: Any = util.OrderedSet()

        def collect(condition: Any) -> _Pairs:
            sync: _Pairs = []

            def visit_binary(binary: Any, left: Any, right: Any) -> None:
                left_marks, right_marks = annotations_of(left), annotations_of(right)
                if "remote" in right_marks and "remote" not in left_marks and self.can_be_synced_fn(left):
                    local_remote.add((left, right))
                elif "remote" in left_marks and "remote" not in right_marks and self.can_be_synced_fn(right):
                    local_remote.add((right, left))
                if binary.operator is operators.eq and self.can_be_synced_fn(left, right):
                    if "foreign" in right_marks:
                        sync.append((left, right))
                    elif "foreign" in left_marks:
                        sync.append((right, left))

            if condition is not None:
                visit_binary_product(visit_binary, condition)
            return sync

        self.synchronize_pairs = _deannotated(collect(self.primaryjoin))
        self.secondary_synchronize_pairs = _deannotated(collect(self.secondaryjoin))
        self.local_remote_pairs = _deannotated(local_remote)

    # destination column → relationships that write it, with the column each copies from
    _track_overlapping_sync_targets: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    def _warn_for_conflicting_sync_targets(self) -> None:
        if not self.support_sync:
            return
        tracked = self._track_overlapping_sync_targets
        for source, target in [*self.synchronize_pairs, *self.secondary_synchronize_pairs]:
            if target not in tracked:
                tracked[target] = weakref.WeakKeyDictionary({self.prop: weakref.ref(source)})
                continue
            others = []
            for other, source_ref in tracked[target].items():
                other_source = source_ref()
                if other_source is not None and self._conflicts_with(other):
                    others.append((other, other_source))
            if others:
                conflicts = ", ".join(sorted(f"'{other}' (copies {source_} to {target})" for other, source_ in others))
                keys = ",".join(sorted(other.key for other, _ in others))
                util.warn(
                    f"relationship '{self.prop}' will copy column {source} to column {target}, which conflicts with "
                    f"relationship(s): {conflicts}. If this is not the intention, consider if these relationships "
                    "should be linked with back_populates, or if viewonly=True should be applied to one or more if "
                    "they are read-only. For the less common case that foreign key constraints are partially "
                    "overlapping, the orm.foreign() annotation can be used to isolate the columns that should be "
                    "written towards.   To silence this warning, add the parameter "
                    f"'overlaps=\"{keys}\"' to the '{self.prop}' relationship.",
                    code="qzyx",
                )
            tracked[target][self.prop] = weakref.ref(source)

    def _conflicts_with(self, other: Any) -> bool:
        prop = self.prop
        entities = [(mine, theirs) for mine in (prop.parent, prop.mapper) for theirs in (other.parent, other.mapper)]
        return (
            not other.mapper._dispose_called
            and other not in prop._reverse_property
            and other.key not in prop._overlaps
            and prop.key not in other._overlaps
            # used internally and by extensions: overlaps with everything
            and "__*" not in prop._overlaps
            and "__*" not in other._overlaps
            and not any(mine.is_sibling(theirs) for mine, theirs in entities)
            and (prop.key != other.key or not prop.parent.common_parent(other.parent))
        )

    @util.memoized_property
    def _secondary_lineage_set(self) -> frozenset[Any]:
        if self.secondary is None:
            return frozenset()
        return frozenset(itertools.chain(*[column.proxy_set for column in self.secondary.c]))

    # --- the condition as statements use it

    def join_targets(
        self,
        source_selectable: Any,
        dest_selectable: Any,
        aliased: bool,
        single_crit: Any = None,
        extra_criteria: tuple[Any, ...] = (),
    ) -> tuple[Any, Any, Any, Any, Any]:
        """The conditions between two given selectables, which may be aliases."""
        # the target must not be adapted itself when it stands inside of the condition
        dest_selectable = _shallow_annotate(dest_selectable, {"no_replacement_traverse": True})
        primaryjoin, secondaryjoin, secondary = self.primaryjoin, self.secondaryjoin, self.secondary

        additions = [] if single_crit is None else [single_crit]
        if extra_criteria:
            additions.append(sql.and_(*[self._shield(criterion) for criterion in extra_criteria]))
        for addition in additions:
            if secondaryjoin is not None:
                secondaryjoin = secondaryjoin & addition
            else:
                primaryjoin = primaryjoin & addition

        if not aliased:
            return primaryjoin, secondaryjoin, secondary, None, dest_selectable

        if secondary is not None:
            secondary = anonymous_fromclause(secondary, flat=True)
            primary_aliasizer = ClauseAdapter(secondary, exclude_fn=_local_col_exclude)
            secondary_aliasizer = ClauseAdapter(dest_selectable, equivalents=self.child_equivalents).chain(
                primary_aliasizer
            )
            if source_selectable is not None:
                primary_aliasizer = ClauseAdapter(secondary, exclude_fn=_local_col_exclude).chain(
                    ClauseAdapter(source_selectable, equivalents=self.parent_equivalents)
                )
            secondaryjoin = secondary_aliasizer.traverse(secondaryjoin)
            target_adapter = secondary_aliasizer
        else:
            primary_aliasizer = ClauseAdapter(
                dest_selectable, exclude_fn=_local_col_exclude, equivalents=self.child_equivalents
            )
            if source_selectable is not None:
                primary_aliasizer.chain(
                    ClauseAdapter(
                        source_selectable, exclude_fn=_remote_col_exclude, equivalents=self.parent_equivalents
                    )
                )
            target_adapter = primary_aliasizer
        primaryjoin = primary_aliasizer.traverse(primaryjoin)
        target_adapter.exclude_fn = None
        return primaryjoin, secondaryjoin, secondary, target_adapter, dest_selectable

    def _shield(self, criterion: Any) -> Any:
        """Keep elements of other entities in extra criteria from being adapted to parent or target."""

        def mark(element: Any, annotations: Any) -> Any:
            owner = annotations_of(element).get("parentmapper")
            if (
                owner is not self.prop.parent
                and (owner is None or not owner.isa(self.prop.mapper))
                and element not in self._secondary_lineage_set
            ):
                return _safe_annotate(element, annotations)
            return element

        return _deep_annotate(criterion, {"should_not_adapt": True}, annotate_callable=mark)

    def create_lazy_clause(self, reverse_direction: bool = False) -> tuple[Any, dict[str, Any], dict[Any, Any]]:
        """The condition with the columns of one side as parameters: what a lazy load runs."""
        binds: dict[Any, Any] = {}
        equated: dict[Any, Any] = {}
        has_secondary = self.secondaryjoin is not None
        lookup: dict[Any, list[Any]] = defaultdict(list)
        for local, remote in self.local_remote_pairs:
            if has_secondary:
                lookup[local].append((local, remote))
            if has_secondary or not reverse_direction:
                equated[remote] = local
            else:
                equated[local] = remote

        def is_parameter(element: Any) -> bool:
            if not reverse_direction:
                return "local" in annotations_of(element)
            return element in lookup if has_secondary else "remote" in annotations_of(element)

        def col_to_bind(element: Any, **kw: Any) -> Any:
            if not is_parameter(element):
                return None
            if element not in binds:
                binds[element] = sql.bindparam(None, None, type_=element.type, unique=True)
            return binds[element]

        condition = self.primaryjoin
        if self.secondaryjoin is None or not reverse_direction:
            condition = visitors.replacement_traverse(condition, {}, col_to_bind)
        if self.secondaryjoin is not None:
            secondaryjoin = self.secondaryjoin
            if reverse_direction:
                secondaryjoin = visitors.replacement_traverse(secondaryjoin, {}, col_to_bind)
            condition = sql.and_(condition, secondaryjoin)
        return condition, {bind.key: column for column, bind in binds.items()}, equated


def _deannotated(pairs: Iterable[tuple[Any, Any]]) -> _Pairs:
    return [(deannotate(left), deannotate(right)) for left, right in pairs]
