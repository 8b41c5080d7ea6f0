"""Areas of one ring between WKB and arrays of coordinates, without a geometry object for most: buildings, parcels.

Only what is sure to come out as the general way would have it is done here: areas that are convex, or valid as GEOS
says. Everything else is left to `geometry`, which also decides what happens to coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

# Byte order, type, number of rings, number of coordinates of the one ring.
_HEADER = np.dtype([("order", "u1"), ("type", "<u4"), ("rings", "<u4"), ("count", "<u4")])
_COORDINATE = 16
_LEAST = 4
# A turn of less (relative to its edges) may be none, seen with the precision of floating point numbers.
_SURE_TURN = 1e-9

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rings:
    """The rows of a batch that are areas of one ring. `coordinates` (m, 2): those of all rings, one after the other.

    `rows`: positions in the batch. `counts`: of the coordinates of each ring, its first repeated at its end.
    """

    rows: npt.NDArray[np.int64]
    coordinates: Floats
    counts: npt.NDArray[np.int64]

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """Where each ring begins in `coordinates`."""
        return np.cumsum(self.counts) - self.counts

    def bounds(self) -> Floats:
        """Return the boxes (n, 4)."""
        x, y, starts = self.coordinates[:, 0], self.coordinates[:, 1], self.starts
        return np.stack([
            np.minimum.reduceat(x, starts), np.minimum.reduceat(y, starts),
            np.maximum.reduceat(x, starts), np.maximum.reduceat(y, starts),
        ]).T  # fmt: skip

    def some(self, wanted: Booleans) -> Rings:
        """Return the rings that are `wanted`."""
        return Rings(self.rows[wanted], self.coordinates[np.repeat(wanted, self.counts)], self.counts[wanted])

    def valid(self) -> Booleans:
        """Return which rings are valid areas: closed and convex, or so GEOS says."""
        closed = (self.coordinates[self.starts] == self.coordinates[self.starts + self.counts - 1]).all(axis=1)
        sure = closed & self._convex()
        rest = closed & ~sure
        if rest.any():
            some = self.some(rest)
            sure[rest] = shapely.is_valid(shapely.from_wkb(some.wkb().to_numpy(zero_copy_only=False)))
        return sure

    def run_counterclockwise(self) -> Booleans:
        """Return which rings (valid ones) surely run counterclockwise."""
        return self._twice_area() > 0

    def counterclockwise(self) -> Rings:
        """Return the rings (valid ones) all running counterclockwise; the first coordinate stays the first."""
        turned = self._twice_area() < 0
        if not turned.any():
            return self
        place = np.arange(len(self.coordinates))
        mirrored = np.repeat(2 * self.starts + self.counts - 1, self.counts) - place
        return Rings(
            self.rows, self.coordinates[np.where(np.repeat(turned, self.counts), mirrored, place)], self.counts
        )

    def wkb(self) -> pa.Array:
        """Return the areas as ISO WKB, little-endian."""
        sizes = _HEADER.itemsize + _COORDINATE * self.counts
        offsets = np.zeros(len(sizes) + 1, np.int32)
        np.cumsum(sizes, out=offsets[1:])
        headers = np.empty(len(sizes), _HEADER)
        headers["order"], headers["type"], headers["rings"], headers["count"] = 1, 3, 1, self.counts
        out = np.empty(int(offsets[-1]), np.uint8)
        inside = _inside(offsets)
        out[~inside] = headers.view(np.uint8)
        out[inside] = np.ascontiguousarray(self.coordinates).view(np.uint8).ravel()
        return pa.Array.from_buffers(pa.binary(), len(sizes), [None, pa.py_buffer(offsets), pa.py_buffer(out)])

    def _edges(self) -> tuple[Floats, Floats, Booleans]:
        # Steps from each coordinate to the next, and which of them lie in a ring; the step out of a ring is replaced by
        # its first, so that the turn at its first corner stands at its end.
        x, y = (np.diff(self.coordinates[:, axis], append=0.0) for axis in (0, 1))
        ends = self.starts + self.counts - 1
        x[ends], y[ends] = x[self.starts], y[self.starts]
        inside = np.ones(len(x), np.bool_)
        inside[ends] = False
        return x, y, inside

    def _convex(self) -> Booleans:
        x, y, inside = self._edges()
        ahead_x, ahead_y = np.append(x[1:], 0.0), np.append(y[1:], 0.0)
        turn = x * ahead_y - y * ahead_x
        length = np.sqrt(x * x + y * y)
        sure = np.abs(turn) > _SURE_TURN * (length * np.append(length[1:], 0.0))
        ways = np.add.reduceat(np.where(inside & sure, np.where(turn > 0, 1, -1), 0), self.starts)
        # Turning the same way at every corner, and once around: to the east and back again only once.
        east = x > 0
        back = np.add.reduceat((inside & (east != np.append(east[1:], False))).astype(np.int64), self.starts)
        return (np.abs(ways) == self.counts - 1) & (back == 2)

    def _twice_area(self) -> Floats:
        first = np.repeat(self.coordinates[self.starts], self.counts, axis=0)
        local = self.coordinates - first
        cross = local[:-1, 0] * local[1:, 1] - local[1:, 0] * local[:-1, 1]
        cross = np.append(cross, 0.0)
        cross[self.starts + self.counts - 1] = 0.0
        return np.add.reduceat(cross, self.starts)


def read(chunk: pa.Array) -> Rings | None:
    """Return the areas of one ring in a batch of WKB, None when there is none in it."""
    if not pa.types.is_binary(chunk.type) or not len(chunk):
        return None
    _, offset_buffer, data = chunk.buffers()
    if data is None:
        return None
    offsets = np.frombuffer(offset_buffer, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1].astype(np.int64)
    sizes = np.diff(offsets)
    content = np.frombuffer(data, np.uint8)
    rows = np.flatnonzero(
        (sizes >= _HEADER.itemsize + _LEAST * _COORDINATE) & ((sizes - _HEADER.itemsize) % _COORDINATE == 0)
    )
    if not len(rows):
        return None
    headers = content[offsets[rows][:, None] + np.arange(_HEADER.itemsize)].view(_HEADER).ravel()
    fits = (headers["order"] == 1) & (headers["type"] == 3) & (headers["rings"] == 1)
    fits &= headers["count"] == (sizes[rows] - _HEADER.itemsize) // _COORDINATE
    rows, counts = rows[fits], headers["count"][fits].astype(np.int64)
    if not len(rows):
        return None
    chosen = np.zeros(len(sizes), np.bool_)
    chosen[rows] = True
    wanted = _inside(offsets - offsets[0])
    if not chosen.all():
        wanted &= np.repeat(chosen, sizes)
    coordinates = content[int(offsets[0]) : int(offsets[-1])][wanted].view(np.float64).reshape(-1, 2)
    return Rings(rows, coordinates, counts)


def _inside(offsets: npt.NDArray[np.signedinteger]) -> Booleans:
    # Which bytes of rows at `offsets` are not those of a header (as far as the rows have one).
    inside = np.ones(int(offsets[-1]), np.bool_)
    starts = offsets[:-1][np.diff(offsets) >= _HEADER.itemsize]
    inside[starts[:, None] + np.arange(_HEADER.itemsize)] = False
    return inside
