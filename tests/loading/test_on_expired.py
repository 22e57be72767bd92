"""``on_expired``: an expired object is loaded again alone, or with all expired objects of its class."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from orm_models import Statements, make_database, make_models
from sqlalchemy import Column, ForeignKey, Integer, String, create_engine, delete, event, exc, select

import rustalchemy.orm as orm


@pytest.fixture
def m() -> Iterator[SimpleNamespace]:
    models = make_models(orm)
    models.engine = make_database(models)
    models.statements = Statements(models.engine)
    yield models
    models.engine.dispose()


def sent(m: SimpleNamespace) -> list[str]:
    return [sql for sql, _ in m.statements.take()]


def all_of(session: Any, class_: Any, *options: Any) -> Any:
    return session.scalars(select(class_).options(*options).order_by(class_.id)).all()


def values(objects: Any) -> Any:
    return [{key: value for key, value in vars(obj).items() if key[0] != "_"} for obj in objects]


@pytest.mark.parametrize("expire", ["commit", "rollback", "expire_all", "expire"])
def test_batch_refreshes_all_expired_objects_in_one_statement(m: SimpleNamespace, expire: str) -> None:
    found: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for setting in ("load", "batch"):
        with orm.Session(m.engine, on_expired=setting) as session:  # type: ignore[arg-type]
            users = all_of(session, m.User)
            if expire == "expire":
                for user in users:
                    session.expire(user)
            else:
                getattr(session, expire)()
            m.statements.take()
            assert users[0].name == "jack"
            first = len(sent(m))
            names = [user.name for user in users]
            counts[setting] = first + len(sent(m))
            found[setting] = (names, values(users))
            assert not session.dirty and not any(session.is_modified(user) for user in users)
    assert counts == {"load": 4, "batch": 1}
    assert found["batch"] == found["load"]


def test_off_is_off(m: SimpleNamespace) -> None:
    with orm.Session(m.engine) as session:
        assert session.on_expired == "load"
        users = all_of(session, m.User)
        session.commit()
        m.statements.take()
        assert users[0].name == "jack"
        assert len(sent(m)) == 1
        assert [vars(user).get("name") for user in users] == ["jack", None, None, None]


def test_batch_sees_what_others_committed_and_keeps_what_is_pending(m: SimpleNamespace) -> None:
    with orm.Session(m.engine, on_expired="batch", autoflush=False) as session:
        jack, ed, fred, chuck = all_of(session, m.User)
        session.commit()
        ed.name = "edward"
        session.expire(fred, ["name"])
        with orm.Session(m.engine) as other:
            for user in all_of(other, m.User):
                user.name += "!"
            other.commit()
        m.statements.take()
        assert (jack.name, chuck.name) == ("jack!", "chuck!")
        assert len(sent(m)) == 1
        assert ed.name == "edward" and session.is_modified(ed)
        assert fred.name == "fred!"
        session.commit()
        assert ed.name == "edward"


def test_rows_that_are_gone_say_so_one_by_one(m: SimpleNamespace) -> None:
    with orm.Session(m.engine, on_expired="batch") as session:
        users = all_of(session, m.User)
        session.commit()
        with m.engine.begin() as connection:
            connection.execute(delete(m.User.__table__).where(m.User.id.in_([7, 9])))
        with pytest.raises(orm.exc.ObjectDeletedError):
            _ = users[0].name
        m.statements.take()
        assert (users[1].name, users[3].name) == ("ed", "chuck")
        assert sent(m) == []
        with pytest.raises(orm.exc.ObjectDeletedError):
            _ = users[2].name
        assert session.get(m.User, 9) is None


def test_get_refreshes_peers_too(m: SimpleNamespace) -> None:
    with orm.Session(m.engine, on_expired="batch") as session:
        users = all_of(session, m.User)
        session.commit()
        m.statements.take()
        assert [session.get(m.User, user_id).name for user_id in (7, 8, 9, 10)] == [user.name for user in users]
        assert len(sent(m)) == 1


def test_options_and_eager_loads_come_along(m: SimpleNamespace) -> None:
    for option in (orm.selectinload, orm.joinedload, orm.lazyload):
        found = []
        for setting in ("load", "batch"):
            with orm.Session(m.engine, on_expired=setting) as session:  # type: ignore[arg-type]
                users = session.scalars(select(m.User).options(option(m.User.addresses)).order_by(m.User.id)).unique()
                users = users.all()
                session.commit()
                m.statements.take()
                assert users[2].name == "fred"
                count = len(sent(m))
                rows = [(user.name, [address.email for address in user.addresses]) for user in users]
                found.append((rows, ["addresses" in vars(user) for user in users]))
                if setting == "batch" and option is not orm.lazyload:
                    assert len(sent(m)) == 0
                    assert count == (2 if option is orm.selectinload else 1)
        assert found[0] == found[1]


def test_many_objects_take_a_statement_for_every_500() -> None:
    base: Any = orm.declarative_base()

    class Thing(base):
        __tablename__ = "thing"
        first = Column(Integer, primary_key=True)
        second = Column(Integer, primary_key=True)
        name = Column(String)

    engine = create_engine("sqlite://")
    base.metadata.create_all(engine)
    texts: list[str] = []
    with orm.Session(engine, on_expired="batch") as session:
        things = [Thing(first=number, second=-number, name=f"n{number}") for number in range(1001)]
        session.add_all(things)
        session.commit()
        event.listen(engine, "before_cursor_execute", lambda c, cursor, sql, *rest: texts.append(sql))
        assert [thing.name for thing in things] == [f"n{number}" for number in range(1001)]
    assert len(texts) == 3
    engine.dispose()


def test_subclasses_and_relationships() -> None:
    """Each class is a batch of its own; an object reached by a relationship is as good as any."""
    base: Any = orm.declarative_base()

    class Person(base):
        __tablename__ = "person"
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}
        id = Column(Integer, primary_key=True)
        kind = Column(String)
        name = Column(String)
        boss_id = Column(ForeignKey("person.id"))
        boss = orm.relationship("Person", remote_side=[id])

    class Engineer(Person):
        __tablename__ = "engineer"
        __mapper_args__ = {"polymorphic_identity": "engineer"}
        id = Column(ForeignKey("person.id"), primary_key=True)
        language = Column(String)

    engine = create_engine("sqlite://")
    base.metadata.create_all(engine)
    texts: list[str] = []
    with orm.Session(engine, on_expired="batch") as session:
        bosses = [Person(id=number, name=f"b{number}") for number in (1, 2)]
        session.add_all(bosses)
        workers = [Engineer(id=number + 2, name=f"w{number}", language="c", boss_id=number) for number in (1, 2)]
        session.add_all(workers)
        session.commit()
        event.listen(engine, "before_cursor_execute", lambda c, cursor, sql, *rest: texts.append(sql))
        assert [(w.name, w.language) for w in workers] == [("w1", "c"), ("w2", "c")]
        assert len(texts) == 1
        assert [w.boss.name for w in workers] == ["b1", "b2"]
        assert len(texts) == 2
    engine.dispose()


def test_settings_are_checked(m: SimpleNamespace) -> None:
    with pytest.raises(exc.ArgumentError, match="on_expired must be one of 'load', 'batch', not 'often'"):
        orm.Session(on_expired="often")  # type: ignore[arg-type]
    with orm.sessionmaker(m.engine, on_expired="batch")() as session:
        assert session.on_expired == "batch"
