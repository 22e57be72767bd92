"""Class-level attributes of mapped classes, and the public functions on the attributes of an object.

Reading, writing and history of values are native (`_core`); this module makes them SQL expressions at class level and
sets them up when a class is mapped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import exc as sa_exc
from sqlalchemy import inspection, util
from sqlalchemy.event import EventTarget
from sqlalchemy.sql import base as sql_base
from sqlalchemy.sql import cache_key, coercions, roles, visitors
from sqlalchemy.types import TypeDecorator, TypeEngine

from .. import _core
from .._sa import COMPILE_STATE_PLUGIN, _self_inspects, annotate, mark_lasting
from . import interfaces
from ._attribute_impl import OP_APPEND as OP_APPEND
from ._attribute_impl import OP_BULK_REPLACE as OP_BULK_REPLACE
from ._attribute_impl import OP_MODIFIED as OP_MODIFIED
from ._attribute_impl import OP_REMOVE as OP_REMOVE
from ._attribute_impl import OP_REPLACE as OP_REPLACE
from ._attribute_impl import AttributeEvent as AttributeEvent
from ._attribute_impl import AttributeEventToken as AttributeEventToken
from ._attribute_impl import Event as Event
from ._attribute_impl import (
    _AttributeImpl,
    _CollectionAttributeImpl,
    _ScalarAttributeImpl,
    _ScalarObjectAttributeImpl,
)
from ._attribute_impl import _is_collection_attribute_impl as _is_collection_attribute_impl
from ._comparison_template import QuickComparison
from ._history import HISTORY_BLANK as HISTORY_BLANK
from ._history import History as History
from ._listeners import heard
from ._typing import insp_is_aliased_class
from .base import ATTR_EMPTY as ATTR_EMPTY
from .base import ATTR_WAS_SET as ATTR_WAS_SET
from .base import CALLABLES_OK as CALLABLES_OK
from .base import DEFERRED_HISTORY_LOAD as DEFERRED_HISTORY_LOAD
from .base import DONT_SET as DONT_SET
from .base import INCLUDE_PENDING_MUTATIONS as INCLUDE_PENDING_MUTATIONS
from .base import INIT_OK as INIT_OK
from .base import LOAD_AGAINST_COMMITTED as LOAD_AGAINST_COMMITTED
from .base import NEVER_SET as NEVER_SET
from .base import NO_AUTOFLUSH as NO_AUTOFLUSH
from .base import NO_CHANGE as NO_CHANGE
from .base import NO_KEY as NO_KEY
from .base import NO_RAISE as NO_RAISE
from .base import NO_VALUE as NO_VALUE
from .base import NON_PERSISTENT_OK as NON_PERSISTENT_OK
from .base import PASSIVE_CLASS_MISMATCH as PASSIVE_CLASS_MISMATCH
from .base import PASSIVE_NO_FETCH as PASSIVE_NO_FETCH
from .base import PASSIVE_NO_FETCH_RELATED as PASSIVE_NO_FETCH_RELATED
from .base import PASSIVE_NO_INITIALIZE as PASSIVE_NO_INITIALIZE
from .base import PASSIVE_NO_RESULT as PASSIVE_NO_RESULT
from .base import PASSIVE_OFF as PASSIVE_OFF
from .base import PASSIVE_ONLY_PERSISTENT as PASSIVE_ONLY_PERSISTENT
from .base import PASSIVE_RETURN_NO_VALUE as PASSIVE_RETURN_NO_VALUE
from .base import RELATED_OBJECT_OK as RELATED_OBJECT_OK
from .base import SQL_OK as SQL_OK
from .base import LoaderCallableStatus as LoaderCallableStatus
from .base import Mapped as Mapped
from .base import PassiveFlag as PassiveFlag
from .base import SQLORMExpression, _DeclarativeMapped
from .base import instance_dict as instance_dict
from .base import instance_state as instance_state
from .base import instance_str as instance_str
from .base import manager_of_class as manager_of_class
from .base import opt_manager_of_class as opt_manager_of_class
from .base import state_str as state_str

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ColumnElement

    from .._sa import _ColumnExpressionArgument
    from ._typing import _T, _EntityType

_T_co = TypeVar("_T_co", bound=Any, covariant=True)

_UNKNOWN_ATTR_KEY = object()


@_self_inspects
class QueryableAttribute(
    _DeclarativeMapped[_T_co],
    SQLORMExpression[_T_co],
    interfaces.InspectionAttr,
    interfaces.PropComparator[_T_co],
    roles.JoinTargetRole,
    roles.OnClauseRole,
    sql_base.Immutable,
    cache_key.SlotsMemoizedHasCacheKey,
    util.MemoizedSlots,
    EventTarget,
):
    """An attribute of a mapped class or alias, as the class shows it: a SQL expression."""

    is_attribute = True
    dispatch: Any
    class_: Any
    key: str
    impl: Any
    comparator: Any
    parent: Any
    expression: Any
    _of_type: Any
    _extra_criteria: tuple[Any, ...]
    _doc: str | None

    __visit_name__ = "orm_instrumented_attribute"

    _cache_key_traversal = [
        ("key", visitors.ExtendedInternalTraversal.dp_string),
        ("_parententity", visitors.ExtendedInternalTraversal.dp_multi),
        ("_of_type", visitors.ExtendedInternalTraversal.dp_multi),
        ("_extra_criteria", visitors.InternalTraversal.dp_clauseelement_list),
    ]

    def __init__(
        self,
        class_: Any,
        key: str,
        parententity: Any,
        comparator: Any,
        impl: Any = None,
        of_type: Any = None,
        extra_criteria: tuple[Any, ...] = (),
    ) -> None:
        self.class_ = class_
        self.key = key
        self._parententity = self.parent = parententity
        self.impl = impl
        assert comparator is not None
        self.comparator = comparator
        self._of_type = of_type
        self._extra_criteria = extra_criteria
        self._doc = None

        manager = opt_manager_of_class(class_)
        if manager:
            # listeners of the same attribute on a base class hold here too
            for base in manager._bases:
                if key in base:
                    self.dispatch._update(base[key].dispatch)
                    if base[key].dispatch._active_history:
                        self.dispatch._active_history = True

    def __reduce__(self) -> Any:
        entity = self._parententity
        return _queryable_attribute_unreduce, (self.key, entity.mapper.class_, entity, entity.entity)

    @property
    def _impl_uses_objects(self) -> bool:
        return self.impl.uses_objects

    def get_history(self, instance: Any, passive: Any = PASSIVE_OFF) -> History:
        return get_history(instance, self.impl.key, passive)

    @property
    def info(self) -> Any:
        return self.comparator.info

    def _memoized_attr_expression(self) -> Any:
        annotations: dict[str, Any] = {"entity_namespace": self._entity_namespace}
        if self.key is not _UNKNOWN_ATTR_KEY:
            annotations["proxy_key"] = self.key
            annotations["proxy_owner"] = self._parententity
        element = self.comparator.__clause_element__()
        if not hasattr(element, "_annotate"):
            raise sa_exc.InvalidRequestError(
                f'When interpreting attribute "{self}" as a SQL expression, expected __clause_element__() to return '
                f"a ClauseElement object, got: {element!r}"
            )
        return annotate(element, annotations)

    def _memoized_attr__propagate_attrs(self) -> Any:
        return util.immutabledict({"compile_state_plugin": COMPILE_STATE_PLUGIN, "plugin_subject": self._parentmapper})

    @property
    def _entity_namespace(self) -> Any:
        return self._parententity

    @property
    def _annotations(self) -> Any:
        return self.__clause_element__()._annotations

    def __clause_element__(self) -> ColumnElement[_T_co]:
        return self.expression

    @property
    def _from_objects(self) -> Any:
        return self.expression._from_objects

    def _bulk_update_tuples(self, value: Any) -> Any:
        return self.comparator._bulk_update_tuples(value)

    def _bulk_dml_setter(self, key: str) -> Any:
        return self.comparator._bulk_dml_setter(key)

    def adapt_to_entity(self, adapt_to_entity: Any) -> Any:
        assert not self._of_type
        return _plain_kind(self)(
            adapt_to_entity.entity,
            self.key,
            impl=self.impl,
            comparator=self.comparator.adapt_to_entity(adapt_to_entity),
            parententity=adapt_to_entity,
        )

    def of_type(self, entity: _EntityType[_T]) -> QueryableAttribute[_T]:
        return QueryableAttribute(
            self.class_,
            self.key,
            self._parententity,
            impl=self.impl,
            comparator=self.comparator.of_type(entity),
            of_type=inspection.inspect(entity),
            extra_criteria=self._extra_criteria,
        )

    def and_(self, *clauses: _ColumnExpressionArgument[bool]) -> QueryableAttribute[bool]:
        criteria = tuple(
            coercions.expect(roles.WhereHavingRole, clause) for clause in util.coerce_generator_arg(clauses)
        )
        return QueryableAttribute(
            self.class_,
            self.key,
            self._parententity,
            impl=self.impl,
            comparator=self.comparator.and_(*criteria),
            of_type=self._of_type,
            extra_criteria=self._extra_criteria + criteria,
        )

    def _clone(self, **kw: Any) -> QueryableAttribute[_T_co]:
        return QueryableAttribute(
            self.class_,
            self.key,
            self._parententity,
            impl=self.impl,
            comparator=self.comparator,
            of_type=self._of_type,
            extra_criteria=self._extra_criteria,
        )

    def label(self, name: str | None) -> Any:
        return self.__clause_element__().label(name)

    def operate(self, op: Any, *other: Any, **kwargs: Any) -> Any:
        return op(self.comparator, *other, **kwargs)

    def reverse_operate(self, op: Any, other: Any, **kwargs: Any) -> Any:
        return op(other, self.comparator, **kwargs)

    def hasparent(self, state: Any, optimistic: bool = False) -> bool:
        return self.impl.hasparent(state, optimistic=optimistic) is not False

    def _column_strategy_attrs(self) -> tuple[Any, ...]:
        return (self,)

    def __getattr__(self, key: str) -> Any:
        try:
            return util.MemoizedSlots.__getattr__(self, key)
        except AttributeError:
            pass
        try:
            return getattr(self.comparator, key)
        except AttributeError as error:
            raise AttributeError(
                f"Neither {type(self).__name__!r} object nor {type(self.comparator).__name__!r} object associated "
                f"with {self} has an attribute {key!r}"
            ) from error

    def __str__(self) -> str:
        return f"{self.class_.__name__}.{self.key}"

    # last in the class: it hides the builtin
    @util.ro_non_memoized_property
    def property(self) -> Any:
        return self.comparator.property


def _plain_kind(attribute: QueryableAttribute[Any]) -> type[Any]:
    """The class of an attribute of an alias: never a descriptor of native storage."""
    return _AdaptedAttribute if isinstance(attribute, InstrumentedAttribute) else type(attribute)


class _AdaptedAttribute(QueryableAttribute[_T_co]):
    """An attribute of an alias.

    No base of ``InstrumentedAttribute``: in ``alias.x < User.x`` Python would ask the right side first.
    """

    inherit_cache = True


def _queryable_attribute_unreduce(key: str, mapped_class: Any, parententity: Any, entity: Any) -> Any:
    if insp_is_aliased_class(parententity):
        return entity._get_from_serialized(key, mapped_class, parententity)
    return getattr(entity, key)


class InstrumentedAttribute(_core.AttributeDescriptor, QuickComparison, QueryableAttribute[_T_co]):
    """An attribute of a mapped class: native storage on objects, a SQL expression on the class."""

    inherit_cache = True

    # Other bases come first in the MRO.
    operate = QueryableAttribute.operate  # pyright: ignore[reportAssignmentType]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._comparison_templates = {}
        # loader options about nothing but this attribute
        self._shared_options: dict[Any, Any] = {}
        QueryableAttribute.__init__(self, *args, **kwargs)

    def _memoized_attr_expression(self) -> Any:
        return mark_lasting(QueryableAttribute._memoized_attr_expression(self))

    @util.rw_hybridproperty
    def __doc__(self) -> str | None:  # pyright: ignore[reportRedeclaration]
        return self._doc

    @__doc__.setter  # type: ignore[no-redef]
    def __doc__(self, value: str | None) -> None:  # pyright: ignore[reportRedeclaration]
        self._doc = value

    @__doc__.classlevel  # type: ignore[no-redef]
    def __doc__(cls) -> str | None:
        return super().__doc__

    def _hear(self) -> None:
        """Tell the native side which events of this attribute have listeners."""
        if self.impl is None:
            # not set up yet; asked again then
            return
        self._set_listeners(heard(self.dispatch, _EVENTS))
        self._set_active_history(bool(self.dispatch._active_history))


_EVENTS = (
    "set",
    "append",
    "append_wo_mutation",
    "remove",
    "bulk_replace",
    "init_scalar",
    "init_collection",
    "dispose_collection",
    "modified",
)


def get_history(obj: object, key: str, passive: Any = PASSIVE_OFF) -> History:
    """The changes of one attribute of an object since its committed state."""
    return instance_state(obj).get_history(key, passive)


def get_state_history(state: Any, key: str, passive: Any = PASSIVE_OFF) -> History:
    """As `get_history`, for an `InstanceState`."""
    return state.get_history(key, passive)


def has_parent(cls: type[Any], obj: object, key: str, optimistic: bool = False) -> bool:
    """Whether an object has a parent along a relationship; `optimistic`: what counts when that is not known."""
    return manager_of_class(cls).has_parent(instance_state(obj), key, optimistic)


def _register_attribute(
    class_: type[Any], key: str, *, comparator: Any, parententity: Any, doc: str | None = None, **kw: Any
) -> InstrumentedAttribute[Any]:
    _register_descriptor(class_, key, comparator=comparator, parententity=parententity, doc=doc)
    return _register_attribute_impl(class_, key, **kw)


def _register_attribute_impl(
    class_: type[Any],
    key: str,
    uselist: bool = False,
    callable_: Callable[..., Any] | None = None,
    useobject: bool = False,
    impl_class: type[Any] | None = None,
    backref: str | None = None,
    **kw: Any,
) -> InstrumentedAttribute[Any]:
    """Give the descriptor of an attribute its storage: scalar, object or collection.

    ``backref`` names the other side's attribute, where no relationship tells the native side.
    """
    manager = manager_of_class(class_)
    descriptor: Any = manager[key]
    typecallable = kw.pop("typecallable", None)
    if uselist:
        typecallable = manager.instrument_collection_class(key, typecallable or list)

    kind: type[_AttributeImpl]
    if impl_class is not None:
        kind = impl_class
    elif uselist:
        kind = _CollectionAttributeImpl
    elif useobject:
        kind = _ScalarObjectAttributeImpl
    else:
        kind = _ScalarAttributeImpl
    impl = kind(class_, key, callable_, descriptor.dispatch, typecallable=typecallable, **kw)
    descriptor.impl = impl
    descriptor._bind(
        manager,
        key,
        kind=impl.kind,
        active_history=bool(impl.dispatch._active_history),
        default_loader=impl.accepts_scalar_loader,
    )
    if callable_ is not None:
        descriptor._set_loader(callable_, getattr(callable_, "_only_with_options", None) is True)
    if backref is not None:
        descriptor._set_backref(backref)
    if not _compares_plainly(impl.compare_function):
        descriptor._set_compare(impl.compare_function)
    if impl._default_scalar_value is not None:
        descriptor._set_default(impl._default_scalar_value)
    if uselist and impl_class is None:
        descriptor._set_collection_factory(None if typecallable is _core.InstrumentedList else typecallable)
    descriptor._hear()
    manager.post_configure_attribute(key)
    return descriptor


def _compares_plainly(compare_function: Any) -> bool:
    """Whether a comparison is ``==``: then the native core does it itself."""
    function = getattr(compare_function, "__func__", None)
    type_: Any = getattr(compare_function, "__self__", None)
    if function is TypeDecorator.compare_values:
        return _compares_plainly(type_.impl_instance.compare_values)
    return compare_function is None or function is TypeEngine.compare_values


def _register_descriptor(
    class_: type[Any], key: str, *, comparator: Any, parententity: Any, doc: str | None = None
) -> InstrumentedAttribute[Any]:
    manager = manager_of_class(class_)
    descriptor: InstrumentedAttribute[Any] = InstrumentedAttribute(
        class_, key, comparator=comparator, parententity=parententity
    )
    descriptor._doc = doc
    manager.instrument_attribute(key, descriptor)
    return descriptor


def _unregister_attribute(class_: type[Any], key: str) -> None:
    manager_of_class(class_).uninstrument_attribute(key)


def init_collection(obj: object, key: str) -> Any:
    """An empty collection for the attribute, ready to be filled without events."""
    return _core.init_collection(obj, key)


def init_state_collection(state: Any, dict_: Any, key: str) -> Any:
    """As `init_collection`, for an `InstanceState`."""
    return _core.init_collection(state.obj(), key)


def set_committed_value(instance: object, key: str, value: Any) -> None:
    """Give an attribute a value without history, as if it had been loaded."""
    _core.set_committed_value(instance, key, value)


def set_attribute(instance: object, key: str, value: Any, initiator: Any = None) -> None:
    """Set an attribute with events, past a descriptor that hides it."""
    _core.set_attribute(instance, key, value, initiator)


def get_attribute(instance: object, key: str) -> Any:
    """Read an attribute as its descriptor would, past a descriptor that hides it."""
    return _core.get_attribute(instance, key, PASSIVE_OFF)


def del_attribute(instance: object, key: str) -> None:
    """Delete an attribute with events, past a descriptor that hides it."""
    _core.del_attribute(instance, key)


def flag_modified(instance: object, key: str) -> None:
    """Mark a loaded attribute as changed in place."""
    _core.flag_modified(instance, key)


def flag_dirty(instance: object) -> None:
    """Put an object among the dirty ones without naming an attribute."""
    _core.flag_dirty(instance)


from ._proxied_attribute import _AdHocHasEntityNamespace as _AdHocHasEntityNamespace  # noqa: E402
from ._proxied_attribute import _create_proxied_attribute as _create_proxied_attribute  # noqa: E402
