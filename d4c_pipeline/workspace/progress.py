"""Telling whoever watches what a step is doing: the command line listens, a Dagster worker does not.

What is shown and how belongs to the listener.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """`step` is at work for `dataset` `vintage`; `done` of `total` bytes of file `name` when it moves a file."""

    dataset: str
    vintage: str
    step: str
    name: str | None = None
    done: int = 0
    total: int | None = None


Listener = Callable[[Progress], None]

_listener: ContextVar[Listener | None] = ContextVar("d4c_progress_listener", default=None)


def report(progress: Progress) -> None:
    """Tell the listener, if there is one."""
    listener = _listener.get()
    if listener is not None:
        listener(progress)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have `listener` told of all progress that this thread reports while this lasts."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
