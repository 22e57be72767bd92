"""``tuple_(…).in_(…)``, and select-in loads by composite keys: every value goes through the type of its column."""

from __future__ import annotations

import datetime
from types import ModuleType, SimpleNamespace
from typing import Any

from comparison import Comparison
from sqlalchemy import Column, Date, ForeignKeyConstraint, Integer, String, create_engine, select, tuple_

DAY = datetime.date(2024, 5, 1)


def make_models(orm: ModuleType) -> SimpleNamespace:
    base: Any = orm.declarative_base()

    class Order(base):
        __tablename__ = "orders"
        day = Column(Date, primary_key=True)
        number = Column(Integer, primary_key=True)
        name = Column(String(30))
        lines = orm.relationship("Line", back_populates="order", order_by="Line.id")

    class Line(base):
        __tablename__ = "lines"
        id = Column(Integer, primary_key=True)
        day = Column(Date)
        number = Column(Integer)
        order = orm.relationship("Order", back_populates="lines")
        __table_args__ = (ForeignKeyConstraint([day, number], [Order.day, Order.number]),)

    orm.configure_mappers()
    return SimpleNamespace(orm=orm, Base=base, Order=Order, Line=Line)


def make_database(models: SimpleNamespace) -> Any:
    engine = create_engine("sqlite://")
    models.Base.metadata.create_all(engine)
    days = [DAY + datetime.timedelta(days=n) for n in range(3)]
    orders = [{"day": day, "number": n, "name": f"{day}-{n}"} for day in days for n in (1, 2)]
    lines = [{"id": i, "day": days[i % 3], "number": i % 2 + 1} for i in range(1, 13)]
    with engine.begin() as connection:
        connection.execute(models.Order.__table__.insert(), orders)
        connection.execute(models.Line.__table__.insert(), [*lines, {"id": 99, "day": DAY, "number": None}])
    return engine


BOTH = Comparison(make_models, make_database)


def outcome(run: Any) -> Any:
    try:
        return run()
    except Exception as err:
        return type(err).__name__


def test_in_lists_of_any_length() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        keys = [(DAY, 1), (DAY, 2), (DAY + datetime.timedelta(days=1), 1)]
        found = []
        for given in (keys[:1], keys, [], keys[1:], [list(keys[0])], [(DAY,)], [(DAY, 1, 2)], [("x", 1)]):
            for compare in ("in_", "not_in"):
                criterion = getattr(tuple_(m.Order.day, m.Order.number), compare)(given)
                statement = select(m.Order).where(criterion, m.Order.number >= 1).order_by(m.Order.name)
                found.append(outcome(lambda s=statement: [order.name for order in session.scalars(s)]))
                session.expunge_all()
        return found

    BOTH.check(scenario)


def test_selectin_by_composite_keys() -> None:
    def scenario(m: SimpleNamespace, session: Any) -> Any:
        found: list[Any] = []
        for number in (1, 2, 1):
            orders = select(m.Order).where(m.Order.number == number).order_by(m.Order.day)
            for order in session.scalars(orders.options(m.orm.selectinload(m.Order.lines))):
                found.append((order.name, [line.id for line in order.lines]))
            session.expunge_all()
            lines = select(m.Line).where(m.Line.id >= number).order_by(m.Line.id)
            for line in session.scalars(lines.options(m.orm.selectinload(m.Line.order))):
                found.append((line.id, line.order and line.order.name))
            session.expunge_all()
        return found

    BOTH.check(scenario)
