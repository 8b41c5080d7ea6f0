"""Reads a sheet of a workbook (XLSX, XLSM, XLSB, XLS, ODS) through calamine as a table with the types of its cells.

The sheet is held in memory, which its format bounds (1,048,576 rows in XLSX). Findings that calamine drops belong to
`sheet_xml`, `sheet_ods` and `sheet_biff`, choosing rows to `sheet_table`, types of columns to `sheet_columns`.
"""

from __future__ import annotations

import datetime as dt
import mmap
import re
import zipfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pyarrow as pa
import python_calamine as calamine

from d4c_pipeline.files import magic
from d4c_pipeline.files.unpack import check_size
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.limits import Limits
from d4c_pipeline.model.processing import Column, Processing
from d4c_pipeline.readers import bounded, sheet_biff, sheet_columns, sheet_ods, sheet_table, sheet_xml
from d4c_pipeline.readers.marks import with_plain_numbers
from d4c_pipeline.readers.sheet_columns import is_value, text
from d4c_pipeline.readers.sheet_xml import Cell, Range, Sheet, reference
from d4c_pipeline.tables.names import snake_case
from d4c_pipeline.tables.native import Native, chosen, exactly_unique

Kind: TypeAlias = Literal["xlsx", "xlsb", "ods", "xls", "text"]

_ROWS = 65_536
_DAY_BEFORE = dt.date(1900, 2, 28)
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "xlsx": (".xlsx", ".xlsm"),
    "xlsb": (".xlsb",),
    "ods": (".ods",),
    "xls": (".xls",),
}
_AGAIN = "Fetch the vintage again"
_ODS_DURATION = re.compile(r"(-?)PT(\d+)H(\d+)M(\d+)(?:[.,](\d+))?S")


def kind(path: Path) -> Kind:
    """Return the kind of the file by its bytes, whatever its suffix; `text` for delimited text.

    Raises DataError for HTML or XML with the suffix of a workbook, and for other files that are not workbooks.
    """
    with path.open("rb") as handle:
        head = handle.read(4096)
    if head.startswith(magic.OLE):
        # An XLSX with a password is a stream of this name in an OLE container.
        with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as view:
            if view.find(_ENCRYPTED) >= 0:
                raise DataError(f"{path.name} is encrypted with a password", "Ask the publisher for an unencrypted one")
        return "xls"
    if head.startswith(magic.ZIP):
        return _packed(path)
    if b"urn:schemas-microsoft-com:office:spreadsheet" in head or head.lstrip().startswith(b"<"):
        raise DataError(
            f"{path.name} is XML or HTML with the suffix of a workbook, as some programs export it",
            "Open the file in a spreadsheet program and save it as XLSX, or have the publisher do so",
        )
    if b"\x00" in head:
        raise DataError(f"{path.name} is not a workbook", _AGAIN)
    return "text"


def sheets(path: Path, processing: Processing) -> list[str]:
    """Return the sheets of the workbook to read: the declared sheets (`processing.layer`) or the only sheet with rows.

    Hidden sheets are read if declared. Raises DataError for a broken or encrypted workbook, and for no matching sheet
    or several sheets without `append`.
    """
    form = kind(path)
    if form == "ods":
        sheet_ods.inspect(path, None)  # calamine makes tables of all sheets at once
    elif form == "xls":
        sheet_biff.check(path)
    with _opened(path) as book:
        bounded.check_layers(path.name, len(book.sheets_metadata), Limits.from_environment(), "sheets")
        known = [each for each in book.sheets_metadata if each.typ == calamine.SheetTypeEnum.WorkSheet]
        names = [each.name for each in known]
        if processing.layer is None and len(names) > 1:
            shown = [each.name for each in known if each.visible == calamine.SheetVisibleEnum.Visible]
            # Programs create a workbook with three sheets, of which people fill one.
            names = [name for name in shown if _has_rows(book, path, name)] or shown or names
    return chosen(names, processing.layer, several=processing.append, path=path, what="sheet")


