"""The profile of a data artifact: per column nulls, distinct values, least and greatest; of the geometry what there is.

It is taken from the written file, so it also proves that the file can be read. Comparing two files is not done here.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow.parquet as pq

from d4c_pipeline.processing import duckdb_engine
from d4c_pipeline.processing.columns import BBOX, GEOMETRY
from d4c_pipeline.processing.duckdb_engine import identifier
from d4c_pipeline.processing.parallel import memory_bytes

if TYPE_CHECKING:
    from d4c_pipeline.processing.shapes import Facts

_LONGEST_TEXT = 200


def profile(
    data: Path,
    geometry: Facts | None,
    *,
    spill: Path,
    threads: int | None = None,
    memory_limit: str | None = None,
) -> dict[str, Any]:
    """Return the profile of the Parquet file `data`, ready for JSON.

    `columns`: name -> type (Arrow's word), nulls, distinct (exact, nulls not counted), min, max (dates in ISO 8601,
    texts by code point and cut after 200 characters; absent for nested types). `geometry`: types with counts, nulls,
    bounds, vertices, most vertices of one geometry. Deterministic.
    """
    schema = pq.read_schema(data)
    named = [field for field in schema if geometry is None or field.name not in (GEOMETRY, BBOX)]
    out: dict[str, Any] = {"rows": pq.read_metadata(data).num_rows, "row_groups": pq.read_metadata(data).num_row_groups}
    connection = _connect(spill, threads, memory_limit)
    try:
        # One column at a time: the memory of counting distinct values is that of one column.
        out["columns"] = {
            field.name: {"type": str(field.type), **_column(connection, data, field.name)} for field in named
        }
    except duckdb.Error as error:
        raise duckdb_engine.explained(error, f"Profiling {data.name}") from error
    finally:
        connection.close()
    if geometry is not None:
        from d4c_pipeline.processing.shapes import type_name  # noqa: PLC0415 - tables do without GEOS

        named_types = {type_name(type_id): count for type_id, count in geometry.types.items()}
        out["geometry"] = {
            "types": dict(sorted(named_types.items())),
            "nulls": geometry.nulls,
            "bounds": list(geometry.total_bounds) if geometry.total_bounds else None,
            "vertices": geometry.vertices,
            "most_vertices": geometry.most_vertices,
        }
    return out


def keys(
    data: Path, key: Sequence[str], *, spill: Path, threads: int | None = None, memory_limit: str | None = None
) -> dict[str, int]:
    """Return how many rows of `data` lack a part of `key`, and how many repeat another; nothing without a key."""
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
    except duckdb.Error as error:
        raise duckdb_engine.explained(error, f"Looking for repeated keys in {data.name}") from error
    finally:
        connection.close()
    return {"key_nulls": int(answer[0]), "key_duplicates": int(answer[1])}


def _connect(spill: Path, threads: int | None, memory_limit: str | None) -> duckdb.DuckDBPyConnection:
    return duckdb_engine.connect(threads=threads, memory_limit=f"{memory_bytes(memory_limit)}B", spill=spill)


def _column(connection: duckdb.DuckDBPyConnection, data: Path, name: str) -> dict[str, Any]:
    column = identifier(name)
    source = duckdb_engine.parquet(data)
    kind = connection.execute(f"DESCRIBE SELECT {column} FROM {source}").fetchall()[0][1]
    nested = kind.endswith("]") or kind.startswith(("STRUCT", "MAP"))
    extremes = "NULL, NULL" if nested else f"min({column}), max({column})"
    row = connection.execute(
        f"SELECT count(*) - count({column}), count(DISTINCT {column}), {extremes} FROM {source}"
    ).fetchone()
    nulls, distinct, least, greatest = row or (0, 0, None, None)
    facts: dict[str, Any] = {"nulls": nulls, "distinct": distinct}
    return facts if nested else facts | {"min": _plain(least), "max": _plain(greatest)}


def _plain(value: Any) -> Any:
    match value:
        case str():
            return value[:_LONGEST_TEXT]
        case float():
            # JSON knows neither NaN nor infinity.
            return value if math.isfinite(value) else str(value)
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
