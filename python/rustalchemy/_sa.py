"""The border with SQLAlchemy Core's underscored names.

Every underscored name of Core that the package needs is imported, or wrapped, here and nowhere else, with one line
saying why. Public names of Core (also those of its internal modules) are imported where they are used. Sections follow
Core's modules in alphabetical order; append inside the section.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NoReturn, Optional

from sqlalchemy import Column, Table
from sqlalchemy import inspection as _inspection

# dialects.sqlite ----------------------------------------------------------------------------------------------------
# SQLite's implementations whose methods a native processor stands for.
from sqlalchemy.dialects.sqlite.base import _SQliteJson as _SQliteJson
from sqlalchemy.dialects.sqlite.pysqlite import _SQLite_pysqliteDate as _SQLite_pysqliteDate
from sqlalchemy.dialects.sqlite.pysqlite import _SQLite_pysqliteTimeStamp as _SQLite_pysqliteTimeStamp

# engine.base --------------------------------------------------------------------------------------------------------
# Its flag says whether anybody listens to every connection.
from sqlalchemy.engine.base import Connection as Connection
from sqlalchemy.engine.base import NestedTransaction

# event --------------------------------------------------------------------------------------------------------------
# What holds listeners of classes that are not mapped yet needs: entering a listener, and taking one out again.
# Classes of events by event name: of a class that nobody mapped yet each ORM says that it is its own.
from sqlalchemy.event.base import _registrars as _registrars
from sqlalchemy.event.legacy import _omit_standard_example as _omit_standard_example
from sqlalchemy.event.registry import _EventKey as _EventKey
from sqlalchemy.event.registry import _removed_from_collection as _removed_from_collection
from sqlalchemy.event.registry import _stored_in_collection as _stored_in_collection

# inspection ---------------------------------------------------------------------------------------------------------
# How a class is joined to inspect(): its instances are their own inspection.
from sqlalchemy.inspection import _inspects as _inspects
from sqlalchemy.inspection import _self_inspects as _self_inspects

# sql._typing --------------------------------------------------------------------------------------------------------
# The error for keywords that exist for type checkers only.
from sqlalchemy.sql._typing import _no_kw as _no_kw

# Argument types of public methods.
if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import _CoreAnyExecuteParams as _CoreAnyExecuteParams
    from sqlalchemy.engine.interfaces import _CoreSingleExecuteParams as _CoreSingleExecuteParams
    from sqlalchemy.sql._typing import _TypedColumnClauseArgument as _TypedColumnClauseArgument
    from sqlalchemy.sql._typing import _ColumnExpressionArgument as _ColumnExpressionArgument
    from sqlalchemy.sql._typing import _ColumnExpressionOrStrLabelArgument as _ColumnExpressionOrStrLabelArgument
    from sqlalchemy.sql._typing import _ColumnsClauseArgument as _ColumnsClauseArgument
    from sqlalchemy.sql._typing import _DMLColumnArgument as _DMLColumnArgument
    from sqlalchemy.sql._typing import _FromClauseArgument as _FromClauseArgument
    from sqlalchemy.sql._typing import _MAYBE_ENTITY as _MAYBE_ENTITY
    from sqlalchemy.sql._typing import _NOT_ENTITY as _NOT_ENTITY
    from sqlalchemy.sql._typing import _LimitOffsetType as _LimitOffsetType
    from sqlalchemy.sql._typing import _JoinTargetArgument as _JoinTargetArgument
    from sqlalchemy.sql._typing import _OnClauseArgument as _OnClauseArgument
    from sqlalchemy.sql.selectable import _ForUpdateOfArgument as _ForUpdateOfArgument

# sql.annotation -----------------------------------------------------------------------------------------------------
# Annotates what can be annotated inside loader criteria and leaves the rest.
from sqlalchemy.sql.annotation import _safe_annotate as _safe_annotate
from sqlalchemy.sql.base import CompileState

# What filter_by() and friends look names up in.
from sqlalchemy.sql.base import _entity_namespace as _entity_namespace
from sqlalchemy.sql.base import _entity_namespace_key as _entity_namespace_key

# FROM elements of columns, their copies included; columns behind entities in a columns clause.
from sqlalchemy.sql.base import _cloned_difference, _cloned_intersection
from sqlalchemy.sql.base import _expand_cloned as _expand_cloned
from sqlalchemy.sql.base import _from_objects as _from_objects

# The decorator of generative methods: change a copy, return it.
from sqlalchemy.sql import visitors
from sqlalchemy.sql.annotation import Annotated
from sqlalchemy.sql.base import _generative as _generative

# Columns that are in a table but in no SELECT (insert sentinels).
from sqlalchemy.sql.base import _never_select_column as _never_select_column

# sql.base -----------------------------------------------------------------------------------------------------------
# The "argument was not given" marker of public signatures; users may compare with it.
from sqlalchemy.sql.base import _NoArg as _NoArg
from sqlalchemy.sql.base import _select_iterables as _select_iterables
from sqlalchemy.sql.cache_key import NO_CACHE
from sqlalchemy.sql.compiler import WARN_LINTING
from sqlalchemy.sql.dml import UpdateDMLState
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, BooleanClauseList, ColumnElement, True_
from sqlalchemy.sql.elements import _anonymous_label as _anonymous_label

# Where ORM statements find their compiler.
# sql.elements -------------------------------------------------------------------------------------------------------
# ORDER BY a label: the reference around the labelled expression.
from sqlalchemy.sql.elements import _label_reference as _label_reference

# sql.schema ---------------------------------------------------------------------------------------------------------
# Spelling of a schema-qualified table key in MetaData.tables.
from sqlalchemy.sql.schema import _get_table_key as _get_table_key

# The default object behind insert_sentinel().
from sqlalchemy.sql.schema import _InsertSentinelColumnDefault as _InsertSentinelColumnDefault

# sql.selectable -----------------------------------------------------------------------------------------------------
# Its constructor from a ``with_for_update`` argument is private.
from sqlalchemy.sql.selectable import ForUpdateArg as ForUpdateArg
from sqlalchemy.sql.selectable import Join, Select

# sql.selectable -----------------------------------------------------------------------------------------------------
# Joins that were made before with_entities(), and the base of what has FROM elements.
from sqlalchemy.sql.selectable import _MemoizedSelectEntities as _MemoizedSelectEntities

# The parameter of LIMIT and OFFSET.
from sqlalchemy.sql.selectable import _OffsetLimitParam as _OffsetLimitParam
from sqlalchemy.sql.selectable import _SelectFromElements as _SelectFromElements

# sql.sqltypes -------------------------------------------------------------------------------------------------------
# Core's map of Python type to SQL type, behind type_annotation_map.
from sqlalchemy.sql.sqltypes import NullType
from sqlalchemy.sql.sqltypes import _type_map_get as _type_map_get

# sql.util -----------------------------------------------------------------------------------------------------------
# How join conditions get their local, remote and foreign marks.
from sqlalchemy.sql.util import _deep_annotate as _deep_annotate
from sqlalchemy.sql.util import _deep_deannotate as _deep_deannotate

# All columns inside an expression.
from sqlalchemy.sql.util import _find_columns as _find_columns

# LIMIT and OFFSET of Query.slice(), .limit() and .offset(), as Select makes them.
from sqlalchemy.sql.util import _make_slice as _make_slice
from sqlalchemy.sql.util import _offset_or_limit_clause as _offset_or_limit_clause

# A Python value spelled as SQL, for the discriminator column of polymorphic_union().
from sqlalchemy.sql.util import _quote_ddl_expr as _quote_ddl_expr
from sqlalchemy.sql.util import _shallow_annotate as _shallow_annotate
from sqlalchemy.util import langhelpers as _langhelpers

# util ---------------------------------------------------------------------------------------------------------------
# Adds a hint to warnings that arise below a certain method.
from sqlalchemy.util.langhelpers import tag_method_for_warnings as tag_method_for_warnings

if (_inside := getattr(_langhelpers, "_not_sa_pattern", None)) is not None:
    # A warning names the first line outside of SQLAlchemy and Alembic: outside of this package, too.
    _langhelpers._not_sa_pattern = re.compile(rf"{_inside.pattern}|^rustalchemy\.")

try:
    # Which FROM elements a LATERAL on the right side of a join refers to.
    from sqlalchemy.sql.util import _lateral_correlated_froms as _lateral_correlated_froms
except ImportError:  # SQLAlchemy 2.0, which does not adapt them

    def _lateral_correlated_froms(target: Any, source: Any) -> set[Any]:  # type: ignore[misc]
        return set()


try:
    # The names of 2.1 for a collection that can be added to, and for what has execution options.
    from sqlalchemy.sql.base import ExecutableStatement as ExecutableStatement
    from sqlalchemy.sql.base import WriteableColumnCollection as WriteableColumnCollection
except ImportError:  # SQLAlchemy 2.0
    from sqlalchemy.sql import base as _base

    ExecutableStatement = _base.Executable  # type: ignore[assignment,misc]
    WriteableColumnCollection = _base.ColumnCollection  # type: ignore[assignment,misc]

try:
    # Column collections written for type checkers (2.1); such a class is never mapped.
    from sqlalchemy.sql._annotated_cols import TypedColumns as TypedColumns
except ImportError:  # SQLAlchemy 2.0
    TypedColumns = None  # type: ignore[assignment,misc]

# Which of the two supported series is installed.
SQLALCHEMY_21: Final = TypedColumns is not None

# Where a statement keeps the functions to run when it is compiled.
COMPILE_STATE_FUNCS: Final = "_compile_state_funcs" if SQLALCHEMY_21 else "_with_context_options"

try:
    # Swaps the annotations of a class while dataclasses looks at it.
    from sqlalchemy.util import restore_annotations as restore_annotations
except ImportError:  # SQLAlchemy 2.0

    def restore_annotations(cls: type, new_annotations: dict[str, Any]) -> Callable[[], None]:
        had_own = "__annotations__" in cls.__dict__
        before = cls.__dict__.get("__annotations__", {})  # noqa: RUF063 - the dictionary itself is put back
        cls.__annotations__ = new_annotations

        def restore() -> None:
            if had_own:
                cls.__annotations__ = before
            else:
                del cls.__annotations__

        return restore


# The compile-state plugin under which Core finds our SELECT, UPDATE, ... compilers.
COMPILE_STATE_PLUGIN: Final = "rustalchemy"


# inspection: classes and objects ------------------------------------------------------------------------------------
inspect_registrars = _inspection._registrars


def patch_inspects(replacement: Any) -> Any:
    """Put another decorator in place of the one that registers handlers of inspect(), and return the original."""
    original = _inspection._inspects
    _inspection._inspects = replacement
    return original


# sql.schema: Column -------------------------------------------------------------------------------------------------
def copy_column(column: Any, **kw: Any) -> Any:
    """Return a copy of a Column that belongs to no table."""
    return column._copy(**kw)


def merge_column(source: Any, target: Any, *, omit_defaults: bool) -> None:
    """Give `target` what `source` declares and `target` leaves open."""
    if SQLALCHEMY_21:
        source._merge(target, omit_defaults=omit_defaults)
        return
    source = source._copy()
    if omit_defaults:
        source.default = None
    source._merge(target)


def set_column_type(column: Any, type_: Any) -> None:
    """Set a Column's type as its constructor would, events of the type included."""
    column._set_type(type_)