def read(path: Path, processing: Processing, sheet: str) -> Native:
    """Read a sheet: names are in the first row that is not empty (or in `header_row`); empty rows are dropped.

    A column of integers is int64, of numbers float64, of dates date32, of moments timestamp[us], of true and false
    boolean. Any other column is text: numbers as Excel shows them without a format (but with leading zeros), dates in
    ISO 8601, durations in hours. Empty cells and `nulls` are null. The report has hidden sheets, rows and columns.
    Raises DataError for cells with an error that is not in `nulls`, formulas without a calculated value, rounded
    identifiers, and ambiguous names or data.
    """
    name = f"Sheet {sheet} of {path.name}"
    report: dict[str, Any] = {"sheet": sheet}
    form = kind(path)
    known, spans = _inspected(path, form, sheet)
    with _opened(path) as book:
        opened = book.get_sheet_by_name(sheet)
        merged = opened.merged_cell_ranges or spans
        rows: list[list[Any]] = opened.to_python(skip_empty_area=False)
        visible = next(each.visible for each in book.sheets_metadata if each.name == sheet)
    if visible != calamine.SheetVisibleEnum.Visible:
        report["hidden_sheet"] = True
    if known.hidden_rows:
        report["hidden_rows"] = known.hidden_rows
    if form == "ods":
        rows = [[_hours(cell) for cell in row] for row in rows]
    _put(rows, known)
    found = sheet_table.table(rows, merged, processing, name, report)
    _check_cells(found, known, processing, name)
    table = _made(found, known, processing, report)
    if form in ("xlsx", "xls"):
        _check_dates(found, known, path, sheet)

    def batches() -> Iterator[pa.RecordBatch]:
        yield from table.to_batches(max_chunksize=_ROWS)

    return Native(name, table.schema, with_plain_numbers(batches(), processing), None, len(found.rows), report)


def _inspected(path: Path, form: Kind, sheet: str) -> tuple[Sheet, list[Range]]:
    # Findings that calamine drops; XLSB is not inspected.
    if form == "xlsx":
        return sheet_xml.inspect(path, sheet), []
    if form == "ods":
        return sheet_ods.inspect(path, sheet)
    return (sheet_biff.inspect(path, sheet) if form == "xls" else Sheet()), []


def _made(found: sheet_table.Table, known: Sheet, processing: Processing, report: dict[str, Any]) -> pa.Table:
    width = len(found.names)
    cells = [[row[at] if at < len(row) else None for row in found.rows] for at in range(width)]
    kept = [at for at in range(width) if found.names[at] or any(map(is_value, cells[at]))]
    unique = exactly_unique([found.names[at] or f"column_{at + 1}" for at in kept])
    if unnamed := [column for column, at in zip(unique, kept, strict=True) if not found.names[at]]:
        report["unnamed_columns"] = unnamed
    if hidden := [column for column, at in zip(unique, kept, strict=True) if at in known.hidden_columns]:
        report["hidden_columns"] = hidden
    arrays: list[pa.Array] = []
    long = {column for _, column in known.digits}
    for column, at in zip(unique, kept, strict=True):
        if not _has_type(column, processing) and (at in long or (not known.cells and _is_long(cells[at]))):
            places = [(number, at) for number in found.numbers]
            written = [known.digits.get(place) for place in places]
            sheet_columns.check_digits(cells[at], written, column, list(map(reference, places)))
        if at in known.percents and not _has_type(column, processing):
            _check_percents(cells[at], found.numbers, set(known.percents[at]), column, at)
        arrays.append(sheet_columns.column(cells[at], processing.nulls))
    return pa.table(arrays, names=unique)


