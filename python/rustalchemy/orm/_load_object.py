"""Loads of single objects: by primary key, from the identity map, and of the attributes that one object lacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc
from sqlalchemy import util
from sqlalchemy.sql import util as sql_util
from sqlalchemy.sql.selectable import SelectState

from . import _detached, attributes
from . import exc as orm_exc
from ._prepared_loads import may_be_refreshed
from ._prepared_loads import refresh_state as refresh_prepared
from .base import LoaderCallableStatus, PassiveFlag, state_str
from .context import FromStatement, QueryContext, _ORMCompileState

if TYPE_CHECKING:
    from .mapper import Mapper
    from .session import Session


def get_from_identity(session: Session, mapper: Mapper[Any], key: Any, passive: PassiveFlag) -> Any:
    """The object of an identity key in the session's map, refreshed if it is expired."""
    instance = session.identity_map.get(key)
    if instance is None:
        return None
    state = attributes.instance_state(instance)
    if mapper.inherits and not state.mapper.isa(mapper):
        return LoaderCallableStatus.PASSIVE_CLASS_MISMATCH
    if state.expired:
        if not passive & PassiveFlag.SQL_OK:
            return LoaderCallableStatus.PASSIVE_NO_RESULT
        # inside of a flush, or of a load that leads back here, the expired state is looked at later
        if passive & PassiveFlag.RELATED_OBJECT_OK:
            try:
                state._load_expired(state, passive)
            except orm_exc.ObjectDeletedError:
                session._remove_newly_deleted([state])
                return None
    return instance


def _load_on_ident(session: Session, statement: Any, key: Any, **kw: Any) -> Any:
    """Load the object of an identity key; arguments as of :func:`_load_on_pk_identity`."""
    if key is None:
        return _load_on_pk_identity(session, statement, None, **kw)
    return _load_on_pk_identity(session, statement, key[1], identity_token=key[2], **kw)


def _load_on_pk_identity(
    session: Session,
    statement: Any,
    primary_key_identity: Optional[Sequence[Any]],
    *,
    load_options: Any = None,
    refresh_state: Any = None,
    with_for_update: Any = None,
    only_load_props: Optional[Iterable[str]] = None,
    identity_token: Any = None,
    no_autoflush: bool = False,
    bind_arguments: Optional[Mapping[str, Any]] = None,
    execution_options: Mapping[str, Any] = util.EMPTY_DICT,
    require_pk_cols: bool = False,
    is_user_refresh: bool = False,
) -> Any:
    """Load the object of a primary key, or refresh ``refresh_state``; None when the row is gone."""
    query = statement._clone()
    options = QueryContext.default_load_options if load_options is None else load_options
    compile_options = statement._compile_options
    if compile_options is SelectState.default_select_compile_options:
        compile_options = _ORMCompileState.default_compile_options

    params = None
    if primary_key_identity is not None:
        mapper = query._propagate_attrs["plugin_subject"].mapper
        criterion, params = _identity_criterion(mapper, primary_key_identity)
        query._where_criteria = (criterion,)

    version_check = with_for_update is not None or query._for_update_arg is not None
    if with_for_update is not None:
        query._for_update_arg = with_for_update
    if require_pk_cols and only_load_props:
        only_load_props = _props_with_primary_key(refresh_state, only_load_props)

    if refresh_state is not None:
        if refresh_state.load_options:
            compile_options += {"_current_path": refresh_state.load_path.parent}
            query = query.options(*refresh_state.load_options)
        options += {"_refresh_state": refresh_state}
        compile_options += {"_for_refresh_state": True}
    if only_load_props:
        compile_options += {"_only_load_props": frozenset(only_load_props)}
    if version_check:
        options += {"_version_check": True}
    if identity_token:
        options += {"_identity_token": identity_token}
    if is_user_refresh:
        options += {"_is_user_refresh": True}
    if no_autoflush:
        options += {"_autoflush": False}
    query._compile_options = compile_options
    query._order_by = None

    result = session.execute(
        query,
        params=params,
        execution_options=util.EMPTY_DICT.merge_with(
            execution_options, util.immutabledict(_sa_orm_load_options=options)
        ),
        bind_arguments=dict(bind_arguments) if bind_arguments else None,
    )
    try:
        return result.unique().scalars().one()
    except sa_exc.NoResultFound:
        return None


def _identity_criterion(mapper: Any, identity: Sequence[Any]) -> tuple[Any, dict[str, Any]]:
    criterion, bind_of = mapper._get_clause
    names = [bind_of[column].key for column in mapper.primary_key]
    nones = {name for name, value in zip(names, identity, strict=True) if value is None}
    if nones:
        criterion = sql_util.adapt_criterion_to_null(criterion, nones)
        if len(nones) == len(identity):
            util.warn(
                "fully NULL primary key identity cannot load any object.  This condition may raise an error in a "
                "future release."
            )
    return criterion, dict(zip(names, identity, strict=True))


def _props_with_primary_key(state: Any, only_load_props: Iterable[str]) -> Iterable[str]:
    """The attributes to refresh; with the primary key when relationships are among them, so that there is a row."""
    if state is None:
        raise sa_exc.ArgumentError("refresh_state is required when require_pk_cols is present")
    mapper = state.mapper
    key_props = mapper._primary_key_propkeys
    changed = {key for key in key_props.difference(only_load_props) if state.attrs[key].history.has_changes()}
    if changed:
        raise sa_exc.InvalidRequestError(
            "Please flush pending primary key changes on attributes "
            f"{changed} for mapper {mapper} before proceeding with a refresh"
        )
    if any(mapper._props[key]._is_relationship for key in only_load_props):
        return key_props.union(only_load_props)
    return only_load_props


def _load_scalar_attributes(
    mapper: Any, state: Any, attribute_names: Any, passive: PassiveFlag = PassiveFlag.PASSIVE_OFF
) -> None:
    """Load column attributes of one object: expired or deferred ones."""
    session = state.session
    if not session:
        raise _detached.refresh(state, attribute_names)
    no_autoflush = bool(passive & PassiveFlag.NO_AUTOFLUSH)
    if attribute_names:
        # the class may have attributes that this mapper does not load
        attribute_names = set(attribute_names).intersection(mapper.attrs.keys())

    if mapper.inherits and not mapper.concrete:
        # only the tables that are needed
        statement = mapper._optimized_get_statement(state, attribute_names)
        if statement is not None:
            _load_on_ident(
                session,
                FromStatement(mapper, statement),
                None,
                only_load_props=attribute_names,
                refresh_state=state,
                no_autoflush=no_autoflush,
            )
            return

    key = state.key
    if key is None:
        # inside of a flush: the row exists, the identity is not entered yet
        missing = {mapper._columntoproperty[column].key for column in mapper.primary_key}
        if state._expired_columns.intersection(missing):
            raise sa_exc.InvalidRequestError(
                f"Instance {state_str(state)} cannot be refreshed - it's not  persistent and does not "
                "contain a full primary key."
            )
        key = mapper._identity_key_from_state(state)
    if may_be_refreshed(session, state):
        if not no_autoflush:
            session._autoflush()
            no_autoflush = True
        found = refresh_prepared(session, mapper, state, attribute_names)
        if found is True:
            return
        if found is False:
            raise orm_exc.ObjectDeletedError(state)

    loaded = _load_on_ident(
        session,
        sa.select(mapper),
        key,
        refresh_state=state,
        only_load_props=attribute_names,
        no_autoflush=no_autoflush,
    )
    if loaded is None and state.key is not None:
        raise orm_exc.ObjectDeletedError(state)
