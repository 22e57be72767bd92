"""Statements of ``subqueryload()`` that are kept: each embeds the statement it follows, and is compiled once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from ._prepared_select import PreparedSelect
from ._statement_cache import cached


class EmbeddingSelect:
    """A loader's SELECT with another statement in it, from which the values of its parameters come each time."""

    __slots__ = ("_parameters", "_prepared", "_statement", "options")

    def __init__(
        self, statement: Any, options: Sequence[Any], prepared: PreparedSelect, parameters: Sequence[Any]
    ) -> None:
        self._statement = statement
        self._prepared = prepared
        # an index among those of the statement that is embedded, or a parameter of this one's own
        self._parameters = parameters
        #: loader options of the statement that is embedded
        self.options = options

    @classmethod
    def of(cls, statement: Any, original: Any, options: Sequence[Any], dialect: Any) -> Optional[EmbeddingSelect]:
        """None unless each parameter of the original is found in the statement, and no copy of one."""
        key, key_of_original = statement._generate_cache_key(), original._generate_cache_key()
        if key is None or key_of_original is None:
            return None
        places = {id(bind): index for index, bind in enumerate(key_of_original.bindparams)}
        names = {bind._identifying_key for bind in key_of_original.bindparams}
        own = [bind for bind in key.bindparams if id(bind) not in places]
        parameters: list[Any] = [places.get(id(bind), bind) for bind in key.bindparams]
        if not places.keys() <= set(map(id, key.bindparams)) or any(bind._identifying_key in names for bind in own):
            return None
        prepared = cached(dialect, key.key, lambda: PreparedSelect.of(statement, dialect, key))
        return None if prepared is None else cls(statement, options, prepared, parameters)

    def rows(
        self, session: Any, original: Any, more_options: Mapping[Any, Any], given: Any, load_options: Any
    ) -> Optional[Iterable[Any]]:
        """All rows, once each; None if the statement has to go through Core.

        ``original``: the statement that is embedded this time. ``more_options``: execution options of this time.
        """
        lane = session._lane(self._statement._propagate_attrs["plugin_subject"].mapper)
        if lane is None or lane.dialect is not self._prepared.dialect:
            return None
        values = original._generate_cache_key().bindparams
        parameters = [values[bind] if type(bind) is int else bind for bind in self._parameters]
        statement = self._statement._clone()
        statement._execution_options = statement._execution_options.union(more_options)
        session._autoflush()
        result = self._prepared.result(session, lane, parameters, given, statement, load_options)
        return None if result is None else result.unique()
