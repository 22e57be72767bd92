"""Object loading of a Session: ``get()`` past the identity map, ``refresh()``, ``merge()``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc as sa_exc
from sqlalchemy import inspect, sql, util

from .. import _sa
from .._core import MergePlan
from . import _concurrent_use, attributes, context, descriptor_props, exc, loading
from ._prepared_loads import NO_LANE, get_by_key, may_be_refreshed, refresh_state
from ._row_plans import merge_load_options
from ._session_execution import StatementExecution
from ._statement_cache import plain_session
from .base import LoaderCallableStatus, PassiveFlag, instance_str, object_mapper, object_state, state_str

if TYPE_CHECKING:
    from sqlalchemy.sql.selectable import ForUpdateParameter
    from typing_extensions import Self, Unpack

    from ._typing import _O, _EntityBindKey, _GetOptions
    from .interfaces import ORMOption
    from .mapper import Mapper

_NONE = frozenset([None])
_PLAIN_KEYS = (int, str)


class ObjectLoading(StatementExecution):
    """The part of a Session that brings single objects in from the database or from elsewhere."""

    autoflush: bool
    _flushing: bool
    _warn_on_events: bool
    identity_map: Any

    if TYPE_CHECKING:

        def flush(self, objects: Sequence[Any] | None = None) -> None: ...
        def expire(self, instance: object, attribute_names: Iterable[str] | None = None) -> None: ...
        def get(self, entity: _EntityBindKey[_O], ident: Any, **kw: Unpack[_GetOptions]) -> _O | None: ...
        def add(self, instance: object, *, _warn: bool = True) -> None: ...
        def __contains__(self, instance: object) -> bool: ...
        def _flush_warning(self, method: str) -> None: ...
        def _uow_merge_known(self, instance: object) -> Any: ...

    # --- autoflush -------------------------------------------------------------------------------------------------

    @property
    @contextmanager
    def no_autoflush(self) -> Iterator[Self]:
        """A block in which nothing is flushed by itself."""
        before = self.autoflush
        self.autoflush = False
        try:
            yield self
        finally:
            self.autoflush = before

    @_sa.tag_method_for_warnings(
        "This warning originated from the Session 'autoflush' process, which was invoked automatically in response "
        "to a user-initiated operation. Consider using ``no_autoflush`` context manager if this warning happened "
        "while initializing objects.",
        sa_exc.SAWarning,
    )
    def _autoflush(self) -> None:
        if self.autoflush and not self._flushing:
            try:
                self.flush()
            except sa_exc.StatementError as err:
                err.add_detail(
                    "raised as a result of Query-invoked autoflush; consider using a session.no_autoflush block if "
                    "this flush is occurring prematurely"
                )
                err.add_detail(f"the flush came before a load that was caused here: {_concurrent_use.caller()}")
                raise

    # --- get -------------------------------------------------------------------------------------------------------

    def get_one(self, entity: _EntityBindKey[_O], ident: Any, **kw: Unpack[_GetOptions]) -> _O:
        """As ``get()``, but raises NoResultFound where that returns None."""
        instance = self.get(entity, ident, **kw)
        if instance is None:
            raise sa_exc.NoResultFound("No row was found when one was required")
        return instance

    def _get_impl(
        self,
        entity: Any,
        primary_key_identity: Any,
        db_load_fn: Callable[..., Any] | None = None,
        *,
        options: Sequence[Any] | None = None,
        populate_existing: bool | None = None,
        with_for_update: Any = None,
        identity_token: Any = None,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
    ) -> Any:
        """``get()`` for all that the native core does not answer itself from the identity map."""
        mapper: Any = inspect(entity)
        if mapper is None or not mapper.is_mapper:
            raise sa_exc.ArgumentError(f"Expected mapped class or mapper, got: {entity!r}")
        mapper._check_configure()
        identity = self._primary_key_values(mapper, primary_key_identity)
        is_plain = not (options or identity_token or execution_options or bind_arguments or db_load_fn)
        load_options = context.QueryContext.default_load_options
        if populate_existing is not None:
            execution_options = {**execution_options, "populate_existing": populate_existing}
        else:
            populate_existing = execution_options.get("populate_existing", False)

        for_update = None if with_for_update is None else _sa.for_update_from_argument(with_for_update)

        if not populate_existing and not mapper.always_refresh and for_update is None:
            instance = self._identity_lookup(
                mapper,
                identity,
                identity_token=identity_token,
                execution_options=execution_options,
                bind_arguments=bind_arguments,
            )
            if instance is LoaderCallableStatus.PASSIVE_CLASS_MISMATCH:
                return None
            if instance is not None:
                # the map may hold a sibling class under this key
                return instance if isinstance(instance, mapper.class_) else None
            if is_plain and None not in identity and plain_session(self):
                self._autoflush()
                instance = get_by_key(self, mapper, identity)
                if instance is not NotImplemented:
                    return instance
                load_options += {"_autoflush": False}

        if populate_existing:
            load_options += {"_populate_existing": populate_existing}
        statement: Any = sql.select(mapper)
        if for_update is not None:
            statement._for_update_arg = for_update
        if options:
            statement = statement.options(*options)
        if self.execution_options:
            execution_options = util.immutabledict({**self.execution_options, **execution_options})
        return (db_load_fn or loading._load_on_pk_identity)(
            self,  # type: ignore[arg-type]  # the part stands for the whole
            statement,
            identity,
            load_options=load_options,
            identity_token=identity_token,
            execution_options=execution_options,
            bind_arguments=bind_arguments,
        )

    @staticmethod
    def _primary_key_values(mapper: Mapper[Any], given: Any) -> list[Any]:
        """The primary key as a list, from a scalar, a sequence, a composite object or a dictionary by attribute."""
        if type(given) in _PLAIN_KEYS and len(mapper.primary_key) == 1:
            return [given]
        getter = descriptor_props._composite_getters.get(type(given))
        if getter is not None:
            given = getter(given)
        is_dict = isinstance(given, dict)
        if not is_dict:
            given = util.to_list(given, default=[None])

        if len(given) != len(mapper.primary_key):
            names = ",".join(f"'{column}'" for column in mapper.primary_key)
            raise sa_exc.InvalidRequestError(
                "Incorrect number of values in identifier to formulate primary key for session.get(); primary key "
                f"columns are {names}"
            )
        if not is_dict:
            return list(given)

        synonyms = mapper._pk_synonyms
        if synonyms:
            given = {**given, **{synonyms[key]: given[key] for key in synonyms if key in given}}
        try:
            return [given[prop.key] for prop in mapper._identity_key_props]
        except KeyError as err:
            names = ",".join(f"'{prop.key}'" for prop in mapper._identity_key_props)
            raise sa_exc.InvalidRequestError(
                "Incorrect names of values in identifier to formulate primary key for session.get(); primary key "
                f"attribute names are {names} (synonym names are also accepted)"
            ) from err

    def _identity_lookup(
        self,
        mapper: Mapper[Any],
        primary_key_identity: Any,
        identity_token: Any = None,
        passive: PassiveFlag = PassiveFlag.PASSIVE_OFF,
        lazy_loaded_from: Any = None,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: dict[str, Any] | None = None,
    ) -> Any:
        """The object of a primary key in the identity map, refreshed if it is expired; None if there is none."""
        key = mapper.identity_key_from_primary_key(primary_key_identity, identity_token=identity_token)
        return loading.get_from_identity(self, mapper, key, passive)  # type: ignore[arg-type]

    # --- refresh ---------------------------------------------------------------------------------------------------

    def refresh(
        self,
        instance: object,
        attribute_names: Iterable[str] | None = None,
        with_for_update: ForUpdateParameter = None,
    ) -> None:
        """Expire an object's attributes, all or those named, and load them now."""
        if attribute_names is not None:
            attribute_names = list(attribute_names)
        self.expire(instance, attribute_names)
        # before the SELECT is built: a flush may change the primary key
        self._autoflush()
        if with_for_update == {}:
            raise sa_exc.ArgumentError(
                "with_for_update should be the boolean value True, or a dictionary with options.  "
                "A blank dictionary is ambiguous."
            )
        state = attributes.instance_state(instance)
        mapper = object_mapper(instance)
        found: Any = NO_LANE
        if with_for_update is None and may_be_refreshed(self, state):
            names = loading._props_with_primary_key(state, attribute_names) if attribute_names else None
            found = refresh_state(self, mapper, state, names, is_user_refresh=True)
        if found is NO_LANE:
            loaded = loading._load_on_ident(
                self,  # type: ignore[arg-type]
                sql.select(mapper),
                state.key,
                refresh_state=state,
                with_for_update=_sa.for_update_from_argument(with_for_update),
                only_load_props=attribute_names,
                require_pk_cols=True,
                no_autoflush=True,
                is_user_refresh=True,
            )
            found = loaded is not None
        if not found:
            raise sa_exc.InvalidRequestError(f"Could not refresh instance '{instance_str(instance)}'")

    # --- merge -----------------------------------------------------------------------------------------------------

    def merge(self, instance: _O, *, load: bool = True, options: Sequence[ORMOption] | None = None) -> _O:
        """Copy the state of an object onto the object of the same identity in this session, and return that one."""
        return self._merge_each("Session.merge()", [instance], load, options)[0]

    def merge_all(
        self, instances: Iterable[_O], *, load: bool = True, options: Sequence[ORMOption] | None = None
    ) -> Sequence[_O]:
        """``merge()`` of several objects."""
        return self._merge_each("Session.merge_all()", instances, load, options)

    def _merge_each(
        self, method: str, instances: Iterable[Any], load: bool, options: Sequence[Any] | None
    ) -> list[Any]:
        if self._warn_on_events:
            self._flush_warning(method)
        if load:
            self._autoflush()
        before = self.autoflush
        self.autoflush = False
        try:
            return [self._merge_one(instance, load, options) for instance in instances]
        finally:
            self.autoflush = before

    def _merge_one(self, instance: Any, load: bool, options: Sequence[Any] | None) -> Any:
        if load:
            merged = self._uow_merge_known(instance)
            if merged is not None:
                return merged
        return self._merge(
            object_state(instance),
            attributes.instance_dict(instance),
            load=load,
            options=options,
            _recursive={},
            _resolve_conflict_map={},
        )

    def _merge(
        self,
        state: Any,
        state_dict: Any,
        *,
        options: Sequence[Any] | None = None,
        load: bool,
        _recursive: dict[Any, Any],
        _resolve_conflict_map: dict[Any, Any],
    ) -> Any:
        mapper = state.manager.mapper
        if state in _recursive:
            return _recursive[state]

        key = state.key
        key_is_persistent = True
        if key is None:
            key, key_is_persistent = self._merge_key(mapper, state, load)

        new_instance = False
        merged = self.identity_map.get(key)
        if merged is None:
            if key_is_persistent and key in _resolve_conflict_map:
                merged = _resolve_conflict_map[key]
            elif not load:
                if state.modified:
                    raise sa_exc.InvalidRequestError(
                        "merge() with load=False option does not support objects marked as 'dirty'.  flush() all "
                        "changes on mapped instances before merging with load=False."
                    )
                merged = mapper.class_manager.new_instance()
                attributes.instance_state(merged).key = key
                self.add(merged, _warn=False)
                new_instance = True
            elif key_is_persistent:
                merged = self.get(mapper.class_, key[1], identity_token=key[2], options=options)
        if merged is None:
            merged = mapper.class_manager.new_instance()
            new_instance = True
            self.add(merged, _warn=False)
        merged_state: Any = attributes.instance_state(merged)
        merged_dict = attributes.instance_dict(merged)

        _recursive[state] = merged
        _resolve_conflict_map[key] = merged

        if state is not merged_state:
            self._check_merged_version(mapper, state, state_dict, merged_state, merged_dict)
            merge_load_options(state, merged_state)
            merged_state._copy_callables(state)
            for step in mapper._merge_steps:
                if type(step) is MergePlan:
                    step.copy(state, merged_state, load)
                else:
                    step.merge(
                        self, state, state_dict, merged_state, merged_dict, load, _recursive, _resolve_conflict_map
                    )

        if not load:
            merged_state._commit_all(merged_dict, self.identity_map)
            merged_state.manager.dispatch._sa_event_merge_wo_load(merged_state, None)
        if new_instance:
            merged_state.manager.dispatch.load(merged_state, None)
        return merged

    def _merge_key(self, mapper: Any, state: Any, load: bool) -> tuple[Any, bool]:
        """The identity key a transient or pending object would have, and whether it could exist in the database."""
        if state.obj() in self:
            util.warn(
                f"Instance {state_str(state)} is already pending in this Session yet is being merged again; this is "
                "probably not what you want to do"
            )
        if not load:
            raise sa_exc.InvalidRequestError(
                "merge() with load=False option does not support objects transient (i.e. unpersisted) objects.  "
                "flush() all changes on mapped instances before merging with load=False."
            )
        key = mapper._identity_key_from_state(state)
        values = key[1]
        persistent = LoaderCallableStatus.NEVER_SET not in values and (
            not _NONE.intersection(values) or (mapper.allow_partial_pks and not _NONE.issuperset(values))
        )
        return key, persistent

    @staticmethod
    def _check_merged_version(mapper: Any, state: Any, state_dict: Any, merged_state: Any, merged_dict: Any) -> None:
        column = mapper.version_id_col
        if column is None:
            return
        passive = PassiveFlag.PASSIVE_NO_INITIALIZE
        given = mapper._get_state_attr_by_column(state, state_dict, column, passive=passive)
        existing = mapper._get_state_attr_by_column(merged_state, merged_dict, column, passive=passive)
        nothing = LoaderCallableStatus.PASSIVE_NO_RESULT
        if given is not nothing and existing is not nothing and given != existing:
            raise exc.StaleDataError(
                f"Version id '{given}' on merged state {state_str(merged_state)} does not match existing version "
                f"'{existing}'. Leave the version attribute unset when merging to update the most recent version."
            )
