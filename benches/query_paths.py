"""The query paths that `benches.paths` times: each is written once, as a function of an ORM's classes and of a size.

`k` is a :class:`~.path_models.PathEnvironment`: the mapped classes, `k.orm` and the session `k.db`. A path of ENTITIES,
UNIQUE or ROWS makes a statement, which is timed built anew, built before, and with its objects loaded already. A path
of CALLS returns what is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import sqlite

from .path_models import PathEnvironment

Statement = Callable[[PathEnvironment, int], Any]
Call = Callable[[PathEnvironment, int], Callable[[], Any]]


def upto(cls: Any, n: int, *columns: Any) -> Any:
    """The first `n` rows of a class, or columns of them."""
    return sa.select(*(columns or (cls,))).where(cls.id <= n)


def _aliased(k: PathEnvironment, n: int) -> Any:
    alias = k.orm.aliased(k.User)
    return sa.select(alias).where(alias.id <= n)


def _aliased_subquery(k: PathEnvironment, n: int) -> Any:
    return sa.select(k.orm.aliased(k.User, upto(k.User, n).subquery()))


def _aliased_cte(k: PathEnvironment, n: int) -> Any:
    return sa.select(k.orm.aliased(k.User, upto(k.User, n).cte("few")))


def _union_entities(k: PathEnvironment, n: int) -> Any:
    return sa.select(k.User).from_statement(sa.union_all(upto(k.User, n), sa.select(k.User).where(k.User.id < 0)))


def _with_polymorphic(k: PathEnvironment, n: int) -> Any:
    staff = k.orm.with_polymorphic(k.Staff, [k.Manager])
    return sa.select(staff).where(staff.id <= n)


def _self_join(k: PathEnvironment, n: int) -> Any:
    other = k.orm.aliased(k.Child)
    return sa.select(k.Child).join(other, other.parent_id == k.Child.parent_id).where(k.Child.id <= n, other.n >= 0)


ENTITIES: dict[str, Statement] = {
    "entity": lambda k, n: upto(k.User, n),
    "entity, filter_by and order_by": lambda k, n: upto(k.User, n).filter_by(d=0.5).order_by(k.User.a),
    "entity, in_ of tuples": lambda k, n: sa.select(k.User).where(
        sa.tuple_(k.User.id, k.User.a).in_([(i, f"a{i}") for i in range(1, n + 1)])
    ),
    "entity, in_": lambda k, n: sa.select(k.User).where(k.User.id.in_(range(1, n + 1))),
    "entity, or_ and like": lambda k, n: sa.select(k.User).where(sa.or_(k.User.id <= n, k.User.a.like("z%"))),
    "entity, limit and offset": lambda k, n: sa.select(k.User).order_by(k.User.id).limit(n).offset(0),
    "entity, text criteria": lambda k, n: sa.select(k.User).where(sa.text("id <= :n")).params(n=n),
    "entity, distinct": lambda k, n: upto(k.User, n).distinct(),
    "entity, with_for_update": lambda k, n: upto(k.User, n).with_for_update(),
    "entity, populate_existing": lambda k, n: upto(k.User, n).execution_options(populate_existing=True),
    "entity, yield_per": lambda k, n: upto(k.User, n).execution_options(yield_per=100),
    "entity, stream_results": lambda k, n: upto(k.User, n).execution_options(stream_results=True),
    "entity, exists": lambda k, n: upto(k.Parent, n).where(
        sa.exists().where(k.Child.parent_id == k.Parent.id).correlate(k.Parent)
    ),
    "entity, relationship any": lambda k, n: upto(k.Parent, n).where(k.Parent.children.any(k.Child.n >= 0)),
    "entity, relationship has": lambda k, n: upto(k.Child, n).where(k.Child.parent.has(k.Parent.id > 0)),
    "entity, relationship is None": lambda k, n: upto(k.Child, n).where(k.Child.parent != None),  # noqa: E711
    "entity, scalar subquery": lambda k, n: sa.select(k.User).where(
        k.User.id <= sa.select(sa.func.min(k.Parent.id) + n - 1).scalar_subquery()
    ),
    "aliased, made anew": _aliased,
    "aliased subquery": _aliased_subquery,
    "aliased cte": _aliased_cte,
    "aliased self-join": _self_join,
    "from_statement of text": lambda k, n: sa.select(k.User).from_statement(
        sa.text("SELECT * FROM users WHERE id <= :n").bindparams(n=n)
    ),
    "from_statement of select": lambda k, n: sa.select(k.User).from_statement(upto(k.User, n).order_by(k.User.id)),
    "from_statement of union": _union_entities,
    "join along a relationship": lambda k, n: upto(k.Child, n).join(k.Child.parent),
    "join to an entity": lambda k, n: upto(k.Child, n).join(k.Parent),
    "join on a condition": lambda k, n: upto(k.Child, n).join(k.Parent, k.Parent.id == k.Child.parent_id),
    "outerjoin and where": lambda k, n: upto(k.Child, n).outerjoin(k.Child.parent).where(k.Parent.name != "x"),
    "join_from": lambda k, n: sa.select(k.Child).join_from(k.Child, k.Parent).where(k.Child.id <= n),
    "join of_type alias": lambda k, n: upto(k.Child, n).join(k.Child.parent.of_type(k.orm.aliased(k.Parent))),
    "join many-to-many": lambda k, n: upto(k.Post, n).join(k.Post.tags).where(k.Tag.id > 0),
    "load_only": lambda k, n: upto(k.User, n).options(k.orm.load_only(k.User.a)),
    "defer": lambda k, n: upto(k.User, n).options(k.orm.defer(k.User.a)),
    "undefer": lambda k, n: upto(k.Account, n).options(k.orm.undefer(k.Account.notes)),
    "column_property": lambda k, n: upto(k.Account, n),
    "with_expression": lambda k, n: upto(k.Account, n).options(
        k.orm.with_expression(k.Account.extra, k.Account.id + 1)
    ),
    "raiseload": lambda k, n: upto(k.Child, n).options(k.orm.raiseload("*")),
    "lazyload option": lambda k, n: upto(k.Child, n).options(k.orm.lazyload(k.Child.parent)),
    "selectinload": lambda k, n: upto(k.Parent, n).options(k.orm.selectinload(k.Parent.children)),
    "selectinload, many-to-one": lambda k, n: upto(k.Child, n).options(k.orm.selectinload(k.Child.parent)),
    "selectinload, many-to-many": lambda k, n: upto(k.Post, n).options(k.orm.selectinload(k.Post.tags)),
    "selectinload, and_": lambda k, n: upto(k.Parent, n).options(
        k.orm.selectinload(k.Parent.children.and_(k.Child.n > 2))
    ),
    "selectinload, nested": lambda k, n: upto(k.Team, max(n // 5, 1)).options(
        k.orm.selectinload(k.Team.staff).joinedload(k.Staff.team)
    ),
    "subqueryload": lambda k, n: upto(k.Parent, n).options(k.orm.subqueryload(k.Parent.children)),
    "subqueryload, many-to-one": lambda k, n: upto(k.Child, n).options(k.orm.subqueryload(k.Child.parent)),
    "immediateload": lambda k, n: upto(k.Parent, n).options(k.orm.immediateload(k.Parent.children)),
    "immediateload, many-to-one": lambda k, n: upto(k.Child, n).options(k.orm.immediateload(k.Child.parent)),
    "joinedload, many-to-one": lambda k, n: upto(k.Child, n).options(k.orm.joinedload(k.Child.parent)),
    "joinedload, innerjoin": lambda k, n: upto(k.Child, n).options(k.orm.joinedload(k.Child.parent, innerjoin=True)),
    "contains_eager": lambda k, n: upto(k.Child, n).join(k.Child.parent).options(k.orm.contains_eager(k.Child.parent)),
    "defaultload": lambda k, n: upto(k.Child, n).options(k.orm.defaultload(k.Child.parent).load_only(k.Parent.id)),
    "with_loader_criteria": lambda k, n: upto(k.User, n).options(k.orm.with_loader_criteria(k.User, k.User.id > 0)),
    "with_loader_criteria, lambda": lambda k, n: upto(k.User, n).options(
        k.orm.with_loader_criteria(k.User, lambda cls: cls.id > 0)
    ),
    "with_loader_criteria, lambda of a mixin": lambda k, n: upto(k.Account, n).options(
        k.orm.with_loader_criteria(k.Numbered, lambda cls: cls.id > 0, include_aliases=True)
    ),
    "lambda_stmt": lambda k, n: _lambda_statement(k.User, n),
    "single inheritance": lambda k, n: upto(k.Worker, n),
    "joined inheritance": lambda k, n: upto(k.Manager, max(n, 3)),
    "polymorphic": lambda k, n: upto(k.Staff, n),
    "with_polymorphic, made anew": _with_polymorphic,
    "selectin_polymorphic": lambda k, n: upto(k.Staff, n).options(
        k.orm.selectin_polymorphic(k.Staff, [k.Manager, k.Worker])
    ),
    "join to a subclass": lambda k, n: upto(k.Team, n).join(k.Team.staff.of_type(k.Manager)),
}


def _lambda_statement(User: Any, n: int) -> Any:
    statement = sa.lambda_stmt(lambda: sa.select(User))
    statement += lambda s: s.where(User.id <= n)
    return statement


UNIQUE: dict[str, Statement] = {
    "joinedload": lambda k, n: upto(k.Parent, n).options(k.orm.joinedload(k.Parent.children)),
    "joinedload, limit": lambda k, n: (
        sa.select(k.Parent).order_by(k.Parent.id).limit(n).options(k.orm.joinedload(k.Parent.children))
    ),
    "joinedload, many-to-many": lambda k, n: upto(k.Post, n).options(k.orm.joinedload(k.Post.tags)),
    "contains_eager, collection": lambda k, n: (
        upto(k.Parent, n).join(k.Parent.children).options(k.orm.contains_eager(k.Parent.children))
    ),
    "entity, unique": lambda k, n: upto(k.User, n),
}


def _bundle(k: PathEnvironment, n: int) -> Any:
    return upto(k.User, n, k.orm.Bundle("user", k.User.id, k.User.a, k.User.c))


def _union_rows(k: PathEnvironment, n: int) -> Any:
    return sa.union(upto(k.User, n, k.User.id, k.User.a), sa.select(k.Parent.id, k.Parent.name).where(k.Parent.id < 0))


def _cte_rows(k: PathEnvironment, n: int) -> Any:
    counts = (
        sa.select(k.Child.parent_id, sa.func.count().label("n"))
        .where(k.Child.parent_id <= n)
        .group_by(k.Child.parent_id)
        .cte("counts")
    )
    return sa.select(k.Parent, counts.c.n).join(counts, counts.c.parent_id == k.Parent.id)


ROWS: dict[str, Statement] = {
    "columns": lambda k, n: upto(k.User, n, k.User.id, k.User.a, k.User.c),
    "one column": lambda k, n: upto(k.User, n, k.User.a),
    "labels and functions": lambda k, n: upto(k.User, n, sa.func.lower(k.User.a).label("a"), k.User.c + 1),
    "case": lambda k, n: upto(k.User, n, sa.case((k.User.c > 5, "x"), else_="y").label("z")),
    "group_by and having": lambda k, n: (
        upto(k.Child, n, k.Child.parent_id, sa.func.count(k.Child.id))
        .group_by(k.Child.parent_id)
        .having(sa.func.count() > 0)
    ),
    "entity and column": lambda k, n: upto(k.User, n, k.User, k.User.a),
    "two entities": lambda k, n: upto(k.Child, n, k.Child, k.Parent).join(k.Child.parent),
    "entity and aliased": lambda k, n: _pairs(k, n),
    "Bundle": _bundle,
    "union of columns": _union_rows,
    "cte of counts": _cte_rows,
    "window function": lambda k, n: upto(
        k.Child, n, k.Child.id, sa.func.row_number().over(partition_by=k.Child.parent_id)
    ),
    "text": lambda k, n: sa.text("SELECT id, a, c FROM users WHERE id <= :n").bindparams(n=n),
    "text of columns": lambda k, n: (
        sa.text("SELECT id, a FROM users WHERE id <= :n").bindparams(n=n).columns(k.User.id, k.User.a)
    ),
    "Core columns": lambda k, n: upto(k.User.__table__.c, n, k.User.__table__.c.id, k.User.__table__.c.a),
    "Core table": lambda k, n: sa.select(k.User.__table__).where(k.User.__table__.c.id <= n),
    "Core union": lambda k, n: sa.union(
        upto(k.User.__table__.c, n, k.User.__table__.c.id), sa.select(k.Parent.__table__.c.id).where(sa.false())
    ),
}


def _pairs(k: PathEnvironment, n: int) -> Any:
    child = k.orm.aliased(k.Child)
    return upto(k.Parent, n, k.Parent, child).join(child, child.parent_id == k.Parent.id)


# calls: one function per path, returning what is timed


def _loads(load: Callable[[Any], Any], of: str, n_of: Callable[[int], int] = lambda n: n) -> Call:
    """Load `n` objects of the class called `of`, then read something of each."""

    def call(k: PathEnvironment, n: int) -> Callable[[], Any]:
        statement = upto(getattr(k, of), n_of(n))
        return lambda: [load(x) for x in k.db.scalars(statement).all()]

    return call


def _held(make: Callable[[PathEnvironment, list[Any]], Callable[[], Any]], of: str = "User") -> Call:
    """Work on `n` objects that stay loaded."""

    def call(k: PathEnvironment, n: int) -> Callable[[], Any]:
        return make(k, k.db.scalars(upto(getattr(k, of), n)).all())

    call.keeps_objects = True  # type: ignore[attr-defined]
    return call


def _rolled_back(make: Callable[[PathEnvironment, int], Callable[[], Any]]) -> Call:
    """DML, undone each time."""

    def call(k: PathEnvironment, n: int) -> Callable[[], Any]:
        work = make(k, n)

        def run() -> Any:
            result = work()
            k.db.rollback()
            return result

        return run

    return call


def _rows(k: PathEnvironment, n: int) -> list[dict[str, Any]]:
    return [{"id": 1_000_000 + i, "a": "new", "b": "b", "c": i, "d": 0.5} for i in range(n)]


def _keyless(k: PathEnvironment, n: int) -> list[dict[str, Any]]:
    return [{"a": "new", "b": "b", "c": i, "d": 0.5} for i in range(n)]


def _dml(statement: Statement, consume: Callable[[Any], Any] = lambda r: r.rowcount >= 0) -> Call:
    return _rolled_back(lambda k, n: lambda: consume(k.db.execute(statement(k, n))))


def _insert(
    statement: Callable[[PathEnvironment], Any],
    rows: Callable[[PathEnvironment, int], list[dict[str, Any]]],
    consume: Callable[[Any], Any] = lambda r: None,
) -> Call:
    def make(k: PathEnvironment, n: int) -> Callable[[], Any]:
        given = rows(k, n)
        return lambda: consume(k.db.execute(statement(k), given))

    return _rolled_back(make)


def _insert_values(consume: Callable[[Any], Any], returning: Callable[[PathEnvironment], tuple[Any, ...]]) -> Call:
    """One statement with its values in it."""

    def make(k: PathEnvironment, n: int) -> Callable[[], Any]:
        given = _rows(k, min(n, 1000))

        def work() -> Any:
            statement = sa.insert(k.User).values(given if n > 1 else given[0])
            columns = returning(k)
            return consume(k.db.execute(statement.returning(*columns) if columns else statement))

        return work

    return _rolled_back(make)


def _upsert(k: PathEnvironment) -> Any:
    statement = sqlite.insert(k.User)
    return statement.on_conflict_do_update(index_elements=[k.User.id], set_={"a": statement.excluded.a})


def _upsert_returning(k: PathEnvironment) -> Any:
    return _upsert(k).returning(k.User)


def _listening(attach: Callable[[Any, Any], Any]) -> Call:
    """A select in a session with listeners of its own engine or of itself."""

    def call(k: PathEnvironment, n: int) -> Callable[[], Any]:
        engine = sa.create_engine("sqlite://", creator=lambda: k.connection, poolclass=k.engine.pool.__class__)
        session = k.orm.Session(engine)
        attach(engine, session)
        return lambda: (session.expunge_all(), session.scalars(upto(k.User, n)).all())[1]

    return call


def _tenancy(k: PathEnvironment, n: int) -> Callable[[], Any]:
    session = k.session()

    @event.listens_for(session, "do_orm_execute")
    def add(state: Any) -> None:
        if state.is_select and not state.is_column_load and not state.is_relationship_load:
            state.statement = state.statement.options(
                k.orm.with_loader_criteria(k.User, lambda cls: cls.id > 0, include_aliases=True)
            )

    return lambda: (session.expunge_all(), session.scalars(upto(k.User, n)).all())[1]


def _heard(load: Callable[[PathEnvironment, Any, int], Any]) -> Call:
    """Loads of single objects in a session whose listener looks at users' SELECTs only."""

    def call(k: PathEnvironment, n: int) -> Callable[[], Any]:
        session = k.session()

        @event.listens_for(session, "do_orm_execute")
        def listen(state: Any) -> None:
            assert state.is_select or state.is_column_load or state.is_relationship_load

        return lambda: (session.expunge_all(), [load(k, session, i) for i in range(1, n + 1)])[1]

    call.largest = 20  # type: ignore[attr-defined]
    return call


