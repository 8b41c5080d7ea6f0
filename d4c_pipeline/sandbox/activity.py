"""Reports the current activity of a build, so that an error can name it when the process dies without an answer.

The process of a build (`inside`) registers the listener.
"""

from __future__ import annotations

from collections.abc import Callable

# One for the process, not for the thread: readers and GEOS work in threads of their own.
_listeners: list[Callable[[str], None]] = []


def listen(listener: Callable[[str], None]) -> None:
    """Have `listener` told what is done in this process, until it ends."""
    _listeners.append(listener)


def now(what: str) -> None:
    """Tell that from now on `what` is done, in words that follow "while" (`reading roads.gpkg`)."""
    for listener in _listeners:
        listener(what)
