"""Arrays of numpy as Arrow's, without a copy and without what `pyarrow.array` imports for them.

Arrow asks whether an array is masked, for which it imports `numpy.ma`: 0.04 s of a cold process, a fiftieth of a small
conversion. Lists, and arrays of objects, belong to `pyarrow.array`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def as_arrow(values: npt.NDArray[Any], missing: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Return a numeric or boolean array of one dimension as Arrow's of the same type; null where `missing`.

    It shares the memory of `values` (but for booleans, which Arrow packs), which must not change any more.
    """
    kind = pa.from_numpy_dtype(values.dtype)
    data = _bits(values) if pa.types.is_boolean(kind) else pa.py_buffer(np.ascontiguousarray(values))
    valid = None if missing is None or not missing.any() else _bits(~missing)
    return pa.Array.from_buffers(kind, len(values), [valid, data])


def _bits(values: npt.NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
