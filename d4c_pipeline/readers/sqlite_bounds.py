"""Bounds the computed layers of SQLite files by reading them once before GDAL, whose reading can't be interrupted.

Computed layers are views, generated columns and virtual tables. A view of a hundred bytes may return rows without end,
or a blob of a gigabyte per row (https://sqlite.org/security.html). Plain tables are not read here.
"""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.limits import Limits, beyond
from d4c_pipeline.readers import bounded
from d4c_pipeline.tables.sql_names import identifier

_STEPS = 100_000  # instructions of SQLite's virtual machine between two checks of the time: about a millisecond
_BYTES_A_SECOND = 10 << 20  # the slowest disk; a large file may take longer to read
_VIRTUAL = re.compile(r"\s*CREATE\s+VIRTUAL\s", re.IGNORECASE)
_COMPUTED = (2, 3)  # generated columns in PRAGMA table_xinfo
_WIDTH = re.compile(r"[0-9]{7,}")
_GUARDED = "user-defined function"
TROUBLE = (sqlite3.Error, UnicodeDecodeError)
"""Errors for a damaged file: Python can't decode a message of SQLite with the damaged bytes of a schema."""


def connect(path: Path, *, seconds: float | None = None) -> sqlite3.Connection:
    """Open the file for reading with bounded length of values; queries are interrupted after `seconds` of work.

    The calling thread must run the queries.
    """
    opened = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True, check_same_thread=False)
    opened.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, Limits.from_environment().value_bytes)
    if seconds is not None:
        # Processor time, so that the load of the machine does not affect the result.
        until = time.thread_time() + seconds
        opened.set_progress_handler(lambda: time.thread_time() > until, _STEPS)
    return opened


def seconds_for(path: Path, limits: Limits) -> float:
    """Return the number of seconds that SQLite may take to read the file."""
    return limits.seconds + path.stat().st_size / _BYTES_A_SECOND


def check(path: Path, layer: str) -> None:
    """Raise DataError for a computed layer that is endless, too slow or too large, or that SQLite can't read."""
    limits = Limits.from_environment()
    try:
        with closing(connect(path, seconds=seconds_for(path, limits))) as connection:
            if _is_computed(connection, layer):
                _guard_formats(connection, limits)
                _read_all(connection, path, layer, limits)
    except TROUBLE as error:
        raise refusal(path, error, layer) from error


def check_layers(path: Path) -> None:
    """Raise DataError when the file has too many layers, or a view that runs without end before its first row.

    GDAL opens each layer to list the layers, and reads the first row of a view for the types of its columns.
    """
    limits = Limits.from_environment()
    try:
        with closing(connect(path, seconds=seconds_for(path, limits))) as connection:
            query = f"SELECT count(*) FROM (SELECT 1 FROM gpkg_contents LIMIT {limits.layers * 100})"
            (count,) = connection.execute(query).fetchone()
            if count <= limits.layers:
                _guard_formats(connection, limits)
                _first_rows(connection)
    except TROUBLE as error:
        raise refusal(path, error) from error
    bounded.check_layers(path.name, count, limits)


def refusal(path: Path, error: Exception, layer: str = "") -> DataError:
    """Return the DataError for an `error` in `TROUBLE`."""
    limits, name = Limits.from_environment(), f"Layer {layer} of {path.name}" if layer else path.name
    if "interrupted" in str(error):
        return beyond(name, f"takes SQLite more than {seconds_for(path, limits):.0f} s to read", "seconds")
    if "too big" in str(error) or _GUARDED in str(error):
        return beyond(name, f"has a value of more than {limits.value_bytes:,} bytes", "value_bytes")
    reason = "its schema is damaged" if isinstance(error, UnicodeDecodeError) else error
    return DataError(f"{path.name} can't be read: {reason}", "Fetch the vintage again")


def _guard_formats(connection: sqlite3.Connection, limits: Limits) -> None:
    # SQLite's own functions return null for text beyond its limit, so the limit would not show before GDAL, which has
    # none: 900 MB took 20 s and 2.9 GB. The results of these functions are not used.
    def formatted(form: Any, *values: Any) -> str:
        widths = [int(digits) for digits in _WIDTH.findall(str(form))]
        widths += [abs(value) for value in values if isinstance(value, int)] if "*" in str(form) else []
        if max(widths, default=0) > limits.value_bytes:
            raise ValueError("a width beyond any value")
        return ""

    for name in ("printf", "format"):
        connection.create_function(name, -1, formatted, deterministic=True)


def _is_computed(connection: sqlite3.Connection, layer: str) -> bool:
    query = "SELECT type, sql FROM sqlite_master WHERE lower(name) = lower(?)"
    found: list[tuple[Any, ...]] = connection.execute(query, [layer]).fetchall()
    if any(kind == "view" or _VIRTUAL.match(str(sql)) for kind, sql in found):
        return True
    columns: list[tuple[Any, ...]] = connection.execute(f"PRAGMA table_xinfo({identifier(layer)})").fetchall()
    return any(column[-1] in _COMPUTED for column in columns)


def _first_rows(connection: sqlite3.Connection) -> None:
    # All views, since GDAL also lists views that are not registered if no table without geometry is registered.
    for (view,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall():
        try:
            connection.execute(f"SELECT * FROM {identifier(view)} LIMIT 1").fetchone()
        except sqlite3.Error as error:
            # Other errors of a view, such as a function of GDAL's, are reported only when the view is the layer.
            if any(words in str(error) for words in ("interrupted", "too big", _GUARDED)):
                raise


def _read_all(connection: sqlite3.Connection, path: Path, layer: str, limits: Limits) -> None:
    total, size = 0, path.stat().st_size
    for row in connection.execute(f"SELECT * FROM {identifier(layer)}"):
        total += sum(len(value) if isinstance(value, str | bytes) else 8 for value in row)
        if total > limits.expansion_from and total > limits.expansion * size:
            raise bounded.expanded(f"Layer {layer} of {path.name}", total, size, limits)