def is_null_type(type_: Any) -> bool:
    """Return whether no SQL type was given."""
    return bool(type_._isnull)


def foreign_key_table_column(foreign_key: Any) -> Any:
    """Return the Column object a ForeignKey was given, or None for a string."""
    return foreign_key._table_column


def schema_names(metadata: Any) -> Any:
    """Return the schema names that tables of a MetaData use."""
    return metadata._schemas


def refresh_for_new_column(selectable: Any, column: Any) -> None:
    """Tell a selectable derived from a table that the table got a column."""
    selectable._refresh_for_new_column(column)


# sql.elements -------------------------------------------------------------------------------------------------------
def annotate(element: Any, annotations: dict[str, Any]) -> Any:
    """Return a copy of a SQL element with annotations."""
    return element._annotate(annotations)


def annotate_for_entity(element: Any, annotations: dict[str, Any], entity: Any) -> Any:
    """Return a copy of a SQL element that makes statements with it compile through our plugin."""
    return element._annotate(annotations)._set_propagate_attrs(
        {"compile_state_plugin": COMPILE_STATE_PLUGIN, "plugin_subject": entity}
    )


def mark_lasting(element: Any) -> Any:
    """Let the shapes of statements know an annotated element that lasts as long as the mapping by its identity.

    Copies have the mark, too, but it says that they are another. What has parameters, or elements that may be in other
    places of a statement as well, is not marked: it is read part by part.
    """
    if isinstance(element, Annotated) and all(map(_is_of_tables, visitors.iterate(element))):
        element.__dict__["_rustalchemy_lasts"] = id(element)
    return element


