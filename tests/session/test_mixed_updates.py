"""UPDATEs of neighbouring rows that change different columns: the order of the keys is kept, whatever way they take.

The audit table's trigger tells the order even on the lane, where no listener may be; the driver's trace tells the
statements.
"""

from __future__ import annotations

import datetime
import itertools
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event, exc

N = 40


class Shop:
    """Items with a unique code and an audit trigger, rows with versions, and rows with values made by an UPDATE."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.engine = world.engine
        orm, base = world.orm, world.Base

        class Item(base):  # type: ignore[misc, valid-type, name-defined]
            __tablename__ = "items"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            code = orm.mapped_column(sa.String, unique=True)
            a = orm.mapped_column(sa.Integer)
            b = orm.mapped_column(sa.Integer)
            at = orm.mapped_column(sa.Date)

        class Versioned(base):  # type: ignore[misc, valid-type, name-defined]
            __tablename__ = "versioned"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            a = orm.mapped_column(sa.Integer)
            b = orm.mapped_column(sa.Integer)
            version = orm.mapped_column(sa.Integer, nullable=False)
            __mapper_args__ = {"version_id_col": version}

        ticks = itertools.count(1)

        class Touched(base):  # type: ignore[misc, valid-type, name-defined]
            __tablename__ = "touched"
            id = orm.mapped_column(sa.Integer, primary_key=True)
            a = orm.mapped_column(sa.Integer)
            b = orm.mapped_column(sa.Integer)
            tick = orm.mapped_column(sa.Integer, onupdate=lambda: next(ticks))
            said = orm.mapped_column(sa.String, onupdate=sa.func.lower("NOW"))

        self.Item, self.Versioned, self.Touched = Item, Versioned, Touched
        base.metadata.create_all(self.engine)
        self._traced: list[str] = []
        event.listen(self.engine, "connect", lambda connection, _: connection.set_trace_callback(self._traced.append))
        self.engine.dispose()
        with self.engine.begin() as connection:
            run = connection.exec_driver_sql
            run("CREATE TABLE audit (no INTEGER PRIMARY KEY, item INTEGER, code TEXT, a INTEGER, b INTEGER)")
            run(
                "CREATE TRIGGER items_audit AFTER UPDATE ON items BEGIN "
                "INSERT INTO audit (item, code, a, b) VALUES (new.id, new.code, new.a, new.b); END"
            )
            for table in ("items (id, code, a, b)", "versioned (id, version, a, b)", "touched (id, said, a, b)"):
                run(f"INSERT INTO {table} VALUES (?, ?, 0, 0)", [(i, i) for i in range(1, N + 1)])
        self.clear()

    def clear(self) -> None:
        self.world.statements.clear()
        self._traced.clear()

    def updates(self) -> list[str]:
        """The UPDATEs of items as the database got them; its trace shows one with a trigger twice."""
        updates = (text for text in self._traced if text.startswith("UPDATE items"))
        return [text for text, _ in itertools.groupby(updates)]

    def load(self, session: Any, cls: Any) -> list[Any]:
        found = list(session.scalars(sa.select(cls).order_by(cls.id)))
        self.clear()
        return found


@pytest.fixture
def shop(world: Any) -> Shop:
    return Shop(world)


def _change_alternately(objects: list[Any]) -> None:
    for i, item in enumerate(objects):
        for name in (("a",), ("b",), ("a", "b"))[i % 3]:
            setattr(item, name, i + 1)


def test_045_rows_keep_the_order_of_their_keys(shop: Shop) -> None:
    with shop.world.session() as session:
        items = shop.load(session, shop.Item)
        _change_alternately(items[::-1])
        session.commit()
        assert not session.dirty
    audit = shop.world.rows("SELECT item, a, b FROM audit ORDER BY no")
    assert [row[0] for row in audit] == list(range(1, N + 1))
    assert audit == shop.world.rows("SELECT id, a, b FROM items ORDER BY id")


def test_045_statements_are_those_of_consecutive_rows(shop: Shop) -> None:
    with shop.world.session() as session:
        items = shop.load(session, shop.Item)
        items[0].a, items[1].a = 1, 2
        items[2].b = 3
        items[3].a, items[4].b, items[5].b = 4, 5, 6
        items[6].at = datetime.date(2024, 2, 29)
        items[7].a = 8
        session.commit()
    assert shop.updates() == [
        "UPDATE items SET a=1 WHERE items.id = 1",
        "UPDATE items SET a=2 WHERE items.id = 2",
        "UPDATE items SET b=3 WHERE items.id = 3",
        "UPDATE items SET a=4 WHERE items.id = 4",
        "UPDATE items SET b=5 WHERE items.id = 5",
        "UPDATE items SET b=6 WHERE items.id = 6",
        "UPDATE items SET at='2024-02-29' WHERE items.id = 7",
        "UPDATE items SET a=8 WHERE items.id = 8",
    ]
    if shop.world.is_observed:
        assert [text for text in shop.world.statements if text.startswith("UPDATE")] == [
            "UPDATE items SET a=? WHERE items.id = ?",
            "UPDATE items SET b=? WHERE items.id = ?",
            "UPDATE items SET a=? WHERE items.id = ?",
            "UPDATE items SET b=? WHERE items.id = ?",
            "UPDATE items SET at=? WHERE items.id = ?",
            "UPDATE items SET a=? WHERE items.id = ?",
        ]


def test_053_a_unique_value_goes_from_row_to_row(shop: Shop) -> None:
    """Each row takes the value that the row before it has given up; other columns differ from row to row."""
    with shop.world.session() as session:
        items = shop.load(session, shop.Item)
        codes = ["free", *(item.code for item in items)]
        for i, item in enumerate(items):
            item.code = codes[i]
            if i % 2:
                item.a = i
        session.commit()
    assert shop.world.rows("SELECT code FROM items ORDER BY id") == [(code,) for code in codes[:N]]


def test_053_a_unique_value_that_is_not_free_yet(shop: Shop) -> None:
    with shop.world.session() as session:
        items = shop.load(session, shop.Item)
        items[0].a = 1
        items[1].b = 1
        items[2].a = 1
        items[10].code, items[10].a = items[20].code, 5
        items[20].code = "free"
        with pytest.raises(exc.IntegrityError) as caught:
            session.flush()
        assert caught.value.statement == "UPDATE items SET code=?, a=? WHERE items.id = ?"
        assert caught.value.params == ("21", 5, 11)
        assert not caught.value.ismulti
        session.rollback()
        assert items[0].a == 0
    assert shop.world.rows("SELECT max(a), max(b), count(*) FROM items") == [(0, 0, N)]
    assert shop.world.rows("SELECT count(*) FROM audit") == [(0,)]


def test_053_the_failing_run_of_several_rows_is_named(shop: Shop) -> None:
    with shop.world.session() as session:
        items = shop.load(session, shop.Item)
        items[0].code, items[1].a, items[2].code = "x", 1, "y"
        items[3].a = 2
        items[4].code, items[5].code, items[6].code = "z", "8", "w"
        with pytest.raises(exc.IntegrityError) as caught:
            session.flush()
        assert caught.value.statement == "UPDATE items SET code=? WHERE items.id = ?"
        assert caught.value.params == [("z", 5), ("8", 6), ("w", 7)]
        assert caught.value.ismulti


def test_087_a_row_that_is_gone(shop: Shop) -> None:
    with shop.world.session() as session:
        items = shop.load(session, shop.Item)
        session.connection().exec_driver_sql("DELETE FROM items WHERE id = 12")
        _change_alternately(items)
        with pytest.raises(shop.world.orm.exc.StaleDataError) as caught:
            session.flush()
    assert str(caught.value) == ("UPDATE statement on table 'items' expected to update 1 row(s); 0 were matched.")
    assert shop.world.rows("SELECT count(*) FROM items WHERE a != 0 OR b != 0") == [(0,)]


def test_087_rows_that_are_gone_from_a_run_of_several(shop: Shop) -> None:
    with shop.world.session() as session:
        items = shop.load(session, shop.Item)
        session.connection().exec_driver_sql("DELETE FROM items WHERE id IN (6, 7)")
        items[0].a, items[1].b = 1, 1
        for item in items[2:8]:
            item.a = 2
        with pytest.raises(shop.world.orm.exc.StaleDataError) as caught:
            session.flush()
    assert str(caught.value) == ("UPDATE statement on table 'items' expected to update 6 row(s); 4 were matched.")


def test_086_versions_go_up_with_every_row(shop: Shop) -> None:
    with shop.world.session() as session:
        rows = shop.load(session, shop.Versioned)
        _change_alternately(rows)
        rows[3].version = 99
        session.flush()
        assert [row.version for row in rows] == [99 if i == 3 else i + 2 for i in range(N)]
        rows[5].a = rows[6].b = -1
        session.commit()
    stored = shop.world.rows("SELECT id, version FROM versioned")
    assert stored == [(i + 1, 99 if i == 3 else i + 3 if i in (5, 6) else i + 2) for i in range(N)]


def test_086_a_stale_version_among_others(shop: Shop) -> None:
    with shop.world.session() as session:
        rows = shop.load(session, shop.Versioned)
        session.connection().exec_driver_sql("UPDATE versioned SET version = 1000 WHERE id = 8")
        _change_alternately(rows)
        with pytest.raises(shop.world.orm.exc.StaleDataError) as caught:
            session.flush()
    assert str(caught.value) == ("UPDATE statement on table 'versioned' expected to update 1 row(s); 0 were matched.")
    assert shop.world.rows("SELECT max(version) FROM versioned") == [(N,)]


def test_094_sql_expressions_keep_their_place(shop: Shop) -> None:
    """An expression reads what the rows before it have become, and not what the rows after it will be."""
    with shop.world.session() as session:
        items = shop.load(session, shop.Item)
        _change_alternately(items)
        seen = sa.select(sa.func.sum(shop.Item.a) + sa.func.sum(shop.Item.b)).scalar_subquery()
        items[10].a = seen
        items[11].a = 1000
        session.flush()
        before = sum(i + 1 for i in range(10) for _ in ((0,), (0,), (0, 0))[i % 3])
        assert items[10].a == before
        session.commit()
    assert shop.world.rows("SELECT item FROM audit ORDER BY no") == [(i,) for i in range(1, N + 1)]


def test_093_python_and_server_onupdate(shop: Shop) -> None:
    with shop.world.session() as session:
        rows = shop.load(session, shop.Touched)
        _change_alternately(rows)
        rows[4].tick = -1
        session.flush()
        ticks = itertools.count(1)
        expected = [-1 if i == 4 else next(ticks) for i in range(N)]
        assert [row.tick for row in rows] == expected
        assert {row.said for row in rows} == {"now"}


def test_103_a_listener_within_the_flush(shop: Shop) -> None:
    """SQL of an event handler on the same connection comes before the rows' own, and may come after."""
    calls: list[int] = []

    def after(mapper: Any, connection: Any, item: Any) -> None:
        found = connection.execute(sa.text("SELECT count(*) FROM audit")).scalar()
        calls.append(found)

    event.listen(shop.Item, "after_update", after)
    with shop.world.session() as session:
        items = shop.load(session, shop.Item)
        _change_alternately(items)
        session.commit()
    assert calls == [N] * N


