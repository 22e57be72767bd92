"""Class instrumentation: the manager of a mapped class, and what is installed on the class.

The native half of the manager knows attribute numbers and the mapper descriptor; this half is the dictionary of
attributes that users and the mapper work with.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy import util
from sqlalchemy.event import EventTarget
from sqlalchemy.util import HasMemoized

from .. import _core
from .._sa import exec_code_in_env
from . import base, collections, exc, interfaces

if TYPE_CHECKING:
    from .attributes import QueryableAttribute
    from .mapper import Mapper

_O = TypeVar("_O", bound=object)

DEL_ATTR = util.symbol("DEL_ATTR")


class ClassManager(_core.ClassManager, HasMemoized, Generic[_O], EventTarget):
    """The attributes of one instrumented class, those of its bases included; reads like a dictionary."""

    MANAGER_ATTR = base.DEFAULT_MANAGER_ATTR
    STATE_ATTR = base.DEFAULT_STATE_ATTR

    dispatch: Any
    class_: type[_O]
    expired_attribute_loader: Callable[[Any, set[str], Any], None]
    init_method: Callable[..., None] | None
    original_init: Callable[..., None] | None = None
    declarative_scan: weakref.ref[Any] | None = None
    registry: Any = None

    def __init__(self, class_: type[_O]) -> None:
        self._attributes: dict[str, QueryableAttribute[Any]] = {}
        self.info: dict[Any, Any] = {}
        self.new_init: Callable[..., None] | None = None
        self.local_attrs: dict[str, QueryableAttribute[Any]] = {}
        self.originals: dict[str, Any] = {}
        self._finalized = False
        self._was_mapped = False
        self.factory: Any = None
        self.init_method = None
        managers = (base.opt_manager_of_class(parent) for parent in class_.__bases__ if isinstance(parent, type))
        self._bases = [manager for manager in managers if manager is not None]
        for parent in self._bases:
            self._attributes.update(parent._attributes)
        self.dispatch._events._new_classmanager_instance(class_, self)
        for parent_class in class_.__mro__:
            manager = base.opt_manager_of_class(parent_class)
            if manager is not None:
                self.dispatch._update(manager.dispatch)
        self.manage()
        if "__del__" in class_.__dict__:
            util.warn(
                f"__del__() method on class {class_} will cause unreachable cycles and memory leaks, as SQLAlchemy "
                "instrumentation often creates reference cycles.  Please remove this method."
            )

    def _update_state(
        self,
        finalize: bool = False,
        mapper: Mapper[_O] | None = None,
        registry: Any = None,
        declarative_scan: Any = None,
        expired_attribute_loader: Any = None,
        init_method: Callable[..., None] | None = None,
    ) -> None:
        if mapper:
            self.mapper = mapper
        if registry:
            registry._add_manager(self)
        if declarative_scan:
            self.declarative_scan = weakref.ref(declarative_scan)
        if expired_attribute_loader:
            self.expired_attribute_loader = expired_attribute_loader
        if init_method:
            assert not self._finalized, f"class is already instrumented, init_method {init_method} can't be applied"
            self.init_method = init_method
        if not self._finalized:
            if self.init_method is not None and self.class_.__init__ is object.__init__:
                self.original_init = self.init_method
            else:
                self.original_init = self.class_.__init__
        if finalize and not self._finalized:
            self._finalize()

    def _finalize(self) -> None:
        if self._finalized:
            return
        self._finalized = True
        self._instrument_init()
        _instrumentation_factory.dispatch.class_instrument(self.class_)

    # --- the dictionary of attributes

    def __getitem__(self, key: str) -> QueryableAttribute[Any]:
        return self._attributes[key]

    def __setitem__(self, key: str, attribute: QueryableAttribute[Any]) -> None:
        self._attributes[key] = attribute

    def __delitem__(self, key: str) -> None:
        del self._attributes[key]

    def __contains__(self, key: object) -> bool:
        return key in self._attributes

    def __iter__(self) -> Iterator[str]:
        return iter(self._attributes)

    def __len__(self) -> int:
        return len(self._attributes)

    def get(self, key: str, default: Any = None) -> Any:
        return self._attributes.get(key, default)

    def keys(self) -> Any:
        return self._attributes.keys()

    def values(self) -> Any:
        return self._attributes.values()

    def items(self) -> Any:
        return self._attributes.items()

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return other is self

    def __bool__(self) -> bool:
        return True

    @property
    def is_mapped(self) -> bool:
        return self._was_mapped

    @property
    def mapper(self) -> Mapper[_O]:
        if not self._was_mapped:
            raise exc.UnmappedClassError(self.class_)
        return super().mapper

    @mapper.setter
    def mapper(self, mapper: Mapper[_O] | None) -> None:
        self._was_mapped = True
        _core.ClassManager.mapper.__set__(self, mapper)

    @HasMemoized.memoized_attribute
    def _all_key_set(self) -> frozenset[str]:
        return frozenset(self._attributes)

    @HasMemoized.memoized_attribute
    def _collection_impl_keys(self) -> frozenset[str]:
        return frozenset(attr.key for attr in self.values() if attr.impl.collection)

    @HasMemoized.memoized_attribute
    def _scalar_loader_impls(self) -> frozenset[Any]:
        return frozenset(attr.impl for attr in self.values() if attr.impl.accepts_scalar_loader)

    @HasMemoized.memoized_attribute
    def _loader_impls(self) -> frozenset[Any]:
        return frozenset(attr.impl for attr in self.values())

    def _all_sqla_attributes(self, exclude: Any = None) -> Iterator[tuple[str, Any]]:
        """All inspectable descriptors of the class and its bases: mapped attributes, hybrids, proxies."""
        found: dict[str, type[Any]] = {}
        for supercls in self.class_.__mro__[0:-1]:
            inherits = supercls.__mro__[1]
            for key in supercls.__dict__:
                found.setdefault(key, supercls)
                if key in inherits.__dict__:
                    continue
                value = found[key].__dict__[key]
                if isinstance(value, interfaces.InspectionAttr) and value.is_attribute:
                    yield key, value

    def _get_class_attr_mro(self, key: str, default: Any = None) -> Any:
        for supercls in self.class_.__mro__:
            if key in supercls.__dict__:
                return supercls.__dict__[key]
        return default

    def _attr_has_impl(self, key: str) -> bool:
        return key in self._attributes and self._attributes[key].impl is not None

    def _subclass_manager(self, cls: type[Any]) -> ClassManager[Any]:
        return register_class(cls, finalize=False)

    # --- what is put on the class

    def _instrument_init(self) -> None:
        """Let construction pass through the instrumentation.

        Inline classes create their state in ``__new__``; only an ``init`` listener makes them need a wrapper.
        """
        if self.is_inline:
            if self.original_init is self.init_method and self.class_.__init__ is not self.init_method:
                self.install_member("__init__", self.original_init)
            self._wrap_init_if_heard()
        else:
            self.new_init = _generate_init(self.class_, self, self.original_init)
            self.install_member("__init__", self.new_init)

    def _wrap_init_if_heard(self) -> None:
        """Wrap ``__init__`` of an inline class once somebody listens to ``init`` or ``init_failure``."""
        if self.is_inline and self._finalized and self.new_init is None:
            if self.dispatch.init or self.dispatch.init_failure:
                self.new_init = _generate_listening_init(self.class_, self.class_.__init__)
                self.install_member("__init__", self.new_init)

    def _hear(self) -> None:
        """Somebody listens to events of this class' objects: put what announces them in place."""
        self._wrap_init_if_heard()
        if self._was_mapped and self.mapper is not None:
            self.mapper._hear()

    def manage(self) -> None:
        setattr(self.class_, self.MANAGER_ATTR, self)

    @util.hybridmethod
    def manager_getter(self) -> Any:
        return _default_manager_getter

    @util.hybridmethod
    def state_getter(self) -> Any:
        return _default_state_getter

    @util.hybridmethod
    def dict_getter(self) -> Any:
        return _default_dict_getter

    def instrument_attribute(self, key: str, inst: QueryableAttribute[Any], propagated: bool = False) -> None:
        if propagated:
            if key in self.local_attrs:
                return
        else:
            self.local_attrs[key] = inst
            self.install_descriptor(key, inst)
        self._reset_memoizations()
        self[key] = inst
        for cls in self.class_.__subclasses__():
            self._subclass_manager(cls).instrument_attribute(key, inst, True)

    def subclass_managers(self, recursive: bool) -> Iterator[ClassManager[Any]]:
        for cls in self.class_.__subclasses__():
            manager = base.opt_manager_of_class(cls)
            if manager is not None and manager is not self:
                yield manager
                if recursive:
                    yield from manager.subclass_managers(True)

    def post_configure_attribute(self, key: str) -> None:
        _instrumentation_factory.dispatch.attribute_instrument(self.class_, key, self[key])

    def uninstrument_attribute(self, key: str, propagated: bool = False) -> None:
        if key not in self:
            return
        if propagated:
            if key in self.local_attrs:
                return
        else:
            del self.local_attrs[key]
            self.uninstall_descriptor(key)
        self._reset_memoizations()
        del self[key]
        for cls in self.class_.__subclasses__():
            manager = base.opt_manager_of_class(cls)
            if manager:
                manager.uninstrument_attribute(key, True)

    def unregister(self) -> None:
        """Take everything off the class again, and off subclasses that were not mapped themselves."""
        for manager in list(self.subclass_managers(recursive=False)):
            if not manager.is_mapped:
                manager.unregister()
        for key in list(self.originals):
            self.uninstall_member(key)
        self.mapper = None
        self.dispatch = None
        self.new_init = None
        self.info.clear()
        for key in list(self):
            if key in self.local_attrs:
                self.uninstrument_attribute(key)
        self.uninstall()
        if self.MANAGER_ATTR in self.class_.__dict__:
            delattr(self.class_, self.MANAGER_ATTR)

    def _refuse_reserved(self, key: str) -> None:
        if key in (self.STATE_ATTR, self.MANAGER_ATTR):
            raise KeyError(
                f"{key!r}: requested attribute name conflicts with instrumentation attribute of the same name."
            )

    def install_descriptor(self, key: str, inst: QueryableAttribute[Any]) -> None:
        self._refuse_reserved(key)
        setattr(self.class_, key, inst)

    def uninstall_descriptor(self, key: str) -> None:
        delattr(self.class_, key)

    def install_member(self, key: str, implementation: Any) -> None:
        self._refuse_reserved(key)
        self.originals.setdefault(key, self.class_.__dict__.get(key, DEL_ATTR))
        setattr(self.class_, key, implementation)

    def uninstall_member(self, key: str) -> None:
        original = self.originals.pop(key, None)
        if original is not DEL_ATTR:
            setattr(self.class_, key, original)
        else:
            delattr(self.class_, key)

    def instrument_collection_class(self, key: str, collection_class: Any) -> Any:
        return collections._prepare_instrumentation(collection_class)

    def is_instrumented(self, key: str, search: bool = False) -> bool:
        return key in (self._attributes if search else self.local_attrs)

    def get_impl(self, key: str) -> Any:
        return self[key].impl

    @property
    def attributes(self) -> Iterator[Any]:
        return iter(self.values())

    # --- states

    def _new_state_if_none(self, instance: Any) -> Any:
        """The new state of an object under construction; False if it has one, as in a base class' ``__init__``."""
        if self.class_ is not instance.__class__ and self.is_mapped and not self.has_state(instance):
            return self._subclass_manager(instance.__class__)._new_state_if_none(instance)
        return self._new_state(instance)

    def has_state(self, instance: Any) -> bool:
        return hasattr(instance, self.STATE_ATTR)

    def teardown_instance(self, instance: Any) -> None:
        delattr(instance, self.STATE_ATTR)

    def has_parent(self, state: Any, key: str, optimistic: bool = False) -> bool:
        return self.get_impl(key).hasparent(state, optimistic=optimistic)

    def __repr__(self) -> str:
        return f"<{self.__class__.__name__} of {self.class_!r} at {id(self):x}>"


