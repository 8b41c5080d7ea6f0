"""The check that other software reads the file: Arrow and DuckDB read all of it, geopandas reads the geometry.

Of a file that exceeds memory geopandas reads a window, as its users do; the verdict reports the window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from d4c_pipeline.processing.checks.features import CORNERS
from d4c_pipeline.processing.checks.verdict import MOST_EXAMPLES, Built, Outcome, Verdict
from d4c_pipeline.tables.columns import BBOX, GEOMETRY
from d4c_pipeline.tables.duckdb_engine import parquet
from d4c_pipeline.tables.sql_names import identifier

# geopandas holds all that it reads in memory, geometry as objects of several times its size.
_MOST_ROWS = 200_000
_MOST_BYTES = 64 << 20
# Columns of one statement.
_COLUMNS = 200


def readable_by_others(name: str, built: Built) -> Verdict:
    """pyarrow, DuckDB and geopandas find the reported rows; pyarrow and DuckDB also find the same nulls."""
    vector = built.dataset.processing.kind == "vector"
    nulls = dict(built.attributes.nulls)
    counts = {"pyarrow": built.attributes.rows}
    if vector:
        counts["pyarrow, geometry"] = built.features.rows
        nulls[GEOMETRY] = built.features.nulls
    counts["DuckDB"], by_duckdb = _by_duckdb(built, list(nulls))
    notes: list[str] = []
    faults: list[dict[str, Any]] = [
        {"column": column, "nulls by pyarrow": nulls[column], "nulls by DuckDB": by_duckdb[column]}
        for column in nulls
        if nulls[column] != by_duckdb[column]
    ]
    if vector:
        reads = [_by_geopandas(built, file) for file in built.files]
        if all(each.complete for each in reads):
            counts["geopandas"] = sum(each.found or 0 for each in reads)
        for each in reads:
            if not each.complete and each.found != each.expected:
                faults.append(
                    {"reader": "geopandas", "what": each.note, "expected": each.expected, "actual": each.found}
                )
            notes += [each.note] if each.note else []
    faults += [
        {"reader": reader, "expected": built.summary.rows, "actual": count}
        for reader, count in counts.items()
        if count != built.summary.rows
    ]
    return Verdict(
        name,
        Outcome.FAILURE if faults else Outcome.PASS,
        f"{built.summary.rows} rows by each reader",
        "; ".join([*(f"{reader} {count}" for reader, count in counts.items()), *notes]),
        faults[:MOST_EXAMPLES],
        "Report this bug: the pipeline wrote the file" if faults else "",
    )


def _by_duckdb(built: Built, columns: list[str]) -> tuple[int, dict[str, int]]:
    nulls: dict[str, int] = {}
    with built.duckdb() as connection:
        (rows,) = connection.execute("SELECT count(*) FROM data").fetchone() or (0,)
        for first in range(0, len(columns), _COLUMNS):
            some = columns[first : first + _COLUMNS]
            counts = ", ".join(f"count({identifier(column)})" for column in some)
            answer = connection.execute(f"SELECT {counts} FROM data").fetchone() or ()
            nulls |= {column: rows - count for column, count in zip(some, answer, strict=True)}
    return int(rows), nulls


@dataclass(frozen=True)
class _Read:
    # Rows that geopandas should find and rows that it finds (None: it did not read), in the file or a window of it.
    expected: int
    found: int | None
    note: str = ""

    @property
    def complete(self) -> bool:
        return not self.note


def _by_geopandas(built: Built, file: Path) -> _Read:
    import geopandas  # noqa: PLC0415 - imports pandas, which no other check needs

    metadata = pq.read_metadata(file)
    groups = [metadata.row_group(n) for n in range(metadata.num_row_groups)]
    size = sum(
        group.column(n).total_uncompressed_size
        for group in groups
        for n in range(group.num_columns)
        if group.column(n).path_in_schema == GEOMETRY
    )
    if metadata.num_rows <= _MOST_ROWS and size <= _MOST_BYTES:
        return _Read(metadata.num_rows, len(geopandas.read_parquet(file, columns=[GEOMETRY])))
    window = _window(groups[0])
    if window is None:
        return _Read(metadata.num_rows, None, "geopandas skipped: the file is large and has no covering")
    west, south, east, north = window
    with built.duckdb() as connection:
        (expected,) = connection.execute(
            f"SELECT count(*) FROM {parquet(file)} WHERE {BBOX}.xmin <= $1 AND {BBOX}.xmax >= $2"
            f" AND {BBOX}.ymin <= $3 AND {BBOX}.ymax >= $4",
            [east, west, north, south],
        ).fetchone() or (0,)
    found = len(geopandas.read_parquet(file, columns=[GEOMETRY], bbox=window))
    note = f"geopandas {found} of {expected} rows in the window {_words(window)} of a large file"
    return _Read(int(expected), found, note)


def _window(group: Any) -> tuple[float, float, float, float] | None:
    # The box of the first row group holds few rows, because rows follow a Hilbert curve.
    chunks = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    boxes = [chunks.get(f"{BBOX}.{corner}") for corner in CORNERS]
    if not all(chunk is not None and chunk.statistics and chunk.statistics.has_min_max for chunk in boxes):
        return None
    low = [float(chunk.statistics.min) for chunk in boxes[:2] if chunk is not None]
    high = [float(chunk.statistics.max) for chunk in boxes[2:] if chunk is not None]
    if not all(map(math.isfinite, low + high)):
        return None
    return low[0], low[1], high[0], high[1]


def _words(window: tuple[float, float, float, float]) -> str:
    return ", ".join(f"{side:.4g}" for side in window)
