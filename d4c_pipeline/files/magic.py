"""The only table of magic bytes, with which files of each format begin.

Unpacking, checks of downloads and readers use it. Records inside a format (the directory of a zip) belong to the module
of that format.
"""

from __future__ import annotations

from collections.abc import Mapping

ZIP = b"PK\x03\x04"
EMPTY_ZIP = b"PK\x05\x06"
SPLIT_ZIP = (b"PK\x07\x08", b"PK00")
ANY_ZIP = b"PK"
GZIP = b"\x1f\x8b"
ZSTANDARD = b"\x28\xb5\x2f\xfd"
SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c"
TAR, TAR_OFFSET = b"ustar", 257
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""Compound files of Microsoft: XLS, and encrypted XLSX."""
SQLITE = b"SQLite format 3\x00"
PARQUET = b"PAR1"
FLATGEOBUF = b"fgb"
SHAPEFILE = b"\x00\x00\x27\x0a"
PDF = b"%PDF-"
TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
"""Both byte orders of TIFF and of BigTIFF."""
DOS_PROGRAM = b"MZ"

REQUIRED: Mapping[str, tuple[bytes, ...]] = {
    ".zip": (ZIP, EMPTY_ZIP),
    ".kmz": (ZIP, EMPTY_ZIP),
    ".xlsx": (ZIP, EMPTY_ZIP),
    ".gz": (GZIP,),
    ".tgz": (GZIP,),
    ".7z": (SEVEN_ZIP,),
    ".gpkg": (SQLITE,),
    ".parquet": (PARQUET,),
    ".fgb": (FLATGEOBUF,),
    ".shp": (SHAPEFILE,),
    ".pdf": (PDF,),
    ".tif": TIFF,
}
"""Suffix -> beginnings. A download with this suffix and another beginning is not the file that the source names."""

SUFFIXES: Mapping[bytes, str] = {
    SQLITE: ".gpkg",
    PARQUET: ".parquet",
    FLATGEOBUF: ".fgb",
    OLE: ".xls",
    SHAPEFILE: ".shp",
}
"""Beginning -> the suffix of a file whose address has none."""


def is_tar(start: bytes) -> bool:
    """Return whether `start` (at least 262 bytes of a longer file) begins a tar."""
    return start[TAR_OFFSET : TAR_OFFSET + len(TAR)] == TAR
