"""SQL operators of a relationship at class level: comparison with objects, any(), has(), contains(), of_type()."""

from __future__ import annotations

from typing import Any

from sqlalchemy import exc as sa_exc
from sqlalchemy import sql, util
from sqlalchemy.inspection import inspect
from sqlalchemy.sql import coercions, expression, roles

from .._sa import annotate, annotate_for_entity, anonymous_fromclause, true_if_none
from .attributes import instance_state
from .interfaces import MANYTOMANY, MANYTOONE, ONETOMANY, PropComparator


class _RelationshipComparator(util.MemoizedSlots, PropComparator[Any]):
    """The operators of one relationship, for its class or an alias of it."""

    entity: Any
    mapper: Any
    _of_type: Any

    def __init__(
        self,
        prop: Any,
        parentmapper: Any,
        adapt_to_entity: Any = None,
        of_type: Any = None,
        extra_criteria: tuple[Any, ...] = (),
    ) -> None:
        self.prop = prop
        self._parententity = parentmapper
        self._adapt_to_entity = adapt_to_entity
        self._of_type = of_type or None
        self._extra_criteria = extra_criteria

    def adapt_to_entity(self, adapt_to_entity: Any) -> Any:
        return self.__class__(self.prop, self._parententity, adapt_to_entity=adapt_to_entity, of_type=self._of_type)

    def _memoized_attr_entity(self) -> Any:
        return inspect(self._of_type) if self._of_type else self.prop.entity

    def _memoized_attr_mapper(self) -> Any:
        return self.entity.mapper

    def _source_selectable(self) -> Any:
        if self._adapt_to_entity:
            return self._adapt_to_entity.selectable
        return self.property.parent._with_polymorphic_selectable

    def __clause_element__(self) -> Any:
        primaryjoin, secondaryjoin, *_ = self.prop._create_joins(
            source_selectable=self._source_selectable(),
            source_polymorphic=True,
            of_type_entity=inspect(self._of_type) if self._of_type else None,
            alias_secondary=True,
            extra_criteria=self._extra_criteria,
        )
        return primaryjoin if secondaryjoin is None else primaryjoin & secondaryjoin

    def of_type(self, class_: Any) -> Any:
        return _RelationshipComparator(
            self.prop,
            self._parententity,
            adapt_to_entity=self._adapt_to_entity,
            of_type=class_,
            extra_criteria=self._extra_criteria,
        )

    def and_(self, *criteria: Any) -> Any:
        added = tuple(coercions.expect(roles.WhereHavingRole, clause) for clause in util.coerce_generator_arg(criteria))
        return _RelationshipComparator(
            self.prop,
            self._parententity,
            adapt_to_entity=self._adapt_to_entity,
            of_type=self._of_type,
            extra_criteria=self._extra_criteria + added,
        )

    def in_(self, other: Any) -> Any:
        raise NotImplementedError(
            "in_() not yet supported for relationships.  For a simple many-to-one, use in_() against the set of "
            "foreign key values."
        )

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: Any) -> Any:
        if other is None or isinstance(other, expression.Null):
            if self.property.direction in (ONETOMANY, MANYTOMANY):
                return ~self._criterion_exists()
            return self.property._optimized_compare(None, adapt_source=self.adapter)
        self._refuse_collection()
        return self.property._optimized_compare(other, adapt_source=self.adapter)

    def __ne__(self, other: Any) -> Any:
        if other is None or isinstance(other, expression.Null):
            if self.property.direction is MANYTOONE:
                return ~self.property._optimized_compare(None, adapt_source=self.adapter)
            return self._criterion_exists()
        self._refuse_collection()
        return self._negated_contains_or_equals(other)

    def _refuse_collection(self) -> None:
        if self.property.uselist:
            raise sa_exc.InvalidRequestError(
                "Can't compare a collection to an object or collection; use contains() to test for membership."
            )

    def any(self, criterion: Any = None, **kwargs: Any) -> Any:
        if not self.property.uselist:
            raise sa_exc.InvalidRequestError("'any()' not implemented for scalar attributes. Use has().")
        return self._criterion_exists(criterion, **kwargs)

    def has(self, criterion: Any = None, **kwargs: Any) -> Any:
        if self.property.uselist:
            raise sa_exc.InvalidRequestError("'has()' not implemented for collections. Use any().")
        return self._criterion_exists(criterion, **kwargs)

    def contains(self, other: Any, **kwargs: Any) -> Any:
        if not self.prop.uselist:
            raise sa_exc.InvalidRequestError("'contains' not implemented for scalar attributes.  Use ==")
        clause = self.prop._optimized_compare(other, adapt_source=self.adapter)
        if self.prop.secondaryjoin is not None:
            clause.negation_clause = self._negated_contains_or_equals(other)
        return clause

    def _criterion_exists(self, criterion: Any = None, **kwargs: Any) -> Any:
        """EXISTS of a related row that meets the criterion."""
        where = None if criterion is None else coercions.expect(roles.WhereHavingRole, criterion)
        is_aliased_class = False
        to_selectable = None
        dest_entity: Any = self.mapper
        if self._of_type:
            dest_entity = inspect(self._of_type)
            to_selectable, is_aliased_class = dest_entity.selectable, dest_entity.is_aliased_class
            if self.property._is_self_referential and not is_aliased_class:
                to_selectable = anonymous_fromclause(to_selectable)
            single_crit = dest_entity.mapper._single_table_criterion
            if single_crit is not None:
                where = single_crit if where is None else single_crit & where

        source_selectable = self._source_selectable() if self.adapter else None
        primaryjoin, secondaryjoin, _, dest, secondary, target_adapter = self.property._create_joins(
            dest_selectable=to_selectable, source_selectable=source_selectable
        )
        for key, value in kwargs.items():
            equal = getattr(self.property.mapper.class_, key) == value
            where = equal if where is None else where & equal

        # the user's criterion speaks of the target's class; an explicit alias says itself what it means
        if where is not None and target_adapter and not is_aliased_class:
            where = target_adapter.traverse(where)
        # and nothing of it may be adapted again by an enclosing statement
        if where is not None:
            where = annotate(where, {"no_replacement_traverse": True})

        join = primaryjoin if secondaryjoin is None else primaryjoin & secondaryjoin
        dest = annotate_for_entity(
            dest,
            {"parentmapper": dest_entity.mapper, "entity_namespace": dest_entity, "parententity": dest_entity},
            dest_entity,
        )
        froms = [dest] if secondary is None else [dest, secondary]
        return sql.exists(1).where(join & true_if_none(where)).select_from(*froms).correlate_except(*froms)

    def _negated_contains_or_equals(self, other: Any) -> Any:
        prop = self.prop
        if prop.direction is MANYTOONE and self.property._use_get:
            state = instance_state(other)

            def adapt(column: Any) -> Any:
                return self.adapter(column) if self.adapter else column

            def value_of(local: Any, remote: Any) -> Any:
                return sql.bindparam(
                    local.key,
                    type_=local.type,
                    unique=True,
                    callable_=prop._get_attr_w_warn_on_none(prop.mapper, state, None, remote),
                )

            return sql.and_(
                *[
                    sql.or_(adapt(local) != value_of(adapt(local), remote), adapt(local).is_(None))
                    for local, remote in self.property.local_remote_pairs
                ]
            )
        mapper = self.property.mapper
        key = mapper.primary_key_from_instance(other)
        criterion = sql.and_(*[column == value for column, value in zip(mapper.primary_key, key, strict=True)])
        return ~self._criterion_exists(criterion)

    # last in the class: it hides the builtin
    @property
    def property(self) -> Any:
        """The relationship, configured."""
        self.prop.parent._check_configure()
        return self.prop
