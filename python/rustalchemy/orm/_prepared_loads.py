"""Loads that the ORM does of its own accord, on the lane: lazy loads, ``get()``, refreshes, loads that follow a result.

Their statements are made and prepared once. Where a session has no lane, the answer is :data:`NO_LANE` or None, and the
caller takes the way through Core. What is plain enough is left to the native core for the next time.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

import sqlalchemy as sa

from .._core import FollowingLoad, PreparedRow, RelatedRows
from . import exc
from ._lane import Lane
from ._prepared_select import LAZY_OPTIONS, REFRESH, PreparedSelect
from ._statement_cache import cached, plain_session
from .context import _ORMCompileState

# the caller has to go through Core
NO_LANE: Any = NotImplemented

# settings of `lazy` that load with the object
_EAGER = frozenset({"joined", False, "selectin", "subquery", "immediate"})


def owned_rows(
    session: Any,
    owner: Any,
    mapper: Any,
    make: Callable[[], Any],
    values: Mapping[str, Any],
    *,
    relation: Optional[RelatedRows] = None,
    top: Any = None,
) -> Any:
    """Rows of a loader's own statement, made by ``make`` at first use; NO_LANE if it has to go through Core.

    For sessions that are plain and were flushed. ``top``: the context of the execution that it follows, if any. With
    ``relation`` the statement is left to the native core, which then does the loads that are as plain as this one.
    """
    lane: Optional[Lane] = session._lane(mapper)
    if lane is None:
        return NO_LANE
    dialect = lane.dialect
    prepared = cached(dialect, owner, lambda: _prepared_alike(make(), dialect, tuple(values)))
    if prepared is None:
        return NO_LANE
    try:
        parameters = prepared.parameters((), values)
    except BaseException as err:
        lane.refuse(err, prepared.sql, [dict(values)])
    if parameters is None:
        return NO_LANE
    given = tuple(values), tuple(values.values())
    rows = prepared.run(session, lane, parameters, given, LAZY_OPTIONS, top)
    if relation is not None and (plan := prepared.context_free_plan(True)) is not None:
        layout = prepared.layout(tuple(values))
        mapper._prepared_related[relation] = PreparedRow(dialect, prepared.sql, *layout, plan.row_plan)
    if len(rows) > 1 and len(set(map(id, rows))) != len(rows):
        # joined collections, or a secondary table with a link twice
        rows = list({id(row): row for row in rows}.values())
    return rows


def _prepared_alike(statement: Any, dialect: Any, names: tuple[str, ...]) -> Optional[PreparedSelect]:
    """What was prepared for any owner's statement with the same content: an owner may be new each time."""

    def make() -> Optional[PreparedSelect]:
        return PreparedSelect.of(statement, dialect, names=names)

    cache_key = statement._generate_cache_key()
    return make() if cache_key is None else cached(dialect, ("owned", names, cache_key.key), make)


class FollowingSelect:
    """A loader's SELECT that follows another statement: kept with that one, and compiled once for each dialect.

    It is made of the loader options of the compiled statement that it follows. In each execution these options, and the
    parameters in them, are those of the statement that is executed.
    """

    __slots__ = ("_dialect", "_parameters", "_prepared", "statement")

    def __init__(self, statement: Any) -> None:
        self.statement = statement
        self._dialect: Any = lambda: None
        self._prepared: Optional[PreparedSelect] = None
        # an index among those of the statement that it follows, or a parameter of its own
        self._parameters: Sequence[Any] = ()

    def rows(
        self, context: Any, given: Mapping[str, Any], options: Callable[[], tuple[Any, ...]], is_grouped: bool = False
    ) -> Any:
        """All rows; with ``is_grouped`` the last thing of each by those before it, see ``_core.group_rows``.

        None if the statement has to go through Core.
        ``context``: the execution that it follows, ``options``: the statement's loader options of this time.
        """
        session = context.session
        if not plain_session(session):
            return None
        lane = session._lane(self.statement._propagate_attrs["plugin_subject"].mapper)
        if lane is None:
            return None
        if self._dialect() is not lane.dialect:
            self._prepare(lane.dialect, context.compiled_parameters)
        if self._prepared is None:
            return None
        parameters = self._parameters
        if any(type(parameter) is int for parameter in parameters):
            values = context.parameters
            parameters = [values[each] if type(each) is int else each for each in parameters]
        spelled = self._prepared.with_lists(parameters, given)
        if spelled is None:
            return None
        session._autoflush()
        top = context._get_top_level_context()
        return self._prepared.rows_after(
            session, lane, *spelled, given, self.statement, parameters, options, top, is_grouped
        )

    def following_load(self, index: int, attribute: int, size: int) -> Optional[FollowingLoad]:
        """What the native core runs it by for the dialect it was last run on; None if there is more to it."""
        return None if self._prepared is None else self._prepared.following_load(index, attribute, size)

    def _prepare(self, dialect: Any, followed: Sequence[Any]) -> None:
        self._dialect = weakref.ref(dialect)
        self._prepared = None
        cache_key = self.statement._generate_cache_key()
        if cache_key is None:
            return
        places = {id(bind): index for index, bind in enumerate(followed)}
        names = {bind._identifying_key for bind in followed}
        parameters: list[Any] = [places.get(id(bind), bind) for bind in cache_key.bindparams]
        if any(type(bind) is not int and bind._identifying_key in names for bind in parameters):
            return  # the copy of a parameter, whose value is another one each time
        prepared = cached(dialect, cache_key.key, lambda: PreparedSelect.of(self.statement, dialect, cache_key))
        # rows of joined collections have to be made unique
        if prepared is not None and not prepared.multiplies_rows:
            self._prepared = prepared
            self._parameters = parameters


