"""The declarative base whose classes are made from tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NoReturn, Optional, Union

from sqlalchemy import Connection, Engine, MetaData, Table, util

from ...orm import declarative_base as _declarative_base
from ...orm import exc as orm_exc
from ...orm.decl_base import _DeferredDeclarativeConfig
from ...orm.mapper import _CONFIGURE_MUTEX
from . import naming
from .naming import (
    GenerateRelationshipType,
    NameForCollectionRelationshipType,
    NameForScalarRelationshipType,
    PythonNameForTableType,
)
from .relationships import RelationshipMaker, association

ByModuleProperties = util.Properties[Union["ByModuleProperties", type[Any]]]

# where generated classes are said to be from, unless modulename_for_table() says otherwise
_MODULE = __name__.rpartition(".")[0]


class AutomapBase:
    """Mixin for a declarative base, see `automap_base()`; its classes are mapped by `prepare()`."""

    __abstract__ = True

    #: the classes by name, those with a module of their own excepted
    classes: ClassVar[util.Properties[type[Any]]]
    #: all classes, by the parts of their module's name and then their own
    by_module: ClassVar[ByModuleProperties]
    metadata: ClassVar[MetaData]

    # keys of the tables that a prepare() has seen
    _sa_automapbase_bookkeeping: ClassVar[set[str]]

    # declarative waits for prepare(): relationships, and reflected columns, come before the mapper
    _sa_decl_prepare = True

    @classmethod
    @util.deprecated_params(
        engine=(
            "2.0",
            "The :paramref:`_automap.AutomapBase.prepare.engine` parameter is deprecated and will be removed in a "
            "future release.  Please use the :paramref:`_automap.AutomapBase.prepare.autoload_with` parameter.",
        ),
        reflect=(
            "2.0",
            "The :paramref:`_automap.AutomapBase.prepare.reflect` parameter is deprecated and will be removed in a "
            "future release.  Reflection is enabled when :paramref:`_automap.AutomapBase.prepare.autoload_with` is "
            "passed.",
        ),
    )
    def prepare(
        cls,
        autoload_with: Optional[Union[Engine, Connection]] = None,
        engine: Optional[Any] = None,
        reflect: bool = False,
        schema: Optional[str] = None,
        classname_for_table: Optional[PythonNameForTableType] = None,
        modulename_for_table: Optional[PythonNameForTableType] = None,
        collection_class: Optional[Callable[[], Any]] = None,
        name_for_scalar_relationship: Optional[NameForScalarRelationshipType] = None,
        name_for_collection_relationship: Optional[NameForCollectionRelationshipType] = None,
        generate_relationship: Optional[GenerateRelationshipType] = None,
        reflection_options: Mapping[Any, Any] = util.EMPTY_DICT,
    ) -> None:
        """Make classes for the tables that have a primary key and no class yet, relationships for the foreign keys
        between classes, and map them all. May be called again, for tables that have come since.

        :param autoload_with: read the tables from this database first.
        :param schema: of which schema the tables are read; one per call.
        :param classname_for_table: makes the names of classes.
        :param modulename_for_table: makes their ``__module__``; a class with one is only found in ``by_module``.
        :param collection_class: of relationships to many; a list if not given.
        :param name_for_scalar_relationship, name_for_collection_relationship: make the names of attributes.
        :param generate_relationship: makes the relationships themselves.
        :param reflection_options: further arguments of ``MetaData.reflect()``.
        """
        automap_base: Any = next(base for base in cls.__mro__ if "_sa_automapbase_bookkeeping" in base.__dict__)
        bind = engine or autoload_with
        if reflect or autoload_with:
            assert bind is not None
            cls.metadata.reflect(
                bind, **{"schema": schema, "extend_existing": True, "autoload_replace": False, **reflection_options}
            )

        with _CONFIGURE_MUTEX:
            configs: dict[Any, _DeferredDeclarativeConfig] = {
                config.local_table: config for config in _DeferredDeclarativeConfig.classes_for_base(cls, sort=False)
            }
            associations = []
            for table in _new_tables(cls.metadata, automap_base._sa_automapbase_bookkeeping):
                constraints = association(table)
                if constraints is not None:
                    associations.append((table, constraints))
                elif table.primary_key and table not in configs:
                    config = _class_for_table(
                        cls,
                        automap_base,
                        table,
                        classname_for_table or naming.classname_for_table,
                        modulename_for_table,
                    )
                    if config is not None:
                        configs[table] = config

            generate: Any = generate_relationship or naming.generate_relationship
            maker = RelationshipMaker(
                automap_base,
                configs,
                collection_class or list,
                name_for_scalar_relationship or naming.name_for_scalar_relationship,
                name_for_collection_relationship or naming.name_for_collection_relationship,
                generate,
            )
            for config in configs.values():
                maker.add_foreign_keys(config)
            for table, constraints in associations:
                maker.add_association(table, constraints)
            for config in _DeferredDeclarativeConfig.classes_for_base(automap_base):
                config.map()

    @classmethod
    def _sa_raise_deferred_config(cls) -> NoReturn:
        raise orm_exc.UnmappedClassError(
            cls,
            msg=f"Class {orm_exc._safe_cls_name(cls)} is a subclass of AutomapBase.  Mappings are not produced until "
            "the .prepare() method is called on the class hierarchy.",
        )


def automap_base(declarative_base: Optional[type[Any]] = None, **kw: Any) -> Any:
    """A new base for classes that are made from tables.

    :param declarative_base: what it derives from; if not given, `declarative_base()` makes one of the other arguments.
    """
    base: Any = _declarative_base(**kw) if declarative_base is None else declarative_base
    return type(
        base.__name__,
        (AutomapBase, base),
        {
            "__abstract__": True,
            "classes": util.Properties({}),
            "by_module": util.Properties({}),
            "_sa_automapbase_bookkeeping": set(),
        },
    )


def _new_tables(metadata: MetaData, known: set[str]) -> list[Table]:
    found = {key: table for key, table in metadata.tables.items() if key not in known}
    known.update(found)
    return list(found.values())


def _class_for_table(
    cls: type[AutomapBase],
    automap_base: type[Any],
    table: Table,
    classname_for_table: PythonNameForTableType,
    modulename_for_table: Optional[PythonNameForTableType],
) -> Optional[_DeferredDeclarativeConfig]:
    """A class for a table, entered where classes are found; None, and a warning, if the name is taken."""
    module = modulename_for_table and modulename_for_table(cls, table.name, table)
    name = classname_for_table(cls, table.name, table)
    if module is None and name in cls.classes:
        util.warn(
            f"Ignoring duplicate class name '{name}' received in automap base for table {table.key} without "
            "``__module__`` being set; consider using the ``modulename_for_table`` hook"
        )
        return None
    made = type(name, (automap_base,), {"__table__": table, "__module__": _MODULE if module is None else module})
    if module is None:
        cls.classes[name] = made
    # the registry of classes has refused a module that is called as a class
    place: Any = cls.by_module
    for part in made.__module__.split("."):
        if part not in place:
            place[part] = util.Properties({})
        place = place[part]
    place[name] = made
    return _DeferredDeclarativeConfig.config_for_cls(made)
