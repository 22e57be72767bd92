"""The bulk methods of a Session: rows in and out without the unit of work."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc as sa_exc
from sqlalchemy import util

from . import attributes, exc
from .base import _class_to_mapper

if TYPE_CHECKING:
    from ._session_transaction import SessionTransaction


class BulkOperations:
    """The part of a Session that writes many rows at once, from objects or from dictionaries."""

    _flushing: bool

    if TYPE_CHECKING:
        _uow_read_only: bool

        def _autobegin_t(self, begin: bool = False) -> SessionTransaction: ...

    def bulk_save_objects(
        self,
        objects: Iterable[object],
        return_defaults: bool = False,
        update_changed_only: bool = True,
        preserve_order: bool = True,
    ) -> None:
        """INSERT or UPDATE the rows of objects; the objects keep the states they have."""
        states = [self._state_of(obj) for obj in objects]
        if not preserve_order:
            states.sort(key=lambda state: (id(state.mapper), state.key is not None))
        for (mapper, isupdate), group in itertools.groupby(
            states, key=lambda state: (state.mapper, state.key is not None)
        ):
            self._bulk_save_mappings(
                mapper,
                group,
                isupdate=isupdate,
                isstates=True,
                return_defaults=return_defaults,
                update_changed_only=update_changed_only,
                render_nulls=False,
            )

    def bulk_insert_mappings(
        self,
        mapper: Any,
        mappings: Iterable[dict[str, Any]],
        return_defaults: bool = False,
        render_nulls: bool = False,
    ) -> None:
        """INSERT rows from dictionaries by attribute name."""
        self._bulk_save_mappings(
            mapper,
            mappings,
            isupdate=False,
            isstates=False,
            return_defaults=return_defaults,
            update_changed_only=False,
            render_nulls=render_nulls,
        )

    def bulk_update_mappings(self, mapper: Any, mappings: Iterable[dict[str, Any]]) -> None:
        """UPDATE rows, found by the primary key in each dictionary."""
        self._bulk_save_mappings(
            mapper,
            mappings,
            isupdate=True,
            isstates=False,
            return_defaults=False,
            update_changed_only=False,
            render_nulls=False,
        )

    @staticmethod
    def _state_of(instance: object) -> Any:
        try:
            return attributes.instance_state(instance)
        except exc.NO_STATE as err:
            raise exc.UnmappedInstanceError(instance) from err

    def _bulk_save_mappings(
        self,
        mapper: Any,
        mappings: Iterable[Any],
        *,
        isupdate: bool,
        isstates: bool,
        return_defaults: bool,
        update_changed_only: bool,
        render_nulls: bool,
    ) -> None:
        from . import bulk_persistence

        if self._uow_read_only:
            raise sa_exc.InvalidRequestError(
                "This Session is read-only: a bulk operation is refused. Use a Session without read_only=True for what "
                "is to be written."
            )
        mapper = _class_to_mapper(mapper)
        self._flushing = True
        try:
            transaction = self._autobegin_t()._begin()
            try:
                if isupdate:
                    bulk_persistence._bulk_update(
                        mapper, mappings, transaction, isstates=isstates, update_changed_only=update_changed_only
                    )
                else:
                    bulk_persistence._bulk_insert(
                        mapper,
                        mappings,
                        transaction,
                        isstates=isstates,
                        return_defaults=return_defaults,
                        render_nulls=render_nulls,
                    )
                transaction.commit()
            except BaseException:
                with util.safe_reraise():
                    transaction.rollback(_capture_exception=True)
        finally:
            self._flushing = False
