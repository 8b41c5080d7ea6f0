"""Bounds the shared texts of an XLSX, which are stored once and copied to each cell that refers to them.

A text of 20 MB in three thousand cells takes a reader 60 GB. ECMA-376, part 1, section 18.4.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.limits import Limits
from d4c_pipeline.readers import bounded

_BLOCK = 1 << 22
_TEXT = re.compile(rb"<(?:\w+:)?c\b[^>]*\bt=[\"']s[\"'][^>]*>\s*<(?:\w+:)?v[^>]*>\s*(\d+)")
# Bytes of a text with its markup; Excel allows 32,767 characters in a cell.
_LONGEST = 1 << 20


def check(archive: zipfile.ZipFile, texts: str, sheet: str, path: Path) -> None:
    """Raise DataError when the shared texts of all cells of a sheet exceed the limit.

    `texts`, `sheet`: names of the parts; a missing part is not checked.
    """
    there = set(archive.namelist())
    if texts not in there or sheet not in there:
        return
    limits = Limits.from_environment()
    lengths = list(_lengths(archive, texts, path))
    # In most workbooks even the longest text in every possible cell is below the limit.
    cells = archive.getinfo(sheet).file_size // len(b"<c t='s'><v>0</v></c>")
    if max(lengths, default=0) * cells <= limits.expansion_from:
        return
    total, size = 0, path.stat().st_size
    rest = b""
    with archive.open(sheet) as handle:
        while data := handle.read(_BLOCK):
            data = rest + data
            end = data.rfind(b"<c ") if len(data) > _BLOCK else max(data.rfind(b"<c "), 0)
            block, rest = (data[:end], data[end:]) if end > 0 else (data, b"")
            for number in _TEXT.findall(block):
                at = int(number)
                total += lengths[at] if at < len(lengths) else 0
            if total > limits.expansion_from and total > limits.expansion / 10 * size:
                raise bounded.expanded(f"Sheet {sheet} of {path.name}", total, size, limits)


def _lengths(archive: zipfile.ZipFile, texts: str, path: Path) -> Iterator[int]:
    rest = b""
    with archive.open(texts) as handle:
        while data := handle.read(_BLOCK):
            parts = (rest + data).split(b"si>")
            rest = parts.pop()
            if len(rest) > _LONGEST or any(len(part) > _LONGEST for part in parts):
                raise DataError(
                    f"{path.name} has a text of more than {_LONGEST:,} bytes in a cell, which holds 32,767 characters",
                    "Have the publisher save the workbook with a spreadsheet program",
                )
            # Each text ends with </si>, and most begin with <si>.
            yield from (len(part) for part in parts if part.endswith((b"</", b":")) and len(part) > len(b"<x:"))
