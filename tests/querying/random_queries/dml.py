"""Writes INSERTs, upserts, UPDATEs and DELETEs of entities, and the bulk methods of sessions."""

from __future__ import annotations

from .clauses import ROOTS, ClauseWriter
from .scope import Entity
from .steps import Query

SORTED = ", sort_by_parameter_order=True"
# Classes that can be written by key and name alone
NAMED = ("Tag", "Address", "Node", "Company", "Artist", "Label", "Town", "Person", "Engineer", "Boss", "Dog", "Circle")
# Keys with a row, and without
OLD, NEW = (1, 2, 3), (101, 102, 103)
WAYS = ("'auto'", "'evaluate'", "'fetch'", "False")


class DmlWriter(ClauseWriter):
    """One statement that writes."""

    def write(self) -> Query:
        kind = self.rnd.choices(("insert", "upsert", "criteria", "by_key", "bulk"), (2, 4, 6, 3, 2))[0]
        found: Query = getattr(self, f"_{kind}")()
        return found

    # --- rows --------------------------------------------------------------------------------------------------------

    def _rows(self, name: str, count: int, usual: tuple[int, ...]) -> list[str]:
        """Rows of a class, as dictionaries in source code; their keys differ, and are most often the usual ones."""
        rows = []
        has_number = self._chance(0.4)
        number = "rank" if name == "Address" else "parent_id" if name == "Node" else ""
        for key in self.rnd.sample(usual if self._chance(0.85) else OLD + NEW, count):
            row = f"id={key}, name={self.rnd.choice('abq')!r}"
            if number and has_number:
                row += f", {number}={self.rnd.choice((1, 2, None, 'literal(1) + 1'))}"
            rows.append(f"dict({row})")
        return rows

    @staticmethod
    def _list(rows: list[str]) -> str:
        return f"[{', '.join(rows)}]"

    def _returning(self, name: str, extra: str = "") -> str:
        found = self.rnd.choice((name, name, f"{name}.name", f"{name}.id, {name}", f"Bundle('b', {name}.name)"))
        return f".returning({found}{extra})"

    def _loads(self, name: str) -> list[str]:
        """Options for the objects that are returned."""
        calls = self._options([Entity(name, name)], 0.3)
        if self._chance(0.4):
            calls.append(".execution_options(populate_existing=True)")
        return calls

    # --- INSERT ------------------------------------------------------------------------------------------------------

    def _insert(self) -> Query:
        name = self.rnd.choice(NAMED)
        rows = self._rows(name, self.rnd.choice((1, 2, 3)), NEW)
        start, given, calls = f"insert({name})", f", {self._list(rows)}", []
        if self._chance(0.3):
            given = ""
            start += f".values({rows[0] if self._chance(0.5) else self._list(rows)})"
        elif self._chance(0.15):
            given = ""
            source = self.rnd.choice(("Tag", "Artist"))
            start += f".from_select(['id', 'name'], select({source}.id + 200, {source}.name))"
        end = f"s.execute({{}}{given}).close()"
        if self._chance(0.6):
            calls.append(self._returning(name, SORTED if given and self._chance(0.6) else ""))
            calls += self._loads(name)
            end = self.rnd.choice((f"s.execute({{}}{given}).unique().all()", f"s.scalars({{}}{given}).unique().all()"))
        return Query(tuple(self.scope.setup), start, tuple(calls), end)

    def _upsert(self) -> Query:
        """INSERT … ON CONFLICT of SQLite."""
        name = self.rnd.choice(("Tag", "Address", "Node", "Company", "Artist", "Label", "Town", "Animal"))
        rows = self._rows(name, self.rnd.choice((1, 2, 3)), OLD + NEW)
        is_many = self._chance(0.4)
        values = "" if is_many else f".values({rows[0] if self._chance(0.4) else self._list(rows)})"
        given = f", {self._list(rows)}" if is_many else ""
        self.scope.setup.append(f"i = upsert({name}){values}")
        elements = self.rnd.choice(("['id']", f"[{name}.id]", f"[{name}.__table__.c.id]"))
        new = self.rnd.choice(("i.excluded.name", "'new'", f"{name}.name + '!'", f"i.excluded.name + {name}.name"))
        where = f", where={name}.name != 'a'" if self._chance(0.2) else ""
        calls = [
            self.rnd.choice(
                (
                    ".on_conflict_do_nothing()",
                    f".on_conflict_do_nothing(index_elements={elements})",
                    f".on_conflict_do_update(index_elements={elements}, set_=dict(name={new}){where})",
                    f".on_conflict_do_update(index_elements={elements}, set_=dict(name={new}){where})",
                    f".on_conflict_do_update(index_elements={elements}, set_={{{name}.name: {new}}}{where})",
                )
            )
        ]
        end = f"s.execute({{}}{given}).close()"
        if self._chance(0.7):
            calls.append(self._returning(name, SORTED if is_many and self._chance(0.3) else ""))
            calls += self._loads(name)
            end = self.rnd.choice((f"s.execute({{}}{given}).unique().all()", f"s.scalars({{}}{given}).unique().all()"))
        return Query(tuple(self.scope.setup), "i", tuple(calls), end)

    # --- UPDATE and DELETE by criteria -------------------------------------------------------------------------------

    def _value(self, entity: Entity) -> str:
        name = entity.name
        values = [f"{name}.name + '?'", "'new'", "func.upper('x')", f"{name}.name", "None", "literal_column(\"'l'\")"]
        values.append(f"case(({self.scope.simple(entity)}, 'c'), else_={name}.name)")
        values.append("select(func.max(Tag.name)).scalar_subquery()")
        return self.rnd.choice(values)

    def _criteria(self) -> Query:
        name = self.rnd.choice([n for n in ROOTS if n not in ("Manager", "Boss", "Region")])
        entity = self.scope.add(Entity(name, name))
        where = "".join(f".where({self.scope.criterion()})" for _ in range(self.rnd.randrange(3)))
        if self._chance(0.08):
            where += f".filter_by(name={self.rnd.choice('abc')!r})"
        if self._chance(0.65):
            value = self._value(entity)
            values = f".values(name={value})"
            if self._chance(0.25):
                values = f".values({{{name}.name: {value}}})"
            elif name == "User" and self._chance(0.5):
                values = self.rnd.choice(
                    (
                        f".values(name={value}, age=User.age + 1)",
                        ".values(nick='via a synonym')",
                        ".values(home=Home(8, 9))",
                        ".ordered_values((User.age, 5), (User.name, 'o'))",
                        ".values(address_count=3)",
                    )
                )
            start = f"update({name}){where}{values}"
            if self._chance(0.1):
                start = f"update({name}){values}{where}.where({name}.id == Address.id)"
        else:
            start = f"delete({name}){where}"
        calls = []
        if self._chance(0.15):
            calls.append(f".options(with_loader_criteria({name}, {self.scope.simple(entity)}))")
        calls.append(f".execution_options(synchronize_session={self.rnd.choice(WAYS)})")
        end = "s.execute({}).rowcount"
        if self._chance(0.35):
            calls.append(self._returning(name))
            calls += self._loads(name)
            end = self.rnd.choice(("s.execute({}).all()", "s.scalars({}).unique().all()", "s.scalars({}).first()"))
        return Query(tuple(self.scope.setup), start, tuple(calls), end)

    # --- UPDATE by primary key ---------------------------------------------------------------------------------------

    def _by_key(self) -> Query:
        name = self.rnd.choice((*NAMED, "User"))
        rows = self._rows(name, self.rnd.choice((1, 2)), OLD)
        start = f"update({name})"
        calls = []
        if self._chance(0.2):
            start += f".where({self.scope.simple(Entity(name, name))})"
        if self._chance(0.2):
            start += f".values(name={name}.name + 'v')"
        if self._chance(0.5):
            calls.append(f".execution_options(synchronize_session={self.rnd.choice(('None', *WAYS))})")
        if self._chance(0.1):
            calls.append(f".returning({name})")
        return Query((), start, tuple(calls), f"s.execute({{}}, {self._list(rows)}).close()")

    # --- bulk methods ------------------------------------------------------------------------------------------------

    def _bulk(self) -> Query:
        name = self.rnd.choice(NAMED)
        rows = self._rows(name, 2, OLD + NEW)
        given = self._list(rows)
        objects = given.replace("dict(", f"{name}(")
        defaults = self.rnd.choice(("", ", return_defaults=True"))
        nulls = self.rnd.choice(("", ", render_nulls=True"))
        start = self.rnd.choice(
            (
                f"s.bulk_insert_mappings({name}, {given}{defaults}{nulls})",
                f"s.bulk_update_mappings({name}, {given})",
                f"s.bulk_save_objects({objects}{defaults})",
                f"s.bulk_save_objects({objects}, preserve_order=False)",
                f"s.bulk_save_objects(s.scalars(select({name})).unique().all())",
                f"s.bulk_save_objects([setattr(o, 'name', 'bulk') or o for o in s.scalars(select({name})).unique()])",
                f"s.add_all({objects})",
                f"[s.merge(o) for o in {objects}]",
            )
        )
        after = f"s.scalars(select({name}.name).order_by({name}.id)).all()"
        return Query((), start, (), f"({{}}, s.flush(), {after})")
