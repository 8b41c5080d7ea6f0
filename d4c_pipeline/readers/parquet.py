"""Reads (Geo)Parquet with pyarrow in batches of bounded size: GDAL's wheel has no Parquet driver.

Metadata about geometry belongs to `geoparquet`. The geometries themselves are not parsed.
"""

# pyarrow.compute creates its functions at import, where type checkers do not see them.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.limits import Limits
from d4c_pipeline.model.processing import Processing, VectorProcessing
from d4c_pipeline.readers import geoarrow, geometry_text, geoparquet, parquet_bounds
from d4c_pipeline.readers.geoparquet import Shape
from d4c_pipeline.tables.native import GEOMETRY_FIELD, Native, exactly_unique, parse_crs, plain, plain_type, with_nulls

if TYPE_CHECKING:
    import pyproj

# Microseconds from 1970 that int64 holds in nanoseconds, less a day.
_WITHIN_NS = (1 << 63) // 1000 - 86_400_000_000


def read(path: Path, processing: Processing) -> Native:
    """Read a Parquet file; features get the geometry of one column, and other geometry columns are dropped.

    The geometry column is the declared column, else the primary column, else the only column that is described as
    geometry or (with a declared `crs`) has a usual name for WKB. The result has no geometry if columns with coordinates
    or SQL are declared to make it. Dictionaries are decoded, nested values become JSON text. Raises DataError for a
    broken file, a missing column, an unsupported encoding, and a missing CRS.
    """
    limits = Limits.from_environment()
    try:
        file = pq.ParquetFile(path)
        parquet_bounds.check(file, path, limits)
        unit = _unit_of_int96(path, file, limits)
        if unit != "ns":
            file = pq.ParquetFile(path, coerce_int96_timestamp_unit=unit)
        schema = file.schema_arrow  # pyarrow computes it at each access
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from error
    parquet_bounds.check_depth(schema, path, limits)
    shapes = geoparquet.shapes_of(file, schema)
    names: list[str] = schema.names
    report: dict[str, Any] = {} if unit == "ns" else {"int96_unit": unit}
    geometry, crs, encoding = -1, None, "WKB"
    if isinstance(processing, VectorProcessing):
        chosen = _chosen(processing, shapes, file, schema, path)
        if chosen is not None:
            geometry, crs = names.index(chosen), parse_crs(_crs(chosen, shapes, processing, path), path)
            report["geometry_column"] = chosen
            if chosen in shapes:
                encoding = shapes[chosen].encoding
                report |= {f"source_{fact}": value for fact, value in shapes[chosen].facts.items()}
            if encoding == "WKB" and not processing.override_crs:
                _check_srid(file, chosen, crs, path)
    coverings = geoparquet.coverings(file)
    # A column of text that is described as geometry stays a column, which may be declared as geometry_wkt.
    left_out = {
        at
        for at, name in enumerate(names)
        if name in coverings or (name in shapes and not pa.types.is_string(plain_type(schema.field(at).type)))
    }
    left_out |= {at for at, name in enumerate(names) if name in shapes and shapes[name].readable}
    if dropped := [names[at] for at in sorted(left_out) if at != geometry]:
        report["columns_left_out"] = dropped
    positions = [at for at in range(len(names)) if at != geometry and at not in left_out]
    unique = exactly_unique([names[at] for at in positions])
    kinds = [plain_type(schema.field(at).type) for at in positions]
    attributes = pa.schema(list(zip(unique, kinds, strict=True)))
    batches = _batches(file, path, positions, (geometry, encoding), attributes, processing.nulls)
    return Native(path.name, attributes, batches, crs, file.metadata.num_rows, report)


def _unit_of_int96(path: Path, file: pq.ParquetFile, limits: Limits) -> str:
    """Return the unit in which the moments of type INT96 fit into 64 bits: nanoseconds where possible.

    A day outside 1677-09-22 to 2262-04-10, such as Spark's 9999-12-31, wraps around in nanoseconds without an error.
    The file states no extremes of INT96, so these columns are read once more.
    """
    columns = [file.schema.column(at) for at in range(len(file.schema))]
    names = [column.path for column in columns if column.physical_type == "INT96"]
    if not names:
        return "ns"
    coarse = pq.ParquetFile(path, coerce_int96_timestamp_unit="us")
    parquet_bounds.check_depth(coarse.schema_arrow, path, limits)
    sizes = parquet_bounds.Batches(coarse, path)
    for group in range(coarse.num_row_groups):
        for batch in coarse.iter_batches(batch_size=sizes.rows(group), row_groups=[group], columns=names):
            for column in batch.columns:
                moments = _leaves(column).cast(pa.int64())
                if pc.any(pc.or_(pc.less(moments, -_WITHIN_NS), pc.greater(moments, _WITHIN_NS))).as_py():
                    return "us"
    return "ns"


def _leaves(column: pa.Array) -> pa.Array:
    # The moments within lists, which are all of a nested type here, since only their columns are read.
    while pa.types.is_nested(column.type):
        flat = column.flatten()
        column = pa.concat_arrays(map(_leaves, flat)) if isinstance(flat, list) else flat
    return column


