"""Reports the progress of a step to a listener: the command line listens, a Dagster worker does not.

Showing it belongs to the listener.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """The running step of a vintage; with `name`, `done` of `total` bytes of that file."""

    dataset: str
    vintage: str
    step: str
    name: str | None = None
    done: int = 0
    total: int | None = None


Listener = Callable[[Progress], None]

_listener: ContextVar[Listener | None] = ContextVar("d4c_progress_listener", default=None)


def report(progress: Progress) -> None:
    """Report progress to the listener, if there is one."""
    listener = _listener.get()
    if listener is not None:
        listener(progress)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Pass the progress that this thread reports inside the block to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
