"""The profile of a data artifact: per column nulls, distinct values, least and greatest; of the geometry what there is.

It is taken from the written file, so it also proves that the file can be read. Comparing two files is not done here.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq

from d4c_pipeline.processing import duckdb_engine
from d4c_pipeline.processing.columns import BBOX, GEOMETRY
from d4c_pipeline.processing.duckdb_engine import identifier
from d4c_pipeline.processing.geometry import TYPE_NAMES, GeometryColumn

_LONGEST_TEXT = 200


def profile(
    data: Path,
    geometry: GeometryColumn | None,
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
    connection = duckdb_engine.connect(threads=threads, memory_limit=memory_limit, spill=spill)
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
        types = Counter(TYPE_NAMES[type_id] for type_id in geometry.types.tolist() if type_id >= 0)
        out["geometry"] = {
            "types": dict(sorted(types.items())),
            "nulls": int((geometry.types < 0).sum()),
            "bounds": list(geometry.total_bounds) if geometry.total_bounds else None,
            "vertices": int(geometry.vertices.sum()),
            "most_vertices": int(np.max(geometry.vertices, initial=0)),
        }
    return out


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
