"""Runs SQL of strangers over the files of one release. `answer` is called in a process of its own (`confined`).

The SQL is one SELECT that reads the view `data`, or what it derives from it, and nothing else: no other table or view,
no function that reads files or shows this process. Limits of `tables.limited_sql` hold below that.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import orjson

from d4c_pipeline.model.errors import D4CError, DataError
from d4c_pipeline.tables.duckdb_engine import connect, explained, literal_pattern, text_literal
from d4c_pipeline.tables.limited_sql import confine, foreign_functions, parsed_select
from d4c_pipeline.tables.sql_names import identifier

VIEW = "data"
MEMORY = "200MB"
LONGEST_TEXT = 2_000
"""Characters of a value; a longer one is cut."""
MOST_COLUMNS = 200
REMEDY = f"Write one SELECT of DuckDB over {VIEW}, DESCRIBE {VIEW} or SUMMARIZE {VIEW}"
SMALLER = "Ask for fewer rows or columns, or aggregate"
_PLAIN = {
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "HUGEINT",
}
_FLOATS = {"FLOAT", "DOUBLE"}
# What shows settings and paths of this machine, waits, or writes a log.
_REFUSED = frozenset(
    {"current_setting", "getvariable", "getenv", "sleep_ms", "write_log", "nextval", "currval",
     "json_serialize_sql", "json_serialize_plan", "json_deserialize_sql", "json_execute_serialized_sql"}
)  # fmt: skip
_BATCH = 100
_LARGEST = 2**53  # beyond it readers of JSON round


def answer(
    sql: str, files: Sequence[str], geometry: str | None, extensions: Sequence[str], most: dict[str, Any]
) -> dict[str, Any]:
    """Return the rows of a SELECT over `files`, as JSON: `columns`, `rows`, `truncated`, or else `problem`.

    `geometry`: the column with WKB, which the SQL sees as GEOMETRY. `most`: `rows`, `bytes` of JSON, and `seconds`.
    `truncated` names the limit that the answer reached: `rows`, `bytes`, or None.
    """
    try:
        connection = connect(extensions=extensions, threads=1, memory_limit=MEMORY)
        try:
            _make_view(connection, files, geometry)
            confine(connection, files)
            _check(connection, sql)
            return _answered(connection, sql, most)
        finally:
            connection.close()
    except D4CError as error:
        return {"problem": [_without_paths(error.cause, files), error.remedy]}


def _make_view(connection: duckdb.DuckDBPyConnection, files: Sequence[str], geometry: str | None) -> None:
    patterns = [each if "://" in each else literal_pattern(each) for each in files]  # pyright: ignore[reportArgumentType]
    source = f"read_parquet([{', '.join(map(text_literal, patterns))}])"
    try:
        kinds = {str(row[0]): str(row[1]) for row in connection.execute(f"DESCRIBE FROM {source}").fetchall()}
        read = ""
        if geometry is not None and not kinds[geometry].startswith("GEOMETRY"):
            name = identifier(geometry)
            read = f" REPLACE (ST_GeomFromWKB({name}) AS {name})"
        connection.execute(f"CREATE VIEW {VIEW} AS SELECT *{read} FROM {source}")  # noqa: S608 - quoted names
    except duckdb.Error as error:
        raise explained(error, "Reading the release") from error


def _check(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raise DataError unless `sql` is a SELECT over the view, what it derives from it, and pure functions."""
    system = {
        str(name).lower()
        for (name,) in connection.execute("SELECT view_name FROM duckdb_views() WHERE internal").fetchall()
    }
    tree = parsed_select(connection, sql, "The query", REMEDY)
    if foreign := foreign_functions(tree, readers=False):
        raise DataError(f"The query calls {', '.join(sorted(foreign))}, which it may not", REMEDY)
    nodes = list(_nodes(tree))
    derived = {str(each["key"]).lower() for node in nodes for each in _common(node)}
    if hidden := derived & (system | {VIEW}):
        raise DataError(f"The query defines {', '.join(sorted(hidden))}, a name of the system", "Use another name")
    for node in nodes:
        if node.get("type") == "SHOW_REF" and node.get("query") is None:
            raise DataError("The query shows tables of the system", REMEDY)
        if node.get("class") == "FUNCTION" and (name := str(node.get("function_name")).lower()) in _REFUSED:
            raise DataError(f"The query calls {name}, which it may not", REMEDY)
        if node.get("type") == "BASE_TABLE":
            name = str(node.get("table_name"))
            if name.lower() not in {VIEW, *derived} or node.get("schema_name") or node.get("catalog_name"):
                raise DataError(f"The query reads {name[:100]}, and there is only {VIEW}", REMEDY)


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _common(node: dict[str, Any]) -> list[dict[str, Any]]:
    found = node.get("cte_map")
    return found.get("map") or [] if isinstance(found, dict) else []


