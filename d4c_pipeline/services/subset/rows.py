"""Reads the rows of a plan in the order of the release, as blocks of attributes and geometries.

DuckDB prunes row groups by the covering and applies the filter; GEOS decides about geometries whose boxes leave it
open, exactly as geopandas does. Blocks have a fixed number of rows, so that equal requests give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely
import shapely.errors

from d4c_pipeline.geometry import antimeridian
from d4c_pipeline.model.errors import D4CError, IntegrityError, OverdueError, PermanentError
from d4c_pipeline.services.subset.area import moved_geometries
from d4c_pipeline.services.subset.engine import Engine
from d4c_pipeline.services.subset.plan import Plan
from d4c_pipeline.services.subset.source import Box, Source, column_sql, is_remote, unreadable
from d4c_pipeline.tables.arrays import as_arrow
from d4c_pipeline.tables.duckdb_engine import first_sentence
from d4c_pipeline.tables.sql_names import identifier

_BLOCK_BYTES = 8 << 20
_LEAST_ROWS, _MOST_ROWS = 2_048, 65_536
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Block:
    """Rows: `attributes` in the types of the plan's schema, and WKB (None without geometry)."""

    attributes: pa.RecordBatch
    wkb: pa.Array | None

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.attributes.num_rows

    @cached_property
    def shapes(self) -> npt.NDArray[np.object_]:
        """The geometries."""
        return np.empty(0, object) if self.wkb is None else _shapes(self.wkb)


def blocks(plan: Plan, engine: Engine, seconds: float | None = None) -> Iterator[Block]:
    """Yield the rows of `plan` in blocks of equal size, the last one smaller; no block without rows.

    Raises PermanentError when the filter fails on a value, OverdueError when one block takes more than `seconds`,
    IntegrityError when the data can't be read, and as `unreadable`.
    """
    size = block_rows(plan)
    waiting: list[Block] = []
    count = 0
    for block in _found(plan, engine, seconds):
        waiting.append(block)
        count += block.rows
        while count >= size:
            whole, rest = _cut(waiting, size)
            yield whole
            waiting, count = ([rest], rest.rows) if rest.rows else ([], 0)
    if count:
        yield _cut(waiting, count)[0]


def block_rows(plan: Plan) -> int:
    """Return the rows of a block: about 8 MiB, estimated from the compressed size of the row groups."""
    average = max(plan.bytes * 2 // max(plan.rows, 1), 1)
    rows = _BLOCK_BYTES // average // _LEAST_ROWS * _LEAST_ROWS
    return max(_LEAST_ROWS, min(rows, _MOST_ROWS))


def _cut(waiting: list[Block], size: int) -> tuple[Block, Block]:
    attributes = pa.Table.from_batches([each.attributes for each in waiting])
    first = _batch(attributes.slice(0, size), attributes.schema, size)
    total = sum(each.rows for each in waiting)
    rest = _batch(attributes.slice(size), attributes.schema, total - size)
    if waiting[0].wkb is None:
        return Block(first, None), Block(rest, None)
    arrays = [each.wkb for each in waiting if each.wkb is not None]
    wkb = arrays[0] if len(arrays) == 1 else pa.concat_arrays(arrays)
    return Block(first, wkb.slice(0, size)), Block(rest, wkb.slice(size))


def _batch(table: pa.Table, schema: pa.Schema, rows: int) -> pa.RecordBatch:
    if not schema.names:  # only the geometry was asked for; a table without columns has no rows
        return _rows_only(rows)
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema)


def _rows_only(rows: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))


def _found(plan: Plan, engine: Engine, seconds: float | None) -> Iterator[Block]:
    sql, parameters = statement(plan)
    with engine.cursor() as cursor:
        try:
            with engine.limited(cursor, seconds):
                reader = cursor.execute(sql, parameters).to_arrow_reader(block_rows(plan))
            while True:
                with engine.limited(cursor, seconds):  # not while a slow reader takes what is made
                    batch = next(reader, None)
                if batch is None:
                    return
                block = _block(plan, batch)
                if block.rows:
                    yield block
        except duckdb.Error as error:
            raise _explained(error, plan) from error


def statement(plan: Plan) -> tuple[str, list[Any]]:
    """Return the SQL of a plan and its parameters: attributes as c0, c1, ..., geometry as g, the covering as xmin..."""
    source = plan.source
    chosen = [f"{identifier(name)} AS c{number}" for number, name in enumerate(plan.attributes)]
    if source.geometry is not None and (plan.geometry is not None or plan.region is not None):
        chosen.append(f"{column_sql(source, source.geometry)} AS g")
        if source.covering is not None and plan.region is not None:
            chosen += [f"{identifier(source.covering)}.{corner} AS {corner}" for corner in _CORNERS]
    conditions: list[str] = []
    parameters: list[Any] = []
    if plan.region is not None:
        boxes = plan.region.boxes
        if source.covering is not None:
            conditions.append(f"({' OR '.join(_overlap(source, box) for box in boxes)})" if boxes else "false")
        else:
            conditions.append("g IS NOT NULL" if boxes else "false")
    if plan.condition is not None:
        conditions.append(f"({plan.condition.sql})")
        parameters += plan.condition.parameters
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {', '.join(chosen) or '1 AS nothing'} FROM {source.table}{where}", parameters


