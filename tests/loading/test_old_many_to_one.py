"""What a change of a many-to-one learns of the old value without a SELECT: from the identity map, or not at all.

Each case comes after a plain one, so that whatever a first look leaves behind is in use.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from comparison import IS_REFERENCE, Comparison
from sqlalchemy import Column, ForeignKey, Integer, String, create_engine, event, inspect, select

PASSIVES = ("NO_INITIALIZE", "NO_FETCH", "NO_FETCH_RELATED", "ONLY_PERSISTENT", "OFF")


def make_models(**options: Any) -> Callable[[ModuleType], SimpleNamespace]:
    def make(orm: ModuleType) -> SimpleNamespace:
        base: Any = orm.declarative_base()

        class Owner(base):
            __tablename__ = "owners"
            id = Column(Integer, primary_key=True)
            kind = Column(String(10))
            pets = orm.relationship("Pet", foreign_keys="Pet.owner_id", back_populates="owner", order_by="Pet.id")
            __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "plain"}

        class Keeper(Owner):
            __mapper_args__ = {"polymorphic_identity": "keeper"}

        class Pet(base):
            __tablename__ = "pets"
            id = Column(Integer, primary_key=True)
            kind = Column(String(10))
            owner_id = Column(ForeignKey("owners.id"))
            keeper_id = Column(ForeignKey("owners.id"))
            owner = orm.relationship("Owner", foreign_keys=[owner_id], back_populates="pets", **options)
            keeper = orm.relationship("Keeper", foreign_keys=[keeper_id], **options)
            __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "plain"}

        class Bird(Pet):
            __mapper_args__ = {"polymorphic_identity": "bird"}

        orm.configure_mappers()
        return SimpleNamespace(orm=orm, Base=base, Owner=Owner, Keeper=Keeper, Pet=Pet, Bird=Bird)

    return make


def make_database(m: SimpleNamespace) -> Any:
    engine = create_engine("sqlite://")
    m.Base.metadata.create_all(engine)
    with engine.begin() as connection:
        owners = [{"id": i, "kind": "keeper" if i == 3 else "plain"} for i in range(1, 5)]
        connection.execute(m.Base.metadata.tables["owners"].insert(), owners)
        pets = [
            {"id": i, "kind": "bird" if i == 5 else "plain", "owner_id": None if i == 4 else 1, "keeper_id": 3}
            for i in range(1, 7)
        ]
        connection.execute(m.Base.metadata.tables["pets"].insert(), pets)
    return engine


PLAIN = Comparison(make_models(), make_database)
ACTIVE = Comparison(make_models(active_history=True), make_database)
RAISING = Comparison(make_models(lazy="raise"), make_database)
KINDS = pytest.mark.parametrize("kind", [PLAIN, ACTIVE, RAISING], ids=["plain", "active", "raise"])


def shown(value: Any) -> Any:
    """An object by class and identity, anything else by its name."""
    state = inspect(value, raiseerr=False)
    if state is not None and hasattr(state, "identity"):
        return type(value).__name__, state.identity
    return [shown(part) for part in value] if isinstance(value, (list, tuple)) else getattr(value, "name", value)


def change(m: SimpleNamespace, session: Any, pet: Any, key: str, value: Any) -> Any:
    """What listeners and history say of a change, and what a flush makes of it."""
    heard: list[Any] = []

    def listener(target: Any, value: Any, old: Any, initiator: Any) -> None:
        heard.append(shown(old))

    attribute = getattr(m.Pet, key)
    event.listen(attribute, "set", listener, propagate=True)
    heard.append(attempt(lambda: setattr(pet, key, value)))
    event.remove(attribute, "set", listener)
    flags, state = m.orm.base.PassiveFlag, inspect(pet)

    def history(passive: str) -> Any:
        return attempt(lambda: tuple(state.get_history(key, flags[f"PASSIVE_{passive}"])))

    histories = [history(passive) for passive in PASSIVES]
    session.flush()
    return heard, histories, pet.owner_id, pet.keeper_id


def attempt(call: Callable[[], Any]) -> Any:
    """What a call returns, or raises."""
    try:
        return shown(call())
    except Exception as error:
        return type(error).__name__, str(error).split(" at 0x")[0]


def checked(kind: Comparison, prepare: Callable[[SimpleNamespace, Any, Any], Any], key: str = "owner") -> Any:
    """A change of the pet that `prepare` returns, or of the first one, after plain changes of others."""

    def scenario(m: SimpleNamespace, session: Any) -> Any:
        held = session.scalars(select(m.Owner).where(m.Owner.id.in_([1, 3]))).all()
        pets = session.scalars(select(m.Pet).order_by(m.Pet.id)).all()
        session.flush()
        plain = [change(m, session, pet, key, None) for pet in (pets[5], pets[4])]
        pet = prepare(m, session, pets[0]) or pets[0]
        other = session.get(m.Owner, 2) if key == "owner" else None
        return plain, change(m, session, pet, key, other), len(held)

    return kind.check(scenario)


@KINDS
@pytest.mark.parametrize("key", ["owner", "keeper"])
def test_an_object_in_the_map(kind: Comparison, key: str) -> None:
    plain, found, _ = checked(kind, lambda m, session, pet: None, key)
    assert found[0] == [("Owner", (1,)) if key == "owner" else ("Keeper", (3,)), None]
    assert plain[0][0] == plain[1][0] == found[0]


@KINDS
def test_an_object_outside_of_the_map(kind: Comparison) -> None:
    def prepare(m: SimpleNamespace, session: Any, pet: Any) -> None:
        session.expunge(session.get(m.Owner, 1))

    checked(kind, prepare)


@KINDS
def test_an_expired_object(kind: Comparison) -> None:
    checked(kind, lambda m, session, pet: session.expire(session.get(m.Owner, 1)))


@KINDS
def test_everything_is_expired_by_a_commit(kind: Comparison) -> None:
    checked(kind, lambda m, session, pet: session.commit())


@KINDS
def test_a_partly_expired_object(kind: Comparison) -> None:
    checked(kind, lambda m, session, pet: session.expire(session.get(m.Owner, 1), ["kind"]))


@KINDS
def test_an_object_whose_row_is_gone(kind: Comparison) -> None:
    def prepare(m: SimpleNamespace, session: Any, pet: Any) -> None:
        owner = session.get(m.Owner, 1)
        session.execute(m.Base.metadata.tables["owners"].delete().where(m.Owner.id == 1))
        session.expire(owner)

    checked(kind, prepare)


@KINDS
def test_a_deleted_object(kind: Comparison) -> None:
    def prepare(m: SimpleNamespace, session: Any, pet: Any) -> None:
        owner = session.get(m.Owner, 1)
        _ = owner.pets
        session.delete(owner)

    checked(kind, prepare)


@KINDS
@pytest.mark.parametrize("value", [2, 4, 99, None])
def test_the_foreign_key_has_changed(kind: Comparison, value: int | None) -> None:
    """What counts is the key that the row has, for history, and the one that is set, for a look."""

    def prepare(m: SimpleNamespace, session: Any, pet: Any) -> None:
        session.get(m.Owner, 4)
        pet.owner_id = value

    checked(kind, prepare)


@KINDS
def test_the_foreign_key_is_null(kind: Comparison) -> None:
    checked(kind, lambda m, session, pet: session.get(m.Pet, 4))


@KINDS
def test_the_foreign_key_is_expired(kind: Comparison) -> None:
    checked(kind, lambda m, session, pet: session.expire(pet, ["owner_id"]))


@KINDS
def test_the_holder_is_expired(kind: Comparison) -> None:
    checked(kind, lambda m, session, pet: session.expire(pet))


@KINDS
def test_the_holder_is_new(kind: Comparison) -> None:
    def prepare(m: SimpleNamespace, session: Any, pet: Any) -> Any:
        session.add(new := m.Pet(id=9, owner_id=1, keeper_id=3))
        return new

    checked(kind, prepare)


@KINDS
def test_the_holder_is_detached(kind: Comparison) -> None:
    checked(kind, lambda m, session, pet: session.expunge(pet))


@KINDS
def test_the_session_is_closed(kind: Comparison) -> None:
    checked(kind, lambda m, session, pet: session.close())


@KINDS
def test_an_object_of_another_class(kind: Comparison) -> None:
    def prepare(m: SimpleNamespace, session: Any, pet: Any) -> None:
        pet.keeper_id = 1
        session.flush()
        session.expire(pet, ["keeper"])

    checked(kind, prepare, "keeper")


@KINDS
@pytest.mark.parametrize("option", ["lazyload", "raiseload", "noload", "joinedload", "defaultload"])
def test_the_load_chose_a_loader(kind: Comparison, option: str) -> None:
    def prepare(m: SimpleNamespace, session: Any, pet: Any) -> Any:
        # deprecated in 2.1 only
        with pytest.warns(Warning) if option == "noload" and IS_REFERENCE else nullcontext():
            chosen = getattr(m.orm, option)(m.Pet.owner)
        session.expunge(pet)
        return session.scalars(select(m.Pet).where(m.Pet.id == 1).options(chosen)).one()

    checked(kind, prepare)


@KINDS
def test_somebody_listens_to_loads(kind: Comparison) -> None:
    def prepare(m: SimpleNamespace, session: Any, pet: Any) -> None:
        event.listen(session, "do_orm_execute", lambda state: None)

    checked(kind, prepare)


@KINDS
def test_an_object_that_is_no_more_held(kind: Comparison) -> None:
    def prepare(m: SimpleNamespace, session: Any, pet: Any) -> Any:
        session.expunge_all()
        return session.get(m.Pet, 2)

    checked(kind, prepare)
