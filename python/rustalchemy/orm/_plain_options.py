"""Which loader options cannot be part of a reference cycle with an object that keeps them.

The collector need not look at an object that holds such options and plain values only: a large part of the time that
a load takes. Criteria, aliases and options that users define may lead anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .strategy_options import Load

if TYPE_CHECKING:
    from .path_registry import PathRegistry


def are_plain(options: tuple[Any, ...], path: PathRegistry) -> bool:
    """Whether ``load_options`` and ``load_path`` of an object lead to mappers and their attributes only."""
    return _is_plain_path(path) and all(map(_is_plain_option, options))


def _is_plain_option(option: Any) -> bool:
    return (
        type(option) is Load
        and not option.additional_source_entities
        and _is_plain_path(option.path)
        and all(map(_is_plain_element, option.context))
    )


def _is_plain_element(element: Any) -> bool:
    return (
        not element._extra_criteria
        and all(value is None or isinstance(value, (str, int)) for value in element.local_opts.values())
        and _is_plain_path(element.path)
    )


def _is_plain_path(path: Any) -> bool:
    return not any(getattr(part, "is_aliased_class", False) for part in path.path)
