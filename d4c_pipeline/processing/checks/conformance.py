"""The check of GeoParquet conformance, by Arrow only: metadata, geometry, covering, row groups, compression.

A violation of the specification is a failure; a file that is only slower to query gets a warning. Specification:
https://geoparquet.org/releases/v1.1.0/ and https://github.com/apache/parquet-format/blob/master/Geospatial.md
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import pyproj.exceptions

from d4c_pipeline.geometry.shapes import TYPE_NAMES
from d4c_pipeline.model.processing import VectorProcessing
from d4c_pipeline.processing.checks.features import CORNERS, Features
from d4c_pipeline.processing.checks.metadata import geo_metadata
from d4c_pipeline.processing.checks.verdict import MOST_EXAMPLES, Built, Outcome, Verdict
from d4c_pipeline.tables.columns import BBOX, GEOMETRY

_MOST_GROUP_ROWS = 150_000
_MOST_GROUP_BYTES = 256 << 20
_ENCODINGS = frozenset({"WKB", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"})
_TYPES = frozenset(name + z for name in TYPE_NAMES for z in ("", " Z")) - {"LinearRing", "LinearRing Z"}
_EDGES = frozenset({"planar", "spherical"})

Fault = tuple[Outcome, str, str, str]


def geoparquet_conformance(name: str, built: Built) -> Verdict:
    """Each file conforms to GeoParquet, and its metadata is true of the geometry of every row."""
    processing = built.dataset.processing
    wanted = processing.geoparquet if isinstance(processing, VectorProcessing) else "1.1"
    crs = processing.crs_out if isinstance(processing, VectorProcessing) else "EPSG:4326"
    faults: list[Fault] = []
    groups = 0
    for file, found in zip(built.files, built.features_of_files, strict=True):
        where = f"{file.name}: " if len(built.files) > 1 else ""
        with pq.ParquetFile(file) as parquet:
            faults += [
                (outcome, where + fault, expected, actual)
                for outcome, fault, expected, actual in _faults(parquet, found, wanted, crs)
            ]
            groups += parquet.metadata.num_row_groups
    outcome = max((fault[0] for fault in faults), default=Outcome.PASS)
    shown = faults[:MOST_EXAMPLES]
    return Verdict(
        name,
        outcome,
        f"GeoParquet {wanted} in {crs}, true metadata, zstd, row groups of at most {_MOST_GROUP_ROWS} rows",
        f"{groups} row group{'' if groups == 1 else 's'}; {'; '.join(fault[1] for fault in shown) or 'no faults'}",
        [{"what": what, "expected": expected, "actual": actual} for _, what, expected, actual in shown],
        "Report this bug: the pipeline wrote the file" if outcome else "",
    )


def _faults(parquet: pq.ParquetFile, found: Features, wanted: str, crs: str) -> Iterator[Fault]:
    geo = geo_metadata(parquet)
    columns = geo.get("columns")
    if not geo or not isinstance(columns, dict):
        yield Outcome.FAILURE, "no geo metadata", "a JSON object with columns", json.dumps(geo)[:200]
        return
    if not str(geo.get("version", "")).startswith(f"{wanted}."):
        yield Outcome.FAILURE, "another version", f"{wanted}.x", str(geo.get("version"))
    if geo.get("primary_column") != GEOMETRY or GEOMETRY not in columns:
        yield Outcome.FAILURE, "another primary column", GEOMETRY, str(geo.get("primary_column"))
        return
    column = columns[GEOMETRY]
    yield from _stored(parquet, wanted)
    yield from _described(column, crs)
    yield from _true(column, found)
    if wanted.startswith("1."):
        yield from _covered(parquet, column, found)
    yield from _physical(parquet)


def _stored(parquet: pq.ParquetFile, wanted: str) -> Iterator[Fault]:
    names = parquet.schema_arrow.names
    if GEOMETRY not in names:
        yield Outcome.FAILURE, "no geometry column", GEOMETRY, ", ".join(names[:20])
        return
    stored = next((c for c in map(parquet.schema.column, range(len(parquet.schema))) if c.path == GEOMETRY), None)
    if stored is None or stored.physical_type != "BYTE_ARRAY" or stored.max_repetition_level:
        kind = str(parquet.schema_arrow.field(GEOMETRY).type)
        yield Outcome.FAILURE, "geometry is not stored as binary", "BYTE_ARRAY at the root, not repeated", kind
        return
    native = "GEOMETRY" in str(stored.logical_type).upper()
    if native != wanted.startswith("2."):
        expected = "GEOMETRY" if wanted.startswith("2.") else "none"
        yield Outcome.FAILURE, "another logical type", expected, str(stored.logical_type)


def _described(column: dict[str, Any], crs: str) -> Iterator[Fault]:
    if column.get("encoding") not in _ENCODINGS:
        yield Outcome.FAILURE, "unknown encoding", "WKB", str(column.get("encoding"))
    if column.get("edges", "planar") not in _EDGES:
        yield Outcome.FAILURE, "unknown edges", "planar", str(column.get("edges"))
    if column.get("orientation", "counterclockwise") != "counterclockwise":
        yield Outcome.FAILURE, "unknown orientation", "counterclockwise", str(column.get("orientation"))
    # A missing CRS means OGC:CRS84; a null CRS means unknown.
    stated = column.get("crs", "OGC:CRS84")
    try:
        known = pyproj.CRS.from_user_input(stated) if stated else None
    except pyproj.exceptions.CRSError:
        known = None
    if known is None or not known.equals(pyproj.CRS.from_user_input(crs), ignore_axis_order=True):
        yield Outcome.FAILURE, "another CRS", crs, str(known.name if known is not None else stated)[:200]


def _true(column: dict[str, Any], found: Features) -> Iterator[Fault]:
    stated = column.get("geometry_types")
    if not isinstance(stated, list) or not set(stated) <= _TYPES:
        yield Outcome.FAILURE, "geometry_types is not a list of types", "GeoParquet type names", str(stated)
    elif stated and not set(found.types) <= set(stated):
        yield Outcome.FAILURE, "geometry_types lacks types that occur", str(sorted(stated)), str(sorted(found.types))
    elif set(stated) != set(found.types):
        yield (
            Outcome.WARNING,
            "geometry_types has unused types",
            str(sorted(found.types)),
            str(sorted(stated)),
        )
    if column.get("orientation") and found.clockwise.count:
        yield Outcome.FAILURE, "rings run the wrong way", "counterclockwise", _counted(found.clockwise)
    box = column.get("bbox")
    if found.bounds is None:
        return
    if box is None:
        yield Outcome.WARNING, "no bbox", str(list(found.bounds)), "none"
        return
    if not isinstance(box, list) or len(box) not in (4, 6) or not all(isinstance(side, int | float) for side in box):
        yield Outcome.FAILURE, "bbox is not four or six numbers", str(list(found.bounds)), str(box)
        return
    flat = box if len(box) == 4 else [box[0], box[1], box[3], box[4]]
    outside = any(a > b for a, b in zip(flat[:2], found.bounds[:2], strict=True)) or any(
        a < b for a, b in zip(flat[2:], found.bounds[2:], strict=True)
    )
    # A west greater than east crosses the antimeridian, where longitudes cannot be compared in this way.
    if outside and flat[0] <= flat[2]:
        yield Outcome.FAILURE, "geometry leaves the bbox", str(list(found.bounds)), str(box)
    elif not all(math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-6) for a, b in zip(flat, found.bounds, strict=True)):
        yield Outcome.WARNING, "the bbox is too large", str(list(found.bounds)), str(box)


def _covered(parquet: pq.ParquetFile, column: dict[str, Any], found: Features) -> Iterator[Fault]:
    schema = parquet.schema_arrow
    kind = schema.field(BBOX).type if BBOX in schema.names else None
    corners = [kind.field(n) for n in range(kind.num_fields)] if kind is not None and pa.types.is_struct(kind) else []
    if [field.name for field in corners] != list(CORNERS) or not all(pa.types.is_floating(f.type) for f in corners):
        yield Outcome.FAILURE, "no bbox column", f"a struct of {', '.join(CORNERS)}", str(kind or "missing")
        return
    stated = column.get("covering", {}).get("bbox") if isinstance(column.get("covering"), dict) else None
    if stated != {corner: [BBOX, corner] for corner in CORNERS}:
        yield Outcome.FAILURE, "no covering in the metadata", "covering.bbox with four paths", str(stated)
    if found.uncovered.count:
        yield (
            Outcome.FAILURE,
            "boxes do not contain their geometry",
            "every box does",
            _counted(found.uncovered),
        )
    metadata = parquet.metadata
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunks = [group.column(n) for n in range(group.num_columns)]
        without = [c.path_in_schema for c in chunks if c.path_in_schema.startswith(f"{BBOX}.") and not c.statistics]
        if without:
            yield (
                Outcome.WARNING,
                "boxes lack statistics to skip row groups by",
                "in each",
                f"row group {number}",
            )
            return


def _physical(parquet: pq.ParquetFile) -> Iterator[Fault]:
    metadata = parquet.metadata
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    longest = max((group.num_rows for group in groups), default=0)
    if longest > _MOST_GROUP_ROWS:
        yield Outcome.WARNING, "row groups are too long", f"at most {_MOST_GROUP_ROWS} rows", f"{longest} rows"
    largest = max((group.total_byte_size for group in groups if group.num_rows > 1), default=0)
    if largest > _MOST_GROUP_BYTES:
        yield Outcome.WARNING, "row groups are too big", f"at most {_MOST_GROUP_BYTES} bytes", f"{largest} bytes"
    codecs = {group.column(n).compression for group in groups for n in range(group.num_columns)}
    if codecs - {"ZSTD"}:
        yield Outcome.WARNING, "another compression", "ZSTD", ", ".join(sorted(codecs))


def _counted(finding: Any) -> str:
    return f"{finding.count} rows, such as {json.dumps(finding.examples[:1], ensure_ascii=False)}"
