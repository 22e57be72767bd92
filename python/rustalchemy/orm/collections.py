"""Collections of related objects: which classes may be used, and how their changes are noticed."""

from __future__ import annotations

import operator
from typing import Any

from .. import _core

InstrumentedList = _core.InstrumentedList

collection_adapter = operator.attrgetter("_sa_adapter")


def _prepare_instrumentation(factory: Any) -> Any:
    """The factory to use for a collection: the instrumented kind of a built-in, or the given class, instrumented."""
    if factory is list or factory is InstrumentedList:
        return InstrumentedList
    raise NotImplementedError("collections other than list")
