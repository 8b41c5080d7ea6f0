"""The output of every reader: a stream of attributes under the source's own names, with geometry as WKB.

Also the column functions that readers share. Cleaning and naming do not belong here. A stream keeps one batch in
memory.
"""

# pyarrow.compute creates its functions at import, where type checkers do not see them.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import base64
import fnmatch
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.release import SAMPLE

if TYPE_CHECKING:  # PROJ is slow to load, and tables don't need it
    import pyproj

GEOMETRY_COLUMN = "__geometry__"
GEOMETRY_FIELD = pa.field(GEOMETRY_COLUMN, pa.binary())
# Marks rows whose geometry can't be cleaned, on the way into SQL.
UNFIT_FIELD = pa.field("__unfit__", pa.bool_())


@dataclass(frozen=True)
class Native:
    """An open native file or layer; `batches` can be read once.

    `name`: its name in messages. `attributes`: names (unique: exact repetitions have the suffix `_2`, `_3`, ...) and
    types. `batches`: the attributes, followed by `GEOMETRY_COLUMN` if `crs` is not None: WKB (ISO or EWKB) in the
    source's coordinates, x first, Z and M as in the source, null for a missing geometry (an empty geometry stays
    empty). `crs`: of the geometry, None for tables. `rows`: the number of rows that the file states, if it does.
    `report`: findings and decisions of the reader (`encoding`, `delimiter`, `layer`, ...) for `DataSummary.report`,
    complete when `batches` is exhausted. Reading `batches` raises DataError for broken rows.
    """

    name: str
    attributes: pa.Schema
    batches: Iterator[pa.RecordBatch]
    crs: pyproj.CRS | None = None
    rows: int | None = None
    report: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def schema(self) -> pa.Schema:
        """The schema of the batches."""
        return self.attributes if self.crs is None else self.attributes.append(GEOMETRY_FIELD)

    def collect(self) -> tuple[pa.Table, pa.ChunkedArray | None]:
        """Return all attributes and all geometries (None for a table) of the unread `batches`."""
        table = pa.Table.from_batches(self.batches, self.schema)
        if self.crs is None:
            return table, None
        position = table.num_columns - 1
        return table.remove_column(position), table.column(position)


@dataclass(frozen=True)
class Part:
    """A file, or a layer or sheet of a file, to read: each call of `open` reads it from the beginning.

    `member`: the file's name in the delivery. `layer`: the name of the layer or sheet, if the file can have several.
    `origin`: the name that distinguishes the part from others, for messages and the origin column.
    """

    member: str
    layer: str | None
    open: Callable[[], Native]
    origin: str = ""


def chosen(names: Sequence[str], wanted: str | None, *, several: bool, path: Path, what: str) -> list[str]:
    """Return the layers or sheets of `names` to read: the name `wanted`, else matches of it as a glob, else all.

    Raises DataError, naming them, when there are none, or several without `several`. `what`: "layer" or "sheet".
    """
    named = ", ".join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "") or "none"
    found = list(names)
    if wanted is not None:
        found = [name for name in names if name == wanted] or fnmatch.filter(names, wanted)
        if not found:
            raise DataError(f"{path.name} has no {what} {wanted}; it has {named}", "Correct processing.layer")
    if not found:
        raise DataError(f"{path.name} has no {what}", "Check what the source delivers")
    if len(found) > 1 and not several:
        of = f"{len(found)} {what}s" + (f" that match {wanted}" if wanted is not None else "")
        raise DataError(
            f"{path.name} has {of}: {named}", f"Declare the {what} to read as processing.layer, or append: true"
        )
    return found


def with_rows(batches: Iterator[pa.RecordBatch], empty: Callable[[], DataError]) -> Iterator[pa.RecordBatch]:
    """Return `batches` without empty ones. Raises the error that `empty` returns when no batch has rows.

    The first batch is read at once, so that opening a file reports errors at its beginning.
    """
    first = next((batch for batch in batches if batch.num_rows), None)
    if first is None:
        raise empty()

    def chained() -> Iterator[pa.RecordBatch]:
        yield first
        yield from (batch for batch in batches if batch.num_rows)

    return chained()