class InstrumentationFactory(EventTarget):
    """Makes class managers and announces them."""

    dispatch: Any

    def create_manager_for_cls(self, class_: type[_O]) -> ClassManager[_O]:
        assert class_ is not None
        assert base.opt_manager_of_class(class_) is None
        manager, factory = self._locate_extended_factory(class_)
        if factory is None:
            factory = ClassManager
            manager = ClassManager(class_)
        self._check_conflicts(class_, factory)
        manager.factory = factory
        return manager

    def _locate_extended_factory(self, class_: type[Any]) -> tuple[Any, Any]:
        return None, None

    def _check_conflicts(self, class_: type[Any], factory: Any) -> None:
        """Nothing can conflict while there is one kind of manager."""

    def unregister(self, class_: type[Any]) -> None:
        manager_of_class(class_).unregister()
        self.dispatch.class_uninstrument(class_)


_instrumentation_factory = InstrumentationFactory()

instance_state = _default_state_getter = base.instance_state
instance_dict = _default_dict_getter = base.instance_dict
manager_of_class = _default_manager_getter = base.manager_of_class
opt_manager_of_class = _default_opt_manager_getter = base.opt_manager_of_class


def register_class(
    class_: type[_O],
    finalize: bool = True,
    mapper: Mapper[_O] | None = None,
    registry: Any = None,
    declarative_scan: Any = None,
    expired_attribute_loader: Any = None,
    init_method: Callable[..., None] | None = None,
) -> ClassManager[_O]:
    """The manager of a class, made if there is none, with the given parts entered."""
    manager = base.opt_manager_of_class(class_)
    if manager is None:
        manager = _instrumentation_factory.create_manager_for_cls(class_)
    manager._update_state(
        mapper=mapper,
        registry=registry,
        declarative_scan=declarative_scan,
        expired_attribute_loader=expired_attribute_loader,
        init_method=init_method,
        finalize=finalize,
    )
    return manager


