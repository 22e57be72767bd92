"""Hybrids: in Python on an object, in SQL on its class, as target of statements, and in subclasses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sql


def interval_class(sa: SimpleNamespace) -> Any:
    """An interval with hybrids of every make."""
    orm, hybrid_property, hybrid_method = sa.orm, sa.hybrid.hybrid_property, sa.hybrid.hybrid_method

    class Base(orm.DeclarativeBase):
        pass

    class Interval(Base):
        __tablename__ = "interval"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        start = orm.mapped_column(sql.Integer)
        end = orm.mapped_column(sql.Integer)

        @hybrid_property
        def length(self) -> Any:
            "From start to end."
            return self.end - self.start

        @length.setter
        def length(self, value: Any) -> None:
            self.end = self.start + value

        @length.deleter
        def length(self) -> None:
            self.end = self.start

        @length.update_expression
        def length(cls, value: Any) -> Any:
            return [(cls.end, cls.start + value)]

        @hybrid_property
        def radius(self) -> Any:
            return abs(self.length) / 2

        @radius.inplace.setter
        def _set_radius(self, value: Any) -> None:
            self.length = value * 2

        @radius.inplace.expression
        @classmethod
        def _radius_expression(cls) -> Any:
            return sql.func.abs(cls.length) / 2

        @hybrid_property
        def first(self) -> Any:
            return self.start

        @first.setter
        def first(self, value: Any) -> None:
            self.start = value

        @hybrid_method
        def contains(self, point: Any) -> Any:
            return (self.start <= point) & (point <= self.end)

        @hybrid_method
        def meets(self, other: Any) -> Any:
            "Touches the other."
            return self.end == other.start

        @meets.inplace.expression
        def meets(cls, other: Any) -> Any:
            return cls.end + 0 == other.start

    return Interval


@pytest.fixture
def Interval(sa: SimpleNamespace) -> Any:
    return interval_class(sa)


def text(statement: Any) -> str:
    return " ".join(str(statement.compile(compile_kwargs={"literal_binds": True})).replace('"', "").split())


@pytest.fixture
def session(sa: SimpleNamespace, Interval: Any) -> Any:
    engine = sql.create_engine("sqlite://")
    Interval.metadata.create_all(engine)
    with sa.orm.Session(engine) as session:
        session.add_all([Interval(start=0, end=4), Interval(start=4, end=10), Interval(start=10, end=7)])
        session.commit()
        yield session


def test_on_objects(Interval: Any) -> None:
    interval = Interval(start=3, length=4)
    assert (interval.end, interval.length, interval.radius) == (7, 4, 2)
    interval.radius = 5
    assert interval.end == 13
    del interval.length
    assert interval.end == 3
    assert interval.contains(3) and not interval.contains(4)
    with pytest.raises(AttributeError, match="can't delete attribute"):
        del interval.radius
    with pytest.raises(AttributeError, match="can't set attribute"):
        type(interval).contains_all = type(Interval.__dict__["radius"])(lambda self: 1)
        interval.contains_all = 1


def test_in_queries(sa: SimpleNamespace, Interval: Any, session: Any) -> None:
    def ids(*criteria: Any, order: Any = Interval.id) -> Any:
        return session.scalars(sql.select(Interval.id).where(*criteria).order_by(order)).all()

    assert ids(Interval.length > 4) == [2]
    assert ids(Interval.radius == 1.5) == [3]
    assert ids(Interval.contains(4)) == [1, 2]
    assert ids(order=Interval.length.desc()) == [2, 1, 3]
    other = sa.orm.aliased(Interval)
    rows = session.execute(sql.select(Interval.id, other.id).where(Interval.meets(other)).order_by(Interval.id)).all()
    assert rows == [(1, 2), (2, 3)]
    assert session.execute(sql.select(Interval.length, Interval.first).order_by(Interval.id)).mappings().first() == {
        "length": 4,
        "first": 0,
    }
    assert session.query(Interval).filter_by(length=6).one().id == 2
    bundle = sa.orm.Bundle("b", Interval.length, Interval.radius)
    row = session.execute(sql.select(bundle).where(Interval.id == 2)).one()
    assert (row.b.length, row.b.radius) == (6, 3)


def test_text(sa: SimpleNamespace, Interval: Any) -> None:
    alias = sa.orm.aliased(Interval, name="i")
    assert text(sql.select(Interval.length)) == "SELECT interval.end - interval.start AS length FROM interval"
    narrow = sql.select(alias.first).where(alias.contains(3))
    assert text(narrow) == "SELECT i.start FROM interval AS i WHERE i.start <= 3 AND i.end >= 3"
    assert text(sql.select(alias.first)) == "SELECT i.start FROM interval AS i"


def test_update(Interval: Any, session: Any) -> None:
    session.execute(sql.update(Interval).where(Interval.id == 1).values({Interval.length: 25}))
    session.execute(sql.update(Interval).where(Interval.id == 2).values({"first": 1}))
    session.execute(sql.update(Interval).where(Interval.id == 3).values(length=Interval.start * 2))
    session.query(Interval).filter(Interval.id == 2).update({Interval.first: 2})
    rows = session.execute(sql.select(Interval.start, Interval.end).order_by(Interval.id)).all()
    assert rows == [(0, 25), (2, 10), (10, 30)]


def test_objects_in_the_session_follow_an_update(Interval: Any, session: Any) -> None:
    one = session.get(Interval, 1)
    assert one.length == 4
    session.execute(
        sql.update(Interval).where(Interval.length == 4).values({Interval.length: 25}),
        execution_options={"synchronize_session": "evaluate"},
    )
    assert (one.end, one.length) == (25, 25)


def test_insert_values(Interval: Any, session: Any) -> None:
    session.execute(sql.insert(Interval).values({Interval.first: 5, Interval.end: 6}))
    assert session.execute(sql.select(Interval.start, Interval.end).where(Interval.id == 4)).one() == (5, 6)


def test_bulk_dml(sa: SimpleNamespace, Interval: Any, session: Any) -> None:
    """Parameter dictionaries with the hybrid's name go through its function; without one they are refused."""
    if not hasattr(sa.orm.PropComparator, "_bulk_dml_setter") or sql.__version__ < "2.1":
        pytest.skip("SQLAlchemy 2.1")

    def set_end(cls: Any, mapping: Any, value: Any) -> None:
        mapping["end"] = mapping["start"] + value

    Interval.__dict__["length"].inplace.bulk_dml(set_end)
    session.execute(sql.insert(Interval), [{"start": 1, "length": 1}, {"start": 2, "length": 5}])
    rows = session.execute(sql.select(Interval.start, Interval.end).where(Interval.id > 3).order_by(Interval.id)).all()
    assert rows == [(1, 2), (2, 7)]
    session.execute(sql.update(Interval), [{"id": 1, "start": 5, "length": 2}])
    assert session.execute(sql.select(Interval.end).where(Interval.id == 1)).scalar() == 7
    with pytest.raises(sql.exc.InvalidRequestError, match="supply a bulk_dml decorated function"):
        session.execute(sql.insert(Interval), [{"start": 1, "radius": 1}])


