"""Relationships loaded when they are first read: ``lazy="select"``, or an error instead: ``"raise"``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Optional

from sqlalchemy import and_, inspect, util
from sqlalchemy import exc as sa_exc
from sqlalchemy.sql import util as sql_util
from sqlalchemy.sql import visitors
from sqlalchemy.sql.selectable import Select

from .. import _core, _sa
from . import _detached, _on_lazy, interfaces, relationships
from . import util as orm_util
from ._lazy_peers import instead_of_load
from ._prepared_loads import NO_LANE, only_object, owned_rows
from ._prepared_select import may_vary
from ._statement_cache import plain_session
from ._strategies_noload import _AbstractRelationshipLoader
from .base import LoaderCallableStatus, PassiveFlag, instance_state
from .context import QueryContext, _ORMCompileState
from .strategies import _overridden_strategy, _register_attribute

if TYPE_CHECKING:
    from ._row_plans import EntityParts, RowPlanBuilder

_NONE = frozenset((None,))
_NEVER_SET = (LoaderCallableStatus.NEVER_SET,)

# a longer one is seldom seen twice
_LONGEST_KEPT_PATH = 10
_ABSENT = (None, LoaderCallableStatus.NEVER_SET, LoaderCallableStatus.PASSIVE_NO_RESULT)
_PASSIVE_OFF = int(PassiveFlag.PASSIVE_OFF)
# the same in a session that was flushed for this load, whatever the flush has loaded
_FLUSHED = PassiveFlag.PASSIVE_OFF | PassiveFlag.NO_AUTOFLUSH | PassiveFlag.DEFERRED_HISTORY_LOAD
_LAZY = (("lazy", "select"),)


@relationships.RelationshipProperty.strategy_for(lazy=True)
@relationships.RelationshipProperty.strategy_for(lazy="select")
@relationships.RelationshipProperty.strategy_for(lazy="raise")
@relationships.RelationshipProperty.strategy_for(lazy="raise_on_sql")
@relationships.RelationshipProperty.strategy_for(lazy="baked_select")
class _LazyLoader(_AbstractRelationshipLoader, util.MemoizedSlots):
    """Loads by a SELECT of its own at the first access, or from the identity map."""

    __slots__ = (
        "_bind_to_col",
        "_equated_columns",
        "_lazywhere",
        "_native",
        "_order_by",
        "_quick",
        "_raise_always",
        "_raise_on_sql",
        "_rev_bind_to_col",
        "_rev_equated_columns",
        "_rev_lazywhere",
        "_simple_lazy_clause",
        "is_aliased_class",
        "use_get",
    )

    parent_property: Any

    def __init__(self, parent: Any, strategy_key: Any) -> None:
        super().__init__(parent, strategy_key)
        self._raise_always = self.strategy_opts["lazy"] == "raise"
        self._raise_on_sql = self.strategy_opts["lazy"] == "raise_on_sql"
        self.is_aliased_class = inspect(self.entity).is_aliased_class

        join = self.parent_property._join_condition
        self._lazywhere, self._bind_to_col, self._equated_columns = join.create_lazy_clause()
        self._rev_lazywhere, self._rev_bind_to_col, self._rev_equated_columns = join.create_lazy_clause(
            reverse_direction=True
        )
        order_by = self.parent_property.order_by
        self._order_by = util.to_list(order_by) if order_by else None

        # many-to-one by primary key: a get()
        self.use_get = (
            not self.is_aliased_class
            and not self.uselist
            and self.entity._get_clause[0].compare(
                self._lazywhere,
                use_proxies=True,
                compare_keys=False,
                equivalents=self.mapper._equivalent_columns,
            )
        )
        if self.use_get:
            for column in list(self._equated_columns):
                for equivalent in self.mapper._equivalent_columns.get(column, ()):
                    self._equated_columns[equivalent] = self._equated_columns[column]

    def init_class_attribute(self, mapper: Any) -> None:
        self.is_class_level = True
        prop = self.parent_property
        active_history = prop.active_history
        deferred_history = False
        if not active_history and (prop.direction is not interfaces.MANYTOONE or not self.use_get):
            active_history = prop._legacy_inactive_history_style
            deferred_history = not active_history
        _register_attribute(
            prop,
            mapper,
            useobject=True,
            callable_=self._load_at_class_level,
            typecallable=prop.collection_class,
            active_history=active_history,
            _deferred_history=deferred_history,
        )

    def plan_row(
        self,
        builder: RowPlanBuilder,
        query_entity: Any,
        path: Any,
        loadopt: Any,
        mapper: Any,
        adapter: Any,
        parts: EntityParts,
    ) -> None:
        context = builder.context
        only = builder.only_load_props
        if context.load_options._is_user_refresh and only and self.key in only:
            self._immediate_plan_row(builder, query_entity, path, loadopt, mapper, adapter, parts)
            return
        if not self.is_class_level or (loadopt and loadopt._extra_criteria):
            parts.overrides[self.key] = (self.strategy_key, loadopt)
            if self.uselist:
                parts.reset.append(mapper.class_manager[self.key]._index)
        elif context.populate_existing or mapper.always_refresh:
            parts.reset.append(mapper.class_manager[self.key]._index)

    # loading

    def _load_at_class_level(self, state: Any, passive: Any) -> Any:
        if passive == _PASSIVE_OFF:
            if _on_lazy.is_watched:
                found = instead_of_load(self, state)
                if found is not NO_LANE:
                    return found
            native = self._native
            related = NO_LANE if native is None else native.load(state)
            if related is not NO_LANE:
                return related
        override = _overridden_strategy(state, self.parent_property)
        if override is None:
            if passive == _PASSIVE_OFF and not state.load_options and self._quick is not None:
                answer = self._quick_load(state)
                if answer is not NO_LANE:
                    return answer
            elif self.use_get and self._native is not None:
                answer = self._native.known(state, passive)
                if answer is not NO_LANE:
                    # from now on the native core looks for itself
                    state.manager[self.key]._set_known(self._native, self._load_at_class_level)
                    return answer
            return self._load_for_state(state, passive)
        strategy, option = override
        criteria = option._extra_criteria if option else ()
        return strategy._load_for_state(state, passive, loadopt=option, extra_criteria=criteria)

    def _invoke_raise_load(self, state: Any, passive: Any, lazy: str) -> None:
        raise sa_exc.InvalidRequestError(f"'{self}' is not available due to lazy='{lazy}'")

    def _load_for_state(
        self,
        state: Any,
        passive: Any,
        loadopt: Any = None,
        extra_criteria: tuple[Any, ...] = (),
        extra_options: tuple[Any, ...] = (),
        alternate_effective_path: Any = None,
        execution_options: Any = util.EMPTY_DICT,
    ) -> Any:
        pending = not state.key
        if pending and (not (self.parent_property.load_on_pending or state._load_pending) or not state.session_id):
            return LoaderCallableStatus.ATTR_EMPTY

        use_get = self.use_get and not (loadopt and loadopt._extra_criteria)
        if (not passive & PassiveFlag.SQL_OK and not use_get) or (
            pending and not passive & PassiveFlag.NON_PERSISTENT_OK
        ):
            return LoaderCallableStatus.PASSIVE_NO_RESULT
        if (
            self._raise_always
            and not passive & PassiveFlag.NO_RAISE
            # for history a get() from the map alone is no load
            and (not use_get or passive & PassiveFlag.RELATED_OBJECT_OK)
        ):
            self._invoke_raise_load(state, passive, "raise")

        session = state.session
        if not session:
            if passive & PassiveFlag.NO_RAISE:
                return LoaderCallableStatus.PASSIVE_NO_RESULT
            raise _detached.lazy_load(state, self.key)

        identity = None
        if use_get:
            identity = self._get_ident_for_use_get(state, passive)
            answer = self._answer_without_sql(session, state, identity, passive)
            if answer is not _SQL_NEEDED:
                return answer

        return self._emit_lazyload(
            session,
            state,
            identity,
            passive,
            loadopt,
            extra_criteria,
            extra_options,
            alternate_effective_path,
            execution_options,
        )

    def _memoized_attr__quick(self) -> Optional[tuple[tuple[int, ...], Any, tuple[Any, ...]]]:
        """(parent attributes to read, names of the parameters they fill, constant parameters); None: no plain case."""
        prop = self.parent_property
        if self._raise_always or self._raise_on_sql or prop._target_correlates_to_parent:
            return None
        parent = prop.parent
        manager = parent.class_manager
        if self.use_get:
            names = [self.mapper._get_clause[1][column].key for column in self.mapper.primary_key]
            pairs = list(zip(names, [self._equated_columns[c] for c in self.mapper.primary_key], strict=True))
            constants: tuple[Any, ...] = ()
        else:
            keys = self._simple_lazy_clause[1]
            pairs = [(key, column) for key, column, _ in keys if column is not None]
            constants = tuple((key, value) for key, column, value in keys if column is None)
        if any(column not in parent._columntoproperty for _, column in pairs):
            return None
        attributes = tuple(manager[parent._columntoproperty[column].key]._index for _, column in pairs)
        return attributes, tuple(name for name, _ in pairs), constants

    def _memoized_attr__native(self) -> Any:
        """The native loader of a plain many-to-one by primary key, or of a plain collection."""
        if self._quick is None:
            return None
        places, _, constants = self._quick
        if self.use_get:
            own = self.parent_property.parent.class_manager[self.key]
            return _core.KeyedRelation(self.mapper.class_manager, places, own._index)
        return _core.RelatedRows(self.mapper.class_manager, places) if self.uselist and not constants else None

    def _quick_load(self, state: Any) -> Any:
        """A persistent parent in a session nobody listens to, its key loaded; NO_LANE in any other case."""
        session = state.session
        if session is None or state.key is None or not plain_session(session) or state.identity_token is not None:
            return NO_LANE
        places, names, constants = self._quick
        value = _core.read_loaded([state.obj()], places)[0]
        if value is LoaderCallableStatus.NO_VALUE:
            return NO_LANE
        values = (value,) if len(places) == 1 else value
        mapper = self.mapper
        if self.use_get:
            if None in values:
                return None if mapper.allow_partial_pks is False or _NONE.issuperset(values) else NO_LANE
            if type(session)._identity_lookup is not _plain_identity_lookup():
                return NO_LANE
            found = session.identity_map.get((mapper._identity_class, values, None))
            if found is not None:
                usable = not mapper.inherits or isinstance(found, mapper.class_)
                return found if usable and not instance_state(found).expired else NO_LANE
        parameters = dict(zip(names, values, strict=True), **dict(constants))
        session._autoflush()
        rows = owned_rows(session, self, mapper, self._quick_statement, parameters, relation=self._native)
        if rows is NO_LANE:
            identity = values if self.use_get else None
            return self._emit_lazyload(session, state, identity, _FLUSHED, None, (), (), None, util.EMPTY_DICT)
        return self._value_of(rows)

    def _quick_statement(self, path: Any = None, options: tuple[Any, ...] = ()) -> Any:
        statement = self._statement()
        path = path or self.parent_property.parent._path_registry
        statement._compile_options += {"_current_path": path[self.parent_property]}
        if options:
            statement._with_options = options
        if self.use_get:
            statement._where_criteria = (self.mapper._get_clause[0],)
            return statement
        if self._order_by:
            statement._order_by_clauses = self._order_by
        statement = self._without_way_back(statement)
        statement._where_criteria = (self._simple_lazy_clause[0],)
        return statement

    def _needs_sql(self, session: Any, state: Any) -> bool:
        if not self.use_get:
            return True
        identity = self._get_ident_for_use_get(state, PassiveFlag.PASSIVE_OFF)
        return self._answer_without_sql(session, state, identity, PassiveFlag.PASSIVE_OFF) is _SQL_NEEDED

    def _answer_without_sql(self, session: Any, state: Any, identity: list[Any], passive: Any) -> Any:
        """The object from the identity map, None for a NULL key; _SQL_NEEDED if the row has to be looked up."""
        if LoaderCallableStatus.PASSIVE_NO_RESULT in identity:
            return LoaderCallableStatus.PASSIVE_NO_RESULT
        if LoaderCallableStatus.NEVER_SET in identity:
            return LoaderCallableStatus.NEVER_SET
        some_null = _NONE.intersection if not self.mapper.allow_partial_pks else _NONE.issuperset
        if some_null(identity):
            return None
        if not passive & PassiveFlag.DEFERRED_HISTORY_LOAD and self.key in state.dict:
            return LoaderCallableStatus.ATTR_WAS_SET
        instance = session._identity_lookup(self.entity, identity, passive=passive, lazy_loaded_from=state)
        if instance is LoaderCallableStatus.PASSIVE_CLASS_MISMATCH:
            return None
        if instance is not None:
            return instance
        if not passive & PassiveFlag.SQL_OK or not passive & PassiveFlag.RELATED_OBJECT_OK:
            return LoaderCallableStatus.PASSIVE_NO_RESULT
        return _SQL_NEEDED

    def _get_ident_for_use_get(self, state: Any, passive: Any) -> list[Any]:
        mapper = state.mapper
        if passive & PassiveFlag.LOAD_AGAINST_COMMITTED:
            get = mapper._get_committed_state_attr_by_column
        else:
            get = mapper._get_state_attr_by_column
        values = state.dict
        equated = self._equated_columns
        return [get(state, values, equated[column], passive=passive) for column in self.mapper.primary_key]

    def _emit_lazyload(
        self,
        session: Any,
        state: Any,
        primary_key_identity: Optional[Sequence[Any]],
        passive: Any,
        loadopt: Any,
        extra_criteria: tuple[Any, ...],
        extra_options: tuple[Any, ...],
        alternate_effective_path: Any,
        execution_options: Any,
    ) -> Any:
        from . import loading

        has_criteria = loadopt and loadopt._extra_criteria
        if not (has_criteria or extra_options):
            found = self._load_as_before(
                session, state, primary_key_identity, passive, alternate_effective_path, execution_options
            )
            if found is not NO_LANE:
                return found
        statement = self._statement()
        pending = not state.key
        if pending or passive & PassiveFlag.NO_AUTOFLUSH:
            statement._execution_options = util.immutabledict({"autoflush": False})
        load_options = QueryContext.default_load_options + {
            "_invoke_all_eagers": False,
            "_lazy_loaded_from": state,
        }

        use_get = self.use_get
        path = alternate_effective_path
        if state.load_options or has_criteria:
            options = tuple(state.load_options)
            if has_criteria:
                use_get = False
                options += (orm_util.LoaderCriteriaOption(self.entity, and_(*extra_criteria)),)
            statement._with_options = options
            path = path or state.load_path
        path = path or state.mapper._path_registry
        if extra_options:
            statement._with_options += extra_options
        statement._compile_options += {"_current_path": path[self.parent_property]}

        if use_get:
            if self._raise_on_sql and not passive & PassiveFlag.NO_RAISE:
                self._invoke_raise_load(state, passive, "raise_on_sql")
            return loading._load_on_pk_identity(
                session,
                statement,
                primary_key_identity,
                load_options=load_options,
                execution_options=execution_options,
            )

        if self._order_by:
            statement._order_by_clauses = self._order_by
        statement = self._without_way_back(statement)

        criterion, params = self._generate_lazy_clause(state, passive)
        if self.key in state.dict and not passive & PassiveFlag.DEFERRED_HISTORY_LOAD:
            return LoaderCallableStatus.ATTR_WAS_SET
        absent = _ABSENT if pending else _NEVER_SET
        if any(value is one for value in params.values() for one in absent):
            return None
        if self._raise_on_sql and not passive & PassiveFlag.NO_RAISE:
            self._invoke_raise_load(state, passive, "raise_on_sql")

        statement._where_criteria = (criterion,)
        found = (
            session.execute(
                statement,
                params,
                execution_options=util.EMPTY_DICT.merge_with(execution_options, {"_sa_orm_load_options": load_options}),
            )
            .unique()
            .scalars()
            .all()
        )
        return self._value_of(found)

    def _load_as_before(
        self,
        session: Any,
        state: Any,
        identity: Optional[Sequence[Any]],
        passive: Any,
        path: Any,
        execution_options: Any,
    ) -> Any:
        """What a parent with loader options is given by a statement that parents with the same options have made;
        NO_LANE if it has to be made for this one."""
        path = path or state.load_path or state.mapper._path_registry
        options = tuple(state.load_options)
        top = execution_options.get("sa_top_level_orm_context") if execution_options else None
        if (
            not state.key
            or state.identity_token is not None
            or passive & PassiveFlag.NO_AUTOFLUSH
            or self._raise_on_sql
            or len(path) > _LONGEST_KEPT_PATH
            or not plain_session(session)
            or any(map(may_vary, options))
            or len(execution_options) > (top is not None)
            or (top is not None and (top.execution_options or top.query._execution_options))
        ):
            return NO_LANE
        values: dict[str, Any]
        if identity is None:
            values = self._generate_lazy_clause(state, passive)[1]
            if self.key in state.dict or any(value is one for value in values.values() for one in _NEVER_SET):
                return NO_LANE
        elif None in identity:
            return NO_LANE
        else:
            bind_of = self.mapper._get_clause[1]
            values = {bind_of[c].key: value for c, value in zip(self.mapper.primary_key, identity, strict=True)}
        session._autoflush()
        rows = owned_rows(
            session,
            (self, path.path, options),
            self.mapper,
            lambda: self._quick_statement(path, options),
            values,
            top=top,
        )
        return NO_LANE if rows is NO_LANE else self._value_of(rows)

    def _value_of(self, found: list[Any]) -> Any:
        if self.uselist:
            return found
        if self.use_get:
            return only_object(found)
        if len(found) > 1:
            util.warn(
                f"Multiple rows returned with uselist=False for lazily-loaded attribute '{self.parent_property}' "
            )
        return found[0] if found else None

    def _statement(self) -> Any:
        prop = self.parent_property
        entity = self.entity.__clause_element__()
        statement = Select._create_raw_select(
            _raw_columns=[entity],
            _propagate_attrs=entity._propagate_attrs,
            _compile_options=_ORMCompileState.default_compile_options,
        )
        if prop._target_correlates_to_parent:
            # a LATERAL target can't be selected without the parent
            parent: Any = orm_util.AliasedClass(self.parent.class_)
            statement = statement.select_from(parent).join(getattr(parent, self.key).of_type(self.entity))
        if prop.secondary is not None:
            statement = statement.select_from(self.mapper, prop.secondary)
        return statement

    def _without_way_back(self, statement: Any) -> Any:
        """Keep eager loads from leading straight back to the parent: it is in the identity map."""
        if not any(self._leading_back()):
            return statement
        return _sa.add_compile_state_func(statement, self._lazyload_reverse, self.parent_property)

    def _leading_back(self) -> Iterator[Any]:
        for reverse in self.parent_property._reverse_property:
            if (
                reverse.direction is interfaces.MANYTOONE
                and reverse._use_get
                and not isinstance(reverse.strategy, _LazyLoader)
            ):
                yield reverse

    def _lazyload_reverse(self, compile_state: Any) -> None:
        from .strategy_options import Load

        for reverse in self._leading_back():
            Load._construct_for_existing_path(compile_state.compile_options._current_path[reverse.parent]).lazyload(
                reverse
            ).process_compile_state(compile_state)

    # parameters

    def _memoized_attr__simple_lazy_clause(self) -> tuple[Any, list[tuple[str, Any, Any]]]:
        """The criterion with parameters of fixed names, and what each takes: a column of the parent, or a value."""
        bind_to_col = self._bind_to_col
        params: list[tuple[str, Any, Any]] = []

        def fix_name(bind: Any) -> None:
            bind.unique = False

        def collect(bind: Any) -> None:
            if bind._identifying_key in bind_to_col:
                params.append((bind.key, bind_to_col[bind._identifying_key], None))
            elif bind.callable is None:
                params.append((bind.key, None, bind.value))

        criterion = self._lazywhere
        visitors.traverse(criterion, {}, {"bindparam": fix_name})
        return visitors.cloned_traverse(criterion, {}, {"bindparam": collect}), params

    def _generate_lazy_clause(self, state: Any, passive: Any) -> Any:
        criterion, param_keys = self._simple_lazy_clause
        if state is None:
            return sql_util.adapt_criterion_to_null(criterion, [key for key, _, _ in param_keys])

        mapper = self.parent_property.parent
        passive &= ~PassiveFlag.INIT_OK
        if passive & PassiveFlag.LOAD_AGAINST_COMMITTED:
            get = mapper._get_committed_state_attr_by_column
        else:
            get = mapper._get_state_attr_by_column
        values = state.dict
        params: dict[str, Any] = {
            key: value if column is None else get(state, values, column, passive) for key, column, value in param_keys
        }
        return criterion, params


_SQL_NEEDED = object()


def _plain_identity_lookup() -> Any:
    from .session import Session

    return Session._identity_lookup
