"""Holds rows in memory for sorting and writing: Arrow columns, with repetitive text as codes into a dictionary.

Text of open data repeats: codes take a fraction of its memory and compare as numbers. The packing of batches never
changes a result. Sorting belongs to `order`, files to `spill` and `single_file`.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.tables.arrays import as_arrow
from d4c_pipeline.tables.parallel import coming

# A column is packed if at most one in _PACKED_SHARE of its first _SAMPLE values is distinct.
_SAMPLE = 1_024
_PACKED_SHARE = 2
# Text without repetition in a batch may repeat among this many rows.
_LONG_SAMPLE = 65_536
# Rows per text from which a dictionary keeps unused texts.
_FEW = 16
# Columns with a greater average of bytes per value stay in chunks, because copying them is expensive.
_BIG_BYTES = 4 << 10

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Coded:
    """A text column: `codes` (-1 for null) into the sorted `texts` without repetition, so codes order as texts do."""

    codes: npt.NDArray[np.signedinteger]
    texts: pa.Array

    @cached_property
    def is_constant(self) -> bool:
        """Whether all rows are equal, and there is a row, as in half of the columns of many tables."""
        return bool(len(self.codes)) and bool((self.codes == self.codes[0]).all())

    def take(self, positions: Positions, *, exactly: bool = True) -> Coded:
        """Return the rows at `positions` with their texts; without `exactly`, unused texts may remain."""
        codes = np.full(len(positions), self.codes[0]) if self.is_constant else self.codes[positions]
        if not exactly and len(self.texts) * _FEW <= len(codes):
            return Coded(codes, self.texts)
        used = np.zeros(len(self.texts) + 1, np.bool_)
        used[codes[:1] if self.is_constant else codes] = True  # -1, the code of null, is the last entry
        used[-1] = False
        if used[:-1].all():
            return Coded(codes, self.texts)
        new = np.cumsum(used, dtype=np.int32) - 1
        new[-1] = -1
        return Coded(new[codes], self.texts.filter(as_arrow(used[:-1])))

    def as_array(self) -> pa.DictionaryArray:
        """Return the column as Arrow's dictionary array."""
        null = self.codes < 0
        codes = np.where(null, 0, self.codes) if null.any() else self.codes
        return pa.DictionaryArray.from_arrays(as_arrow(codes, null), self.texts, safe=False)


Column = Coded | pa.Array | pa.ChunkedArray


@dataclass(frozen=True)
class Rows:
    """Columns of one length by name."""

    columns: Mapping[str, Column]
    count: int

    def take(self, name: str, positions: Positions, *, exactly: bool = True) -> Column:
        """Return the rows of column `name` at `positions`; `exactly` as in `Coded.take`."""
        column = self.columns[name]
        if isinstance(column, Coded):
            return column.take(positions, exactly=exactly)
        return _fetched(column, positions) if isinstance(column, pa.ChunkedArray) else column.take(as_arrow(positions))


