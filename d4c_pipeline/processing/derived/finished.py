"""Reads finished data as a stream of record batches in the types of another format.

Each kind of format has a function here that maps the types; the format's module writes the file.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from datetime import time as clock
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyproj
import shapely

from d4c_pipeline.model.data_files import Files, listed
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.tables.arrays import as_arrow

# Small enough to keep ten thousand boundaries out of memory, large enough for Arrow to be efficient.
_BATCH_ROWS = 4_096
_MOST_DIGITS_OF_A_DOUBLE = 15
_MOST_DIGITS_OF_AN_INTEGER = 18

Convert = Callable[[pa.Array], pa.Array]


@dataclass(frozen=True)
class Finished:
    """A data artifact: its files in order, its columns, and the facts of its `geo` metadata.

    `attributes`: all columns except the geometry and its covering. `crs` is None for tables. `types` are GeoParquet's
    names of geometry types; `bounds` are xmin, ymin, xmax, ymax in the CRS, None when no row has geometry.
    """

    paths: tuple[Path, ...]
    schema: pa.Schema
    rows: int
    attributes: tuple[str, ...]
    geometry: str | None
    crs: pyproj.CRS | None
    types: tuple[str, ...]
    bounds: tuple[float, float, float, float] | None

    @classmethod
    def open(cls, data: Files) -> Finished:
        """Read the footers of `data`. Raises DataError for a file that is not readable Parquet."""
        paths = listed(data)
        files = [_footer(path) for path in paths]
        schema = files[0][0]
        geo = [json.loads((each.metadata or {}).get(b"geo", b"{}")) for each, _ in files]
        name = geo[0].get("primary_column")
        described: list[dict[str, Any]] = [part["columns"][name] for part in geo if name in part.get("columns", {})]
        covering = {corner[0] for part in described for corner in part.get("covering", {}).get("bbox", {}).values()}
        boxes = [part["bbox"] for part in described if part.get("bbox")]
        return cls(
            paths,
            schema,
            sum(rows for _, rows in files),
            tuple(column for column in schema.names if column != name and column not in covering),
            name,
            _crs(described[0]) if described else None,
            tuple(sorted({kind for part in described for kind in part.get("geometry_types", ())})),
            _union(boxes) if boxes else None,
        )

    @property
    def crs_text(self) -> str | None:
        """The CRS as `EPSG:n` where it has a code, else as WKT; None for tables."""
        if self.crs is None:
            return None
        authority = self.crs.to_authority()
        return ":".join(authority) if authority else self.crs.to_wkt()

    @property
    def one_type(self) -> str:
        """The geometry type of all rows, `Unknown` for several types or none."""
        return self.types[0] if len(self.types) == 1 else "Unknown"

    def stream(
        self,
        attributes: Sequence[str],
        types: Callable[[pa.DataType], tuple[pa.DataType, Convert]],
        *,
        geometry: bool = True,
        located_only: bool = False,
        number: str | None = None,
    ) -> pa.RecordBatchReader:
        """Return the rows as a stream: `attributes` in that order, converted by `types`, then the geometry as WKB.

        `types` maps an Arrow type to the target type and the conversion. `located_only` leaves out rows without
        geometry or with an empty one. `number`: the name of a first column with the row's number in all files, from 1,
        as a double. A few thousand rows are in memory at a time.
        """
        converts = {name: types(self.schema.field(name).type) for name in attributes}
        fields = [pa.field(name, converts[name][0]) for name in attributes]
        if number is not None:
            fields.insert(0, pa.field(number, pa.float64()))
        wanted = list(attributes)
        if geometry and self.geometry is not None:
            fields.append(pa.field(self.geometry, pa.binary()))
            wanted.append(self.geometry)
        schema = pa.schema(fields)
        batches = self._batches(schema, wanted, converts, located_only, numbered=number is not None)
        return pa.RecordBatchReader.from_batches(schema, batches)

    def _batches(
        self,
        schema: pa.Schema,
        wanted: list[str],
        converts: dict[str, tuple[pa.DataType, Convert]],
        located_only: bool,
        *,
        numbered: bool,
    ) -> Iterator[pa.RecordBatch]:
        start = 1
        for path in self.paths:
            with pq.ParquetFile(path) as file:
                # One reader per row group: a reader over all row groups keeps in memory what it has read.
                groups = range(file.metadata.num_row_groups)
                for batch in chain.from_iterable(
                    file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted, row_groups=[group]) for group in groups
                ):
                    rows = batch.select(wanted)
                    numbers = pa.array(np.arange(start, start + rows.num_rows, dtype=np.float64))
                    start += rows.num_rows
                    if located_only and self.geometry is not None:
                        located = _located(rows.column(self.geometry))
                        rows, numbers = rows.filter(located), numbers.filter(located)
                    arrays = [
                        converts[name][1](rows.column(name)) if name in converts else _wkb(rows.column(name))
                        for name in wanted
                    ]
                    yield pa.RecordBatch.from_arrays([numbers, *arrays] if numbered else arrays, schema=schema)


def for_desktop(kind: pa.DataType) -> tuple[pa.DataType, Convert]:
    """Types that OGR's drivers keep: times of day and nested values become text, decimals lose the least."""
    if pa.types.is_date(kind):
        return _cast(pa.date32())
    if pa.types.is_timestamp(kind):
        # GeoPackage and FlatGeobuf hold milliseconds.
        stored = pa.timestamp("ms", "UTC" if kind.tz else None)
        return stored, lambda values: _milliseconds(values, stored)
    if pa.types.is_uint64(kind):
        return _cast(pa.string())
    if pa.types.is_decimal(kind):
        if kind.scale == 0 and kind.precision <= _MOST_DIGITS_OF_AN_INTEGER:
            return _cast(pa.int64())
        return _cast(pa.float64() if kind.precision <= _MOST_DIGITS_OF_A_DOUBLE else pa.string())
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or _is_binary(kind):
        return _cast(pa.binary() if _is_binary(kind) else kind)
    if pa.types.is_floating(kind):
        return _cast(pa.float32() if pa.types.is_float16(kind) else kind)
    return for_text(kind)


