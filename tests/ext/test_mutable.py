"""Values that announce their changes: what is changed in place is written, whatever changed it."""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sql
from sqlalchemy import event

KINDS = {"dict": {"a": 1, "b": 2}, "list": [3, 1, 2], "set": {1, 2, 3}}


def document_class(sa: SimpleNamespace) -> Any:
    """Documents with one value of each kind, and a subclass."""
    orm, mutable = sa.orm, sa.mutable

    class Base(orm.DeclarativeBase):
        pass

    class Document(Base):
        __tablename__ = "document"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        kind = orm.mapped_column(sql.String, default="document")
        dict = orm.mapped_column(mutable.MutableDict.as_mutable(sql.JSON))
        list = orm.mapped_column(mutable.MutableList.as_mutable(sql.PickleType))
        set = orm.mapped_column(mutable.MutableSet.as_mutable(sql.PickleType))
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "document"}

    class Letter(Document):
        __mapper_args__ = {"polymorphic_identity": "letter"}

    return Document, Letter


@pytest.fixture
def session(sa: SimpleNamespace) -> Iterator[Any]:
    with sa.orm.Session(sql.create_engine("sqlite://")) as session:
        yield session


def stored(session: Any, made: Any) -> Any:
    """The object, committed and loaded again."""
    type(made).metadata.create_all(session.connection())
    session.add(made)
    session.commit()
    session.expunge_all()
    return session.get(type(made), 1)


CHANGES = {
    "dict": [
        "x['a'] = 3", "del x['a']", "x.update(c=3)", "x.update({'c': 3})", "x.pop('a')", "x.pop('z', 1)", "x.popitem()",
        "x.setdefault('z', 5)", "x.clear()", "x |= {'c': 3}",
    ],
    "list": [
        "x[0] = 9", "x[1:] = [9]", "del x[0]", "del x[:]", "x.append(9)", "x.extend([9])", "x.insert(0, 9)", "x.pop()",
        "x.pop(0)", "x.remove(1)", "x.clear()", "x.sort()", "x.sort(reverse=True)", "x.reverse()", "x += [9]", "x *= 2",
    ],
    "set": [
        "x.add(9)", "x.remove(1)", "x.discard(1)", "x.pop()", "x.clear()", "x.update([9], {8})", "x -= {1}", "x |= {9}",
        "x &= {1}", "x ^= {1, 9}", "x.difference_update([1])", "x.intersection_update([1])",
        "x.symmetric_difference_update([1, 9])",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "code"), [(kind, code) for kind, codes in CHANGES.items() for code in codes])
def test_change(sa: SimpleNamespace, session: Any, kind: str, code: str) -> None:
    """Every operation does what the builtin's does, and the new value is written."""
    Document, _ = document_class(sa)
    document = stored(session, Document(**{kind: KINDS[kind]}))
    value, plain = getattr(document, kind), copy.copy(KINDS[kind])
    assert value == plain and document not in session.dirty
    names: dict[str, Any] = {"x": value}
    exec(code, names)
    assert names["x"] is value
    exec(code, {"x": plain})
    assert value == plain and document in session.dirty
    session.commit()
    assert getattr(document, kind) == plain
    assert type(getattr(document, kind)) is getattr(sa.mutable, f"Mutable{kind.title()}")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("dict", "x['z']"), ("dict", "x.get('a')"), ("dict", "x.pop('z')"), ("dict", "x | {}"), ("dict", "list(x)"),
        ("list", "x[9]"), ("list", "x + [1]"), ("list", "x.remove(7)"), ("list", "sorted(x)"), ("list", "x.index(1)"),
        ("set", "x | {1}"), ("set", "x.remove(7)"), ("set", "x.union([7])"), ("set", "1 in x"),
    ],
)  # fmt: skip
def test_no_change(sa: SimpleNamespace, session: Any, kind: str, code: str) -> None:
    """What only reads, and what fails, marks nothing."""
    Document, _ = document_class(sa)
    document = stored(session, Document(**{kind: KINDS[kind]}))
    with contextlib.suppress(LookupError, ValueError):
        eval(code, {"x": getattr(document, kind)})
    assert document not in session.dirty


@pytest.mark.parametrize("kind", KINDS)
def test_coercion(sa: SimpleNamespace, kind: str) -> None:
    """Plain values become such values on assignment; None stays; anything else is refused."""
    Document, _ = document_class(sa)
    document = Document(**{kind: KINDS[kind]})
    value = getattr(document, kind)
    assert type(value) is getattr(sa.mutable, f"Mutable{kind.title()}") and value == KINDS[kind]
    setattr(document, kind, value)
    assert getattr(document, kind) is value
    setattr(document, kind, None)
    assert getattr(document, kind) is None
    with pytest.raises(ValueError, match=f"Attribute '{kind}' does not accept objects of type <class 'int'>"):
        setattr(document, kind, 5)


