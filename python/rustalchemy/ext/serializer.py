"""Pickling of statements, queries and SQL expressions that are about mapped classes.

Mappers, attributes, tables, columns, sessions and engines are not in the pickle, only what finds them: `loads()` puts
in those of the program that reads it. As all of `pickle`, this is for data from trusted sources only: loading runs what
the data says.
"""

from __future__ import annotations

import pickle
from base64 import b64decode, b64encode
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any, Optional

from sqlalchemy import Column, Engine, MetaData, Table

from .. import _sa
from ..orm import Mapper, MapperProperty, Session, class_mapper

if TYPE_CHECKING:
    from ..orm import scoped_session

__all__ = ["Deserializer", "Serializer", "dumps", "loads"]


class Serializer(pickle.Pickler):
    """A pickler that leaves out what belongs to the program."""

    def persistent_id(self, obj: Any) -> Optional[str]:
        if isinstance(obj, Mapper):
            return f"mapper:{_packed(obj.class_)}"
        if isinstance(obj, MapperProperty):
            return f"mapperprop:{_packed(obj.parent.class_)}:{obj.key}"
        if isinstance(obj, Table):
            entity = _sa.annotations_of(obj).get("parententity")
            return f"table:{obj.key}" if entity is None else f"mapper_selectable:{_packed(entity.class_)}"
        if isinstance(obj, Column) and isinstance(obj.table, Table):
            return f"column:{obj.table.key}:{obj.key}"
        if isinstance(obj, Session):
            return "session:"
        if isinstance(obj, Engine):
            return "engine:"
        return None


class Deserializer(pickle.Unpickler):
    """The unpickler for it.

    :param metadata: where tables and columns are found.
    :param scoped_session: makes the session of queries; its bind stands for the engine if none is given.
    """

    def __init__(
        self,
        file: Any,
        metadata: Optional[MetaData] = None,
        scoped_session: Optional[scoped_session[Any]] = None,
        engine: Optional[Engine] = None,
    ) -> None:
        super().__init__(file)
        self.metadata = metadata
        self.scoped_session = scoped_session
        self.engine = engine

    def get_engine(self) -> Any:
        """The engine, or the bind of the session; None if there is neither."""
        if self.engine is not None or self.scoped_session is None:
            return self.engine
        return self.scoped_session().bind

    def persistent_load(self, pid: Any) -> Any:
        kind, _, argument = str(pid).partition(":")
        try:
            find = _FIND[kind]
        except KeyError as error:
            raise pickle.UnpicklingError(f"Unknown token: {kind}") from error
        return find(self, argument)

    def _table(self, key: str) -> Table:
        if self.metadata is None:
            raise pickle.UnpicklingError("tables and columns are found in a MetaData; none was given")
        return self.metadata.tables[key]

    def _column(self, argument: str) -> Column[Any]:
        table, _, key = argument.partition(":")
        return self._table(table).c[key]

    def _property(self, argument: str) -> Any:
        class_, _, key = argument.partition(":")
        return _mapper(class_).attrs[key]

    def _session(self) -> Any:
        if self.scoped_session is None:
            raise pickle.UnpicklingError("a query needs a session; none was given")
        return self.scoped_session()


_FIND: dict[str, Callable[[Deserializer, str], Any]] = {
    "mapper": lambda self, argument: _mapper(argument),
    "mapperprop": lambda self, argument: self._property(argument),
    "mapper_selectable": lambda self, argument: _mapper(argument).__clause_element__(),
    "table": lambda self, argument: self._table(argument),
    "column": lambda self, argument: self._column(argument),
    "session": lambda self, argument: self._session(),
    "engine": lambda self, argument: self.get_engine(),
}


def _packed(class_: type[Any]) -> str:
    return b64encode(pickle.dumps(class_)).decode("ascii")


def _mapper(packed: str) -> Any:
    return class_mapper(pickle.loads(b64decode(packed)))


def dumps(obj: Any, protocol: int = pickle.HIGHEST_PROTOCOL) -> bytes:
    """Pickle a statement, query or expression."""
    buffer = BytesIO()
    Serializer(buffer, protocol).dump(obj)
    return buffer.getvalue()


def loads(
    data: bytes,
    metadata: Optional[MetaData] = None,
    scoped_session: Optional[scoped_session[Any]] = None,
    engine: Optional[Engine] = None,
) -> Any:
    """What was pickled, with the mappers, tables, session and engine of this program; see `Deserializer`."""
    return Deserializer(BytesIO(data), metadata, scoped_session, engine).load()
