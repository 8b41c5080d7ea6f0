"""Which files of a delivery hold the data: archives unpacked, loose parts brought together, the declared ones chosen.

Reading the chosen files belongs to `readers`. Archives are unpacked to a folder first: reading a shapefile through
GDAL's zip layer takes several times as long.
"""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Processing, TableProcessing
from d4c_pipeline.sources.unpack import is_archive, unpack

PARQUET_SUFFIXES = frozenset({".parquet", ".geoparquet", ".pq"})
TEXT_SUFFIXES = frozenset({".csv", ".tsv", ".tab", ".txt"})
JSON_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson"})
WORKBOOK_SUFFIXES = frozenset({".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"})
GDB = ".gdb"
DBF = ".dbf"
_SURE_VECTOR = PARQUET_SUFFIXES | {
    ".shp", ".gpkg", GDB, ".geojson", ".geojsonl", ".geojsons", ".fgb", ".gml", ".kml",
}  # fmt: skip
_READABLE = _SURE_VECTOR | TEXT_SUFFIXES | JSON_SUFFIXES | WORKBOOK_SUFFIXES | {DBF}
# What Statistics Canada packs beside a table (its metadata, and the line at which each geography begins), and what a
# CKAN portal says of a package.
_ABOUT = ("*_metadata.csv", "*geo_starting_row*.csv", "ckan_package.json")
# Whoever sees a file begin otherwise has an error page or something else under the name.
_ZIP = b"PK\x03\x04"
_MAGIC = {
    ".shp": (b"\x00\x00\x27\x0a",),
    ".gpkg": (b"SQLite format 3\x00",),
    ".fgb": (b"fgb",),
    ".geojson": (b"{", b"["),
    ".json": (b"{", b"["),
    ".jsonl": (b"{", b"[", b"\x1e"),
    ".ndjson": (b"{", b"[", b"\x1e"),
    ".geojsonl": (b"{", b"\x1e"),
    ".geojsons": (b"{", b"\x1e"),
    ".gml": (b"<",),
    ".kml": (b"<",),
    ".xlsx": (_ZIP,),
    ".xlsm": (_ZIP,),
    ".xlsb": (_ZIP,),
    ".ods": (_ZIP,),
    ".xls": (b"\xd0\xcf\x11\xe0",),
    **dict.fromkeys(PARQUET_SUFFIXES, (b"PAR1",)),
}
_HTML = (b"<!doctype html", b"<html")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_NESTED = 2  # archives within an archive within the delivery: as deep as publishers go


@dataclass(frozen=True)
class Member:
    """A file (or the folder of a File Geodatabase) to read: its name in the delivery, where it lies now."""

    name: str
    path: Path

    @property
    def suffix(self) -> str:
        """In lower case, with the dot."""
        return _suffix(self.name)


def choose(processing: Processing, natives: Sequence[Path], work: Path) -> tuple[Member, ...]:
    """Return what of `natives` to read, sorted by name, unpacked under `work` where it was in an archive.

    `member` (a glob over paths in the archive, or over file names) decides if declared. Otherwise it is what is of the
    declared kind: for a table text before anything else and never metadata; for features a vector file before text.
    Of a full table of Statistics Canada that comes in both languages, the English one is read.
    One file, or all of them with `append`. Raises DataError when there is none, or more than one without `append`,
    naming the candidates.
    """
    if not natives:
        raise DataError("There are no native files to read", "Fetch the vintage first")
    found = _with_geodatabases(_gather(natives, work))
    candidates = _of_kind(processing, found)
    if isinstance(processing, TableProcessing) and processing.wds is not None:
        candidates = _without_french_twins(candidates)
    if not candidates:
        wanted = (
            f"matches member '{processing.member}'"
            if processing.member
            else f"is of a known kind for a {processing.kind}"
        )
        raise DataError(
            f"No file {wanted} among {listed(found)}",
            "Declare processing.member; or source.format, where the address has no suffix that says it",
        )
    if len(candidates) > 1 and not processing.append:
        raise DataError(
            f"Several files could be the data: {listed(candidates)}",
            "Declare processing.member, a glob that only one matches, or append: true",
        )
    chosen = tuple(Member(name, found[name]) for name in candidates)
    for member in chosen:
        _check_beginning(member)
    return chosen


def listed(names: Iterable[str]) -> str:
    """Return the first ten names for a message, and how many more there are."""
    every = list(names)
    return ", ".join(every[:10]) + (f" and {len(every) - 10} more" if len(every) > 10 else "")