def unregister_class(class_: type[Any]) -> None:
    """Take the instrumentation of a class away."""
    _instrumentation_factory.unregister(class_)


def is_instrumented(instance: object, key: str) -> bool:
    """Whether a name is an instrumented attribute of an object, inherited ones included."""
    return manager_of_class(instance.__class__).is_instrumented(key, search=True)


def _initialize(state: Any, original_init: Callable[..., None], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Run a constructor with the ``init`` and ``init_failure`` events around it."""
    manager = state.manager
    manager.dispatch.init(state, args, kwargs)
    try:
        original_init(state.obj(), *args, **kwargs)
    except BaseException:
        with util.safe_reraise():
            manager.dispatch.init_failure(state, args, kwargs)


def _generate_init(
    class_: type[Any], class_manager: ClassManager[Any], original_init: Callable[..., None] | None
) -> Callable[..., None]:
    """The ``__init__`` of a class whose states are separate objects; it keeps the original's signature."""
    if original_init is None:
        original_init = class_.__init__
    return _compile_init(
        class_,
        original_init,
        "def __init__(%(apply_pos)s):\n"
        "    new_state = class_manager._new_state_if_none(%(self_arg)s)\n"
        "    if new_state:\n"
        "        return new_state._initialize_instance(%(apply_kw)s)\n"
        "    return original_init(%(apply_kw)s)\n",
        {"class_manager": class_manager, "original_init": original_init},
    )


def _generate_listening_init(class_: type[Any], original_init: Callable[..., None]) -> Callable[..., None]:
    """The ``__init__`` of an inline class that somebody listens to."""

    def heard(instance: Any, *args: Any, **kwargs: Any) -> None:
        # a base class' wrapper must not announce the same construction again
        if type(instance).__dict__.get("__init__") is wrapper or not _announced_by_subclass(instance, wrapper):
            _initialize(instance_state(instance), original_init, args, kwargs)
        else:
            original_init(instance, *args, **kwargs)

    wrapper = _compile_init(
        class_,
        original_init,
        "def __init__(%(apply_pos)s):\n    return heard(%(apply_kw)s)\n",
        {"heard": heard},
    )
    return wrapper


def _announced_by_subclass(instance: Any, wrapper: Callable[..., None]) -> bool:
    """Whether a class nearer to the instance than the wrapper's announces construction."""
    for cls in type(instance).__mro__:
        init = cls.__dict__.get("__init__")
        if init is wrapper:
            return False
        if hasattr(init, "_sa_original_init"):
            return True
    return False


def _compile_init(
    class_: type[Any], original_init: Callable[..., None], body: str, names: dict[str, Any]
) -> Callable[..., None]:
    source = body % util.format_argspec_init(original_init, grouped=False)
    env: dict[str, Any] = {**names, "__name__": __name__}
    description = f"__init__ for class {class_.__module__}.{class_.__qualname__}"
    init: Any = exec_code_in_env(source, env, "__init__", description)
    init.__doc__ = original_init.__doc__
    init._sa_original_init = original_init
    for attribute in ("__defaults__", "__kwdefaults__"):
        value = getattr(original_init, attribute, None)
        if value:
            setattr(init, attribute, value)
    return init
