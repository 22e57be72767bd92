"""SAVEPOINTs on a lane: sent as Core would send them, without its way of executing a statement.

Core compiles and executes a statement object for each of the two or three statements that a SAVEPOINT takes. Its name
is all that changes between them. A bare lane has no Connection that could know of its SAVEPOINTs: when one takes its
place, those that are open become its nested transactions (``Lane.connection``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql.elements import ReleaseSavepointClause, RollbackToSavepointClause, SavepointClause

from .. import _sa
from ._lane import Lane

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Dialect
    from sqlalchemy.engine.base import NestedTransaction

    from ._lane import LaneOwner

#: SAVEPOINT, RELEASE and ROLLBACK TO, each without the name at its end
_Texts = tuple[str, str, str]

_texts_by_dialect: dict[type[Dialect], _Texts | None] = {}


def _texts(dialect: Dialect) -> _Texts | None:
    """The statements of a kind of dialect; None if they are not for the lane."""
    kind = type(dialect)
    if kind not in _texts_by_dialect:
        _texts_by_dialect[kind] = _compiled_texts(dialect)
    return _texts_by_dialect[kind]


def _compiled_texts(dialect: Dialect) -> _Texts | None:
    methods = ("do_savepoint", "do_release_savepoint", "do_rollback_to_savepoint")
    if any(getattr(type(dialect), method) is not getattr(DefaultDialect, method) for method in methods):
        return None
    name = "sa_savepoint_"
    begin, release, rollback = (
        str(clause(name).compile(dialect=dialect))
        for clause in (SavepointClause, ReleaseSavepointClause, RollbackToSavepointClause)
    )
    return (begin, release, rollback) if all(text.endswith(name) for text in (begin, release, rollback)) else None


class _Savepoint:
    """A SAVEPOINT by its number, and the lane its statements take."""

    __slots__ = ("_lane", "_number", "_texts")

    def __init__(self, lane: Lane, number: int, texts: _Texts) -> None:
        self._lane = lane
        self._number = number
        self._texts = texts

    @property
    def name(self) -> str:
        return f"sa_savepoint_{self._number}"

    def _begin(self) -> None:
        self._send(0)

    def _release(self) -> None:
        self._send(1)

    def _roll_back(self) -> None:
        self._send(2)

    def _send(self, which: int) -> None:
        self._lane.execute(f"{self._texts[which]}{self._number}", ((),))


class LaneSavepoint(_Savepoint):
    """One SAVEPOINT on a bare lane, and the transaction of the session that owns it."""

    __slots__ = ("owner",)

    def __init__(self, lane: Lane, owner: LaneOwner, texts: _Texts) -> None:
        # the number is used up even if the statement fails
        lane.savepoints_made += 1
        super().__init__(lane, lane.savepoints_made, texts)
        self.owner = owner

    @classmethod
    def begin(cls, lane: Lane, owner: LaneOwner) -> LaneSavepoint | None:
        """Set a SAVEPOINT; None if Core has to do it."""
        texts = _texts(lane.dialect)
        if texts is None:
            return None
        savepoint = cls(lane, owner, texts)
        savepoint._begin()
        lane.savepoints.append(savepoint)
        return savepoint

    def commit(self) -> None:
        """Release it."""
        lane = self._lane
        try:
            self._release()
        except BaseException:
            # the error has made it a nested transaction of a Connection: one that waits for a rollback, and sends none
            nested = lane.connection.get_nested_transaction()
            if nested is not None:
                nested.is_active = False
            raise
        lane.savepoints.remove(self)

    def rollback(self) -> None:
        """Undo what was done since."""
        self._lane.savepoints.remove(self)
        self._roll_back()


class ConnectionSavepoint(_Savepoint):
    """The nested transaction of a Connection, ended past Core while nobody listens."""

    __slots__ = ("_nested",)

    def __init__(self, lane: Lane, texts: _Texts) -> None:
        connection = lane.connection
        super().__init__(lane, _sa.next_savepoint_number(connection), texts)
        self._begin()
        self._nested = _sa.nested_transaction(connection, self.name)

    @property
    def is_active(self) -> bool:
        return self._nested.is_active

    def commit(self) -> None:
        """Release it."""
        nested = self._nested
        if not self._is_direct:
            nested.commit()
            return
        try:
            self._release()
        finally:
            # one that could not be released stays, inactive, until somebody rolls back
            nested.is_active = False
        _sa.leave_connection(nested)

    def rollback(self) -> None:
        """Undo what was done since."""
        nested = self._nested
        if not self._is_direct:
            nested.rollback()
            return
        try:
            self._roll_back()
        finally:
            nested.is_active = False
            _sa.leave_connection(nested)

    def close(self) -> None:
        """Roll back, if that was not done."""
        if self._is_direct:
            self.rollback()
        else:
            self._nested.close()

    @property
    def _is_direct(self) -> bool:
        """Whether it is the innermost one, and active, on a connection that nobody has begun to watch."""
        return self._lane.connection.get_nested_transaction() is self._nested and self._lane.is_open()


def begin_nested(connection: Connection) -> NestedTransaction | ConnectionSavepoint:
    """Set a SAVEPOINT on a Connection, past Core if nobody listens."""
    lane = Lane.of(connection)
    texts = None if lane is None else _texts(lane.dialect)
    return connection.begin_nested() if lane is None or texts is None else ConnectionSavepoint(lane, texts)
