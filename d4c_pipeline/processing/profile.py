"""Profiles the data of a release: nulls, distinct values and extremes of each column, types and bounds of geometry.

Reading the written files also proves that they can be read. Comparing two files belongs to `processing.compare`.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline.model.data_files import Files, listed
from d4c_pipeline.processing.distributions import MOST_COLUMNS, distribution
from d4c_pipeline.tables import duckdb_engine
from d4c_pipeline.tables.columns import BBOX, GEOMETRY
from d4c_pipeline.tables.parallel import memory_bytes
from d4c_pipeline.tables.sql_names import identifier

if TYPE_CHECKING:
    from d4c_pipeline.geometry.shapes import Facts

# Columns of one statement. DuckDB plans each over all columns of the file and takes 4 MB a column for counting
# distinct values: of wider tables Arrow reads the columns of a statement (9,000 columns: 0.4 GB instead of 1.1).
_MOST_COLUMNS, _MOST_COLUMNS_OF_WIDE = 200, 50
_CELLS = 1_000_000
_LONGEST_TEXT = 200


def profile(
    data: Files,
    geometry: Facts | None,
    *,
    spill: Path,
    threads: int | None = None,
    memory_limit: str | None = None,
) -> dict[str, Any]:
    """Return the profile of the Parquet file `data`, or of several that are one table, ready for JSON.

    `columns`: name -> type (Arrow's name), nulls, distinct (exact, without nulls), min, max (dates in ISO 8601, texts
    by code point and cut after 200 characters; absent for nested types), and `histogram` or `top` of the first columns
    (see `distributions`). `geometry`: types with counts, nulls,
    bounds, vertices, most vertices of one geometry. The same data gives the same profile for any order of rows
    and any number of threads.
    """
    files = listed(data)
    opened = [pq.ParquetFile(file) for file in files]
    schema = opened[0].schema_arrow
    footers = [each.metadata for each in opened]
    named = [field for field in schema if geometry is None or field.name not in (GEOMETRY, BBOX)]
    out: dict[str, Any] = {
        "rows": sum(footer.num_rows for footer in footers),
        "row_groups": sum(footer.num_row_groups for footer in footers),
    }
    connection = _connect(spill, threads, memory_limit)
    try:
        # Counting distinct values takes the memory of the columns of a statement, so few cells go into one.
        wide = len(named) > _MOST_COLUMNS
        count = max(1, min(_MOST_COLUMNS_OF_WIDE if wide else _MOST_COLUMNS, _CELLS // max(1, out["rows"])))
        types = connection.execute(f"DESCRIBE SELECT * FROM {duckdb_engine.parquet(files)}").fetchall()
        kinds: dict[str, str] = {name: kind for name, kind, *_ in types}
        facts: dict[str, dict[str, Any]] = {}
        for first in range(0, len(named), count):
            some = {field.name: kinds[field.name] for field in named[first : first + count]}
            if wide and count > 1:
                read = pa.concat_tables(each.read(columns=list(some)) for each in opened)
                connection.register("columns_read", read)
                facts |= _columns(connection, "columns_read", some)
            else:
                facts |= _columns(connection, duckdb_engine.parquet(files), some)
        columns = {field.name: {"type": str(field.type), **facts[field.name]} for field in named}
        for name in [*columns][:MOST_COLUMNS]:
            columns[name] |= distribution(connection, duckdb_engine.parquet(files), name, columns[name], out["rows"])
        out["columns"] = columns
    except duckdb.ParserException:  # of our own SQL: a bug, not a fault of the data
        raise
    except duckdb.Error as error:
        raise duckdb_engine.explained(error, f"Profiling {files[0].name}") from error
    finally:
        connection.close()
        for each in opened:
            each.close()
    if geometry is not None:
        from d4c_pipeline.geometry.shapes import type_name  # noqa: PLC0415 - tables do not need GEOS

        named_types = {type_name(type_id): count for type_id, count in geometry.types.items()}
        out["geometry"] = {
            "types": dict(sorted(named_types.items())),
            "nulls": geometry.nulls,
            "bounds": list(map(_plain, geometry.total_bounds)) if geometry.total_bounds else None,
            "vertices": geometry.vertices,
            "most_vertices": geometry.most_vertices,
        }
    return out


def keys(
    data: Files,
    key: Sequence[str],
    *,
    spill: Path,
    threads: int | None = None,
    memory_limit: str | None = None,
) -> dict[str, int]:
    """Return the number of rows of `data` with a null in `key` and of duplicate keys; nothing without a key."""
    if not key:
        return {}
    columns = ", ".join(map(identifier, key))
    null = " OR ".join(f"{identifier(name)} IS NULL" for name in key)
    source = duckdb_engine.parquet(data)
    connection = _connect(spill, threads, memory_limit)
    try:
        answer = connection.execute(
            f"SELECT count(*) FILTER ({null}) AS nulls, count(*) FILTER (NOT ({null})) -"
            f" (SELECT count(*) FROM (SELECT DISTINCT {columns} FROM {source} WHERE NOT ({null}))) FROM {source}"
        ).fetchone() or (0, 0)
    except duckdb.ParserException:  # of our own SQL: a bug, not a fault of the data
        raise
    except duckdb.Error as error:
        raise duckdb_engine.explained(error, f"Counting duplicate keys in {listed(data)[0].name}") from error
    finally:
        connection.close()
    return {"key_nulls": int(answer[0]), "key_duplicates": int(answer[1])}


def _connect(spill: Path, threads: int | None, memory_limit: str | None) -> duckdb.DuckDBPyConnection:
    return duckdb_engine.connect(threads=threads, memory_limit=f"{memory_bytes(memory_limit)}B", spill=spill)


def _columns(connection: duckdb.DuckDBPyConnection, source: str, kinds: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    # Column name -> its facts. `source`: a table expression; `kinds`: DuckDB's types of the columns to profile.
    nested = {name: kind.endswith("]") or kind.startswith(("STRUCT", "MAP")) for name, kind in kinds.items()}
    aggregates: list[str] = []
    for name in kinds:
        column = identifier(name)
        extremes = "NULL, NULL" if nested[name] else f"min({column}), max({column})"
        aggregates.append(f"count(*) - count({column}), count(DISTINCT {column}), {extremes}")
    row = connection.execute(f"SELECT {', '.join(aggregates)} FROM {source}").fetchone()
    assert row is not None  # noqa: S101 - an aggregate has one row
    out: dict[str, dict[str, Any]] = {}
    for position, name in enumerate(kinds):
        nulls, distinct, least, greatest = row[4 * position : 4 * position + 4]
        out[name] = {"nulls": nulls, "distinct": distinct}
        if not nested[name]:
            out[name] |= {"min": _plain(least), "max": _plain(greatest)}
    return out


def _plain(value: Any) -> Any:
    match value:
        case str():
            return value[:_LONGEST_TEXT]
        case float():
            # JSON has no NaN and no infinity. 0.0 and -0.0 are equal, so the extreme of the two depends on threads and
            # the order of rows; adding 0.0 removes the sign.
            return value + 0.0 if math.isfinite(value) else str(value)
        case None | bool() | int():
            return value
        case dt.date() | dt.time():
            return value.isoformat()
        case decimal.Decimal():
            return str(value)
        case bytes():
            return value[: _LONGEST_TEXT // 2].hex()
        case _:
            return str(value)
