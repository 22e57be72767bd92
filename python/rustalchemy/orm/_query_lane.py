"""The short way of ``session.query(User).filter_by(name="x").first()``: no statement is built when its shape is known.

Such a Query stays symbolic: an entity, the values that its columns are compared with, the columns it is ordered by,
LIMIT and OFFSET. A column is named by its key where it has to be equal, else by key and operator. The first one of a
shape (entity, columns, types of the values, order) is built and compiled like any other, for each variant (what is
fetched, with or without LIMIT and OFFSET); its PreparedSelect is kept with the shape, and the native core runs it again
with other values. Any other method, and ``filter()`` or ``order_by()`` of anything else, makes a full Query of it, and
so does whatever the lane cannot do: a listener, another Query class, a value that is not a plain constant.
"""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any

from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, UnaryExpression

from .._core import PreparedRow, QueryShape, Symbolic
from .._sa import _entity_namespace_key
from ._comparison_template import PLAIN_TYPES
from ._prepared_loads import NO_LANE
from ._prepared_select import PreparedSelect
from ._statement_cache import plain_session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .mapper import Mapper
    from .session import Session

_COMPARISONS = frozenset((operators.eq, operators.ne, operators.lt, operators.le, operators.gt, operators.ge))

# shapes kept per class; a program that makes more has them in loops over keywords
_LIMIT = 200


# what is fetched: all rows, the first one, their number
ALL, FIRST, COUNT = range(3)

_DIRECTIONS = frozenset((operators.asc_op, operators.desc_op))


class _QueryLane:
    """The known shapes of queries for one mapped class."""

    __slots__ = ("_attributes", "_columns", "_count", "class_", "mapper", "names", "start")

    def __init__(self, mapper: Mapper[Any]) -> None:
        self.mapper = mapper
        self.class_ = mapper.class_
        #: a query without criteria
        self.start = Symbolic(self, QueryShape((), ()))
        self._count = 0
        #: what values are compared with: attributes that are plain columns, so that comparing them does what the
        #: shape says, by themselves and with an operator; each name is one object
        self.names: dict[Any, Any] = {prop.key: prop.key for prop in mapper.column_attrs}
        # what stands left of the operator in `User.name == "x"`, by identity; held, so that an id stays its own
        self._columns: dict[int, tuple[str, Any]] = {}
        # the attributes themselves, likewise
        self._attributes: dict[int, tuple[str, Any]] = {}
        for key in self.names:
            attribute = getattr(self.class_, key, None)
            if attribute is None:
                # a discriminator that the mapper has for itself
                continue
            column = getattr(attribute.comparator, "__clause_element__", lambda: None)()
            self._columns[id(column)] = (key, column)
            self._attributes[id(attribute)] = (key, attribute)

    @classmethod
    def of(cls, entities: Any) -> _QueryLane | None:
        """The lane for the arguments of ``session.query()``; None if it is not a class that was queried before."""
        if type(entities) is not tuple or len(entities) != 1:
            return None
        entity = entities[0]
        if not isinstance(entity, type):
            return None
        manager = entity.__dict__.get("_sa_class_manager")
        lane: _QueryLane | None = None if manager is None else manager.__dict__.get("_query_lane")
        if lane is None or lane.mapper.registry._new_mappers:
            return None
        lane.mapper.class_manager.set_query_start(lane.start)
        return lane

    @classmethod
    def open(cls, entities: Any, raw_columns: list[Any]) -> None:
        """Remember a class that a Query was made for in the ordinary way, so that its mapper is configured."""
        if len(raw_columns) != 1 or not isinstance(entities, tuple) or not isinstance(entities[0], type):
            return
        mapper = raw_columns[0]._annotations.get("parententity")
        if mapper is not None and mapper.is_mapper and mapper.class_ is entities[0]:
            mapper.class_manager._query_lane = cls(mapper)

    def next_shape(self, shape: QueryShape, name: Any, class_: type[Any]) -> QueryShape | None:
        """The shape with one more criterion, if its name is a column and comparing it gives a bound parameter."""
        name = self.names.get(name)
        if name is None or class_ not in PLAIN_TYPES or name in shape.names:
            return None
        known = shape.next(name, class_)
        if known is None:
            known = self._new_shape((*shape.names, name), shape.order)
            shape.add_next(name, class_, known)
        return known

    def ordered_shape(self, shape: QueryShape, order: tuple[tuple[str, Any], ...]) -> QueryShape:
        """The shape with more columns in ORDER BY."""
        known: QueryShape | None = shape.known.get(order)
        if known is None:
            known = shape.known[order] = self._new_shape(shape.names, shape.order + order)
        return known

    def _new_shape(self, names: tuple[Any, ...], order: tuple[tuple[str, Any], ...]) -> QueryShape:
        self._count += 1
        if self._count > _LIMIT:
            self._count = 0
            self.start.shape.forget()
        return QueryShape(names, order)

    def values_of(self, criteria: tuple[Any, ...]) -> dict[Any, Any] | None:
        """The values that columns are compared with; None if there is anything else among the criteria."""
        values: dict[Any, Any] = {}
        for criterion in criteria:
            if type(criterion) is not BinaryExpression:
                return None
            column = self._columns.get(id(criterion.left))
            bound = criterion.right
            if (
                column is None
                or type(bound) is not BindParameter
                or criterion.operator not in _COMPARISONS
                or criterion.modifiers
                or not bound.unique
                or bound.callable is not None
                or bound.expanding
                or bound.type is not criterion.left.type
            ):
                return None
            name: Any = column[0] if criterion.operator is operators.eq else (column[0], criterion.operator)
            name = self.names.setdefault(name, name)
            if name in values:
                return None
            values[name] = bound.value
        return values

    def order_of(self, clauses: tuple[Any, ...]) -> tuple[tuple[str, Any], ...] | None:
        """The columns and directions of ORDER BY; None if there is anything else among the clauses."""
        order: list[tuple[str, Any]] = []
        for clause in clauses:
            if type(clause) is UnaryExpression:
                column = self._columns.get(id(clause.element))
                direction = clause.modifier
                if column is None or clause.operator is not None or direction not in _DIRECTIONS:
                    return None
                order.append((column[0], direction))
            else:
                attribute = self._attributes.get(id(clause))
                if attribute is None:
                    return None
                order.append((attribute[0], None))
        return tuple(order)

    @staticmethod
    def criteria_of(entity: Any, values: Mapping[Any, Any]) -> list[Any]:
        """The criteria in full."""
        criteria = []
        for name, value in values.items():
            key, compare = name if type(name) is tuple else (name, operators.eq)
            criteria.append(compare(_entity_namespace_key(entity, key), value))
        return criteria

    @staticmethod
    def clauses_of(entity: Any, order: tuple[tuple[str, Any], ...]) -> list[Any]:
        """The clauses of ORDER BY in full."""
        columns = [(_entity_namespace_key(entity, key), direction) for key, direction in order]
        return [column if direction is None else direction(column) for column, direction in columns]

    def rows(self, query: Any, symbolic: Symbolic, fetched: int) -> Any:
        """What a symbolic query finds where the native core cannot say it: the objects, or a row with their number.
        None if it has to take the ordinary way, NO_LANE if the session was flushed already."""
        session = query.session
        if not is_plain(session):
            return None
        known, variant = symbolic.shape.known, symbolic.variant(fetched)
        given = symbolic.given(fetched)
        if variant not in known:
            known[variant] = _Statement.of(query, len(given), fetched)
        statement: _Statement | None = known[variant]
        if statement is None:
            return None
        rows = statement.rows(session, self.mapper, given)
        symbolic.shape.set_ready(variant, statement.ready)
        return unique(rows) if fetched == ALL and rows is not NO_LANE else rows


