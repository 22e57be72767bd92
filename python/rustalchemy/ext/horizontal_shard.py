"""Sessions over several databases with the same tables: each object lives in one of them, its shard.

Which shard an object goes to, where a primary key may be found, and which shards a statement is sent to is decided by
three functions that the program gives. The shard of an object is the identity token of its identity key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Optional, Protocol, TypeVar, Union, cast

from sqlalchemy import Connection, Engine, event, exc, inspect, util

from ..orm import Mapper, PassiveFlag, Query, Session
from ..orm.interfaces import ORMOption

if TYPE_CHECKING:
    from sqlalchemy.engine import Result
    from sqlalchemy.sql import Executable
    from sqlalchemy.sql.elements import ClauseElement
    from typing_extensions import Self

    from ..orm import InstanceState, ORMExecuteState

__all__ = ["ShardedQuery", "ShardedSession", "set_shard_id"]

_T = TypeVar("_T", bound=Any)

ShardIdentifier = str


class ShardChooser(Protocol):
    """Returns the shard that an object to be inserted, or else a statement, goes to."""

    def __call__(self, mapper: Optional[Mapper[Any]], instance: Any, clause: Optional[ClauseElement]) -> Any: ...


class IdentityChooser(Protocol):
    """Returns the shards in which a primary key may be found."""

    def __call__(
        self,
        mapper: Mapper[Any],
        primary_key: Any,
        *,
        lazy_loaded_from: Optional[InstanceState],
        execution_options: Mapping[str, Any],
        bind_arguments: dict[str, Any],
        **kw: Any,
    ) -> Any: ...


ExecuteChooser = Callable[["ORMExecuteState"], Iterable[Any]]


class ShardedQuery(Query[_T]):
    """The queries of a `ShardedSession`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        session: Any = self.session
        assert isinstance(session, ShardedSession)
        self.identity_chooser = session.identity_chooser
        self.execute_chooser = session.execute_chooser

    def set_shard(self, shard_id: ShardIdentifier) -> Self:
        """The query, sent to one shard, whatever else would choose."""
        return self.execution_options(_sa_shard_id=shard_id)


