"""The base classes that properties, comparators, statement options and loader strategies derive from."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypedDict, TypeVar

from sqlalchemy import util
from sqlalchemy.sql import operators, roles, visitors
from sqlalchemy.sql.base import ExecutableOption
from sqlalchemy.sql.cache_key import HasCacheKey
from sqlalchemy.sql.operators import ColumnOperators

from .._sa import _self_inspects
from . import exc as orm_exc
from ._attribute_options import _DEFAULT_ATTRIBUTE_OPTIONS as _DEFAULT_ATTRIBUTE_OPTIONS
from ._attribute_options import _DEFAULT_READONLY_ATTRIBUTE_OPTIONS as _DEFAULT_READONLY_ATTRIBUTE_OPTIONS
from ._attribute_options import _AttributeOptions as _AttributeOptions
from ._attribute_options import _DataclassArguments as _DataclassArguments
from ._attribute_options import _DataclassDefaultsDontSet as _DataclassDefaultsDontSet
from ._attribute_options import _DCAttributeOptions as _DCAttributeOptions
from ._attribute_options import _IntrospectsAnnotations as _IntrospectsAnnotations
from ._attribute_options import _MapsColumns as _MapsColumns
from .base import DONT_SET as DONT_SET
from .base import EXT_CONTINUE as EXT_CONTINUE
from .base import EXT_SKIP as EXT_SKIP
from .base import EXT_STOP as EXT_STOP
from .base import MANYTOMANY as MANYTOMANY
from .base import MANYTOONE as MANYTOONE
from .base import NO_KEY as NO_KEY
from .base import NO_VALUE as NO_VALUE
from .base import ONETOMANY as ONETOMANY
from .base import InspectionAttr as InspectionAttr
from .base import InspectionAttrInfo as InspectionAttrInfo
from .base import NotExtension as NotExtension
from .base import RelationshipDirection as RelationshipDirection
from .base import SQLORMOperations, _MappedAttribute

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ColumnElement

    from .._sa import _ColumnExpressionArgument
    from ._typing import _EntityType
    from .mapper import Mapper

_StrategyKey = tuple[Any, ...]

_T = TypeVar("_T", bound=Any)
_T_co = TypeVar("_T_co", bound=Any, covariant=True)
_TLS = TypeVar("_TLS", bound="type[LoaderStrategy]")


class ORMStatementRole(roles.StatementRole):
    """Coercion role of a whole statement."""

    __slots__ = ()
    _role_name = "Executable SQL or text() construct, including ORM aware objects"


class ORMColumnsClauseRole(roles.ColumnsClauseRole, roles.TypedColumnsClauseRole[_T]):
    """Coercion role of what may stand in the columns clause."""

    __slots__ = ()
    _role_name = "ORM mapped entity, aliased entity, or Column expression"


class ORMEntityColumnsClauseRole(ORMColumnsClauseRole[_T]):
    """Coercion role of a whole entity in the columns clause."""

    __slots__ = ()
    _role_name = "ORM mapped or aliased entity"


class ORMFromClauseRole(roles.FromClauseRole):
    """Coercion role of what may stand in the FROM clause."""

    __slots__ = ()
    _role_name = "ORM mapped entity, aliased entity, or FROM expression"


class ORMColumnDescription(TypedDict):
    """One entry of ``column_descriptions``."""

    name: str
    type: Any
    aliased: bool
    expr: Any
    entity: Any


@_self_inspects
class MapperProperty(HasCacheKey, _DCAttributeOptions, _MappedAttribute[_T], InspectionAttrInfo, util.MemoizedSlots):
    """One attribute of a mapped class as the mapper knows it."""

    __slots__ = (
        "_attribute_options",
        "_configure_finished",
        "_configure_started",
        "_has_dataclass_arguments",
        "doc",
        "info",
        "key",
        "parent",
    )

    _cache_key_traversal = [
        ("parent", visitors.ExtendedInternalTraversal.dp_has_cache_key),
        ("key", visitors.ExtendedInternalTraversal.dp_string),
    ]

    if not TYPE_CHECKING:
        cascade = None

    is_property = True
    comparator: PropComparator[_T]
    key: str
    parent: Mapper[Any]
    _is_relationship = False
    _links_to_entity: bool
    doc: str | None
    info: dict[Any, Any]

    def __init__(
        self,
        attribute_options: _AttributeOptions | None = None,
        _assume_readonly_dc_attributes: bool = False,
    ) -> None:
        self._configure_started = False
        self._configure_finished = False
        defaults = _DEFAULT_READONLY_ATTRIBUTE_OPTIONS if _assume_readonly_dc_attributes else _DEFAULT_ATTRIBUTE_OPTIONS
        self._has_dataclass_arguments = bool(attribute_options) and attribute_options != defaults
        self._attribute_options = attribute_options if self._has_dataclass_arguments else defaults  # type: ignore[assignment]

    def _memoized_attr_info(self) -> dict[Any, Any]:
        return {}

    def setup(self, context: Any, query_entity: Any, path: Any, adapter: Any, **kwargs: Any) -> None:
        """Add what this property needs to a statement that is being compiled."""

    def create_row_processor(
        self, context: Any, query_entity: Any, path: Any, mapper: Any, result: Any, adapter: Any, populators: Any
    ) -> None:
        """Add what fills this attribute from rows."""

    def cascade_iterator(
        self,
        type_: str,
        state: Any,
        dict_: dict[str, Any],
        visited_states: set[Any],
        halt_on: Callable[[Any], bool] | None = None,
    ) -> Iterator[tuple[object, Mapper[Any], Any, dict[str, Any]]]:
        """The objects a cascade of the given kind reaches through this property."""
        return iter(())

    def set_parent(self, parent: Mapper[Any], init: bool) -> None:
        self.parent = parent

    def instrument_class(self, mapper: Mapper[Any]) -> None:
        """Put this property's attribute on the class, before other mappers are known."""

    def init(self) -> None:
        """Finish this property; all mappers exist by now."""
        self._configure_started = True
        self.do_init()
        self._configure_finished = True

    @property
    def class_attribute(self) -> Any:
        return getattr(self.parent.class_, self.key)

    def do_init(self) -> None:
        """What a kind of property does in ``init()``."""

    def post_instrument_class(self, mapper: Mapper[Any]) -> None:
        """Finish the attribute on the class after ``init()``."""

    def merge(
        self,
        session: Any,
        source_state: Any,
        source_dict: dict[str, Any],
        dest_state: Any,
        dest_dict: dict[str, Any],
        load: bool,
        _recursive: dict[Any, object],
        _resolve_conflict_map: dict[Any, object],
    ) -> None:
        """Copy this attribute from one object into another for ``Session.merge()``."""

    def __repr__(self) -> str:
        return f"<{self.__class__.__name__} at 0x{id(self):x}; {getattr(self, 'key', 'no key')}>"

    def path_string(self) -> str:
        return f"{self.parent.class_.__name__}.{self.key}"


