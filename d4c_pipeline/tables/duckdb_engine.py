"""Opens DuckDB connections and converts DuckDB's errors: in memory, without downloads, in UTC, with bounded memory.

Extensions are loaded from their wheels. Queries belong to the modules that run them.
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
    """Return the path of a DuckDB extension in its wheel (`duckdb-extension-<name>`).

    Raises PermanentError when the wheel is missing or built for another version of DuckDB.
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
    raise PermanentError(f"The installed DuckDB extension {name} is not built for DuckDB {duckdb.__version__}", remedy)


def connect(
    *,
    extensions: Sequence[str] = (),
    threads: int | None = None,
    memory_limit: str | None = None,
    spill: Path | None = None,
    database: Path | None = None,
    read_only: bool = False,
) -> duckdb.DuckDBPyConnection:
    """Return a connection to a DuckDB with `extensions` loaded; the caller closes it.

    `database`: the file of the database, by default it is in memory. `read_only`: several processes may open the file.

    `threads`: None for DuckDB's default. `memory_limit`: in DuckDB's notation (`4GB`). `spill`: an existing folder for
    data that exceeds memory; None disables spilling. Geometry columns of Parquet files stay WKB blobs, axis order is
    x, y. The connection uses neither the home folder nor the network.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_persistent_secrets": False,
        "preserve_insertion_order": True,
        "python_enable_replacements": False,  # a table name in SQL never means a Python variable
        "temp_directory": str(spill) if spill else "",
    }
    if threads is not None:
        config["threads"] = threads
    if memory_limit is not None:
        config["memory_limit"] = memory_limit
    connection = duckdb.connect(str(database or ":memory:"), read_only=read_only, config=config)
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
    """Return the table function that reads one or several Parquet files; names may contain any character."""
    return f"read_parquet([{', '.join(text_literal(literal_pattern(path)) for path in listed(files))}])"


def literal_pattern(path: Path) -> str:
    """Return the pattern that matches `path` only: DuckDB expands *, ? and [ in a path."""
    # A set of one character matches that character.
    return "".join(f"[{character}]" if character in "*?[" else character for character in str(path))


def first_sentence(error: Exception) -> str:
    """Return DuckDB's message on one line, without the query excerpt and the hints."""
    lines = str(error).split("\nLINE ")[0].split("\nPossible solutions:")[0].split(os.linesep)
    return " ".join(" ".join(lines).split())


def explained(error: duckdb.Error, what: str) -> D4CError:
    """Return the D4CError for `error`, which occurred during `what` ("Comparing a with b")."""
    message = first_sentence(error)
    if isinstance(error, duckdb.OutOfMemoryException):
        return StorageError(
            f"{what} needs more memory than DuckDB may use: {message}",
            "Raise the memory limit or free disk space",
        )
    if isinstance(error, duckdb.IOException) and ("No space left" in message or "Could not write" in message):
        return StorageError(f"{what} ran out of disk space: {message}", "Free disk space, then run again")
    return DataError(f"{what} failed: {message}", "Correct the data or the definition")
