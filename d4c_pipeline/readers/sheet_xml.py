"""Finds the parts of an XLSX sheet that calamine drops: errors, formulas without values, digits, extent.

The XML is searched in blocks of rows, which is much faster than parsing; only blocks with a match are parsed.
`workbook` decides what to do with the findings. ECMA-376, part 1, section 18.3.1 describes the elements.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import join, normpath, split
from typing import IO, TypeAlias

import numpy as np

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.limits import Limits, beyond
from d4c_pipeline.readers import sheet_texts

# Row and column from 0.
Cell: TypeAlias = "tuple[int, int]"
Range: TypeAlias = "tuple[Cell, Cell]"

_BLOCK = 1 << 22
_PART_BYTES = 64 << 20
_ROW_BYTES = 128 << 20  # Excel has 16,384 columns
# A table of so many cells is always read; a larger table must be filled to this share. calamine and Python take about
# 100 bytes per cell.
_CELLS, _FILLED = 4_000_000, 0.02
_ROW = re.compile(rb"<(?:\w+:)?row\b([^>]*?)(?:/>|>(.*?)</(?:\w+:)?row>)", re.DOTALL)
_CELL = re.compile(rb"<(?:\w+:)?c\b([^>]*?)(?:/>|>(.*?)</(?:\w+:)?c>)", re.DOTALL)
_VALUE = re.compile(rb"<(?:\w+:)?v\b[^>]*>([^<]*)</")
_FORMULA = re.compile(rb"<(?:\w+:)?f\b[^>]*?(?:/>|>([^<]*)</)")
_ATTRIBUTE = re.compile(rb"""\b(r|t|s|hidden|min|max)\s*=\s*["']([^"']*)["']""")
_REFERENCE = re.compile(rb"([A-Z]+)(\d+)")
_CELL_COUNT = re.compile(rb"<(?:\w+:)?c[ />]")
_WIDE = re.compile(rb"""\br\s*=\s*["']([A-Z]{2,})\d""")
_ROW_NUMBER = re.compile(rb"""<(?:\w+:)?row\b[^>]*?\br\s*=\s*["'](\d+)["']""")
# A row or cell far down: rows may have any order, and cells may refer to another row.
_FAR = re.compile(rb"""\br\s*=\s*["'][A-Z]*(\d{7,})""")
_HIDDEN_ROW = re.compile(rb'<(?:\w+:)?row\b[^>]*?\bhidden="(?:1|true)"')
_COLUMN = re.compile(rb"<(?:\w+:)?col\b([^>]*?)/?>")
# A formula without a value; a zero value; a number with more digits than Excel has; a number that is
# 29 February 1900, or no date, if its format is a date.
_NO_VALUE = re.compile(
    rb"(?:</(?:\w+:)?f>|<(?:\w+:)?f\b[^>]*/>)\s*(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v>\s*</(?:\w+:)?v>)?\s*</(?:\w+:)?c>"
)
_ZERO_VALUE = re.compile(rb"(?:</(?:\w+:)?f>|<(?:\w+:)?f\b[^>]*/>)\s*<(?:\w+:)?v>0</")
_LONG = re.compile(rb"v>-?(?:\d{16,}|\d\.?\d*[eE]\+?(?:1[5-9]|[2-9]\d))")
_ODD_DATE = re.compile(rb"v>(?:60(?:\.\d+)?<|-)")
PERCENTS = (9, 10)  # the numbers of the formats 0% and 0.00%, which no file declares
# Parts of a number format that are no digits: a locale, currency or colour, an escaped or quoted text, a separator.
_BESIDE_DIGITS = re.compile(r'\[(?:\$[^]]*|[A-Za-z]+)\]|\\.|"[^"]*"|_.|[ \-()]')