def _is_of_tables(element: Any) -> bool:
    if isinstance(element, Column):
        return isinstance(element.table, Table)
    return isinstance(element, (Table, Join, BinaryExpression, BooleanClauseList))


def cache_key_parts(kind: Any) -> Any:
    """What Core's cache key has of elements of a class: names of attributes, and what each is; None without a key."""
    if kind._generate_cache_attrs() is NO_CACHE:
        return None
    inherits = kind.__dict__.get("inherit_cache")
    described = getattr(kind, "_cache_key_traversal", None) if inherits else kind.__dict__.get("_cache_key_traversal")
    # an empty one says that the class is all there is to know
    return kind._traverse_internals if described is None else described


def bind_param(element: Any, operator: Any, value: Any) -> Any:
    """Return a bound parameter typed by the element it is compared with."""
    return element._bind_param(operator, value)


# sql.selectable: Select ---------------------------------------------------------------------------------------------
def create_raw_select(state: dict[str, Any]) -> Any:
    """Return a Select with the given attributes, taken as they are."""
    return Select._create_raw_select(**state)


# sql.base: CompileState ---------------------------------------------------------------------------------------------
def plugin_class_for(statement: Any) -> Any:
    """Return our compile-state class for a kind of statement."""
    return CompileState._get_plugin_class_for_plugin(statement, COMPILE_STATE_PLUGIN)


