"""AsyncSession on an asynchronous driver: objects, statements, streams, and what may load only where it is awaited."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sql
from sqlalchemy import event, exc

from .awaiting import World, awaited


@awaited
async def test_life_of_objects(world: World) -> None:
    User, Address = world.User, world.Address
    async with world.engine() as engine, world.aio.AsyncSession(engine, expire_on_commit=False) as session:
        ann = world.user("ann")
        session.add(ann)
        session.add_all([world.user("bob")])
        assert ann in session and len(session.new) == 4 and set(session) == set(session.new)
        await session.flush()
        assert (ann.id, len(session.new), session.in_transaction()) == (1, 0, True)
        await session.commit()
        assert not session.in_transaction()

        ann.name = "anna"
        assert session.is_modified(ann) and ann in session.dirty
        assert await session.scalar(sql.select(User.name).where(User.id == 1)) == "anna"  # flushed by itself
        await session.rollback()
        assert await ann.awaitable_attrs.name == "ann"

        assert await session.get(User, 1) is ann and await session.get_one(User, 1) is ann
        assert await session.get(User, 99) is None
        with pytest.raises(exc.NoResultFound):
            await session.get_one(User, 99)
        merged = await session.merge(User(id=1, name="merged"))
        assert merged is ann and ann.name == "merged"
        assert [user.name for user in await session.merge_all([User(id=1, name="m"), User(id=2, name="n")])] == [
            "m",
            "n",
        ]

        await session.delete(ann)  # loads the addresses, to which the delete cascades
        assert len(session.deleted) == 2
        await session.commit()
        assert await world.names(engine) == ["n"]
        await session.delete_all((await session.scalars(sql.select(User))).all())
        await session.commit()
        assert await session.scalar(sql.select(sql.func.count()).select_from(Address)) == 0


@awaited
async def test_statements(world: World) -> None:
    User, Address = world.User, world.Address
    async with world.engine("abc") as engine, world.aio.AsyncSession(engine) as session:
        loaded = sql.select(User).options(world.orm.selectinload(User.addresses)).order_by(User.id)
        assert [user.addresses[0].email for user in await session.scalars(loaded)] == ["a@x.org", "b@x.org", "c@x.org"]
        joined = sql.select(User).options(world.orm.joinedload(User.addresses)).order_by(User.id)
        assert [user.name for user in (await session.execute(joined)).unique().scalars()] == ["a", "b", "c"]
        rows = await session.execute(sql.select(User.name, Address.email).join(User.addresses).where(User.id > 1))
        assert rows.mappings().all() == [{"name": n, "email": f"{n}@x.org"} for n in "bc"]
        assert await session.scalar(sql.select(User.name).where(User.id == 99)) is None
        assert (await session.execute(sql.text("select :n"), {"n": 7})).scalar_one() == 7

        ann = await session.get_one(User, 1)
        await session.execute(sql.update(User).where(User.name == "a").values(name="A"))
        assert ann.name == "A"
        new = await session.scalars(sql.insert(User).returning(User), [{"name": "d"}, {"name": "e"}])
        assert {user.name for user in new} == {"d", "e"}
        assert (await session.execute(sql.delete(User).where(User.id > 3))).rowcount == 2
        await session.refresh(ann, ["addresses", "notes"])
        assert (ann.notes, ann.addresses[0].user) == ("none", ann)


@awaited
async def test_session_execution_options(world: World) -> None:
    """Those of the session count, those of the call are kept, and rows are there when the call returns."""
    seen: list[Any] = []
    async with world.engine("ab") as engine:
        session = world.aio.AsyncSession(engine, execution_options={"of_session": 1})
        event.listen(session.sync_session, "do_orm_execute", lambda state: seen.append(state.execution_options))
        result = await session.execute(sql.select(world.User), execution_options={"of_call": 2})
        assert seen[0].items() >= {"of_session": 1, "of_call": 2, "prebuffer_rows": True}.items()
        await session.close()
        assert [user.name for user in result.scalars()] == ["a", "b"]


@awaited
async def test_streams(world: World) -> None:
    User = world.User
    names = sql.select(User).order_by(User.id)
    async with world.engine("abcde") as engine, world.aio.AsyncSession(engine) as session:
        async with session.begin():
            stream = await session.stream(names)
            assert type(stream) is world.aio.AsyncResult
            assert [row.User.name async for row in stream] == list("abcde")
            assert [user.name async for user in await session.stream_scalars(names)] == list("abcde")
            partitions = (await session.stream(names.execution_options(yield_per=2))).scalars().partitions()
            assert [[user.name for user in part] async for part in partitions] == [["a", "b"], ["c", "d"], ["e"]]
            eager = names.options(world.orm.joinedload(User.addresses))
            assert len(await (await session.stream(eager)).unique().scalars().all()) == 5
            assert [m["name"] async for m in (await session.stream(sql.select(User.name))).mappings()] == list("abcde")
            halfway = await session.stream_scalars(names)
            assert (await halfway.fetchmany(2))[1].name == "b"
            await halfway.close()
            assert (await (await session.stream(names)).freeze())().scalars().first().name == "a"
        with pytest.raises(
            world.aio.exc.AsyncMethodRequired, match=r"AsyncSession.execute\(\).*AsyncSession.stream\(\)"
        ):
            await session.execute(names, execution_options={"stream_results": True})


def error_of(access: Callable[[], object]) -> tuple[str | None, str]:
    """The code and the message of an error, which itself does not outlive the call."""
    try:
        access()
    except (exc.MissingGreenlet, exc.StatementError) as error:  # Core 2.1 names the statement, if there is one
        return error.code, str(error)
    raise AssertionError("nothing raised")


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize("what", ["relationship", "deferred", "expired", "statement", "flush"])
@awaited
async def test_nothing_waits_outside_of_await(world: World, what: str) -> None:
    """What would have to wait for the driver outside of a greenlet raises `xd2s`; the session goes on."""
    async with world.engine("a") as engine, world.aio.AsyncSession(engine) as session:
        ann = await session.get_one(world.User, 1)
        if what == "expired":
            session.expire(ann)
        if what == "flush":
            ann.name = "b"
        accesses = {
            "relationship": lambda: ann.addresses,
            "deferred": lambda: ann.notes,
            "expired": lambda: ann.name,
            "statement": lambda: session.sync_session.scalars(sql.select(world.User)),
            "flush": lambda: session.sync_session.flush(),
        }
        code, message = error_of(accesses[what])
        assert code == "xd2s" and "greenlet_spawn has not been called" in message
        if what == "flush":
            await session.rollback()
        gc.collect()  # the driver's coroutine, which nobody could await: it warns
        assert [a.email for a in await ann.awaitable_attrs.addresses] == ["a@x.org"]
        assert await ann.awaitable_attrs.notes == "none"
        assert await session.run_sync(lambda sync: [ann.name, sync is session.sync_session]) == ["a", True]


@awaited
async def test_awaitable_attributes(world: World) -> None:
    """Loaded or not, and of what has no session; an attribute that is not there says so."""
    async with world.engine("a") as engine, world.aio.AsyncSession(engine) as session:
        ann = await session.get_one(world.User, 1)
        assert await ann.awaitable_attrs.name == "a"
        (address,) = await ann.awaitable_attrs.addresses
        assert await address.awaitable_attrs.user is ann
        assert await world.User(name="x").awaitable_attrs.addresses == []
        with pytest.raises(AttributeError):
            await ann.awaitable_attrs.shoe_size
        await session.close()
        with pytest.raises(world.orm.exc.DetachedInstanceError):
            await ann.awaitable_attrs.notes


@awaited
async def test_transactions(world: World) -> None:
    async with world.engine() as engine, world.aio.AsyncSession(engine) as session:
        assert session.get_transaction() is None
        async with session.begin() as transaction:
            session.add(world.user("a"))
            assert session.get_transaction() is transaction and transaction.is_active
            assert transaction.sync_transaction is session.sync_session.get_transaction()
        assert await world.names(engine) == ["a"] and not transaction.is_active

        with pytest.raises(KeyError):
            async with session.begin():
                session.add(world.user("b"))
                await session.flush()
                raise KeyError
        assert await world.names(engine) == ["a"] and not list(session)

        transaction = await session.begin()
        session.add(world.user("c"))
        await transaction.commit()
        transaction = await session.begin()
        session.add(world.user("d"))
        await transaction.rollback()
        assert await world.names(engine) == ["a", "c"]

        not_begun = session.begin()
        with pytest.raises(world.aio.exc.AsyncContextNotStarted, match="has not been started"):
            await not_begun.commit()
        async with session.begin():
            with pytest.raises(exc.InvalidRequestError, match="already begun"):
                await session.begin()
        async with session.begin():
            await session.rollback()
            with pytest.raises(exc.InvalidRequestError, match="Can't operate on closed transaction inside context"):
                await session.scalars(sql.select(world.User))


@awaited
async def test_connections(world: World) -> None:
    async with world.engine() as engine, world.aio.AsyncSession(engine) as session:
        transaction = await session.begin()
        with pytest.raises(exc.InvalidRequestError, match="has not acquired a connection"):
            transaction.bound_connection()
        connection = await session.connection(execution_options={"note": 1})
        assert isinstance(connection, world.aio.AsyncConnection) and connection.sync_engine is engine.sync_engine
        assert await session.connection() is connection
        assert connection.sync_connection.get_execution_options()["note"] == 1
        if hasattr(transaction, "connections"):  # 2.1
            assert transaction.connections == {connection}
            assert transaction.bound_connection(bind=engine) is connection is transaction.bound_connection()
        await session.rollback()
        assert connection.closed

        async with engine.connect() as outer:
            await outer.begin()
            async with world.aio.AsyncSession(outer) as joined:
                joined.add(world.user("a"))
                await joined.commit()
                assert await joined.connection() is outer and joined.bind is outer
            assert outer.in_transaction()
            await outer.rollback()
        assert await world.names(engine) == []


@awaited
async def test_ends(world: World) -> None:
    User = world.User
    async with world.engine("a") as engine:
        for end in ("close", "aclose", "reset", "invalidate"):
            session = world.aio.AsyncSession(engine)
            ann = await session.get_one(User, 1)
            await getattr(session, end)()
            assert ann not in session and not session.in_transaction()
            assert await session.get(User, 1) is not ann
            await session.close()

        session = world.aio.AsyncSession(engine, close_resets_only=False)
        async with contextlib.aclosing(session):
            await session.get(User, 1)
        with pytest.raises(exc.InvalidRequestError, match="permanently closed"):
            await session.get(User, 1)

        one, two = world.aio.AsyncSession(engine), world.aio.AsyncSession(engine)
        ann = await one.get_one(User, 1)
        two.add(User(name="b"))
        await world.aio.close_all_sessions()
        assert ann not in one and not list(two)
        two.add(User(name="b"))
        with pytest.warns(DeprecationWarning, match="close_all_sessions"):
            await world.aio.AsyncSession.close_all()
        assert not list(two)


@awaited
async def test_which_session_has_an_object(world: World) -> None:
    aio, User = world.aio, world.User

    class Mine(aio.AsyncSession):  # type: ignore[misc, name-defined]
        pass

    async with world.engine("a") as engine:
        session = Mine(engine)
        ann = await session.get_one(User, 1)
        assert aio.async_object_session(ann) is session is sql.inspect(ann).async_session
        assert aio.async_session(session.sync_session) is session
        assert aio.AsyncSession.object_session(ann) is session.sync_session
        assert aio.AsyncSession.identity_key(User, 1) == aio.AsyncSession.identity_key(instance=ann)
        assert aio.async_object_session(User()) is None
        with pytest.raises(world.orm.exc.UnmappedInstanceError):
            aio.async_object_session(object())
        with world.orm.Session(engine.sync_engine) as sync:
            assert aio.async_session(sync) is None

        await session.rollback()
        sync = session.sync_session
        del session
        gc.collect()
        assert aio.async_object_session(ann) is None and aio.async_session(sync) is None


@awaited
async def test_what_is_passed_on(world: World) -> None:
    """Attributes of the sync session are those of the asynchronous one, and assigned to where they can be."""
    aio = world.aio
    session = aio.AsyncSession(info={"a": 1}, autoflush=False, execution_options={"x": 1})
    sync = session.sync_session
    assert (session.info, session.autoflush, dict(session.execution_options)) == ({"a": 1}, False, {"x": 1})
    session.autoflush = True
    session.execution_options = {"y": 2}
    assert sync.autoflush is True and sync.execution_options == {"y": 2}
    with session.no_autoflush:
        assert sync.autoflush is False
    assert session.is_active and not session.in_nested_transaction() and len(session.identity_map) == 0
    for name in ("new", "dirty", "deleted", "info", "is_active", "no_autoflush"):
        with pytest.raises(AttributeError):
            setattr(session, name, None)
    user = world.User(name="a")
    session.add(user)
    session.expunge(user)
    session.add(user)
    session.expunge_all()
    assert not list(session)
    with pytest.raises(NotImplementedError, match="asynchronous events are not implemented"):
        event.listen(session, "before_flush", lambda *args: None)
    with pytest.raises(exc.ArgumentError, match="AsyncEngine expected"):
        aio.AsyncSession(sql.create_engine("sqlite://"))


@awaited
async def test_listeners_may_run_statements(world: World) -> None:
    """They are called inside of the greenlet: what they send is awaited by whoever awaits the flush."""
    async with world.engine("a") as engine, world.aio.AsyncSession(engine) as session:
        seen: list[Any] = []

        def before_flush(sync: Any, context: Any, instances: Any) -> None:
            seen.append(sync.scalars(sql.select(world.User.name)).all())

        def after_insert(mapper: Any, connection: Any, user: Any) -> None:
            seen.append(connection.scalar(sql.select(sql.func.count()).select_from(world.User.__table__)))

        event.listen(session.sync_session, "before_flush", before_flush)
        event.listen(world.User, "after_insert", after_insert)
        session.add(world.user("b"))
        await session.commit()
        assert seen == [["a"], 2]


@awaited
async def test_binds(world: World) -> None:
    """An asynchronous bind stands for one of the sync session, in both directions; statements go there."""
    aio, User, Address = world.aio, world.User, world.Address
    async with world.engine("a") as engine:
        other = aio.create_async_engine(world.url)
        session = aio.AsyncSession(engine, binds={User: other})
        assert session.bind is engine and session.sync_session.bind is engine.sync_engine
        assert session.binds == {User: other, User.__table__: other}
        assert session.get_bind(User) is other.sync_engine and session.get_bind() is engine.sync_engine
        assert session.get_async_bind(User) is other and session.get_async_bind(Address) is engine
        assert session.get_async_bind(clause=sql.select(User)) is other
        assert session.get_async_bind(bind=other) is other
        session.bind_mapper(Address, other)
        session.bind_table(User.__table__, engine)
        assert session.get_async_bind(Address) is other and session.binds[User.__table__] is engine
        session.bind = None
        assert session.bind is None and session.sync_session.bind is None
        session.sync_session.bind = sql.create_engine("sqlite://")
        with pytest.raises(aio.exc.AsyncBindNotFound, match="Can't translate bind"):
            session.bind  # noqa: B018
        used = []
        event.listen(other.sync_engine, "before_cursor_execute", lambda *args: used.append(args[2]))
        assert (await session.get_one(User, 1)).name == "a" and len(used) == 1
        await session.close()
        await other.dispose()


@awaited
async def test_factories(world: World) -> None:
    aio = world.aio

    class Mine(aio.AsyncSession):  # type: ignore[misc, name-defined]
        sync_session_class = type("MySync", (world.orm.Session,), {})

    async with world.engine("a") as engine:
        maker = aio.async_sessionmaker(engine, class_=Mine, info={"a": 1, "b": 1}, expire_on_commit=False)
        session = maker(info={"b": 2, "c": 2}, autoflush=False)
        assert type(session) is Mine and type(session.sync_session) is Mine.sync_session_class
        assert session.info == {"a": 1, "b": 2, "c": 2} and maker().info == {"a": 1, "b": 1}
        assert (session.autoflush, session.sync_session.expire_on_commit, session.bind) == (False, False, engine)
        maker.configure(autoflush=False)
        assert maker().autoflush is False and "class_='Mine'" in repr(maker)
        assert type(aio.AsyncSession(sync_session_class=Mine.sync_session_class).sync_session).__name__ == "MySync"
        # the factory of sync sessions makes asynchronous ones, too
        assert isinstance(world.orm.sessionmaker(engine, class_=aio.AsyncSession)(), aio.AsyncSession)

        async with maker.begin() as begun:
            begun.add(world.user("b"))
        assert not begun.in_transaction() and await world.names(engine) == ["a", "b"]
        with pytest.raises(KeyError):
            async with maker.begin() as begun:
                begun.add(world.user("c"))
                await begun.flush()
                raise KeyError
        assert await world.names(engine) == ["a", "b"]


@awaited
async def test_scopes(world: World) -> None:
    aio = world.aio
    async with world.engine("a") as engine:
        scope = ["one"]
        scoped = aio.async_scoped_session(aio.async_sessionmaker(engine), lambda: scope[0])
        first = scoped(info={"n": 1})
        with pytest.raises(exc.InvalidRequestError, match="already present"):
            scoped(info={})
        with pytest.warns(exc.SAWarning, match="can not affect sessions"):
            scoped.configure(autoflush=False)
        ann = await scoped.get_one(world.User, 1)
        assert ann in scoped and ann in first and scoped.info == {"n": 1} and scoped.bind is engine
        scope[0] = "two"
        assert ann not in scoped and scoped() is not first and scoped.autoflush is False
        scoped.autoflush = True
        assert scoped().autoflush is True
        assert [user.name for user in await scoped.scalars(sql.select(world.User))] == ["a"]
        assert [name async for name in await scoped.stream_scalars(sql.select(world.User.name))] == ["a"]
        await scoped.rollback()
        async with scoped.begin():
            scoped.add(world.user("b"))
        assert await world.names(engine) == ["a", "b"]
        await scoped.remove()
        scope[0] = "one"
        assert scoped() is first
        await scoped.remove()
        assert ann not in first and aio.async_scoped_session.object_session(ann) is None
