"""The labels of the work in progress: dataset, vintage, step and run, which every log line and span carries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_LABELS: ContextVar[Mapping[str, str]] = ContextVar("d4c_labels")


def labels() -> Mapping[str, str]:
    """Return the labels of the work in progress, in the current thread."""
    return _LABELS.get({})


@contextmanager
def labelled(**more: str | None) -> Iterator[None]:
    """Add labels until the end of the block; None and an empty text add none."""
    token = _LABELS.set({**labels(), **{name: value for name, value in more.items() if value}})
    try:
        yield
    finally:
        _LABELS.reset(token)
