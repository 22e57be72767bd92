"""Writes random queries: source code that means the same to both ORMs."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from .options import OptionWriter
from .scope import Entity, Scope
from .shapes import Shape, shapes
from .steps import Program, Query, Touch

# Each object of the result once more, from a result that was frozen
FROZEN = "loading.merge_frozen_result(s, {0}, s.execute({0}).unique().freeze(), load=False)().unique().all()"
SORTED = ", sort_by_parameter_order=True"
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
    "merge": 1,
    "relate": 1,
    "delete": 0.5,
    "expire_all": 0.5,
    "rollback": 0.5,
    "savepoint": 0.5,
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
    # the class of a second query, inside of the first
    _other_name: str = ""

    def __post_init__(self) -> None:
        self.scope = Scope(self.rnd)

    def chance(self, p: float) -> bool:
        return self.rnd.random() < p

    def write(self) -> Query:
        kind = self.rnd.choices(("select", "query", "dml", "union", "other", "insert"), (10, 6, 1, 1.5, 2, 0.5))[0]
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
                    "s.execute({}).unique().columns(0).all()",
                    "s.execute({}).unique().scalars(0).all()",
                    "s.execute({}).unique().keys() and None",
                    "s.execute({}).unique().fetchmany(2)",
                    "s.execute({}).unique().one_or_none()",
                    "s.execute({}).unique(str).all()",
                    FROZEN,
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
                FROZEN,
                "s.scalars({}).unique().fetchmany(2)",
                "s.scalars({}).unique().one()",
                "s.execute({}).unique().mappings().all()",
                "s.execute({}).unique().scalar_one_or_none()",
                "s.scalars({}, execution_options=dict(populate_existing=True)).unique().all()",
                "s.scalars({}, execution_options=dict(yield_per=2)).unique().all()",
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
            f".intersect(s.query({roots[0].name}))",
            f".union(s.query({roots[0].name}).order_by({self.scope.column(roots[0])}).limit(2))",
            ".limit(2)",
            ".offset(1)",
            ".limit(None)",
            f".having({self.scope.simple(roots[0])})",
            f".params(n={self.scope.value('name', roots[0])}).filter({roots[0].name}.name == bindparam('n'))",
            f".from_statement(select({roots[0].name}))",
            ".set_label_style(LABEL_STYLE_DISAMBIGUATE_ONLY)",
            ".prefix_with('ALL')",
            ".correlate(None)",
            f".add_entity({roots[0].name})",
            f".with_entities({roots[0].name}, {self.scope.expression(roots[0])})",
            f".select_from({roots[0].name}).with_entities(func.count())",
            ".with_session(s)",
            f".distinct({self.scope.column(roots[0])})",
            f".add_columns(Bundle('b', {self.scope.column(roots[0])}, {self.scope.column(roots[0])}))",
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
                "{}.one()",
                "{}[:2]",
                "{}[-2:]",
                "{}[1::2]",
                "{}.subquery().c.keys()",
                "{}.is_single_entity",
                "str({}.whereclause)",
                "str({}.selectable)",
                "s.query({}.cte()).all()",
                "s.query({}.label('l')).all()",
                "s.scalars({}).unique().all()",
                "{}.update(dict(name='q'), synchronize_session='fetch')",
                "{}.update(dict(name='q'), synchronize_session='evaluate')",
                "{}.delete(synchronize_session='fetch')",
                "{}.delete()",
            )
        )
        return Query(tuple(self.scope.setup), f"s.query({', '.join(items)})", tuple(calls), end)

    # --- statements of other shapes ----------------------------------------------------------------------------------

    def _other(self) -> Query:
        """Bundles in bundles, windows, aggregates, correlation, recursion, statements about joins by hand."""
        entity = self.scope.entity(self.rnd.choice(ROOTS))
        name, column, other = entity.name, self.scope.column(entity), self.scope.column(entity)
        key = f"{name}.{self.scope.key(entity)}"
        kind = self.rnd.choice(("bundle", "window", "aggregate", "scalar", "from", "tree", "lateral", "only", "text"))
        calls = self._filters("where", "filter_by") + self._order_and_limit()
        end = self._end(has_rows=True)
        if kind == "bundle":
            inner = f"Bundle('in', {column}, {name})"
            start = f"select(Bundle('out', {inner}, {other}), {name})"
            calls += self._options([entity], 0.6)
        elif kind == "window":
            start = f"select({name}, func.row_number().over(partition_by={column}, order_by={key}).label('n'))"
            calls += self._options([entity], 0.6)
        elif kind == "aggregate":
            start = f"select({column}, func.count({key}), func.max({other}).filter({self.scope.simple(entity)}))"
            calls = [*self._filters("where", "filter_by"), f".group_by({column})", f".order_by({column})"]
        elif kind == "scalar":
            count = self._correlated(entity)
            start = f"select({name}, {count}.label('n'))"
            calls.append(f".order_by({count}, {key})")
            calls += self._options([entity], 0.6)
        elif kind == "from":
            relations = self._shape(entity).relations
            if not relations:
                return self._select()
            relation = self.rnd.choice(relations)
            target = self.scope.join(entity, relation, self.scope.entity(relation.target, target=True))
            start = f"select({target.name}, {name})"
            calls = [f".select_from({name}).join({target.name}, {name}.{relation.key})", *calls]
            calls += self._options([target, entity], 0.6)
        elif kind == "tree":
            self.scope.setup += [
                f"t = select(Node.id).where({self.scope.simple(Entity('Node', 'Node'))}).cte('t', recursive=True)",
                "t = t.union_all(select(Node.id).join(t, Node.parent_id == t.c.id))",
            ]
            self.scope.entities = [entity := Entity("Node", "Node")]
            start, calls = "select(Node)", [".join(t, t.c.id == Node.id)", *self._order_and_limit()]
            calls += self._options([entity], 0.6)
            end = self._end(has_rows=False)
        elif kind == "lateral":
            self.scope.setup.append(f"l = select({self._target()}).where({self._equal(entity)}).lateral()")
            start, calls, end = f"select({name}, l)", [".join(l, true())"], "str({})"
        elif kind == "only":
            start = f"select({name})"
            calls.append(f".with_only_columns({column}, {other})")
            calls.append(self.rnd.choice(("", f".add_columns({key})", ".distinct()", ".reduce_columns()")))
        else:
            table = f"inspect({entity.class_name}).local_table"
            start = f"select({entity.class_name}).from_statement(text('SELECT * FROM ' + {table}.name))"
            calls = self._options([Entity(entity.class_name, entity.class_name)], 0.5) + self._execution_options()
            end = self._end(has_rows=False)
        return Query(tuple(self.scope.setup), start, tuple(call for call in calls if call), end)

    def _target(self) -> str:
        self._other_name = self.rnd.choice(ROOTS)
        return self._other_name

    def _equal(self, entity: Entity) -> str:
        target = Entity(self._other_name, self._other_name)
        return f"{target.name}.{self.scope.key(target)} == {entity.name}.{self.scope.key(entity)}"

    def _correlated(self, entity: Entity) -> str:
        self._target()
        way = self.rnd.choice((f".correlate({entity.name})", f".correlate_except({self._other_name})", ""))
        return f"select(func.count()).where({self._equal(entity)}){way}.scalar_subquery()"

    # --- INSERT ------------------------------------------------------------------------------------------------------

    def _insert(self) -> Query:
        name = self.rnd.choice(("Tag", "Address", "Node", "Company", "Person", "Engineer", "Dog", "Artist"))
        values = [f"dict(id={n}, name={self.rnd.choice('abq')!r})" for n in self.rnd.sample((1, 2, 101, 102, 103), 2)]
        start = f"insert({name})"
        end = f"s.execute({{}}, [{', '.join(values)}]).rowcount and None"
        calls = []
        if self.chance(0.6):
            calls.append(f".returning({self.rnd.choice((name, f'{name}.name', f'{name}.id, {name}'))}{SORTED})")
            end = f"s.execute({{}}, [{', '.join(values)}]).unique().all()"
            if self.chance(0.4):
                calls += [".execution_options(populate_existing=True)"]
        elif self.chance(0.4):
            calls.append(f".values({values[0]})")
            end = "s.execute({}).rowcount"
        elif self.chance(0.3):
            start = f"update({name})"
        return Query((), start, tuple(calls), end)

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