class ShardedSession(Session):
    """A session over several databases.

    :param shard_chooser: returns the shard of an object that is to be inserted; called once for each.
    :param identity_chooser: returns the shards in which a primary key may be found, for ``get()`` and many-to-ones.
    :param execute_chooser: returns the shards a statement is sent to; what they return becomes one result.
    :param shards: engines, or connections, by shard.
    :param id_chooser, query_chooser: the older forms of ``identity_chooser`` and ``execute_chooser``, which get a
        query and the primary key, and the statement.
    """

    shard_chooser: ShardChooser
    identity_chooser: IdentityChooser
    execute_chooser: ExecuteChooser

    def __init__(
        self,
        shard_chooser: ShardChooser,
        identity_chooser: Optional[IdentityChooser] = None,
        execute_chooser: Optional[ExecuteChooser] = None,
        shards: Optional[dict[str, Any]] = None,
        query_cls: type[Query[Any]] = ShardedQuery,
        *,
        id_chooser: Optional[Callable[[Query[Any], Iterable[Any]], Iterable[Any]]] = None,
        query_chooser: Optional[Callable[[Executable], Iterable[Any]]] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(query_cls=query_cls, **kwargs)
        event.listen(self, "do_orm_execute", execute_and_instances, retval=True)
        self.shard_chooser = shard_chooser
        if id_chooser is not None:
            util.warn_deprecated("The ``id_chooser`` parameter is deprecated; please use ``identity_chooser``.", "2.0")
            identity_chooser = self._by_query(id_chooser)
        if identity_chooser is None:
            raise exc.ArgumentError("identity_chooser or id_chooser is required")
        self.identity_chooser = identity_chooser

        if query_chooser is not None:
            choose_by_statement = query_chooser
            util.warn_deprecated(
                "The ``query_chooser`` parameter is deprecated; please use ``execute_chooser``.", "1.4"
            )
            if execute_chooser is not None:
                raise exc.ArgumentError("Can't pass query_chooser and execute_chooser at the same time.")
            execute_chooser = lambda orm_context: choose_by_statement(orm_context.statement)  # noqa: E731
        if execute_chooser is None:
            raise exc.ArgumentError("execute_chooser or query_chooser is required")
        self.execute_chooser = execute_chooser

        self._shards: dict[ShardIdentifier, Union[Engine, Connection]] = {}
        for shard_id, bind in (shards or {}).items():
            self.bind_shard(shard_id, bind)

    def _by_query(self, id_chooser: Callable[[Query[Any], Iterable[Any]], Iterable[Any]]) -> IdentityChooser:
        def choose(
            mapper: Mapper[Any], primary_key: Any, *, lazy_loaded_from: Optional[InstanceState], **kw: Any
        ) -> Iterable[Any]:
            query: Any = self.query(mapper)
            if lazy_loaded_from is not None:
                query = query._set_lazyload_from(lazy_loaded_from)
            return id_chooser(query, primary_key)

        return choose

    def bind_shard(self, shard_id: ShardIdentifier, bind: Union[Engine, Connection]) -> None:
        """Say which database a shard is."""
        self._shards[shard_id] = bind

    def _identity_lookup(
        self,
        mapper: Mapper[Any],
        primary_key_identity: Any,
        identity_token: Any = None,
        passive: PassiveFlag = PassiveFlag.PASSIVE_OFF,
        lazy_loaded_from: Any = None,
        execution_options: Mapping[str, Any] = util.EMPTY_DICT,
        bind_arguments: Optional[dict[str, Any]] = None,
    ) -> Any:
        """The object of a primary key among those of its shard, or of the shards that may have it."""
        if identity_token is not None:
            return super()._identity_lookup(mapper, primary_key_identity, identity_token)
        chosen = self.identity_chooser(
            mapper,
            primary_key_identity,
            lazy_loaded_from=lazy_loaded_from,
            execution_options=execution_options,
            bind_arguments=dict(bind_arguments or {}),
        )
        for shard_id in chosen:
            found = super()._identity_lookup(mapper, primary_key_identity, shard_id, lazy_loaded_from=lazy_loaded_from)
            if found is not None:
                return found
        return None

    def _choose_shard_and_assign(self, mapper: Any, instance: Any, **kw: Any) -> Any:
        """The shard of an object, which is chosen once; of a statement, if there is no object."""
        if instance is None:
            assert isinstance(mapper, Mapper)
            return self.shard_chooser(mapper, None, **kw)
        state: Any = inspect(instance)
        if state.key:
            assert state.key[2] is not None
            return state.key[2]
        if not state.identity_token:
            assert isinstance(mapper, Mapper)
            state.identity_token = self.shard_chooser(mapper, instance, **kw)
        return state.identity_token

    def connection_callable(
        self,
        mapper: Optional[Mapper[Any]] = None,
        instance: Optional[Any] = None,
        shard_id: Optional[ShardIdentifier] = None,
        **kw: Any,
    ) -> Connection:
        """The connection on which a flush writes an object."""
        if shard_id is None:
            shard_id = self._choose_shard_and_assign(mapper, instance)
        transaction = self.get_transaction()
        if transaction is not None:
            return transaction.connection(mapper, shard_id=shard_id)
        bind = self.get_bind(mapper=mapper, shard_id=shard_id, instance=instance)
        return bind.connect(**kw) if isinstance(bind, Engine) else bind

    def get_bind(
        self,
        mapper: Any = None,
        *,
        shard_id: Optional[ShardIdentifier] = None,
        instance: Optional[Any] = None,
        clause: Optional[ClauseElement] = None,
        **kw: Any,
    ) -> Union[Engine, Connection]:
        """The database of a shard; where none is given, of the one that is chosen for the object or statement."""
        if shard_id is None:
            shard_id = self._choose_shard_and_assign(mapper, instance=instance, clause=clause)
            assert shard_id is not None
        return self._shards[shard_id]


class set_shard_id(ORMOption):
    """A loader option that sends a statement to one shard, and what it loads further, too.

    :param propagate_to_loaders: whether lazy loads of the objects go there as well. Columns of an object are loaded
        from the shard it is in, anyhow.
    """

    __slots__ = ("propagate_to_loaders", "shard_id")

    def __init__(self, shard_id: ShardIdentifier, propagate_to_loaders: bool = True) -> None:
        self.shard_id = shard_id
        self.propagate_to_loaders = propagate_to_loaders


def execute_and_instances(orm_context: ORMExecuteState) -> Result[Any]:
    """Send a statement to its shards and put the results together; the session's listener of ``do_orm_execute``."""
    session = cast("ShardedSession", orm_context.session)

    def execute(shard_id: Any) -> Result[Any]:
        orm_context.update_execution_options(identity_token=shard_id)
        return orm_context.invoke_statement(bind_arguments={**orm_context.bind_arguments, "shard_id": shard_id})

    shard_id = _given_shard(orm_context)
    if shard_id is not None:
        return execute(shard_id)
    results = [execute(shard_id) for shard_id in session.execute_chooser(orm_context)]
    return results[0].merge(*results[1:])


def _given_shard(orm_context: ORMExecuteState) -> Any:
    """The one shard that options name; None if there is no such option."""
    for option in orm_context._non_compile_orm_options:
        if isinstance(option, set_shard_id):
            return option.shard_id
    options: Any = None
    if orm_context.is_select:
        options = orm_context.load_options
    elif orm_context.is_update or orm_context.is_delete:
        options = orm_context.update_delete_options
    if options is not None and options._identity_token is not None:
        return options._identity_token
    if "_sa_shard_id" in orm_context.execution_options:
        return orm_context.execution_options["_sa_shard_id"]
    return orm_context.bind_arguments.get("shard_id")