def _overlap(source: Source, box: Box) -> str:
    # Constants in the type of the covering, rounded outward: a cast of the column would keep row groups from pruning.
    kind = np.float32 if source.covering_type == "FLOAT" else np.float64
    west, south = (_beyond(kind(value), value, -np.inf) for value in box[:2])
    east, north = (_beyond(kind(value), value, np.inf) for value in box[2:])
    column = identifier(source.covering or "")
    sides = (("xmin", "<=", east), ("xmax", ">=", west), ("ymin", "<=", north), ("ymax", ">=", south))
    tests = [f"{column}.{name} {sign} {float(value)!r}::{source.covering_type}" for name, sign, value in sides]
    return f"({' AND '.join(tests)})"


def _beyond(rounded: Any, exact: float, direction: float) -> Any:
    inside = rounded < exact if direction > 0 else rounded > exact
    return np.nextafter(rounded, type(rounded)(direction)) if inside else rounded


def _block(plan: Plan, batch: pa.RecordBatch) -> Block:
    wkb = _storage(batch.column("g")).cast(pa.binary()) if "g" in batch.schema.names else None
    shapes = None
    if plan.region is not None and wkb is not None:
        keep, shapes = _kept(plan, batch, wkb)
        batch, wkb = batch.filter(keep), wkb.filter(keep)
        shapes = shapes[keep.to_numpy(zero_copy_only=False)] if shapes is not None else None
    arrays = [_typed(batch.column(number), field.type, field.name) for number, field in enumerate(plan.schema)]
    attributes = pa.RecordBatch.from_arrays(arrays, schema=plan.schema) if arrays else _rows_only(batch.num_rows)
    if plan.geometry is None or wkb is None:
        return Block(attributes, None)
    if plan.moves and plan.crs is not None and plan.source.crs is not None:
        moved = moved_geometries(_shapes(wkb) if shapes is None else shapes, plan.source.crs, plan.crs)
        if plan.crs.is_geographic:
            for row in antimeridian.crossing(moved, shapely.bounds(moved)):
                moved[row] = antimeridian.split(moved[row])
        wkb = pa.array(shapely.to_wkb(moved, flavor="iso", byte_order=1), pa.binary())
    return Block(attributes, wkb)


def _kept(plan: Plan, batch: pa.RecordBatch, wkb: pa.Array) -> tuple[pa.Array, npt.NDArray[np.object_] | None]:
    """Return which rows intersect the region, and their geometries if all of them had to be read."""
    region = plan.region
    assert region is not None  # noqa: S101 - the caller's condition
    if plan.source.covering is None:
        shapes = _shapes(wkb)
        return as_arrow(region.intersects(shapes)), shapes
    bounds = np.column_stack(
        [batch.column(corner).cast(pa.float64()).to_numpy(zero_copy_only=False) for corner in _CORNERS]
    )
    keep = region.surely(bounds)
    open_rows = np.flatnonzero(~keep)
    if len(open_rows):
        keep[open_rows] = region.intersects(_shapes(wkb.take(pa.array(open_rows))))
    return as_arrow(keep), None


def _typed(column: pa.Array, kind: pa.DataType, name: str) -> pa.Array:
    column = _storage(column)
    if column.type == kind:
        return column
    if pa.types.is_null(kind):  # a column without any value: DuckDB reads it as integers
        return pa.nulls(len(column))
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise IntegrityError(f"The values of {name} are not of type {kind}: {error}", "Tell the operator") from error


def _storage(column: pa.Array) -> pa.Array:
    return column.storage if isinstance(column, pa.ExtensionArray) else column


def _shapes(wkb: pa.Array) -> npt.NDArray[np.object_]:
    try:
        return shapely.from_wkb(wkb.to_numpy(zero_copy_only=False))
    except shapely.errors.GEOSException as error:
        raise IntegrityError(f"A geometry of the data can't be read: {error}", "Tell the operator") from error


def _explained(error: duckdb.Error, plan: Plan) -> D4CError:
    files = plan.source.files
    if isinstance(error, duckdb.InterruptException):
        return OverdueError("The subset took too long", "Name a smaller area or fewer columns, or ask for a job")
    message = first_sentence(error)
    # DuckDB has the same class for a pattern that is wrong and for a page that is damaged; of that it names the file.
    of_filter = isinstance(error, duckdb.DataError | duckdb.InvalidInputException)
    if plan.condition is not None and of_filter and not any(file in message for file in files):
        return PermanentError(f"The filter failed: {message}", "Correct the filter")
    return unreadable(error, "A file of the release", remote=any(map(is_remote, files)))