def _put(rows: list[list[Any]], known: Sheet) -> None:
    # Replaces calamine's values by the findings of the XML.
    for (row, column), written in known.digits.items():
        digits = written.lstrip("-")
        if digits.isdigit() and _is_there(rows, row, column) and isinstance(rows[row][column], int | float):
            rows[row][column] = int(written)
    for (row, column), width in known.padded.items():
        if (
            _is_there(rows, row, column)
            and isinstance(cell := rows[row][column], int | float)
            and cell == int(cell) >= 0
        ):
            rows[row][column] = f"{int(cell):0{width}}"
    # calamine returns these cells as empty, and an empty row would be dropped.
    every = (known.errors, known.formulas, known.unread, known.texts)
    for (row, column), content in (item for each in every for item in each.items()):
        rows.extend([] for _ in range(row + 1 - len(rows)))
        rows[row].extend("" for _ in range(column + 1 - len(rows[row])))
        rows[row][column] = content


def _is_there(rows: Sequence[list[Any]], row: int, column: int) -> bool:
    return row < len(rows) and column < len(rows[row])


def _check_cells(found: sheet_table.Table, known: Sheet, processing: Processing, name: str) -> None:
    data = set(found.numbers)
    inside = range(len(found.names))

    def of_data(cells: dict[Cell, str]) -> list[tuple[Cell, str]]:
        return [(cell, content) for cell, content in sorted(cells.items()) if cell[0] in data and cell[1] in inside]

    if formulas := of_data(known.formulas):
        cell, formula = formulas[0]
        raise DataError(
            f"{name} has {len(formulas)} cells with a formula without a calculated value, such as"
            f" {reference(cell)} ({formula[:60]})",
            "Open the workbook in a spreadsheet program and save it, or have the publisher do so",
        )
    if unread := of_data(known.unread):
        cell, what = unread[0]
        raise DataError(
            f"{name} has {len(unread)} cells that can't be read, such as {reference(cell)} ({what})",
            "Open the workbook in a spreadsheet program and save it, or have the publisher do so",
        )
    errors = [
        (cell, error)
        for cell, error in of_data(known.errors)
        if error not in (*processing.nulls, *_nulls_of(found.names[cell[1]], processing))
    ]
    if errors:
        cell, error = errors[0]
        kinds = sorted({error for _, error in errors})
        raise DataError(
            f"{name} has {len(errors)} cells with an error, such as {error} in {reference(cell)}",
            f"Declare nulls: {kinds} if they mean no value, or have the publisher repair the formulas",
        )


def _check_dates(found: sheet_table.Table, known: Sheet, path: Path, sheet: str) -> None:
    # The 60th day of Excel's calendar is 29 February 1900, which calamine returns as the 28th. A negative number, which
    # is no date, becomes a time of day.
    if not any(_is_suspect(cell) for row in found.rows for cell in row):
        return
    odd = sheet_xml.inspect(path, sheet, odd_dates=True) if kind(path) == "xlsx" else known
    rows = dict(zip(found.numbers, found.rows, strict=True))

    def found_in(cells: Sequence[Cell]) -> str | None:
        every = (
            cell
            for cell in cells
            if cell[0] in rows and cell[1] < len(rows[cell[0]]) and _is_date(rows[cell[0]][cell[1]])
        )
        return next(map(reference, every), None)

    remedy = "Have the publisher correct the date"
    if place := found_in(odd.leap_days):
        raise DataError(
            f"Sheet {sheet} of {path.name} has 29 February 1900 in cell {place}, a day that only Excel's calendar has",
            remedy,
        )
    if place := found_in(odd.negatives):
        raise DataError(
            f"Sheet {sheet} of {path.name} has a negative number with the format of a date in cell {place}", remedy
        )


