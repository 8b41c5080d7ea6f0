"""Writing GeoParquet and Parquet: row groups, compression, covering, metadata; the same bytes on every machine.

Rows come in parts, in the order that `order` and `merge` decided. Each row group is encoded by itself, several at a
time, and `stitch` makes one file of them. Specification: https://geoparquet.org/releases/v1.1.0/
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from d4c_pipeline.geoparquet.merge import Sorted
from d4c_pipeline.geoparquet.rows import Coded, Column, coded, gather
from d4c_pipeline.geoparquet.stitch import stitch
from d4c_pipeline.model import release
from d4c_pipeline.tables.arrays import as_arrow
from d4c_pipeline.tables.columns import BBOX, GEOMETRY
from d4c_pipeline.tables.parallel import in_order

# The encodings of columns are chosen anew after so many groups: what suits one suits its neighbours.
_GROUPS_A_CHOICE = 64


class WkbType(pa.ExtensionType):
    """WKB that Arrow writes as Parquet's own GEOMETRY type (https://geoarrow.org/extension-types.html)."""

    def __init__(self, crs: str) -> None:
        """`crs`: PROJJSON."""
        self._crs = crs
        super().__init__(pa.binary(), "geoarrow.wkb")

    def __arrow_ext_serialize__(self) -> bytes:
        return _json({"crs": json.loads(self._crs), "crs_type": "projjson"}).encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> WkbType:
        return cls(_json(json.loads(serialized).get("crs")))


@dataclass(frozen=True)
class GeometryLayout:
    """How geometry is written. `version` of GeoParquet; `crs` as PROJJSON; `promoted`: types to be made multi ones.

    `bounds` (west, south, east, north) and `type_names` are those of all rows.
    """

    version: str
    crs: dict[str, Any]
    type_names: tuple[str, ...]
    bounds: tuple[float, float, float, float] | None
    promoted: tuple[int, ...] = ()

    @property
    def covered(self) -> bool:
        """Whether there is a bbox column; Parquet's own geometry type has its boxes in the footer."""
        return self.version.startswith("1.")


@dataclass(frozen=True)
class Layout:
    """What a file is besides its rows. `types`: of its columns, without geometry; `rows`: how many there will be."""

    columns: tuple[release.Column, ...]
    types: dict[str, pa.DataType]
    geometry: GeometryLayout | None
    rows: int
    dataset: str
    vintage: str
    key: tuple[str, ...]


def parameters(geometry: GeometryLayout | None) -> dict[str, Any]:
    """Return what of this module determines the bytes of a file, for the build manifest."""
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
    """Write `parts` to `path` as (Geo)Parquet; return the number of rows.

    The file's metadata has `d4c` (dataset, vintage, key, columns) and for features `geo`. Raises OSError when the disk
    does.
    """
    schema = _schema(layout)
    encoded = in_order(lambda job: job(), _jobs(parts, schema, layout, threads), threads)
    with path.open("wb") as out:
        return stitch(out, _template(schema), map(memoryview, encoded))


def template(layout: Layout) -> bytes:
    """Return a file without rows that has everything else of a file of that layout."""
    return _template(_schema(layout))


def _template(schema: pa.Schema) -> bytes:
    return encode.encoded(schema.empty_table(), encode.Choice.usual(schema.names), whole_schema=True).to_pybytes()


def _jobs(
    parts: Iterable[Sorted], schema: pa.Schema, layout: Layout, threads: int | None
) -> Iterator[Callable[[], pa.Buffer]]:
    choice = encode.Choice({})
    for number, group in enumerate(groups(parts, layout.rows, features=layout.geometry is not None)):
        if number % _GROUPS_A_CHOICE == 0:
            choice = encode.choose(_table(group, schema, layout, {}), threads)
        yield lambda group=group, choice=choice: encode.encoded(_table(group, schema, layout, choice.encodings), choice)