def test_bulk_dml_as_decorator_of_a_new_hybrid(sa: SimpleNamespace) -> None:
    """SQLAlchemy's own passes a wrong keyword to its copy."""

    def read(self: Any) -> int:
        return 1

    hybrid = sa.hybrid.hybrid_property(read)
    if sa.name == "rustalchemy":
        assert hybrid.bulk_dml(print).bulk_dml_setter is print and hybrid.bulk_dml_setter is None
    elif hasattr(hybrid, "bulk_dml"):
        with pytest.raises(TypeError):
            hybrid.bulk_dml(print)


def test_copies(sa: SimpleNamespace) -> None:
    """A decorator makes a new hybrid; `inplace` changes the one there is; a subclass keeps what it has added."""

    class Noted(sa.hybrid.hybrid_property):
        def __init__(self, fget: Any, *args: Any, note: str = "", **kw: Any) -> None:
            super().__init__(fget, *args, **kw)
            self.note = note

    def read(self: Any) -> int:
        "Read."
        return 1

    hybrid = Noted(read, note="n")
    with_setter = hybrid.setter(lambda self, value: None)
    assert hybrid.fset is None and with_setter.fset is not None
    assert (type(with_setter), with_setter.note, with_setter.__name__, with_setter.__doc__) == (
        Noted,
        "n",
        "read",
        "Read.",
    )
    assert hybrid.inplace.setter(len) is hybrid and hybrid.fset is len
    assert hybrid.overrides is hybrid


def test_inplace_after_use(sa: SimpleNamespace, Interval: Any) -> None:
    """The class may have shown the expression before it is changed; SQLAlchemy keeps showing the old one."""
    before = text(sql.select(Interval.radius))
    Interval.__dict__["radius"].inplace.expression(lambda cls: cls.end)
    after = text(sql.select(Interval.radius))
    assert after == (before if sa.name == "sqlalchemy" else "SELECT interval.end FROM interval")


def test_at_class_level(sa: SimpleNamespace, Interval: Any) -> None:
    """What the class shows is an attribute: it has a key, a docstring, information and a place in the mapper."""
    assert isinstance(Interval.length, sa.orm.QueryableAttribute)
    assert (Interval.length.key, str(Interval.length)) == ("length", "Interval.length")
    assert Interval.length.__doc__ == "From start to end."
    assert Interval.first.property is Interval.start.property
    Interval.length.info["shown"] = True
    assert Interval.length.info == {"shown": True}
    descriptors = sql.inspect(Interval).all_orm_descriptors
    kinds = sa.hybrid.HybridExtensionType
    assert descriptors["length"].extension_type is kinds.HYBRID_PROPERTY
    assert descriptors["contains"].extension_type is kinds.HYBRID_METHOD
    assert descriptors["length"] is Interval.__dict__["length"].__get__(None, None)
    assert Interval.meets.__doc__ == "Touches the other."
    with pytest.raises(AttributeError):
        _ = Interval.length.nothing_of_the_kind


