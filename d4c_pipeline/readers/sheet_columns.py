"""Converts cells of a spreadsheet to Arrow columns of one type, without rounding beyond the spreadsheet's own.

A spreadsheet calculates with doubles and keeps 15 digits of typed numbers. Choosing the cells of data belongs to
`sheet_table`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.tables.native import with_nulls

# Excel calculates with doubles and shows 15 digits of them: 0.1 + 0.2 is 0.3 there.
_DIGITS = 15
# The rest of a number after 15 digits is calculation noise if rounding leaves at most 12 digits.
_SHORT = 12
_NOISE = 1e-14
_EXACT = 2**53
_LONGEST = 2**63


def is_value(cell: Any) -> bool:
    """Return whether the cell has a value."""
    return cell is not None and not (isinstance(cell, str) and not cell.strip())


def text(cell: Any) -> str:
    """Return a cell as text: a number as a cell without format shows it, a date in ISO 8601, a duration in hours."""
    match cell:
        case bool():
            return "TRUE" if cell else "FALSE"
        case int():
            return str(cell)
        case float():
            rounded = _rounded(cell)
            return str(int(rounded)) if rounded.is_integer() and abs(rounded) <= _EXACT else repr(rounded)
        case dt.datetime():
            return cell.isoformat(sep=" ")
        case dt.date() | dt.time():
            return cell.isoformat()
        case dt.timedelta():
            return _duration(cell)
        case _:
            return str(cell)


def column(cells: Sequence[Any], nulls: tuple[str, ...]) -> pa.Array:
    """Return the cells as one column: int64, float64, date32, timestamp[us], boolean, or text.

    Integers are exact within 64 bits; a column with larger integers, or with an integer of more than 53 bits beside a
    decimal, is text. Empty cells and cells whose `text` is one of `nulls` are null.
    """
    values = [cell if is_value(cell) and not (nulls and text(cell) in nulls) else None for cell in cells]
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds and kinds <= {int, float}:
        return _numbers(values, has_whole=int in kinds)
    if kinds == {dt.date}:
        return pa.array(values, pa.date32())
    if kinds and kinds <= {dt.date, dt.datetime}:
        moments = [v if v is None or isinstance(v, dt.datetime) else dt.datetime.combine(v, dt.time()) for v in values]
        return pa.array(moments, pa.timestamp("us"))
    return with_nulls(pa.array([None if value is None else text(value) for value in values], pa.string()), nulls)


def check_digits(cells: Sequence[Any], written: Sequence[str | None], name: str, where: Sequence[str]) -> None:
    """Raise DataError when a spreadsheet, which keeps 15 digits, rounded integers of more than 15 digits.

    `written`: the file's text of each cell, where it is known and the number is long; `where`: names of the cells.
    Integers were rounded if all end in zeros from the 16th digit on, or if their text has an exponent. They may have
    been rounded if the file's text is unknown.
    """
    numbers = [cell for cell in cells if isinstance(cell, int | float) and not isinstance(cell, bool)]
    if not numbers or not all(float(number).is_integer() for number in numbers):
        return
    long = [
        (number, text, place)
        for number, text, place in zip(cells, written, where, strict=True)
        if isinstance(number, int | float) and not isinstance(number, bool) and abs(number) >= 10**_DIGITS
    ]
    if not long:
        return
    lost = [each for each in long if each[1] is not None and not each[1].lstrip("-").isdigit()]
    lost += [each for each in long if each[1] is None and abs(each[0]) >= _EXACT]
    if not lost and all(int(number) % 10 ** (len(str(abs(int(number)))) - _DIGITS) == 0 for number, _, _ in long):
        lost = long
    if lost:
        number, raw, place = lost[0]
        raise DataError(
            f"Column {name} has whole numbers of more than 15 digits, of which a spreadsheet keeps 15:"
            f" {raw or int(number)} in cell {place} may have been rounded",
            "Have the publisher deliver them as text, or declare a type for the column in processing.columns (float for"
            " quantities) to take them as they are",
        )


def _numbers(values: list[Any], *, has_whole: bool) -> pa.Array:
    # Integers that are floats have at most 53 bits, or the dataset declares them as quantities.
    most = max(abs(value) for value in values if isinstance(value, int)) if has_whole else 0
    if most > _EXACT:
        if most < _LONGEST and all(value is None or float(value).is_integer() for value in values):
            return pa.array([None if value is None else int(value) for value in values], pa.int64())
        return pa.array([None if value is None else text(value) for value in values], pa.string())
    column = pa.array(values, pa.float64(), from_pandas=False)
    numbers = column.drop_null().to_numpy()
    if np.array_equal(numbers, np.trunc(numbers)) and np.abs(numbers).max(initial=0) < _LONGEST:
        return column.cast(pa.int64())
    # A vectorised test finds the few numbers that may have noise.
    with np.errstate(all="ignore"):
        scale = 10.0 ** (
            _SHORT - 1 - np.floor(np.log10(np.abs(numbers), where=numbers != 0, out=np.zeros_like(numbers)))
        )
        near = np.rint(numbers * scale) / scale
        suspects = (near != numbers) & ~(np.abs(near - numbers) > _NOISE * np.abs(numbers))
    if not suspects.any():
        return column
    numbers = numbers.copy()
    for at in np.flatnonzero(suspects):
        numbers[at] = _rounded(float(numbers[at]))
    places = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    filled = np.zeros(len(column))
    filled[places] = numbers
    return pa.array(filled, mask=column.is_null().to_numpy(zero_copy_only=False))


def _rounded(number: float) -> float:
    if number.is_integer() or len(repr(number)) <= _DIGITS:
        return number
    rounded = float(f"{number:.{_DIGITS}g}")
    return rounded if len(repr(rounded).lstrip("-").replace(".", "").lstrip("0")) <= _SHORT else number


def _duration(length: dt.timedelta) -> str:
    # Hours may exceed 24.
    micros = round(length / dt.timedelta(microseconds=1))
    seconds, rest = divmod(abs(micros), 1_000_000)
    fraction = f".{rest:06}".rstrip("0") if rest else ""
    return f"{'-' if micros < 0 else ''}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{fraction}"