@_self_inspects
class PropComparator(SQLORMOperations[_T_co], Generic[_T_co], ColumnOperators):
    """The SQL operators of one mapped attribute; users may derive their own."""

    # no __slots__: an attribute of a class is both this and a native descriptor, and their layouts must combine

    __visit_name__ = "orm_prop_comparator"

    _parententity: Any
    _adapt_to_entity: Any
    prop: Any

    def __init__(self, prop: MapperProperty[Any], parentmapper: Any, adapt_to_entity: Any = None) -> None:
        self.prop = prop
        self._parententity = adapt_to_entity or parentmapper
        self._adapt_to_entity = adapt_to_entity

    @util.non_memoized_property
    def property(self) -> MapperProperty[_T_co]:
        return self.prop

    def __clause_element__(self) -> Any:
        raise NotImplementedError(f"{self!r}")

    def _bulk_update_tuples(self, value: Any) -> Sequence[tuple[Any, Any]]:
        return [(self.__clause_element__(), value)]

    def _bulk_dml_setter(self, key: str) -> Callable[..., Any] | None:
        return None

    def adapt_to_entity(self, adapt_to_entity: Any) -> PropComparator[_T_co]:
        return self.__class__(self.prop, self._parententity, adapt_to_entity)

    @util.ro_non_memoized_property
    def _parentmapper(self) -> Mapper[Any]:
        return self._parententity.mapper

    def _criterion_exists(self, criterion: Any = None, **kwargs: Any) -> Any:
        return self.prop.comparator._criterion_exists(criterion, **kwargs)

    @util.ro_non_memoized_property
    def adapter(self) -> Any:
        """What turns expressions against the mapper into expressions against the alias, if there is one."""
        if self._adapt_to_entity is None:
            return None
        return self._adapt_to_entity._orm_adapt_element

    @util.ro_non_memoized_property
    def info(self) -> dict[Any, Any]:
        return self.prop.info

    @staticmethod
    def _any_op(a: Any, b: Any, **kwargs: Any) -> Any:
        return a.any(b, **kwargs)

    @staticmethod
    def _has_op(left: Any, other: Any, **kwargs: Any) -> Any:
        return left.has(other, **kwargs)

    @staticmethod
    def _of_type_op(a: Any, class_: Any) -> Any:
        return a.of_type(class_)

    any_op: Any = _any_op
    has_op: Any = _has_op
    of_type_op: Any = _of_type_op

    def of_type(self, class_: _EntityType[Any]) -> PropComparator[_T_co]:
        """This attribute seen as one of a subclass or alias."""
        return self.operate(PropComparator.of_type_op, class_)  # type: ignore[return-value]

    def and_(self, *criteria: _ColumnExpressionArgument[bool]) -> PropComparator[bool]:
        """This relationship with further criteria in its ON clause."""
        return self.operate(operators.and_, *criteria)  # type: ignore[return-value]

    def any(self, criterion: _ColumnExpressionArgument[bool] | None = None, **kwargs: Any) -> ColumnElement[bool]:
        """True where a member of the collection meets the criterion."""
        return self.operate(PropComparator.any_op, criterion, **kwargs)

    def has(self, criterion: _ColumnExpressionArgument[bool] | None = None, **kwargs: Any) -> ColumnElement[bool]:
        """True where the referenced object meets the criterion."""
        return self.operate(PropComparator.has_op, criterion, **kwargs)