def test_history(Interval: Any, session: Any) -> None:
    """A hybrid that is a column has the column's history."""
    one = session.get(Interval, 1)
    one.first = 9
    assert Interval.first.get_history(one) == Interval.start.get_history(one) == ([9], (), [0])


def comparators(sa: SimpleNamespace) -> Any:
    orm, hybrid_property = sa.orm, sa.hybrid.hybrid_property

    class Lower(sa.hybrid.Comparator):
        def __eq__(self, other: Any) -> Any:
            return sql.func.lower(self.__clause_element__()) == sql.func.lower(other)

    class Base(orm.DeclarativeBase):
        pass

    class Word(Base):
        __tablename__ = "word"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        word = orm.mapped_column(sql.String)
        kind = orm.mapped_column(sql.String)
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "word"}

        @hybrid_property
        def lower(self) -> Any:
            return self.word.lower()

        @lower.comparator
        def lower(cls) -> Any:
            return Lower(cls.word)

        @hybrid_property
        def shown(self) -> Any:
            return self.word

    class Name(Word):
        __mapper_args__ = {"polymorphic_identity": "name"}

        @Word.lower.overrides.comparator
        def lower(cls) -> Any:
            return Lower(cls.word + "!")

        @Word.shown.getter
        def shown(self) -> Any:
            return f"{self.word}!" if isinstance(self.word, str) else self.word + "!"

    return Word, Name


def test_comparator(sa: SimpleNamespace) -> None:
    Word, _ = comparators(sa)
    assert Word(word="TRUCK").lower == "truck"
    assert text(sql.select(Word.id).where(Word.lower == "Truck")).endswith("WHERE lower(word.word) = lower('Truck')")
    assert text(sql.select(sa.orm.aliased(Word).lower)) == "SELECT word_1.word FROM word AS word_1"
    with pytest.raises(NotImplementedError):
        _ = sa.hybrid.Comparator(Word.word).property


def test_subclass(sa: SimpleNamespace) -> None:
    """What a subclass overrides is its own; the base keeps what it had."""
    Word, Name = comparators(sa)
    assert "lower(word.word || '!')" in text(sql.select(Name.id).where(Name.lower == "x"))
    assert "lower(word.word) = " in text(sql.select(Word.id).where(Word.lower == "x"))
    assert (Name(word="a").shown, Word(word="a").shown) == ("a!", "a")
    assert text(sql.select(Name.shown)).startswith("SELECT word.word || '!' AS shown FROM word")


def test_synonym(sa: SimpleNamespace, Interval: Any) -> None:
    Interval.span = sa.orm.synonym("length")
    assert "interval.end - interval.start > 3" in text(sql.select(Interval.id).where(Interval.span > 3))
    assert Interval(start=1, end=3).span == 2


def test_relationship_attribute(sa: SimpleNamespace) -> None:
    """A hybrid may be another object's column: joined, or as a correlated subquery."""
    orm = sa.orm

    class Base(orm.DeclarativeBase):
        pass

    class Account(Base):
        __tablename__ = "account"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        user_id = orm.mapped_column(sql.ForeignKey("user.id"))
        balance = orm.mapped_column(sql.Integer)

    class User(Base):
        __tablename__ = "user"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        accounts = orm.relationship(Account)

        @sa.hybrid.hybrid_property
        def balance(self) -> Any:
            return sum(account.balance for account in self.accounts)

        @balance.inplace.expression
        @classmethod
        def _balance(cls) -> Any:
            total = sql.func.sum(Account.balance)
            return sql.select(total).where(Account.user_id == cls.id).correlate_except(Account).scalar_subquery()

    engine = sql.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        user = User(accounts=[Account(balance=3), Account(balance=4)])
        session.add_all([user, User()])
        session.commit()
        assert user.balance == 7
        assert session.execute(sql.select(User.id, User.balance).order_by(User.id)).all() == [(1, 7), (2, None)]
        assert session.scalars(sql.select(User).where(User.balance > 5)).all() == [user]
        alias = orm.aliased(User)
        assert session.scalars(sql.select(alias).where(alias.balance > 5)).all() == [user]


def test_not_a_clause(sa: SimpleNamespace, Interval: Any) -> None:
    """An expression that SQL cannot use is named."""
    Interval.odd = sa.hybrid.hybrid_property(lambda cls: object())
    with pytest.raises(sql.exc.InvalidRequestError, match=r"expected __clause_element__\(\) to return"):
        sql.select(Interval.odd)
