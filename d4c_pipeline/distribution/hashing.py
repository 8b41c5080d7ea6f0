"""Hashes of a file, all from one read in constant memory.

Whatever has an `update` can share the read, so the pieces of a torrent (`pieces.PieceHasher`) cost no second one.
Comparing hashes with what was recorded belongs to whoever recorded them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from d4c_pipeline.distribution.disk import storage_errors

# Large enough that Python's share of the time vanishes, small enough to stay in the processor's cache.
READ_SIZE = 1 << 20


class Hasher(Protocol):
    """What can share a read; it must not keep a reference to the bytes it is given."""

    def update(self, data: memoryview, /) -> object:
        """Take the next bytes of the file."""
        ...


@dataclass(frozen=True)
class Digests:
    """Size in bytes, md5 and sha256 in lower-case hexadecimal."""

    size: int
    md5: str
    sha256: str


def feed(stream: BinaryIO, *hashers: Hasher) -> int:
    """Read `stream` to its end into every hasher and return the number of bytes read."""
    buffer = bytearray(READ_SIZE)
    view = memoryview(buffer)
    size = 0
    # A raw stream may answer short before its end; only 0 is the end.
    while count := stream.readinto(buffer):  # pyright: ignore[reportAttributeAccessIssue]
        size += count
        for hasher in hashers:
            hasher.update(view[:count])
    return size


def hash_file(path: Path, *others: Hasher) -> Digests:
    """Return size, md5 and sha256 of the file at `path`; `others` are fed from the same read.

    Raises StorageError when the file can't be read.
    """
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with storage_errors(f"read {path.name}"), path.open("rb", buffering=0) as stream:
        size = feed(stream, md5, sha256, *others)
    return Digests(size, md5.hexdigest(), sha256.hexdigest())


def sha256_of(path: Path) -> str:
    """Return the sha256 of the file at `path` in hexadecimal. Raises StorageError when it can't be read."""
    with storage_errors(f"read {path.name}"), path.open("rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