class StrategizedProperty(MapperProperty[_T]):
    """A property whose loading is done by a strategy that options can exchange."""

    __slots__ = (
        "_default_path_loader_key",
        "_strategies",
        "_wildcard_token",
        "strategy",
        "strategy_key",
    )
    inherit_cache = True
    strategy_wildcard_key: ClassVar[str]
    strategy_key: _StrategyKey
    _strategies: dict[_StrategyKey, LoaderStrategy]

    def _memoized_attr__wildcard_token(self) -> tuple[str]:
        from . import path_registry

        return (f"{self.strategy_wildcard_key}:{path_registry._WILDCARD_TOKEN}",)

    def _memoized_attr__default_path_loader_key(self) -> tuple[str, tuple[str]]:
        from . import path_registry

        return "loader", (f"{self.strategy_wildcard_key}:{path_registry._DEFAULT_TOKEN}",)

    def _get_context_loader(self, context: Any, path: Any) -> Any:
        """The loader option that holds for this property: its own, a wildcard's, or the entity default's."""
        search_path = path[self]
        for path_key in (
            search_path._loader_key,
            search_path._wildcard_path_loader_key,
            search_path._default_path_loader_key,
        ):
            if path_key in context.attributes:
                return context.attributes[path_key]
        return None

    def _get_strategy(self, key: _StrategyKey) -> Any:
        try:
            return self._strategies[key]
        except KeyError:
            pass
        # outside of the handler, so that a lookup error has no misleading context
        cls = self._strategy_lookup(self, *key)
        self._strategies[key] = strategy = cls(self, key)
        return strategy

    def _strategy_for_path(self, context: Any, path: Any) -> tuple[Any, Any]:
        loader = self._get_context_loader(context, path)
        if loader and loader.strategy:
            return loader, self._get_strategy(loader.strategy)
        return loader, self.strategy

    def setup(self, context: Any, query_entity: Any, path: Any, adapter: Any, **kwargs: Any) -> None:
        loader, strategy = self._strategy_for_path(context, path)
        strategy.setup_query(context, query_entity, path, loader, adapter, **kwargs)

    def create_row_processor(
        self, context: Any, query_entity: Any, path: Any, mapper: Any, result: Any, adapter: Any, populators: Any
    ) -> None:
        loader, strategy = self._strategy_for_path(context, path)
        strategy.create_row_processor(context, query_entity, path, loader, mapper, result, adapter, populators)

    def do_init(self) -> None:
        self._strategies = {}
        self.strategy = self._get_strategy(self.strategy_key)

    def post_instrument_class(self, mapper: Mapper[Any]) -> None:
        if not mapper.class_manager._attr_has_impl(self.key):
            self.strategy.init_class_attribute(mapper)

    _all_strategies: ClassVar[dict[type[Any], dict[_StrategyKey, type[LoaderStrategy]]]] = collections.defaultdict(dict)

    @classmethod
    def strategy_for(cls, **kw: Any) -> Callable[[_TLS], _TLS]:
        """Class decorator: the decorated strategy serves these loader settings."""

        def decorate(dec_cls: _TLS) -> _TLS:
            if "_strategy_keys" not in dec_cls.__dict__:
                dec_cls._strategy_keys = []
            key = tuple(sorted(kw.items()))
            cls._all_strategies[cls][key] = dec_cls
            dec_cls._strategy_keys.append(key)
            return dec_cls

        return decorate

    @classmethod
    def _strategy_lookup(cls, requesting_property: MapperProperty[Any], *key: Any) -> type[LoaderStrategy]:
        # with_polymorphic setup may add properties that the lookup depends on
        _ = requesting_property.parent._with_polymorphic_mappers

        for prop_cls in cls.__mro__:
            strategy = cls._all_strategies.get(prop_cls, {}).get(key)
            if strategy is not None:
                return strategy

        intended, actual = None, None
        for property_type, strategies in cls._all_strategies.items():
            if key in strategies:
                intended, actual = property_type, strategies[key]
                break
        raise orm_exc.LoaderStrategyException(cls, requesting_property, intended, actual, key)


