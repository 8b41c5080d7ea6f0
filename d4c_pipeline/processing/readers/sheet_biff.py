"""Errors and formulas without values in the old binary format (XLS), of which calamine makes empty cells.

Only the records that say so are looked at. The container is described in [MS-CFB], the records in [MS-XLS] 2.4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.processing.readers.sheet_xml import Sheet

_FREE = 0xFFFFFFFA  # this and what is above name no sector
_BOF, _EOF, _BOUNDSHEET, _FORMULA, _BOOLERR, _CODEPAGE_UNICODE = 0x0809, 0x000A, 0x0085, 0x0006, 0x0205, 1
_ERRORS = {
    0x00: "#NULL!", 0x07: "#DIV/0!", 0x0F: "#VALUE!", 0x17: "#REF!", 0x1D: "#NAME?", 0x24: "#NUM!", 0x2A: "#N/A",
}  # fmt: skip
_ERROR_RESULT, _EMPTY_RESULT = 2, 3


def look(path: Path, name: str) -> Sheet:
    """Look through the records of the sheet `name`. Raises DataError for a container that is broken.

    A formula of an empty text and one that was never calculated look the same: it counts as the latter where no formula
    of the sheet has a value.
    """
    found = Sheet()
    valued = 0
    try:
        stream = _workbook(path.read_bytes())
        start = next((at for sheet, at in _sheets(stream) if sheet == name), None)
        if start is None:
            return found
        for kind, body in _records(stream, start):
            if kind == _BOOLERR and body[7]:
                found.errors[_cell(body)] = _ERRORS.get(body[6], "an error")
            elif kind == _FORMULA:
                result = body[6:14]
                if result[6:8] != b"\xff\xff":
                    valued += 1
                elif result[0] == _ERROR_RESULT:
                    found.errors[_cell(body)] = _ERRORS.get(result[2], "an error")
                elif result[0] == _EMPTY_RESULT:
                    found.formulas[_cell(body)] = "="
                else:
                    valued += 1
    except (struct.error, IndexError) as error:
        raise DataError(
            f"{path.name} can't be read: its records are broken ({error})", "Fetch the vintage again"
        ) from error
    if valued:
        found.formulas.clear()
    return found


def _cell(body: bytes) -> tuple[int, int]:
    row, column = struct.unpack_from("<HH", body)
    return row, column


def _sheets(stream: bytes) -> Iterator[tuple[str, int]]:
    for kind, body in _records(stream, 0):
        if kind == _BOUNDSHEET:
            length, flags = body[6], body[7]
            if flags & _CODEPAGE_UNICODE:
                yield body[8 : 8 + 2 * length].decode("utf-16-le", "replace"), struct.unpack_from("<I", body)[0]
            else:
                yield body[8 : 8 + length].decode("latin-1"), struct.unpack_from("<I", body)[0]


def _records(stream: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    # Of one substream; those of charts lie within.
    depth = 0
    while at + 4 <= len(stream):
        kind, length = struct.unpack_from("<HH", stream, at)
        if kind == _BOF:
            depth += 1
        elif kind == _EOF:
            depth -= 1
            if depth <= 0:
                return
        elif depth == 1:
            yield kind, stream[at + 4 : at + 4 + length]
        at += 4 + length


def _workbook(data: bytes) -> bytes:
    # The stream of that name in a compound file; a small one lies elsewhere, and has few cells in it.
    size = 1 << struct.unpack_from("<H", data, 30)[0]
    count, first, _, cutoff, _, _, extra, _ = struct.unpack_from("<IIIIIIII", data, 44)
    fat_sectors = list(struct.unpack_from("<109I", data, 76))
    while extra < _FREE:
        more = struct.unpack_from(f"<{size // 4}I", data, (extra + 1) * size)
        fat_sectors += more[:-1]
        extra = more[-1]
    fat: list[int] = []
    for sector in fat_sectors[:count]:
        fat += struct.unpack_from(f"<{size // 4}I", data, (sector + 1) * size)

    def chained(sector: int) -> bytes:
        out: list[bytes] = []
        while sector < _FREE and len(out) <= len(fat):
            out.append(data[(sector + 1) * size : (sector + 2) * size])
            sector = fat[sector]
        return b"".join(out)

    directory = chained(first)
    for at in range(0, len(directory), 128):
        length = struct.unpack_from("<H", directory, at + 64)[0]
        called = directory[at : at + max(length - 2, 0)].decode("utf-16-le", "replace")
        if called in ("Workbook", "Book"):
            sector, bytes_of_it = struct.unpack_from("<II", directory, at + 116)
            return chained(sector)[:bytes_of_it] if bytes_of_it >= cutoff else b""
    return b""
