"""Queries that are built once from functions and kept: what programs used before statements were cached by themselves.

A `BakedQuery` is a list of functions, each of which gets a query and returns it with something added; the first one
gets a session. Their code, and the arguments given beside them, is the key under which a `Bakery` keeps the finished
statement, so that the functions are called no more. What varies between executions is passed as parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Optional, Union

from sqlalchemy import bindparam, exc, func, literal_column, util

from ..orm import Query, Session

__all__ = ["BakedQuery", "Bakery", "Result", "bakery"]

_Step = Callable[..., Any]


class Bakery:
    """Makes baked queries that share a cache."""

    __slots__ = ("cache", "cls")

    def __init__(self, cls_: type[BakedQuery], cache: Any) -> None:
        self.cls = cls_
        self.cache = cache

    def __call__(self, initial_fn: _Step, *args: Any) -> BakedQuery:
        """A baked query that begins with what a function makes of a session."""
        return self.cls(self.cache, initial_fn, args)


class BakedQuery:
    """A query to be built by functions, of which the result is kept."""

    __slots__ = ("_bakery", "_cache_key", "_spoiled", "steps")

    def __init__(self, bakery: Any, initial_fn: _Step, args: tuple[Any, ...] = ()) -> None:
        self._cache_key: tuple[Any, ...] = (initial_fn.__code__, *args)
        self.steps: list[_Step] = [initial_fn]
        self._spoiled = False
        self._bakery = bakery

    @classmethod
    def bakery(cls, size: int = 200, _size_alert: Optional[Callable[[Any], None]] = None) -> Bakery:
        """A new bakery; ``size``: of how many queries it keeps the statements at least."""
        return Bakery(cls, util.LRUCache(size, size_alert=_size_alert))

    def _clone(self) -> BakedQuery:
        clone = BakedQuery.__new__(BakedQuery)
        clone._cache_key = self._cache_key
        clone.steps = list(self.steps)
        clone._bakery = self._bakery
        clone._spoiled = self._spoiled
        return clone

    def add_criteria(self, fn: _Step, *args: Any) -> BakedQuery:
        """Add a function, and arguments that tell its results apart, to this object; also ``+=``."""
        self._cache_key += (fn.__code__, *args)
        self.steps.append(fn)
        return self

    def with_criteria(self, fn: _Step, *args: Any) -> BakedQuery:
        """As `add_criteria()`, to a copy; also ``+``."""
        return self._clone().add_criteria(fn, *args)

    def __iadd__(self, other: Union[_Step, tuple[Any, ...]]) -> BakedQuery:
        return self.add_criteria(*other) if isinstance(other, tuple) else self.add_criteria(other)

    def __add__(self, other: Union[_Step, tuple[Any, ...]]) -> BakedQuery:
        return self.with_criteria(*other) if isinstance(other, tuple) else self.with_criteria(other)

    def for_session(self, session: Session) -> Result:
        """What runs the query in a session; also by calling this object."""
        return Result(self, session)

    __call__ = for_session

    def spoil(self, full: bool = False) -> BakedQuery:
        """Call the functions that are added from now on at each execution; with ``full``, those before them, too."""
        if not full and not self._spoiled:
            until_now = self._clone()
            until_now._cache_key += ("_query_only",)
            self.steps = [until_now._kept_query]
        self._spoiled = True
        return self

    def to_query(self, query_or_session: Union[Query[Any], Session]) -> Query[Any]:
        """The query itself, to be a part of another one; takes what the function that needs it was given."""
        if isinstance(query_or_session, Session):
            return self._as_query(query_or_session)
        if not isinstance(query_or_session, Query):
            raise TypeError(f"Query or Session object expected, got {type(query_or_session)!r}.")
        session: Optional[Session] = query_or_session.session
        if session is None:
            raise exc.ArgumentError("Given Query needs to be associated with a Session")
        return self._as_query(session)

    def _as_query(self, session: Session) -> Any:
        query = self.steps[0](session)
        for step in self.steps[1:]:
            query = step(query)
        return query

    def _effective_key(self, session: Session) -> tuple[Any, ...]:
        # what is kept has the class of the session's queries
        return (*self._cache_key, session._query_cls)

    def _kept_query(self, session: Session) -> Any:
        """The query, kept for functions that are called at each execution."""
        key = self._effective_key(session)
        query = self._bakery.get(key)
        if query is None:
            query = self._bakery[key] = self._as_query(session).with_session(None)
        return query.with_session(session)

    def _kept_statement(self, session: Session) -> tuple[Any, Any]:
        """The query and its statement, unless a listener of ``before_compile`` wants to see it each time."""
        key = self._effective_key(session)
        kept: Optional[tuple[Any, Any]] = self._bakery.get(key)
        if kept is None:
            query = self._as_query(session).with_session(None)
            kept = query, query._statement_20()
            if kept[1]._compile_options._bake_ok:
                self._bakery[key] = kept
        return kept


class Result:
    """A baked query in a session; its methods run it, as those of `Query` do."""

    __slots__ = ("_params", "_post_criteria", "bq", "session")

    def __init__(self, bq: BakedQuery, session: Session) -> None:
        self.bq = bq
        self.session = session
        self._params: dict[str, Any] = {}
        self._post_criteria: list[_Step] = []

    def params(self, *args: Mapping[str, Any], **kw: Any) -> Result:
        """Give values for parameters of the statement, in one dictionary or by name."""
        if len(args) > 1:
            raise exc.ArgumentError("params() takes zero or one positional argument, which is a dictionary.")
        for given in (kw, *args):
            self._params.update(given)
        return self

    def with_post_criteria(self, fn: _Step) -> Result:
        """Add a function that is called at each execution; it may give the query parameters and execution options."""
        self._post_criteria.append(fn)
        return self

    def _with_post_criteria_of(self, other: Result) -> Result:
        self._post_criteria.extend(other._post_criteria)
        return self

    def _finished(self, query: Any) -> Any:
        if self._params:
            query = query.params(self._params)
        for fn in self._post_criteria:
            query = fn(query)
        return query

    def _as_query(self) -> Any:
        return self._finished(self.bq._as_query(self.session))

    def _iter(self) -> Any:
        if not self.session.enable_baked_queries or self.bq._spoiled:
            return self._as_query()._iter()
        query, statement = self.bq._kept_statement(self.session)
        query = self._finished(query)
        result: Any = self.session.execute(
            statement,
            query._params,
            execution_options={**query._execution_options, "_sa_orm_load_options": query.load_options},
        )
        if result._attributes.get("is_single_entity", False):
            result = result.scalars()
        if result._attributes.get("filtered", False) and not query.load_options._yield_per:
            result = result.unique()
        return result

    def __iter__(self) -> Iterator[Any]:
        return iter(self._iter())

    def __str__(self) -> str:
        return str(self._as_query())

    def all(self) -> list[Any]:
        """Everything, as a list."""
        found: list[Any] = self._iter().all()
        return found

    def one(self) -> Any:
        """The only object or row; raises NoResultFound or MultipleResultsFound."""
        return self._iter().one()

    def one_or_none(self) -> Any:
        """The only object or row, or None; raises MultipleResultsFound."""
        return self._iter().one_or_none()

    def first(self) -> Any:
        """The first object or row, or None."""
        limited = self.bq.with_criteria(lambda query: query.slice(0, 1))
        return limited(self.session).params(self._params)._with_post_criteria_of(self)._iter().first()

    def scalar(self) -> Any:
        """The first column of the only row, or None if there is no row; raises MultipleResultsFound."""
        try:
            found = self.one()
        except exc.NoResultFound:
            return None
        return found[0] if isinstance(found, Sequence) else found

    def count(self) -> int:
        """How many rows there are, by SELECT count(*) around the statement."""
        number = func.count(literal_column("*"))
        counting = self.bq.with_criteria(lambda query: query._legacy_from_self(number))
        found: int = counting(self.session).params(self._params).scalar()
        return found

    def get(self, ident: Any) -> Any:
        """The object with this primary key, or None: from the session if it is there."""
        return self.bq.steps[0](self.session)._get_impl(ident, self._load_by_key)

    def _load_by_key(self, session: Session, statement: Any, primary_key_identity: Any, **kw: Any) -> Any:
        mapper = statement.column_descriptions[0]["entity"].__mapper__
        nones = tuple(value is None for value in primary_key_identity)

        def by_key(query: Any) -> Any:
            query._no_criterion_assertion("get", order_by=False, distinct=False)
            parts = []
            for number, prop in enumerate(mapper._identity_key_props):
                attribute = getattr(mapper.class_, prop.key)
                parts.append(attribute.is_(None) if nones[number] else attribute == bindparam(f"pk_{number + 1}"))
            return query.order_by(None).filter(*parts)

        keyed = self.bq.with_criteria(by_key, mapper, nones)
        values = {f"pk_{number}": value for number, value in enumerate(primary_key_identity, 1) if value is not None}
        return keyed(session).params(values)._with_post_criteria_of(self).one_or_none()


bakery = BakedQuery.bakery
