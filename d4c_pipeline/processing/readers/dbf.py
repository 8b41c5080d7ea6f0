"""What a shapefile's side files say that GDAL does not say right: the encoding of its table, and whether it is whole.

Reading the features belongs to `readers.vector`. Formats: ESRI Shapefile Technical Description (July 1998), and the
dBASE III+ header with the language driver id at byte 29.
"""

from __future__ import annotations

import codecs
import struct
from pathlib import Path

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.processing.readers.encoding import has_windows_bytes, is_mostly_utf8, python_name

# dBASE language driver ids. 0x57 ("ANSI") and 0 are what ArcGIS and others write whatever the code page was: with them
# the bytes themselves decide. Windows-1252 reads every printable character of ISO-8859-1 the same and 27 more.
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


def beside(path: Path, suffix: str) -> Path | None:
    """Return the file that differs from `path` by its suffix only, in whatever case, None if there is none."""
    wanted = (path.stem + suffix).lower()
    return next((other for other in sorted(path.parent.iterdir()) if other.name.lower() == wanted), None)


def dbf_encoding(dbf: Path) -> str:
    """Return the encoding of a DBF file's text, as Python names it.

    A `.cpg` beside it decides, then the language driver id of its header; where neither says, UTF-8 if its bytes
    are that, else Windows-1252. Raises DataError when the header is cut off.
    """
    with dbf.open("rb") as handle:
        header = handle.read(32)
    if len(header) < 32:
        raise DataError(f"{dbf.name} is cut off in its header", "Fetch the vintage again")
    data = int.from_bytes(header[8:10], "little")
    known = _code_page_file(dbf) or _LANGUAGE_DRIVERS.get(header[29])
    if known is None:
        known = "utf-8" if is_mostly_utf8(dbf, start=data) else "cp1252"
    # Windows-1252 is what ISO-8859-1 mostly means: the control characters in which they differ are never in a table.
    return "cp1252" if known == "iso8859-1" and has_windows_bytes(dbf, start=data) else known


def check_whole(shp: Path) -> None:
    """Raise DataError when a part of the shapefile at `shp` is missing or shorter than its own header says.

    GDAL reads what is cut off as features without geometry, which would be a silent loss.
    """
    for suffix in (".shx", ".dbf"):
        if beside(shp, suffix) is None:
            raise DataError(
                f"{shp.name} came without its {suffix} file", "Have the source deliver all parts of the shapefile"
            )
    for part in (shp, beside(shp, ".shx")):
        if part is not None:
            _check_length(part)
    dbf = beside(shp, ".dbf")
    if dbf is not None:
        check_dbf_whole(dbf)


def check_dbf_whole(dbf: Path) -> None:
    """Raise DataError when a DBF file is shorter than its header says."""
    with dbf.open("rb") as handle:
        header = handle.read(32)
    if len(header) < 32:
        raise DataError(f"{dbf.name} is cut off in its header", "Fetch the vintage again")
    records, header_size, record_size = struct.unpack("<IHH", header[4:12])
    _compare(dbf, header_size + records * record_size)


def _check_length(part: Path) -> None:
    with part.open("rb") as handle:
        header = handle.read(100)
    if len(header) < 100:
        raise DataError(f"{part.name} is cut off in its header", "Fetch the vintage again")
    # In 16-bit words, big-endian, at byte 24 of .shp and .shx alike.
    _compare(part, 2 * int.from_bytes(header[24:28], "big"))


def _compare(part: Path, expected: int) -> None:
    actual = part.stat().st_size
    if actual < expected:
        raise DataError(f"{part.name} is truncated: {actual} bytes of {expected}", "Fetch the vintage again")


def _code_page_file(dbf: Path) -> str | None:
    cpg = beside(dbf, ".cpg")
    if cpg is None:
        return None
    text = cpg.read_text("ascii", "replace").strip().strip("\x00")
    # ESRI's own spellings: "88591", "ANSI 1252", "OEM 850", bare code page numbers.
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
