"""Write-only collections: changes are recorded for the next flush, rows are read with statements only.

What is recorded is native (`write_only.rs`); here are the strategy, the attribute's implementation, and the object that
reading the attribute gives.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy import exc as sa_exc
from sqlalchemy.util import IdentitySet

from .. import _core
from .._sa import annotate
from . import attributes, interfaces, strategies
from ._attribute_impl import OP_APPEND, AttributeEventToken, _AttributeImpl
from ._strategies_noload import _AbstractRelationshipLoader
from .base import CALLABLES_OK, INIT_OK, PASSIVE_NO_FETCH, PASSIVE_OFF, SQL_OK, object_mapper
from .relationships import RelationshipProperty

if TYPE_CHECKING:
    from sqlalchemy.sql.dml import Delete, Insert, Update
    from sqlalchemy.sql.selectable import Select

    from ._row_plans import EntityParts, RowPlanBuilder

_T = TypeVar("_T", bound=Any)


class _WriteOnlyAttributeImpl(_AttributeImpl):
    """An attribute whose members are never in memory as a whole."""

    uses_objects = True
    supports_population = False
    dynamic = True
    kind = 2
    _is_has_collection_adapter = True
    _write_only = True
    query_class: Any

    def __init__(
        self,
        class_: Any,
        key: str,
        callable_: Any,
        dispatch: Any,
        *,
        target_mapper: Any,
        order_by: Any,
        query_class: Any = None,
        **kw: Any,
    ) -> None:
        super().__init__(class_, key, None, dispatch, **kw)
        self.target_mapper = target_mapper
        self.order_by = tuple(order_by) if order_by else ()
        self.query_class = self._reader_class(query_class)
        self._append_token = AttributeEventToken(self, OP_APPEND)

    def _reader_class(self, query_class: Any) -> Any:
        return WriteOnlyCollection

    # asked by the native core

    def _writer(self, state: Any) -> Any:
        return self.query_class(self, state)

    def _existing(self, state: Any, passive: Any) -> Sequence[Any] | None:
        """The members that have rows; None if the attribute never asks for them."""
        if passive & SQL_OK:
            raise sa_exc.InvalidRequestError(
                f"Attribute {self} can't load the existing state from the database for this operation; full iteration "
                "is not permitted.  If this is a delete operation, configure passive_deletes=True on the "
                f"{self} relationship in order to resolve this error."
            )
        return None

    def _current_members(self, state: Any, passive: Any) -> Any:
        raise sa_exc.InvalidRequestError(
            f'Collection "{self}" does not support implicit iteration; collection replacement operations can\'t be used'
        )

    def _replace(self, state: Any, value: Iterable[Any], passive: Any) -> None:
        wanted = list(value)
        recorded = self._recorded(state)[0]
        if state.has_identity:
            old = IdentitySet(self._current_members(state, passive)).union(recorded)
        else:
            old = IdentitySet(recorded)
        kept = old.intersection(wanted)
        additions = IdentitySet(wanted).difference(kept)
        for member in wanted:
            if member in additions:
                _core.append_attribute(state, self.key, member)
        for member in old.difference(kept):
            _core.remove_attribute(state, self.key, member)
        _core.flag_dirty(state)

    # SQLAlchemy's interface of implementations

    def _recorded(self, state: Any) -> tuple[list[Any], list[Any]]:
        nothing: tuple[list[Any], list[Any]] = ([], [])
        recorded: tuple[list[Any], list[Any]] = state._pending_mutations.get(self.key, nothing)
        return recorded

    def get(self, state: Any, dict_: Any = None, passive: Any = PASSIVE_OFF) -> Any:
        if not passive & SQL_OK:
            return self._recorded(state)[0]
        return self._writer(state)

    def set(
        self,
        state: Any,
        dict_: Any,
        value: Any,
        initiator: Any = None,
        passive: Any = PASSIVE_OFF,
        check_old: Any = None,
        pop: bool = False,
        _adapt: bool = True,
    ) -> None:
        if initiator is not None and initiator.parent_token is self.parent_token:
            return
        if not (pop and value is None):
            _core.set_attribute(state, self.key, value, initiator, passive, check_old, pop, _adapt)

    def append(self, state: Any, dict_: Any, value: Any, initiator: Any, passive: Any = PASSIVE_NO_FETCH) -> None:
        _core.append_attribute(state, self.key, value, initiator, passive)

    def remove(self, state: Any, dict_: Any, value: Any, initiator: Any, passive: Any = PASSIVE_NO_FETCH) -> None:
        _core.remove_attribute(state, self.key, value, initiator, passive)

    pop = remove

    def get_history(self, state: Any, dict_: Any = None, passive: Any = PASSIVE_NO_FETCH) -> attributes.History:
        return super().get_history(state, dict_, passive)

    def get_collection(
        self, state: Any, dict_: Any = None, user_data: Any = None, passive: Any = PASSIVE_OFF
    ) -> _RecordedMembers:
        added = self._recorded(state)[0]
        existing = self._existing(state, passive) if passive & INIT_OK and state.has_identity else None
        if existing is None or not passive & SQL_OK:
            return _RecordedMembers(added)
        known = IdentitySet(added)
        return _RecordedMembers([*added, *(member for member in existing if member not in known)])

    def get_all_pending(self, state: Any, dict_: Any, passive: Any = PASSIVE_NO_FETCH) -> list[tuple[Any, Any]]:
        history = self.get_history(state, dict_, passive & ~(INIT_OK | CALLABLES_OK))
        return [(attributes.instance_state(member), member) for member in history.sum()]


class _RecordedMembers:
    """Members in the place where other collections have their adapter."""

    def __init__(self, data: Collection[Any]) -> None:
        self.data = data

    def __iter__(self) -> Iterator[Any]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __bool__(self) -> bool:
        return True

    def _reset_empty(self) -> None:
        """There is no empty collection to bring into use."""


@RelationshipProperty.strategy_for(lazy="write_only")
class _WriteOnlyLoader(_AbstractRelationshipLoader):
    """Sets up the attribute; takes no part in statements and rows."""

    impl_class: Any = _WriteOnlyAttributeImpl

    def init_class_attribute(self, mapper: Any) -> None:
        self.is_class_level = True
        prop = self.parent_property
        if not self.uselist or prop.direction not in (interfaces.ONETOMANY, interfaces.MANYTOMANY):
            raise sa_exc.InvalidRequestError(
                f"On relationship {prop}, 'dynamic' loaders cannot be used with many-to-one/one-to-one relationships "
                "and/or uselist=False."
            )
        strategies._register_attribute(
            prop,
            mapper,
            useobject=True,
            impl_class=self.impl_class,
            target_mapper=prop.mapper,
            order_by=prop.order_by,
            query_class=prop.query_class,
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
        """Rows have nothing for it."""


class _AbstractCollectionWriter(Generic[_T]):
    """What reading such an attribute gives: the criteria of its rows, and the way to record changes."""

    instance: Any
    attr: Any
    _from_obj: Any
    _where_criteria: Any
    _order_by_clauses: Any

    def __init__(self, attr: Any, state: Any) -> None:
        self.instance = instance = state.obj()
        self.attr = attr
        prop = object_mapper(instance)._props[attr.key]
        if prop.secondary is not None:
            # the target first: later joins without a left side begin there
            self._from_obj = (
                prop.mapper.__clause_element__(),
                annotate(prop.secondary, {"_no_filter_by": True}),
            )
        else:
            self._from_obj = ()
        self._where_criteria = (prop._with_parent(instance, alias_secondary=False),)
        self._order_by_clauses = attr.order_by

    def _add_all_impl(self, iterator: Iterable[_T]) -> None:
        for item in iterator:
            _core.append_attribute(self.instance, self.attr.key, item)

    def _remove_impl(self, item: _T) -> None:
        _core.remove_attribute(self.instance, self.attr.key, item)


class WriteOnlyCollection(_AbstractCollectionWriter[_T]):
    """The collection of one object: makes statements on its rows, and records what enters and leaves it."""

    __slots__ = ("_from_obj", "_order_by_clauses", "_where_criteria", "attr", "instance")

    def __iter__(self) -> NoReturn:
        raise TypeError(
            "WriteOnly collections don't support iteration in-place; to query for collection items, use the select() "
            "method to produce a SQL statement and execute it with session.scalars()."
        )

    def select(self) -> Select[_T]:
        """Return a SELECT of the members that have rows."""
        statement = select(self.attr.target_mapper).where(*self._where_criteria)
        if self._from_obj:
            statement = statement.select_from(*self._from_obj)
        if self._order_by_clauses:
            statement = statement.order_by(*self._order_by_clauses)
        return statement

    def insert(self) -> Insert:
        """Return an INSERT whose rows belong to this object; of one-to-many collections only.

        :raises InvalidRequestError: for a many-to-many collection, whose rows have no column for it.
        """
        state = attributes.instance_state(self.instance)
        mapper = state.mapper
        prop = mapper._props[self.attr.key]
        if prop.direction is not interfaces.ONETOMANY:
            raise sa_exc.InvalidRequestError(
                "Write only bulk INSERT only supported for one-to-many collections; for many-to-many, use a separate "
                "bulk INSERT along with add_all()."
            )
        values: dict[str, Any] = {
            # read when the statement runs: the object may have got its key only then
            right.key: bindparam(None, callable_=prop._get_attr_w_warn_on_none(mapper, state, state.dict, left))
            for left, right in prop.synchronize_pairs
        }
        return insert(self.attr.target_mapper).values(**values)

    def update(self) -> Update:
        """Return an UPDATE of this object's rows."""
        return update(self.attr.target_mapper).where(*self._where_criteria)

    def delete(self) -> Delete:
        """Return a DELETE of this object's rows."""
        return delete(self.attr.target_mapper).where(*self._where_criteria)

    def add_all(self, iterator: Iterable[_T]) -> None:
        """Record many new members."""
        self._add_all_impl(iterator)

    def add(self, item: _T) -> None:
        """Record a new member."""
        self._add_all_impl([item])

    def remove(self, item: _T) -> None:
        """Record that a member leaves."""
        self._remove_impl(item)