@dataclass
class Sheet:
    """The findings of a sheet. `cells` is the number of cells in the XML, `rows` and `columns` are their extent.

    `errors`: cell -> `#N/A`. `formulas`: cell without a calculated value -> its formula. `digits`: cell with an integer
    of more than 15 digits -> its text. `padded`: cell shown with leading zeros -> its number of digits. `texts`: cell
    -> its text, where calamine returns another. `unread`: cell with a value that calamine returns as empty -> what it
    is. `percents`: column -> rows of the numbers shown as per cent. `leap_days`: cells with the number 60, which is
    29 February 1900 if their format is a date. `negatives`: cells with a number below 0, which no date of a workbook
    has.
    """

    rows: int = 0
    columns: int = 0
    cells: int = 0
    hidden_rows: int = 0
    hidden_columns: list[int] = field(default_factory=list[int])
    errors: dict[Cell, str] = field(default_factory=dict[Cell, str])
    formulas: dict[Cell, str] = field(default_factory=dict[Cell, str])
    digits: dict[Cell, str] = field(default_factory=dict[Cell, str])
    padded: dict[Cell, int] = field(default_factory=dict[Cell, int])
    texts: dict[Cell, str] = field(default_factory=dict[Cell, str])
    unread: dict[Cell, str] = field(default_factory=dict[Cell, str])
    percents: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    leap_days: list[Cell] = field(default_factory=list[Cell])
    negatives: list[Cell] = field(default_factory=list[Cell])


def inspect(path: Path, name: str, *, odd_dates: bool = False) -> Sheet:
    """Return the findings of the sheet `name` of the workbook at `path`, those of odd dates only if `odd_dates`.

    Raises DataError for a sparse sheet (a file of 1.5 kB may have a cell at XFD1048576, and every reader makes a table
    of all cells up to it), and for a missing part.
    """
    found = Sheet()
    try:
        with zipfile.ZipFile(path) as archive:
            parts = _parts(archive, path)
            sheet_texts.check(archive, parts.by_type.get("sharedStrings", ""), parts.sheet(name, path), path)
            part, is_dirty, styles = parts.sheet(name, path), parts.is_dirty, _styles(archive, parts, path)
            with archive.open(part) as handle:
                for block in _blocks(handle):
                    _search(block, found, is_dirty=is_dirty, styles=styles, odd_dates=odd_dates)
            if _is_sparse(found):
                # Cells with a format and no value don't count.
                found.rows, found.columns, found.cells = _extent(archive, part)
    except (zipfile.BadZipFile, zlib.error, KeyError, OSError, EOFError, ValueError, ET.ParseError) as error:
        raise DataError(f"{path.name} can't be read: {error}", "Fetch the vintage again") from error
    check_extent(found, f"Sheet {name} of {path.name}")
    return found


def check_extent(found: Sheet, name: str) -> None:
    """Raise DataError when the cells of a sheet span far more than they fill, or exceed the limit of `model.limits`.

    Readers fill the cells in between.
    """
    limits = Limits.from_environment()
    if found.rows * found.columns > limits.cells and not _is_sparse(found):
        raise beyond(
            name, f"has {found.rows:,} rows of {found.columns:,} columns, more than {limits.cells:,} cells", "cells"
        )
    if _is_sparse(found):
        raise DataError(
            f"{name} spans {found.rows:,} rows and {found.columns:,} columns, but has values in {found.cells:,} cells:"
            f" a cell is far from the others (the last cell is {reference((found.rows - 1, found.columns - 1))})",
            "Have the publisher delete the rows and columns after the table and save the workbook again",
        )


def _is_sparse(found: Sheet) -> bool:
    return found.rows * found.columns > max(_CELLS, found.cells / _FILLED)


def _extent(archive: zipfile.ZipFile, part: str) -> tuple[int, int, int]:
    rows = columns = cells = 0
    with archive.open(part) as handle:
        for block in _blocks(handle):
            for row in _ROW.finditer(block):
                number, column = dict(_ATTRIBUTE.findall(row[1])).get(b"r", b""), 0
                for match in _CELL.finditer(row[2] or b""):
                    # A cell without a reference follows the previous cell in the same row.
                    if place := _REFERENCE.fullmatch(dict(_ATTRIBUTE.findall(match[1])).get(b"r", b"")):
                        number, column = place[2], _column(place[1][:8])
                    column += 1
                    if match[2]:
                        rows = max(rows, int(number[:10]) if number.isdigit() else rows + 1)
                        columns, cells = max(columns, column), cells + 1
    return rows, columns, cells


def reference(cell: Cell) -> str:
    """Return the name of the cell in a spreadsheet: (1, 27) is AB2."""
    row, column = cell
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return f"{letters}{row + 1}"


