"""Writes reads that are no plain SELECT: by key, of write-only and dynamic collections, and streams that are left."""

from __future__ import annotations

from .clauses import ROOTS, ClauseWriter
from .scope import Entity
from .shapes import shapes
from .steps import Query

NEW = ("Tag", "Address", "Node", "Company", "Artist", "Animal", "Puppy", "Engineer", "Square")


class ReadWriter(ClauseWriter):
    """One read."""

    def write(self) -> Query:
        kind = self.rnd.choices(("by_key", "written", "dynamic", "stream", "pending"), (3, 2, 2, 4, 3))[0]
        found: Query = getattr(self, f"_{kind}")()
        return found

    # --- by key ------------------------------------------------------------------------------------------------------

    def _by_key(self) -> Query:
        name = self.rnd.choice(ROOTS)
        entity = Entity(name, name)
        key = self.rnd.choice((*shapes()[name].keys, (99,) * len(self.scope.keys(entity)), (None,)))
        given: list[str] = []
        options = [call.removeprefix(".options(")[:-1] for call in self._options([entity], 0.6)]
        if options:
            given.append(f"options=[{', '.join(options)}]")
        if self._chance(0.2):
            given.append("populate_existing=True")
        if self._chance(0.1):
            given.append(self.rnd.choice(("with_for_update=True", "with_for_update={'read': True}")))
        if self._chance(0.1):
            given.append("identity_token='t'")
        if self._chance(0.1):
            given.append("execution_options={'autoflush': False}")
        arguments = "".join(f", {one}" for one in given)
        named = dict(zip(self.scope.keys(entity), key, strict=False))
        start = self.rnd.choice(
            (
                f"s.get({name}, {key!r}{arguments})",
                f"s.get({name}, {key!r}{arguments})",
                f"s.get({name}, {named!r}{arguments})",
                f"s.get({name}, {key[0]!r}{arguments})",
                f"s.get_one({name}, {key!r}{arguments})",
                f"s.query({name}){''.join(f'.options({one})' for one in options)}.get({key!r})",
                f"s.query({name}).populate_existing().get({key!r})",
            )
        )
        return Query(tuple(self.scope.setup), f"[{start}]", (), "{}[0]")

    # --- write-only and dynamic collections --------------------------------------------------------------------------

    def _albums(self) -> list[str]:
        calls = []
        album = self.scope.add(Entity("Album", "Album"))
        if self._chance(0.5):
            calls.append(f".where({self.scope.criterion()})")
        if self._chance(0.3):
            calls += self._order_and_limit()
        if self._chance(0.2):
            calls.append(".join(Album.tracks)")
        return calls + self._options([album], 0.6)

    def _written(self) -> Query:
        self.scope.setup.append(f"l = s.get(Label, {self.rnd.randrange(1, 4)})")
        way = self.rnd.choice(("select", "select", "select", "insert", "update", "delete", "change"))
        if way == "select":
            calls = [*self._albums(), *self._execution_options()]
            return Query(tuple(self.scope.setup), "l.written.select()", tuple(calls), self._end(has_rows=False))
        if way == "insert":
            start = f"l.written.insert(){self.rnd.choice(('', '.returning(Album)', '.returning(Album.id)'))}"
            return Query(
                tuple(self.scope.setup), start, (), "s.execute({}, [dict(id=301, name='i'), dict(id=302)]).close()"
            )
        if way == "change":
            album = f"s.get(Album, {self.rnd.randrange(1, 5)})"
            change = self.rnd.choice(
                (
                    f"add({album})",
                    f"remove({album})",
                    "add_all([Album(id=303, name='n'), Album(id=304)])",
                    f"add_all([{album}])",
                )
            )
            start = f"l.written.{change}, s.scalars(l.written.select()).unique().all()"
            return Query(tuple(self.scope.setup), f"[{start}]", (), "{}[1]")
        where = f".where({self.scope.simple(Entity('Album', 'Album'))})" if self._chance(0.5) else ""
        start = f"l.written.{way}(){where}{'.values(name=Album.name + 1)' if way == 'update' else ''}"
        ways = self.rnd.choice(("'auto'", "'evaluate'", "'fetch'", "False"))
        return Query(
            tuple(self.scope.setup),
            start,
            (f".execution_options(synchronize_session={ways})",),
            "s.execute({}).rowcount",
        )

    def _dynamic(self) -> Query:
        self.scope.setup.append(f"l = s.get(Label, {self.rnd.randrange(1, 4)})")
        calls = self._albums()
        end = self.rnd.choice(
            (
                "{}.all()",
                "{}.first()",
                "{}.count()",
                "list({})",
                "{}[0:2]",
                "{}.one_or_none()",
                "s.query({}.exists()).scalar()",
                "{}.with_entities(Album.name).all()",
                "str({})",
                "{}.filter_by(name='a').all()",
                "{}.order_by(None).order_by(Album.name).all()",
                "s.execute({}.statement).unique().all()",
                "{}.distinct().all()",
                "{}.options(selectinload(Album.tracks)).all()",
                "{}.limit(1).all()",
                "{}.get(1)",
                "{}.update(dict(name='d'), synchronize_session='fetch')",
                "{}.delete(synchronize_session='evaluate')",
                "{}.yield_per(1).enable_eagerloads(False).all()",
            )
        )
        return Query(tuple(self.scope.setup), "l.stream", tuple(calls), end)

    # --- streams -----------------------------------------------------------------------------------------------------

    def _stream(self) -> Query:
        """A result that is read in parts, changed or left in the middle."""
        entity = self._root()
        name = entity.name
        calls = self._filters("where", "filter_by") + self._order_and_limit() + self._options([entity], 0.6)
        size = self.rnd.randrange(1, 4)
        if self._chance(0.7):
            calls.append(f".execution_options(yield_per={size})")
        if self._chance(0.1):
            calls.append(".execution_options(stream_results=True)")
        cls = entity.class_name
        everything = f"s.scalars(select({cls})).unique().all()"
        meanwhile = self.rnd.choice(
            (
                "s.flush()",
                "s.expire_all()",
                "s.commit()",
                "s.rollback()",
                everything,
                f"s.execute(update({cls}).values(name='meanwhile').execution_options(synchronize_session='evaluate')).rowcount",
                f"s.scalars(select({cls}).execution_options(populate_existing=True)).unique().all()",
                "r.close()",
                "gc.collect() and None",
            )
        )
        plain = "s.scalars({})"
        unique = "s.scalars({}).unique()"
        result = self.rnd.choice(
            (plain, plain, plain, unique, "s.execute({})", "s.execute({}).scalars()", "s.execute({}).mappings()")
        )
        end = self.rnd.choice(
            (
                f"[(r := {result}), r.fetchmany(1), {meanwhile}, r.all()][1::2]",
                f"[(r := {result}), next(r, None), {meanwhile}, r.fetchmany(2), r.all()][1::2]",
                f"[o for o, _ in zip({result}, range(2))]",
                f"[(r := {result}), [o for o, _ in zip(r, range(2))], {meanwhile}, {everything}][1::2]",
                f"[list(part) for part in {result}.partitions({size})]",
                f"[(r := {result}), next(r.partitions({size}), None), {meanwhile}, list(r.partitions(2))][1::2]",
                f"[(r := {result}), r.first(), r.closed][1:]"
                if "execute({})" in result[:13] and result.endswith("({})")
                else f"{result}.first()",
                f"{result}.yield_per({size}).all()" if result in (plain, "s.execute({})") else f"{result}.all()",
                f"list({result})",
                f"[(r := {result}), {meanwhile}, r.all()][2]",
            )
        )
        return Query(tuple(self.scope.setup), f"select({name})", tuple(calls), end)

    # --- reads that find the session with changes --------------------------------------------------------------------

    def _pending(self) -> Query:
        """What waits to be flushed, and a query that may flush it."""
        setup = []
        for number in range(self.rnd.randrange(1, 4)):
            name = self.rnd.choice(NEW)
            user = f"u{number}"
            setup.append(f"{user} = s.get(User, {self.rnd.randrange(1, 7)})")
            setup.append(
                self.rnd.choice(
                    (
                        f"s.add({name}(id={401 + number}, name='p{number}'))",
                        f"s.add({name}(name='p{number}'))",
                        f"s.add(Address(id={401 + number}, name='p', user={user}))",
                        f"{user}.addresses.append(Address(name='appended'))",
                        f"{user}.tags.append(Tag(name='tagged'))",
                        f"{user}.age = {self.rnd.choice(('99', 'User.age + 1', 'None'))}",
                        f"{user}.home = Home(0, {number})",
                        f"s.get(Person, {self.rnd.randrange(1, 9)}).name = 'changed'",
                        f"s.get(Node, {self.rnd.randrange(1, 8)}).parent = None",
                        f"n = s.get(Node, {self.rnd.randrange(1, 8)}); n.children.append(Node(name='c'))",
                        f"s.delete(s.get(Tag, {self.rnd.randrange(1, 5)}))",
                        f"s.delete(s.get(Machine, {self.rnd.randrange(1, 5)}))",
                        f"c = s.get(Company, {self.rnd.randrange(1, 4)}); c.people = []",
                        f"{user}.name = func.upper('sql')",
                        "s.add(Track(id=401, name='t', album_id=1, artist_id=1))",
                        f"s.get(Town, {self.rnd.randrange(1, 7)}).region = s.get(Region, ('fr', 9))",
                    )
                )
            )
        self.scope.setup = setup
        entity = self._root()
        calls = self._joins([entity], 0.3) + self._filters("where", "filter_by") + self._order_and_limit()
        calls += self._options([entity], 0.6) + self._execution_options()
        return Query(tuple(self.scope.setup), f"select({entity.name})", tuple(calls), self._end(has_rows=False))
