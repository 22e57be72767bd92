"""How sessions are made and closed: arguments, defaults, subclasses and factories, whichever way they are called."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event, exc

PLAIN = {"autoflush": True, "expire_on_commit": True, "autobegin": True, "twophase": False}


def arguments(session: Any) -> dict[str, Any]:
    return {name: getattr(session, name) for name in PLAIN}


@pytest.mark.parametrize("name", PLAIN)
def test_an_argument_that_is_not_its_default(world: Any, name: str) -> None:
    given = {name: not PLAIN[name]}
    maker = world.orm.sessionmaker(world.engine)
    for session in (world.orm.Session(world.engine, **given), maker(**given)):
        assert arguments(session) == {**PLAIN, **given}
        assert session.bind is world.engine
    maker.configure(**given)
    assert arguments(maker()) == {**PLAIN, **given}
    assert arguments(maker(**PLAIN)) == PLAIN


def test_a_bind_in_every_place(world: Any) -> None:
    Session, sessionmaker = world.orm.Session, world.orm.sessionmaker
    engine, other = world.engine, sa.create_engine("sqlite://")
    assert Session().bind is None
    assert Session(engine).bind is Session(bind=engine).bind is engine
    assert sessionmaker()().bind is None
    assert sessionmaker(engine)().bind is sessionmaker()(bind=engine).bind is engine
    assert sessionmaker(engine)(bind=other).bind is other
    assert sessionmaker(engine)(bind=None).bind is None


def test_wrong_arguments(world: Any) -> None:
    Session, maker = world.orm.Session, world.orm.sessionmaker(world.engine)
    with pytest.raises(TypeError, match=r"Session.__init__\(\) got an unexpected keyword argument 'colour'"):
        Session(world.engine, colour="red")
    with pytest.raises(TypeError, match=r"Session.__init__\(\) got an unexpected keyword argument 'colour'"):
        maker(colour="red")
    with pytest.raises(TypeError, match="multiple values for argument 'bind'"):
        Session(None, bind=world.engine)
    with pytest.raises(TypeError, match="positional argument"):
        Session(world.engine, False)
    with pytest.raises(TypeError, match=r"sessionmaker.__call__\(\) takes 1 positional argument"):
        maker(world.engine)
    with pytest.raises(exc.ArgumentError, match="no longer supported"):
        maker(autocommit=True)


def test_a_value_that_only_counts_as_false(world: Any) -> None:
    assert world.orm.Session(world.engine, autoflush=0).autoflush == 0
    assert world.orm.sessionmaker(world.engine)(expire_on_commit=None).expire_on_commit is None


def test_info_of_a_factory_and_of_a_call(world: Any) -> None:
    maker = world.orm.sessionmaker(world.engine, info={"a": 1, "b": 2})
    first, second = maker(), maker(info={"b": 3})
    assert (first.info, second.info) == ({"a": 1, "b": 2}, {"a": 1, "b": 3})
    assert maker().info is not first.info


def test_rare_arguments_of_a_factory(world: Any) -> None:
    class Query(world.orm.Query):  # type: ignore[misc]
        pass

    maker = world.orm.sessionmaker(world.engine, query_cls=Query, execution_options={"x": 1})
    session = maker(binds={world.User: world.engine})
    assert isinstance(session.query(world.User), Query)
    assert session.execution_options == {"x": 1}
    assert session.get_bind(world.User) is world.engine


def test_a_subclass_with_its_own_init(world: Any) -> None:
    class Mine(world.orm.Session):  # type: ignore[misc]
        def __init__(self, *, colour: str = "red", **kw: Any) -> None:
            super().__init__(**{**kw, "autoflush": False})
            self.colour = colour

    for session in (
        Mine(bind=world.engine, colour="blue"),
        world.orm.sessionmaker(world.engine, class_=Mine, colour="blue")(autobegin=False),
    ):
        assert (session.colour, session.autoflush, session.bind) == ("blue", False, world.engine)


def test_a_subclass_with_its_own_new_and_setattr(world: Any) -> None:
    class Mine(world.orm.Session):  # type: ignore[misc]
        made: list[Any] = []
        stored: list[str] = []

        def __new__(cls, *args: Any, **kw: Any) -> Any:
            session = super().__new__(cls)
            cls.made.append(session)
            return session

        def __setattr__(self, name: str, value: Any) -> None:
            self.stored.append(name)
            super().__setattr__(name, value)

    session = world.orm.sessionmaker(world.engine, class_=Mine)()
    assert Mine.made == [session]
    assert "bind" in Mine.stored


def test_a_metaclass_that_makes_the_sessions(world: Any) -> None:
    class Meta(type):
        def __call__(cls, *args: Any, **kw: Any) -> Any:
            return ("made", cls, kw.get("bind"))

    class Mine(world.orm.Session, metaclass=Meta):  # type: ignore[misc, metaclass]
        pass

    made, cls, bind = world.orm.sessionmaker(world.engine, class_=Mine)()
    assert (made, bind) == ("made", world.engine)
    assert issubclass(cls, Mine)


def test_methods_that_are_replaced(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    orm = world.orm
    maker = orm.sessionmaker(world.engine)
    original = orm.Session.__init__
    seen: list[Any] = []

    def init(self: Any, *args: Any, **kw: Any) -> None:
        seen.append(self)
        original(self, *args, **kw)

    monkeypatch.setattr(orm.Session, "__init__", init)
    sessions = [orm.Session(world.engine), maker()]
    assert seen == sessions
    monkeypatch.setattr(orm.sessionmaker, "__call__", lambda self, **kw: (self, kw))
    assert maker(autoflush=False) == (maker, {"autoflush": False})
    monkeypatch.undo()
    assert maker().bind is world.engine
    assert len(seen) == 2


def test_a_subclass_of_the_factory(world: Any) -> None:
    class Maker(world.orm.sessionmaker):  # type: ignore[misc]
        def __call__(self, **kw: Any) -> Any:
            return super().__call__(autoflush=False, **kw)

    assert Maker(world.engine)(autobegin=False).autoflush is False


def test_what_a_factory_is_given_later(world: Any) -> None:
    other = sa.create_engine("sqlite://")
    maker = world.orm.sessionmaker(world.engine)
    maker.kw["bind"] = other
    assert maker().bind is other
    maker.kw = {"autoflush": False}
    assert (maker().bind, maker().autoflush) == (None, False)
    maker.class_ = world.orm.Session
    assert type(maker()) is world.orm.Session


def test_listeners_of_a_factory_hear_sessions_made_later(world: Any) -> None:
    maker, other = world.orm.sessionmaker(world.engine), world.orm.sessionmaker(world.engine)
    seen: list[Any] = []
    event.listen(maker, "after_attach", lambda session, obj: seen.append((session, obj)))
    session, user = maker(), world.User(name="ed")
    session.add(user)
    other().add(world.User(name="jack"))
    assert seen == [(session, user)]


def test_numbers_of_sessions_grow(world: Any) -> None:
    maker = world.orm.sessionmaker(world.engine)
    numbers = [session.hash_key for session in (maker(), world.orm.Session(world.engine), maker(autoflush=False))]
    assert numbers == sorted(set(numbers))


def test_a_second_init_changes_the_arguments(world: Any) -> None:
    session = world.session()
    session.__init__(world.engine, autoflush=False)
    assert not session.autoflush
    world.orm.close_all_sessions()


def test_the_context_manager_calls_close(world: Any) -> None:
    class Mine(world.orm.Session):  # type: ignore[misc]
        closed = 0

        def close(self) -> None:
            type(self).closed += 1
            super().close()

    with world.orm.sessionmaker(world.engine, class_=Mine)() as session:
        assert isinstance(session, Mine)
    with pytest.raises(ZeroDivisionError), Mine(world.engine):
        raise ZeroDivisionError
    assert (session.closed, Mine.closed) == (1, 1)


def test_close_of_what_is_in_the_session(world: Any) -> None:
    with world.session() as session:
        user = world.saved(session)
        assert not session.in_transaction()
        assert user in session
    assert user not in session
    assert world.state(user) == "detached"


def test_a_close_that_is_final(world: Any) -> None:
    maker = world.orm.sessionmaker(world.engine, close_resets_only=False)
    with maker() as session:
        session.reset()
        session.connection()
    with pytest.raises(exc.InvalidRequestError, match="permanently closed"):
        session.connection()


def test_sessions_go_at_once(world: Any) -> None:
    gc.disable()
    try:
        maker = world.orm.sessionmaker(world.engine)
        sessions = [maker(), world.orm.Session(world.engine), maker(expire_on_commit=False)]
        references = [weakref.ref(session) for session in sessions]
        del sessions
        assert [reference() for reference in references] == [None] * 3
    finally:
        gc.enable()


def test_a_session_that_is_found_while_it_goes(world: Any) -> None:
    """Closing all sessions in a weak reference's callback does not bring back the one that goes."""
    session, other = world.session(), world.session()
    other.add(world.User(name="ed"))
    seen: list[Any] = []

    def gone(reference: Any) -> None:
        world.orm.close_all_sessions()
        seen.append(other.in_transaction())

    reference = weakref.ref(session, gone)
    del session
    assert (reference(), seen) == (None, [False])


def test_a_session_that_comes_back(world: Any) -> None:
    kept: list[Any] = []

    class Mine(world.orm.Session):  # type: ignore[misc]
        def __del__(self) -> None:
            kept.append(self)

    Mine(world.engine)
    (session,) = kept
    session.add(world.User(name="ed"))
    world.orm.close_all_sessions()
    assert not session.in_transaction()
    del Mine.__del__


def test_a_scoped_session_shows_what_its_session_has_beyond_sqlalchemys() -> None:
    from rustalchemy import orm

    maker = orm.sessionmaker(on_lazy="raise", on_expired="batch", read_only=True)
    scoped = orm.scoped_session(maker)
    assert (scoped.on_lazy, scoped.on_expired, scoped.read_only) == ("raise", "batch", True)
    assert scoped.hash_key == scoped().hash_key
