"""Writes the clauses that queries have in common: joins, criteria, order, limits, options, and how they end."""

from __future__ import annotations

import random

from .options import OptionWriter
from .scope import Entity, Scope
from .shapes import Shape, shapes
from .steps import Query

# Each object of the result once more, from a result that was frozen
FROZEN = "loading.merge_frozen_result(s, {0}, s.execute({0}).unique().freeze(), load=False)().unique().all()"
# Where a query begins, more often the classes with more to load
ROOTS = str.split(
    "User User User User Address Tag Profile Node Company Company Person Person Person Engineer Manager Boss Paper "
    "Machine Shape Shape Circle Region Region Town Town Label Album Album Track Artist Animal Animal Dog Puppy Cat "
    "Bone Port Vessel Barge Tug"
)


class ClauseWriter:
    """Clauses of one query."""

    def __init__(self, rnd: random.Random) -> None:
        self.rnd = rnd
        self.scope = Scope(rnd)

    def write(self) -> Query:
        """The query."""
        raise NotImplementedError

    def _chance(self, p: float) -> bool:
        return self.rnd.random() < p

    def _root(self) -> Entity:
        return self.scope.entity(self.rnd.choice(ROOTS))

    def _shape(self, entity: Entity) -> Shape:
        return shapes()[entity.class_name]

    def _joins(self, roots: list[Entity], p: float) -> list[str]:
        calls = []
        while self._chance(p) and len(calls) < 3:
            source = self.rnd.choice(self.scope.joinable)
            relations = self._shape(source).relations
            if not relations:
                continue
            relation = self.rnd.choice(relations)
            attribute = f"{source.name}.{relation.key}"
            call = "outerjoin" if self._chance(0.4) else "join"
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
                calls.append(f".join({attribute}.of_type({target.name}), isouter={self._chance(0.5)})")
            else:
                left, right = self.scope.key(source), self.scope.key(target)
                calls.append(f".{call}({target.name}, {source.name}.{left} == {target.name}.{right})")
                self.scope.joins.pop()
        return calls

    def _filters(self, where: str, by: str) -> list[str]:
        calls = []
        while self._chance(0.5) and len(calls) < 3:
            calls.append(f".{where}({self.scope.criterion()})")
        if self._chance(0.06):
            entity = self.scope.entities[-1]
            column = self.rnd.choice(self._shape(entity).columns)
            calls.append(f".{by}({column}={self.scope.value(column, entity)})")
        return calls

    def _group(self, items: list[str]) -> list[str]:
        if not self._chance(0.3):
            return []
        calls = [f".group_by({', '.join(items)})"]
        if self._chance(0.4):
            calls.append(".having(func.count() > 0)")
        return calls

    def _order_and_limit(self) -> list[str]:
        calls = []
        if self._chance(0.6):
            column = self.scope.column(self.rnd.choice(self.scope.entities))
            root = self.scope.entities[0]
            keys = ", ".join(f"{root.name}.{key}" for key in self.scope.keys(root))
            calls.append(f".order_by({column}{self.rnd.choice(('', '', '.desc()', '.desc().nulls_last()'))}, {keys})")
        if self._chance(0.2):
            calls.append(f".limit({self.rnd.randrange(1, 5)})")
        if self._chance(0.1):
            calls.append(f".limit(4).offset({self.rnd.randrange(3)})")
        return calls

    def _options(self, roots: list[Entity], p: float) -> list[str]:
        writer = OptionWriter(self.rnd, self.scope)
        calls = []
        while self._chance(p) and len(calls) < 4:
            calls.append(f".options({writer.option(self.rnd.choice(roots))})")
            p *= 0.7
        return calls

    def _execution_options(self) -> list[str]:
        found = []
        if self._chance(0.15):
            found.append("populate_existing=True")
        if self._chance(0.08):
            found.append(f"yield_per={self.rnd.randrange(1, 5)}")
        if self._chance(0.05):
            found.append("autoflush=False")
        if self._chance(0.03):
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
