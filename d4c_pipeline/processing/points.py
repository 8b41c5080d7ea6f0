"""Points between WKB and arrays of coordinates, without a geometry object for each: a point is 21 bytes of one layout.

What is done to the coordinates belongs to `geometry`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_POINT = np.dtype([("order", "u1"), ("type", "<u4"), ("x", "<f8"), ("y", "<f8")])


class Counts(Protocol):
    """Where empty points are counted."""

    empty_geometries: int


def read(chunk: pa.Array, tally: Counts) -> npt.NDArray[np.float64] | None:
    """Return the coordinates (n, 2) of a batch of little-endian 2D points, NaN where null or empty; else None.

    Empty points (both coordinates NaN, as WKB writes them) are counted in `tally`.
    """
    records = _records(chunk)
    if records is None:
        return None
    known = _known(chunk)
    if not ((records["order"] == 1) & (records["type"] == 1)).all():
        return None
    xy = np.full((len(chunk), 2), np.nan)
    xy[known, 0], xy[known, 1] = records["x"], records["y"]
    empty = np.isnan(xy).all(axis=1)
    # Half a point is no point: who looks for it finds it in the general way.
    if (np.isnan(xy).any(axis=1) & ~empty).any():
        return None
    tally.empty_geometries += int((empty & known).sum())
    return xy


def is_written(chunk: pa.Array) -> bool:
    """Whether a batch that `read` has read is exactly what `write` would make of it: nothing empty in it."""
    records = _records(chunk)
    return records is not None and not np.isnan(records["x"]).any()


def write(xy: npt.NDArray[np.float64], known: npt.NDArray[np.bool_]) -> pa.Array:
    """Return points at `xy` (n, 2) as little-endian WKB, null where not `known`."""
    records = np.empty(int(known.sum()), _POINT)
    records["order"], records["type"] = 1, 1
    records["x"], records["y"] = xy[known, 0], xy[known, 1]
    offsets = np.zeros(len(known) + 1, np.int32)
    np.cumsum(np.where(known, _POINT.itemsize, 0), out=offsets[1:])
    valid = None if known.all() else pa.array(known).buffers()[1]
    return pa.Array.from_buffers(
        pa.binary(), len(known), [valid, pa.py_buffer(offsets), pa.py_buffer(records)], null_count=int((~known).sum())
    )


def _known(chunk: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(chunk.is_valid().to_numpy(zero_copy_only=False), np.bool_)


def _records(chunk: pa.Array) -> npt.NDArray[np.void] | None:
    if not pa.types.is_binary(chunk.type) or not len(chunk):
        return None
    _, offset_buffer, data = chunk.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
    sizes = np.diff(offsets)
    first, last = int(offsets[0]), int(offsets[-1])
    count = len(chunk) - chunk.null_count
    if last - first != count * _POINT.itemsize or not np.isin(sizes, (0, _POINT.itemsize)).all() or not count:
        return None
    if not np.array_equal(sizes > 0, _known(chunk)):
        return None
    return np.frombuffer(data, _POINT, count, offset=first)