def _answered(connection: duckdb.DuckDBPyConnection, sql: str, most: dict[str, Any]) -> dict[str, Any]:
    rows: list[list[Any]] = []
    truncated, size = None, 0
    timer = threading.Timer(most["seconds"], connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        inner = _without_end(sql)
        described = connection.execute(f"DESCRIBE SELECT * FROM (\n{inner}\n)").fetchall()  # noqa: S608 - checked
        if len(described) > MOST_COLUMNS:
            raise DataError(f"The query has {len(described):,} columns, and {MOST_COLUMNS} are allowed", SMALLER)
        names = [f"c{number}" for number in range(len(described))]
        shown = ", ".join(_shown(name, str(row[1])) for name, row in zip(names, described, strict=True))
        connection.execute(
            f"SELECT {shown} FROM (\n{inner}\n) AS d4c({', '.join(names)}) LIMIT {most['rows'] + 1}"  # noqa: S608
        )
        while truncated is None and (batch := connection.fetchmany(_BATCH)):
            for found in batch:
                row = [_value(each) for each in found]
                size += len(orjson.dumps(row, default=str))
                if len(rows) == most["rows"] or size > most["bytes"]:
                    truncated = "rows" if len(rows) == most["rows"] else "bytes"
                    break
                rows.append(row)
    except duckdb.InterruptException as error:
        raise DataError(f"The query took longer than {most['seconds']:g} seconds", SMALLER) from error
    except duckdb.OutOfMemoryException as error:
        raise DataError("The query needs more memory than a query may use", SMALLER) from error
    except duckdb.Error as error:
        raise DataError(explained(error, "The query").cause, "Call schema for the columns and their types") from error
    finally:
        timer.cancel()
    columns = [{"name": str(row[0]), "type": str(row[1])} for row in described]
    return {"columns": columns, "rows": rows, "truncated": truncated}


def _without_end(sql: str) -> str:
    """Return one statement without its semicolon and what follows: comments, since there is one statement."""
    packed = sql.encode()
    ends = [offset for offset, _ in duckdb.tokenize(sql) if packed[offset : offset + 1] == b";"]
    return packed[: ends[0]].decode() if ends else sql


def _shown(name: str, kind: str) -> str:
    """Return the SQL of a column as JSON shows it: numbers and truth as they are, all else as text, cut."""
    if kind in _PLAIN or kind in _FLOATS:
        return name
    # Cut in DuckDB: a text of a gigabyte never becomes one of Python.
    text = name if kind == "VARCHAR" else f"CAST({name} AS VARCHAR)"
    return f"CASE WHEN len({text}) > {LONGEST_TEXT} THEN left({text}, {LONGEST_TEXT}) || '…' ELSE {text} END"


def _value(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON lacks it
    return str(value) if isinstance(value, int) and abs(value) > _LARGEST else value


def _without_paths(text: str, files: Sequence[str]) -> str:
    for file in files:
        text = text.replace(file, file.rpartition("/")[2])
    return text
