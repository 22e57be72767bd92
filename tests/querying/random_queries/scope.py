"""The entities of one query that is being written, and expressions about them."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .shapes import Relation, Shape, shapes


@dataclass(frozen=True)
class Entity:
    """A class or an alias of one, by the name it has in the source."""

    name: str
    class_name: str


@dataclass(frozen=True)
class Join:
    """A join along a relationship, for contains_eager()."""

    source: Entity
    relation: Relation
    target: Entity


class Scope:
    """Names of entities, lines that make them, and what can be said of them."""

    def __init__(self, rnd: random.Random) -> None:
        self.rnd = rnd
        self.setup: list[str] = []
        self.entities: list[Entity] = []
        self.joins: list[Join] = []
        self._count = 0

    # --- entities ----------------------------------------------------------------------------------------------------

    @property
    def joinable(self) -> list[Entity]:
        return self.entities

    def add(self, entity: Entity) -> Entity:
        self.entities.append(entity)
        return entity

    def is_free(self, class_name: str) -> bool:
        return all(entity.name != class_name for entity in self.entities)

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def entity(self, class_name: str, target: bool = False) -> Entity:
        """A class, or an alias of it that is made in a line of its own."""
        shape = shapes()[class_name]
        if self.is_free(class_name) and self.rnd.random() < (0.3 if target else 0.6):
            entity = Entity(class_name, class_name)
            return entity if target else self.add(entity)
        name = self._name("e")
        simple = self.simple(Entity(class_name, class_name))
        ways = [
            f"aliased({class_name})",
            f"aliased({class_name})",
            f"aliased({class_name}, name='named_{name}')",
            f"aliased({class_name}, flat=True)",
            f"aliased({class_name}, select({class_name}).where({simple}).subquery())",
            f"aliased({class_name}, select({class_name}).where({simple}).cte())",
            f"aliased({class_name}, select({class_name}).subquery(), adapt_on_names=True)",
            f"aliased({class_name}, union_all(select({class_name}).where({simple}), select({class_name})).subquery())",
        ]
        if shape.subclasses:
            subclass = self.rnd.choice(shape.subclasses)
            poly = [
                f"with_polymorphic({class_name}, '*')",
                f"with_polymorphic({class_name}, [{subclass}])",
                f"with_polymorphic({class_name}, '*', flat=True)",
                f"with_polymorphic({class_name}, [{subclass}], aliased=True)",
                f"with_polymorphic({class_name}, '*', aliased=True, innerjoin=False)",
            ]
            ways += poly if not target else [way for way in poly if "True" in way]
            if not target:
                ways += poly
        self.setup.append(f"{name} = {self.rnd.choice(ways)}")
        entity = Entity(name, class_name)
        return entity if target else self.add(entity)

    def join(self, source: Entity, relation: Relation, target: Entity) -> Entity:
        self.joins.append(Join(source, relation, target))
        return self.add(target)

    def loaded(self, class_name: str) -> str:
        """An object, got in a line of its own."""
        name = self._name("o")
        key = self.rnd.choice(shapes()[class_name].keys)
        self.setup.append(f"{name} = s.get({class_name}, {key!r})")
        return name

    # --- parts of entities -------------------------------------------------------------------------------------------

    def keys(self, entity: Entity) -> list[str]:
        return ["country", "code"] if entity.class_name == "Region" else ["id"]

    def key(self, entity: Entity) -> str:
        return self.rnd.choice(shapes()[entity.class_name].numbers)

    def column(self, entity: Entity) -> str:
        shape = shapes()[entity.class_name]
        return f"{entity.name}.{self.rnd.choice(shape.columns)}"

    def expression(self, entity: Entity) -> str:
        shape = shapes()[entity.class_name]
        choices = [
            f"func.coalesce({entity.name}.{self.rnd.choice(shape.texts)}, '?')",
            f"({entity.name}.name + 'x').label('lab')",
            f"literal({self.rnd.randrange(3)})",
            f"case(({self.simple(entity)}, 1), else_=2)",
        ]
        if entity.class_name == "User":
            choices.append(f"{entity.name}.adult")
            choices.append(f"{entity.name}.home")
        return self.rnd.choice(choices)

    def value(self, column: str, entity: Entity) -> str:
        shape = shapes()[entity.class_name]
        if column in shape.numbers:
            return str(self.rnd.randrange(1, 6))
        return repr(self.rnd.choice("abcdq"))

    # --- criteria ----------------------------------------------------------------------------------------------------

    def simple(self, entity: Entity) -> str:
        """A criterion of one entity's columns."""
        shape = shapes()[entity.class_name]
        column = self.rnd.choice(shape.columns)
        name, value = f"{entity.name}.{column}", self.value(column, entity)
        ways = [
            f"{name} == {value}",
            f"{name} != {value}",
            f"{name} > {value}",
            f"{name} < {value}",
            f"{name}.in_([{value}, {self.value(column, entity)}])",
            f"{name}.is_not(None)",
            f"{name}.is_(None)",
            f"or_({name} == {value}, {entity.name}.name != 'a')",
            f"{name}.not_in([{value}])",
        ]
        if entity.class_name == "User":
            ways += [f"{entity.name}.adult", f"~{entity.name}.adult", f"{entity.name}.home == Home(1, 2)"]
            if entity.name == "User":  # of an alias it asks about the class in SQLAlchemy
                ways.append("User.emails == 'q'")
        return self.rnd.choice(ways)

    def criterion(self, depth: int = 0) -> str:
        """A criterion of the query's entities."""
        entity = self.rnd.choice(self.entities)
        shape = shapes()[entity.class_name]
        kind = self.rnd.choices(("simple", "and", "or", "not", "relation", "subquery"), (8, 1, 1, 1, 5, 2))[0]
        if depth > 2 or kind == "simple":
            return self.simple(entity)
        if kind in ("and", "or"):
            return f"{kind}_({self.criterion(depth + 1)}, {self.criterion(depth + 1)})"
        if kind == "not":
            return f"not_({self.criterion(depth + 1)})"
        if kind == "relation" and shape.relations:
            return self._relation(entity, shape)
        other = self.rnd.choice(list(shapes().values()))
        target = Entity(other.name, other.name)
        count = f"select(func.count({other.name}.{self.key(target)})).where({self.simple(target)}).scalar_subquery()"
        return self.rnd.choice(
            (
                f"{entity.name}.{self.key(entity)}.in_(select({other.name}.{self.key(target)}).where({self.simple(target)}))",
                f"exists().where({other.name}.{self.key(target)} == {entity.name}.{self.key(entity)})",
                f"select({other.name}).where({other.name}.{self.key(target)} == {entity.name}.{self.key(entity)})"
                f".correlate({entity.name}).exists()",
                f"{count} > 1",
            )
        )

    def _relation(self, entity: Entity, shape: Shape) -> str:
        relation = self.rnd.choice(shape.relations)
        attribute = f"{entity.name}.{relation.key}"
        target = Entity(relation.target, relation.target)
        test = "any" if relation.uselist else "has"
        found = shapes()[relation.target]
        ways = [
            f"{attribute}.{test}()",
            f"~{attribute}.{test}()",
            f"{attribute}.{test}({self.simple(target)})",
            f"{attribute}.{test}(name={self.rnd.choice('abc')!r})",
            f"{attribute}.and_({self.simple(target)}).{test}()",
        ]
        if found.subclasses:
            subclass = self.rnd.choice(found.subclasses)
            ways.append(f"{attribute}.of_type({subclass}).{test}({self.simple(Entity(subclass, subclass))})")
        inner = [r for r in found.relations if r.loadable]
        if inner:
            deep = self.rnd.choice(inner)
            ways.append(f"{attribute}.{test}({relation.target}.{deep.key}.{'any' if deep.uselist else 'has'}())")
        if self.rnd.random() < 0.5:
            if relation.uselist:
                ways = [f"{attribute}.contains({self.loaded(relation.target)})"]
                ways.append(f"~{attribute}.contains({self.loaded(relation.target)})")
            else:
                ways = [
                    f"{attribute} == {self.loaded(relation.target)}",
                    f"{attribute} != {self.loaded(relation.target)}",
                ]
                ways += [f"{attribute} == None", f"{attribute} != None"]
            if self.rnd.random() < 0.3:
                back = [
                    (name, r)
                    for name, s in shapes().items()
                    for r in s.relations
                    if r.target == entity.class_name and s.name == name
                ]
                if back:
                    owner, r = self.rnd.choice(back)
                    ways = [f"with_parent({self.loaded(owner)}, {owner}.{r.key}, from_entity={entity.name})"]
        return self.rnd.choice(ways)
