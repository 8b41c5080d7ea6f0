"""Writing GeoParquet 1.1 and Parquet: row groups, compression, covering, metadata; the same bytes on every machine.

Rows come in the order that `order` decided. Specification: https://geoparquet.org/releases/v1.1.0/
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyproj

from d4c_pipeline.model import release
from d4c_pipeline.processing.columns import BBOX, GEOMETRY
from d4c_pipeline.processing.geometry import GeometryColumn

# At least so many rows a group, unless its geometry has more bytes.
# Measured on 1.5 M points, 500 k buildings and 5 k boundaries: 10,000 rows read a third to two thirds of the bytes of
# 50,000 for a 1 % query at 1 to 7 % more size; big features are cut by bytes instead.
FEATURE_GROUP_ROWS = 10_000
FEATURE_GROUP_BYTES = 8 << 20
TABLE_GROUP_ROWS = 100_000
COMPRESSION = "zstd"
# Higher levels change geometry by -12 to +0.5 % of size for 10 to 22 times the CPU.
COMPRESSION_LEVEL = 3
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_BBOX_TYPE = pa.struct([pa.field(corner, pa.float32(), nullable=False) for corner in _CORNERS])


def parameters(*, with_geometry: bool) -> dict[str, Any]:
    """Return what of this module determines the bytes of a file, for the build manifest."""
    common = {
        "compression": COMPRESSION,
        "compression_level": COMPRESSION_LEVEL,
        "parquet_version": "2.6",
        "data_page": "1.0",
    }
    if with_geometry:
        return {
            "format": "GeoParquet 1.1.0",
            "row_group_rows": FEATURE_GROUP_ROWS,
            "row_group_geometry_bytes": FEATURE_GROUP_BYTES,
            "covering": "float32, rounded outward",
            **common,
        }
    return {"format": "Parquet", "row_group_rows": TABLE_GROUP_ROWS, **common}


def write(
    path: Path,
    table: pa.Table,
    geometry: GeometryColumn | None,
    rows: npt.NDArray[np.int64],
    *,
    columns: Sequence[release.Column],
    dataset: str,
    vintage: str,
    key: Sequence[str],
) -> None:
    """Write `rows` of `table` and `geometry` to `path` as (Geo)Parquet.

    `columns` describe the table's columns and, last, the geometry. The file's metadata has `d4c` (dataset, vintage,
    key, columns) and for features `geo`. Raises OSError when the disk does.
    """
    schema = _schema(table, geometry, columns, dataset=dataset, vintage=vintage, key=key)
    described = schema.names[: len(table.schema)]
    plain = [name for name in described if not pa.types.is_nested(schema.field(name).type)]
    bbox = [f"{BBOX}.{corner}" for corner in _CORNERS] if geometry is not None else []
    table = table.combine_chunks()  # taking rows out of many chunks takes three times as long
    with pq.ParquetWriter(
        path,
        schema,
        version="2.6",
        data_page_version="1.0",
        compression=COMPRESSION,
        compression_level=COMPRESSION_LEVEL,
        use_dictionary=plain,  # pyright: ignore[reportArgumentType]
        # Neighbours share their high bytes: splitting them by byte makes the covering a fifth of its plain size.
        column_encoding=dict.fromkeys(bbox, "BYTE_STREAM_SPLIT") or None,
        # Least and greatest WKB say nothing and would stand in every page header.
        write_statistics=[*plain, *bbox],  # pyright: ignore[reportArgumentType]
        write_page_index=True,
        store_schema=True,
    ) as writer:
        for start, stop in _row_groups(geometry, rows):
            batch = _ordered(table, geometry, rows[start:stop], schema)
            writer.write_table(batch, row_group_size=max(stop - start, 1))


def geo_metadata(geometry: GeometryColumn) -> dict[str, Any]:
    """Return GeoParquet's `geo` metadata for clean geometry in EPSG:4326."""
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": list(geometry.type_names),
        "crs": _wgs84(),
        "edges": "planar",
        "orientation": "counterclockwise",
    }
    if geometry.total_bounds:
        column["bbox"] = list(geometry.total_bounds)
    column["covering"] = {"bbox": {corner: [BBOX, corner] for corner in _CORNERS}}
    return {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}


