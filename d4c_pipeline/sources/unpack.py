"""Unpacking zips that came from elsewhere: everything is looked at before anything is written.

Which of the unpacked files holds the data is decided by `processing`; other archive formats are not read yet.
"""

# isal's stubs leave the types of bytes open.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import lzma
import os
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from isal import isal_zlib

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.sources import files

_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA})
_UTF8_FLAG = 0x800
_ENCRYPTED_FLAG = 0x1
_ISAL_ERROR = cast("type[Exception]", isal_zlib.error)
_BROKEN = (zipfile.BadZipFile, zlib.error, _ISAL_ERROR, lzma.LZMAError, EOFError, NotImplementedError)
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_PACKED = 1 << 18
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What an archive may hold: members, bytes unpacked, and how many times its own size (once above `ratio_from`).

    The defaults leave room for the largest tables of Statistics Canada (about 20 GB, packed 40 times).
    """

    members: int = 10_000
    total_bytes: int = 64 << 30
    ratio: float = 200.0
    ratio_from: int = 64 << 20


def is_archive(path: Path) -> bool:
    """Say whether the file begins as a zip does (a broken one too: `unpack` then says what is wrong with it)."""
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def unpack(archive: Path, into: Path, *, limits: Limits | None = None) -> tuple[Path, ...]:
    """Unpack the zip `archive` into the folder `into` and return the files, sorted by path.

    Names are decoded as UTF-8, cp437 or cp1252, whichever they are. Raises DataError, before anything is written, for
    members that leave the folder or are links, encrypted, of one name, too many or too large; and for a broken zip.
    Raises StorageError when `into` can't be written. Running it again gives the same files.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _checked(opened, archive, limits or Limits())
            with files.writing(into):
                into.mkdir(parents=True, exist_ok=True)
            files.require_room(into, sum(member.file_size for _, member in members), f"Unpacking {archive.name}")
            return tuple(sorted(_write(opened, member, into / path) for path, member in members))
    except _BROKEN as error:
        raise DataError(
            f"{archive.name} is a broken zip ({error})", "Fetch it again; if it stays so, tell the publisher"
        ) from error


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> Path:
    part = target.with_name(f"{target.name}.part")
    with files.writing(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as sink:
            if member.compress_type == zipfile.ZIP_DEFLATED:
                _inflate(opened, member, sink)
            else:
                with opened.open(member) as source:
                    shutil.copyfileobj(source, sink, 1 << 20)
        part.replace(target)
    return target


def _inflate(opened: zipfile.ZipFile, member: zipfile.ZipInfo, sink: BinaryIO) -> None:
    # isal inflates at about twice the speed of the zlib that `zipfile` uses, which can't be told to use another.
    archive = opened.fp
    if archive is None:
        raise zipfile.BadZipFile("the archive is closed")
    archive.seek(member.header_offset)
    # Local file header, APPNOTE 4.3.7: sizes may be left out here, so those of the central directory are used.
    header = archive.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
        raise zipfile.BadZipFile(f"no file begins where '{member.filename}' should")
    name_length, extra_length = _LOCAL_HEADER.unpack(header)[-2:]
    archive.seek(name_length + extra_length, os.SEEK_CUR)
    inflater = isal_zlib.decompressobj(wbits=-isal_zlib.MAX_WBITS)
    left, size, checksum = member.compress_size, 0, 0
    while left > 0 and not inflater.eof:
        packed = archive.read(min(left, _PACKED))
        if not packed:
            raise EOFError(f"'{member.filename}' is cut off")
        left -= len(packed)
        while packed and not inflater.eof:
            block = inflater.decompress(packed, max_length=_BLOCK)
            packed = inflater.unconsumed_tail
            size, checksum = size + len(block), isal_zlib.crc32(block, checksum)
            if size > member.file_size:
                raise zipfile.BadZipFile(f"'{member.filename}' is longer than the archive says")
            sink.write(block)
    block = inflater.flush()
    size, checksum = size + len(block), isal_zlib.crc32(block, checksum)
    sink.write(block)
    if size != member.file_size or checksum != member.CRC:
        raise zipfile.BadZipFile(f"bad checksum of '{member.filename}'")


def _checked(
    opened: zipfile.ZipFile, archive: Path, limits: Limits
) -> tuple[tuple[PurePosixPath, zipfile.ZipInfo], ...]:
    """Return the members that are files with their safe relative paths, or refuse the whole archive."""
    members = opened.infolist()
    total = sum(member.file_size for member in members)
    packed = archive.stat().st_size
    if len(members) > limits.members:
        raise _refused(archive, f"holds {len(members):,} members, more than {limits.members:,}")
    if total > limits.total_bytes:
        raise _refused(archive, f"would unpack to {total:,} bytes, more than {limits.total_bytes:,}")
    if total > limits.ratio_from and total > limits.ratio * packed:
        raise _refused(archive, f"would unpack to {total // packed:,} times its size, more than {limits.ratio:g}")
    checked: dict[str, tuple[PurePosixPath, zipfile.ZipInfo]] = {}
    folders: set[str] = set()
    for member in members:
        name = _decoded_name(member)
        path = _safe_path(name, archive)
        folders.update(str(parent).casefold() for parent in path.parents)
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(archive, f"holds '{name}', which is a link or a device")
        if member.is_dir() or name.endswith("/"):
            folders.add(str(path).casefold())
            continue
        if member.flag_bits & _ENCRYPTED_FLAG:
            raise _refused(archive, f"holds '{name}', which is encrypted")
        if member.compress_type not in _METHODS:
            raise _refused(archive, f"holds '{name}', packed by method {member.compress_type} (deflate64 is 9)")
        if checked.setdefault(str(path).casefold(), (path, member))[1] is not member:
            raise _refused(archive, f"holds '{name}' twice (upper and lower case are one name on some disks)")
    if clash := folders & checked.keys():
        raise _refused(archive, f"holds '{min(clash)}' both as a file and as a folder")
    return tuple(checked.values())


def _safe_path(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or (len(name) > 1 and name[1] == ":"):
        raise _refused(archive, f"holds '{name}', an absolute path")
    if ".." in path.parts:
        raise _refused(archive, f"holds '{name}', which leaves the folder")
    if not path.parts or any(ord(letter) < 32 or letter == "\x7f" for letter in name):
        raise _refused(archive, f"holds {name!r}, which is no file name")
    return path


def _decoded_name(member: zipfile.ZipInfo) -> str:
    """The member's name with forward slashes; without the UTF-8 flag the bytes tell which code page they are in.

    The zip format knows cp437 and UTF-8 only (APPNOTE 4.4.4), Windows programs also write cp1252: in the wrong one of
    both, letters with accents become box drawings or punctuation.
    """
    name = member.orig_filename
    if not member.flag_bits & _UTF8_FLAG and not name.isascii():
        raw = name.encode("cp437")
        name = next((text for text in _readings(raw) if text is not None), name)
    return name.replace("\\", "/")


def _readings(raw: bytes) -> tuple[str | None, ...]:
    return _strict(raw, "utf-8"), *(_if_latin(_strict(raw, page)) for page in ("cp437", "cp1252"))


def _strict(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return None


def _if_latin(text: str | None) -> str | None:
    latin = text is not None and all(c.isascii() or unicodedata.name(c, "").startswith("LATIN") for c in text)
    return text if latin else None


def _refused(archive: Path, what: str) -> DataError:
    return DataError(f"{archive.name} {what}", "It was not unpacked: look at it, and tell the publisher or repack it")
