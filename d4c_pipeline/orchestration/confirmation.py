"""Asks before one click starts very many runs: the first launch of a large backfill is answered with its number.

The same launch within a few minutes is the confirmation. `ui_guard` passes every GraphQL request; what a request may do
at all is decided there. Does not import dagster.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

MOST_UNASKED = 500
"""The number of partitions that a backfill may name without a confirmation; ranges and "all" are confirmed always."""
_REMEMBERED_SECONDS = 300.0
MUTATION = b"launchPartitionBackfill"
"""What the body of a request to confirm contains."""
_NAME = MUTATION.decode()


class Confirmations:
    """The large launches of a webserver that wait for their confirmation."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked: dict[str, float] = {}

    def question(self, who: str | None, request: Any) -> Mapping[str, Any] | None:
        """Return the answer that asks `who` to confirm a decoded GraphQL request; None for one that may pass.

        The answer has the form of Dagster's own errors, which its page shows in a dialog.
        """
        if not isinstance(request, dict) or _NAME not in str(request.get("query", "")):
            return None
        variables = request.get("variables")
        runs = max(_counts(variables), default=0)
        uncounted = any(_uncounted(variables))
        if runs <= MOST_UNASKED and not uncounted:
            return None
        now = self._clock()
        self._asked = {key: at for key, at in self._asked.items() if now - at < _REMEMBERED_SECONDS}
        text = json.dumps([who, variables], sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()
        if self._asked.pop(key, None) is not None:
            return None
        self._asked[key] = now
        started = "a run for each partition of a whole range, however many there are" if uncounted else f"{runs:,} runs"
        message = (
            f"This starts {started}. Nothing has been started. To start them, launch the same backfill again within"
            f" {_REMEMBERED_SECONDS / 60:.0f} minutes; otherwise select fewer partitions."
        )
        error = {"__typename": "PythonError", "message": message, "stack": [], "errorChain": [], "causes": []}
        return {"data": {_NAME: error}}


def _uncounted(value: Any) -> Iterator[bool]:
    """Yield whether each part of the variables selects partitions without naming them: all of them, or a range."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield bool(inner) and name in ("allPartitions", "range", "ranges")
            yield from _uncounted(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _uncounted(inner)


def _counts(value: Any) -> Iterator[int]:
    """Yield the length of every list of partitions in the variables of a request."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in ("partitionNames", "partitionKeys") and isinstance(inner, list):
                yield len(inner)
            yield from _counts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _counts(inner)
