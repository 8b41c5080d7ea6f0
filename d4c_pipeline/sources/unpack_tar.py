"""Tars, plain and gzipped, and single gzipped files.

A gzip doesn't say how long it becomes, so it is read twice: once to look, once to write. What is refused is decided in
`unpack.py`.
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

from d4c_pipeline.sources.packed import Format, Limits, Packed, broken, placing, refused

_BLOCK = 1 << 20
_ISAL_ERROR = cast("type[Exception]", isal_zlib.error)
_BROKEN = (tarfile.TarError, zlib.error, _ISAL_ERROR, EOFError, igzip.BadGzipFile)


def gzipped(path: Path) -> Format:
    """Return the format of a gzipped file: a tar, or one file."""
    try:
        with igzip.open(path, "rb") as stream:
            start = cast("bytes", stream.read(265))
    except _BROKEN:
        return GzipFile  # its opening says what is wrong
    return TarArchive if start[257:262] == b"ustar" else GzipFile


class _Tar:
    def __init__(self, archive: Path, stream: BinaryIO) -> None:
        self._archive = archive
        self._stream = stream
        with tarfile.open(fileobj=stream, mode="r|") as opened:
            self.members: Sequence[Packed] = [_packed(key, info) for key, info in enumerate(opened)]

    def write(self, targets: Mapping[int, Path]) -> list[Path]:
        self._stream.seek(0)
        try:
            with tarfile.open(fileobj=self._stream, mode="r|") as opened:
                for key, info in enumerate(opened):
                    source = opened.extractfile(info) if key in targets else None
                    if source is not None:
                        with placing(targets[key]) as sink:
                            shutil.copyfileobj(source, sink, _BLOCK)
        except _BROKEN as error:
            raise broken(self._archive, "tar", error) from error
        return list(targets.values())


@contextmanager
def TarArchive(archive: Path, limits: Limits) -> Generator[_Tar]:  # noqa: N802 - a `Format`, named as what it opens
    """Open a tar, plain or gzipped. Raises DataError when it can't be read, or unpacks beyond the limits."""
    with archive.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with igzip.open(archive, "rb") if packed else archive.open("rb") as stream:
        if packed:
            _measure(archive, cast("BinaryIO", stream), limits)
            stream.seek(0)
        try:
            opened = _Tar(archive, cast("BinaryIO", stream))
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
def GzipFile(archive: Path, limits: Limits) -> Generator[_Gzip]:  # noqa: N802 - a `Format`, named as what it opens
    """Open a gzipped file. Raises DataError when it can't be read, or unpacks beyond the limits."""
    with igzip.open(archive, "rb") as stream:
        size = _measure(archive, cast("BinaryIO", stream), limits)
        yield _Gzip(archive, cast("BinaryIO", stream), size)


def _measure(archive: Path, stream: BinaryIO, limits: Limits) -> int:
    """Return how long a gzip becomes, without writing anything; stops where it is refused anyway."""
    size, packed = 0, archive.stat().st_size
    try:
        while block := stream.read(_BLOCK):
            size += len(block)
            if size > limits.total_bytes:
                raise refused(archive, f"unpacks to more than {limits.total_bytes:,} bytes")
            if size > limits.ratio_from and size > limits.ratio * packed:
                raise refused(archive, f"unpacks to more than {limits.ratio:g} times its size")
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
