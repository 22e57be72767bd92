"""Lists that number their objects: after every operation positions and list agree, where SQLAlchemy's do."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sql


def slides(sa: SimpleNamespace, **kw: Any) -> Any:
    """`(Talk, Slide)`; a talk has its slides in order, a slide has its position."""
    orm = sa.orm

    class Base(orm.DeclarativeBase):
        pass

    class Slide(Base):
        __tablename__ = "slide"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        talk_id = orm.mapped_column(sql.ForeignKey("talk.id"))
        position = orm.mapped_column(sql.Integer)
        name = orm.mapped_column(sql.String)

    class Talk(Base):
        __tablename__ = "talk"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        slides = orm.relationship(
            Slide, collection_class=sa.orderinglist.ordering_list("position", **kw), order_by=Slide.position
        )

    return Talk, Slide


OPERATIONS = [
    "x.append(new())", "x.insert(0, new())", "x.insert(2, new())", "x.extend([new(), new()])", "x += [new()]",
    "x.pop()", "x.pop(0)", "x.remove(x[1])", "del x[0]", "del x[1:]", "x[1] = new()", "x[1:2] = [new()]",
    "x[0:2] = [new()]", "x[:] = [new(), new()]", "x[1:1] = [new(), new()]", "x.clear()", "x[::2] = [new(), new()]",
]  # fmt: skip


@pytest.mark.parametrize("code", OPERATIONS)
def test_positions(sa: SimpleNamespace, code: str) -> None:
    Talk, Slide = slides(sa)
    talk = Talk(slides=[Slide(name=name) for name in "abc"])
    plain = list("abc")
    x = talk.slides
    exec(code, {"x": x, "new": lambda: Slide(name="n")})
    exec(code, {"x": plain, "new": lambda: "n"})
    assert [slide.name for slide in talk.slides] == plain
    assert [slide.position for slide in talk.slides] == list(range(len(plain)))


def test_database(sa: SimpleNamespace) -> None:
    """Positions are written, and loading does not change them."""
    Talk, Slide = slides(sa, count_from=1)
    engine = sql.create_engine("sqlite://")
    Talk.metadata.create_all(engine)
    with sa.orm.Session(engine) as session:
        talk = Talk(slides=[Slide(name=name) for name in "abc"])
        session.add(talk)
        session.commit()
        talk.slides.insert(1, talk.slides.pop())
        session.commit()
        session.expunge_all()
        talk = session.get(Talk, 1)
        assert [(slide.name, slide.position) for slide in talk.slides] == [("a", 1), ("c", 2), ("b", 3)]
        assert not session.dirty
        talk.slides.reverse()
        talk.slides.reorder()
        session.commit()
        assert [slide.name for slide in talk.slides] == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("options", "positions"),
    [
        ({}, [0, 1, 2]),
        ({"count_from": 1}, [1, 2, 3]),
        ({"count_from": -5}, [-5, -4, -3]),
        ({"ordering_func": lambda index, collection: index * len(collection)}, [0, 2, 6]),
        ({"ordering_func": lambda index, collection: "abc"[index], "count_from": 7}, ["a", "b", "c"]),
    ],
)
def test_numbers(sa: SimpleNamespace, options: dict[str, Any], positions: list[Any]) -> None:
    Talk, Slide = slides(sa, **options)
    talk = Talk()
    for _ in positions:
        talk.slides.append(Slide())
    assert [slide.position for slide in talk.slides] == positions


@pytest.mark.parametrize(("reorder", "position"), [(False, 7), (True, 1)])
def test_append_with_a_position(sa: SimpleNamespace, reorder: bool, position: int) -> None:
    """An appended object keeps the position it has, unless the list is told otherwise."""
    Talk, Slide = slides(sa, reorder_on_append=reorder)
    talk = Talk(slides=[Slide()])
    talk.slides.append(Slide(position=7))
    assert talk.slides[1].position == position
    talk.slides._raw_append(Slide())
    assert talk.slides[2].position is None


def test_replaced_list(sa: SimpleNamespace) -> None:
    """The objects of a replaced list are numbered by the new one only."""
    Talk, Slide = slides(sa)
    first, second, third = (Slide(name=name) for name in "abc")
    talk = Talk(slides=[first, second, third])
    talk.slides = [third, second]
    assert [slide.position for slide in (first, second, third)] == [0, 1, 2]
    talk.slides.reorder()
    assert [slide.position for slide in talk.slides] == [0, 1]


def test_position_elsewhere(sa: SimpleNamespace) -> None:
    """A subclass may keep the position as it likes."""

    class Keyed(sa.orderinglist.OrderingList):
        def _get_order_value(self, entity: Any) -> Any:
            return entity.get("at")

        def _set_order_value(self, entity: Any, value: Any) -> None:
            entity["at"] = value

    keyed = Keyed("ignored")
    list.extend(keyed, [{}, {}])
    keyed.reorder()
    assert keyed == [{"at": 0}, {"at": 1}]


class Item:
    def __init__(self, position: int | None = None) -> None:
        self.position = position


def test_plain_list(ours: SimpleNamespace) -> None:
    """Outside of a mapping too a slice is a slice; SQLAlchemy's takes the wrong members, or raises."""
    made = ours.orderinglist.OrderingList("position")
    for _ in range(4):
        made.append(Item())
    kept = made[0]
    made[1:3] = [Item()]
    assert [item.position for item in made] == [0, 1, 2] and made[0] is kept


def test_pickled(sa: SimpleNamespace) -> None:
    made = sa.orderinglist.ordering_list("position", count_from=1, reorder_on_append=True)()
    made.append(Item())
    for other in (pickle.loads(pickle.dumps(made)), copy.copy(made)):
        assert type(other) is type(made) and (other.ordering_attr, other.reorder_on_append) == ("position", True)
        other.append(Item())
        assert [item.position for item in other] == [1, 2]


def test_name_of_a_counting_function(sa: SimpleNamespace) -> None:
    count = sa.orderinglist.count_from_n_factory(3)
    assert (count.__name__, count(4, [])) == ("count_from_3", 7)
    assert (sa.orderinglist.count_from_0(2, []), sa.orderinglist.count_from_1(2, [])) == (2, 3)
