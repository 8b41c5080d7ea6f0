"""Converts areas of one ring (buildings, parcels) between WKB and arrays of coordinates, mostly without objects.

This path handles only areas for which it gives the result of the general path: convex areas, and areas that GEOS finds
valid. All others, and changes of coordinates, belong to `cleaning`.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import shapely

# Byte order, type, number of rings, number of coordinates of the one ring.
_HEADER = np.dtype([("order", "u1"), ("type", "<u4"), ("rings", "<u4"), ("count", "<u4")])
_COORDINATE = 16
# Opaque types of the same size, to read headers and coordinate pairs at any byte offset.
_HEADER_BYTES, _COORDINATE_BYTES = np.dtype(f"V{_HEADER.itemsize}"), np.dtype(f"V{_COORDINATE}")
_LEAST = 4
# A smaller turn (relative to its edges) may be a rounding error.
_SURE_TURN = 1e-9
_NOTHING = pa.scalar(b"", pa.binary())

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rings:
    """The rows of a batch that are areas of one ring. `coordinates` (m, 2): the coordinates of all rings in sequence.

    `rows`: positions in the batch. `counts`: coordinates of each ring, including the repeated first one at its end.
    """

    rows: npt.NDArray[np.int64]
    coordinates: Floats
    counts: npt.NDArray[np.int64]

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """The position of the first coordinate of each ring."""
        return np.cumsum(self.counts) - self.counts

    def bounds(self) -> Floats:
        """Return the boxes (n, 4)."""
        x, y, starts = self.coordinates[:, 0], self.coordinates[:, 1], self.starts
        return np.stack([
            np.minimum.reduceat(x, starts), np.minimum.reduceat(y, starts),
            np.maximum.reduceat(x, starts), np.maximum.reduceat(y, starts),
        ]).T  # fmt: skip

    def some(self, wanted: Booleans) -> Rings:
        """Return the `wanted` rings."""
        return Rings(self.rows[wanted], self.coordinates[np.repeat(wanted, self.counts)], self.counts[wanted])

    def ways(self) -> npt.NDArray[np.int8]:
        """Return the direction of each ring: 1 counterclockwise, -1 clockwise, 0 for an invalid area.

        A closed ring is valid if it is convex or GEOS finds it valid.
        """
        closed = (self.coordinates[self.starts] == self.coordinates[self.starts + self.counts - 1]).all(axis=1)
        ways = self._convex()
        ways[~closed] = 0
        rest = closed & (ways == 0)
        if rest.any():
            some = self.some(rest)
            valid = shapely.is_valid(shapely.from_wkb(some.wkb().to_numpy(zero_copy_only=False)))
            ways[rest] = np.where(valid, np.sign(some.twice_area()), 0)
        return ways

    def reversed(self, wanted: Booleans) -> Rings:
        """Return the rings with the `wanted` ones reversed; the first coordinate of each ring stays the first."""
        if not wanted.any():
            return self
        place = np.arange(len(self.coordinates))
        mirrored = np.repeat(2 * self.starts + self.counts - 1, self.counts) - place
        if not wanted.all():
            mirrored = np.where(np.repeat(wanted, self.counts), mirrored, place)
        pairs = np.ascontiguousarray(self.coordinates).view(np.complex128).ravel()
        return Rings(self.rows, pairs[mirrored].view(np.float64).reshape(-1, 2), self.counts)

    def wkb(self) -> pa.Array:
        """Return the areas as ISO WKB, little-endian."""
        headers = np.empty(len(self.counts), _HEADER)
        headers["order"], headers["type"], headers["rings"], headers["count"] = 1, 3, 1, self.counts
        header_offsets = np.arange(len(headers) + 1, dtype=np.int32) * _HEADER.itemsize
        offsets = np.zeros(len(headers) + 1, np.int32)
        np.cumsum(_COORDINATE * self.counts, out=offsets[1:])
        return pc.binary_join_element_wise(
            _binary(header_offsets, headers), _binary(offsets, np.ascontiguousarray(self.coordinates)), _NOTHING
        )

    def twice_area(self) -> Floats:
        """Return twice the area of each ring, negative for clockwise rings."""
        local = self.coordinates - np.repeat(self.coordinates[self.starts], self.counts, axis=0)
        cross = local[:-1, 0] * local[1:, 1] - local[1:, 0] * local[:-1, 1]
        cross = np.append(cross, 0.0)
        cross[self.starts + self.counts - 1] = 0.0
        return np.add.reduceat(cross, self.starts)

    def _edges(self) -> tuple[Floats, Floats, Booleans]:
        # The steps between consecutive coordinates, and the mask of steps inside a ring. The step out of a ring is
        # replaced by its first step, so that the turn at its first corner is at its end.
        x, y = (np.diff(self.coordinates[:, axis], append=0.0) for axis in (0, 1))
        ends = self.starts + self.counts - 1
        x[ends], y[ends] = x[self.starts], y[self.starts]
        inside = np.ones(len(x), np.bool_)
        inside[ends] = False
        return x, y, inside

    def _convex(self) -> npt.NDArray[np.int8]:
        # The direction of the certainly convex rings, 0 for others.
        x, y, inside = self._edges()
        ahead_x, ahead_y = np.append(x[1:], 0.0), np.append(y[1:], 0.0)
        turn = x * ahead_y - y * ahead_x
        length = np.sqrt(x * x + y * y)
        sure = np.abs(turn) > _SURE_TURN * (length * np.append(length[1:], 0.0))
        ways = np.add.reduceat(np.where(inside & sure, np.where(turn > 0, 1, -1), 0), self.starts)
        # A convex ring turns in the same direction at every corner, and goes east and back only once.
        east = x > 0
        back = np.add.reduceat((inside & (east != np.append(east[1:], False))).astype(np.int64), self.starts)
        convex = (np.abs(ways) == self.counts - 1) & (back == 2)
        return np.where(convex, np.sign(ways), 0).astype(np.int8)


def read(chunk: pa.Array) -> Rings | None:
    """Return the areas of one ring in a batch of WKB, None without such areas."""
    if not pa.types.is_binary(chunk.type) or not len(chunk):
        return None
    _, offset_buffer, data = chunk.buffers()
    if data is None:
        return None
    offsets = np.frombuffer(offset_buffer, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1].astype(np.int64)
    sizes = np.diff(offsets)
    if chunk.null_count:
        sizes[chunk.is_null().to_numpy(zero_copy_only=False)] = 0
    content = np.frombuffer(data, np.uint8)
    rows = np.flatnonzero(
        (sizes >= _HEADER.itemsize + _LEAST * _COORDINATE) & ((sizes - _HEADER.itemsize) % _COORDINATE == 0)
    )
    if not len(rows):
        return None
    headers = np.ndarray(len(content) - _HEADER.itemsize + 1, _HEADER_BYTES, content, strides=1)[offsets[rows]]
    headers = headers.view(_HEADER)
    fits = (headers["order"] == 1) & (headers["type"] == 3) & (headers["rings"] == 1)
    fits &= headers["count"] == (sizes[rows] - _HEADER.itemsize) // _COORDINATE
    rows, counts = rows[fits], headers["count"][fits].astype(np.int64)
    if not len(rows):
        return None
    places = np.repeat(offsets[rows] + _HEADER.itemsize - _COORDINATE * (np.cumsum(counts) - counts), counts)
    places += np.arange(0, _COORDINATE * len(places), _COORDINATE)
    pairs = np.ndarray(len(content) - _COORDINATE + 1, _COORDINATE_BYTES, content, strides=1)[places]
    return Rings(rows, pairs.view(np.float64).reshape(-1, 2), counts)


def _binary(offsets: npt.NDArray[np.int32], content: npt.NDArray[Any]) -> pa.Array:
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(content)])