def sampled(native: Native, most: int | None) -> Native:
    """Return `native` with its first `most` rows (None: all); `SAMPLE` in its report says if there are more.

    Its reader does not read on, so that it finds no errors in the rows behind.
    """
    if most is None:
        return native

    def batches() -> Iterator[pa.RecordBatch]:
        left = most
        for batch in native.batches:
            if batch.num_rows > left:
                native.report[SAMPLE] = most
                if left:
                    yield batch.slice(0, left)
                return
            left -= batch.num_rows
            yield batch

    return replace(native, batches=batches(), rows=None)


def parse_crs(text: str, path: Path) -> pyproj.CRS:
    """Return the coordinate reference system of `text` (an EPSG code, WKT, PROJJSON).

    Raises DataError, naming the file at `path`, when PROJ does not know it.
    """
    import pyproj  # noqa: PLC0415
    import pyproj.exceptions  # noqa: PLC0415

    try:
        return pyproj.CRS.from_user_input(text)
    except (pyproj.exceptions.CRSError, UnicodeEncodeError) as error:
        # JSON may have half of a surrogate pair, which neither PROJ nor a log accepts.
        shown = text[:100].encode("utf-8", "backslashreplace").decode("utf-8")
        raise DataError(
            f"The coordinate reference system of {path.name} is unknown: {shown}",
            "Declare processing.crs (with override_crs if the file states a wrong one)",
        ) from error


def exactly_unique(names: Sequence[str], *, fold_case: bool = False, taken: Sequence[str] = ()) -> list[str]:
    """Return `names` with the suffixes `_2`, `_3`, ... on repetitions, since later steps address columns by name.

    No suffixed name equals another of `names`, and none of `taken` is used. With `fold_case`, names that differ only by
    case are repetitions, as in SQL.
    """

    def fold(name: str) -> str:
        return name.lower() if fold_case else name

    used = {fold(name) for name in taken}
    first: set[int] = set()
    for position, name in enumerate(names):
        if fold(name) not in used:
            used.add(fold(name))
            first.add(position)
    out: list[str] = []
    # The next suffix to try of each name: counting anew from 2 took 7 s for 9,000 equal names.
    suffixes: dict[str, int] = {}
    for position, name in enumerate(names):
        candidate, count = name, suffixes.get(name, 2)
        while position not in first and fold(candidate) in used:
            candidate, count = f"{name}_{count}", count + 1
        suffixes[name] = count
        used.add(fold(candidate))
        out.append(candidate)
    return out


def with_nulls(column: pa.Array, markers: Sequence[str], *, numeric: bool = False) -> pa.Array:
    """Return `column` with null for each value that equals one of `markers`.

    Text is compared as text; with `numeric` (text that will become numbers) also as a number (`-9999.00` equals
    `-9999`). Numbers, dates and moments are compared by value.
    """
    if not markers or not len(column):
        return column
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        found = pc.is_in(column, pa.array(markers, kind))
        if numeric and (values := _values(tuple(markers), pa.float64())) is not None:
            is_number = pc.match_substring_regex(column, _PLAIN_NUMBER)
            numbers = pc.if_else(is_number, pc.utf8_trim_whitespace(column), pa.scalar(None, kind)).cast(pa.float64())
            found = pc.or_(found, pc.is_in(numbers, values))
    else:
        values = _values(tuple(markers), kind)
        if values is None:
            return column
        half = pa.types.is_float16(kind)  # Arrow compares no 16-bit floats
        found = pc.is_in(column.cast(pa.float32()), values.cast(pa.float32())) if half else pc.is_in(column, values)
    return pc.if_else(found, pa.scalar(None, kind), column) if pc.any(found).as_py() else column


_PLAIN_NUMBER = r"^\s*-?[0-9]{1,15}(\.[0-9]*)?\s*$"
_MARKER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*|\s*nan\s*", re.IGNORECASE)