def _query(read: Callable[[Any], Any], of: str = "User", options: Callable[[Any, Any], Any] = lambda k, q: q) -> Call:
    def call(k: PathEnvironment, n: int) -> Callable[[], Any]:
        cls = getattr(k, of)
        return lambda: read(options(k, k.db.query(cls).filter(cls.id <= n)))

    return call


def _result(read: Callable[[Any], Any]) -> Call:
    """A method of Result, on rows of two columns."""

    def call(k: PathEnvironment, n: int) -> Callable[[], Any]:
        statement = upto(k.User, n, k.User.id, k.User.a)
        return lambda: read(k.db.execute(statement))

    return call


def _scalar_result(read: Callable[[Any], Any]) -> Call:
    def call(k: PathEnvironment, n: int) -> Callable[[], Any]:
        statement = upto(k.User, n)
        return lambda: read(k.db.execute(statement))

    return call


def _frozen(k: PathEnvironment, n: int) -> Callable[[], Any]:
    frozen = k.db.execute(upto(k.User, n)).freeze()
    return lambda: k.orm.loading.merge_frozen_result(k.db, upto(k.User, n), frozen, load=False)().all()


def _one(work: Callable[[PathEnvironment], Any]) -> Call:
    """Work that has no size: `n` times over, up to 20."""

    def call(k: PathEnvironment, n: int) -> Callable[[], Any]:
        return lambda: [work(k) for _ in range(min(n, 20))]

    call.largest = 1  # type: ignore[attr-defined]
    return call


