"""Which file of a delivery holds the data: archives unpacked, loose parts brought together, one file chosen.

Reading the chosen file belongs to `readers`. Archives are unpacked to a folder first: reading a shapefile through
GDAL's zip layer takes several times as long.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from d4c_pipeline.model.dataset import Processing
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.sources.unpack import is_archive, unpack

VECTOR_SUFFIXES = frozenset({".shp", ".gpkg", ".geojson", ".json", ".geojsonl", ".fgb", ".gml", ".kml"})
TEXT_SUFFIXES = frozenset({".csv", ".tsv", ".tab", ".txt"})
_DBF = ".dbf"
# Whoever sees a file begin otherwise has an error page or something else under the name.
_MAGIC = {
    ".shp": (b"\x00\x00\x27\x0a",),
    ".gpkg": (b"SQLite format 3\x00",),
    ".fgb": (b"fgb",),
    ".geojson": (b"{", b"["),
    ".json": (b"{", b"["),
    ".geojsonl": (b"{", b"\x1e"),
    ".gml": (b"<",),
    ".kml": (b"<",),
}
_HTML = (b"<!doctype html", b"<html")


def choose(processing: Processing, natives: Sequence[Path], work: Path) -> Path:
    """Return the one file of `natives` to read, unpacked under `work` where it was in an archive.

    `member` (a glob over paths in the archive, or over file names) decides if declared. Otherwise it is the only file
    of the declared kind: for a table text before anything else and never a `_MetaData.csv`; for features a vector file
    before text. Raises DataError when there is none or more than one, naming the candidates.
    """
    if not natives:
        raise DataError("There are no native files to read", "Fetch the vintage first")
    found = _gather(natives, work)
    candidates = _of_kind(processing, found)
    if not candidates:
        wanted = (
            f"matches member '{processing.member}'"
            if processing.member
            else f"is of a known kind for a {processing.kind}"
        )
        raise DataError(f"No file {wanted} among {_listed(found)}", "Declare processing.member")
    if len(candidates) > 1:
        raise DataError(
            f"Several files could be the data: {_listed(candidates)}",
            "Declare processing.member, a glob that only one matches",
        )
    chosen = found[candidates[0]]
    _check_beginning(chosen)
    return chosen


def is_text(path: Path) -> bool:
    """Whether `path` is read as delimited text."""
    return path.suffix.lower() in TEXT_SUFFIXES


def _gather(natives: Sequence[Path], work: Path) -> dict[str, Path]:
    # Name as the delivery has it -> file. The parts of a bare shapefile come as files of their own, maybe from folders
    # of their own; GDAL wants them side by side.
    loose = work / "natives"
    loose.mkdir()
    found: dict[str, Path] = {}
    for number, native in enumerate(natives):
        if not native.is_file():
            raise DataError(f"The native file {native.name} is missing", "Fetch the vintage again")
        if is_archive(native):
            folder = work / f"archive{number}"
            folder.mkdir()
            for path in unpack(native, folder):
                name = path.relative_to(folder).as_posix()
                found[name if name not in found else f"{native.name}/{name}"] = path
            continue
        if native.suffix.lower() == ".zip":
            raise DataError(
                f"{native.name} is not a zip file", "Look at what the source delivers, then fetch the vintage again"
            )
        beside = loose / native.name
        if beside.exists():
            beside = loose / str(number) / native.name
            beside.parent.mkdir()
        beside.symlink_to(native.absolute())
        found[native.name if native.name not in found else f"{number}/{native.name}"] = beside
    return dict(sorted(found.items()))


def _of_kind(processing: Processing, found: dict[str, Path]) -> list[str]:
    readable = VECTOR_SUFFIXES | TEXT_SUFFIXES | {_DBF}
    names = [name for name in found if "__MACOSX" not in name and not PurePosixPath(name).name.startswith(".")]
    if processing.member:
        matching = [name for name in names if _matches(name, processing.member)]
        exact = [name for name in matching if _suffix(name) in readable]
        # A glob such as `roads.*` matches a shapefile's parts too; its .shp stands for them.
        with_shp = {PurePosixPath(name).with_suffix("") for name in exact if _suffix(name) == ".shp"}
        return [name for name in exact if _suffix(name) != _DBF or PurePosixPath(name).with_suffix("") not in with_shp]
    vector = [name for name in names if _suffix(name) in VECTOR_SUFFIXES]
    text = [name for name in names if _suffix(name) in TEXT_SUFFIXES - {".txt"} and not name.endswith("_MetaData.csv")]
    text = text or [name for name in names if _suffix(name) == ".txt"]
    dbf = [name for name in names if _suffix(name) == _DBF]
    if processing.kind == "vector":
        # Zips of other formats carry .json beside the data (licences, styles): features in it are the last guess.
        sure = [name for name in vector if _suffix(name) != ".json"]
        return sure or vector or text
    return text or vector or dbf


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(PurePosixPath(name).name, pattern)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:10]) + (f" and {len(listed) - 10} more" if len(listed) > 10 else "")


def _check_beginning(path: Path) -> None:
    with path.open("rb") as handle:
        head = handle.read(512)
    beginning = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not beginning:
        raise DataError(f"{path.name} is empty", "Fetch the vintage again")
    if beginning.lower().startswith(_HTML):
        raise DataError(
            f"{path.name} is an HTML page, not data", "Look at the address the source names, then fetch again"
        )
    magic = _MAGIC.get(path.suffix.lower())
    if magic and not (beginning.startswith(magic) or head.startswith(magic)):
        raise DataError(f"{path.name} does not begin as a {path.suffix.lower()} file does", "Fetch the vintage again")