def get_by_key(session: Any, mapper: Any, identity: Sequence[Any]) -> Any:
    """The object of a primary key from the database, None if there is none; NO_LANE if Core has to be asked.

    For sessions that are plain and were flushed. Raises MultipleResultsFound where several objects have that key.
    """
    lane: Optional[Lane] = session._lane(mapper)
    if lane is None:
        return NO_LANE
    dialect = lane.dialect
    if not mapper.configured:
        # the class was mapped, but nothing has asked for mappers to be configured
        mapper._check_configure()
    templates = mapper._get_templates
    template = templates.get(dialect)
    if template is None:
        template = templates[dialect] = _get_template(mapper, dialect)
    prepared, names, constants, fills = template
    if prepared is None:
        return NO_LANE
    parameters = list(constants)
    try:
        for place, index, processor in fills:
            value = identity[index]
            parameters[place] = value if processor is None else processor(value)
    except BaseException as err:
        lane.refuse(err, prepared.sql, [tuple(identity)])
    rows = prepared.run(session, lane, parameters, (names, identity), LAZY_OPTIONS)
    native = mapper._prepared_get
    if native is None or native.dialect is not dialect:
        known = prepared.context_free_plan(True)
        if known is not None:
            mapper._prepared_get = PreparedRow(dialect, prepared.sql, constants, fills, known.row_plan)
    return only_object(rows)


def only_object(found: Sequence[Any]) -> Any:
    """The object that was found by primary key, or None; MultipleResultsFound if the database knows of no such key."""
    if len(found) > 1 and any(each is not found[0] for each in found):
        raise exc.MultipleResultsFound("Multiple rows were found when exactly one was required")
    return found[0] if found else None


def _get_template(
    mapper: Any, dialect: Any
) -> tuple[Optional[PreparedSelect], Sequence[str], Sequence[Any], Sequence[Any]]:
    """The statement of ``get()``, the names of its parameters, and where the values of the primary key go."""
    criterion, bind_of = mapper._get_clause
    names = [bind_of[column].key for column in mapper.primary_key]
    prepared = PreparedSelect.of(_select_where(mapper, criterion), dialect, names=names)
    return (None, (), (), ()) if prepared is None else (prepared, names, *prepared.layout(names))


def may_be_refreshed(session: Any, state: Any) -> bool:
    """Whether to try :func:`refresh_state`, after a flush."""
    key = state.key
    return (
        key is not None
        and None not in key[1]
        and state.identity_token is None
        and not state.load_options
        and plain_session(session)
    )


def refresh_state(session: Any, mapper: Any, state: Any, names: Any, *, is_user_refresh: bool = False) -> Any:
    """Whether the row of a persistent state was there and loaded into it; NO_LANE if Core has to be asked.

    ``is_user_refresh``: by ``Session.refresh()``, which loads relationships that are named as well.
    """
    identity = state.key[1]
    lane = session._lane(mapper)
    if lane is None:
        return NO_LANE
    dialect = lane.dialect
    criterion, bind_of = mapper._get_clause
    values = {bind_of[column].key: value for column, value in zip(mapper.primary_key, identity, strict=True)}
    only = frozenset(names) if names else None

    def make() -> Optional[PreparedSelect]:
        statement = _select_where(mapper, criterion)
        options = _ORMCompileState.default_compile_options + {"_for_refresh_state": True}
        statement._compile_options = options + {"_only_load_props": only} if only else options
        return PreparedSelect.of(statement, dialect, names=tuple(values))

    prepared = cached(dialect, ("refresh", mapper, only, is_user_refresh), make)
    parameters = prepared.parameters((), values) if prepared is not None else None
    if prepared is None or parameters is None:
        return NO_LANE
    is_wholly_expired = state.expired
    found = prepared.refresh(session, lane, parameters, state, is_user_refresh)
    if is_user_refresh:
        return found
    if only and is_wholly_expired:
        _keep_refresh(mapper, prepared, list(values), only)
    return found


def _keep_refresh(mapper: Any, prepared: PreparedSelect, names: list[str], only: frozenset[str]) -> None:
    """Let the native core refresh wholly expired objects of the mapper, where one row of one table is all it takes."""
    native = mapper._prepared_refresh
    if native is not None and native.dialect is prepared.dialect:
        return
    plan = prepared.context_free_plan(REFRESH)
    if plan is None or mapper.inherits or any(prop.lazy in _EAGER for prop in mapper.relationships):
        return
    manager = mapper.class_manager
    mapper._prepared_refresh = PreparedRow(
        prepared.dialect,
        prepared.sql,
        *prepared.layout(names),
        plan.row_plan,
        attributes=sorted(manager[name]._index for name in only),
        only_attributes=bool(plan.only_load_props),
    )


def _select_where(mapper: Any, criterion: Any) -> Any:
    statement: Any = sa.select(mapper)
    statement._where_criteria = (criterion,)
    return statement
