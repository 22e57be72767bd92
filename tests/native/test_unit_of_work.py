"""The unit of work alone, with an executor that only records. Rows of semantics.md are named by number."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from handmade import Model

from rustalchemy import _core


class Recorder:
    """Stands for the database: takes batches, makes keys from 100 on."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []

    def connect(self, manager: Any) -> None:
        """Nothing was sent: a transaction begins all the same."""

    def insert(self, batch: Any) -> None:
        self.log.append(("insert", batch.columns, batch.rows(batch.columns, [None] * len(batch.columns))))
        if batch.needs_key:
            batch.set_columns((0,), [(100 + at,) for at in range(len(batch))])

    def update(self, batch: Any) -> None:
        order = (*batch.columns, *(~number for number in batch.where))
        self.log.append(("update", batch.columns, batch.rows(order, [None] * len(order))))

    def delete(self, batch: Any) -> None:
        order = tuple(~number for number in batch.where)
        self.log.append(("delete", batch.rows(order, [None] * len(order))))


class Session(_core.UnitOfWork):
    """The little a session has to add."""

    hash_key = 1

    def _autobegin_t(self) -> None:
        self._uow_begin(False)

    def flush(self, recorder: Any = None) -> list[tuple[Any, ...]]:
        flush = self._uow_register()
        recorder = recorder or Recorder()
        if flush is not None:
            self._uow_execute(flush, recorder)
            self._uow_finish(flush)
        return list(recorder.log)


@pytest.fixture(params=["inline", "external"])
def thing(request: pytest.FixtureRequest) -> Model:
    columns = [
        {"key": key, "attr": number, "pk": number == 0, "default": number == 0}
        for number, key in enumerate(["id", "name"])
    ]
    base = _core.Instance if request.param == "inline" else object
    return Model("id name", base=base, tables=[{"table": object(), "name": "thing", "pk": (0,), "columns": columns}])


def make(model: Model, key: int | None = None, name: str | None = None) -> Any:
    instance = model.manager.new_instance()
    for attr, value in enumerate((key, name)):
        if value is not None:
            _core.store_loaded([instance], attr, [value])
    return instance


def test_001_add_twice(thing: Model) -> None:
    session, one = Session(), make(thing, 1, "a")
    session.add(one)
    session.add(one)
    assert list(session.new) == [one]
    assert session.flush() == [("insert", (0, 1), [(1, "a")])]
    session.add(one)
    assert session._uow_is_clean()


def test_insert_order_is_add_order_and_shapes_break_runs(thing: Model) -> None:
    session = Session()
    objects = [
        make(thing, 3, "c"),
        make(thing, 1, "a"),
        make(thing, None, "x"),
        make(thing, None, "y"),
        make(thing, 2, "b"),
    ]
    session.add_all(objects)
    assert session.flush() == [
        ("insert", (0, 1), [(3, "c"), (1, "a")]),
        ("insert", (1,), [("x",), ("y",)]),
        ("insert", (0, 1), [(2, "b")]),
    ]
    assert [session.get(thing.class_, key) for key in (3, 1, 100, 101, 2)] == objects


def test_006_007_errors(thing: Model) -> None:
    from sqlalchemy.exc import InvalidRequestError

    session, one = Session(), make(thing, 1)
    with pytest.raises(InvalidRequestError, match="is not persisted"):
        session.delete(one)
    session.add(one)
    session.flush()
    session.delete(one)
    assert list(session.deleted) == [one]
    assert session.flush() == [("delete", [(1,)])]
    assert one not in session
    with pytest.raises(InvalidRequestError, match=r"has been deleted.  Use the make_transient"):
        session.add(one)


def test_003_another_session(thing: Model) -> None:
    from sqlalchemy.exc import InvalidRequestError

    session, other, one = Session(), Session(), make(thing, 1)
    session.add(one)
    with pytest.raises(InvalidRequestError, match="is already attached to session '1' \\(this is '1'\\)"):
        other.add(one)
    del session
    gc.collect()
    other.add(one)
    assert one in other


