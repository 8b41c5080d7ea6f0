"""Hashes over the members of zips. They stay the same when a publisher zips the same files again every night.

Files of other formats are compared by their bytes. Unpacking belongs to `files.unpack`.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from d4c_pipeline.files import zip_directory
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.model.limits import Limits
from d4c_pipeline.sources.fetch.part import CONTENT_RANGE, length
from d4c_pipeline.sources.fetch.web import Web
from d4c_pipeline.transport.patience import persist

_TAIL = 1 << 17  # holds the central directory of most zips; the rest of a larger one takes a second request
_MOST = 64 << 20
_COPY = 1 << 20
_Members = list[tuple[str, int, int]]


def content_of(paths: Sequence[Path]) -> str | None:
    """Return the hash over names, lengths and CRC-32 of the members of zips; None if a file is not a zip."""
    members: list[tuple[str, _Members]] = []
    for path in paths:
        try:
            with storage_errors(f"write in {path.parent}"), path.open("rb") as file:
                found = _members(file)
        except zipfile.BadZipFile:
            return None
        members.append((path.name, found))
    return _digest(members)


def content_of_marks(web: Web, named: Sequence[tuple[str, str]]) -> str | None:
    """Return the same hash of zips at a server, given name and address of each; None if one can't be inspected.

    Costs one or two requests per file. If the server supports no ranges, the complete file is read, up to 64 MiB.
    Raises the errors of `persist`.
    """
    members: list[tuple[str, _Members]] = []
    for name, url in named:
        if not name.lower().endswith(".zip"):
            return None
        found = persist(partial(_members_at, web, url), web.label(url), web.patience)
        if found is None:
            return None
        members.append((name, found))
    return _digest(members)


def same_members(first: BinaryIO, other: BinaryIO) -> bool:
    """Return whether two zips hold the same files, byte for byte; False if either is not a zip.

    Members are read only if the central directories are equal.
    """
    try:
        if _members(first) != _members(other):
            return False
        with zipfile.ZipFile(first) as own, zipfile.ZipFile(other) as second:
            names = {info.filename: info for info in second.infolist()}
            return all(_same(own, info, second, names[info.filename]) for info in own.infolist())
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError):
        return False  # broken, encrypted or in an unsupported compression: the bytes decide


def _same(first: zipfile.ZipFile, one: zipfile.ZipInfo, second: zipfile.ZipFile, other: zipfile.ZipInfo) -> bool:
    with first.open(one) as a, second.open(other) as b:
        while True:
            left, right = a.read(_COPY), b.read(_COPY)
            if left != right:
                return False
            if not left:
                return True


def _members(file: BinaryIO) -> _Members:
    if zip_directory.listed(file) > Limits.from_environment().members:
        raise zipfile.BadZipFile("too many members")  # unpacking refuses the file; here its bytes decide
    with zipfile.ZipFile(file) as archive:
        return sorted((info.filename, info.file_size, info.CRC) for info in archive.infolist())


def _digest(members: list[tuple[str, _Members]]) -> str:
    return hashlib.sha256(json.dumps(sorted(members)).encode()).hexdigest()


def _members_at(web: Web, url: str) -> _Members | None:
    tail, total = _range(web, url, f"-{_TAIL}")
    if total is None:
        return None
    begin = total - len(tail)
    for _ in range(2):
        try:
            return _members(_Sparse(total, begin, tail))
        except _MissingError as missing:
            if begin - missing.position > _MOST:
                return None
            begin = missing.position
            tail, total = _range(web, url, f"{begin}-")
            if total is None:
                return None
        except zipfile.BadZipFile:
            return None
    return None


def _range(web: Web, url: str, span: str) -> tuple[bytes, int | None]:
    with web.answer("GET", url, {"Range": f"bytes={span}"}, passing=(416,)) as response:
        found = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        size = length(response)
        if response.status == 200 and size is not None and size <= _MOST:
            return response.read(), size  # no ranges: a small file is read completely
        if response.status != 206 or found is None or found["total"] == "*":
            return b"", None
        return response.read(_MOST), int(found["total"])


class _MissingError(Exception):
    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


class _Sparse(io.RawIOBase, BinaryIO):
    """A file of which only the end is available; raises _MissingError when earlier bytes are read."""

    def __init__(self, total: int, begin: int, tail: bytes) -> None:
        super().__init__()
        self._total, self._begin, self._tail, self._at = total, begin, tail, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = offset + (0, self._at, self._total)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        if self._at < self._begin:
            raise _MissingError(max(0, self._at))
        start = self._at - self._begin
        found = self._tail[start:] if size is None or size < 0 else self._tail[start : start + size]
        self._at += len(found)
        return found