def leading_zeros(code: str) -> int:
    """Return the number of digits that a number format shows at least: 5 for `00000`, 9 for `000 000 000`.

    0: the format shows numbers without leading zeros, or with decimals or a unit.
    """
    first = code.partition(";")[0]
    # `"00000"` in quotes is what some programs write for the format 00000.
    digits = first.strip('"') if not first.strip('"').strip("0") else _BESIDE_DIGITS.sub("", first)
    return len(digits) if len(digits) > 1 and not digits.strip("0") else 0


def is_percent(code: str) -> bool:
    """Return whether a number format shows a number as per cent."""
    return "%" in _BESIDE_DIGITS.sub("", code.partition(";")[0])


def _blocks(handle: IO[bytes]) -> Iterator[bytes]:
    # Cut after the end of a row.
    rest = b""
    while data := handle.read(_BLOCK):
        data = rest + data
        end = data.rfind(b"</row>") + len(b"</row>")
        if end < len(b"</row>"):
            end = data.rfind(b":row>") + len(b":row>")
            end = 0 if end < len(b":row>") else end
        if not end:
            if len(data) > _ROW_BYTES:
                raise EOFError(f"a row of more than {_ROW_BYTES:,} bytes")
            rest = data
            continue
        yield data[:end]
        rest = data[end:]
    yield rest


def _search(block: bytes, found: Sheet, *, is_dirty: bool, styles: _Styles, odd_dates: bool) -> None:
    first = found.rows
    found.cells += block.count(b"<c ") or len(_CELL_COUNT.findall(block))
    at = block.rfind(b"<row")
    last = _ROW_NUMBER.match(block, at if at >= 0 else block.rfind(b"<", 0, max(block.rfind(b":row "), 0)))
    found.rows = max(found.rows, int(last[1])) if last else found.rows + block.count(b"<row")
    found.rows = max(found.rows, max((int(row[:10]) for row in _FAR.findall(block)), default=0))
    wide = {letters[:8] for letters in _WIDE.findall(block)} or {b"Z"}
    found.columns = max(found.columns, max(map(_column, wide)) + 1)
    if b"hidden=" in block:
        found.hidden_rows += len(_HIDDEN_ROW.findall(block))
        found.hidden_columns += _hidden_columns(block)
    has_formula = b"<f" in block or (at < 0 and b":f" in block)
    if (
        b't="e"' in block
        or (has_formula and _NO_VALUE.search(block))
        or (has_formula and is_dirty and _ZERO_VALUE.search(block))
        or _LONG.search(block)
        or any(b's="%b"' % style in block for style in (*styles.padded, *styles.percents))
        or (odd_dates and _ODD_DATE.search(block))
    ):
        _parse(block, found, first, is_dirty=is_dirty, styles=styles)


def _parse(block: bytes, found: Sheet, row: int, *, is_dirty: bool, styles: _Styles) -> None:
    for match in _ROW.finditer(block):
        attributes = dict(_ATTRIBUTE.findall(match[1]))
        row = int(attributes[b"r"]) - 1 if b"r" in attributes else row
        column = 0
        for inner in _CELL.finditer(match[2] or b""):
            of_cell = dict(_ATTRIBUTE.findall(inner[1]))
            if place := _REFERENCE.fullmatch(of_cell.get(b"r", b"")):
                column = _column(place[1])
            _note((row, column), of_cell, inner[2] or b"", found, is_dirty=is_dirty, styles=styles)
            column += 1
        row += 1


def _note(
    cell: Cell, attributes: dict[bytes, bytes], body: bytes, found: Sheet, *, is_dirty: bool, styles: _Styles
) -> None:
    kind = attributes.get(b"t", b"n")
    value = _VALUE.search(body)
    text = value[1].strip().decode("utf-8", "replace") if value else ""
    if kind == b"e":
        found.errors[cell] = text or "an error"
    formula = _FORMULA.search(body)
    # A formula may return empty text.
    if formula is not None and kind != b"str" and (not text or (is_dirty and text == "0")):
        found.formulas[cell] = "=" + (formula[1] or b"").decode("utf-8", "replace")
    if kind != b"n" or not text:
        return
    if _LONG.match(b"v>" + text.encode()):
        found.digits[cell] = text
    style = attributes.get(b"s", b"")
    if (width := styles.padded.get(style)) is not None:
        found.padded[cell] = width
    if style in styles.percents:
        found.percents.setdefault(cell[1], []).append(cell[0])
    if text.partition(".")[0] == "60":
        found.leap_days.append(cell)
    elif text.startswith("-"):
        found.negatives.append(cell)


