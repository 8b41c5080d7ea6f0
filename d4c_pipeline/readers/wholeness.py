"""Whether a file is whole, and how many rows it says it has, where GDAL reads on without a word.

What is cut off, or was never sent, would be lost. The looking is done by the modules of the formats (`dbf`, `markup`,
`answers`); the rest of the formats say themselves when they are broken.
"""

from __future__ import annotations

from pathlib import Path

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.readers import answers, dbf, markup
from d4c_pipeline.readers.member import DBF, Member

_BLOCK = 1 << 20
_RECORD_SEPARATOR = b"\x1e"
_AGAIN = "Fetch the vintage again"


def check(member: Member) -> int | None:
    """Return how many rows a file says it has, None where it does not say.

    Raises DataError when it is cut off, when it is a part of an answer, or when it is XML that is of another kind than
    its name, refers to other files or has too many names of elements.
    """
    match member.suffix:
        case ".shp":
            dbf.check_whole(member.path)
        case s if s == DBF:
            dbf.check_dbf_whole(member.path)
        case ".gml" | ".kml" | ".gpx":
            stated = markup.check(member.path)
            if member.suffix != ".kml":
                markup.check_elements(member.path)
            if member.suffix == ".kml":
                markup.network_links(member.path)
            return stated
        case ".geojson" | ".json":
            return answers.check_json(member.path)
        case _:
            pass
    return None


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