def test_093_refreshed_values_are_told(shop: Shop) -> None:
    told: list[tuple[int, list[str]]] = []
    event.listen(shop.Touched, "refresh_flush", lambda obj, context, names: told.append((obj.id, list(names))))
    with shop.world.session() as session:
        rows = shop.load(session, shop.Touched)[:5]
        _change_alternately(rows)
        session.flush()
    assert [number for number, _ in told] == [1, 2, 3, 4, 5]
    assert all("tick" in names for _, names in told)


def test_094_a_value_the_type_refuses(shop: Shop) -> None:
    with shop.world.session() as session:
        items = shop.load(session, shop.Item)
        for i, item in enumerate(items):
            if i % 2:
                item.at = datetime.date(2024, 1, 1)
            else:
                item.a = 5
        items[21].at = "not a date"
        with pytest.raises(exc.StatementError) as caught:
            session.flush()
        assert "SQLite Date type only accepts Python date objects as input" in str(caught.value)
        assert caught.value.statement == "UPDATE items SET at=? WHERE items.id = ?"
    assert shop.world.rows("SELECT count(*) FROM audit") == [(0,)]


def test_051_keys_that_change_among_other_columns(shop: Shop) -> None:
    with shop.world.session() as session:
        items = shop.load(session, shop.Item)
        _change_alternately(items)
        for item in items[::5]:
            item.id += 1000
        session.commit()
        assert session.get(shop.Item, 1001) is items[0]
    assert shop.updates()[:3] == [
        "UPDATE items SET id=1001, a=1 WHERE items.id = 1",
        "UPDATE items SET b=2 WHERE items.id = 2",
        "UPDATE items SET a=3, b=3 WHERE items.id = 3",
    ]


def test_102_a_savepoint_around_the_flush(shop: Shop) -> None:
    with shop.world.session() as session:
        items = shop.load(session, shop.Item)
        items[0].code = "kept"
        items[1].a = 1
        session.flush()
        with pytest.raises(exc.IntegrityError), session.begin_nested():
            items[2].a, items[3].b, items[4].a = 7, 7, 7
            items[5].code = "kept"
            session.flush()
        assert items[2].a == 0
        session.commit()
    assert shop.world.rows("SELECT count(*) FROM audit") == [(2,)]
