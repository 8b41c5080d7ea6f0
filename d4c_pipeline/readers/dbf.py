"""Headers of shapefiles and DBF tables: the encoding, which GDAL gets wrong, and truncation, which GDAL ignores.

`readers.vector` reads the features, `dbf_values` the values of the table. Formats: ESRI Shapefile Technical Description
(July 1998), and the dBASE III+ header with the language driver id at byte 29.
"""

from __future__ import annotations

import codecs
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.readers.encoding import has_windows_bytes, is_mostly_utf8, python_name

# dBASE language driver ids. ArcGIS and others write 0x57 ("ANSI") and 0 for any code page: with these ids, the bytes of
# the text decide. Windows-1252 has every printable character of ISO-8859-1, and 27 more.
_LANGUAGE_DRIVERS = {
    0x01: "cp437", 0x02: "cp850", 0x03: "cp1252", 0x04: "mac_roman", 0x08: "cp865", 0x09: "cp437", 0x0A: "cp850",
    0x0B: "cp437", 0x0D: "cp437", 0x0E: "cp850", 0x0F: "cp437", 0x10: "cp850", 0x11: "cp437", 0x12: "cp850",
    0x13: "cp932", 0x14: "cp850", 0x15: "cp437", 0x16: "cp850", 0x17: "cp865", 0x18: "cp437", 0x19: "cp437",
    0x1A: "cp850", 0x1B: "cp437", 0x1C: "cp863", 0x1D: "cp850", 0x1F: "cp852", 0x22: "cp852", 0x23: "cp852",
    0x24: "cp860", 0x25: "cp850", 0x26: "cp866", 0x37: "cp850", 0x40: "cp852", 0x4D: "cp936", 0x4E: "cp949",
    0x4F: "cp950", 0x50: "cp874", 0x58: "cp1252", 0x59: "cp1252", 0x64: "cp852", 0x65: "cp866",
    0x66: "cp865", 0x67: "cp861", 0x6A: "cp737", 0x6B: "cp857", 0x6C: "cp863", 0x78: "cp950", 0x79: "cp949",
    0x7A: "cp936", 0x7B: "cp932", 0x7C: "cp874", 0x86: "cp737", 0x87: "cp852", 0x88: "cp857", 0xC8: "cp1250",
    0xC9: "cp1251", 0xCA: "cp1254", 0xCB: "cp1253", 0xCC: "cp1257",
}  # fmt: skip
_SHP_HEADER = 100  # bytes, of .shp and .shx
_AGAIN = "Fetch the vintage again"


@dataclass(frozen=True)
class Field:
    """A column of a DBF file: `kind` is dBASE's letter, `start` and `width` are bytes of a record."""

    name: bytes
    kind: str
    start: int
    width: int
    decimals: int


@dataclass(frozen=True)
class Header:
    """The header of a DBF file: version, number of records, sizes of the header and of a record in bytes, columns."""

    version: int
    records: int
    size: int
    record_size: int
    fields: tuple[Field, ...]

    @property
    def is_foxpro(self) -> bool:
        """Whether Visual FoxPro wrote the file, which has binary columns."""
        return self.version in (0x30, 0x31, 0x32)


def header(dbf: Path) -> Header:
    """Return the header of a DBF file. Raises DataError if it is truncated or inconsistent."""
    with dbf.open("rb") as handle:
        head = handle.read(32)
        if len(head) < 32:
            raise _cut_off(dbf)
        records, size, record_size = struct.unpack("<IHH", head[4:12])
        rest = handle.read(max(0, size - 32))
    fields: list[Field] = []
    start = 1  # the mark of a deleted record
    for at in range(0, len(rest) - 31, 32):
        entry = rest[at : at + 32]
        if entry[0] == 0x0D:
            break
        # Clipper and others write the high byte of a text's width into the byte for decimals.
        kind = chr(entry[11])
        width = entry[16] + (entry[17] << 8 if kind == "C" else 0)
        fields.append(Field(entry[:11].split(b"\0")[0], kind, start, width, 0 if kind == "C" else entry[17]))
        start += width
    if size < 33 or (records and start > record_size):
        raise DataError(f"{dbf.name} has a broken header: the columns are longer than a record", _AGAIN)
    return Header(head[0], records, size, record_size, tuple(fields))


def beside(path: Path, suffix: str) -> Path | None:
    """Return the file beside `path` with the same stem and `suffix`, in any case; None if it does not exist."""
    wanted = (path.stem + suffix).lower()
    return next((other for other in sorted(path.parent.iterdir()) if other.name.lower() == wanted), None)


def dbf_encoding(dbf: Path) -> str:
    """Return Python's name for the encoding of a DBF file's text.

    The `.cpg` file decides, then the language driver id of the header. Without both, the encoding is UTF-8 if the bytes
    are UTF-8, else Windows-1252. Raises DataError if the header is truncated.
    """
    with dbf.open("rb") as handle:
        head = handle.read(32)
    if len(head) < 32:
        raise _cut_off(dbf)
    data = int.from_bytes(head[8:10], "little")
    known = _code_page_file(dbf) or _LANGUAGE_DRIVERS.get(head[29])
    if known is None:
        known = "utf-8" if is_mostly_utf8(dbf, start=data) else "cp1252"
    # Writers name ISO-8859-1 and mean Windows-1252: the control characters where they differ do not occur in tables.
    return "cp1252" if known == "iso8859-1" and has_windows_bytes(dbf, start=data) else known


