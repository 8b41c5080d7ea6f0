"""The dataset's own SQL: one DuckDB SELECT over the table `source`, run so that it answers the same everywhere.

What it may read and call is decided here; the order of its rows is not its business (`order` decides that).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.processing import duckdb_engine
from d4c_pipeline.processing.columns import GEOMETRY
from d4c_pipeline.processing.duckdb_engine import identifier, text_literal
from d4c_pipeline.processing.readers.native import exactly_unique

# Words that mean the present moment without being written as a function call.
_MOMENT_WORDS = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "today"})
_MOMENT_TEXTS = frozenset({"now", "today", "yesterday", "tomorrow"})
_AS_TEXT = (
    "UUID",
    "ENUM",
    "BIT",
    "INTERVAL",
    "VARINT",
    "BIGNUM",
    "JSON",
    "TIME WITH TIME ZONE",
    "TIMETZ",
    '"NULL"',
    "NULL",
)


@dataclass(frozen=True)
class Transformed:
    """What the SQL answered: attributes, and geometry as WKB in EPSG:4326 where it was asked for."""

    table: pa.Table
    geometry: pa.ChunkedArray | None


def run(
    sql_file: Path,
    table: pa.Table,
    geometry: pa.ChunkedArray | None,
    *,
    variables: dict[str, str],
    with_geometry: bool,
    spill: Path,
    memory_limit: str | None = None,
) -> Transformed:
    """Run the SELECT in `sql_file` over `source`: the columns of `table` under their names, and `geometry` as GEOMETRY.

    Names that differ by case alone get `_2`, ... as SQL knows no case. `variables` are there as `getvariable('name')`.
    One thread, since sums of floating point numbers depend on how many there are; no files, no network, nothing that
    answers differently on another day. Raises DataError, in one sentence, for SQL that is not such a SELECT, that
    fails, answers without rows, or has no `geometry` where `with_geometry`.
    """
    sql = _text(sql_file)
    connection = duckdb_engine.connect(extensions=("spatial",), threads=1, memory_limit=memory_limit, spill=spill)
    try:
        _load_source(connection, table, geometry)
        for name, value in variables.items():
            connection.execute(f"SET VARIABLE {identifier(name)} = {text_literal(value)}")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        _check(connection, sql, sql_file.name)
        connection.execute(f"CREATE TEMP TABLE d4c_result AS {sql}")
        return _fetch(connection, sql_file.name, with_geometry=with_geometry)
    except duckdb.Error as error:
        raise duckdb_engine.explained(error, f"The SQL of {sql_file.name}") from error
    finally:
        connection.close()


def _text(sql_file: Path) -> str:
    try:
        text = sql_file.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(
            f"{sql_file.name} is not in the dataset's folder", "Correct processing.sql or add the file"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{sql_file.name} is not UTF-8 text", "Save it as UTF-8") from error
    return text.strip().rstrip(";")


def _load_source(connection: duckdb.DuckDBPyConnection, table: pa.Table, geometry: pa.ChunkedArray | None) -> None:
    taken = [GEOMETRY] if geometry is not None else []
    incoming = table.rename_columns(exactly_unique(table.column_names, fold_case=True, taken=taken))
    if geometry is None:
        replaced = "*"
    else:
        incoming = incoming.append_column(GEOMETRY, geometry)
        replaced = f"* REPLACE (ST_GeomFromWKB({GEOMETRY}) AS {GEOMETRY})"
    connection.register("d4c_incoming", incoming)
    connection.execute(f"CREATE TABLE source AS SELECT {replaced} FROM d4c_incoming")
    connection.unregister("d4c_incoming")


def _check(connection: duckdb.DuckDBPyConnection, sql: str, name: str) -> None:
    remedy = f"Write one SELECT over the table source into {name}"
    answer = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchone()
    parsed = json.loads(answer[0]) if answer else {}
    if parsed.get("error"):
        raise DataError(
            f"The SQL of {name} is not a SELECT that DuckDB understands: {parsed.get('error_message')}", remedy
        )
    if len(parsed["statements"]) != 1:
        raise DataError(f"The SQL of {name} has {len(parsed['statements'])} statements", remedy)
    stable = "stability IN ('VOLATILE', 'CONSISTENT_WITHIN_QUERY') AND function_name <> 'error'"
    functions = connection.execute(f"SELECT DISTINCT function_name FROM duckdb_functions() WHERE {stable}").fetchall()
    columns = {str(row[0]).lower() for row in connection.execute("DESCRIBE source").fetchall()}
    unstable = _unstable(parsed, {str(row[0]).lower() for row in functions}, _MOMENT_WORDS - columns)
    if unstable:
        raise DataError(
            f"The SQL of {name} uses {', '.join(sorted(unstable))}, which does not answer the same twice",
            "Take dates from getvariable('vintage') or from the data",
        )


def _unstable(node: Any, functions: set[str], words: frozenset[str]) -> set[str]:
    found: set[str] = set()
    if isinstance(node, list):
        return found.union(*(_unstable(child, functions, words) for child in node))
    if not isinstance(node, dict):
        return found
    if node.get("sample"):
        found.add("SAMPLE")
    match node:
        case {"class": "FUNCTION", "function_name": str(name)} if name.lower() in functions:
            found.add(name.lower())
        case {"class": "COLUMN_REF", "column_names": [str(name)]} if name.lower() in words:
            found.add(name.lower())
        case {"class": "CAST", "child": {"value": {"value": str(text)}}} if text.strip().lower() in _MOMENT_TEXTS:
            found.add(f"'{text}'")
        case _:
            pass
    return found.union(*(_unstable(child, functions, words) for child in node.values()))


def _fetch(connection: duckdb.DuckDBPyConnection, name: str, *, with_geometry: bool) -> Transformed:
    described = [(str(row[0]), str(row[1])) for row in connection.execute("DESCRIBE d4c_result").fetchall()]
    geometries = [column for column, kind in described if kind.startswith("GEOMETRY")]
    chosen = next((column for column in geometries if column.lower() == GEOMETRY), None)
    if with_geometry and chosen is None:
        raise DataError(
            f"The SQL of {name} drops the geometry column", "Select geometry, or declare processing.kind: table"
        )
    others = [column for column in geometries if column != chosen or not with_geometry]
    if others:
        raise DataError(
            f"The SQL of {name} answers with the geometry column {', '.join(others)}",
            "Leave it out: features have one, named geometry, and tables none",
        )
    selected = connection.execute(f"SELECT {', '.join(_expression(*column) for column in described)} FROM d4c_result")
    result = selected.to_arrow_table()
    if result.num_rows == 0:
        raise DataError(f"The SQL of {name} answers without rows", "Correct its conditions")
    if chosen is None:
        return Transformed(result, None)
    position = result.column_names.index(chosen)
    return Transformed(result.remove_column(position), result.column(position))


def _expression(column: str, kind: str) -> str:
    # Types that Parquet or Arrow do not know, or know as something wider: 128-bit sums become 64-bit ones or fail.
    name = identifier(column)
    if kind.startswith("GEOMETRY"):
        return f"ST_AsWKB({name})::BLOB AS {name}"
    if kind in ("HUGEINT", "UHUGEINT"):
        return f"{name}::BIGINT AS {name}"
    if kind.startswith(_AS_TEXT):
        return f"{name}::VARCHAR AS {name}"
    return name
