"""Native bind and result processors against the callables SQLAlchemy Core uses, value by value."""

from __future__ import annotations

import datetime
import decimal
import enum
import gc
import json
import math
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Dialect

from rustalchemy.orm._processors import bind_processor, result_processor

SQLITE: Dialect = sa.create_engine("sqlite://").dialect


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


class Mixed(str, enum.Enum):
    ONE = "one"
    TWO = "two"


class Loud(sa.TypeDecorator[str]):
    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else value.upper()

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else value.lower()


class OwnDateTime(sqlite.DATETIME):
    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        return lambda value: ("own", value)


ODD: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    2,
    -7,
    2**53,
    2**53 + 1,
    10**30,
    0.0,
    -0.0,
    1.5,
    2.675,
    0.125,
    1e22,
    1e300,
    math.inf,
    -math.inf,
    math.nan,
    "",
    "x",
    "RED",
    "GREEN",
    "one",
    "ONE",
    "1",
    " 1",
    "ä",
    "\ud800",
    b"",
    b"ab",
    bytearray(b"ab"),
    decimal.Decimal("1.10"),
    Colour.RED,
    Mixed.ONE,
    [],
    [1, 2.5, 'a"\\\n\x7f\u20ac😀', None, True],
    {"a": [1, {"b": ()}], "": {}},
    {1: 2},
    (1, (2,)),
    {"k": math.nan},
    object,
    sa.null(),
    sa.JSON.NULL,
    set(),
    datetime.datetime(2020, 1, 2, 3, 4, 5, 678901),
    datetime.datetime(1, 1, 1),
    datetime.datetime.max,
    datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc),
    datetime.date(2020, 12, 31),
    datetime.date.min,
    datetime.time(1, 2, 3),
    datetime.time(1, 2, 3, 4, tzinfo=datetime.timezone.utc),
    datetime.timedelta(days=-3, microseconds=5),
    datetime.timedelta.max,
    uuid.UUID(int=0),
    uuid.UUID("12345678123456781234567812345678"),
    "12345678-1234-5678-1234-567812345678",
    "12345678123456781234567812345678",
    "{12345678123456781234567812345678}",
    "1234567812345678123456781234567",
    "g2345678123456781234567812345678",
    "1_345678123456781234567812345678",
    "2020-01-02 03:04:05.678901",
    "2020-01-02T03:04:05",
    "2020-01-02 03:04:05.678",
    "2020-01-02 03:04:05+02:00",
    "2020-01-02 03:04:05,678901",
    "2020-02-30 00:00:00",
    "2020-01-02 24:00:00",
    "0000-01-02 00:00:00",
    "2020-01-02",
    "20200102",
    "2020-W01-1",
    "2020-13-01",
    "03:04:05.000001",
    "03:04:05",
    "03:04",
    "25:00:00",
    "2020-01-02 03:04:05.67890\u0661",
    "null",
    "[1, 2]",
    ' {"a": 1}',
    '{"a": 1} ',
    '{"a": 1} x',
    "NaN",
    "[1, 2",
    '"ab"',
    '"ä😀"',
    "1e5",
    "\ufeff1",
]

TYPES: list[Any] = [
    sa.DateTime(),
    sa.Date(),
    sa.Time(),
    sa.TIMESTAMP(),
    sa.Boolean(),
    sa.Boolean(create_constraint=True),
    sa.Numeric(10, 2),
    sa.Numeric(),
    sa.Numeric(asdecimal=False),
    sa.Float(),
    sa.Float(asdecimal=True),
    sa.Float(asdecimal=True, decimal_return_scale=3),
    sa.Double(),
    sa.REAL(),
    sa.Enum("RED", "one"),
    sa.Enum("RED", validate_strings=True),
    sa.Enum(Colour),
    sa.Enum(Mixed),
    sa.Enum(Mixed, values_callable=lambda e: [m.value for m in e]),
    sa.Enum(Colour, native_enum=False),
    sa.JSON(),
    sa.JSON(none_as_null=True),
    sa.Uuid(),
    sa.Uuid(as_uuid=False),
    sa.UUID(),
    sa.LargeBinary(),
    sa.BLOB(),
    sa.Interval(),
    sa.PickleType(),
    sa.String(),
    sa.Text(),
    sa.Unicode(),
    sa.Integer(),
    sa.BigInteger(),
    sa.SmallInteger(),
    Loud(),
    OwnDateTime(),
    sqlite.DATETIME(),
    sqlite.DATETIME(truncate_microseconds=True),
    sqlite.TIME(truncate_microseconds=True),
    sqlite.DATETIME(storage_format="%(year)04d/%(month)02d/%(day)02d", regexp=r"(\d+)/(\d+)/(\d+)"),
    sqlite.DATE(
        storage_format="%(day)02d.%(month)02d.%(year)04d", regexp=r"(?P<day>\d+)\.(?P<month>\d+)\.(?P<year>\d+)"
    ),
    sqlite.JSON(),
    sa.DateTime().with_variant(sa.String(), "sqlite"),
]

type_ids = [f"{at}-{type_!r}" for at, type_ in enumerate(TYPES)]


def outcome(function: Callable[[Any], Any], value: Any) -> tuple[Any, ...]:
    """What a call comes to, in a form that compares types and NaN too."""
    try:
        result = function(value)
    except Exception as error:
        return ("raises", type(error), str(error))
    if isinstance(result, memoryview):
        return ("memory", bytes(result))
    return (type(result), re.sub(r"0x[0-9a-f]+", "", repr(result)))