@functools.cache
def _wgs84() -> dict[str, Any]:
    return pyproj.CRS.from_epsg(4326).to_json_dict()


def _schema(
    table: pa.Table,
    geometry: GeometryColumn | None,
    columns: Sequence[release.Column],
    *,
    dataset: str,
    vintage: str,
    key: Sequence[str],
) -> pa.Schema:
    types = {field.name: field.type for field in table.schema}
    if geometry is not None:
        types[GEOMETRY] = geometry.wkb.type
    # A column without any value has Arrow's null type, which other readers of Parquet do not know.
    fields = [
        pa.field(
            column.name,
            pa.string() if pa.types.is_null(types[column.name]) else types[column.name],
            metadata=_facts(column),
        )
        for column in columns
    ]
    metadata: dict[str, str] = {}
    if geometry is not None:
        fields.append(pa.field(BBOX, _BBOX_TYPE))
        metadata["geo"] = _json(geo_metadata(geometry))
    described = [{name: value for name, value in vars(column).items() if value is not None} for column in columns]
    metadata["d4c"] = _json({"dataset": dataset, "vintage": vintage, "key": list(key), "columns": described})
    return pa.schema(fields, metadata)


def _facts(column: release.Column) -> dict[str, str] | None:
    facts = {"source": column.source, "description_en": column.description_en, "description_fr": column.description_fr}
    return {name: text for name, text in facts.items() if text is not None} or None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _row_groups(geometry: GeometryColumn | None, rows: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    if geometry is None:
        return [(start, min(start + TABLE_GROUP_ROWS, len(rows))) for start in range(0, len(rows), TABLE_GROUP_ROWS)]
    sizes = pc.fill_null(pc.binary_length(geometry.wkb), 0).to_numpy().astype(np.int64)[rows]
    ends = np.cumsum(sizes)
    # Groups of one length, so that no small rest stands at the end.
    longest = -(-len(rows) // max(1, len(rows) // FEATURE_GROUP_ROWS))
    groups: list[tuple[int, int]] = []
    start = 0
    while start < len(rows):
        before = int(ends[start - 1]) if start else 0
        by_bytes = int(np.searchsorted(ends, before + FEATURE_GROUP_BYTES, side="right"))
        stop = max(start + 1, min(by_bytes, start + longest, len(rows)))
        groups.append((start, stop))
        start = stop
    return groups


def _ordered(
    table: pa.Table, geometry: GeometryColumn | None, rows: npt.NDArray[np.int64], schema: pa.Schema
) -> pa.Table:
    taken = pa.array(rows)
    arrays = [column.cast(schema.field(n).type) for n, column in enumerate(table.take(taken).columns)]
    if geometry is not None:
        arrays += [geometry.wkb.take(taken), _covering(geometry.bounds[rows])]
    return pa.table(arrays, schema=schema)


def _covering(bounds: npt.NDArray[np.float64]) -> pa.Array:
    """Return the bbox structs: float32, never smaller than the true box, null where there is no geometry."""
    missing = np.asarray(np.isnan(bounds).any(axis=1))
    exact = np.where(missing[:, None], 0.0, bounds)
    rounded = exact.astype(np.float32)
    low = np.where(rounded[:, :2] > exact[:, :2], np.nextafter(rounded[:, :2], np.float32(-np.inf)), rounded[:, :2])
    high = np.where(rounded[:, 2:] < exact[:, 2:], np.nextafter(rounded[:, 2:], np.float32(np.inf)), rounded[:, 2:])
    corners = [np.ascontiguousarray(values) for values in (low[:, 0], low[:, 1], high[:, 0], high[:, 1])]
    return pa.StructArray.from_arrays(
        [pa.array(corner) for corner in corners], fields=list(_BBOX_TYPE), mask=pa.array(missing)
    )