def test_005_second_object_with_a_key(thing: Model) -> None:
    from sqlalchemy.exc import InvalidRequestError

    session, one, two = Session(), make(thing, 1), make(thing, 1)
    session.add(one)
    session.flush()
    _core.make_transient_to_detached(two)
    with pytest.raises(InvalidRequestError, match="another instance with key"):
        session.add(two)
    assert two not in session
    session.expunge(one)
    session.add(two)
    assert two in session


def test_010_add_cancels_delete(thing: Model) -> None:
    session, one = Session(), make(thing, 1)
    session.add(one)
    session.flush()
    session.delete(one)
    session.add(one)
    assert not list(session.deleted)
    assert session.flush() == []


def test_015_016_rollback_of_new_objects(thing: Model) -> None:
    session, flushed, pending = Session(), make(thing, None, "a"), make(thing, 7)
    session.add(flushed)
    session.flush()
    session.add(pending)
    session._uow_rollback()
    assert not session._uow_in_transaction
    assert flushed not in session and pending not in session
    assert thing.values(flushed) == [100, "a"]
    session.add(flushed)
    assert session.flush() == [("insert", (0, 1), [(100, "a")])]


def test_017_rollback_of_a_deleted_object(thing: Model) -> None:
    session, one = Session(), make(thing, 1)
    session.add(one)
    session.flush()
    session._uow_commit(False)
    session._uow_begin(False)
    session.delete(one)
    session.flush()
    assert one not in session
    session._uow_rollback()
    assert one in session
    assert list(session.identity_map.values()) == [one]


def test_021_nested_commit_then_outer_rollback(thing: Model) -> None:
    session, one, two = Session(), make(thing, 1), make(thing, 2)
    session.add(one)
    session.flush()
    session._uow_begin(True)
    session.add(two)
    session.flush()
    session.delete(one)
    session.flush()
    session._uow_commit(False)
    session._uow_rollback()
    assert one not in session and two not in session
    assert len(session.identity_map) == 0


def test_019_savepoint_rollback(thing: Model) -> None:
    session, one, two = Session(), make(thing, 1, "a"), make(thing, 2, "b")
    session.add(one)
    session.flush()
    session._uow_begin(True)
    session.add(two)
    session.flush()
    session._uow_rollback()
    assert one in session and two not in session
    assert thing.values(one) == [1, "a"]


def test_023_expunged_after_insert_becomes_transient(thing: Model) -> None:
    session, one = Session(), make(thing, 1)
    session.add(one)
    session.flush()
    session.expunge(one)
    session._uow_rollback()
    session.add(one)
    assert list(session.new) == [one]


def test_026_session_collected(thing: Model) -> None:
    session, one = Session(), make(thing, 1)
    session.add(one)
    session.flush()
    reference = weakref.ref(session)
    del session
    gc.collect()
    assert reference() is None
    other = Session()
    other.add(one)
    assert one in other


def test_031_weak_map(thing: Model) -> None:
    session, one = Session(), make(thing, 1)
    session.add(one)
    session.flush()
    assert len(session.identity_map) == 1
    del one
    gc.collect()
    assert len(session.identity_map) == 0


def test_041_null_key_after_insert(thing: Model) -> None:
    from rustalchemy.orm.exc import FlushError

    class Forgetful(Recorder):
        def insert(self, batch: Any) -> None:
            pass

    session, one = Session(), make(thing)
    session.add(one)
    with pytest.raises(FlushError, match="has a NULL identity key"):
        session.flush(Forgetful())
    session._uow_rollback()
    assert one not in session


def test_045_row_switch(thing: Model) -> None:
    session, one, two = Session(), make(thing, 1, "a"), make(thing, 1, "b")
    session.add(one)
    session.flush()
    session._uow_commit(False)
    session._uow_begin(False)
    session.delete(one)
    session.add(two)
    log = session.flush()
    assert [entry[0] for entry in log] in ([], ["update"])  # without attribute events nothing counts as set
    assert two in session and one not in session
    session._uow_rollback()
    assert one in session and two not in session


def test_plan_sends_nothing_and_prints(thing: Model) -> None:
    session = Session()
    session.add_all([make(thing, 1), make(thing, 2)])
    plan = session._uow_preview()
    assert len(plan) == 1 and plan.objects == 2
    [step] = plan.steps
    assert (step.number, step.kind, step.table, step.mapper, step.rows, step.reason) == (
        1, "insert", "thing", "Thing", 2, "first",
    )  # fmt: skip
    assert str(plan).splitlines()[1].split() == ["1", "INSERT", "thing", "Thing", "2", "new", "first"]
    del plan
    assert len(list(session.new)) == 2
    assert str(Session()._uow_preview()) == "nothing to flush"


