"""Finds the parts of an OpenDocument sheet that calamine drops: errors, uncalculated formulas, digits, merged cells.

OpenDocument 1.3, part 3, section 9 describes the elements. LibreOffice defines the mark of errors.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.readers import markup
from d4c_pipeline.readers.sheet_xml import Range, Sheet, check_extent

_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_LONGEST = 32_767  # characters in a cell of a spreadsheet program
_ERROR = re.compile(r"#(N/A|REF!|DIV/0!|VALUE!|NAME\?|NUM!|NULL!)|(Err|Fehler|Erreur):\s?\d{3}")
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
    inside = False
    row = column = valued = 0  # `valued`: the width of the row's values, each of which calamine repeats
    for event, element in events:
        if element.tag == f"{_TABLE}table":
            inside = event == "start" and name in (None, element.get(f"{_TABLE}name"))
            row = 0
            if event == "end":
                element.clear()
        elif event == "start" and element.tag == f"{_TABLE}table-row":
            column = valued = 0
        elif event == "end" and element.tag == f"{_TABLE}table-row":
            times = max(1, int(element.get(f"{_TABLE}number-rows-repeated", "1")))
            if inside and valued:
                found.rows, found.columns = max(found.rows, row + times), max(found.columns, valued)
                found.cells += (times - 1) * valued
                check_extent(found, "A sheet")
            row += times
            if inside and element.get(f"{_TABLE}visibility") in ("collapse", "filter"):
                found.hidden_rows += 1
            element.clear()
        elif event == "end" and element.tag in (f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
            times = max(1, int(element.get(f"{_TABLE}number-columns-repeated", "1")))
            if inside and _note(element, row, column, found, merged):
                valued = column + times
                found.cells += times - 1
            column += times


def _note(element: ET.Element, row: int, column: int, found: Sheet, merged: list[Range]) -> bool:
    # Returns whether the cell has a value.
    if any(int(each.get(f"{_TEXT}c", "1")) > _LONGEST for each in element.iter(f"{_TEXT}s")):
        raise ValueError(f"more than {_LONGEST:,} spaces in a cell")
    kind = element.get(f"{_OFFICE}value-type")
    text = "".join("".join(each.itertext()) for each in element.iter(f"{_TEXT}p"))
    formula = element.get(f"{_TABLE}formula")
    cell = (row, column)
    if kind is not None or text or formula is not None:
        found.cells += 1
        found.rows, found.columns = max(found.rows, row + 1), max(found.columns, column + 1)
    rows = int(element.get(f"{_TABLE}number-rows-spanned", "1"))
    columns = int(element.get(f"{_TABLE}number-columns-spanned", "1"))
    if rows > 1 or columns > 1:
        merged.append((cell, (row + rows - 1, column + columns - 1)))
    is_error = any(key.endswith("}value-type") and value == "error" for key, value in element.attrib.items())
    if is_error or (formula is not None and _ERROR.fullmatch(text)):
        found.errors[cell] = text or "an error"
    elif formula is not None and kind is None:
        found.formulas[cell] = "=" + formula.partition("=")[2]
    value = element.get(f"{_OFFICE}value", "")
    if kind == "float" and _LONG.fullmatch(value):
        found.digits[cell] = value
    return kind is not None or bool(text) or formula is not None
