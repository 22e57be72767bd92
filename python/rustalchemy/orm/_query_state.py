"""What a Query knows, and how that becomes a statement.

A Query holds the same attributes as a Core ``Select`` (``_where_criteria``, ``_setup_joins``, ...), so that a Select
made from its ``__dict__`` compiles as if it had been built with ``select()``. ``_query_criteria`` adds the methods that
change this state, ``_query_results`` and ``_query_bulk`` those that use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import exc as sa_exc
from sqlalchemy import log, util
from sqlalchemy.event import EventTarget
from sqlalchemy.sql import coercions, roles, visitors
from sqlalchemy.sql.annotation import SupportsCloneAnnotations
from sqlalchemy.sql.base import Executable, Generative
from sqlalchemy.sql.elements import BooleanClauseList
from sqlalchemy.sql.selectable import (
    HasHints,
    HasPrefixes,
    HasSuffixes,
    SelectLabelStyle,
)

from .._sa import (
    COMPILE_STATE_FUNCS,
    COMPILE_STATE_PLUGIN,
    _generative,
    _offset_or_limit_clause,
    _SelectFromElements,
    create_raw_select,
    plugin_class_for,
)
from ._query_lane import _QueryLane
from .context import FromStatement, QueryContext, _determine_last_joined_entity, _ORMCompileState
from .interfaces import ORMColumnsClauseRole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.sql.elements import ColumnElement
    from sqlalchemy.sql.selectable import ForUpdateArg, FromClause, Select
    from sqlalchemy.util.typing import Self

    from .._core import Symbolic
    from .mapper import Mapper
    from .session import Session


class _Deferred:
    """An attribute of a symbolic query: asked for, it makes a full query of it."""

    def __init__(self, default: Any = None) -> None:
        self.default = default

    def __set_name__(self, owner: Any, name: str) -> None:
        self.name = name

    def __get__(self, query: Any, owner: Any) -> Any:
        if query is None:
            return self.default
        query._build()
        return query.__dict__.get(self.name, self.default)


class _QueryState(
    _SelectFromElements,
    SupportsCloneAnnotations,
    HasPrefixes,
    HasSuffixes,
    HasHints,
    EventTarget,
    log.Identified,
    Generative,
    Executable,
):
    """The attributes of a Query, its checks, and the statement made from them."""

    # a query that is not built yet: see _query_lane
    _symbolic: Symbolic | None = None

    _raw_columns: Any = _Deferred()
    _where_criteria: Any = _Deferred(())
    _propagate_attrs: Any = _Deferred(util.EMPTY_DICT)
    _having_criteria: tuple[ColumnElement[Any], ...] = ()
    _order_by_clauses: Any = _Deferred(())
    _group_by_clauses: tuple[ColumnElement[Any], ...] = ()
    _limit_clause: Any = _Deferred()
    _offset_clause: Any = _Deferred()
    _distinct: bool = False
    _distinct_on: tuple[ColumnElement[Any], ...] = ()
    _for_update_arg: ForUpdateArg | None = None
    _correlate: tuple[FromClause, ...] = ()
    _auto_correlate: bool = True
    _from_obj: tuple[FromClause, ...] = ()
    _setup_joins: tuple[Any, ...] = ()
    _memoized_select_entities: tuple[Any, ...] = ()
    _syntax_extensions: tuple[Any, ...] = ()
    _label_style: SelectLabelStyle = SelectLabelStyle.LABEL_STYLE_LEGACY_ORM
    _compile_options: Any = _ORMCompileState.default_compile_options
    _params: util.immutabledict[str, Any] = util.EMPTY_DICT
    _statement: Any = None
    _enable_assertions = True
    load_options: Any = QueryContext.default_load_options + {"_legacy_uniquing": True}

    session: Session

    def __init__(self, entities: Any, session: Session | None = None) -> None:
        self.session = session  # type: ignore[assignment]  # a query may get its session later
        lane = _QueryLane.of(entities) if self._may_be_symbolic else None
        if lane is not None:
            self._symbolic = lane.start
        else:
            self._set_entities(entities)
            if self._may_be_symbolic:
                _QueryLane.open(entities, self._raw_columns)

    # -- symbolic queries --------------------------------------------------------------------------------------------

    # Query itself sets this; a subclass may override what the lane passes by
    _may_be_symbolic = False

    def _build(self) -> None:
        """Make a full query of a symbolic one."""
        symbolic = self._symbolic
        if symbolic is None:
            return
        self._symbolic = None
        lane, values, order = symbolic.lane, symbolic.values, symbolic.shape.order
        self._set_entities(lane.class_)
        entity = self._raw_columns[0]
        if values:
            self._where_criteria = tuple(
                coercions.expect(roles.WhereHavingRole, criterion, apply_propagate_attrs=self)
                for criterion in lane.criteria_of(entity, values)
            )
        if order:
            self._order_by_clauses = tuple(
                coercions.expect(roles.OrderByRole, clause) for clause in lane.clauses_of(entity, order)
            )
        if symbolic.limit is not None:
            self._limit_clause = _offset_or_limit_clause(symbolic.limit)
        if symbolic.offset is not None:
            self._offset_clause = _offset_or_limit_clause(symbolic.offset)

    def _with_criteria(self, criteria: tuple[Any, ...]) -> Self | None:
        """A symbolic copy with more comparisons; None if this has to be a full query."""
        symbolic: Symbolic = self._symbolic  # type: ignore[assignment]  # the caller saw that it is symbolic
        values = symbolic.lane.values_of(criteria)
        return symbolic.with_values(self, values) if values else None

    def _with_order(self, clauses: tuple[Any, ...]) -> Self | None:
        """A symbolic copy that is ordered by more columns; None if this has to be a full query."""
        symbolic: Symbolic = self._symbolic  # type: ignore[assignment]  # the caller saw that it is symbolic
        order = symbolic.lane.order_of(clauses)
        if not order or symbolic.is_limited:
            return None
        return symbolic.with_shape(self, symbolic.lane.ordered_shape(symbolic.shape, order))

    def _with_limits(self, limit: Any, offset: Any) -> Self | None:
        """A symbolic copy with LIMIT and OFFSET in place of its own; None if this has to be a full query."""
        symbolic: Symbolic = self._symbolic  # type: ignore[assignment]  # the caller saw that it is symbolic
        if not ((limit is None or type(limit) is int) and (offset is None or type(offset) is int)):
            return None
        return symbolic.with_limits(self, limit, offset)

    def _copy(self) -> Self:
        query = self.__class__.__new__(self.__class__)
        query.__dict__ = self.__dict__.copy()
        return query

    def _generate(self) -> Self:
        if self._symbolic is not None:
            self._build()
        return super()._generate()

    def __getstate__(self) -> dict[str, Any]:
        self._build()
        return self.__dict__

    # -- entities ----------------------------------------------------------------------------------------------------

    def _set_propagate_attrs(self, values: Mapping[str, Any]) -> Self:
        self._propagate_attrs = util.immutabledict(values)
        return self

    def _set_entities(self, entities: Any) -> None:
        self._raw_columns = [
            coercions.expect(roles.ColumnsClauseRole, entity, apply_propagate_attrs=self, post_inspect=True)
            for entity in util.to_list(entities)
        ]

    def _set_select_from(self, obj: Iterable[Any], set_base_alias: bool) -> None:
        self._from_obj = tuple(coercions.expect(roles.FromClauseRole, elem, apply_propagate_attrs=self) for elem in obj)
        self._compile_options += {"_set_base_alias": set_base_alias}

    def _entity_from_pre_ent_zero(self) -> Any:
        """The entity, or bundle, of the first column; None if it belongs to none."""
        if not self._raw_columns:
            return None
        first = self._raw_columns[0]
        for name in ("parententity", "bundle"):
            if name in first._annotations:
                return first._annotations[name]
        for element in visitors.iterate(first):
            if "parententity" in element._annotations:
                return element._annotations["parententity"]
        return None

    def _only_full_mapper_zero(self, methname: str) -> Mapper[Any]:
        columns = self._raw_columns
        if len(columns) != 1 or "parententity" not in columns[0]._annotations or not columns[0].is_selectable:
            raise sa_exc.InvalidRequestError(f"{methname}() can only be used against a single mapped class.")
        mapper: Mapper[Any] = columns[0]._annotations["parententity"]
        return mapper

    @property
    def is_single_entity(self) -> bool:
        """Whether this query returns objects instead of rows."""
        if self.load_options._only_return_tuples or len(self._raw_columns) != 1:
            return False
        return isinstance(self._raw_columns[0]._annotations.get("parententity"), ORMColumnsClauseRole)

    @util.memoized_property
    def _last_joined_entity(self) -> Any:
        return _determine_last_joined_entity(self._setup_joins) if self._setup_joins else None

    def _filter_by_zero(self) -> Any:
        """What the keywords of ``filter_by()`` are attributes of."""
        if self._setup_joins:
            last = self._last_joined_entity
            if last is not None:
                return last
        if self._from_obj and not self._compile_options._set_base_alias:
            return self._from_obj[0]
        return self._raw_columns[0]

    # -- checks ------------------------------------------------------------------------------------------------------

    def _no_criterion_assertion(self, meth: str, order_by: bool = True, distinct: bool = True) -> None:
        if not self._enable_assertions:
            return
        if (
            self._where_criteria
            or self._statement is not None
            or self._from_obj
            or self._setup_joins
            or self._limit_clause is not None
            or self._offset_clause is not None
            or self._group_by_clauses
            or (order_by and self._order_by_clauses)
            or (distinct and self._distinct)
        ):
            self._refuse_criterion(meth)

    def _no_criterion_condition(self, meth: str, order_by: bool = True, distinct: bool = True) -> None:
        self._no_criterion_assertion(meth, order_by, distinct)
        self._from_obj = self._setup_joins = ()
        self._where_criteria = self._order_by_clauses = self._group_by_clauses = ()
        self._distinct = False

    def _no_clauseelement_condition(self, meth: str) -> None:
        if not self._enable_assertions:
            return
        if self._order_by_clauses:
            self._refuse_criterion(meth)
        self._no_criterion_condition(meth)

    @staticmethod
    def _refuse_criterion(meth: str) -> None:
        raise sa_exc.InvalidRequestError(f"Query.{meth}() being called on a Query with existing criterion. ")

    def _no_statement_condition(self, meth: str) -> None:
        if self._enable_assertions and self._statement is not None:
            raise sa_exc.InvalidRequestError(
                f"Query.{meth}() being called on a Query with an existing full statement - can't apply criterion."
            )

    def _no_limit_offset(self, meth: str) -> None:
        if self._enable_assertions and self._has_row_limiting_clause:
            raise sa_exc.InvalidRequestError(
                f"Query.{meth}() being called on a Query which already has LIMIT or OFFSET applied.  "
                f"Call {meth}() before limit() or offset() are applied."
            )

    @property
    def _has_row_limiting_clause(self) -> bool:
        return self._limit_clause is not None or self._offset_clause is not None

    # -- options of compilation and loading --------------------------------------------------------------------------

    def _get_options(
        self,
        populate_existing: bool | None = None,
        version_check: bool | None = None,
        only_load_props: Sequence[str] | None = None,
        refresh_state: Any = None,
        identity_token: Any = None,
    ) -> Self:
        self._build()
        load_options = {
            "_version_check": version_check,
            "_populate_existing": populate_existing,
            "_refresh_state": refresh_state,
            "_identity_token": identity_token,
        }
        compile_options: dict[str, Any] = {}
        if refresh_state:
            compile_options["_for_refresh_state"] = True
        if only_load_props:
            compile_options["_only_load_props"] = frozenset(only_load_props)
        self.load_options += {key: value for key, value in load_options.items() if value}
        self._compile_options += compile_options
        return self

    @_generative
    def _with_compile_options(self, **opt: Any) -> Self:
        self._compile_options += opt
        return self

    @_generative
    def _set_lazyload_from(self, state: Any) -> Self:
        self.load_options += {"_lazy_loaded_from": state}
        return self

    @_generative
    def _with_current_path(self, path: Any) -> Self:
        self._compile_options += {"_current_path": path}
        return self

    @_generative
    def _with_invoke_all_eagers(self, value: bool) -> Self:
        self.load_options += {"_invoke_all_eagers": value}
        return self

    @_generative
    def _set_enable_single_crit(self, val: bool) -> Self:
        self._compile_options += {"_enable_single_crit": val}
        return self

    @property
    def _current_path(self) -> Any:
        return self._compile_options._current_path

    @property
    def lazy_loaded_from(self) -> Any:
        """The InstanceState whose attribute a lazy load is for, seen from ``do_orm_execute``; else None."""
        return self.load_options._lazy_loaded_from

    @property
    def whereclause(self) -> ColumnElement[bool] | None:
        """The criteria of ``filter()`` joined by AND, or None."""
        return BooleanClauseList._construct_for_whereclause(self._where_criteria)

    def _clone(self, **kw: Any) -> Self:
        return self._generate()

    # -- the statement -----------------------------------------------------------------------------------------------

    @property
    def statement(self) -> Any:
        """The Core statement of this query: what ``select()`` would have made, with its parameters."""
        if self._compile_options._set_base_alias:
            # entities selected from a subquery have to be adapted now; a Select could not say this
            stmt = self._compile_state(for_statement=True).statement
        else:
            stmt = self._statement_20(for_statement=True)
        return stmt.params(self._params) if self._params else stmt

    def _final_statement(self, legacy_query_style: bool = True) -> Any:
        return self._clone()._compile_state(use_legacy_query_style=legacy_query_style).statement

    def _before_compile(self) -> Self:
        """This query, or what ``before_compile`` listeners put in its place."""
        query = self
        for listener in self.dispatch.before_compile:
            replaced = listener(query)
            if replaced is not None and replaced is not query:
                query = replaced
                if not listener._bake_ok:  # type: ignore[attr-defined]  # set by QueryEvents
                    query._compile_options += {"_bake_ok": False}
        return query

    def _statement_20(self, for_statement: bool = False, use_legacy_query_style: bool = True) -> Any:
        self._build()
        query = self._before_compile() if self.dispatch.before_compile else self
        compile_options = query._compile_options + {
            "_for_statement": for_statement,
            "_use_legacy_query_style": use_legacy_query_style,
        }
        stmt: Any
        if query._statement is not None:
            stmt = FromStatement(query._raw_columns, query._statement)
            stmt.__dict__[COMPILE_STATE_FUNCS] = getattr(query, COMPILE_STATE_FUNCS)
            stmt.__dict__.update(
                _with_options=query._with_options,
                _compile_options=compile_options,
                _execution_options=query._execution_options,
                _propagate_attrs=query._propagate_attrs,
            )
        else:
            stmt = create_raw_select(query.__dict__)
            stmt.__dict__.update(
                _label_style=query._label_style,
                _compile_options=compile_options,
                _propagate_attrs=query._propagate_attrs,
            )
            for extension in query._syntax_extensions:
                stmt._apply_syntax_extension_to_self(extension)
            # a statement lives in caches and must not keep a session alive
            stmt.__dict__.pop("session", None)

        if "compile_state_plugin" not in stmt._propagate_attrs:
            # no entity in it, yet it is a Query's: rows and labels come out the ORM's way
            stmt._propagate_attrs = stmt._propagate_attrs.union(
                {"compile_state_plugin": COMPILE_STATE_PLUGIN, "plugin_subject": None}
            )
        return stmt

    def _get_select_statement_only(self) -> Select[Any]:
        if self._statement is not None:
            raise sa_exc.InvalidRequestError("Can't call this method on a Query that uses from_statement()")
        stmt: Select[Any] = self.statement
        return stmt

    def _compile_state(self, for_statement: bool = False, **kw: Any) -> Any:
        stmt = self._statement_20(for_statement=for_statement, **kw)
        return plugin_class_for(stmt)._create_orm_context(stmt, toplevel=True, compiler=None)

    def _compile_context(self, for_statement: bool = False) -> QueryContext:
        compile_state = self._compile_state(for_statement=for_statement)
        statement = compile_state.statement
        return QueryContext(compile_state, statement, statement, self._params, self.session, self.load_options)
