"""Chooses the data files of a delivery: unpacks archives, puts loose parts side by side, selects the declared members.

Reading the chosen files belongs to `delivery`. Archives are unpacked to a folder: reading a shapefile through GDAL's
zip layer takes several times as long.
"""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from d4c_pipeline.files.unpack import Budget, budget, is_archive, unpack
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Processing, TableProcessing
from d4c_pipeline.readers import registry
from d4c_pipeline.readers.member import DBF, GDB, Member, suffix_of

# Other formats that publishers deliver, for the error message.
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
# Files that Statistics Canada packs beside a table (metadata, and the line at which each geography begins), and a CKAN
# portal's description of a package.
_ABOUT = ("*_metadata.csv", "*geo_starting_row*.csv", "ckan_package.json")
_PACKED = (".zip", ".kmz", ".gz", ".tgz", ".tar", ".7z")
_TABLE_OF_GDB = ".gdbtable"
_OTHERS_OF_GDB = (".gdbtablx", ".gdbindexes", ".atx", ".spx", ".freelist", ".horizon", ".cdx", ".cdf", ".lock")
_HTML = (b"<!doctype html", b"<html")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def choose(processing: Processing, natives: Sequence[Path], work: Path) -> tuple[Member, ...]:
    """Return the members of `natives` to read, sorted by name; those in archives are unpacked under `work`.

    A declared `member` (a glob over paths in the archive, or over file names) selects them. Otherwise the declared kind
    does: text is preferred for a table and never metadata, a vector file for features. A full table of Statistics
    Canada in both languages is read in English. Raises DataError, naming the candidates, when no file matches, or
    several without `append`.
    """
    found = contained(natives, work)
    candidates, others = _of_kind(processing, found)
    if isinstance(processing, TableProcessing) and processing.wds is not None:
        candidates = _without_french_twins(candidates)
    if not candidates:
        condition = (
            f"matches member '{processing.member}'"
            if processing.member
            else f"is of a known kind for a {processing.kind}"
        )
        known = {name: _NOT_READ[suffix] for name in found if (suffix := suffix_of(name)) in _NOT_READ}
        if known and not processing.member:
            unread = "; ".join(f"{name} is {what}" for name, what in list(known.items())[:3])
            raise DataError(
                f"No file {condition} among {listed(found)}: {unread}, which is not read",
                "Have the source deliver another format",
            )
        raise DataError(
            f"No file {condition} among {listed(found)}",
            "Declare processing.member, or source.format if the address has no suffix",
        )
    if len(candidates) > 1 and not processing.append:
        raise DataError(
            f"Several files could be the data: {listed(candidates)}",
            "Declare processing.member, a glob that matches one file, or append: true",
        )
    if others and processing.append and not processing.member:
        raise DataError(
            f"Of the files to append, {listed(others)} has another format than {listed(candidates)}",
            "Declare processing.member, a glob that matches the files to append",
        )
    chosen = tuple(Member(name, found[name]) for name in candidates)
    for member in chosen:
        form = registry.format_of(member.name, member.path)
        assert form is not None  # noqa: S101 - only files of a format are candidates
        _check_beginning(member, form.beginnings[member.suffix])
        if form.check is not None:
            form.check(member, processing.kind == "vector")
    return chosen


def contained(natives: Sequence[Path], work: Path) -> dict[str, Path]:
    """Return all files of a delivery by their name in it, unpacked under `work`, without files that hold no data.

    Raises DataError without native files, and for an archive that can't be unpacked.
    """
    if not natives:
        raise DataError("There are no native files to read", "Fetch the vintage first")
    found = _with_geodatabases(_gather(natives, work), natives, work)
    return {name: path for name, path in found.items() if not registry.is_skipped(name, path)}


def listed(names: Iterable[str]) -> str:
    """Return the first ten names for a message, and the number of the others."""
    every = list(names)
    return ", ".join(every[:10]) + (f" and {len(every) - 10} more" if len(every) > 10 else "")


def _gather(natives: Sequence[Path], work: Path) -> dict[str, Path]:
    # Name in the delivery -> file. The parts of a bare shapefile are separate native files, maybe in separate folders;
    # GDAL needs them side by side.
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
                f"{native.name} is not a zip file", "Check what the source delivers, then fetch the vintage again"
            )
        beside = loose / native.name
        if beside.exists():
            beside = loose / str(number) / native.name
            beside.parent.mkdir()
        beside.symlink_to(native.absolute())
        found.append((native.name, str(number), beside))
    # A name that occurs in several archives is always qualified by the name of the archive.
    count = Counter(name for name, _, _ in found)
    qualified = ((name if count[name] == 1 else f"{archive}/{name}", path) for name, archive, path in found)
    return dict(sorted(qualified))


def _is_packed(path: Path) -> bool:
    # A workbook is a zip too, but is read as a workbook.
    return not registry.is_packed(path) and is_archive(path)