def geo_metadata(geometry: GeometryLayout) -> dict[str, Any]:
    """Return GeoParquet's `geo` metadata."""
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": list(geometry.type_names),
        "crs": geometry.crs,
        "edges": "planar",
        "orientation": "counterclockwise",
    }
    if geometry.bounds:
        column["bbox"] = list(geometry.bounds)
    if geometry.covered:
        column["covering"] = {"bbox": {corner: [BBOX, corner] for corner in encode.CORNERS}}
    return {"version": geometry.version, "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}


def _schema(layout: Layout) -> pa.Schema:
    geometry = layout.geometry
    types = {name: pa.string() if pa.types.is_null(kind) else kind for name, kind in layout.types.items()}
    # A column without any value has Arrow's null type, which other readers of Parquet do not know.
    if geometry is not None:
        types[GEOMETRY] = pa.binary() if geometry.covered else WkbType(_json(geometry.crs))
    fields = [pa.field(column.name, types[column.name], metadata=_facts(column)) for column in layout.columns]
    metadata: dict[str, str] = {}
    if geometry is not None:
        if geometry.covered:
            fields.append(pa.field(BBOX, encode.BBOX_TYPE))
        metadata["geo"] = _json(geo_metadata(geometry))
    described = [
        {name: value for name, value in vars(column).items() if value is not None} for column in layout.columns
    ]
    metadata["d4c"] = _json(
        {"dataset": layout.dataset, "vintage": layout.vintage, "key": list(layout.key), "columns": described}
    )
    return pa.schema(fields, metadata)


def _facts(column: release.Column) -> dict[str, str] | None:
    facts = {"source": column.source, "description_en": column.description_en, "description_fr": column.description_fr}
    return {name: text for name, text in facts.items() if text is not None} or None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _table(group: Group, schema: pa.Schema, layout: Layout, encodings: Mapping[str, str]) -> pa.Table:
    geometry = layout.geometry
    taken = _taken(group, [name for name in schema.names if geometry is None or name not in (GEOMETRY, BBOX)])
    if geometry is not None:
        taken |= _taken(group, [staged.GEOMETRY, staged.TYPE] if geometry.promoted else [staged.GEOMETRY])
    arrays: list[pa.Array] = []
    fields: list[pa.Field] = []
    for field in schema:
        if geometry is not None and field.name == GEOMETRY:
            array = staged.promoted(taken, geometry.promoted)
            array = array if geometry.covered else pa.ExtensionArray.from_storage(field.type, array)
        elif geometry is not None and field.name == BBOX:
            array = _covering(_boxes(group, _arrow(taken[staged.GEOMETRY])))
        else:
            array = _as_encoded(taken[field.name], field.type, encodings.get(field.name))
        arrays.append(array)
        fields.append(field.with_type(array.type))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _taken(group: Group, names: Sequence[str]) -> dict[str, Column]:
    if len(group) == 1:
        return {name: group[0].rows.take(name, group[0].positions) for name in names}
    pieces = [
        pa.RecordBatch.from_arrays(
            [_arrow(piece.rows.take(name, piece.positions)) for name in names], names=list(names)
        )
        for piece in group
    ]
    return dict(gather(pieces).columns)


def _boxes(group: Group, wkb: pa.Array) -> npt.NDArray[np.float64]:
    # Points say themselves where they are, which is quicker than fetching it four times.
    xy = points.alone(wkb)
    return staged.bounds(_taken(group, staged.BOUNDS), len(wkb)) if xy is None else np.concatenate([xy, xy]).T


def _arrow(column: Column) -> pa.Array:
    if isinstance(column, Coded):
        return column.as_array()
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def _as_encoded(column: Column, kind: pa.DataType, encoding: str | None) -> pa.Array:
    # How text is held in memory depends on how it came; what is written depends on the text alone.
    if encoding != encode.DICTIONARY or not pa.types.is_string(kind):
        array = _arrow(column)
        return array if array.type == kind else array.cast(kind)
    if not isinstance(column, Coded):
        column = coded([_arrow(column).cast(kind).dictionary_encode()])
    return column.as_array()


def _covering(bounds: npt.NDArray[np.float64]) -> pa.Array:
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
