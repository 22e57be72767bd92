"""Aliased entities: a mapped class seen through another selectable, and what ``inspect()`` returns for it.

``AliasedClass`` is the face the user sees (``aliased(User).name``); ``AliasedInsp`` is the entity the compile state and
the loader strategies work with, interchangeable with a mapper there.
"""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from sqlalchemy import Column, inspection, util
from sqlalchemy import exc as sa_exc
from sqlalchemy.sql import coercions, roles, visitors
from sqlalchemy.sql.cache_key import HasCacheKey
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import Alias, FromClause, GenerativeSelect

from .._sa import WriteableColumnCollection, _inspects, _self_inspects, annotate_for_entity
from ._adapters import ORMAdapter, _is_alias_of_selectable, _TraceAdaptRole
from .attributes import QueryableAttribute
from .base import InspectionAttr
from .interfaces import ORMColumnsClauseRole, ORMEntityColumnsClauseRole, ORMFromClauseRole
from .path_registry import PathRegistry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .mapper import Mapper

_O = TypeVar("_O", bound=Any)


class AliasedClass(inspection.Inspectable["AliasedInsp[_O]"], ORMColumnsClauseRole[_O]):
    """A mapped class under another name in a statement; attributes are adapted to its selectable on first access."""

    __name__: str

    def __init__(
        self,
        mapped_class_or_ac: Any,
        alias: FromClause | None = None,
        name: str | None = None,
        flat: bool = False,
        adapt_on_names: bool = False,
        with_polymorphic_mappers: Sequence[Mapper[Any]] | None = None,
        with_polymorphic_discriminator: ColumnElement[Any] | None = None,
        base_alias: AliasedInsp[Any] | None = None,
        use_mapper_path: bool = False,
        represents_outer_join: bool = False,
    ) -> None:
        insp = inspection.inspect(mapped_class_or_ac)
        mapper = insp.mapper
        nest_adapters = False

        if alias is not None:
            # an alias given for an alias: columns go through both adapters
            nest_adapters = insp.is_aliased_class
        else:
            if insp.is_aliased_class:
                if insp._is_with_polymorphic:
                    with_polymorphic_mappers = insp.with_polymorphic_mappers
                    with_polymorphic_discriminator = insp.polymorphic_on
                    represents_outer_join = insp.represents_outer_join
                if not _is_alias_of_selectable(insp.selectable, mapper._with_polymorphic_selectable):
                    alias = insp.selectable._anonymous_fromclause(name=name, flat=flat)
                    adapt_on_names = adapt_on_names or insp._adapt_on_names
                elif insp.selectable._is_subquery:
                    alias = insp.selectable.alias()
            if alias is None:
                alias = mapper._with_polymorphic_selectable._anonymous_fromclause(name=name, flat=flat)

        self._aliased_insp = AliasedInsp(
            self,
            insp,
            cast("FromClause", alias),
            name,
            with_polymorphic_mappers or mapper.with_polymorphic_mappers,
            mapper.polymorphic_on if with_polymorphic_discriminator is None else with_polymorphic_discriminator,
            base_alias,
            use_mapper_path,
            adapt_on_names,
            represents_outer_join,
            nest_adapters,
        )
        self.__name__ = f"aliased({mapper.class_.__name__})"

    @classmethod
    def _reconstitute_from_aliased_insp(cls, aliased_insp: AliasedInsp[_O]) -> AliasedClass[_O]:
        """A new face for an inspection object whose class has been collected, sub-entities included."""
        obj = cls.__new__(cls)
        obj.__name__ = f"aliased({aliased_insp.mapper.class_.__name__})"
        obj._aliased_insp = aliased_insp
        if aliased_insp._is_with_polymorphic:
            for sub in aliased_insp._with_polymorphic_entities:
                if sub is not aliased_insp:
                    setattr(obj, sub.class_.__name__, AliasedClass._reconstitute_from_aliased_insp(sub))
        return obj

    def __getattr__(self, key: str) -> Any:
        # unpickling and copying ask for attributes before __init__
        insp = self.__dict__.get("_aliased_insp")
        if insp is None:
            raise AttributeError(key)
        return self._bind_attribute(key, getattr(insp._target, key), insp)

    def _bind_attribute(self, key: str, attr: Any, insp: AliasedInsp[_O]) -> Any:
        """What an attribute of the class is for this alias: methods and descriptors rebound, columns adapted."""
        # attributes are the commonest, and to know what they have not takes them long
        if (
            not isinstance(attr, QueryableAttribute)
            and hasattr(attr, "__call__")  # noqa: B004 - a type's slot must not count
            and hasattr(attr, "__self__")
        ):
            return types.MethodType(attr.__func__, self)
        if hasattr(attr, "__get__"):
            attr = attr.__get__(None, self)
        if hasattr(attr, "adapt_to_entity"):
            attr = attr.adapt_to_entity(insp)
            setattr(self, key, attr)
        return attr

    def _get_from_serialized(self, key: str, mapped_class: Any, aliased_insp: AliasedInsp[_O]) -> Any:
        attr = getattr(mapped_class, key)
        if hasattr(attr, "adapt_to_entity") or hasattr(attr, "__get__"):
            aliased_insp._weak_entity = weakref.ref(self)
        return self._bind_attribute(key, attr, aliased_insp)

    def __repr__(self) -> str:
        return f"<AliasedClass at 0x{id(self):x}; {self._aliased_insp._target.__name__}>"

    def __str__(self) -> str:
        return str(self._aliased_insp)


