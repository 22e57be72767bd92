"""The methods of Query that return a changed copy: criteria, joins, ordering, entities, options."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from sqlalchemy import exc as sa_exc
from sqlalchemy import inspection, util
from sqlalchemy.sql import coercions, expression, roles
from sqlalchemy.sql.selectable import LABEL_STYLE_TABLENAME_PLUS_COL, ForUpdateArg, SelectLabelStyle
from sqlalchemy.util import warn_deprecated

from .._sa import (
    _entity_namespace_key,
    _generative,
    _make_slice,
    _MemoizedSelectEntities,
    _no_kw,
    _NoArg,
    _offset_or_limit_clause,
)
from ._aliased import AliasedClass
from ._entities import with_parent
from ._query_state import _QueryState
from .base import _assertions, object_mapper
from .context import _legacy_filter_by_entity_zero

if TYPE_CHECKING:
    from sqlalchemy.sql.base import ExecutableOption, SyntaxExtension
    from sqlalchemy.sql.roles import TypedColumnsClauseRole
    from sqlalchemy.sql.selectable import Alias, Subquery
    from sqlalchemy.util.typing import Self, TupleAny, Unpack

    from .._sa import (
        _ColumnExpressionArgument,
        _ColumnExpressionOrStrLabelArgument,
        _ColumnsClauseArgument,
        _ForUpdateOfArgument,
        _FromClauseArgument,
        _JoinTargetArgument,
        _LimitOffsetType,
        _OnClauseArgument,
    )
    from .._sa import (
        _TypedColumnClauseArgument as _TCCA,
    )
    from ._typing import _O, _EntityType
    from .attributes import QueryableAttribute
    from .query import Query, RowReturningQuery
    from .session import Session

    _T0 = TypeVar("_T0", bound=Any)
    _T1 = TypeVar("_T1", bound=Any)
    _T2 = TypeVar("_T2", bound=Any)
    _T3 = TypeVar("_T3", bound=Any)
    _T4 = TypeVar("_T4", bound=Any)
    _T5 = TypeVar("_T5", bound=Any)
    _T6 = TypeVar("_T6", bound=Any)
    _T7 = TypeVar("_T7", bound=Any)

    _Clause = _ColumnExpressionOrStrLabelArgument[Any]
    _FirstClause = Literal[None, False, _NoArg.NO_ARG] | _Clause

_T = TypeVar("_T", bound=Any)

# what a query that selects from a subquery of itself leaves to the subquery
_MOVED_INTO_SUBQUERY = (
    "_where_criteria",
    "_order_by_clauses",
    "_group_by_clauses",
    "_limit_clause",
    "_offset_clause",
    "_last_joined_entity",
    "_setup_joins",
    "_memoized_select_entities",
    "_distinct",
    "_distinct_on",
    "_having_criteria",
    "_prefixes",
    "_suffixes",
    "_syntax_extensions",
)

_no_statement = _QueryState._no_statement_condition
_no_limit = _QueryState._no_limit_offset
_no_clauses = _QueryState._no_clauseelement_condition


class _QueryCriteria(_QueryState, Generic[_T]):
    """Generative methods: each returns a changed copy and leaves this query alone."""

    # -- WHERE, GROUP BY, HAVING, ORDER BY ----------------------------------------------------------------------------

    @_generative
    @_assertions(_no_statement, _no_limit)
    def filter(self, *criterion: _ColumnExpressionArgument[bool]) -> Self:
        """Add criteria to WHERE, joined by AND."""
        self._where_criteria += tuple(
            coercions.expect(roles.WhereHavingRole, crit, apply_propagate_attrs=self) for crit in criterion
        )
        return self

    def where(self, *criterion: _ColumnExpressionArgument[bool]) -> Self:
        """The same as ``filter()``."""
        return self.filter(*criterion)

    def filter_by(self, **kwargs: Any) -> Self:
        """Add ``attribute == value`` to WHERE for each keyword, of the entity joined last or else of the first."""
        symbolic = self._symbolic
        if symbolic is not None:
            query = symbolic.with_values(self, kwargs)
            if query is not None:
                return query
        entity = self._filter_by_zero()
        return self.filter(*[_entity_namespace_key(entity, key) == value for key, value in kwargs.items()])

    def order_by(
        self, __first: _FirstClause = _NoArg.NO_ARG, /, *clauses: _ColumnExpressionOrStrLabelArgument[Any]
    ) -> Self:
        """Add to ORDER BY; a single None or False takes all ordering away."""
        if self._symbolic is not None:
            symbolic = self._with_order((__first, *clauses))
            if symbolic is not None:
                return symbolic
        return self._full_order_by(__first, *clauses)

    @_generative
    def _full_order_by(self, __first: Any, /, *clauses: Any) -> Self:
        self._check_clause_list("order_by")
        self._order_by_clauses = self._clause_list(roles.OrderByRole, self._order_by_clauses, __first, clauses)
        return self

    @_generative
    def group_by(
        self, __first: _FirstClause = _NoArg.NO_ARG, /, *clauses: _ColumnExpressionOrStrLabelArgument[Any]
    ) -> Self:
        """Add to GROUP BY; a single None or False takes all grouping away."""
        self._check_clause_list("group_by")
        self._group_by_clauses = self._clause_list(roles.GroupByRole, self._group_by_clauses, __first, clauses)
        return self

    def _check_clause_list(self, meth: str) -> None:
        self._no_statement_condition(meth)
        self._no_limit_offset(meth)

    @staticmethod
    def _clause_list(role: Any, existing: tuple[Any, ...], first: Any, more: tuple[Any, ...]) -> tuple[Any, ...]:
        if not more and (first is None or first is False):
            return ()
        if first is _NoArg.NO_ARG:
            return existing
        return existing + tuple(coercions.expect(role, clause) for clause in (first, *more))

    @_generative
    @_assertions(_no_statement, _no_limit)
    def having(self, *having: _ColumnExpressionArgument[bool]) -> Self:
        """Add criteria to HAVING, joined by AND."""
        self._having_criteria += tuple(coercions.expect(roles.WhereHavingRole, crit) for crit in having)
        return self

    # -- FROM ---------------------------------------------------------------------------------------------------------

    @_generative
    @_assertions(_no_statement, _no_limit)
    def join(
        self,
        target: _JoinTargetArgument,
        onclause: _OnClauseArgument | None = None,
        *,
        isouter: bool = False,
        full: bool = False,
    ) -> Self:
        """Join to an entity or along a relationship attribute; ``onclause`` is an expression or a relationship."""
        join_target = coercions.expect(roles.JoinTargetRole, target, apply_propagate_attrs=self, legacy=True)
        on = None if onclause is None else coercions.expect(roles.OnClauseRole, onclause, legacy=True)
        self._setup_joins += ((join_target, on, None, {"isouter": isouter, "full": full}),)
        self.__dict__.pop("_last_joined_entity", None)
        return self

    def outerjoin(
        self, target: _JoinTargetArgument, onclause: _OnClauseArgument | None = None, *, full: bool = False
    ) -> Self:
        """Like ``join()``, as LEFT OUTER JOIN."""
        return self.join(target, onclause=onclause, isouter=True, full=full)

    @_generative
    @_assertions(_no_statement)
    def reset_joinpoint(self) -> Self:
        """Let ``filter_by()`` mean the first entity again instead of the one joined last."""
        self._last_joined_entity = None
        return self

    @_generative
    @_assertions(_no_clauses)
    def select_from(self, *from_obj: _FromClauseArgument) -> Self:
        """Set the FROM elements, and with them the left side of joins."""
        self._set_select_from(from_obj, False)
        return self

    @_generative
    def correlate(self, *fromclauses: Literal[None, False] | _FromClauseArgument) -> Self:
        """Name the FROM elements that belong to an enclosing SELECT; None or False for no correlation at all."""
        self._auto_correlate = False
        if fromclauses and fromclauses[0] in {None, False}:
            self._correlate = ()
        else:
            self._correlate += tuple(coercions.expect(roles.FromClauseRole, f) for f in fromclauses)
        return self

    @_generative
    def _from_selectable(self, fromclause: Any, set_entity_from: bool = True) -> Self:
        for name in _MOVED_INTO_SUBQUERY:
            self.__dict__.pop(name, None)
        self._set_select_from([fromclause], set_entity_from)
        # the subquery has the criterion of single-table inheritance already
        self._compile_options += {"_enable_single_crit": False}
        return self

    def _legacy_from_self(self, *entities: Any) -> Self:
        inner = self.set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL).correlate(None).subquery()  # type: ignore[attr-defined]
        query = self._from_selectable(inner._anonymous_fromclause())
        if entities:
            query._set_entities(entities)
        return query

    @util.became_legacy_20(
        ":meth:`_orm.Query.with_parent`", alternative="Use the :func:`_orm.with_parent` standalone construct."
    )
    def with_parent(
        self, instance: object, property: QueryableAttribute[Any] | None = None, from_entity: Any = None
    ) -> Self:
        """Keep what ``instance`` refers to by a relationship; the first fitting one if ``property`` is not given."""
        entity = inspection.inspect(from_entity) if from_entity else _legacy_filter_by_entity_zero(self)
        if property is None:
            property = self._relationship_to(object_mapper(instance), entity.mapper)
            if property is None:
                raise sa_exc.InvalidRequestError(
                    "Could not locate a property which relates instances of class "
                    f"'{entity.mapper.class_.__name__}' to instances of class '{instance.__class__.__name__}'"
                )
        return self.filter(with_parent(instance, property, entity.entity))

    @staticmethod
    def _relationship_to(mapper: Any, target: Any) -> Any:
        for prop in mapper.iterate_properties:
            if getattr(prop, "_is_relationship", False) and prop.mapper is target:
                return prop
        return None

    # -- set operations -----------------------------------------------------------------------------------------------

    def _set_op(self, expr_fn: Callable[..., Any], *q: Any) -> Self:
        return self._from_selectable(expr_fn(self, *q).subquery())

    def union(self, *q: Query[Any]) -> Self:
        """Select this query's entities from the UNION of this and the given queries."""
        return self._set_op(expression.union, *q)

    def union_all(self, *q: Query[Any]) -> Self:
        """Like ``union()``, with UNION ALL."""
        return self._set_op(expression.union_all, *q)

    def intersect(self, *q: Query[Any]) -> Self:
        """Like ``union()``, with INTERSECT."""
        return self._set_op(expression.intersect, *q)

    def intersect_all(self, *q: Query[Any]) -> Self:
        """Like ``union()``, with INTERSECT ALL."""
        return self._set_op(expression.intersect_all, *q)

    def except_(self, *q: Query[Any]) -> Self:
        """Like ``union()``, with EXCEPT."""
        return self._set_op(expression.except_, *q)

    def except_all(self, *q: Query[Any]) -> Self:
        """Like ``union()``, with EXCEPT ALL."""
        return self._set_op(expression.except_all, *q)

    # -- LIMIT, OFFSET, DISTINCT, FOR UPDATE --------------------------------------------------------------------------

    def slice(self, start: int, stop: int) -> Self:
        """Set LIMIT and OFFSET from the bounds of a Python slice."""
        symbolic = self._symbolic
        if symbolic is not None and not symbolic.is_limited and type(start) is int and type(stop) is int:
            return self._with_limits(stop - start, start or None)  # type: ignore[return-value]
        return self._full_slice(start, stop)

    @_generative
    @_assertions(_no_statement)
    def _full_slice(self, start: Any, stop: Any) -> Self:
        self._limit_clause, self._offset_clause = _make_slice(self._limit_clause, self._offset_clause, start, stop)
        return self

    def limit(self, limit: _LimitOffsetType) -> Self:
        """Set LIMIT."""
        if self._symbolic is not None:
            symbolic = self._with_limits(limit, self._symbolic.offset)
            if symbolic is not None:
                return symbolic
        return self._full_limit(limit)

    @_generative
    @_assertions(_no_statement)
    def _full_limit(self, limit: Any) -> Self:
        self._limit_clause = _offset_or_limit_clause(limit)
        return self

    def offset(self, offset: _LimitOffsetType) -> Self:
        """Set OFFSET."""
        if self._symbolic is not None:
            symbolic = self._with_limits(self._symbolic.limit, offset)
            if symbolic is not None:
                return symbolic
        return self._full_offset(offset)

    @_generative
    @_assertions(_no_statement)
    def _full_offset(self, offset: Any) -> Self:
        self._offset_clause = _offset_or_limit_clause(offset)
        return self

    @_generative
    @_assertions(_no_statement)
    def distinct(self, *expr: _ColumnExpressionArgument[Any]) -> Self:
        """Make it SELECT DISTINCT."""
        self._distinct = True
        if expr:
            warn_deprecated(
                "Passing expression to ``distinct`` to generate a DISTINCT ON clause is deprecated. "
                "Use instead the ``postgresql.distinct_on`` function as an extension.",
                "2.1",
            )
            self._distinct_on += tuple(coercions.expect(roles.ByOfRole, e) for e in expr)
        return self

    @_generative
    def with_for_update(
        self,
        *,
        nowait: bool = False,
        read: bool = False,
        of: _ForUpdateOfArgument | None = None,
        skip_locked: bool = False,
        key_share: bool = False,
    ) -> Self:
        """Add FOR UPDATE (or its variants) to the SELECT."""
        self._for_update_arg = ForUpdateArg(
            read=read, nowait=nowait, of=of, skip_locked=skip_locked, key_share=key_share
        )
        return self

    @_generative
    def ext(self, extension: SyntaxExtension) -> Self:
        """Add a syntax extension to the statement."""
        self._syntax_extensions += (coercions.expect(roles.SyntaxExtensionRole, extension),)
        return self

    # -- entities and columns -----------------------------------------------------------------------------------------

    @overload
    def with_entities(self, _entity: _EntityType[_O]) -> Query[_O]: ...
    @overload
    def with_entities(self, _colexpr: TypedColumnsClauseRole[_T]) -> RowReturningQuery[_T]: ...
    @overload
    def with_entities(self, __ent0: _TCCA[_T0], __ent1: _TCCA[_T1], /) -> RowReturningQuery[_T0, _T1]: ...
    @overload
    def with_entities(
        self, __ent0: _TCCA[_T0], __ent1: _TCCA[_T1], __ent2: _TCCA[_T2], /
    ) -> RowReturningQuery[_T0, _T1, _T2]: ...
    @overload
    def with_entities(
        self, __ent0: _TCCA[_T0], __ent1: _TCCA[_T1], __ent2: _TCCA[_T2], __ent3: _TCCA[_T3], /
    ) -> RowReturningQuery[_T0, _T1, _T2, _T3]: ...
    @overload
    def with_entities(
        self, __ent0: _TCCA[_T0], __ent1: _TCCA[_T1], __ent2: _TCCA[_T2], __ent3: _TCCA[_T3], __ent4: _TCCA[_T4], /
    ) -> RowReturningQuery[_T0, _T1, _T2, _T3, _T4]: ...
    @overload
    def with_entities(
        self,
        __ent0: _TCCA[_T0],
        __ent1: _TCCA[_T1],
        __ent2: _TCCA[_T2],
        __ent3: _TCCA[_T3],
        __ent4: _TCCA[_T4],
        __ent5: _TCCA[_T5],
        /,
    ) -> RowReturningQuery[_T0, _T1, _T2, _T3, _T4, _T5]: ...
    @overload
    def with_entities(
        self,
        __ent0: _TCCA[_T0],
        __ent1: _TCCA[_T1],
        __ent2: _TCCA[_T2],
        __ent3: _TCCA[_T3],
        __ent4: _TCCA[_T4],
        __ent5: _TCCA[_T5],
        __ent6: _TCCA[_T6],
        /,
    ) -> RowReturningQuery[_T0, _T1, _T2, _T3, _T4, _T5, _T6]: ...
    @overload
    def with_entities(
        self,
        __ent0: _TCCA[_T0],
        __ent1: _TCCA[_T1],
        __ent2: _TCCA[_T2],
        __ent3: _TCCA[_T3],
        __ent4: _TCCA[_T4],
        __ent5: _TCCA[_T5],
        __ent6: _TCCA[_T6],
        __ent7: _TCCA[_T7],
        /,
        *entities: _ColumnsClauseArgument[Any],
    ) -> RowReturningQuery[_T0, _T1, _T2, _T3, _T4, _T5, _T6, _T7, Unpack[TupleAny]]: ...
    @overload
    def with_entities(self, *entities: _ColumnsClauseArgument[Any]) -> Query[Any]: ...
    @_generative
    def with_entities(self, *entities: _ColumnsClauseArgument[Any], **__kw: Any) -> Query[Any]:
        """Replace what is selected and keep the rest."""
        if __kw:
            raise _no_kw()
        _MemoizedSelectEntities._generate_for_statement(self)  # type: ignore[arg-type]
        self._set_entities(entities)
        return self  # type: ignore[return-value]  # the part stands for the whole

    @_generative
    def add_columns(self, *column: _ColumnExpressionArgument[Any]) -> Query[Any]:
        """Select these too."""
        self._raw_columns = [
            *self._raw_columns,
            *(
                coercions.expect(roles.ColumnsClauseRole, c, apply_propagate_attrs=self, post_inspect=True)
                for c in column
            ),
        ]
        return self  # type: ignore[return-value]  # the part stands for the whole

    @_generative
    def add_entity(self, entity: _EntityType[Any], alias: Alias | Subquery | None = None) -> Query[Any]:
        """Select this entity too, from ``alias`` if given."""
        if alias is not None:
            entity = AliasedClass(entity, alias)
        self._raw_columns = [
            *self._raw_columns,
            coercions.expect(roles.ColumnsClauseRole, entity, apply_propagate_attrs=self),
        ]
        return self  # type: ignore[return-value]  # the part stands for the whole

    @util.deprecated(
        "1.4",
        ":meth:`_query.Query.add_column` is deprecated and will be removed in a future release.  "
        "Please use :meth:`_query.Query.add_columns`",
    )
    def add_column(self, column: _ColumnExpressionArgument[Any]) -> Query[Any]:
        """Select this column too."""
        return self.add_columns(column)

    @_generative
    @_assertions(_no_clauses)
    def from_statement(self, statement: roles.SelectStatementRole) -> Self:
        """Run this statement instead of a SELECT of the query's own and load the entities from its rows."""
        self._statement = coercions.expect(roles.SelectStatementRole, statement, apply_propagate_attrs=self)
        return self

    def set_label_style(self, style: SelectLabelStyle) -> Self:
        """Say how columns are labelled in ``statement`` and subqueries."""
        if self._label_style is style:
            return self
        query = self._generate()
        query._label_style = style
        return query

    @property
    def get_label_style(self) -> SelectLabelStyle:
        """The label style in effect."""
        return self._label_style

    @util.became_legacy_20(
        ":meth:`_orm.Query.with_labels` and :meth:`_orm.Query.apply_labels`",
        alternative="Use set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL) instead.",
    )
    def with_labels(self) -> Self:
        """Label columns as ``table_column``."""
        return self.set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)

    apply_labels = with_labels

    # -- how it is loaded ---------------------------------------------------------------------------------------------

    @_generative
    def options(self, *args: ExecutableOption) -> Self:
        """Add loader options; lists of options are taken apart."""
        opts: tuple[Any, ...] = tuple(util.flatten_iterator(args))
        conditionally = bool(self._compile_options._current_path)
        for opt in opts:
            if not opt._is_core and opt._is_legacy_option:
                if conditionally:
                    opt.process_query_conditionally(self)
                else:
                    opt.process_query(self)
        self._with_options += opts
        return self

    def with_transformation(self, fn: Callable[[Query[Any]], Query[Any]]) -> Query[Any]:
        """Return ``fn(self)``: for method chains."""
        return fn(self)  # type: ignore[arg-type]  # the part stands for the whole

    @_generative
    def execution_options(self, **kwargs: Any) -> Self:
        """Set execution options of the statement."""
        self._execution_options = self._execution_options.union(kwargs)
        return self

    def get_execution_options(self) -> util.immutabledict[str, Any]:
        """The execution options set so far."""
        return self._execution_options

    @_generative
    def params(self, __params: dict[str, Any] | None = None, /, **kw: Any) -> Self:
        """Give values for ``bindparam()`` names in the criteria."""
        if __params:
            kw.update(__params)
        self._params = self._params.union(kw)
        return self

    @_generative
    def yield_per(self, count: int) -> Self:
        """Load and hand out ``count`` rows at a time."""
        self.load_options += {"_yield_per": count}
        return self

    @_generative
    def autoflush(self, setting: bool) -> Self:
        """Say whether running the query flushes the session first."""
        self.load_options += {"_autoflush": setting}
        return self

    @_generative
    def populate_existing(self) -> Self:
        """Overwrite objects that are loaded already with what the rows say."""
        self.load_options += {"_populate_existing": True}
        return self

    @_generative
    def enable_eagerloads(self, value: bool) -> Self:
        """Say whether eager loading takes part in the statement."""
        self._compile_options += {"_enable_eagerloads": value}
        return self

    @_generative
    def enable_assertions(self, value: bool) -> Self:
        """Say whether methods refuse states of the query in which they make no sense."""
        self._enable_assertions = value
        return self

    @overload
    def only_return_tuples(self: Query[_O], value: Literal[True]) -> RowReturningQuery[_O]: ...  # type: ignore[misc]
    @overload
    def only_return_tuples(self: Query[_O], value: Literal[False]) -> Query[_O]: ...  # type: ignore[misc]
    @_generative
    def only_return_tuples(self, value: bool) -> Query[Any]:
        """Return rows even for a single entity."""
        self.load_options += {"_only_return_tuples": value}
        return self  # type: ignore[return-value]  # the part stands for the whole

    @util.deprecated(
        "2.1.0",
        "The :meth:`.Query.tuples` method is deprecated, :class:`.Row` now behaves like a tuple and can unpack "
        "types directly.",
    )
    def tuples(self: Query[_O]) -> Query[tuple[_O]]:  # type: ignore[misc]
        """Return rows even for a single entity."""
        return self.only_return_tuples(True)  # type: ignore[return-value]

    @_generative
    def with_session(self, session: Session) -> Self:
        """Run in another session."""
        self.session = session
        return self
