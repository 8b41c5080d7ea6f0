"""The DuckDB that all subsets of a server share: one limit of memory for all requests, a cursor for each.

Opening a database for each request would cost 30 ms and give each a limit of its own. SQL belongs to `rows`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import duckdb

from d4c_pipeline.tables.duckdb_engine import connect

MEMORY = "200MB"
"""What DuckDB may use for all requests together; Arrow's batches of each request come on top."""

SECONDS = 60.0
"""Time for reading the footers of a release, the shortest deadline of a query."""

_AGAIN_SECONDS = 0.1
_SILENT_PART, _SILENT_MOST, _RETRIES = 12, 30, 1


class Engine:
    """A DuckDB in memory; a context manager. `spill`: an existing folder for what exceeds memory.

    `seconds`: the shortest deadline of its queries. An address that sends nothing for a twelfth of it is tried once
    more, then the query fails: DuckDB obeys an interrupt only between requests, so a query that began to wait at its
    deadline ends a sixth later. DuckDB's own four times 30 seconds are longer than the deadline.
    """

    def __init__(
        self,
        *,
        memory_limit: str = MEMORY,
        threads: int | None = None,
        spill: Path | None = None,
        seconds: float = SECONDS,
    ) -> None:
        self._connection = connect(
            extensions=("httpfs", "spatial"), threads=threads, memory_limit=memory_limit, spill=spill
        )
        self._deadlines = _Deadlines()
        silent = max(1, min(_SILENT_MOST, int(seconds / _SILENT_PART)))
        # GLOBAL: else they hold for this connection only, and each request has a cursor.
        self._connection.execute(f"SET GLOBAL http_timeout = {silent}")
        self._connection.execute(f"SET GLOBAL http_retries = {_RETRIES}")
        self._connection.execute("SET allow_community_extensions = false")
        self._connection.execute("SET lock_configuration = true")

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._deadlines.close()
        self._connection.close()

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a cursor of one request."""
        cursor = self._connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    def limited(self, cursor: duckdb.DuckDBPyConnection, seconds: float | None) -> AbstractContextManager[None]:
        """Interrupt the query of `cursor` if the block takes longer than `seconds`."""
        return nullcontext() if seconds is None else self._deadlines.limited(cursor, seconds)


class _Deadlines:
    """One thread that interrupts what takes too long.

    A timer for each query is a thread for each, and its start waits for the interpreter's lock: 5 ms and more where
    other threads hold that, three times in each subset.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[object, tuple[float, duckdb.DuckDBPyConnection]] = {}
        self._wakes = float("inf")
        self._thread: threading.Thread | None = None
        self._closed = False

    @contextmanager
    def limited(self, cursor: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
        """Interrupt the query of `cursor` if this block takes longer than `seconds`, and never after it."""
        key, due = object(), time.monotonic() + seconds
        with self._changed:
            self._due[key] = due, cursor
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="d4c-subset-deadlines", daemon=True)
                self._thread.start()
            elif due < self._wakes:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._due.pop(key, None)

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                for key, (due, cursor) in list(self._due.items()):
                    if due <= now:
                        # Again and again until the block ends: DuckDB forgets an interrupt before the query begins.
                        cursor.interrupt()
                        self._due[key] = now + _AGAIN_SECONDS, cursor
                self._wakes = min((due for due, _ in self._due.values()), default=float("inf"))
                self._changed.wait(None if self._wakes == float("inf") else self._wakes - now)
