"""Geometry columns that a Parquet file describes: in `geo` metadata, by Parquet's types, or by Arrow extension types.

Formats: https://geoparquet.org/releases/v1.1.0/, https://geoarrow.org/extension-types,
https://github.com/apache/parquet-format/blob/master/Geospatial.md. `parquet` and `geoarrow` read the values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.readers import geoarrow
from d4c_pipeline.tables.native import parse_crs, plain_type

# The default CRS of `geo` metadata and of Parquet's types. In GeoArrow, a missing crs means unknown.
_DEFAULT_CRS = "OGC:CRS84"
_LOGICAL = re.compile(r"(?P<kind>Geometry|Geography)\(crs=(?P<crs>.*?)(, algorithm=(?P<edges>\w*))?\)", re.DOTALL)
_SRID = re.compile(r"srid:(\d+)", re.IGNORECASE)
_PROJJSON = re.compile(r"projjson:(.+)", re.IGNORECASE)
_USUAL_NAMES = frozenset({
    "geometry", "geom", "the_geom", "wkb_geometry", "wkb", "geom_wkb", "geometry_wkb", "shape", "geography", "geog",
    "geo", "geo_shape", "ogr_geometry", "_ogr_geometry_", "way", "footprint", "polygon",
})  # fmt: skip
_CONFLICT = "Declare the right processing.crs with override_crs"


@dataclass(frozen=True)
class Shape:
    """A column of geometry. `encoding`: `WKB`, one of `geoarrow.ENCODINGS`, or the file's name of another encoding.

    `crs`: as the file states it, None if it is unknown. `own_crs`: the CRS of Parquet's type, if the file has one
    beside `geo` metadata. `facts`: further facts for the report (`edges`, `epoch`).
    """

    name: str
    encoding: str
    crs: str | None
    own_crs: str | None = None
    facts: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def readable(self) -> bool:
        """Whether the encoding can be read."""
        return self.encoding == "WKB" or self.encoding in geoarrow.ENCODINGS


def shapes_of(file: pq.ParquetFile, schema: pa.Schema) -> dict[str, Shape]:
    """Return the geometry columns that the file describes, by name."""
    metadata = file.metadata.metadata or {}
    own = _by_logical_type(file, schema, metadata)
    found: dict[str, Shape] = {}
    for name, described in _columns(geo(file)).items():
        if name in schema.names:
            found[name] = _by_geo(name, described, own.get(name))
    for arrow in schema:
        if arrow.name not in found and (shape := own.get(arrow.name) or _by_extension(arrow)) is not None:
            found[arrow.name] = shape
    return found


def geo(file: pq.ParquetFile) -> dict[str, Any]:
    """Return the `geo` metadata; empty if it is missing or invalid."""
    try:
        metadata = json.loads((file.metadata.metadata or {}).get(b"geo", b"{}"))
    except ValueError:
        return {}
    return metadata if isinstance(metadata, dict) else {}


def coverings(file: pq.ParquetFile) -> set[str]:
    """Return the columns of bounding boxes of the geometry (coverings), which the writer computes again."""
    boxes = [_mapping(_mapping(described.get("covering")).get("bbox")) for described in _columns(geo(file)).values()]
    return {str(box["xmin"][0]) for box in boxes if isinstance(box.get("xmin"), list) and box["xmin"]}


def primary(file: pq.ParquetFile, shapes: Mapping[str, Shape]) -> str | None:
    """Return the primary column that the file declares, else its only geometry column, else None."""
    named = geo(file).get("primary_column")
    if isinstance(named, str) and named in shapes:
        return named
    return next(iter(shapes)) if len(shapes) == 1 else None


def likely(file: pq.ParquetFile, schema: pa.Schema) -> list[str]:
    """Return binary columns that have a usual name of geometry and begin with WKB; the file need not describe them."""
    names = [
        each.name for each in schema if each.name.lower() in _USUAL_NAMES and pa.types.is_binary(plain_type(each.type))
    ]
    if not names or not file.num_row_groups:
        return names
    batch = next(file.iter_batches(batch_size=1024, row_groups=[0], columns=names), None)
    if batch is None:
        return names
    return [name for name in names if _begins_as_wkb(batch.column(name))]


def crs_of(shape: Shape, path: Path) -> str | None:
    """Return the CRS that the file states for a column, None if it is unknown.

    Raises DataError if the file states two different systems.
    """
    if shape.own_crs is None or shape.crs is None or shape.own_crs == shape.crs:
        return shape.crs
    from d4c_pipeline.geometry import projection  # noqa: PLC0415 - tables need no PROJ

    by_geo, by_type = parse_crs(shape.crs, path), parse_crs(shape.own_crs, path)
    if not projection.same_crs(by_geo, by_type):
        raise DataError(
            f"{path.name} states two coordinate reference systems for {shape.name}: {projection.crs_name(by_geo)} in"
            f" its geo metadata, {projection.crs_name(by_type)} in the column's type",
            _CONFLICT,
        )
    return shape.crs


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _columns(metadata: dict[str, Any]) -> dict[str, dict[str, Any]]:
    columns = _mapping(metadata.get("columns"))
    return {name: described for name, described in columns.items() if isinstance(described, dict)}


def _by_geo(name: str, described: dict[str, Any], own: Shape | None) -> Shape:
    encoding = str(described.get("encoding", "WKB"))
    encoding = "WKB" if encoding.upper() == "WKB" else encoding.lower()
    facts = {fact: described[fact] for fact in ("edges", "epoch") if described.get(fact) not in (None, "planar")}
    return Shape(name, encoding, _stated(described.get("crs", _DEFAULT_CRS)), own.crs if own else None, facts)


def _by_logical_type(file: pq.ParquetFile, schema: pa.Schema, metadata: Mapping[bytes, bytes]) -> dict[str, Shape]:
    found: dict[str, Shape] = {}
    for position in range(len(file.schema)):
        column = file.schema.column(position)
        logical = _LOGICAL.fullmatch(str(column.logical_type)) if column.physical_type == "BYTE_ARRAY" else None
        if logical is None or column.path not in schema.names:
            continue
        facts = {"edges": (logical["edges"] or "spherical").lower()} if logical["kind"] == "Geography" else {}
        found[column.path] = Shape(column.path, "WKB", _logical_crs(logical["crs"], metadata), None, facts)
    return found


def _logical_crs(text: str, metadata: Mapping[bytes, bytes]) -> str | None:
    if not text.strip():
        return _DEFAULT_CRS
    if (srid := _SRID.fullmatch(text)) is not None:
        return None if int(srid[1]) == 0 else f"EPSG:{srid[1]}"
    if (key := _PROJJSON.fullmatch(text)) is not None:
        # The CRS is unknown if the key is missing from the file's metadata.
        stated = metadata.get(key[1].encode())
        return None if stated is None else stated.decode("utf-8", "replace")
    return text


def _by_extension(arrow: pa.Field) -> Shape | None:
    metadata = arrow.metadata or {}
    name, text = metadata.get(b"ARROW:extension:name", b""), metadata.get(b"ARROW:extension:metadata", b"")
    if isinstance(arrow.type, pa.ExtensionType):
        name, text = arrow.type.extension_name.encode(), arrow.type.__arrow_ext_serialize__()
    kind = name.decode("utf-8", "replace").removeprefix("geoarrow.")
    if not name.startswith((b"geoarrow.", b"ogc.wkb")):
        return None
    try:
        facts = _mapping(json.loads(text or b"{}"))
    except ValueError:
        facts = {}
    encoding = "WKB" if kind in ("wkb", "ogc.wkb") else kind
    more = {"edges": facts["edges"]} if facts.get("edges") not in (None, "planar") else {}
    return Shape(arrow.name, encoding, _stated(facts.get("crs")), None, more)


def _stated(crs: Any) -> str | None:
    # PROJJSON, or text (WKT in versions before 0.4, authority:code); null or blank means unknown.
    if crs is None or isinstance(crs, str):
        return crs if crs and crs.strip() else None
    return json.dumps(crs)


def _begins_as_wkb(column: pa.Array) -> bool:
    storage = column.storage if isinstance(column, pa.ExtensionArray) else column
    first = next((value.as_py() for value in storage if value.is_valid), None)
    if first is None or len(first) < 5 or first[0] not in (0, 1):
        return False
    code = int.from_bytes(first[1:5], "little" if first[0] else "big")
    return 1 <= (code & 0x0FFFFFFF) % 1000 <= 17 and (code & 0x0FFFFFFF) < 4000
