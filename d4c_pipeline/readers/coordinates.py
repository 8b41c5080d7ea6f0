"""Geometry of tables of any format, made from columns of longitude and latitude or from a column of geometry as text.

`angles` and `geometry_text` parse the spellings. `geometry` checks the coordinates.
"""

# pyarrow.compute creates its functions at import, where type checkers do not see them.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.geometry import points
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import VectorProcessing
from d4c_pipeline.readers import angles, geometry_text
from d4c_pipeline.readers.exact import null_texts
from d4c_pipeline.tables import casting
from d4c_pipeline.tables.names import snake_case
from d4c_pipeline.tables.native import GEOMETRY_COLUMN, Native, parse_crs, with_nulls
from d4c_pipeline.tables.parallel import in_order

_LATITUDES = frozenset({"lat", "latitude", "lat_dd", "latitude_dd", "dec_lat", "y_lat", "lat_wgs84"})
_LONGITUDES = frozenset({
    "lon", "long", "lng", "longitude", "lon_dd", "longitude_dd", "dec_long", "x_long", "lon_wgs84", "long_wgs84",
})  # fmt: skip
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_OTHER_TEXT = "or make the geometry in processing.sql, without geometry_wkt declared"
_OTHER_WAYS = "or make the geometry in processing.sql, with neither longitude nor latitude declared"