def pack(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return `batch` with its repetitive text columns as dictionary arrays with the smallest possible index type."""
    columns = [_packed(column) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def gather(batches: Iterable[pa.RecordBatch], *, first: Sequence[str] = (), threads: int | None = 1) -> Rows:
    """Return the rows of `batches` (of the same columns, packed or not) in sequence.

    With several threads, columns are joined in the background, those of `first` before others, in order.
    """
    held = list(batches)
    names = held[0].schema.names
    position = {name: at for at, name in enumerate(names)}

    def column(name: str) -> Column:
        return joined([batch.column(position[name]) for batch in held])

    return Rows(coming(column, list(dict.fromkeys([*first, *names])), threads), sum(batch.num_rows for batch in held))


def as_array(column: Column) -> pa.Array:
    """Return a column as one Arrow array, still packed if it is packed."""
    if isinstance(column, Coded):
        return column.as_array()
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def plain(column: pa.Array) -> pa.Array:
    """Return a column without dictionary."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def ranks(column: Column) -> npt.NDArray[np.int64]:
    """Return numbers with the order and the equality of the values of a column; nulls last.

    Floating point numbers compare by their bits: -0.0 and 0.0, or two kinds of NaN, are equal as numbers, but not as
    bytes of a file. Nested values compare by their text.
    """
    if isinstance(column, Coded):
        return np.where(column.codes < 0, len(column.texts), column.codes).astype(np.int64)
    kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_null(kind):
        column = pa.array([_as_text(value) for value in column.to_pylist()], pa.string())
    elif pa.types.is_floating(kind):
        column = _bits(column)
    elif _is_whole(kind) and (numbers := _numbers(column)) is not None:
        return numbers
    elif pa.types.is_string(kind):
        # Each text is compared once: keys of several columns repeat.
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        return ranks(coded([chunk.dictionary_encode() for chunk in chunks]))
    # In a dense ranking, null has the last rank.
    return pc.rank(column, sort_keys="ascending", tiebreaker="dense").to_numpy().astype(np.int64)


def _is_whole(kind: pa.DataType) -> bool:
    return (
        pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_date(kind) or pa.types.is_timestamp(kind)
    )


def _numbers(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64] | None:
    # Integers are their own ranks, unless no greater number is left for null.
    if pa.types.is_uint64(column.type):
        return None
    narrow = pa.types.is_date32(column.type) or pa.types.is_time32(column.type)
    integers = (column.cast(pa.int32()) if narrow else column).cast(pa.int64())
    if not integers.null_count:
        return integers.to_numpy(zero_copy_only=False) if isinstance(integers, pa.Array) else integers.to_numpy()
    greatest = pc.max(integers).as_py() or 0
    if greatest == np.iinfo(np.int64).max:
        return None
    filled = pc.fill_null(integers, greatest + 1)
    return filled.to_numpy(zero_copy_only=False) if isinstance(filled, pa.Array) else filled.to_numpy()


def comparable(column: Column, row: int) -> tuple[int, Any]:
    """Return a sort key of one value, comparable across all rows of its column, in the order of `ranks`."""
    if isinstance(column, Coded):
        code = int(column.codes[row])
        return (0, column.texts[code].as_py()) if code >= 0 else (1, None)
    if pa.types.is_floating(column.type):
        column = _bits(column.slice(row, 1))
        row = 0
    elif pa.types.is_temporal(column.type):
        width = pa.int64() if column.type.bit_width == 64 else pa.int32()
        column, row = column.slice(row, 1).cast(width), 0
    value: Any = column[row].as_py()  # pyright: ignore[reportIndexIssue]
    if value is None:
        return 1, None
    return 0, _as_text(value) if pa.types.is_nested(column.type) else value


def _packed(column: pa.Array) -> pa.Array:
    if not pa.types.is_string(column.type) or len(column) < _SAMPLE or not _repetitive(column):
        return column
    encoded = column.dictionary_encode()
    size = len(encoded.dictionary)
    if size * _PACKED_SHARE > len(column):
        return column
    index = pa.int8() if size < 1 << 7 else pa.int16() if size < 1 << 15 else pa.int32()
    return pa.DictionaryArray.from_arrays(encoded.indices.cast(index), encoded.dictionary, safe=False)


def _repetitive(column: pa.Array, sample: int = _SAMPLE) -> bool:
    first = column.slice(0, sample)
    return pc.count_distinct(first, mode="all").as_py() * _PACKED_SHARE <= len(first)


def joined(chunks: Sequence[pa.Array]) -> Column:
    """Return the arrays of one column (packed or not) in sequence, packed if its text repeats."""
    if all(pa.types.is_dictionary(chunk.type) for chunk in chunks):
        return coded(chunks)
    unpacked = [plain(chunk) for chunk in chunks]
    if len(unpacked) == 1:
        return unpacked[0]
    kinds = {chunk.type for chunk in unpacked}
    if len(kinds) > 1:  # a batch without values of a column may lack its type
        kind = next(kind for kind in kinds if not pa.types.is_null(kind))
        unpacked = [chunk.cast(kind) for chunk in unpacked]
    whole = pa.chunked_array(unpacked)
    # Offsets of Arrow's binary arrays end at 2 GiB; longer columns stay in chunks.
    if whole.nbytes > (1 << 31) - 1 or (pa.types.is_binary(whole.type) and whole.nbytes > len(whole) * _BIG_BYTES):
        return whole
    column = whole.combine_chunks()
    if not pa.types.is_string(column.type) or len(column) < _LONG_SAMPLE or not _repetitive(column, _LONG_SAMPLE):
        return column
    encoded = column.dictionary_encode()
    return coded([encoded]) if len(encoded.dictionary) * _PACKED_SHARE <= len(column) else column


def _fetched(column: pa.ChunkedArray, positions: Positions) -> pa.Array:
    # Arrow's own `take` concatenates all chunks first, in each call.
    if not len(positions):
        return pa.array([], column.type)
    starts = np.cumsum([0, *map(len, column.chunks)])
    part = np.searchsorted(starts, positions, side="right") - 1
    turns = np.flatnonzero(np.diff(part)) + 1
    order = None if len(turns) < 2 * column.num_chunks else np.argsort(part, kind="stable")
    if order is not None:
        positions, part = positions[order], part[order]
        turns = np.flatnonzero(np.diff(part)) + 1
    pieces = [
        column.chunk(int(number)).take(as_arrow(some - starts[number]))
        for number, some in zip(part[[0, *turns]], np.split(positions, turns), strict=True)
    ]
    fetched = pa.concat_arrays(pieces)
    if order is None:
        return fetched
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return fetched.take(as_arrow(back))


def coded(chunks: Sequence[pa.DictionaryArray]) -> Coded:
    """Return dictionary arrays of text in sequence, with one sorted dictionary."""
    dictionaries: list[pa.Array] = []
    for chunk in chunks:  # slices of one batch share a dictionary
        if not any(chunk.dictionary is seen or chunk.dictionary.equals(seen) for seen in dictionaries[-1:]):
            dictionaries.append(chunk.dictionary)
    texts = pc.unique(pa.chunked_array(dictionaries))
    texts = texts.take(pc.sort_indices(texts))
    small = np.int8 if len(texts) < 1 << 7 else np.int16 if len(texts) < 1 << 15 else np.int32
    parts: list[npt.NDArray[np.signedinteger]] = []
    for chunk in chunks:
        indices = pc.fill_null(chunk.indices, pa.scalar(-1, chunk.indices.type)).to_numpy(zero_copy_only=False)
        if chunk.dictionary.equals(texts):
            parts.append(indices.astype(small))
            continue
        mapped = pc.index_in(chunk.dictionary, texts).to_numpy(zero_copy_only=False).astype(small)
        parts.append(np.append(mapped, small(-1))[indices])
    return Coded(np.concatenate(parts), texts)


def _bits(column: Any) -> Any:
    width = pa.int64() if pa.types.is_float64(column.type) else pa.int32()
    if pa.types.is_float16(column.type):
        return column.cast(pa.float32()).view(width)
    if isinstance(column, pa.ChunkedArray):
        return pa.chunked_array([chunk.view(width) for chunk in column.chunks], width)
    return column.view(width)


def _as_text(value: Any) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True, default=repr, ensure_ascii=True)
