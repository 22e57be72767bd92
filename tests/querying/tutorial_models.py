"""The database of the tutorial tests: sailors with log entries and licences for ports, and a fleet with inheritance."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

from sqlalchemy import Column, ForeignKey, Integer, String, Table, Text, create_engine


def make_models(orm: ModuleType) -> SimpleNamespace:
    class Base(orm.DeclarativeBase):  # type: ignore[misc, name-defined]
        pass

    metadata: Any = Base.metadata
    licences = Table(
        "licences",
        metadata,
        Column("sailor_id", ForeignKey("sailors.id"), primary_key=True),
        Column("port_id", ForeignKey("ports.id"), primary_key=True),
    )

    class Sailor(Base):
        __tablename__ = "sailors"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        fullname = orm.mapped_column(String(60))
        entries = orm.relationship("Entry", back_populates="sailor", order_by="Entry.id")
        ports = orm.relationship("Port", secondary=licences, back_populates="sailors", order_by="Port.id")

    class Entry(Base):
        __tablename__ = "entries"
        id = orm.mapped_column(Integer, primary_key=True)
        sailor_id = orm.mapped_column(ForeignKey("sailors.id"))
        title = orm.mapped_column(String(40))
        body = orm.mapped_column(Text, deferred=True)
        weather = orm.mapped_column(String(20), deferred=True, deferred_group="conditions")
        wind = orm.mapped_column(Integer, deferred=True, deferred_group="conditions")
        sailor = orm.relationship("Sailor", back_populates="entries")
        loudness = orm.query_expression()

    class Port(Base):
        __tablename__ = "ports"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        above_id = orm.mapped_column(ForeignKey("ports.id"))
        sailors = orm.relationship("Sailor", secondary=licences, back_populates="ports", order_by="Sailor.id")
        below = orm.relationship("Port", order_by="Port.id")

    class Fleet(Base):
        __tablename__ = "fleets"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String(30))
        vessels = orm.relationship("Vessel", back_populates="fleet", order_by="Vessel.id")

    class Vessel(Base):
        __tablename__ = "vessels"
        id = orm.mapped_column(Integer, primary_key=True)
        kind = orm.mapped_column(String(20))
        name = orm.mapped_column(String(30))
        fleet_id = orm.mapped_column(ForeignKey("fleets.id"))
        fleet = orm.relationship("Fleet", back_populates="vessels")
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "vessel"}

    class Ferry(Vessel):
        __tablename__ = "ferries"
        id = orm.mapped_column(ForeignKey("vessels.id"), primary_key=True)
        seats = orm.mapped_column(Integer)
        decks = orm.relationship("Deck", order_by="Deck.id")
        __mapper_args__ = {"polymorphic_identity": "ferry"}

    class Trawler(Vessel):
        __tablename__ = "trawlers"
        id = orm.mapped_column(ForeignKey("vessels.id"), primary_key=True)
        catch = orm.mapped_column(String(20))
        __mapper_args__ = {"polymorphic_identity": "trawler"}

    class Deck(Base):
        __tablename__ = "decks"
        id = orm.mapped_column(Integer, primary_key=True)
        ferry_id = orm.mapped_column(ForeignKey("ferries.id"))
        name = orm.mapped_column(String(20))

    class Instrument(Base):
        __tablename__ = "instruments"
        id = orm.mapped_column(Integer, primary_key=True)
        kind = orm.mapped_column(String(20))
        name = orm.mapped_column(String(30))
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "instrument"}

    class Compass(Instrument):
        deviation = orm.mapped_column(Integer, nullable=True)
        __mapper_args__ = {"polymorphic_identity": "compass"}

    class Barometer(Instrument):
        pressure = orm.mapped_column(Integer, nullable=True)
        __mapper_args__ = {"polymorphic_identity": "barometer"}

    orm.configure_mappers()
    classes = (Base, Sailor, Entry, Port, Fleet, Vessel, Ferry, Trawler, Deck, Instrument, Compass, Barometer)
    return SimpleNamespace(orm=orm, licences=licences, **{class_.__name__: class_ for class_ in classes})


ROWS: dict[str, list[dict[str, Any]]] = {
    "sailors": [
        {"id": 1, "name": "ada", "fullname": "Ada Keel"},
        {"id": 2, "name": "bo", "fullname": "Bo Bowsprit"},
        {"id": 3, "name": "cy", "fullname": None},
        {"id": 4, "name": "dot", "fullname": "Dot Davit"},
    ],
    "entries": [
        {"id": 1, "sailor_id": 1, "title": "calm", "body": "nothing", "weather": "fog", "wind": 1},
        {"id": 2, "sailor_id": 1, "title": "storm", "body": "everything", "weather": "rain", "wind": 10},
        {"id": 3, "sailor_id": 2, "title": "whales", "body": "three", "weather": "sun", "wind": 3},
        {"id": 4, "sailor_id": 4, "title": "calm", "body": "again", "weather": "sun", "wind": 0},
        {"id": 5, "sailor_id": None, "title": "found", "body": "in a bottle", "weather": None, "wind": None},
    ],
    "ports": [
        {"id": 1, "name": "north sea", "above_id": None},
        {"id": 2, "name": "hull", "above_id": 1},
        {"id": 3, "name": "bergen", "above_id": 1},
        {"id": 4, "name": "pier 4", "above_id": 2},
    ],
    "licences": [
        {"sailor_id": 1, "port_id": 2},
        {"sailor_id": 1, "port_id": 3},
        {"sailor_id": 2, "port_id": 3},
    ],
    "fleets": [{"id": 1, "name": "white"}, {"id": 2, "name": "grey"}],
    "vessels": [
        {"id": 1, "kind": "ferry", "name": "Aurora", "fleet_id": 1},
        {"id": 2, "kind": "trawler", "name": "Boreas", "fleet_id": 1},
        {"id": 3, "kind": "ferry", "name": "Ceres", "fleet_id": 2},
        {"id": 4, "kind": "vessel", "name": "Dinghy", "fleet_id": 2},
    ],
    "ferries": [{"id": 1, "seats": 200}, {"id": 3, "seats": 40}],
    "trawlers": [{"id": 2, "catch": "cod"}],
    "decks": [{"id": 1, "ferry_id": 1, "name": "car"}, {"id": 2, "ferry_id": 1, "name": "sun"}],
    "instruments": [
        {"id": 1, "kind": "compass", "name": "old", "deviation": 3, "pressure": None},
        {"id": 2, "kind": "barometer", "name": "brass", "deviation": None, "pressure": 1013},
        {"id": 3, "kind": "instrument", "name": "sextant", "deviation": None, "pressure": None},
    ],
}


def make_database(m: SimpleNamespace) -> Any:
    engine = create_engine("sqlite://")
    m.Base.metadata.create_all(engine)
    with engine.begin() as connection:
        for name, rows in ROWS.items():
            connection.execute(m.Base.metadata.tables[name].insert(), rows)
    return engine
