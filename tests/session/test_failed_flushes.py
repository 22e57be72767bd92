"""What objects look like after a flush that failed halfway."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from orm_models import make_database, make_models


def failing_world(orm: ModuleType, observed: bool, **columns: sa.Column[Any]) -> tuple[Any, Any, Any]:
    """An engine, a class with these columns beside its key, and one whose objects without a name cannot be inserted."""
    base: Any = orm.declarative_base()

    key = sa.Column(sa.Integer, primary_key=True)
    mapped = {"__tablename__": "user", "__mapper_args__": {"eager_defaults": bool(columns)}, "id": key}
    User = type("User", (base,), {**mapped, **columns})

    class Zoo(base):
        __tablename__ = "zoo"
        id = sa.Column(sa.Integer, primary_key=True)
        name = sa.Column(sa.String, nullable=False)

    engine = sa.create_engine("sqlite://")
    if observed:
        sa.event.listen(engine, "before_cursor_execute", lambda *args: None)
    base.metadata.create_all(engine)
    return engine, User, Zoo


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("made", [{"default": 30}, {"server_default": "30"}])
def test_inserted_defaults_are_committed_before_the_flush_fails(
    orm: ModuleType, made: dict[str, Any], observed: bool
) -> None:
    """A default made in Python takes the place of what was set; one of the database waits for the flush to succeed."""
    engine, User, Zoo = failing_world(orm, observed, age=sa.Column(sa.Integer, **made))
    with orm.Session(engine) as session:
        user = User(age=None)
        session.add_all([user, Zoo()])
        with pytest.raises(sa.exc.IntegrityError):
            session.flush()
        session.rollback()
        assert sa.inspect(user).transient
        assert user.age == 30
        assert tuple(sa.inspect(user).attrs.age.history) == (((), [30], ()) if "default" in made else ([30], (), ()))


@pytest.mark.parametrize("observed", [False, True])
def test_generated_keys_stay_changes_until_the_flush_succeeds(orm: ModuleType, observed: bool) -> None:
    """Whether or not the statement was sent before."""
    engine, User, Zoo = failing_world(orm, observed)
    with orm.Session(engine) as session:
        for _ in range(3):
            user = User(id=None)
            session.add_all([user, Zoo()])
            with pytest.raises(sa.exc.IntegrityError):
                session.flush()
            session.rollback()
            assert tuple(sa.inspect(user).attrs.id.history) == ([1], (), ())
            session.add(User())
            session.flush()
            session.rollback()


def test_an_orphan_without_a_row_does_not_take_another_ones(orm: ModuleType) -> None:
    """Its key is only what it was told; the row that has it is another object's."""
    base: Any = orm.declarative_base()

    class Basket(base):
        __tablename__ = "basket"
        id = sa.Column(sa.Integer, primary_key=True)
        items = orm.relationship("Item", back_populates="basket", cascade="all, delete-orphan")

    class Item(base):
        __tablename__ = "item"
        id = sa.Column(sa.Integer, primary_key=True)
        basket_id = sa.Column(sa.ForeignKey("basket.id"))
        basket = orm.relationship(Basket, back_populates="items")

    engine = sa.create_engine("sqlite://")
    base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(Item.__table__).values(id=7))
    with orm.Session(engine) as session:
        item = Item(id=7)
        basket = Basket()
        basket.items.append(item)
        orm.attributes.set_committed_value(basket, "items", [item])
        session.add(item)
        item.basket = None
        session.add_all([item, basket])
        with pytest.raises(orm.exc.FlushError, match="Can't delete from table item using NULL for primary key"):
            session.flush()
        session.rollback()
        assert session.scalar(sa.select(sa.func.count()).select_from(Item)) == 1


@pytest.mark.filterwarnings("ignore:Object of type <User> not in session")
def test_a_row_that_is_gone_when_the_flush_ends() -> None:
    """A difference: SQLAlchemy leaves the new object in the identity map, without a key."""
    import rustalchemy.orm as orm

    models = make_models(orm)
    with orm.Session(make_database(models)) as session:
        address = session.get(models.Address, 1)
        session.execute(sa.text("DELETE FROM addresses WHERE id = 1"))
        session.expire(address)
        models.User(addresses=[address])
        tag = models.Tag(label="new")
        session.add(tag)
        with pytest.raises(orm.exc.ObjectDeletedError):
            session.flush()
        assert sa.inspect(tag).transient
        session.rollback()
        assert list(session.identity_map.values()) == [address]
        session.add(tag)
        session.commit()
        assert sa.inspect(tag).persistent
