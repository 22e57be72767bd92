"""Bases whose classes are mapped later than they are defined: concrete inheritance and reflected tables."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable
from typing import Any, NoReturn, Union

from sqlalchemy import Connection, Engine, MetaData, Table
from sqlalchemy import exc as sa_exc
from sqlalchemy.util import OrderedDict

from ...orm import exc as orm_exc
from ...orm.base import _mapper_or_none
from ...orm.clsregistry import _resolver
from ...orm.decl_base import _DeferredDeclarativeConfig
from ...orm.mapper import Mapper
from ...orm.relationships import RelationshipProperty
from ...orm.util import polymorphic_union

# Table names to reflect, by MetaData and schema.
_TablesToReflect = dict[tuple[MetaData, Any], set[str]]


class ConcreteBase:
    """Mixin for the root of a concrete hierarchy that has a table itself: it is selected from a UNION of all tables."""

    @classmethod
    def _create_polymorphic_union(cls, mappers: list[Mapper[Any]], discriminator_name: str) -> Any:
        tables = OrderedDict((mapper.polymorphic_identity, mapper.local_table) for mapper in mappers)
        return polymorphic_union(tables, discriminator_name, "pjoin")

    @classmethod
    def _discriminator_name(cls) -> str:
        return getattr(cls, "_concrete_discriminator_name", None) or "type"

    @classmethod
    def __declare_first__(cls) -> None:
        mapper = cls.__mapper__  # type: ignore[attr-defined]
        if mapper.with_polymorphic:
            return
        name = cls._discriminator_name()
        mappers = list(mapper.self_and_descendants)
        _keep_own_columns(mappers)
        union = cls._create_polymorphic_union(mappers, name)
        mapper._set_with_polymorphic(("*", union))
        mapper._set_polymorphic_on(union.c[name])


def _keep_own_columns(mappers: list[Mapper[Any]]) -> None:
    """What a class and its parent both have stands for a column of its own table, where nothing selects the entity."""
    for mapper in mappers:
        parent = mapper.inherits
        for key in mapper.column_attrs.keys() if parent else ():
            if key in parent.column_attrs:
                for one in (mapper, parent):
                    one.class_manager[key].comparator.__clause_element__()


class AbstractConcreteBase(ConcreteBase):
    """Mixin for the root of a concrete hierarchy without a table of its own; it is mapped when its subclasses are."""

    __no_table__ = True

    @classmethod
    def __declare_first__(cls) -> None:
        cls._sa_decl_prepare_nocascade()

    @classmethod
    def _sa_decl_prepare_nocascade(cls) -> None:
        if getattr(cls, "__mapper__", None):
            return
        config = _DeferredDeclarativeConfig.config_for_cls(cls)
        name = cls._discriminator_name()
        mappers = [mapper for mapper in map(_mapper_or_none, _all_subclasses(cls)) if mapper is not None]
        union = cls._create_polymorphic_union(mappers, name)

        # Columns declared on the base stand for those of the union.
        declared = set(config.declared_columns)
        own_keys = {column.key for column in declared}
        for key, value in list(config.properties.items()):
            if value in declared:
                config.properties[key] = union.c[value.key]
                own_keys.remove(value.key)
        config.local_table = union

        is_strict = cls.__dict__.get("strict_attrs", False)
        given_args: Callable[[], dict[str, Any]] = config.mapper_args_fn or dict

        def mapper_args() -> dict[str, Any]:
            args = given_args()
            args["polymorphic_on"] = union.c[name]
            args["polymorphic_abstract"] = True
            if is_strict:
                args["include_properties"] = {*union.primary_key, *own_keys, name}
                args["with_polymorphic"] = ("*", union)
            return args

        config.mapper_args_fn = mapper_args
        config.map()
        cls._adopt_subclasses()

    @classmethod
    def _adopt_subclasses(cls) -> None:
        """Tell the mappers of the subclasses, which were made first, what they inherit from."""
        queue: list[type[Any]] = [cls]
        while queue:
            subclass = queue.pop(0)
            queue.extend(subclass.__subclasses__())
            mapper = _mapper_or_none(subclass)
            if mapper is not None and mapper.concrete and mapper.inherits is None:
                parents = (_mapper_or_none(base) for base in subclass.__mro__[1:])
                parent = next((candidate for candidate in parents if candidate is not None), None)
                if parent is not None:
                    mapper._set_concrete_base(parent)

    @classmethod
    def _sa_raise_deferred_config(cls) -> NoReturn:
        raise orm_exc.UnmappedClassError(
            cls,
            msg=f"Class {orm_exc._safe_cls_name(cls)} is a subclass of AbstractConcreteBase and has a mapping pending "
            "until all subclasses are defined. Call the sqlalchemy.orm.configure_mappers() function after all "
            "subclasses have been defined to complete the mapping of this class.",
        )


def _all_subclasses(cls: type[Any]) -> list[type[Any]]:
    found: list[type[Any]] = []
    stack = list(cls.__subclasses__())
    while stack:
        subclass = stack.pop()
        stack.extend(subclass.__subclasses__())
        found.append(subclass)
    return found


class DeferredReflection:
    """Mixin for classes whose tables are read from the database, all at once, by `prepare()`."""

    _sa_decl_prepare = True

    @classmethod
    def prepare(cls, bind: Union[Engine, Connection], **reflect_kw: Any) -> None:
        """Read the tables of all subclasses and map them; keyword arguments go to `MetaData.reflect()`."""
        if isinstance(bind, Connection):
            context: Any = contextlib.nullcontext(bind)
        elif isinstance(bind, Engine):
            context = bind.connect()
        else:
            raise sa_exc.ArgumentError(f"Expected Engine or Connection, got {bind!r}")

        configs = _DeferredDeclarativeConfig.classes_for_base(cls)
        tables: _TablesToReflect = collections.defaultdict(set)
        for config in configs:
            table = config.local_table
            if table is not None:
                tables[table.metadata, table.schema].add(table.name)
        with context as connection:
            _reflect(connection, tables, **reflect_kw)
            secondaries: _TablesToReflect = collections.defaultdict(set)
            for config in configs:
                schema = config.local_table.schema if config.local_table is not None else None
                cls._collect_secondaries(config.map(), schema, secondaries)
            _reflect(connection, secondaries)

    @classmethod
    def _collect_secondaries(cls, mapper: Mapper[Any], schema: Any, tables: _TablesToReflect) -> None:
        """Note the association tables of a mapper's relationships; a name becomes a table to be filled."""
        metadata = mapper.class_.metadata
        for prop in mapper._props.values():
            if not isinstance(prop, RelationshipProperty) or not prop._init_args.secondary._is_populated():
                continue
            secondary = prop._init_args.secondary
            if isinstance(secondary.argument, Table):
                table = secondary.argument
                tables[table.metadata, table.schema].add(table.name)
            elif isinstance(secondary.argument, str):
                _, resolve_arg = _resolver(prop.parent.class_, prop)
                resolver = resolve_arg(secondary.argument, True)
                tables[metadata, schema].add(secondary.argument)
                resolver._resolvers += (cls._sa_deferred_table_resolver(metadata),)
                secondary.argument = resolver()

    @classmethod
    def _sa_deferred_table_resolver(cls, metadata: MetaData) -> Callable[[str], Table]:
        return lambda key: Table(key, metadata)

    @classmethod
    def _sa_raise_deferred_config(cls) -> NoReturn:
        raise orm_exc.UnmappedClassError(
            cls,
            msg=f"Class {orm_exc._safe_cls_name(cls)} is a subclass of DeferredReflection.  Mappings are not produced "
            "until the .prepare() method is called on the class hierarchy.",
        )


def _reflect(connection: Connection, tables: _TablesToReflect, **reflect_kw: Any) -> None:
    for (metadata, schema), names in tables.items():
        metadata.reflect(
            connection, only=list(names), schema=schema, extend_existing=True, autoload_replace=False, **reflect_kw
        )
