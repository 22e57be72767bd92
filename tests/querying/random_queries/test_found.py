"""What random queries have found: lines of Python that must do the same to both ORMs, watched and not."""

from __future__ import annotations

import pytest

from .compare import compare
from .steps import Program, Query

FOUND = {
    "synonyms and composites count as attributes": """
        u = s.get(User, 1)
        sorted(inspect(u).unloaded), sorted(inspect(u).unmodified)
        s.expire(u, ["home"])
        s.expire(u, ["nick"])
        "home" in u.__dict__, u.home, u.nick
    """,
    "subqueryload() goes by the row": """
        x = s.scalars(select(Person).options(defer("*"), subqueryload(Person.papers))).all()
        [len(p.papers) for p in x]
    """,
    "subqueryload() goes by the row, not by a change": """
        u = s.get(User, 2)
        u.boss_id = 4
        with s.no_autoflush: x = s.scalars(select(User).options(subqueryload(User.boss))).all()
        u.boss
    """,
    "subqueryload() without its key": """
        s.scalars(select(User).options(defer(User.boss_id), subqueryload(User.boss))).all()
    """,
    "subqueryload() of subclasses": "s.query(Animal).options(subqueryload(Animal.owner)).all()",
    "a parameter of the statement that subqueryload() embeds": """
        b = select(User).where(User.name == bindparam("n")).options(subqueryload(User.addresses))
        s.scalars(b, {"n": "a"}).all()
        s.scalars(b, {"n": "b"}).all()
        s.query(User).filter(User.name == bindparam("n")).options(subqueryload(User.tags)).params(n="a").all()
    """,
    "lazy='subquery' of get()": """
        s.get(Label, 1)
        s.get(Label, 2)
    """,
    "lazy='subquery' of a many-to-one": """
        a = s.scalars(select(Album).options(lazyload(Album.label), lazyload(Album.tracks))).all()
        [x.label for x in a]
    """,
    "subqueryload() after selectinload()": """
        s.scalars(select(User).options(selectinload(User.addresses).subqueryload(Address.dings))).all()
    """,
    "subqueryload() after lazyload()": """
        x = s.scalars(select(User).options(lazyload(User.addresses).subqueryload(Address.dings))).all()
        [u.addresses for u in x]
    """,
    "populate_existing and select-in loads of subclasses": """
        s.scalars(select(Shape).execution_options(populate_existing=True)).all()
        q = select(Person).options(selectin_polymorphic(Person, [Engineer]))
        s.scalars(q.execution_options(populate_existing=True)).all()
    """,
    "populate_existing leaves deferred values": """
        u = s.scalars(select(User)).all()
        s.scalars(select(User).options(load_only(User.age)).execution_options(populate_existing=True)).all()
        s.scalars(select(User).options(defer(User.age, raiseload=True)).execution_options(populate_existing=True)).all()
    """,
    "subqueryload() of an object that the load has met at another place": """
        s.scalars(select(Town).options(joinedload(Town.twin).subqueryload(Town.twin).joinedload(Town.region))).all()
    """,
    "subqueryload() of what another place has not loaded": """
        o = joinedload(User.boss).subqueryload(User.addresses)
        s.scalars(select(User).options(o, joinedload(User.animals).joinedload(Animal.owner))).unique().all()
        p = joinedload(Animal.owner).subqueryload(User.tags)
        q = joinedload(Animal.owner).subqueryload(User.addresses)
        a = s.scalars(select(Animal).options(q, joinedload(Animal.mother).options(p))).all()
        [x.owner for x in a]
    """,
    "subqueryload() after chunks of a select-in load": """
        q = select(Company).options(selectinload(Company.people, chunksize=2).subqueryload(Person.company))
        c = s.scalars(q).all()
        [[p.company for p in x.people] for x in c]
    """,
    "chunks of a select-in load lead on once": """
        q = select(User).options(selectinload(User.tags, chunksize=2).selectinload(Tag.users))
        s.scalars(q).all()
    """,
    "a query_expression() that was deferred has its default": """
        u = s.scalars(select(User).options(load_only(User.y))).all()
        u[0].rating, u[0].level
    """,
    "a refresh makes composites": """
        u = s.get(User, 1)
        s.refresh(u, ["home", "team"])
        u.name = "flushed"
        v = s.scalars(select(User)).all()
    """,
    "queries of one shape": """
        s.query(User).order_by(None).filter(User.id == 1).one()
        s.query(User).filter(User.id == 2).one()
        s.query(User).filter(User.id == 3).first()
        s.query(User).filter_by(id=4).all()
        s.scalars(select(User).where(User.id == 5)).one()
        s.query(Boss).filter(Boss.id == 7).one()
        s.query(Manager).filter(Manager.id == 3).one()
    """,
    "noload() of objects that are there": """
        a = s.scalars(select(Artist)).all()
        s.scalars(select(Artist).options(noload("*"))).all()
        [x.tracks for x in a]
    """,
    "lazy loads of joined inheritance": """
        e = s.get(Engineer, 2)
        e.mentor
        f = s.get(Engineer, 5)
        f.mentor
        n = s.get(Node, 3)
        n.parent
    """,
    "a lazy load passes by what is loaded": """
        t = s.scalars(select(Track).options(joinedload(Track.artist).load_only(Artist.id))).all()
        a = s.scalars(select(Album).options(lazyload("*"), lazyload(Album.tracks))).unique().all()
        [x.tracks for x in a]
    """,
    "subqueryload() is sent with the first row": """
        o = subqueryload(User.tags).options(selectinload(Tag.users.and_(User.y < 1)), selectinload(Tag.users))
        s.execute(select(User, User.note).options(o).execution_options(populate_existing=True)).unique().all()
        q = select(Animal).options(subqueryload(Animal.young).joinedload(Animal.mother))
        s.scalars(q.execution_options(populate_existing=True)).unique().all()
        a = s.scalars(q).all()
    """,
    "what an object has does not keep subqueryload() from leading on": """
        t = s.scalars(select(Town).options(selectinload(Town.region))).all()
        x = s.scalars(select(Town).options(subqueryload(Town.region).joinedload(Region.towns))).all()
    """,
    "populate_existing takes what another place of the row brings": """
        n = s.scalars(select(Node)).unique().all()
        s.scalars(select(Node).options(defer(Node.parent_id)).execution_options(populate_existing=True)).unique().all()
    """,
    "a refresh joins objects of their own class": """
        p = s.get(Paper, 2)
        s.refresh(p, ["id", "person"])
        q = s.get(Paper, 4)
        s.expire(q)
        q.person
    """,
    "a relationship that was loaded after an expiry, and expired by itself": """
        p = s.get(Paper, 5)
        s.refresh(p)
        s.expire(p, ["id", "person"])
        p.id
    """,
    "immediateload() of objects of the base class only": """
        p = s.scalars(select(Person).where(Person.id == 1).options(immediateload(Person.company))).all()
        q = s.scalars(select(Person).options(immediateload(Person.company))).all()
    """,
    "statements for subclasses are sent when there are rows of those that need them": """
        a = s.query(Animal).filter(Animal.owner == None).options(selectin_polymorphic(Animal, [Puppy, Cat])).all()
        p = s.query(Person).filter(Person.id.in_([3, 8])).options(selectin_polymorphic(Person, [Boss])).all()
        q = s.query(Person).filter(Person.id.in_([3, 7])).options(selectin_polymorphic(Person, [Boss])).all()
        m = s.query(Manager).options(immediateload(Manager.company), immediateload(Manager.pupils)).yield_per(1).all()
    """,
    "a scalar of a subclass with several rows is named by its relationship": """
        o = joinedload(Animal.mother.and_(Animal.mother_id != 1)).joinedload(Animal.mother, innerjoin=False)
        s.scalars(select(Animal).options(o.joinedload(Animal.mother).defaultload(Animal.young))).unique().all()
    """,
    "a query_expression() that was expired with all, and by name": """
        u = s.get(User, 3)
        s.expire(u)
        s.expire(u, ["level", "rating"])
        u.name, u.rating
        s.expire(u, ["rating"])
        u.age, u.rating
    """,
    "nothing more is loaded for rows that nobody fetches": """
        s.execute(select(Town).options(selectinload(Town.twin, recursion_depth=-1))).keys() and None
        s.execute(select(Shape)).close()
        s.execute(select(User).options(selectinload(User.addresses).subqueryload(Address.dings))).keys() and None
        s.execute(update(User).values(age=1).returning(User).options(selectinload(User.tags))).keys() and None
        r = s.scalars(select(Town).options(selectinload(Town.region), selectinload(Town.twin)))
        r.all()
    """,
    "a lazy load goes on when its autoflush has loaded the same": """
        u = s.get(User, 1)
        s.delete(u)
        [u.addresses]
        c = s.get(Company, 3)
        s.delete(c)
        c.shapes, c.people
    """,
    "an object at two places of a row loads as the first one says": """
        e = aliased(User)
        q = select(e, User).where(e.id <= 2, User.id <= 2)
        s.execute(q.options(lazyload(User.addresses.and_(Address.id > 1)))).all()
        [u.addresses for u in s]
        s.expunge_all()
        s.execute(q.options(raiseload(User.tags), defer(User.age), Load(User).noload(User.team))).all()
        [u.tags for u in s if u.id == 1]
        [u.team for u in s]
    """,
    "options that RETURNING has no use for": """
        q = update(User).values(age=3).where(User.id < 3).returning(User)
        s.scalars(q.options(subqueryload(User.team))).all()
        s.scalars(q.options(subqueryload(User.team), joinedload(User.addresses))).all()
        s.scalars(insert(Tag).returning(Tag).options(subqueryload(Tag.users)), [dict(name="a")]).all()
    """,
    "yield_per with collections of subclasses": """
        o = joinedload(Paper.person.of_type(Engineer)).joinedload(Engineer.machines)
        q = select(Paper).options(o).execution_options(yield_per=2)
        [p.name for p in s.scalars(q)]
        s.scalars(q).unique().all()
        o = selectin_polymorphic(Person, [Engineer])
        q = select(Person).options(o, joinedload(Engineer.machines)).execution_options(yield_per=2)
        [p.name for p in s.scalars(q)]
        s.scalars(select(Person).options(o, subqueryload(Engineer.machines)).execution_options(yield_per=2)).all()
        e = with_polymorphic(Person, [Engineer])
        [p.name for p in s.scalars(select(e).options(joinedload(e.Engineer.machines)).execution_options(yield_per=2))]
        [p.name for p in s.scalars(select(User).options(joinedload(User.tags)).execution_options(yield_per=2))]
    """,
    "column options of concrete classes": """
        s.scalars(select(Barge).options(load_only(Barge.name))).all()
        s.scalars(select(Vessel).options(load_only(Vessel.name), undefer("*"))).all()
        s.scalars(select(with_polymorphic(Vessel, "*", flat=True)).options(defer("*"))).all()
        [(v.name, v.tons) for v in s.scalars(select(Vessel).options(defer(Vessel.tons)))]
        s.scalars(select(Vessel).options(selectin_polymorphic(Vessel, [Barge, Tug]))).all()
    """,
    "columns of concrete classes that nothing selects": """
        s.scalars(select(Port).where(exists().where(Barge.port_id == Port.id))).all()
        s.scalars(select(Port.id).where(Vessel.id > 3)).all()
        s.scalars(select(Port).where(exists(Barge.length).where(Barge.port_id == Port.id))).all()
        s.scalars(select(Port.id).where(Barge.length > 3)).all()
        s.scalars(select(Port).join(Port.vessels).where(Vessel.tons > 5)).unique().all()
    """,
    "the identity token of a row that says another class": """
        t = select(Puppy).from_statement(text("SELECT * FROM animals")).execution_options(identity_token="t")
        s.scalars(t).all()
    """,
    "a statement is refused by the name of the method": """
        s.query(User).from_statement(select(User))[1:2]
        s.query(User).from_statement(select(User)).limit(1)
        s.query(User).from_statement(select(User)).offset(1)
        s.query(User).from_statement(select(User)).order_by(User.id)
        s.query(User).limit(1).order_by(User.id)
    """,
}


@pytest.mark.parametrize("is_watched", [True, False], ids=["Core", "lane"])
@pytest.mark.parametrize("name", FOUND)
def test_found(name: str, is_watched: bool) -> None:
    lines = [line.strip() for line in FOUND[name].strip().splitlines()]
    steps = [Query((line,), "None", (), "{}") if _is_statement(line) else Query((), line, (), "{}") for line in lines]
    difference = compare(Program(tuple(steps), autoflush=True, is_watched=is_watched))
    assert difference is None, difference.describe(Program(tuple(steps), True, is_watched))


def _is_statement(line: str) -> bool:
    try:
        compile(line, "", "eval")
    except SyntaxError:
        return True
    return False