class _Statement:
    """One statement with parameters: compiled for a dialect at its first use there."""

    __slots__ = ("_dialect", "_fills", "_names", "_prepared", "_statement", "_template", "ready")

    def __init__(self, statement: Any, names: list[str]) -> None:
        self._statement = statement
        self._names = names
        self._dialect: Any = lambda: None
        self._prepared: PreparedSelect | None = None
        #: for the native core, once it is known that rows need nothing but a row plan
        self.ready: PreparedRow | None = None
        # constant parameters in their places, and which place takes which value through which processor
        self._template: list[Any] = []
        self._fills: list[tuple[int, int, Any]] = []

    @classmethod
    def of(cls, query: Any, count: int, fetched: int) -> _Statement | None:
        # of a copy: the query itself stays symbolic
        full = query._copy()
        full = full.limit(1) if fetched == FIRST else full._generate()
        names = []
        for criterion in full._where_criteria:
            if not isinstance(criterion, BinaryExpression) or criterion.operator not in _COMPARISONS:
                return None
            bound = criterion.right
            if not isinstance(bound, BindParameter) or bound.callable is not None or bound.expanding:
                return None
            names.append(bound.key)
        limits = [full._offset_clause] if fetched == FIRST else [full._limit_clause, full._offset_clause]
        names += [bound.key for bound in limits if bound is not None]
        if len(names) != count or len(set(names)) != count:
            return None
        if fetched == COUNT:
            full = full._counting()
        return cls(full._statement_20(), names)

    def rows(self, session: Session, mapper: Mapper[Any], values: tuple[Any, ...]) -> Any:
        session._autoflush()
        lane = session._lane(mapper)
        if lane is None:
            return NO_LANE
        if self._dialect() is not lane.dialect:
            self._prepare(lane.dialect)
        prepared = self._prepared
        if prepared is None:
            return NO_LANE
        parameters = self._template.copy()
        try:
            for place, index, processor in self._fills:
                value = values[index]
                parameters[place] = value if processor is None else processor(value)
        except BaseException as err:
            lane.refuse(err, prepared.sql, [dict(zip(self._names, values, strict=True))])
        rows = prepared.run(session, lane, parameters, (self._names, values))
        plan = prepared.context_free_plan(False)
        if plan is not None and self.ready is None:
            self.ready = PreparedRow(lane.dialect, prepared.sql, self._template, self._fills, plan.row_plan)
        return rows

    def _prepare(self, dialect: Any) -> None:
        self._dialect = weakref.ref(dialect)
        self.ready = None
        prepared = PreparedSelect.of(self._statement, dialect, names=self._names)
        if prepared is None or not prepared.parameter_keys.issuperset(self._names):
            # a value that is no parameter of the statement would stay what it was
            self._prepared = None
            return
        self._prepared = prepared
        self._template, self._fills = prepared.layout(self._names)


def is_plain(session: Any) -> bool:
    """Whether nobody but us has a say in what the session loads; a user's execute() expects to see every statement."""
    return (
        session is not None and getattr(type(session), "execute", None) is _session_execute() and plain_session(session)
    )


@functools.cache
def _session_execute() -> Any:
    from .session import Session

    return Session.execute


def unique(found: list[Any]) -> list[Any]:
    """The objects without repetitions, as a Query returns them."""
    if len(set(map(id, found))) == len(found):
        return found
    return list({id(obj): obj for obj in found}.values())
