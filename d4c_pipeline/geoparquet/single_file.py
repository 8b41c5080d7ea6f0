"""Writes sorted rows to one GeoParquet or Parquet file: the same bytes on every machine.

`merge` delivers the rows in order. Threads encode row groups separately; `stitch` joins them into one file. The schema
and the metadata belong to `layout`, files in several parts to `partition`.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from d4c_pipeline.geometry import points
from d4c_pipeline.geoparquet import encode, staged
from d4c_pipeline.geoparquet.groups import (
    FEATURE_BYTES,
    FEATURE_LEAST_ROWS,
    FEATURE_MOST_ROWS,
    FEATURE_ROWS,
    TABLE_ROWS,
    Group,
    groups,
)
from d4c_pipeline.geoparquet.layout import GeometryLayout, Layout, schema
from d4c_pipeline.geoparquet.merge import Sorted
from d4c_pipeline.geoparquet.rows import Coded, Column, as_array, coded, joined
from d4c_pipeline.geoparquet.stitch import stitch
from d4c_pipeline.tables.arrays import as_arrow
from d4c_pipeline.tables.columns import BBOX, GEOMETRY
from d4c_pipeline.tables.parallel import in_order

# Column encodings are chosen again after this many row groups: neighbouring groups suit the same encodings.
_GROUPS_A_CHOICE = 64


def parameters(geometry: GeometryLayout | None) -> dict[str, Any]:
    """Return the settings of the writer that determine the bytes of a file, for the build manifest."""
    common = {
        "compression": encode.COMPRESSION,
        "compression_level": encode.COMPRESSION_LEVEL,
        **({"geometry_compression_levels": dict(encode.GEOMETRY_LEVELS)} if geometry is not None else {}),
        "parquet_version": "2.6",
        "data_page": "1.0",
        "encodings": f"the smallest of those tried on every {_GROUPS_A_CHOICE}th row group",
    }
    if geometry is None:
        return {"format": "Parquet", "row_group_rows": TABLE_ROWS, **common}
    return {
        "format": f"GeoParquet {geometry.version}",
        "row_group_rows": f"{FEATURE_ROWS} on average, {FEATURE_LEAST_ROWS} to {FEATURE_MOST_ROWS}, cut at quadrants",
        "row_group_geometry_bytes": FEATURE_BYTES,
        **({"covering": f"float32, rounded outward, level {encode.COVERING_LEVEL}"} if geometry.covered else {}),
        **common,
    }


def write(path: Path, parts: Iterable[Sorted], layout: Layout, *, threads: int | None = None) -> int:
    """Write `parts` to `path` as (Geo)Parquet; return the number of rows. Raises OSError when a write fails."""
    encoded = in_order(lambda job: job(), _jobs(parts, layout, threads), threads)
    with path.open("wb") as out:
        return stitch(out, template(layout), map(memoryview, encoded))


def template(layout: Layout) -> bytes:
    """Return a file of `layout` without rows: its schema, metadata and `created_by`."""
    empty = schema(layout).empty_table()
    return encode.encoded(empty, encode.Choice.usual(empty.column_names), arrow_schema=True).to_pybytes()


def _jobs(parts: Iterable[Sorted], layout: Layout, threads: int | None) -> Iterator[Callable[[], pa.Buffer]]:
    target, choice = schema(layout), encode.Choice({})
    for number, group in enumerate(groups(parts, layout.rows, features=layout.geometry is not None)):
        if number % _GROUPS_A_CHOICE == 0:
            choice = encode.choose(_table(group, target, layout, {}), threads)
        yield lambda group=group, choice=choice: encode.encoded(_table(group, target, layout, choice.encodings), choice)


def _table(group: Group, target: pa.Schema, layout: Layout, encodings: Mapping[str, str]) -> pa.Table:
    geometry = layout.geometry
    taken = _taken(group, [name for name in target.names if geometry is None or name not in (GEOMETRY, BBOX)])
    if geometry is not None:
        taken |= _taken(group, [staged.GEOMETRY, staged.TYPE] if geometry.promoted else [staged.GEOMETRY])
    arrays: list[pa.Array] = []
    fields: list[pa.Field] = []
    for field in target:
        if geometry is not None and field.name == GEOMETRY:
            array = staged.promoted(taken, geometry.promoted)
            array = array if geometry.covered else pa.ExtensionArray.from_storage(field.type, array)
        elif geometry is not None and field.name == BBOX:
            array = covering(_boxes(group, as_array(taken[staged.GEOMETRY])))
        else:
            array = _as_encoded(taken[field.name], field.type, encodings.get(field.name))
        arrays.append(array)
        fields.append(field.with_type(array.type))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _taken(group: Group, names: Sequence[str]) -> dict[str, Column]:
    if len(group) == 1:
        return {name: group[0].rows.take(name, group[0].positions) for name in names}
    # Column by column: the pieces of all columns beside their copies doubled the memory of wide tables.
    return {name: joined([as_array(piece.rows.take(name, piece.positions)) for piece in group]) for name in names}


def _boxes(group: Group, wkb: pa.Array) -> npt.NDArray[np.float64]:
    # Reading the coordinates of points is quicker than fetching four columns of bounds.
    xy = points.coordinates(wkb)
    return staged.bounds(_taken(group, staged.BOUNDS), len(wkb)) if xy is None else np.concatenate([xy, xy]).T


def _as_encoded(column: Column, kind: pa.DataType, encoding: str | None) -> pa.Array:
    # The packing of text in memory depends on the batches; the bytes written may depend on the text only.
    if encoding != encode.DICTIONARY or not pa.types.is_string(kind):
        array = as_array(column)
        return array if array.type == kind else array.cast(kind)
    if not isinstance(column, Coded):
        column = coded([as_array(column).cast(kind).dictionary_encode()])
    return column.as_array()


def covering(bounds: npt.NDArray[np.float64]) -> pa.Array:
    """Return the bbox structs: float32, never smaller than the true box, null where there is no geometry."""
    missing = np.asarray(np.isnan(bounds).any(axis=1))
    mask = as_arrow(missing) if missing.any() else None
    corners: list[pa.Array] = []
    for axis, beyond in enumerate((-np.inf, -np.inf, np.inf, np.inf)):
        exact = bounds[:, axis] if mask is None else np.where(missing, 0.0, bounds[:, axis])
        rounded = exact.astype(np.float32)
        inside = np.flatnonzero(rounded > exact if beyond < 0 else rounded < exact)
        rounded[inside] = np.nextafter(rounded[inside], np.float32(beyond))
        corners.append(as_arrow(rounded))
    return pa.StructArray.from_arrays(corners, fields=list(encode.BBOX_TYPE), mask=mask)
