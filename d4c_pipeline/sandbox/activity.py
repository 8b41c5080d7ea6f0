"""Reports the current activity of a build, so that an error can name it when the process dies without an answer.

The process of a build (`inside`) registers the listener.
"""

from __future__ import annotations

from collections.abc import Callable

# The listeners of the process, not of a thread: readers and GEOS start their own threads.
_listeners: list[Callable[[str], None]] = []


def listen(listener: Callable[[str], None]) -> None:
    """Call `listener` with each activity of this process until the process ends."""
    _listeners.append(listener)


def now(what: str) -> None:
    """Report the current activity, in words that follow "while" (`reading roads.gpkg`)."""
    for listener in _listeners:
        listener(what)
