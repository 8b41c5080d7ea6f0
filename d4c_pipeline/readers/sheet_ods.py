"""Finds the parts of an OpenDocument sheet that calamine drops: errors, uncalculated formulas, digits, merged cells.

Also tabs and line breaks in texts, leading zeros, hidden columns. OpenDocument 1.3, part 3, section 9 describes the
elements, section 6.1 the white space of texts. LibreOffice defines the mark of errors.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.readers import markup
from d4c_pipeline.readers.sheet_xml import Cell, Range, Sheet, check_extent

_Value = TypeVar("_Value", str, int)

_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_LONGEST = 32_767  # characters in a cell of a spreadsheet program
_ERROR = re.compile(r"#(N/A|REF!|DIV/0!|VALUE!|NAME\?|NUM!|NULL!)|(Err|Fehler|Erreur):\s?\d{3}")
_PADDED = re.compile(r"0\d+")
_WHOLE = re.compile(r"\d+(\.0*)?")
_SPACE, _SPACES = re.compile(r"[ \t\r\n]+"), re.compile(r"[\t\r\n]|  |^ | $")
# Characters that XML can't hold, for what white space does not collapse with.
_SPACE_MARK, _TAB_MARK, _BREAK_MARK = "\x00", "\x01", "\x02"
_MARKS = str.maketrans({_SPACE_MARK: " ", _TAB_MARK: "\t", _BREAK_MARK: "\n"})
_HIDDEN = ("collapse", "filter")
_WIDEST = 1 << 14  # columns of a spreadsheet program
_MOST_REPEATED = 4_000_000
# The attribute with the value of a type. OpenDocument 1.3, part 3, 19.385.
_VALUES = {
    "float": "value", "percentage": "value", "currency": "value", "date": "date-value", "time": "time-value",
    "boolean": "boolean-value",
}  # fmt: skip
_LONG = re.compile(r"-?(\d{16,}|\d\.?\d*[eE]\+?(1[5-9]|[2-9]\d))")


def inspect(path: Path, name: str | None) -> tuple[Sheet, list[Range]]:
    """Return the findings of the sheet `name` (None: of all sheets together) and its merged ranges.

    Raises DataError for a sparse sheet, whose cells span far more than they fill, and for a broken file.
    """
    found, merged = Sheet(), list[Range]()
    try:
        with zipfile.ZipFile(path) as archive, archive.open("content.xml") as handle:
            if markup.has_document_type(handle):
                raise DataError(f"{path.name} declares entities, which no spreadsheet program does", "Check the source")
        with zipfile.ZipFile(path) as archive, archive.open("content.xml") as handle:
            _walk(ET.iterparse(handle, ("start", "end")), name, found, merged)  # noqa: S314 - it has no entities
    except (zipfile.BadZipFile, zlib.error, KeyError, ET.ParseError, ValueError) as error:
        raise DataError(f"{path.name} can't be read: {error}", "Fetch the vintage again") from error
    check_extent(found, f"Sheet {name} of {path.name}" if name else f"A sheet of {path.name}")
    return found, merged


def _walk(events: Iterator[tuple[str, ET.Element]], name: str | None, found: Sheet, merged: list[Range]) -> None:
    depth = 0  # of tables; one within a cell is deeper than 1
    inside = False
    times = 1
    row = column = hidden = valued = 0  # `valued`: the width of the row's values, each of which calamine repeats
    for event, element in events:
        if element.tag == f"{_TABLE}table":
            depth += 1 if event == "start" else -1
            if event == "start" and depth > 1:
                if inside:
                    found.unread[row, column] = "a table in the cell"
                continue
            if depth <= 1:
                inside = event == "start" and name in (None, element.get(f"{_TABLE}name"))
                row = hidden = 0
            if event == "end":
                element.clear()
        elif depth > 1:
            continue
        elif event == "end" and element.tag == f"{_TABLE}table-column":
            columns = _times(element, "number-columns-repeated")
            if inside and element.get(f"{_TABLE}visibility") in _HIDDEN and hidden < _WIDEST:
                found.hidden_columns += range(hidden, min(hidden + columns, _WIDEST))
            hidden += columns
        elif event == "start" and element.tag == f"{_TABLE}table-row":
            column = valued = 0
            times = _times(element, "number-rows-repeated")
        elif event == "end" and element.tag == f"{_TABLE}table-row":
            if inside and valued:
                found.rows, found.columns = max(found.rows, row + times), max(found.columns, valued)
                found.cells += (times - 1) * valued
                check_extent(found, "A sheet")
                if element.get(f"{_TABLE}visibility") in _HIDDEN:
                    found.hidden_rows += times
            row += times
            element.clear()
        elif event == "end" and element.tag in (f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
            columns = _times(element, "number-columns-repeated")
            if inside and _note(element, (row, column), (times, columns), found, merged):
                valued = column + columns
                found.cells += columns - 1
            column += columns


def _times(element: ET.Element, attribute: str) -> int:
    return max(1, int(element.get(f"{_TABLE}{attribute}", "1")))


def _note(element: ET.Element, cell: Cell, times: tuple[int, int], found: Sheet, merged: list[Range]) -> bool:
    # Notes what the cell and its repetitions (`times`: rows, columns) hold, and returns whether it has a value.
    if any(int(each.get(f"{_TEXT}c", "1")) > _LONGEST for each in element.iter(f"{_TEXT}s")):
        raise ValueError(f"more than {_LONGEST:,} spaces in a cell")
    row, column = cell
    kind = element.get(f"{_OFFICE}value-type")
    paragraphs = element.findall(f"{_TEXT}p")  # a comment has paragraphs of its own, deeper
    text = "\n".join(map(_text, paragraphs))
    formula = element.get(f"{_TABLE}formula")
    if kind is not None or text or formula is not None:
        found.cells += 1
        found.rows, found.columns = max(found.rows, row + 1), max(found.columns, column + 1)
    rows = int(element.get(f"{_TABLE}number-rows-spanned", "1"))
    columns = int(element.get(f"{_TABLE}number-columns-spanned", "1"))
    if rows > 1 or columns > 1:
        merged.append((cell, (row + rows - 1, column + columns - 1)))
    is_error = any(key.endswith("}value-type") and value == "error" for key, value in element.attrib.items())
    attribute = _VALUES.get(kind or "")
    value = element.get(f"{_OFFICE}{attribute}", "")
    if is_error or (formula is not None and _ERROR.fullmatch(text)):
        _spread(found.errors, cell, times, text or "an error")
    elif formula is not None and kind is None:
        _spread(found.formulas, cell, times, "=" + formula.partition("=")[2])
    elif attribute is not None and not value.strip():
        _spread(found.unread, cell, times, f"a {kind} without a value, shown as {text[:60]!r}")
    if kind == "percentage":
        for at in range(column, column + min(times[1], _WIDEST)):
            found.percents.setdefault(at, []).extend(range(row, row + min(times[0], _MOST_REPEATED)))
    if kind == "float" and _LONG.fullmatch(value):
        _spread(found.digits, cell, times, value)
    if kind == "float" and _PADDED.fullmatch(text) and _WHOLE.fullmatch(value) and int(text) == int(float(value)):
        _spread(found.padded, cell, times, len(text))
    if (
        kind in (None, "string")
        and element.get(f"{_OFFICE}string-value") is None
        and any(_is_odd(each) for each in paragraphs)
    ):
        _spread(found.texts, cell, times, text)
    return kind is not None or bool(text) or formula is not None


def _spread(into: dict[Cell, _Value], cell: Cell, times: tuple[int, int], value: _Value) -> None:
    (row, column), (rows, columns) = cell, times
    if rows * columns > _MOST_REPEATED:
        raise ValueError(f"a value in {rows * columns:,} cells")
    into.update(((row + down, column + right), value) for down in range(rows) for right in range(columns))


def _is_odd(paragraph: ET.Element) -> bool:
    # calamine drops tabs and line breaks, and keeps white space that indents the XML.
    if any(element.tag in (f"{_TEXT}tab", f"{_TEXT}line-break") for element in paragraph.iter()):
        return True
    return _SPACES.search("".join(paragraph.itertext())) is not None


def _text(paragraph: ET.Element) -> str:
    # OpenDocument 1.3, part 3, 6.1.2: white space is one space, none at the ends; elements stand for any more.
    parts: list[str] = []
    _collect(paragraph, parts)
    collapsed = _SPACE.sub(" ", "".join(parts)).strip(" ")
    return collapsed.translate(_MARKS)


def _collect(element: ET.Element, parts: list[str]) -> None:
    parts.append(element.text or "")
    for each in element:
        if each.tag == f"{_TEXT}s":
            parts.append(_SPACE_MARK * int(each.get(f"{_TEXT}c", "1")))
        elif each.tag == f"{_TEXT}tab":
            parts.append(_TAB_MARK)
        elif each.tag == f"{_TEXT}line-break":
            parts.append(_BREAK_MARK)
        elif each.tag != f"{_OFFICE}annotation":
            _collect(each, parts)
        parts.append(each.tail or "")
