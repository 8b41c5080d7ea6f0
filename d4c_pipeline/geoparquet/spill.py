"""Stores batches in a file and fetches them in any order, so that the memory of a build does not grow with its data.

The files are in the build's workspace, which is removed after the build.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa


class Spill:
    """A file of batches; each keeps its own schema (dictionaries differ from batch to batch)."""

    def __init__(self, path: Path) -> None:
        """Create the file `path`. Raises OSError when that fails."""
        self._path = path
        self._out = path.open("wb")
        self._places: list[tuple[int, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._out.close()
        self._path.unlink(missing_ok=True)

    def __len__(self) -> int:
        return len(self._places)

    def add(self, batch: pa.RecordBatch) -> int:
        """Append a batch; return its number. Raises OSError when a write fails."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        raw = sink.getvalue()
        self._places.append((self._out.tell(), raw.size))
        self._out.write(raw)
        return len(self._places) - 1

    def fetch(self, number: int) -> pa.RecordBatch:
        """Return a batch, whose memory is freed with its last reference."""
        self._out.flush()
        start, length = self._places[number]
        with self._path.open("rb") as handle:
            handle.seek(start)
            raw = handle.read(length)
        return pa.ipc.open_stream(pa.py_buffer(raw)).read_next_batch()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return (self.fetch(number) for number in range(len(self._places)))


class Shelf:
    """Batches in order: in memory up to `limit` bytes, all in a file beyond."""

    def __init__(self, path: Path, limit: int) -> None:
        """`path`: the file, created only beyond `limit` bytes."""
        self._path = path
        self._limit = limit
        self._held: list[pa.RecordBatch] = []
        self._spill: Spill | None = None
        self.bytes = 0
        self.rows = 0

    @property
    def in_memory(self) -> bool:
        """Whether all batches are in memory."""
        return self._spill is None

    def add(self, batch: pa.RecordBatch) -> None:
        """Append a batch. Raises OSError when a write fails."""
        self.bytes += batch.nbytes
        self.rows += batch.num_rows
        if self._spill is None:
            self._held.append(batch)
            if self.bytes <= self._limit:
                return
            self._spill = Spill(self._path)
            for held in self._held:
                self._spill.add(held)
            self._held = []
        else:
            self._spill.add(batch)

    def drain(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches once and free each batch."""
        if self._spill is None:
            while self._held:
                yield self._held.pop(0)
        else:
            with self._spill as spill:
                yield from spill
