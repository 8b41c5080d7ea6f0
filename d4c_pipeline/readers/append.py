"""Several files or layers as one dataset: one after the other, columns brought together by name, types by rule.

Which files and layers these are is chosen elsewhere; nothing is renamed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.tables.native import Native, Part

# That many files are kept open; of more, each is opened a second time when it is its turn.
_OPEN = 48
_WIDTHS = (pa.int8(), pa.int16(), pa.int32(), pa.int64())
_REMEDY = "Declare a processing.member or layer that leaves it out, or have the publisher align the files"
_CRS_REMEDY = (
    "Declare a processing.member or layer that leaves it out and publish it as a dataset of its own; or, where a file"
    " states a wrong one, the right processing.crs with override_crs"
)


def append(parts: Sequence[Part]) -> Native:
    """Return the rows of all `parts` (one at least), in their order.

    Columns are those of all parts in order of appearance; where a part has none of a name, its rows have null. Whole
    numbers take the widest type that occurs, whole and decimal ones together float64 (a number that float64 can't hold
    stops the reading), anything with a column of nothing but nulls the other type. The report has the counts of all
    parts added up, what differs listed, `parts` (how many there are) and `empty_parts` (names). Raises DataError
    when types clash, coordinate reference systems differ, or only some parts have geometry.
    """
    opened = [part.open() for part in parts]
    first = opened[0]
    for part, native in zip(parts, opened, strict=True):
        if not _same_crs(first, native):
            raise DataError(
                f"{parts[0].origin} and {part.origin} can't be appended: the coordinate reference system of one is"
                f" {_crs_name(first)}, of the other {_crs_name(native)}",
                _REMEDY if None in (first.crs, native.crs) else _CRS_REMEDY,
            )
    attributes = _unified([(part.origin, native.attributes) for part, native in zip(parts, opened, strict=True)])
    known = [native.rows for native in opened]
    rows = sum(count for count in known if count is not None) if None not in known else None
    report: dict[str, Any] = {"parts": len(parts), "empty_parts": []}
    total = Native(f"{len(parts)} files or layers", attributes, iter(()), first.crs, rows, report)
    kept = opened if len(opened) <= _OPEN else None
    del opened, first
    return Native(total.name, attributes, _batches(parts, kept, total), total.crs, rows, report)


def _batches(parts: Sequence[Part], opened: list[Native] | None, total: Native) -> Iterator[pa.RecordBatch]:
    reports: list[dict[str, Any]] = []
    for number, part in enumerate(parts):
        native = opened[number] if opened is not None else part.open()
        count = 0
        for batch in native.batches:
            count += batch.num_rows
            yield _fitted(batch, total.schema, part.origin)
        if not count:
            total.report["empty_parts"].append(part.origin)
        reports.append(native.report)
    total.report.update(_added(reports))


def _fitted(batch: pa.RecordBatch, schema: pa.Schema, origin: str) -> pa.RecordBatch:
    there = {name: position for position, name in enumerate(batch.schema.names)}
    columns: list[pa.Array] = []
    for field in schema:
        position = there.get(field.name)
        if position is None:
            columns.append(pa.nulls(batch.num_rows, field.type))
            continue
        column = batch.column(position)
        try:
            columns.append(column if column.type == field.type else column.cast(field.type))
        except pa.ArrowInvalid as error:
            raise DataError(
                f"Column {field.name} of {origin} has values that {field.type} can't hold, which it needs beside the"
                f" others ({' '.join(str(error).split())[:200]})",
                _REMEDY,
            ) from error
    return pa.record_batch(columns, schema=schema)


def _unified(schemas: Sequence[tuple[str, pa.Schema]]) -> pa.Schema:
    kinds: dict[str, tuple[str, pa.DataType]] = {}
    clashes: list[str] = []
    for origin, schema in schemas:
        for field in schema:
            seen = kinds.setdefault(field.name, (origin, field.type))
            wider = _wider(seen[1], field.type)
            if wider is None:
                clashes.append(f"{field.name} is {seen[1]} in {seen[0]} and {field.type} in {origin}")
            elif wider != seen[1]:
                kinds[field.name] = (origin, wider)
    if clashes:
        more = f", and {len(clashes) - 5} more" if len(clashes) > 5 else ""
        raise DataError(f"Types clash: {'; '.join(clashes[:5])}{more}", _REMEDY)
    return pa.schema([(name, kind) for name, (_, kind) in kinds.items()])


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if one in _WIDTHS and other in _WIDTHS:
        return max(one, other, key=_WIDTHS.index)
    if _is_number(one) and _is_number(other):
        return pa.int64() if pa.types.is_integer(one) and pa.types.is_integer(other) else pa.float64()
    if pa.types.is_timestamp(one) and pa.types.is_timestamp(other) and one.tz == other.tz:
        return pa.timestamp("ns" if "ns" in (one.unit, other.unit) else "us", one.tz)
    return None


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _added(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    # Counts add up; of words, the one that all agree on, else all that occur.
    out: dict[str, Any] = {}
    for name in dict.fromkeys(name for report in reports for name in report):
        values = [report[name] for report in reports if name in report]
        if all(isinstance(value, int) for value in values):
            out[name] = sum(values)
        else:
            several = [value for position, value in enumerate(values) if value not in values[:position]]
            out[name] = several[0] if len(several) == 1 else several
    return out


def _same_crs(one: Native, other: Native) -> bool:
    if one.crs is None or other.crs is None:
        return one.crs is other.crs
    if one.crs == other.crs:
        return True
    from d4c_pipeline.geometry import projection  # noqa: PLC0415 - tables need no PROJ

    return projection.same_crs(one.crs, other.crs)


def _crs_name(native: Native) -> str:
    if native.crs is None:
        return "none"
    authority = native.crs.to_authority()
    return ":".join(authority) if authority else native.crs.name
