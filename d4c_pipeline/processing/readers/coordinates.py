"""Tables that place their rows: columns with longitude and latitude, or one with Well-Known Text, made geometry.

Whatever reader the table came from; casting and what a coordinate may be is known elsewhere.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import VectorProcessing
from d4c_pipeline.processing import casting, points
from d4c_pipeline.processing.parallel import in_order
from d4c_pipeline.processing.readers.native import GEOMETRY_COLUMN, Native, parse_crs

_SRID = re.compile(r"\s*SRID=(\d+);", re.IGNORECASE)


def with_geometry(native: Native, processing: VectorProcessing, path: Path, *, threads: int | None = None) -> Native:
    """Return `native`, a table, with the geometry that the declared columns mean; EPSG:4326 unless declared otherwise.

    Longitude and latitude stay columns; a row that lacks either has no geometry (`incomplete_coordinates` counts those
    that lack one). The column with Well-Known Text is taken out; of `SRID=4326;POINT (...)` the number has to agree.
    Without declared columns it is returned as it is where SQL will make the geometry. Raises DataError for columns that
    are not there or not declared; going through the batches raises it for what is neither number nor geometry.
    `threads` changes the speed alone.
    """
    names = native.attributes.names
    if processing.longitude is not None and processing.latitude is not None:
        wanted = (processing.longitude, processing.latitude)
    elif processing.geometry_wkt is not None:
        wanted = (processing.geometry_wkt,)
    elif processing.sql is not None:
        return native
    else:
        raise DataError(
            f"{path.name} is text, and no columns with coordinates are declared",
            f"Declare processing.longitude and latitude, out of {', '.join(names[:30])}, or geometry_wkt",
        )
    for name in wanted:
        if name not in names:
            raise DataError(
                f"There is no column {name} to take coordinates from", f"Declare one of {', '.join(names[:30])}"
            )
    crs = parse_crs(processing.crs or "EPSG:4326", path)
    if len(wanted) == 2:
        native.report.update(coordinates_trimmed=0, incomplete_coordinates=0)
        fields = [pa.field(f.name, _bare_type(f.type)) if f.name in wanted else f for f in native.attributes]
        return replace(
            native,
            attributes=pa.schema(fields),
            batches=_with_points(native.batches, *wanted, native.report, threads),
            crs=crs,
        )
    position = names.index(wanted[0])
    authority = crs.to_authority()
    return replace(
        native,
        attributes=native.attributes.remove(position),
        batches=_with_parsed(native.batches, wanted[0], authority[1] if authority else ""),
        crs=crs,
    )


def _bare_type(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_large_string(kind) else kind


def _with_points(
    batches: Iterator[pa.RecordBatch], longitude: str, latitude: str, report: dict[str, Any], threads: int | None
) -> Iterator[pa.RecordBatch]:
    for batch, counts in in_order(lambda batch: _placed(batch, longitude, latitude), batches, threads):
        for name, count in counts.items():
            report[name] += count
        yield batch


def _placed(batch: pa.RecordBatch, longitude: str, latitude: str) -> tuple[pa.RecordBatch, dict[str, int]]:
    numbers: list[npt.NDArray[np.float64]] = []
    trimmed = 0
    for name in (longitude, latitude):
        bare, column, count = _coordinates(batch[name], name)
        trimmed += count
        if bare is not batch[name]:
            batch = batch.set_column(batch.schema.names.index(name), name, bare)
        numbers.append(column.to_numpy(zero_copy_only=False))
    x, y = numbers
    known = ~(np.isnan(x) | np.isnan(y))
    counts = {"coordinates_trimmed": trimmed, "incomplete_coordinates": int((np.isnan(x) ^ np.isnan(y)).sum())}
    return batch.append_column(GEOMETRY_COLUMN, points.write(np.stack([x, y]), known)), counts


def _coordinates(column: pa.Array, name: str) -> tuple[pa.Array, pa.Array, int]:
    # The column as it is kept, as numbers, and how many of its values had something cut off.
    # Coordinates once cut out of "45.1, -75.2" keep the separator (seen in ODCAF 1.0). It is taken off, and counted.
    if not pa.types.is_string(column.type):
        return column, casting.cast(column, "float", name), 0
    numbers = casting.plain_numbers(column)
    if numbers is not None:
        return column, numbers, 0
    bare = pc.replace_substring_regex(column, r"^[\s,;]+|[\s,;]+$", "")
    return bare, casting.cast(bare, "float", name), pc.sum(pc.not_equal(column, bare)).as_py() or 0


def _with_parsed(batches: Iterator[pa.RecordBatch], name: str, code: str) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        position = batch.schema.names.index(name)
        texts = batch.column(position).cast(pa.string()).to_pylist()
        geometry = pa.array(_parsed([_without_srid(text, code) for text in texts], name), pa.binary())
        yield batch.remove_column(position).append_column(GEOMETRY_COLUMN, geometry)


def _parsed(texts: list[str | None], name: str) -> Any:
    try:
        geometries = shapely.from_wkt(texts)
    except shapely.errors.GEOSException as error:
        example = next((text for text in texts if text is not None and not _is_wkt(text)), "")
        raise DataError(
            f"Column {name} has values that are no Well-Known Text: {example[:80]!r}",
            "Declare them as nulls, or another column as processing.geometry_wkt",
        ) from error
    return shapely.to_wkb(geometries, byte_order=1, output_dimension=4, flavor="iso")


def _is_wkt(text: str) -> bool:
    try:
        shapely.from_wkt(text)
    except shapely.errors.GEOSException:
        return False
    return True


def _without_srid(text: str | None, code: str) -> str | None:
    if text is None or not text.strip():
        return None
    found = _SRID.match(text)
    if found is None:
        return text
    if found[1] != code:
        raise DataError(
            f"A geometry says SRID={found[1]}, but the data's is {code or 'none'}", "Declare processing.crs"
        )
    return text[found.end() :]