# sql.dml ------------------------------------------------------------------------------------------------------------
def core_crud_kv_pairs(statement: Any, pairs: Any, cacheable: bool) -> Any:
    """Return columns and coerced values as UPDATE's SET takes them."""
    return UpdateDMLState._get_crud_kv_pairs(statement, pairs, cacheable)


def annotations_of(element: Any) -> Any:
    """Return the annotations of a SQL element, a mapping."""
    return element._annotations


def with_annotations(element: Any, annotations: dict[str, Any]) -> Any:
    """Return a copy of a SQL element with these annotations in place of its own."""
    return element._with_annotations(annotations)


def deannotate(element: Any) -> Any:
    """Return a SQL element without annotations."""
    return element._deannotate()


def copy_internals(element: Any, clone: Any) -> None:
    """Replace the parts of a SQL element by their clones."""
    element._copy_internals(clone=clone)


def anonymous_fromclause(selectable: Any, *, flat: bool = False) -> Any:
    """Return an anonymous alias of a FROM element."""
    return selectable._anonymous_fromclause(flat=flat)


def is_subquery(selectable: Any) -> bool:
    """Return whether a FROM element is a subquery."""
    return bool(selectable._is_subquery)


def identifying_key(bindparam: Any) -> Any:
    """Return what tells a bound parameter from its clones."""
    return bindparam._identifying_key


def true_if_none(criterion: Any) -> Any:
    """Return the criterion, or SQL TRUE."""
    return True_._ifnone(criterion)


def set_label_key(label: Any, key: str) -> None:
    """Name a mapped label after its attribute, as columns are."""
    label.key = label._tq_key_label = key


# sql.type_api -------------------------------------------------------------------------------------------------------
def resolve_for_python_type(
    sql_type: Any, python_type: Any, matched_on: Any, matched_on_flattened: Any
) -> Optional[Any]:
    """Return the SQL type for a Python type, adapted (Enum, Literal) to that very type."""
    return sql_type._resolve_for_python_type(python_type, matched_on, matched_on_flattened)


# types: what the native processors have to know of a type -----------------------------------------------------------


def result_function(type_: Any, dialect: Any, coltype: object) -> Optional[Any]:
    """Return the callable Core would process results of this type with, from Core's own cache."""
    return type_._cached_result_processor(dialect, coltype)


def bind_function(type_: Any, dialect: Any) -> Optional[Any]:
    """Return the callable Core would process parameters of this type with, from Core's own cache."""
    return type_._cached_bind_processor(dialect)


def enum_objects(type_: Any) -> dict[Any, Any]:
    """Return the dictionary an Enum type finds its members in by their stored text."""
    return type_._object_lookup


def enum_texts(type_: Any) -> dict[Any, Any]:
    """Return the dictionary an Enum type finds the stored text of its members in."""
    return type_._valid_lookup


