"""Dynamic collections: a write-only collection that is at the same time a ``Query`` of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar, overload

from sqlalchemy import util
from sqlalchemy.engine import result as engine_result

from . import attributes
from . import exc as orm_exc
from . import util as orm_util
from .query import Query
from .relationships import RelationshipProperty
from .session import object_session
from .writeonly import _AbstractCollectionWriter, _WriteOnlyAttributeImpl, _WriteOnlyLoader

if TYPE_CHECKING:
    from .session import Session

_T = TypeVar("_T", bound=Any)


class _DynamicAttributeImpl(_WriteOnlyAttributeImpl):
    """An attribute whose rows may be looked up where its changes have to be told from them."""

    def _reader_class(self, query_class: Any) -> Any:
        if query_class is None:
            return AppenderQuery
        if issubclass(query_class, _AppenderMixin):
            return query_class
        return mixin_user_query(query_class)

    def _existing(self, state: Any, passive: Any) -> Sequence[Any]:
        session = state.session
        if session is None or not session._flushing:
            return list(AppenderQuery(self, state).autoflush(False))
        # once in a flush, however many of its stages ask
        known = session._flush_members
        if known is None:
            known = session._flush_members = {}
        members: list[Any] | None = known.get((state, self.key))
        if members is None:
            members = known[(state, self.key)] = list(AppenderQuery(self, state).autoflush(False))
        return members

    def _current_members(self, state: Any, passive: Any) -> Any:
        return self.get(state, None, passive)


@RelationshipProperty.strategy_for(lazy="dynamic")
class _DynaLoader(_WriteOnlyLoader):
    impl_class = _DynamicAttributeImpl


class _AppenderMixin(_AbstractCollectionWriter[_T]):
    """Makes a Query class into that of a dynamic collection."""

    # the class of the queries made from it; None: the session's
    query_class: Any = None

    def __init__(self, attr: Any, state: Any) -> None:
        Query.__init__(self, attr.target_mapper, None)  # type: ignore[arg-type]  # mixed into Query
        super().__init__(attr, state)

    @property
    def session(self) -> Session | None:
        """The session of the owner, flushed if need be; None as long as the owner has no row."""
        session = object_session(self.instance)
        if session is not None and session.autoflush and self.instance in session:
            session.flush()
        return session if orm_util.has_identity(self.instance) else None

    @session.setter
    def session(self, session: Session | None) -> None:
        """What Query's constructor sets: the owner's session counts."""

    def _added(self) -> list[Any]:
        recorded: list[Any] = self.attr._recorded(attributes.instance_state(self.instance))[0]
        return recorded

    def _iter(self) -> Any:
        session = self.session
        if session is not None:
            return self._generate(session)._iter()
        state = attributes.instance_state(self.instance)
        if state.detached:
            util.warn(
                f"Instance {orm_util.state_str(state)} is detached, dynamic relationship cannot return a correct "
                "result.   This warning will become a DetachedInstanceError in a future release."
            )
        return engine_result.IteratorResult(
            engine_result.SimpleResultMetaData([self.attr.class_.__name__]),
            iter(self._added()),
            _source_supports_scalars=True,
        ).scalars()

    @overload
    def __getitem__(self, index: slice) -> list[_T]: ...
    @overload
    def __getitem__(self, index: SupportsIndex) -> _T: ...
    def __getitem__(self, index: Any) -> Any:
        session = self.session
        return self._added()[index] if session is None else self._generate(session)[index]

    def count(self) -> int:
        session = self.session
        return len(self._added()) if session is None else self._generate(session).count()

    def _generate(self, session: Session | None = None) -> Query[Any]:
        """A query of the members, without the methods that change the collection."""
        session = session or object_session(self.instance)
        if session is None:
            raise orm_exc.DetachedInstanceError(
                f"Parent instance {orm_util.instance_str(self.instance)} is not bound to a Session, and no contextual "
                f"session is established; lazy load operation of attribute '{self.attr.key}' cannot proceed"
            )
        query: Any
        if self.query_class:
            query = self.query_class(self.attr.target_mapper, session=session)
        else:
            query = session.query(self.attr.target_mapper)
        query._where_criteria = self._where_criteria
        query._from_obj = self._from_obj
        query._order_by_clauses = self._order_by_clauses
        return query

    def add_all(self, iterator: Iterable[_T]) -> None:
        """Record many new members."""
        self._add_all_impl(iterator)

    extend = add_all

    def add(self, item: _T) -> None:
        """Record a new member."""
        self._add_all_impl([item])

    append = add

    def remove(self, item: _T) -> None:
        """Record that a member leaves."""
        self._remove_impl(item)


class AppenderQuery(_AppenderMixin[_T], Query[_T]):  # type: ignore[misc]
    """A query of an object's members that records appends and removals."""


def mixin_user_query(cls: type[Any]) -> type[_AppenderMixin[Any]]:
    """Return the class of dynamic collections for a Query class of the user's."""
    return type(f"Appender{cls.__name__}", (_AppenderMixin, cls), {"query_class": cls})
