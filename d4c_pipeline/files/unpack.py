"""Unpacking of foreign archives: all members are checked before a file is written.

This module refuses archives of all formats. Reading a format belongs to `unpack_zip.py`, `unpack_tar.py` and
`unpack_7z.py`, choosing the data among the unpacked files to `readers`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from d4c_pipeline.files import magic
from d4c_pipeline.files.disk import require_room, storage_errors
from d4c_pipeline.files.packed import Budget, Format, Packed, refused
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.limits import Limits

# ruff: noqa: PLC0415 - most deliveries have one format or none; a new process should not import the others

__all__ = ["Budget", "Limits", "budget", "check_size", "is_archive", "unpack"]

_ZIP_SUFFIXES = (".zip", ".kmz")
_BEGINNING = 265  # bytes; the mark of a tar is at 257
_NAME_BYTES = 255  # the limit of a name in common file systems


def is_archive(path: Path) -> bool:
    """Return whether the file begins as an archive does; `unpack` then reports a broken archive."""
    return _format(path) is not None


def budget(archive: Path) -> Budget:
    """Return the budget of a delivery with this outermost archive, by the settings."""
    return Budget(Limits.from_environment(), archive.stat().st_size)


def unpack(archive: Path, into: Path, *, within: Budget | None = None) -> tuple[Path, ...]:
    """Unpack `archive` (zip, 7z, tar, tar.gz, gz) into the folder `into` and return the files, sorted by path.

    Detects the encoding of names: UTF-8, cp437, cp850 or cp1252. Equal duplicates of a member are one file. `within`:
    the remaining budget of the delivery, by default the limits of the settings. Raises DataError before a file is
    written for members that leave the folder, are links or encrypted, are too many or too large, or differ under one
    name; and for a broken archive. Raises StorageError if `into` can't be written. A second run gives the same files.
    """
    opener = _format(archive)
    if opener is None:
        raise DataError(f"{archive.name} is not an archive", "Check the file at the source, then fetch it again")
    left = within or budget(archive)
    with opener(archive, left) as opened:
        members = _checked(archive, opened.members, left)
        with storage_errors(f"write in {into}"):
            into.mkdir(parents=True, exist_ok=True)
        require_room(into, sum(member.size for member in members.values()), f"Unpacking {archive.name}")
        return tuple(sorted(opened.write({member.key: into / path for path, member in members.items()})))


def check_size(archive: Path) -> None:
    """Raise DataError if the zip `archive` lists more members or bytes than allowed, without unpacking it.

    A zip without a directory passes: the reader of its format reports it.
    """
    from d4c_pipeline.files import unpack_zip, zip_directory

    with archive.open("rb") as file:
        if not zip_directory.listed(file):
            return
    left = budget(archive)
    with unpack_zip.ZipArchive(archive, left) as opened:
        left.unpacked(archive, sum(member.size for member in opened.members))


def _format(path: Path) -> Format | None:
    with path.open("rb") as file:
        start = file.read(_BEGINNING)
    if start.startswith((magic.ZIP, magic.EMPTY_ZIP)) or _is_zip_further_on(path, start):
        from d4c_pipeline.files import unpack_zip

        return unpack_zip.ZipArchive
    if start.startswith(magic.SEVEN_ZIP):
        from d4c_pipeline.files import unpack_7z

        return unpack_7z.SevenZipArchive
    if start.startswith(magic.GZIP):
        from d4c_pipeline.files import unpack_tar

        return unpack_tar.gzipped(path)
    if magic.is_tar(start):
        from d4c_pipeline.files import unpack_tar

        return unpack_tar.TarArchive
    return None


def _is_zip_further_on(path: Path, start: bytes) -> bool:
    """Return whether bytes precede a zip: a self-extracting program, a proxy's note, the mark of a split zip."""
    likely = path.suffix.lower() in _ZIP_SUFFIXES or start.startswith((magic.DOS_PROGRAM, *magic.SPLIT_ZIP))
    return likely and zipfile.is_zipfile(path)


def _checked(archive: Path, members: Iterable[Packed], left: Budget) -> dict[PurePosixPath, Packed]:
    """Return the members that are files by their safe relative paths, or refuse the archive."""
    found = tuple(members)
    left.unpacked(archive, sum(member.size for member in found))
    checked: dict[str, tuple[PurePosixPath, Packed]] = {}
    folders: set[str] = set()
    for member in found:
        name = member.name.replace("\\", "/")
        path = _safe_path(name, archive, left.limits.folders)
        folders.update(str(parent).casefold() for parent in path.parents)
        if member.special:
            raise refused(archive, f"holds '{name}', which is a link or a device")
        if member.is_folder or name.endswith("/"):
            folders.add(str(path).casefold())
            continue
        if member.unreadable is not None:
            raise refused(archive, f"holds '{name}', {member.unreadable}")
        first = checked.setdefault(str(path).casefold(), (path, member))[1]
        if first is not member and not member.repeats(first):
            raise refused(
                archive,
                f"holds '{name}' twice, with {first.size:,} and {member.size:,} bytes that differ "
                "(some file systems ignore case)",
            )
    if clash := folders & checked.keys():
        raise refused(archive, f"holds '{min(clash)}' both as a file and as a folder")
    return dict(checked.values())


def _safe_path(name: str, archive: Path, folders: int) -> PurePosixPath:
    if name.count("/") > folders:
        raise refused(archive, f"holds '{name[:60]}...' in more than {folders} folders", "folders")
    path = PurePosixPath(name)
    if any(len(part.encode("utf-8", "surrogatepass")) > _NAME_BYTES for part in path.parts):
        raise refused(archive, f"holds '{name[:60]}...', a name that is too long for a disk")
    if path.is_absolute() or (len(name) > 1 and name[1] == ":"):
        raise refused(archive, f"holds '{name}', an absolute path")
    if ".." in path.parts:
        raise refused(archive, f"holds '{name}', which leaves the folder")
    if not path.parts or any(ord(letter) < 32 or letter == "\x7f" for letter in name):
        raise refused(archive, f"holds {name!r}, which is not a file name")
    return path