def storage_format(type_: Any) -> Optional[str]:
    """Return the format in which a SQLite date or time type stores its values."""
    return type_._storage_format


def json_serializer(dialect: Any) -> Optional[Any]:
    """Return the user's JSON serializer of a dialect; None for the standard library's."""
    return dialect._json_serializer


def json_deserializer(dialect: Any) -> Optional[Any]:
    """Return the user's JSON deserializer of a dialect; None for the standard library's."""
    return dialect._json_deserializer


# engine -------------------------------------------------------------------------------------------------------------
def connection_is_observed(connection: Any) -> bool:
    """Return whether listeners or echo want to see each statement of a connection."""
    engine = connection.engine
    return bool(connection._has_events or engine._has_events or connection.dialect._has_events or connection._echo)


def elements_are_observed(connection: Any) -> bool:
    """Return whether listeners want to see statements of a connection before they are compiled, or when all is done."""
    if not (connection._has_events or connection.engine._has_events):
        return False
    dispatch = connection.dispatch
    return bool(dispatch.before_execute or dispatch.after_execute)


def engine_is_observed(engine: Any) -> bool:
    """Return whether listeners want to see each statement of an engine."""
    return bool(engine._has_events or engine.dialect._has_events or Connection._has_events)


def engine_echoes(engine: Any) -> bool:
    """Return whether an engine's statements are logged."""
    return bool(engine._should_log_info())


def raw_connection(engine: Any) -> Any:
    """Return a pooled DB-API connection; errors arrive as they do from Engine.connect()."""
    try:
        return engine.raw_connection()
    except engine.dialect.loaded_dbapi.Error as err:
        Connection._handle_dbapi_exception_noconnection(err, engine.dialect, engine)
        raise


def give_back_reset(pooled: Any) -> None:
    """Return to its pool a DB-API connection that needs no further rollback."""
    pooled._close_special(transaction_reset=True)


def log_failed_close(engine: Any, err: Exception) -> None:
    """Log that a cursor could not be closed, where Core logs it."""
    engine.pool.logger.error("Error closing cursor", exc_info=err)


def connection_is_usable(connection: Any) -> bool:
    """Return whether a statement could run now; what is wrong otherwise is for Core to say."""
    transaction = connection._transaction
    nested = connection._nested_transaction
    return (
        connection._dbapi_connection is not None
        and transaction is not None
        and transaction.is_active
        and (nested is None or nested.is_active)
        and connection._trans_context_manager is None
    )


def nested_transaction(connection: Connection, name: str) -> NestedTransaction:
    """Return a connection's transaction for a SAVEPOINT that was set without it."""
    nested = NestedTransaction.__new__(NestedTransaction)
    nested.connection = connection
    nested._savepoint = name
    nested._previous_nested = connection._nested_transaction
    nested.is_active = True
    connection._nested_transaction = nested
    return nested


def leave_connection(nested: NestedTransaction) -> None:
    """Let a connection forget a nested transaction that has ended."""
    nested._deactivate_from_connection()


def next_savepoint_number(connection: Connection) -> int:
    """Return the number by which a connection names its next SAVEPOINT, and count it."""
    number: int = connection._Connection__savepoint_seq + 1  # type: ignore[attr-defined]
    connection._Connection__savepoint_seq = number  # type: ignore[attr-defined]
    return number


def set_savepoint_number(connection: Connection, number: int) -> None:
    """Let a connection name its SAVEPOINTs from the one after this number on."""
    connection._Connection__savepoint_seq = number  # type: ignore[attr-defined]


def handle_dbapi_exception(
    connection: Connection, err: BaseException, statement: Optional[str], parameters: Any, cursor: Any, context: Any
) -> NoReturn:
    """Raise an exception of the driver as Core raises it; must be called while it is being handled."""
    connection._handle_dbapi_exception(err, statement, parameters, cursor, context)


def trans_ctx_check(subject: Any) -> None:
    """Refuse work inside the context manager of a transaction that has ended."""
    manager = subject._trans_context_manager
    if manager is not None:
        type(manager)._trans_ctx_check(subject)


