"""The names of ``sqlalchemy.orm.events``: importing this module makes the ORM's classes event targets."""

from __future__ import annotations

from ._attribute_events import AttributeEvents
from ._event_holds import _EventsHold
from ._instance_events import InstanceEvents, InstrumentationEvents, _InstanceEventsHold, _InstrumentationEventsHold
from ._mapper_events import MapperEvents, _MapperEventsHold
from ._query_events import QueryEvents
from ._registry_events import RegistryEvents
from ._session_events import SessionEvents

__all__ = [
    "AttributeEvents",
    "InstanceEvents",
    "InstrumentationEvents",
    "MapperEvents",
    "QueryEvents",
    "RegistryEvents",
    "SessionEvents",
    "_EventsHold",
    "_InstanceEventsHold",
    "_InstrumentationEventsHold",
    "_MapperEventsHold",
]
