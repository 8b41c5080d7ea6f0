"""Where a feature lies on a Hilbert curve over a fixed box.

Sorting by it belongs to `order`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# 24 bits an axis over the whole world are cells of 2.4 m at most: a fixed box, so that a feature's place in the order
# does not depend on the others of its dataset or vintage.
BITS = 24
NOWHERE = 1 << 62
# So many rows at a time stay in the processor's cache, and so does the table for so many bits of an axis at a time.
_BLOCK = 16_384
_STEP = 6


def places(bounds: npt.NDArray[np.float64], box: tuple[float, float, float, float]) -> npt.NDArray[np.int64]:
    """Return the Hilbert index of the centres of `bounds` (n, 4) in `box`; rows of NaN get `NOWHERE`, behind all.

    The curve is that of https://en.wikipedia.org/wiki/Hilbert_curve (xy2d), several bits at a time by a table.
    """
    out = np.empty(len(bounds), np.int64)
    for start in range(0, len(bounds), _BLOCK):
        block = bounds[start : start + _BLOCK]
        out[start : start + len(block)] = _block(block, box)
    return out


def _block(bounds: npt.NDArray[np.float64], box: tuple[float, float, float, float]) -> npt.NDArray[np.int64]:
    side = 1 << BITS
    known = ~np.isnan(bounds).any(axis=1)
    cells: list[npt.NDArray[np.int32]] = []
    for axis in (0, 1):
        low, high = box[axis], box[axis + 2]
        centre = np.where(known, (bounds[:, axis] + bounds[:, axis + 2]) / 2, low)
        cells.append(np.clip((centre - low) / (high - low) * side, 0, side - 1).astype(np.int32))
    x, y = cells
    index = np.zeros(len(bounds), np.int64)
    state = np.zeros(len(bounds), np.int32)
    for shift in range(BITS - _STEP, -1, -_STEP):
        found = _TABLE[state | (((x >> shift) & _MASK) << _STEP) | ((y >> shift) & _MASK)]
        index <<= 2 * _STEP
        index |= found & _DIGITS
        state = found & ~_DIGITS
    index[~known] = NOWHERE
    return index


_MASK = (1 << _STEP) - 1
_DIGITS = (1 << 2 * _STEP) - 1


def _steps() -> npt.NDArray[np.int32]:
    # For each way in which the curve may lie in a square, and each cell of it: the way it lies in the cell, and the
    # cell's place on the curve. A way is whether axes are mirrored, and whether they are exchanged (both may be done in
    # either order); it stands above the bits of the cell.
    cell = np.arange(4 << 2 * _STEP, dtype=np.int32)
    x, y = (cell >> _STEP) & _MASK, cell & _MASK
    mirrored, exchanged = (cell >> 2 * _STEP) & 1, cell >> (2 * _STEP + 1)
    place = np.zeros_like(cell)
    for bit in range(_STEP - 1, -1, -1):
        one, other = ((x >> bit) & 1) ^ mirrored, ((y >> bit) & 1) ^ mirrored
        x_high, y_high = np.where(exchanged, other, one), np.where(exchanged, one, other)
        place = (place << 2) | ((3 * x_high) ^ y_high)
        # The quadrant is turned so that the curve inside it begins where it enters.
        mirrored = mirrored ^ (x_high & (1 - y_high))
        exchanged = exchanged ^ (1 - y_high)
    return (exchanged << (2 * _STEP + 1)) | (mirrored << 2 * _STEP) | place


_TABLE = _steps()
