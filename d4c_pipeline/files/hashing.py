"""Hashes of a file, all from one read in constant memory, on all cores.

Any object with `update` shares the read, so the pieces of a torrent (`pieces.PieceHasher`) cost no second read.
Comparing hashes with recorded ones belongs to the caller.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from d4c_pipeline.files.disk import storage_errors

# Large enough that Python's share of the time vanishes, small enough to stay in the processor's cache.
READ_SIZE = 1 << 20
# Blocks that are read ahead of the slowest hasher: the others go on meanwhile, so that no core waits for md5.
_BLOCKS_AHEAD = 16


class Hasher(Protocol):
    """A hash that shares a read. It keeps no reference to the bytes."""

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
    """Read `stream` to its end into every hasher and return the number of bytes read.

    Hashers don't wait for each other: each gets all blocks in order, on any free core (`hashlib` releases Python's
    lock). Raises the errors of the hashers.
    """
    threads = min(len(hashers), os.cpu_count() or 1)
    buffer = bytearray(READ_SIZE)
    # A raw stream may return fewer bytes before its end; only 0 marks the end.
    size = count = stream.readinto(buffer)  # pyright: ignore[reportAttributeAccessIssue]
    if threads < 2 or count < READ_SIZE:
        # Most files of a release are smaller than one block, too small for a thread.
        while count:
            for hasher in hashers:
                hasher.update(memoryview(buffer)[:count])
            count = stream.readinto(buffer)  # pyright: ignore[reportAttributeAccessIssue]
            size += count
        return size
    spare = [bytearray(READ_SIZE) for _ in range(_BLOCKS_AHEAD)]
    crew = _Crew(hashers, threads)
    try:
        while count:
            crew.give(_Block(buffer, count, len(hashers)))
            spare += crew.used(wait=not spare)
            buffer = spare.pop()
            count = stream.readinto(buffer)  # pyright: ignore[reportAttributeAccessIssue]
            size += count
    finally:
        crew.finish()
    return size


@dataclass
class _Block:
    """A block of bytes, and the number of hashers that have not hashed it yet."""

    buffer: bytearray
    count: int
    left: int


@dataclass
class _Lane:
    """A hasher with its queue of blocks. One thread at a time works on it."""

    hasher: Hasher
    waiting: deque[_Block] = field(default_factory=deque[_Block])
    busy: bool = False


class _Crew:
    """Threads that feed blocks to hashers, first to the hasher with the longest queue."""

    def __init__(self, hashers: Sequence[Hasher], threads: int) -> None:
        self._lanes = [_Lane(hasher) for hasher in hashers]
        self._changed = threading.Condition()
        self._used: list[bytearray] = []
        self._ended = False
        self._error: BaseException | None = None
        self._threads = [threading.Thread(target=self._work, name="d4c-hashing") for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def give(self, block: _Block) -> None:
        """Append the block to the queue of every hasher."""
        with self._changed:
            for lane in self._lanes:
                lane.waiting.append(block)
            self._changed.notify_all()

    def used(self, *, wait: bool) -> list[bytearray]:
        """Return the buffers that all hashers have finished; at least one with `wait`."""
        with self._changed:
            self._changed.wait_for(lambda: self._used or self._error or not wait)
            if self._error is not None:
                raise self._error
            free, self._used = self._used, []
            return free

    def finish(self) -> None:
        """Wait until all blocks are hashed."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        if self._error is not None:
            raise self._error

    def _next(self) -> _Lane | None:
        """Return the free hasher with the longest queue; None if no block is waiting."""
        ready = [lane for lane in self._lanes if lane.waiting and not lane.busy]
        return max(ready, key=lambda lane: len(lane.waiting), default=None)

    def _is_over(self) -> bool:
        return self._error is not None or (self._ended and not any(lane.waiting for lane in self._lanes))

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next() or self._is_over())
                lane = self._next()
                if lane is None or self._error is not None:
                    return
                lane.busy = True
                block = lane.waiting[0]
            try:
                lane.hasher.update(memoryview(block.buffer)[: block.count])
            except BaseException as error:  # noqa: BLE001 - raised again by `finish`, in the caller's thread
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                return
            with self._changed:
                lane.waiting.popleft()
                lane.busy = False
                block.left -= 1
                if not block.left:
                    self._used.append(block.buffer)
                self._changed.notify_all()


def hash_file(path: Path, *others: Hasher) -> Digests:
    """Return size, md5 and sha256 of the file at `path`; `others` share the read.

    Raises StorageError if the file can't be read.
    """
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with storage_errors(f"read {path.name}"), path.open("rb", buffering=0) as stream:
        size = feed(stream, md5, sha256, *others)
    return Digests(size, md5.hexdigest(), sha256.hexdigest())


def sha256_of(path: Path) -> str:
    """Return the sha256 of the file at `path` in hexadecimal. Raises StorageError when it can't be read."""
    with storage_errors(f"read {path.name}"), path.open("rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
