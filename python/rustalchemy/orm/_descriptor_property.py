"""Properties that stand for a Python descriptor on the class instead of a value of their own.

`orm.descriptor_props` re-exports the classes under SQLAlchemy's module name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Optional, TypeVar

from sqlalchemy import exc as sa_exc
from sqlalchemy import util

from .._sa import _NoArg
from . import attributes
from ._attribute_options import _AttributeOptions
from .base import DONT_SET, PassiveFlag, SQLORMOperations, _DeclarativeMapped
from .interfaces import MapperProperty, PropComparator

if TYPE_CHECKING:
    from ._attribute_options import _DataclassArguments
    from ._decl_scan import _ClassScanAbstractConfig
    from ._typing import _InstanceDict
    from .attributes import History, QueryableAttribute
    from .mapper import Mapper

_T = TypeVar("_T", bound=Any)


class _ProxyImpl:
    """What attribute-level code (history, options) may ask of an attribute that stands for a descriptor."""

    accepts_scalar_loader = False
    load_on_unexpire = True
    collection = False
    supports_population = False
    default_accepts_scalar_loader = False
    dispatch: Any

    def __init__(self, prop: DescriptorProperty[Any], key: str) -> None:
        self.prop = prop
        self.key = key

    @property
    def uses_objects(self) -> bool:
        return bool(self.prop.uses_objects)

    def get_history(self, state: Any, dict_: _InstanceDict, passive: PassiveFlag = PassiveFlag.PASSIVE_OFF) -> History:
        return self.prop.get_history(state, dict_, passive)


class DescriptorProperty(MapperProperty[_T]):
    """A property whose values are read and written through a user-level descriptor."""

    doc: Optional[str] = None
    uses_objects = False
    _links_to_entity = False
    descriptor: Any = None

    def _column_strategy_attrs(self) -> Sequence[QueryableAttribute[Any]]:
        raise NotImplementedError("This MapperProperty does not implement column loader strategies")

    def get_history(self, state: Any, dict_: _InstanceDict, passive: PassiveFlag = PassiveFlag.PASSIVE_OFF) -> History:
        raise NotImplementedError()

    def _comparator_factory(self, mapper: Mapper[Any]) -> Any:
        raise NotImplementedError()

    def instrument_class(self, mapper: Mapper[Any]) -> None:
        if self.descriptor is None:
            existing = getattr(mapper.class_, self.key, None)
            if mapper._is_userland_descriptor(self.key, existing):
                self.descriptor = existing
        if self.descriptor is None:
            self.descriptor = self._forwarding_property()

        proxy_type = attributes._create_proxied_attribute(self.descriptor)
        proxy = proxy_type(
            self.parent.class_,
            self.key,
            self.descriptor,
            lambda: self._comparator_factory(mapper),
            doc=self.doc,
            original_property=self,
        )
        proxy.impl = _ProxyImpl(self, self.key)
        mapper.class_manager.instrument_attribute(self.key, proxy)

    def _forwarding_property(self) -> property:
        """Return a property that does everything to the attribute called `self.name`."""

        def fget(obj: Any) -> Any:
            return getattr(obj, self.name)

        def fset(obj: Any, value: Any) -> None:
            setattr(obj, self.name, value)

        def fdel(obj: Any) -> None:
            delattr(obj, self.name)

        return property(fget, fset, fdel)


class _NoninheritedConcreteProp:
    """The class attribute in place of one that a concrete subclass did not take over."""

    def __init__(self, prop: ConcreteInheritedProperty[Any]) -> None:
        self.prop = prop

    def _refuse(self) -> NoReturn:
        prop = self.prop
        raise AttributeError(
            f"Concrete {prop.parent} does not implement attribute {prop.key!r} at the instance level.  Add this "
            f"property explicitly to {prop.parent}."
        )

    def __get__(self, obj: Any, owner: Any) -> Any:
        if obj is None:
            return self
        self._refuse()

    def __set__(self, obj: Any, value: Any) -> NoReturn:
        self._refuse()

    def __delete__(self, obj: Any) -> NoReturn:
        self._refuse()


class ConcreteInheritedProperty(DescriptorProperty[_T]):
    """An attribute of a superclass that the concrete subclass's own table has no column for."""

    def __init__(self) -> None:
        super().__init__()
        self.descriptor = _NoninheritedConcreteProp(self)

    def _comparator_factory(self, mapper: Mapper[Any]) -> Any:
        for ancestor in self.parent.iterate_to_root():
            prop = ancestor._props[self.key]
            factory = getattr(prop, "comparator_factory", None)
            if factory is not None:
                return factory(prop, mapper)
        raise AssertionError(f"no superclass of {self.parent} maps {self.key!r}")