def _check_percents(cells: Sequence[Any], numbers: Sequence[int], shown: set[int], column: str, at: int) -> None:
    # 50 % is the number 0.5. Beside it, people type 50 into a cell with another format.
    values = [(number, cell) for number, cell in zip(numbers, cells, strict=True) if type(cell) in (int, float)]
    shares = [abs(cell) for number, cell in values if number in shown]
    plain = [(number, cell) for number, cell in values if number not in shown and abs(cell) > 1]
    if not shares or not plain or max(shares) > 1 or max(shares) == 0:
        return
    number, cell = plain[0]
    raise DataError(
        f"Column {column} has {len(shares)} numbers that are shown as per cent (50 % is the number 0.5), and"
        f" {len(plain)} above 1 that are not, such as {text(cell)} in cell {reference((number, at))}",
        "Have the publisher give all cells one format, or declare a type for the column in processing.columns to take"
        " the numbers as they are",
    )


def _is_date(cell: Any) -> bool:
    return isinstance(cell, dt.date | dt.time)


def _is_suspect(cell: Any) -> bool:
    if isinstance(cell, dt.datetime):
        return cell.date() == _DAY_BEFORE
    return cell == _DAY_BEFORE if isinstance(cell, dt.date) else isinstance(cell, dt.time)


def _is_long(cells: Sequence[Any]) -> bool:
    return any(isinstance(cell, int | float) and abs(cell) >= 10**15 for cell in cells)


def _declared(column: str, processing: Processing) -> list[Column]:
    every = processing.columns.items()
    return [each for name, each in every if each.source == column or name in (column, snake_case(column))]


def _has_type(column: str, processing: Processing) -> bool:
    return any(each.type is not None for each in _declared(column, processing))


def _nulls_of(column: str, processing: Processing) -> tuple[str, ...]:
    return tuple(text for each in _declared(column, processing) for text in each.nulls)


def _hours(cell: Any) -> Any:
    # calamine returns a duration in ODS as text.
    if isinstance(cell, str) and (match := _ODS_DURATION.fullmatch(cell)):
        sign, hours, minutes, seconds, fraction = match.groups()
        fraction = (fraction or "").rstrip("0")
        return f"{sign}{int(hours):02}:{minutes:>02}:{seconds:>02}{'.' + fraction if fraction else ''}"
    return cell


def _has_rows(book: calamine.CalamineWorkbook, path: Path, name: str) -> bool:
    # For an XLSX, calamine would make a table of the complete extent.
    if kind(path) == "xlsx":
        try:
            if not sheet_xml.inspect(path, name).cells:
                return False
        except DataError:
            return True  # reading the sheet raises the error
    return book.get_sheet_by_name(name).height > 0


def _packed(path: Path) -> Kind:
    check_size(path)  # first, since reading unpacks parts into memory
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except zipfile.BadZipFile as error:
        raise DataError(f"{path.name} can't be read: {error}", _AGAIN) from error
    if "xl/workbook.bin" in names:
        return "xlsb"
    if "content.xml" in names:
        return "ods"
    if "_rels/.rels" in names and any(name.endswith("workbook.xml") for name in names):
        return "xlsx"
    raise DataError(f"{path.name} is a zip file, but not a workbook", "Check what the source delivers")


@contextmanager
def _opened(path: Path) -> Generator[calamine.CalamineWorkbook]:
    try:
        if path.suffix.lower() in _SUFFIXES.get(kind(path), ()):
            book = calamine.CalamineWorkbook.from_path(str(path))
        else:
            # calamine recognises the kind by the bytes.
            with path.open("rb") as handle:
                book = calamine.CalamineWorkbook.from_filelike(handle)
        try:
            yield book
        finally:
            book.close()
    except (calamine.CalamineError, OSError) as error:
        raise _broken(path, error) from error
    except BaseException as error:
        # A panic in calamine's Rust code, such as for dates before any calendar.
        if type(error).__name__ == "PanicException":
            raise _broken(path, error) from error
        raise


def _broken(path: Path, error: BaseException) -> DataError:
    if isinstance(error, calamine.PasswordError):
        return DataError(f"{path.name} is encrypted with a password", "Ask the publisher for an unencrypted one")
    return DataError(f"{path.name} can't be read: {' '.join(str(error).split())[:300]}", _AGAIN)
