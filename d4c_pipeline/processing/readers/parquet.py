"""(Geo)Parquet as a source, read with pyarrow in batches of bounded size: GDAL's wheel has no Parquet driver.

What the file says of its geometry is understood here (https://geoparquet.org/releases/v1.1.0/); the geometry itself is
not looked into.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Processing, VectorProcessing
from d4c_pipeline.processing.readers.native import (
    GEOMETRY_FIELD,
    Native,
    exactly_unique,
    parse_crs,
    plain,
    plain_type,
    with_nulls,
)

_BATCH_BYTES = 32 << 20
_BATCH_ROWS = 16_384
# What the absence of a crs means by the specification; null means that nobody knows.
_DEFAULT_CRS = "OGC:CRS84"


def read(path: Path, processing: Processing) -> Native:
    """Read a Parquet file; for features with the geometry of one column, the others of that kind left out.

    Which column: the declared one, else the one the file calls primary, else the only one. Without any, for features
    too, what is returned has no geometry. Dictionaries are decoded, nested values become JSON text. Raises DataError
    for a broken file, no such column, an encoding other than WKB, and a CRS that is not stated.
    """
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from error
    schema = file.schema_arrow  # made anew each time it is asked for
    shapes = _geometry_columns(file, schema)
    names: list[str] = schema.names
    report: dict[str, Any] = {}
    geometry, crs = -1, None
    if isinstance(processing, VectorProcessing):
        chosen = _chosen(processing, shapes, file, schema, path)
        if chosen is not None:
            geometry, crs = names.index(chosen), parse_crs(_crs(chosen, shapes, processing, path), path)
            report["geometry_column"] = chosen
    coverings = _coverings(file)
    left_out = {at for at, name in enumerate(names) if name in shapes or name in coverings}
    if dropped := [names[at] for at in sorted(left_out) if at != geometry]:
        report["columns_left_out"] = dropped
    positions = [at for at in range(len(names)) if at != geometry and at not in left_out]
    unique = exactly_unique([names[at] for at in positions])
    kinds = [plain_type(schema.field(at).type) for at in positions]
    attributes = pa.schema(list(zip(unique, kinds, strict=True)))
    batches = _batches(file, path, positions, geometry, attributes, processing.nulls)
    return Native(path.name, attributes, batches, crs, file.metadata.num_rows, report)


def _batches(
    file: pq.ParquetFile, path: Path, positions: list[int], geometry: int, attributes: pa.Schema, nulls: tuple[str, ...]
) -> Iterator[pa.RecordBatch]:
    schema = attributes if geometry < 0 else attributes.append(GEOMETRY_FIELD)
    for group in range(file.num_row_groups):
        described = file.metadata.row_group(group)
        # Text of more than 2 GiB does not fit into one array: rows are taken by what they weigh.
        rows = max(1, min(_BATCH_ROWS, described.num_rows * _BATCH_BYTES // max(described.total_byte_size, 1)))
        iterator = file.iter_batches(batch_size=rows, row_groups=[group])
        while True:
            try:
                batch = next(iterator, None)
                if batch is None:
                    break
                arrays = [with_nulls(plain(batch.column(at)), nulls) for at in positions]
                if geometry >= 0:
                    arrays.append(plain(batch.column(geometry)))
                out = pa.record_batch(arrays, schema=schema)
            except (pa.ArrowException, OSError, UnicodeError) as error:
                raise _broken(path, error) from error
            yield out


def _geo(file: pq.ParquetFile) -> dict[str, Any]:
    try:
        geo = json.loads((file.metadata.metadata or {}).get(b"geo", b"{}"))
    except ValueError:
        return {}
    return geo if isinstance(geo, dict) else {}


def _geometry_columns(file: pq.ParquetFile, schema: pa.Schema) -> dict[str, dict[str, Any]]:
    # Those that the metadata describe, and those of Parquet's own type GEOMETRY (GeoParquet 2.0).
    found: dict[str, dict[str, Any]] = {
        name: column for name, column in _geo(file).get("columns", {}).items() if name in schema.names
    }
    for field in schema:
        extension = (field.metadata or {}).get(b"ARROW:extension:name", b"")
        if isinstance(field.type, pa.BaseExtensionType):
            extension = field.type.extension_name.encode()
        if extension == b"geoarrow.wkb":
            found.setdefault(field.name, {"encoding": "WKB"})
    return found


def _coverings(file: pq.ParquetFile) -> set[str]:
    # Boxes that repeat the geometry for the sake of queries; they are made anew.
    columns = _geo(file).get("columns", {}).values()
    boxes = [column.get("covering", {}).get("bbox", {}) for column in columns]
    return {str(box["xmin"][0]) for box in boxes if box.get("xmin")}


def _chosen(
    processing: VectorProcessing, shapes: dict[str, dict[str, Any]], file: pq.ParquetFile, schema: pa.Schema, path: Path
) -> str | None:
    wanted = processing.geometry_column
    if wanted is None:
        if processing.longitude is not None or processing.geometry_wkt is not None or not shapes:
            return None
        wanted = _geo(file).get("primary_column") or (next(iter(shapes)) if len(shapes) == 1 else None)
    there = ", ".join(shapes or schema.names[:30])
    if wanted is None:
        raise DataError(
            f"{path.name} has several geometry columns: {there}", "Declare the one to take as geometry_column"
        )
    position = schema.get_field_index(wanted)
    if position < 0:
        raise DataError(f"{path.name} has no column {wanted}; it has {there}", "Correct processing.geometry_column")
    kind = plain_type(schema.field(position).type)
    if not pa.types.is_binary(kind) or shapes.get(wanted, {}).get("encoding", "WKB") != "WKB":
        raise DataError(
            f"Column {wanted} of {path.name} holds geometry as {shapes.get(wanted, {}).get('encoding', kind)}, not WKB",
            "Declare another geometry_column, or have the publisher write WKB",
        )
    return wanted


def _crs(column: str, shapes: dict[str, dict[str, Any]], processing: VectorProcessing, path: Path) -> str:
    described = shapes.get(column)
    stated = None if described is None else described.get("crs", _DEFAULT_CRS)
    if processing.crs and (processing.override_crs or stated is None):
        return processing.crs
    if stated is None:
        raise DataError(
            f"{path.name} does not say the coordinate reference system of {column}", "Declare processing.crs"
        )
    return stated if isinstance(stated, str) else json.dumps(stated)


def _broken(path: Path, error: Exception) -> DataError:
    return DataError(f"{path.name} can't be read: {' '.join(str(error).split())[:300]}", "Fetch the vintage again")
