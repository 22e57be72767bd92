"""Writes random queries: source code that means the same to both ORMs."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from .options import OptionWriter
from .scope import Entity, Scope
from .shapes import Shape, shapes
from .steps import Program, Query, Touch

# Where a query begins, more often the classes with more to load
ROOTS = str.split(
    "User User User User Address Tag Profile Node Company Company Person Person Person Engineer Manager Boss Paper "
    "Machine Shape Shape Circle Region Region Town Town Label Album Album Track Artist Animal Animal Dog Puppy Cat Bone"
)
TOUCHES = {
    "read": 12,
    "read_all": 3,
    "expire": 2,
    "expire_one": 2,
    "refresh": 1,
    "refresh_one": 2,
    "set": 1,
    "expunge": 1,
    "get": 1,
}


def program(seed: int) -> Program:
    """The program of a seed."""
    rnd = random.Random(seed)
    steps: list[Query | Touch] = []
    for _ in range(rnd.choice((1, 1, 2, 2, 3))):
        steps.append(_Writer(rnd).write())
        for _ in range(rnd.randrange(8)):
            kind = rnd.choices(list(TOUCHES), list(TOUCHES.values()))[0]
            steps.append(Touch(kind, rnd.randrange(1000), rnd.randrange(1000)))
    return Program(tuple(steps), autoflush=rnd.random() < 0.8, is_watched=rnd.random() < 0.6)


@dataclass
class _Writer:
    """Writes one query."""

    rnd: random.Random
    scope: Scope = field(init=False)

    def __post_init__(self) -> None:
        self.scope = Scope(self.rnd)

    def chance(self, p: float) -> bool:
        return self.rnd.random() < p

    def write(self) -> Query:
        kind = self.rnd.choices(("select", "query", "dml", "union"), (10, 6, 1, 1.5))[0]
        found: Query = getattr(self, f"_{kind}")()
        return found

    # --- entities ----------------------------------------------------------------------------------------------------

    def _root(self) -> Entity:
        return self.scope.entity(self.rnd.choice(ROOTS))

    def _shape(self, entity: Entity) -> Shape:
        return shapes()[entity.class_name]

    # --- select ------------------------------------------------------------------------------------------------------

    def _select(self) -> Query:
        roots = [self._root()]
        if self.chance(0.12) and roots[0].class_name != "Label":
            second = self.rnd.choice([name for name in ROOTS if name != "Label"])
            roots.append(self.scope.entity(second))
        items = [root.name for root in roots]
        has_rows = len(items) > 1
        if self.chance(0.15):
            items.append(self.scope.column(roots[0]) if self.chance(0.6) else self.scope.expression(roots[0]))
            has_rows = True
        if self.chance(0.06):
            a, b = self.scope.column(roots[0]), self.scope.column(roots[0])
            items = [f"Bundle('pair', {a}, {b}{', single_entity=True' if self.chance(0.3) else ''})"]
            has_rows = True
        elif self.chance(0.1):
            items = [self.scope.column(roots[0]) for _ in range(self.rnd.randrange(1, 4))]
            has_rows = True
        calls = self._joins(roots, 0.4) + self._filters("where", "filter_by")
        if len(roots) > 1 and self.chance(0.8):
            calls.append(
                f".where({roots[0].name}.{self.scope.key(roots[0])} == {roots[1].name}.{self.scope.key(roots[1])})"
            )
        calls += self._group(items) if all("." in item and "(" not in item for item in items) else []
        calls += self._order_and_limit()
        if self.chance(0.1):
            calls.append(".distinct()")
        if self.chance(0.05):
            calls.append(self.rnd.choice((".with_for_update()", f".with_for_update(of={roots[0].name})")))
        calls += self._options(roots, 0.75)
        if len(roots) > 1:
            # the order of its FROM list is that of a set in SQLAlchemy
            calls = [call.replace("subqueryload", "selectinload") for call in calls]
        if self.chance(0.1):
            self.rnd.shuffle(calls)
        calls += self._execution_options()
        return Query(tuple(self.scope.setup), f"select({', '.join(items)})", tuple(calls), self._end(has_rows))

    def _joins(self, roots: list[Entity], p: float) -> list[str]:
        calls = []
        while self.chance(p) and len(calls) < 3:
            source = self.rnd.choice(self.scope.joinable)
            relations = self._shape(source).relations
            if not relations:
                continue
            relation = self.rnd.choice(relations)
            attribute = f"{source.name}.{relation.key}"
            call = "outerjoin" if self.chance(0.4) else "join"
            way = self.rnd.choice(("plain", "plain", "target", "of_type", "and", "full", "condition"))
            if way == "plain" or (way == "and" and not self.scope.is_free(relation.target)):
                if not self.scope.is_free(relation.target):
                    way = "of_type"
                else:
                    target = self.scope.join(source, relation, Entity(relation.target, relation.target))
                    calls.append(f".{call}({attribute})")
                    continue
            target = self.scope.join(source, relation, self.scope.entity(relation.target, target=way != "and"))
            if way == "target":
                calls.append(f".{call}({target.name}, {attribute})")
            elif way == "of_type":
                calls.append(f".{call}({attribute}.of_type({target.name}))")
            elif way == "and":
                criterion = self.scope.simple(Entity(relation.target, relation.target))
                calls.append(f".{call}({attribute}.of_type({target.name}).and_({criterion}))")
            elif way == "full":
                calls.append(f".join({attribute}.of_type({target.name}), isouter={self.chance(0.5)})")
            else:
                left, right = self.scope.key(source), self.scope.key(target)
                calls.append(f".{call}({target.name}, {source.name}.{left} == {target.name}.{right})")
                self.scope.joins.pop()
        return calls

    def _filters(self, where: str, by: str) -> list[str]:
        calls = []
        while self.chance(0.5) and len(calls) < 3:
            calls.append(f".{where}({self.scope.criterion()})")
        if self.chance(0.06):
            entity = self.scope.entities[-1]
            column = self.rnd.choice(self._shape(entity).columns)
            calls.append(f".{by}({column}={self.scope.value(column, entity)})")
        return calls

    def _group(self, items: list[str]) -> list[str]:
        if not self.chance(0.3):
            return []
        calls = [f".group_by({', '.join(items)})"]
        if self.chance(0.4):
            calls.append(".having(func.count() > 0)")
        return calls

    def _order_and_limit(self) -> list[str]:
        calls = []
        if self.chance(0.6):
            column = self.scope.column(self.rnd.choice(self.scope.entities))
            root = self.scope.entities[0]
            keys = ", ".join(f"{root.name}.{key}" for key in self.scope.keys(root))
            calls.append(f".order_by({column}{self.rnd.choice(('', '', '.desc()', '.desc().nulls_last()'))}, {keys})")
        if self.chance(0.2):
            calls.append(f".limit({self.rnd.randrange(1, 5)})")
        if self.chance(0.1):
            calls.append(f".limit(4).offset({self.rnd.randrange(3)})")
        return calls

    def _options(self, roots: list[Entity], p: float) -> list[str]:
        writer = OptionWriter(self.rnd, self.scope)
        calls = []
        while self.chance(p) and len(calls) < 4:
            calls.append(f".options({writer.option(self.rnd.choice(roots))})")
            p *= 0.7
        return calls

    def _execution_options(self) -> list[str]:
        found = []
        if self.chance(0.15):
            found.append("populate_existing=True")
        if self.chance(0.08):
            found.append(f"yield_per={self.rnd.randrange(1, 5)}")
        if self.chance(0.05):
            found.append("autoflush=False")
        if self.chance(0.03):
            found.append("identity_token='t'")
        return [f".execution_options({', '.join(found)})"] if found else []

    def _end(self, has_rows: bool) -> str:
        if has_rows:
            return self.rnd.choice(
                (
                    "s.execute({}).all()",
                    "s.execute({}).unique().all()",
                    "s.execute({}).first()",
                    "s.execute({}).mappings().all()",
                    "list(s.execute({}))",
                )
            )
        return self.rnd.choice(
            (
                "s.scalars({}).all()",
                "s.scalars({}).unique().all()",
                "s.scalars({}).unique().all()",
                "s.scalars({}).unique().all()",
                "s.execute({}).unique().all()",
                "s.scalars({}).first()",
                "s.scalars({}).unique().one_or_none()",
                "s.scalar({})",
                "list(s.scalars({}).unique())",
                "list(s.scalars({}).unique().partitions(2))",
                "s.execute({}).freeze()().unique().all()",
                "s.scalar(select(func.count()).select_from({}.subquery()))",
                "s.scalar(select({}.exists()))",
            )
        )

    # --- unions ------------------------------------------------------------------------------------------------------

    def _union(self) -> Query:
        name = self.rnd.choice(ROOTS)
        entity = Entity(name, name)
        parts = []
        for _ in range(2):
            self.scope.entities = [entity]
            parts.append(f"select({name}){''.join(self._filters('where', 'filter_by'))}")
        union = self.rnd.choice(("union", "union_all", "intersect", "except_"))
        self.scope.setup.append(f"u = {parts[0]}.{union}({parts[1]})")
        if self.chance(0.5):
            self.scope.setup.append(f"e = aliased({name}, u.subquery())")
            entity = self.scope.add(Entity("e", name))
            calls = self._joins([entity], 0.3) + self._filters("where", "filter_by") + self._order_and_limit()
            start = "select(e)"
        else:
            calls, start = [], f"select({name}).from_statement(u{self.rnd.choice(('', '', '.order_by(None)'))})"
        self.scope.entities = [entity]
        calls += self._options([entity], 0.6) + self._execution_options()
        return Query(tuple(self.scope.setup), start, tuple(calls), self._end(False))

    # --- Query -------------------------------------------------------------------------------------------------------

    def _query(self) -> Query:
        roots = [self._root()]
        items = [roots[0].name]
        if self.chance(0.15):
            items.append(self.scope.column(roots[0]))
        elif self.chance(0.1):
            items = [self.scope.column(roots[0]) for _ in range(2)]
        calls = self._joins(roots, 0.35) + self._filters("filter", "filter_by")
        calls += self._order_and_limit()
        calls += self._options(roots, 0.7)
        extra = (
            ".distinct()",
            ".populate_existing()",
            f".yield_per({self.rnd.randrange(1, 4)})",
            ".enable_eagerloads(False)",
            ".autoflush(False)",
            ".with_for_update()",
            f".add_columns({self.scope.column(roots[0])})",
            f".with_entities({self.scope.column(roots[0])})",
            ".slice(1, 3)",
            ".order_by(None)",
            ".reset_joinpoint()",
            f".union(s.query({roots[0].name}))",
            f".union_all(s.query({roots[0].name}).filter({self.scope.simple(roots[0])}))",
            f".except_(s.query({roots[0].name}).filter({self.scope.simple(roots[0])}))",
            f".filter({self.scope.simple(roots[0])})",
            ".execution_options(populate_existing=True)",
            f".group_by({self.scope.column(roots[0])})",
            ".only_return_tuples(True)",
            f".select_from({roots[0].name})",
            ".enable_assertions(False)",
        )
        while self.chance(0.25):
            calls.append(self.rnd.choice(extra))
        end = self.rnd.choice(
            (
                "{}.all()",
                "{}.all()",
                "{}.all()",
                "{}.first()",
                "{}.one_or_none()",
                "{}.count()",
                "list({})",
                "{}[1:3]",
                "{}[0]",
                "s.query({}.exists()).scalar()",
                "{}.scalar()",
                "s.execute({}.statement).unique().all()",
                "s.query({}.subquery()).all()",
                "{}.column_descriptions and None",
                "str({})",
            )
        )
        return Query(tuple(self.scope.setup), f"s.query({', '.join(items)})", tuple(calls), end)

    # --- UPDATE and DELETE -------------------------------------------------------------------------------------------

    def _dml(self) -> Query:
        name = self.rnd.choice([n for n in ROOTS if n not in ("Engineer", "Manager", "Boss", "Circle", "Region")])
        entity = self.scope.add(Entity(name, name))
        where = "".join(f".where({self.scope.criterion()})" for _ in range(self.rnd.randrange(3)))
        way = self.rnd.choice(("'auto'", "'evaluate'", "'fetch'", "False"))
        if self.chance(0.6):
            value = self.rnd.choice((f"{name}.name + '?'", "'new'", "func.upper('x')", f"{name}.name", "None"))
            start = f"update({name}){where}.values(name={value})"
        else:
            start = f"delete({name}){where}"
        calls = [f".execution_options(synchronize_session={way})"]
        end = "s.execute({}).rowcount"
        if self.chance(0.3):
            calls.append(f".returning({name if self.chance(0.5) else self.scope.column(entity)})")
            end = "s.execute({}).all()"
        return Query(tuple(self.scope.setup), start, tuple(calls), end)
