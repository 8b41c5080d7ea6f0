"""The layout of a GeoParquet or Parquet file: columns, types, geometry, sort order, and the metadata in its footer.

Here belongs everything about a file that is known before its rows are written. Writing belongs to `single_file`.
Specification: https://geoparquet.org/releases/v1.1.0/
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from d4c_pipeline.geoparquet import encode, staged
from d4c_pipeline.model import release
from d4c_pipeline.tables.columns import BBOX, GEOMETRY


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
    """The geometry column. `version` of GeoParquet; `crs`: PROJJSON; `promoted`: type ids to promote to multi types.

    `bounds` (west, south, east, north) and `type_names` cover all rows.
    """

    version: str
    crs: dict[str, Any]
    type_names: tuple[str, ...]
    bounds: tuple[float, float, float, float] | None
    promoted: tuple[int, ...] = ()

    @property
    def covered(self) -> bool:
        """Whether the file has a bbox column; Parquet's own geometry type keeps its boxes in the footer."""
        return self.version.startswith("1.")


@dataclass(frozen=True)
class Layout:
    """A file without its rows. `types`: Arrow types of the attributes by name; `rows`: number of rows to be written."""

    columns: tuple[release.Column, ...]
    types: dict[str, pa.DataType]
    geometry: GeometryLayout | None
    rows: int
    dataset: str
    vintage: str
    key: tuple[str, ...]

    @property
    def order(self) -> tuple[str, ...]:
        """The sort columns: place on the Hilbert curve (features only), key, remaining attributes, geometry."""
        attributes = (*self.key, *(name for name in self.types if name not in self.key))
        return attributes if self.geometry is None else (staged.PLACE, *attributes, staged.GEOMETRY)


def schema(layout: Layout) -> pa.Schema:
    """Return the Arrow schema of the file, with the metadata `d4c` and, for features, `geo`."""
    geometry = layout.geometry
    # Other Parquet readers do not know Arrow's null type, the type of a column without values.
    types = {name: pa.string() if pa.types.is_null(kind) else kind for name, kind in layout.types.items()}
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


def _facts(column: release.Column) -> dict[str, str] | None:
    facts = {"source": column.source, "description_en": column.description_en, "description_fr": column.description_fr}
    return {name: text for name, text in facts.items() if text is not None} or None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
