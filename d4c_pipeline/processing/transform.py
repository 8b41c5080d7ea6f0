"""Runs the dataset's own SQL: one DuckDB SELECT over `source` and other inputs, with the same result everywhere.

This module defines what the SQL may read and call. Rows are sorted later, so their order here does not matter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline.model.data_files import Files, listed
from d4c_pipeline.model.errors import D4CError, DataError
from d4c_pipeline.tables import duckdb_engine
from d4c_pipeline.tables.columns import GEOMETRY
from d4c_pipeline.tables.duckdb_engine import parquet, text_literal
from d4c_pipeline.tables.limited_sql import confine, foreign_function, parsed_select
from d4c_pipeline.tables.native import GEOMETRY_COLUMN, UNFIT_FIELD, exactly_unique
from d4c_pipeline.tables.parallel import in_own_thread
from d4c_pipeline.tables.sql_names import identifier

# Keywords for the current time that are not function calls.
_MOMENT_WORDS = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "today"})
_MOMENT_TEXTS = frozenset({"now", "today", "yesterday", "tomorrow"})
_UNFIT = identifier(UNFIT_FIELD.name)
# DuckDB marks these as stable, but they depend on the time or the machine, or draw a sample.
_SESSION = frozenset({"stats", "reservoir_quantile", "transaction_timestamp"})
_ROWS_A_BATCH = 1 << 16
_WORD = re.compile(r"[a-z_0-9]+")
_CATALOGUES = frozenset({"information_schema", "pg_catalog"})
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


def stream(
    sql_file: Path,
    source: pa.RecordBatchReader,
    *,
    variables: Mapping[str, str],
    with_geometry: bool,
    spill: Path,
    memory_limit: str | None = None,
    inputs: Mapping[str, Files] | None = None,
    unfit: Sequence[D4CError] = (),
) -> pa.RecordBatchReader:
    """Run the SELECT in `sql_file` over the rows of `source`; return its rows in the order of the result.

    In SQL, `source` is a table with the columns of `source` (names that differ only in case get `_2`, ..., since SQL
    ignores case) and `geometry` as GEOMETRY, from `GEOMETRY_COLUMN` (WKB), which is also the last column of the result.
    Each of `inputs` is a view over its (Geo)Parquet files, with GEOMETRY columns. `getvariable('name')` returns
    `variables`. The SQL runs in one thread, because sums of floating point numbers depend on the number of threads,
    and without other files, network or functions of the current time. Data beyond `memory_limit` (DuckDB's syntax) goes
    to the folder `spill`. A column `UNFIT_FIELD` of `source` marks rows that must not be published; `unfit` holds the
    reasons once `source` is read. The SQL then runs with and without these rows, and the first reason is raised if the
    results differ. Raises DataError for SQL that is not such a SELECT, fails, returns no rows, or lacks `geometry`
    where `with_geometry`.
    """
    sql = _text(sql_file)
    connection = duckdb_engine.connect(extensions=("spatial",), threads=1, memory_limit=memory_limit, spill=spill)
    broken: list[D4CError] = []
    try:
        _load_source(connection, source, broken)
        for name, files in (inputs or {}).items():
            _load_input(connection, name, listed(files))
        for name, value in variables.items():
            connection.execute(f"SET VARIABLE {identifier(name)} = {text_literal(value)}")
        confine(connection, [path for files in (inputs or {}).values() for path in listed(files)])
        _check(connection, sql, sql_file.name, tuple(inputs or {}))
        if unfit:
            _without_unfit(connection, sql, sql_file.name, unfit[0])
        connection.execute(f"CREATE TEMP TABLE d4c_result AS {sql}")
        if unfit:
            _same_as_with_unfit(connection, unfit[0])
        schema, answer = _answer(connection, sql_file.name, with_geometry=with_geometry)
    except BaseException as error:
        connection.close()
        if broken:  # the error of the reader explains more than DuckDB's
            raise broken[0] from error
        if isinstance(error, duckdb.Error):
            raise duckdb_engine.explained(error, f"The SQL of {sql_file.name}") from error
        raise
    return pa.RecordBatchReader.from_batches(schema, _until_closed(connection, answer, sql_file.name))


def _until_closed(
    connection: duckdb.DuckDBPyConnection, answer: Iterable[pa.RecordBatch], name: str
) -> Iterator[pa.RecordBatch]:
    try:
        yield from answer
    except duckdb.Error as error:
        raise duckdb_engine.explained(error, f"The SQL of {name}") from error
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


def _load_source(connection: duckdb.DuckDBPyConnection, source: pa.RecordBatchReader, broken: list[D4CError]) -> None:
    names = source.schema.names
    taken = [GEOMETRY] if GEOMETRY_COLUMN in names else []
    attributes = [name for name in names if name not in (GEOMETRY_COLUMN, UNFIT_FIELD.name)]
    unique = dict(zip(attributes, exactly_unique(attributes, fold_case=True, taken=taken), strict=True))
    # Columns are named by position: DuckDB cannot distinguish names that differ only in case.
    fields = [source.schema.field(position).with_name(f"c{position}") for position in range(len(names))]
    renamed = pa.schema(fields)

    def numbered() -> Iterator[pa.RecordBatch]:
        try:
            for batch in in_own_thread(source):
                yield pa.RecordBatch.from_arrays(batch.columns, schema=renamed)
        except D4CError as error:
            broken.append(error)
            raise

    selected = [
        f"ST_GeomFromWKB(c{position}) AS {GEOMETRY}"
        if name == GEOMETRY_COLUMN
        else f"c{position} AS {identifier(unique[name])}"
        for position, name in enumerate(names)
        if name != UNFIT_FIELD.name
    ]
    marked = UNFIT_FIELD.name in names
    if marked:
        selected.append(f"c{names.index(UNFIT_FIELD.name)} AS {_UNFIT}")
    connection.register("d4c_incoming", pa.RecordBatchReader.from_batches(renamed, numbered()))
    connection.execute(f"CREATE TABLE source AS SELECT {', '.join(selected)} FROM d4c_incoming")
    connection.unregister("d4c_incoming")
    if marked:
        if (connection.execute(f"SELECT count(*) FROM source WHERE {_UNFIT}").fetchone() or (0,))[0]:
            connection.execute("CREATE TABLE d4c_marked AS SELECT rowid AS number, * FROM source")
        connection.execute(f"ALTER TABLE source DROP COLUMN {_UNFIT}")


def _without_unfit(connection: duckdb.DuckDBPyConnection, sql: str, name: str, reason: D4CError) -> None:
    # Runs the SQL with the unfit rows, stores the result, and deletes these rows from the source.
    try:
        connection.execute(f"CREATE TEMP TABLE d4c_with_unfit AS {sql}")
    except duckdb.Error as error:
        raise _kept(reason, f"the SQL of {name} fails on them: {' '.join(str(error).split())[:200]}") from error
    connection.execute(
        f"CREATE OR REPLACE TABLE source AS SELECT * EXCLUDE (number, {_UNFIT}) FROM d4c_marked"
        f" WHERE NOT {_UNFIT} ORDER BY number"
    )
    connection.execute("DROP TABLE d4c_marked")


def _same_as_with_unfit(connection: duckdb.DuckDBPyConnection, reason: D4CError) -> None:
    # Geometry compares as bytes.
    for left, right in (("d4c_with_unfit", "d4c_result"), ("d4c_result", "d4c_with_unfit")):
        differing = f"SELECT count(*) FROM (FROM {left} EXCEPT ALL FROM {right})"
        if (connection.execute(differing).fetchone() or (0,))[0]:
            raise _kept(reason, "the result of the SQL depends on them")
    connection.execute("DROP TABLE d4c_with_unfit")


def _kept(reason: D4CError, why: str) -> DataError:
    return DataError(f"{reason.cause}; {why}", reason.remedy)


def _load_input(connection: duckdb.DuckDBPyConnection, name: str, files: Sequence[Path]) -> None:
    try:
        schema = pq.read_schema(files[0])
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"The input {name} can't be read as Parquet: {error}", "Publish the dataset that processing.inputs names"
        ) from error
    geo = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
    columns = [column for column in geo.get("columns", {}) if column in schema.names]
    replaced = ", ".join(f"ST_GeomFromWKB({identifier(column)}) AS {identifier(column)}" for column in columns)
    selected = f"* REPLACE ({replaced})" if replaced else "*"
    connection.execute(f"CREATE VIEW {identifier(name)} AS SELECT {selected} FROM {parquet(files)}")


def _check(connection: duckdb.DuckDBPyConnection, sql: str, name: str, inputs: Sequence[str]) -> None:
    remedy = f"Write one SELECT over {', '.join(('the table source', *inputs))} into {name}"
    parsed = parsed_select(connection, sql, f"The SQL of {name}", remedy)
    stable = (
        "(stability IN ('VOLATILE', 'CONSISTENT_WITHIN_QUERY') OR regexp_matches(function_name, '^(get_)?current_'))"
    )
    stable += " AND function_name <> 'error'"
    functions = connection.execute(f"SELECT DISTINCT function_name FROM duckdb_functions() WHERE {stable}").fetchall()
    named = _with_macros(connection, {str(row[0]).lower() for row in functions} | _SESSION)
    described = [connection.execute(f"DESCRIBE {identifier(table)}").fetchall() for table in ("source", *inputs)]
    columns = {str(row[0]).lower() for rows in described for row in rows}
    unstable = _unstable(parsed, named, _MOMENT_WORDS - columns)
    if unstable:
        raise DataError(
            f"The SQL of {name} uses {', '.join(sorted(unstable))}, whose result changes between runs",
            "Take dates from getvariable('vintage') or from the data",
        )


def _with_macros(connection: duckdb.DuckDBPyConnection, functions: set[str]) -> set[str]:
    """Return `functions` and DuckDB's macros that call them (`ago` calls current_timestamp)."""
    macros = connection.execute(
        "SELECT lower(function_name), lower(macro_definition) FROM duckdb_functions()"
        " WHERE macro_definition IS NOT NULL"
    ).fetchall()
    found = functions | _MOMENT_WORDS
    while made := {name for name, text in macros if name not in found and found & set(_WORD.findall(text))}:
        found |= made
    return found - _MOMENT_WORDS | functions


def _unstable(node: Any, functions: set[str], words: frozenset[str]) -> set[str]:
    found: set[str] = set()
    if isinstance(node, list):
        return found.union(*(_unstable(child, functions, words) for child in node))
    if not isinstance(node, dict):
        return found
    if node.get("sample"):
        found.add("SAMPLE")
    if (foreign := foreign_function(node)) is not None:
        found.add(foreign)
    match node:
        case {"type": "BASE_TABLE", "table_name": str(name), "schema_name": str(schema)} if (
            schema.lower() in _CATALOGUES or name.lower().startswith(("duckdb_", "pragma_", "sqlite_"))
        ):
            found.add(name.lower())
        case {"class": "FUNCTION" | "WINDOW", "function_name": str(name)} if name.lower() in functions:
            found.add(name.lower())
        case {"class": "FUNCTION", "function_name": str(name), "children": [_]} if name.lower() == "age":
            found.add("age of one argument")  # relative to the current date
        case {"class": "COLUMN_REF", "column_names": [str(name)]} if name.lower() in words:
            found.add(name.lower())
        case {"class": "CAST", "child": {"value": {"value": str(text)}}} if text.strip().lower() in _MOMENT_TEXTS:
            found.add(f"'{text}'")
        case _:
            pass
    return found.union(*(_unstable(child, functions, words) for child in node.values()))


def _answer(
    connection: duckdb.DuckDBPyConnection, name: str, *, with_geometry: bool
) -> tuple[pa.Schema, pa.RecordBatchReader]:
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
            f"The SQL of {name} returns the geometry column {', '.join(others)}",
            "Remove it: features have one geometry column, named geometry, and tables have none",
        )
    if (connection.execute("SELECT count(*) FROM d4c_result").fetchone() or (0,))[0] == 0:
        raise DataError(f"The SQL of {name} returns no rows", "Correct its conditions")
    # The geometry is the last column, under a name that no attribute can have.
    ordered = [_expression(*column) for column in described if column[0] != chosen]
    if chosen is not None:
        ordered.append(f"ST_AsWKB({identifier(chosen)})::BLOB AS {GEOMETRY_COLUMN}")
    answer = connection.execute(f"SELECT {', '.join(ordered)} FROM d4c_result").to_arrow_reader(_ROWS_A_BATCH)
    return answer.schema, answer


def _expression(column: str, kind: str) -> str:
    # Casts types that Parquet or Arrow lack: 128-bit sums become 64-bit integers or fail.
    name = identifier(column)
    if kind in ("HUGEINT", "UHUGEINT"):
        return f"{name}::BIGINT AS {name}"
    if kind.startswith(_AS_TEXT):
        return f"{name}::VARCHAR AS {name}"
    return name
