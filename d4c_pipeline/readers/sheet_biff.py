"""Finds what calamine drops of the binary format XLS: errors, formulas without values, leading zeros, hidden rows.

[MS-CFB] describes the container, [MS-XLS] 2.4 the records.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.readers.sheet_xml import PERCENTS, Cell, Sheet, check_extent, is_percent, leading_zeros

_FREE = 0xFFFFFFFA  # this and larger numbers are not sectors
_BOF, _EOF, _BOUNDSHEET, _FORMULA, _BOOLERR, _CODEPAGE_UNICODE = 0x0809, 0x000A, 0x0085, 0x0006, 0x0205, 1
# Records with a value begin with row and column; records of several cells end with the last column. [MS-XLS] 2.4.
_VALUES = {0x0203, 0x027E, 0x0204, 0x00FD, 0x0205, 0x0006, 0x00D6}
_SEVERAL = 0x00BD
_FORMAT, _XF, _ROW, _COLUMNS = 0x041E, 0x00E0, 0x0208, 0x007D
_NUMBER, _RK = 0x0203, 0x027E
_BIFF8 = 0x0600
_HIDDEN_ROW, _HIDDEN_COLUMN = 0x20, 1
_WIDEST = 256  # columns
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
    """Return the findings of the sheet `name`. Raises DataError for a broken container.

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
        padded, percents = _styles(stream)
        rows, hidden = set[int](), set[int]()
        for kind, body in _records(stream, start):
            for cell, style, number in _numbers(kind, body):
                rows.add(cell[0])
                if style in padded:
                    found.padded[cell] = padded[style]
                if style in percents:
                    found.percents.setdefault(cell[1], []).append(cell[0])
                if 60 <= number < 61:
                    found.leap_days.append(cell)
                elif number < 0:
                    found.negatives.append(cell)
            if kind in _VALUES:
                rows.add(_cell(body)[0])
            if kind == _ROW and struct.unpack_from("<I", body, 12)[0] & _HIDDEN_ROW:
                hidden.add(_cell(body)[0])
            elif kind == _COLUMNS and struct.unpack_from("<H", body, 8)[0] & _HIDDEN_COLUMN:
                first, last = struct.unpack_from("<HH", body)
                found.hidden_columns += range(first, min(last + 1, _WIDEST))
            elif kind == _BOOLERR and body[7]:
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
    found.hidden_rows = len(hidden & rows)
    if valued:
        found.formulas.clear()
    return found


def _numbers(kind: int, body: bytes) -> Iterator[tuple[Cell, int, float]]:
    """Return cell, index of its style (XF) and value of each number of a record. [MS-XLS] 2.5.122, 2.5.217."""
    if kind == _SEVERAL:
        row, column = _cell(body)
        for at in range(4, len(body) - 2, 6):
            style, rk = struct.unpack_from("<Hi", body, at)
            yield (row, column + at // 6), style, _rk(rk)
        return
    if kind not in (_NUMBER, _RK, _FORMULA):
        return
    style = struct.unpack_from("<H", body, 4)[0]
    if kind == _RK:
        yield _cell(body), style, _rk(struct.unpack_from("<i", body, 6)[0])
    elif kind == _NUMBER or body[12:14] != b"\xff\xff":
        yield _cell(body), style, struct.unpack_from("<d", body, 6)[0]


def _rk(value: int) -> float:
    # The two lowest bits: hundredths; an integer of 30 bits instead of the upper bits of a double.
    number = float(value >> 2) if value & 2 else struct.unpack("<d", struct.pack("<xxxxi", value & ~3))[0]
    return number / 100 if value & 1 else number


def _styles(stream: bytes) -> tuple[dict[int, int], set[int]]:
    """Return the styles with leading zeros (index -> number of digits) and those of per cent.

    [MS-XLS] 2.4.126, 2.4.353.
    """
    codes, styles = dict[int, str](), list[int]()
    version = struct.unpack_from("<H", stream, 4)[0] if len(stream) > 6 else 0
    for kind, body in _records(stream, 0):
        if kind == _FORMAT:
            number = struct.unpack_from("<H", body)[0]
            if version >= _BIFF8:
                wide = body[4] & _CODEPAGE_UNICODE
                codes[number] = body[5:].decode("utf-16-le" if wide else "latin-1", "replace")
            else:
                codes[number] = body[3:].decode("latin-1")
        elif kind == _XF:
            styles.append(struct.unpack_from("<H", body, 2)[0])
    widths = {number: width for number, code in codes.items() if (width := leading_zeros(code))}
    shares = {*PERCENTS, *(number for number, code in codes.items() if is_percent(code))}
    return (
        {at: widths[number] for at, number in enumerate(styles) if number in widths},
        {at for at, number in enumerate(styles) if number in shares},
    )


def _cell(body: bytes) -> Cell:
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
