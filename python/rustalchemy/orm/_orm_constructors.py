"""The functions that declare attributes of a mapped class.

Each one gives the arguments their public names, defaults and types and passes them to the class that does the work.
Arguments that are called like those of `dataclasses.field()` (init, repr, default, default_factory, compare, kw_only,
hash, dataclass_metadata) are for classes that become dataclasses; they mean what they mean there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NoReturn,
    Optional,
    TypeVar,
    Union,
    overload,
)

from sqlalchemy import exc as sa_exc
from sqlalchemy import null, util
from sqlalchemy.sql.base import SchemaEventTarget
from sqlalchemy.sql.schema import SchemaConst

from .. import _sa
from .._sa import _NoArg
from ._attribute_options import _AttributeOptions
from ._on_lazy import OnLazy
from .descriptor_props import Composite, Synonym
from .mapper import _all_registries, _dispose_registries
from .properties import MappedColumn, MappedSQLExpression, UnmappedColumn
from .relationships import RelationshipProperty, _RelationshipDeclared

if TYPE_CHECKING:
    from ._composite import _CC, _CompositeAttrType
    from ._typing import _ORMColumnExprArgument
    from .interfaces import PropComparator

_T = TypeVar("_T")

# Shorthands of this module's signatures.
_Flag = Union[_NoArg, bool]
_HashFlag = Union[_NoArg, bool, None]
_Metadata = Union[_NoArg, Mapping[Any, Any], None]
_Info = Optional[dict[Any, Any]]
# The default of query_expression(): one object, as for every default argument.
_NULL: Any = null()
_Nullable = Optional[Union[bool, Literal[SchemaConst.NULL_UNSPECIFIED]]]


def mapped_column(
    __name_pos: Optional[Union[str, Any, SchemaEventTarget]] = None,
    __type_pos: Optional[Union[Any, SchemaEventTarget]] = None,
    /,
    *args: SchemaEventTarget,
    init: _Flag = _NoArg.NO_ARG,
    repr: _Flag = _NoArg.NO_ARG,
    default: Optional[Any] = _NoArg.NO_ARG,
    default_factory: Union[_NoArg, Callable[[], _T]] = _NoArg.NO_ARG,
    compare: _Flag = _NoArg.NO_ARG,
    kw_only: _Flag = _NoArg.NO_ARG,
    hash: _HashFlag = _NoArg.NO_ARG,
    nullable: _Nullable = SchemaConst.NULL_UNSPECIFIED,
    primary_key: Optional[bool] = False,
    deferred: _Flag = _NoArg.NO_ARG,
    deferred_group: Optional[str] = None,
    deferred_raiseload: Optional[bool] = None,
    use_existing_column: bool = False,
    name: Optional[str] = None,
    type_: Optional[Any] = None,
    autoincrement: Union[bool, Literal["auto", "ignore_fk"]] = "auto",
    doc: Optional[str] = None,
    key: Optional[str] = None,
    index: Optional[bool] = None,
    unique: Optional[bool] = None,
    info: _Info = None,
    onupdate: Optional[Any] = None,
    insert_default: Optional[Any] = _NoArg.NO_ARG,
    server_default: Optional[Any] = None,
    server_onupdate: Optional[Any] = None,
    active_history: bool = False,
    quote: Optional[bool] = None,
    system: bool = False,
    comment: Optional[str] = None,
    sort_order: Union[_NoArg, int] = _NoArg.NO_ARG,
    dataclass_metadata: _Metadata = _NoArg.NO_ARG,
    **kw: Any,
) -> MappedColumn[Any]:
    """Declare a column of a mapped class's table.

    Name, type and nullability come from the attribute and its ``Mapped[]`` annotation where they are not given. All
    arguments of :class:`sqlalchemy.Column` are accepted, and beside them:

    :param default: value for new objects in a dataclass, default of the Column otherwise.
    :param insert_default: default of the Column in any case.
    :param deferred: load the column when the attribute is first read; with ``deferred_group`` together with the others
        of that group; with ``deferred_raiseload`` refuse to load it.
    :param use_existing_column: in single-table inheritance, share the column of that name with sibling classes.
    :param active_history: load the old value before it is replaced.
    :param sort_order: place among the columns of the table; lower numbers come first, 0 if not given.
    """
    return MappedColumn(
        __name_pos,
        __type_pos,
        *args,
        attribute_options=_AttributeOptions(
            init, repr, default, default_factory, compare, kw_only, hash, dataclass_metadata
        ),
        nullable=nullable,
        primary_key=primary_key,
        deferred=deferred,
        deferred_group=deferred_group,
        deferred_raiseload=deferred_raiseload,
        use_existing_column=use_existing_column,
        name=name,
        type_=type_,
        autoincrement=autoincrement,
        doc=doc,
        key=key,
        index=index,
        unique=unique,
        info=info,
        onupdate=onupdate,
        insert_default=insert_default,
        server_default=server_default,
        server_onupdate=server_onupdate,
        active_history=active_history,
        quote=quote,
        system=system,
        comment=comment,
        sort_order=sort_order,
        **kw,
    )


def unmapped_column(
    __name_pos: Optional[Union[str, Any, SchemaEventTarget]] = None,
    __type_pos: Optional[Union[Any, SchemaEventTarget]] = None,
    /,
    *args: SchemaEventTarget,
    init: Literal[False] = False,
    nullable: _Nullable = SchemaConst.NULL_UNSPECIFIED,
    primary_key: Optional[bool] = False,
    autoincrement: Union[bool, Literal["auto", "ignore_fk"]] = "auto",
    use_existing_column: bool = False,
    name: Optional[str] = None,
    type_: Optional[Any] = None,
    index: Optional[bool] = None,
    unique: Optional[bool] = None,
    info: _Info = None,
    default: Optional[Any] = _NoArg.NO_ARG,
    insert_default: Optional[Any] = _NoArg.NO_ARG,
    onupdate: Optional[Any] = None,
    server_default: Optional[Any] = None,
    server_onupdate: Optional[Any] = None,
    quote: Optional[bool] = None,
    system: bool = False,
    comment: Optional[str] = None,
    sort_order: Union[_NoArg, int] = _NoArg.NO_ARG,
    **kw: Any,
) -> UnmappedColumn[Any]:
    """Declare a column of the table that is no attribute of the class; for use with ``Unmapped[]``."""
    return UnmappedColumn(
        __name_pos,
        __type_pos,
        *args,
        nullable=nullable,
        primary_key=primary_key,
        autoincrement=autoincrement,
        use_existing_column=use_existing_column,
        name=name,
        type_=type_,
        index=index,
        unique=unique,
        info=info,
        default=default,
        insert_default=insert_default,
        onupdate=onupdate,
        server_default=server_default,
        server_onupdate=server_onupdate,
        quote=quote,
        system=system,
        comment=comment,
        sort_order=sort_order,
        **kw,
    )


def orm_insert_sentinel(
    name: Optional[str] = None,
    type_: Optional[Any] = None,
    *,
    default: Optional[Any] = None,
    omit_from_statements: bool = True,
) -> MappedColumn[Any]:
    """Declare a column that lets rows of a multi-row INSERT be matched with what comes back."""
    return mapped_column(
        name=name,
        default=default if default is not None else _sa._InsertSentinelColumnDefault(),
        _omit_from_statements=omit_from_statements,
        insert_sentinel=True,
        use_existing_column=True,
        nullable=True,
    )


@util.deprecated_params(
    **{
        argument: (
            "2.0",
            f"The :paramref:`_orm.column_property.{argument}` parameter is deprecated for "
            ":func:`_orm.column_property`.  "
            "This parameter applies to a writeable-attribute in a Declarative Dataclasses configuration only, and "
            ":func:`_orm.column_property` is treated as a read-only attribute in this context.",
        )
        for argument in ("init", "kw_only", "default", "default_factory")
    }
)
def column_property(
    column: _ORMColumnExprArgument[_T],
    *additional_columns: _ORMColumnExprArgument[Any],
    group: Optional[str] = None,
    deferred: bool = False,
    raiseload: bool = False,
    comparator_factory: Optional[type[PropComparator[_T]]] = None,
    init: _Flag = _NoArg.NO_ARG,
    repr: _Flag = _NoArg.NO_ARG,
    default: Optional[Any] = _NoArg.NO_ARG,
    default_factory: Union[_NoArg, Callable[[], _T]] = _NoArg.NO_ARG,
    compare: _Flag = _NoArg.NO_ARG,
    kw_only: _Flag = _NoArg.NO_ARG,
    hash: _HashFlag = _NoArg.NO_ARG,
    active_history: bool = False,
    expire_on_flush: bool = True,
    info: _Info = None,
    doc: Optional[str] = None,
    dataclass_metadata: _Metadata = _NoArg.NO_ARG,
) -> MappedSQLExpression[_T]:
    """Declare an attribute for a Column, for columns joined by equality, or for a SQL expression (then read-only).

    :param active_history: load the old value before it is replaced.
    :param expire_on_flush: let an expression's value expire when the object is flushed.
    :param deferred, group, raiseload: as for :func:`deferred`.
    """
    return MappedSQLExpression(
        column,
        *additional_columns,
        attribute_options=_AttributeOptions(
            False if init is _NoArg.NO_ARG else init,
            repr,
            default,
            default_factory,
            compare,
            kw_only,
            hash,
            dataclass_metadata,
        ),
        group=group,
        deferred=deferred,
        raiseload=raiseload,
        comparator_factory=comparator_factory,
        active_history=active_history,
        expire_on_flush=expire_on_flush,
        info=info,
        doc=doc,
        _assume_readonly_dc_attributes=True,
    )


def deferred(
    column: _ORMColumnExprArgument[_T],
    *additional_columns: _ORMColumnExprArgument[Any],
    group: Optional[str] = None,
    raiseload: bool = False,
    comparator_factory: Optional[type[PropComparator[_T]]] = None,
    init: _Flag = _NoArg.NO_ARG,
    repr: _Flag = _NoArg.NO_ARG,
    default: Optional[Any] = _NoArg.NO_ARG,
    default_factory: Union[_NoArg, Callable[[], _T]] = _NoArg.NO_ARG,
    compare: _Flag = _NoArg.NO_ARG,
    kw_only: _Flag = _NoArg.NO_ARG,
    hash: _HashFlag = _NoArg.NO_ARG,
    active_history: bool = False,
    expire_on_flush: bool = True,
    info: _Info = None,
    doc: Optional[str] = None,
    dataclass_metadata: _Metadata = _NoArg.NO_ARG,
) -> MappedSQLExpression[_T]:
    """Declare a column attribute that is loaded when it is first read.

    :param group: load it together with the others of that group.
    :param raiseload: raise instead of loading.
    """
    return MappedSQLExpression(
        column,
        *additional_columns,
        attribute_options=_AttributeOptions(
            init, repr, default, default_factory, compare, kw_only, hash, dataclass_metadata
        ),
        group=group,
        deferred=True,
        raiseload=raiseload,
        comparator_factory=comparator_factory,
        active_history=active_history,
        expire_on_flush=expire_on_flush,
        info=info,
        doc=doc,
    )


def query_expression(
    default_expr: _ORMColumnExprArgument[_T] = _NULL,
    *,
    repr: _Flag = _NoArg.NO_ARG,
    compare: _Flag = _NoArg.NO_ARG,
    expire_on_flush: bool = True,
    info: _Info = None,
    doc: Optional[str] = None,
) -> MappedSQLExpression[_T]:
    """Declare an attribute whose SQL expression is given by each query, with :func:`with_expression`."""
    prop: MappedSQLExpression[_T] = MappedSQLExpression(
        default_expr,
        attribute_options=_AttributeOptions(
            False,
            repr,
            _NoArg.NO_ARG,
            _NoArg.NO_ARG,
            compare,
            _NoArg.NO_ARG,
            _NoArg.NO_ARG,
            _NoArg.NO_ARG,
        ),
        expire_on_flush=expire_on_flush,
        info=info,
        doc=doc,
        _assume_readonly_dc_attributes=True,
    )
    prop.strategy_key = (("query_expression", True),)
    return prop


@overload
def composite(_class_or_attr: type[_CC], /, *attrs: _CompositeAttrType[Any], **kw: Any) -> Composite[_CC]: ...


@overload
def composite(
    _class_or_attr: _CompositeAttrType[Any], /, *attrs: _CompositeAttrType[Any], **kw: Any
) -> Composite[Any]: ...


@overload
def composite(_class_or_attr: Callable[..., _CC], /, *attrs: _CompositeAttrType[Any], **kw: Any) -> Composite[_CC]: ...


@overload
def composite(**kw: Any) -> Composite[Any]: ...


def composite(
    _class_or_attr: Union[type[_CC], Callable[..., _CC], _CompositeAttrType[Any], None] = None,
    /,
    *attrs: _CompositeAttrType[Any],
    group: Optional[str] = None,
    deferred: bool = False,
    raiseload: bool = False,
    return_none_on: Union[_NoArg, Callable[..., bool], None] = _NoArg.NO_ARG,
    comparator_factory: Optional[type[Composite.Comparator[Any]]] = None,
    active_history: bool = False,
    column_template: Optional[str] = None,
    init: _Flag = _NoArg.NO_ARG,
    repr: _Flag = _NoArg.NO_ARG,
    default: Optional[Any] = _NoArg.NO_ARG,
    default_factory: Union[_NoArg, Callable[[], Any]] = _NoArg.NO_ARG,
    compare: _Flag = _NoArg.NO_ARG,
    kw_only: _Flag = _NoArg.NO_ARG,
    hash: _HashFlag = _NoArg.NO_ARG,
    info: _Info = None,
    doc: Optional[str] = None,
    dataclass_metadata: _Metadata = _NoArg.NO_ARG,
    **__kw: Any,
) -> Composite[Any]:
    """Declare an attribute whose value is an object made of several columns.

    :param _class_or_attr: the class of the values (from the annotation if not given), or already the first column.
    :param return_none_on: function of the columns' values; where it is true, the attribute reads as None.
    :param column_template: pattern with one ``%s`` for the names of columns made from a dataclass's fields.
    """
    if __kw:
        raise _sa._no_kw()
    return Composite(
        _class_or_attr,
        *attrs,
        return_none_on=return_none_on,
        attribute_options=_AttributeOptions(
            init, repr, default, default_factory, compare, kw_only, hash, dataclass_metadata
        ),
        group=group,
        deferred=deferred,
        raiseload=raiseload,
        comparator_factory=comparator_factory,
        active_history=active_history,
        column_template=column_template,
        info=info,
        doc=doc,
    )


def relationship(
    argument: Optional[Any] = None,
    secondary: Optional[Any] = None,
    *,
    uselist: Optional[bool] = None,
    collection_class: Optional[Union[type[Collection[Any]], Callable[[], Collection[Any]]]] = None,
    primaryjoin: Optional[Any] = None,
    secondaryjoin: Optional[Any] = None,
    back_populates: Optional[Any] = None,
    order_by: Any = False,
    backref: Optional[Union[str, tuple[str, dict[str, Any]]]] = None,
    overlaps: Optional[str] = None,
    post_update: bool = False,
    cascade: str = "save-update, merge",
    viewonly: bool = False,
    init: _Flag = _NoArg.NO_ARG,
    repr: _Flag = _NoArg.NO_ARG,
    default: Union[_NoArg, _T] = _NoArg.NO_ARG,
    default_factory: Union[_NoArg, Callable[[], _T]] = _NoArg.NO_ARG,
    compare: _Flag = _NoArg.NO_ARG,
    kw_only: _Flag = _NoArg.NO_ARG,
    hash: _HashFlag = _NoArg.NO_ARG,
    lazy: Any = "select",
    passive_deletes: Union[Literal["all"], bool] = False,
    passive_updates: bool = True,
    active_history: bool = False,
    enable_typechecks: bool = True,
    foreign_keys: Optional[Any] = None,
    remote_side: Optional[Any] = None,
    join_depth: Optional[int] = None,
    comparator_factory: Optional[type[PropComparator[Any]]] = None,
    single_parent: bool = False,
    innerjoin: Union[bool, str] = False,
    distinct_target_key: Optional[bool] = None,
    load_on_pending: bool = False,
    query_class: Optional[type[Any]] = None,
    info: _Info = None,
    omit_join: Literal[None, False] = None,
    sync_backref: Optional[bool] = None,
    on_lazy: Optional[OnLazy] = None,
    dataclass_metadata: _Metadata = _NoArg.NO_ARG,
    **kw: Any,
) -> _RelationshipDeclared[Any]:
    """Declare an attribute that refers to objects of another mapped class.

    Target and kind (collection or scalar) come from the ``Mapped[]`` annotation where they are not given. Classes,
    tables, join conditions and orderings may be given as strings or functions, which are evaluated when mappers are
    configured.

    :param argument: the target class, its mapper, or its name.
    :param secondary: the association table of a many-to-many relationship.
    :param back_populates: the attribute of the target class that is the other direction; both sides are kept in step.
    :param backref: make the other direction, under this name.
    :param primaryjoin, secondaryjoin, foreign_keys, remote_side: the join, where foreign keys of the tables do not say
        it.
    :param cascade: operations that spread along the relationship: save-update, merge, expunge, delete, delete-orphan,
        refresh-expire, all.
    :param lazy: how the attribute is loaded: "select", "joined", "selectin", "subquery", "immediate", "raise",
        "raise_on_sql", "noload", "dynamic", "write_only".
    :param on_lazy: what happens where the attribute would be loaded lazily, in place of the session's setting: "load",
        "warn", "raise", or "batch", which loads it for all objects of the same result.
    :param viewonly: only read; changes are not written.
    :param passive_deletes: leave children that are not loaded to the database's ON DELETE; "all": loaded ones as well.
    :param post_update: write the foreign key by a second UPDATE, for rows that refer to each other.
    """
    return _RelationshipDeclared(
        argument,
        secondary=secondary,
        uselist=uselist,
        collection_class=collection_class,
        primaryjoin=primaryjoin,
        secondaryjoin=secondaryjoin,
        back_populates=back_populates,
        order_by=order_by,
        backref=backref,
        overlaps=overlaps,
        post_update=post_update,
        cascade=cascade,
        viewonly=viewonly,
        attribute_options=_AttributeOptions(
            init, repr, default, default_factory, compare, kw_only, hash, dataclass_metadata
        ),
        lazy=lazy,
        passive_deletes=passive_deletes,
        passive_updates=passive_updates,
        active_history=active_history,
        enable_typechecks=enable_typechecks,
        foreign_keys=foreign_keys,
        remote_side=remote_side,
        join_depth=join_depth,
        comparator_factory=comparator_factory,
        single_parent=single_parent,
        innerjoin=innerjoin,
        distinct_target_key=distinct_target_key,
        load_on_pending=load_on_pending,
        query_class=query_class,
        info=info,
        omit_join=omit_join,
        sync_backref=sync_backref,
        on_lazy=on_lazy,
        **kw,
    )


def dynamic_loader(argument: Optional[Any] = None, **kw: Any) -> RelationshipProperty[Any]:
    """Declare a relationship with ``lazy="dynamic"``."""
    kw["lazy"] = "dynamic"
    return relationship(argument, **kw)


def backref(name: str, **kwargs: Any) -> tuple[str, dict[str, Any]]:
    """Return the other direction of a relationship with arguments of its own, for ``relationship(backref=...)``."""
    return (name, kwargs)


def synonym(
    name: str,
    *,
    map_column: Optional[bool] = None,
    descriptor: Optional[Any] = None,
    comparator_factory: Optional[type[PropComparator[_T]]] = None,
    init: _Flag = _NoArg.NO_ARG,
    repr: _Flag = _NoArg.NO_ARG,
    default: Union[_NoArg, _T] = _NoArg.NO_ARG,
    default_factory: Union[_NoArg, Callable[[], _T]] = _NoArg.NO_ARG,
    compare: _Flag = _NoArg.NO_ARG,
    kw_only: _Flag = _NoArg.NO_ARG,
    hash: _HashFlag = _NoArg.NO_ARG,
    info: _Info = None,
    doc: Optional[str] = None,
    dataclass_metadata: _Metadata = _NoArg.NO_ARG,
) -> Synonym[Any]:
    """Declare a second name for another attribute.

    :param name: the attribute meant.
    :param map_column: map the column that is called like the synonym under `name`.
    :param descriptor: what instances read and write through, instead of the attribute itself.
    """
    return Synonym(
        name,
        map_column=map_column,
        descriptor=descriptor,
        comparator_factory=comparator_factory,
        attribute_options=_AttributeOptions(
            init, repr, default, default_factory, compare, kw_only, hash, dataclass_metadata
        ),
        doc=doc,
        info=info,
    )


def _mapper_fn(*arg: Any, **kw: Any) -> NoReturn:
    raise sa_exc.InvalidRequestError(
        "The 'sqlalchemy.orm.mapper()' function is removed as of SQLAlchemy 2.0.  Use the "
        "'sqlalchemy.orm.registry.map_imperatively()` method of the ``sqlalchemy.orm.registry`` class to perform "
        "classical "
        "mapping."
    )


def clear_mappers() -> None:
    """Undo all mappings of all registries."""
    _dispose_registries(_all_registries(), False)