@cache
def _values(markers: tuple[str, ...], kind: pa.DataType) -> pa.Array | None:
    # The markers that are values of the type.
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        numbers = [Decimal(marker.strip()) for marker in markers if _MARKER.fullmatch(marker)]
        if pa.types.is_integer(kind):
            whole = [int(number) for number in numbers if number.is_finite() and number == number.to_integral_value()]
            signed, bits = pa.types.is_signed_integer(kind), kind.bit_width
            least, most = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
            found: list[Any] = [number for number in whole if least <= number <= most]
        else:
            found = [float(number) for number in numbers]
    elif pa.types.is_decimal(kind):
        numbers = [Decimal(marker.strip()) for marker in markers if _MARKER.fullmatch(marker)]
        found = [number for number in numbers if number.is_finite() and _holds(kind, number)]
    elif pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        found = [value for marker in markers if (value := _moment(marker, kind)) is not None]
    else:
        return None
    return pa.array(found, kind) if found else None


def _holds(kind: pa.DataType, number: Decimal) -> bool:
    try:
        pa.array([number], kind)
    except pa.ArrowInvalid:  # too many digits before or after the point
        return False
    return True


def _moment(marker: str, kind: pa.DataType) -> Any:
    try:
        return pa.scalar(marker.strip()).cast(kind)
    except pa.ArrowInvalid:  # the marker is not a date
        return None


def with_typed_nulls(native: Native, markers: Sequence[str], *, numeric: Sequence[str] = ()) -> Native:
    """Return `native` with null for `markers` in its columns of numbers, dates and moments.

    For readers that apply markers to text only. `numeric`: columns of text that will become numbers.
    """
    typed = {f.name for f in native.attributes if _values(tuple(markers), f.type) is not None} | {*numeric}
    if not markers or not typed:
        return native

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in native.batches:
            columns = [
                with_nulls(column, markers, numeric=True) if field.name in typed else column
                for field, column in zip(batch.schema, batch.columns, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=batch.schema)

    return replace(native, batches=batches())


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of a `kind` column after `plain`: no extensions, dictionaries, views or nesting."""
    # GDAL returns JSON and coded values as extension or dictionary types; their storage values are kept.
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_nested(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    return kind


def plain(column: pa.Array) -> pa.Array:
    """Return `column` as its `plain_type`; nested values become JSON text (RFC 8259) with keys in their order.

    Within nested values bytes become base64 (RFC 4648), moments and decimals their text, and NaN and infinities, which
    JSON has no numbers for, the texts "NaN", "Infinity" and "-Infinity".

    Raises DataError for nested values that JSON can't hold unchanged: a key twice in one value, times of day finer than
    microseconds, moments beyond the year 9999.
    """
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    kind = plain_type(column.type)
    if pa.types.is_nested(column.type):
        try:
            values = column.cast(_in_microseconds(column.type)).to_pylist()
        # Arrow says so of lost nanoseconds, of a key twice and of a moment that Python has no number for.
        except (pa.ArrowInvalid, ValueError, OverflowError) as error:
            raise DataError(
                f"A nested value of the type {column.type} can't be kept as JSON: {error}",
                "Have the source deliver the parts of this value as columns of their own",
            ) from error
        return pa.array([None if value is None else _as_json(value) for value in values], pa.string())
    return column if column.type == kind else column.cast(kind)


def _in_microseconds(kind: pa.DataType) -> pa.DataType:
    # Python's times of day end at microseconds, and Arrow cuts the rest off without a word (25.0).
    if kind == pa.time64("ns"):
        return pa.time64("us")
    if pa.types.is_struct(kind):
        return pa.struct([f.with_type(_in_microseconds(f.type)) for f in kind])
    if pa.types.is_map(kind):
        return pa.map_(_in_microseconds(kind.key_type), _in_microseconds(kind.item_type), keys_sorted=kind.keys_sorted)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_in_microseconds(kind.value_type)), kind.list_size)
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_in_microseconds(kind.value_type)))
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_in_microseconds(kind.value_type)))
    return kind


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_text)
    except ValueError:  # a NaN or an infinity somewhere within
        return json.dumps(_without_nan(value), ensure_ascii=False, allow_nan=False, default=_text)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in cast("Sequence[Any]", value)]
    return value


def _text(value: object) -> str:
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else str(value)