def test_value_of_two_objects(sa: SimpleNamespace, session: Any) -> None:
    """Each that has the value is marked; one that has another one by now is not."""
    Document, _ = document_class(sa)
    Document.metadata.create_all(session.connection())
    first, second = Document(list=[1]), Document()
    second.list = value = first.list
    session.add_all([first, second])
    session.flush()
    value.append(2)
    assert first in session.dirty and second in session.dirty
    session.flush()
    second.list = [5]
    session.flush()
    value.append(3)
    assert first in session.dirty and second not in session.dirty
    del first
    value.append(4)


def test_after_expiry_and_refresh(sa: SimpleNamespace, session: Any) -> None:
    """A value that was loaded anew is followed; the one before is not."""
    Document, _ = document_class(sa)
    document = stored(session, Document(dict={"a": 1}))
    before = document.dict
    session.refresh(document, ["dict"])
    assert document.dict is not before
    document.dict["a"] = 2
    assert document in session.dirty
    session.commit()
    document.dict["a"] = 3
    session.commit()
    assert session.scalar(sql.select(Document.dict)) == {"a": 3}
    document.dict["a"] = 4
    session.rollback()
    assert document.dict == {"a": 3}


def test_value_made_by_the_flush(sa: SimpleNamespace, session: Any) -> None:
    """A default that the flush puts in is such a value."""
    orm = sa.orm

    class Base(orm.DeclarativeBase):
        pass

    class Document(Base):
        __tablename__ = "document"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        data = orm.mapped_column(sa.mutable.MutableDict.as_mutable(sql.JSON), default=lambda: {"a": 1})

    Base.metadata.create_all(session.connection())
    document = Document()
    session.add(document)
    session.flush()
    document.data["a"] = 2
    assert document in session.dirty


def test_merge(sa: SimpleNamespace, session: Any) -> None:
    """A merged object follows its own value."""
    Document, _ = document_class(sa)
    document = stored(session, Document(dict={"a": 1}))
    session.expunge_all()
    merged = session.merge(document, load=False)
    assert type(merged.dict) is sa.mutable.MutableDict
    merged.dict["b"] = 2
    assert merged in session.dirty
    session.commit()
    assert merged.dict == {"a": 1, "b": 2}


