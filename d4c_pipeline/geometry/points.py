"""Converts points between WKB and arrays of coordinates without geometry objects: every point is 21 bytes.

Transforming the coordinates belongs to `cleaning`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_POINT = np.dtype([("order", "u1"), ("type", "<u4"), ("x", "<f8"), ("y", "<f8")])


class Counts(Protocol):
    """Counts empty points."""

    empty_geometries: int


def read(chunk: pa.Array, tally: Counts) -> npt.NDArray[np.float64] | None:
    """Return the coordinates (2, n) of a batch of little-endian 2D points, NaN where null or empty; else None.

    Empty points (both coordinates NaN, as WKB writes them) are counted in `tally`.
    """
    records = _records(chunk)
    if records is None:
        return None
    if chunk.null_count:
        known = _known(chunk)
        xy = np.full((2, len(chunk)), np.nan)
        xy[0, known], xy[1, known] = records["x"], records["y"]
    else:
        xy = np.stack([records["x"], records["y"]])
    nothing = np.isnan(xy)
    # A point with one NaN is invalid; the general path reports it.
    if (nothing[0] != nothing[1]).any():
        return None
    tally.empty_geometries += int(nothing[0].sum()) - chunk.null_count
    return xy


def coordinates(chunk: pa.Array) -> npt.NDArray[np.float64] | None:
    """Return the coordinates (2, n) of a batch that holds only points as `write` makes them, else None."""
    if chunk.null_count or (records := _records(chunk)) is None:
        return None
    return np.stack([records["x"], records["y"]])


def write(xy: npt.NDArray[np.float64], known: npt.NDArray[np.bool_]) -> pa.Array:
    """Return points at `xy` (2, n) as little-endian WKB, null where not `known`."""
    complete = bool(known.all())
    records = np.empty(len(known) if complete else int(known.sum()), _POINT)
    records["order"], records["type"] = 1, 1
    records["x"], records["y"] = xy if complete else xy[:, known]
    offsets = np.zeros(len(known) + 1, np.int32)
    np.cumsum(np.where(known, _POINT.itemsize, 0), out=offsets[1:])
    valid = None if complete else pa.array(known).buffers()[1]
    return pa.Array.from_buffers(
        pa.binary(), len(known), [valid, pa.py_buffer(offsets), pa.py_buffer(records)],
        null_count=len(known) - len(records),
    )  # fmt: skip


def _known(chunk: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(chunk.is_valid().to_numpy(zero_copy_only=False), np.bool_)


def _records(chunk: pa.Array) -> npt.NDArray[np.void] | None:
    # The records of the rows that are not null; None if any of them is not a point.
    count = len(chunk) - chunk.null_count
    if not pa.types.is_binary(chunk.type) or not count:
        return None
    _, offset_buffer, data = chunk.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
    first, last = int(offsets[0]), int(offsets[-1])
    if last - first != count * _POINT.itemsize:
        return None
    if not np.array_equal(np.diff(offsets), np.where(_known(chunk), _POINT.itemsize, 0)):
        return None
    records = np.frombuffer(data, _POINT, count, offset=first)
    return records if ((records["order"] == 1) & (records["type"] == 1)).all() else None
