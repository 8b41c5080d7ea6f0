"""Tars, plain and gzipped, and single gzipped files.

A gzip does not state its unpacked size, so it is read twice: once to measure, once to write. `unpack.py` decides which
members are refused.
"""

# isal's stubs leave the types of bytes open.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import shutil
import tarfile
import zlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from isal import igzip, isal_zlib

from d4c_pipeline.files import magic
from d4c_pipeline.files.packed import Budget, Format, Packed, broken, placing

_BLOCK = 1 << 20
_ISAL_ERROR = cast("type[Exception]", isal_zlib.error)
_BROKEN = (tarfile.TarError, zlib.error, _ISAL_ERROR, EOFError, igzip.BadGzipFile)
_HEADER_BYTES = 1 << 20  # of a name or of attributes; a path has 4,096 at most


def gzipped(path: Path) -> Format:
    """Return the format of a gzipped file: a tar, or one file."""
    try:
        with igzip.open(path, "rb") as stream:
            start = cast("bytes", stream.read(265))
    except _BROKEN:
        return GzipFile  # opening it reports the defect
    return TarArchive if start[257:262] == b"ustar" else GzipFile


class _Info(tarfile.TarInfo):
    def _proc_member(self, tarfile_: tarfile.TarFile) -> tarfile.TarInfo:
        # The standard library reads names and attributes of any length into memory, and those in a row by recursion.
        if self.type in _OF_THE_NEXT and self.size > _HEADER_BYTES:
            raise tarfile.ReadError(f"a name or attributes of {self.size:,} bytes")
        try:
            return super()._proc_member(tarfile_)  # type: ignore[misc] # the entry point for subclasses, its source says
        except RecursionError as error:
            raise tarfile.ReadError("names and attributes without a file") from error


_OF_THE_NEXT = frozenset(
    {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
)


class _Tar:
    def __init__(self, archive: Path, stream: BinaryIO, budget: Budget) -> None:
        self._archive = archive
        self._stream = stream
        members: list[Packed] = []
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Info) as opened:
            for key, info in enumerate(opened):
                budget.member(archive)
                members.append(_packed(key, info))
                # Free the members read so far, which tarfile keeps; the attribute is not documented.
                opened.members.clear()  # pyright: ignore[reportAttributeAccessIssue]
        self.members: Sequence[Packed] = members

    def write(self, targets: Mapping[int, Path]) -> list[Path]:
        self._stream.seek(0)
        try:
            with tarfile.open(fileobj=self._stream, mode="r|", tarinfo=_Info) as opened:
                for key, info in enumerate(opened):
                    source = opened.extractfile(info) if key in targets else None
                    if source is not None:
                        with placing(targets[key]) as sink:
                            shutil.copyfileobj(source, sink, _BLOCK)
        except _BROKEN as error:
            raise broken(self._archive, "tar", error) from error
        return list(targets.values())


@contextmanager
def TarArchive(archive: Path, budget: Budget) -> Generator[_Tar]:  # noqa: N802 - a `Format`, named as what it opens
    """Open a tar, plain or gzipped. Raises DataError when it can't be read, or unpacks beyond the limits."""
    with archive.open("rb") as file:
        packed = file.read(2) == magic.GZIP
    with igzip.open(archive, "rb") if packed else archive.open("rb") as stream:
        if packed:
            _measure(archive, cast("BinaryIO", stream), budget)
            stream.seek(0)
        try:
            opened = _Tar(archive, cast("BinaryIO", stream), budget)
        except _BROKEN as error:
            raise broken(archive, "tar", error) from error
        yield opened


class _Gzip:
    def __init__(self, archive: Path, stream: BinaryIO, size: int) -> None:
        self._archive = archive
        self._stream = stream
        self._size = size
        name = archive.name.removesuffix(".gz") if archive.name.lower().endswith(".gz") else f"{archive.name}.unpacked"
        self.members: Sequence[Packed] = [Packed(key=0, name=name, size=size)]

    def write(self, targets: Mapping[int, Path]) -> list[Path]:
        self._stream.seek(0)
        try:
            with placing(targets[0]) as sink:
                shutil.copyfileobj(self._stream, sink, _BLOCK)
        except _BROKEN as error:
            raise broken(self._archive, "gzip", error) from error
        return [targets[0]]


@contextmanager
def GzipFile(archive: Path, budget: Budget) -> Generator[_Gzip]:  # noqa: N802 - a `Format`, named as what it opens
    """Open a gzipped file. Raises DataError when it can't be read, or unpacks beyond the limits."""
    with igzip.open(archive, "rb") as stream:
        budget.member(archive)
        size = _measure(archive, cast("BinaryIO", stream), budget)
        yield _Gzip(archive, cast("BinaryIO", stream), size)


def _measure(archive: Path, stream: BinaryIO, budget: Budget) -> int:
    """Return the unpacked size of a gzip without writing it; stops at the limit."""
    size = 0
    try:
        while block := stream.read(_BLOCK):
            size += len(block)
            budget.room(archive, size, more="unpacks to at least")
    except _BROKEN as error:
        raise broken(archive, "gzip", error) from error
    return size


def _packed(key: int, info: tarfile.TarInfo) -> Packed:
    return Packed(
        key=key,
        name=info.name,
        size=info.size if info.isfile() else 0,
        is_folder=info.isdir(),
        special=not (info.isfile() or info.isdir()),
    )