def _gather(natives: Sequence[Path], work: Path) -> dict[str, Path]:
    # Name as the delivery has it -> file. The parts of a bare shapefile come as files of their own, maybe from folders
    # of their own; GDAL wants them side by side.
    loose = work / "natives"
    loose.mkdir()
    found: list[tuple[str, str, Path]] = []
    for number, native in enumerate(natives):
        if not native.is_file():
            raise DataError(f"The native file {native.name} is missing", "Fetch the vintage again")
        if _is_packed(native):
            folder = work / f"archive{number}"
            found += [(name, native.name, path) for name, path in _unpacked(native, folder, _NESTED)]
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
        found.append((native.name, str(number), beside))
    # Names that occur in several archives are told apart by the archives' names, all of them.
    count = Counter(name for name, _, _ in found)
    qualified = ((name if count[name] == 1 else f"{archive}/{name}", path) for name, archive, path in found)
    return dict(sorted(qualified))


def _is_packed(path: Path) -> bool:
    # A workbook is a zip too, but read as what it is.
    return path.suffix.lower() not in WORKBOOK_SUFFIXES and is_archive(path)


def _unpacked(archive: Path, folder: Path, depth: int) -> list[tuple[str, Path]]:
    folder.mkdir(parents=True)
    out: list[tuple[str, Path]] = []
    for number, path in enumerate(unpack(archive, folder / "files")):
        name = path.relative_to(folder / "files").as_posix()
        if depth > 1 and path.suffix.lower() in (".zip", ".kmz") and is_archive(path):
            inner = _unpacked(path, folder / f"inner{number}", depth - 1)
            out += [(f"{name}/{inside}", file) for inside, file in inner]
        else:
            out.append((name, path))
    return out


def _with_geodatabases(found: dict[str, Path]) -> dict[str, Path]:
    # The files of a folder `x.gdb` are one File Geodatabase.
    out: dict[str, Path] = {}
    for name, path in found.items():
        parts = PurePosixPath(name).parts
        depth = next((at for at, part in enumerate(parts[:-1]) if part.lower().endswith(GDB)), None)
        if depth is None:
            out[name] = path
        else:
            out["/".join(parts[: depth + 1])] = path.parents[len(parts) - depth - 2]
    return out


def _of_kind(processing: Processing, found: dict[str, Path]) -> list[str]:
    names = [name for name in found if "__MACOSX" not in name and not PurePosixPath(name).name.startswith(".")]
    if processing.member:
        matching = [name for name in names if _matches(name, processing.member)]
        exact = [name for name in matching if _suffix(name) in _READABLE]
        # A glob such as `roads.*` matches a shapefile's parts too; its .shp stands for them.
        with_shp = {PurePosixPath(name).with_suffix("") for name in exact if _suffix(name) == ".shp"}
        return [name for name in exact if _suffix(name) != DBF or PurePosixPath(name).with_suffix("") not in with_shp]
    text = [name for name in _of(names, TEXT_SUFFIXES - {".txt"}) if not _is_about(name)] or _of(names, {".txt"})
    vector, workbooks = _of(names, _SURE_VECTOR), _of(names, WORKBOOK_SUFFIXES)
    json = [name for name in _of(names, JSON_SUFFIXES) if not _is_about(name)]
    if processing.kind == "vector":
        # Zips of other formats carry .json beside the data (licences, styles): features in it are the last guess.
        return vector or json or text or workbooks
    return text or workbooks or vector or json or _of(names, {DBF})


def _of(names: list[str], suffixes: frozenset[str] | set[str]) -> list[str]:
    return [name for name in names if _suffix(name) in suffixes]


def _without_french_twins(names: list[str]) -> list[str]:
    english = {name.replace("-eng.zip/", "-fra.zip/", 1) for name in names if "-eng.zip/" in name}
    return [name for name in names if name not in english]


def _is_about(name: str) -> bool:
    return any(fnmatch.fnmatchcase(PurePosixPath(name).name.lower(), pattern) for pattern in _ABOUT)


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(PurePosixPath(name).name, pattern)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _check_beginning(member: Member) -> None:
    if member.path.is_dir():
        return
    with member.path.open("rb") as handle:
        head = handle.read(512)
    beginning = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not beginning:
        raise DataError(f"{member.path.name} is empty", "Fetch the vintage again")
    if beginning.lower().startswith(_HTML):
        raise DataError(
            f"{member.path.name} is an HTML page, not data", "Look at the address the source names, then fetch again"
        )
    magic = _MAGIC.get(member.suffix)
    in_utf16 = head.startswith(_UTF16) and magic is not None and magic[0] in (b"<", b"{")
    if magic and not in_utf16 and not (beginning.startswith(magic) or head.startswith(magic)):
        raise DataError(f"{member.path.name} does not begin as a {member.suffix} file does", "Fetch the vintage again")
