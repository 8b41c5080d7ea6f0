"""Which files of a delivery hold the data: archives unpacked, loose parts brought together, the declared ones chosen.

Reading the chosen files belongs to `readers`. Archives are unpacked to a folder first: reading a shapefile through
GDAL's zip layer takes several times as long.
"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from d4c_pipeline.files import magic
from d4c_pipeline.files.unpack import Budget, budget, is_archive, unpack
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Processing, TableProcessing

PARQUET_SUFFIXES = frozenset({".parquet", ".geoparquet", ".pq"})
TEXT_SUFFIXES = frozenset({".csv", ".tsv", ".tab", ".txt"})
JSON_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson"})
WORKBOOK_SUFFIXES = frozenset({".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"})
GDB = ".gdb"
DBF = ".dbf"
# Of MapInfo; `.tab` is what tab-separated text is called too.
_TABLE_OF_MAPINFO = re.compile(rb"\s*!table\s", re.IGNORECASE)
_RASTER_OF_MAPINFO = re.compile(rb'\bType\s+"?RASTER', re.IGNORECASE)
_SURE_VECTOR = PARQUET_SUFFIXES | {
    ".shp", ".gpkg", GDB, ".geojson", ".geojsonl", ".geojsons", ".fgb", ".gml", ".kml", ".mif", ".gpx", ".topojson",
}  # fmt: skip
# What publishers deliver as well and is not read, so that a refusal can say it.
_NOT_READ = {
    ".dwg": "a drawing", ".dxf": "a drawing", ".dgn": "a drawing", ".mdb": "an Access database",
    ".accdb": "an Access database", ".e00": "an ArcInfo export", ".sqlite": "an SQLite database",
    ".spatialite": "an SQLite database", ".db": "a database", ".osm": "OSM data", ".pbf": "OSM data",
    ".mbtiles": "tiles", ".pmtiles": "tiles", ".mvt": "tiles", ".lyr": "a layer file of ArcGIS",
    ".lyrx": "a layer file of ArcGIS", ".mxd": "a map of ArcGIS", ".qgs": "a map of QGIS", ".qgz": "a map of QGIS",
    ".sdf": "a spatial data file", ".tif": "a raster", ".tiff": "a raster", ".jp2": "a raster", ".sid": "a raster",
    ".ecw": "a raster", ".img": "a raster", ".asc": "a raster", ".nc": "gridded data", ".grib2": "gridded data",
    ".las": "a point cloud", ".laz": "a point cloud", ".pdf": "a document", ".docx": "a document", ".doc": "a document",
}  # fmt: skip
_READABLE = _SURE_VECTOR | TEXT_SUFFIXES | JSON_SUFFIXES | WORKBOOK_SUFFIXES | {DBF}
# What Statistics Canada packs beside a table (its metadata, and the line at which each geography begins), and what a
# CKAN portal says of a package.
_ABOUT = ("*_metadata.csv", "*geo_starting_row*.csv", "ckan_package.json")
# Whoever sees a file begin otherwise has an error page or something else under the name.
_MAGIC = {
    ".shp": (magic.SHAPEFILE,),
    ".gpkg": (magic.SQLITE,),
    ".fgb": (magic.FLATGEOBUF,),
    ".geojson": (b"{", b"["),
    ".json": (b"{", b"["),
    ".jsonl": (b"{", b"[", b"\x1e"),
    ".ndjson": (b"{", b"[", b"\x1e"),
    ".geojsonl": (b"{", b"\x1e"),
    ".geojsons": (b"{", b"\x1e"),
    ".gml": (b"<",),
    ".kml": (b"<",),
    ".gpx": (b"<",),
    ".topojson": (b"{",),
    **dict.fromkeys(PARQUET_SUFFIXES, (magic.PARQUET,)),
}
_TABLE_OF_GDB = ".gdbtable"
_OTHERS_OF_GDB = (".gdbtablx", ".gdbindexes", ".atx", ".spx", ".freelist", ".horizon", ".cdx", ".cdf", ".lock")
_HTML = (b"<!doctype html", b"<html")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Member:
    """A file (or the folder of a File Geodatabase) to read: its name in the delivery, where it lies now."""

    name: str
    path: Path

    @property
    def suffix(self) -> str:
        """In lower case, with the dot."""
        return _suffix(self.name)

    @cached_property
    def is_mapinfo(self) -> bool:
        """Whether it is a table of MapInfo, whose `.tab` is no tab-separated text."""
        return self.suffix == ".mif" or (self.suffix == ".tab" and _is_table_of_mapinfo(self.path))


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
    found = _without_rasters(_with_geodatabases(_gather(natives, work), natives, work))
    candidates = _of_kind(processing, found)
    if isinstance(processing, TableProcessing) and processing.wds is not None:
        candidates = _without_french_twins(candidates)
    if not candidates:
        wanted = (
            f"matches member '{processing.member}'"
            if processing.member
            else f"is of a known kind for a {processing.kind}"
        )
        known = {name: _NOT_READ[suffix] for name in found if (suffix := _suffix(name)) in _NOT_READ}
        if known and not processing.member:
            said = "; ".join(f"{name} is {what}" for name, what in list(known.items())[:3])
            raise DataError(
                f"No file {wanted} among {listed(found)}: {said}, which is not read",
                "Have the source deliver another format",
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
        _check_parts(member, with_geometry=processing.kind == "vector")
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
            found += [(name, native.name, path) for name, path in _unpacked(native, folder, budget(native))]
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


def _unpacked(archive: Path, folder: Path, left: Budget, depth: int = 1) -> list[tuple[str, Path]]:
    folder.mkdir(parents=True)
    out: list[tuple[str, Path]] = []
    for number, path in enumerate(unpack(archive, folder / "files", within=left)):
        name = path.relative_to(folder / "files").as_posix()
        if depth < left.limits.nested and path.suffix.lower() in (".zip", ".kmz") and is_archive(path):
            inner = _unpacked(path, folder / f"inner{number}", left, depth + 1)
            out += [(f"{name}/{inside}", file) for inside, file in inner]
        else:
            out.append((name, path))
    return out


def _with_geodatabases(found: dict[str, Path], natives: Sequence[Path], work: Path) -> dict[str, Path]:
    # The files of a folder with tables of a File Geodatabase are one, whatever the folder is called (or if it is none:
    # the top of the archive); so are those of a folder `x.gdb`. GDAL knows one by the ending of the folder's name.
    tables = {PurePosixPath(name).parent for name in found if _suffix(name) == _TABLE_OF_GDB}
    out: dict[str, Path] = {}
    for name, path in found.items():
        parts = PurePosixPath(name).parts
        depth = next((at for at, part in enumerate(parts[:-1]) if part.lower().endswith(GDB)), None)
        parent = PurePosixPath(name).parent
        if parent in tables and _suffix(name).startswith((_TABLE_OF_GDB, *_OTHERS_OF_GDB)):
            called, folder = _geodatabase(parent, path.parent, natives, work)
            out[called] = folder
        elif depth is None or any(each.is_relative_to(PurePosixPath(*parts[: depth + 1])) for each in tables):
            # Beside the tables lie files that belong to none (a readme, locks).
            if parent not in tables or _suffix(name) in _READABLE:
                out[name] = path
        else:
            out["/".join(parts[: depth + 1])] = path.parents[len(parts) - depth - 2]
    return out


def _geodatabase(parent: PurePosixPath, folder: Path, natives: Sequence[Path], work: Path) -> tuple[str, Path]:
    if parent.name.lower().endswith(GDB):
        return parent.as_posix(), folder
    stem = PurePosixPath(parent.name or natives[0].name)
    while stem.suffix.lower() in (GDB, ".zip", ".7z", ".tar", ".gz", ".tgz"):
        stem = stem.with_suffix("")
    called = parent.with_name(f"{stem.name}{GDB}") if parent.name else PurePosixPath(f"{stem.name}{GDB}")
    place = work / "geodatabases" / str(parent).replace("/", "_") / called.name
    if not place.exists():
        place.parent.mkdir(parents=True)
        place.symlink_to(folder, target_is_directory=True)
    return called.as_posix(), place


def _without_rasters(found: dict[str, Path]) -> dict[str, Path]:
    # A `.tab` of MapInfo may do no more than give an image its place.
    return {name: path for name, path in found.items() if not (_suffix(name) == ".tab" and _is_raster(path))}


def _is_table_of_mapinfo(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as handle:
        return _TABLE_OF_MAPINFO.match(handle.read(64)) is not None


def _is_raster(path: Path) -> bool:
    if not _is_table_of_mapinfo(path):
        return False
    with path.open("rb") as handle:
        return _RASTER_OF_MAPINFO.search(handle.read(4096)) is not None


def _of_kind(processing: Processing, found: dict[str, Path]) -> list[str]:
    names = [name for name in found if "__MACOSX" not in name and not PurePosixPath(name).name.startswith(".")]
    if processing.member:
        matching = [name for name in names if _matches(name, processing.member)]
        exact = [name for name in matching if _suffix(name) in _READABLE]
        # A glob such as `roads.*` matches a shapefile's parts too; its .shp stands for them.
        with_shp = {PurePosixPath(name).with_suffix("") for name in exact if _suffix(name) == ".shp"}
        return [name for name in exact if _suffix(name) != DBF or PurePosixPath(name).with_suffix("") not in with_shp]
    mapinfo = [name for name in _of(names, {".tab"}) if _is_table_of_mapinfo(found[name])]
    text = [name for name in _of(names, TEXT_SUFFIXES - {".txt"}) if not _is_about(name) and name not in mapinfo]
    text = text or _of(names, {".txt"})
    vector, workbooks = mapinfo + _of(names, _SURE_VECTOR), _of(names, WORKBOOK_SUFFIXES)
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


def _check_parts(member: Member, *, with_geometry: bool) -> None:
    # GDAL reads a table of MapInfo without its parts as one without rows, columns or geometry.
    if not member.is_mapinfo:
        return
    needed = (".mid",) if member.suffix == ".mif" else (".dat", ".map", ".id") if with_geometry else (".dat",)
    beside = {other.name.lower() for other in member.path.parent.iterdir()}
    stem = member.path.stem.lower()
    head = member.path.read_bytes()[:4096].upper()
    if member.suffix == ".tab" and b"NATIVE" not in head:  # a view, or a table over a file of another format
        raise DataError(
            f"{member.path.name} is a MapInfo table of a kind that is not read", "Have the source deliver a native one"
        )
    if missing := [suffix for suffix in needed if f"{stem}{suffix}" not in beside]:
        raise DataError(
            f"{member.path.name} is a MapInfo table that came without its {' and '.join(missing)} file",
            "Have the source deliver all parts of the table",
        )


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
