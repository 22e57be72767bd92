"""Writes SELECTs: of entities and columns, with joins and options, unions, and statements of other shapes."""

from __future__ import annotations

import random

from .clauses import ROOTS, ClauseWriter
from .scope import Entity
from .steps import Query


class SelectWriter(ClauseWriter):
    """One SELECT."""

    def __init__(self, rnd: random.Random) -> None:
        super().__init__(rnd)
        # the class of a second query, inside of the first
        self._other_name = ""

    def write(self) -> Query:
        kind = self.rnd.choices(("select", "union", "other"), (10, 1.5, 2))[0]
        found: Query = getattr(self, f"_{kind}")()
        return found

    # --- select ------------------------------------------------------------------------------------------------------

    def _select(self) -> Query:
        roots = [self._root()]
        if self._chance(0.12) and roots[0].class_name != "Label":
            second = self.rnd.choice([name for name in ROOTS if name != "Label"])
            roots.append(self.scope.entity(second))
        items = [root.name for root in roots]
        has_rows = len(items) > 1
        if self._chance(0.15):
            items.append(self.scope.column(roots[0]) if self._chance(0.6) else self.scope.expression(roots[0]))
            has_rows = True
        if self._chance(0.06):
            a, b = self.scope.column(roots[0]), self.scope.column(roots[0])
            items = [f"Bundle('pair', {a}, {b}{', single_entity=True' if self._chance(0.3) else ''})"]
            has_rows = True
        elif self._chance(0.1):
            items = [self.scope.column(roots[0]) for _ in range(self.rnd.randrange(1, 4))]
            has_rows = True
        calls = self._joins(roots, 0.4) + self._filters("where", "filter_by")
        if len(roots) > 1 and self._chance(0.8):
            calls.append(
                f".where({roots[0].name}.{self.scope.key(roots[0])} == {roots[1].name}.{self.scope.key(roots[1])})"
            )
        calls += self._group(items) if all("." in item and "(" not in item for item in items) else []
        calls += self._order_and_limit()
        if self._chance(0.1):
            calls.append(".distinct()")
        if self._chance(0.05):
            calls.append(self.rnd.choice((".with_for_update()", f".with_for_update(of={roots[0].name})")))
        calls += self._options(roots, 0.75)
        if len(roots) > 1:
            # the order of its FROM list is that of a set in SQLAlchemy
            calls = [call.replace("subqueryload", "selectinload") for call in calls]
        if self._chance(0.1):
            self.rnd.shuffle(calls)
        calls += self._execution_options()
        return Query(tuple(self.scope.setup), f"select({', '.join(items)})", tuple(calls), self._end(has_rows))

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
        if self._chance(0.5):
            self.scope.setup.append(f"e = aliased({name}, u.subquery())")
            entity = self.scope.add(Entity("e", name))
            calls = self._joins([entity], 0.3) + self._filters("where", "filter_by") + self._order_and_limit()
            start = "select(e)"
        else:
            calls, start = [], f"select({name}).from_statement(u{self.rnd.choice(('', '', '.order_by(None)'))})"
        self.scope.entities = [entity]
        calls += self._options([entity], 0.6) + self._execution_options()
        return Query(tuple(self.scope.setup), start, tuple(calls), self._end(False))

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