# sql: statements ----------------------------------------------------------------------------------------------------
def orm_compile_state_class(statement: Any) -> Any:
    """Return our compile-state class for an ORM statement, None for a Core one."""
    if statement._propagate_attrs.get("compile_state_plugin") != COMPILE_STATE_PLUGIN:
        return None
    return CompileState._get_plugin_class_for_plugin(statement, COMPILE_STATE_PLUGIN)


def plugin_subject(clause: Any) -> Any:
    """Return the entity an ORM statement or expression is about, or None."""
    return clause._propagate_attrs.get("plugin_subject", None)


def for_update_from_argument(argument: Any) -> Any:
    """Return the FOR UPDATE clause for a ``with_for_update`` argument."""
    return ForUpdateArg._from_argument(argument)


def column_label(column: Any) -> str:
    """Return the ``table_column`` label under which UPDATE criteria are bound."""
    return str(column._label)


# sql: compiled statements ---------------------------------------------------------------------------------------------
def bind_processors(compiled: Any) -> Any:
    """Return the bind processing functions of a compiled statement by parameter name."""
    return compiled._bind_processors


def has_late_parameters(compiled: Any) -> bool:
    """Return whether parameters are rendered into the text at execution time."""
    return bool(compiled.literal_execute_params or compiled.post_compile_params)


def single_values_clause(compiled: Any) -> Optional[str]:
    """Return the parenthesized VALUES element of an INSERT that may be repeated for several rows, or None."""
    many = compiled._insertmanyvalues
    if many is None or many.is_default_expr:
        return None
    return f"({many.single_values_expr})"


def returning_order(compiled: Any) -> tuple[bool, bool]:
    """Return whether the rows of a compiled INSERT's RETURNING have to come in the order of its parameters, and whether
    each row of parameters is one row of VALUES, in order only if it will be inserted."""
    many = compiled._insertmanyvalues
    if many is None:
        return False, False
    in_order = bool(many.sort_by_parameter_order)
    is_plain = many.num_positional_params_counted == len(compiled.positiontup)
    return in_order, is_plain and not (in_order and many.includes_upsert_behaviors)


def is_contextless(default: Any) -> bool:
    """Return whether a column default's function takes no context: Core wrapped it itself to accept one."""
    return getattr(default, "__globals__", {}).get("__name__") == "sqlalchemy.sql.schema"


# sql: expressions copied from a template ------------------------------------------------------------------------------
def comparison_parts(expression: Any) -> tuple[Any, dict[str, Any], Any, dict[str, Any], Any, str, int]:
    """Return what a ``ComparisonTemplate`` needs of a fresh ``column <op> parameter``: both states, before anything is
    memoized in them, and the parameter's label apart from the id() in it."""
    right = expression.right
    return (
        type(expression),
        dict(expression.__dict__),
        type(right),
        dict(right.__dict__),
        _anonymous_label,
        right.key.split(" ", 1)[1],
        hash(expression.left),
    )


def crud_parameter(value: Any) -> BindParameter[Any]:
    """Return the parameter that Core makes of a plain value to INSERT or SET."""
    made: BindParameter[Any] = BindParameter.__new__(BindParameter)
    state = made.__dict__
    state.update(_CRUD_PARAMETER)
    seed = id(made)
    state["key"] = state["_identifying_key"] = _anonymous_label(f"%({seed} param)s")
    if "_anon_map_key" in state:
        state["_anon_map_key"] = f"{seed} param"
    state["value"] = value
    return made


# All of one type: nobody changes a type in place, and it is not the one by which Core knows parameters without a type.
_CRUD_PARAMETER = dict(BindParameter(None, 0, NullType(), unique=True, _is_crud=True).__dict__)


# util.langhelpers ---------------------------------------------------------------------------------------------------
def exec_code_in_env(code: str, env: dict[str, Any], name: str, description: str) -> Any:
    """Run generated code and return the function it defines; with 2.1, tracebacks show its source."""
    run = getattr(_langhelpers, "exec_code_in_env", None)
    if run is not None:
        return run(code, env, name, description)
    return _langhelpers._exec_code_in_env(code, env, name)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


# sql.base: HasSyntaxExtensions ----------------------------------------------------------------------------------------
def syntax_extensions(statement: Any) -> dict[str, Any]:
    """Return the syntax extensions of a SELECT by the place they go to; 2.0 has none."""
    return statement._get_syntax_extensions_as_dict() if SQLALCHEMY_21 else {}


