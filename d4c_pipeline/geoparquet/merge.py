"""Sorts rows in memory or, beyond memory, externally: sorted runs on disk, then one range of the order after another.

`order` sorts every range in memory, so that the result equals a sort of all rows in memory. Writing the ranges belongs
to `single_file`.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from d4c_pipeline.geoparquet import order
from d4c_pipeline.geoparquet.rows import Coded, Positions, Rows, as_array, comparable, gather
from d4c_pipeline.geoparquet.spill import Spill
from d4c_pipeline.tables.parallel import in_order

# Each run and each range may use a quarter of the memory limit: each thread sorts one, in two copies.
_SHARE = 4
# While ranges are read, one block of each run is in memory. Blocks are small, because the number of runs is unlimited.
_BLOCK_BYTES = 1 << 20
# An array's own 600 bytes, and the key of each first row, outweigh the values of a column with fewer bytes a block.
_COLUMN_BYTES = 1 << 10

Key = tuple[tuple[int, Any], ...]


@dataclass(frozen=True)
class Sorted:
    """A sorted part of all rows: `rows` at `positions`. All rows of earlier parts precede it."""

    rows: Rows
    positions: Positions


@dataclass
class Sorting:
    """The counts of a sort, complete when its parts are exhausted."""

    duplicates: int = 0


def in_memory(
    batches: Iterable[pa.RecordBatch], columns: Sequence[str], noticed: Sorting, *, threads: int | None = None
) -> Iterator[Sorted]:
    """Sort `batches` by `columns` in memory; yield one part."""
    rows = gather(batches, first=columns, threads=threads)
    done = order.total(rows, columns)
    noticed.duplicates += done.duplicates
    yield Sorted(rows, done.positions)


def on_disk(
    batches: Iterable[pa.RecordBatch],
    columns: Sequence[str],
    noticed: Sorting,
    *,
    folder: Path,
    limit: int,
    threads: int | None = None,
) -> Iterator[Sorted]:
    """Sort `batches` by `columns` with files in `folder` and about `limit` bytes in memory.

    Rows that are equal in all plain columns of the order stay in one part of any size. Raises OSError when a write
    fails.
    """
    with Spill(folder / "runs") as spill:
        sorted_runs = in_order(lambda held: _sorted_blocks(held, columns), _filled(batches, limit // _SHARE), threads)
        runs = [[_Block(spill.add(batch), batch.nbytes, first) for batch, first in run] for run in sorted_runs]
        splitting = _splitting(runs, columns)
        parts = _parts(spill, runs, splitting, _ranges(runs, splitting, limit // _SHARE))
        for part, duplicates in in_order(lambda held: _range(held, columns), parts, threads):
            noticed.duplicates += duplicates
            yield part


@dataclass
class _Block:
    number: int
    bytes: int
    first: dict[str, tuple[int, Any]]


def _filled(batches: Iterable[pa.RecordBatch], limit: int) -> Iterator[list[pa.RecordBatch]]:
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += batch.nbytes
        if size >= limit:
            yield held
            held, size = [], 0
    if held:
        yield held


def _sorted_blocks(
    held: list[pa.RecordBatch], columns: Sequence[str]
) -> list[tuple[pa.RecordBatch, dict[str, tuple[int, Any]]]]:
    # The blocks of a sorted run, each with the values of its first row.
    size = sum(batch.nbytes for batch in held)
    rows = gather(held)
    held.clear()  # the rows are a copy
    blocks: list[tuple[pa.RecordBatch, dict[str, tuple[int, Any]]]] = []
    positions = order.total(rows, columns).positions
    wanted = max(_BLOCK_BYTES, _COLUMN_BYTES * len(rows.columns))
    for some in np.array_split(positions, min(rows.count, 1 + size // wanted)):
        taken = {name: rows.take(name, some, exactly=False) for name in rows.columns}
        first = {name: comparable(column, 0) for name, column in taken.items() if _is_plain(column)}
        arrays = [as_array(column) for column in taken.values()]
        blocks.append((pa.RecordBatch.from_arrays(arrays, names=list(taken)), first))
    return blocks


def _parts(
    spill: Spill, runs: Sequence[list[_Block]], splitting: tuple[str, ...], ranges: Sequence[Key]
) -> Iterator[list[pa.RecordBatch]]:
    readers = [_RunReader(spill, run, splitting) for run in runs]
    for until in [*ranges, None]:
        held = [batch for reader in readers for batch in reader.until(until)]
        if held:
            yield held


def _range(held: list[pa.RecordBatch], columns: Sequence[str]) -> tuple[Sorted, int]:
    rows = gather(held)
    held.clear()
    done = order.total(rows, columns)
    return Sorted(rows, done.positions), done.duplicates


def _is_plain(column: Any) -> bool:
    return isinstance(column, Coded) or not (
        pa.types.is_nested(column.type) or pa.types.is_binary(column.type) or pa.types.is_null(column.type)
    )


def _splitting(runs: Sequence[list[_Block]], columns: Sequence[str]) -> tuple[str, ...]:
    # The first columns of the order, up to a column whose values are too large to keep or have no order in Python.
    # As few as tell all blocks apart: a key of each of 5,000 columns made a table of 25 million values twice as slow.
    names: list[str] = []
    blocks = [block for run in runs for block in run]
    same = [0] * len(blocks)  # blocks with equal keys have equal numbers
    for name in columns:
        if not all(name in block.first for block in blocks):
            break
        names.append(name)
        numbers: dict[tuple[int, Any], int] = {}
        same = [
            numbers.setdefault((number, block.first[name]), len(numbers))
            for number, block in zip(same, blocks, strict=True)
        ]
        if len(numbers) == len(blocks):
            break
    return tuple(names)


def _ranges(runs: Sequence[list[_Block]], splitting: tuple[str, ...], limit: int) -> list[Key]:
    # The starts of ranges: first rows of blocks, so that each range has about `limit` bytes.
    blocks = [(tuple(block.first[name] for name in splitting), block.bytes) for run in runs for block in run]
    if not splitting:
        return []
    blocks.sort(key=lambda block: block[0])
    starts: list[Key] = []
    size = 0
    for key, length in blocks:
        if size and size + length > limit and (not starts or key > starts[-1]):
            starts.append(key)
            size = 0
        size += length
    return starts


class _RunReader:
    """Reads one run, range by range."""

    def __init__(self, spill: Spill, run: list[_Block], splitting: tuple[str, ...]) -> None:
        self._spill = spill
        self._blocks = run
        self._splitting = splitting
        self._next = 0
        self._rest: pa.RecordBatch | None = None

    def until(self, end: Key | None) -> Iterator[pa.RecordBatch]:
        """Yield the remaining rows before `end`, or all remaining rows without an `end`."""
        while True:
            batch = self._rest
            if batch is None:
                if self._next == len(self._blocks) or (end is not None and self._first(self._next) >= end):
                    return
                batch = self._spill.fetch(self._blocks[self._next].number)
                self._next += 1
            # A next block that begins before the end proves it for this block: rows equal to the end belong behind it.
            if end is None or (self._next < len(self._blocks) and self._first(self._next) < end):
                cut = batch.num_rows
            else:
                cut = bisect.bisect_left(range(batch.num_rows), end, key=lambda row, here=batch: self._key(here, row))
            if cut:
                yield batch.slice(0, cut)
            if cut < batch.num_rows:
                self._rest = batch.slice(cut)
                return
            self._rest = None

    def _first(self, block: int) -> Key:
        return tuple(self._blocks[block].first[name] for name in self._splitting)

    def _key(self, batch: pa.RecordBatch, row: int) -> Key:
        return tuple(_value(batch.column(name), row) for name in self._splitting)


def _value(column: pa.Array, row: int) -> tuple[int, Any]:
    if pa.types.is_dictionary(column.type):
        value = column[row].as_py()
        return (1, None) if value is None else (0, value)
    return comparable(column, row)
