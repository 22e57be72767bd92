"""Statements that Core executes, with Core's result: those of a known shape need no cache key to find their SQL.

To make a cache key and to find the equal one takes Core longer than all the rest of a short statement. Where nobody
listens who may give another statement in its place, the compiled one is found by the cheap key of
:mod:`._statement_shape` instead; listeners of the cursor and logs see what they saw before.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import util
from sqlalchemy.engine import Connection
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import CompoundSelect, Select

from .. import _sa
from ._statement_cache import kept_shape, known_shape, remember_shape
from ._statement_shape import dml_shape

# Options by which Core compiles a statement in another way, or does not keep what it compiled. With any other, the
# execution of what is compiled is as it was.
COMPILE_OPTIONS = frozenset({"_cache_disable_reason", "compiled_cache", "schema_translate_map"})

_SELECTS = frozenset({Select, CompoundSelect})

# what tells these statements' shapes from those of the lane
_ROLE = ("core",)


def execute(connection: Any, statement: Any, params: Any, options: Any = util.EMPTY_DICT) -> Any:
    """``connection.execute()``."""
    if (
        params
        or statement.__dict__.get("_params")
        or type(connection) is not Connection
        or _sa.elements_are_observed(connection)
        or not COMPILE_OPTIONS.isdisjoint(options)
        or not COMPILE_OPTIONS.isdisjoint(statement._execution_options)
        or not COMPILE_OPTIONS.isdisjoint(connection.get_execution_options())
    ):
        return connection.execute(statement, params, execution_options=options)
    shape = compiled = None
    if type(statement) in _SELECTS:
        shape, compiled = known_shape(connection.dialect, statement, _ROLE)
    elif isinstance(statement, UpdateBase):
        shape = dml_shape(statement)
        if shape is not None:
            shape = (_ROLE + shape[0], shape[1])
            compiled = kept_shape(connection.dialect, shape[0])
    if shape is None:
        return connection.execute(statement, params, execution_options=options)
    if compiled is not None:
        return _sa.execute_compiled(connection, statement, compiled, shape[1], options)
    result = connection.execute(statement, params, execution_options=options)
    compiled = _sa.compiled_from_cache(result)
    cache_key = statement._generate_cache_key() if compiled is not None else None
    if cache_key is not None:
        remember_shape(connection.dialect, shape, compiled, statement, cache_key.bindparams)
    return result
