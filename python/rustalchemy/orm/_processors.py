"""Which native processor does the work of a SQL type's bind or result processing.

A native processor is chosen only for SQLAlchemy's own type classes whose method is exactly the one known here;
everything else (``TypeDecorator``, user types, dialect variants with methods of their own) keeps the callable that Core
would use. That callable also stands behind every native processor, for the values the native one declines.
"""

from __future__ import annotations

import decimal
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Optional

from sqlalchemy.dialects.sqlite import DATE, DATETIME, TIME
from sqlalchemy.engine import processors as core_processors
from sqlalchemy.types import JSON, Boolean, Enum, Interval, LargeBinary, Uuid

from .. import _sa
from .._core import Processor

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect
    from sqlalchemy.types import TypeEngine

# A callable of Core that processes one value.
_Function = Callable[[Any], Any]

# Native processor of a type's implementation, or None where only the callable will do.
_Chooser = Callable[[Any, "Dialect", _Function], Optional[Processor]]

# Core's shared functions, each with the native processor that equals it.
_FUNCTIONS: Final[Mapping[_Function, str]] = {
    core_processors.int_to_boolean: "bool",
    core_processors.str_to_date: "str_date",
    core_processors.str_to_datetime: "str_datetime",
    core_processors.str_to_time: "str_time",
    core_processors.to_float: "float",
}


def _decimal_maker(function: object) -> type:
    """The class behind what ``to_decimal_processor_factory`` makes."""
    return type(getattr(function, "__self__", function))


_DECIMAL_MAKER: Final = _decimal_maker(core_processors.to_decimal_processor_factory(decimal.Decimal, 1))


def result_processor(type_: TypeEngine[Any], dialect: Dialect, coltype: object) -> Processor | None:
    """Result processing of a column of this type; None if values are taken as they come."""
    function = _sa.result_function(type_, dialect, coltype)
    if function is None:
        return None
    return _choose(type_, dialect, function, "result_processor", _RESULT_CHOOSERS)


def bind_processor(type_: TypeEngine[Any], dialect: Dialect) -> Processor | None:
    """Bind processing of a parameter of this type; None if values are sent as they are."""
    function = _sa.bind_function(type_, dialect)
    if function is None:
        return None
    return _choose(type_, dialect, function, "bind_processor", _BIND_CHOOSERS)


def _choose(
    type_: TypeEngine[Any],
    dialect: Dialect,
    function: _Function,
    method: str,
    choosers: Mapping[object, _Chooser],
) -> Processor:
    kind = _function_kind(function)
    if kind is not None:
        return Processor.named(kind, function)
    if _decimal_maker(function) is _DECIMAL_MAKER:
        return _decimal(function)
    impl = type_.dialect_impl(dialect)
    if type(impl).__module__.startswith("sqlalchemy."):
        chooser = choosers.get(getattr(type(impl), method))
        processor = chooser(impl, dialect, function) if chooser is not None else None
        if processor is not None:
            return processor
    return Processor.python(function)


def _function_kind(function: _Function) -> str | None:
    try:
        return _FUNCTIONS.get(function)
    except TypeError:  # a callable without hash
        return None


def _decimal(function: _Function) -> Processor:
    sample = function(1.0)
    exponent = sample.as_tuple().exponent
    if type(sample) is not decimal.Decimal or not isinstance(exponent, int):
        return Processor.python(function)
    return Processor.named("numeric", function, -exponent, decimal.Decimal)


# result ------------------------------------------------------------------------------------------------------------


def _enum_result(impl: Enum, dialect: Dialect, function: _Function) -> Processor | None:
    if type(impl) is not Enum:
        return None
    return Processor.named("enum", function, _sa.enum_objects(impl))


def _json_result(impl: JSON, dialect: Dialect, function: _Function) -> Processor | None:
    if _sa.json_deserializer(dialect) is not None:
        return None
    scan_once = getattr(json.JSONDecoder(), "scan_once", None)
    if scan_once is None:
        return None
    return Processor.named("json", function, scan_once)


