"""Events of ``Query``: just before it is compiled, or becomes an UPDATE or DELETE."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event

from .query import BulkDelete, BulkUpdate, Query


class QueryEvents(event.Events[Query[Any]]):
    """Events of Query; listen on the class. With ``retval=True`` a returned query is used in place of the given one."""

    _target_class_doc = "SomeQuery"
    _dispatch_target = Query

    @classmethod
    def _listen(cls, event_key: Any, retval: bool = False, bake_ok: bool = False, **kw: Any) -> None:
        fn = event_key._listen_fn

        def deliver(query: Any, *args: Any, **kwargs: Any) -> Any:
            answer = fn(query, *args, **kwargs)
            return answer if retval else query

        # read by baked queries: whether the listener's effect may be cached
        deliver._bake_ok = bake_ok  # type: ignore[attr-defined]
        event_key.with_wrapper(deliver).base_listen(**kw)
        Query._has_listeners = True

    def before_compile(self, query: Query[Any]) -> None:
        """The query is about to become a statement."""

    def before_compile_update(self, query: Query[Any], update_context: BulkUpdate) -> None:
        """``Query.update()`` was called; ``update_context.values`` may be changed."""

    def before_compile_delete(self, query: Query[Any], delete_context: BulkDelete) -> None:
        """``Query.delete()`` was called."""
