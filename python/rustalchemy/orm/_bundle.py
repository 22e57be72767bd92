"""Bundles: several columns or entities of a statement returned as one element of the row."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import exc as sa_exc
from sqlalchemy import inspection, util
from sqlalchemy.engine.result import result_tuple
from sqlalchemy.sql import coercions, expression, roles
from sqlalchemy.sql.annotation import SupportsCloneAnnotations
from sqlalchemy.sql.cache_key import MemoizedHasCacheKey

from .._sa import WriteableColumnCollection, _self_inspects, annotate_for_entity
from .base import InspectionAttr
from .interfaces import ORMColumnsClauseRole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.engine.row import Row
    from sqlalchemy.sql.base import ReadOnlyColumnCollection

    from .mapper import Mapper

_T = TypeVar("_T", bound=Any)

_RowProcessor = Callable[["Row[Any]"], Any]


@_self_inspects
class Bundle(
    ORMColumnsClauseRole[_T],
    SupportsCloneAnnotations,
    MemoizedHasCacheKey,
    inspection.Inspectable["Bundle[_T]"],
    InspectionAttr,
):
    """Groups column expressions under one name; subclass and override ``create_row_processor`` for another row type.

    With ``single_entity=True`` a statement that selects nothing but the bundle returns it bare instead of in a row.
    """

    single_entity = False
    is_clause_element = False
    is_mapper = False
    is_aliased_class = False
    is_bundle = True
    proxy_set: Any = util.EMPTY_SET
    _propagate_attrs: Mapping[str, Any] = util.immutabledict()

    exprs: list[Any]
    columns: ReadOnlyColumnCollection[str, Any]
    c: ReadOnlyColumnCollection[str, Any]

    def __init__(self, name: str, *exprs: Any, **kw: Any) -> None:
        self.name = self._label = name
        self.exprs = [coercions.expect(roles.ColumnsClauseRole, expr, apply_propagate_attrs=self) for expr in exprs]
        members = self._members()
        self.c = self.columns = WriteableColumnCollection(
            (getattr(col, "key", col._label), col) for col in members
        ).as_readonly()
        self.single_entity = kw.pop("single_entity", self.single_entity)

    def _members(self) -> list[Any]:
        """The expressions, with nested bundles as themselves instead of their clause elements."""
        return [expr._annotations.get("bundle", expr) for expr in self.exprs]

    def _set_propagate_attrs(self, values: Mapping[str, Any]) -> Bundle[_T]:
        self._propagate_attrs = util.immutabledict(values)
        return self

    def _gen_cache_key(self, am: Any, bindparams: list[Any]) -> tuple[Any, ...]:
        parts = tuple(expr._gen_cache_key(am, bindparams) for expr in self.exprs)
        return (self.__class__, self.name, self.single_entity, *parts)

    @property
    def mapper(self) -> Mapper[Any] | None:
        """The mapper of the first expression, if it is an attribute of a mapped class."""
        mapper: Mapper[Any] | None = self.exprs[0]._annotations.get("parentmapper")
        return mapper

    @property
    def entity(self) -> Any:
        """The entity of the first expression, if it is an attribute of a mapped class."""
        return self.exprs[0]._annotations.get("parententity")

    @property
    def entity_namespace(self) -> ReadOnlyColumnCollection[str, Any]:
        return self.c

    def _clone(self, **kw: Any) -> Bundle[_T]:
        cloned = self.__class__.__new__(self.__class__)
        cloned.__dict__.update(self.__dict__)
        return cloned

    def __clause_element__(self) -> Any:
        annotations = {"bundle": self, "entity_namespace": self, **self._annotations}
        clauses = expression.ClauseList(*self._members(), _literal_as_text_role=roles.ColumnsClauseRole, group=False)
        subject = self.exprs[0]._propagate_attrs.get("plugin_subject", self.entity)
        return annotate_for_entity(clauses, annotations, subject)

    @property
    def clauses(self) -> Any:
        return self.__clause_element__().clauses

    def label(self, name: str) -> Bundle[_T]:
        """A copy of this bundle under another name."""
        cloned = self._clone()
        cloned.name = name
        return cloned

    def create_row_processor(self, query: Any, procs: Sequence[_RowProcessor], labels: Sequence[str]) -> _RowProcessor:
        """Return the function that makes the bundle's value from a row; ``procs`` give the single values."""
        keyed_tuple = result_tuple(labels, [() for _ in labels])
        values = _all_values(procs)

        def bundle_row(row: Row[Any]) -> Any:
            return keyed_tuple(values(row))

        return bundle_row


class DictBundle(Bundle[_T]):
    """A bundle whose value is a dictionary by column name."""

    def __init__(self, name: str, *exprs: Any, **kw: Any) -> None:
        super().__init__(name, *exprs, **kw)
        if len(set(self.c.keys())) != len(self.c):
            raise sa_exc.ArgumentError("DictBundle does not support duplicate column names")

    def create_row_processor(self, query: Any, procs: Sequence[_RowProcessor], labels: Sequence[str]) -> _RowProcessor:
        def bundle_dict(row: Row[Any]) -> dict[str, Any]:
            return dict(zip(labels, (proc(row) for proc in procs), strict=True))

        return bundle_dict


def _all_values(procs: Sequence[_RowProcessor]) -> Callable[[Any], Sequence[Any]]:
    """One function in place of several: a single call where each is but a place in the row."""
    places = [place for proc in procs if type(proc) is itemgetter for place in proc.__reduce__()[1]]
    if len(places) == len(procs) > 1:
        return itemgetter(*places)
    return lambda row: [proc(row) for proc in procs]