def for_tiles(kind: pa.DataType) -> tuple[pa.DataType, Convert]:
    """Types of vector tiles: booleans, numbers as doubles (integers are written as integers), text for all others.

    tippecanoe turns every other number of a FlatGeobuf into text, and NaN into a tileset that no reader opens.
    """
    if pa.types.is_boolean(kind):
        return _cast(kind)
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        # Converted through text, 0.1 stays 0.1.
        return pa.float64(), lambda values: _finite(values.cast(pa.float32()).cast(pa.string()).cast(pa.float64()))
    shown, convert = for_desktop(kind)
    if pa.types.is_floating(shown) or pa.types.is_integer(shown):
        return pa.float64(), lambda values: _finite(convert(values).cast(pa.float64(), safe=False))
    return for_text(kind)


def for_csv(kind: pa.DataType) -> tuple[pa.DataType, Convert]:
    """Numbers and booleans unchanged, all other types as text."""
    plain = pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return _cast(kind) if plain or pa.types.is_decimal(kind) else for_text(kind)


def for_text(kind: pa.DataType) -> tuple[pa.DataType, Convert]:
    """Text: dates and times in ISO 8601 (UTC with `Z`), bytes in hexadecimal, nested values as JSON."""
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        return pa.string(), lambda values: _iso(values, kind)
    if _is_binary(kind):
        return pa.string(), lambda values: _each(values, bytes.hex)
    if pa.types.is_nested(kind):
        return pa.string(), lambda values: _each(values, _as_json)
    return _cast(pa.string())


def _cast(kind: pa.DataType) -> tuple[pa.DataType, Convert]:
    # An unsafe cast may drop digits below the millisecond.
    return kind, lambda values: values.cast(kind, safe=False)


def _milliseconds(values: pa.Array, stored: pa.DataType) -> pa.Array:
    finer = {"us": 1_000, "ns": 1_000_000}.get(values.type.unit)
    if finer is None:
        return values.cast(stored)
    # A cast cuts toward 1970: the last microsecond of 1969 would become the first day of 1970.
    whole = values.cast(pa.int64()).fill_null(0).to_numpy() // finer
    missing = values.is_null().to_numpy(zero_copy_only=False)
    return as_arrow(whole, missing).cast(stored)


def _finite(values: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))


def _iso(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(kind) and kind.tz:
        values = values.cast(pa.timestamp(kind.unit, "UTC"))
    text = pc.replace_substring(values.cast(pa.string()), " ", "T")
    # 01:02:03.450000Z is 01:02:03.45Z; 01:02:03.000000 is 01:02:03.
    text = pc.replace_substring_regex(text, r"(\.\d*?)0+(Z?)$", r"\1\2")
    return pc.replace_substring_regex(text, r"\.(Z?)$", r"\1")


def _each(values: pa.Array, convert: Callable[[Any], str]) -> pa.Array:
    return pa.array([None if value is None else convert(value) for value in values.to_pylist()], pa.string())


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_within_json)


def _within_json(value: Any) -> str:
    # The forms that values have outside of lists.
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value.tzinfo else value.isoformat()
    return value.isoformat() if isinstance(value, date | clock) else str(value)


def _is_binary(kind: pa.DataType) -> bool:
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _wkb(values: pa.Array) -> pa.Array:
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    return values.cast(pa.binary())


def _located(values: pa.Array) -> pa.Array:
    # No index holds an empty geometry: it has no place.
    shapes = shapely.from_wkb(_wkb(values).to_numpy(zero_copy_only=False), on_invalid="ignore")
    return as_arrow(~shapely.is_missing(shapes) & ~shapely.is_empty(shapes))


def _footer(path: Path) -> tuple[pa.Schema, int]:
    try:
        with pq.ParquetFile(path) as file:
            return file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path.name} is not a readable Parquet file: {error}", "Build it again") from error


def _crs(column: dict[str, Any]) -> pyproj.CRS:
    # A missing CRS means OGC:CRS84, which readers treat as EPSG:4326 in x, y order.
    stated = column.get("crs")
    return pyproj.CRS.from_json_dict(stated) if stated else pyproj.CRS.from_epsg(4326)


def _union(boxes: list[list[float]]) -> tuple[float, float, float, float]:
    flat = [(box[0], box[1], box[len(box) // 2], box[len(box) // 2 + 1]) for box in boxes]
    west, south, east, north = zip(*flat, strict=True)
    return min(west), min(south), max(east), max(north)
