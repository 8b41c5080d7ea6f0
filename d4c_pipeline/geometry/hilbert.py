"""Computes the position of a feature on a Hilbert curve over a fixed box.

Sorting by the position belongs to `geoparquet`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# 24 bits per axis give cells of at most 2.4 m over the world. The box is fixed, so that the position of a feature does
# not depend on other features of its dataset or vintage.
BITS = 24
NOWHERE = 1 << 62
# A block of this many rows, and a table for this many bits of an axis, fit into the processor's cache.
_BLOCK = 16_384
_STEP = 6


def places(bounds: npt.NDArray[np.float64], box: tuple[float, float, float, float]) -> npt.NDArray[np.int64]:
    """Return the Hilbert index of the centres of `bounds` (n, 4) in `box`; rows of NaN get `NOWHERE`, the last.

    The curve is that of https://en.wikipedia.org/wiki/Hilbert_curve (xy2d), computed by a table of several bits.
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
    # For each orientation of the curve in a square and each cell: the orientation in the cell, and the position of the
    # cell on the curve. An orientation is two bits above those of the cell: axes mirrored, and axes exchanged (their
    # order does not matter).
    cell = np.arange(4 << 2 * _STEP, dtype=np.int32)
    x, y = (cell >> _STEP) & _MASK, cell & _MASK
    mirrored, exchanged = (cell >> 2 * _STEP) & 1, cell >> (2 * _STEP + 1)
    place = np.zeros_like(cell)
    for bit in range(_STEP - 1, -1, -1):
        x_bit, y_bit = ((x >> bit) & 1) ^ mirrored, ((y >> bit) & 1) ^ mirrored
        x_high, y_high = np.where(exchanged, y_bit, x_bit), np.where(exchanged, x_bit, y_bit)
        place = (place << 2) | ((3 * x_high) ^ y_high)
        # The quadrant is turned so that its curve begins at the entry point.
        mirrored = mirrored ^ (x_high & (1 - y_high))
        exchanged = exchanged ^ (1 - y_high)
    return (exchanged << (2 * _STEP + 1)) | (mirrored << 2 * _STEP) | place


_TABLE = _steps()
