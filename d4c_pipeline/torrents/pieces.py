"""The pieces of a single-file torrent, hashed while other code reads the file.

`PieceHasher` takes part in the single read of `hashing.hash_file` and computes the v1 pieces (BEP 3) and, for hybrids,
the v2 hash tree (BEP 52), which libtorrent's Python binding does not accept from outside. Writing a torrent from the
pieces belongs to `torrent_files`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.files.hashing import feed

_KIB, _MIB = 1 << 10, 1 << 20
MIN_PIECE_SIZE = 16 * _KIB
MAX_PIECE_SIZE = 16 * _MIB
_MOST_PIECES = 2048
_LARGE_FILE = 10**9
# Some clients send a web seed one request per piece: a gigabyte in small pieces would take thousands of requests.
_LARGE_FILE_PIECE_SIZE = 4 * _MIB
_BLOCK_SIZE = 16 * _KIB
_EMPTY_LEAF = bytes(32)


@dataclass(frozen=True)
class Pieces:
    """The hashes of one file. `sha1`: 20 bytes per piece.

    Only for hybrids: `root` of the SHA-256 tree (32 bytes) and `layer`, 32 bytes per piece (empty if one piece holds
    the complete file, as BEP 52 requires).
    """

    size: int
    piece_size: int
    sha1: bytes
    root: bytes | None = None
    layer: bytes = b""

    @property
    def count(self) -> int:
        """The number of pieces."""
        return -(-self.size // self.piece_size)

    def span(self, piece: int) -> tuple[int, int]:
        """Return the range of bytes [start, end) of a piece in the file."""
        start = piece * self.piece_size
        return start, min(start + self.piece_size, self.size)

    def sha1_of(self, piece: int) -> bytes:
        """Return the SHA-1 of a piece, 20 bytes."""
        return self.sha1[piece * 20 : piece * 20 + 20]

    def to_json(self) -> dict[str, Any]:
        """Return the pieces as JSON-ready values, hashes in hexadecimal."""
        return {
            "size": self.size,
            "piece_size": self.piece_size,
            "sha1": self.sha1.hex(),
            "root": self.root.hex() if self.root is not None else None,
            "layer": self.layer.hex(),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Pieces:
        """Read what `to_json` wrote."""
        root = value["root"]
        return cls(
            size=value["size"],
            piece_size=value["piece_size"],
            sha1=bytes.fromhex(value["sha1"]),
            root=None if root is None else bytes.fromhex(root),
            layer=bytes.fromhex(value["layer"]),
        )


def piece_size_for(size: int) -> int:
    """Return the piece size for a file of `size` bytes: a power of two, 16 KiB to 16 MiB, for 1,025 to 2,048 pieces.

    Small files have fewer pieces. From 1 GB on a piece has at least 4 MiB. Beyond 32 GiB there are more pieces instead.
    """
    smallest = _LARGE_FILE_PIECE_SIZE if size >= _LARGE_FILE else MIN_PIECE_SIZE
    wanted = -(-size // _MOST_PIECES)
    return min(MAX_PIECE_SIZE, max(smallest, 1 << max(wanted - 1, 0).bit_length()))


def piece_hasher(path: Path, *, hybrid: bool) -> PieceHasher:
    """Return a hasher that takes part in the read of the file at `path`, with a v2 tree if `hybrid`.

    Raises StorageError when the file's size can't be read.
    """
    with storage_errors(f"read {path.name}"):
        size = path.stat().st_size
    return PieceHasher(piece_size_for(size), hybrid=hybrid)


def hash_pieces(path: Path, *, hybrid: bool) -> Pieces:
    """Read the file at `path` once and return its pieces, with their v2 tree if `hybrid`.

    Raises StorageError when the file can't be read.
    """
    hasher = piece_hasher(path, hybrid=hybrid)
    with storage_errors(f"read {path.name}"), path.open("rb", buffering=0) as stream:
        feed(stream, hasher)
    return hasher.finish()


class PieceHasher:
    """Collects the pieces of the bytes that it receives; memory grows by 20 (hybrid: 52) bytes per piece."""

    def __init__(self, piece_size: int, *, hybrid: bool = False) -> None:
        self._piece_size = piece_size
        self._size = 0
        self._v1 = _Cutter("sha1", piece_size)
        self._v2 = _Cutter("sha256", _BLOCK_SIZE) if hybrid else None
        self._layer = bytearray()

    def update(self, data: memoryview) -> None:
        """Hash the next bytes of the file."""
        self._size += len(data)
        self._v1.update(data)
        if self._v2 is not None:
            self._v2.update(data)
            whole = self._leaf_bytes
            # Leaves of a finished piece fold into one hash, so that memory stays small.
            while len(self._v2.digests) > whole:
                self._layer += _tree_root(bytes(self._v2.digests[:whole]), self._leaf_bytes)
                del self._v2.digests[:whole]

    def finish(self) -> Pieces:
        """Return the pieces of all bytes; `update` must not be called afterwards."""
        sha1 = bytes(self._v1.finish())
        if self._v2 is None:
            return Pieces(self._size, self._piece_size, sha1)
        leaves = bytes(self._v2.finish())
        if self._size <= self._piece_size:
            return Pieces(self._size, self._piece_size, sha1, _tree_root(leaves, _power_of_two(len(leaves))), b"")
        while leaves:
            self._layer += _tree_root(leaves[: self._leaf_bytes], self._leaf_bytes)
            leaves = leaves[self._leaf_bytes :]
        layer = bytes(self._layer)
        empty_piece = _tree_root(b"", self._leaf_bytes)
        return Pieces(
            self._size, self._piece_size, sha1, _tree_root(layer, _power_of_two(len(layer)), empty_piece), layer
        )

    @property
    def _leaf_bytes(self) -> int:
        return self._piece_size // _BLOCK_SIZE * 32


class _Cutter:
    """Cuts a stream into chunks of one size (the last may be shorter) and collects their digests."""

    def __init__(self, algorithm: str, chunk_size: int) -> None:
        self.digests = bytearray()
        self._algorithm = algorithm
        self._chunk_size = chunk_size
        self._filled = 0
        self._hash = hashlib.new(algorithm, usedforsecurity=False)

    def update(self, data: memoryview) -> None:
        start = 0
        while start < len(data):
            part = data[start : start + self._chunk_size - self._filled]
            self._hash.update(part)
            self._filled += len(part)
            start += len(part)
            if self._filled == self._chunk_size:
                self._close_chunk()

    def finish(self) -> bytearray:
        if self._filled:
            self._close_chunk()
        return self.digests

    def _close_chunk(self) -> None:
        self.digests += self._hash.digest()
        self._hash = hashlib.new(self._algorithm, usedforsecurity=False)
        self._filled = 0


def _power_of_two(length: int) -> int:
    """Return the bytes of the smallest complete tree level with room for `length` bytes of hashes."""
    return 32 << (length // 32 - 1).bit_length()


def _tree_root(level: bytes, width: int, padding: bytes = _EMPTY_LEAF) -> bytes:
    """Return the root over a level of 32-byte hashes, padded to `width` bytes (32 times a power of two)."""
    level += padding * ((width - len(level)) // 32)
    while len(level) > 32:
        level = b"".join(hashlib.sha256(level[at : at + 64]).digest() for at in range(0, len(level), 64))
    return level
