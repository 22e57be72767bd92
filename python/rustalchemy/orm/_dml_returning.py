"""Which columns a DML statement can return: stand-ins for adapters while its RETURNING clause is put together."""

from __future__ import annotations

from typing import Any

from sqlalchemy import util
from sqlalchemy.sql import util as sql_util


class _DMLReturningColFilter:
    """Limits a RETURNING clause to columns its DML statement can return; stands where an adapter would."""

    __slots__ = ("__weakref__", "columns", "mapper")

    def __init__(self, target_mapper: Any, immediate_dml_mapper: Any) -> None:
        several_tables = (
            immediate_dml_mapper is not None and target_mapper.local_table is not immediate_dml_mapper.local_table
        )
        self.mapper: Any = immediate_dml_mapper if several_tables else target_mapper
        adapt: Any = self.adapt_check_present
        self.columns: Any = util.WeakPopulateDict(adapt)

    def __call__(self, col: Any, as_filter: bool) -> Any:
        returnable = any(self.adapt_check_present(found) is not None for found in sql_util._find_columns(col))
        return col if returnable else None

    def adapt_check_present(self, col: Any) -> Any:
        raise NotImplementedError()


class _DMLBulkInsertReturningColFilter(_DMLReturningColFilter):
    """INSERT: only columns of the one table of the hierarchy that is written."""

    __slots__ = ()

    def adapt_check_present(self, col: Any) -> Any:
        if col not in self.mapper._columntoproperty:
            return None
        return self.mapper.local_table.c.corresponding_column(col)


class _DMLUpdateDeleteReturningColFilter(_DMLReturningColFilter):
    """UPDATE, DELETE: persisted columns of this mapper, anything of others (UPDATE … FROM)."""

    __slots__ = ()

    def adapt_check_present(self, col: Any) -> Any:
        if col not in self.mapper._columntoproperty:
            return col
        return self.mapper.persist_selectable.c.corresponding_column(col)