# sql.elements: compiling through an engine's cache --------------------------------------------------------------------
def compile_cached(statement: Any, engine: Any, column_keys: list[str]) -> Any:
    """Return an INSERT or UPDATE compiled for many rows, from the engine's cache if it is there.

    None if its parameters are more than values by name.
    """
    found = statement._compile_w_cache(
        engine.dialect, compiled_cache=engine._compiled_cache, column_keys=column_keys, for_executemany=True
    )
    compiled = found[0]
    # 2.1 has parameters of the statement itself in third place
    if len(found) == 4 and found[2]:
        return None
    if (
        not compiled.positional
        or compiled.positiontup is None
        or compiled.post_compile_params
        or compiled.literal_execute_params
        or compiled.escaped_bind_names
    ):
        return None
    return compiled


def has_given_parameters(cache_key: Any) -> bool:
    """Return whether ``params()`` gave values for parameters of the statement; 2.0 puts them into it."""
    return SQLALCHEMY_21 and bool(cache_key.params)


def compile_one(statement: Any, engine: Any) -> tuple[Any, Any]:
    """Return a statement compiled for one execution with no parameters but its own, and whether the cache had it.

    None if it is not to be kept, so that parameters of another statement could not be put in.
    """
    found = statement._compile_w_cache(
        engine.dialect,
        compiled_cache=engine._compiled_cache,
        column_keys=[],
        linting=engine.dialect.compiler_linting | WARN_LINTING,
    )
    return None if found[0].cache_key is None else found[0], found[-1]


def positional_parameters(compiled: Any, parameters: Any) -> list[Any]:
    """Return what one execution sends: a compiled statement's parameters with another statement's values."""
    values = compiled.construct_params(extracted_parameters=parameters, escape_names=False)
    processors = compiled._bind_processors
    return [processors[key](values[key]) if key in processors else values[key] for key in compiled.positiontup]


def execute_compiled(
    connection: Any, statement: Any, compiled: Any, parameters: Any, options: Any, cache_hit: Any = None
) -> Any:
    """Return Core's result of a statement, by what a statement of the same cache key was compiled to.

    ``parameters``: the statement's own, in the order of its cache key. Passes by the events before and after execution.
    ``cache_hit``: what logs tell of the cache; by default that it had the statement.
    """
    dialect = connection.dialect
    return connection._execute_context(
        dialect,
        dialect.execution_ctx_cls._init_compiled,
        compiled,
        [],
        statement._execution_options.merge_with(connection._execution_options, options),
        compiled,
        [],
        statement,
        parameters,
        cache_hit=dialect.CACHE_HIT if cache_hit is None else cache_hit,
    )


def compiled_from_cache(result: Any) -> Any:
    """Return what a result's statement was compiled to, None if Core does not keep it or rows cannot tell it."""
    context = result.context
    dialect = context.dialect
    return context.compiled if context.cache_hit in (dialect.CACHE_HIT, dialect.CACHE_MISS) else None


# engine.cursor: row logging -------------------------------------------------------------------------------------------
def log_rows(cursor: Any, rows: Any) -> None:
    """Log raw rows of a cursor result as ``echo="debug"`` does: as Row objects, values processed by their types."""
    getter = cursor._row_getter
    # making a Row logs it; 2.1 has getters for one and for many
    make_row = getter[0] if SQLALCHEMY_21 else getter
    for row in rows:
        make_row(row)


# engine.result: uniqueness of rows -----------------------------------------------------------------------------------
def result_metadata(labels: Any, names: Any, filters: Any, entity_filters: Any) -> SimpleResultMetaData:
    """Return the column names of a result and how ``unique()`` compares.

    Core asks ``filters(result)`` when ``unique()`` is called; SQLAlchemy 2.0 wants ``entity_filters()`` at once.
    """
    if SQLALCHEMY_21:
        return SimpleResultMetaData(labels, names, _create_unique_filters=filters)
    older: Any = SimpleResultMetaData
    made: SimpleResultMetaData = older(labels, names, _unique_filters=entity_filters())
    return made


