"""Sessions whose ``connection_callable`` chooses a connection for each object of a flush."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event


class World:
    """Two databases: even keys live in one, odd keys in the other."""

    def __init__(self, orm: ModuleType) -> None:
        class Base(orm.DeclarativeBase):  # type: ignore[name-defined]
            pass

        class Thing(Base):
            __tablename__ = "thing"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            name = orm.mapped_column(sa.String)

        class Note(Base):
            __tablename__ = "note"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            place = orm.mapped_column(sa.Integer)

        self.Thing, self.Note = Thing, Note
        self.engines = [sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool) for _ in range(2)]
        self.sent: list[tuple[int, str, Any]] = []
        for number, engine in enumerate(self.engines):
            Base.metadata.create_all(engine)
            self._listen(number, engine)
        world = self

        class Session(orm.Session):  # type: ignore[name-defined]
            def connection_callable(self, mapper: Any = None, instance: Any = None, **kw: Any) -> Any:
                number = instance.place if type(instance) is Note else instance.id
                return self.connection(bind_arguments={"bind": world.engines[number % 2]})

        self.session = Session()

    def _listen(self, number: int, engine: sa.Engine) -> None:
        @event.listens_for(engine, "before_cursor_execute")
        def note(connection: Any, cursor: Any, sql: str, parameters: Any, context: Any, many: bool) -> None:
            self.sent.append((number, sql.split()[0], parameters))

    def rows(self, table: Any) -> list[list[Any]]:
        return [self._of(engine, table) for engine in self.engines]

    @staticmethod
    def _of(engine: sa.Engine, table: Any) -> list[Any]:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.select(table.__table__))]


@pytest.fixture
def world(orm: ModuleType) -> World:
    return World(orm)


def test_rows_go_where_their_objects_say(world: World) -> None:
    session, things = world.session, [world.Thing(id=i, name=f"t{i}") for i in (1, 3, 2, 5)]
    session.add_all(things)
    session.flush()
    assert world.sent == [
        (1, "INSERT", [(1, "t1"), (3, "t3")]),
        (0, "INSERT", (2, "t2")),
        (1, "INSERT", (5, "t5")),
    ]
    world.sent.clear()
    things[0].name = things[2].name = "changed"
    session.delete(things[1])
    session.flush()
    assert world.sent == [
        (1, "UPDATE", ("changed", 1)),
        (0, "UPDATE", ("changed", 2)),
        (1, "DELETE", (3,)),
    ]
    session.commit()
    assert world.rows(world.Thing) == [[(2, "changed")], [(1, "changed"), (5, "t5")]]


@pytest.mark.filterwarnings("ignore:Identity map already had an identity")
def test_generated_keys_come_from_each_database(world: World) -> None:
    notes = [world.Note(place=place) for place in (0, 0, 1, 0)]
    world.session.add_all(notes)
    world.session.flush()
    assert [(note.place, note.id) for note in notes[:2]] == [(0, 1), (0, 2)]
    world.session.expunge_all()
    assert (notes[2].id, notes[3].id) == (1, 3)
    world.session.commit()
    assert [len(rows) for rows in world.rows(world.Note)] == [3, 1]


def test_listeners_of_row_events_get_the_connection_of_their_object(world: World) -> None:
    heard: list[tuple[str, int, int]] = []

    def listen(name: str) -> None:
        @event.listens_for(world.Thing, name)
        def hear(mapper: Any, connection: Any, thing: Any) -> None:
            heard.append((name, thing.id, world.engines.index(connection.engine)))

    for name in ("before_insert", "after_insert"):
        listen(name)
    world.session.add_all([world.Thing(id=i) for i in (1, 2)])
    world.session.flush()
    assert heard == [
        ("before_insert", 1, 1),
        ("before_insert", 2, 0),
        ("after_insert", 1, 1),
        ("after_insert", 2, 0),
    ]


def test_a_failure_rolls_every_database_back(world: World) -> None:
    session = world.session
    session.add(world.Thing(id=1))
    session.commit()
    session.expunge_all()
    session.add_all([world.Thing(id=2), world.Thing(id=1)])
    with pytest.raises(sa.exc.IntegrityError):
        session.flush()
    session.rollback()
    assert world.rows(world.Thing) == [[], [(1, None)]]
