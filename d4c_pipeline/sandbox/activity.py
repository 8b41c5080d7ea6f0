"""What a build is doing now: told as it goes, so that where it died can be said when it can't say so itself.

Who listens (the process of a build, `inside`) and what is made of it belongs there.
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
