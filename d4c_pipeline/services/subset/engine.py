"""The DuckDB that all subsets of a server share: one limit of memory for all requests, a cursor for each.

Opening a database for each request would cost 30 ms and give each a limit of its own. SQL belongs to `rows`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from d4c_pipeline.tables.duckdb_engine import connect

MEMORY = "200MB"
"""What DuckDB may use for all requests together; Arrow's batches of each request come on top."""


class Engine:
    """A DuckDB in memory; a context manager. `spill`: an existing folder for what exceeds memory."""

    def __init__(self, *, memory_limit: str = MEMORY, threads: int | None = None, spill: Path | None = None) -> None:
        self._connection = connect(
            extensions=("httpfs", "spatial"), threads=threads, memory_limit=memory_limit, spill=spill
        )
        self._connection.execute("SET allow_community_extensions = false")
        self._connection.execute("SET lock_configuration = true")

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a cursor of one request."""
        cursor = self._connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()


@contextmanager
def limited(cursor: duckdb.DuckDBPyConnection, seconds: float | None) -> Iterator[None]:
    """Interrupt the query of `cursor` if this block takes longer than `seconds`."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, cursor.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
