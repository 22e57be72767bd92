"""The SELECT that loads subclass attributes of many objects by primary key (``polymorphic_load="selectin"``)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import sql
from sqlalchemy.sql.selectable import LABEL_STYLE_TABLENAME_PLUS_COL

from .interfaces import StrategizedProperty


def subclass_load_via_in(mapper: Any, entity: Any, polymorphic_from: Any) -> tuple[Any, Any, Any]:
    """The statement, and the options that enable the subclass' attributes and disable all others."""
    from . import strategy_options

    assert mapper.inherits
    kept = set(mapper._identity_key_props)
    if mapper.polymorphic_on is not None:
        kept.add(mapper._columntoproperty[mapper.polymorphic_on])

    included = {mapper}
    ancestor = mapper.inherits
    while ancestor is not None and ancestor is not polymorphic_from and ancestor.polymorphic_load == "selectin":
        included.add(ancestor)
        ancestor = ancestor.inherits

    disable: Any = strategy_options.Load(entity)
    enable: Any = strategy_options.Load(entity)
    for prop in mapper.column_attrs + mapper.relationships:
        if prop.key not in mapper.class_manager or not getattr(prop, "instrument", True):
            continue
        attribute = getattr(entity.entity_namespace, prop.key)
        if prop.parent not in included and prop not in kept:
            disable = disable._set_generic_strategy((attribute,), {"do_nothing": True}, _reconcile_to_other=False)
        elif isinstance(prop, StrategizedProperty):
            # the "enable" option keeps what the class says, "reconcile" lets a user's option win
            enable = enable._set_generic_strategy((attribute,), dict(prop.strategy_key), _reconcile_to_other=True)

    key: Any = sql.tuple_(*mapper.primary_key) if len(mapper.primary_key) > 1 else mapper.primary_key[0]
    if entity.is_aliased_class:
        assert entity.mapper is mapper
        key = entity._adapter.traverse(key)
        statement = sql.select(entity)
    else:
        statement = sql.select(mapper)
    statement = statement.set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
    return statement.where(key.in_(sql.bindparam("primary_keys", expanding=True))), enable, disable
