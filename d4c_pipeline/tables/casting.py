"""Casts a column to its declared type without loss: a value that does not fit stops the build.

The dataset declares the types; `columns` applies them.
"""

# pyarrow.compute creates its functions at import, where type checkers do not see them.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.tables import date_formats

Column: TypeAlias = "pa.Array | pa.ChunkedArray"
ARROW_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}
NUMERIC = ("integer", "float")
_PATTERNS = {
    "integer": r"^-?[0-9]+$",
    "float": r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$",
    "boolean": r"(?i)^(true|false|t|f|yes|no|y|n|1|0|oui|non|o|vrai|faux|v)$",
    "date": r"^[0-9]{4}([-/]?)[0-9]{2}[-/]?[0-9]{2}$",
    "timestamp": (
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
        r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?$"
    ),
}
_TRUE = pa.array(["true", "t", "yes", "y", "1", "oui", "o", "vrai", "v"])
_MINUS = "\u2212"


def cast(column: Column, kind: str, name: str, *, date_format: str | None = None, first_row: int = 0) -> Column:
    """Return `column` as the declared `kind` (string, integer, float, boolean, date, timestamp).

    Blank text is null for every kind but string. Dates are `YYYY-MM-DD`, `YYYY/MM/DD` or `YYYYMMDD`. Timestamps are ISO
    8601; those with a zone are converted to UTC, others are unchanged; the type has no zone. With `date_format`
    (strptime's, see `date_formats`) text must have that form. Booleans are words of English and French. Raises
    DataError with examples and the first row when a value can't be cast without loss; the message uses `name`, the
    column's name, and `first_row`, the number of rows before the column.
    """
    target = ARROW_TYPES[kind]
    if column.type == target:
        return column
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    textual = pa.types.is_string(column.type) and kind != "string"
    if textual and kind == "float" and (numbers := plain_numbers(column)) is not None:
        return numbers
    if textual and date_format is not None:
        return date_formats.parsed(column, date_format, target, name, first_row)
    if textual:
        column = pc.utf8_trim_whitespace(column)
        column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
        if kind in NUMERIC and pc.any(pc.starts_with(column, _MINUS)).as_py():
            column = pc.replace_substring_regex(column, f"^{_MINUS}", "-")
        fits = pc.match_substring_regex(column, _PATTERNS[kind])
        if pc.any(pc.invert(fits)).as_py():
            row = first_row + pc.index(fits, pa.scalar(value=False)).as_py() + 1
            raise _refusal(column.filter(pc.invert(fits)), kind, name, row=row)
    try:
        return _of_text(column, kind) if textual else column.cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _refusal(_misfits(column, kind, textual=textual), kind, name, str(error)) from error


def plain_numbers(column: Column) -> Column | None:
    """Return a column of text as float64 if all values are finite numbers without surrounding text, else None.

    Every finite number that Arrow parses is valid by the pattern too, so the pattern need not be matched.
    """
    try:
        numbers = column.cast(pa.float64())
    except pa.ArrowInvalid:  # not all values are numbers
        return None
    return numbers if pc.all(pc.is_finite(numbers)).as_py() in (True, None) else None


def written_as(column: Column, kind: str) -> Column:
    """Return for each text of `column` whether it has the form of a value of `kind`, null for null."""
    return pc.match_substring_regex(column, _PATTERNS[kind])


def _of_text(column: Column, kind: str) -> Column:
    match kind:
        case "boolean":
            return pc.if_else(pc.is_valid(column), pc.is_in(pc.utf8_lower(column), _TRUE), pa.scalar(None, pa.bool_()))
        case "float":
            return pc.replace_substring_regex(column, r"^\+", "").cast(pa.float64())
        case "date":
            dashed = pc.replace_substring_regex(column, r"^(\d{4})[-/]?(\d{2})[-/]?(\d{2})$", r"\1-\2-\3")
            return dashed.cast(pa.date32())
        case "timestamp":
            zoned = pc.match_substring_regex(column, r"[0-9:.](Z|[+-][0-9]{2}:?[0-9]{2})$|Z$")
            zoned = pc.and_(zoned, pc.match_substring_regex(column, r"[T ]"))
            nothing = pa.scalar(None, pa.string())
            moments = pc.if_else(zoned, column, nothing).cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))
            return pc.coalesce(moments, pc.if_else(zoned, nothing, column).cast(pa.timestamp("us")))
        case _:
            return column.cast(ARROW_TYPES[kind])


def _misfits(column: Column, kind: str, *, textual: bool) -> pa.Array:
    # For the error message only: tries each distinct value.
    found: list[Any] = []
    for value in pc.unique(column.drop_null()):
        single = pa.array([value.as_py()], column.type)
        try:
            _of_text(single, kind) if textual else single.cast(ARROW_TYPES[kind])
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            found.append(value.as_py())
            if len(found) == 3:
                break
    return pa.array(found, column.type)


def _refusal(misfits: Column, kind: str, name: str, reason: str = "", row: int | None = None) -> DataError:
    examples = ", ".join(repr(value) for value in pc.unique(misfits).slice(0, 3).to_pylist())
    form = ", date_format (strptime's, such as '%d/%m/%Y')" if kind in ("date", "timestamp") else ""
    return DataError(
        f"Column {name} has values that are not of the declared type {kind}: {examples or reason}"
        + (f" (the first in row {row})" if row is not None else ""),
        f"Declare them as nulls{form}, or another type for the column",
    )
