"""Zips: names decoded from the code page they are in, deflate by isal, deflate64 as Windows writes it.

`unpack.py` decides which members are refused.
"""

# isal's and inflate64's stubs leave the types of bytes open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

import itertools
import lzma
import os
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import inflate64
from isal import isal_zlib

from d4c_pipeline.files import magic, zip_directory
from d4c_pipeline.files.packed import Budget, Packed, broken, placing, refused

_DEFLATE64 = 9
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, _DEFLATE64})
_UTF8_FLAG = 0x800
_UNICODE_PATH = 0x7075
_FRENCH = frozenset("àâæçéèêëîïôœùûüÿ")
_ENCRYPTED_FLAG = 0x1
_ISAL_ERROR = cast("type[Exception]", isal_zlib.error)
_BROKEN = (zipfile.BadZipFile, zlib.error, _ISAL_ERROR, lzma.LZMAError, EOFError, NotImplementedError, ValueError)
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_PACKED = 1 << 18
_PACKED64 = 1 << 12  # unpacked in one step, to at most a few megabytes
_BLOCK = 1 << 20


class _Zip:
    def __init__(self, archive: Path, opened: zipfile.ZipFile) -> None:
        self._archive = archive
        self._opened = opened
        self._infos = opened.infolist()
        self.members: Sequence[Packed] = [_packed(key, info) for key, info in enumerate(self._infos)]

    def write(self, targets: Mapping[int, Path]) -> list[Path]:
        try:
            for key, target in targets.items():
                with placing(target) as sink:
                    self._write(self._infos[key], sink)
        except _BROKEN as error:
            raise broken(self._archive, "zip", error) from error
        return list(targets.values())

    def _write(self, member: zipfile.ZipInfo, sink: BinaryIO) -> None:
        if member.compress_type == zipfile.ZIP_DEFLATED:
            _copy(member, _inflated(_raw(self._opened, member, _PACKED)), sink)
        elif member.compress_type == _DEFLATE64:
            _copy(member, _inflated64(_raw(self._opened, member, _PACKED64)), sink)
        else:
            with self._opened.open(member) as source:
                shutil.copyfileobj(source, sink, _BLOCK)


@contextmanager
def ZipArchive(archive: Path, budget: Budget) -> Generator[_Zip]:  # noqa: N802 - a `Format`, named as what it opens
    """Open a zip. Raises DataError when it has no end, a directory that can't be read, or members over one another."""
    try:
        with archive.open("rb") as file:
            budget.member(archive, zip_directory.listed(file))
        opened = zipfile.ZipFile(archive)
    except _BROKEN as error:
        raise broken(archive, "zip", error) from error
    with opened:
        _check_apart(archive, opened.infolist())
        yield _Zip(archive, opened)


def _check_apart(archive: Path, infos: Sequence[zipfile.ZipInfo]) -> None:
    # A zip bomb lists one content under many names (D. Fifield, A better zip bomb, 2019).
    places = sorted({(info.header_offset, info.orig_filename, info.compress_size) for info in infos})
    for (start, name, size), (following, other, _) in itertools.pairwise(places):
        if start + _LOCAL_HEADER.size + size > following:
            raise refused(archive, f"holds '{name}' and '{other}' in the same bytes: members overlap")


def _packed(key: int, info: zipfile.ZipInfo) -> Packed:
    unreadable = None
    if info.flag_bits & _ENCRYPTED_FLAG:
        unreadable = "which is encrypted"
    elif info.compress_type not in _METHODS:
        unreadable = f"packed by method {info.compress_type}, which can't be read"
    return Packed(
        key=key,
        name=_decoded_name(info),
        size=info.file_size,
        is_folder=info.is_dir(),
        special=stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR),
        unreadable=unreadable,
        checksum=info.CRC,
    )


def _raw(opened: zipfile.ZipFile, member: zipfile.ZipInfo, size: int) -> Iterator[bytes]:
    """Yield the packed bytes of a member."""
    archive = opened.fp
    if archive is None:
        raise zipfile.BadZipFile("the archive is closed")
    archive.seek(member.header_offset)
    # Local file header, APPNOTE 4.3.7: sizes may be left out here, so those of the central directory are used.
    header = archive.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or not header.startswith(magic.ZIP):
        raise zipfile.BadZipFile(f"no file begins where '{member.filename}' should")
    name_length, extra_length = _LOCAL_HEADER.unpack(header)[-2:]
    archive.seek(name_length + extra_length, os.SEEK_CUR)
    left = member.compress_size
    while left > 0:
        packed = archive.read(min(left, size))
        if not packed:
            raise EOFError(f"'{member.filename}' is truncated")
        left -= len(packed)
        yield packed


def _inflated(chunks: Iterator[bytes]) -> Iterator[bytes]:
    # isal inflates at about twice the speed of the zlib that `zipfile` always uses.
    inflater = isal_zlib.decompressobj(wbits=-isal_zlib.MAX_WBITS)
    for chunk in chunks:
        packed = chunk
        while packed and not inflater.eof:
            yield inflater.decompress(packed, max_length=_BLOCK)
            packed = inflater.unconsumed_tail
    yield inflater.flush()


def _inflated64(chunks: Iterator[bytes]) -> Iterator[bytes]:
    inflater = inflate64.Inflater()
    for packed in chunks:
        yield inflater.inflate(packed)


def _copy(member: zipfile.ZipInfo, blocks: Iterator[bytes], sink: BinaryIO) -> None:
    size, checksum = 0, 0
    for block in blocks:
        size, checksum = size + len(block), isal_zlib.crc32(block, checksum)
        if size > member.file_size:
            raise zipfile.BadZipFile(f"'{member.filename}' is longer than listed")
        sink.write(block)
    if size != member.file_size or checksum != member.CRC:
        raise zipfile.BadZipFile(f"bad checksum of '{member.filename}'")


def _decoded_name(member: zipfile.ZipInfo) -> str:
    """Return the member's name with forward slashes; without the UTF-8 flag, detect its code page from the bytes.

    The zip format has only cp437 and UTF-8 (APPNOTE 4.4.4), but Windows programs also write cp850 and cp1252. In the
    wrong code page, accented letters become box drawings or punctuation. Info-ZIP repeats the name in UTF-8 (4.6.9).
    """
    name = member.orig_filename
    if not member.flag_bits & _UTF8_FLAG and not name.isascii():
        raw = name.encode("cp437")
        name = _repeated(raw, member.extra) or _strict(raw, "utf-8") or _in_code_page(raw) or name
    return name.replace("\\", "/")


def _in_code_page(raw: bytes) -> str | None:
    # The code page with the fewest letters that are not French; the first of several.
    found = [text for page in ("cp437", "cp1252", "cp850") if (text := _if_latin(_strict(raw, page))) is not None]
    return min(found, key=lambda text: sum(not c.isascii() and c.lower() not in _FRENCH for c in text), default=None)


def _repeated(raw: bytes, extra: bytes) -> str | None:
    """Return the UTF-8 name in an extra field of a member, if the field belongs to this name."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        body, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _UNICODE_PATH and body[:1] == b"\1" and body[1:5] == struct.pack("<L", zlib.crc32(raw)):
            return _strict(body[5:], "utf-8")
    return None


def _strict(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return None


def _if_latin(text: str | None) -> str | None:
    latin = text is not None and all(c.isascii() or unicodedata.name(c, "").startswith("LATIN") for c in text)
    return text if latin else None
