"""Short SELECTs made anew each time, run more than once so that their shape is known: whatever is asked of the result,
and of the session around it, is answered as on a first run."""

from __future__ import annotations

import gc
import importlib
import itertools
import weakref
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from orm_models import make_database, make_models
from sqlalchemy import event, exc, select


@pytest.fixture(params=["sqlalchemy.orm", "rustalchemy.orm"])
def m(request: pytest.FixtureRequest) -> Any:
    orm = importlib.import_module(request.param)
    models = make_models(orm)
    models.engine = make_database(models)
    models.is_ours = request.param.startswith("rust")
    # the first runs of the shapes below
    for session, _ in itertools.product([orm.Session(models.engine)], range(3)):
        session.scalars(some_users(models, 7)).all()
        session.execute(select(models.User.id, models.User.name).where(models.User.id > 7)).all()
        session.close()
    return models


def some_users(m: SimpleNamespace, n: int) -> Any:
    return select(m.User).where(m.User.id > n - 1, m.User.name != "nobody")


def session_of(m: SimpleNamespace, **kw: Any) -> Any:
    return m.orm.Session(m.engine, **kw)


def outcome(ask: Callable[[], Any]) -> Any:
    """What a call returns, objects by their keys; or what it raises."""
    try:
        answer = ask()
    except Exception as err:
        return type(err).__name__, str(err).split("\n")[0]
    if isinstance(answer, (list, tuple)):
        return [getattr(each, "id", each) for each in answer]
    return getattr(answer, "id", answer)


ASKED = {
    "one": lambda r: r.one(),
    "one_or_none": lambda r: r.one_or_none(),
    "first": lambda r: r.first(),
    "all": lambda r: r.all(),
    "fetchall": lambda r: r.fetchall(),
    "fetchmany": lambda r: r.fetchmany(1),
    "next": lambda r: next(r),
    "list": lambda r: list(r),
    "unique": lambda r: r.unique().all(),
    "partitions": lambda r: [len(part) for part in r.partitions(2)],
    "closed": lambda r: r.closed,
    "close": lambda r: r.close(),
}


@pytest.mark.parametrize("n", [7, 10, 11])
def test_two_questions_to_scalars(n: int) -> None:
    """All pairs of questions, of many rows, one and none: the second one meets what the first has left."""
    answers = []
    for name in ("sqlalchemy.orm", "rustalchemy.orm"):
        orm = importlib.import_module(name)
        models = make_models(orm)
        models.engine = make_database(models)
        answers.append({})
        for one, other in itertools.product(ASKED, ASKED):
            with session_of(models) as session:
                result = session.scalars(some_users(models, n))
                found = [outcome(partial(ASKED[name], result)) for name in (one, other)]
                answers[-1][one, other] = [*found, result.closed]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("n", [7, 10, 11])
def test_results_and_scalar(m: SimpleNamespace, n: int) -> None:
    with session_of(m) as session:
        assert [user.id for (user,) in session.execute(some_users(m, n))] == list(range(n, 11))
        assert outcome(lambda: session.scalar(some_users(m, n))) == (n if n < 11 else None)
        columns = select(m.User.id, m.User.name).where(m.User.id > n - 1)
        assert session.execute(columns).keys() == session.execute(columns).mappings().keys()
        assert [row.id for row in session.execute(columns)] == list(range(n, 11))
        assert session.scalars(columns).all() == list(range(n, 11))
        assert session.scalar(columns) == (n if n < 11 else None)
        assert [user.id for user in session.scalars(some_users(m, n)).unique()] == list(range(n, 11))


def test_a_pending_change_is_flushed_before(m: SimpleNamespace) -> None:
    with session_of(m) as session:
        session.add(m.User(id=20, name="new"))
        assert [user.id for user in session.scalars(some_users(m, 10))] == [10, 20]
        session.add(m.User(id=21, name="newer"))
        with session.no_autoflush:
            assert [user.id for user in session.scalars(some_users(m, 10))] == [10, 20]


def test_hooks_see_short_selects(m: SimpleNamespace) -> None:
    seen: list[str] = []

    class OwnFlush(m.orm.Session):  # type: ignore[name-defined,misc]
        def flush(self, objects: Any = None) -> None:
            seen.append("flush")
            super().flush(objects)

    with OwnFlush(m.engine) as session:
        session.scalars(some_users(m, 10)).one()
    assert seen == ["flush"]
    with session_of(m) as session:
        event.listen(session, "do_orm_execute", lambda state: seen.append("do_orm_execute"))
        session.scalars(some_users(m, 10)).one()
    with session_of(m) as session:
        event.listen(m.engine, "before_cursor_execute", lambda *args: seen.append(args[2][:6]))
        session.scalars(some_users(m, 10)).one()
        session.query(m.User).filter_by(id=7).first()
    assert seen == ["flush", "do_orm_execute", "SELECT", "SELECT"]


def test_rows_of_a_closed_session(m: SimpleNamespace) -> None:
    session = session_of(m)
    result = session.scalars(some_users(m, 10))
    session.close()
    with pytest.raises(exc.InvalidRequestError, match="no longer valid"):
        result.one()


def test_a_value_that_is_refused(m: SimpleNamespace) -> None:
    with session_of(m) as session, pytest.raises(exc.SQLAlchemyError) as raised:
        session.scalars(some_users(m, 10).where(m.User.name == object())).one()
    assert "nobody" in str(raised.value)


def test_a_taken_object_goes_with_its_last_reference(m: SimpleNamespace) -> None:
    with session_of(m) as session:
        result = session.scalars(some_users(m, 10))
        user = weakref.ref(result.one())
        gc.collect()
        assert user() is None
        assert result.closed


def test_a_result_does_not_keep_its_session(m: SimpleNamespace) -> None:
    if not m.is_ours:
        pytest.skip("SQLAlchemy's results keep their session")
    session = session_of(m)
    result = session.scalars(some_users(m, 7))
    next(result)
    session.close()
    session = weakref.ref(session)
    gc.collect()
    assert session() is None
    assert result.closed is False


def test_comparisons_are_of_their_own(m: SimpleNamespace) -> None:
    one, other = m.User.id == 1, m.User.id == 2
    assert one.right.key != other.right.key
    assert (one.right.value, other.right.value) == (1, 2)
    assert one.right is not other.right and one.left is other.left
    both = str((one | other).compile(compile_kwargs={"literal_binds": True}))
    assert both == "users.id = 1 OR users.id = 2"
    assert one.compare(m.User.id == 1) and not one.compare(other)
    assert bool(one == one) and not bool(one == other)
    assert {one.right.key: 1}.get(other.right.key) is None
