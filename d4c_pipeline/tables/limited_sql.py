"""Limits SQL that people write to one SELECT over given files: no other file, no network, no effect.

Here belong the configuration of the connection, the check of the statement, and the table functions that a SELECT may
call. Each caller adds its own rules and runs the SQL. https://duckdb.org/docs/stable/operations_manual/securing_duckdb/overview
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.tables.duckdb_engine import literal_pattern, text_literal

# Table functions whose result depends on their arguments only. Others run text as SQL, change settings or show this
# process: `FROM enable_logging(storage = 'file', ...)` is a SELECT.
_TABLE_FUNCTIONS = frozenset(
    {"unnest", "range", "generate_series", "repeat", "repeat_row", "json_each", "json_tree", "histogram",
     "histogram_values", "summary"}
)  # fmt: skip
_FILE_READERS = re.compile(r"(read_|parquet_|st_read|shapefile|sniff_csv$|glob$)")  # DuckDB rejects them by file name


def confine(connection: duckdb.DuckDBPyConnection, files: Iterable[Path | str]) -> None:
    """Let the SQL of `connection` read `files` (paths or addresses) only, and lock its configuration, for good."""
    # DuckDB also compares the pattern of a name with brackets with this list.
    spellings = [spelling for path in files for spelling in (str(path), literal_pattern(Path(path)))]
    connection.execute(f"SET allowed_paths = [{', '.join(map(text_literal, spellings))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def parsed_select(connection: duckdb.DuckDBPyConnection, sql: str, what: str, remedy: str) -> dict[str, Any]:
    """Return DuckDB's syntax tree of `sql`, which is one SELECT.

    Raises DataError, which begins with `what` and ends with `remedy`, for any other text: allowed paths can be written
    as well, so COPY must not run.
    """
    answer = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchone()
    parsed = json.loads(answer[0]) if answer else {}
    if parsed.get("error"):
        message = str(parsed.get("error_message"))
        if "SELECT statements can be serialized" in message:  # the way of the check, not the reader's mistake
            raise DataError(f"{what} is not a SELECT", remedy)
        raise DataError(f"{what} is not a SELECT that DuckDB understands: {message}", remedy)
    if len(parsed["statements"]) != 1:
        raise DataError(f"{what} has {len(parsed['statements'])} statements", remedy)
    return parsed


def foreign_function(node: dict[str, Any]) -> str | None:
    """Return the table function that a node of the syntax tree calls if no SELECT may call it, else None."""
    match node:
        case {"type": "TABLE_FUNCTION", "function": {"function_name": str(name)}} if (
            name.lower() not in _TABLE_FUNCTIONS and _FILE_READERS.match(name.lower()) is None
        ):
            return name.lower()
        case _:
            return None


def foreign_functions(tree: Any, *, readers: bool = True) -> set[str]:
    """Return the table functions in a syntax tree that no SELECT may call; without `readers` those that read files too.

    A tree is walked without recursion: SQL of strangers nests as deeply as DuckDB's parser allows.
    """
    found: set[str] = set()
    waiting: list[Any] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            waiting += node.values()
            name = foreign_function(node)
            if not readers and name is None and node.get("type") == "TABLE_FUNCTION":
                called = str(node.get("function", {}).get("function_name")).lower()
                name = None if called in _TABLE_FUNCTIONS else called
            if name:
                found.add(name)
    return found