def named_metadata(metadata: SimpleResultMetaData, more: Iterable[tuple[int, tuple[Any, ...], Any]]) -> Any:
    """Return column names of a result with a further name for some: position, names it has already, name."""
    made = SimpleResultMetaData.__new__(SimpleResultMetaData)
    for slot in SimpleResultMetaData.__slots__:
        setattr(made, slot, getattr(metadata, slot))
    keymap, indexes = dict(metadata._keymap), dict(metadata._key_to_index)
    for position, names, name in more:
        label = metadata._keys[position]
        record = (position, label, (*names, name))
        for key in (label, *names):
            # of columns with one name, the last one has it
            if keymap[key][0] == position:
                keymap[key] = record
        keymap[name] = record
        indexes[name] = position
    made._keymap, made._key_to_index = keymap, indexes
    return made


def result_context(context: Any) -> dict[str, Any]:
    """Return the keywords by which a chunked result is given the context of its statement (2.1 only)."""
    return {"context": context} if SQLALCHEMY_21 else {}


def add_compile_state_func(statement: Any, function: Any, *arguments: Any) -> Any:
    """Return the statement with a function that is called when its compile state is there; private in both series."""
    add = statement._add_compile_state_func if SQLALCHEMY_21 else statement._add_context_option
    return add(function, *arguments)


# sql.util -------------------------------------------------------------------------------------------------------------
def surface_expressions(clause: Any) -> Iterator[Any]:
    """Iterate over the column expressions of a clause without entering subqueries (in Core since 2.1)."""
    stack = [clause]
    while stack:
        element = stack.pop()
        yield element
        if isinstance(element, ColumnElement):
            stack.extend(element.get_children())


# sql.compiler ---------------------------------------------------------------------------------------------------------
def enclosing_correlate_froms(compiler: Any, asfrom: bool, lateral: bool) -> tuple[Any, Any]:
    """Return what a SELECT inside of the statement being compiled may correlate to: if told to, and by itself.

    Core has a method for it since 2.1; the compiler's stack is the same in both series.
    """
    entry = compiler.stack[-1]
    enclosing, nearest = entry["correlate_froms"], entry["asfrom_froms"]
    if asfrom and not lateral:
        return enclosing.difference(nearest), frozenset()
    return enclosing, nearest


def raw_rows(result: Any) -> Any:
    """All rows of a Result; 2.1 can leave out the Row objects."""
    return result._raw_all_tuples() if SQLALCHEMY_21 else result.all()


def rewritten_rows(frozen: Any) -> Any:
    """The rows of a FrozenResult; public in 2.0."""
    return frozen._rewrite_rows() if SQLALCHEMY_21 else frozen.rewrite_rows()


def collect_parameters(compiler: Any, statement: Any) -> None:
    """Tell a compiler of the parameters of a statement's params(), which 2.0 keeps inside of the statement's parts."""
    if SQLALCHEMY_21 and compiler._collect_params:
        compiler._add_to_params(statement)


# sql.dml --------------------------------------------------------------------------------------------------------------
def has_ordered_values(update: Any) -> bool:
    """Whether an UPDATE was given ``ordered_values()``; 2.0 keeps the pairs, 2.1 a flag."""
    return bool(update._maintain_values_ordering if SQLALCHEMY_21 else update._ordered_values)


def update_values(update: Any) -> list[tuple[Any, Any]]:
    """What an UPDATE sets, in order; 2.0 keeps ``ordered_values()`` apart."""
    if not SQLALCHEMY_21 and update._ordered_values:
        return list(update._ordered_values)
    return list(update._values.items()) if update._values else []


def set_update_values(update: Any, values: list[tuple[Any, Any]]) -> None:
    """Give an UPDATE, which sets something, other values."""
    if not SQLALCHEMY_21 and update._ordered_values:
        update._ordered_values = values
    else:
        update._values = dict(values)


def hidden_froms(
    froms: Any, auto_correlate: bool, correlate: Any, correlate_except: Any, explicit: Any, implicit: Any
) -> set[Any]:
    """Which FROM elements of a subquery its enclosing statement provides; 2.0 only says what remains, when it compiles.

    :param explicit, implicit: the FROM elements around that may be correlated to when asked, and without being asked.
    """
    hidden: set[Any] = set()
    around = _cloned_intersection(froms, explicit or ())
    if correlate:
        hidden |= _cloned_intersection(around, correlate)
    if correlate_except is not None:
        hidden |= _cloned_difference(around, correlate_except)
    rest = [from_ for from_ in froms if from_ not in hidden]
    if auto_correlate and implicit and len(rest) > 1:
        hidden |= _cloned_intersection(rest, implicit)
    return hidden
