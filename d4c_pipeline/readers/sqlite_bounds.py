"""SQLite that answers without end: what is computed is gone through before GDAL reads it, which nobody can stop.

That is views, generated columns and virtual tables. A view of a hundred bytes may count without end, or make a blob of
a gigabyte for each row (https://sqlite.org/security.html). Plain tables hold what is in the file and cost nothing here.
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

_STEPS = 100_000  # instructions of SQLite's machine between two looks at the clock: about a millisecond
_BYTES_A_SECOND = 10 << 20  # what any disk reads; a large file may take longer to look through
_VIRTUAL = re.compile(r"\s*CREATE\s+VIRTUAL\s", re.IGNORECASE)
_COMPUTED = (2, 3)  # of PRAGMA table_xinfo: a generated column
_WIDTH = re.compile(r"[0-9]{7,}")
_GUARDED = "user-defined function"
TROUBLE = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite raises for a damaged file: Python can't decode a message that repeats the damaged bytes of a schema."""


def connect(path: Path, *, seconds: float | None = None) -> sqlite3.Connection:
    """Open the file for reading, values no longer than they may be; a query is interrupted after `seconds` of work.

    Queries are to run in the thread that calls this.
    """
    opened = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True, check_same_thread=False)
    opened.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, Limits.from_environment().value_bytes)
    if seconds is not None:
        # Seconds of a processor, so that a loaded machine refuses the same files as a quiet one.
        until = time.thread_time() + seconds
        opened.set_progress_handler(lambda: time.thread_time() > until, _STEPS)
    return opened


def seconds_for(path: Path, limits: Limits) -> float:
    """Return how long SQLite may take to look through the file."""
    return limits.seconds + path.stat().st_size / _BYTES_A_SECOND


def check(path: Path, layer: str) -> None:
    """Raise DataError when the layer is computed and is endless, too slow or too large, or SQLite can't read it."""
    limits = Limits.from_environment()
    try:
        with closing(connect(path, seconds=seconds_for(path, limits))) as connection:
            if _is_computed(connection, layer):
                _guard_formats(connection, limits)
                _go_through(connection, path, layer, limits)
    except TROUBLE as error:
        raise refusal(path, error, layer) from error


def check_layers(path: Path) -> None:
    """Raise DataError when the file lists more layers than it may, or a view of it has no end before its first row.

    GDAL opens each of them when it lists the layers, and reads the first row of a view for the types of its columns.
    """
    limits = Limits.from_environment()
    try:
        with closing(connect(path, seconds=seconds_for(path, limits))) as connection:
            asked = f"SELECT count(*) FROM (SELECT 1 FROM gpkg_contents LIMIT {limits.layers * 100})"
            (count,) = connection.execute(asked).fetchone()
            if count <= limits.layers:
                _guard_formats(connection, limits)
                _first_rows(connection)
    except TROUBLE as error:
        raise refusal(path, error) from error
    bounded.check_layers(path.name, count, limits)


def refusal(path: Path, error: Exception, layer: str = "") -> DataError:
    """Return the error for what SQLite could not do, one of `TROUBLE`."""
    limits, name = Limits.from_environment(), f"Layer {layer} of {path.name}" if layer else path.name
    if "interrupted" in str(error):
        return beyond(name, f"takes SQLite more than {seconds_for(path, limits):.0f} s to go through", "seconds")
    if "too big" in str(error) or _GUARDED in str(error):
        return beyond(name, f"has a value of more than {limits.value_bytes:,} bytes", "value_bytes")
    said = "its schema is damaged" if isinstance(error, UnicodeDecodeError) else error
    return DataError(f"{path.name} can't be read: {said}", "Fetch the vintage again")


def _guard_formats(connection: sqlite3.Connection, limits: Limits) -> None:
    # SQLite's own answer null where the text would be longer than it may be, so that it shows when GDAL reads it alone:
    # 900 MB took 20 s and 2.9 GB. What they answer here is not looked at.
    def formatted(form: Any, *values: Any) -> str:
        widths = [int(digits) for digits in _WIDTH.findall(str(form))]
        widths += [abs(value) for value in values if isinstance(value, int)] if "*" in str(form) else []
        if max(widths, default=0) > limits.value_bytes:
            raise ValueError("a width beyond any value")
        return ""

    for name in ("printf", "format"):
        connection.create_function(name, -1, formatted, deterministic=True)


def _is_computed(connection: sqlite3.Connection, layer: str) -> bool:
    asked = "SELECT type, sql FROM sqlite_master WHERE lower(name) = lower(?)"
    found: list[tuple[Any, ...]] = connection.execute(asked, [layer]).fetchall()
    if any(kind == "view" or _VIRTUAL.match(str(sql)) for kind, sql in found):
        return True
    columns: list[tuple[Any, ...]] = connection.execute(f"PRAGMA table_xinfo({identifier(layer)})").fetchall()
    return any(column[-1] in _COMPUTED for column in columns)


def _first_rows(connection: sqlite3.Connection) -> None:
    # Of all views, listed as layers or not: GDAL lists others too where no table without geometry is listed.
    for (view,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall():
        try:
            connection.execute(f"SELECT * FROM {identifier(view)} LIMIT 1").fetchone()
        except sqlite3.Error as error:
            # What else is wrong with a view, such as a function that GDAL alone has, matters when it is the layer.
            if any(words in str(error) for words in ("interrupted", "too big", _GUARDED)):
                raise


def _go_through(connection: sqlite3.Connection, path: Path, layer: str, limits: Limits) -> None:
    total, size = 0, path.stat().st_size
    for row in connection.execute(f"SELECT * FROM {identifier(layer)}"):
        total += sum(len(value) if isinstance(value, str | bytes) else 8 for value in row)
        if total > limits.expansion_from and total > limits.expansion * size:
            raise bounded.expanded(f"Layer {layer} of {path.name}", total, size, limits)
