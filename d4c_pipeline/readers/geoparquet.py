"""What a Parquet file says of its geometry: in `geo` metadata, by Parquet's own types, or by Arrow's extension types.

https://geoparquet.org/releases/v1.1.0/, https://github.com/apache/parquet-format/blob/master/Geospatial.md,
https://geoarrow.org/extension-types. Reading the values belongs to `parquet` and `geoarrow`.
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

# What the absence of a crs means in `geo` metadata and for Parquet's own types. GeoArrow's means that nobody knows.
_DEFAULT_CRS = "OGC:CRS84"
_LOGICAL = re.compile(r"(?P<kind>Geometry|Geography)\(crs=(?P<crs>.*?)(, algorithm=(?P<edges>\w*))?\)", re.DOTALL)
_SRID = re.compile(r"srid:(\d+)", re.IGNORECASE)
_PROJJSON = re.compile(r"projjson:(.+)", re.IGNORECASE)
_USUAL_NAMES = frozenset({
    "geometry", "geom", "the_geom", "wkb_geometry", "wkb", "geom_wkb", "geometry_wkb", "shape", "geography", "geog",
    "geo", "geo_shape", "ogr_geometry", "_ogr_geometry_", "way", "footprint", "polygon",
})  # fmt: skip
_CONFLICT = "Declare the right one as processing.crs with override_crs"


@dataclass(frozen=True)
class Shape:
    """A column of geometry. `encoding`: `WKB`, one of `geoarrow.ENCODINGS`, or what the file says that is neither.

    `crs`: as the file states it, None where it says that nobody knows. `own_crs`: that of Parquet's own type, where
    the file has it beside `geo` metadata. `facts`: what people should know besides (`edges`, `epoch`).
    """

    name: str
    encoding: str
    crs: str | None
    own_crs: str | None = None
    facts: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def readable(self) -> bool:
        """Whether the encoding is one that is read."""
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
    """Return the `geo` metadata, empty where there is none that could be understood."""
    try:
        said = json.loads((file.metadata.metadata or {}).get(b"geo", b"{}"))
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def coverings(file: pq.ParquetFile) -> set[str]:
    """Return the columns of boxes that repeat the geometry for the sake of queries; they are made anew."""
    boxes = [_mapping(_mapping(described.get("covering")).get("bbox")) for described in _columns(geo(file)).values()]
    return {str(box["xmin"][0]) for box in boxes if isinstance(box.get("xmin"), list) and box["xmin"]}


def primary(file: pq.ParquetFile, shapes: Mapping[str, Shape]) -> str | None:
    """Return the column that the file calls its primary one, else the only one."""
    named = geo(file).get("primary_column")
    if isinstance(named, str) and named in shapes:
        return named
    return next(iter(shapes)) if len(shapes) == 1 else None


def likely(file: pq.ParquetFile, schema: pa.Schema) -> list[str]:
    """Return the columns that the file does not describe, but that have a usual name and begin with WKB."""
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
    """Return the CRS that the file states for a column, None where it says that nobody knows.

    Raises DataError when it states two that differ.
    """
    if shape.own_crs is None or shape.crs is None or shape.own_crs == shape.crs:
        return shape.crs
    from d4c_pipeline.geometry import projection  # noqa: PLC0415 - tables need no PROJ

    one, other = parse_crs(shape.crs, path), parse_crs(shape.own_crs, path)
    if not projection.same_crs(one, other):
        raise DataError(
            f"{path.name} states two coordinate reference systems for {shape.name}: {projection.crs_name(one)} in its"
            f" geo metadata, {projection.crs_name(other)} in the column's type",
            _CONFLICT,
        )
    return shape.crs


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _columns(said: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: described for name, described in _mapping(said.get("columns")).items() if isinstance(described, dict)}


def _by_geo(name: str, described: dict[str, Any], own: Shape | None) -> Shape:
    encoding = str(described.get("encoding", "WKB"))
    encoding = "WKB" if encoding.upper() == "WKB" else encoding.lower()
    facts = {fact: described[fact] for fact in ("edges", "epoch") if described.get(fact) not in (None, "planar")}
    return Shape(name, encoding, _stated(described.get("crs", _DEFAULT_CRS)), own.crs if own else None, facts)


def _by_logical_type(file: pq.ParquetFile, schema: pa.Schema, metadata: Mapping[bytes, bytes]) -> dict[str, Shape]:
    found: dict[str, Shape] = {}
    for position in range(len(file.schema)):
        column = file.schema.column(position)
        said = _LOGICAL.fullmatch(str(column.logical_type)) if column.physical_type == "BYTE_ARRAY" else None
        if said is None or column.path not in schema.names:
            continue
        facts = {"edges": (said["edges"] or "spherical").lower()} if said["kind"] == "Geography" else {}
        found[column.path] = Shape(column.path, "WKB", _logical_crs(said["crs"], metadata), None, facts)
    return found


def _logical_crs(text: str, metadata: Mapping[bytes, bytes]) -> str | None:
    if not text.strip():
        return _DEFAULT_CRS
    if (srid := _SRID.fullmatch(text)) is not None:
        return None if int(srid[1]) == 0 else f"EPSG:{srid[1]}"
    if (key := _PROJJSON.fullmatch(text)) is not None:
        # Where it is said to stand in the file's metadata and does not, nobody knows.
        stated = metadata.get(key[1].encode())
        return None if stated is None else stated.decode("utf-8", "replace")
    return text


def _by_extension(arrow: pa.Field) -> Shape | None:
    metadata = arrow.metadata or {}
    name, said = metadata.get(b"ARROW:extension:name", b""), metadata.get(b"ARROW:extension:metadata", b"")
    if isinstance(arrow.type, pa.ExtensionType):
        name, said = arrow.type.extension_name.encode(), arrow.type.__arrow_ext_serialize__()
    kind = name.decode("utf-8", "replace").removeprefix("geoarrow.")
    if not name.startswith((b"geoarrow.", b"ogc.wkb")):
        return None
    try:
        facts = _mapping(json.loads(said or b"{}"))
    except ValueError:
        facts = {}
    encoding = "WKB" if kind in ("wkb", "ogc.wkb") else kind
    more = {"edges": facts["edges"]} if facts.get("edges") not in (None, "planar") else {}
    return Shape(arrow.name, encoding, _stated(facts.get("crs")), None, more)


def _stated(crs: Any) -> str | None:
    # PROJJSON, or text (WKT in versions before 0.4, authority:code); null or blank means that nobody knows.
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
