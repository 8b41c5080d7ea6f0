"""DuckDB as this platform opens it: in memory, extensions from their wheels, nothing downloaded, UTC, bounded.

Queries belong to the modules that ask them; this one only opens connections and explains what DuckDB answers.
https://duckdb.org/docs/stable/configuration/overview
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path

import duckdb

from d4c_pipeline.model.data_files import Files, listed
from d4c_pipeline.model.errors import D4CError, DataError, PermanentError, StorageError


def extension_path(name: str) -> Path:
    """Return the file of a DuckDB extension out of its wheel (`duckdb-extension-<name>`).

    Raises PermanentError when the wheel is missing or was made for another DuckDB.
    """
    remedy = f"Install duckdb-extension-{name}=={duckdb.__version__}, the version of duckdb itself"
    try:
        module = importlib.import_module(f"duckdb_extension_{name}")
    except ModuleNotFoundError as error:
        raise PermanentError(f"DuckDB's extension {name} is not installed", remedy) from error
    for root in module.__path__:
        path = Path(root) / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        if path.is_file():
            return path
    raise PermanentError(f"The installed DuckDB extension {name} is not made for DuckDB {duckdb.__version__}", remedy)


def connect(
    *,
    extensions: Sequence[str] = (),
    threads: int | None = None,
    memory_limit: str | None = None,
    spill: Path | None = None,
) -> duckdb.DuckDBPyConnection:
    """Open an in-memory DuckDB with `extensions` loaded from their wheels; close it when done.

    `threads`: None for DuckDB's own choice. `memory_limit`: DuckDB's words (`4GB`). `spill`: an existing folder for
    what does not fit into memory; without one nothing is spilled. Geometry columns of Parquet files stay WKB blobs,
    axis order is x, y. Neither the home folder nor the network is touched.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_persistent_secrets": False,
        "preserve_insertion_order": True,
        "python_enable_replacements": False,  # a table name in SQL never means a variable of ours
        "temp_directory": str(spill) if spill else "",
    }
    if threads is not None:
        config["threads"] = threads
    if memory_limit is not None:
        config["memory_limit"] = memory_limit
    connection = duckdb.connect(":memory:", config=config)
    try:
        for name in extensions:
            connection.execute(f"LOAD {text_literal(str(extension_path(name)))}")
        if "spatial" in extensions:
            connection.execute("SET geometry_always_xy = true")
        connection.execute("SET enable_geoparquet_conversion = false")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")
    except BaseException:
        connection.close()
        raise
    return connection


def text_literal(text: str) -> str:
    """Return `text` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def parquet(files: Files) -> str:
    """Return the table function that reads a Parquet file, or several as one, whatever characters are in the names."""
    return f"read_parquet([{', '.join(text_literal(literal_pattern(path)) for path in listed(files))}])"


def literal_pattern(path: Path) -> str:
    """Return the pattern that means `path` alone: DuckDB reads *, ? and [ in a path as one."""
    # A set of one character is that character.
    return "".join(f"[{character}]" if character in "*?[" else character for character in str(path))


def first_sentence(error: Exception) -> str:
    """Return DuckDB's message without the excerpt of the query or the hints that follow it, on one line."""
    lines = str(error).split("\nLINE ")[0].split("\nPossible solutions:")[0].split(os.linesep)
    return " ".join(" ".join(lines).split())


def explained(error: duckdb.Error, what: str) -> D4CError:
    """Return the error of ours that `error` is, while `what` was done ("Comparing a with b")."""
    message = first_sentence(error)
    if isinstance(error, duckdb.OutOfMemoryException):
        return StorageError(
            f"{what} needs more memory than DuckDB may use: {message}",
            "Raise the memory limit or make room on the disk",
        )
    if isinstance(error, duckdb.IOException) and ("No space left" in message or "Could not write" in message):
        return StorageError(f"{what} found no room on the disk: {message}", "Make room, then run again")
    return DataError(f"{what} failed: {message}", "Correct the data or the definition")
