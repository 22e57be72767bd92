"""``ORMExecuteState``: what a ``do_orm_execute`` listener sees of one ``Session.execute()`` call."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc as sa_exc
from sqlalchemy import inspect, util
from sqlalchemy.sql import Select, dml

from ._typing import is_orm_option, is_user_defined_option

if TYPE_CHECKING:
    from sqlalchemy.engine import Result
    from sqlalchemy.sql.base import Executable

    from .mapper import Mapper
    from .path_registry import PathRegistry
    from .session import Session


@functools.cache
def _default_compile_options() -> Any:
    from .context import _ORMCompileState

    return _ORMCompileState.default_compile_options


class ORMExecuteState(util.MemoizedSlots):
    """One call of ``Session.execute()``, handed to the listeners of ``do_orm_execute``."""

    __slots__ = (
        "_compile_state_cls",
        "_events_todo",
        "_starting_event_idx",
        "_update_execution_options",
        "bind_arguments",
        "execution_options",
        "identity_token",
        "local_execution_options",
        "parameters",
        "session",
        "statement",
    )

    # which of the listeners is being called; the session counts
    _starting_event_idx: int

    def __init__(
        self,
        session: Session,
        statement: Executable,
        parameters: Any,
        execution_options: util.immutabledict[str, Any],
        bind_arguments: dict[str, Any],
        compile_state_cls: type[Any] | None,
        events_todo: Sequence[Any],
    ) -> None:
        self.session = session
        self.statement: Any = statement
        self.parameters = parameters
        self.local_execution_options = execution_options
        self.execution_options = self.statement._execution_options.union(execution_options)
        self.bind_arguments = bind_arguments
        self._compile_state_cls = compile_state_cls
        self._events_todo = list(events_todo)
        self._update_execution_options: util.immutabledict[str, Any] = util.EMPTY_DICT

    def _remaining_events(self) -> list[Any]:
        return self._events_todo[self._starting_event_idx + 1 :]

    def invoke_statement(
        self,
        statement: Executable | None = None,
        params: Any = None,
        execution_options: Any = None,
        bind_arguments: dict[str, Any] | None = None,
    ) -> Result[Any]:
        """Execute the statement now, past the listeners that already ran, and return its result."""
        arguments = dict(self.bind_arguments)
        if bind_arguments:
            arguments.update(bind_arguments)
        arguments["_sa_skip_events"] = True

        options = self.local_execution_options
        if execution_options:
            options = options.union(execution_options)
        return self.session._execute_internal(
            self.statement if statement is None else statement,
            self._merged_parameters(params) if params else self.parameters,
            execution_options=options,
            bind_arguments=arguments,
            _parent_execute_state=self,
        )

    def _merged_parameters(self, params: Any) -> Any:
        if not self.is_executemany:
            return {**(self.parameters or {}), **params}
        merged = []
        for existing, new in itertools.zip_longest(self.parameters, params):
            if existing is None or new is None:
                raise sa_exc.InvalidRequestError(
                    "Can't apply executemany parameters to statement; number of parameter sets passed to "
                    f"Session.execute() ({len(self.parameters)}) does not match number of parameter sets given to "
                    f"ORMExecuteState.invoke_statement() ({len(params)})"
                )
            merged.append({**existing, **new})
        return merged

    # --- the mappers -----------------------------------------------------------------------------------------------

    @property
    def bind_mapper(self) -> Mapper[Any] | None:
        """The mapper that decides on which bind the statement runs."""
        return self.bind_arguments.get("mapper", None)

    @property
    def all_mappers(self) -> Sequence[Mapper[Any]]:
        """The mappers at the top level of the statement, each once."""
        if not self.is_orm_statement:
            return []
        if hasattr(self.statement, "column_descriptions") and (self.is_from_statement or self._is_select_construct):
            found: dict[Mapper[Any], None] = {}
            for description in self.statement.column_descriptions:
                entity = description["entity"]
                inspected = inspect(entity, raiseerr=False) if entity else None
                if inspected and inspected.mapper:
                    found[inspected.mapper] = None
            return list(found)
        if self.statement.is_dml and self.bind_mapper:
            return [self.bind_mapper]
        return []

    # --- the kind of statement -------------------------------------------------------------------------------------

    @property
    def _is_select_construct(self) -> bool:
        return isinstance(self.statement, Select)

    @property
    def is_orm_statement(self) -> bool:
        """True if the statement has mapped entities as its subject."""
        return self._compile_state_cls is not None

    @property
    def is_executemany(self) -> bool:
        """True if the parameters are a list."""
        return isinstance(self.parameters, list)

    @property
    def is_select(self) -> bool:
        return bool(self.statement.is_select)

    @property
    def is_from_statement(self) -> bool:
        return bool(self.statement.is_from_statement)

    @property
    def is_insert(self) -> bool:
        return bool(self.statement.is_dml and self.statement.is_insert)

    @property
    def is_update(self) -> bool:
        return bool(self.statement.is_dml and self.statement.is_update)

    @property
    def is_delete(self) -> bool:
        return bool(self.statement.is_dml and self.statement.is_delete)

    @property
    def _is_crud(self) -> bool:
        return isinstance(self.statement, (dml.Update, dml.Delete))

    # --- options ---------------------------------------------------------------------------------------------------

    def update_execution_options(self, **opts: Any) -> None:
        """Add execution options to this call."""
        self.local_execution_options = self.local_execution_options.union(opts)
        self._update_execution_options = self._update_execution_options.union(opts)

    def _orm_compile_options(self) -> Any:
        if not self.statement.is_select:
            return None
        options = getattr(self.statement, "_compile_options", None)
        return options if options is not None and options.isinstance(_default_compile_options()) else None

    @property
    def lazy_loaded_from(self) -> Any:
        """The state whose lazy load this statement is, if any."""
        return self.load_options._lazy_loaded_from

    @property
    def loader_strategy_path(self) -> PathRegistry | None:
        """The path of relationships this statement loads along."""
        options = self._orm_compile_options()
        return None if options is None else options._current_path

    @property
    def is_column_load(self) -> bool:
        """True if columns of an existing object are being refreshed."""
        options = self._orm_compile_options()
        return options is not None and bool(options._for_refresh_state)

    @property
    def is_relationship_load(self) -> bool:
        """True if objects are being loaded for a relationship."""
        path = self.loader_strategy_path
        return path is not None and not path.is_root

    @property
    def load_options(self) -> Any:
        """The load options of a SELECT."""
        from . import context

        if not self.is_select:
            raise sa_exc.InvalidRequestError(
                "This ORM execution is not against a SELECT statement so there are no load options."
            )
        return self.execution_options.get("_sa_orm_load_options", context.QueryContext.default_load_options)

    @property
    def update_delete_options(self) -> Any:
        """The options of an ORM-enabled UPDATE or DELETE."""
        from ._dml_criteria import _BulkUDCompileState

        if not self._is_crud:
            raise sa_exc.InvalidRequestError(
                "This ORM execution is not against an UPDATE or DELETE statement so there are no update options."
            )
        return self.execution_options.get("_sa_orm_update_options", _BulkUDCompileState.default_update_options)

    @property
    def _non_compile_orm_options(self) -> Sequence[Any]:
        return [opt for opt in self.statement._with_options if is_orm_option(opt) and not opt._is_compile_state]

    @property
    def user_defined_options(self) -> Sequence[Any]:
        """The ``UserDefinedOption`` objects of the statement, in the order they were added."""
        items = [self.statement, *getattr(self.statement, "_memoized_select_entities", ())]
        return [opt for item in items for opt in item._with_options if is_user_defined_option(opt)]