def _uuid_result(impl: Uuid[Any], dialect: Dialect, function: _Function) -> Processor | None:
    if not _is_character_uuid(impl, dialect):
        return None
    return Processor.named("uuid" if impl.as_uuid else "uuid_str", function)


def _interval_result(impl: Interval, dialect: Dialect, function: _Function) -> Processor | None:
    inner = impl.impl_instance.result_processor(dialect, None)
    if inner is not core_processors.str_to_datetime:
        return None
    return Processor.named("interval", function, impl.epoch)


def _bytes_result(impl: LargeBinary, dialect: Dialect, function: _Function) -> Processor | None:
    return Processor.named("bytes", function)


# bind --------------------------------------------------------------------------------------------------------------


def _datetime_bind(impl: DATETIME, dialect: Dialect, function: _Function) -> Processor | None:
    with_microseconds = _has_microseconds(impl)
    if with_microseconds is None:
        return None
    return Processor.named("datetime_str", function, with_microseconds)


def _date_bind(impl: DATE, dialect: Dialect, function: _Function) -> Processor | None:
    if _sa.storage_format(impl) != _sa.storage_format(DATE):
        return None
    return Processor.named("date_str", function)


def _time_bind(impl: TIME, dialect: Dialect, function: _Function) -> Processor | None:
    with_microseconds = _has_microseconds(impl)
    if with_microseconds is None:
        return None
    return Processor.named("time_str", function, with_microseconds)


def _boolean_bind(impl: Boolean, dialect: Dialect, function: _Function) -> Processor | None:
    return Processor.named("bool_int", function, dialect.supports_native_boolean)


def _enum_bind(impl: Enum, dialect: Dialect, function: _Function) -> Processor | None:
    if type(impl) is not Enum:
        return None
    return Processor.named("enum_str", function, _sa.enum_texts(impl))


def _json_bind(impl: JSON, dialect: Dialect, function: _Function) -> Processor | None:
    if _sa.json_serializer(dialect) is not None:
        return None
    return Processor.named("json_str", function, impl.none_as_null)


def _uuid_bind(impl: Uuid[Any], dialect: Dialect, function: _Function) -> Processor | None:
    if not _is_character_uuid(impl, dialect):
        return None
    return Processor.named("uuid_hex" if impl.as_uuid else "uuid_str_hex", function)


def _interval_bind(impl: Interval, dialect: Dialect, function: _Function) -> Processor | None:
    inner = impl.impl_instance
    if type(inner).bind_processor is not DATETIME.bind_processor or not _has_microseconds(inner):
        return None
    return Processor.named("interval_str", function, impl.epoch)


def _is_character_uuid(impl: Uuid[Any], dialect: Dialect) -> bool:
    return not (dialect.supports_native_uuid and impl.native_uuid)


def _has_microseconds(impl: Any) -> bool | None:
    """Whether SQLite's standard format is in use, with or without microseconds; None for a format of the user's."""
    stock = DATETIME if isinstance(impl, DATETIME) else TIME
    format_ = _sa.storage_format(impl)
    if format_ == _sa.storage_format(stock):
        return True
    return False if format_ == _sa.storage_format(stock(truncate_microseconds=True)) else None


_RESULT_CHOOSERS: Final[Mapping[object, _Chooser]] = {
    Enum.result_processor: _enum_result,
    JSON.result_processor: _json_result,
    _sa._SQliteJson.result_processor: _json_result,
    Uuid.result_processor: _uuid_result,
    Interval.result_processor: _interval_result,
    LargeBinary.result_processor: _bytes_result,
}

_BIND_CHOOSERS: Final[Mapping[object, _Chooser]] = {
    DATETIME.bind_processor: _datetime_bind,
    _sa._SQLite_pysqliteTimeStamp.bind_processor: _datetime_bind,
    DATE.bind_processor: _date_bind,
    _sa._SQLite_pysqliteDate.bind_processor: _date_bind,
    TIME.bind_processor: _time_bind,
    Boolean.bind_processor: _boolean_bind,
    Enum.bind_processor: _enum_bind,
    JSON.bind_processor: _json_bind,
    Uuid.bind_processor: _uuid_bind,
    Interval.bind_processor: _interval_bind,
}