def test_interrupted_flush_leaves_a_consistent_session(thing: Model) -> None:
    class Interrupted(Recorder):
        def insert(self, batch: Any) -> None:
            super().insert(batch)
            raise KeyboardInterrupt

    session, one = Session(), make(thing, None, "a")
    session.add(one)
    flush = session._uow_register()
    assert flush is not None
    with pytest.raises(KeyboardInterrupt):
        session._uow_execute(flush, Interrupted())
    session._uow_abort(flush)
    with pytest.raises(RuntimeError):
        session._uow_execute(flush, Recorder())
    session._uow_rollback()
    assert one not in session
    session.add(one)
    assert session.flush() == [("insert", (0, 1), [(100, "a")])]


def test_executor_may_use_the_session(thing: Model) -> None:
    session, one, late = Session(), make(thing, 1), make(thing, 2)

    class Busy(Recorder):
        def insert(self, batch: Any) -> None:
            super().insert(batch)
            session.add(late)
            assert one in session
            gc.collect()

    session.add(one)
    session.flush(Busy())
    assert list(session.new) == [late]


def test_iteration_tolerates_deallocation(thing: Model) -> None:
    session = Session()
    objects = [make(thing, number) for number in range(1, 50)]
    session.add_all(objects)
    session.flush()

    def drain() -> Iterator[Any]:
        for instance in session:
            objects.clear()
            yield instance

    assert len(list(drain())) == 49
    gc.collect()
    assert len(session.identity_map) == 0


def test_objects_are_released(thing: Model) -> None:
    session, one = Session(), make(thing, 1)
    reference = weakref.ref(one)
    session.add(one)
    session.flush()
    session.delete(one)
    session.flush()
    del one
    gc.collect()
    assert reference() is None
    session._uow_rollback()


def test_finalizers_may_use_the_session(thing: Model) -> None:
    session, seen = Session(), []

    def finalize(self: Any) -> None:
        seen.append(len(list(session)))
        session.add(make(thing, 1000 + len(seen)))
        session.expire_all()

    thing.class_.__del__ = finalize  # type: ignore[attr-defined]
    try:
        session.add_all([make(thing, 1), make(thing, 2)])
        session.flush()
        gc.collect()
        assert len(seen) == 2
        session.expunge_all()
        gc.collect()
    finally:
        del thing.class_.__del__  # type: ignore[attr-defined]
    session._uow_rollback()
    assert session._uow_is_clean()


def test_an_exception_of_the_executor_is_passed_on(thing: Model) -> None:
    class Broken(Recorder):
        def delete(self, batch: Any) -> None:
            raise LookupError("no")

    session, one = Session(), make(thing, 1)
    session.add(one)
    session.flush()
    session.delete(one)
    with pytest.raises(LookupError, match="no"):
        session.flush(Broken())
    assert one in session
    session._uow_rollback()
    assert one not in session


def test_sessions_and_plans_are_collected(thing: Model) -> None:
    session = Session()
    session.cycle = session  # type: ignore[attr-defined]
    session.add(make(thing, 1))
    flush = session._uow_register()
    assert flush is not None
    session.registered = flush  # type: ignore[attr-defined]
    reference = weakref.ref(session)
    del session, flush
    gc.collect()
    assert reference() is None


def test_a_collection_while_a_session_is_being_made() -> None:
    """The collector sees a new object before its native part is filled in: nothing may be collected in between."""
    thresholds = gc.get_threshold()
    gc.collect()
    spare: list[dict[str, int]] = [
        {} for _ in range(300)
    ]  # CPython has no dict in reserve now: a new one asks for memory
    units: list[Any] = []
    try:
        for threshold in (1, 2, 3, 4):
            gc.set_threshold(threshold)
            for number in range(50):
                units.append(_core.UnitOfWork())
                spare.extend([{} for _ in range(number % 5)])  # the collector comes at another moment each time
    finally:
        gc.set_threshold(*thresholds)
    assert len(units) == 200