def _unpacked(archive: Path, folder: Path, left: Budget, depth: int = 1) -> list[tuple[str, Path]]:
    folder.mkdir(parents=True)
    out: list[tuple[str, Path]] = []
    for number, path in enumerate(unpack(archive, folder / "files", within=left)):
        name = path.relative_to(folder / "files").as_posix()
        if depth < left.limits.nested and path.suffix.lower() in _PACKED and _is_packed(path):
            inner = _unpacked(path, folder / f"inner{number}", left, depth + 1)
            out += [(f"{name}/{inside}", file) for inside, file in inner]
        else:
            out.append((name, path))
    return out


def _with_geodatabases(found: dict[str, Path], natives: Sequence[Path], work: Path) -> dict[str, Path]:
    # A folder with tables of a File Geodatabase is one member, whatever its name is, even at the top of the archive; so
    # is a folder `x.gdb`. GDAL recognises a File Geodatabase by the suffix of the folder.
    tables = {PurePosixPath(name).parent for name in found if suffix_of(name) == _TABLE_OF_GDB}
    out: dict[str, Path] = {}
    for name, path in found.items():
        parts = PurePosixPath(name).parts
        depth = next((at for at, part in enumerate(parts[:-1]) if part.lower().endswith(GDB)), None)
        parent = PurePosixPath(name).parent
        if parent in tables and suffix_of(name).startswith((_TABLE_OF_GDB, *_OTHERS_OF_GDB)):
            qualified, folder = _geodatabase(parent, path.parent, natives, work)
            out[qualified] = folder
        elif depth is None or any(each.is_relative_to(PurePosixPath(*parts[: depth + 1])) for each in tables):
            # The folder of the tables also holds other files (a readme, locks).
            if parent not in tables or registry.is_readable(name):
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
    name = parent.with_name(f"{stem.name}{GDB}") if parent.name else PurePosixPath(f"{stem.name}{GDB}")
    link = work / "geodatabases" / str(parent).replace("/", "_") / name.name
    if not link.exists():
        link.parent.mkdir(parents=True)
        link.symlink_to(folder, target_is_directory=True)
    return name.as_posix(), link


def _of_kind(processing: Processing, found: dict[str, Path]) -> tuple[list[str], list[str]]:
    # The candidates, and the files of other formats that could be data too.
    names = [name for name in found if "__MACOSX" not in name and not PurePosixPath(name).name.startswith(".")]
    if processing.member:
        matching = [name for name in names if _matches(name, processing.member)]
        exact = [name for name in matching if registry.is_readable(name)]
        # A glob such as `roads.*` matches all parts of a shapefile; only its .shp is a member.
        with_shp = {PurePosixPath(name).with_suffix("") for name in exact if suffix_of(name) == ".shp"}
        return [
            name for name in exact if suffix_of(name) != DBF or PurePosixPath(name).with_suffix("") not in with_shp
        ], []
    groups: dict[str, list[str]] = {}
    recognised: set[str] = set()
    for name in names:
        form = registry.format_of(name, found[name])
        if form is not None and not _is_about(name):
            groups.setdefault(form.group, []).append(name)
            recognised |= {name} if form.recognise is not None else set()
    present = [group for group in registry.PREFERENCE[processing.kind] if group in groups]
    if not present:
        return [], []
    # A text beside data is a readme, JSON and attributes beside features are licences, styles and parts of a shapefile.
    beside = ("plain text", "attributes", *(("json",) if present[0] == "features" else ()))
    others = sorted(name for group in present[1:] if group not in beside for name in groups[group])
    return sorted(groups[present[0]], key=lambda name: name not in recognised), others


def _without_french_twins(names: list[str]) -> list[str]:
    english = {name.replace("-eng.zip/", "-fra.zip/", 1) for name in names if "-eng.zip/" in name}
    return [name for name in names if name not in english]


def _is_about(name: str) -> bool:
    return any(fnmatch.fnmatchcase(PurePosixPath(name).name.lower(), pattern) for pattern in _ABOUT)


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(PurePosixPath(name).name, pattern)


def _check_beginning(member: Member, beginnings: tuple[bytes, ...]) -> None:
    if member.path.is_dir():
        return
    with member.path.open("rb") as handle:
        head = handle.read(512)
    beginning = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not beginning:
        raise DataError(f"{member.path.name} is empty", "Fetch the vintage again")
    if beginning.lower().startswith(_HTML):
        raise DataError(
            f"{member.path.name} is an HTML page, not data", "Check the address of the source, then fetch again"
        )
    in_utf16 = head.startswith(_UTF16) and beginnings[:1] in ((b"<",), (b"{",))
    if beginnings and not in_utf16 and not (beginning.startswith(beginnings) or head.startswith(beginnings)):
        raise DataError(f"{member.path.name} does not begin as a {member.suffix} file does", "Fetch the vintage again")