def _batches(
    file: pq.ParquetFile,
    path: Path,
    positions: list[int],
    shape: tuple[int, str],
    attributes: pa.Schema,
    nulls: tuple[str, ...],
) -> Iterator[pa.RecordBatch]:
    # `shape`: position (-1 for none) and encoding of the geometry.
    geometry, encoding = shape
    schema = attributes if geometry < 0 else attributes.append(GEOMETRY_FIELD)
    sizes = parquet_bounds.Batches(file, path)
    for group in range(file.num_row_groups):
        try:
            iterator = file.iter_batches(batch_size=sizes.rows(group), row_groups=[group])
        except (pa.ArrowException, OSError) as error:
            raise _broken(path, error) from error
        while True:
            try:
                batch = next(iterator, None)
                if batch is None:
                    break
                arrays = [with_nulls(plain(batch.column(at)), nulls) for at in positions]
                if geometry >= 0:
                    column = batch.column(geometry)
                    wkb = encoding == "WKB"
                    arrays.append(
                        plain(column) if wkb else geoarrow.to_wkb(column, encoding, batch.schema.names[geometry])
                    )
                out = pa.record_batch(arrays, schema=schema)
            except (pa.ArrowException, OSError, UnicodeError) as error:
                raise _broken(path, error) from error
            yield out


def _chosen(
    processing: VectorProcessing, shapes: dict[str, Shape], file: pq.ParquetFile, schema: pa.Schema, path: Path
) -> str | None:
    name = processing.geometry_column
    if name is None:
        if processing.longitude is not None or processing.geometry_wkt is not None:
            return None
        name = geoparquet.primary(file, shapes) if shapes else _undescribed(processing, file, schema, path)
        if name is None and not shapes:
            return None
    there = ", ".join(shapes or schema.names[:30])
    if name is None:
        raise DataError(
            f"{path.name} has several geometry columns: {there}", "Declare the column to read as geometry_column"
        )
    position = schema.get_field_index(name)
    if position < 0:
        raise DataError(f"{path.name} has no column {name}; it has {there}", "Correct processing.geometry_column")
    kind, shape = plain_type(schema.field(position).type), shapes.get(name)
    textual = pa.types.is_string(kind) and not pa.types.is_nested(schema.field(position).type)
    if textual and not (shape is not None and shape.encoding in geoarrow.ENCODINGS):
        raise DataError(
            f"Column {name} of {path.name} is text, not WKB",
            f"Declare geometry_wkt: {name}, which reads Well-Known Text and hexadecimal WKB, with processing.crs",
        )
    if (shape is not None and not shape.readable) or (
        not pa.types.is_binary(kind) and (shape is None or shape.encoding == "WKB")
    ):
        found = shape.encoding if shape is not None and not shape.readable else schema.field(position).type
        raise DataError(
            f"Column {name} of {path.name} holds geometry as {found}, not WKB",
            "Declare another geometry_column, or have the publisher write WKB",
        )
    return name


def _undescribed(processing: VectorProcessing, file: pq.ParquetFile, schema: pa.Schema, path: Path) -> str | None:
    # The file does not describe geometry. SQL may make geometry of any column.
    if processing.sql is not None:
        return None
    names = geoparquet.likely(file, schema)
    if len(names) == 1 and processing.crs is not None:
        return names[0]
    if names:
        raise DataError(
            f"{path.name} states neither its geometry column nor its coordinate reference system;"
            f" the column may be {' or '.join(names)}",
            f"Declare processing.geometry_column: {names[0]} and processing.crs",
        )
    raise DataError(
        f"{path.name} does not state its geometry column; it has {', '.join(schema.names[:30])}",
        "Declare processing.geometry_column (of WKB) with processing.crs, geometry_wkt, or longitude and latitude; or"
        " kind: table",
    )


def _crs(column: str, shapes: dict[str, Shape], processing: VectorProcessing, path: Path) -> str:
    if processing.crs and processing.override_crs:
        return processing.crs
    stated = geoparquet.crs_of(shapes[column], path) if column in shapes else None
    if stated is None and processing.crs:
        return processing.crs
    if stated is None:
        raise DataError(
            f"{path.name} does not state the coordinate reference system of {column}", "Declare processing.crs"
        )
    return stated


def _check_srid(file: pq.ParquetFile, column: str, crs: pyproj.CRS, path: Path) -> None:
    # PostGIS writes the number of the system into each geometry (EWKB), and GEOS ignores it.
    batch = next(file.iter_batches(batch_size=1024, columns=[column]), None) if file.num_row_groups else None
    values = plain(batch.column(0)).drop_null() if batch is not None else pa.nulls(0)
    srid = geometry_text.srid_of(values[0].as_py()) if len(values) else None
    if srid is None:
        return
    from d4c_pipeline.geometry import projection  # noqa: PLC0415 - tables need no PROJ

    if not projection.same_crs(parse_crs(f"EPSG:{srid}", path), crs):
        raise DataError(
            f"The geometries in {column} of {path.name} have SRID={srid}, but the data's coordinate reference system is"
            f" {projection.crs_name(crs)}",
            "Declare the correct system as processing.crs with override_crs",
        )


def _broken(path: Path, error: Exception) -> DataError:
    return DataError(f"{path.name} can't be read: {' '.join(str(error).split())[:300]}", "Fetch the vintage again")