def _hidden_columns(block: bytes) -> list[int]:
    hidden = np.zeros(1 << 14, np.bool_)
    for match in _COLUMN.finditer(block):
        attributes = dict(_ATTRIBUTE.findall(match[1]))
        if attributes.get(b"hidden") in (b"1", b"true"):
            hidden[max(int(attributes[b"min"]) - 1, 0) : int(attributes[b"max"])] = True
    return [int(at) for at in np.flatnonzero(hidden)]


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1


@dataclass(frozen=True)
class _Parts:
    """The parts of a workbook: its main part, and the targets of relations by ID and by the last word of the type."""

    workbook: ET.Element
    by_id: dict[str, str]
    by_type: dict[str, str]

    @property
    def is_dirty(self) -> bool:
        """Whether the workbook was written without calculated values, which the opening program calculates."""
        every = (each for each in self.workbook.iter() if _local(each) == "calcPr")
        return any(each.get("fullCalcOnLoad") in ("1", "true") for each in every)

    def sheet(self, name: str, path: Path) -> str:
        for each in self.workbook.iter():
            if _local(each) == "sheet" and each.get("name") == name:
                key = next((value for attribute, value in each.attrib.items() if attribute.endswith("}id")), "")
                if key in self.by_id:
                    return self.by_id[key]
        raise DataError(f"{path.name} has no part for its sheet {name}", "Fetch the vintage again")


def _parts(archive: zipfile.ZipFile, path: Path) -> _Parts:
    _, top = _relations(archive, "", path)
    main = top.get("officeDocument", "xl/workbook.xml")
    by_id, by_type = _relations(archive, main, path)
    return _Parts(_parsed(archive, main, path), by_id, by_type)


def _relations(archive: zipfile.ZipFile, part: str, path: Path) -> tuple[dict[str, str], dict[str, str]]:
    folder, name = split(part)
    by_id: dict[str, str] = {}
    by_type: dict[str, str] = {}
    for each in _parsed(archive, join(folder, "_rels", f"{name}.rels"), path):
        target = each.get("Target", "")
        target = target.lstrip("/") if target.startswith("/") else normpath(join(folder, target))
        by_id[each.get("Id", "")] = target
        by_type[each.get("Type", "").rpartition("/")[2]] = target
    return by_id, by_type


@dataclass(frozen=True)
class _Styles:
    """Indexes of styles: of leading zeros with the number of digits, and of per cent."""

    padded: dict[bytes, int] = field(default_factory=dict[bytes, int])
    percents: frozenset[bytes] = frozenset()


def _styles(archive: zipfile.ZipFile, parts: _Parts, path: Path) -> _Styles:
    if (part := parts.by_type.get("styles", "")) not in archive.namelist():
        return _Styles()
    styles = _parsed(archive, part, path)
    codes = {each.get("numFmtId", ""): each.get("formatCode", "") for each in styles.iter() if _local(each) == "numFmt"}
    groups = [each for each in styles if _local(each) == "cellXfs"]
    of_cells = [each.get("numFmtId", "") for group in groups for each in group]
    padded = {number: width for number, code in codes.items() if (width := leading_zeros(code))}
    percents = {*map(str, PERCENTS), *(number for number, code in codes.items() if is_percent(code))}
    return _Styles(
        {str(at).encode(): padded[number] for at, number in enumerate(of_cells) if number in padded},
        frozenset(str(at).encode() for at, number in enumerate(of_cells) if number in percents),
    )


def _parsed(archive: zipfile.ZipFile, part: str, path: Path) -> ET.Element:
    with archive.open(part) as handle:
        text = handle.read(_PART_BYTES + 1)
    bare = text.replace(b"\x00", b"")  # UTF-16 has a zero byte beside each letter
    if len(text) > _PART_BYTES or b"<!DOCTYPE" in bare or b"<!ENTITY" in bare:
        raise DataError(f"{path.name} has a part {part} that no spreadsheet program writes", "Fetch the vintage again")
    return ET.fromstring(text)  # noqa: S314 - no document type, hence no entities


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
