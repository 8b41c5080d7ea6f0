"""The order of rows: Hilbert for features, by key for tables, and below that total, so that nothing else decides it.

Cutting the ordered rows into row groups belongs to `write`.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

# 24 bits an axis over the whole world are cells of 2.4 m at most: a fixed box, so that a feature's place in the order
# does not depend on the others of its dataset or vintage.
HILBERT_BITS = 24
HILBERT_BOX = (-180.0, -90.0, 180.0, 90.0)


@dataclass(frozen=True)
class Order:
    """`rows`: positions in the order they are to be written. `duplicates`: rows equal to an earlier one."""

    rows: npt.NDArray[np.int64]
    duplicates: int


def hilbert(bounds: npt.NDArray[np.float64]) -> npt.NDArray[np.uint64]:
    """Return the Hilbert index of the centres of `bounds` (n, 4; degrees) in the world box; NaN rows get the maximum.

    The curve is that of https://en.wikipedia.org/wiki/Hilbert_curve (xy2d), vectorised over the rows.
    """
    side = 1 << HILBERT_BITS
    known = ~np.isnan(bounds).any(axis=1)
    cells: list[npt.NDArray[np.int64]] = []
    for axis in (0, 1):
        low, high = HILBERT_BOX[axis], HILBERT_BOX[axis + 2]
        centre = np.where(known, (bounds[:, axis] + bounds[:, axis + 2]) / 2, low)
        cells.append(np.clip((centre - low) / (high - low) * side, 0, side - 1).astype(np.int64))
    x, y = cells
    index = np.zeros(len(bounds), np.uint64)
    for bit in range(HILBERT_BITS - 1, -1, -1):
        x_high, y_high = (x >> bit) & 1, (y >> bit) & 1
        index = (index << np.uint64(2)) | ((3 * x_high) ^ y_high).astype(np.uint64)
        # Turn the quadrant so that the curve inside it begins where it enters.
        flip = (y_high == 0) & (x_high == 1)
        x, y = np.where(flip, side - 1 - x, x), np.where(flip, side - 1 - y, y)
        swap = y_high == 0
        x, y = np.where(swap, y, x), np.where(swap, x, y)
    index[~known] = np.iinfo(np.uint64).max
    return index


def by_place(table: pa.Table, place: npt.NDArray[np.uint64], key: Sequence[str]) -> Order:
    """Order rows by `place`; equal places by the key columns, then by all columns."""
    rows = np.argsort(place, kind="stable")
    ordered = place[rows]
    return _break_ties(table, rows, ordered[1:] == ordered[:-1], key)


def by_key(table: pa.Table, key: Sequence[str]) -> Order:
    """Order rows by the key columns (nulls last), equal keys by all columns; without a key by all columns."""
    if not key:
        everything = np.arange(table.num_rows, dtype=np.int64)
        return _break_ties(table, everything, np.ones(max(table.num_rows - 1, 0), np.bool_), key)
    keys = pa.table({str(n): _comparable(table[name]) for n, name in enumerate(key)})
    rows = _sorted_positions(keys)
    return _break_ties(table, rows, _equal_to_previous(keys.take(pa.array(rows))), key)


def _break_ties(table: pa.Table, rows: npt.NDArray[np.int64], same: npt.NDArray[np.bool_], key: Sequence[str]) -> Order:
    # `same[i]`: row i+1 of the order may stand before row i. Only such rows are compared in full.
    tied = np.zeros(len(rows), np.bool_)
    tied[1:] |= same
    tied[:-1] |= same
    places = np.flatnonzero(tied)
    if not len(places):
        return Order(rows, 0)
    group = np.cumsum(np.concatenate([[True], ~same]))[places]
    names = [*key, *(name for name in table.column_names if name not in key)]
    subset = table.select(names).take(pa.array(rows[places]))
    columns = {str(n): _comparable(column) for n, column in enumerate(subset.columns)}
    comparable = pa.table({"group": pa.array(group), **columns})
    within = _sorted_positions(comparable)
    out = rows.copy()
    out[places] = rows[places][within]
    return Order(out, int(_equal_to_previous(comparable.take(pa.array(within))).sum()))


def _sorted_positions(table: pa.Table) -> npt.NDArray[np.int64]:
    keys = [(name, "ascending", "at_end") for name in table.column_names]
    return pc.sort_indices(table, sort_keys=keys).to_numpy().astype(np.int64)


def _equal_to_previous(table: pa.Table) -> npt.NDArray[np.bool_]:
    equal = np.ones(max(table.num_rows - 1, 0), np.bool_)
    for column in table.columns:
        here, before = column.slice(1), column.slice(0, max(len(column) - 1, 0))
        same = pc.fill_null(pc.equal(here, before), False)
        both_null = pc.and_(pc.is_null(here), pc.is_null(before))
        equal &= pc.or_(same, both_null).to_numpy().astype(np.bool_)
    return equal


def _comparable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    # By bits: -0.0 and 0.0 or two kinds of NaN are equal as numbers, but not as bytes of a file.
    if pa.types.is_float64(kind):
        return pa.chunked_array([chunk.view(pa.int64()) for chunk in column.chunks], pa.int64())
    if pa.types.is_float32(kind):
        return pa.chunked_array([chunk.view(pa.int32()) for chunk in column.chunks], pa.int32())
    if pa.types.is_nested(kind) or pa.types.is_null(kind):
        return pa.chunked_array([pa.array([_as_text(value) for value in column.to_pylist()], pa.string())])
    return column


def _as_text(value: Any) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True, default=repr, ensure_ascii=True)