def test_subclass(sa: SimpleNamespace, session: Any) -> None:
    _, Letter = document_class(sa)
    letter = stored(session, Letter(list=[1]))
    letter.list.append(2)
    session.commit()
    assert letter.list == [1, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_pickled_and_copied_value(sa: SimpleNamespace, session: Any, kind: str) -> None:
    """It is a value of the same class, of no object."""
    Document, _ = document_class(sa)
    document = stored(session, Document(**{kind: KINDS[kind]}))
    value = getattr(document, kind)
    others = [pickle.loads(pickle.dumps(value, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    for other in [*others, copy.copy(value), copy.deepcopy(value)]:
        assert type(other) is type(value) and other == value
        other.clear()
        assert value and document not in session.dirty


@pytest.mark.parametrize("kind", KINDS)
def test_pickled_object(sa: SimpleNamespace, session: Any, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its value announces changes to the object that was unpickled with it."""
    Document, _ = document_class(sa)
    Document.__qualname__ = "Document"
    monkeypatch.setitem(globals(), "Document", Document)
    document = stored(session, Document(**{kind: KINDS[kind]}))
    assert getattr(document, kind) == KINDS[kind]
    data = pickle.dumps(document)
    session.expunge_all()
    again = pickle.loads(data)
    session.add(again)
    assert again not in session.dirty
    getattr(again, kind).clear()
    assert again in session.dirty
    session.commit()
    assert not getattr(again, kind)


def test_own_class(sa: SimpleNamespace, session: Any) -> None:
    """A class says how it is made from plain values, and calls `changed()`."""

    class Counter(sa.mutable.Mutable):
        def __init__(self, n: int) -> None:
            self.n = n

        def add(self) -> None:
            self.n += 1
            self.changed()

        @classmethod
        def coerce(cls, key: str, value: Any) -> Any:
            return (
                cls(value)
                if isinstance(value, int)
                else value
                if isinstance(value, cls)
                else super().coerce(key, value)
            )

    class CounterType(sql.types.TypeDecorator):  # type: ignore[type-arg]
        impl = sql.Integer
        cache_ok = True

        def process_bind_param(self, value: Any, dialect: Any) -> Any:
            return None if value is None else value.n

    class Base(sa.orm.DeclarativeBase):
        pass

    class Page(Base):
        __tablename__ = "page"
        id = sa.orm.mapped_column(sql.Integer, primary_key=True)
        hits = sa.orm.mapped_column(Counter.as_mutable(CounterType))
        raw = sa.orm.mapped_column(sql.Integer)

    Counter.associate_with_attribute(Page.raw)
    assert isinstance(Page(raw=3).raw, Counter)
    page = stored(session, Page(hits=5))
    page.hits.add()
    session.commit()
    assert page.hits.n == 6
    with pytest.raises(ValueError, match="does not accept"):
        page.hits = "many"


def test_associate_with(sa: SimpleNamespace, session: Any) -> None:
    """All columns of a type, in every mapping from then on."""

    class Settings(sql.types.TypeDecorator):  # type: ignore[type-arg]
        impl = sql.JSON
        cache_ok = True

    sa.mutable.MutableDict.associate_with(Settings)

    class Base(sa.orm.DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "user"
        id = sa.orm.mapped_column(sql.Integer, primary_key=True)
        settings = sa.orm.mapped_column(Settings)

    user = stored(session, User(settings={"a": 1}))
    user.settings["a"] = 2
    session.commit()
    assert user.settings == {"a": 2}


def test_columns_of_a_mixin(sa: SimpleNamespace, session: Any) -> None:
    """A mixin's column is copied, with it a type that is part of a schema; every class has its listeners."""

    class Mixin:
        data = sa.orm.mapped_column(sa.mutable.MutableDict.as_mutable(sql.JSON))
        flags = sa.orm.mapped_column(
            sa.mutable.MutableList.as_mutable(sql.ARRAY(sql.Integer).with_variant(sql.JSON, "sqlite"))
        )

    class Base(sa.orm.DeclarativeBase):
        pass

    classes = [
        type(name, (Mixin, Base), {"__tablename__": name, "id": sa.orm.mapped_column(sql.Integer, primary_key=True)})
        for name in ("one", "two")
    ]
    for cls in classes:
        made: Any = stored(session, cls(data={"a": 1}, flags=[1]))
        made.data["a"] = 2
        made.flags.append(2)
        session.commit()
        assert (made.data, made.flags) == ({"a": 2}, [1, 2])


def test_composite(sa: SimpleNamespace, session: Any) -> None:
    """A change of a composite is written to its columns, as before and after a flush, expiry and assignment."""

    class Point(sa.mutable.MutableComposite):
        def __init__(self, x: int, y: int) -> None:
            self.x, self.y = x, y

        def __setattr__(self, key: str, value: Any) -> None:
            object.__setattr__(self, key, value)
            self.changed()

        def __composite_values__(self) -> tuple[int, int]:
            return self.x, self.y

        def __getstate__(self) -> Any:
            return self.x, self.y

        def __setstate__(self, state: Any) -> None:
            object.__setattr__(self, "x", state[0])
            object.__setattr__(self, "y", state[1])

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)

    class Base(sa.orm.DeclarativeBase):
        pass

    class Line(Base):
        __tablename__ = "line"
        id = sa.orm.mapped_column(sql.Integer, primary_key=True)
        start = sa.orm.composite(Point, sa.orm.mapped_column("x", sql.Integer), sa.orm.mapped_column("y", sql.Integer))

    line = stored(session, Line(start=Point(1, 2)))
    line.start.x = 5
    assert line in session.dirty
    session.commit()
    assert session.execute(sql.text("select x, y from line")).one() == (5, 2)
    line.start.y = 6
    before = line.start
    line.start = Point(7, 8)
    before.x = 0
    session.commit()
    assert line.start == Point(7, 8)
    session.rollback()
    line.start.x = 9
    session.rollback()
    assert line.start.x == 7


def test_listening_twice(ours: SimpleNamespace) -> None:
    """Composites are looked for once, however often it is asked for."""
    ours.mutable._setup_composite_listener()
    heard = []

    class Point(ours.mutable.MutableComposite):
        def __init__(self, x: int) -> None:
            self.x = x

        def __composite_values__(self) -> tuple[int]:
            return (self.x,)

        @classmethod
        def _listen_on_attribute(cls, attribute: Any, coerce: bool, parent_cls: Any) -> None:
            heard.append((attribute.key, coerce))

    class Base(ours.orm.DeclarativeBase):
        pass

    class Line(Base):
        __tablename__ = "line"
        id = ours.orm.mapped_column(sql.Integer, primary_key=True)
        start = ours.orm.composite(Point, ours.orm.mapped_column("x", sql.Integer))

    ours.orm.configure_mappers()
    assert heard == [("start", False)]
    assert Line.start.property.composite_class is Point


def test_no_listener_where_no_such_value_is(ours: SimpleNamespace) -> None:
    """Other classes do not pay: they have no listener for loads."""

    class Base(ours.orm.DeclarativeBase):
        pass

    class Plain(Base):
        __tablename__ = "plain"
        id = ours.orm.mapped_column(sql.Integer, primary_key=True)
        data = ours.orm.mapped_column(sql.JSON)

    ours.orm.configure_mappers()
    assert not Plain.__mapper__.class_manager.dispatch.load
    Document, _ = document_class(ours)
    ours.orm.configure_mappers()
    assert Document.__mapper__.class_manager.dispatch.load
    assert event.contains(ours.orm.Mapper, "mapper_configured", ours.mutable.composites._listen_to_composites)