def check_whole(shp: Path) -> None:
    """Raise DataError if a part of the shapefile at `shp` is missing, truncated, or has another number of rows.

    GDAL reads truncated shapes as features without geometry. Where table and index differ in length, it reads only the
    rows that both have. Both lose data silently.
    """
    for suffix in (".shx", ".dbf"):
        if beside(shp, suffix) is None:
            raise DataError(
                f"{shp.name} was delivered without its {suffix} file",
                "Have the source deliver all parts of the shapefile",
            )
    for part in (shp, beside(shp, ".shx")):
        if part is not None:
            _check_length(part)
    dbf, shx = beside(shp, ".dbf"), beside(shp, ".shx")
    assert dbf is not None  # noqa: S101 - checked above
    assert shx is not None  # noqa: S101
    table = header(dbf)
    _compare(dbf, table.size + table.records * table.record_size)
    shapes = (_stated_length(shx) - _SHP_HEADER) // 8
    if table.records != shapes:
        raise DataError(
            f"{dbf.name} has {table.records} rows, {shx.name} {shapes} shapes: they can't be matched",
            "Have the publisher deliver parts that were written together",
        )
    _check_more_rows(dbf, table)
    _check_index(shp, shx, shapes)
    _check_more_shapes(shp, shapes)


def check_dbf_whole(dbf: Path) -> None:
    """Raise DataError if a DBF file is shorter than its header states, or has rows that its header does not count."""
    table = header(dbf)
    _compare(dbf, table.size + table.records * table.record_size)
    _check_more_rows(dbf, table)


def _check_more_rows(dbf: Path, table: Header) -> None:
    end = table.size + table.records * table.record_size
    more = (dbf.stat().st_size - end) // table.record_size if table.record_size else 0
    if more < 1:
        return
    with dbf.open("rb") as handle:
        handle.seek(end)
        marks = handle.read(more * table.record_size)[:: table.record_size]
    # The last record is followed by the end mark 0x1A or by the end of the file.
    if set(marks) <= {0x20, 0x2A}:
        raise DataError(
            f"{dbf.name} has {table.records} rows according to its header, and {more} more follow",
            "Have the publisher correct the file",
        )


def _check_index(shp: Path, shx: Path, shapes: int) -> None:
    # The lengths of all shapes add up to the length of the file, unless an edit of a shape left a gap. Only then is
    # each shape read: a shape beyond the index has a higher number than the index has entries.
    index = np.fromfile(shx, ">i4", 2 * shapes, offset=_SHP_HEADER).reshape(-1, 2)
    length = _stated_length(shp)
    # A missing shape may have no place. Two rows with one place would get the same shape.
    places = index[index[:, 1] > 0, 0]
    if (repeated := len(places) - len(np.unique(places))) > 0:
        raise DataError(
            f"{shx.name} gives {repeated} rows the shape of another row",
            "Have the publisher write the index anew (ogr2ogr, or Repair in a GIS)",
        )
    if not shapes or _SHP_HEADER + int((2 * index[:, 1].astype(np.int64) + 8).sum()) == length:
        return
    highest, at = 0, _SHP_HEADER
    with shp.open("rb") as handle:
        while at + 8 <= length:
            handle.seek(at)
            number, words = struct.unpack(">ii", handle.read(8))
            if words < 2 or number < 1:  # no shape is shorter: the rest of the file holds no shapes
                break
            highest, at = max(highest, number), at + 8 + 2 * words
    if highest > shapes:
        raise DataError(
            f"{shp.name} has {highest} shapes, {shx.name} {shapes}",
            "Have the publisher deliver parts that were written together",
        )


def _check_more_shapes(shp: Path, shapes: int) -> None:
    # Some files have other bytes after the stated end; a shape there has the next number.
    end, size = _stated_length(shp), shp.stat().st_size
    if end + 12 > size:
        return
    with shp.open("rb") as handle:
        handle.seek(end)
        number, words = struct.unpack(">ii", handle.read(8))
    if number == shapes + 1 and words >= 2 and end + 8 + 2 * words <= size:
        raise DataError(
            f"{shp.name} has {shapes} shapes according to its header, and more follow",
            "Have the publisher correct the file",
        )


def _check_length(part: Path) -> None:
    _compare(part, _stated_length(part))


def _stated_length(part: Path) -> int:
    # In 16-bit words, big-endian, at byte 24 of both .shp and .shx.
    with part.open("rb") as handle:
        head = handle.read(_SHP_HEADER)
    if len(head) < _SHP_HEADER:
        raise _cut_off(part)
    return 2 * int.from_bytes(head[24:28], "big")


def _cut_off(part: Path) -> DataError:
    return DataError(f"{part.name} is truncated in its header", _AGAIN)


def _compare(part: Path, expected: int) -> None:
    actual = part.stat().st_size
    if actual < expected:
        raise DataError(f"{part.name} is truncated: {actual} bytes of {expected}", _AGAIN)


def _code_page_file(dbf: Path) -> str | None:
    cpg = beside(dbf, ".cpg")
    if cpg is None:
        return None
    text = cpg.read_text("ascii", "replace").strip().strip("\x00")
    # Spellings of ESRI: "88591", "ANSI 1252", "OEM 850", bare code page numbers.
    bare = text.upper().replace("ANSI", "").replace("OEM", "").replace("CP", "").strip(" _-")
    for spelling in (
        text,
        f"cp{bare}",
        f"iso-8859-{bare.removeprefix('8859').strip('-_')}" if bare.startswith("8859") else "",
    ):
        if not spelling:
            continue
        try:
            return python_name(codecs.lookup(spelling).name)
        except LookupError:
            continue
    return None