class SynonymProperty(DescriptorProperty[_T]):
    """A second name for another attribute of the class."""

    comparator_factory: Optional[type[PropComparator[_T]]]

    def __init__(
        self,
        name: str,
        map_column: Optional[bool] = None,
        descriptor: Optional[Any] = None,
        comparator_factory: Optional[type[PropComparator[_T]]] = None,
        attribute_options: Optional[_AttributeOptions] = None,
        info: Optional[dict[Any, Any]] = None,
        doc: Optional[str] = None,
    ) -> None:
        super().__init__(attribute_options=attribute_options)
        self.name = name
        self.map_column = map_column
        self.descriptor = descriptor
        self.comparator_factory = comparator_factory
        self.doc = doc or (descriptor and descriptor.__doc__) or None
        if info:
            self.info.update(info)
        util.set_creation_order(self)

    if not TYPE_CHECKING:

        @property
        def uses_objects(self) -> bool:
            return getattr(self.parent.class_, self.name).impl.uses_objects

    @util.memoized_property
    def _proxied_object(self) -> Any:
        """The property meant, or for an attribute of an extension its SQL side."""
        attr = getattr(self.parent.class_, self.name)
        prop = getattr(attr, "property", None)
        if isinstance(prop, MapperProperty):
            return prop
        if isinstance(attr, attributes.QueryableAttribute):
            return attr.comparator
        if isinstance(attr, SQLORMOperations):
            return attr
        raise sa_exc.InvalidRequestError(
            f'synonym() attribute "{self.parent.class_.__name__}.{self.name}" only supports ORM mapped attributes, '
            f"got {attr!r}"
        )

    def _column_strategy_attrs(self) -> Sequence[QueryableAttribute[Any]]:
        return (getattr(self.parent.class_, self.name),)

    def _comparator_factory(self, mapper: Mapper[Any]) -> Any:
        prop = self._proxied_object
        if not isinstance(prop, MapperProperty):
            return prop
        factory = self.comparator_factory or prop.comparator_factory
        return factory(prop, mapper)

    def get_history(self, state: Any, dict_: _InstanceDict, passive: PassiveFlag = PassiveFlag.PASSIVE_OFF) -> History:
        attr = getattr(self.parent.class_, self.name)
        return attr.impl.get_history(state, dict_, passive=passive)

    def _get_dataclass_setup_options(
        self,
        decl_scan: _ClassScanAbstractConfig,
        key: str,
        dataclass_setup_arguments: _DataclassArguments,
        enable_descriptor_defaults: bool,
    ) -> _AttributeOptions:
        default = self._attribute_options.dataclasses_default
        if (
            default is _NoArg.NO_ARG
            or callable(default)
            or not enable_descriptor_defaults
            or getattr(decl_scan.cls, "_sa_disable_descriptor_defaults", False)
        ):
            return self._attribute_options

        proxied_default = decl_scan.collected_attributes[self.name]._attribute_options.dataclasses_default
        if proxied_default != default:
            current = repr(proxied_default) if proxied_default is not _NoArg.NO_ARG else "not set"
            raise sa_exc.ArgumentError(
                f"Synonym {key!r} default argument {default!r} must match the dataclasses default value of proxied "
                "object "
                f"{self.name!r}, currently {current}"
            )
        self._default_scalar_value = default
        return self._attribute_options._replace(dataclasses_default=DONT_SET)

    def set_parent(self, parent: Mapper[Any], init: bool) -> None:
        if self.map_column:
            self._map_column(parent, init)
        self.parent = parent

    def _map_column(self, parent: Mapper[Any], init: bool) -> None:
        """Map the table's column that is called like the synonym under the name it stands for."""
        from .properties import ColumnProperty

        columns = parent.persist_selectable.c
        if self.key not in columns:
            raise sa_exc.ArgumentError(
                f"Can't compile synonym '{self.name}': no column on table '{parent.persist_selectable.description}' "
                f"named '{self.key}'"
            )
        column = columns[self.key]
        if column in parent._columntoproperty and parent._columntoproperty[column].key == self.name:
            raise sa_exc.ArgumentError(
                f"Can't call map_column=True for synonym {self.key!r}={self.name!r}, a ColumnProperty already exists "
                f"keyed to the name {self.name!r} for "
                f"column {self.key!r}"
            )
        prop: ColumnProperty[Any] = ColumnProperty(column)
        parent._configure_property(self.name, prop, init=init, setparent=True)
        prop._mapped_by_synonym = self.key


class Synonym(SynonymProperty[_T], _DeclarativeMapped[_T]):
    """The declarative form of `synonym()`."""

    inherit_cache = True
