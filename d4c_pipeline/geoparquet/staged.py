"""The internal columns of features between cleaning and writing: geometry, bounds, type, position on the curve.

Their names cannot clash with columns of the data: no output name begins with a null byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from d4c_pipeline.geoparquet.rows import Coded, Column
from d4c_pipeline.tables.arrays import as_arrow

if TYPE_CHECKING:  # tables need neither GEOS nor PROJ, and both are slow to load
    from d4c_pipeline.geometry.shapes import Shapes

GEOMETRY = "\0geometry"
PLACE = "\0place"
TYPE = "\0type"
BOUNDS = ("\0xmin", "\0ymin", "\0xmax", "\0ymax")
NAMES = (GEOMETRY, PLACE, TYPE, *BOUNDS)


def join(attributes: pa.RecordBatch, shapes: Shapes) -> pa.RecordBatch:
    """Return `attributes` followed by the columns of `shapes`."""
    arrays = [
        shapes.wkb,
        as_arrow(shapes.places),
        as_arrow(shapes.types),
        *(as_arrow(shapes.bounds[:, corner]) for corner in range(4)),
    ]
    return pa.RecordBatch.from_arrays([*attributes.columns, *arrays], names=[*attributes.schema.names, *NAMES])


def promoted(taken: Mapping[str, Column], singles: tuple[int, ...]) -> pa.Array:
    """Return the geometry with the types `singles` promoted to multi types."""
    wkb = taken[GEOMETRY]
    assert not isinstance(wkb, Coded)  # noqa: S101 - never packed
    if not singles:
        return wkb
    from d4c_pipeline.geometry.shapes import promote  # noqa: PLC0415

    types = taken[TYPE]
    assert not isinstance(types, Coded)  # noqa: S101 - never packed
    return promote(wkb, types.to_numpy(), singles)


def bounds(taken: Mapping[str, Column], count: int) -> npt.NDArray[np.float64]:
    """Return the bounds (n, 4), NaN for rows without geometry."""
    out = np.empty((4, count)).T
    for corner, name in enumerate(BOUNDS):
        column = taken[name]
        assert not isinstance(column, Coded)  # noqa: S101 - never packed
        out[:, corner] = column.to_numpy(zero_copy_only=False)
    return out
