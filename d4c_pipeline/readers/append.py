"""Concatenation of files or layers into one dataset: columns are matched by name, types are unified by rule.

`inputs` chooses the files, `vector` the layers. A column is renamed here only to the spelling of another file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.tables.native import Native, Part

# Up to this number, files stay open; of more, each file is opened again when its rows are read.
_OPEN = 48
_WIDTHS = (pa.int8(), pa.int16(), pa.int32(), pa.int64())
_REMEDY = "Declare a processing.member or layer that excludes it, or have the publisher align the files"
_CRS_REMEDY = (
    "Declare a processing.member or layer that excludes it and publish it as a separate dataset; or, if a file states a"
    " wrong system, declare the right processing.crs with override_crs"
)


def append(parts: Sequence[Part]) -> Native:
    """Return the rows of all `parts` (at least one), in their order.

    The columns are the union over all parts, in order of appearance; a part without a column gives nulls. Names
    that differ in case or blanks (`Name`, `NAME `) are one column, unless a part has several of them; its name is the
    first spelling, and the report has the others (`aligned_columns`). Integers take
    the widest type that occurs. Integers and decimals together become float64; a number that float64 can't hold raises
    DataError. A column of nulls takes the other type. The report sums the counts of all parts, lists other values that
    differ, and has `parts` (their number) and `empty_parts` (names). Raises DataError if types clash, coordinate
    reference systems differ, only some parts have geometry, or a table has no column in common with the others.
    """
    opened = [part.open() for part in parts]
    first = opened[0]
    for part, native in zip(parts, opened, strict=True):
        if not _same_crs(first, native):
            raise DataError(
                f"{parts[0].origin} and {part.origin} can't be appended: the coordinate reference system of the first"
                f" is {_crs_name(first)}, of the second {_crs_name(native)}",
                _REMEDY if None in (first.crs, native.crs) else _CRS_REMEDY,
            )
    spellings = _spellings([native.attributes.names for native in opened])
    schemas = [
        (part.origin, _renamed(native.attributes, spellings)) for part, native in zip(parts, opened, strict=True)
    ]
    attributes = _unified(schemas)
    if first.crs is None:
        _check_related(schemas)
    known = [native.rows for native in opened]
    rows = sum(count for count in known if count is not None) if None not in known else None
    report: dict[str, Any] = {"parts": len(parts), "empty_parts": []}
    if spellings:
        report["aligned_columns"] = dict(sorted(spellings.items()))
    total = Native(f"{len(parts)} files or layers", attributes, iter(()), first.crs, rows, report)
    kept = opened if len(opened) <= _OPEN else None
    del opened, first
    return Native(total.name, attributes, _batches(parts, kept, total, spellings), total.crs, rows, report)


def _batches(
    parts: Sequence[Part], opened: list[Native] | None, total: Native, spellings: Mapping[str, str]
) -> Iterator[pa.RecordBatch]:
    reports: list[dict[str, Any]] = []
    for number, part in enumerate(parts):
        native = opened[number] if opened is not None else part.open()
        count = 0
        for batch in native.batches:
            count += batch.num_rows
            names = [spellings.get(name, name) for name in batch.schema.names]
            yield _fitted(batch.rename_columns(names), total.schema, part.origin)
        if not count:
            total.report["empty_parts"].append(part.origin)
        reports.append(native.report)
    total.report.update(_added(reports))


def _spellings(parts: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return the names to replace by the first spelling of their column."""
    keys = [[" ".join(name.split()).casefold() for name in names] for names in parts]
    ambiguous = {key for each in keys for key, uses in Counter(each).items() if uses > 1}
    first: dict[str, str] = {}
    found: dict[str, str] = {}
    for names, of_part in zip(parts, keys, strict=True):
        for name, key in zip(names, of_part, strict=True):
            if key not in ambiguous and first.setdefault(key, name) != name:
                found[name] = first[key]
    return found


def _renamed(schema: pa.Schema, spellings: Mapping[str, str]) -> pa.Schema:
    return pa.schema([field.with_name(spellings.get(field.name, field.name)) for field in schema])


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
                f"Column {field.name} of {origin} has values that {field.type} can't hold, the type that the other"
                f" files require ({' '.join(str(error).split())[:200]})",
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


def _check_related(schemas: Sequence[tuple[str, pa.Schema]]) -> None:
    # In a file without a line of names, whose first row is lost as names, or with other spellings of all names.
    named = [(origin, set(schema.names)) for origin, schema in schemas if len(schema)]
    uses = Counter(name for _, names in named for name in names)
    for origin, others in named[1:]:
        if all(uses[name] == 1 for name in others):
            first, names = named[0]
            raise DataError(
                f"{origin} has no column in common with {first}: {', '.join(sorted(others)[:5])} there,"
                f" {', '.join(sorted(names)[:5])} here. Its first row may not be names",
                _REMEDY,
            )


def _wider(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    if first == second or pa.types.is_null(second):
        return first
    if pa.types.is_null(first):
        return second
    if first in _WIDTHS and second in _WIDTHS:
        return max(first, second, key=_WIDTHS.index)
    if _is_number(first) and _is_number(second):
        return pa.int64() if pa.types.is_integer(first) and pa.types.is_integer(second) else pa.float64()
    if pa.types.is_timestamp(first) and pa.types.is_timestamp(second) and first.tz == second.tz:
        return pa.timestamp("ns" if "ns" in (first.unit, second.unit) else "us", first.tz)
    return None


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _added(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    # Counts are summed. Other values are kept if all reports agree, else listed.
    out: dict[str, Any] = {}
    for name in dict.fromkeys(name for report in reports for name in report):
        values = [report[name] for report in reports if name in report]
        if all(isinstance(value, int) for value in values):
            out[name] = sum(values)
        else:
            several = [value for position, value in enumerate(values) if value not in values[:position]]
            out[name] = several[0] if len(several) == 1 else several
    return out


def _same_crs(first: Native, second: Native) -> bool:
    if first.crs is None or second.crs is None:
        return first.crs is second.crs
    if first.crs == second.crs:
        return True
    from d4c_pipeline.geometry import projection  # noqa: PLC0415 - tables need no PROJ

    return projection.same_crs(first.crs, second.crs)


def _crs_name(native: Native) -> str:
    if native.crs is None:
        return "none"
    authority = native.crs.to_authority()
    return ":".join(authority) if authority else native.crs.name