def _merged(k: PathEnvironment, n: int) -> Callable[[], Any]:
    return lambda: [k.db.merge(k.User(id=i, a="x")).id for i in range(1, n + 1)] and k.db.expunge_all()


def _in_chunks(k: PathEnvironment, n: int) -> Callable[[], Any]:
    statement = upto(k.User, n).execution_options(yield_per=50)
    return lambda: sum(len(page) for page in k.db.scalars(statement).partitions())


CALLS: dict[str, Call] = {
    # lazy loads
    "lazy many-to-one": _loads(lambda x: x.parent.id, "Child"),
    "lazy one-to-many": _loads(lambda x: len(x.children), "Parent"),
    "lazy many-to-many": _loads(lambda x: len(x.tags), "Post"),
    "lazy deferred column": _loads(lambda x: x.notes, "Account"),
    "write_only select": lambda k, n: (
        lambda: [len(k.db.scalars(t.written.select()).all()) for t in k.db.scalars(upto(k.Team, n)).all()]
    ),
    "dynamic all": _loads(lambda x: len(x.dynamic.all()), "Team", lambda n: max(n // 5, 1)),
    "dynamic filter first": _loads(lambda x: x.dynamic.filter_by(kind="x").first(), "Team", lambda n: max(n // 5, 1)),
    "dynamic count": _loads(lambda x: x.dynamic.count(), "Team", lambda n: max(n // 5, 1)),
    "lazy load with propagated option": lambda k, n: (
        lambda: [
            len(p.children)
            for p in k.db.scalars(
                upto(k.Parent, n).options(k.orm.defaultload(k.Parent.children).load_only(k.Child.name))
            ).all()
        ]
    ),
    "lazy load under raiseload": lambda k, n: (
        lambda: [
            len(p.children)
            for p in k.db.scalars(
                upto(k.Parent, n).options(k.orm.lazyload(k.Parent.children).raiseload(k.Child.parent))
            ).all()
        ]
    ),
    # single objects
    "get, found": _held(lambda k, users: lambda: [k.db.get(k.User, u.id) for u in users]),
    "get, not found": _one(lambda k: (k.db.expunge_all(), k.db.get(k.User, 1))),
    "get, options": _one(
        lambda k: (k.db.expunge_all(), k.db.get(k.Parent, 1, options=[k.orm.selectinload(k.Parent.children)]))
    ),
    "get, joinedload": _one(
        lambda k: (k.db.expunge_all(), k.db.get(k.Child, 1, options=[k.orm.joinedload(k.Child.parent)]))
    ),
    "get, populate_existing": _held(
        lambda k, users: lambda: [k.db.get(k.User, u.id, populate_existing=True) for u in users]
    ),
    "get, with_for_update": _held(
        lambda k, users: lambda: [k.db.get(k.User, u.id, with_for_update=True) for u in users]
    ),
    "get, joined inheritance": _one(lambda k: (k.db.expunge_all(), k.db.get(k.Manager, 3))),
    "get, polymorphic": _one(lambda k: (k.db.expunge_all(), k.db.get(k.Staff, 3))),
    "refresh": _held(lambda k, users: lambda: [k.db.refresh(u) for u in users]),
    "refresh, attribute names": _held(lambda k, users: lambda: [k.db.refresh(u, ["a", "b"]) for u in users]),
    "refresh, relationship": _held(
        lambda k, parents: lambda: [k.db.refresh(p, ["children"]) for p in parents], "Parent"
    ),
    "expire, then read": _held(lambda k, users: lambda: [(k.db.expire(u), u.a) for u in users]),
    "expire attribute, then read": _held(lambda k, users: lambda: [(k.db.expire(u, ["a"]), u.a) for u in users]),
    "expire_all, then read": _held(lambda k, users: lambda: (k.db.expire_all(), [u.a for u in users])),
    "merge": _merged,
    "with_parent": _held(
        lambda k, parents: (
            lambda: [
                k.db.scalars(sa.select(k.Child).where(k.orm.with_parent(p, k.Parent.children))).all() for p in parents
            ]
        ),
        "Parent",
    ),
    "compared with an object": _held(
        lambda k, parents: lambda: [k.db.scalars(sa.select(k.Child).where(k.Child.parent == p)).all() for p in parents],
        "Parent",
    ),
    "relationship contains": _held(
        lambda k, tags: (
            lambda: [k.db.scalars(sa.select(k.Post).where(k.Post.tags.contains(t)).limit(1)).all() for t in tags]
        ),
        "Tag",
    ),
    # listeners
    "engine with before_cursor_execute": _listening(
        lambda e, s: event.listen(e, "before_cursor_execute", lambda *args: None)
    ),
    "engine with before and after": _listening(
        lambda e, s: (
            event.listen(e, "before_cursor_execute", lambda *args: None),
            event.listen(e, "after_cursor_execute", lambda *args: None),
        )
    ),
    "engine with before_execute": _listening(lambda e, s: event.listen(e, "before_execute", lambda *args: None)),
    "session with do_orm_execute": _listening(lambda e, s: event.listen(s, "do_orm_execute", lambda state: None)),
    "tenancy by do_orm_execute": _tenancy,
    "get with do_orm_execute": _heard(lambda k, db, i: db.get(k.User, i)),
    "lazy one-to-many with do_orm_execute": _heard(lambda k, db, i: len(db.get(k.Parent, i).children)),
    "lazy many-to-one with do_orm_execute": _heard(lambda k, db, i: db.get(k.Child, i).parent.id),
    "refresh with do_orm_execute": _heard(lambda k, db, i: db.refresh(db.get(k.User, i))),
    # Query
    "Query.all": _query(lambda q: q.all()),
    "Query.first": _query(lambda q: q.first()),
    "Query.one": _one(lambda k: k.db.query(k.User).filter(k.User.id == 1).one()),
    "Query.one_or_none": _one(lambda k: k.db.query(k.User).filter_by(id=1).one_or_none()),
    "Query.scalar": _one(lambda k: k.db.query(k.User.a).filter_by(id=1).scalar()),
    "Query.get": _one(lambda k: (k.db.expunge_all(), k.db.query(k.User).get(1))),
    "Query.count": _query(lambda q: q.count()),
    "Query.exists": _one(lambda k: k.db.query(k.db.query(k.User).filter_by(id=1).exists()).scalar()),
    "Query iteration": _query(list),
    "Query slice": _query(lambda q: q.order_by("id")[0:10]),
    "Query.yield_per": _query(lambda q: list(q.yield_per(50))),
    "Query.with_entities": lambda k, n: (
        lambda: k.db.query(k.User).filter(k.User.id <= n).with_entities(k.User.id, k.User.a).all()
    ),
    "Query.values of columns": lambda k, n: lambda: k.db.query(k.User.id, k.User.a).filter(k.User.id <= n).all(),
    "Query.join": _query(lambda q: q.all(), "Child", lambda k, q: q.join(k.Child.parent).filter(k.Parent.id > 0)),
    "Query.join, outer": _query(lambda q: q.all(), "Child", lambda k, q: q.outerjoin(k.Child.parent)),
    "Query.distinct and order_by": _query(lambda q: q.all(), options=lambda k, q: q.distinct().order_by(k.User.a)),
    "Query.group_by": lambda k, n: (
        lambda: (
            k.db.query(k.Child.parent_id, sa.func.count(k.Child.id))
            .filter(k.Child.id <= n)
            .group_by(k.Child.parent_id)
            .all()
        )
    ),
    "Query.options joinedload": _query(
        lambda q: q.all(), "Parent", lambda k, q: q.options(k.orm.joinedload(k.Parent.children))
    ),
    "Query.options selectinload": _query(
        lambda q: q.all(), "Parent", lambda k, q: q.options(k.orm.selectinload(k.Parent.children))
    ),
    "Query.options subqueryload": _query(
        lambda q: q.all(), "Parent", lambda k, q: q.options(k.orm.subqueryload(k.Parent.children))
    ),
    "Query.populate_existing": _query(lambda q: q.populate_existing().all()),
    "Query.union": lambda k, n: (
        lambda: k.db.query(k.User).filter(k.User.id <= n).union(k.db.query(k.User).filter(k.User.id < 0)).all()
    ),
    "Query.from_statement": lambda k, n: (
        lambda: k.db.query(k.User).from_statement(sa.text("SELECT * FROM users WHERE id <= :n")).params(n=n).all()
    ),
    "Query.subquery": lambda k, n: (
        lambda: (lambda few: k.db.query(k.Parent).join(few, few.c.id == k.Parent.id).all())(
            k.db.query(k.User.id).filter(k.User.id <= n).subquery()
        )
    ),
    "Query.select_from": lambda k, n: (
        lambda: k.db.query(k.Parent).select_from(k.Child).join(k.Child.parent).filter(k.Child.id <= n).all()
    ),
    "Query.filter_by(...).first()": _one(lambda k: k.db.query(k.User).filter_by(a="a1").first()),
    "Query.with_parent": _held(
        lambda k, ps: lambda: [k.db.query(k.Child).filter(k.orm.with_parent(p, k.Parent.children)).all() for p in ps],
        "Parent",
    ),
    "Query.update": _rolled_back(
        lambda k, n: lambda: k.db.query(k.User).filter(k.User.id <= n).update({"a": "z"}, synchronize_session=False)
    ),
    "Query.delete": _rolled_back(
        lambda k, n: lambda: k.db.query(k.User).filter(k.User.id <= n).delete(synchronize_session=False)
    ),
    # results
    "Result.all": _result(lambda r: r.all()),
    "Result iteration": _result(list),
    "Result.first": _result(lambda r: r.first()),
    "Result.fetchone": _result(lambda r: list(iter(r.fetchone, None))),
    "Result.fetchmany": _result(lambda r: list(iter(lambda: r.fetchmany(100), []))),
    "Result.partitions": _result(lambda r: [len(page) for page in r.partitions(100)]),
    "Result.mappings": _result(lambda r: r.mappings().all()),
    "Result.scalars": _result(lambda r: r.scalars().all()),
    "Result.columns": _result(lambda r: r.columns(1).all()),
    "Result.tuples": _result(lambda r: r.tuples().all()),
    "Result.unique": _result(lambda r: r.unique().all()),
    "Result row attributes": _result(lambda r: [(row.id, row.a) for row in r]),
    "Result.freeze": _result(lambda r: r.freeze()().all()),
    "Result of entities": _scalar_result(lambda r: r.all()),
    "Result of entities, scalars iteration": _scalar_result(lambda r: list(r.scalars())),
    "Result of entities, unique": _scalar_result(lambda r: r.scalars().unique().all()),
    "Result of entities, freeze": _scalar_result(lambda r: r.freeze()().all()),
    "Result of entities, mappings": _scalar_result(lambda r: r.mappings().all()),
    "merge_frozen_result": _frozen,
    "yield_per partitions": _in_chunks,
    "Session.scalar": _one(lambda k: k.db.scalar(sa.select(sa.func.count(k.User.id)))),
    "Session.scalars one": _one(lambda k: k.db.scalars(sa.select(k.User).where(k.User.id == 1)).one()),
    "Session.execute scalar_one": _one(lambda k: k.db.execute(sa.select(k.User.a).where(k.User.id == 1)).scalar_one()),
    # DML
    "insert, bulk": _insert(lambda k: sa.insert(k.User), _rows),
    "insert, bulk returning entities": _insert(
        lambda k: sa.insert(k.User).returning(k.User), _keyless, lambda r: r.scalars().all()
    ),
    "insert, bulk returning id": _insert(
        lambda k: sa.insert(k.User).returning(k.User.id), _keyless, lambda r: r.scalars().all()
    ),
    "insert, values": _insert_values(lambda r: None, lambda k: ()),
    "insert, values returning id": _insert_values(lambda r: r.scalars().all(), lambda k: (k.User.id,)),
    "insert, values returning entity": _insert_values(lambda r: r.scalars().all(), lambda k: (k.User,)),
    "upsert": _insert(_upsert, _rows),
    "upsert returning entities": _insert(_upsert_returning, _rows, lambda r: r.scalars().all()),
    "insert from select": _dml(
        lambda k, n: sa.insert(k.Parent).from_select(
            ["id", "name"], sa.select(k.User.id + 1_000_000, k.User.a).where(k.User.id <= n)
        ),
        lambda r: None,
    ),
    "update, auto": _dml(lambda k, n: sa.update(k.User).where(k.User.id <= n).values(a="z")),
    "update, evaluate": _dml(
        lambda k, n: (
            sa.update(k.User).where(k.User.id <= n).values(a="z").execution_options(synchronize_session="evaluate")
        )
    ),
    "update, fetch": _dml(
        lambda k, n: (
            sa.update(k.User).where(k.User.id <= n).values(a="z").execution_options(synchronize_session="fetch")
        )
    ),
    "update, False": _dml(
        lambda k, n: sa.update(k.User).where(k.User.id <= n).values(a="z").execution_options(synchronize_session=False)
    ),
    "update, expression": _dml(lambda k, n: sa.update(k.User).where(k.User.id <= n).values(c=k.User.c + 1)),
    "update returning entities": _dml(
        lambda k, n: sa.update(k.User).where(k.User.id <= n).values(a="z").returning(k.User),
        lambda r: r.scalars().all(),
    ),
    "update returning columns": _dml(
        lambda k, n: sa.update(k.User).where(k.User.id <= n).values(a="z").returning(k.User.id), lambda r: r.all()
    ),
    "update by primary key": _insert(
        lambda k: sa.update(k.User), lambda k, n: [{"id": i, "a": "z"} for i in range(1, n + 1)]
    ),
    "delete, auto": _dml(lambda k, n: sa.delete(k.User).where(k.User.id <= n)),
    "delete, fetch": _dml(
        lambda k, n: sa.delete(k.User).where(k.User.id <= n).execution_options(synchronize_session="fetch")
    ),
    "delete, False": _dml(
        lambda k, n: sa.delete(k.User).where(k.User.id <= n).execution_options(synchronize_session=False)
    ),
    "delete returning": _dml(
        lambda k, n: sa.delete(k.User).where(k.User.id <= n).returning(k.User.id), lambda r: r.all()
    ),
    "bulk_insert_mappings": _rolled_back(lambda k, n: lambda: k.db.bulk_insert_mappings(k.User, _rows(k, n))),
    "bulk_update_mappings": _rolled_back(
        lambda k, n: lambda: k.db.bulk_update_mappings(k.User, [{"id": i, "a": "z"} for i in range(1, n + 1)])
    ),
}
