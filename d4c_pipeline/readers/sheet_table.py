"""Separates the names and data of a sheet from the titles and notes around them.

A sheet is a page: titles above, notes below, cells merged over several rows. Where this is ambiguous, the error shows
the cells and asks for a declaration. Types of columns belong to `sheet_columns`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.limits import Limits, beyond
from d4c_pipeline.model.processing import Processing
from d4c_pipeline.readers import edges
from d4c_pipeline.readers.sheet_columns import is_value, text
from d4c_pipeline.readers.sheet_xml import Range, reference

# Notes that begin with a number or sign; `edges` recognises others.
_NUMBERED = re.compile(r"\s*(\*|†|‡|\d+[.)]\s|\(\d+\)\s|\[\d+\]\s)")
_ROWS_ABOVE = 30
_YEARS = range(1800, 2200)


@dataclass(frozen=True)
class Table:
    """The names of the columns ("" for none) and the rows of data, with their numbers in the sheet from 0."""

    names: list[str]
    rows: list[list[Any]]
    numbers: list[int]


def table(
    rows: Sequence[list[Any]], merged: Sequence[Range], processing: Processing, name: str, report: dict[str, Any]
) -> Table:
    """Return the table in the cells `rows` with the `merged` ranges; rows without a value are dropped.

    `name`: the sheet's name in messages. `report` gets the filled and dropped rows. Raises DataError for ambiguous
    names or data: a title, a second row of names, a note below, merged cells in the data.
    """
    body = [at for at, row in enumerate(rows) if any(map(is_value, row))]
    if processing.header:
        names = list(processing.header)
    else:
        at = (body[0] if body else 0) if processing.header_row is None else processing.header_row - 1
        if at >= len(rows):
            raise DataError(f"{name} has no row {at + 1}", "Correct processing.header_row, or check the file")
        body = [each for each in body if each > at]
        names = _names(rows, at, merged)
        _check_names(rows, at, body, names, merged, processing, name)
        body = _without_repeated(rows, body, names, processing, name, report)
    body = _without_notes(rows, body, len(names), merged, processing, name, report)
    filled = _unmerged(rows, body, merged, processing, name, report)
    width = len(names)
    for number in body:
        for column, cell in enumerate(filled[number][width:], width):
            if is_value(cell):
                raise DataError(
                    f"{name} has a value right of its last named column, in cell {reference((number, column))}",
                    "Declare processing.header_row" if not processing.header else "Correct processing.header",
                )
    return Table(names, [filled[number] for number in body], body)


def _names(rows: Sequence[list[Any]], at: int, merged: Sequence[Range]) -> list[str]:
    names = ["" if not is_value(cell) else text(cell).strip() for cell in rows[at]]
    for (top, left), (bottom, right) in merged:
        # A name that is merged over two rows, beside names in two rows.
        if left == right < len(names) and top < at <= bottom and not names[left] and is_value(rows[top][left]):
            names[left] = text(rows[top][left]).strip()
    return names


def _check_names(
    rows: Sequence[list[Any]],
    at: int,
    body: list[int],
    names: list[str],
    merged: Sequence[Range],
    processing: Processing,
    name: str,
) -> None:
    valued = [column for column in range(len(names)) if any(is_value(_cell(rows, row, column)) for row in body)]
    wide = [each for each in merged if each[0][0] <= at <= each[1][0] and each[1][1] > each[0][1]]
    wide = [each for each in wide if sum(each[0][1] <= column <= each[1][1] for column in valued) > 1]
    if wide:
        (top, left), end = wide[0]
        raise DataError(
            f"Row {at + 1} of {name} is not a row of names: {reference((top, left))}:{reference(end)} is merged"
            f" ({_shown(rows[top][left])})",
            _remedy(rows, body),
        )
    if processing.header_row is not None:
        return
    seen = [text(cell) for cell in rows[at] if is_value(cell)]
    blank = [column for column in valued if not names[column]]
    if blank and (len(seen) == 1 or len(blank) > 1):
        raise DataError(
            f"Row {at + 1} of {name} names {len(valued) - len(blank)} of {len(valued)} columns"
            f" ({', '.join(map(_shown, seen[:3]))}): it may be a title",
            _remedy(rows, [at, *body]),
        )
    if data := [cell for cell in rows[at] if not _is_name(cell)]:
        raise DataError(
            f"Row {at + 1} of {name} has {_shown(data[0])} in place of a column name",
            f"Declare processing.header_row: {at + 1} if this is the row of names, or the names as processing.header",
        )
    if body and (column := _second_names(rows, body, valued)) is not None:
        raise DataError(
            f"Row {body[0] + 1} of {name} has {_shown(rows[body[0]][column])} where all rows below have numbers or"
            " dates: it may be a second row of names, or of units",
            f"Declare processing.header_row: {body[0] + 1} if the names are there, header_row: {at + 1} if it is data",
        )


def _second_names(rows: Sequence[list[Any]], body: list[int], valued: list[int]) -> int | None:
    # Returns a column with text only in its first row, if every column without text below has text or nothing there.
    def has_no_text(column: int) -> bool:
        cells = (_cell(rows, row, column) for row in body[1:])
        kinds = (isinstance(cell, str) for cell in cells if is_value(cell))
        return next(kinds, True) is False and not any(kinds)

    if len(body) < 3:
        return None
    first = {column: cell for column in valued if is_value(cell := _cell(rows, body[0], column))}
    # Columns with text in the first row come first: the second row already shows a column of words.
    suspects = [column for column, cell in first.items() if isinstance(cell, str) and has_no_text(column)]
    others = [column for column, cell in first.items() if not isinstance(cell, str)]
    return suspects[0] if suspects and not any(map(has_no_text, others)) else None


def _without_repeated(
    rows: Sequence[list[Any]],
    body: list[int],
    names: list[str],
    processing: Processing,
    name: str,
    report: dict[str, Any],
) -> list[int]:
    if processing.repeated_header == "keep":
        return body
    repeated = [at for at in body if edges.repeats(_texts(rows[at], len(rows[at])), names)]
    if repeated and processing.repeated_header == "refuse":
        raise DataError(
            f"Row {repeated[0] + 1} of {name} repeats the names of the columns ({edges.shown(names)!r}):"
            " it may be the next page of a printed table",
            "Declare processing.repeated_header: drop to leave such rows out, keep if it is data",
        )
    if repeated:
        report["repeated_headers"] = len(repeated)
        body = sorted({*body} - {*repeated})
    return body


def _without_notes(
    rows: Sequence[list[Any]],
    body: list[int],
    width: int,
    merged: Sequence[Range],
    processing: Processing,
    name: str,
    report: dict[str, Any],
) -> list[int]:
    if processing.footer_rows is not None:
        kept = max(len(body) - processing.footer_rows, 0)
        if processing.footer_rows:
            report["footer_rows"] = len(body) - kept
            report["footer"] = [_first(rows[at]) for at in body[kept:]]
        return body[:kept]
    notes = len(body)
    while notes and _is_note(rows, body, notes - 1, width, merged):
        notes -= 1
    # If all rows look like notes, they are data.
    if 0 < notes < len(body):
        count = len(body) - notes
        raise DataError(
            f"Row {body[notes] + 1} of {name} looks like a note under the table: {_shown(_first(rows[body[notes]]))}",
            f"Declare processing.footer_rows: {count} to drop it, 0 if it is data",
        )
    if body and (total := edges.is_total(_texts(rows[body[-1]], width), width)) is not None:
        raise DataError(
            f"Row {body[-1] + 1} of {name} looks like the total of the rows above it: {_shown(total)}",
            "Declare processing.footer_rows: 1 to drop it, 0 if it is data",
        )
    return body


def _is_note(rows: Sequence[list[Any]], body: list[int], at: int, width: int, merged: Sequence[Range]) -> bool:
    row = rows[body[at]]
    filled = [column for column, cell in enumerate(row) if is_value(cell)]
    if width < 2 or len(filled) != 1 or not isinstance(row[filled[0]], str):
        return False
    spans = any(top == bottom == body[at] and right > left for (top, left), (bottom, right) in merged)
    apart = at > 0 and body[at] - body[at - 1] > 1
    if width > 2 or spans or apart or _NUMBERED.match(row[filled[0]]):
        return True
    above = [_texts(rows[number], width) for number in body[max(0, at - _ROWS_ABOVE) : at + 1]]
    return edges.footer(above, width) > 0


def _texts(row: list[Any], width: int) -> list[str]:
    return [text(cell) if is_value(cell) else "" for cell in row[:width]]


def _unmerged(
    rows: Sequence[list[Any]],
    body: list[int],
    merged: Sequence[Range],
    processing: Processing,
    name: str,
    report: dict[str, Any],
) -> Sequence[list[Any]]:
    inside = set(body)
    ranges = [each for each in merged if each[0][0] in inside and is_value(_cell(rows, *each[0]))]
    if not ranges:
        return rows
    if processing.merged == "refuse":
        (top, left), end = ranges[0]
        raise DataError(
            f"{name} has merged cells in its data: {reference((top, left))}:{reference(end)}"
            f" ({_shown(rows[top][left])}){f' and {len(ranges) - 1} more' if len(ranges) > 1 else ''}",
            "Declare processing.merged: fill to copy the value to each cell, or have the publisher unmerge them",
        )
    limits = Limits.from_environment()
    width = max(map(len, rows), default=0)
    area = sum(
        max(0, min(bottom + 1, len(rows)) - top) * max(0, min(right + 1, width) - left)
        for (top, left), (bottom, right) in ranges
    )
    if area > limits.cells:
        raise beyond(name, f"has {area:,} merged cells, more than {limits.cells:,}", "cells")
    filled = [list(row) for row in rows]
    for (top, left), (bottom, right) in ranges:
        for number in range(top, min(bottom + 1, len(filled))):
            for column in range(left, min(right + 1, len(filled[number]))):
                filled[number][column] = rows[top][left]
    report["merged_cells_filled"] = len(ranges)
    return filled


def _remedy(rows: Sequence[list[Any]], candidates: list[int]) -> str:
    # Suggests the first row with the most filled cells among the rows that can be names.
    counts = {at: sum(map(is_value, rows[at])) for at in candidates[:20] if all(map(_is_name, rows[at]))}
    best = max(counts, key=lambda at: counts[at], default=None)
    if best is None or counts[best] < 2:
        return "Declare the number of the row with the names as processing.header_row"
    names = ", ".join(text(cell).strip() for cell in rows[best] if is_value(cell))
    return f"Declare the row with the names, such as processing.header_row: {best + 1} ({names[:100]})"


def _is_name(cell: Any) -> bool:
    if isinstance(cell, bool | dt.time | dt.timedelta):
        return False
    # Years and dates are names of columns in time series.
    return not isinstance(cell, int | float) or (float(cell).is_integer() and int(cell) in _YEARS)


def _cell(rows: Sequence[list[Any]], row: int, column: int) -> Any:
    return rows[row][column] if column < len(rows[row]) else None


def _first(row: list[Any]) -> str:
    return next((text(cell) for cell in row if is_value(cell)), "")


def _shown(cell: Any) -> str:
    shown = text(cell).strip() if is_value(cell) else ""
    return f"'{shown[:60]}{'...' if len(shown) > 60 else ''}'"