def with_geometry(native: Native, processing: VectorProcessing, path: Path, *, threads: int | None = None) -> Native:
    """Return the table `native` with the geometry of its declared columns, in EPSG:4326 unless declared otherwise.

    Longitude and latitude stay columns in their own spelling; `coordinates_as_dms` counts values in degrees, minutes
    and seconds. A row that lacks a coordinate has no geometry; `incomplete_coordinates` counts rows that lack only one.
    The column of geometry as text is removed; an SRID in it must match. Without declared columns, `native` is returned
    unchanged if SQL makes the geometry. Raises DataError for columns that are missing or not declared; the batches
    raise it for a value that is neither a number nor geometry. `threads` changes only the speed.
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
            f"Declare processing.longitude and latitude (of the columns {', '.join(names[:30])}), or geometry_wkt",
        )
    for name in wanted:
        if name not in names:
            raise DataError(
                f"{path.name} has no column {name} for coordinates", f"Declare one of {', '.join(names[:30])}"
            )
    crs = parse_crs(processing.crs or "EPSG:4326", path)
    if len(wanted) == 2:
        if snake_case(wanted[0]) in _LATITUDES and snake_case(wanted[1]) in _LONGITUDES:
            raise DataError(
                f"Column {wanted[0]} is declared as longitude and {wanted[1]} as latitude",
                f"Swap processing.longitude and latitude, {_OTHER_WAYS}, if the publisher swapped the names",
            )
        native.report.update(coordinates_trimmed=0, incomplete_coordinates=0)
        fields = [pa.field(f.name, _bare_type(f.type)) if f.name in wanted else f for f in native.attributes]
        return replace(
            native,
            attributes=pa.schema(fields),
            batches=_with_points(
                native.batches,
                _Columns(
                    wanted[0],
                    wanted[1],
                    null_texts(processing, wanted[0]),
                    null_texts(processing, wanted[1]),
                    processing.o_means,
                    crs.is_geographic,
                ),
                native.report,
                threads,
            ),
            crs=crs,
        )
    position = names.index(wanted[0])
    if pa.types.is_binary(native.attributes.field(position).type):
        raise DataError(
            f"Column {wanted[0]} of {path.name} holds bytes, not text",
            f"Declare it as geometry_column in place of geometry_wkt, with processing.crs, {_OTHER_TEXT}",
        )
    authority = crs.to_authority()
    return replace(
        native,
        attributes=native.attributes.remove(position),
        batches=_with_parsed(native.batches, wanted[0], authority[1] if authority else ""),
        crs=crs,
    )


def _bare_type(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_large_string(kind) else kind


@dataclass(frozen=True)
class _Columns:
    """The columns of coordinates and the rules for reading them.

    `no_longitude`, `no_latitude`: null texts of each column. `o_means`: meaning of the letter O. `angles`: whether
    their coordinate reference system is geographic.
    """

    longitude: str
    latitude: str
    no_longitude: tuple[str, ...]
    no_latitude: tuple[str, ...]
    o_means: str | None
    angles: bool


def _with_points(
    batches: Iterator[pa.RecordBatch], columns: _Columns, report: dict[str, Any], threads: int | None
) -> Iterator[pa.RecordBatch]:
    for batch, counts in in_order(lambda batch: _placed(batch, columns), batches, threads):
        for name, count in counts.items():
            report[name] = report.get(name, 0) + count
        yield batch


def _placed(batch: pa.RecordBatch, columns: _Columns) -> tuple[pa.RecordBatch, dict[str, int]]:
    numbers: list[npt.NDArray[np.float64]] = []
    counts: Counter[str] = Counter()
    axes: tuple[tuple[str, angles.Axis, tuple[str, ...]], ...] = (
        (columns.longitude, "longitude", columns.no_longitude),
        (columns.latitude, "latitude", columns.no_latitude),
    )
    for name, axis, nulls in axes:
        own = with_nulls(batch[name], nulls, numeric=True)
        bare, column, noticed = _coordinates(own, name, axis, columns)
        counts.update(noticed)
        if bare is not batch[name]:
            batch = batch.set_column(batch.schema.names.index(name), name, bare)
        numbers.append(column.to_numpy(zero_copy_only=False))
    x, y = numbers
    known = ~(np.isnan(x) | np.isnan(y))
    counts["incomplete_coordinates"] = int((np.isnan(x) ^ np.isnan(y)).sum())
    return batch.append_column(GEOMETRY_COLUMN, points.write(np.stack([x, y]), known)), counts


def _coordinates(
    column: pa.Array, name: str, axis: angles.Axis, columns: _Columns
) -> tuple[pa.Array, pa.Array, dict[str, int]]:
    # Returns the column to keep, its numbers, and the counts of trimmed values and of angles. Coordinates cut out of
    # "45.1, -75.2" keep the separator (in ODCAF 1.0, for example), which is trimmed.
    column = column.cast(pa.string()) if pa.types.is_large_string(column.type) else column
    if not pa.types.is_string(column.type):
        return column, casting.cast(column, "float", name), {}
    numbers = casting.plain_numbers(column)
    if numbers is not None:
        return column, numbers, {}
    bare = pc.replace_substring_regex(column, r"^[\s,;]+|[\s,;]+$", "")
    counts = {"coordinates_trimmed": pc.sum(pc.not_equal(column, bare)).as_py() or 0}
    known = pc.if_else(pc.equal(bare, ""), pa.scalar(None, pa.string()), bare)
    angular = pc.invert(casting.written_as(known, "float"))
    if not pc.any(angular).as_py():
        return bare, casting.cast(bare, "float", name), counts
    distinct = pc.unique(known.filter(angular))
    values = pa.array([_degrees(text, name, axis, columns) for text in distinct.to_pylist()], pa.float64())
    plain = casting.cast(pc.if_else(angular, pa.scalar(None, pa.string()), known), "float", name)
    counts["coordinates_as_dms"] = pc.sum(angular).as_py()
    return bare, pc.coalesce(values.take(pc.index_in(known, distinct)), plain), counts


def _degrees(text: str, name: str, axis: angles.Axis, columns: _Columns) -> float:
    try:
        value = angles.degrees(text, axis, columns.o_means)
    except angles.AngleError as error:
        remedy = f"Declare it in nulls (of processing, or of the column), {_OTHER_WAYS}"
        if _DECIMAL_COMMA.fullmatch(text):
            remedy = "Declare processing.decimal: ',' if the comma is a decimal mark"
        raise DataError(f"Column {name} has the value {text[:80]!r}: {error}", remedy) from error
    if not columns.angles:
        raise DataError(
            f"Column {name} has the value {text[:80]!r}, an angle, but the declared coordinate reference system is"
            " projected",
            "Declare a geographic processing.crs (EPSG:4326, EPSG:4269)",
        )
    return value


def _with_parsed(batches: Iterator[pa.RecordBatch], name: str, code: str) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        position = batch.schema.names.index(name)
        texts = batch.column(position).cast(pa.string()).to_pylist()
        geometry = pa.array(_parsed(texts, name, code), pa.binary())
        yield batch.remove_column(position).append_column(GEOMETRY_COLUMN, geometry)


def _parsed(texts: list[str | None], name: str, code: str) -> Any:
    try:
        return geometry_text.to_wkb(texts, code)
    except geometry_text.GeometryTextError as error:
        if error.srid is not None:
            raise DataError(
                f"A geometry of column {name} states SRID={error.srid}, but the SRID of the data is {code or 'none'}",
                f"Declare processing.crs: EPSG:{error.srid} if it is right for all geometries, {_OTHER_TEXT}",
            ) from error
        raise DataError(
            f"Column {name} has values that are not Well-Known Text, hexadecimal WKB or GeoJSON: {str(error)[:80]!r}",
            f"Declare them as nulls, or another column as processing.geometry_wkt, {_OTHER_TEXT}",
        ) from error