def assert_same(core: Callable[[Any], Any] | None, processor: Any, value: Any) -> None:
    if core is None:
        assert processor is None
    else:
        assert outcome(processor.process, value) == outcome(core, value)


@pytest.mark.parametrize("type_", TYPES, ids=type_ids)
def test_results_equal_cores(type_: Any) -> None:
    core = type_._cached_result_processor(SQLITE, None)
    processor = result_processor(type_, SQLITE, None)
    for value in ODD:
        assert_same(core, processor, value)


@pytest.mark.parametrize("type_", TYPES, ids=type_ids)
def test_parameters_equal_cores(type_: Any) -> None:
    core = type_._cached_bind_processor(SQLITE)
    processor = bind_processor(type_, SQLITE)
    for value in ODD:
        assert_same(core, processor, value)


@pytest.mark.parametrize("type_", TYPES, ids=type_ids)
@pytest.mark.parametrize("dialect", [postgresql.dialect(), mysql.dialect()], ids=["postgresql", "mysql"])
def test_other_dialects_equal_cores(type_: Any, dialect: Dialect) -> None:
    core_bind = type_._cached_bind_processor(dialect)
    bind = bind_processor(type_, dialect)
    for value in ODD:
        assert_same(core_bind, bind, value)
    try:
        core_result = type_._cached_result_processor(dialect, None)
    except Exception:
        return  # the driver's types want to know the column's type code
    result = result_processor(type_, dialect, None)
    for value in ODD:
        assert_same(core_result, result, value)


@pytest.mark.parametrize(
    ("type_", "result", "bind"),
    [
        (sa.DateTime(), "str_datetime", "datetime_str"),
        (sa.Date(), "str_date", "date_str"),
        (sa.Time(), "str_time", "time_str"),
        (sa.Boolean(), "bool", "bool_int"),
        (sa.Numeric(10, 2), "numeric", "float"),
        (sa.Enum(Colour), "enum", "enum_str"),
        (sa.JSON(), "json", "json_str"),
        (sa.Uuid(), "uuid", "uuid_hex"),
        (sa.Uuid(as_uuid=False), "uuid_str", "uuid_str_hex"),
        (sa.Interval(), "interval", "interval_str"),
        (Loud(), "python", "python"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value),
)
def test_stock_types_are_native(type_: Any, result: str, bind: str) -> None:
    chosen_result, chosen_bind = result_processor(type_, SQLITE, None), bind_processor(type_, SQLITE)
    assert chosen_result is not None and chosen_bind is not None
    assert (chosen_result.kind, chosen_bind.kind) == (result, bind)


@pytest.mark.parametrize("type_", [sa.String(), sa.Integer(), sa.Text(), sa.BigInteger()], ids=repr)
def test_plain_types_need_no_processor(type_: Any) -> None:
    assert result_processor(type_, SQLITE, None) is None
    assert bind_processor(type_, SQLITE) is None


def test_own_json_functions_are_called() -> None:
    dialect = sa.create_engine(
        "sqlite://", json_serializer=lambda value: "<" + json.dumps(value), json_deserializer=lambda text: text[::-1]
    ).dialect
    result, bind = result_processor(sa.JSON(), dialect, None), bind_processor(sa.JSON(), dialect)
    assert result is not None and bind is not None
    assert (result.process("[1]"), bind.process([1])) == ("]1[", "<[1]")


def test_unknown_kind_is_refused() -> None:
    from rustalchemy._core import Processor

    with pytest.raises(ValueError, match="no native processor"):
        Processor.named("frobnicate", str)


def test_processors_in_cycles_are_collected() -> None:
    from rustalchemy._core import Processor

    class Callback:
        def __call__(self, value: Any) -> Any:
            return value

    import weakref

    callback = Callback()
    callback.processor = Processor.python(callback)  # type: ignore[attr-defined]
    gone = weakref.ref(callback)
    del callback
    gc.collect()
    assert gone() is None


def round_trips(type_: Any, values: st.SearchStrategy[Any]) -> Callable[[], None]:
    """A property test: both directions equal Core's for generated values."""

    @settings(max_examples=150, deadline=None)
    @given(values)
    def check(value: Any) -> None:
        core_bind, bind = type_._cached_bind_processor(SQLITE), bind_processor(type_, SQLITE)
        core_result, result = type_._cached_result_processor(SQLITE, None), result_processor(type_, SQLITE, None)
        assert_same(core_bind, bind, value)
        stored = value if core_bind is None else core_bind(value)
        assert_same(core_result, result, stored)

    return check


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)

test_generated_datetimes = round_trips(sa.DateTime(), st.datetimes())
test_generated_dates = round_trips(sa.Date(), st.dates())
test_generated_times = round_trips(sa.Time(), st.times())
test_generated_floats = round_trips(sa.Numeric(12, 3), st.floats() | st.integers(-(2**60), 2**60))
test_generated_scales = round_trips(sa.Float(asdecimal=True), st.floats(allow_nan=False, allow_infinity=False))
test_generated_uuids = round_trips(sa.Uuid(), st.uuids())
test_generated_json = round_trips(sa.JSON(), JSON_VALUES)
test_generated_intervals = round_trips(
    sa.Interval(), st.timedeltas(datetime.timedelta(days=-10000), datetime.timedelta(days=10000))
)
