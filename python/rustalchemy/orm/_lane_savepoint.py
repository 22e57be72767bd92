"""SAVEPOINTs on a bare lane: sent as Core would send them, without a Connection.

Core compiles and executes a statement object for each of the two or three statements that a SAVEPOINT takes. Its name
is all that changes between them. When a Connection takes the place of the lane, the SAVEPOINTs that are open become its
nested transactions (``Lane.connection``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql.elements import ReleaseSavepointClause, RollbackToSavepointClause, SavepointClause

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

    from ._lane import Lane, LaneOwner

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


class LaneSavepoint:
    """One SAVEPOINT on a bare lane, and the transaction of the session that owns it."""

    __slots__ = ("_lane", "_number", "_texts", "owner")

    def __init__(self, lane: Lane, owner: LaneOwner, texts: _Texts) -> None:
        self._lane = lane
        self._texts = texts
        self._number = lane.savepoints_made + 1
        self.owner = owner

    @classmethod
    def begin(cls, lane: Lane, owner: LaneOwner) -> LaneSavepoint | None:
        """Set a SAVEPOINT; None if Core has to do it."""
        texts = _texts(lane.dialect)
        if texts is None:
            return None
        savepoint = cls(lane, owner, texts)
        # the number is used up even if the statement fails
        lane.savepoints_made += 1
        savepoint._send(0)
        lane.savepoints.append(savepoint)
        return savepoint

    @property
    def name(self) -> str:
        return f"sa_savepoint_{self._number}"

    def commit(self) -> None:
        """Release it."""
        lane = self._lane
        try:
            self._send(1)
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
        self._send(2)

    def _send(self, which: int) -> None:
        self._lane.execute(f"{self._texts[which]}{self._number}", ((),))