@_self_inspects
class AliasedInsp(
    ORMEntityColumnsClauseRole[_O],
    ORMFromClauseRole,
    HasCacheKey,
    InspectionAttr,
    util.MemoizedSlots,
    inspection.Inspectable["AliasedInsp[_O]"],
    Generic[_O],
):
    """The entity behind an AliasedClass: mapper, selectable, adapter; usable wherever a mapper is an entity."""

    __slots__ = (
        "__clause_element__",
        "__weakref__",
        "_adapt_on_names",
        "_adapter",
        "_all_column_expressions",
        "_base_alias",
        "_get_clause",
        "_is_with_polymorphic",
        "_memoized_values",
        "_nest_adapters",
        "_target",
        "_use_mapper_path",
        "_weak_entity",
        "_with_polymorphic_entities",
        "local_table",
        "mapper",
        "name",
        "persist_selectable",
        "polymorphic_on",
        "represents_outer_join",
        "selectable",
        "with_polymorphic_mappers",
    )

    _cache_key_traversal = [
        ("name", visitors.ExtendedInternalTraversal.dp_string),
        ("_adapt_on_names", visitors.ExtendedInternalTraversal.dp_boolean),
        ("_use_mapper_path", visitors.ExtendedInternalTraversal.dp_boolean),
        ("_target", visitors.ExtendedInternalTraversal.dp_inspectable),
        ("selectable", visitors.ExtendedInternalTraversal.dp_clauseelement),
        ("with_polymorphic_mappers", visitors.InternalTraversal.dp_has_cache_key_list),
        ("polymorphic_on", visitors.InternalTraversal.dp_clauseelement),
    ]

    is_aliased_class = True

    mapper: Mapper[_O]
    selectable: FromClause
    with_polymorphic_mappers: Sequence[Mapper[Any]]
    _with_polymorphic_entities: list[AliasedInsp[Any]]
    _weak_entity: weakref.ref[AliasedClass[_O]]
    # the mapped class, or the AliasedClass this one is an alias of
    _target: Any

    def __init__(
        self,
        entity: AliasedClass[_O],
        inspected: Any,
        selectable: FromClause,
        name: str | None,
        with_polymorphic_mappers: Sequence[Mapper[Any]] | None,
        polymorphic_on: ColumnElement[Any] | None,
        _base_alias: AliasedInsp[Any] | None,
        _use_mapper_path: bool,
        adapt_on_names: bool,
        represents_outer_join: bool,
        nest_adapters: bool,
    ) -> None:
        mapper = inspected.mapper
        self._weak_entity = weakref.ref(entity)
        self.mapper = mapper
        self.selectable = self.persist_selectable = self.local_table = selectable
        self.name = name
        self.polymorphic_on = polymorphic_on
        self._base_alias = weakref.ref(_base_alias or self)
        self._use_mapper_path = _use_mapper_path
        self.represents_outer_join = represents_outer_join
        self._nest_adapters = nest_adapters
        self._adapt_on_names = adapt_on_names
        self._target = inspected.entity
        self._is_with_polymorphic = bool(with_polymorphic_mappers)
        if with_polymorphic_mappers:
            self.with_polymorphic_mappers = with_polymorphic_mappers
            self._with_polymorphic_entities = [
                self._sub_entity(entity, sub) for sub in with_polymorphic_mappers if sub is not mapper
            ]
        else:
            self.with_polymorphic_mappers = [mapper]

        # by name means: whatever column of the selectable has the name, so no limit on where a column came from
        adapt_from = set() if adapt_on_names else {m.selectable for m in self.with_polymorphic_mappers}
        self._adapter: Any = ORMAdapter(
            _TraceAdaptRole.ALIASED_INSP,
            mapper,
            selectable=selectable,
            equivalents=mapper._equivalent_columns,
            adapt_on_names=adapt_on_names,
            anonymize_labels=True,
            adapt_from_selectables=adapt_from,
            limit_on_entity=False,
        )
        if nest_adapters:
            self._adapter = inspected._adapter.wrap(self._adapter)

    def _sub_entity(self, entity: AliasedClass[_O], sub_mapper: Mapper[Any]) -> AliasedInsp[Any]:
        """The entity of a sub-mapper of a polymorphic alias, reachable as ``entity.SubClass``."""
        sub: AliasedClass[Any] = AliasedClass(
            sub_mapper.class_,
            self.selectable,
            base_alias=self,
            adapt_on_names=self._adapt_on_names,
            use_mapper_path=self._use_mapper_path,
        )
        setattr(entity, sub_mapper.class_.__name__, sub)
        return sub._aliased_insp

    @property
    def _post_inspect(self) -> None:  # type: ignore[override]  # read for what it does, never set
        self.mapper._check_configure()

    @classmethod
    def _alias_factory(
        cls,
        element: Any,
        alias: FromClause | None = None,
        name: str | None = None,
        flat: bool = False,
        adapt_on_names: bool = False,
    ) -> AliasedClass[_O] | FromClause:
        if isinstance(element, GenerativeSelect):
            return coercions.expect(roles.FromClauseRole, element, flat=flat)
        if not isinstance(element, FromClause):
            return AliasedClass(element, alias=alias, flat=flat, name=name, adapt_on_names=adapt_on_names)
        if adapt_on_names:
            raise sa_exc.ArgumentError("adapt_on_names only applies to ORM elements")
        if name:
            return element.alias(name=name, flat=flat)
        return coercions.expect(roles.AnonymizedFromClauseRole, element, flat=flat)

    @classmethod
    def _with_polymorphic_factory(
        cls,
        base: Any,
        classes: Literal["*"] | Iterable[Any],
        selectable: Literal[False, None] | FromClause = False,
        flat: bool = False,
        polymorphic_on: ColumnElement[Any] | None = None,
        aliased: bool = False,
        innerjoin: bool = False,
        adapt_on_names: bool = False,
        name: str | None = None,
        _use_mapper_path: bool = False,
    ) -> AliasedClass[_O]:
        if flat and selectable not in (None, False):
            raise sa_exc.ArgumentError(
                "the 'flat' and 'selectable' arguments cannot be passed simultaneously to with_polymorphic()"
            )
        primary_mapper = inspection.inspect(base).mapper
        mappers, poly_selectable = primary_mapper._with_polymorphic_args(classes, selectable, innerjoin=innerjoin)
        if aliased or flat:
            poly_selectable = poly_selectable._anonymous_fromclause(flat=flat)
        return AliasedClass(
            base,
            poly_selectable,
            name=name,
            with_polymorphic_mappers=mappers,
            adapt_on_names=adapt_on_names,
            with_polymorphic_discriminator=polymorphic_on,
            use_mapper_path=_use_mapper_path,
            represents_outer_join=not innerjoin,
        )

    @property
    def entity(self) -> AliasedClass[_O]:
        ent = self._weak_entity()
        if ent is None:
            # the user dropped the AliasedClass while a statement still holds this object
            ent = AliasedClass._reconstitute_from_aliased_insp(self)
            self._weak_entity = weakref.ref(ent)
        return ent

    def _annotated(self, element: Any, extra: dict[str, Any]) -> Any:
        """Mark an expression as belonging to this entity and bring our compile state into its statement."""
        annotations = {"parententity": self, "parentmapper": self.mapper, **extra}
        return annotate_for_entity(element, annotations, self)

    def _memoized_method___clause_element__(self) -> FromClause:
        clause: FromClause = self._annotated(self.selectable, {"entity_namespace": self})
        return clause

    @property
    def entity_namespace(self) -> AliasedClass[_O]:
        return self.entity

    @property
    def class_(self) -> type[_O]:
        """The mapped class this is an alias of."""
        class_: type[_O] = self.mapper.class_
        return class_

    @property
    def _path_registry(self) -> Any:
        return self.mapper._path_registry if self._use_mapper_path else PathRegistry.per_mapper(self)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "entity": self.entity,
            "mapper": self.mapper,
            "alias": self.selectable,
            "name": self.name,
            "adapt_on_names": self._adapt_on_names,
            "with_polymorphic_mappers": self.with_polymorphic_mappers,
            "with_polymorphic_discriminator": self.polymorphic_on,
            "base_alias": self._base_alias(),
            "use_mapper_path": self._use_mapper_path,
            "represents_outer_join": self.represents_outer_join,
            "nest_adapters": self._nest_adapters,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(  # type: ignore[misc]
            state["entity"],
            state["mapper"],
            state["alias"],
            state["name"],
            state["with_polymorphic_mappers"],
            state["with_polymorphic_discriminator"],
            state["base_alias"],
            state["use_mapper_path"],
            state["adapt_on_names"],
            state["represents_outer_join"],
            state["nest_adapters"],
        )

    def _merge_with(self, other: AliasedInsp[_O]) -> AliasedInsp[_O]:
        """An entity that loads the sub-classes of both; ``other`` itself if that has them all."""
        ours = {m.class_ for m in self.with_polymorphic_mappers}
        theirs = {m.class_ for m in other.with_polymorphic_mappers}
        if ours == theirs:
            return other
        mapper = other.mapper
        mappers, selectable = mapper._with_polymorphic_args(
            ours | theirs, None, innerjoin=not other.represents_outer_join
        )
        merged: AliasedClass[_O] = AliasedClass(
            mapper,
            selectable._anonymous_fromclause(flat=True),
            with_polymorphic_mappers=mappers,
            with_polymorphic_discriminator=other.polymorphic_on,
            use_mapper_path=other._use_mapper_path,
            represents_outer_join=other.represents_outer_join,
        )
        return merged._aliased_insp

    def _adapt_element(self, expr: Any, key: str | None = None) -> Any:
        adapted = self._column_of_alias(expr)
        if adapted is None:
            adapted = self._adapter.adapt_check_present(expr)
        if adapted is None:
            adapted = expr
            advice = (
                "ensure name is correct in expression"
                if self._adapter.adapt_on_names
                else "to match by name, use the adapt_on_names parameter"
            )
            util.warn_limited(f"Did not locate an expression in selectable for attribute %r; {advice}", (key,))
        return self._annotated(adapted, {"proxy_key": key} if key else {})

    _orm_adapt_element = _adapt_element

    def _column_of_alias(self, column: Any) -> Any:
        """The alias's column for one of its table, which is what the adapter would look for; None for anything else."""
        selectable = self.selectable
        if (
            self._nest_adapters
            or type(column) is not Column
            or type(selectable) is not Alias
            or column.table is not selectable.element
        ):
            return None
        adapted = selectable.c.get(column.key)
        if adapted is not None:
            self._adapter.columns[column] = adapted
        return adapted

    def _entity_for_mapper(self, mapper: Mapper[Any]) -> AliasedInsp[Any]:
        if mapper in self.with_polymorphic_mappers:
            if mapper is self.mapper:
                return self
            sub: AliasedClass[Any] = getattr(self.entity, mapper.class_.__name__)
            return sub._aliased_insp
        assert mapper.isa(self.mapper), f"mapper {mapper} doesn't correspond to {self}"
        return self

    def _memoized_attr__get_clause(self) -> tuple[Any, dict[Any, Any]]:
        onclause, replacemap = self.mapper._get_clause
        traverse = self._adapter.traverse
        return traverse(onclause), {traverse(col): param for col, param in replacemap.items()}

    def _memoized_attr__memoized_values(self) -> dict[Any, Any]:
        return {}

    def _memoized_attr__all_column_expressions(self) -> WriteableColumnCollection[str, Any]:
        mapper = self.mapper
        if self._is_with_polymorphic:
            pairs = mapper._columns_plus_keys([ent.mapper for ent in self._with_polymorphic_entities])
        else:
            pairs = mapper._columns_plus_keys()
        return WriteableColumnCollection([(key, self._adapt_element(col)) for key, col in pairs])

    def _memo(self, key: Any, callable_: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        values = self._memoized_values
        if key not in values:
            values[key] = callable_(*args, **kw)
        return values[key]

    def __repr__(self) -> str:
        poly = ", ".join(m.class_.__name__ for m in self.with_polymorphic_mappers)
        return f"<AliasedInsp at 0x{id(self):x}; {self.class_.__name__}({poly})>"

    def __str__(self) -> str:
        return self.path_string()

    def path_string(self) -> str:
        name = self._target.__name__
        if not self._is_with_polymorphic:
            return f"aliased({name})"
        subs = ", ".join(m.class_.__name__ for m in self.with_polymorphic_mappers if m is not self.mapper)
        return f"with_polymorphic({name}, [{subs}])"


@_inspects(AliasedClass)
def _inspect_aliased_class(target: AliasedClass[_O]) -> AliasedInsp[_O]:
    return target._aliased_insp
