"""Workbooks (XLSX and its relatives, ODS) through calamine: one sheet as a table with the types that its cells have.

The sheet is held in memory, which its format bounds (1,048,576 rows in XLSX). Which sheet is read is declared.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import python_calamine as calamine

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Processing
from d4c_pipeline.processing.readers.marks import with_plain_numbers
from d4c_pipeline.processing.readers.native import Native, chosen, exactly_unique, with_nulls

_ROWS = 65_536
# Excel calculates with doubles and shows 15 digits of them: 0.1 + 0.2 is 0.3 there. Whole numbers up to this are exact.
_DIGITS = 15
_EXACT = 10**15


def sheets(path: Path, processing: Processing) -> list[str]:
    """Return which sheets of the workbook to read: the declared ones (`processing.layer`) or the only one with rows.

    Raises DataError for a broken or encrypted workbook, no such sheet, or several that are not to be appended.
    """
    with _opened(path) as book:
        names = list(book.sheet_names)
        if processing.layer is None and len(names) > 1:
            # A workbook is made with three sheets, of which people fill one.
            names = [name for name in names if book.get_sheet_by_name(name).height > 0] or names
    return chosen(names, processing.layer, several=processing.append, path=path, what="sheet")


def read(path: Path, processing: Processing, sheet: str) -> Native:
    """Read one sheet: names in the first row that is not empty (or in `header_row`), rows without a value left out.

    A column of whole numbers is int64, of numbers float64 (rounded to the 15 significant digits that Excel has), of
    dates date32, of moments timestamp[us], of true and false boolean; any other is text, in which a number stands as
    Excel shows it without format and a date in ISO 8601. Empty cells and `nulls` are null.
    """
    with _opened(path) as book:
        rows = book.get_sheet_by_name(sheet).to_python(skip_empty_area=False)
    name = f"Sheet {sheet} of {path.name}"
    if processing.header:
        names, body = list(processing.header), [row for row in rows if any(map(_is_value, row))]
    else:
        names, body = _headed(rows, processing.header_row, name)
    width = len(names)
    for row in body:
        if any(map(_is_value, row[width:])):
            raise DataError(f"{name} has a value right of its last named column", "Declare processing.header_row")
    columns = [_column([row[at] if at < len(row) else None for row in body], processing.nulls) for at in range(width)]
    kept = [at for at in range(width) if names[at] or columns[at].null_count < len(body)]
    unique = exactly_unique([names[at] or f"column_{at + 1}" for at in kept])
    table = pa.table([columns[at] for at in kept], names=unique)

    def batches() -> Iterator[pa.RecordBatch]:
        yield from table.to_batches(max_chunksize=_ROWS)

    return Native(name, table.schema, with_plain_numbers(batches(), processing), None, len(body), {"sheet": sheet})


def _headed(rows: Sequence[Sequence[Any]], header_row: int | None, name: str) -> tuple[list[str], list[Sequence[Any]]]:
    if header_row is None:
        at = next((number for number, row in enumerate(rows) if any(map(_is_value, row))), 0)
    else:
        at = header_row - 1
    if at >= len(rows):
        raise DataError(f"{name} has no row {at + 1}", "Correct processing.header_row, or look at what is delivered")
    names = ["" if not _is_value(cell) else _text(cell) for cell in rows[at]]
    return names, [row for row in rows[at + 1 :] if any(map(_is_value, row))]


def _column(cells: list[Any], nulls: tuple[str, ...]) -> pa.Array:
    values = [cell if _is_value(cell) and cell not in nulls else None for cell in cells]
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds and kinds <= {int, float}:
        numbers = [None if value is None else _rounded(value) for value in values]
        whole = all(number is None or (number.is_integer() and abs(number) <= _EXACT) for number in numbers)
        return pa.array([None if n is None else int(n) for n in numbers], pa.int64()) if whole else pa.array(numbers)
    if kinds == {dt.date}:
        return pa.array(values, pa.date32())
    if kinds and kinds <= {dt.date, dt.datetime}:
        moments = [v if v is None or isinstance(v, dt.datetime) else dt.datetime.combine(v, dt.time()) for v in values]
        return pa.array(moments, pa.timestamp("us"))
    return with_nulls(pa.array([None if value is None else _text(value) for value in values], pa.string()), nulls)


def _is_value(cell: Any) -> bool:
    return cell is not None and not (isinstance(cell, str) and not cell.strip())


def _rounded(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")


def _text(cell: Any) -> str:
    match cell:
        case bool():
            return "TRUE" if cell else "FALSE"
        case int() | float():
            rounded = _rounded(cell)
            return str(int(rounded)) if rounded.is_integer() and abs(rounded) <= _EXACT else repr(rounded)
        case dt.datetime():
            return cell.isoformat(sep=" ")
        case dt.date() | dt.time():
            return cell.isoformat()
        case _:
            return str(cell)


@contextmanager
def _opened(path: Path) -> Generator[calamine.CalamineWorkbook]:
    try:
        book = calamine.CalamineWorkbook.from_path(str(path))
        try:
            yield book
        finally:
            book.close()
    except (calamine.CalamineError, OSError) as error:
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> DataError:
    if isinstance(error, calamine.PasswordError):
        return DataError(f"{path.name} is encrypted with a password", "Ask the publisher for one that is not")
    return DataError(f"{path.name} can't be read: {' '.join(str(error).split())[:300]}", "Fetch the vintage again")
