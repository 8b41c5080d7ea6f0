"""The DAP2 types of columns. DAP2 has no 64-bit integers, no missing values and no times.

A column of integers beyond 32 bits, or with missing values, is Float64 with NaN, exact up to 2^53; beyond that it is
text. A missing text is the empty text, and texts are ASCII with the escapes of JSON. The attributes of a
variable state every change.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from d4c_pipeline.services.subset import Source, Statistics

INT32, FLOAT32, FLOAT64, STRING = "Int32", "Float32", "Float64", "String"
_INT32 = (-(2**31), 2**31 - 1)
_EXACT = (-(2**53), 2**53)


@dataclass(frozen=True)
class Variable:
    """A column as DAP2 shows it. `note`: the change of its values; `comparable`: whether constraints may compare it."""

    name: str
    kind: str
    note: str | None = None
    comparable: bool = True


def variables(source: Source, statistics: dict[str, Statistics]) -> tuple[Variable, ...]:
    """Return the variables of a release in the order of its columns."""
    found = [_variable(field, statistics.get(field.name), field.name == source.geometry) for field in source.schema]
    return tuple(found)


def _variable(field: pa.Field, known: Statistics | None, is_geometry: bool) -> Variable:
    name, kind = field.name, field.type
    if is_geometry:
        return Variable(name, STRING, "WKT; missing values are empty", comparable=False)
    has_missing = known is None or known.missing is None or known.missing > 0
    if pa.types.is_boolean(kind):
        note = "1 and 0" + ("; missing values are NaN" if has_missing else "")
        return Variable(name, FLOAT64 if has_missing else INT32, note, comparable=False)
    if pa.types.is_integer(kind):
        least, most = (known.least, known.most) if known is not None else (None, None)
        if kind.bit_width < 32 or (kind.bit_width == 32 and pa.types.is_signed_integer(kind)):
            least, most = _INT32
        if least is None or most is None or not _within(least, most, _EXACT):
            return Variable(name, STRING, "integers beyond 2^53 as text; missing values are empty", comparable=False)
        if not has_missing and _within(least, most, _INT32):
            return Variable(name, INT32)
        return Variable(name, FLOAT64, "integers; missing values are NaN" if has_missing else "integers")
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        return Variable(name, FLOAT32, "missing values are NaN" if has_missing else None)
    if pa.types.is_float64(kind):
        return Variable(name, FLOAT64, "missing values are NaN" if has_missing else None)
    if pa.types.is_string(kind):
        return Variable(name, STRING, "missing values are empty" if has_missing else None)
    is_date = pa.types.is_date(kind)
    return Variable(name, STRING, f"{kind} as text; missing values are empty", comparable=is_date)


def _within(least: float, most: float, bounds: tuple[int, int]) -> bool:
    return bounds[0] <= least and most <= bounds[1]
