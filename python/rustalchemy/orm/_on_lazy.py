"""The setting ``on_lazy`` of sessions and relationships: what happens where an attribute would be loaded lazily.

What is done about it stands in ``_lazy_peers``.
"""

from __future__ import annotations

from typing import Literal

from sqlalchemy import exc as sa_exc

OnLazy = Literal["load", "warn", "raise", "batch"]

_CHOICES = ("load", "warn", "raise", "batch")

# set once and for all by the first session or relationship with a wish: before that, nobody is asked
is_watched = False


def watch_lazy_loads(on_lazy: OnLazy) -> OnLazy:
    """Check a setting, and have lazy loads ask from now on."""
    global is_watched
    if on_lazy not in _CHOICES:
        raise sa_exc.ArgumentError(f"on_lazy must be one of {', '.join(map(repr, _CHOICES))}, not {on_lazy!r}")
    is_watched = True
    return on_lazy
