"""Writes loader options: paths of strategies with sub-options, column options, criteria."""

from __future__ import annotations

import random

from .scope import Entity, Scope
from .shapes import Relation, shapes

STRATEGIES = {
    "joinedload": 8,
    "selectinload": 8,
    "subqueryload": 4,
    "lazyload": 2,
    "immediateload": 2,
    "raiseload": 0.7,
    "defaultload": 2.5,
}


class OptionWriter:
    """Options for the entities of one query."""

    def __init__(self, rnd: random.Random, scope: Scope) -> None:
        self.rnd = rnd
        self.scope = scope

    def chance(self, p: float) -> bool:
        return self.rnd.random() < p

    def option(self, entity: Entity) -> str:
        kind = self.rnd.choices(
            ("relation", "columns", "wildcard", "criteria", "expression", "eager", "subclasses", "several"),
            (10, 4, 1, 2, 0.7, 2 if self.scope.joins else 0, 1, 1),
        )[0]
        found: str = getattr(self, f"_{kind}")(entity)
        return found

    # --- relationships -----------------------------------------------------------------------------------------------

    def _relations(self, entity: Entity) -> list[Relation]:
        return [relation for relation in shapes()[entity.class_name].relations if relation.loadable]

    def _relation(self, entity: Entity, prefix: str = "", depth: int = 0) -> str:
        """A strategy for a relationship of the entity, and what follows from there."""
        relations = self._relations(entity)
        if not relations:
            return self._columns(entity, prefix)
        relation = self.rnd.choice(relations)
        attribute = f"{entity.name}.{relation.key}"
        target = Entity(relation.target, relation.target)
        shape = shapes()[relation.target]
        if shape.subclasses and self.chance(0.35):
            subclass = self.rnd.choice(shape.subclasses)
            if self.chance(0.5):
                target = Entity(subclass, subclass)
            else:
                target = self.scope.entity(relation.target, target=True)
            if target.name != relation.target:
                attribute += f".of_type({target.name})"
        if self.chance(0.12):
            attribute += f".and_({self.scope.simple(Entity(relation.target, relation.target))})"
        strategy = self.rnd.choices(list(STRATEGIES), list(STRATEGIES.values()))[0]
        arguments = [attribute]
        if strategy == "joinedload" and self.chance(0.25):
            arguments.append(f"innerjoin={self.rnd.choice(('True', 'True', repr('unnested'), 'False'))}")
        if strategy == "raiseload" and self.chance(0.5):
            arguments.append("sql_only=True")
        if strategy == "selectinload" and self.chance(0.1):
            arguments.append("chunksize=2")
        if strategy in ("selectinload", "immediateload") and relation.target == entity.class_name and self.chance(0.3):
            arguments.append(f"recursion_depth={self.rnd.choice((-1, 1, 2))}")
            return f"{prefix}{strategy}({', '.join(arguments)})"
        text = f"{prefix}{strategy}({', '.join(arguments)})"
        if depth < 3 and self.chance(0.45):
            if self.chance(0.25):
                inner = [self._inner(target, depth + 1) for _ in range(self.rnd.randrange(1, 3))]
                return f"{text}.options({', '.join(inner)})"
            if self.chance(0.7):
                return self._relation(target, f"{text}.", depth + 1)
            return self._columns(target, f"{text}.")
        return text

    def _inner(self, entity: Entity, depth: int) -> str:
        return self._relation(entity, "", depth) if self.chance(0.7) else self._columns(entity)

    def _several(self, entity: Entity) -> str:
        return f"Load({entity.name}).options({self._inner(entity, 1)}, {self._inner(entity, 1)})"

    def _eager(self, entity: Entity) -> str:
        """contains_eager() of joins that are there."""
        join = self.rnd.choice(self.scope.joins)
        if not join.relation.loadable:
            return self._columns(entity)
        attribute = f"{join.source.name}.{join.relation.key}"
        if join.target.name != join.relation.target:
            attribute += f".of_type({join.target.name})"
        text = f"contains_eager({attribute})"
        if self.chance(0.3):
            return self._relation(join.target, f"{text}.", 1)
        if self.chance(0.2):
            return self._columns(join.target, f"{text}.")
        return text

    # --- columns -----------------------------------------------------------------------------------------------------

    def _columns(self, entity: Entity, prefix: str = "") -> str:
        shape = shapes()[entity.class_name]
        columns = [c for c in shape.columns if c != "nick"]
        one, two = (f"{entity.name}.{self.rnd.choice(columns)}" for _ in range(2))
        raising = ", raiseload=True" if self.chance(0.2) else ""
        ways = [
            f"load_only({one}, {two}{raising})",
            f"load_only({one})",
            f"defer({one}{raising})",
            f"undefer({one})",
            f"defer('*'{raising})",
            "undefer('*')",
        ]
        if shape.deferred:
            ways += [f"undefer({entity.name}.{self.rnd.choice(shape.deferred)})"] * 3
        if entity.class_name == "User":
            ways += ["undefer_group('notes')"] * 2
        if not prefix and self.chance(0.2):
            prefix = f"Load({entity.name})."
        return prefix + self.rnd.choice(ways)

    def _expression(self, entity: Entity) -> str:
        if entity.class_name != "User":
            return self._columns(entity)
        key = self.rnd.choice(("level", "rating"))
        return f"with_expression({entity.name}.{key}, {self.rnd.choice((f'{entity.name}.age * 2', 'literal(7)'))})"

    def _wildcard(self, entity: Entity) -> str:
        name = self.rnd.choice(
            ("raiseload", "lazyload", "selectinload", "joinedload", "noload", "subqueryload", "defer")
        )
        if name == "noload" and entity.class_name == "Label":
            name = "lazyload"  # SQLAlchemy loads dynamic collections, to leave them empty
        if self.chance(0.3):
            return f"Load({entity.name}).{name}('*')"
        return f"{name}('*')"

    def _subclasses(self, entity: Entity) -> str:
        shape = shapes()[entity.class_name]
        if not shape.subclasses:
            return self._relation(entity)
        chosen = self.rnd.sample(shape.subclasses, self.rnd.randrange(1, len(shape.subclasses) + 1))
        return f"selectin_polymorphic({entity.name}, [{', '.join(chosen)}])"

    def _criteria(self, entity: Entity) -> str:
        names = [entity.class_name, *(r.target for r in self._relations(entity))]
        name = self.rnd.choice(names)
        criterion = self.scope.simple(Entity("cls", name))
        extra = ", include_aliases=True" if self.chance(0.4) else ""
        if self.chance(0.15):
            extra += ", propagate_to_loaders=False"
        if self.chance(0.5):
            criterion = criterion.replace("cls.", f"{name}.")
            return f"with_loader_criteria({name}, {criterion}{extra})"
        return f"with_loader_criteria({name}, lambda cls: {criterion}{extra}, track_closure_variables=False)"
