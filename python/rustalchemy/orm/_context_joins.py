"""``select().join()`` with mapped classes and relationships: finding the left side, adapting the right one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional, cast

from sqlalchemy import exc as sa_exc
from sqlalchemy import inspect, util
from sqlalchemy.sql import coercions, expression, roles
from sqlalchemy.sql import util as sql_util

from . import attributes, interfaces
from ._context_entities import _MapperEntity
from .util import AliasedClass, ORMAdapter, _ORMJoin, _TraceAdaptRole

_SAY_WHICH = (
    "Please use the .select_from() method to establish an explicit left side, as well as providing an explicit ON "
    "clause if not present already to help resolve the ambiguity."
)


class _JoinBuilder:
    """The part of a SELECT's compile state that turns its ``join()`` calls into FROM clauses."""

    from_clauses: list[Any]
    _already_joined_edges: tuple[Any, ...] = ()
    _join_entities: tuple[Any, ...] = ()

    # given by the compile state
    _get_current_adapter: Any
    _get_extra_criteria: Any
    _mapper_loads_polymorphically_with: Any

    def _join(self, args: Sequence[Any], entities_collection: list[Any]) -> None:
        for target, on, explicit_from, flags in args:
            right: Any = inspect(target)
            onclause: Any = None if on is None else inspect(on)

            if isinstance(right, interfaces.PropComparator):
                if onclause is not None:
                    raise sa_exc.InvalidRequestError(
                        "No 'on clause' argument may be passed when joining to a relationship path as a target"
                    )
                right, onclause = None, right
            elif "parententity" in right._annotations:
                right = right._annotations["parententity"]

            if onclause is None and not right.is_selectable and not hasattr(right, "mapper"):
                raise sa_exc.ArgumentError("Expected mapped entity or selectable/table as join target")

            left = explicit_from
            prop = None
            if isinstance(onclause, interfaces.PropComparator):
                if right is None:
                    right = self._join_target(onclause)
                left = onclause._parententity
                prop = onclause.property
                if not isinstance(onclause, attributes.QueryableAttribute):
                    onclause = prop
                if (left, right, prop.key) in self._already_joined_edges:
                    continue
                self._check_explicit_left(explicit_from, left, onclause)

            self._join_left_to_right(entities_collection, left, right, onclause, prop, flags["isouter"], flags["full"])

    @staticmethod
    def _join_target(onclause: Any) -> Any:
        of_type = getattr(onclause, "_of_type", None)
        if of_type:
            return of_type
        target = onclause.property
        try:
            return target.entity
        except AttributeError as err:
            raise sa_exc.ArgumentError(f"Join target {target} does not refer to a mapped entity") from err

    @staticmethod
    def _check_explicit_left(explicit_from: Any, left: Any, onclause: Any) -> None:
        if explicit_from is None or explicit_from is left:
            return
        entity = explicit_from._annotations.get("parententity")
        if entity is not left:
            raise sa_exc.InvalidRequestError(
                f"explicit from clause {explicit_from if entity is None else entity} does not match left side of "
                f"relationship attribute {onclause}"
            )

    def _join_left_to_right(
        self,
        entities_collection: list[Any],
        left: Any,
        right: Any,
        onclause: Any,
        prop: Any,
        outerjoin: bool,
        full: bool,
    ) -> None:
        explicit_left = left
        if left is None:
            left, from_index, entity_index = self._join_determine_implicit_left_side(
                entities_collection, left, right, onclause
            )
        else:
            from_index, entity_index = self._join_place_explicit_left_side(entities_collection, left)

        if left is right:
            raise sa_exc.InvalidRequestError(f"Can't construct a join from {left} to {right}, they are the same entity")

        r_info, right, onclause = self._join_check_and_adapt_right_side(left, right, onclause, prop)
        criteria = () if r_info.is_selectable else self._get_extra_criteria(r_info)

        if from_index is not None:
            left_clause = self.from_clauses[from_index]
            if explicit_left is not None and onclause is None:
                onclause = _ORMJoin._join_condition(explicit_left, right)
        elif entity_index is not None:
            left_clause = entities_collection[entity_index].selectable
        else:
            left_clause = left

        join = _ORMJoin(left_clause, right, onclause, isouter=outerjoin, full=full, _extra_criteria=criteria)
        froms = list(self.from_clauses)
        if from_index is None:
            froms.append(join)
        else:
            froms[from_index] = join
        self.from_clauses = froms

    # the left side

    def _join_determine_implicit_left_side(
        self, entities_collection: list[Any], left: Any, right: Any, onclause: Any
    ) -> tuple[Any, Optional[int], Optional[int]]:
        """(left side, its index in the FROM list, its index among the entities) when the ON clause does not say."""
        r_info: Any = inspect(right)

        if self.from_clauses:
            indexes = sql_util.find_left_clause_to_join_from(self.from_clauses, r_info.selectable, onclause)
            self._check_one_left(indexes, right)
            return self.from_clauses[indexes[0]], indexes[0], None

        if not entities_collection:
            raise sa_exc.InvalidRequestError(
                "No entities to join from; please use select_from() to establish the left entity/selectable "
                "of this join"
            )

        # by selectable, since several columns of one table are one place to join from
        candidates: dict[Any, tuple[Optional[int], Any]] = {}
        for index, ent in enumerate(entities_collection):
            entity = ent.entity_zero_or_selectable
            if entity is None:
                continue
            info: Any = inspect(entity)
            if info is r_info:
                continue
            if isinstance(ent, _MapperEntity):
                candidates[ent.selectable] = (index, entity)
            else:
                candidates[info.selectable] = (None, entity)

        clauses = list(candidates)
        indexes = sql_util.find_left_clause_to_join_from(clauses, r_info.selectable, onclause)
        self._check_one_left(indexes, right)
        entity_index, left = candidates[clauses[indexes[0]]]
        return left, None, entity_index

    @staticmethod
    def _check_one_left(indexes: Sequence[int], right: Any) -> None:
        if len(indexes) > 1:
            raise sa_exc.InvalidRequestError(
                "Can't determine which FROM clause to join from, there are multiple FROMS which can join to this "
                f"entity. {_SAY_WHICH}"
            )
        if not indexes:
            raise sa_exc.InvalidRequestError(f"Don't know how to join to {right!r}. {_SAY_WHICH}")

    def _join_place_explicit_left_side(
        self, entities_collection: list[Any], left: Any
    ) -> tuple[Optional[int], Optional[int]]:
        """(index in the FROM list, index among the entities) of a left side that was stated; None where absent."""
        l_info: Any = inspect(left)
        if self.from_clauses:
            indexes = sql_util.find_left_clause_that_matches_given(self.from_clauses, l_info.selectable)
            if len(indexes) > 1:
                raise sa_exc.InvalidRequestError(
                    "Can't identify which entity in which to assign the left side of this join.   Please use a more "
                    "specific ON clause."
                )
            if indexes:
                return indexes[0], None
        if hasattr(l_info, "mapper"):
            for index, ent in enumerate(entities_collection):
                if isinstance(ent, _MapperEntity) and ent.corresponds_to(left):
                    return None, index
        return None, None

    # the right side

    def _join_check_and_adapt_right_side(self, left: Any, right: Any, onclause: Any, prop: Any) -> tuple[Any, Any, Any]:
        l_info: Any = inspect(left)
        r_info: Any = inspect(right)
        mapper = cast("Any", getattr(r_info, "mapper", None))
        right_is_aliased = getattr(r_info, "is_aliased_class", False)
        overlap = bool(mapper) and self._overlaps(l_info, r_info, mapper)

        if overlap and l_info.selectable is r_info.selectable:
            raise sa_exc.InvalidRequestError(f"Can't join table/selectable '{l_info.selectable}' to itself")
        if mapper and prop and not mapper.common_parent(prop.mapper):
            raise sa_exc.InvalidRequestError(
                f"Join target {right} does not correspond to the right side of join condition {onclause}"
            )
        if mapper:
            # single table inheritance criteria of these go into their ON clause
            self._join_entities += (r_info,)

        need_adapter = False
        if r_info.is_clause_element:
            if prop:
                mapper = prop.mapper
            if r_info.selectable._is_lateral:
                adapt = self._get_current_adapter()
                if adapt is not None:
                    right = adapt(right, True)
            elif prop:
                right, need_adapter = self._entity_for_selectable(mapper, r_info.selectable)

        if not need_adapter and mapper and not right_is_aliased and overlap:
            right = AliasedClass(right, flat=True)
            need_adapter = True
            util.warn(
                f"An alias is being generated automatically against joined entity {mapper} due to overlapping "
                "tables.  This is "
                "a legacy pattern which may be deprecated in a later release.  Use the aliased(<entity>, flat=True) "
                "construct explicitly, see the linked example.",
                code="xaj2",
            )

        if need_adapter:
            self._mapper_loads_polymorphically_with(
                mapper,
                ORMAdapter(
                    _TraceAdaptRole.DEPRECATED_JOIN_ADAPT_RIGHT_SIDE,
                    inspect(right),
                    equivalents=mapper._equivalent_columns,
                ),
            )
        elif not r_info.is_clause_element and not right_is_aliased and mapper._has_aliased_polymorphic_fromclause:
            self._mapper_loads_polymorphically_with(
                mapper,
                ORMAdapter(
                    _TraceAdaptRole.WITH_POLYMORPHIC_ADAPTER_RIGHT_JOIN,
                    mapper,
                    selectable=mapper.selectable,
                    equivalents=mapper._equivalent_columns,
                ),
            )

        if isinstance(onclause, expression.ClauseElement):
            adapt = self._get_current_adapter()
            if adapt:
                onclause = adapt(onclause, True)
        if prop:
            self._already_joined_edges += ((left, right, prop.key),)
        return inspect(right), right, onclause

    def _overlaps(self, l_info: Any, r_info: Any, mapper: Any) -> bool:
        """Whether a target of several tables shares one with what it is joined to."""
        if not mapper.with_polymorphic and not isinstance(mapper.persist_selectable, expression.Join):
            return False
        return any(
            sql_util.selectables_overlap(l_info.selectable, from_)
            and sql_util.selectables_overlap(from_, r_info.selectable)
            for from_ in self.from_clauses or [l_info.selectable]
        )

    @staticmethod
    def _entity_for_selectable(mapper: Any, selectable: Any) -> tuple[Any, bool]:
        """An entity over a plain selectable named as the target of a relationship; whether it needs an adapter."""
        if not selectable.is_derived_from(mapper.persist_selectable):
            raise sa_exc.InvalidRequestError(
                f"Selectable '{selectable.description}' is not derived from '{mapper.persist_selectable.description}'"
            )
        is_select = isinstance(selectable, expression.SelectBase)
        if is_select:
            selectable = coercions.expect(roles.FromClauseRole, selectable)
        entity: Any = AliasedClass(mapper, selectable)
        util.warn_deprecated(
            f"An alias is being generated automatically against joined entity {mapper} for raw clauseelement, which is "
            "deprecated and will be removed in a later release. Use the aliased() construct explicitly, see the linked "
            "example.",
            "1.4",
            code="xaj1",
        )
        return entity, is_select
