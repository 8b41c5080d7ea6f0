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
# So many rows at a time stay in the processor's cache.
_BLOCK = 16_384


def places(bounds: npt.NDArray[np.float64], box: tuple[float, float, float, float]) -> npt.NDArray[np.int64]:
    """Return the Hilbert index of the centres of `bounds` (n, 4) in `box`; rows of NaN get `NOWHERE`, behind all.

    The curve is that of https://en.wikipedia.org/wiki/Hilbert_curve (xy2d), vectorised over the rows.
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
    for bit in range(BITS - 1, -1, -1):
        x_high, y_high = (x >> bit) & 1, (y >> bit) & 1
        index <<= 2
        index |= (3 * x_high) ^ y_high
        # Turn the quadrant so that the curve inside it begins where it enters: mirror it (side-1 - x is a flip of all
        # bits), then exchange the axes.
        flip = -(x_high & ~y_high & 1) & (side - 1)
        x, y = x ^ flip, y ^ flip
        swap = (y_high - 1) & (x ^ y)
        x, y = x ^ swap, y ^ swap
    index[~known] = NOWHERE
    return index
