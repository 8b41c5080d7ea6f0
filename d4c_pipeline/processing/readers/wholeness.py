"""Whether a file is whole and what its name says, where GDAL reads on without a word: what is cut off would be lost.

The rest of the formats say themselves when they are broken; shapefiles are looked at in `dbf`.
"""

from __future__ import annotations

import re
from pathlib import Path

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.processing.inputs import DBF, Member
from d4c_pipeline.processing.readers import dbf

_BLOCK = 1 << 20
_PROLOG_BYTES = 1 << 24
_RECORD_SEPARATOR = b"\x1e"
# A document type, or the name of the first element.
_PROLOG_END = re.compile(rb"<!DOCTYPE|<([A-Za-z_][^\s/>]*)")
_FOREIGN_XML = re.compile(rb"<(OGR\w+DataSource|VRTDataset|\w*:?\w+_Capabilities|csw:|GDAL_)")
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_AGAIN = "Fetch the vintage again"


def check(member: Member) -> None:
    """Raise DataError when a file is cut off, or XML that is of another kind than its name or refers to other files."""
    match member.suffix:
        case ".shp":
            dbf.check_whole(member.path)
        case s if s == DBF:
            dbf.check_dbf_whole(member.path)
        case ".gml" | ".kml":
            _check_xml(member.path)
        case _:
            pass


def check_sequence(path: Path, features: int) -> None:
    """Raise DataError when a sequence of GeoJSON has more records than `features`: GDAL passes over broken ones."""
    records = 0
    with path.open("rb") as handle:
        if handle.read(1) == _RECORD_SEPARATOR:
            handle.seek(0)
            records = sum(block.count(_RECORD_SEPARATOR) for block in iter(lambda: handle.read(_BLOCK), b""))
        else:
            handle.seek(0)
            records = sum(1 for line in handle if not line.isspace())
    if features < records:
        raise DataError(f"{path.name} has {records - features} records that are no whole feature", _AGAIN)


def _check_xml(path: Path) -> None:
    # Entities can name files and addresses, and can grow without end. They are declared in a document type, which can
    # only stand before the first element and which neither GML nor KML has. GDAL recognises other formats of XML by
    # their first element, whatever the suffix, and some of those name files and addresses too.
    head = b""
    with path.open("rb") as handle:
        while (block := handle.read(_BLOCK)) and len(head) < _PROLOG_BYTES:
            head += block.replace(b"\x00", b"")
            found = _PROLOG_END.search(_COMMENT.sub(b"", head))
            if found is None:
                continue
            if found[1] is None:
                raise DataError(
                    f"{path.name} declares a document type, which may hold entities", "Have the publisher leave it out"
                )
            if _FOREIGN_XML.search(head):
                raise DataError(f"{path.name} is XML of another kind", "Look at what the source delivers")
            return _check_closed(path, found[1])
    raise DataError(f"{path.name} is no XML: it has no element", "Look at what the source delivers")


def _check_closed(path: Path, root: bytes) -> None:
    with path.open("rb") as handle:
        handle.seek(max(0, path.stat().st_size - _BLOCK))
        tail = handle.read().replace(b"\x00", b"")
    if not re.search(rb"</" + re.escape(root) + rb"\s*>|<" + re.escape(root) + rb"[^>]*/>", tail):
        raise DataError(f"{path.name} is truncated: its element {root.decode('utf-8', 'replace')} does not end", _AGAIN)