class ORMOption(ExecutableOption):
    """Base of the options given to ``Select.options()`` and ``Query.options()``."""

    __slots__ = ()

    _is_legacy_option = False
    propagate_to_loaders = False
    _is_core = False
    _is_user_defined = False
    _is_compile_state = False
    _is_criteria_option = False
    _is_strategy_option = False

    def _adapt_cached_option_to_uncached_option(self, context: Any, uncached_opt: ORMOption) -> ORMOption:
        """Choose between this option of a cached statement and the same one of the statement at hand."""
        return uncached_opt if uncached_opt is not None else self


class CompileStateOption(HasCacheKey, ORMOption):
    """An option that changes how a statement compiles, and so is part of its cache key."""

    __slots__ = ()

    _is_compile_state = True

    def process_compile_state(self, compile_state: Any) -> None:
        """Change a statement that is being compiled."""

    def process_compile_state_replaced_entities(self, compile_state: Any, mapper_entities: Sequence[Any]) -> None:
        """The same for a statement whose entities were replaced."""


class LoaderOption(CompileStateOption):
    """An option about how attributes are loaded."""

    __slots__ = ()

    def process_compile_state_replaced_entities(self, compile_state: Any, mapper_entities: Sequence[Any]) -> None:
        self.process_compile_state(compile_state)


class CriteriaOption(CompileStateOption):
    """An option that adds WHERE criteria."""

    __slots__ = ()

    _is_criteria_option = True

    def get_global_criteria(self, attributes: dict[str, Any]) -> None:
        """Enter entity criteria into ``attributes``."""


class UserDefinedOption(ORMOption):
    """An option for a user's own ``do_orm_execute`` handler."""

    __slots__ = ("payload",)

    _is_legacy_option = False
    _is_user_defined = True
    propagate_to_loaders = False

    def __init__(self, payload: Any = None) -> None:
        self.payload = payload


@util.deprecated_cls(
    "1.4",
    "The :class:`.MapperOption class is deprecated and will be removed "
    "in a future release.   For "
    "modifications to queries on a per-execution basis, use the "
    ":class:`.UserDefinedOption` class to establish state within a "
    ":class:`.Query` or other Core statement, then use the "
    ":meth:`.SessionEvents.before_orm_execute` hook to consume them.",
    constructor=None,
)
class MapperOption(ORMOption):
    """A modification of a Query (legacy)."""

    __slots__ = ()

    _is_legacy_option = True
    propagate_to_loaders = False

    def process_query(self, query: Any) -> None:
        """Change the query."""

    def process_query_conditionally(self, query: Any) -> None:
        """Change a secondary query of a lazy load or refresh."""
        self.process_query(query)


class LoaderStrategy:
    """How one property is put into statements and filled from rows."""

    __slots__ = (
        "is_class_level",
        "key",
        "parent",
        "parent_property",
        "strategy_key",
        "strategy_opts",
    )

    _strategy_keys: ClassVar[list[_StrategyKey]]

    def __init__(self, parent: MapperProperty[Any], strategy_key: _StrategyKey) -> None:
        self.parent_property = parent
        self.is_class_level = False
        self.parent = parent.parent
        self.key = parent.key
        self.strategy_key = strategy_key
        self.strategy_opts: Mapping[str, Any] = dict(strategy_key)

    def init_class_attribute(self, mapper: Mapper[Any]) -> None:
        """Set up the attribute on the class."""

    def setup_query(
        self, compile_state: Any, query_entity: Any, path: Any, loadopt: Any, adapter: Any, **kwargs: Any
    ) -> None:
        """Add what the attribute needs to a statement that is being compiled."""

    def create_row_processor(
        self,
        context: Any,
        query_entity: Any,
        path: Any,
        loadopt: Any,
        mapper: Any,
        result: Any,
        adapter: Any,
        populators: Any,
    ) -> None:
        """Add what fills the attribute from rows."""

    def __str__(self) -> str:
        return str(self.parent_property)
