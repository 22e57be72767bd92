"""``Query.update()`` and ``Query.delete()``, and the context objects their events get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sqlalchemy import exc as sa_exc
from sqlalchemy import sql

from ._query_results import _QueryResults

if TYPE_CHECKING:
    from .._sa import _DMLColumnArgument
    from .session import Session

    SynchronizeSessionArgument = Literal[False, "auto", "evaluate", "fetch"]

_FROM_METHODS = "join(), outerjoin(), select_from(), or from_self()"

# attributes an UPDATE or DELETE has no place for: unset value, and the methods that set them
_REFUSED = (
    ("_limit_clause", None, "limit()"),
    ("_offset_clause", None, "offset()"),
    ("_order_by_clauses", (), "order_by()"),
    ("_group_by_clauses", (), "group_by()"),
    ("_distinct", False, "distinct()"),
    ("_from_obj", (), _FROM_METHODS),
    ("_setup_joins", (), _FROM_METHODS),
)


class BulkUD:
    """What an event about ``Query.update()`` or ``.delete()`` is told: query, mapper, session and result."""

    result: Any

    def __init__(self, query: Any) -> None:
        self.query = query.enable_eagerloads(False)
        self._validate_query_state()
        self.mapper = self.query._entity_from_pre_ent_zero()

    def _validate_query_state(self) -> None:
        for attr, unset, method in _REFUSED:
            value = getattr(self.query, attr)
            # clauses must not be compared: == makes an expression
            if value is not unset and not (unset == () and isinstance(value, tuple) and not value):
                raise sa_exc.InvalidRequestError(
                    f"Can't call Query.update() or Query.delete() when {method} has been called"
                )

    @property
    def session(self) -> Session:
        session: Session = self.query.session
        return session


class BulkUpdate(BulkUD):
    """The context of ``Query.update()``: adds ``values`` and ``update_kwargs``."""

    def __init__(self, query: Any, values: Any, update_kwargs: dict[Any, Any] | None) -> None:
        super().__init__(query)
        self.values = values
        self.update_kwargs = update_kwargs


class BulkDelete(BulkUD):
    """The context of ``Query.delete()``: adds ``delete_kwargs``."""

    def __init__(self, query: Any, delete_kwargs: dict[Any, Any] | None) -> None:
        super().__init__(query)
        self.delete_kwargs = delete_kwargs


_T = TypeVar("_T", bound=Any)


class _QueryBulk(_QueryResults[_T]):
    """UPDATE and DELETE with a query's criteria."""

    def delete(
        self, synchronize_session: SynchronizeSessionArgument = "auto", delete_args: dict[Any, Any] | None = None
    ) -> int:
        """DELETE the matching rows and return their number.

        :param synchronize_session: how objects in the session learn of it: "auto", "evaluate", "fetch" or False.
        :param delete_args: dialect options of the statement.
        """
        context = BulkDelete(self, delete_args)
        query = self._before_bulk(self.dispatch.before_compile_delete, context)
        stmt: Any = sql.delete(*query._raw_columns)
        if delete_args:
            stmt = stmt.with_dialect_options(**delete_args)
        rowcount: int = query._execute_bulk(stmt, context, synchronize_session)
        query.session.dispatch.after_bulk_delete(context)
        context.result.close()
        return rowcount

    def update(
        self,
        values: dict[_DMLColumnArgument, Any],
        synchronize_session: SynchronizeSessionArgument = "auto",
        update_args: dict[Any, Any] | None = None,
    ) -> int:
        """UPDATE the matching rows and return their number.

        :param values: attribute, or name of one → value or expression.
        :param synchronize_session: how objects in the session learn of it: "auto", "evaluate", "fetch" or False.
        :param update_args: dialect options of the statement, and ``preserve_parameter_order``.
        """
        update_args = update_args or {}
        context = BulkUpdate(self, values, update_args)
        query = self._before_bulk(self.dispatch.before_compile_update, context)
        stmt: Any = sql.update(*query._raw_columns)
        if update_args.pop("preserve_parameter_order", False):
            stmt = stmt.ordered_values(*values)
        else:
            stmt = stmt.values(values)
        if update_args:
            stmt = stmt.with_dialect_options(**update_args)
        rowcount: int = query._execute_bulk(stmt, context, synchronize_session)
        query.session.dispatch.after_bulk_update(context)
        context.result.close()
        return rowcount

    def _before_bulk(self, listeners: Any, context: BulkUD) -> Any:
        """The query to go on with: this one, or what the listeners put in its place."""
        if not listeners:
            return self
        for listener in listeners:
            replaced = listener(context.query, context)
            if replaced is not None:
                context.query = replaced
        return context.query

    def _execute_bulk(self, stmt: Any, context: BulkUD, synchronize_session: Any) -> int:
        stmt._where_criteria = self._where_criteria
        for extension in self._syntax_extensions:
            stmt._apply_syntax_extension_to_self(extension)
        result: Any = self.session.execute(
            stmt,
            self._params,
            execution_options=self._execution_options.union({"synchronize_session": synchronize_session}),
        )
        context.result = result
        rowcount: int = result.rowcount
        return rowcount
