"""Finds errors and formulas without values in the binary format XLS, which calamine returns as empty cells.

[MS-CFB] describes the container, [MS-XLS] 2.4 the records.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.readers.sheet_xml import Sheet, check_extent

_FREE = 0xFFFFFFFA  # this and larger numbers are not sectors
_BOF, _EOF, _BOUNDSHEET, _FORMULA, _BOOLERR, _CODEPAGE_UNICODE = 0x0809, 0x000A, 0x0085, 0x0006, 0x0205, 1
# Records with a value begin with row and column; records of several cells end with the last column. [MS-XLS] 2.4.
_VALUES = {0x0203, 0x027E, 0x0204, 0x00FD, 0x0205, 0x0006, 0x00D6}
_SEVERAL = 0x00BD
_MINI = 64  # bytes of a mini sector
_ERRORS = {
    0x00: "#NULL!", 0x07: "#DIV/0!", 0x0F: "#VALUE!", 0x17: "#REF!", 0x1D: "#NAME?", 0x24: "#NUM!", 0x2A: "#N/A",
}  # fmt: skip
_ERROR_RESULT, _EMPTY_RESULT = 2, 3
_ROOT = 5


def check(path: Path) -> None:
    """Raise DataError for a sparse sheet, whose cells span far more than they fill, and for a broken container.

    calamine makes tables of all sheets when it opens the workbook.
    """
    try:
        stream = _workbook(path.read_bytes())
        for name, start in _sheets(stream):
            found = Sheet()
            for kind, body in _records(stream, start):
                if kind in _VALUES or kind == _SEVERAL:
                    row, column = _cell(body)
                    last = struct.unpack_from("<H", body, len(body) - 2)[0] if kind == _SEVERAL else column
                    found.rows, found.columns = max(found.rows, row + 1), max(found.columns, last + 1)
                    found.cells += max(1, last - column + 1)
            check_extent(found, f"Sheet {name} of {path.name}")
    except (struct.error, IndexError, OverflowError, ValueError) as error:
        raise DataError(
            f"{path.name} can't be read: its records are broken ({str(error)[:100]})", "Fetch the vintage again"
        ) from error


def inspect(path: Path, name: str) -> Sheet:
    """Return the errors and uncalculated formulas of the sheet `name`. Raises DataError for a broken container.

    A formula whose result is empty text and a formula that was never calculated have the same record. Such formulas
    count as uncalculated if no formula of the sheet has a value.
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
    # The records of one substream, without the substreams of charts within it.
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
    # The stream `Workbook` of a compound file; a small stream is stored in mini sectors of the root's stream.
    shift = struct.unpack_from("<H", data, 30)[0]
    if shift not in (9, 12):
        raise ValueError(f"sectors of 2^{shift} bytes")
    size = 1 << shift
    count, first, _, cutoff, small, _, extra, _ = struct.unpack_from("<IIIIIIII", data, 44)
    fat_sectors = list(struct.unpack_from("<109I", data, 76))
    while extra < _FREE and len(fat_sectors) * size <= len(data):
        more = struct.unpack_from(f"<{size // 4}I", data, (extra + 1) * size)
        fat_sectors += more[:-1]
        extra = more[-1]
    fat: list[int] = []
    for sector in fat_sectors[: min(count, len(data) // size)]:
        fat += struct.unpack_from(f"<{size // 4}I", data, (sector + 1) * size)

    def chained(sector: int) -> bytes:
        return _chained(data, fat, sector, size, size)

    directory = chained(first)
    root = b""
    for at in range(0, len(directory) - 127, 128):
        length = struct.unpack_from("<H", directory, at + 64)[0]
        name = directory[at : at + max(length - 2, 0)].decode("utf-16-le", "replace")
        sector, stream_size = struct.unpack_from("<II", directory, at + 116)
        if directory[at + 66] == _ROOT:
            root = chained(sector)
        if name in ("Workbook", "Book"):
            if stream_size >= cutoff:
                return chained(sector)[:stream_size]
            raw = chained(small)
            return _chained(root, list(struct.unpack(f"<{len(raw) // 4}I", raw)), sector, _MINI, 0)[:stream_size]
    return b""


def _chained(data: bytes, table: list[int], sector: int, size: int, start: int) -> bytes:
    out: list[bytes] = []
    while sector < _FREE and len(out) <= len(table):
        out.append(data[start + sector * size : start + (sector + 1) * size])
        sector = table[sector]
    return b"".join(out)
